#![allow(clippy::unwrap_used)]

use jiff::civil::{DateTime, Weekday};
use proptest::prelude::*;
use rstest::rstest;

use super::*;

const MINUTE: SignedDuration = SignedDuration::from_mins(1);

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn window(kind: WindowKind, schedule: &str, duration: &str, zone: &str) -> Arc<Window> {
    Arc::new(Window::new(kind, schedule, duration.parse().unwrap(), zone).unwrap())
}

fn allow(schedule: &str, duration: &str, zone: &str) -> Windows {
    Windows::new([vec![window(WindowKind::Allow, schedule, duration, zone)]])
}

fn open(until: &str) -> WindowState {
    WindowState::Open { until: Some(time(until)) }
}

fn closed(next: &str) -> WindowState {
    WindowState::Closed { next: Some(time(next)) }
}

#[test]
fn without_a_window_it_is_always_open() {
    for windows in [Windows::default(), Windows::new([vec![], vec![]])] {
        assert_eq!(windows.state(time("2026-11-26T12:00:00Z")), WindowState::Open { until: None });
        assert!(windows.is_open(time("2026-11-26T12:00:00Z")));
    }
}

// 27 November 2026 is a Friday. A window belongs to the day on which it starts: Friday 22:00 for 4h holds on Saturday at
// 01:00 and not on Friday at 01:00.
#[rstest]
#[case("2026-11-27T01:00:00+01:00", closed("2026-11-27T22:00:00+01:00"))]
#[case("2026-11-27T21:59:59+01:00", closed("2026-11-27T22:00:00+01:00"))]
#[case("2026-11-27T22:00:00+01:00", open("2026-11-28T02:00:00+01:00"))]
#[case("2026-11-28T01:00:00+01:00", open("2026-11-28T02:00:00+01:00"))]
#[case("2026-11-28T01:59:59.999+01:00", open("2026-11-28T02:00:00+01:00"))]
#[case("2026-11-28T02:00:00+01:00", closed("2026-12-04T22:00:00+01:00"))]
fn it_goes_past_midnight_and_belongs_to_the_day_of_its_start(#[case] now: &str, #[case] state: WindowState) {
    assert_eq!(allow("0 22 * * FRI", "4h", "Europe/Berlin").state(time(now)), state);
}

// 02:30 for 1h on the days on which the clock changes, and on those around.
#[rstest]
// Forward at 02:00 to 03:00: 02:30 does not come; it starts at 03:30, as long after midnight as ever.
#[case::berlin_before(
    "Europe/Berlin",
    "2027-03-27T01:00:00Z",
    "2027-03-27T02:30:00+01:00",
    "2027-03-27T03:30:00+01:00"
)]
#[case::berlin_forward(
    "Europe/Berlin",
    "2027-03-28T00:00:00Z",
    "2027-03-28T03:30:00+02:00",
    "2027-03-28T04:30:00+02:00"
)]
#[case::berlin_after("Europe/Berlin", "2027-03-29T00:00:00Z", "2027-03-29T02:30:00+02:00", "2027-03-29T03:30:00+02:00")]
#[case::new_york_forward(
    "America/New_York",
    "2027-03-14T05:00:00Z",
    "2027-03-14T03:30:00-04:00",
    "2027-03-14T04:30:00-04:00"
)]
// Back at 03:00 to 02:00: 02:30 comes twice, an hour apart, so that it holds for two hours.
#[case::berlin_back("Europe/Berlin", "2026-10-25T00:00:00Z", "2026-10-25T02:30:00+02:00", "2026-10-25T03:30:00+01:00")]
#[case::berlin_back_in_2027(
    "Europe/Berlin",
    "2027-10-31T00:00:00Z",
    "2027-10-31T02:30:00+02:00",
    "2027-10-31T03:30:00+01:00"
)]
// There the clock goes back at 02:00 to 01:00: 02:30 comes once.
#[case::new_york_back(
    "America/New_York",
    "2026-11-01T04:00:00Z",
    "2026-11-01T02:30:00-05:00",
    "2026-11-01T03:30:00-05:00"
)]
fn a_start_is_never_missed_when_the_clock_changes(
    #[case] zone: &str,
    #[case] before: &str,
    #[case] start: &str,
    #[case] end: &str,
) {
    let windows = allow("30 2 * * *", "1h", zone);
    assert_eq!(windows.state(time(before)), closed(start));
    assert_eq!(windows.state(time(start)), open(end));
    assert!(!windows.is_open(time(start) - SignedDuration::from_secs(1)));
    assert!(windows.is_open(time(start)));
    assert!(windows.is_open(time(end) - SignedDuration::from_secs(1)));
    assert!(!windows.is_open(time(end)));
}

