//! Which namespaces and labels a policy binds, and which bindings can be one.

use std::collections::{BTreeMap, BTreeSet};

use crate::policy::{Enforcement, Policy, PolicyId, SYSTEM_NAMESPACES};
use crate::selector::{LabelSelector, Requirement};

use super::expression::PROBE;
use super::names::{name, short_digest};
use super::objects::{AdmissionBinding, AdmissionBindingSpec, MatchResources, validation_actions};

/// The label that the API server sets on every namespace.
pub(crate) const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// How many namespaces one binding names at most, so that no object grows without bound.
const NAMESPACES_PER_BINDING: usize = 500;

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
    let named = |namespace: &str| matching.names.iter().any(|name| name == namespace);
    if matching.names.is_empty() {
        let mut excluded: Vec<String> = SYSTEM_NAMESPACES
            .into_iter()
            .chain([operator_namespace])
            .filter(|namespace| !named(namespace))
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
pub(crate) fn join(wanted: Vec<Wanted>) -> Vec<AdmissionBinding> {
    let (mut proving, others): (Vec<Wanted>, Vec<Wanted>) = wanted.into_iter().partition(|wanted| wanted.proves);
    let mut bindings = join_equal(others);
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
    bindings.extend(join_equal(proving));
    bindings
}

fn join_equal(wanted: Vec<Wanted>) -> Vec<AdmissionBinding> {
    let mut groups: BTreeMap<String, Vec<Wanted>> = BTreeMap::new();
    let mut bindings = Vec::new();
    for wanted in wanted {
        let by_names = MatchResources::selecting(wanted.namespaces.clone(), LabelSelector::default());
        if by_names.only_names().is_some() {
            let objects = serde_json::json!(wanted.objects).to_string();
            groups.entry(format!("{} {} {objects}", wanted.admission_policy, wanted.level)).or_default().push(wanted);
        } else {
            let policies = vec![wanted.policy.clone()];
            let source = format!("{} {} for {}", wanted.policy.kind(), wanted.policy, wanted.admission_policy);
            let what = format!("{source} {}", serde_json::json!([wanted.namespaces, wanted.objects]));
            bindings.push(binding(&what, source, &wanted, policies, wanted.namespaces.clone()));
        }
    }
    for (what, group) in groups {
        let mut by_namespace: BTreeMap<&str, Vec<&Wanted>> = BTreeMap::new();
        for wanted in &group {
            for name in wanted.namespaces.match_expressions.iter().flat_map(|requirement| &requirement.values) {
                by_namespace.entry(name).or_default().push(wanted);
            }
        }
        // A namespace stays in its part when others come and go.
        let parts = by_namespace.len().div_ceil(NAMESPACES_PER_BINDING);
        let mut by_part: BTreeMap<usize, Vec<(&str, Vec<&Wanted>)>> = BTreeMap::new();
        for (namespace, policies) in by_namespace {
            by_part.entry(part(namespace, parts)).or_default().push((namespace, policies));
        }
        for (part, members) in by_part {
            let Some(first) = group.first() else { continue };
            let names = members.iter().map(|(namespace, _)| (*namespace).to_owned());
            let selector = LabelSelector {
                match_expressions: vec![Requirement::is_in(NAMESPACE_NAME, names)],
                ..LabelSelector::default()
            };
            let mut policies: Vec<PolicyId> =
                members.iter().flat_map(|(_, wanted)| wanted.iter().map(|wanted| wanted.policy.clone())).collect();
            policies.sort_unstable();
            policies.dedup();
            let what = format!("namespaces by name, part {part} of {parts}: {what}");
            let source = format!("part {part} of {parts} by namespace name for {}", first.admission_policy);
            bindings.push(binding(&what, source, first, policies, selector));
        }
    }
    bindings
}

fn part(namespace: &str, parts: usize) -> usize {
    let digits = short_digest(namespace);
    usize::from_str_radix(&digits[..6], 16).unwrap_or_default() % parts.max(1)
}

fn binding(
    what: &str,
    source: String,
    wanted: &Wanted,
    policies: Vec<PolicyId>,
    namespaces: LabelSelector,
) -> AdmissionBinding {
    let mut names: Vec<&str> = policies.iter().map(|policy| policy.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    // A joined binding keeps its name when policies come and go, as long as the first stays.
    let tail = match names.as_slice() {
        [only] => (*only).to_owned(),
        [first, ..] => format!("{first}-and-others"),
        [] => String::new(),
    };
    AdmissionBinding {
        name: name(what, &tail),
        source,
        policies,
        proves: wanted.proves,
        spec: AdmissionBindingSpec {
            policy_name: wanted.admission_policy.clone(),
            validation_actions: validation_actions(wanted.level),
            match_resources: MatchResources::selecting(namespaces, wanted.objects.clone()),
        },
    }
}
