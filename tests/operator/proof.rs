//! `Enforced=True` is proven, falls with its proof, and says why where there is none.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use k8s_openapi::jiff::Timestamp;
use kube::api::Patch;
use serde_json::{Value, json};

use crate::policies::{Native, Policy, bound_to, cluster_policy, condition, gone};
use crate::support::{BINARY, Cluster, Effect, GENEROUS, Operator, TestNamespace, install_rights, wait_until};
use crate::workloads::{BAD, denied, image_tag, workload};

/// Takes rules out of the operator's ClusterRole.
async fn take_rights_away(namespace: &TestNamespace, taken: impl Fn(&Value) -> bool) -> Result<()> {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "immutable-operator"},
    });
    let mut stored = namespace.requests().get(&role).await?.accepted()?;
    let rules = stored["rules"].as_array_mut().context("the role has no rules")?;
    let before = rules.len();
    rules.retain(|rule| !taken(rule));
    ensure!(rules.len() < before, "nothing was taken away");
    let patch = Patch::Merge(json!({"rules": stored["rules"]}));
    namespace.requests().patch(Effect::Real, &role, &patch, None).await?.accepted()?;
    Ok(())
}

fn concerns(rule: &Value, resource: &str) -> bool {
    rule["resources"].as_array().is_some_and(|resources| resources.iter().any(|known| known == resource))
}

#[tokio::test]
async fn it_falls_with_its_proof_and_comes_back() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace(&[]).await?;
    let policy = Policy::create(&namespace, image_tag()).await?;
    let stored = policy.enforced().await?;
    let since = condition(&stored, "Enforced")?["lastTransitionTime"].clone();

    // It cannot look any more: what was seen before is of the past.
    take_rights_away(&namespace, |rule| concerns(rule, "podtemplates")).await?;
    let stored = policy.reports("Enforced", "Unknown", "ProofFailed").await?;
    let enforced = condition(&stored, "Enforced")?;
    ensure!(enforced["message"].to_string().contains("cannot create resource"), "{enforced}");
    ensure!(enforced["lastTransitionTime"].as_str() >= since.as_str(), "{enforced}");
    install_rights(&cluster).await?;
    policy.enforced().await?;

    // Somebody removes the enforcement, and it may not be repaired.
    take_rights_away(&namespace, |rule| concerns(rule, "validatingadmissionpolicies")).await?;
    let native = policy.native().await?;
    for name in native.bindings.keys() {
        let binding = json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
            "metadata": {"name": name},
        });
        namespace.requests().delete(Effect::Real, &binding).await?.accepted()?;
    }
    wait_until("Enforced to fall", GENEROUS, async || {
        let stored = policy.stored().await?;
        let enforced = condition(&stored, "Enforced")?;
        ensure!(enforced["status"] != "True", "{enforced}");
        Ok(())
    })
    .await?;
    operator.still_runs().await?;
    install_rights(&cluster).await?;
    policy.enforced().await?;
    denied(namespace.requests().create(Effect::DryRun, &workload("Pod", "web", BAD)).await?)?;
    Ok(())
}

#[tokio::test]
async fn an_api_server_that_does_not_enforce_is_found_out() -> Result<()> {
    let cluster =
        Cluster::start_with(&["--apiserver-flag=--disable-admission-plugins=ValidatingAdmissionPolicy"]).await?;
    let _operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace(&[]).await?;
    let policy = Policy::create(&namespace, image_tag()).await?;
    let stored = policy.reports("Enforced", "False", "NotInForce").await?;
    let enforced = condition(&stored, "Enforced")?;
    ensure!(enforced["message"].to_string().contains("was let in"), "{enforced}");
    namespace.accepts(&workload("Pod", "web", BAD)).await?;
    Ok(())
}

#[tokio::test]
async fn without_a_namespace_there_is_nothing_to_prove_until_one_comes() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let somewhere = cluster.namespace(&[]).await?;
    let name = format!("nowhere-{}", somewhere.name());
    let spec = bound_to(&name, image_tag());
    let policy = Policy::create_from(somewhere.requests(), cluster_policy(&name, spec.clone())).await?;
    let stored = policy.reports("Enforced", "Unknown", "NothingToProve").await?;
    let enforced = condition(&stored, "Enforced")?;
    ensure!(enforced["message"].to_string().contains("no namespace matches"), "{enforced}");
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
    somewhere.create_object(&namespace).await?;
    policy.enforced().await?;
    somewhere.requests().delete(Effect::Real, &namespace).await?.accepted()?;
    policy.delete().await
}

