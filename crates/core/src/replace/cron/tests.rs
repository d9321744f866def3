#![allow(clippy::unwrap_used)]

use jiff::civil::{Date, date};
use rstest::rstest;

use super::*;

fn days_of(schedule: &str, from: Date, days: usize) -> Vec<String> {
    let schedule = Schedule::parse(schedule).unwrap();
    from.series(jiff::Span::new().days(1))
        .take(days)
        .filter(|date| schedule.is_day(*date))
        .map(|date| date.to_string())
        .collect()
}

#[rstest]
#[case::every("* * * * *", (0..1440).collect())]
#[case::one("30 2 * * *", vec![150])]
#[case::leading_zeros("05 08 * * *", vec![485])]
#[case::list("0,30 1,2 * * *", vec![60, 90, 120, 150])]
#[case::range("0 22-23 * * *", vec![1320, 1380])]
#[case::step("*/30 0 * * *", vec![0, 30])]
#[case::range_with_step("10-30/10 0 * * *", vec![10, 20, 30])]
#[case::step_to_the_end("45/10 0 * * *", vec![45, 55])]
#[case::many_blanks("0  0   * * *", vec![0])]
fn it_reads_the_minutes_of_a_day(#[case] text: &str, #[case] minutes: Vec<u16>) {
    assert_eq!(Schedule::parse(text).unwrap().minutes, minutes);
}

// 1 December 2026 is a Tuesday.
#[rstest]
#[case::weekdays("0 0 * * 1-5", &["2026-12-01", "2026-12-02", "2026-12-03", "2026-12-04", "2026-12-07"])]
#[case::names("0 0 * dec mon-tue", &["2026-12-01", "2026-12-07"])]
#[case::sunday_is_0("0 0 * * 0", &["2026-12-06"])]
#[case::sunday_is_7("0 0 * * 7", &["2026-12-06"])]
#[case::up_to_sunday("0 0 * * 6-7", &["2026-12-05", "2026-12-06"])]
#[case::every_second_weekday("0 0 * * */2", &["2026-12-01", "2026-12-03", "2026-12-05", "2026-12-06"])]
#[case::either_day("0 0 2 * FRI", &["2026-12-02", "2026-12-04"])]
#[case::both_days("0 0 */2 * FRI", &[])]
#[case::both_days_too("0 0 */2 * TUE,FRI", &["2026-12-01"])]
#[case::another_month("0 0 * 1-11 *", &[])]
fn it_knows_its_days(#[case] text: &str, #[case] days: &[&str]) {
    assert_eq!(days_of(text, date(2026, 12, 1), 7), days);
}

#[rstest]
#[case::last_day("0 0 L * *", &["2026-12-31", "2027-01-31", "2027-02-28"])]
#[case::second_tuesday("0 0 * * TUE#2", &["2026-12-08", "2027-01-12", "2027-02-09"])]
#[case::fifth_sunday("0 0 * * 7#5", &["2027-01-31"])]
#[case::last_friday("0 0 * * FRIL", &["2026-12-25", "2027-01-29", "2027-02-26"])]
#[case::last_sunday("0 0 * * 0L", &["2026-12-27", "2027-01-31", "2027-02-28"])]
#[case::one_day_a_year("0 0 29 2 *", &[])]
fn it_counts_from_either_end_of_a_month_in_december_too(#[case] text: &str, #[case] days: &[&str]) {
    assert_eq!(days_of(text, date(2026, 12, 1), 31 + 31 + 28), days);
}

#[rstest]
#[case::empty("")]
#[case::too_few("0 22 * *")]
#[case::too_many("0 0 22 * * 1")]
#[case::words("@daily")]
#[case::minute("60 * * * *")]
#[case::hour("0 24 * * *")]
#[case::day("0 0 0 * *")]
#[case::day_32("0 0 32 * *")]
#[case::month("0 0 * 13 *")]
#[case::weekday("0 0 * * 8")]
#[case::name("0 0 * * MONDAY")]
#[case::name_in_the_wrong_field("0 MON * * *")]
#[case::mixed_range("0 0 * * MON-5")]
#[case::step_of_zero("*/0 * * * *")]
#[case::no_step("*/ * * * *")]
#[case::empty_item("0,,1 * * * *")]
#[case::sixth("0 0 * * FRI#6")]
#[case::nearest_weekday("0 0 15W * *")]
#[case::negative("-1 * * * *")]
#[case::tab("0\t0 * * *")]
fn it_refuses_what_is_no_schedule(#[case] text: &str) {
    assert_eq!(Schedule::parse(text), Err(FIELDS_MESSAGE));
}

#[rstest]
#[case("0 0 * * FRI-SUN")]
#[case("0 22-6 * * *")]
#[case("0 0 * * 5-1/2")]
fn it_refuses_a_range_that_goes_down(#[case] text: &str) {
    assert_eq!(Schedule::parse(text), Err(ASCENDING_MESSAGE));
}

/// What the API server is given says the same of every text as the parser: the grammar is a regular expression.
#[test]
fn the_grammar_for_the_api_server_is_the_same() {
    let rules = schedule_validations();
    let grammar = rules[0]["rule"].as_str().unwrap();
    let pattern = grammar.strip_prefix("self.matches(r'").unwrap().strip_suffix("')").unwrap();
    let pattern = regex::Regex::new(pattern).unwrap();
    let items = [
        "*", "0", "1", "5", "7", "8", "07", "12", "23", "24", "31", "32", "59", "60", "1-5", "5-1", "MON", "fri",
        "MON-FRI", "JAN", "jan-MAR", "MON-5", "1-MON", "*/2", "1-5/2", "1/2", "MON/2", "*/0", "*/100", "*-2", "L",
        "5L", "FRIL", "FRI#2", "5#5", "5#6", "#", "15W", "", "1,2", "MON,7", "L,1", "1,", "-", "?",
    ];
    let mut wrong = Vec::new();
    for field in 0..5 {
        for item in items {
            let mut fields = ["*"; 5];
            fields[field] = item;
            let text = fields.join(" ");
            let ours = Schedule::parse(&text) != Err(FIELDS_MESSAGE);
            if pattern.is_match(&text) != ours {
                wrong.push(text);
            }
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn ranges_that_go_down_are_the_same_for_the_api_server() {
    let rules = schedule_validations();
    let rule = rules[1]["rule"].as_str().unwrap();
    let pattern = rule.strip_prefix("!self.matches(r'").unwrap().strip_suffix("')").unwrap();
    let pattern = regex::Regex::new(pattern).unwrap();
    let refused = |text: &str| pattern.is_match(text);
    for first in 0..60 {
        for last in 0..60 {
            for text in [format!("{first}-{last} * * * *"), format!("0,{first:02}-{last:02}/5 * * * *")] {
                assert_eq!(refused(&text), Schedule::parse(&text) == Err(ASCENDING_MESSAGE), "{text}");
            }
        }
    }
    let names = WEEKDAYS.map(|name| (4, name)).into_iter().chain(MONTHS.map(|name| (3, name)));
    let names: Vec<_> = names.collect();
    for (field, first) in &names {
        for (_, last) in names.iter().filter(|(other, _)| other == field) {
            let mut fields = ["*".to_owned(), "*".to_owned(), "*".to_owned(), "*".to_owned(), "*".to_owned()];
            fields[*field] = format!("{first}-{last}");
            let text = fields.join(" ");
            assert_eq!(refused(&text), Schedule::parse(&text) == Err(ASCENDING_MESSAGE), "{text}");
        }
    }
}
