//! What the planner knows of one workload, so that a person can be told: what its pods read, what is recorded, what is to
//! be replaced, and what that waits for.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;

use super::cause::Cause;
use super::merge::Merged;
use super::planner::{Decided, Planner};
use super::record::{Recorded, RecordedBy, recorded};
use super::snapshot::id_of;
use super::track::{State, Track, Write};
use super::waiting::Waiting;
use crate::policy::PolicyId;
use crate::references::digest::{State as Content, missing};
use crate::references::{Dependency, dependencies};
use crate::workload::rollout::{Progress, Replacing, Rollout};
use crate::workload::{Kind, PodFacts, WorkloadKind};
use crate::world::{self, Known, Object, WorkloadKey, World};

/// Where a workload stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Standing {
    /// Whether it is served, and what then holds for it.
    pub service: Service,
    /// The policies with `spec.replace` that match it.
    pub policies: Vec<PolicyId>,
    /// What keeps it from being replaced, whether or not it is to be.
    pub held: Option<Waiting>,
    /// Every ConfigMap and Secret that its pods read, or that its annotations name, by kind and name.
    pub objects: Vec<ObjectStanding>,
    /// What its pods were started with, as its annotations say it.
    pub record: Record,
    /// The digest of what it reads now, `1-KEYID-DIGEST`; none where it is not served, or not all of it was read.
    pub current: Option<String>,
    /// Where its pods stand.
    pub phase: Phase,
    /// How far its controller is with the newest template; none for kinds that replace no pods through one.
    pub progress: Option<Progress>,
    /// The pods that it has.
    pub pods: Pods,
    /// Names of pods of an older revision that are not ready, so that the controller of a `StatefulSet` does not go on:
    /// somebody must delete them.
    pub stuck: Vec<String>,
}

/// Whether the planner serves a workload.
#[derive(Clone, Debug, PartialEq)]
pub enum Service {
    /// It does, and this holds: what its policies come to.
    Served(Arc<Merged>),
    /// It does not, and why, in words.
    NotServed(String),
}

/// One object that pods read.
#[derive(Clone, Debug, PartialEq)]
pub struct ObjectStanding {
    /// How it is referred to.
    pub dependency: Dependency,
    /// Whether a change of it replaces the pods.
    pub counts: bool,
    /// Whether it is there.
    pub existence: Existence,
    /// Whether it is what the pods were started with.
    pub content: Comparison,
    /// What new pods could not start without, in words: the object, or keys of it.
    pub missing: Vec<String>,
    /// When its data was last written, as the API server noted it.
    pub written: Option<Timestamp>,
}

/// Whether an object is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Existence {
    /// Nobody has looked.
    Unknown,
    /// It cannot be read, and why.
    Unreadable(String),
    /// There is none.
    Absent,
    /// It is there.
    Present,
}

/// An object now, compared with what is recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// It cannot be said.
    Unknown,
    /// What is read of it is as it was.
    Same,
    /// It is not; these keys changed, where both versions were seen.
    Changed(BTreeSet<String>),
}

/// What the annotations record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The stamp of the pod template as it is written.
    pub stamp: Option<String>,
    /// `immutable.dev/config-baseline` as it is written.
    pub baseline: Option<String>,
    /// The digest that counts for the pods of the present template; none where nothing is recorded that can be compared.
    pub digest: Option<String>,
    /// Whether that is the stamp, so that every pod was started with this content.
    pub is_stamp: bool,
}

/// Where the pods of a workload stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing is compared, since it is not served.
    NotServed,
    /// They read what is current.
    UpToDate,
    /// They are being replaced, since then where that is known.
    Rolling(Option<Timestamp>),
    /// They were replaced and are not available within the deadline.
    Failed(Option<Timestamp>),
    /// They are to be replaced, and nothing is in the way.
    Due(Cause),
    /// They are to be replaced, and wait.
    Waiting(Cause, Waiting),
    /// It cannot be said, and why.
    Unknown(Waiting),
}

/// The pods that serve.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pods {
    /// How many there are.
    pub total: usize,
    /// The names of those that were made before `changed`, or in its second; not looked for where all is current.
    pub older: Vec<String>,
    /// When what changed was last written; where it is not known what changed, when anything was.
    pub changed: Option<Timestamp>,
}

impl Planner {
    /// Forgets that more edits may come: whoever looks for the first time has not seen when the edits were made, and
    /// would take every one for made now.
    pub fn expect_no_more_edits(&mut self) {
        for track in self.tracks.values_mut() {
            track.seen = None;
        }
        self.decided = Decided::again();
    }

