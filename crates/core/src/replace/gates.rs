//! What holds up a workload whose pods are to be replaced, but for what it shares with others.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::after;
use super::merge::Merged;
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
    /// What it waits for where an object that it reads changes again and again.
    pub flapping: Option<Waiting>,
    /// Whether a replacement of the operator's own is not done: what is newer must not wait for it.
    pub supersedes: bool,
    /// What is known of windows at this moment.
    pub windows: &'a AskedWindows,
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
            .or_else(|| self.flapping.clone())
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
        self.windows.waits(&self.track.merged, self.now)
    }
}

/// What windows hold up at one moment. Thousands may wait under the windows of one set of policies, and those that are never
/// open take long to look at: each set is asked once.
#[derive(Default)]
pub(super) struct AskedWindows(RefCell<BTreeMap<*const Merged, Option<Waiting>>>);

impl AskedWindows {
    /// What the workloads of a set of policies wait for. The set must live as long as this, and the moment be the same one.
    fn waits(&self, merged: &Arc<Merged>, now: Timestamp) -> Option<Waiting> {
        let mut asked = self.0.borrow_mut();
        asked.entry(Arc::as_ptr(merged)).or_insert_with(|| ask(merged, now)).clone()
    }
}

fn ask(merged: &Merged, now: Timestamp) -> Option<Waiting> {
    // Whether it is open is known sooner than until when it is not.
    if merged.windows.is_open(now) {
        return None;
    }
    match merged.windows.state(now) {
        WindowState::Open { .. } => None,
        WindowState::Closed { next: Some(next) } => {
            Some(Waiting::until(Reason::Window, next, format!("the next window opens at {next}")))
        }
        WindowState::Closed { next: None } => {
            let conflict = merged.conflict(now).map(|conflict| conflict.to_string());
            Some(Waiting::for_event(Reason::Conflict, conflict.unwrap_or_default()))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::policy::PolicyId;
    use crate::replace::ReplaceSettings;
    use crate::replace::merge::merge;

    fn merged(windows: &serde_json::Value) -> Arc<Merged> {
        let settings: ReplaceSettings = serde_json::from_value(serde_json::json!({"windows": windows})).unwrap();
        let replace = settings.validate().unwrap();
        let id = PolicyId { namespace: None, name: "nightly".to_owned() };
        Arc::new(merge([(&id, &replace)].into_iter()))
    }

    #[test]
    fn each_set_of_policies_is_asked_once_for_its_windows() {
        let now: Timestamp = "2026-01-05T10:00:00Z".parse().unwrap();
        let nightly = merged(&serde_json::json!([{"type": "Allow", "schedule": "0 22 * * *", "duration": "4h"}]));
        let always = merged(&serde_json::json!([]));
        let never = merged(&serde_json::json!([{"type": "Deny", "schedule": "0 * * * *", "duration": "1h"}]));
        let asked = AskedWindows::default();
        for _ in 0..3 {
            let waiting = asked.waits(&nightly, now).unwrap();
            assert_eq!((waiting.reason, waiting.until), (Reason::Window, "2026-01-05T22:00:00Z".parse().ok()));
            assert_eq!(asked.waits(&always, now), None);
            let waiting = asked.waits(&never, now).unwrap();
            assert_eq!((waiting.reason, waiting.until), (Reason::Conflict, None));
            assert!(waiting.message.contains("never open within 400 days"), "{}", waiting.message);
        }
        assert_eq!(asked.0.borrow().len(), 3);
        // What is known is not asked again, whatever the time.
        let at_night = "2026-01-05T23:00:00Z".parse().unwrap();
        assert!(asked.waits(&nightly, at_night).is_some());
        assert_eq!(AskedWindows::default().waits(&nightly, at_night), None);
    }
}