#[test]
fn in_new_york_half_past_one_comes_twice() {
    let windows = allow("30 1 * * *", "30m", "America/New_York");
    assert_eq!(windows.state(time("2026-11-01T00:00:00-04:00")), closed("2026-11-01T01:30:00-04:00"));
    assert_eq!(windows.state(time("2026-11-01T01:30:00-04:00")), open("2026-11-01T02:00:00-04:00"));
    assert_eq!(windows.state(time("2026-11-01T01:00:00-05:00")), closed("2026-11-01T01:30:00-05:00"));
    assert_eq!(windows.state(time("2026-11-01T01:30:00-05:00")), open("2026-11-01T02:00:00-05:00"));
}

#[test]
fn a_duration_is_of_time_that_passes() {
    // The night has 23 hours, then 25.
    let windows = allow("0 22 * * *", "4h", "Europe/Berlin");
    assert_eq!(windows.state(time("2027-03-27T22:00:00+01:00")), open("2027-03-28T03:00:00+02:00"));
    assert_eq!(windows.state(time("2027-10-30T22:00:00+02:00")), open("2027-10-31T02:00:00+02:00"));
    let windows = allow("0 0 * * SUN", "24h", "Europe/Berlin");
    assert_eq!(windows.state(time("2027-03-28T12:00:00+02:00")), open("2027-03-29T01:00:00+02:00"));
    assert_eq!(windows.state(time("2027-10-31T12:00:00+01:00")), open("2027-10-31T23:00:00+01:00"));
}

#[test]
fn what_starts_every_hour_leaves_no_hole_when_the_clock_changes() {
    for (zone, from) in [("Europe/Berlin", "2026-10-24T00:00:00Z"), ("America/New_York", "2027-03-13T00:00:00Z")] {
        let windows = allow("0 * * * *", "1h", zone);
        assert_eq!(windows.state(time(from)), WindowState::Open { until: None }, "{zone}");
        assert!((0..72 * 60).all(|minute| windows.is_open(time(from) + MINUTE * minute)), "{zone}");
    }
}

#[test]
fn occurrences_that_overlap_are_one() {
    // Every six hours for seven: never closed. For six days from Monday, and again from Wednesday.
    assert_eq!(
        allow("0 */6 * * *", "7h", "UTC").state(time("2026-11-26T12:00:00Z")),
        WindowState::Open { until: None }
    );
    let windows = allow("0 0 * * MON,WED", "72h", "UTC");
    assert_eq!(windows.state(time("2026-11-24T12:00:00Z")), open("2026-11-28T00:00:00Z"));
    assert_eq!(windows.state(time("2026-11-28T00:00:00Z")), closed("2026-11-30T00:00:00Z"));
}

#[test]
fn deny_wins_over_allow_and_holds_by_itself() {
    let deny = window(WindowKind::Deny, "0 12 * * *", "1h", "UTC");
    let both = Windows::new([vec![window(WindowKind::Allow, "0 10 * * *", "4h", "UTC"), Arc::clone(&deny)]]);
    assert_eq!(both.state(time("2026-11-26T09:00:00Z")), closed("2026-11-26T10:00:00Z"));
    assert_eq!(both.state(time("2026-11-26T10:00:00Z")), open("2026-11-26T12:00:00Z"));
    assert_eq!(both.state(time("2026-11-26T12:30:00Z")), closed("2026-11-26T13:00:00Z"));
    assert_eq!(both.state(time("2026-11-26T13:00:00Z")), open("2026-11-26T14:00:00Z"));
    let alone = Windows::new([vec![deny]]);
    assert_eq!(alone.state(time("2026-11-26T11:00:00Z")), open("2026-11-26T12:00:00Z"));
    assert_eq!(alone.state(time("2026-11-26T12:00:00Z")), closed("2026-11-26T13:00:00Z"));
}

#[rstest]
#[case::a_day_that_never_comes("0 0 30 2 *")]
#[case::a_leap_day("0 0 29 2 *")]
fn what_does_not_come_within_400_days_never_opens(#[case] schedule: &str) {
    assert_eq!(allow(schedule, "24h", "UTC").state(time("2026-11-26T12:00:00Z")), WindowState::Closed { next: None });
    // Once a year is within.
    assert_eq!(allow("0 0 25 11 *", "24h", "UTC").state(time("2026-11-26T12:00:00Z")), closed("2027-11-25T00:00:00Z"));
}

