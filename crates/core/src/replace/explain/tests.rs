#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;
use crate::references::digest::{ConfigContent, DigestKey};
use crate::replace::Reason;
use crate::rules::ConfigKind;
use crate::workload::{ConfigMarks, Workload};
use crate::world::{Change, ConfigId, ConfigKey, ConfigObject, Reading, Touched};

const NOW: i64 = 1_795_683_600;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(NOW + second).unwrap()
}

fn digest_key() -> DigestKey {
    DigestKey::from_bytes(&[7; DigestKey::LENGTH]).unwrap()
}

/// A world as lists tell it, and a planner that looks at it once.
struct Seen {
    world: World,
    planner: Planner,
}

impl Seen {
    fn new(objects: &[Value], contents: &[(&str, Option<(&str, i64)>)]) -> Self {
        let mut world = World::new("immutable-system");
        for value in objects {
            let (key, object) = object(value);
            world.apply(Change::Workload(key, Some(object)));
        }
        for (name, content) in contents {
            let key = ConfigKey { namespace: "shop".to_owned(), name: (*name).to_owned() };
            let id = ConfigId { kind: ConfigKind::ConfigMap, key };
            let reading = content.map_or(Reading::Absent, |(value, written)| {
                let content = ConfigContent::new(&digest_key(), [("level", value)], []);
                Reading::Present(Box::new(ConfigObject {
                    uid: "c".into(),
                    resource_version: "1".into(),
                    content: Arc::new(content),
                    written: Some(at(written)),
                    writer: None,
                    marks: ConfigMarks::default(),
                }))
            });
            world.apply(Change::Content(id, Some(reading)));
        }
        let mut planner = Planner::default();
        planner.use_key(Some(digest_key()));
        planner.step(&world, &Touched::everything(), at(0), false);
        planner.expect_no_more_edits();
        planner.step(&world, &Touched::default(), at(0), false);
        Self { world, planner }
    }

    fn of(&self, kind: Kind, name: &str) -> Standing {
        let kind = WorkloadKind::BuiltIn(kind);
        let key = WorkloadKey { kind, namespace: "shop".to_owned(), name: name.to_owned() };
        self.planner.standing(&self.world, &key).unwrap()
    }
}

fn object(value: &Value) -> (WorkloadKey, Object) {
    let text = |pointer: &str| value.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = Kind::named(&text("/kind")).unwrap();
    let workload = Workload::read(value, kind.api_version(), kind.name(), &[]).unwrap().unwrap();
    let kind = WorkloadKind::BuiltIn(kind);
    let key = WorkloadKey { kind: kind.clone(), namespace: "shop".to_owned(), name: text("/metadata/name") };
    let controller = Some(text("/metadata/ownerReferences/0/uid")).filter(|uid| !uid.is_empty());
    let rollout = if workload.reads_config() { Rollout::read(value, &kind, &[]).map(Box::new) } else { None };
    let pod = (kind.built_in() == Some(Kind::Pod)).then(|| PodFacts::read(value));
    let uid = text("/metadata/uid");
    (key, Object { uid, controller, content: world::Content::Known(Box::new(workload)), rollout, pod })
}

fn spec(config: &[&str]) -> Value {
    let from: Vec<Value> = config.iter().map(|name| json!({"configMapRef": {"name": name}})).collect();
    json!({"containers": [{"name": "app", "image": "web", "envFrom": from}]})
}

/// A workload that is served, with what is recorded of it.
fn workload(kind: &str, name: &str, config: &[&str], annotations: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": kind,
        "metadata": {
            "name": name, "namespace": "shop", "uid": name, "resourceVersion": "7", "generation": 1,
            "annotations": annotations,
        },
        "spec": {"replicas": 2, "template": {"spec": spec(config)}},
        "status": {
            "observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "readyReplicas": 2,
        },
    })
}

fn pod(name: &str, of: &str, second: i64, ready: bool, revision: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "namespace": "shop", "uid": name, "creationTimestamp": at(second).to_string(),
            "labels": {"controller-revision-hash": revision},
            "ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "uid": of, "controller": true}],
        },
        "spec": spec(&[]),
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    })
}

/// The annotations that a first look at a workload would make.
fn recorded(kind: &str, config: &[&str], contents: &[(&str, Option<(&str, i64)>)]) -> Value {
    let enabled = json!({"immutable.dev/rollout": "enabled"});
    let mut first = Seen::new(&[workload(kind, "web", config, &enabled)], contents);
    let step = first.planner.step(&first.world, &Touched::default(), at(0), true);
    let mut annotations = step.intents[0].manifest()["metadata"]["annotations"].clone();
    annotations["immutable.dev/rollout"] = json!("enabled");
    annotations
}

