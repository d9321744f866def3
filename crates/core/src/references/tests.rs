//! What is read of what.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::workload::{CustomWorkload, Workload};

fn deployment(pod: &Value) -> Workload {
    let object = json!({"metadata": {"name": "web"}, "spec": {"template": {"spec": pod}}});
    Workload::read(&object, "apps/v1", "Deployment", &[]).unwrap().unwrap()
}

/// A pod whose one container has these fields.
fn pod(container: &Value, volumes: &Value) -> Value {
    let mut whole = json!({"name": "app", "image": "nginx"});
    whole.as_object_mut().unwrap().extend(container.as_object().unwrap().clone());
    json!({"containers": [whole], "volumes": volumes})
}

/// A pod that sees one volume through these mounts.
fn mounting(source: &Value, mounts: &Value) -> Value {
    let mut volume = json!({"name": "files"});
    volume.as_object_mut().unwrap().extend(source.as_object().unwrap().clone());
    pod(&json!({"volumeMounts": mounts}), &json!([volume]))
}

/// `app!` is an object that must exist, `*` all keys, `key!` one that must be there and `(key)!` one that nobody reads.
fn told(dependencies: &[Dependency]) -> Vec<String> {
    let mark = |required| if required { "!" } else { "" };
    let key = |key: &str, key_use: &KeyUse| {
        let key = if key_use.read { key.to_owned() } else { format!("({key})") };
        key + mark(key_use.required)
    };
    let one = |dependency: &Dependency| {
        let all = dependency.keys.all.then(|| "*".to_owned());
        let named = dependency.keys.named.iter().map(|(name, key_use)| key(name, key_use));
        let keys: Vec<String> = all.into_iter().chain(named).collect();
        let (kind, name) = (dependency.kind.name(), &dependency.name);
        format!("{kind} {name}{}: {}", mark(dependency.required), keys.join(" ")).trim_end().to_owned()
    };
    dependencies.iter().map(one).collect()
}

fn whole() -> Value {
    json!([{"name": "files", "mountPath": "/etc/app"}])
}

fn sub_paths(paths: &[&str]) -> Value {
    let mount = |path: &&str| json!({"name": "files", "mountPath": format!("/etc/{path}"), "subPath": path});
    paths.iter().map(mount).collect()
}

#[rstest]
#[case::key(json!({"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "a"}}}]}),
    &["ConfigMap app!: a!"])]
#[case::optional_key(json!({"env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "a", "optional": true}}}]}),
    &["Secret db: a"])]
#[case::required_wins(json!({"env": [
    {"name": "A", "valueFrom": {"secretKeyRef": {"name": "db", "key": "a", "optional": true}}},
    {"name": "B", "valueFrom": {"secretKeyRef": {"name": "db", "key": "a"}}},
    {"name": "C", "valueFrom": {"secretKeyRef": {"name": "db", "key": "c", "optional": true}}}]}),
    &["Secret db!: a! c"])]
#[case::all(json!({"envFrom": [{"configMapRef": {"name": "app"}}, {"secretRef": {"name": "db", "optional": true}}]}),
    &["ConfigMap app!: *", "Secret db: *"])]
#[case::all_and_one(json!({"envFrom": [{"configMapRef": {"name": "app", "optional": null}}],
    "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "a"}}},
            {"name": "B", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "b", "optional": true}}}]}),
    &["ConfigMap app!: * a!"])]
#[case::nothing(json!({"env": [{"name": "A", "value": "b"}, {"name": "B", "valueFrom": {"configMapKeyRef": {"key": "a"}}}]}), &[])]
fn environment_reads(#[case] container: Value, #[case] expected: &[&str]) {
    assert_eq!(told(&dependencies(&deployment(&pod(&container, &json!([]))))), expected);
}

#[rstest]
#[case::whole(json!({"configMap": {"name": "app"}}), whole(), &["ConfigMap app!: *"])]
#[case::optional(json!({"secret": {"secretName": "tls", "optional": true}}), whole(), &["Secret tls: *"])]
#[case::items(json!({"configMap": {"name": "app", "items": [{"key": "a", "path": "x/y"}, {"key": "a", "path": "z"}, {"key": "b", "path": "b"}]}}),
    whole(), &["ConfigMap app!: a! b!"])]