#[test]
fn windows_that_share_no_minute_never_open_even_where_they_start_every_two() {
    let of = |schedule| vec![window(WindowKind::Allow, schedule, "1m", "Europe/Berlin")];
    let windows = Windows::new([of("*/2 * * * *"), of("1-59/2 * * * *")]);
    assert_eq!(windows.state(time("2026-11-26T12:00:00Z")), WindowState::Closed { next: None });
}

#[test]
fn however_many_windows_there_are_the_answer_is_careful() {
    let now = time("2026-11-26T12:00:30Z");
    let even = |kind| window(kind, "*/2 * * * *", "1m", "Europe/Berlin");
    let all: Vec<_> = (0..8).flat_map(|_| [even(WindowKind::Allow), even(WindowKind::Deny)]).collect();
    assert_eq!(Windows::new([all]).state(now), WindowState::Closed { next: None });
    // Open now, and for longer than is looked.
    let every: Vec<_> = (0..8)
        .map(|minute| window(WindowKind::Allow, &format!("{minute}/8 * * * *"), "1m", "Europe/Berlin"))
        .chain([window(WindowKind::Allow, "56-59 * * * *", "1m", "Europe/Berlin")])
        .collect();
    assert_eq!(Windows::new([every]).state(now), WindowState::Open { until: None });
}

#[test]
fn time_zones_come_from_this_program_in_their_own_spelling() {
    for name in [
        "UTC",
        "Europe/Berlin",
        "America/Argentina/Buenos_Aires",
        "Etc/GMT+5",
        "Asia/Calcutta",
        "US/Eastern",
        "EST5EDT",
    ] {
        assert!(Window::new(WindowKind::Allow, "* * * * *", MINUTE, name).is_ok(), "{name}");
    }
    for name in ["", "Local", "utc", "Europe/berlin", "Europe", "+02:00", "CEST", "../etc/passwd"] {
        let problems = Window::new(WindowKind::Allow, "* * * * *", MINUTE, name).unwrap_err();
        assert!(matches!(&problems[..], [("timeZone", _)]), "{name}: {problems:?}");
    }
}

/// A window as a test says it, for an oracle that knows nothing of days and runs.
#[derive(Clone, Debug)]
struct Written {
    kind: WindowKind,
    fields: [String; 5],
    minutes: i64,
    zone: &'static str,
}

fn field_has(field: &str, value: i8, least: i8, most: i8) -> bool {
    field.split(',').any(|item| {
        let (range, step) = item.split_once('/').unwrap_or((item, "1"));
        let (from, to) = match range.split_once('-') {
            _ if range == "*" => (least, most),
            Some((from, to)) => (from.parse().unwrap(), to.parse().unwrap()),
            None => (range.parse().unwrap(), if item.contains('/') { most } else { range.parse().unwrap() }),
        };
        (from..=to).contains(&value) && (value - from) % step.parse::<i8>().unwrap() == 0
    })
}

impl Written {
    fn matches(&self, local: DateTime) -> bool {
        let [minute, hour, day, month, weekday] = &self.fields;
        let of_week = if local.weekday() == Weekday::Sunday { 0 } else { local.weekday().to_monday_one_offset() };
        let (by_month, by_week) = (field_has(day, local.day(), 1, 31), field_has(weekday, of_week, 0, 6));
        let either = !day.starts_with('*') && !weekday.starts_with('*');
        field_has(minute, local.minute(), 0, 59)
            && field_has(hour, local.hour(), 0, 23)
            && field_has(month, local.month(), 1, 12)
            && if either { by_month || by_week } else { by_month && by_week }
    }

    /// Whether the clock shows the time now, or would if it had not just skipped it.
    fn starts(&self, zone: &TimeZone, now: Timestamp) -> bool {
        if self.matches(zone.to_datetime(now)) {
            return true;
        }
        let old = zone.to_offset(now - SignedDuration::from_hours(2)).to_datetime(now);
        matches!(zone.to_ambiguous_timestamp(old).offset(), AmbiguousOffset::Gap { .. }) && self.matches(old)
    }
}

/// Minute by minute: whether it is open.
fn oracle(policies: &[Vec<Written>], from: Timestamp, minutes: usize) -> Vec<bool> {
    let mut open = vec![true; minutes];
    for windows in policies {
        let mut allowed = vec![!windows.iter().any(|window| window.kind == WindowKind::Allow); minutes];
        for window in windows {
            let zone = TimeZoneDatabase::bundled().get(window.zone).unwrap();
            let mut left = 0;
            let before = window.minutes;
            for minute in -before..i64::try_from(minutes).unwrap() {
                left -= 1;
                if window.starts(&zone, from + MINUTE * i32::try_from(minute).unwrap()) {
                    left = window.minutes;
                }
                if let Ok(index) = usize::try_from(minute)
                    && left > 0
                {
                    match window.kind {
                        WindowKind::Allow => allowed[index] = true,
                        WindowKind::Deny => open[index] = false,
                    }
                }
            }
        }
        for (open, allowed) in open.iter_mut().zip(allowed) {
            *open &= allowed;
        }
    }
    open
}

