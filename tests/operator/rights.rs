//! The shipped rights are those that the operator uses: none is missing, and none is too many.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::policies::{Native, Policy, nothing_native};
use crate::reports::{OPEN_REPORTS, WG_POLICY, reports};
use crate::support::{Cluster, Effect, GENEROUS, Operator, TestNamespace, install_report_crds, wait_until};
use crate::workloads::{BAD, GOOD, image_tag, workload};

const ACCOUNT: &str = "system:serviceaccount:immutable-system:immutable-operator";

/// A right: a verb on a resource, with its group and subresource.
type Right = (String, String, String);

/// What `deploy/rbac.yaml` grants.
fn granted() -> Result<BTreeSet<Right>> {
    let text = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/rbac.yaml"))?;
    let mut rights = BTreeSet::new();
    for document in text.split("\n---\n") {
        let document: Value = serde_saphyr::from_str(document)?;
        let texts = |rule: &Value, field: &str| -> Vec<String> {
            let values = rule[field].as_array().into_iter().flatten();
            values.filter_map(Value::as_str).map(ToOwned::to_owned).collect()
        };
        for rule in document["rules"].as_array().into_iter().flatten() {
            for (group, resource, verb) in texts(rule, "apiGroups").iter().flat_map(|group| {
                let resources = texts(rule, "resources");
                let verbs = texts(rule, "verbs");
                resources.into_iter().flat_map(move |resource| {
                    verbs.clone().into_iter().map(move |verb| (group.clone(), resource.clone(), verb))
                })
            }) {
                ensure!(![&group, &resource, &verb].contains(&&"*".to_owned()), "a wildcard is no least right");
                rights.insert((verb, group, resource));
            }
        }
    }
    Ok(rights)
}

/// What the account has asked the API server for.
async fn used(cluster: &Cluster) -> Result<BTreeSet<Right>> {
    let events = cluster.audit_events().await?;
    let ours = events.iter().filter(|event| event["user"]["username"] == ACCOUNT);
    // An apply that creates needs the right to create, too.
    let created = |event: &&Value| event["verb"] == "patch" && event["responseStatus"]["code"] == 201;
    let created: Vec<Value> = ours
        .clone()
        .filter(created)
        .map(|event| {
            let mut event = event.clone();
            event["verb"] = json!("create");
            event
        })
        .collect();
    let right = |event: &Value| {
        let object = &event["objectRef"];
        let text = |field: &str| object[field].as_str().unwrap_or_default().to_owned();
        let resource = match object["subresource"].as_str() {
            Some(subresource) => format!("{}/{subresource}", text("resource")),
            None => text("resource"),
        };
        let verb = event["verb"].as_str().unwrap_or_default().to_owned();
        (!resource.is_empty()).then(|| (verb, text("apiGroup"), resource))
    };
    Ok(ours.chain(&created).filter_map(right).collect())
}

/// Has an operator write, change, take back and remove a report.
async fn reported(cluster: &Cluster, namespace: &TestNamespace, api: (&str, &str, &str), mode: &str) -> Result<()> {
    install_report_crds(cluster, api.0).await?;
    // The API server may still enforce what was just deleted.
    wait_until("the Deployment to be let in", GENEROUS, async || {
        namespace.create_object(&workload("Deployment", mode, BAD)).await
    })
    .await?;
    let mut operator = Operator::launch_with_flags(cluster, &["--reports", mode]).await?;
    let policy =
        Policy::create_named(namespace, mode, json!({"enforcement": "Warn", "rules": {"imageTag": {}}})).await?;
    let report = async |warnings: Option<u64>| {
        wait_until(&format!("a report with {warnings:?} warnings"), GENEROUS, async || {
            let stored = reports(&namespace.client(), api, Some(namespace.name())).await?;
            let seen = stored.first().map(|report| report["summary"]["warn"].as_u64().unwrap_or_default());
            let labelled = stored.first().is_none_or(|report| report["metadata"]["labels"].is_object());
            ensure!(seen == warnings && labelled, "{stored:?}");
            Ok(stored.into_iter().next().unwrap_or_default())
        })
        .await
    };
    report(Some(1)).await?;
    policy.edit(json!({"rules": {"imageDigest": {}}})).await?;
    let stored = report(Some(2)).await?;
    let without_labels = kube::api::Patch::Merge(json!({"metadata": {"labels": null}}));
    namespace.requests().patch(Effect::Real, &stored, &without_labels, None).await?.accepted()?;
    report(Some(2)).await?;
    policy.delete().await?;
    report(None).await?;
    namespace.requests().delete(Effect::Real, &workload("Deployment", mode, BAD)).await?.accepted()?;
    operator.terminate().await?;
    Ok(())
}

