//! Users with rights to a part.

use anyhow::Result;
use serde_json::{Value, json};

use crate::support::{Cluster, GENEROUS, TestNamespace, wait_until};

/// A user who may get and list some resources of a namespace and nothing else.
pub(crate) struct User {
    pub(crate) name: String,
    kubeconfig: tempfile::NamedTempFile,
}

impl User {
    pub(crate) async fn create(cluster: &Cluster, namespace: &TestNamespace, resources: &[&str]) -> Result<Self> {
        let name = format!("reader-of-{}", namespace.name());
        let rbac = "rbac.authorization.k8s.io";
        let role = json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": {"name": "reads"},
            "rules": [{"apiGroups": ["*"], "resources": resources, "verbs": ["get", "list"]}],
        });
        let binding = json!({
            "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": {"name": "reads"},
            "subjects": [{"kind": "User", "name": name, "apiGroup": rbac}],
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "reads"},
        });
        for object in [role, binding] {
            namespace.create_object(&object).await?;
        }
        let pods: kube::Api<k8s_openapi::api::core::v1::Pod> =
            kube::Api::namespaced(cluster.client_as(&name, &[]).await?, namespace.name());
        wait_until("the user's rights", GENEROUS, async || Ok(pods.list(&kube::api::ListParams::default()).await?))
            .await?;
        let mut config = kubeconfig(cluster, Some(namespace.name())).await?;
        config["users"][0]["user"]["as"] = json!(name);
        let kubeconfig = write(&config)?;
        Ok(Self { name, kubeconfig })
    }

    pub(crate) fn kubeconfig(&self) -> &std::path::Path {
        self.kubeconfig.path()
    }
}

/// The administrator's kubeconfig, with the namespace of its context.
pub(crate) async fn kubeconfig(cluster: &Cluster, namespace: Option<&str>) -> Result<Value> {
    let text = tokio::fs::read_to_string(cluster.kubeconfig()).await?;
    let mut config: Value = serde_saphyr::from_str(&text)?;
    if let Some(namespace) = namespace {
        config["contexts"][0]["context"]["namespace"] = json!(namespace);
    }
    Ok(config)
}

/// Writes a kubeconfig into a file of its own.
pub(crate) fn write(config: &Value) -> Result<tempfile::NamedTempFile> {
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), config.to_string())?;
    Ok(file)
}
