//! The operator's picture of the cluster: filled from watch events, never by listing on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use immutable_core::native::{
    AdmissionBindingSpec, AdmissionPolicySpec, HASH_LABEL, Installation, MANAGED_BY, NativeKind, Observed,
    ObservedOwner, ObservedSpec, Owner, POLICIES_ANNOTATION, SOURCE_ANNOTATION, Translation, translate,
};
use immutable_core::policy::{Policy, PolicyId};
use immutable_core::workload::CustomWorkload;
use immutable_core::world::{self, NamespaceFacts, Touched, World};
use jiff::Timestamp;
use kube::api::{DynamicObject, ObjectMeta};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::exceptions::KnownExceptions;
use crate::api::PolicyStatus;
use crate::live::stored_policy;

/// What a watch tells: one object came or went, or here is everything there is.
#[derive(Debug)]
pub(super) enum Change<T> {
    /// It was created or changed.
    Apply(T),
    /// It is gone.
    Delete(T),
    /// All of them, after a start or a lost connection; what is not among them is gone.
    Reset(Vec<T>),
    /// They cannot be watched now, and why; it is tried again.
    Failed(String),
}

/// One watch event of any of the watched kinds.
#[derive(Debug)]
pub(super) enum Event {
    /// of a `ClusterImmutablePolicy`
    ClusterPolicy(Change<DynamicObject>),
    /// of an `ImmutablePolicy`
    Policy(Change<DynamicObject>),
    /// of an `ImmutableException`
    Exception(Change<DynamicObject>),
    /// of a namespace
    Namespace(Change<(String, NamespaceFacts)>),
    /// of a native object of ours
    Native(NativeKind, Change<DynamicObject>),
    /// of the ClusterRole that owns the native objects
    Owner(Change<Owner>),
}

/// Which object, and which of its specs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    /// its uid
    pub uid: String,
    /// its generation, which grows with each change of its spec
    pub generation: i64,
}

impl Version {
    pub(super) fn of(metadata: &ObjectMeta) -> Self {
        Self { uid: metadata.uid.clone().unwrap_or_default(), generation: metadata.generation.unwrap_or_default() }
    }
}

/// A policy as it is in the cluster.
pub(super) struct KnownPolicy {
    /// which version of it
    pub version: Version,
    /// what it says and what that comes to, or everything that is wrong with it
    pub policy: Result<Translated, Vec<String>>,
    /// what was last reported of it
    pub status: PolicyStatus,
}

/// A valid policy, translated when it was last changed.
pub(super) struct Translated {
    /// what it says
    pub policy: Arc<Policy>,
    /// what it comes to
    pub translation: Translation,
}

impl KnownPolicy {
    /// What it says, where that is valid.
    pub(super) fn valid(&self) -> Option<&Policy> {
        self.policy.as_ref().ok().map(|translated| &*translated.policy)
    }
}

/// The picture.
pub(super) struct Cluster {
    installation: Installation,
    /// Every policy of both kinds.
    pub policies: BTreeMap<PolicyId, KnownPolicy>,
    /// Every exception.
    pub exceptions: KnownExceptions,
    /// Namespaces, valid policies, and everything that carries pods.
    pub world: World,
    /// What of the world must be judged again.
    touched: Touched,
    /// Every native object with our label.
    pub native: BTreeMap<(NativeKind, String), Observed>,
    /// The versions that the API server answered our own writes with.
    written: BTreeMap<(NativeKind, String), Version>,
    /// The owner of the native objects, while it is there and not going.
    pub owner: Option<Owner>,
    seen: BTreeSet<&'static str>,
}

/// The watches that must have told everything once before anything is decided.
const WATCHES: [&str; 7] = [
    "ClusterImmutablePolicy",
    "ImmutablePolicy",
    "ImmutableException",
    "Namespace",
    "ClusterRole",
    NATIVE_POLICY,
    NATIVE_BINDING,
];
const NATIVE_POLICY: &str = "ValidatingAdmissionPolicy";
const NATIVE_BINDING: &str = "ValidatingAdmissionPolicyBinding";