/// Has a policy that replaces pods of every kind, and waits until what they were started with is recorded.
async fn recorded(namespace: &TestNamespace) -> Result<()> {
    for kind in ["ConfigMap", "Secret"] {
        // Another policy asks for it.
        let config = json!({"apiVersion": "v1", "kind": kind, "metadata": {"name": "read"}, "immutable": true});
        namespace.create_object(&config).await?;
    }
    let spec = json!({"rules": {}, "replace": {"onConfigChange": "Enabled"}});
    let policy = Policy::create_namespaced(namespace, "replaces", spec).await?;
    let sources = json!([{"configMapRef": {"name": "read"}}, {"secretRef": {"name": "read"}}]);
    let workloads = ["Deployment", "StatefulSet", "DaemonSet"].map(|kind| {
        let mut workload = workload(kind, "reader", GOOD);
        workload["spec"]["template"]["spec"]["containers"][0]["envFrom"] = sources.clone();
        workload
    });
    for workload in &workloads {
        namespace.create_object(workload).await?;
    }
    for workload in &workloads {
        wait_until("what its pods were started with to be recorded", GENEROUS, async || {
            let stored = namespace.requests().get(workload).await?.accepted()?;
            let annotations = &stored["metadata"]["annotations"];
            ensure!(annotations["immutable.dev/config-baseline"].is_string(), "{annotations}");
            Ok(())
        })
        .await?;
        namespace.requests().delete(Effect::Real, workload).await?.accepted()?;
    }
    policy.delete().await
}

#[tokio::test]
async fn the_operator_has_every_right_that_it_uses_and_uses_every_right_that_it_has() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace(&[]).await?;
    let of_cluster = Policy::create(&namespace, image_tag()).await?;
    let of_namespace = Policy::create_namespaced(&namespace, "own", image_tag()).await?;
    for policy in [&of_cluster, &of_namespace] {
        policy.enforced().await?;
    }
    let (exception, _) = crate::exceptions::exception("legacy", 600, &json!({}));
    namespace.create_object(&exception).await?;
    of_cluster.edit(json!({"rules": {"imageDigest": {}, "immutableConfig": {}}})).await?;
    of_cluster.reports("Ready", "True", "Compiled").await?;
    // An added entry cannot be applied away: the whole spec is written.
    let native = Native::list(namespace.client()).await?;
    let (name, policy) = native.policies.iter().next().context("nothing native")?;
    let mut conditions = json!(policy.spec.as_ref().context("no spec")?.match_conditions);
    let condition = json!({"name": "added", "expression": "false"});
    conditions.as_array_mut().context("no conditions")?.push(condition);
    let manifest = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
    });
    let patch = kube::api::Patch::Merge(json!({"spec": {"matchConditions": conditions}}));
    namespace.requests().patch(Effect::Real, &manifest, &patch, None).await?.accepted()?;
    wait_until("the repair", GENEROUS, async || {
        let stored = Native::list(namespace.client()).await?;
        ensure!(stored.policies[name].spec == policy.spec, "not yet");
        Ok(())
    })
    .await?;
    recorded(&namespace).await?;
    of_cluster.delete().await?;
    of_namespace.delete().await?;
    nothing_native(&namespace.client()).await?;
    operator.terminate().await?;
    namespace.requests().delete(Effect::Real, &exception).await?.accepted()?;
    // The APIs of reports are never both written in one run.
    for (api, mode) in [(OPEN_REPORTS, "openreports"), (WG_POLICY, "wgpolicyk8s")] {
        reported(&cluster, &namespace, api, mode).await?;
    }

    let (granted, used) = (granted()?, used(&cluster).await?);
    let missing: Vec<&Right> = used.difference(&granted).collect();
    ensure!(missing.is_empty(), "used and not granted: {missing:?}");
    let unused: Vec<&Right> = granted.difference(&used).collect();
    ensure!(unused.is_empty(), "granted and never used: {unused:?}");
    Ok(())
}
