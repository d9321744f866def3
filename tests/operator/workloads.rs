//! Workloads of every kind, good and bad, and users who create them.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::support::{Answer, Cluster, Effect, GENEROUS, Requests, TestNamespace, wait_until};

/// An image that no rule on images minds.
pub(crate) const GOOD: &str =
    "registry.example/web:1@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
/// An image that every rule on images minds.
pub(crate) const BAD: &str = "registry.example/web:latest";

/// The rule that most tests use, enforced.
pub(crate) fn image_tag() -> Value {
    json!({"enforcement": "Enforce", "rules": {"imageTag": {}}})
}

pub(crate) fn pod_spec(image: &str) -> Value {
    json!({"containers": [{"name": "main", "image": image}]})
}

/// The template of the kinds that have one.
pub(crate) fn template(name: &str, image: &str) -> Value {
    json!({"metadata": {"labels": {"app": name}}, "spec": pod_spec(image)})
}

/// A workload of a kind whose pods run this image.
pub(crate) fn workload(kind: &str, name: &str, image: &str) -> Value {
    let selector = json!({"matchLabels": {"app": name}});
    let mut job_template = json!({"spec": {"template": template(name, image)}});
    job_template["spec"]["template"]["spec"]["restartPolicy"] = json!("Never");
    let (api_version, spec) = match kind {
        "Pod" => ("v1", pod_spec(image)),
        "PodTemplate" => ("v1", Value::Null),
        "ReplicationController" => {
            ("v1", json!({"replicas": 1, "selector": {"app": name}, "template": template(name, image)}))
        }
        "Job" => ("batch/v1", job_template["spec"].clone()),
        "CronJob" => ("batch/v1", json!({"schedule": "* * * * *", "jobTemplate": job_template})),
        "DaemonSet" => ("apps/v1", json!({"selector": selector, "template": template(name, image)})),
        "StatefulSet" => (
            "apps/v1",
            json!({"replicas": 1, "serviceName": name, "selector": selector, "template": template(name, image)}),
        ),
        _ => ("apps/v1", json!({"replicas": 2, "selector": selector, "template": template(name, image)})),
    };
    let mut object =
        json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name, "labels": {"app": name}}});
    if spec.is_null() {
        object["template"] = template(name, image);
    } else {
        object["spec"] = spec;
    }
    object
}

/// Every built-in kind that carries pods.
pub(crate) const KINDS: [&str; 9] = [
    "Pod",
    "PodTemplate",
    "ReplicationController",
    "ReplicaSet",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "Job",
    "CronJob",
];

/// The message of a denial by one of the operator's policies; any other refusal proves nothing.
pub(crate) fn denied(answer: Answer) -> Result<String> {
    let message = answer.rejected()?;
    ensure!(message.contains("ValidatingAdmissionPolicy 'immutable-"), "refused by something else: {message}");
    Ok(message)
}

/// Requests of an ordinary user: the ClusterRole `edit` in one namespace, and for debug containers and
/// PodTemplates, which `edit` leaves out, the rights to them.
pub(crate) async fn ordinary_user(cluster: &Cluster, namespace: &TestNamespace) -> Result<Requests> {
    let user = format!("user-of-{}", namespace.name());
    let subjects = json!([{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]);
    let api_version = "rbac.authorization.k8s.io/v1";
    let more = json!({
        "apiVersion": api_version, "kind": "Role", "metadata": {"name": "more"},
        "rules": [{"apiGroups": [""], "resources": ["pods/ephemeralcontainers", "podtemplates"], "verbs": ["*"]}],
    });
    namespace.create_object(&more).await?;
    for (name, kind, role) in [("edits", "ClusterRole", "edit"), ("more", "Role", "more")] {
        let binding = json!({
            "apiVersion": api_version, "kind": "RoleBinding", "metadata": {"name": name}, "subjects": subjects,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        });
        namespace.create_object(&binding).await?;
    }
    let requests = namespace.requests_as(cluster.client_as(&user, &[]).await?);
    wait_until("the user's rights", GENEROUS, async || {
        for kind in ["Deployment", "PodTemplate"] {
            requests.create(Effect::DryRun, &workload(kind, "may-i", GOOD)).await?.accepted()?;
        }
        Ok(())
    })
    .await?;
    Ok(requests)
}
