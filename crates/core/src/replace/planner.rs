//! The planner: the world and the present in, writes and the next moment to look out.
//!
//! It looks again only at what a change touched, and at what waits. Nothing in it acts, and nothing reads a clock.

mod decide;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::budget::Wave;
use super::explain::stuck;
use super::flap::Changes;
use super::intent::Intent;
use super::served::{MergedCache, Served, served};
use super::snapshot::{id_of, look};
use super::told::{Begun, Held, Told};
use super::track::{State, Track, View, Write};
use super::waiting::{Reason, Waiting};
use crate::policy::PolicyId;
use crate::references::Dependency;
use crate::references::digest::DigestKey;
use crate::workload::{Kind, WorkloadKind};
use crate::world::{ConfigId, Known, Touched, WorkloadKey, World};
pub(super) use decide::Decided;

/// How long a write that was outdated waits for the newer version, if no event brings it.
pub(super) const OUTDATED: SignedDuration = SignedDuration::from_secs(5);
/// How long a pod of an older revision may be unready before its StatefulSet counts as stuck.
const STUCK_AFTER: SignedDuration = SignedDuration::from_secs(30);
/// The first time between two attempts, and the longest.
pub(super) const FIRST_RETRY: SignedDuration = SignedDuration::from_secs(1);
pub(super) const LAST_RETRY: SignedDuration = SignedDuration::from_mins(5);

/// What a step comes to.
#[derive(Debug, Default)]
pub struct Step {
    /// To be written, the first first; each is answered by [`Planner::done`].
    pub intents: Vec<Intent>,
    /// To be read.
    pub wanted: Vec<ConfigId>,
    /// Need not be known any more.
    pub unwanted: Vec<ConfigId>,
    /// Those that begin to wait for more than a moment.
    pub held: Vec<Held>,
    /// Those whose pods were to be replaced and are not any more, since they are no longer served, and why.
    pub dropped: Vec<(WorkloadKey, String)>,
    /// When to look again if nothing happens.
    pub next: Option<Timestamp>,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored, in this version.
    Written(String),
    /// There is a newer version than that which it was decided on.
    Outdated,
    /// There is no such object any more.
    Gone,
    /// Nothing was tried: somebody else leads.
    NotTried,
    /// It was refused, or there was no answer; this was said.
    Failed(String),
}

/// A workload of which it is not known yet what counts.
struct Deferred {
    /// Whether it was made, or opted in, while somebody looked.
    is_made: bool,
    /// What must be read for that.
    reads: BTreeSet<ConfigId>,
}

/// Plans which pods are replaced.
#[derive(Default)]
pub struct Planner {
    key: Option<DigestKey>,
    pub(super) tracks: BTreeMap<Arc<WorkloadKey>, Track>,
    /// What each that is pending waits for.
    pub(super) waiting: BTreeMap<Arc<WorkloadKey>, Waiting>,
    pub(super) held: BTreeMap<Arc<WorkloadKey>, Waiting>,
    pub(super) told: BTreeMap<Arc<WorkloadKey>, Told>,
    dependents: BTreeMap<ConfigId, BTreeSet<Arc<WorkloadKey>>>,
    /// Those that have been looked at and are not served.
    unserved: BTreeMap<WorkloadKey, String>,
    pending: BTreeSet<Arc<WorkloadKey>>,
    rolling: BTreeSet<Arc<WorkloadKey>>,
    failed: BTreeSet<Arc<WorkloadKey>>,
    unrecorded: BTreeSet<Arc<WorkloadKey>>,
    changes: BTreeMap<ConfigId, Changes>,
    merged: MergedCache,
    waves: BTreeMap<PolicyId, Wave>,
    records: VecDeque<Timestamp>,
    /// Those of which a write was answered since the last step.
    answered: BTreeSet<Arc<WorkloadKey>>,
    /// When all that waits was last looked at.
    pub(super) decided: Decided,
    /// The kinds of which everything has been looked at once: what is new from then on was made while somebody looked.
    seen: BTreeSet<WorkloadKind>,
    /// Those that were to be replaced when another key was taken up, by uid.
    owed: BTreeMap<WorkloadKey, String>,
    /// Those whose first look waits for something to be read, and whether they were made while somebody looked.
    deferred: BTreeMap<WorkloadKey, Deferred>,
}

