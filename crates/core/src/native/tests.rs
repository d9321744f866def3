//! Edits, carried out one intent after the other on a picture of the cluster.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::objects::is_served;
use super::*;
use crate::policy::{NamespaceMatch, PolicyDraft, Profile};
use crate::rules::RuleSettings;
use crate::workload::Kind;

type Cluster = BTreeMap<(NativeKind, String), Observed>;

pub(super) fn draft(namespace: Option<&str>, name: &str, rules: serde_json::Value) -> PolicyDraft {
    PolicyDraft {
        id: PolicyId { namespace: namespace.map(ToOwned::to_owned), name: name.to_owned() },
        profile: Profile::None,
        enforcement: Enforcement::Enforce,
        suspend: None,
        namespaces: NamespaceMatch::default(),
        kinds: Vec::new(),
        selector: LabelSelector::default(),
        custom_workloads: Vec::new(),
        rules: serde_json::from_value::<RuleSettings>(rules).unwrap(),
        controller_created: ControllerCreated::Audit,
        exceptions: crate::policy::ExceptionSettings::default(),
        replace: None,
    }
}

fn compiled(drafts: &[PolicyDraft]) -> Compilation {
    let policies: Vec<Policy> = drafts.iter().map(|draft| draft.clone().validate().unwrap()).collect();
    compile(&policies, &installation(), Timestamp::UNIX_EPOCH)
}

fn owner() -> Owner {
    Owner { name: "owner".to_owned(), uid: "1".to_owned() }
}

fn carry_out(cluster: &mut Cluster, intent: Intent) {
    match intent {
        Intent::Apply(object) => {
            let (policies, spec) = match &*object {
                NativeObject::Policy(policy) => (Vec::new(), ObservedSpec::Policy(policy.spec.clone())),
                NativeObject::Binding(binding) => (binding.serves(), ObservedSpec::Binding(binding.spec.clone())),
            };
            let observed = Observed {
                uid: object.name().to_owned(),
                resource_version: "1".to_owned(),
                source: Some(object.source().to_owned()),
                policies,
                labels_are_ours: true,
                owners: vec![ObservedOwner::of(&owner())],
                spec: Some(spec),
                type_check: None,
            };
            cluster.insert((object.kind(), object.name().to_owned()), observed);
        }
        Intent::Delete { kind, name, .. } => {
            cluster.remove(&(kind, name));
        }
    }
}

/// Plans and writes until nothing is left to do, and looks at the cluster after every write.
fn settle(
    cluster: &mut Cluster,
    compilation: &Compilation,
    proven: &BTreeSet<PolicyId>,
    mut look: impl FnMut(&Cluster),
) -> bool {
    for _ in 0..10 {
        let plan = plan(compilation, cluster, proven, Some(&owner()));
        if plan.stages.is_empty() {
            return !plan.waiting.is_empty();
        }
        for intent in plan.stages.into_iter().flatten() {
            carry_out(cluster, intent);
            look(cluster);
        }
    }
    panic!("it never settles");
}

/// The enforcing policies for Pods that are bound in a namespace.
fn enforced_on_pods(cluster: &Cluster, namespace: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for stored in cluster.values() {
        let Some(ObservedSpec::Binding(spec)) = &stored.spec else { continue };
        let bound = spec.match_resources.only_names().is_none_or(|names| names.iter().any(|name| name == namespace));
        let there = cluster.contains_key(&(NativeKind::Policy, spec.policy_name.clone()));
        if bound && there && spec.policy_name.ends_with("-enforce-pod") {
            names.insert(spec.policy_name.clone());
        }
    }
    names
}

#[test]
fn a_namespace_leaves_a_joined_binding_only_when_its_policy_is_proven() {
    let before = compiled(&[
        draft(Some("one"), "same", json!({"imageTag": {}})),
        draft(Some("two"), "same", json!({"imageTag": {}})),
    ]);
    let mut cluster = Cluster::new();
    settle(&mut cluster, &before, &before.policies.keys().cloned().collect(), |_| ());
    let old = enforced_on_pods(&cluster, "one");
    assert_eq!(old.len(), 1);

    let after = compiled(&[
        draft(Some("one"), "same", json!({"imageDigest": {}})),
        draft(Some("two"), "same", json!({"imageTag": {}})),
    ]);
    let two = BTreeSet::from([PolicyId { namespace: Some("two".to_owned()), name: "same".to_owned() }]);
    let waits = settle(&mut cluster, &after, &two, |cluster| {
        assert!(enforced_on_pods(cluster, "one").is_superset(&old), "the old one is gone before the new one is proven");
    });
    assert!(waits);
    assert_eq!(enforced_on_pods(&cluster, "one").len(), 2);

    settle(&mut cluster, &after, &after.policies.keys().cloned().collect(), |cluster| {
        assert!(!enforced_on_pods(cluster, "one").is_empty());
        assert_eq!(enforced_on_pods(cluster, "two"), old);
    });
    assert_eq!(enforced_on_pods(&cluster, "one").len(), 1);
    assert_ne!(enforced_on_pods(&cluster, "one"), old);
    let expected: BTreeSet<_> = after.objects().map(|object| (object.kind(), object.name().to_owned())).collect();
    assert_eq!(cluster.keys().cloned().collect::<BTreeSet<_>>(), expected, "something is left or missing");
}

