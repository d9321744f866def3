//! When time alone changes something of a workload.

use jiff::Timestamp;

use super::{NOTED_AFTER, State, Track};
use crate::replace::after;

impl Track {
    /// Until when others wait because it has just become available again.
    pub(in crate::replace) fn warm(&self, now: Timestamp) -> Option<Timestamp> {
        let warm = after(self.available.filter(|_| self.state == State::UpToDate)?, self.merged.warmup);
        (now < warm).then_some(warm)
    }

    /// When time alone changes something of it.
    pub(in crate::replace) fn timer(&self) -> Option<Timestamp> {
        match (&self.state, self.available) {
            (State::Rolling, _) => self.rolled.map(|rolled| after(rolled, self.merged.progress_deadline)),
            (State::UpToDate, Some(available)) => Some(after(available, self.merged.warmup)),
            (State::Pending(_), _) if !self.is_noted => self.seen.map(|(first, _)| after(first, NOTED_AFTER)),
            _ => None,
        }
    }

    /// Whether it must be looked at though nothing was heard of it.
    pub(in crate::replace) fn is_due(&self, now: Timestamp) -> bool {
        self.timer().is_some_and(|timer| timer <= now) || self.remembered().any(|time| time > now)
    }

    /// What it remembers by our own clock.
    fn remembered(&self) -> impl Iterator<Item = Timestamp> {
        let (first, last) = self.seen.unzip();
        [self.foreign_since, self.rolled, self.available, first, last].into_iter().flatten()
    }
}
