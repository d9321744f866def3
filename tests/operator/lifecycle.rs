//! From a policy to what the API server does, through creation, edits and deletion.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::policies::{Policy, condition, gone, nothing_native};
use crate::support::{Cluster, Effect, GENEROUS, Operator, TestNamespace, wait_until};
use crate::workloads::{BAD, GOOD, KINDS, denied, image_tag, workload};

/// Waits until a workload is denied in this namespace, and returns the message.
async fn becomes_denied(namespace: &TestNamespace, manifest: &Value) -> Result<String> {
    wait_until("a denial", GENEROUS, async || denied(namespace.requests().create(Effect::DryRun, manifest).await?))
        .await
}

/// Waits until a workload is let in.
async fn becomes_accepted(namespace: &TestNamespace, manifest: &Value) -> Result<Value> {
    wait_until("to be let in", GENEROUS, async || namespace.accepts(manifest).await).await
}

#[tokio::test]
async fn a_policy_takes_effect_and_so_do_its_edits_and_its_end() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let elsewhere = cluster.namespace(&[]).await?;
    let bad = workload("Deployment", "web", BAD);
    let tagged = workload("Deployment", "web", "registry.example/web:1");

    let start = Instant::now();
    let policy = Policy::create(&namespace, image_tag()).await?;
    let message = becomes_denied(&namespace, &bad).await?;
    eprintln!("MEASURED a new policy denies after {:?}", start.elapsed());
    ensure!(message.contains("1 finding: [image-tag] container main: image registry.example/web:latest"), "{message}");
    ensure!(message.contains(policy.name()), "the binding does not name the policy: {message}");
    ensure!(message.contains("write registry.example/web:TAG@sha256:DIGEST"), "no fix in {message}");
    policy.enforced().await?;
    eprintln!("MEASURED it is proven after {:?}", start.elapsed());
    for kind in KINDS {
        denied(namespace.requests().create(Effect::DryRun, &workload(kind, "web", BAD)).await?)
            .with_context(|| format!("a bad {kind}"))?;
        namespace.accepts(&workload(kind, "web", GOOD)).await.with_context(|| format!("a good {kind}"))?;
        elsewhere.accepts(&workload(kind, "web", BAD)).await.with_context(|| format!("a {kind} elsewhere"))?;
    }

    let start = Instant::now();
    policy.edit(json!({"rules": {"imageTag": {"enforcement": "Disabled"}, "imageDigest": {}}})).await?;
    let message = becomes_denied(&namespace, &tagged).await?;
    eprintln!("MEASURED an edit that adds a rule denies after {:?}", start.elapsed());
    ensure!(message.contains("[image-digest]"), "{message}");
    let stored = policy.enforced().await?;
    let rules = &stored["status"]["effectiveRules"];
    ensure!(*rules == json!([{"rule": "image-digest", "enforcement": "Enforce", "from": "Rules"}]), "{rules}");

    let start = Instant::now();
    policy.edit(json!({"enforcement": "Warn"})).await?;
    becomes_accepted(&namespace, &tagged).await?;
    eprintln!("MEASURED an edit from Enforce to Warn lets in after {:?}", start.elapsed());
    policy.edit(json!({"enforcement": "Enforce"})).await?;
    becomes_denied(&namespace, &tagged).await?;
    policy.enforced().await?;

    let names = policy.native_names().await?;
    let start = Instant::now();
    policy.delete().await?;
    becomes_accepted(&namespace, &tagged).await?;
    eprintln!("MEASURED a deleted policy lets in after {:?}", start.elapsed());
    gone(&namespace.client(), &names).await
}

#[tokio::test]
async fn the_status_says_what_counts() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let spec = json!({
        "profile": "Infrastructure", "enforcement": "Enforce", "match": {"kinds": ["Deployment"]},
        "rules": {"imageDigest": {"enforcement": "Warn"}, "privileged": {"enforcement": "Audit"}},
    });
    let policy = Policy::create(&namespace, spec).await?;
    let stored = policy.enforced().await?;
    let expected = json!([
        {"rule": "image-tag", "enforcement": "Enforce", "from": "Profile"},
        {"rule": "image-digest", "enforcement": "Warn", "from": "Rules"},
        {"rule": "privileged", "enforcement": "Audit", "from": "Rules"},
    ]);
    ensure!(stored["status"]["effectiveRules"] == expected, "{}", stored["status"]["effectiveRules"]);
    let ready = policy.reports("Ready", "True", "Compiled").await?;
    for name in ["Ready", "Enforced"] {
        let condition = condition(&ready, name)?;
        ensure!(condition["observedGeneration"] == ready["metadata"]["generation"], "{condition}");
        ensure!(condition["lastTransitionTime"].is_string(), "{condition}");
    }
    ensure!(condition(&ready, "Reconciling").is_err(), "still reconciling: {}", ready["status"]["conditions"]);
    let gaps = ready["status"]["gaps"].to_string();
    ensure!(gaps.contains("CronJob is not judged"), "{gaps}");

    let native = policy.native().await?;
    let names = policy.native_names().await?;
    ensure!(native.names().len() == names.len(), "{names:?} but in the cluster {:?}", native.names());
    ensure!(native.policies.len() == native.bindings.len(), "{:?}", native.names());
    for name in native.policies.keys().chain(native.bindings.keys()) {
        ensure!(name.starts_with("immutable-"), "{name}");
    }

    // What no longer holds must not stay in the status.
    policy.edit(json!({"match": {"kinds": null}})).await?;
    let stored = policy.enforced().await?;
    let gaps = stored["status"]["gaps"].as_array().map_or(0, Vec::len);
    ensure!(gaps == 0, "{}", stored["status"]["gaps"]);
    policy.delete().await
}

