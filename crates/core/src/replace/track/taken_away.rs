//! What was noted on a workload and is taken away again.

use jiff::{SignedDuration, Timestamp};

use super::Wanted;
use crate::replace::after;

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
    }
}
