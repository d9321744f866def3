//! What was there before a policy lives on; the same made anew is denied.

use anyhow::{Context, Result, ensure};
use k8s_openapi::{
    api::{
        apps::v1::{Deployment, ReplicaSet},
        batch::v1::Job,
        core::v1::Pod,
    },
    jiff::Timestamp,
};
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams, Patch},
};
use serde_json::{Value, json};

use crate::policies::Policy;
use crate::support::{Effect, GENEROUS, Operator, TestNamespace, wait_until};
use crate::workloads::{BAD, denied, ordinary_user, template, workload};

/// Running pods of a workload, waiting until there are that many.
async fn running(namespace: &TestNamespace, app: &str, count: usize) -> Result<Vec<Pod>> {
    let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
    wait_until(&format!("{count} running pods of {app}"), GENEROUS, async || {
        let pods = pods.list(&ListParams::default().labels(&format!("app={app}"))).await?.items;
        let runs = |pod: &Pod| {
            pod.metadata.deletion_timestamp.is_none()
                && pod.status.as_ref().is_some_and(|status| status.phase.as_deref() == Some("Running"))
        };
        ensure!(pods.len() == count && pods.iter().all(runs), "{:?}", describe(namespace, &pods).await);
        Ok(pods)
    })
    .await
}

/// What is seen of pods, and why there may be none.
async fn describe(namespace: &TestNamespace, pods: &[Pod]) -> Vec<String> {
    let events: Api<k8s_openapi::api::core::v1::Event> = Api::namespaced(namespace.client(), namespace.name());
    let failures = events.list(&ListParams::default().fields("type=Warning")).await.map(|events| events.items);
    let phase =
        |pod: &Pod| format!("{} {:?}", pod.name_any(), pod.status.as_ref().and_then(|status| status.phase.clone()));
    let message = |event: k8s_openapi::api::core::v1::Event| event.message.unwrap_or_default();
    pods.iter().map(phase).chain(failures.unwrap_or_default().into_iter().map(message)).collect()
}

/// An older namespace: violating workloads of these kinds that run, and then a policy that forbids them.
async fn grown_old(namespace: &TestNamespace, workloads: &[(&str, usize)], spec: Value) -> Result<Policy> {
    for (kind, count) in workloads {
        let name = kind.to_lowercase();
        namespace.create_object(&workload(kind, &name, BAD)).await?;
        if *count > 0 {
            running(namespace, &name, *count).await?;
        }
    }
    let policy = Policy::create(namespace, spec).await?;
    policy.enforced().await?;
    for (kind, _) in workloads {
        denied(namespace.requests().create(Effect::DryRun, &workload(kind, "new", BAD)).await?)
            .with_context(|| format!("a new {kind}"))?;
    }
    Ok(policy)
}

fn stateless() -> Value {
    json!({"profile": "Stateless", "enforcement": "Enforce"})
}

async fn merge(namespace: &TestNamespace, manifest: &Value, patch: Value, part: Option<&str>) -> Result<Value> {
    namespace.requests().patch(Effect::Real, manifest, &Patch::Merge(patch), part).await?.accepted()
}

async fn replica_sets(namespace: &TestNamespace) -> Result<Vec<ReplicaSet>> {
    let api: Api<ReplicaSet> = Api::namespaced(namespace.client(), namespace.name());
    Ok(api.list(&ListParams::default()).await?.items)
}

#[tokio::test]
async fn an_older_deployment_scales_restarts_and_survives_the_loss_of_its_replica_set() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let old = workload("Deployment", "deployment", BAD);
    let policy = grown_old(&namespace, &[("Deployment", 2)], stateless()).await?;

    merge(&namespace, &old, json!({"spec": {"replicas": 3}}), Some("scale")).await?;
    running(&namespace, "deployment", 3).await?;
    merge(&namespace, &old, json!({"spec": {"replicas": 4}}), None).await?;
    let before = running(&namespace, "deployment", 4).await?;

    // What `kubectl rollout restart` writes.
    let restart = json!({"kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"});
    merge(&namespace, &old, json!({"spec": {"template": {"metadata": {"annotations": restart}}}}), None).await?;
    let deployments: Api<Deployment> = Api::namespaced(namespace.client(), namespace.name());
    wait_until("the rollout", GENEROUS, async || {
        let deployment = deployments.get("deployment").await?;
        let status = deployment.status.unwrap_or_default();
        let all = [status.replicas, status.updated_replicas, status.available_replicas];
        let observed = status.observed_generation == deployment.metadata.generation;
        ensure!(observed && all == [Some(4); 3], "{status:?}");
        Ok(())
    })
    .await?;
    let after = running(&namespace, "deployment", 4).await?;
    ensure!(before.iter().all(|pod| after.iter().all(|new| new.uid() != pod.uid())), "a pod was not restarted");

    let sets = replica_sets(&namespace).await?;
    ensure!(sets.len() == 2, "{} ReplicaSets", sets.len());
    let api: Api<ReplicaSet> = Api::namespaced(namespace.client(), namespace.name());
    for set in &sets {
        api.delete(&set.name_any(), &DeleteParams::background()).await?;
    }
    wait_until("a new ReplicaSet", GENEROUS, async || {
        let now = replica_sets(&namespace).await?;
        let is_new = |set: &ReplicaSet| sets.iter().all(|old| old.uid() != set.uid());
        ensure!(now.len() == 1 && now.iter().all(is_new), "{} ReplicaSets", now.len());
        Ok(())
    })
    .await?;
    wait_until("new pods", GENEROUS, async || {
        let now = running(&namespace, "deployment", 4).await?;
        ensure!(now.iter().all(|pod| after.iter().all(|old| old.uid() != pod.uid())), "old pods are left");
        Ok(())
    })
    .await?;
    policy.delete().await
}