fn any_written(zone: &'static str) -> impl Strategy<Value = Written> {
    let minute = prop_oneof!["[0-5]?[0-9]", Just("*/15".to_owned()), Just("*".to_owned()), Just("0,30".to_owned())];
    let hour = prop_oneof!["1?[0-9]", "[0-3]", Just("*".to_owned()), Just("*/6".to_owned()), Just("0-3".to_owned())];
    let day = prop_oneof![4 => Just("*".to_owned()), 1 => "1?[1-9]", 1 => Just("*/2".to_owned())];
    let month = prop_oneof![4 => Just("*".to_owned()), 1 => Just("3-11".to_owned())];
    let weekday =
        prop_oneof![2 => Just("*".to_owned()), 1 => "[0-6]", 1 => Just("1-5".to_owned()), 1 => Just("0,6".to_owned())];
    let length = prop_oneof![1..30_i64, 30..300_i64, 300..2000_i64];
    let kind = prop_oneof![Just(WindowKind::Allow), Just(WindowKind::Deny)];
    (kind, minute, hour, day, month, weekday, length).prop_map(
        move |(kind, minute, hour, day, month, weekday, minutes)| Written {
            kind,
            fields: [minute, hour, day, month, weekday],
            minutes,
            zone,
        },
    )
}

/// Zones with the times of their changes: at night, by half an hour, at midnight in both ways, and none.
fn any_place() -> impl Strategy<Value = (&'static str, Timestamp)> {
    prop_oneof![
        Just(("Europe/Berlin", "2026-10-25T01:00:00Z")),
        Just(("Europe/Berlin", "2027-03-28T01:00:00Z")),
        Just(("America/New_York", "2026-11-01T06:00:00Z")),
        Just(("America/New_York", "2027-03-14T07:00:00Z")),
        Just(("Australia/Lord_Howe", "2027-04-03T15:00:00Z")),
        Just(("America/Havana", "2026-11-01T05:00:00Z")),
        Just(("America/Santiago", "2027-04-04T03:00:00Z")),
        Just(("America/Santiago", "2027-09-05T04:00:00Z")),
        Just(("UTC", "2026-12-31T23:00:00Z")),
    ]
    .prop_map(|(zone, change)| (zone, time(change)))
}

fn any_case() -> impl Strategy<Value = (Vec<Vec<Written>>, Timestamp)> {
    any_place().prop_flat_map(|(zone, change)| {
        let policies = proptest::collection::vec(proptest::collection::vec(any_written(zone), 1..3), 1..3);
        (policies, -2000..1000_i32).prop_map(move |(policies, minute)| (policies, change + MINUTE * minute))
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn it_agrees_with_a_look_at_every_minute((policies, from) in any_case()) {
        const LOOK: usize = 2 * 1440;
        let windows = Windows::new(policies.iter().map(|windows| {
            windows.iter().map(|written| {
                let schedule = written.fields.join(" ");
                Arc::new(Window::new(written.kind, &schedule, MINUTE * i32::try_from(written.minutes).unwrap(), written.zone).unwrap())
            }).collect()
        }));
        let expected = oracle(&policies, from, LOOK);
        for (minute, open) in expected.iter().enumerate() {
            let now = from + MINUTE * i32::try_from(minute).unwrap();
            // Every one takes long; what goes wrong goes wrong at changes.
            let near = &expected[minute.saturating_sub(1)..(minute + 2).min(LOOK)];
            if minute % 7 == 0 || near.iter().any(|other| other != open) {
                prop_assert_eq!(windows.is_open(now), *open, "at {}", now);
            }
            if minute % 97 != 0 {
                continue;
            }
            let (is_open, change) = match windows.state(now) {
                WindowState::Open { until } => (true, until),
                WindowState::Closed { next } => (false, next),
            };
            prop_assert_eq!(is_open, *open, "at {}", now);
            let seen = expected[minute..].iter().position(|later| later != open);
            let expected_change = seen.map(|steps| now + MINUTE * i32::try_from(steps).unwrap());
            match expected_change {
                Some(_) => prop_assert_eq!(change, expected_change, "after {}", now),
                None => prop_assert!(change.is_none_or(|change| change >= from + MINUTE * 2880), "{:?} after {}", change, now),
            }
        }
    }
}
