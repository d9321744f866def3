#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::Progress;
use crate::workload::rollout::{Replacing, Rollout};
use crate::workload::{Kind, WorkloadKind};

/// A workload of generation 3 that wants 4 pods and has this status; `spec` is laid over its own.
fn read(kind: &WorkloadKind, spec: &Value, status: &Value) -> Rollout {
    let mut object = json!({
        "metadata": {"name": "web", "namespace": "shop", "resourceVersion": "812", "generation": 3},
        "spec": {"replicas": 4, "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": []}}},
        "status": status,
    });
    for (key, value) in spec.as_object().unwrap() {
        object["spec"][key] = value.clone();
    }
    Rollout::read(&object, kind, &["/spec/template".to_owned()]).unwrap()
}

fn built_in(kind: Kind, spec: &Value, status: &Value) -> Progress {
    read(&WorkloadKind::BuiltIn(kind), spec, status).progress
}

fn custom_kind() -> WorkloadKind {
    WorkloadKind::Custom { api_version: "argoproj.io/v1alpha1".to_owned(), kind: "Rollout".to_owned() }
}

fn custom(spec: &Value, status: &Value) -> Progress {
    read(&custom_kind(), spec, status).progress
}

/// As the Deployment controller writes it.
fn progressing(status: &str, reason: &str) -> Value {
    json!([
        {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
        {"type": "Progressing", "status": status, "reason": reason, "message": "told"},
    ])
}

#[rstest]
#[case::new(json!({}), json!(null), Progress::UnderWay)]
#[case::status_empty(json!({}), json!({}), Progress::UnderWay)]
#[case::complete(
    json!({}),
    json!({"observedGeneration": 3, "replicas": 4, "updatedReplicas": 4, "readyReplicas": 4, "availableReplicas": 4,
        "conditions": progressing("True", "NewReplicaSetAvailable")}),
    Progress::Complete
)]
#[case::newest_spec_not_seen(
    json!({}),
    json!({"observedGeneration": 2, "replicas": 4, "updatedReplicas": 4, "readyReplicas": 4, "availableReplicas": 4}),
    Progress::UnderWay
)]
#[case::rolling(
    json!({}),
    json!({"observedGeneration": 3, "replicas": 4, "updatedReplicas": 2, "availableReplicas": 3, "unavailableReplicas": 1,
        "conditions": progressing("True", "ReplicaSetUpdated")}),
    Progress::UnderWay
)]
#[case::surge_with_an_old_pod_left(
    json!({}),
    json!({"observedGeneration": 3, "replicas": 5, "updatedReplicas": 4, "availableReplicas": 5}),
    Progress::UnderWay
)]
#[case::last_pod_not_available(
    json!({}),
    json!({"observedGeneration": 3, "replicas": 4, "updatedReplicas": 4, "readyReplicas": 4, "availableReplicas": 3}),
    Progress::UnderWay
)]
#[case::deadline_exceeded(
    json!({}),
    json!({"observedGeneration": 3, "replicas": 5, "updatedReplicas": 1, "availableReplicas": 4, "unavailableReplicas": 1,
        "conditions": progressing("False", "ProgressDeadlineExceeded")}),
    Progress::Failed
)]
#[case::deadline_exceeded_by_the_spec_before(
    json!({}),
    json!({"observedGeneration": 2, "replicas": 5, "updatedReplicas": 1, "availableReplicas": 4,
        "conditions": progressing("False", "ProgressDeadlineExceeded")}),
    Progress::UnderWay
)]
#[case::cannot_make_a_replica_set(
    json!({}),
    json!({"observedGeneration": 3, "replicas": 4, "availableReplicas": 4,
        "conditions": progressing("False", "ReplicaSetCreateError")}),
    Progress::UnderWay
)]
#[case::paused_with_a_change(
    json!({"paused": true}),
    json!({"observedGeneration": 3, "replicas": 4, "availableReplicas": 4,
        "conditions": progressing("Unknown", "DeploymentPaused")}),
    Progress::UnderWay
)]
#[case::scaled_to_0(
    json!({"replicas": 0}),
    json!({"observedGeneration": 3, "conditions": progressing("True", "NewReplicaSetAvailable")}),
    Progress::Complete
)]
#[case::scaled_to_0_not_seen(json!({"replicas": 0}), json!({"observedGeneration": 2}), Progress::UnderWay)]
#[case::scaling_down(
    json!({"replicas": 2}),
    json!({"observedGeneration": 3, "replicas": 4, "updatedReplicas": 4, "availableReplicas": 4}),
    Progress::UnderWay
)]
#[case::replicas_absent_means_1(
    json!({"replicas": null}),
    json!({"observedGeneration": 3, "replicas": 1, "updatedReplicas": 1, "availableReplicas": 1}),
    Progress::Complete
)]
#[case::wrong_types(
    json!({}),
    json!({"observedGeneration": [3], "replicas": "4", "updatedReplicas": {}, "conditions": {"type": "Progressing"}}),
    Progress::UnderWay
)]
#[case::status_of_the_wrong_type(json!({}), json!("Complete"), Progress::UnderWay)]
fn deployment(#[case] spec: Value, #[case] status: Value, #[case] expected: Progress) {
    assert_eq!(built_in(Kind::Deployment, &spec, &status), expected);
}

