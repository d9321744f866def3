//! The scan, change by change.

#![allow(clippy::unwrap_used)]

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::exception::{PolicyReference, WorkloadFilter};
use crate::policy::{ControllerCreated, NamespaceMatch, Policy, PolicyDraft, Profile};
use crate::selector::LabelSelector;
use crate::workload::{Kind, Workload, WorkloadKind};
use crate::world::{Change, NamespaceFacts};

const KINDS: [Kind; 3] = [Kind::Deployment, Kind::ReplicaSet, Kind::Pod];

fn policy(name: &str, kinds: &[Kind], selector: &Value, namespaces: &[&str]) -> Arc<Policy> {
    let draft = PolicyDraft {
        id: PolicyId { namespace: None, name: name.to_owned() },
        profile: Profile::None,
        enforcement: Enforcement::Audit,
        suspend: None,
        namespaces: NamespaceMatch {
            selector: serde_json::from_value(selector.clone()).unwrap(),
            names: namespaces.iter().map(|name| (*name).to_owned()).collect(),
            ..NamespaceMatch::default()
        },
        kinds: kinds.to_vec(),
        selector: LabelSelector::default(),
        custom_workloads: Vec::new(),
        rules: serde_json::from_value(json!({"imageTag": {"enforcement": "Enforce"}, "privileged": {}})).unwrap(),
        controller_created: ControllerCreated::Audit,
        exceptions: crate::policy::ExceptionSettings::default(),
        replace: None,
    };
    Arc::new(draft.validate().unwrap())
}

fn object(kind: Kind, name: &str, uid: u8, controller: Option<u8>, image: &str) -> (WorkloadKey, Object) {
    let spec = json!({"containers": [{"name": "app", "image": image}, {"name": "side", "image": image}]});
    let mut manifest = json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": {"name": name}});
    if kind == Kind::Pod {
        manifest["spec"] = spec;
    } else {
        manifest["spec"] = json!({"template": {"spec": spec}});
    }
    let workload = Workload::read(&manifest, kind.api_version(), kind.name(), &[]).unwrap().unwrap();
    let namespace = if uid.is_multiple_of(2) { "shop" } else { "web" };
    let key = WorkloadKey { kind: WorkloadKind::BuiltIn(kind), namespace: namespace.to_owned(), name: name.to_owned() };
    let controller = controller.map(|uid| uid.to_string());
    (
        key,
        Object {
            uid: uid.to_string(),
            controller,
            content: Content::Known(Box::new(workload)),
            rollout: None,
            pod: None,
        },
    )
}

fn facts(env: &str) -> NamespaceFacts {
    NamespaceFacts { labels: [("env".to_owned(), env.to_owned())].into(), terminating: false }
}

/// A world with a policy on everything and a Deployment, its ReplicaSet and its Pod.
fn chain(kinds: &[Kind]) -> (World, Scan, PolicyId) {
    let (mut world, mut scan) = (World::new("immutable-system"), Scan::default());
    let policy = policy("all", kinds, &json!({}), &[]);
    let id = policy.id.clone();
    let mut changes =
        vec![Change::Policy(id.clone(), Some(policy)), Change::Namespace("shop".to_owned(), Some(facts("production")))];
    for (kind, uid, controller) in
        [(Kind::Pod, 6, Some(4)), (Kind::ReplicaSet, 4, Some(2)), (Kind::Deployment, 2, None)]
    {
        let (key, object) = object(kind, "web", uid, controller, "nginx");
        changes.push(Change::Workload(key, Some(object)));
    }
    for change in changes {
        let touched = world.apply(change);
        scan.update(&world, &InEffect::default(), &touched);
    }
    (world, scan, id)
}

