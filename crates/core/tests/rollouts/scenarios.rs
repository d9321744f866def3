//! What must hold, case by case.

use std::fmt::Write as _;

use immutable_core::replace::Reason;
use immutable_core::workload::Kind;
use immutable_core::workload::rollout::{BASELINE, DIFFERS_SINCE, Replacing, SOURCES, STAMP};
use serde_json::{Value, json};

use crate::model::{Model, Op, Setup};
use crate::objects::Reference;
use crate::operator::Fault;

const AT_ONCE: &str = r#"{"settle": "0s", "minInterval": "0s"}"#;

/// Deployments that read the same ConfigMap, at the end of a quiet first minute.
pub(crate) fn deployments(count: usize, replace: &Value) -> Model {
    of_kind(Kind::Deployment, Replacing::Rolling, count, replace)
}

fn of_kind(kind: Kind, replacing: Replacing, count: usize, replace: &Value) -> Model {
    let references = vec![Reference { config: 0, optional: true, key: None }];
    let workloads = (0..count).map(|_| (kind, references.clone(), replacing, 2)).collect();
    let mut model = Model::new(&Setup { replace: replace.clone(), workloads, configs: 2, operators: 1 });
    model.apply(&Op::Run { seconds: 5 });
    model.quiet();
    assert!(model.rolled.is_empty());
    model
}

fn at_once(count: usize) -> Model {
    deployments(count, &serde_json::from_str(AT_ONCE).unwrap())
}

pub(crate) fn edit(value: u8) -> Op {
    Op::Edit { config: 0, key: 0, value }
}

pub(crate) fn run(model: &mut Model, seconds: usize) {
    model.apply(&Op::Run { seconds });
}

pub(crate) fn reason(model: &Model, name: &str) -> Option<Reason> {
    let key = model.cluster.workloads[name].key();
    model.operators[0].planner.waiting(&key).map(|waiting| waiting.reason)
}

pub(crate) fn end(model: &mut Model) {
    model.quiet();
    model.check_end();
}

#[test]
fn first_sight_and_restarts_replace_nothing() {
    let mut model = at_once(5);
    for _ in 0..3 {
        model.apply(&Op::Restart { operator: 0 });
        end(&mut model);
    }
    assert!(model.rolled.is_empty());
}

#[test]
fn what_changed_while_nobody_looked_is_replaced_once_and_names_its_cause() {
    let mut model = at_once(3);
    model.apply(&edit(2));
    model.apply(&Op::Pass { milliseconds: 3_600_000 });
    model.apply(&Op::Restart { operator: 0 });
    end(&mut model);
    assert_eq!(model.rolled.len(), 3);
    assert!(model.rolled.iter().all(|rolled| rolled.cause == "ConfigMap c0"), "{:?}", model.rolled);
    model.apply(&Op::Restart { operator: 0 });
    end(&mut model);
    assert_eq!(model.rolled.len(), 3);
}

#[test]
fn what_was_deployed_after_the_change_is_replaced_once_at_most_by_an_operator_that_starts() {
    let mut model = at_once(1);
    model.apply(&edit(2));
    model.apply(&Op::Pass { milliseconds: 120_000 });
    model.apply(&Op::Deploy { workload: 0, keeps: true, adds: None });
    model.cluster.run_controllers();
    model.apply(&Op::Pass { milliseconds: 120_000 });
    model.apply(&Op::Restart { operator: 0 });
    end(&mut model);
    // It cannot be known when a key was removed, so it is once at most.
    assert!(model.rolled.len() <= 1, "{:?}", model.rolled);
}

#[test]
fn edits_within_the_settle_time_are_one_replacement() {
    let mut model = deployments(1, &json!({"settle": "10s"}));
    for value in 2..8 {
        model.apply(&Op::Edit { config: 0, key: usize::from(value) % 2, value });
        run(&mut model, 5);
        assert!(model.rolled.is_empty());
        assert_eq!(reason(&model, "w0"), Some(Reason::Settling));
    }
    end(&mut model);
    assert_eq!(model.rolled.len(), 1);
}

