//! How soon an exception holds, alone and beside a thousand others, and what those cost.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use futures::TryStreamExt as _;
use immutable_operator::api::API_VERSION;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::Row;
use crate::idle::resident;
use crate::support::{Cluster, Effect, GENEROUS, Operator, Requests, TestNamespace, wait_until};

/// How often each is measured; the worst counts.
const ROUNDS: usize = 3;
/// In how many namespaces the others are, 20 in each.
const NAMESPACES: usize = 50;

fn exception(name: &str, workload: &str) -> Result<Value> {
    let end = Timestamp::now().checked_add(SignedDuration::from_hours(1))?;
    Ok(json!({
        "apiVersion": API_VERSION, "kind": "ImmutableException", "metadata": {"name": name},
        "spec": {
            "rules": ["image-tag", "image-digest", "read-only-root-filesystem"], "reason": "the vendor ships no releases",
            "expiresAt": Timestamp::from_second(end.as_second())?.to_string(),
            "workloads": {"kinds": ["Deployment"], "names": [workload]}, "images": ["nginx*", "registry.example/legacy/*"],
            "containers": ["main"],
        },
    }))
}

/// A Deployment that breaks what the exceptions excuse, and nothing else.
fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "main", "image": "nginx:latest"}]},
        }},
    })
}

/// Seconds until a create is answered as expected.
async fn until(requests: &Requests, name: &str, denied: bool) -> Result<f64> {
    let started = Instant::now();
    wait_until("the exception's effect", GENEROUS, async || {
        let answer = requests.create(Effect::DryRun, &deployment(name)).await?;
        ensure!((answer.code >= 300) == denied, "{}", answer.code);
        Ok(())
    })
    .await?;
    Ok(started.elapsed().as_secs_f64())
}

/// The worst times from creation to effect, and from deletion to its end.
async fn rounds(namespace: &TestNamespace) -> Result<(f64, f64)> {
    let requests = namespace.requests();
    let (mut holds, mut ended) = (0.0_f64, 0.0_f64);
    for _ in 0..ROUNDS {
        let manifest = exception("measured", "web")?;
        requests.create(Effect::Real, &manifest).await?.accepted()?;
        holds = holds.max(until(requests, "web", false).await?);
        requests.delete(Effect::Real, &manifest).await?.accepted()?;
        ended = ended.max(until(requests, "web", true).await?);
    }
    Ok((holds, ended))
}

pub(crate) async fn measure() -> Result<Vec<Row>> {
    let cluster = Cluster::start().await?;
    let operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace(&[]).await?;
    let policy = json!({
        "apiVersion": API_VERSION, "kind": "ClusterImmutablePolicy", "metadata": {"name": "bench"},
        "spec": {"enforcement": "Enforce", "rules": {
            "imageTag": {}, "imageDigest": {}, "readOnlyRootFilesystem": {}, "privileged": {}, "hostPath": {},
        }},
    });
    namespace.requests().create(Effect::Real, &policy).await?.accepted()?;
    until(namespace.requests(), "web", true).await?;
    let (holds, ended) = rounds(&namespace).await?;

    let server = *cluster.processes().get("kube-apiserver").context("no kube-apiserver")?;
    let others = futures::future::try_join_all((0..NAMESPACES).map(|_| cluster.namespace(&[]))).await?;
    let before = resident(server)?;
    let manifests: Vec<(usize, Value)> = (0..NAMESPACES * 20)
        .map(|number| Ok((number % NAMESPACES, exception(&format!("e{number}"), &format!("legacy-{number}-*"))?)))
        .collect::<Result<_>>()?;
    futures::stream::iter(manifests.iter().map(Ok))
        .try_for_each_concurrent(16, |(at, manifest)| {
            let requests = others[*at].requests();
            async move { requests.create(Effect::Real, manifest).await?.accepted().map(drop) }
        })
        .await?;
    let started = Instant::now();
    let last = NAMESPACES * 20 - 1;
    until(others[last % NAMESPACES].requests(), &format!("legacy-{last}-x"), false).await?;
    let all = started.elapsed().as_secs_f64();
    let added = resident(server)? - before;
    let (beside, ended_beside) = rounds(&namespace).await?;
    let memory = resident(operator.id())?;
    let worst = format!(", the worst of {ROUNDS}");
    Ok(vec![
        Row::at_most("from the creation of an exception until it holds", holds, 10.0, "s", &worst),
        Row::at_most("from its deletion until it does not", ended, 10.0, "s", &worst),
        Row::at_most("1,000 more in 50 namespaces: until the last holds", all, 20.0, "s", ""),
        Row::at_most("the same: added to the API server's memory", added, 160.0, "MiB", ""),
        Row::at_most("beside them: from the creation of one until it holds", beside, 10.0, "s", &worst),
        Row::at_most("beside them: from its deletion until it does not", ended_beside, 10.0, "s", &worst),
        Row::at_most("beside them: resident memory of the operator", memory, 48.0, "MiB", ""),
    ])
}