fn partition(ordinals: i64) -> Value {
    json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": ordinals}}})
}

/// Counts in the order replicas, updated, ready, available, with revisions that are equal or not.
fn stateful_set_status(counts: [i64; 4], update_revision: &str) -> Value {
    let [replicas, updated, ready, available] = counts;
    json!({
        "observedGeneration": 3, "replicas": replicas, "updatedReplicas": updated, "readyReplicas": ready,
        "availableReplicas": available, "currentReplicas": replicas - updated, "collisionCount": 0,
        "currentRevision": "web-7d4b9c", "updateRevision": update_revision,
    })
}

#[rstest]
#[case::new(json!({}), json!({"replicas": 0, "availableReplicas": 0}), Progress::UnderWay)]
#[case::complete(json!({}), stateful_set_status([4, 4, 4, 4], "web-7d4b9c"), Progress::Complete)]
#[case::all_updated_before_the_revisions_are_equal(
    json!({}), stateful_set_status([4, 4, 4, 4], "web-5f6a8b"), Progress::Complete
)]
#[case::rolling(json!({}), stateful_set_status([4, 1, 4, 4], "web-5f6a8b"), Progress::UnderWay)]
#[case::pod_missing(json!({}), stateful_set_status([3, 4, 3, 3], "web-5f6a8b"), Progress::UnderWay)]
#[case::ready_for_too_short(json!({"minReadySeconds": 30}), stateful_set_status([4, 4, 4, 3], "web-7d4b9c"), Progress::UnderWay)]
#[case::taken_back_half_way(json!({}), stateful_set_status([4, 2, 4, 4], "web-7d4b9c"), Progress::UnderWay)]
#[case::stuck_on_a_broken_pod(json!({}), stateful_set_status([4, 1, 3, 3], "web-5f6a8b"), Progress::UnderWay)]
#[case::scaling_down(json!({"replicas": 2}), stateful_set_status([3, 3, 3, 3], "web-7d4b9c"), Progress::UnderWay)]
#[case::scaled_to_0(json!({"replicas": 0}), stateful_set_status([0, 0, 0, 0], "web-7d4b9c"), Progress::Complete)]
#[case::partition_reached(partition(3), stateful_set_status([4, 1, 4, 4], "web-5f6a8b"), Progress::Complete)]
#[case::partition_not_reached(partition(2), stateful_set_status([4, 1, 4, 4], "web-5f6a8b"), Progress::UnderWay)]
#[case::partition_not_available(partition(3), stateful_set_status([4, 1, 3, 3], "web-5f6a8b"), Progress::UnderWay)]
#[case::partition_beyond_all(partition(9), stateful_set_status([4, 0, 4, 4], "web-5f6a8b"), Progress::Complete)]
#[case::partition_0(partition(0), stateful_set_status([4, 1, 4, 4], "web-5f6a8b"), Progress::UnderWay)]
#[case::on_delete_with_old_pods(
    json!({"updateStrategy": {"type": "OnDelete"}}), stateful_set_status([4, 0, 4, 4], "web-5f6a8b"), Progress::Complete
)]
#[case::on_delete_with_a_pod_down(
    json!({"updateStrategy": {"type": "OnDelete"}}), stateful_set_status([4, 0, 3, 3], "web-5f6a8b"), Progress::UnderWay
)]
#[case::no_available_count(
    json!({}), json!({"observedGeneration": 3, "replicas": 4, "updatedReplicas": 4, "readyReplicas": 4}), Progress::Complete
)]
#[case::never_failed(
    json!({}),
    json!({"observedGeneration": 3, "replicas": 4, "updatedReplicas": 1,
        "conditions": progressing("False", "ProgressDeadlineExceeded")}),
    Progress::UnderWay
)]
fn stateful_set(#[case] spec: Value, #[case] status: Value, #[case] expected: Progress) {
    assert_eq!(built_in(Kind::StatefulSet, &spec, &status), expected);
    let mut lagging = status;
    lagging["observedGeneration"] = json!(2);
    assert_eq!(built_in(Kind::StatefulSet, &spec, &lagging), Progress::UnderWay);
}

