#![allow(clippy::unwrap_used)]

use rstest::rstest;
use serde_json::{Value, json};

use super::*;

fn written(settings: Value) -> ReplaceSettings {
    serde_json::from_value(settings).unwrap()
}

fn read(settings: Value) -> Result<Replace, Vec<(String, String)>> {
    written(settings).validate()
}

#[test]
fn nothing_written_means_the_defaults() {
    let replace = read(json!({})).unwrap();
    assert_eq!(replace, Replace::default());
    assert_eq!(replace.on_config_change, OnConfigChange::OptIn);
    assert_eq!(replace.kinds, BTreeSet::from([ConfigKind::ConfigMap, ConfigKind::Secret]));
    assert_eq!(replace.settle, SignedDuration::from_secs(2));
    assert_eq!(replace.min_interval, SignedDuration::from_secs(5));
    assert_eq!(replace.max_concurrent, None);
    assert_eq!(replace.warmup, SignedDuration::ZERO);
    assert_eq!(replace.on_failure, OnFailure::Halt);
    assert_eq!(replace.progress_deadline, SignedDuration::from_mins(10));
}

#[test]
fn everything_that_is_written_counts() {
    let replace = read(json!({
        "onConfigChange": "Enabled", "kinds": ["Secret"], "settle": "1m", "minInterval": "0s", "maxConcurrent": 1,
        "windows": [
            {"type": "Allow", "schedule": "0 22 * * 1-5", "duration": "4h", "timeZone": "Europe/Berlin"},
            {"type": "Deny", "schedule": "0 0 24 12 *", "duration": "168h"},
        ],
        "warmup": "30s", "checkpoints": [{"percent": 10, "delay": "5m"}, {"percent": 100, "delay": "1h"}],
        "onFailure": "Continue", "progressDeadline": "1h30m", "compatibility": ["Reloader"],
    }))
    .unwrap();
    assert_eq!(replace.on_config_change, OnConfigChange::Enabled);
    assert_eq!(replace.kinds, BTreeSet::from([ConfigKind::Secret]));
    assert_eq!(replace.settle, SignedDuration::from_mins(1));
    assert_eq!(replace.min_interval, SignedDuration::ZERO);
    assert_eq!(replace.max_concurrent, Some(1));
    let windows: Vec<_> = replace.windows.iter().map(|window| (window.kind, window.duration.as_hours())).collect();
    assert_eq!(windows, [(WindowKind::Allow, 4), (WindowKind::Deny, 168)]);
    assert_eq!(replace.warmup, SignedDuration::from_secs(30));
    let checkpoints: Vec<_> =
        replace.checkpoints.iter().map(|checkpoint| (checkpoint.percent, checkpoint.delay.as_mins())).collect();
    assert_eq!(checkpoints, [(10, 5), (100, 60)]);
    assert_eq!(replace.on_failure, OnFailure::Continue);
    assert_eq!(replace.progress_deadline, SignedDuration::from_mins(90));
    assert_eq!(replace.compatibility, BTreeSet::from([Compatibility::Reloader]));
}

