//! What the planner remembers of one workload, and how a look at the world changes that. No clock.
//!
//! Level, not edge: what counts is what is recorded on the object and what the content is now. What is remembered beside it
//! only makes that exact: which pods were made of which content, and who changed a template.

mod age;
mod taken_away;
mod timers;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::cause::{Cause, ChangedObject};
use super::merge::Merged;
use super::record::{self, Recorded, RecordedBy, read_differs_since, recorded, recorded_before};
use super::snapshot::{Now, Snapshot, id_of};
use super::waiting::Waiting;
use crate::references::Dependency;
use crate::references::digest::DigestKey;
use crate::workload::PodFacts;
use crate::workload::rollout::{Progress, Rollout};
use crate::world::{ConfigId, Object, World};

use age::{newest_pod, read_by_all};
pub(super) use taken_away::TakenAway;
pub(super) use write::Write;

/// What stands on a workload: its stamp and its baseline.
pub(super) type Written = (Option<Box<str>>, Option<Box<str>>);

/// What is remembered of a workload.
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(super) struct Track {
    pub uid: String,
    /// What its policies ask for.
    pub merged: Arc<Merged>,
    /// What its pods read.
    pub dependencies: Vec<Dependency>,
    /// What decides which of it counts.
    pub marked: Vec<ConfigId>,
    /// The template as it was last seen: a hash of it without what is ours, and its stamp.
    pub template: (u64, Option<Box<str>>),
    /// What the content is, as it was last seen.
    pub current: Option<Snapshot>,
    /// What the pods were started with, as far as that is known.
    pub recorded: Option<Snapshot>,
    /// The template of which that is known: of another one there may be pods that are older than it.
    pub trusted: Option<(u64, Option<Box<str>>)>,
    /// When the content first was another one than what is recorded, as the API server tells time.
    pub differs_since: Option<Timestamp>,
    /// When the newest pod that was known then was made, in seconds, whatever a clock of ours says.
    pub newest_before: Option<i64>,
    /// When the content last changed, as the API server tells time: a pod made before may have read the old one.
    pub changed: Option<Timestamp>,
    /// From when to when pods were made that a rollout of ours, which is not done, replaces: who takes it back brings them
    /// back.
    pub left_over: Option<(Timestamp, Timestamp)>,
    /// When a change was first and last seen that is not replaced yet.
    pub seen: Option<(Timestamp, Timestamp)>,
    /// Since when a template of somebody else is under way.
    pub foreign_since: Option<Timestamp>,
    /// When the operator last replaced its pods.
    pub rolled: Option<Timestamp>,
    /// The same as the object noted it at the last look.
    pub rolled_as_noted: Option<Timestamp>,
    /// Since when its pods, replaced by the operator, have been available again.
    pub available: Option<Timestamp>,
    /// How often each manager took back what the operator wrote for the present content.
    pub reverts: BTreeMap<Box<str>, u32>,
    /// Why pods were last replaced.
    pub cause: Option<Cause>,
    pub write: Write,
    pub state: State,
    /// Whose rollout the template's is: ours, somebody else's, or unknown to an operator that has just started.
    pub ours: Option<bool>,
    /// How far it was at the last look. Once complete, it stays so until its pods are replaced again: a record alone makes
    /// a Deployment look as if it were under way.
    pub progress: Progress,
    /// What must be written on the metadata, so that others know what the planner knows.
    pub record: Option<Wanted>,
    /// The stamps since all of its pods were last of one template: pods of each of them may be alive. None before that was seen.
    pub since_complete: Option<BTreeSet<Box<str>>>,
    /// How often somebody has taken away what was noted there.
    pub taken_away: TakenAway,
    /// What its objects are, as far as they could be read.
    pub found: Option<Now>,
    /// What is being written, and why.
    pub attempt: Option<(Snapshot, Cause)>,
    /// The stamp that was last tried to be written, whether the answer came or not.
    pub tried: Option<Box<str>>,
    /// How many attempts have failed in a row.
    pub attempts: u32,
    /// How often the API server told of another version since it took a write.
    pub conflicts: u32,
    /// Whether its pods are taken to read what is current at the next look, whatever is recorded.
    pub adopts: bool,
    /// The stamp and the baseline about which more is known than they say: until they are written anew, what is recorded
    /// is what is remembered.
    pub overruled: Option<Written>,
    /// Whether something that its pods need was missing at the last look, and it counts as up to date all the same.
    pub lacked: bool,
    /// Whether its pods are to be replaced though no record says so any more.
    pub owes: bool,
    /// Whether it reads other objects than at the last look.
    pub is_other: bool,
    /// Whether its waiting has been looked at since it is a long one.
    pub is_noted: bool,
}

