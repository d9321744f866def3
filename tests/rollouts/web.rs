//! Workloads whose pods read configuration.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::place::{Place, stamp};
use crate::support::{GENEROUS, wait_until};

const IMAGE: &str = "registry.example/web:1";

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// A workload in the cluster.
pub(crate) struct Web<'p> {
    place: &'p Place<'p>,
    manifest: Value,
}

impl<'p> Web<'p> {
    /// Creates it and waits for nothing.
    pub(crate) async fn create(place: &'p Place<'p>, manifest: Value) -> Result<Self> {
        place.create(&manifest).await?;
        Ok(Self { place, manifest })
    }

    pub(crate) fn manifest(&self) -> &Value {
        &self.manifest
    }

    /// As it is stored.
    pub(crate) async fn stored(&self) -> Result<Value> {
        self.place.namespace.requests().get(&self.manifest).await?.accepted()
    }

    /// Changes it by a merge patch.
    pub(crate) async fn merge(&self, patch: Value) -> Result<Value> {
        self.place.merge(&self.manifest, patch).await
    }

    /// Waits until a condition of what is stored holds.
    pub(crate) async fn becomes(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Result<Value> {
        let name = &self.manifest["metadata"]["name"];
        wait_until(&format!("{name} to be {what}"), GENEROUS, async || {
            let stored = self.stored().await?;
            ensure!(
                condition(&stored),
                "metadata {}, template {}, status {}",
                stored["metadata"]["annotations"],
                stored["spec"]["template"]["metadata"],
                stored["status"]
            );
            Ok(stored)
        })
        .await
    }

    /// Waits until what its pods were started with is recorded beside a template that has this stamp.
    pub(crate) async fn recorded(&self) -> Result<Value> {
        self.becomes("recorded", |stored| {
            let of = stamp(stored).unwrap_or_else(|| "-".to_owned());
            baseline(stored).is_some_and(|baseline| baseline.starts_with(&format!("{of}:")))
        })
        .await
    }

    /// Waits until all of its pods are of the newest template and available.
    pub(crate) async fn complete(&self) -> Result<Value> {
        self.becomes("complete", is_complete).await
    }

    /// Waits until its stamp is another one than it was, and all of its pods are of that template and available.
    pub(crate) async fn replaced(&self, before: &Value) -> Result<Value> {
        let before = stamp(before);
        self.becomes("replaced", |stored| stamp(stored) != before).await?;
        self.complete().await
    }

    /// Waits until its record says that its pods read what is current, and all of them are available. What is current is
    /// what the operator records for a workload that is new.
    pub(crate) async fn reads_what_is_current(&self) -> Result<Value> {
        // What was edited a moment ago must have been read.
        self.place.quiet().await?;
        let name = format!("twin-{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut twin = deployment(&name, 0, self.manifest["spec"]["template"]["spec"].clone());
        // Whatever the policy says.
        twin["metadata"]["annotations"] = json!({"immutable.dev/rollout": "enabled"});
        let twin = Self::create(self.place, twin).await?;
        let current = recorded_digest(&twin.recorded().await?).context("the twin has no record")?;
        self.place.delete(twin.manifest()).await?;
        self.becomes("recorded as current", |stored| {
            is_complete(stored) && recorded_digest(stored).as_deref() == Some(current.as_str())
        })
        .await
    }

    /// Makes a change and waits until it has been replaced for that.
    pub(crate) async fn replaced_by(&self, change: impl Future<Output = Result<Value>>) -> Result<Value> {
        let before = self.stored().await?;
        change.await?;
        self.replaced(&before).await
    }
}

/// The baseline of a workload.
pub(crate) fn baseline(workload: &Value) -> Option<&str> {
    workload["metadata"]["annotations"]["immutable.dev/config-baseline"].as_str()
}

/// The cause in a workload's template.
pub(crate) fn cause(workload: &Value) -> Result<&str> {
    let annotations = &workload["spec"]["template"]["metadata"]["annotations"];
    annotations["immutable.dev/rollout-cause"].as_str().with_context(|| format!("no cause in {annotations}"))
}

/// What a workload's pods were started with, as its annotations say it.
fn recorded_digest(workload: &Value) -> Option<String> {
    let stamp = stamp(workload);
    let (of, digest) = baseline(workload).and_then(|baseline| baseline.split_once(':')).unzip();
    if of == Some(stamp.as_deref().unwrap_or("-")) { digest.map(ToOwned::to_owned) } else { stamp }
}

fn is_complete(workload: &Value) -> bool {
    let status = &workload["status"];
    let count = |field: &str| status[field].as_i64().unwrap_or(0);
    let is_observed = status["observedGeneration"] == workload["metadata"]["generation"];
    let are_all = |fields: &[&str], wanted: i64| fields.iter().all(|field| count(field) == wanted);
    is_observed
        && match workload["spec"]["replicas"].as_i64() {
            Some(replicas) => are_all(&["replicas", "updatedReplicas", "availableReplicas"], replicas),
            None => are_all(&["updatedNumberScheduled", "numberAvailable"], count("desiredNumberScheduled")),
        }
}

/// What is added to the container of a pod that reads all of a ConfigMap by its environment.
pub(crate) fn reads_all(config: &str) -> Value {
    json!({"containers": [{"envFrom": [{"configMapRef": {"name": config}}]}]})
}

/// A pod spec; name and image are added to its containers where they have none.
fn pod_spec(mut spec: Value) -> Value {
    for field in ["containers", "initContainers"] {
        for container in spec[field].as_array_mut().into_iter().flatten() {
            for (name, value) in [("name", if field == "containers" { "main" } else { "init" }), ("image", IMAGE)] {
                if container[name].is_null() {
                    container[name] = json!(value);
                }
            }
        }
    }
    if spec["containers"].is_null() {
        spec["containers"] = json!([{"name": "main", "image": IMAGE}]);
    }
    if spec["initContainers"].is_null()
        && let Some(spec) = spec.as_object_mut()
    {
        spec.remove("initContainers");
    }
    // Whoever deletes a pod need not wait.
    spec["terminationGracePeriodSeconds"] = json!(0);
    spec
}

/// A workload of a kind of `apps/v1`.
pub(crate) fn workload(kind: &str, name: &str, pod: Value) -> Value {
    let mut spec = json!({
        "selector": {"matchLabels": {"app": name}},
        "template": {"metadata": {"labels": {"app": name}}, "spec": pod_spec(pod)},
    });
    if kind == "StatefulSet" {
        spec["serviceName"] = json!(name);
    }
    json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// A Deployment.
pub(crate) fn deployment(name: &str, replicas: u32, pod: Value) -> Value {
    let mut deployment = workload("Deployment", name, pod);
    deployment["spec"]["replicas"] = json!(replicas);
    deployment
}
