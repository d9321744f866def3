//! The cluster itself is never in danger, and nothing stays behind.

use anyhow::{Context, Result, ensure};
use k8s_openapi::{
    api::rbac::v1::ClusterRole, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde_json::{Value, json};

use crate::policies::{Native, Policy, cluster_policy, nothing_native};
use crate::support::{Cluster, Effect, GENEROUS, Operator, install_rights, wait_until};
use crate::workloads::{BAD, denied, image_tag, workload};

const OWNER: &str = "immutable-operator-owner";

/// A violating Deployment in a namespace.
fn bad_in(namespace: &str) -> Value {
    let mut manifest = workload("Deployment", "web", BAD);
    manifest["metadata"]["namespace"] = json!(namespace);
    manifest
}

#[tokio::test]
async fn system_namespaces_are_judged_only_if_named() -> Result<()> {
    let cluster = Cluster::start().await?;
    let _operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace(&[]).await?;
    let requests = namespace.requests();
    let create = async |namespace: &str| requests.create(Effect::DryRun, &bad_in(namespace)).await;
    let system = ["kube-system", "kube-node-lease", "immutable-system"];

    let everywhere = Policy::create_from(requests, cluster_policy("everywhere", image_tag())).await?;
    everywhere.enforced().await?;
    denied(create(namespace.name()).await?)?;
    denied(create("default").await?)?;
    denied(create("kube-public").await?)?;
    for name in system {
        create(name).await?.accepted().with_context(|| name.to_owned())?;
    }
    // A label is no name.
    let label =
        json!({"match": {"namespaces": {"selector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}}}});
    everywhere.edit(label).await?;
    everywhere.reports("Enforced", "Unknown", "NothingToProve").await?;
    create("kube-system").await?.accepted()?;
    everywhere.delete().await?;

    for name in system {
        let mut spec = image_tag();
        spec["match"]["namespaces"]["names"] = json!([name]);
        let named = Policy::create_from(requests, cluster_policy(&format!("only-{name}"), spec)).await?;
        named.enforced().await?;
        denied(create(name).await?).with_context(|| format!("{name} is named"))?;
        create(namespace.name()).await?.accepted()?;
        named.delete().await?;
    }
    Ok(())
}

#[tokio::test]
async fn the_owner_decides_whether_anything_native_is_there() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace(&[]).await?;
    let policy = Policy::create_named(&namespace, "owned", image_tag()).await?;
    policy.enforced().await?;
    let native = Native::list(namespace.client()).await?;
    let metadata = native.policies.values().map(|policy| &policy.metadata);
    for metadata in metadata.chain(native.bindings.values().map(|binding| &binding.metadata)) {
        let owner = metadata.owner_references.iter().flatten().next().context("it has no owner")?;
        ensure!(owner.name == OWNER && owner.kind == "ClusterRole", "{owner:?}");
        ensure!(owner.block_owner_deletion != Some(true), "{owner:?}");
        ensure!(metadata.finalizers.is_none(), "{metadata:?}");
    }
    ensure!(policy.stored().await?["metadata"]["finalizers"].is_null(), "the policy has a finalizer");

    // The operator lives: it writes nothing that garbage collection could not follow, and says so.
    let roles: Api<ClusterRole> = Api::all(namespace.client());
    roles.delete(OWNER, &DeleteParams::default()).await?;
    nothing_native(&namespace.client()).await?;
    policy.reports("Ready", "False", "OwnerMissing").await?;
    policy.reports("Enforced", "False", "OwnerMissing").await?;
    policy.edit(json!({"rules": {"imageDigest": {}}})).await?;
    policy.reports("Ready", "False", "OwnerMissing").await?;
    let native = Native::list(namespace.client()).await?;
    ensure!(native.is_empty(), "written without an owner: {:?}", native.names());
    operator.still_runs().await?;
    install_rights(&cluster).await?;
    policy.enforced().await?;
    denied(namespace.requests().create(Effect::DryRun, &bad_in(namespace.name())).await?)?;

    // The operator is dead: garbage collection alone removes everything.
    operator.kill()?;
    roles.delete(OWNER, &DeleteParams::default()).await?;
    nothing_native(&namespace.client()).await?;
    wait_until("to be let in", GENEROUS, async || namespace.accepts(&workload("Deployment", "web", BAD)).await).await?;

    // Started without its owner, it runs and says so.
    let mut operator = Operator::launch(&cluster).await?;
    operator.ready().await?;
    policy.edit(json!({"rules": {"imageDigest": null}})).await?;
    policy.reports("Ready", "False", "OwnerMissing").await?;
    operator.still_runs().await
}

#[tokio::test]
async fn uninstalling_leaves_nothing() -> Result<()> {
    let cluster = Cluster::start().await?;
    let operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace(&[]).await?;
    Policy::create_named(&namespace, "cluster-wide", image_tag()).await?.enforced().await?;
    Policy::create_namespaced(&namespace, "own", image_tag()).await?.enforced().await?;
    drop(operator);

    let rights = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/rbac.yaml");
    let rights = rights.to_str().context("the path is no text")?;
    cluster.kubectl(&["delete", "--wait=false", "--filename", rights], "").await?.success()?;
    let definitions: Api<CustomResourceDefinition> = Api::all(namespace.client());
    let exceptions = "immutableexceptions.immutable.dev";
    for name in ["clusterimmutablepolicies.immutable.dev", "immutablepolicies.immutable.dev", exceptions] {
        definitions.delete(name, &DeleteParams::default()).await?;
    }
    nothing_native(&namespace.client()).await?;
    wait_until("the definitions to be gone", GENEROUS, async || {
        let left = definitions.list(&ListParams::default()).await?.items;
        ensure!(left.is_empty(), "{} are left", left.len());
        Ok(())
    })
    .await?;
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> = Api::all(namespace.client());
    wait_until("the operator's namespace to be gone", GENEROUS, async || {
        ensure!(namespaces.get_opt("immutable-system").await?.is_none(), "it is there");
        Ok(())
    })
    .await
}
