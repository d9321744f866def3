//! What holds up a workload whose pods are to be replaced, but for what it shares with others.

use jiff::Timestamp;

use super::after;
use super::flap::Flapping;
use super::snapshot::Now;
use super::track::{Track, Write};
use super::waiting::{Reason, Waiting};
use super::window::WindowState;
use crate::workload::rollout::{Progress, Replacing, Rollout};

/// How often somebody may take back what the operator wrote, before it gives in.
const MOST_REVERTS: u32 = 2;
/// How much longer than `settle` edits are gathered at most.
const MOST_SETTLES: i32 = 10;

/// What is asked.
pub(super) struct Gate<'a> {
    pub track: &'a Track,
    pub rollout: &'a Rollout,
    pub found: &'a Now,
    pub flapping: Option<(String, Flapping)>,
    /// Whether a replacement of the operator's own is not done: what is newer must not wait for it.
    pub supersedes: bool,
    pub now: Timestamp,
}

impl Gate<'_> {
    /// The first thing that holds it up: what a person must settle before what passes by itself.
    pub(super) fn first(&self) -> Option<Waiting> {
        self.writes()
            .or_else(|| self.stands_still())
            .or_else(|| self.missing())
            .or_else(|| self.reverted())
            .or_else(|| self.anothers())
            .or_else(|| self.flaps())
            .or_else(|| self.settles())
            .or_else(|| self.interval())
            .or_else(|| self.window())
    }

    fn writes(&self) -> Option<Waiting> {
        let until = self.track.write.waits(self.now)?;
        if let Write::Failed { message, attempts, .. } = &self.track.write {
            let times = if *attempts == 1 { "once".to_owned() } else { format!("{attempts} times") };
            let message = format!("the change was refused {times}: {message}; it is tried again at {until}");
            return Some(Waiting::until(Reason::WriteFailed, until, message));
        }
        Some(Waiting::until(Reason::NotReadYet, until, "it has just been changed by somebody else"))
    }

    fn stands_still(&self) -> Option<Waiting> {
        if self.rollout.paused {
            let message = "it is paused; its pods are replaced when somebody resumes it";
            return Some(Waiting::for_event(Reason::Paused, message));
        }
        match self.rollout.replacing {
            Replacing::Rolling => None,
            Replacing::OnDelete => Some(Waiting::for_event(
                Reason::OnDelete,
                "its update strategy is OnDelete: delete its pods, one by one, for them to read what is current",
            )),
            Replacing::Partition(partition) => Some(Waiting::for_event(
                Reason::Partitioned,
                format!(
                    "its update strategy holds back pods with ordinals below {partition}; \
                     set spec.updateStrategy.rollingUpdate.partition to 0"
                ),
            )),
        }
    }

    fn missing(&self) -> Option<Waiting> {
        (!self.found.missing.is_empty()).then(|| {
            let missing = self.found.missing.iter().take(5).cloned().collect::<Vec<_>>().join(", ");
            Waiting::for_event(Reason::MissingReference, format!("new pods could not start: {missing}"))
        })
    }

    fn reverted(&self) -> Option<Waiting> {
        let (manager, times) = self.track.reverts.iter().find(|(_, times)| **times >= MOST_REVERTS)?;
        Some(Waiting::for_event(
            Reason::Reverted,
            format!(
                "{manager} has taken back the annotation immutable.dev/config-digest of the pod template {times} times; \
                 have it leave that annotation alone, or opt the workload out; newer content is tried again"
            ),
        ))
    }

    fn anothers(&self) -> Option<Waiting> {
        let since = self.track.foreign_since?;
        if self.rollout.progress != Progress::UnderWay {
            return None;
        }
        let until = after(since, self.track.merged.progress_deadline);
        (self.now < until).then(|| {
            let manager = self.rollout.writer.as_ref().map_or("somebody", |writer| &*writer.manager);
            let message =
                format!("a rollout that {manager} began is under way; it is waited for until {until} at most");
            Waiting::until(Reason::AnothersRollout, until, message)
        })
    }

    fn flaps(&self) -> Option<Waiting> {
        let (object, flapping) = self.flapping.as_ref()?;
        let writers: Vec<&str> = flapping.writers.iter().map(|writer| &**writer).collect();
        let what = if flapping.is_fight { "is fought over by" } else { "was written by" };
        let message = format!(
            "{object} changed {} times lately and {what} {}; it goes on when it is calm until {}",
            flapping.changes,
            writers.join(" and "),
            flapping.until
        );
        Some(Waiting::until(Reason::Flapping, flapping.until, message))
    }

    fn settles(&self) -> Option<Waiting> {
        let settle = self.track.merged.settle;
        let (first, last) = self.track.seen?;
        let until = after(last, settle).min(after(first, settle.saturating_mul(MOST_SETTLES)));
        (self.now < until)
            .then(|| Waiting::until(Reason::Settling, until, format!("more edits are waited for until {until}")))
    }

    fn interval(&self) -> Option<Waiting> {
        let rolled = self.track.rolled?;
        let until = after(rolled, self.track.merged.min_interval);
        (self.now < until).then(|| {
            Waiting::until(Reason::MinInterval, until, format!("its pods were replaced at {rolled}; next at {until}"))
        })
    }

    fn window(&self) -> Option<Waiting> {
        if self.supersedes {
            return None;
        }
        // Whether it is open is known sooner than until when it is not.
        if self.track.merged.windows.is_open(self.now) {
            return None;
        }
        match self.track.merged.windows.state(self.now) {
            WindowState::Open { .. } => None,
            WindowState::Closed { next: Some(next) } => {
                Some(Waiting::until(Reason::Window, next, format!("the next window opens at {next}")))
            }
            WindowState::Closed { next: None } => {
                let conflict = self.track.merged.conflict(self.now).map(|conflict| conflict.to_string());
                Some(Waiting::for_event(Reason::Conflict, conflict.unwrap_or_default()))
            }
        }
    }
}
