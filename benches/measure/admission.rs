//! What policies add to a dry-run create of a Deployment with three containers.
//!
//! Covered and uncovered namespaces are measured in turn on the same API server, one request at a time.

use std::time::Instant;

use anyhow::{Context as _, Result};
use immutable_core::native::{Installation, NativeKind, compile};
use immutable_core::policy::Policy;
use immutable_operator::api::{ClusterImmutablePolicy, ImmutablePolicy};
use jiff::Timestamp;
use kube::api::{DynamicObject, Patch, PatchParams};
use serde_json::{Value, json};

use crate::Row;
use crate::idle::resident;
use crate::statistics::percentile;
use crate::support::{Cluster, Effect, GENEROUS, Requests, wait_until};

/// How many creates of each kind are compared.
const PAIRS: usize = 3_000;

pub(crate) async fn measure() -> Result<Vec<Row>> {
    let mut rows = one_policy().await?;
    rows.extend(two_hundred_policies().await?);
    Ok(rows)
}

/// One policy with the Stateless profile, enforced, on workloads that satisfy it.
async fn one_policy() -> Result<Vec<Row>> {
    let cluster = Cluster::start().await?;
    let covered = cluster.namespace(&[("bench", "covered")]).await?;
    let uncovered = cluster.namespace(&[("bench", "uncovered")]).await?;
    let policy: ClusterImmutablePolicy = serde_json::from_value(json!({
        "apiVersion": "immutable.dev/v1alpha1", "kind": "ClusterImmutablePolicy", "metadata": {"name": "bench"},
        "spec": {"profile": "Stateless", "enforcement": "Enforce",
                 "match": {"namespaces": {"selector": {"matchLabels": {"bench": "covered"}}}}},
    }))?;
    let policy = policy.validate().map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    apply(&cluster, &[policy]).await?;
    wait_until("the policy is in force", GENEROUS, async || {
        covered.rejects(&crate::evaluation::deployment("nginx:latest")).await.map(|_| ())
    })
    .await?;
    let (with, without) = compare(covered.requests(), uncovered.requests()).await?;
    let added = |share: f64| {
        let (mut with, mut without) = (with.clone(), without.clone());
        (percentile(&mut with, share) - percentile(&mut without, share), percentile(&mut without, share))
    };
    let (p50, base50) = added(0.5);
    let (p99, base99) = added(0.99);
    let what = "one policy, Stateless enforced: added to a dry-run create of a Deployment of three containers";
    Ok(vec![
        Row::at_most(&format!("{what}, p50"), p50, 0.3, "ms", &format!(" (uncovered {base50:.2} ms)")),
        Row::at_most(&format!("{what}, p99"), p99, 2.0, "ms", &format!(" (uncovered {base99:.2} ms)")),
    ])
}

