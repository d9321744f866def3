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
const WORKLOADS: usize = 60;

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
    let two = Operator::launch(&cluster).await?;
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
    let settled = async || {
        let stored = stored(&namespace).await?;
        let told: BTreeSet<String> =
            stored.iter().filter_map(|report| report["scope"]["name"].as_str().map(ToOwned::to_owned)).collect();
        let missing: Vec<_> = expected.difference(&told).collect();
        let orphaned: Vec<_> = told.difference(&expected).collect();
        ensure!(missing.is_empty() && orphaned.is_empty(), "missing {missing:?}, orphaned {orphaned:?}");
        ensure!(stored.len() == expected.len(), "{} reports of {} workloads", stored.len(), expected.len());
        for report in &stored {
            let owner = &report["metadata"]["ownerReferences"][0];
            let workload = workload("Deployment", owner["name"].as_str().unwrap_or_default(), BAD);
            let there = namespace.requests().get(&workload).await?.accepted()?;
            ensure!(there["metadata"]["uid"] == owner["uid"], "{owner} is gone");
        }
        let versions: Vec<Value> = stored.iter().map(|report| report["metadata"]["resourceVersion"].clone()).collect();
        Ok(versions)
    };
    let versions = wait_until("every report to be right", GENEROUS, settled).await?;
    // It stays so, and nothing is written again.
    tokio::time::sleep(Duration::from_secs(2)).await;
    ensure!(settled().await? == versions, "something was written again");
    drop(two);
    policy.delete().await
}
