//! Windows: times that come again and again, in which replacing may or may not begin.
//!
//! A window starts whenever the clock of its time zone shows a minute of its schedule, and lasts for its duration of time
//! that really passes. So it goes over midnight and over a change of the clock, and belongs to the day on which it
//! started: `0 22 * * FRI` for 4h holds on Saturday at 01:00 and not on Friday at 01:00.
//!
//! **When the clock goes forward**, a start that it skips comes later by what it skips, at the same time after midnight as
//! on other days: 02:30 starts at 03:30. **When it goes back**, a start that it shows twice starts twice: no window is
//! missed, and a Deny window that starts every hour leaves no hole.

use std::collections::VecDeque;
use std::sync::Arc;

use jiff::civil::Date;
use jiff::tz::{AmbiguousOffset, TimeZone, TimeZoneDatabase};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::cron::Schedule;
use super::settings::TIME_ZONE_MESSAGE;

/// How far ahead is looked.
pub const HORIZON: SignedDuration = SignedDuration::from_hours(400 * 24);

/// How many occurrences are looked at to find one answer: two years of a window that starts every hour, and some tens
/// of milliseconds of windows that start every minute and never open together.
const MOST_OCCURRENCES: usize = 20_000;

/// What a window is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum WindowKind {
    /// Rollouts begin only within it, or within another one of the policy.
    Allow,
    /// No rollout begins within it, whatever is allowed.
    Deny,
}

/// A validated window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// What it is for.
    pub kind: WindowKind,
    /// How long it lasts from each start, 1m to 168h.
    pub duration: SignedDuration,
    time_zone: TimeZone,
    schedule: Schedule,
    /// First and last of the schedule's minutes, of each run of them that the duration makes one.
    runs: Vec<(u16, u16)>,
}

/// A time from a start up to an end, which is no longer in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Interval {
    start: Timestamp,
    end: Timestamp,
}

impl Window {
    /// A window by its schedule and the IANA name of its time zone, as it is spelled there.
    ///
    /// # Errors
    /// What is wrong, by field.
    pub(super) fn new(
        kind: WindowKind,
        schedule: &str,
        duration: SignedDuration,
        time_zone: &str,
    ) -> Result<Self, Vec<(&'static str, String)>> {
        let parsed =
            Schedule::parse(schedule).map_err(|message| ("schedule", format!("{schedule:?} is not valid; {message}")));
        // The database in this program, not the disk's; it finds names in any case, the API server does not.
        let zone = TimeZoneDatabase::bundled()
            .get(time_zone)
            .ok()
            .filter(|zone| zone.iana_name() == Some(time_zone))
            .ok_or_else(|| ("timeZone", format!("{time_zone:?} is not known; {TIME_ZONE_MESSAGE}")));
        match (parsed, zone) {
            (Ok(schedule), Ok(time_zone)) => {
                let runs = runs(&schedule.minutes, duration);
                Ok(Self { kind, duration, time_zone, schedule, runs })
            }
            (schedule, zone) => Err(schedule.err().into_iter().chain(zone.err()).collect()),
        }
    }

    /// Whether it holds at this moment.
    fn holds(&self, now: Timestamp) -> bool {
        let mut intervals = Intervals::new(self, now, now);
        intervals.any(|interval| interval.start <= now && now < interval.end)
    }

