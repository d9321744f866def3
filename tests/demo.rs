//! `make demo` on a cluster that is somebody's: it plays its steps, and removes what it made and nothing else.

mod support;

use std::process::{Output, Stdio};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{
    admissionregistration::v1::ValidatingAdmissionPolicy, core::v1::Namespace, rbac::v1::ClusterRole,
};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::{Api, Resource, ResourceExt, api::ListParams};
use serde::de::DeserializeOwned;
use support::{Cluster, GENEROUS, Operator, wait_until};

const CRDS: [&str; 3] =
    ["clusterimmutablepolicies.immutable.dev", "immutablepolicies.immutable.dev", "immutableexceptions.immutable.dev"];

async fn demo(cluster: &Cluster) -> Result<Output> {
    let output = tokio::process::Command::new("scripts/demo")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("KUBECONFIG", cluster.kubeconfig())
        .env_remove("KEEP")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    output.await.context("run scripts/demo")
}

/// The names of all objects of a kind that are not on their way out.
async fn names<K>(cluster: &Cluster) -> Result<Vec<String>>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + DeserializeOwned,
{
    let objects = Api::<K>::all(cluster.client().await?).list(&ListParams::default()).await?;
    let staying = objects.items.into_iter().filter(|object| object.meta().deletion_timestamp.is_none());
    Ok(staying.map(|object| object.name_any()).collect())
}

#[tokio::test]
async fn it_plays_on_somebodys_cluster_and_leaves_nothing() -> Result<()> {
    let cluster = Cluster::start().await?;
    let output = demo(&cluster).await?;
    let (told, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{told}\n{complained}");
    ensure!(complained.contains("image nginx:latest has the mutable tag latest"), "{complained}");
    ensure!(told.contains("Done: the API server enforced it all"), "{told}");
    wait_until("everything of the demo to be gone", GENEROUS, async || {
        let ours = |names: Vec<String>| names.into_iter().filter(|name| name.contains("immutable")).collect::<Vec<_>>();
        let left = [
            ours(names::<Namespace>(&cluster).await?),
            ours(names::<ClusterRole>(&cluster).await?),
            ours(names::<CustomResourceDefinition>(&cluster).await?),
            ours(names::<ValidatingAdmissionPolicy>(&cluster).await?),
        ];
        ensure!(left.iter().all(Vec::is_empty), "{left:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn where_an_operator_leads_it_refuses_and_touches_nothing() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut operator = Operator::start(&cluster).await?;
    wait_until("it to lead", GENEROUS, async || {
        let leads = operator.metric("immutable_leader").await?;
        ensure!(leads > 0.5, "{leads}");
        Ok(())
    })
    .await?;
    let output = demo(&cluster).await?;
    let complained = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.status.success() && complained.contains("has led on this cluster already"), "{complained}");
    let crds = names::<CustomResourceDefinition>(&cluster).await?;
    ensure!(CRDS.iter().all(|crd| crds.iter().any(|name| name == crd)), "{crds:?}");
    ensure!(names::<ClusterRole>(&cluster).await?.iter().any(|name| name == "immutable-operator-owner"), "the owner");
    ensure!(names::<Namespace>(&cluster).await?.iter().any(|name| name == "immutable-system"), "the namespace");
    operator.still_runs().await
}
