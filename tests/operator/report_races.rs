//! Operators that are killed, and several at once: in the end there is one report for each workload that violates.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use kube::api::DeleteParams;
use serde_json::{Value, json};

use crate::policies::Policy;
use crate::reports::{OPEN_REPORTS, reports, set_image};
use crate::support::{
    Cluster, Effect, GENEROUS, Operator, TestNamespace, install_crds, install_report_crds, install_rights, wait_until,
};
use crate::workloads::{BAD, GOOD, workload};

/// How many Deployments there are.
const WORKLOADS: usize = 120;

/// Has a successor not wait for what a killed leader held.
async fn free_the_lease(cluster: &Cluster) -> Result<()> {
    let leases: Api<Lease> = Api::namespaced(cluster.client().await?, "immutable-system");
    match leases.delete("immutable-operator", &DeleteParams::default()).await {
        Err(kube::Error::Api(status)) if status.is_not_found() => Ok(()),
        result => Ok(result.map(|_| ())?),
    }
}

async fn stored(namespace: &TestNamespace) -> Result<Vec<Value>> {
    reports(&namespace.client(), OPEN_REPORTS, None).await
}

/// Waits until so many reports are there.
async fn at_least(namespace: &TestNamespace, number: usize) -> Result<()> {
    wait_until(&format!("{number} reports"), GENEROUS, async || {
        let seen = stored(namespace).await?.len();
        ensure!(seen >= number, "{seen}");
        Ok(())
    })
    .await
}

/// An operator in the place of one that was killed.
async fn successor(cluster: &Cluster) -> Result<Operator> {
    free_the_lease(cluster).await?;
    Operator::launch(cluster).await
}

/// Has an operator killed in the midst of what a change makes it write: some reports are as the change wants them, and
/// others are as before. One that was too fast gets another turn, with the change undone.
async fn killed_amid(
    cluster: &Cluster,
    namespace: &TestNamespace,
    all: usize,
    change: impl AsyncFn(bool) -> Result<()>,
    changed: impl Fn(&[Value]) -> usize,
) -> Result<()> {
    for on in [true, false, true, false, true] {
        let done = async || {
            let changed = changed(&stored(namespace).await?);
            anyhow::Ok(if on { changed } else { all - changed })
        };
        let mut operator = successor(cluster).await?;
        wait_until("all to be as before the change", GENEROUS, async || {
            let (leads, done) = (operator.metric("immutable_leader").await?, done().await?);
            ensure!(leads > 0.5 && done == 0, "leads: {leads}, done: {done}");
            Ok(())
        })
        .await?;
        change(on).await?;
        wait_until("the first changes", GENEROUS, async || {
            let done = done().await?;
            ensure!(done >= 5, "{done}");
            Ok(())
        })
        .await?;
        operator.kill()?;
        if done().await? < all {
            return Ok(());
        }
    }
    anyhow::bail!("it was always done before it was killed")
}