#[case::no_items_is_all(json!({"configMap": {"name": "app", "items": []}}), whole(), &["ConfigMap app!: *"])]
#[case::optional_items(json!({"secret": {"secretName": "tls", "optional": true, "items": [{"key": "a", "path": "a"}]}}),
    whole(), &["Secret tls: a"])]
#[case::unmounted(json!({"configMap": {"name": "app"}}), json!([]), &["ConfigMap app:"])]
#[case::unmounted_items(json!({"configMap": {"name": "app", "items": [{"key": "a", "path": "a"}]}}), json!([]), &["ConfigMap app:"])]
#[case::sub_paths(json!({"configMap": {"name": "app"}}), sub_paths(&["a", "./b//c", "a"]), &["ConfigMap app!: a b"])]
#[case::sub_path_of_items(json!({"secret": {"secretName": "tls", "items": [{"key": "a", "path": "./x/y"}, {"key": "b", "path": "z"}]}}),
    sub_paths(&["x", "b"]), &["Secret tls!: a! (b)!"])]
#[case::sub_path_of_optional_items(json!({"secret": {"secretName": "tls", "optional": true, "items": [{"key": "a", "path": "x"}, {"key": "b", "path": "z"}]}}),
    sub_paths(&["x/y"]), &["Secret tls: a (b)"])]
#[case::sub_path_of_no_item(json!({"configMap": {"name": "app", "items": [{"key": "a", "path": "x"}]}}),
    sub_paths(&["a"]), &["ConfigMap app!: (a)!"])]
#[case::whole_beside_sub_path(json!({"configMap": {"name": "app"}}),
    json!([{"name": "files", "subPath": "a"}, {"name": "files"}, {"name": "files", "subPath": "b"}]), &["ConfigMap app!: *"])]
#[case::empty_sub_path(json!({"configMap": {"name": "app"}}), json!([{"name": "files", "subPath": "", "subPathExpr": ""}]), &["ConfigMap app!: *"])]
#[case::root_as_sub_path(json!({"configMap": {"name": "app"}}), sub_paths(&["./"]), &["ConfigMap app!: *"])]
#[case::the_kubelets_own_folder(json!({"configMap": {"name": "app"}}), sub_paths(&["..data/a"]), &["ConfigMap app!: *"])]
#[case::expression(json!({"configMap": {"name": "app"}}), json!([{"name": "files", "subPathExpr": "$(POD)"}]), &["ConfigMap app!: *"])]
#[case::other_volume(json!({"configMap": {"name": "app"}}), json!([{"name": "others"}]), &["ConfigMap app:"])]
#[case::projected(json!({"projected": {"sources": [
        {"configMap": {"name": "app", "items": [{"key": "a", "path": "etc/a"}]}}, {"serviceAccountToken": {"path": "token"}},
        {"secret": {"name": "db", "optional": true}}, {"configMap": {"name": "app", "items": [{"key": "b", "path": "b"}], "optional": true}}]}}),
    whole(), &["ConfigMap app!: a! b", "Secret db: *"])]
#[case::sub_path_of_projected(json!({"projected": {"sources": [
        {"configMap": {"name": "app", "items": [{"key": "a", "path": "etc/a"}]}}, {"secret": {"name": "db"}}]}}),
    sub_paths(&["etc/a"]), &["ConfigMap app!: a!", "Secret db!: etc"])]
fn volumes_read(#[case] source: Value, #[case] mounts: Value, #[case] expected: &[&str]) {
    assert_eq!(told(&dependencies(&deployment(&mounting(&source, &mounts)))), expected);
}

/// A volume is read by whoever mounts it, in whatever list.
#[rstest]
#[case("initContainers", "apps/v1", "Deployment", "/spec/template/spec")]
#[case("ephemeralContainers", "v1", "Pod", "/spec")]
fn every_list_of_containers_reads(
    #[case] list: &str,
    #[case] api_version: &str,
    #[case] kind: &str,
    #[case] pod_pointer: &str,
) {
    let mut spec = pod(
        &json!({"volumeMounts": [{"name": "files", "subPath": "a"}]}),
        &json!([{"name": "files", "configMap": {"name": "app"}}]),
    );
    spec[list] = json!([{"name": "other", "image": "nginx", "volumeMounts": [{"name": "files", "subPath": "b"}],
        "env": [{"name": "A", "value": "b"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "db", "key": "b"}}}]}]);
    let object = if kind == "Pod" { json!({"spec": spec}) } else { json!({"spec": {"template": {"spec": spec}}}) };
    let found = dependencies(&Workload::read(&object, api_version, kind, &[]).unwrap().unwrap());
    assert_eq!(told(&found), ["ConfigMap app!: a b", "Secret db!: b!"]);
    assert_eq!(found[0].fields, [format!("{pod_pointer}/volumes/0/configMap/name (keys a, b)")]);
    assert_eq!(found[1].fields, [format!("{pod_pointer}/{list}/0/env/1/valueFrom/secretKeyRef/name (key b)")]);
}