/// Where a workload stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Its pods read what is current.
    UpToDate,
    /// Its pods are being replaced by the operator.
    Rolling,
    /// They were, and it did not become available within its deadline.
    Failed,
    /// Its pods are to be replaced.
    Pending(Cause),
    /// Whether they are cannot be said, or not yet.
    Unknown(Waiting),
}

/// What is to be recorded on the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wanted {
    pub baseline: Option<String>,
    pub sources: Option<String>,
    pub differs_since: Option<String>,
}

/// What is looked at.
pub(super) struct View<'a> {
    pub world: &'a World,
    pub object: &'a Object,
    pub rollout: &'a Rollout,
    pub key: &'a DigestKey,
    /// Whether its controller tells that it takes too long.
    pub has_deadline: bool,
    pub now: Timestamp,
}

/// How many managers are remembered that take back what was written.
const MOST_MANAGERS: usize = 8;
/// How long a change waits before it is noted on the object since when it does.
const NOTED_AFTER: SignedDuration = SignedDuration::from_secs(30);

impl Track {
    pub(super) fn new(uid: &str, merged: Arc<Merged>, rollout: &Rollout, now: Timestamp) -> Self {
        let writer = rollout.writer.as_ref().map(|writer| writer.time);
        let is_ours = rollout.rolled.is_some_and(|rolled| writer.is_none_or(|writer| writer <= rolled));
        // Whose rollout is under way at the first look can only be told by who wrote last.
        let foreign_since =
            (rollout.progress == Progress::UnderWay && !is_ours).then(|| writer.unwrap_or(now).min(now));
        Self {
            uid: uid.to_owned(),
            merged,
            dependencies: Vec::new(),
            marked: Vec::new(),
            template: (rollout.template, rollout.stamp.clone()),
            current: None,
            recorded: None,
            trusted: None,
            differs_since: None,
            newest_before: None,
            changed: None,
            left_over: None,
            seen: None,
            foreign_since,
            rolled: None,
            rolled_as_noted: None,
            available: None,
            reverts: BTreeMap::new(),
            cause: None,
            write: Write::Idle,
            state: State::UpToDate,
            ours: match rollout.rolled {
                None => Some(false),
                // Somebody else may have written only what replaces nothing.
                Some(_) => is_ours.then_some(true),
            },
            progress: rollout.progress,
            record: None,
            since_complete: None,
            taken_away: TakenAway::default(),
            found: None,
            attempt: None,
            tried: None,
            attempts: 0,
            conflicts: 0,
            adopts: false,
            overruled: None,
            lacked: false,
            owes: false,
            is_other: false,
            is_noted: false,
        }
    }

    /// The objects that must be known of it, in its namespace.
    pub(super) fn ids(&self, namespace: &str) -> BTreeSet<ConfigId> {
        let dependencies = self.dependencies.iter().map(|dependency| id_of(dependency, namespace));
        dependencies.chain(self.marked.iter().cloned()).collect()
    }