#[test]
fn pods_are_judged_through_their_top_owner_and_bare_ones_by_themselves() {
    let (mut world, mut scan, id) = chain(&[]);
    let summary = scan.summary(&id).unwrap();
    assert_eq!((summary.workloads, summary.compliant), (1, 0));
    assert_eq!(summary.findings, BTreeMap::from([(RuleId::ImageTag, 2)]));
    // The Deployment is gone, as with --cascade=orphan: its ReplicaSet stands for itself.
    let (key, _) = object(Kind::Deployment, "web", 2, None, "nginx");
    let touched = world.apply(Change::Workload(key, None));
    scan.update(&world, &InEffect::default(), &touched);
    assert_eq!(scan.summary(&id).unwrap().workloads, 1);
    let (key, _) = object(Kind::ReplicaSet, "web", 4, None, "nginx");
    let touched = world.apply(Change::Workload(key, None));
    assert_eq!(scan.update(&world, &InEffect::default(), &touched), 2, "the ReplicaSet and the Pod that it made");
    assert_eq!(scan.summary(&id).unwrap().workloads, 1);
}

#[test]
fn where_a_kind_is_not_judged_what_it_makes_is() {
    // Neither the ReplicaSet nor the Deployment is named: the Pod is judged, as it always is.
    let (_, scan, id) = chain(&[Kind::StatefulSet]);
    assert_eq!(scan.summary(&id).unwrap().workloads, 1);
}

#[test]
fn what_cannot_be_known_is_an_error_and_no_pass() {
    let (mut world, mut scan, id) = chain(&[]);
    let (key, mut broken) = object(Kind::Deployment, "broken", 8, None, "nginx");
    broken.content = Content::Unreadable("spec is a list".to_owned());
    let (of_nobody, mut made) = object(Kind::Pod, "orphan", 10, Some(99), "nginx");
    made.content = Content::Made;
    assert!(!world.has_strays());
    for (key, object) in [(key, broken), (of_nobody, made)] {
        let touched = world.apply(Change::Workload(key, Some(object)));
        scan.update(&world, &InEffect::default(), &touched);
    }
    assert!(world.has_strays());
    let summary = scan.summary(&id).unwrap();
    assert_eq!((summary.workloads, summary.compliant, summary.errors), (3, 0, 2));
}

#[test]
fn a_kind_that_tells_of_changes_again_is_watched_again() {
    let (mut world, _, _) = chain(&[]);
    let (key, pod) = object(Kind::Pod, "later", 12, None, "nginx");
    world.apply(Change::Unwatched(key.kind.clone(), "forbidden".to_owned()));
    assert_eq!(world.unwatched().collect::<Vec<_>>(), [(&key.kind, "forbidden")]);
    world.apply(Change::Workload(key, Some(pod)));
    assert_eq!(world.unwatched().count(), 0);
}

#[test]
fn an_exception_excuses_what_is_derived_from_what_it_names() {
    // Deployments are not judged, so the pod is, which came of one.
    let (mut world, mut scan, id) = chain(&[Kind::StatefulSet]);
    world.apply(Change::Exception(exception(0, 2, 10).id, Some(Arc::new(exception(0, 2, 10)))));
    let at = |world: &World, second: i64| {
        let policies = world.policies().map(|(_, policy)| policy);
        world.exceptions().in_effect(policies, Timestamp::from_second(second).unwrap())
    };
    scan.update(&world, &at(&world, 9), &world.of_namespace("shop"));
    let summary = scan.summary(&id).unwrap();
    assert_eq!((summary.compliant, summary.rejected), (1, 0));
    assert_eq!(summary.excused, BTreeMap::from([(RuleId::ImageTag, 2)]));
    let matched = scan.matched(&exception(0, 2, 10).id).unwrap();
    assert!(matched.len() == 1 && matched.iter().all(|key| key.kind.name() == "Pod"), "{matched:?}");
    scan.update(&world, &at(&world, 10), &world.of_namespace("shop"));
    let summary = scan.summary(&id).unwrap();
    assert_eq!((summary.compliant, summary.rejected, summary.excused.len()), (0, 1, 0));
    assert_eq!(scan.matched(&exception(0, 2, 10).id), None);
    let counts = |second: i64| {
        let in_effect = at(&world, second);
        (in_effect.all().count(), in_effect.get(&exception(0, 2, 10).id).is_some())
    };
    assert_eq!((counts(9), counts(10)), ((1, true), (0, false)));
}