#[test]
fn places_are_told_in_their_order() {
    let container = json!({
        "env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "a"}}}],
        "envFrom": [{"configMapRef": {"name": "app"}}],
        "volumeMounts": [{"name": "files"}],
    });
    let source = json!({"projected": {"sources": [{"secret": {"name": "db"}}, {"configMap": {"name": "app"}}]}});
    let volumes = json!([
        {"name": "unused", "configMap": {"name": "app"}},
        {"name": "files", "projected": source["projected"]},
    ]);
    let found = dependencies(&deployment(&pod(&container, &volumes)));
    assert_eq!(
        found[0].fields,
        [
            "/spec/template/spec/containers/0/env/0/valueFrom/configMapKeyRef/name (key a)",
            "/spec/template/spec/containers/0/envFrom/0/configMapRef/name",
            "/spec/template/spec/volumes/0/configMap/name (not mounted)",
            "/spec/template/spec/volumes/1/projected/sources/1/configMap/name",
        ]
    );
    assert_eq!(found[1].fields, ["/spec/template/spec/volumes/1/projected/sources/0/secret/name"]);
}

#[test]
fn places_are_bounded() {
    let variable = |number: usize| json!({"name": format!("A{number}"), "valueFrom": {"configMapKeyRef": {"name": "app", "key": format!("k{number}")}}});
    let variables: Vec<Value> = (0..MOST_FIELDS + 7).map(variable).collect();
    let found = dependencies(&deployment(&pod(&json!({"env": variables}), &json!([]))));
    assert_eq!(found[0].fields.len(), MOST_FIELDS + 1);
    assert_eq!(found[0].fields[MOST_FIELDS], "and 7 more");
    assert_eq!(found[0].keys.named.len(), MOST_FIELDS + 7, "every key counts, told or not");
}

#[test]
fn templates_are_merged() {
    let template = |key: &str| {
        let env = json!([{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "app", "key": key}}}]);
        json!({"spec": pod(&json!({"env": env}), &json!([]))})
    };
    let object = json!({"metadata": {"name": "web"}, "spec": {"blue": template("a"), "green": template("b")}});
    let custom: CustomWorkload = serde_json::from_value(json!({"apiVersion": "example.org/v1", "kind": "Pair",
        "resource": "pairs", "podTemplates": ["/spec/blue", "/spec/green"]}))
    .unwrap();
    let found = dependencies(&Workload::read(&object, "example.org/v1", "Pair", &[&custom]).unwrap().unwrap());
    assert_eq!(told(&found), ["ConfigMap app!: a! b!"]);
    let at = |template| format!("/spec/{template}/spec/containers/0/env/0/valueFrom/configMapKeyRef/name");
    assert_eq!(found[0].fields, [at("blue") + " (key a)", at("green") + " (key b)"]);
}

/// The pods of a cluster are kept in memory, so what every one of them has must stay small.
#[test]
fn what_every_pod_has_is_small() {
    use crate::workload::{EnvVar, VolumeMount};
    assert!(size_of::<EnvVar>() <= 16, "{}", size_of::<EnvVar>());
    assert!(size_of::<VolumeMount>() <= 40, "{}", size_of::<VolumeMount>());
    assert!(size_of::<crate::workload::Volume>() <= 104, "{}", size_of::<crate::workload::Volume>());
}

fn any_mount() -> impl Strategy<Value = Value> {
    let path = prop::option::of(prop::sample::select(vec!["a", "b", "b/c", "./a", ".", ""]));
    (prop::sample::select(vec!["one", "two", "none"]), path, prop::bool::weighted(0.1)).prop_map(
        |(name, path, expression)| {
            let expression = expression.then_some("$(A)");
            json!({"name": name, "subPath": path, "subPathExpr": expression})
        },
    )
}