#[test]
fn what_changed_is_told_object_by_object_with_the_pods_that_are_older() {
    let before = [("a", Some(("1", -100))), ("b", Some(("1", -100)))];
    let annotations = recorded("StatefulSet", &["a", "b"], &before);
    let objects = [
        workload("StatefulSet", "web", &["a", "b"], &annotations),
        pod("web-0", "web", -50, true, ""),
        pod("web-1", "web", -10, true, ""),
        pod("web-2", "web", -9, true, ""),
    ];
    let seen = Seen::new(&objects, &[("a", Some(("1", -100))), ("b", Some(("2", -10)))]);
    let standing = seen.of(Kind::StatefulSet, "web");
    let content: Vec<&Comparison> = standing.objects.iter().map(|object| &object.content).collect();
    assert_eq!(content, [&Comparison::Same, &Comparison::Changed(BTreeSet::new())]);
    assert!(matches!(&standing.phase, Phase::Due(cause) if cause.to_string() == "ConfigMap b"), "{:?}", standing.phase);
    assert_eq!(standing.pods, Pods { total: 3, older: vec!["web-0".into(), "web-1".into()], changed: Some(at(-10)) });
    assert!(standing.record.digest.is_some() && standing.record.digest != standing.current);
    assert!(!standing.record.is_stamp && standing.record.stamp.is_none());
    assert_eq!(standing.objects[0].dependency.fields, ["/spec/template/spec/containers/0/envFrom/0/configMapRef/name"]);

    let seen = Seen::new(&objects, &before);
    let standing = seen.of(Kind::StatefulSet, "web");
    assert_eq!(standing.phase, Phase::UpToDate);
    assert_eq!(standing.record.digest, standing.current);
    assert_eq!(standing.pods, Pods { total: 3, ..Pods::default() });
}

#[test]
fn what_is_held_back_says_by_what() {
    let annotations = recorded("Deployment", &["a"], &[("a", Some(("1", -100)))]);
    let mut paused = workload("Deployment", "web", &["a"], &annotations);
    paused["spec"]["paused"] = json!(true);
    let seen = Seen::new(&[paused], &[("a", Some(("2", -10)))]);
    let standing = seen.of(Kind::Deployment, "web");
    assert!(matches!(&standing.phase, Phase::Waiting(_, waiting) if waiting.reason == Reason::Paused));

    let web = workload("Deployment", "web", &["a"], &annotations);
    let seen = Seen::new(std::slice::from_ref(&web), &[("a", None)]);
    let standing = seen.of(Kind::Deployment, "web");
    assert!(matches!(&standing.phase, Phase::Waiting(_, waiting) if waiting.reason == Reason::MissingReference));
    assert_eq!(standing.objects[0].existence, Existence::Absent);
    assert_eq!(standing.objects[0].missing, ["ConfigMap a does not exist"]);

    let seen = Seen::new(&[web], &[]);
    assert!(
        matches!(&seen.of(Kind::Deployment, "web").phase, Phase::Unknown(waiting) if waiting.reason == Reason::NotReadYet)
    );
}

#[test]
fn what_is_not_served_says_why_for_every_kind() {
    let mut owned = pod("web-0", "job", 0, true, "");
    owned["metadata"]["ownerReferences"][0]["kind"] = json!("Job");
    let job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "job", "namespace": "shop", "uid": "job"},
        "spec": {"template": {"spec": spec(&["a"])}},
    });
    let cron_job = json!({
        "apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": "nightly", "namespace": "shop", "uid": "nightly"},
        "spec": {"jobTemplate": {"spec": {"template": {"spec": spec(&["a"])}}}},
    });
    let mut bare = pod("bare", "", 0, true, "");
    bare["metadata"]["ownerReferences"] = json!([]);
    let objects = [
        workload("Deployment", "shy", &["a"], &json!({})),
        workload("Deployment", "plain", &[], &json!({"immutable.dev/rollout": "enabled"})),
        workload("ReplicaSet", "old", &["a"], &json!({"immutable.dev/rollout": "enabled"})),
        job,
        cron_job,
        owned,
        bare,
    ];
    let seen = Seen::new(&objects, &[("a", Some(("1", 5)))]);
    for (kind, name, expected) in [
        (Kind::Deployment, "shy", "annotate it with immutable.dev/rollout=enabled"),
        (Kind::Deployment, "plain", "read no ConfigMap and no Secret"),
        (Kind::ReplicaSet, "old", "use a Deployment"),
        (Kind::Job, "job", "Jobs are never touched"),
        (Kind::CronJob, "nightly", "each run reads what is current"),
        (Kind::Pod, "web-0", "it belongs to Job job; ask about that"),
        (Kind::Pod, "bare", "delete it and create it again"),
    ] {
        let standing = seen.of(kind, name);
        assert!(
            matches!(&standing.service, Service::NotServed(why) if why.contains(expected)),
            "{:?}",
            standing.service
        );
        assert_eq!(standing.phase, Phase::NotServed);
    }
    // The object that it reads is told all the same.
    let standing = seen.of(Kind::Deployment, "shy");
    assert_eq!((standing.objects.len(), standing.objects[0].counts), (1, false));
    assert_eq!(standing.pods.changed, Some(at(5)));
}

#[test]
fn a_pod_that_holds_up_a_stateful_set_is_named() {
    let mut web = workload("StatefulSet", "web", &["a"], &json!({"immutable.dev/rollout": "enabled"}));
    web["metadata"]["generation"] = json!(2);
    web["status"] = json!({"observedGeneration": 2, "updateRevision": "new", "replicas": 2, "readyReplicas": 1});
    let pods = [
        pod("web-0", "web", 0, false, "old"),
        pod("web-1", "web", 0, true, "old"),
        pod("web-2", "web", 0, false, "new"),
    ];
    let objects: Vec<Value> = std::iter::once(web).chain(pods).collect();
    let seen = Seen::new(&objects, &[("a", Some(("1", 0)))]);
    assert_eq!(seen.of(Kind::StatefulSet, "web").stuck, ["web-0"]);
}