impl Planner {
    /// Digests by another key cannot be compared with those before: everything is learned anew, but for what waits to be
    /// replaced. `None` while it is not known.
    pub fn use_key(&mut self, key: Option<DigestKey>) {
        let mut owed = std::mem::take(&mut self.owed);
        let pending = self.tracks.iter().filter(|(_, track)| matches!(track.state, State::Pending(_)));
        owed.extend(pending.map(|(key, track)| ((**key).clone(), track.uid.clone())));
        *self = Self { key, owed, ..Self::default() };
    }

    /// Whether the key of digests is known.
    pub fn has_key(&self) -> bool {
        self.key.is_some()
    }

    /// Whether a workload reads it.
    pub fn wants(&self, id: &ConfigId) -> bool {
        self.dependents.contains_key(id)
    }

    /// Every ConfigMap and Secret that a workload reads.
    pub fn wanted(&self) -> impl Iterator<Item = &ConfigId> {
        self.dependents.keys()
    }

    /// Takes in what changed, and plans. Without `acts`, as on a replica that does not lead, nothing is handed out.
    pub fn step(&mut self, world: &World, touched: &Touched, now: Timestamp, acts: bool) -> Step {
        let mut step = Step::default();
        if self.key.is_none() {
            return step;
        }
        if touched.all_rollouts {
            self.merged.clear();
        }
        for id in &touched.contents {
            self.note_change(world, id, now);
        }
        for key in self.due(world, touched, now) {
            self.decided.is_stale = true;
            self.look_at(world, &key, now, &mut step);
            self.look_for_stuck_pods(world, &key, now, acts, &mut step);
        }
        self.seen.extend(world.known_kinds().filter(|kind| !self.seen.contains(kind)).cloned().collect::<Vec<_>>());
        self.decide(world, now, acts, &mut step);
        step
    }

    /// The workloads that must be looked at.
    fn due(&mut self, world: &World, touched: &Touched, now: Timestamp) -> BTreeSet<WorkloadKey> {
        if touched.all_rollouts {
            let gone = self.tracks.keys().map(|key| (**key).clone()).chain(self.unserved.keys().cloned());
            let there = world.objects().filter(|(_, object)| object.rollout.is_some()).map(|(key, _)| key.clone());
            return gone.chain(there).collect();
        }
        let mut due = touched.rollouts.clone();
        for id in &touched.contents {
            due.extend(self.dependents.get(id).into_iter().flatten().map(|key| (**key).clone()));
        }
        if !touched.names.is_empty() {
            let has_patterns = |key: &WorkloadKey| {
                let rollout = world.object(key).and_then(|object| object.rollout.as_ref());
                rollout.and_then(|rollout| rollout.reloader.as_ref()).is_some_and(|reloader| reloader.has_patterns())
            };
            let is_in = |key: &&WorkloadKey| touched.names.iter().any(|(_, namespace)| *namespace == key.namespace);
            let known = self.tracks.keys().map(|key| &**key).chain(self.unserved.keys()).chain(self.deferred.keys());
            due.extend(known.filter(is_in).filter(|key| has_patterns(key)).cloned());
        }
        // The event that tells of a write may have come before its answer.
        due.extend(std::mem::take(&mut self.answered).iter().map(|key| (**key).clone()));
        // What time alone changes.
        let is_due = |key: &&Arc<WorkloadKey>| self.tracks.get(*key).is_some_and(|track| track.is_due(now));
        due.extend(self.rolling.iter().chain(&self.pending).filter(is_due).map(|key| (**key).clone()));
        let ends = |held: &Waiting| held.until.is_some_and(|until| until <= now);
        due.extend(self.held.iter().filter(|(_, held)| ends(held)).map(|(key, _)| (**key).clone()));
        due
    }