    /// What is remembered happened before now, also where the clock was set back.
    fn set_back(&mut self, view: &View<'_>) {
        let (now, set_back) = (view.now, |time: &mut Timestamp| *time = (*time).min(view.now));
        for time in [&mut self.foreign_since, &mut self.rolled, &mut self.available].into_iter().flatten() {
            set_back(time);
        }
        if let Some((first, last)) = &mut self.seen {
            set_back(first);
            set_back(last);
        }
        // Another replica may have replaced its pods; what counts then is this clock, whatever the API server's says.
        if self.rolled_as_noted != view.rollout.rolled {
            self.rolled_as_noted = view.rollout.rolled;
            self.rolled = self.rolled.max(view.rollout.rolled.map(|rolled| rolled.min(now)));
        }
    }

    /// Whether the operator's own replacement is under way or has failed, whatever is current by now.
    pub(super) fn is_ours_and_not_done(&self) -> bool {
        let is_ours = self.ours == Some(true) && self.template.1.is_some() && self.foreign_since.is_none();
        is_ours && self.progress != Progress::Complete
    }

    /// Whether a replacement that may be the operator's own is not done.
    pub(super) fn may_be_ours_and_not_done(&self) -> bool {
        let is_unknown = self.ours.is_none() && self.template.1.is_some() && self.progress != Progress::Complete;
        is_unknown || self.is_ours_and_not_done()
    }

    /// Its pods are being replaced.
    pub(super) fn has_rolled(&mut self, snapshot: Snapshot, cause: Cause, now: Timestamp) {
        self.recorded = Some(snapshot);
        self.rolled = Some(now);
        self.available = None;
        self.cause = Some(cause);
        self.record = None;
        self.state = State::Rolling;
        self.leave_over(now);
    }

    /// What is older is being replaced.
    fn leave_over(&mut self, now: Timestamp) {
        self.ours = Some(true);
        self.progress = Progress::UnderWay;
        self.foreign_since = None;
        if let Some(since) = self.differs_since {
            self.left_over = Some((since, self.changed.unwrap_or(now)));
        }
        self.forget_change();
    }

    /// Takes in what the workload and what it reads are now.
    pub(super) fn look(&mut self, view: &View<'_>, found: &Now) {
        if matches!(&self.write, Write::Taken { on, .. } if **on == *view.rollout.resource_version) {
            // What is seen of it is older than what was written.
            return;
        }
        self.set_back(view);
        let adopts = std::mem::take(&mut self.adopts);
        let other_dependencies = std::mem::take(&mut self.is_other);
        let is_taken_back = self.note_template(view, &found.snapshot.digest.to_string());
        let (mut before, by) = self.resolve(view, &found.snapshot, adopts);
        if std::mem::take(&mut self.owes) {
            before = Snapshot::recorded(found.snapshot.digest.of_nothing(), None);
        }
        let is_first = self.current.is_none();
        if (other_dependencies || is_first)
            && before.digest != found.snapshot.digest
            && before.agrees_with(&found.snapshot, &self.dependencies, view.key)
        {
            // It reads other objects than before; those of before are as they were.
            before = found.snapshot.clone();
            self.forget_change();
        }
        if std::mem::take(&mut self.lacked)
            && before.digest != found.snapshot.digest
            && !view.world.pods_of(view.object).iter().any(|(_, pod)| pod.ready)
        {
            // Its first pods waited for what was missing, and start with what is there now.
            before = found.snapshot.clone();
            self.forget_change();
        }
        if is_taken_back
            && !other_dependencies
            && self.current.as_ref().is_some_and(|last| last.digest != before.digest)
        {
            // Its pods read what was current, whatever the record says that it brought back.
            let since = view.rollout.writer.as_ref().map_or(view.now, |writer| writer.time.min(view.now));
            self.differs_since = self.differs_since.or(Some(since));
        }
        self.note_content(view, found, &before, other_dependencies);
        self.record = None;
        let differs = before.digest != found.snapshot.digest;
        self.state = if differs { self.differing(view, found, &mut before) } else { self.equal(view, &before, by) };
        // What is known better than it is written must outlast every look until it is written.
        self.overruled = match recorded(view.rollout, &before.digest) {
            Recorded::Content(digest, _) if digest != before.digest => Some(written(view.rollout)),
            _ => None,
        };
        if self.progress != Progress::Complete {
            self.progress = view.rollout.progress;
        }
        self.lacked = !found.missing.is_empty() && before.digest == found.snapshot.digest;
        if view.rollout.progress == Progress::Complete {
            self.since_complete = Some(BTreeSet::new());
        }
        if let Some(stamps) = &mut self.since_complete {
            stamps.extend(view.rollout.stamp.clone());
        }
        self.recorded = Some(before);
        self.current = Some(found.snapshot.clone());
        self.want_record(view, by);
    }

