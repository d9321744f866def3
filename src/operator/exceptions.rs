//! The exceptions as they are in the cluster, and which of them count at present.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use immutable_core::exception::{Exception, ExceptionId, InEffect};
use immutable_core::native::{Honoured, Installation, Translation, excuse};
use immutable_core::policy::{Policy, PolicyId};
use immutable_core::scan::Scan;
use immutable_core::world::{self, Touched, World};
use jiff::Timestamp;
use kube::api::DynamicObject;
use tokio::time::Instant;

use super::cluster::{Change, KnownPolicy, Version, merge};
use super::exception_status::{Seen, state, status};
use crate::api::ExceptionStatus;
use crate::live::stored_exception;

/// How often at most it is looked anew which exceptions count: a tenant who makes and deletes them without end must not
/// have policies compiled without end.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// How long a round waits for the one before to be in force; twice as long after each that never was.
const ROUND: Duration = Duration::from_secs(10);
/// How long at most.
const LONGEST_ROUND: Duration = Duration::from_secs(600);

/// How soon after a look the end of an exception is looked at.
const END_SEEN: Duration = Duration::from_millis(200);

/// How often the numbers in a status are written at most.
const NUMBERS_INTERVAL: Duration = Duration::from_secs(10);

/// An exception as it is in the cluster.
pub(super) struct KnownException {
    /// which version of it
    pub version: Version,
    /// what it says, or everything that is wrong with it
    pub exception: Result<Arc<Exception>, Vec<String>>,
    /// what was last reported of it
    pub status: ExceptionStatus,
    /// when that was, by us
    pub reported: Option<Instant>,
}

/// A policy with the exceptions that count for it, translated.
pub(super) struct Excused {
    /// of this
    of: Arc<Policy>,
    /// what it comes to
    pub translation: Translation,
}

/// When a policy was last translated with other exceptions, and how often before the last was in force.
struct Pace {
    translated: Instant,
    unsettled: u32,
}

/// All of them.
#[derive(Default)]
pub(super) struct KnownExceptions {
    pub all: BTreeMap<ExceptionId, KnownException>,
    /// Those that count.
    pub in_effect: InEffect,
    /// What the policies come to that have any.
    pub excused: BTreeMap<PolicyId, Excused>,
    /// Those that are translated: what counts comes in rounds, so that one tenant's changes do not keep another's from
    /// ever being in force.
    compiled: InEffect,
    paces: BTreeMap<PolicyId, Pace>,
    /// The policies that wait for their next round, and when the first of them need not wait any longer.
    waiting: BTreeSet<PolicyId>,
    next_round: Option<Instant>,
    /// Whether policies have changed since the last round.
    policies_changed: bool,
    /// Whether exceptions or policies have changed since that was looked at.
    stale: bool,
    looked: Option<Instant>,
    /// The last whose status was written.
    last: Option<ExceptionId>,
}

/// An id before all others.
const NONE: ExceptionId = ExceptionId { namespace: String::new(), name: String::new() };

impl KnownExceptions {
    /// Takes in what a watch tells; returns what that means for the world.
    pub(super) fn apply(&mut self, change: Change<DynamicObject>) -> Vec<world::Change> {
        // One event of thousands is about one of them.
        let only = match &change {
            Change::Apply(object) | Change::Delete(object) => Some(id(object)),
            Change::Reset(_) | Change::Failed(_) => None,
        };
        let before = self.valid(only.as_ref());
        merge(&mut self.all, change, |_| true, id, |before, object| known(before, &object));
        let after = self.valid(only.as_ref());
        let mut changes = Vec::new();
        for id in before.keys().filter(|id| !after.contains_key(id)) {
            changes.push(world::Change::Exception(id.clone(), None));
        }
        for (id, exception) in after {
            if !before.get(&id).is_some_and(|known| Arc::ptr_eq(known, &exception)) {
                changes.push(world::Change::Exception(id, Some(exception)));
            }
        }
        // Most events are of statuses that we wrote.
        self.stale |= !changes.is_empty();
        changes
    }

