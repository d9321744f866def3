//! Custom workloads, of which the operator knows what a policy says.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::place::{Place, at_once, policy};
use crate::support::{GENEROUS, wait_until};
use crate::web::{Web, cause, reads_all, workload};

const GROUP: &str = "tests.immutable.dev";

/// A kind with a template where most have theirs, installed as its own documents say: the CRD, and the rights to it.
async fn install(place: &Place<'_>) -> Result<()> {
    let anything = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("fleets.{GROUP}")},
        "spec": {
            "group": GROUP, "scope": "Namespaced", "names": {"plural": "fleets", "singular": "fleet", "kind": "Fleet"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": anything, "status": anything}}},
            }],
        },
    });
    place.create(&crd).await?;
    let api_version = "rbac.authorization.k8s.io/v1";
    let role = json!({
        "apiVersion": api_version, "kind": "ClusterRole", "metadata": {"name": "immutable-operator-fleets"},
        "rules": [{"apiGroups": [GROUP], "resources": ["fleets"], "verbs": ["list", "watch", "patch"]}],
    });
    place.create(&role).await?;
    let binding = json!({
        "apiVersion": api_version, "kind": "ClusterRoleBinding", "metadata": {"name": "immutable-operator-fleets"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "immutable-operator-fleets",
        },
        "subjects": [{"kind": "ServiceAccount", "namespace": "immutable-system", "name": "immutable-operator"}],
    });
    place.create(&binding).await?;
    wait_until("fleets to be served", GENEROUS, async || place.namespace.accepts(&fleet("probe")).await.map(|_| ()))
        .await
}

fn fleet(name: &str) -> Value {
    let mut fleet = workload("Fleet", name, reads_all("app"));
    fleet["apiVersion"] = json!(format!("{GROUP}/v1"));
    fleet["spec"]["replicas"] = json!(1);
    fleet
}

/// Does what the controller of fleets would: all pods run the newest template.
async fn controller(web: &Web<'_>, place: &Place<'_>) -> Result<()> {
    let generation = web.stored().await?["metadata"]["generation"].clone();
    let counts = json!({"replicas": 1, "updatedReplicas": 1, "availableReplicas": 1});
    let mut status = json!({"observedGeneration": generation});
    if let (Some(status), Value::Object(counts)) = (status.as_object_mut(), counts) {
        status.extend(counts);
    }
    let patch = kube::api::Patch::Merge(json!({"status": status}));
    let requests = place.namespace.requests();
    requests.patch(crate::support::Effect::Real, web.manifest(), &patch, Some("status")).await?.accepted()?;
    Ok(())
}

#[tokio::test]
async fn a_custom_workload_is_replaced_as_its_policy_says() -> Result<()> {
    let (cluster, _) = crate::support::Operator::shared().await?;
    let place = Place::without_policy(cluster).await?;
    install(&place).await?;
    let custom = json!([{
        "apiVersion": format!("{GROUP}/v1"), "kind": "Fleet", "resource": "fleets", "podTemplates": ["/spec/template"],
    }]);
    place.create(&policy(&json!({"match": {"customWorkloads": custom}, "replace": at_once()}))).await?;
    place.config("app", json!({"level": "info"})).await?;
    let web = Web::create(&place, fleet("web")).await?;
    controller(&web, &place).await?;
    web.recorded().await?;
    for level in ["debug", "trace"] {
        let before = web.stored().await?;
        place.edit("app", json!({"level": level})).await?;
        let after = web
            .becomes("replaced", |stored| {
                stored["spec"]["template"]["metadata"] != before["spec"]["template"]["metadata"]
            })
            .await?;
        ensure!(cause(&after)? == "ConfigMap app (level)", "{}", cause(&after)?);
        controller(&web, &place).await?;
    }
    place.were_replaced(&[("fleets/web", 2)]).await
}
