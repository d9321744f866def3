//! Policies of the tests: each binds the namespace of its test and no other.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::admissionregistration::v1::{ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, Patch},
};
use serde_json::{Value, json};

use crate::support::{Answer, Effect, GENEROUS, Requests, TestNamespace, wait_until};

const API_VERSION: &str = "immutable.dev/v1alpha1";
const OURS: &str = "app.kubernetes.io/managed-by=immutable-operator";

/// A policy in the cluster.
pub(crate) struct Policy {
    requests: Requests,
    manifest: Value,
}

impl Policy {
    /// A `ClusterImmutablePolicy` that binds one namespace only, by its label.
    pub(crate) async fn create(namespace: &TestNamespace, spec: Value) -> Result<Self> {
        Self::create_named(namespace, namespace.name(), spec).await
    }

    /// The same with a name of its own.
    pub(crate) async fn create_named(namespace: &TestNamespace, name: &str, spec: Value) -> Result<Self> {
        let manifest = cluster_policy(name, bound_to(namespace.name(), spec));
        Self::create_from(namespace.requests(), manifest).await
    }

    /// An `ImmutablePolicy`.
    pub(crate) async fn create_namespaced(namespace: &TestNamespace, name: &str, spec: Value) -> Result<Self> {
        let manifest =
            json!({"apiVersion": API_VERSION, "kind": "ImmutablePolicy", "metadata": {"name": name}, "spec": spec});
        Self::create_from(namespace.requests(), manifest).await
    }

    /// The policy of a manifest.
    pub(crate) async fn create_from(requests: &Requests, manifest: Value) -> Result<Self> {
        requests.create(Effect::Real, &manifest).await?.accepted().with_context(|| format!("create {manifest}"))?;
        Ok(Self { requests: requests.clone(), manifest })
    }

    /// A policy that is there already.
    pub(crate) fn existing(requests: &Requests, manifest: Value) -> Self {
        Self { requests: requests.clone(), manifest }
    }

    pub(crate) fn name(&self) -> &str {
        self.manifest["metadata"]["name"].as_str().unwrap_or_default()
    }

    /// Changes its spec by a merge patch.
    pub(crate) async fn edit(&self, spec: Value) -> Result<()> {
        self.patch(json!({"spec": spec})).await?.accepted().map(|_| ())
    }

    /// Changes it by a merge patch; a refusal is an answer.
    pub(crate) async fn patch(&self, patch: Value) -> Result<Answer> {
        self.requests.patch(Effect::Real, &self.manifest, &Patch::Merge(patch), None).await
    }

    pub(crate) async fn delete(&self) -> Result<()> {
        self.requests.delete(Effect::Real, &self.manifest).await?.accepted().map(|_| ())
    }

    /// As it is stored.
    pub(crate) async fn stored(&self) -> Result<Value> {
        self.requests.get(&self.manifest).await?.accepted()
    }

    /// Waits until a condition of the present generation has this status and reason, and returns the policy.
    pub(crate) async fn reports(&self, condition: &str, status: &str, reason: &str) -> Result<Value> {
        let what = format!("{} to report {condition}={status}, {reason}", self.name());
        wait_until(&what, GENEROUS, async || {
            let stored = self.stored().await?;
            let generation = &stored["metadata"]["generation"];
            let seen = self::condition(&stored, condition)?;
            let fresh =
                stored["status"]["observedGeneration"] == *generation && (seen["observedGeneration"] == *generation);
            ensure!(
                fresh && seen["status"] == status && seen["reason"] == reason,
                "{}",
                stored["status"]["conditions"]
            );
            Ok(stored)
        })
        .await
    }

    /// Waits until its denial was seen.
    pub(crate) async fn enforced(&self) -> Result<Value> {
        self.reports("Enforced", "True", "Proven").await
    }

    /// The names of its native objects, as its status tells them.
    pub(crate) async fn native_names(&self) -> Result<Vec<String>> {
        let stored = self.stored().await?;
        let names = stored["status"]["nativePolicies"].as_array().context("no nativePolicies")?;
        Ok(names.iter().filter_map(Value::as_str).map(ToOwned::to_owned).collect())
    }

    /// Its native objects, as they are stored.
    pub(crate) async fn native(&self) -> Result<Native> {
        let names = self.native_names().await?;
        let mut native = Native::list(self.requests.client().clone()).await?;
        native.policies.retain(|name, _| names.contains(name));
        native.bindings.retain(|name, _| names.contains(name));
        Ok(native)
    }

    /// A manifest that names it.
    pub(crate) fn manifest(&self) -> &Value {
        &self.manifest
    }
}

/// One condition of a policy.
pub(crate) fn condition<'a>(policy: &'a Value, name: &str) -> Result<&'a Value> {
    let conditions = policy["status"]["conditions"].as_array().context("it has no conditions yet")?;
    conditions
        .iter()
        .find(|condition| condition["type"] == name)
        .with_context(|| format!("no condition {name} among {conditions:?}"))
}

#[expect(clippy::needless_pass_by_value, reason = "callers write the spec where they call")]
pub(crate) fn cluster_policy(name: &str, spec: Value) -> Value {
    json!({"apiVersion": API_VERSION, "kind": "ClusterImmutablePolicy", "metadata": {"name": name}, "spec": spec})
}

/// The spec of a cluster policy that binds one namespace, by a label rather than by its name: bindings by name
/// are joined with those of other tests.
pub(crate) fn bound_to(namespace: &str, mut spec: Value) -> Value {
    spec["match"]["namespaces"]["selector"] = json!({"matchLabels": {"kubernetes.io/metadata.name": namespace}});
    spec
}

/// The operator's native objects by name.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Native {
    pub(crate) policies: BTreeMap<String, ValidatingAdmissionPolicy>,
    pub(crate) bindings: BTreeMap<String, ValidatingAdmissionPolicyBinding>,
}

impl Native {
    /// All of them in the cluster.
    pub(crate) async fn list(client: Client) -> Result<Self> {
        let ours = ListParams::default().labels(OURS);
        let policies = Api::<ValidatingAdmissionPolicy>::all(client.clone()).list(&ours).await?;
        let bindings = Api::<ValidatingAdmissionPolicyBinding>::all(client).list(&ours).await?;
        Ok(Self {
            policies: policies.items.into_iter().map(|policy| (policy.name_any(), policy)).collect(),
            bindings: bindings.items.into_iter().map(|binding| (binding.name_any(), binding)).collect(),
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.policies.is_empty() && self.bindings.is_empty()
    }

    pub(crate) fn names(&self) -> Vec<&str> {
        self.policies.keys().chain(self.bindings.keys()).map(String::as_str).collect()
    }
}

/// Waits until the operator has no native object in the cluster.
pub(crate) async fn nothing_native(client: &Client) -> Result<()> {
    wait_until("every native object to be gone", GENEROUS, async || {
        let native = Native::list(client.clone()).await?;
        ensure!(native.is_empty(), "{:?}", native.names());
        Ok(())
    })
    .await
}

/// Waits until these native objects are gone.
pub(crate) async fn gone(client: &Client, names: &[String]) -> Result<()> {
    wait_until("native objects to be gone", GENEROUS, async || {
        let native = Native::list(client.clone()).await?;
        let left: Vec<&str> = native.names().into_iter().filter(|name| names.iter().any(|gone| gone == name)).collect();
        ensure!(left.is_empty(), "{left:?}");
        Ok(())
    })
    .await
}
