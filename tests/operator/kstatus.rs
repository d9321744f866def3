//! Conditions as Flux, `kubectl wait` and others understand them: the rules of kstatus for any kind.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::exceptions::exception;
use crate::policies::Policy;
use crate::support::{GENEROUS, Operator, TestNamespace, wait_until};
use crate::workloads::image_tag;

/// What kstatus makes of an object whose kind it does not know: `GetGenericStatus` and `checkGenericProperties` of
/// `kstatus/status` in Flux' cli-utils.
fn kstatus(object: &Value) -> &'static str {
    let status = &object["status"];
    let condition = |name: &str| {
        let conditions = status["conditions"].as_array().into_iter().flatten();
        conditions.clone().find(|condition| condition["type"] == name).map(|condition| condition["status"].clone())
    };
    if status["observedGeneration"].is_i64() && status["observedGeneration"] != object["metadata"]["generation"] {
        return "InProgress";
    }
    if condition("Reconciling").is_some_and(|status| status == "True") {
        return "InProgress";
    }
    if condition("Stalled").is_some_and(|status| status == "True") {
        return "Failed";
    }
    match condition("Ready") {
        Some(status) if status == "True" => "Current",
        Some(_) => "InProgress",
        // Without any, an object counts as done as soon as it exists.
        None => "Current",
    }
}

async fn comes_to(namespace: &TestNamespace, manifest: &Value, expected: &str) -> Result<()> {
    wait_until(&format!("{} to be {expected}", manifest["metadata"]["name"]), GENEROUS, async || {
        let stored = namespace.requests().get(manifest).await?.accepted()?;
        let seen = kstatus(&stored);
        ensure!(stored["status"]["observedGeneration"].is_i64() && seen == expected, "{seen}: {}", stored["status"]);
        Ok(())
    })
    .await
}

#[tokio::test]
async fn tools_know_when_policies_and_exceptions_are_done_and_when_they_never_will_be() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let policy = Policy::create_namespaced(&namespace, "valid", image_tag()).await?;
    comes_to(&namespace, policy.manifest(), "Current").await?;
    // The CRD takes what only the operator can tell to be wrong.
    policy.edit(json!({"exceptions": {"rules": ["no-such-rule"]}})).await?;
    comes_to(&namespace, policy.manifest(), "Failed").await?;
    policy.edit(json!({"exceptions": null})).await?;
    comes_to(&namespace, policy.manifest(), "Current").await?;

    let (valid, _) = exception("valid", 600, &json!({}));
    let (ended, _) = exception("ended", -10, &json!({}));
    let (unknown, _) = exception("unknown", 600, &json!({"rules": ["no-such-rule"]}));
    for (manifest, expected) in [(&valid, "Current"), (&ended, "Current"), (&unknown, "Failed")] {
        namespace.create_object(manifest).await?;
        comes_to(&namespace, manifest, expected).await?;
    }
    policy.delete().await
}