#[test]
fn edits_are_gathered_for_ten_times_the_settle_time_at_most() {
    let mut model = deployments(1, &json!({"settle": "10s"}));
    let from = model.cluster.now;
    for edit in 0..14_u8 {
        model.apply(&Op::Edit { config: 0, key: 0, value: 2 + edit });
        run(&mut model, 9);
    }
    let first = model.rolled.first().unwrap().at - from;
    assert!((100_000..=102_000).contains(&first), "{first}");
    end(&mut model);
    assert_eq!(model.rolled.len(), 2);
}

#[test]
fn two_hundred_edits_are_no_more_replacements_than_the_least_interval_allows() {
    let mut model = deployments(1, &json!({"settle": "0s", "minInterval": "5s"}));
    for edit in 0..20_u8 {
        for key in 0..10 {
            model.apply(&Op::Edit { config: 0, key, value: 1 + (edit + u8::try_from(key).unwrap()) % 100 });
        }
        run(&mut model, 1);
    }
    assert!((2..=5).contains(&model.rolled.len()), "{:?}", model.rolled);
    end(&mut model);
    let apart = model.rolled.windows(2).map(|pair| pair[1].at - pair[0].at);
    assert!(apart.clone().all(|apart| apart >= 5000), "{:?}", apart.collect::<Vec<_>>());
}

#[test]
fn what_changes_no_content_replaces_nothing() {
    let mut model = at_once(1);
    let data = model.cluster.configs[&0].data.clone();
    model.apply(&Op::Touch { config: 0 });
    run(&mut model, 3);
    model.cluster.write_config(0, None, "kubectl");
    model.cluster.write_config(0, Some(data), "kubectl");
    end(&mut model);
    model.apply(&Op::Annotate { workload: 0 });
    model.apply(&Op::Scale { workload: 0, replicas: 4 });
    model.apply(&Op::Evict { workload: 0, pod: 0 });
    end(&mut model);
    assert!(model.rolled.is_empty());
}

#[test]
fn a_key_that_nobody_reads_replaces_nothing() {
    let references = vec![Reference { config: 1, optional: false, key: Some("a") }];
    let setup = Setup {
        replace: serde_json::from_str(AT_ONCE).unwrap(),
        workloads: vec![(Kind::DaemonSet, references, Replacing::Rolling, 3)],
        configs: 2,
        operators: 1,
    };
    let mut model = Model::new(&setup);
    run(&mut model, 5);
    model.apply(&Op::Edit { config: 1, key: 1, value: 9 });
    model.apply(&Op::Edit { config: 0, key: 0, value: 9 });
    end(&mut model);
    assert!(model.rolled.is_empty());
    model.apply(&Op::Edit { config: 1, key: 0, value: 9 });
    end(&mut model);
    assert_eq!(model.rolled.len(), 1);
}

#[test]
fn an_optional_object_that_goes_and_comes_replaces_once_each() {
    let mut model = at_once(1);
    model.apply(&Op::Remove { config: 0 });
    end(&mut model);
    assert_eq!(model.rolled.len(), 1);
    model.apply(&edit(5));
    end(&mut model);
    assert_eq!(model.rolled.len(), 2);
}

#[test]
fn an_object_that_is_deleted_and_made_anew_with_other_data_replaces_once() {
    let mut model = at_once(1);
    model.apply(&Op::Remove { config: 0 });
    model.apply(&edit(5));
    end(&mut model);
    assert_eq!(model.rolled.len(), 1);
}

#[test]
fn a_pod_born_while_a_change_waits_does_not_stay_when_the_content_returns() {
    let mut model = deployments(1, &json!({"settle": "30s"}));
    model.apply(&edit(2));
    run(&mut model, 3);
    model.apply(&Op::Evict { workload: 0, pod: 0 });
    run(&mut model, 5);
    model.apply(&edit(1));
    end(&mut model);
    assert_eq!(model.rolled.len(), 1);
    assert!(model.rolled[0].cause.contains("back as before"), "{:?}", model.rolled);
}

#[test]
fn content_that_returns_with_no_pod_born_meanwhile_replaces_nothing() {
    let mut model = deployments(1, &json!({"settle": "30s"}));
    model.apply(&edit(2));
    run(&mut model, 10);
    model.apply(&edit(1));
    end(&mut model);
    assert!(model.rolled.is_empty());
}

