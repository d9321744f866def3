//! What runs already is judged, and the policy's status and the metrics say what it comes to.

use anyhow::{Context, Result, ensure};
use kube::api::Patch;
use serde_json::{Value, json};

use crate::policies::{Policy, condition};
use crate::support::{Effect, GENEROUS, Operator, wait_until};
use crate::workloads::{BAD, GOOD, workload};

/// Waits until the status counts so many workloads, compliant ones, and findings of image-tag.
async fn counts(policy: &Policy, workloads: u64, compliant: u64, findings: u64) -> Result<()> {
    let what = format!("{} to count {workloads} workloads, {compliant} compliant, {findings} findings", policy.name());
    wait_until(&what, GENEROUS, async || {
        let stored = policy.stored().await?;
        let summary = &stored["status"]["summary"];
        let of_rule = summary["findings"].as_array().into_iter().flatten().find(|rule| rule["rule"] == "image-tag");
        let found = of_rule.map_or(0, |rule| rule["count"].as_u64().unwrap_or_default());
        let seen = (summary["workloads"].as_u64(), summary["compliant"].as_u64(), found);
        ensure!(seen == (Some(workloads), Some(compliant), findings), "{summary}");
        Ok(())
    })
    .await
}

fn audited(rules: &Value) -> Value {
    json!({"enforcement": "Audit", "rules": rules})
}

#[tokio::test]
async fn what_runs_is_counted_as_it_changes() -> Result<()> {
    let (cluster, operator) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    // Their ReplicaSets and Pods are judged through them.
    namespace.create_object(&workload("Deployment", "bad", BAD)).await?;
    namespace.create_object(&workload("Deployment", "good", GOOD)).await?;
    namespace.create_object(&workload("Pod", "bare", BAD)).await?;
    let policy = Policy::create(&namespace, audited(&json!({"imageTag": {}}))).await?;
    policy.reports("Scanned", "True", "Scanned").await?;
    counts(&policy, 3, 1, 2).await?;
    let labels =
        format!("{{enforcement=\"Audit\",policy=\"{}\",resource_namespace=\"{0}\",rule=\"image-tag\"}}", policy.name());
    let violations = operator.metric(&format!("immutable_violations{labels}")).await?;
    ensure!((violations - 2.0).abs() < 0.1, "{violations}");

    let good = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": GOOD}]}}}});
    let fixed = Patch::Strategic(good);
    let manifest = workload("Deployment", "bad", BAD);
    namespace.requests().patch(Effect::Real, &manifest, &fixed, None).await?.accepted()?;
    counts(&policy, 3, 2, 1).await?;
    namespace.requests().delete(Effect::Real, &workload("Pod", "bare", BAD)).await?.accepted()?;
    counts(&policy, 2, 2, 0).await?;
    // Where Deployments are not judged, the pods that come of them are.
    policy.edit(json!({"match": {"kinds": ["StatefulSet"]}})).await?;
    counts(&policy, 4, 4, 0).await?;
    policy.edit(json!({"match": {"kinds": null}, "rules": {"imageTag": null, "probes": {}}})).await?;
    counts(&policy, 2, 0, 0).await?;
    policy.delete().await
}

#[tokio::test]
async fn a_kind_that_cannot_be_watched_is_named_and_stops_no_other() -> Result<()> {
    let (cluster, operator) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    namespace.create_object(&workload("Deployment", "bad", BAD)).await?;
    let mut spec = audited(&json!({"imageTag": {}}));
    spec["match"]["customWorkloads"] = json!([{
        "apiVersion": "nobody.example/v1", "kind": "Rollout", "resource": "rollouts", "podTemplates": ["/spec/template"],
    }]);
    let policy = Policy::create(&namespace, spec).await?;
    let stored = policy.reports("Scanned", "False", "KindUnwatched").await?;
    let message = condition(&stored, "Scanned")?["message"].as_str().context("no message")?.to_owned();
    ensure!(message.contains("nobody.example/v1 Rollout"), "{message}");
    let gaps = stored["status"]["gaps"].to_string();
    ensure!(gaps.contains("nobody.example/v1 Rollout cannot be watched"), "{gaps}");
    ensure!(operator.metric("immutable_watch_errors_total{kind=\"custom\"}").await? > 0.5, "no failure is counted");
    counts(&policy, 1, 0, 1).await?;
    policy.delete().await
}

#[tokio::test]
async fn configuration_that_changes_is_found_and_no_longer_when_it_is_immutable() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let mut manifest = workload("Deployment", "reads", GOOD);
    manifest["spec"]["template"]["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "settings"}}]);
    namespace.create_object(&manifest).await?;
    // The API server mounts the ConfigMap with its authority, which is no configuration.
    namespace.create_object(&workload("Pod", "bare", GOOD)).await?;
    let policy = Policy::create(&namespace, audited(&json!({"immutableConfig": {}}))).await?;
    let summary = |expected: Value| {
        let policy = &policy;
        wait_until("the summary", GENEROUS, async move || {
            let summary = policy.stored().await?["status"]["summary"].clone();
            let seen = json!([summary["workloads"], summary["compliant"], summary["undecided"], summary["findings"]]);
            ensure!(seen == expected, "{summary}");
            Ok(())
        })
    };
    // It does not exist: nobody can say what the workload will read.
    summary(json!([2, 1, 1, []])).await?;
    let mut settings =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "b"}});
    namespace.create_object(&settings).await?;
    summary(json!([2, 1, 0, [{"rule": "immutable-config", "count": 1}]])).await?;
    settings["immutable"] = json!(true);
    namespace.requests().replace(Effect::Real, &settings, None).await?.accepted()?;
    summary(json!([2, 2, 0, []])).await?;
    let would_reject = policy.stored().await?["status"]["summary"]["wouldReject"].clone();
    ensure!(would_reject == 0, "{would_reject}");
    policy.delete().await
}