    fn note_change(&mut self, world: &World, id: &ConfigId, now: Timestamp) {
        let mut hasher = DefaultHasher::new();
        let mut writer = None;
        match world.contents().get(id) {
            Known::Present(object) => {
                object.content.hash(&mut hasher);
                writer = object.writer.as_deref();
            }
            Known::Absent => {}
            Known::Unknown | Known::Unreadable(_) => return,
        }
        self.changes.entry(id.clone()).or_default().push(now, hasher.finish(), writer);
        if self.changes.len() > 2 * self.dependents.len() + 64 {
            self.changes.retain(|_, changes| !changes.is_forgotten(now));
        }
    }

    /// Looks at one workload, and what it reads.
    fn look_at(&mut self, world: &World, key: &WorkloadKey, now: Timestamp, step: &mut Step) {
        let object = world.object(key);
        let Some((object, rollout)) = object.and_then(|object| Some((object, object.rollout.as_deref()?))) else {
            self.forget(key, step);
            self.unserved.remove(key);
            self.give_up(key, step);
            return;
        };
        if rollout.leaving {
            return self.forget(key, step);
        }
        let (merged, dependencies, marked, held) = match served(world, key, object, rollout, &mut self.merged, now) {
            Served::Yes { merged, dependencies, marked, held } => (merged, dependencies, marked, held),
            Served::NotYet(unread) => {
                // Which of it counts is not known: what is half known would be taken for a change of what is read.
                let before = self.deferred.remove(key);
                let is_made = match &before {
                    Some(before) => before.is_made,
                    None => self.unserved.remove(key).is_some() || self.seen.contains(&key.kind),
                };
                for id in &unread {
                    self.dependents.entry(id.clone()).or_default().insert(Arc::new(key.clone()));
                }
                step.wanted.extend(unread.iter().cloned());
                let reads = before.into_iter().flat_map(|before| before.reads).chain(unread).collect();
                self.deferred.insert(key.clone(), Deferred { is_made, reads });
                return;
            }
            Served::No(why) => {
                if self.tracks.get(key).is_some_and(|track| matches!(track.state, State::Pending(_))) {
                    step.dropped.push((key.clone(), why.clone()));
                }
                self.forget(key, step);
                self.give_up(key, step);
                self.unserved.insert(key.clone(), why);
                return;
            }
        };
        if self.tracks.get(key).is_some_and(|track| track.uid != object.uid) {
            self.forget(key, step);
        }
        // A new opt-in or a policy's edit is no change of what its pods read, nor is being made.
        let is_new = !self.tracks.contains_key(key);
        let is_made = match self.deferred.remove(key) {
            Some(deferred) => deferred.is_made,
            None => self.unserved.remove(key).is_some() || self.seen.contains(&key.kind),
        };
        let adopts = is_new && is_made;
        let key = match self.tracks.get_key_value(key) {
            Some((key, _)) => Arc::clone(key),
            None => Arc::new(key.clone()),
        };
        let is_other = self.tracks.get(&key).is_none_or(|track| track.dependencies != dependencies);
        if is_other || self.tracks.get(&key).is_some_and(|track| track.marked != marked) {
            self.depend(&key, &dependencies, &marked, step);
        }
        match held {
            Some(held) => drop(self.held.insert(Arc::clone(&key), held)),
            None => drop(self.held.remove(&key)),
        }
        let Some(digest_key) = &self.key else { return };
        let new = || Track::new(&object.uid, Arc::clone(&merged), rollout, now);
        let track = self.tracks.entry(Arc::clone(&key)).or_insert_with(new);
        track.merged = merged;
        track.dependencies = dependencies;
        track.marked = marked;
        track.adopts |= adopts;
        if is_new && self.owed.remove(&*key).is_some_and(|uid| uid == object.uid) {
            (track.owes, track.adopts) = (true, false);
        }
        track.is_other |= is_other && !is_new;
        match look(&track.dependencies, &key.namespace, world.contents(), digest_key) {
            Err(waiting) => {
                if waiting.reason == Reason::NotReadYet {
                    let ids = track.dependencies.iter().map(|dependency| id_of(dependency, &key.namespace));
                    step.wanted.extend(ids.filter(|id| matches!(world.contents().get(id), Known::Unknown)));
                }
                track.state = State::Unknown(waiting);
                track.found = None;
            }
            Ok(found) => {
                let has_deadline = key.kind.built_in() == Some(Kind::Deployment);
                let view = View { world, object, rollout, key: digest_key, has_deadline, now };
                let available = track.available;
                track.look(&view, &found);
                track.found = Some(found);
                if track.available > available {
                    for id in &track.merged.policies {
                        if let Some(wave) = self.waves.get_mut(id) {
                            wave.last = Some(now);
                        }
                    }
                }
            }
        }
        self.sort(&key, now);
    }