#[test]
fn a_pod_born_while_a_change_waited_is_known_to_an_operator_that_starts() {
    let mut model = deployments(1, &json!({"settle": "5m"}));
    model.apply(&edit(2));
    run(&mut model, 45);
    assert!(model.cluster.workloads["w0"].annotations.contains_key(DIFFERS_SINCE));
    model.apply(&Op::Evict { workload: 0, pod: 0 });
    run(&mut model, 5);
    model.apply(&edit(1));
    model.apply(&Op::Restart { operator: 0 });
    end(&mut model);
    assert_eq!(model.rolled.len(), 1);
    assert!(!model.cluster.workloads["w0"].annotations.contains_key(DIFFERS_SINCE));
    model.apply(&Op::Restart { operator: 0 });
    end(&mut model);
    assert_eq!(model.rolled.len(), 1);
}

#[test]
fn a_tool_that_takes_back_the_stamp_for_ever_is_named_after_two_times() {
    let mut model = at_once(1);
    model.apply(&Op::RevertFrom { workload: 0, times: u32::MAX });
    model.apply(&edit(2));
    end(&mut model);
    assert_eq!((model.rolled.len(), reason(&model, "w0")), (2, Some(Reason::Reverted)));
    let waiting = model.operators[0].planner.waiting(&model.cluster.workloads["w0"].key()).unwrap();
    assert!(waiting.message.starts_with("argocd has taken back"), "{}", waiting.message);
    model.apply(&edit(3));
    end(&mut model);
    assert_eq!((model.rolled.len(), reason(&model, "w0")), (4, Some(Reason::Reverted)));
}

#[test]
fn undoing_is_at_most_one_further_replacement() {
    let mut model = at_once(1);
    model.apply(&edit(2));
    end(&mut model);
    model.apply(&Op::Undo { workload: 0 });
    end(&mut model);
    assert!(model.rolled.len() <= 2, "{:?}", model.rolled);
}

#[test]
fn a_put_without_our_annotations_is_a_replacement_itself() {
    let mut model = at_once(1);
    model.apply(&edit(2));
    end(&mut model);
    model.apply(&Op::Deploy { workload: 0, keeps: false, adds: None });
    end(&mut model);
    assert_eq!(model.rolled.len(), 1);
    model.apply(&edit(3));
    end(&mut model);
    assert_eq!(model.rolled.len(), 2);
}

#[test]
fn a_deploy_at_the_same_moment_is_at_most_one_further_replacement() {
    for keeps in [true, false] {
        let mut model = at_once(1);
        model.apply(&edit(2));
        model.apply(&Op::Deploy { workload: 0, keeps, adds: Some(1) });
        end(&mut model);
        assert!(model.rolled.len() <= 1, "{:?}", model.rolled);
    }
}

#[test]
fn a_workload_deleted_between_decision_and_write_is_not_made_anew() {
    let mut model = at_once(1);
    model.apply(&edit(2));
    model.apply(&Op::Watch { operator: 0, kind: 5, events: 9 });
    model.apply(&Op::PerformReads { operator: 0 });
    model.apply(&Op::AnswerReads { operator: 0 });
    model.apply(&Op::Step { operator: 0 });
    assert_eq!(model.operators[0].writes.len(), 1);
    model.cluster.delete("w0");
    model.apply(&Op::Write { operator: 0, write: 0, fault: Fault::None });
    run(&mut model, 10);
    assert!(model.cluster.workloads.is_empty() && model.rolled.is_empty());
}

#[test]
fn a_good_edit_after_a_bad_one_ends_healthy() {
    for kind in [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet] {
        let mut model = of_kind(
            kind,
            Replacing::Rolling,
            1,
            &json!({"windows": [
                {"type": "Allow", "schedule": "0 0 * * *", "duration": "10m"},
            ]}),
        );
        model.apply(&edit(0));
        run(&mut model, 20);
        model.apply(&Op::Pass { milliseconds: 700_000 });
        run(&mut model, 3);
        // No window is open any more, and the fix comes all the same.
        assert_eq!(model.rolled.len(), 1, "{kind:?}");
        model.apply(&edit(3));
        run(&mut model, 30);
        assert_eq!(model.rolled.len(), 2, "{kind:?}");
        end(&mut model);
    }
}