    /// What starts on a day, in order; what overlaps or touches is one.
    fn on(&self, date: Date, into: &mut VecDeque<Interval>) {
        if !self.schedule.is_day(date) {
            return;
        }
        let mut starts = Vec::new();
        if let Some(offset) = self.only_offset(date) {
            let start = |minute: u16| offset.to_timestamp(at(date, minute)).ok();
            starts.extend(self.runs.iter().filter_map(|(first, last)| Some((start(*first)?, start(*last)?))));
        } else {
            for minute in &self.schedule.minutes {
                let time = at(date, *minute);
                let offsets = match self.time_zone.to_ambiguous_timestamp(time).offset() {
                    AmbiguousOffset::Unambiguous { offset } => [Some(offset), None],
                    // With the old offset the time comes out as much later as the clock skips.
                    AmbiguousOffset::Gap { before, .. } => [Some(before), None],
                    AmbiguousOffset::Fold { before, after } => [Some(before), Some(after)],
                };
                let times = offsets.into_iter().flatten().filter_map(|offset| offset.to_timestamp(time).ok());
                starts.extend(times.map(|start| (start, start)));
            }
            starts.sort_unstable();
        }
        for (first, last) in starts {
            let Ok(end) = last.checked_add(self.duration) else { continue };
            match into.back_mut() {
                Some(open) if open.start <= first && first <= open.end => open.end = open.end.max(end),
                _ => into.push_back(Interval { start: first, end }),
            }
        }
    }

    /// The offset of a whole day, if it is one.
    fn only_offset(&self, date: Date) -> Option<jiff::tz::Offset> {
        let offset_at = |date: Date| match self.time_zone.to_ambiguous_timestamp(at(date, 0)).offset() {
            AmbiguousOffset::Unambiguous { offset } => Some(offset),
            AmbiguousOffset::Gap { .. } | AmbiguousOffset::Fold { .. } => None,
        };
        offset_at(date).filter(|offset| date.tomorrow().ok().and_then(offset_at) == Some(*offset))
    }
}

fn at(date: Date, minute: u16) -> jiff::civil::DateTime {
    let [hour, minute] = [minute / 60, minute % 60].map(|part| i8::try_from(part).unwrap_or_default());
    date.at(hour, minute, 0, 0)
}

fn runs(minutes: &[u16], duration: SignedDuration) -> Vec<(u16, u16)> {
    let mut runs: Vec<(u16, u16)> = Vec::new();
    for &minute in minutes {
        match runs.last_mut() {
            Some((_, last)) if SignedDuration::from_mins(i64::from(minute - *last)) <= duration => *last = minute,
            _ => runs.push((minute, minute)),
        }
    }
    runs
}

/// What a window comes to, day by day, in order of the starts, from what holds at a moment.
struct Intervals<'a> {
    window: &'a Window,
    loaded: VecDeque<Interval>,
    /// The next day to load.
    next: Date,
    last: Date,
}

impl<'a> Intervals<'a> {
    fn new(window: &'a Window, from: Timestamp, to: Timestamp) -> Self {
        let date = |time: Timestamp| window.time_zone.to_datetime(time).date();
        let first = date(from.saturating_sub(window.duration).unwrap_or(Timestamp::MIN));
        // A start that the clock skips may come on the day after.
        let next = first.yesterday().unwrap_or(first);
        Self { window, loaded: VecDeque::new(), next, last: date(to) }
    }
}

impl Iterator for Intervals<'_> {
    type Item = Interval;

    fn next(&mut self) -> Option<Interval> {
        loop {
            // What starts on a later day starts later, and may go before what the clock moved there.
            let date = |interval: &Interval| self.window.time_zone.to_datetime(interval.start).date();
            if self.next > self.last || self.loaded.front().is_some_and(|first| date(first) < self.next) {
                return self.loaded.pop_front();
            }
            self.window.on(self.next, &mut self.loaded);
            self.loaded.make_contiguous().sort_unstable();
            self.next = self.next.tomorrow().ok()?;
        }
    }
}

/// Several windows as one, from what holds at a moment: disjoint intervals that do not touch.
struct Union<'a> {
    streams: Vec<std::iter::Peekable<Intervals<'a>>>,
    current: Option<Interval>,
    /// How many occurrences may still be looked at; at none the end is not known.
    left: usize,
}

impl<'a> Union<'a> {
    fn new(windows: impl Iterator<Item = &'a Window>, from: Timestamp, to: Timestamp) -> Self {
        let streams = windows.map(|window| Intervals::new(window, from, to).peekable()).collect();
        let mut union = Self { streams, current: None, left: MOST_OCCURRENCES };
        union.advance();
        union
    }

