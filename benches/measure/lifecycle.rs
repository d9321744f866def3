//! How soon a policy, its edit and its deletion take effect, and how soon another replica takes over.

use std::time::Instant;

use anyhow::{Result, ensure};
use immutable_operator::api::API_VERSION;
use kube::api::Patch;
use serde_json::{Value, json};

use crate::Row;
use crate::support::{Cluster, Effect, GENEROUS, Operator, Requests, wait_until};

/// How often each is measured; the worst counts.
const ROUNDS: usize = 5;

/// Seconds until a create of a Deployment with this image is answered as expected.
async fn until(requests: &Requests, image: &str, denied: bool) -> Result<f64> {
    let started = Instant::now();
    let manifest = crate::evaluation::deployment(image);
    wait_until("the policy's effect", GENEROUS, async || {
        let answer = requests.create(Effect::DryRun, &manifest).await?;
        ensure!((answer.code >= 300) == denied, "{}", answer.code);
        Ok(())
    })
    .await?;
    Ok(started.elapsed().as_secs_f64())
}

async fn leads(operator: &Operator) -> Result<()> {
    wait_until("a leader", GENEROUS, async || {
        let leader = operator.metric("immutable_leader").await?;
        ensure!(leader > 0.5, "{leader}");
        Ok(())
    })
    .await
}

pub(crate) async fn measure() -> Result<Vec<Row>> {
    let cluster = Cluster::start().await?;
    let mut operator = Operator::start(&cluster).await?;
    leads(&operator).await?;
    let namespace = cluster.namespace(&[]).await?;
    let requests = namespace.requests();
    let policy = |tags: Value| {
        json!({
            "apiVersion": API_VERSION, "kind": "ClusterImmutablePolicy", "metadata": {"name": "bench"},
            "spec": {"profile": "Infrastructure", "enforcement": "Enforce", "rules": {
                "imageTag": {"forbiddenTags": tags}, "imageDigest": {"enforcement": "Disabled"},
            }},
        })
    };
    let (mut created, mut edited, mut deleted) = (0.0_f64, 0.0_f64, 0.0_f64);
    for _ in 0..ROUNDS {
        let manifest = policy(json!([]));
        requests.create(Effect::Real, &manifest).await?.accepted()?;
        created = created.max(until(requests, "nginx:latest", true).await?);
        let edit = Patch::Merge(policy(json!(["stable"])));
        requests.patch(Effect::Real, &manifest, &edit, None).await?.accepted()?;
        edited = edited.max(until(requests, "nginx:stable", true).await?);
        requests.delete(Effect::Real, &manifest).await?.accepted()?;
        deleted = deleted.max(until(requests, "nginx:latest", false).await?);
    }
    let successor = Operator::launch(&cluster).await?;
    successor.ready().await?;
    operator.kill()?;
    let started = Instant::now();
    leads(&successor).await?;
    let taken_over = started.elapsed().as_secs_f64();
    let worst = format!(", the worst of {ROUNDS}");
    Ok(vec![
        Row::at_most("from the creation of a policy to the first denial", created, 5.0, "s", &worst),
        Row::at_most("from its edit to the first denial by it", edited, 5.0, "s", &worst),
        Row::at_most("from its deletion to the first admission", deleted, 5.0, "s", &worst),
        Row::at_most(
            "from the SIGKILL of the leader to the next",
            taken_over,
            19.0,
            "s",
            " (15 s lease, seen and tried every 2 s)",
        ),
    ])
}