impl Cluster {
    /// A picture of nothing yet, for an installation.
    pub(super) fn new(installation: Installation) -> Self {
        Self {
            world: World::new(&installation.namespace),
            // Nothing is judged before everything is known, and then all of it: no list of what came until then.
            touched: Touched::everything(),
            installation,
            policies: BTreeMap::new(),
            exceptions: KnownExceptions::default(),
            native: BTreeMap::new(),
            written: BTreeMap::new(),
            owner: None,
            seen: BTreeSet::new(),
        }
    }

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
                let parse = |before, object: DynamicObject| known(before, &object, &self.installation);
                merge(&mut self.policies, change, |id| id.namespace.is_none(), cluster_id, parse);
                self.tell_policies();
            }
            Event::Policy(change) => {
                self.seen_all("ImmutablePolicy", &change);
                let parse = |before, object: DynamicObject| known(before, &object, &self.installation);
                merge(&mut self.policies, change, |id| id.namespace.is_some(), namespaced_id, parse);
                self.tell_policies();
            }
            Event::Exception(change) => {
                self.seen_all("ImmutableException", &change);
                for change in self.exceptions.apply(change) {
                    self.change(change);
                }
            }
            Event::Namespace(change) => {
                self.seen_all("Namespace", &change);
                match change {
                    Change::Apply((name, facts)) => self.change(world::Change::Namespace(name, Some(facts))),
                    Change::Delete((name, _)) => self.change(world::Change::Namespace(name, None)),
                    Change::Reset(namespaces) => {
                        let is_there = |name: &&String| !namespaces.iter().any(|(there, _)| there == *name);
                        let gone: Vec<String> = self.world.namespaces().keys().filter(is_there).cloned().collect();
                        for name in gone {
                            self.change(world::Change::Namespace(name, None));
                        }
                        for (name, facts) in namespaces {
                            self.change(world::Change::Namespace(name, Some(facts)));
                        }
                    }
                    Change::Failed(_) => {}
                }
            }
            Event::Native(kind, change) => {
                self.seen_all(if kind == NativeKind::Policy { NATIVE_POLICY } else { NATIVE_BINDING }, &change);
                let key = |object: &DynamicObject| (kind, object.metadata.name.clone().unwrap_or_default());
                let written = &self.written;
                let read = |_, object: DynamicObject| native(kind, &object, written.get(&key(&object)));
                merge(&mut self.native, change, |key| key.0 == kind, key, read);
            }
            Event::Owner(change) => {
                self.seen_all("ClusterRole", &change);
                self.owner = match change {
                    Change::Apply(owner) => Some(owner),
                    Change::Delete(_) => None,
                    Change::Reset(owners) => owners.into_iter().next(),
                    Change::Failed(_) => self.owner.take(),
                };
            }
        }
    }

    /// Takes in a change of the world.
    pub(super) fn change(&mut self, change: world::Change) {
        self.touched.merge(self.world.apply(change));
    }

    /// The custom workloads that valid policies declare.
    pub(super) fn custom_workloads(&self) -> Vec<CustomWorkload> {
        self.world.policies().flat_map(|(_, policy)| policy.custom_workloads()).cloned().collect()
    }

    /// Has everything judged anew, whatever happened.
    pub(super) fn touch_all(&mut self) {
        self.touched.merge(Touched { all: true, ..Touched::default() });
    }

    /// Looks which exceptions count now, and has them translated for the policies that may take up others.
    pub(super) fn look_at_exceptions(&mut self, settled: &BTreeSet<PolicyId>, now: Timestamp) {
        let touched = self.exceptions.look(&self.world, now);
        self.touched.merge(touched);
        self.exceptions.round(&self.policies, settled, &self.installation);
    }

    /// What must be judged again since this was last asked.
    pub(super) fn take_touched(&mut self) -> Touched {
        let rollouts = self.touched.take_rollouts();
        std::mem::replace(&mut self.touched, rollouts)
    }

    /// What of rollouts must be looked at since this was last asked.
    pub(super) fn take_touched_rollouts(&mut self) -> Touched {
        self.touched.take_rollouts()
    }

    /// Tells the world of valid policies that are new, other, or gone.
    fn tell_policies(&mut self) {
        let gone = self.world.policies().map(|(id, _)| id.clone());
        let gone: Vec<PolicyId> =
            gone.filter(|id| self.policies.get(id).and_then(KnownPolicy::valid).is_none()).collect();
        let is_new = |id: &PolicyId, policy: &Arc<Policy>| {
            !self.world.policy(id).is_some_and(|known| Arc::ptr_eq(known, policy))
        };
        let new: Vec<(PolicyId, Arc<Policy>)> = self
            .policies
            .iter()
            .filter_map(|(id, known)| Some((id.clone(), Arc::clone(&known.policy.as_ref().ok()?.policy))))
            .filter(|(id, policy)| is_new(id, policy))
            .collect();
        if !(gone.is_empty() && new.is_empty()) {
            self.exceptions.policies_changed();
        }
        for id in gone {
            self.change(world::Change::Policy(id, None));
        }
        for (id, policy) in new {
            self.change(world::Change::Policy(id, Some(policy)));
        }
    }

    fn seen_all<T>(&mut self, watch: &'static str, change: &Change<T>) {
        if matches!(change, Change::Reset(_)) {
            self.seen.insert(watch);
        }
    }

    /// Takes in what a write returned, so that the next plan does not wait for the watch.
    pub(super) fn written(&mut self, kind: NativeKind, object: &DynamicObject) {
        let key = (kind, object.metadata.name.clone().unwrap_or_default());
        let version = Version::of(&object.metadata);
        self.native.insert(key.clone(), native(kind, object, Some(&version)));
        self.written.insert(key, version);
    }

    /// Takes in a delete that succeeded.
    pub(super) fn deleted(&mut self, kind: NativeKind, name: &str) {
        let key = (kind, name.to_owned());
        self.native.remove(&key);
        self.written.remove(&key);
    }
}

