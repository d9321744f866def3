//! What of all that waits may begin now.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{Planner, Step, soonest};
use crate::policy::PolicyId;
use crate::replace::after;
use crate::replace::budget::{Budget, Budgets};
use crate::replace::cause::Cause;
use crate::replace::gates::{AskedWindows, Gate};
use crate::replace::intent::{Intent, Target};
use crate::replace::record;
use crate::replace::settings::OnFailure;
use crate::replace::track::{State, Track, Wanted, Write};
use crate::replace::waiting::{Reason, Waiting};
use crate::workload::rollout::{Progress, Rollout};
use crate::world::{ConfigId, ConfigKey, WorkloadKey, World};

/// How many records are handed out in any second: each raises the generation and is copied to a ReplicaSet.
const RECORDS_A_SECOND: usize = 20;
/// The time of those.
const SECOND: SignedDuration = SignedDuration::from_secs(1);
/// How long all that waits is left alone after it was looked at, for each that waits: ten thousand are looked at ten times
/// a second.
const REST: SignedDuration = SignedDuration::from_micros(10);

/// The last look at all that waits.
#[derive(Debug, Default)]
pub(in crate::replace) struct Decided {
    at: Option<Timestamp>,
    /// When time alone changes something of it.
    next: Option<Timestamp>,
    /// Whether anything might begin then.
    acts: bool,
    /// Whether something has happened since.
    pub is_stale: bool,
}

impl Decided {
    /// All is looked at at once.
    pub(in crate::replace) fn again() -> Self {
        Self { is_stale: true, ..Self::default() }
    }
}

/// What all that wait share.
struct Shared {
    budgets: Budgets,
    halted: BTreeMap<ConfigId, String>,
    /// How many of each policy wait, counted when it is asked for.
    pending: OnceCell<BTreeMap<PolicyId, usize>>,
    /// What is known of windows.
    windows: AskedWindows,
    /// What those wait for that read an object, replaced at once or not.
    flapping: BTreeMap<(ConfigId, bool), Option<Waiting>>,
    now: Timestamp,
}

impl Planner {
    /// Decides what of all that waits may begin.
    pub(super) fn decide(&mut self, world: &World, now: Timestamp, acts: bool, step: &mut Step) {
        let rest = REST.saturating_mul(i32::try_from(self.pending.len()).unwrap_or(i32::MAX));
        let is_due = self.decided.next.is_some_and(|next| next <= now);
        if self.decided.is_stale || is_due || self.decided.acts != acts {
            // A clock that was set back makes nothing of the past.
            let rests = self.decided.at.filter(|at| now.duration_since(*at).abs() < rest);
            if let Some(at) = rests {
                soonest(&mut step.next, Some(after(at, rest)));
            } else {
                let mut next = None;
                self.begin_what_may(world, now, acts, step, &mut next);
                self.decided = Decided { at: Some(now), next, acts, is_stale: false };
            }
        }
        soonest(&mut step.next, self.decided.next);
        for key in &self.rolling {
            let Some(track) = self.tracks.get(key) else { continue };
            soonest(&mut step.next, track.timer().filter(|timer| *timer > now));
        }
        self.end_waves();
        if acts {
            self.hand_out_records(world, now, step);
        }
        if step.next.is_some_and(|next| next <= now) {
            step.next = Some(after(now, SignedDuration::from_millis(1)));
        }
    }

    /// A policy's way ends when nothing is under way, and what is left waits for somebody: what changes then begins anew.
    fn end_waves(&mut self) {
        if self.waves.is_empty() {
            return;
        }
        let goes_on = |key: &&Arc<WorkloadKey>| {
            let reason = self.waiting.get(*key).map(|waiting| waiting.reason);
            reason.is_none_or(|reason| {
                !reason.needs_somebody() || matches!(reason, Reason::Halted | Reason::WriteFailed | Reason::Flapping)
            })
        };
        let alive = self.rolling.iter().chain(self.pending.iter().filter(goes_on));
        let policies = alive.filter_map(|key| self.tracks.get(key)).flat_map(|track| &track.merged.policies);
        let alive: BTreeSet<&PolicyId> = policies.collect();
        self.waves.retain(|id, _| alive.contains(id));
    }

