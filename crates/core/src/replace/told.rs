//! What the planner tells beside what it wants written: that pods are being replaced, and that they are not and why.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::cause::Cause;
use super::planner::{Planner, Step};
use super::track::State;
use super::waiting::{Reason, Waiting};
use crate::world::WorkloadKey;

/// After so long without waiting for it, a reason is told again. Content that changes to and fro must not tell each time.
const FORGOTTEN_AFTER: SignedDuration = SignedDuration::from_mins(10);

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

/// That a workload begins to wait for more than a moment. It is told once for each reason, until its
/// pods are replaced or it has not waited for that for ten minutes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Which workload.
    pub key: WorkloadKey,
    /// Its uid.
    pub uid: String,
    /// What it waits for.
    pub waiting: Waiting,
    /// What changed, where that is known.
    pub cause: Cause,
    /// The digest of what its pods would read; empty where that is not known.
    pub digest: String,
}

/// The reasons that were told of one workload, each with when it last waited for it.
pub(super) type Told = BTreeMap<Reason, Timestamp>;

impl Planner {
    /// A workload waits. Only who acts tells of it.
    pub(super) fn wait(
        &mut self,
        key: Arc<WorkloadKey>,
        waiting: Waiting,
        now: Timestamp,
        acts: bool,
        step: &mut Step,
    ) {
        if acts
            && !waiting.reason.is_brief()
            && let Some(track) = self.tracks.get(&key)
        {
            let told = self.told.entry(Arc::clone(&key)).or_default();
            let last = told.insert(waiting.reason, now);
            // A clock that was set back makes nothing of the past.
            if last.is_none_or(|last| now.duration_since(last).abs() >= FORGOTTEN_AFTER) {
                step.held.push(Held {
                    key: (*key).clone(),
                    uid: track.uid.clone(),
                    waiting: waiting.clone(),
                    cause: if let State::Pending(cause) = &track.state { cause.clone() } else { Cause::default() },
                    digest: track.found.as_ref().map(|found| found.snapshot.digest.to_string()).unwrap_or_default(),
                });
            }
        }
        self.waiting.insert(key, waiting);
    }
}
