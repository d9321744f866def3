//! Our own custom resources and namespaces, as the API server has them.
use crate::api::{API_VERSION, ClusterImmutablePolicy, ImmutableException, ImmutablePolicy};
use immutable_core::exception::Exception;
use immutable_core::policy::{Policy, PolicyProblem};
use immutable_core::world::NamespaceFacts;
use kube::api::{DynamicObject, ObjectMeta};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

/// What a stored policy of either kind says, or everything that is wrong with it.
pub(crate) fn stored_policy(object: &DynamicObject) -> Result<Policy, Vec<String>> {
    if object.metadata.namespace.is_some() {
        valid(object, "ImmutablePolicy", "policy", ImmutablePolicy::validate)
    } else {
        valid(object, "ClusterImmutablePolicy", "policy", ClusterImmutablePolicy::validate)
    }
}

/// What a stored exception says, or everything that is wrong with it.
pub(crate) fn stored_exception(object: &DynamicObject) -> Result<Exception, Vec<String>> {
    valid(object, "ImmutableException", "exception", ImmutableException::validate)
}

/// Reads and validates an object, without what of its metadata and status does not matter.
fn valid<K: DeserializeOwned, T>(
    object: &DynamicObject,
    kind: &str,
    noun: &str,
    validate: impl Fn(&K) -> Result<T, Vec<PolicyProblem>>,
) -> Result<T, Vec<String>> {
    let metadata = &object.metadata;
    let mut value = json!({
        "apiVersion": API_VERSION,
        "kind": kind,
        "metadata": {
            "name": metadata.name,
            "namespace": metadata.namespace,
            "creationTimestamp": metadata.creation_timestamp,
        },
    });
    if let Some(spec) = object.data.get("spec") {
        value["spec"] = Value::clone(spec);
    }
    let read: K = serde_json::from_value(value).map_err(|error| {
        vec![format!(
            "this version of immutable cannot read the {noun}: {error}; upgrade immutable or change the {noun}"
        )]
    })?;
    validate(&read).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

/// What is kept of a namespace.
pub(crate) fn namespace_facts(metadata: ObjectMeta) -> (String, NamespaceFacts) {
    let name = metadata.name.unwrap_or_default();
    let facts = NamespaceFacts {
        terminating: metadata.deletion_timestamp.is_some(),
        labels: metadata.labels.unwrap_or_default(),
    };
    (name, facts)
}
