//! How many workloads of a policy may be under way at once, and when a policy pauses on its way through a change.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::settings::Checkpoint;
use super::waiting::{Reason, Waiting};
use crate::policy::PolicyId;
use crate::world::WorkloadKey;

/// What of a policy's workloads is under way.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Budget {
    /// Those whose pods are being replaced.
    pub under_way: usize,
    /// One of those that has failed: it takes its place until somebody corrects it.
    pub failed: Option<String>,
    /// When the last of those that are available again was warm.
    pub warm: Option<Timestamp>,
}

/// A policy's way through what is to be replaced: from the first workload until nothing is left.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Wave {
    /// The workloads whose replacement was begun, and that wait for no other one.
    pub begun: BTreeSet<Arc<WorkloadKey>>,
    /// When the last one began or became available.
    pub last: Option<Timestamp>,
    /// How many there are in all, as far as was seen.
    pub total: usize,
    /// How many checkpoints were passed.
    passed: usize,
}

impl Budget {
    /// What waits for others waits for somebody, where one of them has failed.
    pub(super) fn named(&self, waiting: Waiting) -> Waiting {
        match &self.failed {
            Some(failed) if waiting.until.is_none() => {
                let message = format!(
                    "{}; {failed} was replaced and did not become available: correct what it reads, or it, or write \
                     onFailure: Continue",
                    waiting.message
                );
                Waiting::for_event(Reason::Halted, message)
            }
            _ => waiting,
        }
    }

    /// Whether one more may begin.
    pub(super) fn waits(
        &self,
        policy: &PolicyId,
        most: Option<u32>,
        warmup: SignedDuration,
        now: Timestamp,
    ) -> Option<Waiting> {
        let most = most.map_or(usize::MAX, |most| usize::try_from(most).unwrap_or(usize::MAX));
        if self.under_way >= most {
            let message =
                format!("{} of at most {most} workloads of policy {policy} are being replaced", self.under_way);
            return Some(Waiting::for_event(Reason::MaxConcurrent, message));
        }
        let warm = self.warm.filter(|warm| *warm > now && !warmup.is_zero())?;
        let message = format!("policy {policy} waits {warmup:#} after a workload is available again, until {warm}");
        Some(Waiting::until(Reason::Warmup, warm, message))
    }
}

impl Wave {
    /// Takes in which workloads wait again: they have not been replaced for what is current.
    pub(super) fn again(&mut self, waits: impl Fn(&Arc<WorkloadKey>) -> bool) {
        self.begun.retain(|key| !waits(key));
    }

    /// Whether the policy pauses here; `total` counts the workloads of the wave, `under_way` those of them that are not
    /// available yet.
    pub(super) fn waits(
        &mut self,
        policy: &PolicyId,
        checkpoints: &[Checkpoint],
        (total, under_way): (usize, usize),
        now: Timestamp,
    ) -> Option<Waiting> {
        // A percentage is rounded up, so that it lets something begin.
        let share = |checkpoint: &Checkpoint| (total * usize::from(checkpoint.percent)).div_ceil(100);
        // What is changed again, or waits since then, is led past its checkpoints again.
        while self.passed > 0 && checkpoints.get(self.passed - 1).is_none_or(|last| self.begun.len() < share(last)) {
            self.passed -= 1;
        }
        while let Some(checkpoint) = checkpoints.get(self.passed) {
            let share = share(checkpoint);
            if self.begun.len() < share {
                return None;
            }
            let (percent, delay) = (checkpoint.percent, checkpoint.delay);
            if under_way > 0 {
                let message =
                    format!("policy {policy} pauses at {percent} %: {under_way} of {share} are not available yet");
                return Some(Waiting::for_event(Reason::Checkpoint, message));
            }
            // Where the clock was set back it is not waited for the past to come again.
            let last = self.last.get_or_insert(now);
            *last = (*last).min(now);
            let until = super::after(*last, delay);
            if now < until {
                let message = format!("policy {policy} pauses at {percent} % of {total} workloads, until {until}");
                return Some(Waiting::until(Reason::Checkpoint, until, message));
            }
            self.passed += 1;
        }
        None
    }
}

/// All budgets.
pub(super) type Budgets = BTreeMap<PolicyId, Budget>;