#[tokio::test]
async fn a_policy_that_denies_nothing_says_so() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let policy = Policy::create(&namespace, json!({"profile": "Stateless"})).await?;
    policy.reports("Ready", "True", "Compiled").await?;
    policy.reports("Enforced", "False", "NotEnforcing").await?;
    policy.edit(json!({"rules": {"imageTag": {"enforcement": "Enforce"}}})).await?;
    policy.enforced().await?;
    policy.edit(json!({"rules": {"imageTag": {"enforcement": "Warn"}}})).await?;
    policy.reports("Enforced", "False", "NotEnforcing").await?;
    policy.delete().await
}

/// Waits until a suspended policy has nothing in the API server.
async fn is_suspended(namespace: &TestNamespace, policy: &Policy, names: &[String]) -> Result<Value> {
    let stored = policy.reports("Enforced", "False", "Suspended").await?;
    gone(&namespace.client(), names).await?;
    wait_until("a violating workload to be let in", GENEROUS, async || {
        namespace.accepts(&workload("Pod", "web", BAD)).await
    })
    .await?;
    Ok(stored)
}

#[tokio::test]
async fn a_suspension_ends_by_itself() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let policy = Policy::create(&namespace, image_tag()).await?;
    policy.enforced().await?;
    let names = policy.native_names().await?;
    // Long enough to see it on a slow machine.
    let until = (Timestamp::now() + Duration::from_secs(20)).to_string();
    policy.edit(json!({"suspend": {"until": until, "reason": "incident 4711"}})).await?;
    let stored = is_suspended(&namespace, &policy, &names).await?;
    let ready = condition(&stored, "Ready")?;
    ensure!(ready["status"] == "True" && ready["reason"] == "Suspended", "{ready}");
    ensure!(condition(&stored, "Enforced")?["message"].to_string().contains("incident 4711"), "{}", stored["status"]);
    ensure!(stored["status"]["nativePolicies"] == json!([]), "{}", stored["status"]);
    policy.enforced().await?;
    denied(namespace.requests().create(Effect::DryRun, &workload("Pod", "web", BAD)).await?)?;
    ensure!(Timestamp::now().to_string() > until, "it ended before its time");
    policy.delete().await
}

#[tokio::test]
async fn the_command_line_suspends_and_resumes() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let cluster_wide = Policy::create(&namespace, image_tag()).await?;
    let own = Policy::create_namespaced(
        &namespace,
        "own",
        json!({
            "enforcement": "Enforce", "rules": {"imageTag": {}, "imageDigest": {}}
        }),
    )
    .await?;
    let immutable = async |arguments: &[&str]| {
        let output = tokio::process::Command::new(BINARY)
            .args(arguments)
            .env("KUBECONFIG", cluster.kubeconfig())
            .output()
            .await?;
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        anyhow::Ok((output.status.code(), String::from_utf8(output.stdout)?, stderr))
    };
    for (policy, of_namespace) in [(&cluster_wide, &[][..]), (&own, &["--namespace", namespace.name()][..])] {
        policy.enforced().await?;
        let all = Native::list(namespace.client()).await?;
        let suspend = ["suspend", policy.name(), "--for", "1h", "--reason", "incident 4711"];
        let (code, stdout, stderr) = immutable(&[&suspend, of_namespace].concat()).await?;
        ensure!(code == Some(0) && stdout.contains("is suspended until"), "{code:?} {stdout} {stderr}");
        let stored = policy.reports("Enforced", "False", "Suspended").await?;
        ensure!(stored["spec"]["suspend"]["reason"] == "incident 4711", "{}", stored["spec"]);
        ensure!(all.names().len() > Native::list(namespace.client()).await?.names().len(), "nothing is gone");
        let (code, stdout, stderr) = immutable(&[&["resume", policy.name()], of_namespace].concat()).await?;
        ensure!(code == Some(0), "{code:?} {stdout} {stderr}");
        let stored = policy.enforced().await?;
        ensure!(stored["spec"].get("suspend").is_none(), "{}", stored["spec"]);
    }
    let (code, stdout, stderr) = immutable(&["suspend", "no-such", "--for", "1h", "--reason", "x"]).await?;
    ensure!(code.is_some_and(|code| code != 0) && stderr.contains("no-such"), "{code:?} {stdout} {stderr}");
    own.delete().await?;
    cluster_wide.delete().await
}