    /// Tells our own template from somebody else's; returns whether it has become somebody else's.
    fn note_template(&mut self, view: &View<'_>, current: &str) -> bool {
        let now = (view.rollout.template, view.rollout.stamp.clone());
        let mut expected = self.template.clone();
        match &self.write {
            Write::Taken { stamp, .. } => {
                if let Some(stamp) = stamp {
                    expected.1 = Some(stamp.clone());
                }
                self.write = Write::Idle;
            }
            Write::Outdated { on, .. } if **on != *view.rollout.resource_version => self.write = Write::Idle,
            _ => {}
        }
        // Another replica may have led, and an answer may have been lost.
        let is_ours =
            now.0 == expected.0 && now.1.is_some() && (now.1 == self.tried || now.1.as_deref() == Some(current));
        let is_foreign = now != expected && !is_ours;
        if is_foreign {
            self.foreign_since = Some(view.now);
            self.ours = Some(false);
            // A deploy that keeps the stamp brings nothing back.
            if expected.1 != now.1
                && let Some((since, until)) = self.left_over.take()
            {
                self.differs_since = Some(self.differs_since.map_or(since, |known| known.min(since)));
                self.changed = Some(self.changed.map_or(until, |known| known.max(until)));
            }
            if expected.1.is_some() && expected.1 != now.1 && self.reverts.len() < MOST_MANAGERS {
                let manager = view.rollout.writer.as_ref().map_or("unknown", |writer| &*writer.manager);
                *self.reverts.entry(manager.into()).or_default() += 1;
            }
        }
        if is_ours && now != self.template {
            self.leave_over(view.now);
        }
        self.template = now;
        let is_settled = view.rollout.progress != Progress::UnderWay;
        if is_settled && self.foreign_since.is_some_and(|since| since < view.now) {
            self.foreign_since = None;
        }
        is_foreign
    }

    /// What the pods were started with, and who says so.
    fn resolve(&mut self, view: &View<'_>, now: &Snapshot, adopts: bool) -> (Snapshot, Option<RecordedBy>) {
        if adopts {
            self.forget_change();
            self.trusted = Some(self.template.clone());
            return (now.clone(), None);
        }
        let comparable = |snapshot: &Snapshot| snapshot.digest.is_comparable(&now.digest);
        let known = self.recorded.take();
        if self.overruled.take().is_some_and(|overruled| overruled == written(view.rollout))
            && let Some(known) = known.clone().filter(comparable)
        {
            return (known, None);
        }
        match recorded(view.rollout, &now.digest) {
            Recorded::Content(digest, by) => {
                self.trusted = Some(self.template.clone());
                // In memory it is known which objects it was of.
                let snapshot = match known {
                    Some(known) if known.digest == digest => known,
                    _ if now.digest == digest => now.clone(),
                    _ => Snapshot::recorded(digest, view.rollout.sources.as_deref().and_then(record::Sources::read)),
                };
                (snapshot, Some(by))
            }
            Recorded::Nothing => {
                if let Some(known) = known.filter(comparable) {
                    return (known, None);
                }
                if let Some(digest) = recorded_before(view.rollout, &now.digest) {
                    let sources = view.rollout.sources.as_deref().and_then(record::Sources::read);
                    return (Snapshot::recorded(digest, sources), None);
                }
                // Seen for the first time, or recorded in a way that cannot be compared: never a reason to replace.
                self.trusted = Some(self.template.clone());
                (now.clone(), None)
            }
        }
    }