#[test]
fn the_update_revision_is_that_of_the_newest_spec() {
    let status = stateful_set_status([4, 1, 4, 4], "web-5f6a8b");
    let revision = |kind, status: &Value| read(&WorkloadKind::BuiltIn(kind), &json!({}), status).update_revision;
    assert_eq!(revision(Kind::StatefulSet, &status).as_deref(), Some("web-5f6a8b"));
    assert_eq!(revision(Kind::Deployment, &status), None);
    let mut lagging = status;
    lagging["observedGeneration"] = json!(2);
    assert_eq!(revision(Kind::StatefulSet, &lagging), None);
}

#[rstest]
#[case::new(json!({}), json!({"currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0}), Progress::UnderWay)]
#[case::complete(
    json!({}),
    json!({"observedGeneration": 3, "desiredNumberScheduled": 5, "updatedNumberScheduled": 5, "numberAvailable": 5, "numberReady": 5}),
    Progress::Complete
)]
#[case::newest_spec_not_seen(
    json!({}),
    json!({"observedGeneration": 2, "desiredNumberScheduled": 5, "updatedNumberScheduled": 5, "numberAvailable": 5}),
    Progress::UnderWay
)]
#[case::rolling(
    json!({}),
    json!({"observedGeneration": 3, "desiredNumberScheduled": 5, "updatedNumberScheduled": 2, "numberAvailable": 5}),
    Progress::UnderWay
)]
#[case::none_updated_yet(
    json!({}), json!({"observedGeneration": 3, "desiredNumberScheduled": 5, "numberAvailable": 5}), Progress::UnderWay
)]
#[case::one_unavailable(
    json!({}),
    json!({"observedGeneration": 3, "desiredNumberScheduled": 5, "updatedNumberScheduled": 5, "numberAvailable": 4, "numberUnavailable": 1}),
    Progress::UnderWay
)]
#[case::no_node_matches(json!({}), json!({"observedGeneration": 3, "desiredNumberScheduled": 0}), Progress::Complete)]
#[case::on_delete(
    json!({"updateStrategy": {"type": "OnDelete"}}),
    json!({"observedGeneration": 3, "desiredNumberScheduled": 5, "numberAvailable": 5}),
    Progress::Complete
)]
#[case::on_delete_one_unavailable(
    json!({"updateStrategy": {"type": "OnDelete"}}),
    json!({"observedGeneration": 3, "desiredNumberScheduled": 5, "numberAvailable": 4}),
    Progress::UnderWay
)]
fn daemon_set(#[case] spec: Value, #[case] status: Value, #[case] expected: Progress) {
    assert_eq!(built_in(Kind::DaemonSet, &spec, &status), expected);
}

/// As Argo Rollouts 1.x write it.
fn argo(observed: &str, phase: &str, updated: i64) -> Value {
    json!({
        "observedGeneration": observed, "phase": phase, "replicas": 4, "updatedReplicas": updated, "readyReplicas": 4,
        "availableReplicas": 4, "currentPodHash": "6c5f", "stableRS": "6c5f",
    })
}

/// A status with other fields laid over it.
fn over(mut status: Value, with: Value) -> Value {
    if let (Value::Object(status), Value::Object(with)) = (&mut status, with) {
        status.extend(with);
    }
    status
}