#[test]
fn what_only_says_that_it_was_made_is_judged_itself() {
    let (mut world, mut scan, id) = chain(&[]);
    // A Deployment makes no Pods, whatever one says of its owner.
    let (key, forged) = object(Kind::Pod, "forged", 12, Some(2), "nginx");
    let touched = world.apply(Change::Workload(key, Some(forged)));
    scan.update(&world, &InEffect::default(), &touched);
    let summary = scan.summary(&id).unwrap();
    assert_eq!((summary.workloads, summary.findings[&RuleId::ImageTag]), (2, 4));
}

#[test]
fn owners_that_are_a_circle_are_each_judged_themselves() {
    let (mut world, mut scan, id) = chain(&[]);
    let circle = |name: &str, uid: u8, owner: u8| {
        let (key, object) = object(Kind::Deployment, name, uid, Some(owner), "nginx");
        let kind = WorkloadKind::Custom { api_version: "example.com/v1".to_owned(), kind: "Rollout".to_owned() };
        (WorkloadKey { kind, ..key }, object)
    };
    for (name, uid, owner) in [("one", 20, 22), ("two", 22, 20), ("itself", 24, 24), ("one", 20, 22)] {
        let (key, object) = circle(name, uid, owner);
        let touched = world.apply(Change::Workload(key, Some(object)));
        scan.update(&world, &InEffect::default(), &touched);
    }
    // The Deployment of the chain, and those three.
    assert_eq!(scan.summary(&id).unwrap().workloads, 4);
}

#[derive(Clone, Debug)]
enum Step {
    Policy(u8, Option<u8>),
    Namespace(bool, Option<bool>),
    Workload { kind: usize, uid: u8, controller: Option<u8>, latest: bool, there: bool },
    Relist { kind: usize, uids: Vec<u8> },
    Exception { name: u8, what: Option<(u8, i64)> },
    Later(i64),
}

fn step() -> impl Strategy<Value = Step> {
    let uid = 0..8_u8;
    prop_oneof![
        (0..2_u8, proptest::option::of(0..4_u8)).prop_map(|(name, what)| Step::Policy(name, what)),
        (any::<bool>(), proptest::option::of(any::<bool>())).prop_map(|(which, env)| Step::Namespace(which, env)),
        (0..3_usize, uid.clone(), proptest::option::of(uid.clone()), any::<bool>(), prop::bool::weighted(0.8))
            .prop_map(|(kind, uid, controller, latest, there)| Step::Workload { kind, uid, controller, latest, there }),
        (0..3_usize, proptest::collection::vec(uid, 0..4)).prop_map(|(kind, uids)| Step::Relist { kind, uids }),
        (0..4_u8, proptest::option::of((0..4_u8, 0..60_i64))).prop_map(|(name, what)| Step::Exception { name, what }),
        (0..20_i64).prop_map(Step::Later),
    ]
}

fn exception(name: u8, what: u8, expires: i64) -> Exception {
    Exception {
        id: ExceptionId { namespace: if name < 2 { "shop" } else { "web" }.to_owned(), name: format!("e{name}") },
        policies: (what == 1)
            .then(|| PolicyReference { namespaced: false, name: "p0".to_owned() })
            .into_iter()
            .collect(),
        rules: vec![RuleId::ImageTag],
        workloads: WorkloadFilter {
            kinds: (what == 2).then(|| "Deployment".to_owned()).into_iter().collect(),
            ..WorkloadFilter::default()
        },
        images: Vec::new(),
        containers: (what == 3).then(|| "side".to_owned()).into_iter().collect(),
        reason: "the vendor ships no releases".to_owned(),
        ticket: None,
        created: Some(Timestamp::UNIX_EPOCH),
        expires_at: Timestamp::from_second(expires).unwrap(),
    }
}

