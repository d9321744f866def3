//! The operator's picture of the cluster: filled from watch events, never by listing on the way.

use std::collections::{BTreeMap, BTreeSet};

use immutable_core::native::{
    AdmissionBindingSpec, AdmissionPolicySpec, HASH_LABEL, MANAGED_BY, NativeKind, Observed, ObservedSpec, Owner,
    POLICIES_ANNOTATION, SOURCE_ANNOTATION,
};
use immutable_core::policy::{Policy, PolicyId};
use kube::api::DynamicObject;
use serde_json::Value;

use crate::api::{ClusterImmutablePolicy, ImmutablePolicy, PolicyStatus};

/// What a watch tells: one object came or went, or here is everything there is.
#[derive(Debug)]
pub(super) enum Change<T> {
    /// It was created or changed.
    Apply(T),
    /// It is gone.
    Delete(T),
    /// All of them, after a start or a lost connection; what is not among them is gone.
    Reset(Vec<T>),
}

/// One watch event of any of the watched kinds.
#[derive(Debug)]
pub(super) enum Event {
    /// of a `ClusterImmutablePolicy`
    ClusterPolicy(Change<DynamicObject>),
    /// of an `ImmutablePolicy`
    Policy(Change<DynamicObject>),
    /// of a namespace
    Namespace(Change<NamespaceFacts>),
    /// of a native object of ours
    Native(NativeKind, Change<DynamicObject>),
    /// of the ClusterRole that owns the native objects
    Owner(Change<Owner>),
}

/// What is known of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamespaceFacts {
    /// its name
    pub name: String,
    /// its labels
    pub labels: BTreeMap<String, String>,
    /// whether it is going away, so that nothing can be created there
    pub terminating: bool,
}

/// A policy as it is in the cluster.
pub(super) struct KnownPolicy {
    /// its generation
    pub generation: i64,
    /// what it says, or everything that is wrong with it
    pub policy: Result<Policy, Vec<String>>,
    /// what was last reported of it
    pub status: PolicyStatus,
}

/// A native object as it is in the cluster.
pub(super) struct KnownNative {
    /// what planning needs of it; whether the owner is right is only known when planning
    pub(super) observed: Observed,
    /// uids of the ClusterRoles that own it
    owners: Vec<String>,
    /// the API server's type check, once it is there
    pub(super) type_check: Option<Vec<String>>,
}

impl KnownNative {
    /// What it does, where that can be read.
    pub(super) fn observed_spec(&self) -> Option<&ObservedSpec> {
        self.observed.spec.as_ref()
    }
}

/// The picture.
#[derive(Default)]
pub(super) struct Cluster {
    /// Every policy of both kinds.
    pub policies: BTreeMap<PolicyId, KnownPolicy>,
    /// Every namespace.
    pub namespaces: BTreeMap<String, NamespaceFacts>,
    /// Every native object with our label.
    pub native: BTreeMap<(NativeKind, String), KnownNative>,
    /// The owner of the native objects, while it is there and not going.
    pub owner: Option<Owner>,
    seen: BTreeSet<&'static str>,
}

/// The watches that must have told everything once before anything is decided.
const WATCHES: [&str; 6] =
    ["ClusterImmutablePolicy", "ImmutablePolicy", "Namespace", "ClusterRole", NATIVE_POLICY, NATIVE_BINDING];
const NATIVE_POLICY: &str = "ValidatingAdmissionPolicy";
const NATIVE_BINDING: &str = "ValidatingAdmissionPolicyBinding";

impl Cluster {
    /// Whether every watch has told everything once.
    pub(super) fn is_complete(&self) -> bool {
        WATCHES.iter().all(|watch| self.seen.contains(watch))
    }

    /// The watches that have not told everything yet.
    pub(super) fn missing(&self) -> Vec<&'static str> {
        WATCHES.into_iter().filter(|watch| !self.seen.contains(watch)).collect()
    }

    /// Takes in one event.
    pub(super) fn apply(&mut self, event: Event) {
        match event {
            Event::ClusterPolicy(change) => {
                self.seen_all("ClusterImmutablePolicy", &change);
                let parse = |object: DynamicObject| known(&object, cluster_policy);
                merge(&mut self.policies, change, |id| id.namespace.is_none(), cluster_id, parse);
            }
            Event::Policy(change) => {
                self.seen_all("ImmutablePolicy", &change);
                let parse = |object: DynamicObject| known(&object, namespaced_policy);
                merge(&mut self.policies, change, |id| id.namespace.is_some(), namespaced_id, parse);
            }
            Event::Namespace(change) => {
                self.seen_all("Namespace", &change);
                merge(&mut self.namespaces, change, |_| true, |facts| facts.name.clone(), |facts| facts);
            }
            Event::Native(kind, change) => {
                self.seen_all(if kind == NativeKind::Policy { NATIVE_POLICY } else { NATIVE_BINDING }, &change);
                let key = |object: &DynamicObject| (kind, object.metadata.name.clone().unwrap_or_default());
                merge(&mut self.native, change, |key| key.0 == kind, key, |object| native(kind, &object));
            }
            Event::Owner(change) => {
                self.seen_all("ClusterRole", &change);
                self.owner = match change {
                    Change::Apply(owner) => Some(owner),
                    Change::Delete(_) => None,
                    Change::Reset(owners) => owners.into_iter().next(),
                };
            }
        }
    }

    fn seen_all<T>(&mut self, watch: &'static str, change: &Change<T>) {
        if matches!(change, Change::Reset(_)) {
            self.seen.insert(watch);
        }
    }

    /// Takes in what a write returned, so that the next plan does not wait for the watch.
    pub(super) fn written(&mut self, kind: NativeKind, object: &DynamicObject) {
        let name = object.metadata.name.clone().unwrap_or_default();
        self.native.insert((kind, name), native(kind, object));
    }

    /// Takes in a delete that succeeded.
    pub(super) fn deleted(&mut self, kind: NativeKind, name: &str) {
        self.native.remove(&(kind, name.to_owned()));
    }

    /// What planning needs of the native objects.
    pub(super) fn observed(&self) -> BTreeMap<(NativeKind, String), Observed> {
        let owned = |known: &KnownNative| self.owner.as_ref().is_some_and(|owner| known.owners.contains(&owner.uid));
        let observed = |known: &KnownNative| Observed {
            metadata_is_ours: known.observed.metadata_is_ours && owned(known),
            ..known.observed.clone()
        };
        self.native.iter().map(|(key, known)| (key.clone(), observed(known))).collect()
    }
}

