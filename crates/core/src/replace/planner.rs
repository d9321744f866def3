//! The planner: the world and the present in, writes and the next moment to look out.
//!
//! It looks again only at what a change touched, and at what waits. Nothing in it acts, and nothing reads a clock.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::after;
use super::budget::{Budget, Budgets, Wave};
use super::cause::Cause;
use super::flap::{Changes, Flapping};
use super::gates::Gate;
use super::intent::{Intent, Target};
use super::served::{MergedCache, Served, served};
use super::settings::OnFailure;
use super::snapshot::{id_of, look};
use super::track::{LAST_RETRY, OUTDATED, State, Track, View, Write};
use super::waiting::{Reason, Waiting};
use crate::policy::PolicyId;
use crate::references::Dependency;
use crate::references::digest::DigestKey;
use crate::workload::Kind;
use crate::workload::rollout::Rollout;
use crate::world::{ConfigId, Known, Touched, WorkloadKey, World};

/// How many records are handed out in any second: each raises the generation and is copied to a ReplicaSet.
const RECORDS_A_SECOND: usize = 20;
/// The first time between two attempts.
const FIRST_RETRY: SignedDuration = SignedDuration::from_secs(1);
/// How many changed workloads wait at most before nobody is told which.
const SECOND: SignedDuration = SignedDuration::from_secs(1);

/// What a step comes to.
#[derive(Debug, Default)]
pub struct Step {
    /// To be written, the first first; each is answered by [`Planner::done`].
    pub intents: Vec<Intent>,
    /// To be read.
    pub wanted: Vec<ConfigId>,
    /// Need not be known any more.
    pub unwanted: Vec<ConfigId>,
    /// When to look again if nothing happens.
    pub next: Option<Timestamp>,
}

/// What became of a write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored.
    Written,
    /// There is a newer version than that which it was decided on.
    Outdated,
    /// There is no such object any more.
    Gone,
    /// Nothing was tried: somebody else leads.
    NotTried,
    /// It was refused, or there was no answer; this was said.
    Failed(String),
}

/// That pods are being replaced, for Events and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Begun {
    /// Of which workload.
    pub key: WorkloadKey,
    /// Its uid.
    pub uid: String,
    /// Why.
    pub cause: Cause,
    /// When the change was first seen.
    pub seen: Option<Timestamp>,
}

/// Plans which pods are replaced.
#[derive(Default)]
pub struct Planner {
    key: Option<DigestKey>,
    pub(super) tracks: BTreeMap<Arc<WorkloadKey>, Track>,
    /// What is found of each, and what it waits for.
    pub(super) waiting: BTreeMap<Arc<WorkloadKey>, Waiting>,
    held: BTreeMap<Arc<WorkloadKey>, Waiting>,
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
    /// Whether everything has been looked at once: what is new from then on was made while somebody looked.
    has_seen_all: bool,
}

impl Planner {
    /// Digests by another key cannot be compared with those before: everything is learned anew. `None` while it is not known.
    pub fn use_key(&mut self, key: Option<DigestKey>) {
        *self = Self { key, ..Self::default() };
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
        for key in self.due(world, touched) {
            self.look_at(world, &key, now, &mut step);
        }
        self.has_seen_all = true;
        self.decide(world, now, acts, &mut step);
        step
    }

