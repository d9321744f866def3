//! Which namespaces and labels a policy binds, and which bindings can be one.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::{Enforcement, Policy, PolicyId, SYSTEM_NAMESPACES};
use crate::selector::{LabelSelector, Requirement};

use super::Installation;
use super::expression::PROBE;
use super::names::{name, short_digest};
use super::objects::{AdmissionBinding, AdmissionBindingSpec, MatchResources, validation_actions};

/// The label that the API server sets on every namespace.
pub(crate) const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// How many namespaces one binding names at most, so that no object grows without bound.
const NAMESPACES_PER_BINDING: usize = 500;

/// In how many parts more namespaces are bound. Fixed, so that a namespace stays in its part when others come and go.
const PARTS: usize = 64;

/// Up to how many policy names have bindings apart, so that a denial tells the policy. More share theirs: what
/// each create costs grows with the bindings.
const NAMES_APART: usize = 8;

/// A binding before equal ones are joined.
pub(crate) struct Wanted {
    pub(crate) policy: PolicyId,
    pub(crate) admission_policy: String,
    pub(crate) level: Enforcement,
    pub(crate) namespaces: LabelSelector,
    pub(crate) objects: LabelSelector,
    pub(crate) proves: bool,
}

/// Which namespaces a policy binds.
pub(crate) fn namespace_selector(policy: &Policy, operator_namespace: &str) -> LabelSelector {
    let matching = &policy.matching.namespaces;
    let mut selector = matching.selector.clone();
    let is_named = |namespace: &str| matching.names.iter().any(|name| name == namespace);
    if matching.names.is_empty() {
        let mut excluded: Vec<String> = SYSTEM_NAMESPACES
            .into_iter()
            .chain([operator_namespace])
            .filter(|namespace| !is_named(namespace))
            .map(ToOwned::to_owned)
            .chain(matching.exclude.iter().cloned())
            .collect();
        excluded.sort_unstable();
        excluded.dedup();
        selector.match_expressions.push(Requirement::not_in(NAMESPACE_NAME, excluded));
    } else {
        let mut names: Vec<String> =
            matching.names.iter().filter(|name| !matching.exclude.contains(name)).cloned().collect();
        names.sort_unstable();
        names.dedup();
        if names.is_empty() {
            // Everything that is named is excluded: nothing is bound.
            selector.match_expressions.push(Requirement {
                key: NAMESPACE_NAME.to_owned(),
                operator: crate::selector::Operator::DoesNotExist,
                values: Vec::new(),
            });
        } else {
            selector.match_expressions.push(Requirement::is_in(NAMESPACE_NAME, names));
        }
    }
    selector
}

/// Joins the bindings that differ in namespace names only: 400 policies in 400 namespaces are one binding.
///
/// A binding that proves selects a label that is made of the names of all other bindings of its policy: a
/// denial is by this one and no earlier one, and says that the API server has learned of those others too.
pub(crate) fn join(wanted: Vec<Wanted>, installation: &Installation) -> Vec<AdmissionBinding> {
    let (mut proving, others): (Vec<Wanted>, Vec<Wanted>) = wanted.into_iter().partition(|wanted| wanted.proves);
    let mut bindings = join_equal(others, installation);
    let mut proven: BTreeMap<PolicyId, BTreeSet<&str>> = BTreeMap::new();
    for binding in &bindings {
        for policy in &binding.policies {
            proven.entry(policy.clone()).or_default().insert(&binding.name);
        }
    }
    for wanted in &mut proving {
        let key = short_digest(&serde_json::json!(proven.get(&wanted.policy)).to_string());
        wanted.objects.match_labels.insert(PROBE.to_owned(), key);
    }
    bindings.extend(join_equal(proving, installation));
    bindings
}