#[rstest]
#[case::new(json!(null), Progress::UnderWay)]
#[case::healthy(argo("3", "Healthy", 4), Progress::Complete)]
#[case::blue_green_keeps_the_old_pods(over(argo("3", "Healthy", 4), json!({"replicas": 8})), Progress::Complete)]
#[case::newest_spec_not_seen(argo("2", "Healthy", 4), Progress::UnderWay)]
#[case::observed_as_number(over(argo("", "Healthy", 4), json!({"observedGeneration": 2})), Progress::UnderWay)]
#[case::observed_is_a_hash_of_version_0_9(argo("7bd5c9f", "Healthy", 4), Progress::Complete)]
#[case::progressing(argo("3", "Progressing", 2), Progress::UnderWay)]
#[case::all_updated_not_promoted(argo("3", "Progressing", 4), Progress::UnderWay)]
#[case::step_waits(
    over(argo("3", "Paused", 1), json!({"controllerPause": true, "pauseConditions": [{"reason": "CanaryPauseStep"}]})),
    Progress::UnderWay
)]
#[case::paused_with_pods_of_the_newest_only(argo("3", "Paused", 4), Progress::UnderWay)]
#[case::let_go_on_and_not_seen(over(argo("3", "Healthy", 1), json!({"controllerPause": true})), Progress::UnderWay)]
#[case::aborted(argo("3", "Degraded", 1), Progress::Failed)]
#[case::aborted_before_the_newest_spec(argo("2", "Degraded", 1), Progress::UnderWay)]
#[case::no_phase_in_version_0_10(over(argo("3", "", 2), json!({"phase": null})), Progress::UnderWay)]
#[case::no_phase_timed_out(
    over(argo("3", "", 2), json!({"conditions": progressing("False", "ProgressDeadlineExceeded")})), Progress::Failed
)]
fn argo_rollout(#[case] status: Value, #[case] expected: Progress) {
    assert_eq!(custom(&json!({}), &status), expected);
}

fn conditions(told: &[(&str, &str)]) -> Value {
    told.iter().map(|(condition_type, status)| json!({"type": condition_type, "status": status})).collect()
}

#[rstest]
#[case::nothing_told(json!({"observedGeneration": 3}), Progress::UnderWay)]
#[case::phase_of_its_own(json!({"observedGeneration": 3, "phase": "Running"}), Progress::UnderWay)]
#[case::ready(json!({"observedGeneration": 3, "conditions": conditions(&[("Ready", "True")])}), Progress::Complete)]
#[case::ready_not_seen(json!({"observedGeneration": 2, "conditions": conditions(&[("Ready", "True")])}), Progress::UnderWay)]
#[case::ready_for_the_spec_before(
    json!({"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 2}]}), Progress::UnderWay
)]
#[case::ready_for_this_spec(
    json!({"conditions": [{"type": "Ready", "status": "True", "observedGeneration": 3}]}), Progress::Complete
)]
#[case::not_ready(json!({"conditions": conditions(&[("Ready", "False")])}), Progress::UnderWay)]
#[case::ready_unknown(json!({"conditions": conditions(&[("Ready", "Unknown")])}), Progress::UnderWay)]
#[case::available_may_be_the_old_pods(json!({"conditions": conditions(&[("Available", "True")])}), Progress::UnderWay)]
#[case::available_and_settled(
    json!({"conditions": conditions(&[("Available", "True"), ("Progressing", "False")])}), Progress::Complete
)]
#[case::available_and_moving(
    json!({"conditions": conditions(&[("Available", "True"), ("Progressing", "True")])}), Progress::UnderWay
)]
#[case::reconciling(
    json!({"conditions": conditions(&[("Ready", "True"), ("Reconciling", "True")])}), Progress::UnderWay
)]
#[case::stalled(json!({"conditions": conditions(&[("Ready", "False"), ("Stalled", "True")])}), Progress::Failed)]
#[case::stalled_on_the_spec_before(
    json!({"conditions": [{"type": "Stalled", "status": "True", "observedGeneration": 2}]}), Progress::UnderWay
)]
#[case::deadline_exceeded(json!({"conditions": progressing("False", "ProgressDeadlineExceeded")}), Progress::Failed)]
#[case::counts(
    json!({"observedGeneration": 3, "replicas": 4, "updatedReplicas": 4, "availableReplicas": 4}), Progress::Complete
)]
#[case::counts_with_the_conditions_of_a_deployment(
    json!({"replicas": 4, "updatedReplicas": 4, "availableReplicas": 4, "conditions": progressing("True", "NewReplicaSetAvailable")}),
    Progress::Complete
)]
#[case::counts_against_ready(
    json!({"replicas": 4, "updatedReplicas": 2, "availableReplicas": 4, "conditions": conditions(&[("Ready", "True")])}),
    Progress::UnderWay
)]
#[case::not_ready_against_counts(
    json!({"replicas": 4, "updatedReplicas": 4, "availableReplicas": 4, "conditions": conditions(&[("Ready", "False")])}),
    Progress::UnderWay
)]
#[case::not_available_against_counts(
    json!({"replicas": 4, "updatedReplicas": 4, "readyReplicas": 4, "conditions": conditions(&[("Available", "False")])}),
    Progress::UnderWay
)]
#[case::ready_and_moving(
    json!({"conditions": conditions(&[("Ready", "True"), ("Progressing", "True")])}), Progress::UnderWay
)]
#[case::counts_of_an_old_pod_left(
    json!({"replicas": 5, "updatedReplicas": 4, "availableReplicas": 5}), Progress::UnderWay
)]
#[case::counts_without_updated_ones(
    json!({"replicas": 4, "readyReplicas": 4, "conditions": conditions(&[("Ready", "True")])}), Progress::Complete
)]
#[case::counts_without_updated_ones_and_a_pod_down(
    json!({"replicas": 4, "readyReplicas": 3, "conditions": conditions(&[("Ready", "True")])}), Progress::UnderWay
)]
#[case::conditions_of_the_wrong_type(json!({"conditions": [null, 1, {"type": 2}, {"type": "Ready"}]}), Progress::UnderWay)]
fn custom_workload(#[case] status: Value, #[case] expected: Progress) {
    assert_eq!(custom(&json!({}), &status), expected);
}