    /// The valid ones, or the one that is meant.
    fn valid(&self, only: Option<&ExceptionId>) -> BTreeMap<ExceptionId, Arc<Exception>> {
        let is_meant = |(id, _): &(&ExceptionId, &KnownException)| only.is_none_or(|only| only == *id);
        let valid = |(id, known): (&ExceptionId, &KnownException)| {
            known.exception.as_ref().ok().map(|exception| (id.clone(), Arc::clone(exception)))
        };
        self.all.iter().filter(is_meant).filter_map(valid).collect()
    }

    /// Has it looked anew which count, and at once: a policy has changed, and what it comes to is of the past.
    pub(super) fn policies_changed(&mut self) {
        self.stale = true;
        self.looked = None;
        self.policies_changed = true;
    }

    /// Looks which count now, if that may have changed; returns what must be judged again.
    pub(super) fn look(&mut self, world: &World, now: Timestamp) -> Touched {
        let mut touched = Touched::default();
        let has_ended = self.in_effect.until().is_some_and(|until| until <= now);
        // An end is seen when it comes, but not so often that a tenant's thousand ends were a load.
        let pause = if has_ended { END_SEEN } else { LOOK_AGAIN };
        let is_early = self.looked.is_some_and(|looked| looked.elapsed() < pause);
        if !(self.stale || has_ended) || is_early {
            return touched;
        }
        let in_effect = world.exceptions().in_effect(world.policies().map(|(_, policy)| policy), now);
        for namespace in in_effect.changed_since(&self.in_effect) {
            touched.merge(world.of_namespace(&namespace));
        }
        self.in_effect = in_effect;
        self.stale = false;
        self.looked = Some(Instant::now());
        touched
    }

    /// Translates policies with what counts now: those whose last round is in force, as `settled` says, or has had its
    /// time.
    pub(super) fn round(
        &mut self,
        policies: &BTreeMap<PolicyId, KnownPolicy>,
        settled: &BTreeSet<PolicyId>,
        installation: &Installation,
    ) {
        let now = Instant::now();
        self.next_round = None;
        self.waiting.clear();
        self.paces.retain(|id, _| policies.contains_key(id));
        let mut compiled = self.compiled.clone();
        let concerned: BTreeSet<PolicyId> = self.in_effect.policies().chain(compiled.policies()).cloned().collect();
        let mut is_new = std::mem::take(&mut self.policies_changed);
        for id in concerned.iter().filter(|id| self.in_effect.of_policy(id) != self.compiled.of_policy(id)) {
            let is_settled = settled.contains(id) || !policies.contains_key(id);
            if let Some(Pace { translated, unsettled }) = self.paces.get(id).filter(|_| !is_settled) {
                let due = *translated + (ROUND * 2_u32.saturating_pow((*unsettled).min(10))).min(LONGEST_ROUND);
                if due > now {
                    self.waiting.insert(id.clone());
                    self.next_round = Some(self.next_round.map_or(due, |other| other.min(due)));
                    continue;
                }
            }
            let unsettled = self.paces.get(id).map_or(0, |pace| if is_settled { 0 } else { pace.unsettled + 1 });
            self.paces.insert(id.clone(), Pace { translated: now, unsettled });
            compiled.take_over(id, &self.in_effect);
            is_new = true;
        }
        if is_new {
            let before = std::mem::replace(&mut self.compiled, compiled);
            self.translate(&before, policies, installation);
        }
    }

    /// The statuses that are not as they were last written, so many at most: the next time those that come after them,
    /// so that none keeps others out.
    pub(super) fn outdated(
        &mut self,
        scan: &Scan,
        policies: &[&Policy],
        settled: &BTreeSet<PolicyId>,
        most: usize,
        now: Timestamp,
    ) -> Vec<(ExceptionId, String, ExceptionStatus)> {
        let (all, in_effect, compiled) = (&self.all, &self.in_effect, &self.compiled);
        let behind = self.last.clone().map_or(Bound::Unbounded, Bound::Excluded);
        let up_to = self.last.clone().map_or(Bound::Excluded(NONE), Bound::Included);
        let in_turn = all.range((behind, Bound::Unbounded)).chain(all.range((Bound::Unbounded, up_to)));
        let outdated = in_turn.filter_map(|(id, known)| {
            let seen = Seen { policies, settled, in_effect, compiled, matched: scan.matched(id) };
            let status = status(known, &seen, now);
            let is_recent = known.reported.is_some_and(|last| last.elapsed() < NUMBERS_INTERVAL);
            let waits = status.conditions == known.status.conditions && is_recent;
            (status != known.status && !waits).then(|| (id.clone(), known.version.uid.clone(), status))
        });
        let outdated: Vec<_> = outdated.take(most).collect();
        self.last = outdated.last().map(|(id, ..)| id.clone());
        outdated
    }

