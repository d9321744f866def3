#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rstest::rstest;
use serde_json::json;

use super::*;

const DEPLOYMENT: WorkloadKind = WorkloadKind::BuiltIn(Kind::Deployment);

fn custom_kind() -> WorkloadKind {
    WorkloadKind::Custom { api_version: "example.com/v1".to_owned(), kind: "Cluster".to_owned() }
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {
            "name": "web", "namespace": "shop", "resourceVersion": "81237", "generation": 7,
            "annotations": {
                "immutable.dev/rollout": "enabled", "immutable.dev/config-baseline": "-:v1.k1.aa",
                "immutable.dev/config-sources": "ConfigMap/web=1f", "immutable.dev/config-differs-since": "2026-11-26T09:00:00Z",
                "note": "theirs",
            },
            "managedFields": [
                {"manager": "helm", "operation": "Update", "apiVersion": "apps/v1", "time": "2026-11-01T08:00:00Z"},
                {"manager": "kubectl-rollout", "operation": "Update", "apiVersion": "apps/v1", "time": "2026-11-03T08:00:00Z"},
                {"manager": "argocd-controller", "operation": "Apply", "apiVersion": "apps/v1", "time": "2026-11-02T08:00:00Z"},
                {"manager": "immutable-operator-rollout", "operation": "Apply", "time": "2026-11-04T08:00:00Z"},
                {"manager": "immutable-operator-record", "operation": "Apply", "time": "2026-11-05T08:00:00Z"},
                {"manager": "kube-controller-manager", "operation": "Update", "time": "2026-11-06T08:00:00Z", "subresource": "status"},
                {"manager": "keda", "operation": "Update", "time": "2026-11-07T08:00:00Z", "subresource": "scale"},
            ],
        },
        "spec": {
            "replicas": 3,
            "template": {
                "metadata": {
                    "labels": {"app": "web"},
                    "annotations": {"immutable.dev/config-digest": "v1.k1.bb", "immutable.dev/rollout-cause": "ConfigMap web: log"},
                },
                "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            },
        },
        "status": {"observedGeneration": 7, "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3},
    })
}

fn read(value: &Value) -> Rollout {
    Rollout::read(value, &DEPLOYMENT, &[]).unwrap()
}