    fn begin_what_may(
        &mut self,
        world: &World,
        now: Timestamp,
        acts: bool,
        step: &mut Step,
        next: &mut Option<Timestamp>,
    ) {
        let halted = self.halted(world);
        // What is handed out is pending until it is answered.
        let waits_again = |key: &Arc<WorkloadKey>| {
            let is_handed_out = |track: &Track| matches!(track.write, Write::UnderWay | Write::Taken { .. });
            self.pending.contains(key) && !self.tracks.get(key).is_some_and(is_handed_out)
        };
        for wave in self.waves.values_mut() {
            wave.again(waits_again);
        }
        let mut shared = Shared {
            budgets: self.budgets(now),
            halted,
            pending: OnceCell::new(),
            windows: AskedWindows::default(),
            flapping: BTreeMap::new(),
            now,
        };
        // Who has waited longest comes first.
        let since = |key: &Arc<WorkloadKey>| self.tracks.get(key).and_then(|track| track.differs_since);
        let mut order: Vec<_> = self.pending.iter().map(|key| (since(key), Arc::clone(key))).collect();
        order.sort_unstable();
        for (_, key) in order {
            let Some(rollout) = world.object(&key).and_then(|object| object.rollout.as_deref()) else { continue };
            match self.verdict(world, &key, rollout, &mut shared) {
                Err(Some(waiting)) => {
                    soonest(next, waiting.until);
                    let timer = self.tracks.get(&key).and_then(Track::timer);
                    soonest(next, timer.filter(|timer| *timer > now));
                    self.wait(key, waiting, now, acts, step);
                }
                Err(None) => {}
                Ok(cause) => {
                    self.waiting.remove(&key);
                    if acts {
                        self.begin(world, &key, rollout, cause, &mut shared, step);
                    }
                }
            }
        }
    }

    /// Whether a workload may begin now; otherwise what it waits for, if that is anything but an answer.
    fn verdict(
        &mut self,
        world: &World,
        key: &Arc<WorkloadKey>,
        rollout: &Rollout,
        shared: &mut Shared,
    ) -> Result<Cause, Option<Waiting>> {
        let now = shared.now;
        let Some(track) = self.tracks.get(key) else { return Err(None) };
        let (cause, found) = match (&track.state, &track.found) {
            (State::Pending(cause), Some(found)) => (cause.clone(), found),
            (State::Unknown(waiting), _) => return Err(Some(waiting.clone())),
            _ => return Err(None),
        };
        if matches!(track.write, Write::UnderWay | Write::Taken { .. }) {
            return Err(None);
        }
        if let Some(held) = self.held.get(key) {
            return Err(Some(held.clone()));
        }
        let supersedes = track.is_ours_and_not_done();
        let flapping = self.flapping(key, track, &cause, shared);
        let gate = Gate { track, rollout, found, flapping, supersedes, windows: &shared.windows, now };
        if let Some(waiting) = gate.first() {
            return Err(Some(waiting));
        }
        if supersedes {
            return Ok(cause);
        }
        if track.merged.on_failure == OnFailure::Halt
            && let Some((id, failed)) =
                ids(&cause, &key.namespace).find_map(|id| shared.halted.get(&id).map(|failed| (id, failed)))
        {
            let message = format!(
                "{failed} was replaced for the same change of {id} and did not become available; \
                 correct {id}, or {failed}, or write onFailure: Continue"
            );
            return Err(Some(Waiting::for_event(Reason::Halted, message)));
        }
        let merged = Arc::clone(&track.merged);
        for id in &merged.policies {
            let Some(replace) = world.policy(id).and_then(|policy| policy.replace.as_ref()) else { continue };
            let mut budget = shared.budgets.get(id).cloned().unwrap_or_default();
            // It does not wait for itself.
            budget.under_way = budget.under_way.saturating_sub(usize::from(self.rolling.contains(key)));
            if let Some(waiting) = budget.waits(id, replace.max_concurrent, replace.warmup, now) {
                return Err(Some(budget.named(waiting)));
            }
            if replace.checkpoints.is_empty() {
                continue;
            }
            let pending = shared.pending.get_or_init(|| self.pending_of_policies()).get(id).copied().unwrap_or(0);
            let under_way = budget.under_way;
            let wave = self.waves.entry(id.clone()).or_default();
            // What has begun since they were counted is among both.
            let total = wave.begun.len().max(pending).max(wave.total);
            wave.total = total;
            if let Some(waiting) = wave.waits(id, &replace.checkpoints, (total, under_way), now) {
                return Err(Some(budget.named(waiting)));
            }
        }
        Ok(cause)
    }

    fn pending_of_policies(&self) -> BTreeMap<PolicyId, usize> {
        let mut counts = BTreeMap::new();
        let begun: BTreeSet<&Arc<WorkloadKey>> = self.waves.values().flat_map(|wave| &wave.begun).collect();
        for key in self.pending.iter().chain(begun.iter().copied().filter(|key| !self.pending.contains(*key))) {
            let Some(track) = self.tracks.get(key) else { continue };
            for id in &track.merged.policies {
                *counts.entry(id.clone()).or_default() += 1;
            }
        }
        counts
    }

    fn flapping(&self, key: &WorkloadKey, track: &Track, cause: &Cause, shared: &mut Shared) -> Option<Waiting> {
        let (at_once, now) = (track.merged.min_interval.is_zero(), shared.now);
        ids(cause, &key.namespace).find_map(|id| {
            let changes = self.changes.get(&id)?;
            let ask = || changes.flapping(now, at_once).map(|flapping| flapping.waiting(&id));
            shared.flapping.entry((id.clone(), at_once)).or_insert_with(ask).clone()
        })
    }