/// 200 namespaced policies for 200 other namespaces, compared with a second control plane that has none. What the
/// two differ by before the policies come is not the policies'.
async fn two_hundred_policies() -> Result<Vec<Row>> {
    let (cluster, without) = (Cluster::start().await?, Cluster::start().await?);
    let (namespace, other) = (cluster.namespace(&[]).await?, without.namespace(&[]).await?);
    let server = *cluster.processes().get("kube-apiserver").context("no kube-apiserver")?;
    let difference = async || -> Result<(f64, f64)> {
        let (mut one, mut two) = compare(namespace.requests(), other.requests()).await?;
        let base = percentile(&mut two, 0.5);
        Ok((percentile(&mut one, 0.5) - base, base))
    };
    // Warm up, so that what the first requests load is not counted as the policies'.
    difference().await?;
    let (before, _) = difference().await?;
    let memory_before = resident(server)?;
    let policies: Vec<Policy> = (0..200)
        .map(|number| {
            let policy: ImmutablePolicy = serde_json::from_value(json!({
                "apiVersion": "immutable.dev/v1alpha1", "kind": "ImmutablePolicy",
                "metadata": {"name": format!("tenant-{number}"), "namespace": format!("tenant-{number}")},
                "spec": {"profile": "Stateless", "enforcement": "Enforce"},
            }))?;
            policy.validate().map_err(|problems| anyhow::anyhow!("{problems:?}"))
        })
        .collect::<Result<_>>()?;
    apply(&cluster, &policies).await?;
    let tenant = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant-7"}});
    Requests::new(cluster.client().await?, "").create(Effect::Real, &tenant).await?.accepted()?;
    let tenant = Requests::new(cluster.client().await?, "tenant-7");
    wait_until("the policies are in force", GENEROUS, async || {
        tenant.create(Effect::DryRun, &crate::evaluation::deployment("nginx:latest")).await?.rejected().map(|_| ())
    })
    .await?;
    // What compiling them kept busy for a while is not what they cost for good.
    difference().await?;
    let (after, base) = difference().await?;
    let memory_after = resident(server)?;
    let what = "200 namespaced policies for 200 other namespaces";
    let detail = format!(" (without: {base:.2} ms; the two differed by {before:.2} ms before)");
    Ok(vec![
        Row::at_most(&format!("{what}: added to p50"), after - before, 0.3, "ms", &detail),
        Row::at_most(
            &format!("{what}: added to the API server's memory"),
            memory_after - memory_before,
            64.0,
            "MiB",
            "",
        ),
    ])
}

async fn apply(cluster: &Cluster, policies: &[Policy]) -> Result<()> {
    let client = cluster.client().await?;
    for object in compile(policies, &installation(), Timestamp::now()).objects() {
        let plural = match object.kind() {
            NativeKind::Policy => "validatingadmissionpolicies",
            NativeKind::Binding => "validatingadmissionpolicybindings",
        };
        let gvk = kube::core::GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", object.kind().name());
        let resource = kube::api::ApiResource::from_gvk_with_plural(&gvk, plural);
        let api: kube::Api<DynamicObject> = kube::Api::all_with(client.clone(), &resource);
        api.patch(object.name(), &PatchParams::apply("bench").force(), &Patch::Apply(object.manifest(None))).await?;
    }
    Ok(())
}

/// Milliseconds of creates through each of two, in turn.
async fn compare(one: &Requests, two: &Requests) -> Result<(Vec<f64>, Vec<f64>)> {
    let manifest = compliant();
    let mut samples = (Vec::with_capacity(PAIRS), Vec::with_capacity(PAIRS));
    for _ in 0..PAIRS {
        samples.0.push(create(one, &manifest).await?);
        samples.1.push(create(two, &manifest).await?);
    }
    Ok(samples)
}

async fn create(requests: &Requests, manifest: &Value) -> Result<f64> {
    let started = Instant::now();
    let answer = requests.create(Effect::DryRun, manifest).await?;
    let elapsed = started.elapsed().as_secs_f64() * 1e3;
    answer.accepted()?;
    Ok(elapsed)
}

/// A Deployment with three containers that breaks no rule.
fn compliant() -> Value {
    let image = format!("registry.example/shop/web:1.27.3@sha256:{}", "0123456789abcdef".repeat(4));
    let mut manifest = crate::evaluation::deployment(&image);
    let spec = &mut manifest["spec"]["template"]["spec"];
    spec["securityContext"] = json!({"runAsNonRoot": true});
    spec["volumes"] = json!([{"name": "tmp", "emptyDir": {"sizeLimit": "16Mi"}}]);
    if let Some(containers) = spec["containers"].as_array_mut() {
        for container in containers {
            container["securityContext"] = json!({
                "readOnlyRootFilesystem": true, "allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]},
            });
            container["resources"] = json!({"requests": {"cpu": "10m"}, "limits": {"memory": "16Mi"}});
            container["readinessProbe"] = json!({"httpGet": {"path": "/", "port": 8080}});
        }
    }
    manifest
}

/// The installation whose objects the tests compile.
fn installation() -> Installation {
    Installation { namespace: "immutable-system".to_owned(), owner: "immutable-operator-owner".to_owned() }
}
