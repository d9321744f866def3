//! Where workloads stand with what they read: numbers with examples, for statuses and metrics.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::planner::Planner;
use super::track::{State, Track, Write};
use super::waiting::{Reason, Waiting};
use crate::policy::PolicyId;
use crate::world::WorkloadKey;

/// How many workloads are named as examples.
const MOST_EXAMPLES: usize = 3;

/// What somebody must do before what passes by itself, and the worst of it first.
const WORST_FIRST: [Reason; 20] = [
    Reason::Halted,
    Reason::StuckRevision,
    Reason::Flapping,
    Reason::Reverted,
    Reason::Conflict,
    Reason::MissingReference,
    Reason::Unreadable,
    Reason::WriteFailed,
    Reason::Paused,
    Reason::OnDelete,
    Reason::Partitioned,
    Reason::Suspended,
    Reason::AnothersRollout,
    Reason::Window,
    Reason::Checkpoint,
    Reason::Warmup,
    Reason::MaxConcurrent,
    Reason::MinInterval,
    Reason::Settling,
    Reason::NotReadYet,
];

/// Where all of them stand.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// All that are served.
    pub all: Numbers,
    /// Those of each policy that has a `replace` section and serves any.
    pub policies: BTreeMap<PolicyId, Numbers>,
}

/// Where some of them stand. Each is counted in one place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Those whose pods read what is current.
    pub up_to_date: u64,
    /// Those that are to be replaced and wait for nothing but their turn.
    pub pending: Group,
    /// Those whose pods are being replaced.
    pub rolling: Group,
    /// Those that were replaced and did not become available.
    pub failed: Group,
    /// Those that are to be replaced and wait.
    pub waiting: BTreeMap<Reason, Group>,
    /// Those whose policies contradict one another, whether or not anything is to be replaced; counted elsewhere too.
    pub conflicts: Group,
}

/// Workloads that have something in common.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// How many they are.
    pub count: u64,
    /// The first of them, at most three.
    pub examples: Vec<Arc<WorkloadKey>>,
    /// What is said of the first one.
    pub message: String,
}

impl Group {
    fn add(&mut self, key: &Arc<WorkloadKey>, message: Option<&str>) {
        if self.count == 0 {
            message.unwrap_or_default().clone_into(&mut self.message);
        }
        self.count += 1;
        if self.examples.len() < MOST_EXAMPLES {
            self.examples.push(Arc::clone(key));
        }
    }
}

/// Where one of them stands.
enum Place<'a> {
    UpToDate,
    Pending,
    Rolling,
    Failed,
    Waiting(&'a Waiting),
}

impl Numbers {
    /// How many workloads there are.
    pub fn workloads(&self) -> u64 {
        let waiting: u64 = self.waiting.values().map(|group| group.count).sum();
        self.up_to_date + self.pending.count + self.rolling.count + self.failed.count + waiting
    }

    /// Those that wait, by reason: what somebody must do comes first.
    pub fn by_rank(&self) -> impl Iterator<Item = (Reason, &Group)> {
        WORST_FIRST.into_iter().filter_map(|reason| Some((reason, self.waiting.get(&reason)?)))
    }

    /// The reason that says most about what must be done, and who waits for it: what somebody must do comes first.
    pub fn worst(&self) -> Option<(Reason, &Group)> {
        let worst = self.by_rank().next();
        match worst {
            _ if self.conflicts.count == 0 => worst,
            Some((reason, _)) if rank(reason) < rank(Reason::Conflict) => worst,
            _ => Some((Reason::Conflict, &self.conflicts)),
        }
    }

    fn add(&mut self, key: &Arc<WorkloadKey>, place: &Place<'_>, held: Option<&Waiting>) {
        match place {
            Place::UpToDate => self.up_to_date += 1,
            Place::Pending => self.pending.add(key, None),
            Place::Rolling => self.rolling.add(key, None),
            Place::Failed => self.failed.add(key, None),
            Place::Waiting(waiting) => self.waiting.entry(waiting.reason).or_default().add(key, Some(&waiting.message)),
        }
        if let Some(held) = held.filter(|held| held.reason == Reason::Conflict) {
            self.conflicts.add(key, Some(&held.message));
        }
    }
}

/// The place of a reason among them.
fn rank(reason: Reason) -> usize {
    WORST_FIRST.iter().position(|known| *known == reason).unwrap_or(WORST_FIRST.len())
}

