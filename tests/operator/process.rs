//! The operator as a process: health, logs, leader election, and what it waits for.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::{Value, json};

use crate::policies::Policy;
use crate::support::{BINARY, Cluster, GENEROUS, Operator, install_crds, install_rights, wait_until};
use crate::workloads::image_tag;

async fn leads(operator: &Operator, leads: bool) -> Result<()> {
    wait_until(&format!("immutable_leader to be {leads}"), GENEROUS, async || {
        let leader = operator.metric("immutable_leader").await?;
        ensure!((leader > 0.5) == leads, "immutable_leader is {leader}");
        Ok(())
    })
    .await
}

async fn holder(cluster: &Cluster) -> Result<String> {
    let leases: Api<Lease> = Api::namespaced(cluster.client().await?, "immutable-system");
    let spec = leases.get("immutable-operator").await?.spec.context("the lease is empty")?;
    Ok(spec.holder_identity.unwrap_or_default())
}

#[tokio::test]
async fn it_answers_probes_counts_and_logs() -> Result<()> {
    let (cluster, operator) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let policy = Policy::create(&namespace, image_tag()).await?;
    policy.enforced().await?;
    for path in ["/healthz", "/readyz"] {
        let response = operator.get(path).await?;
        ensure!(response.code == 200 && response.body == "ok", "{path}: {response:?}");
    }
    ensure!(operator.get("/nothing").await?.code == 404, "an unknown path is served");
    leads(operator, true).await?;
    let metrics = operator.get("/metrics").await?.body;
    for metric in [
        "immutable_build_info{version=\"",
        "immutable_reconcile_total{result=\"success\"}",
        "immutable_reconcile_duration_seconds_count",
        "immutable_api_calls_total{code=\"200\",kind=\"ValidatingAdmissionPolicy\",verb=\"apply\"}",
        "immutable_api_calls_total{code=\"200\",kind=\"Lease\",verb=\"update\"}",
        "immutable_api_calls_total{code=\"200\",kind=\"ImmutableException\",verb=\"patch status\"}",
        "immutable_watch_errors_total{kind=\"ImmutablePolicy\"} 0",
        "immutable_policies{kind=\"ClusterImmutablePolicy\",state=\"valid\"}",
        "immutable_native_objects{kind=\"ValidatingAdmissionPolicyBinding\"}",
    ] {
        ensure!(metrics.contains(metric), "{metric} is not in {metrics}");
    }
    ensure!(operator.stdout().await?.is_empty(), "{}", operator.stdout().await?);
    let log = operator.log().await?;
    let complete = log.rfind('\n').map_or("", |end| &log[..end]);
    for line in complete.lines() {
        let line: Value = serde_json::from_str(line).with_context(|| format!("no JSON: {line}"))?;
        ensure!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
    }
    ensure!(log.contains("\"leading\"") && log.contains("\"applied\""), "{log}");
    policy.delete().await
}

#[tokio::test]
async fn it_stops_cleanly_and_another_takes_over() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut first = Operator::start(&cluster).await?;
    leads(&first, true).await?;
    ensure!(!holder(&cluster).await?.is_empty(), "nobody holds the lease");
    let status = first.terminate().await?;
    ensure!(status.code() == Some(0), "{status}: {}", first.log().await?);
    ensure!(holder(&cluster).await?.is_empty(), "the lease was not given back");
    ensure!(first.stdout().await?.is_empty(), "{}", first.stdout().await?);

    let start = Instant::now();
    let mut second = Operator::launch(&cluster).await?;
    leads(&second, true).await?;
    eprintln!("MEASURED after SIGTERM a successor leads {:?} after its start", start.elapsed());
    let third = Operator::launch(&cluster).await?;
    third.ready().await?;
    leads(&third, false).await?;
    let namespace = cluster.namespace(&[]).await?;
    let policy = Policy::create(&namespace, image_tag()).await?;
    policy.enforced().await?;
    ensure!(!third.log().await?.contains("\"applied\""), "one that does not lead has written");

    second.kill()?;
    let start = Instant::now();
    policy.edit(json!({"rules": {"imageDigest": {}}})).await?;
    leads(&third, true).await?;
    eprintln!("MEASURED after SIGKILL another leads after {:?}", start.elapsed());
    policy.enforced().await?;
    ensure!(third.log().await?.contains("\"applied\""), "{}", third.log().await?);
    Ok(())
}

#[tokio::test]
async fn it_waits_for_its_resources_and_for_the_api_server() -> Result<()> {
    let cluster = Cluster::start().await?;
    install_rights(&cluster).await?;
    let mut operator = Operator::launch(&cluster).await?;
    wait_until("the operator to miss its resources", GENEROUS, async || {
        ensure!(operator.log().await?.contains("watch failed"), "{}", operator.log().await?);
        Ok(())
    })
    .await?;
    ensure!(operator.get("/healthz").await?.code == 200, "it is not alive");
    ensure!(operator.get("/readyz").await?.code == 503, "it is ready without its resources");
    install_crds(&cluster).await?;
    operator.ready().await?;
    let namespace = cluster.namespace(&[]).await?;
    let policy = Policy::create(&namespace, image_tag()).await?;
    policy.enforced().await?;

    // An API server that does not answer for longer than the lease is held.
    let server = cluster.processes().get("kube-apiserver").context("no API server")?.to_string();
    let signal = async |signal: &str| {
        let status = tokio::process::Command::new("kill").args([signal, &server]).status().await?;
        ensure!(status.success(), "kill {signal}: {status}");
        anyhow::Ok(())
    };
    signal("-STOP").await?;
    let stepped_down = leads(&operator, false).await;
    signal("-CONT").await?;
    stepped_down?;
    leads(&operator, true).await?;
    policy.edit(json!({"rules": {"imageDigest": {}}})).await?;
    policy.enforced().await?;
    operator.still_runs().await?;
    let status = operator.terminate().await?;
    ensure!(status.code() == Some(0), "{status}");
    Ok(())
}

#[tokio::test]
async fn it_starts_before_the_api_server_answers() -> Result<()> {
    let cluster = Cluster::start().await?;
    install_crds(&cluster).await?;
    install_rights(&cluster).await?;
    let server = cluster.processes().get("kube-apiserver").context("no API server")?.to_string();
    let signal = async |signal: &str| {
        let status = tokio::process::Command::new("kill").args([signal, &server]).status().await?;
        ensure!(status.success(), "kill {signal}: {status}");
        anyhow::Ok(())
    };
    // Its kubeconfig needs a token, so the API server stops answering between that and the start.
    let kubeconfig = Operator::kubeconfig(&cluster).await?;
    signal("-STOP").await?;
    let operator = Operator::launch_with(&cluster, &kubeconfig).await;
    let waits = async {
        let operator = operator?;
        wait_until("the operator to miss the API server", GENEROUS, async || {
            ensure!(operator.log().await?.contains("does not answer yet"), "{}", operator.log().await?);
            Ok(())
        })
        .await?;
        anyhow::Ok(operator)
    };
    let operator = waits.await;
    signal("-CONT").await?;
    operator?.ready().await
}

#[tokio::test]
async fn without_an_api_server_it_says_what_is_wrong() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let output = tokio::process::Command::new(BINARY)
        .arg("operator")
        .env("KUBECONFIG", scratch.path().join("missing"))
        .output()
        .await?;
    ensure!(!output.status.success() && output.stdout.is_empty(), "{output:?}");
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(stderr.contains("missing"), "it does not name the file: {stderr}");
    Ok(())
}
