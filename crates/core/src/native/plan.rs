//! Which native object to write next, so that an edit never opens a gap.
//!
//! What is new or stricter comes first; what is no longer wanted goes last, and only once every policy that
//! it served is proven to be in force with what replaces it. A policy comes before its binding, a binding
//! is deleted before its policy, and what proves comes after what it proves: the API server learns of them
//! in the order in which they were written.

use std::collections::{BTreeMap, BTreeSet};

use super::objects::{AdmissionBinding, AdmissionPolicySpec, NativeKind, NativeObject, Owner};
use super::{AdmissionBindingSpec, Compilation};
use crate::policy::PolicyId;

/// A native object as it is in the cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct Observed {
    /// Its uid: deletes name it, so that a successor is never deleted.
    pub uid: String,
    /// Its resource version: deletes name it too.
    pub resource_version: String,
    /// What it says it was compiled from, if it says so.
    pub source: Option<String>,
    /// The policies that it serves; empty for compiled policies.
    pub policies: Vec<String>,
    /// Whether its labels and owner are as we write them.
    pub metadata_is_ours: bool,
    /// The spec as stored; none where it cannot be read.
    pub spec: Option<ObservedSpec>,
}

/// The spec of a native object as stored.
#[derive(Clone, Debug, PartialEq)]
pub enum ObservedSpec {
    /// of a policy
    Policy(AdmissionPolicySpec),
    /// of a binding
    Binding(AdmissionBindingSpec),
}

/// One thing to do, as a value; only the writer calls the API.
#[derive(Clone, Debug, PartialEq)]
pub enum Intent {
    /// Create it or make it as it must be.
    Apply(NativeObject),
    /// Delete exactly this one.
    Delete {
        /// its kind
        kind: NativeKind,
        /// its name
        name: String,
        /// its uid
        uid: String,
        /// its resource version
        resource_version: String,
    },
}

/// What to do now.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// In this order.
    pub intents: Vec<Intent>,
    /// Objects of our name that were made by something else; they are never overwritten.
    pub conflicts: Vec<String>,
    /// Whether something waits for a proof.
    pub waiting: bool,
}

/// Plans the next writes.
///
/// `proven` holds the policies whose present compilation was seen in force, and those that deny nothing; `owner` must be known, or
/// nothing is written.
pub fn plan(
    compilation: &Compilation,
    observed: &BTreeMap<(NativeKind, String), Observed>,
    proven: &BTreeSet<PolicyId>,
    owner: Option<&Owner>,
) -> Plan {
    let mut plan = Plan::default();
    if owner.is_none() {
        return plan;
    }
    let waiting: BTreeSet<String> =
        compilation.policies.keys().filter(|policy| !proven.contains(policy)).map(ToString::to_string).collect();
    let policies = compilation.admission_policies.values();
    for policy in policies.clone().filter(|policy| !policy.proves).chain(policies.filter(|policy| policy.proves)) {
        let object = NativeObject::Policy(policy.clone());
        let current = |observed: &Observed| observed.spec.as_ref() == Some(&ObservedSpec::Policy(policy.spec.clone()));
        apply(&mut plan, observed, object, current);
    }
    let bindings = compilation.bindings.values();
    for binding in bindings.clone().filter(|binding| !binding.proves).chain(bindings.filter(|binding| binding.proves)) {
        let target = match observed.get(&(NativeKind::Binding, binding.name.clone())) {
            // Namespaces leave a joined binding only when those who stay are safe elsewhere.
            Some(stored) => keeping_namespaces(binding, stored, &waiting),
            None => binding.clone(),
        };
        plan.waiting |= target.spec != binding.spec;
        let current = |observed: &Observed| {
            observed.spec.as_ref() == Some(&ObservedSpec::Binding(target.spec.clone()))
                && observed.policies == target.policies.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        apply(&mut plan, observed, NativeObject::Binding(target.clone()), current);
    }
    remove(&mut plan, compilation, observed, &waiting);
    plan
}

/// Adds an intent where the stored object differs.
fn apply(
    plan: &mut Plan,
    observed: &BTreeMap<(NativeKind, String), Observed>,
    object: NativeObject,
    current: impl FnOnce(&Observed) -> bool,
) {
    match observed.get(&(object.kind(), object.name().to_owned())) {
        Some(stored) if stored.source.as_deref().is_some_and(|source| source != object.source()) => {
            plan.conflicts.push(format!("{} {}", object.kind().name(), object.name()));
        }
        Some(stored) if stored.source.is_some() && stored.metadata_is_ours && current(stored) => {}
        _ => plan.intents.push(Intent::Apply(object)),
    }
}

/// A joined binding with the namespaces that it still must keep.
fn keeping_namespaces(wanted: &AdmissionBinding, stored: &Observed, waiting: &BTreeSet<String>) -> AdmissionBinding {
    let mut target = wanted.clone();
    let Some(ObservedSpec::Binding(spec)) = &stored.spec else { return target };
    let (Some(old), Some(new)) = (spec.match_resources.only_names(), wanted.spec.match_resources.only_names()) else {
        return target;
    };
    // The policy of a namespaced binding is in the namespace that it binds.
    let kept: Vec<String> = old
        .iter()
        .filter(|namespace| !new.contains(namespace))
        .filter(|namespace| {
            stored.policies.iter().any(|policy| {
                policy.split_once('/').is_none_or(|(of, _)| of == namespace.as_str()) && waiting.contains(policy)
            })
        })
        .cloned()
        .collect();
    if kept.is_empty() {
        return target;
    }
    let mut names: Vec<String> = new.iter().cloned().chain(kept).collect();
    names.sort_unstable();
    if let Some(requirement) = target.spec.match_resources.namespace_selector.match_expressions.first_mut() {
        requirement.values = names;
    }
    target
}

/// Deletes what is ours and no longer wanted: bindings first, policies that no binding uses after them.
fn remove(
    plan: &mut Plan,
    compilation: &Compilation,
    observed: &BTreeMap<(NativeKind, String), Observed>,
    waiting: &BTreeSet<String>,
) {
    let mut used: BTreeSet<&str> = BTreeSet::new();
    for ((kind, name), stored) in observed {
        if *kind != NativeKind::Binding || stored.source.is_none() {
            continue;
        }
        let target = match &stored.spec {
            Some(ObservedSpec::Binding(spec)) => Some(spec.policy_name.as_str()),
            _ => None,
        };
        if compilation.bindings.contains_key(name) {
            used.extend(target);
            continue;
        }
        if stored.policies.iter().any(|policy| waiting.contains(policy)) {
            plan.waiting = true;
            used.extend(target);
            continue;
        }
        plan.intents.push(delete(*kind, name, stored));
    }
    for ((kind, name), stored) in observed {
        let wanted = compilation.admission_policies.contains_key(name) || used.contains(name.as_str());
        if *kind == NativeKind::Policy && stored.source.is_some() && !wanted {
            plan.intents.push(delete(*kind, name, stored));
        }
    }
}

fn delete(kind: NativeKind, name: &str, stored: &Observed) -> Intent {
    Intent::Delete {
        kind,
        name: name.to_owned(),
        uid: stored.uid.clone(),
        resource_version: stored.resource_version.clone(),
    }
}