#[test]
fn a_policy_that_is_never_proven_keeps_what_served_it_and_nothing_of_its_neighbours() {
    let id = |name: &str| PolicyId { namespace: Some("shop".to_owned()), name: name.to_owned() };
    let before = compiled(&[
        draft(Some("shop"), "good", json!({"imageTag": {}})),
        draft(Some("shop"), "bad", json!({"imageDigest": {}})),
    ]);
    let mut cluster = Cluster::new();
    settle(&mut cluster, &before, &before.policies.keys().cloned().collect(), |_| ());
    assert_eq!(enforced_on_pods(&cluster, "shop").len(), 2);
    // The good one is deleted; an edit of the other comes to nothing.
    let mut after = compiled(&[]);
    let error = Some("too large".to_owned());
    after.policies.insert(id("bad"), Compiled { error, ..Compiled::default() });
    let plan = plan(&after, &cluster, &BTreeSet::new(), Some(&owner()));
    assert_eq!(plan.waiting, BTreeSet::from([id("bad")]));
    settle(&mut cluster, &after, &BTreeSet::new(), |_| ());
    let left = enforced_on_pods(&cluster, "shop");
    assert_eq!(
        left,
        before.policies[&id("bad")]
            .admission_policies
            .iter()
            .filter(|name| name.ends_with("-enforce-pod"))
            .cloned()
            .collect()
    );
}

#[test]
fn what_a_binding_serves_is_bounded() {
    let drafts: Vec<PolicyDraft> =
        (0..1000).map(|number| draft(Some("shop"), &format!("p{number}"), json!({"imageTag": {}}))).collect();
    let compilation = compiled(&drafts);
    let shared = compilation.bindings.values().find(|binding| binding.policies.len() == 1000).unwrap();
    assert_eq!(shared.serves(), ["shop/*"]);
    let ids: Vec<&PolicyId> = compilation.policies.keys().collect();
    assert!(ids.iter().all(|id| is_served(&shared.serves(), id)));
    let few = compiled(&drafts[..2]);
    for binding in few.bindings.values() {
        let served = binding.serves();
        assert!(few.policies.keys().all(|id| is_served(&served, id) == binding.policies.contains(id)), "{served:?}");
    }
}

#[test]
fn every_edit_has_a_proof_of_its_own() {
    let rules = json!({"imageTag": {}, "imageDigest": {"enforcement": "Warn"}, "updateStrategy": {}});
    let first = draft(None, "edited", rules);
    let mut edits = vec![first.clone()];
    let mut edit = |change: &dyn Fn(&mut PolicyDraft)| {
        let mut edited = first.clone();
        change(&mut edited);
        edits.push(edited);
    };
    edit(&|draft| draft.kinds = vec![Kind::Deployment]);
    edit(&|draft| draft.kinds = vec![Kind::Deployment, Kind::StatefulSet]);
    edit(&|draft| draft.controller_created = ControllerCreated::Enforce);
    edit(&|draft| draft.rules.update_strategy = None);
    edit(&|draft| draft.rules.image_digest = None);
    edit(&|draft| draft.namespaces.exclude = vec!["legacy".to_owned()]);
    edit(&|draft| draft.selector.match_labels = BTreeMap::from([("tier".to_owned(), "web".to_owned())]));
    let mut seen = BTreeSet::new();
    for edited in edits {
        let compilation = compiled(&[edited]);
        let probe = compilation.policies.values().find_map(|compiled| compiled.probe.clone()).unwrap();
        assert!(seen.insert((probe.admission_policy.clone(), json!(probe.labels).to_string())), "{probe:?}");
    }
}

#[test]
fn a_renamed_joined_binding_has_a_new_proof() {
    let same = |namespace: &str, name: &str| draft(Some(namespace), name, json!({"imageTag": {}}));
    let alone = compiled(&[same("one", "middle")]);
    // As many names as no longer have bindings of their own.
    let others = (0..9).map(|number| same("two", &format!("other-{number}")));
    let joined = compiled(&others.chain([same("one", "middle")]).collect::<Vec<_>>());
    let probe = |compilation: &Compilation| {
        let id = PolicyId { namespace: Some("one".to_owned()), name: "middle".to_owned() };
        compilation.policies[&id].probe.clone().unwrap()
    };
    assert_eq!(probe(&alone).admission_policy, probe(&joined).admission_policy);
    assert_ne!(probe(&alone).labels, probe(&joined).labels);
}

#[test]
fn what_proves_is_written_after_what_it_proves() {
    let compilation = compiled(&[draft(None, "ordered", json!({"imageTag": {}}))]);
    let plan = plan(&compilation, &Cluster::new(), &BTreeSet::new(), Some(&owner()));
    let proving = |intent: &Intent| matches!(intent, Intent::Apply(object) if object.proves());
    let stages: Vec<bool> = plan.stages.iter().map(|stage| stage.iter().all(proving)).collect();
    assert_eq!(stages, [false, true, false, true]);
    assert!(
        super::plan(&compilation, &Cluster::new(), &BTreeSet::new(), None).stages.is_empty(),
        "written without an owner"
    );
}

/// The installation whose objects the tests compile.
pub(super) fn installation() -> Installation {
    Installation { namespace: "immutable-system".to_owned(), owner: "immutable-operator-owner".to_owned() }
}