    /// The workloads that must be looked at.
    fn due(&self, world: &World, touched: &Touched) -> BTreeSet<WorkloadKey> {
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
            let known = self.tracks.keys().map(|key| &**key).chain(self.unserved.keys());
            due.extend(known.filter(is_in).filter(|key| has_patterns(key)).cloned());
        }
        // Time alone changes what is overdue, and what has been held.
        let waiting = self.rolling.iter().chain(&self.pending).chain(self.held.keys());
        due.extend(waiting.map(|key| (**key).clone()));
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
            return;
        };
        if rollout.leaving {
            return self.forget(key, step);
        }
        let (merged, dependencies, marked, held) = match served(world, key, object, rollout, &mut self.merged, now) {
            Served::Yes { merged, dependencies, marked, held } => (merged, dependencies, marked, held),
            Served::No(why) => {
                self.forget(key, step);
                self.unserved.insert(key.clone(), why);
                return;
            }
        };
        if self.tracks.get(key).is_some_and(|track| track.uid != object.uid) {
            self.forget(key, step);
        }
        // A new opt-in or a policy's edit is no change of what its pods read, nor is being made.
        let is_new = !self.tracks.contains_key(key);
        let adopts = is_new && (self.unserved.remove(key).is_some() || self.has_seen_all);
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
        track.is_other |= is_other && !is_new;
        let unread = track.marked.iter().filter(|id| matches!(world.contents().get(id), Known::Unknown));
        step.wanted.extend(unread.cloned());
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
        let is_taken = matches!(&track.write, Write::Taken { stamp: Some(_), .. });
        put(&mut self.pending, matches!(track.state, State::Pending(_) | State::Unknown(_)));
        put(&mut self.rolling, track.state == State::Rolling || is_taken || track.warm(now).is_some());
        put(&mut self.failed, track.state == State::Failed);
        put(&mut self.unrecorded, track.record.is_some());
        if !self.pending.contains(key) {
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

    fn forget(&mut self, key: &WorkloadKey, step: &mut Step) {
        let Some(track) = self.tracks.remove(key) else { return };
        for id in track.ids(&key.namespace) {
            self.undepend(key, &id, step);
        }
        for set in [&mut self.pending, &mut self.rolling, &mut self.failed, &mut self.unrecorded] {
            set.remove(key);
        }
        self.waiting.remove(key);
        self.held.remove(key);
    }

    /// Decides what of all that waits may begin.
    fn decide(&mut self, world: &World, now: Timestamp, acts: bool, step: &mut Step) {
        let mut budgets = self.budgets(now);
        let halted = self.halted(world);
        let mut totals = BTreeMap::new();
        for wave in self.waves.values_mut() {
            wave.again(&self.pending);
        }
        let mut order: Vec<(Option<Timestamp>, Arc<WorkloadKey>)> = self
            .pending
            .iter()
            .map(|key| (self.tracks.get(key).and_then(|track| track.differs_since), Arc::clone(key)))
            .collect();
        order.sort_unstable();
        for (_, key) in order {
            let Some(rollout) = world.object(&key).and_then(|object| object.rollout.as_deref()) else { continue };
            match self.verdict(world, &key, rollout, (&mut budgets, &mut totals, &halted), now) {
                Err(Some(waiting)) => {
                    soonest(&mut step.next, waiting.until);
                    self.waiting.insert(key, waiting);
                }
                Err(None) => {}
                Ok(cause) => {
                    self.waiting.remove(&key);
                    if acts {
                        self.begin(world, &key, rollout, cause, &mut budgets, now, step);
                    }
                }
            }
        }
        for key in &self.rolling {
            let Some(track) = self.tracks.get(key) else { continue };
            let overdue = track.rolled.map(|rolled| after(rolled, track.merged.progress_deadline));
            soonest(&mut step.next, overdue.filter(|overdue| *overdue > now));
            soonest(&mut step.next, track.warm(now));
        }
        step.next = step.next.filter(|next| *next > now).or(step.next.map(|_| after(now, SECOND)));
        self.waves.retain(|_, wave| !wave.begun.is_empty());
        if self.pending.is_empty() && self.rolling.is_empty() {
            self.waves.clear();
        }
        if acts {
            self.hand_out_records(world, now, step);
        }
    }

    /// Whether a workload may begin now; otherwise what it waits for, if that is anything but an answer.
    fn verdict(
        &mut self,
        world: &World,
        key: &Arc<WorkloadKey>,
        rollout: &Rollout,
        (budgets, totals, halted): (&mut Budgets, &mut BTreeMap<PolicyId, usize>, &BTreeMap<ConfigId, String>),
        now: Timestamp,
    ) -> Result<Cause, Option<Waiting>> {
        let Some(track) = self.tracks.get(key) else { return Err(None) };
        let cause = match (&track.state, &track.found) {
            (State::Pending(cause), Some(_)) => cause.clone(),
            (State::Unknown(waiting), _) => return Err(Some(waiting.clone())),
            _ => return Err(None),
        };
        if matches!(track.write, Write::UnderWay | Write::Taken { .. }) {
            return Err(None);
        }
        if let Some(held) = self.held.get(key) {
            return Err(Some(held.clone()));
        }
        let supersedes = track.is_ours_and_not_done(rollout);
        let Some(found) = &track.found else { return Err(None) };
        let gate = Gate { track, rollout, found, flapping: self.flapping(key, track, &cause, now), supersedes, now };
        if let Some(waiting) = gate.first() {
            return Err(Some(waiting));
        }
        if supersedes {
            return Ok(cause);
        }
        if track.merged.on_failure == OnFailure::Halt
            && let Some((id, failed)) =
                ids(&cause, &key.namespace).find_map(|id| halted.get(&id).map(|failed| (id, failed)))
        {
            let message = format!(
                "{failed} was replaced for the same change of {id} and did not become available; \
                 correct {id}, or {failed}, or write onFailure: Continue"
            );
            return Err(Some(Waiting::for_event(Reason::Halted, message)));
        }
        let policies = track.merged.policies.clone();
        for id in &policies {
            let Some(replace) = world.policy(id).and_then(|policy| policy.replace.as_ref()) else { continue };
            let budget = budgets.entry(id.clone()).or_default();
            if let Some(waiting) = budget.waits(id, replace.max_concurrent, replace.warmup, now) {
                return Err(Some(waiting));
            }
            if replace.checkpoints.is_empty() {
                continue;
            }
            let total = totals.entry(id.clone()).or_insert_with(|| self.total_of(id));
            let under_way = budget.under_way;
            let wave_of = self.waves.entry(id.clone()).or_default();
            if let Some(waiting) = wave_of.waits(id, &replace.checkpoints, (*total, under_way), now) {
                return Err(Some(waiting));
            }
        }
        Ok(cause)
    }

    /// How many workloads of a policy have been replaced or wait, on the way through what is to be replaced.
    fn total_of(&self, id: &PolicyId) -> usize {
        let begun = self.waves.get(id).map(|wave| &wave.begun);
        let waits = |key: &&Arc<WorkloadKey>| {
            begun.is_none_or(|begun| !begun.contains(*key))
                && self.tracks.get(*key).is_some_and(|track| track.merged.policies.contains(id))
        };
        begun.map_or(0, BTreeSet::len) + self.pending.iter().filter(waits).count()
    }

    fn flapping(&self, key: &WorkloadKey, track: &Track, cause: &Cause, now: Timestamp) -> Option<(String, Flapping)> {
        let at_once = track.merged.min_interval.is_zero();
        ids(cause, &key.namespace).find_map(|id| {
            let flapping = self.changes.get(&id)?.flapping(now, at_once)?;
            Some((id.to_string(), flapping))
        })
    }

    fn begin(
        &mut self,
        world: &World,
        key: &Arc<WorkloadKey>,
        rollout: &Rollout,
        cause: Cause,
        budgets: &mut Budgets,
        now: Timestamp,
        step: &mut Step,
    ) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let Some(found) = &track.found else { return };
        step.intents.push(Intent::Roll {
            target: target(world, key, track, rollout),
            stamp: found.snapshot.digest.to_string(),
            cause: cause.to_string(),
            sources: found.snapshot.sources().write(),
        });
        track.write = Write::UnderWay;
        track.tried = Some(found.snapshot.digest.to_string().into());
        track.attempt = Some((found.snapshot.clone(), cause));
        for id in &track.merged.policies {
            budgets.entry(id.clone()).or_default().under_way += 1;
            let wave = self.waves.entry(id.clone()).or_default();
            wave.begun.insert(Arc::clone(key));
            wave.last = Some(now);
        }
        self.rolling.insert(Arc::clone(key));
    }

    fn hand_out_records(&mut self, world: &World, now: Timestamp, step: &mut Step) {
        // A clock that was set back must not stop them.
        self.records.retain(|at| now.duration_since(*at).abs() < SECOND);
        let mut waits = false;
        for key in &self.unrecorded {
            let Some(track) = self.tracks.get_mut(key) else { continue };
            let blocked = match &track.write {
                Write::UnderWay | Write::Taken { .. } => true,
                Write::Failed { .. } | Write::Outdated { .. } | Write::Idle => {
                    let until = track.write.waits(now);
                    soonest(&mut step.next, until);
                    until.is_some()
                }
            };
            let rollout = world.object(key).and_then(|object| object.rollout.as_deref());
            let (Some(rollout), Some(wanted), false) = (rollout, &track.record, blocked) else { continue };
            if self.records.len() >= RECORDS_A_SECOND {
                waits = true;
                break;
            }
            self.records.push_back(now);
            let (baseline, sources) = (wanted.baseline.clone(), wanted.sources.clone());
            let differs_since = wanted.differs_since.clone();
            step.intents.push(Intent::Record {
                target: target(world, key, track, rollout),
                baseline,
                sources,
                differs_since,
            });
            track.write = Write::UnderWay;
        }
        if waits {
            soonest(&mut step.next, self.records.front().map(|first| after(*first, SECOND)));
        }
    }

    /// What became of a write. Tells of a replacement that has begun.
    pub fn done(&mut self, intent: &Intent, outcome: Outcome, now: Timestamp) -> Option<Begun> {
        let target = intent.target();
        let (key, _) = self.tracks.get_key_value(&target.key)?;
        let key = Arc::clone(key);
        let track = self.tracks.get_mut(&key).filter(|track| track.uid == target.uid)?;
        let attempt = if intent.rolls() { track.attempt.take() } else { None };
        let attempts = track.attempts;
        let on = Box::from(target.resource_version.as_str());
        let mut begun = None;
        match outcome {
            Outcome::Written => {
                let stamp = attempt.as_ref().map(|(snapshot, _)| snapshot.digest.to_string().into());
                track.write = Write::Taken { on, stamp };
                track.attempts = 0;
                if let Some((snapshot, cause)) = attempt {
                    let seen = track.seen.map(|(first, _)| first);
                    track.has_rolled(snapshot, cause.clone(), now);
                    begun = Some(Begun { key: target.key.clone(), uid: target.uid.clone(), cause, seen });
                } else {
                    track.record = None;
                }
            }
            Outcome::Outdated => track.write = Write::Outdated { on, until: after(now, OUTDATED) },
            Outcome::NotTried => track.write = Write::Idle,
            // The event that says so is on its way.
            Outcome::Gone => track.write = Write::Outdated { on, until: after(now, OUTDATED) },
            Outcome::Failed(message) => {
                track.attempts = attempts.saturating_add(1);
                let factor = 2_i32.saturating_pow(attempts.min(16));
                let until = after(now, FIRST_RETRY.saturating_mul(factor).min(LAST_RETRY));
                track.write = Write::Failed { attempts: track.attempts, until, message };
            }
        }
        self.sort(&key, now);
        begun
    }

    fn budgets(&self, now: Timestamp) -> Budgets {
        let mut budgets = Budgets::new();
        for key in &self.rolling {
            let Some(track) = self.tracks.get(key) else { continue };
            for id in &track.merged.policies {
                let budget: &mut Budget = budgets.entry(id.clone()).or_default();
                match track.warm(now) {
                    Some(warm) if track.state == State::UpToDate => budget.warm = budget.warm.max(Some(warm)),
                    _ => budget.under_way += 1,
                }
            }
        }
        // One that failed still takes its place.
        for track in self.failed.iter().filter_map(|key| self.tracks.get(key)) {
            for id in &track.merged.policies {
                budgets.entry(id.clone()).or_default().under_way += 1;
            }
        }
        budgets
    }

    /// The objects whose present content made a workload fail, each with such a workload.
    fn halted(&self, world: &World) -> BTreeMap<ConfigId, String> {
        let mut halted = BTreeMap::new();
        for key in &self.failed {
            let rollout = world.object(key).and_then(|object| object.rollout.as_deref());
            let Some(cause) = rollout.and_then(|rollout| rollout.cause.as_deref()).map(Cause::read) else { continue };
            for id in ids(&cause, &key.namespace) {
                halted.entry(id).or_insert_with(|| key.to_string());
            }
        }
        halted
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

/// The objects that a cause names.
fn ids<'a>(cause: &'a Cause, namespace: &'a str) -> impl Iterator<Item = ConfigId> + 'a {
    cause.objects.iter().map(move |object| {
        let key = crate::world::ConfigKey { namespace: namespace.to_owned(), name: object.name.clone() };
        ConfigId { kind: object.kind, key }
    })
}

fn target(world: &World, key: &WorkloadKey, track: &Track, rollout: &Rollout) -> Target {
    Target {
        key: key.clone(),
        resource: world.resource_of(&key.kind).unwrap_or_default().to_owned(),
        uid: track.uid.clone(),
        resource_version: rollout.resource_version.to_string(),
        template_pointers: rollout.template_pointers.clone(),
    }
}

fn soonest(next: &mut Option<Timestamp>, other: Option<Timestamp>) {
    *next = match (*next, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
}