/// Applies a change to the part of a map that its watch speaks for.
fn merge<K: Ord, T, V>(
    map: &mut BTreeMap<K, V>,
    change: Change<T>,
    speaks_for: impl Fn(&K) -> bool,
    key: impl Fn(&T) -> K,
    value: impl Fn(T) -> V,
) {
    match change {
        Change::Apply(object) => {
            map.insert(key(&object), value(object));
        }
        Change::Delete(object) => {
            map.remove(&key(&object));
        }
        Change::Reset(objects) => {
            map.retain(|known, _| !speaks_for(known));
            map.extend(objects.into_iter().map(|object| (key(&object), value(object))));
        }
    }
}

fn cluster_id(object: &DynamicObject) -> PolicyId {
    PolicyId { namespace: None, name: object.metadata.name.clone().unwrap_or_default() }
}

fn namespaced_id(object: &DynamicObject) -> PolicyId {
    PolicyId {
        namespace: Some(object.metadata.namespace.clone().unwrap_or_default()),
        name: object.metadata.name.clone().unwrap_or_default(),
    }
}

fn cluster_policy(value: Value) -> Result<Policy, Vec<String>> {
    let policy: ClusterImmutablePolicy = serde_json::from_value(value).map_err(|error| vec![unreadable(&error)])?;
    policy.validate().map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn namespaced_policy(value: Value) -> Result<Policy, Vec<String>> {
    let policy: ImmutablePolicy = serde_json::from_value(value).map_err(|error| vec![unreadable(&error)])?;
    policy.validate().map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

fn unreadable(error: &serde_json::Error) -> String {
    format!("this version of the operator cannot read the policy: {error}; upgrade the operator or change the policy")
}

/// A policy that cannot be read must not stop the others: it is kept with what is wrong.
fn known(object: &DynamicObject, parse: impl Fn(Value) -> Result<Policy, Vec<String>>) -> KnownPolicy {
    let status = object.data.get("status").cloned().unwrap_or_default();
    let mut value = serde_json::json!({
        "apiVersion": crate::api::API_VERSION,
        "kind": object.types.as_ref().map_or("", |types| types.kind.as_str()),
        "metadata": {"name": object.metadata.name, "namespace": object.metadata.namespace},
    });
    if let Some(spec) = object.data.get("spec") {
        value["spec"] = spec.clone();
    }
    KnownPolicy {
        generation: object.metadata.generation.unwrap_or_default(),
        policy: parse(value),
        status: serde_json::from_value(status).unwrap_or_default(),
    }
}

/// What planning needs of a native object.
fn native(kind: NativeKind, object: &DynamicObject) -> KnownNative {
    let metadata = &object.metadata;
    let name = metadata.name.clone().unwrap_or_default();
    let annotation = |key: &str| metadata.annotations.as_ref().and_then(|annotations| annotations.get(key).cloned());
    let label = |key: &str| metadata.labels.as_ref().and_then(|labels| labels.get(key).map(String::as_str));
    let references = metadata.owner_references.iter().flatten();
    let owners = references.filter(|reference| reference.kind == "ClusterRole").map(|reference| reference.uid.clone());
    let labelled = label(MANAGED_BY.0) == Some(MANAGED_BY.1) && label(HASH_LABEL) == name.split('-').nth(1);
    let spec = object.data.get("spec").cloned().unwrap_or_default();
    let spec = match kind {
        NativeKind::Policy => serde_json::from_value::<AdmissionPolicySpec>(spec.clone())
            .ok()
            .filter(|read| serde_json::json!(read) == spec)
            .map(ObservedSpec::Policy),
        NativeKind::Binding => serde_json::from_value::<AdmissionBindingSpec>(spec.clone())
            .ok()
            .filter(|read| serde_json::json!(read) == spec)
            .map(ObservedSpec::Binding),
    };
    let policies = annotation(POLICIES_ANNOTATION).unwrap_or_default();
    KnownNative {
        type_check: type_check(object),
        owners: owners.collect(),
        observed: Observed {
            uid: metadata.uid.clone().unwrap_or_default(),
            resource_version: metadata.resource_version.clone().unwrap_or_default(),
            source: annotation(SOURCE_ANNOTATION),
            policies: policies.split(',').filter(|policy| !policy.is_empty()).map(ToOwned::to_owned).collect(),
            metadata_is_ours: labelled,
            spec,
        },
    }
}

/// The warnings of the API server's type check; none until it has checked this generation.
fn type_check(object: &DynamicObject) -> Option<Vec<String>> {
    let status = object.data.get("status")?;
    if status.get("observedGeneration")?.as_i64()? < object.metadata.generation? {
        return None;
    }
    let warnings = status.pointer("/typeChecking/expressionWarnings").and_then(Value::as_array);
    let text = |warning: &Value| {
        let part = |key: &str| warning.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        format!("{}: {}", part("fieldRef"), part("warning"))
    };
    Some(warnings.map(|warnings| warnings.iter().map(text).collect()).unwrap_or_default())
}