    /// Where a workload stands after the last step; none where there is no such one.
    pub fn standing(&self, world: &World, key: &WorkloadKey) -> Option<Standing> {
        let object = world.object(key)?;
        let track = self.tracks.get(key);
        let service = match track {
            Some(track) => Service::Served(Arc::clone(&track.merged)),
            None => Service::NotServed(self.why_not(world, key, object)),
        };
        let objects = objects(world, key, object, track);
        let phase = match track {
            None => Phase::NotServed,
            Some(track) => self.phase(key, track, object.rollout.as_deref()),
        };
        let current = track.and_then(|track| Some(track.found.as_ref()?.snapshot.digest));
        let record = object.rollout.as_deref().map_or_else(Record::default, |rollout| {
            let counting = current.map(|current| recorded(rollout, &current));
            let (digest, is_stamp) = match counting {
                Some(Recorded::Content(digest, by)) => (Some(digest.to_string()), by == RecordedBy::Stamp),
                Some(Recorded::Nothing) | None => (None, false),
            };
            let text = |text: &Option<Box<str>>| text.as_deref().map(ToOwned::to_owned);
            Record { stamp: text(&rollout.stamp), baseline: text(&rollout.baseline), digest, is_stamp }
        });
        Some(Standing {
            pods: pods(world, key, object, &objects, &phase),
            stuck: stuck(world, object),
            progress: object.rollout.as_deref().map(|rollout| rollout.progress),
            current: current.map(|digest| digest.to_string()),
            policies: speaking(world, key, object),
            held: self.held.get(key).cloned(),
            service,
            objects,
            record,
            phase,
        })
    }

    fn phase(&self, key: &WorkloadKey, track: &Track, rollout: Option<&Rollout>) -> Phase {
        let since = track.rolled.or_else(|| rollout.and_then(|rollout| rollout.rolled));
        match &track.state {
            _ if matches!(&track.write, Write::Taken { stamp: Some(_), .. }) => Phase::Rolling(since),
            State::UpToDate => Phase::UpToDate,
            State::Rolling => Phase::Rolling(since),
            State::Failed => Phase::Failed(since),
            State::Unknown(waiting) => Phase::Unknown(waiting.clone()),
            State::Pending(cause) => match self.waiting.get(key) {
                Some(waiting) => Phase::Waiting(cause.clone(), waiting.clone()),
                None => Phase::Due(cause.clone()),
            },
        }
    }

    /// Why a workload is not served, for every kind.
    fn why_not(&self, world: &World, key: &WorkloadKey, object: &Object) -> String {
        if let Some(why) = self.unserved(key) {
            return why.to_owned();
        }
        if let Some(why) = why_no_template_replaces(world, key, object) {
            return why;
        }
        match (&object.content, &object.rollout) {
            (world::Content::Unreadable(why), _) => format!("it cannot be read: {why}"),
            (_, None) => "its pods read no ConfigMap and no Secret".to_owned(),
            (_, Some(rollout)) if rollout.leaving => "it is being deleted".to_owned(),
            (_, Some(_)) => "it has not been looked at".to_owned(),
        }
    }
}

fn speaking(world: &World, key: &WorkloadKey, object: &Object) -> Vec<PolicyId> {
    let speaking = world.policies_that_match(key, object).filter(|(_, policy)| policy.replace.is_some());
    speaking.map(|(id, _)| id.clone()).collect()
}

/// Why no change of a template replaces the pods of an object; none for the kinds of which it does.
fn why_no_template_replaces(world: &World, key: &WorkloadKey, object: &Object) -> Option<String> {
    let kind = match &key.kind {
        WorkloadKind::BuiltIn(kind) => *kind,
        WorkloadKind::Custom { .. } => return None,
    };
    let owner = world.made_from(key, object).last().map(|owner| format!("{} {}", owner.kind, owner.name));
    let is_made = object.controller.is_some();
    Some(match (kind, owner) {
        (Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet, _) => return None,
        (Kind::CronJob, _) => "a CronJob needs nothing: each run reads what is current".to_owned(),
        (Kind::Job, Some(owner)) => {
            format!("it is a run of {owner}: Jobs are never touched, and the next run reads what is current")
        }
        (Kind::Job, None) => "Jobs are never touched: a run ends with what it began with".to_owned(),
        (Kind::PodTemplate, _) => "a PodTemplate starts no pods".to_owned(),
        (Kind::Pod | Kind::ReplicaSet, Some(owner)) => format!("it belongs to {owner}; ask about that"),
        (Kind::Pod, None) if is_made => "it belongs to a controller that is not known here; ask about that".to_owned(),
        (Kind::Pod, None) => "nothing makes a bare Pod anew: delete it and create it again".to_owned(),
        (Kind::ReplicaSet | Kind::ReplicationController, _) => {
            format!("a {kind} replaces no pods when its template changes: delete them, or use a Deployment")
        }
    })
}

