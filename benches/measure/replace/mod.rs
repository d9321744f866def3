//! Replacing pods when what they read changes: how soon, how many at once, after a restart, and in how much memory.
//!
//! The pods are rolled by the real controllers and become ready on nodes that are pretended, on the same cores. What
//! the operator is compared with is done by this process in the same run, in turn with it.

mod audit;
mod bare;
mod fan_out;
mod fleet;
mod latency;
mod memory;
mod restart;
mod watched;

use anyhow::{Result, ensure};
use immutable_operator::api::API_VERSION;
use serde_json::{Value, json};

use crate::Row;
use crate::support::{Cluster, Effect, GENEROUS, Operator, Requests, wait_until};

pub(crate) use latency::measure as latency;
pub(crate) use memory::measure as memory;

/// The name of the policy by which workloads are opted in.
const POLICY: &str = "bench";

/// One ConfigMap of many workloads, and restarts among as many: one cluster serves both, since it takes a while to make.
pub(crate) async fn many() -> Result<Vec<Row>> {
    let cluster = start().await?;
    let fleets = fan_out::Fleets::create(&cluster).await?;
    let operator = Operator::start(&cluster).await?;
    let mut rows = fan_out::measure(&cluster, &fleets).await?;
    rows.extend(restart::measure(&cluster, operator, &fleets).await?);
    Ok(rows)
}

/// A cluster whose audit log holds what the operator asks for, and nothing else.
async fn start() -> Result<Cluster> {
    // It is read when the API server starts.
    let policy = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    std::fs::write(policy.path(), audit::POLICY)?;
    Cluster::start_with(&[&format!("--apiserver-flag=--audit-policy-file={}", policy.path().display())]).await
}

/// Replaces the pods of everything in these namespaces at once and without limits, from now on.
async fn opt_in(cluster: &Cluster, namespaces: &[&str]) -> Result<()> {
    let policy = json!({
        "apiVersion": API_VERSION, "kind": "ClusterImmutablePolicy", "metadata": {"name": POLICY},
        "spec": {
            "match": {"namespaces": {"names": namespaces}},
            "replace": {"onConfigChange": "Enabled", "settle": "0s", "minInterval": "0s"},
        },
    });
    let requests = Requests::new(cluster.client().await?, "");
    let patch = kube::api::Patch::Apply(policy.clone());
    requests.patch(Effect::Real, &policy, &patch, None).await?.accepted().map(drop)
}

/// Waits until this operator leads, also where it first has to see that another does no longer.
async fn leads(operator: &Operator) -> Result<()> {
    wait_until("the operator to lead", GENEROUS, async || {
        let leads = operator.metric("immutable_leader").await?;
        ensure!(leads > 0.5, "immutable_leader is {leads}");
        Ok(())
    })
    .await
}

/// A server-side apply of one annotation of a Deployment's pod template: the least that replaces its pods.
fn stamp(name: &str, annotation: &str, value: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"template": {"metadata": {"annotations": {annotation: value}}}},
    })
}