    /// The controller of a StatefulSet may wait for a pod for ever. Its data may hang on it: it is told, and never deleted.
    fn look_for_stuck_pods(&mut self, world: &World, key: &WorkloadKey, now: Timestamp, acts: bool, step: &mut Step) {
        let Some((key, track)) = self.tracks.get_key_value(key) else { return };
        if key.kind.built_in() != Some(Kind::StatefulSet) || !matches!(track.state, State::Rolling | State::Failed) {
            return;
        }
        let key = Arc::clone(key);
        let object = world.object(&key);
        let rolled = track.rolled.or_else(|| object.and_then(|object| object.rollout.as_ref()?.rolled));
        // A pod that is just being replaced is not ready either.
        let is_long = rolled.is_some_and(|rolled| now.duration_since(rolled) >= STUCK_AFTER);
        let pods = object.filter(|_| is_long).map(|object| stuck(world, object)).unwrap_or_default();
        if let Some(pod) = pods.first() {
            let message = format!(
                "pod {pod} is of an older revision and not ready, so its controller goes no further; \
                 kubectl delete pod {pod} -n {}",
                key.namespace
            );
            self.wait(key, Waiting::for_event(Reason::StuckRevision, message), now, acts, step);
        } else {
            self.waiting.remove(&key);
        }
    }

    /// Puts a workload among those of its state.
    fn sort(&mut self, key: &Arc<WorkloadKey>, now: Timestamp) {
        let Some(track) = self.tracks.get(key) else { return };
        let put = |set: &mut BTreeSet<Arc<WorkloadKey>>, belongs: bool| {
            if belongs {
                set.insert(Arc::clone(key))
            } else {
                set.remove(key)
            };
        };
        let is_taken = matches!(&track.write, Write::Taken { stamp: Some(_), .. }) || track.attempt.is_some();
        put(&mut self.pending, matches!(track.state, State::Pending(_) | State::Unknown(_)));
        let is_rolling = track.state == State::Rolling || track.may_be_ours_and_not_done() || is_taken;
        put(&mut self.rolling, is_rolling || track.warm(now).is_some());
        put(&mut self.failed, track.state == State::Failed);
        put(&mut self.unrecorded, track.record.is_some());
        let is_stuck = self.waiting.get(key).is_some_and(|waiting| waiting.reason == Reason::StuckRevision);
        let stays = is_stuck && matches!(track.state, State::Rolling | State::Failed);
        if !(stays || self.pending.contains(key)) {
            self.waiting.remove(key);
        }
    }

    fn depend(&mut self, key: &Arc<WorkloadKey>, dependencies: &[Dependency], marked: &[ConfigId], step: &mut Step) {
        let counted = dependencies.iter().map(|dependency| id_of(dependency, &key.namespace));
        let ids: BTreeSet<ConfigId> = counted.chain(marked.iter().cloned()).collect();
        let before = self.tracks.get(key).map(|track| track.ids(&key.namespace)).unwrap_or_default();
        for id in before.difference(&ids) {
            self.undepend(key, id, step);
        }
        for id in ids.difference(&before) {
            self.dependents.entry(id.clone()).or_default().insert(Arc::clone(key));
        }
    }