#[tokio::test]
async fn warn_warns_and_audit_only_records() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let policy = Policy::create(
        &namespace,
        json!({"enforcement": "Warn", "rules": {"imageTag": {}, "imageDigest": {"enforcement": "Audit"}}}),
    )
    .await?;
    let stored = policy.reports("Enforced", "False", "NotEnforcing").await?;
    ensure!(!stored["status"]["nativePolicies"].as_array().is_none_or(Vec::is_empty), "{}", stored["status"]);
    let warnings = wait_until("a warning", GENEROUS, async || {
        let (_, warnings) = namespace.warns(&workload("Deployment", "web", BAD)).await?;
        ensure!(!warnings.is_empty(), "no warning");
        Ok(warnings)
    })
    .await?;
    ensure!(warnings.len() == 1 && warnings[0].contains("1 finding: [image-tag]"), "{warnings:?}");

    // A finding at Audit is seen by nobody but the audit log.
    let (_, warnings) = namespace.warns(&workload("Deployment", "web", "registry.example/web:1")).await?;
    ensure!(warnings.is_empty(), "{warnings:?}");
    let annotation = wait_until("the finding in the audit log", GENEROUS, async || {
        namespace
            .create_object(&json!({
                "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generateName": "recorded-"},
                "spec": workload("Deployment", "recorded", "registry.example/web:1")["spec"],
            }))
            .await?;
        recorded(cluster, &namespace).await
    })
    .await?;
    ensure!(annotation.contains("[image-digest]") && annotation.contains("\"Audit\""), "{annotation}");
    policy.delete().await
}

/// The audit annotation of a finding in this namespace.
async fn recorded(cluster: &Cluster, namespace: &TestNamespace) -> Result<String> {
    let of_deployment = |event: &&Value| {
        let object = &event["objectRef"];
        object["namespace"] == namespace.name() && object["resource"] == "deployments" && event["verb"] == "create"
    };
    let key = "validation.policy.admission.k8s.io/validation_failure";
    let events = cluster.audit_events().await?;
    let annotations = events.iter().filter(of_deployment).filter_map(|event| event["annotations"][key].as_str());
    let of_digest = annotations.filter(|annotation| annotation.contains("[image-digest]"));
    of_digest.last().map(ToOwned::to_owned).context("no event has it")
}

#[tokio::test]
async fn a_policy_deleted_while_the_operator_is_down_is_gone_after_its_next_start() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace(&[]).await?;
    let deleted = Policy::create_named(&namespace, "deleted", image_tag()).await?;
    let joined = Policy::create_namespaced(&namespace, "joined", image_tag()).await?;
    let edited =
        Policy::create_named(&namespace, "edited", json!({"enforcement": "Enforce", "rules": {"privileged": {}}}))
            .await?;
    for policy in [&deleted, &joined, &edited] {
        policy.enforced().await?;
    }
    let names = [deleted.native_names().await?, joined.native_names().await?].concat();
    operator.kill()?;
    deleted.delete().await?;
    joined.delete().await?;
    edited.edit(json!({"rules": {"runAsNonRoot": {}, "privileged": null}})).await?;
    // Nobody is there to remove it.
    namespace.rejects(&workload("Deployment", "web", BAD)).await?;

    let start = Instant::now();
    let operator = Operator::start(&cluster).await?;
    gone(&namespace.client(), &names).await?;
    eprintln!(
        "MEASURED after a start, and the wait for the killed leader's lease, they are gone after {:?}",
        start.elapsed()
    );
    let stored = edited.enforced().await?;
    ensure!(stored["status"]["effectiveRules"][0]["rule"] == "run-as-non-root", "{}", stored["status"]);
    // The API server goes on denying by what is deleted until it has learned that it is.
    wait_until("a denial by the edited policy alone", GENEROUS, async || {
        let answer = namespace.requests().create(Effect::DryRun, &workload("Deployment", "web", BAD)).await?;
        let message = denied(answer)?;
        ensure!(message.contains("[run-as-non-root]") && !message.contains("[image-tag]"), "{message}");
        Ok(())
    })
    .await?;

    edited.delete().await?;
    nothing_native(&namespace.client()).await?;
    drop(operator);
    Ok(())
}