/// What is read after a change of the Deployment.
fn with(change: impl FnOnce(&mut Value)) -> Rollout {
    let mut value = deployment();
    change(&mut value);
    read(&value)
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn a_deployment_is_read() {
    let rollout = read(&deployment());
    let expected = Rollout {
        reloader: None,
        resource_version: "81237".into(),
        choice: Choice::Enabled,
        stamp: Some("v1.k1.bb".into()),
        cause: Some("ConfigMap web: log".into()),
        baseline: Some("-:v1.k1.aa".into()),
        sources: Some("ConfigMap/web=1f".into()),
        differs_since: Some("2026-11-26T09:00:00Z".into()),
        template: rollout.template,
        progress: Progress::Complete,
        update_revision: None,
        paused: false,
        leaving: false,
        replacing: Replacing::Rolling,
        replicas: 3,
        rolled: Some(time("2026-11-04T08:00:00Z")),
        writer: Some(Writer { manager: "kubectl-rollout".into(), time: time("2026-11-03T08:00:00Z") }),
        template_pointers: Box::new(["/spec/template".into()]),
    };
    assert_eq!(rollout, expected);
    assert!(with(|value| value["spec"]["paused"] = json!(true)).paused);
    assert!(with(|value| value["metadata"]["deletionTimestamp"] = json!("2026-11-26T09:00:00Z")).leaving);
}

#[test]
fn only_kinds_that_roll_are_read() {
    let rolled: Vec<Kind> = Kind::ALL
        .into_iter()
        .filter(|kind| Rollout::read(&deployment(), &WorkloadKind::BuiltIn(*kind), &[]).is_some())
        .collect();
    assert_eq!(rolled, [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet]);
}

#[rstest]
#[case(json!("enabled"), Choice::Enabled)]
#[case(json!("disabled"), Choice::Disabled)]
#[case(json!("Enabled"), Choice::Invalid("Enabled".into()))]
#[case(json!(""), Choice::Invalid("".into()))]
#[case(json!("a\u{1b}[1mb\n"), Choice::Invalid("a?[1mb?".into()))]
#[case(json!("x".repeat(200_000)), Choice::Invalid(format!("{}...", "x".repeat(77)).into()))]
#[case(json!(true), Choice::Unset)]
#[case(json!(null), Choice::Unset)]
fn what_the_owner_says(#[case] written: Value, #[case] expected: Choice) {
    assert_eq!(with(|value| value["metadata"]["annotations"]["immutable.dev/rollout"] = written).choice, expected);
}

#[test]
fn long_annotations_are_cut_at_a_character() {
    let long = format!("a{}", "\u{e9}".repeat(100_000));
    let rollout = with(|value| {
        value["metadata"]["annotations"]["immutable.dev/config-sources"] = json!(long);
        value["spec"]["template"]["metadata"]["annotations"]["immutable.dev/config-digest"] = json!(long);
    });
    for kept in [rollout.sources.unwrap(), rollout.stamp.unwrap()] {
        assert_eq!(kept.len(), KEPT_BYTES - 1);
        assert!(long.starts_with(&*kept));
    }
}

#[test]
fn our_annotations_do_not_change_the_hash_of_the_template() {
    let stamped = read(&deployment()).template;
    let with_metadata = |metadata: Value| with(|value| value["spec"]["template"]["metadata"] = metadata).template;
    for metadata in [
        json!({"labels": {"app": "web"}, "annotations": {"immutable.dev/config-digest": "other"}}),
        json!({"labels": {"app": "web"}, "annotations": {}}),
        json!({"labels": {"app": "web"}, "annotations": null}),
        json!({"labels": {"app": "web"}}),
    ] {
        assert_eq!(with_metadata(metadata.clone()), stamped, "{metadata}");
    }
    let bare = with(|value| drop(value["spec"]["template"].as_object_mut().unwrap().remove("metadata"))).template;
    assert_eq!(with_metadata(json!({"annotations": {"immutable.dev/config-digest": "a"}})), bare);
    // What is not in the template does not count.
    assert_eq!(with(|value| value["spec"]["replicas"] = json!(9)).template, stamped);
    for (pointer, changed) in [
        ("/spec/template/metadata/labels", json!({"app": "web", "tier": "front"})),
        ("/spec/template/metadata/annotations", json!({"kubectl.kubernetes.io/restartedAt": "2026-11-26T09:00:00Z"})),
        ("/spec/template/spec/containers/0/image", json!("web:2")),
    ] {
        assert_ne!(with(|value| *value.pointer_mut(pointer).unwrap() = changed).template, stamped, "{pointer}");
    }
}

#[test]
fn several_templates_carry_one_stamp_or_none() {
    let template = |stamp: Option<&str>| {
        let annotations = stamp.map(|stamp| json!({"immutable.dev/config-digest": stamp, "role": "r"}));
        json!({"metadata": {"annotations": annotations}, "spec": {"containers": []}})
    };
    let pointers = ["/spec/leader", "/spec/worker/template", "/spec/leader", "/spec/absent"].map(str::to_owned);
    let cluster = |leader, worker| {
        let value = json!({"spec": {"leader": template(leader), "worker": {"template": template(worker)}}});
        Rollout::read(&value, &custom_kind(), &pointers).unwrap()
    };
    let both = cluster(Some("a"), Some("a"));
    assert_eq!(both.stamp.as_deref(), Some("a"));
    assert_eq!(*both.template_pointers, ["/spec/leader".into(), "/spec/worker/template".into()]);
    for (leader, worker) in [(Some("a"), Some("b")), (Some("a"), None), (None, Some("a")), (None, None)] {
        assert_eq!(cluster(leader, worker).stamp, None);
    }
    // A Rollout that names a Deployment instead.
    let value = json!({"spec": {"workloadRef": {"name": "web"}, "leader": null, "worker": "x"}});
    let without = Rollout::read(&value, &custom_kind(), &pointers).unwrap();
    assert_eq!((without.stamp, without.template_pointers.len(), without.replicas), (None, 0, 1));
}

#[test]
fn annotations_are_lent() {
    let value = deployment();
    assert_eq!(workload_annotations(&value)["note"], "theirs");
    let of_template = template_annotations(&value, &DEPLOYMENT, &[]);
    assert_eq!(of_template.into_iter().collect::<Vec<_>>(), [(STAMP, "v1.k1.bb"), (CAUSE, "ConfigMap web: log")]);
    assert!(template_annotations(&value, &custom_kind(), &["/spec/other".to_owned()]).is_empty());
    assert!(workload_annotations(&json!({"metadata": {"annotations": ["a"]}})).is_empty());
}

#[test]
fn entries_that_tell_no_writer_are_passed_over() {
    let writer = |entries: Value| with(|value| value["metadata"]["managedFields"] = entries);
    let at =
        |manager: &str, operation: &str, time: &str| json!({"manager": manager, "operation": operation, "time": time});
    let later = "2026-11-26T09:00:00Z";
    // An update that only uses our name is not ours, and not somebody's either.
    let rollout = writer(json!([at(ROLLOUT_MANAGER, "Update", later), at("a", "Update", "yesterday"), null, 1, {}]));
    assert_eq!((rollout.rolled, rollout.writer), (None, None));
    let rollout =
        writer(json!([at("a", "Update", later), at("b", "Apply", later), at("c", "Update", "2026-11-26T08:59:59Z")]));
    assert_eq!(rollout.writer.unwrap(), Writer { manager: "b".into(), time: time(later) });
    let rollout = writer(json!([at(&"\u{e9}".repeat(500), "Update", later)]));
    assert_eq!(rollout.writer.unwrap().manager.chars().count(), 128);
    let rollout =
        writer(json!([at(ROLLOUT_MANAGER, "Apply", later), at(ROLLOUT_MANAGER, "Apply", "2026-01-01T00:00:00Z")]));
    assert_eq!(rollout.rolled, Some(time(later)));
    assert_eq!(writer(json!({"manager": "a"})).writer, None);
}

/// JSON that often has the names and shapes that are looked for.
fn any_json() -> impl Strategy<Value = Value> {
    let keys = prop::sample::select(vec![
        "metadata",
        "spec",
        "status",
        "template",
        "annotations",
        "managedFields",
        "manager",
        "time",
        "conditions",
        "type",
        "replicas",
        "updateStrategy",
        "rollingUpdate",
        "partition",
        "observedGeneration",
        "generation",
        "phase",
        "updatedReplicas",
        "availableReplicas",
        "ownerReferences",
        "labels",
        "creationTimestamp",
        STAMP,
        ROLLOUT,
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        prop::sample::select(vec!["50%", "OnDelete", "Healthy", "3", "2026-11-26T09:00:00Z", "9223372036854775807%"])
            .prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 96, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(keys.clone().prop_map(str::to_owned), inner, 0..10)
                .prop_map(|map| map.into_iter().collect::<Value>()),
        ]
    })
}

proptest! {
    #[test]
    fn no_json_panics(metadata in any_json(), spec in any_json(), status in any_json(), whole in any_json()) {
        let pointers = ["/spec/template".to_owned(), String::new(), "//".to_owned(), "/a~".to_owned()];
        let kinds = Kind::ALL.into_iter().map(WorkloadKind::BuiltIn).chain([custom_kind()]);
        let object = json!({"metadata": metadata, "spec": spec, "status": status});
        for (kind, value) in kinds.flat_map(|kind| [(kind.clone(), &object), (kind, &whole)]) {
            let Some(rollout) = Rollout::read(value, &kind, &pointers) else { continue };
            // The same object reads the same.
            prop_assert_eq!(Some(rollout.clone()), Rollout::read(value, &kind, &pointers));
            if value["status"].is_null() {
                prop_assert_eq!(rollout.progress, Progress::UnderWay);
            }
            template_annotations(value, &kind, &pointers);
        }
        crate::workload::PodFacts::read(&whole);
    }
}