/// Applies a change to the part of a map that its watch speaks for; `value` is made of what was known before, too.
pub(super) fn merge<K: Ord, T, V>(
    map: &mut BTreeMap<K, V>,
    change: Change<T>,
    speaks_for: impl Fn(&K) -> bool,
    key: impl Fn(&T) -> K,
    value: impl Fn(Option<V>, T) -> V,
) {
    match change {
        Change::Apply(object) => {
            let key = key(&object);
            let before = map.remove(&key);
            map.insert(key, value(before, object));
        }
        Change::Delete(object) => {
            map.remove(&key(&object));
        }
        Change::Reset(objects) => {
            let (mut before, others): (BTreeMap<K, V>, _) =
                std::mem::take(map).into_iter().partition(|(known, _)| speaks_for(known));
            *map = others;
            for object in objects {
                let key = key(&object);
                let value = value(before.remove(&key), object);
                map.insert(key, value);
            }
        }
        // What is known of them stays.
        Change::Failed(_) => {}
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

/// A policy that cannot be read must not stop the others: it is kept with what is wrong.
///
/// What was understood of the same generation before is kept too: most events are of a status that we wrote.
fn known(before: Option<KnownPolicy>, object: &DynamicObject, installation: &Installation) -> KnownPolicy {
    let status = object.data.get("status").cloned().unwrap_or_default();
    let status = serde_json::from_value(status).unwrap_or_default();
    let version = Version::of(&object.metadata);
    if let Some(known) = before.filter(|known| known.version == version) {
        return KnownPolicy { status, ..known };
    }
    let policy = stored_policy(object)
        .map(|policy| Translated { translation: translate(&policy, installation), policy: Arc::new(policy) });
    KnownPolicy { version, policy, status }
}

/// What planning needs of a native object.
///
/// A field that we do not know makes a spec one that cannot be read, since it may change what is enforced. In the
/// version that the API server answered our own write with, it is a default of a newer API server.
fn native(kind: NativeKind, object: &DynamicObject, written: Option<&Version>) -> Observed {
    let metadata = &object.metadata;
    let name = metadata.name.clone().unwrap_or_default();
    let annotation = |key: &str| metadata.annotations.as_ref().and_then(|annotations| annotations.get(key).cloned());
    let label = |key: &str| metadata.labels.as_ref().and_then(|labels| labels.get(key).map(String::as_str));
    let references = metadata.owner_references.iter().flatten();
    let owners = references.map(|reference| ObservedOwner {
        what: format!("{}/{}", reference.kind, reference.name),
        uid: reference.uid.clone(),
        is_more: reference.controller == Some(true) || reference.block_owner_deletion == Some(true),
    });
    let labelled = label(MANAGED_BY.0) == Some(MANAGED_BY.1) && label(HASH_LABEL) == name.split('-').nth(1);
    let as_written = written == Some(&Version::of(metadata));
    let spec = object.data.get("spec").cloned().unwrap_or_default();
    let policies = annotation(POLICIES_ANNOTATION).unwrap_or_default();
    Observed {
        uid: metadata.uid.clone().unwrap_or_default(),
        resource_version: metadata.resource_version.clone().unwrap_or_default(),
        source: annotation(SOURCE_ANNOTATION),
        policies: policies.split(',').filter(|policy| !policy.is_empty()).map(ToOwned::to_owned).collect(),
        labels_are_ours: labelled,
        owners: owners.collect(),
        spec: match kind {
            NativeKind::Policy => read::<AdmissionPolicySpec>(&spec, as_written).map(ObservedSpec::Policy),
            NativeKind::Binding => read::<AdmissionBindingSpec>(&spec, as_written).map(ObservedSpec::Binding),
        },
        type_check: type_check(object),
    }
}

/// A spec, if all of it is understood or need not be.
fn read<S: Serialize + DeserializeOwned>(spec: &Value, tolerant: bool) -> Option<S> {
    let read: S = serde_json::from_value(spec.clone()).ok()?;
    (tolerant || serde_json::to_value(&read).is_ok_and(|known| known == *spec)).then_some(read)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn object(value: Value) -> DynamicObject {
        serde_json::from_value(value).unwrap()
    }

    fn cluster() -> Cluster {
        Cluster::new(Installation { namespace: "immutable-system".to_owned(), owner: "owner".to_owned() })
    }

    /// A compiled policy as an API server stores it that fills in a field which this version does not know.
    fn stored(generation: i64, resource_version: &str) -> DynamicObject {
        object(json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": "immutable-1-pod", "uid": "a", "generation": generation, "resourceVersion": resource_version},
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"namespaceSelector": {}, "objectSelector": {}, "matchPolicy": "Equivalent"},
                "validations": [{"expression": "false", "message": "m", "messageExpression": "'m'", "reason": "Forbidden"}],
                "newlyDefaulted": "Always",
            },
        }))
    }

    fn is_understood(cluster: &Cluster) -> bool {
        cluster.native.values().next().unwrap().spec.is_some()
    }

    #[test]
    fn an_unknown_field_is_a_default_only_in_the_answer_to_our_own_write() {
        let mut cluster = cluster();
        let event = |object| Event::Native(NativeKind::Policy, Change::Apply(object));
        cluster.apply(event(stored(1, "1")));
        assert!(!is_understood(&cluster), "it may change what is enforced");
        cluster.written(NativeKind::Policy, &stored(2, "2"));
        assert!(is_understood(&cluster));
        cluster.apply(event(stored(2, "3")));
        assert!(is_understood(&cluster), "only its status was written since");
        cluster.apply(event(stored(3, "4")));
        assert!(!is_understood(&cluster), "somebody else wrote its spec");
        cluster.apply(Event::Native(NativeKind::Policy, Change::Reset(vec![stored(2, "2")])));
        assert!(is_understood(&cluster));
        cluster.deleted(NativeKind::Policy, "immutable-1-pod");
        cluster.apply(event(stored(2, "2")));
        assert!(!is_understood(&cluster));
    }

    fn policy(generation: i64, uid: &str, tags: &[&str]) -> Event {
        Event::ClusterPolicy(Change::Apply(object(json!({
            "apiVersion": "immutable.dev/v1alpha1", "kind": "ClusterImmutablePolicy",
            "metadata": {"name": "production", "uid": uid, "generation": generation},
            "spec": {"rules": {"imageTag": {"forbiddenTags": tags}}},
            "status": {"observedGeneration": generation},
        }))))
    }

    #[test]
    fn a_policy_is_read_again_when_its_spec_changes_and_not_when_its_status_does() {
        let mut cluster = cluster();
        let id = PolicyId { namespace: None, name: "production".to_owned() };
        let is_valid = |cluster: &Cluster| cluster.policies[&id].valid().is_some();
        cluster.apply(policy(1, "a", &["stable"]));
        assert!(is_valid(&cluster));
        // The same generation with another spec cannot be; if it were read again, it would be invalid.
        cluster.apply(policy(1, "a", &["not a tag"]));
        assert!(is_valid(&cluster));
        cluster.apply(policy(2, "a", &["not a tag"]));
        assert!(!is_valid(&cluster));
        cluster.apply(policy(1, "b", &["stable"]));
        assert!(is_valid(&cluster), "another of the same name");
    }
}