#[test]
fn after_a_failure_nothing_else_is_replaced_for_the_same_change() {
    let mut model = deployments(6, &json!({"settle": "0s", "maxConcurrent": 2}));
    model.apply(&edit(0));
    run(&mut model, 10);
    assert_eq!(model.rolled.len(), 2);
    model.apply(&Op::Pass { milliseconds: 700_000 });
    run(&mut model, 10);
    model.apply(&Op::Restart { operator: 0 });
    run(&mut model, 10);
    assert_eq!(model.rolled.len(), 2);
    let halted = (0..6).filter(|name| reason(&model, &format!("w{name}")) == Some(Reason::Halted)).count();
    assert_eq!(halted, 4);
    model.apply(&edit(7));
    end(&mut model);
    assert_eq!(model.rolled.len(), 8);
}

#[test]
fn no_more_workloads_are_under_way_than_may_be() {
    let mut model = deployments(7, &json!({"settle": "0s", "maxConcurrent": 2, "warmup": "20s"}));
    model.apply(&edit(2));
    let (mut most, mut previous) = (0, model.under_way());
    for second in 0..300 {
        run(&mut model, 1);
        if second == 60 {
            model.apply(&Op::Restart { operator: 0 });
        }
        let now = model.under_way();
        most = most.max(now.len());
        previous = now;
    }
    assert_eq!((most, previous.len(), model.rolled.len()), (2, 0, 7));
    end(&mut model);
}

#[test]
fn checkpoints_are_waited_at() {
    let checkpoints = json!([{"percent": 10, "delay": "1m"}, {"percent": 50, "delay": "5m"}]);
    let mut model = deployments(10, &json!({"settle": "0s", "checkpoints": checkpoints}));
    let from = model.cluster.now;
    model.apply(&edit(2));
    run(&mut model, 700);
    let at: Vec<i64> = model.rolled.iter().map(|rolled| (rolled.at - from) / 1000).collect();
    assert_eq!(at.len(), 10, "{at:?}");
    assert!(
        at[0] < 3 && at[1] - at[0] >= 60 && at[4] - at[1] < 3 && at[5] - at[4] >= 300 && at[9] - at[5] < 3,
        "{at:?}"
    );
}

#[test]
fn nothing_begins_outside_the_windows() {
    let windows = json!([{"type": "Allow", "schedule": "30 * * * *", "duration": "10m"}]);
    let mut model = deployments(3, &json!({"settle": "0s", "windows": windows, "maxConcurrent": 1}));
    model.apply(&edit(2));
    end(&mut model);
    assert_eq!(model.rolled.len(), 3);
    let minute = |at: i64| at.div_euclid(60_000).rem_euclid(60);
    assert!(model.rolled.iter().all(|rolled| (30..40).contains(&minute(rolled.at))), "{:?}", model.rolled);
}

#[test]
fn one_that_is_refused_holds_up_no_other_and_is_tried_ever_more_seldom() {
    let mut model = deployments(4, &json!({"settle": "0s", "maxConcurrent": 1}));
    model.apply(&Op::Refuse { workload: 0, refuses: true });
    model.apply(&edit(2));
    run(&mut model, 120);
    assert_eq!(model.rolled.len(), 3, "{:?}", model.rolled);
    assert_eq!(reason(&model, "w0"), Some(Reason::WriteFailed));
    let tries = model.history.matches("writes Deployment shop/w0: Failed").count();
    assert!((5..=9).contains(&tries), "{tries}");
    model.apply(&Op::Refuse { workload: 0, refuses: false });
    end(&mut model);
    assert_eq!(model.rolled.len(), 4);
}