    fn begin(
        &mut self,
        world: &World,
        key: &Arc<WorkloadKey>,
        rollout: &Rollout,
        mut cause: Cause,
        shared: &mut Shared,
        step: &mut Step,
    ) {
        let Some(track) = self.tracks.get_mut(key) else { return };
        let Some(found) = &track.found else { return };
        let digest = &found.snapshot.digest;
        let stamp = digest.to_string();
        // A template that there was before brings back the pods of it that are alive, which may have read something else.
        let stamps = track.since_complete.as_ref();
        if rollout.progress != Progress::Complete && stamps.is_none_or(|stamps| stamps.contains(&*stamp)) {
            cause.returned_since = Some(shared.now);
        }
        // Who undoes a rollout brings back its stamp and its cause. Written once more they would replace nothing.
        if rollout.stamp.as_deref() == Some(&*stamp) {
            cause.returned_since = cause.returned_since.or(track.differs_since).or(Some(shared.now));
            if rollout.cause.as_deref() == Some(&*cause.to_string()) {
                cause.returned_since = Some(shared.now);
            }
        }
        step.intents.push(Intent::Roll {
            target: target(world, key, track, rollout),
            baseline: record::has_baseline_of(rollout, &stamp).then(|| record::baseline(Some(&stamp), digest)),
            cause: cause.to_string(),
            sources: found.snapshot.sources().write(),
            stamp: stamp.clone(),
        });
        track.write = Write::UnderWay;
        track.tried = Some(stamp.into());
        track.attempt = Some((found.snapshot.clone(), cause));
        for id in &track.merged.policies {
            if !self.rolling.contains(key) {
                shared.budgets.entry(id.clone()).or_default().under_way += 1;
            }
            let wave = self.waves.entry(id.clone()).or_default();
            wave.begun.insert(Arc::clone(key));
            wave.last = Some(shared.now);
        }
        self.rolling.insert(Arc::clone(key));
    }

    fn hand_out_records(&mut self, world: &World, now: Timestamp, step: &mut Step) {
        // A clock that was set back must not stop them.
        self.records.retain(|at| now.duration_since(*at).abs() < SECOND);
        let mut waits = false;
        let mut told = Vec::new();
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
            let (Some(rollout), Some(wanted), false) = (rollout, track.record.clone(), blocked) else { continue };
            if let Some(until) = track.taken_away.waits(&wanted, now) {
                soonest(&mut step.next, Some(until));
                continue;
            }
            if self.records.len() >= RECORDS_A_SECOND {
                waits = true;
                break;
            }
            self.records.push_back(now);
            if track.taken_away.is_to_be_told() {
                let manager = rollout.writer.as_ref().map_or("somebody", |writer| &*writer.manager);
                let message = format!(
                    "{manager} takes away what is noted in its annotation immutable.dev/config-baseline; it is written \
                     less and less often, and without it a change while the operator is down is lost"
                );
                told.push((Arc::clone(key), Waiting::for_event(Reason::Reverted, message)));
            }
            let target = target(world, key, track, rollout);
            let Wanted { baseline, sources, differs_since } = wanted;
            step.intents.push(Intent::Record { target, baseline, sources, differs_since });
            track.write = Write::UnderWay;
        }
        if waits {
            soonest(&mut step.next, self.records.front().map(|first| after(*first, SECOND)));
        }
        for (key, waiting) in told {
            let waits_already = self.waiting.get(&key).cloned();
            self.wait(Arc::clone(&key), waiting, now, true, step);
            // It is told, and waits for nothing.
            match waits_already {
                Some(waiting) => drop(self.waiting.insert(key, waiting)),
                None => drop(self.waiting.remove(&key)),
            }
        }
    }

    fn budgets(&self, now: Timestamp) -> Budgets {
        let mut budgets = Budgets::new();
        for key in self.rolling.union(&self.failed) {
            let Some(track) = self.tracks.get(key) else { continue };
            // One that failed takes its place all the same, unless the others go on whatever becomes of it.
            let has_failed = track.state == State::Failed;
            if has_failed && track.merged.on_failure == OnFailure::Continue {
                continue;
            }
            for id in &track.merged.policies {
                let budget: &mut Budget = budgets.entry(id.clone()).or_default();
                match track.warm(now) {
                    Some(warm) => budget.warm = budget.warm.max(Some(warm)),
                    None => budget.under_way += 1,
                }
                if has_failed && budget.failed.is_none() {
                    budget.failed = Some(key.to_string());
                }
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
}

/// The objects that a cause names.
fn ids<'a>(cause: &'a Cause, namespace: &'a str) -> impl Iterator<Item = ConfigId> + 'a {
    cause.objects.iter().map(move |object| {
        let key = ConfigKey { namespace: namespace.to_owned(), name: object.name.clone() };
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
