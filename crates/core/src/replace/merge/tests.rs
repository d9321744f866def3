#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::super::settings::ReplaceSettings;
use super::*;

fn replace(settings: Value) -> Replace {
    serde_json::from_value::<ReplaceSettings>(settings).unwrap().validate().unwrap()
}

fn cluster(name: &str) -> PolicyId {
    PolicyId { namespace: None, name: name.to_owned() }
}

fn merged(settings: &[Value]) -> Merged {
    let policies: Vec<_> = settings
        .iter()
        .enumerate()
        .map(|(index, settings)| (cluster(&format!("p{index}")), replace(settings.clone())))
        .collect();
    merge(policies.iter().map(|(id, replace)| (id, replace)))
}

/// A Thursday.
fn now() -> Timestamp {
    "2026-11-26T12:00:00Z".parse().unwrap()
}

fn window(kind: &str, schedule: &str, duration: &str) -> Value {
    json!({"type": kind, "schedule": schedule, "duration": duration})
}

#[test]
fn where_no_policy_speaks_the_defaults_hold() {
    let merged = merged(&[]);
    let defaults = Replace::default();
    assert_eq!(merged.policies, []);
    assert_eq!(merged.on_config_change, OnConfigChange::OptIn);
    assert_eq!(merged.kinds, defaults.kinds);
    assert_eq!((merged.settle, merged.min_interval), (defaults.settle, defaults.min_interval));
    assert_eq!((merged.warmup, merged.progress_deadline), (defaults.warmup, defaults.progress_deadline));
    assert_eq!(merged.on_failure, OnFailure::Halt);
    assert_eq!(merged.conflict(now()), None);
    assert!(merged.windows.is_open(now()));
}

#[rstest]
#[case(&["OptIn", "OptIn"], OnConfigChange::OptIn, &[])]
#[case(&["OptIn", "Enabled"], OnConfigChange::Enabled, &[])]
#[case(&["Enabled", "Disabled", "OptIn"], OnConfigChange::Disabled, &["p1"])]
#[case(&["Disabled", "Disabled"], OnConfigChange::Disabled, &["p0", "p1"])]
fn disabled_beats_all_and_is_named(#[case] says: &[&str], #[case] result: OnConfigChange, #[case] by: &[&str]) {
    let merged = merged(&says.iter().map(|says| json!({"onConfigChange": says})).collect::<Vec<_>>());
    assert_eq!(merged.on_config_change, result);
    assert_eq!(merged.disabled_by, by.iter().map(|name| cluster(name)).collect::<Vec<_>>());
}

#[test]
fn the_most_careful_of_each_wins() {
    let merged = merged(&[
        json!({
            "settle": "10s", "minInterval": "1s", "maxConcurrent": 10, "warmup": "1m", "progressDeadline": "5m",
            "onFailure": "Continue", "checkpoints": [{"percent": 10, "delay": "5m"}],
        }),
        json!({
            "settle": "1s", "minInterval": "1h", "maxConcurrent": 3, "progressDeadline": "20m", "onFailure": "Halt",
            "compatibility": ["Reloader"], "checkpoints": [{"percent": 50, "delay": "1m"}],
        }),
        json!({"onFailure": "Continue"}),
    ]);
    assert_eq!(merged.policies, [cluster("p0"), cluster("p1"), cluster("p2")]);
    assert_eq!(merged.settle, SignedDuration::from_secs(10));
    assert_eq!(merged.min_interval, SignedDuration::from_hours(1));
    assert_eq!(merged.max_concurrent, Some(3));
    assert_eq!(merged.warmup, SignedDuration::from_mins(1));
    assert_eq!(merged.progress_deadline, SignedDuration::from_mins(20));
    assert_eq!(merged.on_failure, OnFailure::Halt);
    assert_eq!(merged.compatibility, BTreeSet::from([Compatibility::Reloader]));
    let checkpoints: Vec<_> =
        merged.checkpoints.iter().map(|of| (of.policy.name.as_str(), of.checkpoints[0].percent)).collect();
    assert_eq!(checkpoints, [("p0", 10), ("p1", 50)]);
}

#[test]
fn kinds_without_a_common_one_are_a_conflict() {
    assert_eq!(merged(&[json!({"kinds": ["ConfigMap"]}), json!({})]).kinds, BTreeSet::from([ConfigKind::ConfigMap]));
    let shop = PolicyId { namespace: Some("shop".to_owned()), name: "web".to_owned() };
    let (one, other) = (replace(json!({"kinds": ["ConfigMap"]})), replace(json!({"kinds": ["Secret"]})));
    let conflict = merge([(&shop, &other), (&cluster("production"), &one)].into_iter()).conflict(now()).unwrap();
    assert_eq!(
        conflict.to_string(),
        "no kind of configuration is named by every policy: ClusterImmutablePolicy production (ConfigMap) and \
         ImmutablePolicy shop/web (Secret); change spec.replace.kinds of one"
    );
}