#[rstest]
#[case::scaled_to_0(json!({"replicas": 0}), json!({"observedGeneration": 3}), Progress::Complete)]
#[case::scaled_to_0_with_pods_left(
    json!({"replicas": 0}), json!({"observedGeneration": 3, "replicas": 1}), Progress::UnderWay
)]
#[case::scaled_to_0_not_known_to_be_seen(json!({"replicas": 0}), json!({"conditions": []}), Progress::UnderWay)]
#[case::ready_is_not_yet_available(
    json!({"minReadySeconds": 30}), json!({"replicas": 4, "updatedReplicas": 4, "readyReplicas": 4}), Progress::UnderWay
)]
#[case::clone_set_partition_reached(
    json!({"updateStrategy": {"type": "ReCreate", "partition": "50%"}}),
    json!({"observedGeneration": 3, "replicas": 4, "updatedReplicas": 2, "availableReplicas": 4}),
    Progress::Complete
)]
#[case::clone_set_partition_not_reached(
    json!({"updateStrategy": {"type": "ReCreate", "partition": "50%"}}),
    json!({"observedGeneration": 3, "replicas": 4, "updatedReplicas": 1, "availableReplicas": 4}),
    Progress::UnderWay
)]
#[case::on_delete(
    json!({"updateStrategy": {"type": "OnDelete"}}),
    json!({"observedGeneration": 3, "replicas": 4, "updatedReplicas": 0, "availableReplicas": 4}),
    Progress::Complete
)]
#[case::daemon_set_of_another_group(
    json!({"replicas": null}),
    json!({"observedGeneration": 3, "desiredNumberScheduled": 5, "updatedNumberScheduled": 4, "numberAvailable": 5}),
    Progress::UnderWay
)]
fn custom_workload_with_a_spec(#[case] spec: Value, #[case] status: Value, #[case] expected: Progress) {
    assert_eq!(custom(&spec, &status), expected);
}

#[rstest]
#[case::absent(json!({}), Replacing::Rolling)]
#[case::rolling(json!({"updateStrategy": {"type": "RollingUpdate"}}), Replacing::Rolling)]
#[case::on_delete(json!({"updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 2}}}), Replacing::OnDelete)]
#[case::partition(partition(2), Replacing::Partition(2))]
#[case::partition_0(partition(0), Replacing::Rolling)]
#[case::partition_below_0(partition(-1), Replacing::Rolling)]
#[case::partition_of_the_wrong_type(json!({"updateStrategy": {"rollingUpdate": {"partition": "50%"}}}), Replacing::Rolling)]
#[case::strategy_of_the_wrong_type(json!({"updateStrategy": "OnDelete"}), Replacing::Rolling)]
#[case::strategy_of_a_deployment(json!({"strategy": {"type": "OnDelete"}}), Replacing::Rolling)]
fn replacing_of_a_stateful_set(#[case] spec: Value, #[case] expected: Replacing) {
    assert_eq!(read(&WorkloadKind::BuiltIn(Kind::StatefulSet), &spec, &json!({})).replacing, expected);
}