#[rstest]
#[case("kinds", json!([]), "kinds", "write ConfigMap, Secret or both")]
#[case("settle", json!("2"), "settle", "write a duration of at most 1h, such as 2s")]
#[case("settle", json!("61m"), "settle", "write a duration of at most 1h, such as 2s")]
#[case("settle", json!("-1s"), "settle", "write a duration of at most 1h")]
#[case("settle", json!(""), "settle", "write a duration of at most 1h")]
#[case("settle", json!("1s1m"), "settle", "write a duration of at most 1h")]
#[case("minInterval", json!("24h1s"), "minInterval", "write a duration of at most 24h")]
#[case("minInterval", json!("1d"), "minInterval", "write a duration of at most 24h")]
#[case("maxConcurrent", json!(0), "maxConcurrent", "write a number from 1")]
#[case("maxConcurrent", json!(-1), "maxConcurrent", "write a number from 1")]
#[case("warmup", json!("25h"), "warmup", "write a duration of at most 24h")]
#[case("progressDeadline", json!("0s"), "progressDeadline", "write a duration from 1s to 24h")]
#[case("progressDeadline", json!("9999999h"), "progressDeadline", "write a duration from 1s to 24h")]
#[case("checkpoints", json!([{"percent": 0, "delay": "5m"}]), "checkpoints[0].percent", "write a number from 1 to 100")]
#[case("checkpoints", json!([{"percent": 101, "delay": "5m"}]), "checkpoints[0].percent", "write a number from 1 to 100")]
#[case("checkpoints", json!([{"percent": 10, "delay": "5 min"}]), "checkpoints[0].delay", "write a duration of at most 24h")]
#[case("checkpoints", json!([{"percent": 50, "delay": "5m"}, {"percent": 10, "delay": "5m"}]), "checkpoints", "in ascending order")]
#[case("checkpoints", json!([{"percent": 50, "delay": "5m"}, {"percent": 50, "delay": "5m"}]), "checkpoints", "write each once")]
#[case("windows", json!([{"type": "Allow", "schedule": "0 22 * *", "duration": "4h"}]), "windows[0].schedule", "write five fields")]
#[case("windows", json!([{"type": "Allow", "schedule": "0 22 * * FRI-SUN", "duration": "4h"}]), "windows[0].schedule", "FRI-SAT,SUN")]
#[case("windows", json!([{"type": "Allow", "schedule": "0 22 * * *", "duration": "59s"}]), "windows[0].duration", "from 1m to 168h")]
#[case("windows", json!([{"type": "Allow", "schedule": "0 22 * * *", "duration": "169h"}]), "windows[0].duration", "from 1m to 168h")]
#[case("windows", json!([{"type": "Deny", "schedule": "0 22 * * *", "duration": "4h", "timeZone": "Europe/Bärlin"}]), "windows[0].timeZone", "write the IANA name")]
#[case("windows", json!([{"type": "Deny", "schedule": "0 22 * * *", "duration": "4h", "timeZone": "europe/berlin"}]), "windows[0].timeZone", "such as Europe/Berlin")]
#[case("windows", json!([{"type": "Deny", "schedule": "0 22 * * *", "duration": "4h", "timeZone": "CEST"}]), "windows[0].timeZone", "write the IANA name")]
#[case("windows", json!([{"type": "Deny", "schedule": "0 22 * * *", "duration": "4h", "timeZone": "+02:00"}]), "windows[0].timeZone", "write the IANA name")]
fn what_is_wrong_is_told_with_what_to_write(
    #[case] field: &str,
    #[case] value: Value,
    #[case] at: &str,
    #[case] text: &str,
) {
    let problems = read(json!({field: value})).unwrap_err();
    let [(found, message)] = &problems[..] else { panic!("{problems:?}") };
    assert_eq!(found, at);
    assert!(message.contains(text), "{message}");
}

#[test]
fn every_problem_is_told() {
    let problems = read(json!({
        "settle": "soon", "maxConcurrent": 0,
        "windows": [{"type": "Allow", "schedule": "now", "duration": "long", "timeZone": "here"}],
        "checkpoints": [{"percent": 0, "delay": "short"}],
    }))
    .unwrap_err();
    let fields: Vec<_> = problems.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "settle",
            "maxConcurrent",
            "windows[0].schedule",
            "windows[0].timeZone",
            "windows[0].duration",
            "checkpoints[0].percent",
            "checkpoints[0].delay",
        ]
    );
}

#[test]
fn lists_have_limits() {
    let window = json!({"type": "Allow", "schedule": "0 22 * * *", "duration": "4h"});
    let checkpoints: Vec<_> = (1..=9).map(|percent| json!({"percent": percent, "delay": "1m"})).collect();
    let problems = read(json!({"windows": vec![window; 17], "checkpoints": checkpoints})).unwrap_err();
    let fields: Vec<_> = problems.iter().map(|(field, _)| field.as_str()).collect();
    assert_eq!(fields, ["windows", "checkpoints"]);
}

#[test]
fn a_field_that_there_is_not_is_refused() {
    let error = serde_json::from_value::<ReplaceSettings>(json!({"setle": "2s"})).unwrap_err();
    assert!(error.to_string().contains("unknown field `setle`"), "{error}");
}

/// The API server is given a regular expression; it takes what the parser takes.
#[test]
fn durations_for_the_api_server_are_the_same() {
    let rules = SETTLE.validations();
    let rule = rules[0]["rule"].as_str().unwrap();
    let pattern = rule.split('\'').nth(1).unwrap();
    let pattern = regex::Regex::new(pattern).unwrap();
    for text in [
        "", "0s", "1h", "1h30m", "1h30m5s", "1h5s", "30m1h", "1s1m", "1m1m", "s", "h", "5", "5ms", "1.5h", "-1h",
        "+1h", " 1h", "123456h", "1234567h", "1H", "\u{661}h",
    ] {
        assert_eq!(pattern.is_match(text) && !text.is_empty(), duration(text).is_some(), "{text:?}");
    }
}