#[rstest]
#[case::overlap(&[window("Allow", "0 10 * * *", "4h"), window("Allow", "0 12 * * *", "4h")], None)]
#[case::one_after_the_other(
    &[window("Allow", "0 10 * * *", "2h"), window("Allow", "0 12 * * *", "2h")],
    Some("the windows of ClusterImmutablePolicy p0 and ClusterImmutablePolicy p1 are never open together within 400 days; \
          change spec.replace.windows of one"),
)]
#[case::other_days(&[window("Allow", "0 0 * * MON", "24h"), window("Allow", "0 0 * * TUE", "24h")], Some("never open together"))]
#[case::denied_whole(
    &[window("Deny", "0 0 * * *", "24h"), json!(null)],
    Some("the windows of ClusterImmutablePolicy p0 never open within 400 days; change spec.replace.windows of it"),
)]
#[case::a_day_that_never_comes(&[window("Allow", "0 0 30 2 *", "24h"), json!(null)], Some("never open"))]
fn windows_that_never_open_are_a_conflict(#[case] windows: &[Value], #[case] text: Option<&str>) {
    let of = |window: &Value| if window.is_null() { json!({}) } else { json!({"windows": [window]}) };
    let conflict = merged(&windows.iter().map(of).collect::<Vec<_>>()).conflict(now());
    match text {
        None => assert_eq!(conflict, None),
        Some(text) => {
            let message = conflict.unwrap().to_string();
            assert!(message.contains(text), "{message}");
        }
    }
}

#[test]
fn a_policy_that_says_disabled_is_no_conflict() {
    let merged = merged(&[json!({"kinds": ["ConfigMap"], "onConfigChange": "Disabled"}), json!({"kinds": ["Secret"]})]);
    assert_eq!(merged.conflict(now()), None);
}

/// Allow windows of one policy add up, those of several intersect, Deny windows add up.
#[test]
fn windows_are_joined_within_a_policy_and_intersected_between_policies() {
    let merged = merged(&[
        json!({"windows": [window("Allow", "0 8 * * *", "2h"), window("Allow", "0 12 * * *", "4h")]}),
        json!({"windows": [window("Allow", "0 9 * * *", "6h"), window("Deny", "0 13 * * *", "1h")]}),
        json!({"windows": [window("Deny", "30 9 * * *", "10m")]}),
    ]);
    let open: Vec<_> = (0..24 * 6)
        .map(|step| "2026-11-26T00:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_mins(10 * step))
        .filter(|time| merged.windows.is_open(*time))
        .map(|time| time.strftime("%H:%M").to_string())
        .collect();
    assert_eq!(
        open,
        [
            "09:00", "09:10", "09:20", "09:40", "09:50", "12:00", "12:10", "12:20", "12:30", "12:40", "12:50", "14:00",
            "14:10", "14:20", "14:30", "14:40", "14:50"
        ]
    );
}

fn any_replace() -> impl Strategy<Value = Replace> {
    let change = prop_oneof![Just("Enabled"), Just("OptIn"), Just("Disabled")];
    let kinds = prop_oneof![Just(json!(["ConfigMap"])), Just(json!(["Secret"])), Just(json!(["ConfigMap", "Secret"]))];
    let failure = prop_oneof![Just("Halt"), Just("Continue")];
    let windows = proptest::collection::vec((any::<bool>(), 0..24_u8, 1..48_u8), 0..3);
    (change, kinds, failure, 0..3600_u32, 1..50_u32, windows).prop_map(
        |(change, kinds, failure, settle, most, windows)| {
            let windows: Vec<_> = windows
                .iter()
                .map(|(allow, hour, length)| {
                    window(if *allow { "Allow" } else { "Deny" }, &format!("0 {hour} * * *"), &format!("{length}h"))
                })
                .collect();
            replace(json!({
                "onConfigChange": change, "kinds": kinds, "onFailure": failure, "settle": format!("{settle}s"),
                "maxConcurrent": most, "windows": windows,
            }))
        },
    )
}

proptest! {
    /// A further policy never lets more happen, and the order in which they come changes nothing.
    #[test]
    fn one_more_policy_only_makes_it_more_careful(all in proptest::collection::vec(any_replace(), 1..4), minute in 0..2880_i64) {
        let policies: Vec<_> = all.iter().enumerate().map(|(index, replace)| (cluster(&format!("p{index}")), replace)).collect();
        let of = |policies: &[(PolicyId, &Replace)]| merge(policies.iter().map(|(id, replace)| (id, *replace)));
        let whole = of(&policies);
        let mut backwards = policies.clone();
        backwards.reverse();
        prop_assert_eq!(&of(&backwards), &whole);
        let time = now() + SignedDuration::from_mins(minute);
        for part in &policies {
            let one = of(std::slice::from_ref(part));
            prop_assert!(whole.settle >= one.settle);
            prop_assert!(whole.max_concurrent <= one.max_concurrent);
            prop_assert!(whole.kinds.is_subset(&one.kinds));
            prop_assert!(one.on_failure == OnFailure::Continue || whole.on_failure == OnFailure::Halt);
            prop_assert!(one.on_config_change != OnConfigChange::Disabled || whole.on_config_change == OnConfigChange::Disabled);
            prop_assert!(one.windows.is_open(time) || !whole.windows.is_open(time));
        }
        let open = policies.iter().all(|part| of(std::slice::from_ref(part)).windows.is_open(time));
        prop_assert_eq!(whole.windows.is_open(time), open);
    }
}
