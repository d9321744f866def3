//! Writes that the API server refuses.

use anyhow::{Context, Result, ensure};
use kube::api::Patch;
use serde_json::{Value, json};

use crate::place::{Place, ROLLOUT_MANAGER, at_once};
use crate::support::{Cluster, Effect, GENEROUS, Operator, Requests, wait_until};
use crate::web::{Web, deployment, reads_all, workload};

const ACCOUNT: &str = "system:serviceaccount:immutable-system:immutable-operator";

/// Requests as the operator.
async fn as_operator(place: &Place<'_>) -> Result<Requests> {
    Ok(place.namespace.requests_as(place.cluster.client_as(ACCOUNT, &[]).await?))
}

/// Waits until the operator may change a workload, or may not.
async fn may_patch(place: &Place<'_>, web: &Web<'_>, may: bool) -> Result<()> {
    let requests = as_operator(place).await?;
    wait_until(&format!("may_patch to be {may}"), GENEROUS, async || {
        let patch = Patch::Merge(json!({"metadata": {"annotations": {"probe": "x"}}}));
        let answer = requests.patch(Effect::DryRun, web.manifest(), &patch, None).await?;
        ensure!((answer.code < 300) == may, "{} {}", answer.code, answer.body);
        Ok(())
    })
    .await
}

/// Waits until this many rollouts of a workload were refused.
async fn refused(place: &Place<'_>, object: &str, times: usize) -> Result<()> {
    wait_until(&format!("{object} to be refused {times} times"), GENEROUS, async || {
        let written = place.written().await?;
        let refused = written.iter().filter(|written| {
            written.object == object && written.manager == ROLLOUT_MANAGER && matches!(written.code, 403 | 422)
        });
        let refused = refused.count();
        ensure!(refused >= times, "{refused} of {written:?}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn a_workload_that_may_not_be_changed_holds_up_no_other() -> Result<()> {
    let place = Place::shared().await?;
    let (_, operator) = Operator::shared().await?;
    place.config("app", json!({"level": "info"})).await?;
    let poisoned = place.web("a-poisoned", 1, "app").await?;
    let healthy = place.web("healthy", 1, "app").await?;
    let name = format!("poison-{}", place.namespace.name());
    let admission = |kind: &str, spec: Value| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec,
        })
    };
    let rules = json!([{
        "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments"],
    }]);
    let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": place.namespace.name()}});
    let policy = admission(
        "ValidatingAdmissionPolicy",
        json!({
            "matchConstraints": {"namespaceSelector": selector, "resourceRules": rules},
            "validations": [{
                "expression": format!("object.metadata.name != 'a-poisoned' || request.userInfo.username != '{ACCOUNT}'"),
                "message": "poison of the test",
            }],
        }),
    );
    let binding =
        admission("ValidatingAdmissionPolicyBinding", json!({"policyName": name, "validationActions": ["Deny"]}));
    place.create(&policy).await?;
    place.create(&binding).await?;
    may_patch(&place, &poisoned, false).await?;

    let before = poisoned.stored().await?;
    healthy.replaced_by(place.edit("app", json!({"level": "debug"}))).await?;
    let note = place.told("a-poisoned", "WriteFailed").await?;
    ensure!(note.contains("poison of the test"), "{note}");
    // It is tried again, and no more often than its pauses allow.
    refused(&place, "deployments/a-poisoned", 2).await?;
    healthy.replaced_by(place.edit("app", json!({"level": "trace"}))).await?;
    let log = operator.log().await?;
    ensure!(log.contains("poison of the test"), "the log does not tell it");

    place.delete(&binding).await?;
    place.delete(&policy).await?;
    poisoned.replaced(&before).await?;
    poisoned.reads_what_is_current().await?;
    place.were_replaced(&[("deployments/a-poisoned", 1), ("deployments/healthy", 2)]).await
}