    /// Notes when the content changed.
    fn note_content(&mut self, view: &View<'_>, found: &Now, before: &Snapshot, other_dependencies: bool) {
        let now = &found.snapshot;
        let differs = before.digest != now.digest;
        let is_first = self.current.is_none();
        let had_differed = self.differs_since.is_some();
        match &self.current {
            Some(last) if last.digest == now.digest => {}
            Some(last) if !other_dependencies || differs => {
                let changed = last.changed(now, &self.dependencies);
                // What is only removed leaves the note of the last writing as it was: then it says nothing.
                let known = self.found.as_ref().map(|before| &before.written);
                let noted = |name| {
                    let written = found.written.get(name)?;
                    let before = known.and_then(|known| known.get(name));
                    before.is_some_and(|before| before < written).then_some(*written)
                };
                let written: Option<Vec<Timestamp>> = changed.keys().map(noted).collect();
                let written = written.unwrap_or_default();
                self.changed = Some(read_by_all(view, written.iter().max().copied()));
                if differs {
                    let began = written.iter().min().map_or(view.now, |written| view.now.min(*written));
                    self.differs_since = self.differs_since.or(Some(began));
                    self.seen = Some((self.seen.map_or(view.now, |(first, _)| first), view.now));
                    self.reverts.clear();
                }
            }
            Some(_) => {}
            None if differs => {
                // It changed while nobody looked. Every pod that is there may be older: what was only removed leaves the
                // note of the last writing as it was.
                self.changed = Some(read_by_all(view, None));
                let noted = read_differs_since(view.rollout, &before.digest).map(|since| since.min(view.now));
                self.differs_since = noted.or(Some(view.now));
                self.seen = Some((view.now, view.now));
            }
            None => {
                self.changed = found.last_written();
                self.differs_since = read_differs_since(view.rollout, &before.digest);
            }
        }
        if self.differs_since.is_some() && !had_differed && !is_first {
            self.newest_before = newest_pod(view);
        }
    }

    /// The content is another one than what is recorded.
    fn differing(&mut self, view: &View<'_>, found: &Now, before: &mut Snapshot) -> State {
        let cause = found.cause(before, &self.dependencies);
        let pods = view.world.pods_of(view.object);
        let mut alive = pods.iter().filter(|(_, pod)| !pod.leaving).peekable();
        let changed = self.changed;
        let is_old = |created: i64| changed.is_none_or(|changed| created <= changed.as_second());
        if alive.peek().is_some() && !alive.any(|(_, pod)| is_old(pod.created)) {
            // Every pod was made after the change, by a deploy or by chance: there is nothing to replace.
            // Until that is recorded the change is remembered: what is recorded may return.
            *before = found.snapshot.clone();
            self.seen = None;
            self.trusted = Some(self.template.clone());
            return self.progress(view, None);
        }
        State::Pending(cause)
    }

    /// The content is what is recorded.
    fn equal(&mut self, view: &View<'_>, before: &Snapshot, by: Option<RecordedBy>) -> State {
        let pods = view.world.pods_of(view.object);
        let alive = || pods.iter().filter(|(_, pod)| !pod.leaving);
        if let Some(since) = self.differs_since {
            // A pod that was made meanwhile has read what nobody wants any more.
            let returned = self.changed.unwrap_or(view.now).as_second();
            let newest = self.newest_before;
            let made_meanwhile = |pod: &PodFacts| {
                let is_new = since.as_second() <= pod.created || newest.is_some_and(|newest| newest < pod.created);
                // One that is not ready may have waited, and read it when it started.
                pod.created <= returned && (is_new || !pod.ready)
            };
            let done = view.rollout.cause.as_deref().map(Cause::read);
            let is_done = done.is_some_and(|done| done.returned_since == Some(since));
            if !is_done && alive().any(|(_, pod)| made_meanwhile(pod)) {
                return State::Pending(self.cause_of_return(before, since));
            }
            self.forget_change();
        }
        if self.trusted.as_ref() != Some(&self.template) {
            // The template is somebody else's, and of the one before pods may be there that are older than the content.
            let is_old = |created: i64| self.changed.is_some_and(|changed| created <= changed.as_second());
            if alive().any(|(_, pod)| is_old(pod.created)) {
                return match view.rollout.progress {
                    Progress::UnderWay => State::UpToDate,
                    _ => State::Pending(self.cause.clone().unwrap_or_else(|| cause_of_all(before))),
                };
            }
            self.trusted = Some(self.template.clone());
        }
        self.seen = None;
        self.progress(view, by)
    }

