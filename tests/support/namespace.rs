//! Namespaces for tests that run side by side.

use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use kube::{Api, Client, Config, api::DeleteParams};
use serde_json::{Value, json};

use super::{
    cluster::Cluster,
    requests::{Effect, Requests},
    waiting::{GENEROUS, wait_until},
};

static NUMBER: AtomicU32 = AtomicU32::new(1);

/// A namespace of one test. It is deleted in the background when it is dropped.
pub(crate) struct TestNamespace {
    name: String,
    requests: Requests,
    config: Config,
}

impl TestNamespace {
    pub(crate) async fn create(cluster: &Cluster, labels: &[(&str, &str)]) -> Result<Self> {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{}-{number}", std::process::id());
        let labels: serde_json::Map<String, Value> =
            labels.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let client = cluster.client().await?;
        let requests = Requests::new(client.clone(), &name);
        let manifest = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": labels},
        });
        requests
            .create(Effect::Real, &manifest)
            .await?
            .accepted()
            .with_context(|| format!("create the namespace {name}"))?;
        let namespace = Self { name, requests, config: cluster.config().await? };
        // Pods cannot be created before it is there.
        let accounts = Api::<ServiceAccount>::namespaced(client, &namespace.name);
        wait_until("the namespace's default service account", GENEROUS, async || Ok(accounts.get("default").await?))
            .await?;
        Ok(namespace)
    }

    /// The namespace's name.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// A client with the rights of an administrator.
    pub(crate) fn client(&self) -> Client {
        self.requests.client().clone()
    }

    /// Requests of an administrator in this namespace: replace, patch, delete, and more than one answer to read.
    pub(crate) fn requests(&self) -> &Requests {
        &self.requests
    }

    /// Requests of another client in this namespace.
    pub(crate) fn requests_as(&self, client: Client) -> Requests {
        Requests::new(client, &self.name)
    }

    /// Creates the object for real and returns it.
    ///
    /// # Errors
    /// When the API server rejects it.
    pub(crate) async fn create_object(&self, manifest: &Value) -> Result<Value> {
        self.requests.create(Effect::Real, manifest).await?.accepted()
    }

    /// Expects that the object could be created, and returns what it would be. Nothing is written.
    ///
    /// # Errors
    /// When the API server rejects it.
    pub(crate) async fn accepts(&self, manifest: &Value) -> Result<Value> {
        self.requests.create(Effect::DryRun, manifest).await?.accepted()
    }

    /// Expects that the object cannot be created, and returns the message of the rejection. Nothing is written.
    ///
    /// # Errors
    /// When the API server accepts it.
    pub(crate) async fn rejects(&self, manifest: &Value) -> Result<String> {
        self.requests.create(Effect::DryRun, manifest).await?.rejected()
    }

    /// Expects that the object could be created, and returns what it would be with the warnings of the API server.
    /// Nothing is written.
    ///
    /// # Errors
    /// When the API server rejects it.
    pub(crate) async fn warns(&self, manifest: &Value) -> Result<(Value, Vec<String>)> {
        let answer = self.requests.create(Effect::DryRun, manifest).await?;
        let warnings = answer.warnings.clone();
        Ok((answer.accepted()?, warnings))
    }
}

impl Drop for TestNamespace {
    fn drop(&mut self) {
        // The test's runtime may be about to end, so the deletion gets a thread and a runtime of its own. If the
        // process ends first, the control plane ends with it, and the namespace too.
        let (name, config) = (self.name.clone(), self.config.clone());
        std::thread::spawn(move || -> Result<()> {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let client = Client::try_from(config)?;
                Api::<Namespace>::all(client).delete(&name, &DeleteParams::default()).await?;
                Ok(())
            })
        });
    }
}