#[rstest]
#[case::deployment(Kind::Deployment, json!({"strategy": {"type": "Recreate"}, "updateStrategy": {"type": "OnDelete"}}), Replacing::Rolling)]
#[case::daemon_set(Kind::DaemonSet, json!({"updateStrategy": {"type": "OnDelete"}}), Replacing::OnDelete)]
#[case::daemon_set_has_no_partition(Kind::DaemonSet, partition(2), Replacing::Rolling)]
fn replacing_of_others(#[case] kind: Kind, #[case] spec: Value, #[case] expected: Replacing) {
    assert_eq!(read(&WorkloadKind::BuiltIn(kind), &spec, &json!({})).replacing, expected);
}

#[test]
fn a_share_of_a_custom_workload_is_rounded_up() {
    let spec = json!({"replicas": 5, "updateStrategy": {"partition": "50%"}});
    assert_eq!(read(&custom_kind(), &spec, &json!({})).replacing, Replacing::Partition(3));
    let spec = json!({"updateStrategy": {"rollingUpdate": {"partition": 1}}});
    assert_eq!(read(&custom_kind(), &spec, &json!({})).replacing, Replacing::Partition(1));
}

/// Counts between 0 and 2, some absent, so that every state comes up.
fn any_status() -> impl Strategy<Value = Value> {
    let counts = prop::sample::select(vec![
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "desiredNumberScheduled",
        "updatedNumberScheduled",
        "numberAvailable",
    ]);
    let phase = prop::option::of(prop::sample::select(vec!["Healthy", "Progressing", "Degraded", "Running"]));
    let ready = prop::option::of(prop::sample::select(vec!["True", "False"]));
    let revision = prop::sample::select(vec!["a", "b"]);
    (prop::collection::btree_map(counts, 0..3_i64, 0..8), phase, ready, revision, 0..6_i64).prop_map(
        |(counts, phase, ready, revision, observed)| {
            let conditions = ready.map_or_else(|| json!([]), |ready| conditions(&[("Ready", ready)]));
            let status = json!({
                "observedGeneration": observed, "phase": phase, "conditions": conditions,
                "currentRevision": "a", "updateRevision": revision,
            });
            over(status, json!(counts))
        },
    )
}

/// `kubectl rollout status` (`k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go`) of an object of generation 3 whose
/// strategy is `RollingUpdate`.
fn kubectl_is_done(kind: Kind, replicas: i64, partition: Option<i64>, status: &Value) -> bool {
    let number = |field: &str| status[field].as_i64().unwrap_or(0);
    let is_observed = number("observedGeneration") >= 3;
    is_observed
        && match kind {
            Kind::Deployment => {
                number("updatedReplicas") >= replicas
                    && number("replicas") <= number("updatedReplicas")
                    && number("availableReplicas") >= number("updatedReplicas")
            }
            Kind::StatefulSet => {
                number("readyReplicas") >= replicas
                    && match partition {
                        Some(partition) => number("updatedReplicas") >= replicas - partition,
                        None => true,
                    }
            }
            _ => {
                number("updatedNumberScheduled") >= number("desiredNumberScheduled")
                    && number("numberAvailable") >= number("desiredNumberScheduled")
            }
        }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_is_complete_is_observed_and_done_for_kubectl(
        status in any_status(), replicas in 0..3_i64, kept in prop::option::of(1..3_i64),
    ) {
        let mut spec = json!({"replicas": replicas});
        if let Some(kept) = kept {
            spec = over(spec, partition(kept));
        }
        let is_observed = status["observedGeneration"].as_i64() >= Some(3);
        for kind in [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet] {
            if built_in(kind, &spec, &status) == Progress::Complete {
                // A ready count that is lower than the available one does not happen.
                let ready = status["readyReplicas"].as_i64().max(status["availableReplicas"].as_i64());
                let status = over(status.clone(), json!({"readyReplicas": ready}));
                prop_assert!(kubectl_is_done(kind, replicas, kept, &status), "{kind} {spec} {status}");
            }
        }
        prop_assert!(is_observed || custom(&spec, &status) == Progress::UnderWay);
        // DaemonSets are done for both alike.
        let is_complete = built_in(Kind::DaemonSet, &spec, &status) == Progress::Complete;
        prop_assert_eq!(is_complete, kubectl_is_done(Kind::DaemonSet, replicas, None, &status));
    }
}