#[test]
fn a_lost_answer_is_no_second_replacement() {
    for fault in [Fault::LostAnswer, Fault::LostRequest, Fault::NotTried] {
        let mut model = at_once(1);
        model.apply(&edit(2));
        model.apply(&Op::Watch { operator: 0, kind: 5, events: 9 });
        model.apply(&Op::PerformReads { operator: 0 });
        model.apply(&Op::AnswerReads { operator: 0 });
        model.apply(&Op::Step { operator: 0 });
        model.apply(&Op::Write { operator: 0, write: 0, fault });
        model.apply(&Op::Answer { operator: 0, write: 0 });
        end(&mut model);
        assert_eq!(model.rolled.len(), 1, "{fault:?}");
    }
}

#[test]
fn pods_that_somebody_deletes_one_by_one_are_up_to_date_in_the_end() {
    for (kind, replacing, expected) in [
        (Kind::DaemonSet, Replacing::OnDelete, Reason::OnDelete),
        (Kind::StatefulSet, Replacing::OnDelete, Reason::OnDelete),
        (Kind::StatefulSet, Replacing::Partition(1), Reason::Partitioned),
    ] {
        let mut model = of_kind(kind, replacing, 1, &serde_json::from_str(AT_ONCE).unwrap());
        model.apply(&edit(2));
        run(&mut model, 5);
        assert_eq!(reason(&model, "w0"), Some(expected));
        for _ in 0..2 {
            let oldest = (0..2).min_by_key(|pod| model.cluster.workloads["w0"].pods[*pod].created).unwrap();
            model.apply(&Op::Evict { workload: 0, pod: oldest });
            run(&mut model, 5);
        }
        assert_eq!(reason(&model, "w0"), None);
        end(&mut model);
        assert!(model.rolled.is_empty());
        let baseline = model.cluster.workloads["w0"].annotations[BASELINE].clone();
        assert!(baseline.ends_with(&model.cluster.current_stamp(&model.cluster.workloads["w0"].template)));
    }
}

#[test]
fn a_leader_that_wakes_writes_nothing_old() {
    let references = vec![Reference { config: 0, optional: true, key: None }];
    let workloads = (0..5).map(|_| (Kind::Deployment, references.clone(), Replacing::Rolling, 2)).collect();
    let replace = serde_json::from_str(AT_ONCE).unwrap();
    let mut model = Model::new(&Setup { replace, workloads, configs: 2, operators: 2 });
    run(&mut model, 5);
    model.apply(&edit(2));
    for kind in 0..7 {
        model.apply(&Op::Watch { operator: 0, kind, events: 99 });
    }
    model.apply(&Op::PerformReads { operator: 0 });
    model.apply(&Op::AnswerReads { operator: 0 });
    model.apply(&Op::Step { operator: 0 });
    for _ in 0..2 {
        model.apply(&Op::Write { operator: 0, write: 0, fault: Fault::None });
    }
    let mut frozen = model.operators.remove(0);
    model.operators[0].leads = true;
    run(&mut model, 30);
    assert_eq!(model.rolled.len(), 5);
    frozen.leads = true;
    model.operators.insert(0, frozen);
    for _ in 0..3 {
        model.apply(&Op::Write { operator: 0, write: 0, fault: Fault::None });
    }
    model.operators[1].leads = false;
    end(&mut model);
    assert_eq!(model.rolled.len(), 5);
}

#[test]
fn hostile_annotations_are_no_reason_and_no_panic() {
    let long = "x".repeat(9000);
    let digest = "1-ee353224-f7b6d6b325aa894e3d11a6bf99c17f4c";
    let values = [
        "",
        ":",
        "-:",
        "-",
        "-:-:-",
        &long,
        digest,
        "1-ee353224-",
        "ü:ü",
        "-:99999999999-00000000-0",
        "a=b/c d=/ =",
        "\0",
    ];
    for name in [STAMP, BASELINE, SOURCES, DIFFERS_SINCE] {
        for value in values {
            let mut model = at_once(1);
            let _ = writeln!(model.history, "{name}: {value}");
            model.cluster.update("w0", "mallory", |workload| {
                let of = if name == STAMP { &mut workload.template.annotations } else { &mut workload.annotations };
                of.insert(name.to_owned(), value.to_owned());
            });
            model.apply(&Op::Restart { operator: 0 });
            run(&mut model, 10);
            model.apply(&edit(2));
            end(&mut model);
            assert!(model.rolled.len() <= 2, "{name} {value}: {:?}", model.rolled);
        }
    }
}