#[tokio::test]
async fn killed_and_doubled_operators_leave_no_duplicate_no_orphan_and_no_gap() -> Result<()> {
    let cluster = Cluster::start().await?;
    install_crds(&cluster).await?;
    install_rights(&cluster).await?;
    install_report_crds(&cluster, OPEN_REPORTS.0).await?;
    let namespace = cluster.namespace(&[]).await?;
    let name = |number: usize| format!("web-{number}");
    let create = async |number: usize| {
        let mut manifest = workload("Deployment", &name(number), BAD);
        manifest["spec"]["replicas"] = json!(0);
        namespace.create_object(&manifest).await
    };
    for number in 0..WORKLOADS {
        create(number).await?;
    }
    let policy = Policy::create(&namespace, json!({"enforcement": "Warn", "rules": {"imageTag": {}}})).await?;

    // Killed in the midst of its writes, twice in a row.
    for number in [5, 20] {
        let mut operator = Operator::launch(&cluster).await?;
        at_least(&namespace, number).await?;
        operator.kill()?;
        free_the_lease(&cluster).await?;
    }
    // While none runs, some are fixed, some go, and some are made anew under the same name.
    for number in 0..5 {
        set_image(&namespace, &name(number), GOOD).await?;
    }
    for number in 5..15 {
        namespace.requests().delete(Effect::Real, &workload("Deployment", &name(number), BAD)).await?.accepted()?;
    }
    for number in 10..15 {
        create(number).await?;
    }
    // Two at once; the one that leads is killed while things change.
    let mut one = Operator::launch(&cluster).await?;
    let mut two = Operator::launch(&cluster).await?;
    at_least(&namespace, WORKLOADS - 15).await?;
    let (first, second) = tokio::join!(one.metric("immutable_leader"), two.metric("immutable_leader"));
    ensure!((first? + second? - 1.0).abs() < 0.1, "not exactly one leads");
    for number in 15..20 {
        namespace.requests().delete(Effect::Real, &workload("Deployment", &name(number), BAD)).await?.accepted()?;
    }
    one.kill()?;
    free_the_lease(&cluster).await?;
    for number in 20..25 {
        set_image(&namespace, &name(number), GOOD).await?;
    }

    let expected: BTreeSet<String> = (10..15).chain(25..WORKLOADS).map(name).collect();
    let settled = async |result: &str| {
        let stored = stored(&namespace).await?;
        let told: BTreeSet<String> =
            stored.iter().filter_map(|report| report["scope"]["name"].as_str().map(ToOwned::to_owned)).collect();
        let missing: Vec<_> = expected.difference(&told).collect();
        let orphaned: Vec<_> = told.difference(&expected).collect();
        ensure!(missing.is_empty() && orphaned.is_empty(), "missing {missing:?}, orphaned {orphaned:?}");
        ensure!(stored.len() == expected.len(), "{} reports of {} workloads", stored.len(), expected.len());
        for report in &stored {
            ensure!(report["summary"][result] == 1, "it is of the past: {report:#}");
            let owner = &report["metadata"]["ownerReferences"][0];
            let workload = workload("Deployment", owner["name"].as_str().unwrap_or_default(), BAD);
            let there = namespace.requests().get(&workload).await?.accepted()?;
            ensure!(there["metadata"]["uid"] == owner["uid"], "{owner} is gone");
        }
        let versions: Vec<Value> = stored.iter().map(|report| report["metadata"]["resourceVersion"].clone()).collect();
        Ok(versions)
    };
    let versions = wait_until("every report to be right", GENEROUS, async || settled("warn").await).await?;
    // It stays so, and nothing is written again.
    tokio::time::sleep(Duration::from_secs(2)).await;
    ensure!(settled("warn").await? == versions, "something was written again");

    // Killed while every report changes, then while every report goes.
    two.kill()?;
    let enforce = async |on: bool| policy.edit(json!({"enforcement": if on { "Enforce" } else { "Warn" }})).await;
    let fails = |stored: &[Value]| stored.iter().filter(|report| report["summary"]["fail"] == 1).count();
    killed_amid(&cluster, &namespace, expected.len(), enforce, fails).await?;
    enforce(true).await?;
    let mut operator = successor(&cluster).await?;
    wait_until("every report to be right", GENEROUS, async || settled("fail").await).await?;
    operator.kill()?;
    let leave = async |on: bool| {
        let labels = if on { json!({"nobody": "has-it"}) } else { Value::Null };
        policy.edit(json!({"match": {"selector": {"matchLabels": labels}}})).await
    };
    let gone = |stored: &[Value]| expected.len() - stored.len();
    killed_amid(&cluster, &namespace, expected.len(), leave, gone).await?;
    leave(true).await?;
    let _operator = successor(&cluster).await?;
    wait_until("every report to be gone", GENEROUS, async || {
        let left = stored(&namespace).await?.len();
        ensure!(left == 0, "{left}");
        Ok(())
    })
    .await?;
    leave(false).await?;
    wait_until("every report to be right", GENEROUS, async || settled("fail").await).await?;
    policy.delete().await
}