    fn advance(&mut self) {
        let mut current: Option<Interval> = None;
        loop {
            let next = self.streams.iter_mut().filter_map(|stream| Some((stream.peek().copied()?, stream)));
            let Some((next, stream)) = next.min_by_key(|(next, _)| *next) else { break };
            match &mut current {
                None => current = Some(next),
                Some(open) if next.start <= open.end => open.end = open.end.max(next.end),
                Some(_) => break,
            }
            stream.next();
            self.left = self.left.saturating_sub(1);
            if self.left == 0 {
                current = None;
                break;
            }
        }
        self.current = current;
    }

    /// The interval that holds at a moment, or the next one.
    fn from(&mut self, time: Timestamp) -> Option<Interval> {
        while self.current.is_some_and(|current| current.end <= time) {
            self.advance();
        }
        self.current
    }
}

/// Whether something may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WindowState {
    /// It may.
    Open {
        /// Up to when; none where that is not within [`HORIZON`].
        until: Option<Timestamp>,
    },
    /// It must wait.
    Closed {
        /// Up to when; none where it never opens within [`HORIZON`].
        next: Option<Timestamp>,
    },
}

/// The windows of several policies: open when each policy lets it be.
///
/// A policy lets it be when one of its Allow windows holds, or it has none, and none of its Deny windows holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Windows {
    policies: Vec<Vec<Arc<Window>>>,
}

impl Windows {
    /// From the windows of each policy.
    pub fn new(policies: impl IntoIterator<Item = Vec<Arc<Window>>>) -> Self {
        Self { policies: policies.into_iter().filter(|windows| !windows.is_empty()).collect() }
    }

    /// Whether something may begin now: the cheap half of [`Self::state`].
    pub fn is_open(&self, now: Timestamp) -> bool {
        self.policies.iter().all(|windows| {
            let mut allow = of_kind(windows, WindowKind::Allow).peekable();
            (allow.peek().is_none() || allow.any(|window| window.holds(now)))
                && !of_kind(windows, WindowKind::Deny).any(|window| window.holds(now))
        })
    }

    /// Whether something may begin now, and when that changes. It looks [`HORIZON`] ahead at most, or at 20,000
    /// occurrences: what is not found by then counts as never.
    pub fn state(&self, now: Timestamp) -> WindowState {
        let end = now.checked_add(HORIZON).unwrap_or(Timestamp::MAX);
        let mut deny =
            Union::new(self.policies.iter().flat_map(|windows| of_kind(windows, WindowKind::Deny)), now, end);
        let with_allow = self.policies.iter().filter(|windows| of_kind(windows, WindowKind::Allow).next().is_some());
        let mut allow: Vec<_> =
            with_allow.map(|windows| Union::new(of_kind(windows, WindowKind::Allow), now, end)).collect();
        if self.is_open(now) {
            let denied = deny.from(now).map(|denied| denied.start);
            let ends = allow.iter_mut().filter_map(|allowed| Some(allowed.from(now)?.end));
            return WindowState::Open { until: ends.chain(denied).min().filter(|until| *until <= end) };
        }
        let mut opens = now;
        'later: while opens <= end {
            match deny.from(opens) {
                None if deny.left == 0 => break,
                Some(denied) if denied.start <= opens => {
                    opens = denied.end;
                    continue;
                }
                None | Some(_) => {}
            }
            for allowed in &mut allow {
                let Some(next) = allowed.from(opens) else { break 'later };
                if next.start > opens {
                    opens = next.start;
                    continue 'later;
                }
            }
            return WindowState::Closed { next: Some(opens) };
        }
        WindowState::Closed { next: None }
    }
}

fn of_kind(windows: &[Arc<Window>], kind: WindowKind) -> impl Iterator<Item = &Window> {
    windows.iter().map(|window| &**window).filter(move |window| window.kind == kind)
}

#[cfg(test)]
mod tests;