#[tokio::test]
async fn older_stateful_sets_daemon_sets_and_controllers_get_their_pods_back() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let nodes = Api::<k8s_openapi::api::core::v1::Node>::all(namespace.client()).list(&ListParams::default()).await?;
    let kinds = [("StatefulSet", 1), ("DaemonSet", nodes.items.len()), ("ReplicaSet", 2), ("ReplicationController", 1)];
    let policy = grown_old(&namespace, &kinds, stateless()).await?;
    let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
    for (kind, count) in kinds {
        let app = kind.to_lowercase();
        let before = running(&namespace, &app, count).await?;
        let lost = before.first().context("no pod")?;
        pods.delete(&lost.name_any(), &DeleteParams::default()).await?;
        wait_until(&format!("another pod of the {kind}"), GENEROUS, async || {
            let now = running(&namespace, &app, count).await?;
            ensure!(now.iter().all(|pod| pod.uid() != lost.uid()), "the old pod is there");
            Ok(())
        })
        .await?;
    }
    for (kind, replicas) in [("StatefulSet", 2), ("ReplicaSet", 3), ("ReplicationController", 2)] {
        let app = kind.to_lowercase();
        merge(&namespace, &workload(kind, &app, BAD), json!({"spec": {"replicas": replicas}}), Some("scale")).await?;
        running(&namespace, &app, replicas).await?;
    }
    policy.delete().await
}

#[tokio::test]
async fn an_older_cron_job_fires() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let policy = grown_old(&namespace, &[("CronJob", 0)], stateless()).await?;
    let since = Timestamp::now();
    let jobs: Api<Job> = Api::namespaced(namespace.client(), namespace.name());
    let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
    // It fires once a minute.
    let job = wait_until("a Job", GENEROUS, async || {
        let jobs = jobs.list(&ListParams::default()).await?.items;
        let fired = jobs.into_iter().find(|job| job.creation_timestamp().is_some_and(|time| time.0 > since));
        fired.with_context(|| "no Job".to_owned())
    })
    .await?;
    wait_until("a pod of the Job", GENEROUS, async || {
        let label = format!("batch.kubernetes.io/job-name={}", job.name_any());
        let pods = pods.list(&ListParams::default().labels(&label)).await?.items;
        ensure!(!pods.is_empty(), "{:?}", describe(&namespace, &pods).await);
        Ok(())
    })
    .await?;
    // A person who starts it by hand is a person.
    let by_hand = cluster
        .kubectl(&["--namespace", namespace.name(), "create", "job", "by-hand", "--from=cronjob/cronjob"], "")
        .await?;
    ensure!(!by_hand.status.success() && by_hand.stderr.contains("'immutable-"), "{by_hand:?}");
    policy.delete().await
}

#[tokio::test]
async fn metadata_of_older_objects_changes_and_their_bad_parts_do_not() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let kinds = [("Deployment", 2), ("Pod", 1), ("CronJob", 0), ("Job", 0), ("PodTemplate", 0), ("StatefulSet", 1)];
    let policy = grown_old(&namespace, &kinds, stateless()).await?;
    for (kind, _) in kinds {
        let old = workload(kind, &kind.to_lowercase(), BAD);
        let named = || format!("of the {kind}");
        let labels = json!({"metadata": {"labels": {"later": "yes"}, "annotations": {"later": "yes"}}});
        merge(&namespace, &old, labels, None).await.with_context(named)?;
        let finalizers = json!({"metadata": {"finalizers": ["example.com/later"]}});
        merge(&namespace, &old, finalizers, None).await.with_context(named)?;
        merge(&namespace, &old, json!({"metadata": {"finalizers": null}}), None).await.with_context(named)?;
    }
    let old = workload("Deployment", "deployment", BAD);
    let worse = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "other:latest"}]}}}});
    let answer = namespace.requests().patch(Effect::Real, &old, &Patch::Strategic(worse), None).await?;
    let message = denied(answer)?;
    ensure!(message.contains("image other:latest"), "{message}");
    let more = json!({"spec": {"template": {"spec": {"containers": [{"name": "more", "image": BAD}]}}}});
    denied(namespace.requests().patch(Effect::Real, &old, &Patch::Strategic(more), None).await?)?;
    policy.delete().await
}

#[tokio::test]
async fn a_person_cannot_do_what_the_controllers_may() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let user = ordinary_user(cluster, &namespace).await?;
    let policy = grown_old(&namespace, &[("Deployment", 2)], stateless()).await?;
    let deployment = namespace.requests().get(&workload("Deployment", "deployment", BAD)).await?.accepted()?;
    let sets = replica_sets(&namespace).await?;
    let set = sets.first().context("no ReplicaSet")?;
    let owner = |kind: &str, name: &str, uid: &str| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}]);
    let uid = deployment["metadata"]["uid"].as_str().context("no uid")?;
    for (kind, owner) in [
        ("ReplicaSet", owner("Deployment", "deployment", uid)),
        ("Pod", owner("ReplicaSet", &set.name_any(), &set.uid().context("no uid")?)),
        ("Job", owner("Deployment", "deployment", uid)),
    ] {
        let mut forged = workload(kind, "forged", BAD);
        if kind == "Pod" {
            forged["spec"] = template("deployment", BAD)["spec"].clone();
        }
        forged["metadata"]["ownerReferences"] = owner;
        denied(user.create(Effect::Real, &forged).await?).with_context(|| format!("a forged {kind}"))?;
        forged["metadata"]["ownerReferences"] = Value::Null;
        denied(user.create(Effect::Real, &forged).await?).with_context(|| format!("a bare {kind}"))?;
    }
    policy.delete().await
}