#[test]
fn content_that_returns_to_what_an_undone_template_says_is_replaced() {
    let mut model = at_once(1);
    for value in [2, 3] {
        model.apply(&edit(value));
        end(&mut model);
    }
    // The stamp and the cause of 2 are back, and its pods read 3.
    model.apply(&Op::Undo { workload: 0 });
    end(&mut model);
    let rolls = model.rolled.len();
    model.apply(&edit(2));
    end(&mut model);
    assert_eq!(model.rolled.len(), rolls + 1, "{:?}", model.rolled);
    model.apply(&Op::Restart { operator: 0 });
    end(&mut model);
    assert_eq!(model.rolled.len(), rolls + 1, "{:?}", model.rolled);
}

#[test]
fn one_that_waits_for_somebody_takes_no_checkpoint_from_later_changes() {
    let checkpoints = json!([{"percent": 10, "delay": "1m"}]);
    let mut model = deployments(10, &json!({"settle": "0s", "checkpoints": checkpoints}));
    model.apply(&Op::Pause { workload: 3, paused: true });
    for value in 2..4 {
        let from = model.rolled.len();
        model.apply(&edit(value));
        run(&mut model, 30);
        assert_eq!(model.rolled.len() - from, 1, "{:?}", model.rolled);
        run(&mut model, 120);
        assert_eq!(model.rolled.len() - from, 9, "{:?}", model.rolled);
    }
}

#[test]
fn pods_of_an_undone_template_do_not_stay_when_its_content_returns() {
    let mut model = at_once(1);
    model.apply(&Op::Remove { config: 0 });
    end(&mut model);
    model.apply(&Op::Undo { workload: 0 });
    for _ in 0..9 {
        model.apply(&Op::Reconcile { workload: 0 });
    }
    model.cluster.write_config(0, Some([("a", 1), ("b", 1)].into()), "kubectl");
    end(&mut model);
    assert_eq!(model.rolled.len(), 2, "{:?}", model.rolled);
}

#[test]
fn a_fix_supersedes_what_was_replaced_after_an_undo() {
    let mut model = deployments(2, &json!({"settle": "0s", "maxConcurrent": 1}));
    model.apply(&edit(0));
    run(&mut model, 5);
    model.apply(&Op::Undo { workload: 0 });
    run(&mut model, 20);
    assert_eq!(model.rolled.len(), 2, "{:?}", model.rolled);
    model.apply(&edit(4));
    run(&mut model, 2);
    assert_eq!(model.rolled.iter().map(|rolled| &*rolled.name).collect::<Vec<_>>(), ["w0"; 3]);
    end(&mut model);
}

#[test]
fn what_may_be_ours_takes_its_place_after_a_restart_and_waits_not_for_itself() {
    let mut model = deployments(2, &json!({"settle": "0s", "maxConcurrent": 1}));
    model.apply(&edit(0));
    run(&mut model, 2);
    assert_eq!(model.rolled.len(), 1);
    model.apply(&Op::Scale { workload: 0, replicas: 3 });
    model.apply(&Op::Restart { operator: 0 });
    model.apply(&edit(2));
    run(&mut model, 5);
    assert_eq!(
        (reason(&model, "w0"), reason(&model, "w1")),
        (Some(Reason::AnothersRollout), Some(Reason::MaxConcurrent))
    );
    end(&mut model);
    assert_eq!(model.rolled.len(), 3);
}

#[test]
fn a_record_of_ours_lets_nothing_pass_a_window() {
    let windows = json!([{"type": "Allow", "schedule": "0 0 * * *", "duration": "10m"}]);
    let mut model = deployments(1, &json!({"settle": "0s", "windows": windows}));
    model.apply(&edit(2));
    run(&mut model, 10);
    model.apply(&Op::Pass { milliseconds: 700_000 });
    model.apply(&edit(3));
    run(&mut model, 60);
    assert!(model.cluster.workloads["w0"].annotations.contains_key(DIFFERS_SINCE));
    assert_eq!((model.rolled.len(), reason(&model, "w0")), (1, Some(Reason::Window)));
    end(&mut model);
    assert_eq!(model.rolled.len(), 2);
}
