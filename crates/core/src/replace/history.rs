//! How the pods of a workload were replaced before, as the revisions that its controller keeps tell it.

use jiff::{SignedDuration, Timestamp};

use crate::workload::rollout::Writer;

/// How many replacements are told.
const MOST_TOLD: usize = 10;
/// How much later than the write of a template its controller makes the revision, and some more: both clocks tell seconds.
const MADE_WITHIN: SignedDuration = SignedDuration::from_secs(5);

/// A revision of a pod template: a `ReplicaSet`, or a `ControllerRevision`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Its number: the greatest is the newest.
    pub number: i64,
    /// The name of the object that keeps it.
    pub name: String,
    /// When it was first made.
    pub created: Option<Timestamp>,
    /// `immutable.dev/config-digest` of its template.
    pub stamp: Option<String>,
    /// `immutable.dev/rollout-cause` of its template.
    pub cause: Option<String>,
    /// Whether it had another number before: somebody came back to it. A `ControllerRevision` does not say so; one that is
    /// older than those before it is known by that.
    pub is_again: bool,
}

/// What became of a workload's pods.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct History {
    /// The revisions that the operator made, the newest first, ten at most.
    pub replacements: Vec<Revision>,
    /// The newest revision that somebody else made, with the field manager that wrote its template, where that is still
    /// known.
    pub last_of_others: Option<(Revision, Option<String>)>,
}

/// Tells the operator's revisions from those of others. `writers` are the field managers beside the operator that wrote the
/// template, each with the time of its last write; `rolled` is when the operator last wrote it.
///
/// A revision is the operator's where its stamp is another than that of the revision before: others carry the stamp along.
pub fn history(mut revisions: Vec<Revision>, writers: &[Writer], rolled: Option<Timestamp>) -> History {
    revisions.sort_unstable_by_key(|revision| revision.number);
    for index in 1..revisions.len() {
        // One that got a new number was made before those that it left behind.
        let is_older = revisions[index].created < revisions[index - 1].created;
        revisions[index].is_again |= is_older;
    }
    let mut history = History::default();
    for (index, revision) in revisions.iter().enumerate().rev() {
        let before = index.checked_sub(1).and_then(|before| revisions.get(before));
        let is_stamped = match before {
            Some(before) => revision.stamp.is_some() && revision.stamp != before.stamp,
            // What was before is not kept.
            None => revision.stamp.is_some() && revision.number > 1,
        };
        // Somebody who goes back to one takes its stamp over; who it was is only known of the newest.
        let is_newest = index + 1 == revisions.len();
        let last_writer = writers.iter().max_by_key(|writer| writer.time);
        let is_taken_back = revision.is_again
            && is_newest
            && last_writer.is_some_and(|last| rolled.is_none_or(|rolled| rolled < last.time));
        if is_stamped && !is_taken_back {
            if history.replacements.len() < MOST_TOLD {
                history.replacements.push(revision.clone());
            }
        } else if history.last_of_others.is_none() {
            let before = before.and_then(|before| before.created);
            let manager = writer_of(revision, before, is_newest, writers);
            history.last_of_others = Some((revision.clone(), manager.map(|writer| writer.manager.to_string())));
        }
    }
    history
}

/// Who wrote the template of a revision: the last who wrote after the one before it was made, and before it was.
fn writer_of<'w>(
    revision: &Revision,
    before: Option<Timestamp>,
    is_newest: bool,
    writers: &'w [Writer],
) -> Option<&'w Writer> {
    let until = match revision.created {
        // When somebody came back to it is not noted.
        _ if revision.is_again && is_newest => Timestamp::MAX,
        Some(created) if !revision.is_again => created.checked_add(MADE_WITHIN).unwrap_or(Timestamp::MAX),
        _ => return None,
    };
    // Within one second it is not known what came first.
    let is_it = |writer: &&Writer| writer.time <= until && before.is_none_or(|before| before < writer.time);
    writers.iter().filter(is_it).max_by_key(|writer| writer.time)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap_or_default()
    }

    fn revision(number: i64, second: i64, stamp: Option<&str>) -> Revision {
        Revision {
            number,
            name: format!("web-{number}"),
            created: Some(at(second)),
            stamp: stamp.map(ToOwned::to_owned),
            cause: stamp.map(|stamp| format!("ConfigMap {stamp}")),
            is_again: false,
        }
    }

    fn writer(manager: &str, second: i64) -> Writer {
        Writer { manager: manager.into(), time: at(second) }
    }

    /// The numbers of the operator's revisions, and the last of others with its manager.
    fn told(history: &History) -> (Vec<i64>, Option<(i64, Option<&str>)>) {
        let others = history.last_of_others.as_ref();
        (
            history.replacements.iter().map(|revision| revision.number).collect(),
            others.map(|(revision, manager)| (revision.number, manager.as_deref())),
        )
    }

    #[test]
    fn a_stamp_that_is_new_is_ours_and_one_that_is_carried_along_is_not() {
        let revisions = vec![
            revision(4, 40, Some("b")),
            revision(1, 0, None),
            revision(2, 20, Some("a")),
            revision(3, 30, Some("a")),
        ];
        let told_of = history(revisions, &[writer("kubectl-set", 30), writer("helm", 0)], Some(at(40)));
        assert_eq!(told(&told_of), (vec![4, 2], Some((3, Some("kubectl-set")))));
    }

    #[test]
    fn who_wrote_is_not_guessed() {
        let revisions = vec![revision(1, 0, None), revision(2, 20, None), revision(3, 30, Some("a"))];
        // The manager of the second has written something else since.
        let told_of = history(revisions, &[writer("kubectl-edit", 35)], Some(at(30)));
        assert_eq!(told(&told_of), (vec![3], Some((2, None))));
        let told_of = history(vec![revision(2, 20, None)], &[writer("kubectl-edit", 35)], None);
        assert_eq!(told(&told_of), (vec![], Some((2, None))));
    }

    #[test]
    fn who_takes_a_rollout_back_is_named_and_a_return_of_the_content_is_ours() {
        let revisions = || {
            let again = Revision { is_again: true, ..revision(4, 20, Some("a")) };
            vec![revision(1, 0, None), revision(3, 30, Some("b")), again]
        };
        let undone = history(revisions(), &[writer("kubectl-rollout", 50)], Some(at(30)));
        assert_eq!(told(&undone), (vec![3], Some((4, Some("kubectl-rollout")))));
        // Who takes the stamp away, and nothing else, leaves no trace.
        let bare = vec![revision(2, 30, Some("b")), Revision { is_again: true, ..revision(3, 0, None) }];
        assert_eq!(told(&history(bare, &[writer("helm", 0)], None)), (vec![2], Some((3, None))));
        let returned = history(revisions(), &[writer("helm", 0)], Some(at(50)));
        assert_eq!(told(&returned), (vec![4, 3], Some((1, Some("helm")))));
    }

    #[test]
    fn no_more_than_ten_are_told() {
        let revisions = (1..=30).map(|number| revision(number, number, Some(&number.to_string()))).collect();
        let told_of = history(revisions, &[], None);
        assert_eq!(told(&told_of), ((21..=30).rev().collect(), Some((1, None))));
    }
}