    /// Takes in a status that was written.
    pub(super) fn reported(&mut self, id: &ExceptionId, status: ExceptionStatus) {
        if let Some(known) = self.all.get_mut(id) {
            known.status = status;
            known.reported = Some(Instant::now());
        }
    }

    /// How many there are of each state.
    pub(super) fn states(&self) -> BTreeMap<&str, usize> {
        let mut states = BTreeMap::new();
        for known in self.all.values() {
            *states.entry(state(&known.status)).or_default() += 1;
        }
        states
    }

    /// Translates the policies anew for which something else counts than before, or that have changed. Those of namespaces
    /// share what they come to, so they are translated together.
    fn translate(
        &mut self,
        before: &InEffect,
        policies: &BTreeMap<PolicyId, KnownPolicy>,
        installation: &Installation,
    ) {
        let mut excused = std::mem::take(&mut self.excused);
        let mut honoured = Vec::new();
        for (id, known) in policies {
            let (Ok(valid), Some(exceptions)) = (&known.policy, self.compiled.of_policy(id)) else { continue };
            let is_same = id.namespace.is_none() && before.of_policy(id) == Some(exceptions);
            match excused.remove(id).filter(|known| is_same && Arc::ptr_eq(&known.of, &valid.policy)) {
                Some(known) => drop(self.excused.insert(id.clone(), known)),
                None => honoured.push(Honoured { policy: &valid.policy, plain: &valid.translation, exceptions }),
            }
        }
        for (id, translation) in excuse(&honoured, installation) {
            if let Some(Ok(valid)) = policies.get(&id).map(|known| &known.policy) {
                self.excused.insert(id, Excused { of: Arc::clone(&valid.policy), translation });
            }
        }
    }

    /// How long until it must be looked at again, if nothing happens; at once where a policy that is settled waits.
    pub(super) fn next(&self, settled: &BTreeSet<PolicyId>, now: Timestamp) -> Option<Duration> {
        if !self.waiting.is_disjoint(settled) {
            return Some(Duration::ZERO);
        }
        let round = self.next_round.map(|due| due.saturating_duration_since(Instant::now()));
        self.next_look(now).into_iter().chain(round).min()
    }

    fn next_look(&self, now: Timestamp) -> Option<Duration> {
        let allowed = self.looked.map_or(Duration::ZERO, |looked| LOOK_AGAIN.saturating_sub(looked.elapsed()));
        if self.stale {
            return Some(allowed);
        }
        let left = self.in_effect.until()?.duration_since(now);
        Some(Duration::try_from(left).unwrap_or_default().max(allowed.min(END_SEEN)) + Duration::from_millis(1))
    }
}

fn id(object: &DynamicObject) -> ExceptionId {
    ExceptionId {
        namespace: object.metadata.namespace.clone().unwrap_or_default(),
        name: object.metadata.name.clone().unwrap_or_default(),
    }
}

/// An exception that cannot be read must not stop the others. What was understood of the same generation before is
/// kept: most events are of a status that we wrote.
fn known(before: Option<KnownException>, object: &DynamicObject) -> KnownException {
    let status = object.data.get("status").cloned().unwrap_or_default();
    let status = serde_json::from_value(status).unwrap_or_default();
    let version = Version::of(&object.metadata);
    if let Some(known) = before.filter(|known| known.version == version) {
        return KnownException { status, ..known };
    }
    let exception = stored_exception(object);
    KnownException { version, exception: exception.map(Arc::new), status, reported: None }
}
