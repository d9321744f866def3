//! How far a write to a workload is.

use jiff::{SignedDuration, Timestamp};

use super::Track;
use crate::replace::after;
use crate::replace::planner::{FIRST_RETRY, LAST_RETRY, OUTDATED};

/// How many times in a row the event that must follow is waited for.
const MOST_CONFLICTS: u32 = 5;

use super::Wanted;

/// How far a write is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::replace) enum Write {
    /// Nothing was tried, or it has come back as an event.
    Idle,
    /// It was handed out.
    UnderWay,
    /// The API server took it, and the event that tells of it has not come: it was decided on this version.
    Taken { on: Box<str>, stamp: Option<Box<str>> },
    /// It was decided on this version, and there is a newer one.
    Outdated { on: Box<str>, until: Timestamp },
    /// It failed so often, is tried again then, and this was said.
    Failed { attempts: u32, until: Timestamp, message: String },
}

impl Write {
    /// Until when no other is tried. A clock that was set back must not make it longer than it ever is.
    pub(in crate::replace) fn waits(&self, now: Timestamp) -> Option<Timestamp> {
        let (until, longest) = match self {
            Self::Failed { until, .. } => (*until, LAST_RETRY),
            Self::Outdated { until, .. } => (*until, OUTDATED),
            Self::Idle | Self::UnderWay | Self::Taken { .. } => return None,
        };
        (now < until && until <= after(now, longest)).then_some(until)
    }
}

<<<<<<< HEAD
/// How long the same record is not written again at first, and at most.
const FIRST_PAUSE: SignedDuration = SignedDuration::from_secs(10);
const LAST_PAUSE: SignedDuration = SignedDuration::from_hours(1);
/// So often it is taken away before that is told.
const TOLD_AFTER: u32 = 2;

/// A record that somebody takes away, and that is written again: two programs must not fight over it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::replace) struct TakenAway {
    written: Option<(Wanted, Timestamp)>,
    times: u32,
    is_to_be_told: bool,
}

impl TakenAway {
    /// Until when this record is not written; it was a moment ago.
    pub(in crate::replace) fn waits(&self, wanted: &Wanted, now: Timestamp) -> Option<Timestamp> {
        let (_, at) = self.written.as_ref().filter(|(written, _)| written == wanted)?;
        let pause = FIRST_PAUSE.saturating_mul(4_i32.saturating_pow(self.times.min(8))).min(LAST_PAUSE);
        // A clock that was set back must not make it longer.
        let until = after((*at).min(now), pause);
        (now < until).then_some(until)
    }

    /// It was written.
    pub(in crate::replace) fn note(&mut self, wanted: Wanted, now: Timestamp) {
        let is_same = self.written.as_ref().is_some_and(|(written, _)| *written == wanted);
        self.times = if is_same { self.times.saturating_add(1) } else { 0 };
        self.written = Some((wanted, now));
        if self.times == TOLD_AFTER {
            self.is_to_be_told = true;
        }
    }

    /// Whether it is to be told now that somebody takes it away; once.
    pub(in crate::replace) fn is_to_be_told(&mut self) -> bool {
        std::mem::take(&mut self.is_to_be_told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_away_is_written_less_and_less_often_and_told_once() {
        let wanted = Wanted { baseline: Some("-:1".to_owned()), sources: None, differs_since: None };
        let (mut taken, mut now) = (TakenAway::default(), Timestamp::UNIX_EPOCH);
        let mut told = 0;
        let mut writes = 0;
        for _ in 0..86_400 {
            if taken.waits(&wanted, now).is_none() {
                taken.note(wanted.clone(), now);
                told += u32::from(taken.is_to_be_told());
                writes += 1;
            }
            now = after(now, SignedDuration::from_secs(1));
        }
        assert_eq!(told, 1);
        assert!(writes < 32, "{writes}");
        let other = Wanted { baseline: Some("-:2".to_owned()), ..wanted };
        assert_eq!(taken.waits(&other, now), None);
=======
impl Track {
    /// A write has failed, and this was said.
    pub(in crate::replace) fn fail(&mut self, message: &str, now: Timestamp) {
        let factor = 2_i32.saturating_pow(self.attempts.min(16));
        self.attempts = self.attempts.saturating_add(1);
        let until = after(now, FIRST_RETRY.saturating_mul(factor).min(LAST_RETRY));
        self.write = Write::Failed { attempts: self.attempts, until, message: message.to_owned() };
    }

    /// The API server says that the object is another one, or gone, and the event that says so is on its way. Where it says
    /// so again and again, something else does, such as an admission webhook: then it has failed like any other.
    pub(in crate::replace) fn conflict(&mut self, on: Box<str>, said: &str, now: Timestamp) {
        self.conflicts = self.conflicts.saturating_add(1);
        if self.conflicts <= MOST_CONFLICTS {
            self.write = Write::Outdated { on, until: after(now, OUTDATED) };
            return;
        }
        self.attempts = self.attempts.max(MOST_CONFLICTS);
        let message = format!(
            "the API server answers again and again that {said}; look for an admission webhook that says so, or for \
             somebody else who writes it all the time"
        );
        self.fail(&message, now);
>>>>>>> fix-core
    }
}