/// What pods read, and what annotations name, as far as each object is known.
fn objects(world: &World, key: &WorkloadKey, object: &Object, track: Option<&Track>) -> Vec<ObjectStanding> {
    let world::Content::Known(workload) = &object.content else { return Vec::new() };
    let counted = track.map_or(&[][..], |track| &track.dependencies);
    let is_counted = |dependency: &Dependency| {
        counted.iter().any(|known| (known.kind, &known.name) == (dependency.kind, &dependency.name))
    };
    let mut all: Vec<(Dependency, bool)> = counted.iter().map(|dependency| (dependency.clone(), true)).collect();
    let others = dependencies(workload).into_iter().filter(|dependency| !is_counted(dependency));
    all.extend(others.map(|dependency| (dependency, false)));
    all.sort_by(|(one, _), (other, _)| (one.kind, &one.name).cmp(&(other.kind, &other.name)));
    let standing = |(dependency, counts): (Dependency, bool)| {
        let known = world.contents().get(&id_of(&dependency, &key.namespace));
        let (existence, state, written) = match known {
            Known::Unknown => (Existence::Unknown, None, None),
            Known::Unreadable(why) => (Existence::Unreadable(why.to_owned()), None, None),
            Known::Absent => (Existence::Absent, Some(Content::Absent), None),
            Known::Present(object) => (Existence::Present, Some(Content::Present(&object.content)), object.written),
        };
        let missing = state.map(|state| missing(&[(&dependency, state)])).unwrap_or_default();
        let content = track.filter(|_| counts).map_or(Comparison::Unknown, |track| comparison(track, &dependency));
        ObjectStanding { dependency, counts, existence, content, missing, written }
    };
    all.into_iter().map(standing).collect()
}

fn comparison(track: &Track, dependency: &Dependency) -> Comparison {
    let (Some(before), Some(found)) = (&track.recorded, &track.found) else { return Comparison::Unknown };
    if before.digest == found.snapshot.digest {
        return Comparison::Same;
    }
    let name = (dependency.kind, dependency.name.clone());
    // Of what was recorded by somebody who is gone not every object may be named.
    let is_named = before.parts.contains_key(&name) || !(before.parts.is_empty() || before.is_cut);
    if !is_named || !found.snapshot.parts.contains_key(&name) {
        return Comparison::Unknown;
    }
    let mut changed = before.changed(&found.snapshot, std::slice::from_ref(dependency));
    changed.remove(&name).map_or(Comparison::Same, Comparison::Changed)
}

fn pods(world: &World, key: &WorkloadKey, object: &Object, objects: &[ObjectStanding], phase: &Phase) -> Pods {
    let mut pods: Vec<(&WorkloadKey, &PodFacts)> = match &object.pod {
        Some(pod) => vec![(key, pod)],
        None => world.pods_of(object),
    };
    pods.retain(|(_, pod)| !pod.leaving);
    pods.sort_unstable_by_key(|(key, _)| *key);
    let total = pods.len();
    if *phase == Phase::UpToDate {
        return Pods { total, ..Pods::default() };
    }
    let written = |is_meant: &dyn Fn(&ObjectStanding) -> bool| {
        objects.iter().filter(|object| is_meant(object)).filter_map(|object| object.written).max()
    };
    let changed = written(&|object| matches!(object.content, Comparison::Changed(_)));
    let changed = changed.or_else(|| written(&|_| true));
    let is_older = |pod: &PodFacts| changed.is_some_and(|changed| pod.created <= changed.as_second());
    let older = pods.iter().filter(|(_, pod)| is_older(pod)).map(|(key, _)| key.name.clone()).collect();
    Pods { total, older, changed }
}

/// The controller of a `StatefulSet` waits for each pod to be ready before it goes on, also for one that can only become so
/// by being made anew.
pub(super) fn stuck(world: &World, object: &Object) -> Vec<String> {
    let Some(rollout) = object.rollout.as_deref() else { return Vec::new() };
    let Some(newest) = &rollout.update_revision else { return Vec::new() };
    if rollout.progress == Progress::Complete || rollout.replacing != Replacing::Rolling {
        return Vec::new();
    }
    let is_stuck =
        |pod: &PodFacts| !pod.leaving && !pod.ready && pod.revision.as_ref().is_some_and(|revision| revision != newest);
    let pods = world.pods_of(object).into_iter().filter(|(_, pod)| is_stuck(pod));
    pods.map(|(key, _)| key.name.clone()).collect()
}

#[cfg(test)]
mod tests;
