//! Deployments of one namespace and what they reference.

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::{Value, json};

use super::watched::Watched;
use crate::support::{Cluster, TestNamespace};

/// The annotation by which what the operator is compared with replaces pods.
const STAMP: &str = "bench.example/config-digest";
/// How many requests are under way while something is prepared.
const AT_ONCE: usize = 24;

/// A namespace with Deployments, ConfigMaps and Secrets, and a watch of the Deployments.
pub(super) struct Fleet {
    namespace: TestNamespace,
    pub(super) watched: Watched,
    pub(super) config_maps: Api<ConfigMap>,
    secrets: Api<Secret>,
    deployments: Api<Deployment>,
}

impl Fleet {
    /// An empty one.
    pub(super) async fn new(cluster: &Cluster) -> Result<Self> {
        let namespace = cluster.namespace(&[]).await?;
        let (client, name) = (namespace.client(), namespace.name());
        // A client of its own: what else this process asks must not hold up what it sees.
        let watched = Watched::start(cluster.client().await?, name).await?;
        Ok(Self {
            watched,
            config_maps: Api::namespaced(client.clone(), name),
            secrets: Api::namespaced(client.clone(), name),
            deployments: Api::namespaced(client, name),
            namespace,
        })
    }

    /// The namespace's name.
    pub(super) fn namespace(&self) -> &str {
        self.namespace.name()
    }

    /// Creates a ConfigMap with this under the key `value`.
    pub(super) async fn create_config_map(&self, name: &str, value: &str) -> Result<()> {
        let manifest = json!({"metadata": {"name": name}, "data": {"value": value}});
        self.config_maps.create(&PostParams::default(), &serde_json::from_value(manifest)?).await?;
        Ok(())
    }

    /// Creates a Secret with this under the key `value`.
    pub(super) async fn create_secret(&self, name: &str, value: &str) -> Result<()> {
        let manifest = json!({"metadata": {"name": name}, "stringData": {"value": value}});
        self.secrets.create(&PostParams::default(), &serde_json::from_value(manifest)?).await?;
        Ok(())
    }

    /// Creates a Deployment of one replica.
    pub(super) async fn create(&self, deployment: &Value) -> Result<()> {
        let deployment = serde_json::from_value(deployment.clone())?;
        self.deployments.create(&PostParams::default(), &deployment).await?;
        Ok(())
    }

    /// Changes what a ConfigMap holds: one request.
    pub(super) async fn edit_config_map(&self, name: &str, value: &str) -> Result<()> {
        let patch = Patch::Merge(json!({"data": {"value": value}}));
        self.config_maps.patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Changes what a Secret holds: one request.
    pub(super) async fn edit_secret(&self, name: &str, value: &str) -> Result<()> {
        let patch = Patch::Merge(json!({"stringData": {"value": value}}));
        self.secrets.patch(name, &PatchParams::default(), &patch).await?;
        Ok(())
    }

    /// Replaces the pods of a Deployment without the operator: one server-side apply, as small as its own.
    pub(super) async fn stamp(&self, name: &str, value: &str) -> Result<()> {
        let patch = Patch::Apply(super::stamp(name, STAMP, value));
        self.deployments.patch(name, &PatchParams::apply("bench").force(), &patch).await?;
        Ok(())
    }
}

/// A Deployment of one replica that reads a whole ConfigMap.
pub(super) fn deployment(name: &str, config_map: &str) -> Value {
    let labels = json!({"app": name});
    json!({
        "metadata": {"name": name, "labels": labels},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": {
            "metadata": {"labels": labels},
            "spec": {"containers": [{
                "name": "app", "image": "registry.example/shop/web:1.27.3", "env": [{"name": "PORT", "value": "8080"}],
                "envFrom": [{"configMapRef": {"name": config_map}}], "ports": [{"containerPort": 8080}],
                "resources": {"requests": {"cpu": "1m"}, "limits": {"memory": "16Mi"}},
            }]},
        }},
    })
}

/// Does the same for each number below a limit, some of them at once.
pub(super) async fn each(count: usize, work: impl AsyncFn(usize) -> Result<()>) -> Result<()> {
    each_at_once(AT_ONCE, count, work).await
}

/// The same with so many at once.
pub(super) async fn each_at_once(at_once: usize, count: usize, work: impl AsyncFn(usize) -> Result<()>) -> Result<()> {
    let work = &work;
    futures::stream::iter(0..count).map(|number| work(number)).buffer_unordered(at_once).try_collect().await
}