#[tokio::test]
async fn rights_that_are_taken_away_hold_up_only_what_they_are_for_and_heal() -> Result<()> {
    let cluster = Cluster::start().await?;
    let operator = Operator::start(&cluster).await?;
    let place = Place::on(&cluster, at_once()).await?;
    place.config("app", json!({"level": "info"})).await?;
    let web = place.web("web", 1, "app").await?;
    let mut database = workload("StatefulSet", "database", reads_all("app"));
    database["spec"]["replicas"] = json!(1);
    let database = Web::create(&place, database).await?;
    database.recorded().await?;
    database.complete().await?;

    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "immutable-operator"},
    });
    let stored = place.namespace.requests().get(&role).await?.accepted()?;
    let rules = stored["rules"].as_array().context("no rules")?;
    let without = |granted: &Value| {
        let mut less = granted.clone();
        if less["verbs"] == json!(["patch"])
            && let Some(resources) = less["resources"].as_array_mut()
        {
            resources.retain(|resource| resource != "deployments");
        }
        less
    };
    let fewer: Vec<Value> = rules.iter().map(without).collect();
    place.merge(&role, json!({"rules": fewer})).await?;
    may_patch(&place, &web, false).await?;

    let before = web.stored().await?;
    database.replaced_by(place.edit("app", json!({"level": "debug"}))).await?;
    let note = place.told("web", "WriteFailed").await?;
    ensure!(note.contains("forbidden"), "{note}");
    refused(&place, "deployments/web", 2).await?;
    place.merge(&role, json!({"rules": rules})).await?;
    may_patch(&place, &web, true).await?;
    web.replaced(&before).await?;
    // The marker is a Deployment too.
    place.were_replaced(&[("deployments/web", 1), ("statefulsets/database", 1)]).await?;
    drop(operator);
    Ok(())
}

#[tokio::test]
async fn a_secret_that_may_not_be_read_is_told_and_holds_only_those_that_read_it() -> Result<()> {
    let cluster = Cluster::start().await?;
    let operator = Operator::start(&cluster).await?;
    let place = Place::on(&cluster, at_once()).await?;
    place.config("app", json!({"level": "info"})).await?;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"a": "1"}});
    place.create(&secret).await?;
    let web = place.web("web", 1, "app").await?;
    let pod = json!({"containers": [{"envFrom": [{"secretRef": {"name": "db"}}]}]});
    let database = Web::create(&place, deployment("database", 1, pod)).await?;
    database.recorded().await?;
    database.complete().await?;

    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "immutable-operator"},
    });
    let stored = place.namespace.requests().get(&role).await?.accepted()?;
    let rules = stored["rules"].as_array().context("no rules")?;
    let mut fewer = rules.clone();
    for resources in fewer.iter_mut().filter_map(|granted| granted["resources"].as_array_mut()) {
        resources.retain(|resource| resource != "secrets");
    }
    place.merge(&role, json!({"rules": fewer})).await?;
    let requests = as_operator(&place).await?;
    let may_read = async |may: bool| {
        wait_until(&format!("may_read to be {may}"), GENEROUS, async || {
            let answer = requests.get(&secret).await?;
            ensure!((answer.code < 300) == may, "{} {}", answer.code, answer.body);
            Ok(())
        })
        .await
    };
    may_read(false).await?;
    let before = database.stored().await?;
    place.merge(&secret, json!({"stringData": {"a": "2"}})).await?;
    let note = place.told("database", "Unreadable").await?;
    ensure!(note.contains("Secret") && note.contains("grant"), "{note}");
    web.replaced_by(place.edit("app", json!({"level": "debug"}))).await?;
    place.were_replaced(&[("deployments/web", 1)]).await?;

    place.merge(&role, json!({"rules": rules})).await?;
    may_read(true).await?;
    // An edit is an event; without one it is asked for again after a while.
    place.merge(&secret, json!({"stringData": {"a": "3"}})).await?;
    database.replaced(&before).await?;
    place.were_replaced(&[("deployments/database", 1), ("deployments/web", 1)]).await?;
    drop(operator);
    Ok(())
}
