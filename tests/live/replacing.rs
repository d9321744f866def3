//! What the tests of `why` and `plan` share: workloads that read ConfigMaps, and what the operator notes of them.

use anyhow::{Context as _, Result, ensure};
use kube::api::Patch;
use serde_json::{Value, json};

use crate::command::{Called, call};
use crate::support::{Cluster, Effect, GENEROUS, TestNamespace, wait_until};
use crate::workloads::{GOOD, workload};

pub(crate) const API_VERSION: &str = "immutable.dev/v1alpha1";

/// A ConfigMap with one key.
pub(crate) fn config_map(name: &str, level: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"level": level}})
}

/// A workload that has opted in and reads these ConfigMaps whole.
pub(crate) fn reading(kind: &str, name: &str, config: &[&str]) -> Value {
    let mut object = workload(kind, name, GOOD);
    object["metadata"]["annotations"] = json!({"immutable.dev/rollout": "enabled"});
    let from: Vec<Value> = config.iter().map(|name| json!({"configMapRef": {"name": name}})).collect();
    object["spec"]["template"]["spec"]["containers"][0]["envFrom"] = json!(from);
    object
}

/// A policy of a namespace that asks for this.
pub(crate) fn replace_policy(name: &str, replace: &Value) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": "ImmutablePolicy", "metadata": {"name": name}, "spec": {"replace": replace},
    })
}

/// Merges something into an object.
pub(crate) async fn merge(namespace: &TestNamespace, object: &Value, patch: Value) -> Result<Value> {
    namespace.requests().patch(Effect::Real, object, &Patch::Merge(patch), None).await?.accepted()
}

/// Edits a ConfigMap, whose times are whole seconds.
pub(crate) async fn edit(namespace: &TestNamespace, name: &str, level: &str) -> Result<()> {
    merge(namespace, &config_map(name, level), json!({"data": {"level": level}})).await.map(drop)
}

/// Waits until what is made now is told from what was made before by its time, which the API server tells in seconds.
pub(crate) async fn next_second() -> Result<()> {
    let start = jiff::Timestamp::now().as_second();
    wait_until("the next second", GENEROUS, async || {
        ensure!(jiff::Timestamp::now().as_second() > start, "it is the same");
        Ok(())
    })
    .await
}

/// Waits until the operator has noted what the pods of a workload were started with.
pub(crate) async fn recorded(namespace: &TestNamespace, object: &Value) -> Result<Value> {
    wait_until("a record", GENEROUS, async || {
        let stored = namespace.requests().get(object).await?.accepted()?;
        let annotations = &stored["metadata"]["annotations"];
        ensure!(annotations.get("immutable.dev/config-baseline").is_some(), "{annotations}");
        Ok(stored)
    })
    .await
}

/// Waits until the template of a workload carries a stamp that is not this one, and its controller is done with it.
pub(crate) async fn stamped(namespace: &TestNamespace, object: &Value, before: Option<&str>) -> Result<String> {
    wait_until("a stamp", GENEROUS, async || {
        let stored = namespace.requests().get(object).await?.accepted()?;
        let stamp = stored.pointer("/spec/template/metadata/annotations/immutable.dev~1config-digest");
        let stamp =
            stamp.and_then(Value::as_str).with_context(|| format!("no stamp: {}", stored["spec"]["template"]))?;
        ensure!(Some(stamp) != before, "it is still {stamp}");
        let (spec, status) = (&stored["spec"], &stored["status"]);
        ensure!(status["observedGeneration"] == stored["metadata"]["generation"], "{status}");
        ensure!(
            status["updatedReplicas"] == spec["replicas"] && status["availableReplicas"] == spec["replicas"],
            "{status}"
        );
        ensure!(status["replicas"] == spec["replicas"], "{status}");
        Ok(stamp.to_owned())
    })
    .await
}

/// Waits until a workload has all its pods.
pub(crate) async fn available(namespace: &TestNamespace, object: &Value) -> Result<()> {
    wait_until("its pods", GENEROUS, async || {
        let stored = namespace.requests().get(object).await?.accepted()?;
        ensure!(stored["status"]["availableReplicas"] == stored["spec"]["replicas"], "{}", stored["status"]);
        Ok(())
    })
    .await
}

/// Calls `plan` or `why` for JSON, and checks what it writes by the schema that is published.
pub(crate) async fn told(cluster: &Cluster, arguments: &[&str]) -> Result<(Called, Value)> {
    let called = call(cluster.kubeconfig(), &[arguments, &["-o", "json"]].concat()).await?;
    let report = called.json()?;
    checked(&report)?;
    Ok((called, report))
}

/// Fails unless a report is as published.
pub(crate) fn checked(report: &Value) -> Result<()> {
    let file = match report["kind"].as_str() {
        Some("PlanReport") => "plan-report",
        _ => "why-report",
    };
    let file = format!("{}/docs/schema/{file}.schema.json", env!("CARGO_MANIFEST_DIR"));
    let published = serde_json::from_str(&std::fs::read_to_string(&file)?)?;
    let faults = crate::schema::faults(&published, report);
    ensure!(faults.is_empty(), "{faults:?}: {report}");
    Ok(())
}

/// The names in a list of a report.
pub(crate) fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().filter_map(|one| one["name"].as_str()).collect()
}