fn change(step: &Step) -> Change {
    // A uid is that of one object for ever, and an owner is older than what it makes.
    let made = |kind: usize, uid: u8, controller: Option<u8>, image: &str| {
        let uid = uid + 8 * u8::try_from(kind).unwrap();
        let controller = controller.filter(|_| kind > 0).map(|owner| owner + 8 * u8::try_from(kind - 1).unwrap());
        object(KINDS[kind], &format!("o{uid}"), uid, controller, image)
    };
    match step {
        Step::Policy(name, what) => {
            let name = format!("p{name}");
            let policy = what.map(|what| match what {
                0 => policy(&name, &[], &json!({}), &[]),
                1 => policy(&name, &[Kind::Deployment], &json!({}), &[]),
                2 => policy(&name, &[], &json!({"matchLabels": {"env": "production"}}), &[]),
                _ => policy(&name, &[Kind::ReplicaSet], &json!({}), &["shop"]),
            });
            Change::Policy(PolicyId { namespace: None, name }, policy)
        }
        Step::Namespace(which, env) => {
            let facts = env.map(|production| facts(if production { "production" } else { "test" }));
            Change::Namespace(if *which { "shop" } else { "web" }.to_owned(), facts)
        }
        Step::Workload { kind, uid, controller, latest, there } => {
            let image = if *latest { "nginx:latest" } else { "nginx:1" };
            let (key, object) = made(*kind, *uid, *controller, image);
            Change::Workload(key, there.then_some(object))
        }
        Step::Exception { name, what } => {
            let one = |what: (u8, i64)| Arc::new(exception(*name, what.0, what.1));
            Change::Exception(exception(*name, 0, 0).id, what.map(one))
        }
        Step::Later(_) => Change::Forgotten(WorkloadKind::BuiltIn(Kind::Job)),
        Step::Relist { kind, uids } => {
            let mut objects: Vec<_> = uids.iter().map(|uid| made(*kind, *uid, Some(*uid), "nginx")).collect();
            objects.sort_by(|one, other| one.0.cmp(&other.0));
            objects.dedup_by(|one, other| one.0 == other.0);
            Change::Workloads(WorkloadKind::BuiltIn(KINDS[*kind]), objects)
        }
    }
}

proptest! {
    #[test]
    fn change_by_change_comes_to_what_a_scan_from_the_start_does(steps in proptest::collection::vec(step(), 1..60)) {
        let (mut world, mut scan) = (World::new("immutable-system"), Scan::default());
        let (mut exceptions, mut now) = (InEffect::default(), 0);
        // What somebody knows who asks for changes only.
        let (mut violations, mut summaries) = (BTreeMap::new(), BTreeMap::new());
        for step in &steps {
            if let Step::Later(seconds) = step {
                now += seconds;
            }
            let mut touched = world.apply(change(step));
            let policies = world.policies().map(|(_, policy)| policy);
            let in_effect = world.exceptions().in_effect(policies, Timestamp::from_second(now).unwrap());
            for namespace in in_effect.changed_since(&exceptions) {
                touched.merge(world.of_namespace(&namespace));
            }
            exceptions = in_effect;
            scan.update(&world, &exceptions, &touched);
            let mut fresh = Scan::default();
            fresh.update(&world, &exceptions, &Touched { all: true, ..Touched::default() });
            prop_assert_eq!(&scan.results, &fresh.results, "{:?}", step);
            prop_assert_eq!(&scan.summaries, &fresh.summaries, "{:?}", step);
            prop_assert_eq!(&scan.violations, &fresh.violations, "{:?}", step);
            prop_assert_eq!(&scan.matched, &fresh.matched, "{:?}", step);
            let changes = scan.take_changes();
            violations.extend(changes.violations);
            violations.retain(|_, count| *count > 0);
            for (id, summary) in changes.summaries {
                match summary {
                    Some(summary) => drop(summaries.insert(id, summary)),
                    None => drop(summaries.remove(&id)),
                }
            }
            prop_assert_eq!(&violations, &fresh.violations, "{:?}", step);
            prop_assert_eq!(&summaries, &fresh.summaries, "{:?}", step);
            prop_assert_eq!(scan.take_changes(), Changes::default());
        }
    }
}