impl Planner {
    /// Where all workloads stand that are served: a walk over all of them, so not for every event.
    pub fn summary(&self) -> Summary {
        let mut summary = Summary::default();
        for (key, track) in &self.tracks {
            let (place, held) = (self.place(key, track), self.held.get(key));
            summary.all.add(key, &place, held);
            for id in &track.merged.policies {
                match summary.policies.get_mut(id) {
                    Some(numbers) => numbers.add(key, &place, held),
                    None => summary.policies.entry(id.clone()).or_default().add(key, &place, held),
                }
            }
        }
        summary
    }

    fn place(&self, key: &WorkloadKey, track: &Track) -> Place<'_> {
        match &track.state {
            _ if matches!(&track.write, Write::Taken { stamp: Some(_), .. }) => Place::Rolling,
            State::Rolling | State::Failed if self.waiting.contains_key(key) => Place::Waiting(&self.waiting[key]),
            State::UpToDate => Place::UpToDate,
            State::Rolling => Place::Rolling,
            State::Failed => Place::Failed,
            State::Pending(_) | State::Unknown(_) => self.waiting.get(key).map_or(Place::Pending, Place::Waiting),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::workload::{Kind, WorkloadKind};

    fn key(name: &str) -> Arc<WorkloadKey> {
        let kind = WorkloadKind::BuiltIn(Kind::Deployment);
        Arc::new(WorkloadKey { kind, namespace: "shop".to_owned(), name: name.to_owned() })
    }

    fn waiting(reason: Reason) -> Waiting {
        Waiting::for_event(reason, format!("waits for {reason}"))
    }

    #[test]
    fn every_reason_has_a_rank() {
        let ranks: BTreeSet<usize> = Reason::ALL.into_iter().map(rank).collect();
        assert_eq!(ranks, (0..Reason::ALL.len()).collect());
        // Nothing that passes by itself hides what somebody must do.
        let (must, passes): (Vec<_>, Vec<_>) = Reason::ALL.into_iter().partition(|reason| reason.needs_somebody());
        assert!(must.into_iter().map(rank).max() < passes.into_iter().map(rank).min());
    }

    #[test]
    fn each_is_counted_once_and_three_are_named() {
        let mut numbers = Numbers::default();
        let settling = waiting(Reason::Settling);
        for name in ["a", "b", "c", "d"] {
            numbers.add(&key(name), &Place::Waiting(&settling), None);
        }
        let halted = waiting(Reason::Halted);
        numbers.add(&key("e"), &Place::Waiting(&halted), None);
        numbers.add(&key("f"), &Place::UpToDate, None);
        numbers.add(&key("g"), &Place::Rolling, None);
        numbers.add(&key("h"), &Place::Failed, None);
        numbers.add(&key("i"), &Place::Pending, None);
        assert_eq!(numbers.workloads(), 9);
        let settling = &numbers.waiting[&Reason::Settling];
        assert_eq!((settling.count, settling.examples.len()), (4, 3));
        let (reason, group) = numbers.worst().unwrap_or((Reason::Settling, settling));
        assert_eq!((reason, group.message.as_str()), (Reason::Halted, "waits for Halted"));
    }

    #[test]
    fn policies_that_contradict_one_another_are_told_of_before_anything_is_to_be_replaced() {
        let mut numbers = Numbers::default();
        let conflict = waiting(Reason::Conflict);
        numbers.add(&key("a"), &Place::UpToDate, Some(&conflict));
        numbers.add(&key("b"), &Place::Waiting(&waiting(Reason::Window)), None);
        assert_eq!(numbers.worst().map(|(reason, group)| (reason, group.count)), Some((Reason::Conflict, 1)));
        assert_eq!(numbers.workloads(), 2);
    }

    #[test]
    fn workloads_of_a_policy_are_summed_up() {
        let mut planner = crate::replace::told::tests::planner_of(10_000);
        let keys: Vec<_> = planner.tracks.keys().take(3).cloned().collect();
        let states = [State::Rolling, State::Failed, State::Pending(crate::replace::Cause::default())];
        for (key, state) in keys.iter().zip(states) {
            if let Some(track) = planner.tracks.get_mut(key) {
                track.state = state;
            }
        }
        let summary = planner.summary();
        let numbers = summary.policies.values().next().cloned().unwrap_or_default();
        assert_eq!((numbers.up_to_date, numbers.workloads()), (9_997, 10_000));
        assert_eq!(numbers.rolling.examples, [Arc::clone(&keys[0])]);
        assert_eq!((numbers.failed.count, numbers.pending.count), (1, 1));
        assert_eq!(summary.all, numbers);
        // What waits is not pending.
        planner.waiting.insert(Arc::clone(&keys[2]), waiting(Reason::Window));
        let numbers = planner.summary().all;
        assert_eq!((numbers.pending.count, numbers.waiting[&Reason::Window].count), (0, 1));
    }
}
