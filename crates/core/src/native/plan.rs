//! Which native object to write next, so that an edit never opens a gap.
//!
//! What is new or stricter comes first; what is no longer wanted goes last, and only once every policy that
//! it served is proven to be in force with what replaces it. A policy comes before its binding, a binding
//! is deleted before its policy, and what proves comes after what it proves: the API server learns of them
//! in the order in which they were written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::objects::{AdmissionBinding, AdmissionPolicySpec, NativeKind, NativeObject, Owner, is_served};
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
    /// Whom it serves, see [`AdmissionBinding::serves`]; empty for compiled policies.
    pub policies: Vec<String>,
    /// Whether its labels are as we write them.
    pub labels_are_ours: bool,
    /// Who owns it: with another beside ours, garbage collection would leave it behind.
    pub owners: Vec<ObservedOwner>,
    /// The spec as stored; none where it cannot be read.
    pub spec: Option<ObservedSpec>,
    /// The warnings of the API server's type check of a policy; none until it has checked this generation.
    pub type_check: Option<Vec<String>>,
}

/// An owner of a native object, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObservedOwner {
    /// Its kind and name, `ClusterRole/immutable-operator-owner`.
    pub what: String,
    /// Its uid.
    pub uid: String,
    /// Whether it is the controller or blocks the owner's deletion, which ours does neither.
    pub is_more: bool,
}

impl ObservedOwner {
    /// How ours is stored.
    pub fn of(owner: &Owner) -> Self {
        Self { what: format!("ClusterRole/{}", owner.name), uid: owner.uid.clone(), is_more: false }
    }
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
    Apply(Box<NativeObject>),
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
    /// One stage after the other; within one the order does not matter.
    pub stages: Vec<Vec<Intent>>,
    /// Objects of our name that were made by something else; they are never overwritten.
    pub conflicts: Vec<(NativeKind, String)>,
    /// The policies for whose sake something that is no longer wanted stays, until they are proven.
    pub waiting: BTreeSet<PolicyId>,
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
    let Some(owner) = owner else { return plan };
    let unproven: BTreeSet<&PolicyId> = compilation.policies.keys().filter(|policy| !proven.contains(policy)).collect();
    for proves in [false, true] {
        let mut stage = Vec::new();
        for policy in compilation.admission_policies.values().filter(|policy| policy.proves == proves) {
            let current = |observed: &Observed| matches!(&observed.spec, Some(ObservedSpec::Policy(spec)) if *spec == policy.spec);
            apply(&mut plan, &mut stage, observed, owner, NativeObject::Policy(Arc::clone(policy)), current);
        }
        plan.stages.push(stage);
    }
    for proves in [false, true] {
        let mut stage = Vec::new();
        for binding in compilation.bindings.values().filter(|binding| binding.proves == proves) {
            let target = match observed.get(&(NativeKind::Binding, binding.name.clone())) {
                // Namespaces leave a joined binding only when those who stay are safe elsewhere.
                Some(stored) => keeping_namespaces(binding, stored, &unproven, &mut plan.waiting),
                None => binding.clone(),
            };
            let current = |observed: &Observed| {
                matches!(&observed.spec, Some(ObservedSpec::Binding(spec)) if *spec == target.spec)
                    && observed.policies == target.serves()
            };
            apply(&mut plan, &mut stage, observed, owner, NativeObject::Binding(Box::new(target.clone())), current);
        }
        plan.stages.push(stage);
    }
    remove(&mut plan, compilation, observed, &unproven);
    plan.stages.retain(|stage| !stage.is_empty());
    plan
}

/// Adds an intent where the stored object differs.
fn apply(
    plan: &mut Plan,
    stage: &mut Vec<Intent>,
    observed: &BTreeMap<(NativeKind, String), Observed>,
    owner: &Owner,
    object: NativeObject,
    current: impl FnOnce(&Observed) -> bool,
) {
    let ours = ObservedOwner::of(owner);
    let is_ours = |stored: &Observed| {
        stored.source.as_deref() == Some(object.source()) && stored.labels_are_ours && stored.owners == [ours.clone()]
    };
    // With our labels and our owner, another source is damage. So is none: names are made of what is enforced.
    let is_foreign = |stored: &Observed| {
        stored.source.as_deref().is_some_and(|source| source != object.source())
            && !(stored.labels_are_ours && stored.owners.contains(&ours))
    };
    match observed.get(&(object.kind(), object.name().to_owned())) {
        Some(stored) if is_foreign(stored) => {
            plan.conflicts.push((object.kind(), object.name().to_owned()));
        }
        Some(stored) if is_ours(stored) && current(stored) => {}
        _ => stage.push(Intent::Apply(Box::new(object))),
    }
}

/// A joined binding with the namespaces that it still must keep, and the policies for whose sake.
fn keeping_namespaces(
    wanted: &AdmissionBinding,
    stored: &Observed,
    unproven: &BTreeSet<&PolicyId>,
    waiting: &mut BTreeSet<PolicyId>,
) -> AdmissionBinding {
    let mut target = wanted.clone();
    let Some(ObservedSpec::Binding(spec)) = &stored.spec else { return target };
    let (Some(old), Some(new)) = (spec.match_resources.only_names(), wanted.spec.match_resources.only_names()) else {
        return target;
    };
    let mut policies: BTreeSet<PolicyId> = wanted.policies.iter().cloned().collect();
    let mut kept = Vec::new();
    for namespace in old.iter().filter(|namespace| !new.contains(namespace)) {
        // The policy of a namespaced binding is in the namespace that it binds.
        let concerns = |policy: &PolicyId| policy.namespace.as_ref().is_none_or(|own| own == namespace);
        let needs_it = |policy: &&&PolicyId| concerns(policy) && is_served(&stored.policies, policy);
        let needing: Vec<PolicyId> = unproven.iter().filter(needs_it).map(|policy| (*policy).clone()).collect();
        if !needing.is_empty() {
            kept.push(namespace.clone());
            waiting.extend(needing.iter().cloned());
            // Written down, or the next plan would not know why the namespace is there.
            policies.extend(needing);
        }
    }
    if kept.is_empty() {
        return target;
    }
    target.policies = policies.into_iter().collect();
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
    unproven: &BTreeSet<&PolicyId>,
) {
    let mut used: BTreeSet<&str> = BTreeSet::new();
    let mut bindings = Vec::new();
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
        let needing: Vec<&PolicyId> =
            unproven.iter().copied().filter(|policy| is_served(&stored.policies, policy)).collect();
        if !needing.is_empty() {
            plan.waiting.extend(needing.into_iter().cloned());
            used.extend(target);
            continue;
        }
        bindings.push(delete(*kind, name, stored));
    }
    let mut policies = Vec::new();
    for ((kind, name), stored) in observed {
        let wanted = compilation.admission_policies.contains_key(name) || used.contains(name.as_str());
        if *kind == NativeKind::Policy && stored.source.is_some() && !wanted {
            policies.push(delete(*kind, name, stored));
        }
    }
    plan.stages.extend([bindings, policies]);
}

fn delete(kind: NativeKind, name: &str, stored: &Observed) -> Intent {
    Intent::Delete {
        kind,
        name: name.to_owned(),
        uid: stored.uid.clone(),
        resource_version: stored.resource_version.clone(),
    }
}