    fn undepend(&mut self, key: &WorkloadKey, id: &ConfigId, step: &mut Step) {
        if let Some(dependents) = self.dependents.get_mut(id) {
            dependents.remove(key);
            if dependents.is_empty() {
                self.dependents.remove(id);
                self.changes.remove(id);
                step.unwanted.push(id.clone());
            }
        }
    }

    /// Nothing waits for a first look at it any more.
    fn give_up(&mut self, key: &WorkloadKey, step: &mut Step) {
        for id in self.deferred.remove(key).into_iter().flat_map(|deferred| deferred.reads) {
            self.undepend(key, &id, step);
        }
    }

    fn forget(&mut self, key: &WorkloadKey, step: &mut Step) {
        let Some(track) = self.tracks.remove(key) else { return };
        for id in track.ids(&key.namespace) {
            self.undepend(key, &id, step);
        }
        for set in [&mut self.pending, &mut self.rolling, &mut self.failed, &mut self.unrecorded] {
            set.remove(key);
        }
        self.waiting.remove(key);
        self.told.remove(key);
        self.held.remove(key);
    }

    /// What became of a write. Tells of a replacement that has begun.
    pub fn done(&mut self, intent: &Intent, outcome: Outcome, now: Timestamp) -> Option<Begun> {
        let target = intent.target();
        self.decided.is_stale = true;
        let (key, _) = self.tracks.get_key_value(&target.key)?;
        let key = Arc::clone(key);
        self.answered.insert(Arc::clone(&key));
        let track = self.tracks.get_mut(&key).filter(|track| track.uid == target.uid)?;
        let attempt = if intent.rolls() { track.attempt.take() } else { None };
        let on = Box::from(target.resource_version.as_str());
        let mut begun = None;
        match outcome {
            Outcome::Written(version) if *version == *on => {
                // Nothing was changed: it stands there already, or the API server takes nothing of it.
                if let Some(record) = track.record.take() {
                    track.taken_away.note(record, now);
                }
                track.write = Write::Idle;
                if attempt.is_some() {
                    track.fail("the API server stored it and changed nothing", now);
                }
            }
            Outcome::Written(_) => {
                let stamp = attempt.as_ref().map(|(snapshot, _)| snapshot.digest.to_string().into());
                track.write = Write::Taken { on, stamp };
                (track.attempts, track.conflicts) = (0, 0);
                if let Some((snapshot, cause)) = attempt {
                    let seen = track.seen.map(|(first, _)| first);
                    self.told.remove(&key);
                    track.has_rolled(snapshot, cause.clone(), now);
                    begun = Some(Begun { key: target.key.clone(), uid: target.uid.clone(), cause, seen });
                } else if let Some(record) = track.record.take() {
                    track.taken_away.note(record, now);
                }
            }
            // The event that says so is on its way.
            Outcome::Outdated => track.conflict(on, "there is a newer version of it (409 Conflict)", now),
            Outcome::Gone => track.conflict(on, "there is no such object (404 Not Found)", now),
            Outcome::NotTried => track.write = Write::Idle,
            Outcome::Failed(message) => track.fail(&message, now),
        }
        self.sort(&key, now);
        begun
    }

    /// What holds up the replacing of a workload's pods; none where nothing is to be replaced, or it has begun.
    pub fn waiting(&self, key: &WorkloadKey) -> Option<&Waiting> {
        self.waiting.get(key)
    }

    /// Why a workload is not served; none where it is, or is none.
    pub fn unserved(&self, key: &WorkloadKey) -> Option<&str> {
        self.unserved.get(key).map(String::as_str)
    }
}

fn soonest(next: &mut Option<Timestamp>, other: Option<Timestamp>) {
    *next = match (*next, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
}
