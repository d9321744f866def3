//! Content that changes again and again: writers that fight over one object must not fill a cluster with ReplicaSets.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiff::{SignedDuration, Timestamp};

use super::after;
use super::waiting::{Reason, Waiting};
use crate::world::ConfigId;

/// How many changes are remembered.
const REMEMBERED: usize = 1024;
/// How far back changes count.
const LOOKED_BACK: SignedDuration = SignedDuration::from_mins(10);
/// More changes within that time are too many where two write.
const FIGHT: usize = 10;
/// How often each of two must have written for that.
const EACH: usize = 3;
/// More changes within that time are too many, whoever writes.
const TOO_MANY: usize = 60;
/// The same where the policy wants no time between two rollouts.
const TOO_MANY_AT_ONCE: usize = 1000;
/// How long it must be quiet before it counts as calm.
const CALM: SignedDuration = SignedDuration::from_secs(30);
/// The same where two write: people do not edit like that, programs fight.
const CALM_AFTER_FIGHT: SignedDuration = SignedDuration::from_mins(5);
/// Whoever writes, it is calm after this.
const LONGEST_CALM: SignedDuration = CALM_AFTER_FIGHT;
/// How many writers a message names.
const MOST_NAMED: usize = 5;

/// The latest changes of one object.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Changes {
    latest: VecDeque<Change>,
}

#[derive(Clone, Debug, PartialEq)]
struct Change {
    at: Timestamp,
    content: u64,
    writer: Option<Box<str>>,
}

/// That an object changes again and again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Flapping {
    /// When it counts as calm, if nothing more happens.
    pub until: Timestamp,
    /// How many changes there were lately.
    pub changes: usize,
    /// Whether two or more write again and again.
    pub is_fight: bool,
    /// Who wrote.
    pub writers: BTreeSet<Box<str>>,
}

impl Flapping {
    /// What the workloads wait for that read this object.
    pub(super) fn waiting(&self, object: &ConfigId) -> Waiting {
        let mut writers: Vec<&str> = self.writers.iter().take(MOST_NAMED).map(|writer| &**writer).collect();
        if self.writers.len() > MOST_NAMED {
            writers.push("others");
        }
        let what = if self.is_fight { "is fought over by" } else { "was written by" };
        let message = format!(
            "{object} changed {} times lately and {what} {}; it goes on when it is calm until {}",
            self.changes,
            writers.join(" and "),
            self.until
        );
        Waiting::until(Reason::Flapping, self.until, message)
    }
}

impl Changes {
    /// Takes in what the object holds now.
    pub(super) fn push(&mut self, at: Timestamp, content: u64, writer: Option<&str>) {
        if self.latest.back().is_some_and(|last| last.content == content) {
            return;
        }
        if self.latest.len() == REMEMBERED {
            self.latest.pop_front();
        }
        self.latest.push_back(Change { at, content, writer: writer.map(Box::from) });
    }

    /// Whether it changes too often to be followed, by a workload that is replaced at once or not.
    pub(super) fn flapping(&self, now: Timestamp, at_once: bool) -> Option<Flapping> {
        let last = self.latest.back()?.at;
        // A clock that was set back makes nothing of the past. Most are calm: that is seen without counting.
        if self.latest.len() <= FIGHT || now.duration_since(last).abs() >= LONGEST_CALM {
            return None;
        }
        let lately = |change: &&Change| now.duration_since(change.at).abs() < LOOKED_BACK;
        let mut writers: BTreeMap<&str, usize> = BTreeMap::new();
        let mut changes = 0;
        for change in self.latest.iter().filter(lately) {
            changes += 1;
            *writers.entry(change.writer.as_deref().unwrap_or("unknown")).or_default() += 1;
        }
        let is_fight = changes > FIGHT && writers.values().filter(|written| **written >= EACH).count() > 1;
        if !is_fight && changes <= if at_once { TOO_MANY_AT_ONCE } else { TOO_MANY } {
            return None;
        }
        let calm = if is_fight { CALM_AFTER_FIGHT } else { CALM };
        let until = after(last, calm);
        let writers = writers.into_keys().map(Box::from).collect();
        (now.duration_since(last).abs() < calm).then_some(Flapping { until, changes, is_fight, writers })
    }

    /// Whether all of it is long ago.
    pub(super) fn is_forgotten(&self, now: Timestamp) -> bool {
        self.latest.back().is_none_or(|last| now.duration_since(last.at).abs() >= LOOKED_BACK)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::rules::ConfigKind;
    use crate::world::ConfigKey;

    fn second(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn edited(edits: u64, writer: impl Fn(u64) -> &'static str) -> Changes {
        let mut changes = Changes::default();
        for edit in 0..edits {
            changes.push(second(i64::try_from(edit).unwrap()), edit, Some(writer(edit)));
        }
        changes
    }

    #[test]
    fn edits_of_one_are_followed_until_they_are_too_many() {
        let is_flapping = |edits: u64, at_once| {
            let now = second(i64::try_from(edits).unwrap());
            edited(edits, |_| "kubectl").flapping(now, at_once).is_some()
        };
        assert!(!is_flapping(60, false));
        assert!(is_flapping(61, false));
        assert!(!is_flapping(200, true));
    }

    #[test]
    fn many_edits_are_waited_out() {
        let changes = edited(100, |_| "kubectl");
        let flapping = changes.flapping(second(100), false).unwrap();
        assert!(!flapping.is_fight);
        assert_eq!(flapping.until, second(99) + CALM);
        assert_eq!(changes.flapping(flapping.until, false), None);
    }

    #[test]
    fn writers_that_fight_are_named_and_waited_for_longer() {
        let changes = edited(11, |edit| ["one", "other"][usize::from(edit % 2 == 0)]);
        let flapping = changes.flapping(second(11), true).unwrap();
        assert!(flapping.is_fight);
        assert_eq!(flapping.writers.iter().map(|writer| &**writer).collect::<Vec<_>>(), ["one", "other"]);
        assert!(changes.flapping(second(10) + CALM, true).is_some());
        assert_eq!(changes.flapping(second(10) + CALM_AFTER_FIGHT, true), None);
        assert!(changes.is_forgotten(second(2000)));
    }

    #[test]
    fn a_message_names_a_few_of_many_writers() {
        let mut changes = Changes::default();
        for edit in 0..100 {
            changes.push(second(edit), edit.unsigned_abs(), Some(&format!("writer-{edit:02}")));
        }
        let key = ConfigKey { namespace: "shop".to_owned(), name: "app".to_owned() };
        let object = ConfigId { kind: ConfigKind::ConfigMap, key };
        let waiting = changes.flapping(second(100), false).unwrap().waiting(&object);
        let writers = "writer-00 and writer-01 and writer-02 and writer-03 and writer-04 and others";
        assert!(
            waiting
                .message
                .contains(&format!("ConfigMap shop/app changed 100 times lately and was written by {writers};"))
        );
        assert_eq!((waiting.reason, waiting.until), (Reason::Flapping, Some(second(99) + CALM)));
    }

    #[test]
    fn the_same_content_again_is_no_change() {
        let mut changes = Changes::default();
        for edit in 0..2000 {
            changes.push(second(edit), 1, None);
        }
        assert_eq!(changes.flapping(second(2000), false), None);
    }
}