fn any_projection() -> impl Strategy<Value = Value> {
    let item = (prop::sample::select(vec!["a", "b", "k"]), prop::sample::select(vec!["a", "b/c", "x"]));
    let items = prop::collection::vec(item.prop_map(|(key, path)| json!({"key": key, "path": path})), 0..3);
    (items, any::<bool>()).prop_map(|(items, optional)| json!({"name": "app", "items": items, "optional": optional}))
}

proptest! {
    /// One more mount never makes fewer keys count, nor one more container.
    #[test]
    fn a_mount_only_adds(
        mounts in prop::collection::vec(any_mount(), 0..4),
        more in any_mount(),
        in_another_container in any::<bool>(),
        projections in prop::collection::vec(any_projection(), 2),
    ) {
        let volumes = json!([
            {"name": "one", "configMap": projections[0]},
            {"name": "two", "projected": {"sources": [{"configMap": projections[1]}]}},
        ]);
        let before = dependencies(&deployment(&pod(&json!({"volumeMounts": mounts}), &volumes)));
        let after = if in_another_container {
            let mut pod = pod(&json!({"volumeMounts": mounts}), &volumes);
            pod["initContainers"] = json!([{"name": "init", "image": "nginx", "volumeMounts": [more]}]);
            dependencies(&deployment(&pod))
        } else {
            let all: Vec<Value> = mounts.iter().chain([&more]).cloned().collect();
            dependencies(&deployment(&pod(&json!({"volumeMounts": all}), &volumes)))
        };
        let (before, after) = (&before[0], &after[0]);
        prop_assert!(after.required || !before.required);
        prop_assert!(after.keys.all || !before.keys.all);
        for (key, key_use) in &before.keys.named {
            prop_assert!(after.keys.reads(key) || !key_use.read, "{key}");
            prop_assert!(after.keys.required().any(|required| required == &**key) || !key_use.required, "{key}");
        }
        prop_assert_eq!(after.keys.is_empty(), !["a", "b", "k", "x", "c"].iter().any(|key| after.keys.reads(key)));
    }

    /// Every reference that the rules see is told of as a dependency, and none besides.
    #[test]
    fn dependencies_are_the_references(mounts in prop::collection::vec(any_mount(), 0..4), projection in any_projection()) {
        let workload = deployment(&pod(&json!({"volumeMounts": mounts, "envFrom": [{"secretRef": {"name": "db"}}]}),
            &json!([{"name": "one", "configMap": projection}])));
        let of_references: std::collections::BTreeSet<_> =
            references(&workload.templates[0].spec).iter().map(|found| (found.kind, found.name.to_owned())).collect();
        let found = dependencies(&workload);
        prop_assert_eq!(found.len(), of_references.len());
        prop_assert!(found.iter().map(|one| (one.kind, one.name.to_string())).eq(of_references));
    }
}

/// `immutable-config` judges every object that is named, read or not.
#[test]
fn rules_see_every_reference() {
    let container = json!({
        "env": [{"name": "A", "value": "b"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "db", "key": "b", "optional": true}}}],
        "envFrom": [{"secretRef": {"name": "all"}}, {"configMapRef": {"name": ""}}],
        "volumeMounts": [{"name": "files", "subPath": "a"}],
    });
    let volumes = json!([
        {"name": "unused", "configMap": {"name": "app"}},
        {"name": "files", "projected": {"sources": [{"downwardAPI": {}}, {"secret": {"name": "tls", "optional": true}}]}},
        {"name": "keys", "secret": {"secretName": "keys"}},
    ]);
    let workload = deployment(&pod(&container, &volumes));
    let found = references(&workload.templates[0].spec);
    let container = ReferredBy::Container(ContainerType::Container, "app");
    let found: Vec<_> =
        found.iter().map(|one| (one.kind, one.name, one.optional, one.pointer.as_str(), one.by)).collect();
    assert_eq!(
        found,
        [
            (ConfigKind::Secret, "db", true, "/containers/0/env/1/valueFrom/secretKeyRef/name", container),
            (ConfigKind::Secret, "all", false, "/containers/0/envFrom/0/secretRef/name", container),
            (ConfigKind::ConfigMap, "app", false, "/volumes/0/configMap/name", ReferredBy::Volume("unused")),
            (
                ConfigKind::Secret,
                "tls",
                true,
                "/volumes/1/projected/sources/1/secret/name",
                ReferredBy::Volume("files")
            ),
            (ConfigKind::Secret, "keys", false, "/volumes/2/secret/secretName", ReferredBy::Volume("keys")),
        ]
    );
}