fn join_equal(wanted: Vec<Wanted>, installation: &Installation) -> Vec<AdmissionBinding> {
    let mut equal: BTreeMap<String, Vec<Wanted>> = BTreeMap::new();
    let mut bindings = Vec::new();
    for wanted in wanted {
        let by_names = MatchResources::selecting(wanted.namespaces.clone(), LabelSelector::default());
        if by_names.only_names().is_some() {
            let objects = serde_json::json!(wanted.objects).to_string();
            equal.entry(format!("{} {} {objects}", wanted.admission_policy, wanted.level)).or_default().push(wanted);
        } else {
            let source = format!("{} {} for {}", wanted.policy.kind(), wanted.policy, wanted.admission_policy);
            let what = format!("{source} {}", serde_json::json!([wanted.namespaces, wanted.objects]));
            let tail = wanted.policy.name.clone();
            bindings.push(Draft { what, tail, source }.binding(
                &wanted,
                &[&wanted],
                wanted.namespaces.clone(),
                installation,
            ));
        }
    }
    for (what, group) in equal {
        let names: BTreeSet<&str> = group.iter().map(|wanted| wanted.policy.name.as_str()).collect();
        if names.len() <= NAMES_APART {
            for name in names {
                let of_name: Vec<&Wanted> = group.iter().filter(|wanted| wanted.policy.name == name).collect();
                bindings.extend(by_namespace(&format!("{what} of {name}"), name, &of_name, installation));
            }
        } else {
            bindings.extend(by_namespace(&what, "shared", &group.iter().collect::<Vec<_>>(), installation));
        }
    }
    bindings
}

/// One binding for all the namespaces that some policies name, or a fixed number of parts where they are many.
fn by_namespace(what: &str, tail: &str, group: &[&Wanted], installation: &Installation) -> Vec<AdmissionBinding> {
    let mut members: BTreeMap<&str, Vec<&Wanted>> = BTreeMap::new();
    for wanted in group {
        for name in wanted.namespaces.match_expressions.iter().flat_map(|requirement| &requirement.values) {
            members.entry(name).or_default().push(wanted);
        }
    }
    let parts = if members.len() > NAMESPACES_PER_BINDING { PARTS } else { 1 };
    let mut by_part: BTreeMap<usize, Vec<(&str, Vec<&Wanted>)>> = BTreeMap::new();
    for (namespace, policies) in members {
        by_part.entry(part(namespace, parts)).or_default().push((namespace, policies));
    }
    let mut bindings = Vec::new();
    for (part, members) in by_part {
        let Some(first) = group.first() else { continue };
        let names = members.iter().map(|(namespace, _)| (*namespace).to_owned());
        let selector = LabelSelector {
            match_expressions: vec![Requirement::is_in(NAMESPACE_NAME, names)],
            ..LabelSelector::default()
        };
        let served: Vec<&Wanted> = members.iter().flat_map(|(_, wanted)| wanted.iter().copied()).collect();
        let draft = Draft {
            what: format!("namespaces by name, part {part} of {parts}: {what}"),
            tail: tail.to_owned(),
            source: format!("part {part} of {parts} by namespace name for {}", first.admission_policy),
        };
        bindings.push(draft.binding(first, &served, selector, installation));
    }
    bindings
}

fn part(namespace: &str, parts: usize) -> usize {
    let digits = short_digest(namespace);
    usize::from_str_radix(&digits[..6], 16).unwrap_or_default() % parts.max(1)
}

/// What a binding is, and how it is called.
struct Draft {
    what: String,
    tail: String,
    source: String,
}

impl Draft {
    fn binding(
        self,
        wanted: &Wanted,
        served: &[&Wanted],
        namespaces: LabelSelector,
        installation: &Installation,
    ) -> AdmissionBinding {
        let mut policies: Vec<PolicyId> = served.iter().map(|wanted| wanted.policy.clone()).collect();
        policies.sort_unstable();
        policies.dedup();
        AdmissionBinding {
            name: name(&format!("{} {}", installation.owner, self.what), &self.tail),
            installation: installation.label(),
            source: self.source,
            policies,
            proves: wanted.proves,
            spec: AdmissionBindingSpec {
                policy_name: wanted.admission_policy.clone(),
                validation_actions: validation_actions(wanted.level),
                match_resources: MatchResources::selecting(namespaces, wanted.objects.clone()),
            },
        }
    }
}