    fn cause_of_return(&self, before: &Snapshot, since: Timestamp) -> Cause {
        let mut cause = match &self.state {
            State::Pending(cause) => cause.clone(),
            _ => Cause::default(),
        };
        if cause.objects.is_empty() {
            cause = cause_of_all(before);
        }
        cause.returned_since = Some(since);
        cause
    }

    /// How far a rollout is whose pods read what is current.
    fn progress(&mut self, view: &View<'_>, by: Option<RecordedBy>) -> State {
        let is_ours = by == Some(RecordedBy::Stamp) && self.ours != Some(false);
        let was_rolling = matches!(self.state, State::Rolling | State::Failed);
        match (view.rollout.progress, self.rolled) {
            (Progress::Complete, _) => {
                if was_rolling {
                    self.available = Some(view.now);
                }
                self.left_over = None;
                State::UpToDate
            }
            (Progress::Failed, Some(_)) if is_ours => State::Failed,
            (Progress::UnderWay, Some(rolled)) if is_ours => {
                let overdue = view.now.duration_since(rolled) >= self.merged.progress_deadline;
                // A kind with a deadline of its own says so itself.
                if overdue && !view.has_deadline { State::Failed } else { State::Rolling }
            }
            _ => State::UpToDate,
        }
    }

    pub(super) fn forget_change(&mut self) {
        self.differs_since = None;
        self.newest_before = None;
        self.seen = None;
    }

    /// Compares what stands on the metadata with what must stand there.
    fn want_record(&mut self, view: &View<'_>, by: Option<RecordedBy>) {
        let is_long = self.seen.is_some_and(|(first, _)| view.now.duration_since(first) >= NOTED_AFTER);
        self.is_noted = is_long;
        let (Some(recorded), rollout) = (&self.recorded, view.rollout) else { return };
        // Where pods may be older than what is recorded, nothing is said of them; nor where they read nothing that counts.
        if self.dependencies.is_empty() || self.trusted.as_ref() != Some(&self.template) {
            return;
        }
        let stamp = rollout.stamp.as_deref();
        let is_stamped = by == Some(RecordedBy::Stamp) && stamp == Some(recorded.digest.to_string().as_str());
        let baseline = (!is_stamped).then(|| record::baseline(stamp, &recorded.digest));
        let noted = read_differs_since(rollout, &recorded.digest);
        let differs_since = match (&self.state, self.differs_since) {
            (State::Pending(_), Some(since)) if is_long || noted.is_some() => {
                // Once noted it stays as it was noted.
                Some(record::differs_since(&recorded.digest, noted.unwrap_or(since)))
            }
            _ => None,
        };
        let is_written = (baseline.is_none() || rollout.baseline.as_deref() == baseline.as_deref())
            && (differs_since.as_deref() == rollout.differs_since.as_deref()
                || differs_since.is_none() && noted.is_none());
        let sources = baseline.is_some().then(|| recorded.sources().write());
        self.record = (!is_written).then_some(Wanted { baseline, sources, differs_since });
    }
}

/// What stands on a workload now.
fn written(rollout: &Rollout) -> Written {
    (rollout.stamp.clone(), rollout.baseline.clone())
}

/// Where nobody knows which of them changed.
fn cause_of_all(snapshot: &Snapshot) -> Cause {
    let named = snapshot.parts.keys();
    let objects =
        named.map(|(kind, name)| ChangedObject { kind: *kind, name: name.to_string(), keys: BTreeSet::new() });
    Cause { objects: objects.collect(), returned_since: None }
}
