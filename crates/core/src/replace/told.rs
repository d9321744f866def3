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

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;
    use crate::policy::PolicyId;
    use crate::replace::merge::{Merged, merge};
    use crate::replace::settings::Replace;
    use crate::replace::track::Track;
    use crate::workload::rollout::Rollout;
    use crate::workload::{Kind, WorkloadKind};

    /// A planner that serves so many Deployments, up to date, of one policy.
    pub(in crate::replace) fn planner_of(count: usize) -> Planner {
        let id = PolicyId { namespace: None, name: "policy".to_owned() };
        let replace = Replace::default();
        let merged: Arc<Merged> = Arc::new(merge(std::iter::once((&id, &replace))));
        let kind = WorkloadKind::BuiltIn(Kind::Deployment);
        let manifest = json!({"metadata": {"name": "web"}, "spec": {"template": {"spec": {"containers": []}}}});
        let rollout = Rollout::read(&manifest, &kind, &[]).unwrap();
        let mut planner = Planner::default();
        for number in 0..count {
            let name = format!("web-{number:05}");
            let track = Track::new(&name, Arc::clone(&merged), &rollout, Timestamp::UNIX_EPOCH);
            let key = WorkloadKey { kind: kind.clone(), namespace: "shop".to_owned(), name };
            planner.tracks.insert(Arc::new(key), track);
        }
        planner
    }

    fn told(planner: &mut Planner, reason: Reason, minute: i64, acts: bool) -> Vec<Reason> {
        let key = Arc::clone(planner.tracks.keys().next().unwrap());
        let now = Timestamp::from_second(minute * 60).unwrap();
        let mut step = Step::default();
        planner.wait(Arc::clone(&key), Waiting::for_event(reason, "it waits"), now, acts, &mut step);
        assert_eq!(planner.waiting[&key].reason, reason);
        step.held.into_iter().map(|held| held.waiting.reason).collect()
    }

    #[test]
    fn what_a_workload_waits_for_is_told_once_by_who_acts() {
        let mut planner = planner_of(1);
        assert_eq!(told(&mut planner, Reason::Paused, 0, false), []);
        assert_eq!(told(&mut planner, Reason::Paused, 1, true), [Reason::Paused]);
        assert_eq!(told(&mut planner, Reason::Paused, 2, true), []);
        // What passes at once is not told, and makes nothing be told again.
        assert_eq!(told(&mut planner, Reason::Settling, 3, true), []);
        assert_eq!(told(&mut planner, Reason::Paused, 4, true), []);
        assert_eq!(told(&mut planner, Reason::Window, 5, true), [Reason::Window]);
        // However long it lasts.
        for minute in 6..60 {
            assert_eq!(told(&mut planner, Reason::Window, minute, true), []);
        }
        assert_eq!(told(&mut planner, Reason::Paused, 60, true), [Reason::Paused]);
    }
}
