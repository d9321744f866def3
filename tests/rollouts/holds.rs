//! What waits, and what is never touched.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::place::{Place, config, stamp};
use crate::web::{Web, cause, deployment, reads_all, workload};

#[tokio::test]
async fn a_paused_deployment_waits_until_it_is_resumed() -> Result<()> {
    let place = Place::shared().await?;
    place.config("app", json!({"level": "info"})).await?;
    let web = place.web("web", 1, "app").await?;
    web.merge(json!({"spec": {"paused": true}})).await?;
    place.quiet().await?;
    place.edit("app", json!({"level": "debug"})).await?;
    let note = place.told("web", "Paused").await?;
    ensure!(note.contains("paused"), "{note}");
    place.were_replaced(&[]).await?;
    ensure!(web.stored().await?["spec"]["paused"] == true, "it was resumed");
    web.replaced_by(web.merge(json!({"spec": {"paused": false}}))).await?;
    place.were_replaced(&[("deployments/web", 1)]).await
}

#[tokio::test]
async fn what_a_person_replaces_and_what_runs_to_its_end_is_untouched() -> Result<()> {
    let place = Place::shared().await?;
    place.config("app", json!({"level": "info"})).await?;
    let mut by_hand = workload("StatefulSet", "by-hand", reads_all("app"));
    by_hand["spec"]["replicas"] = json!(1);
    by_hand["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    let mut held_back = by_hand.clone();
    held_back["metadata"]["name"] = json!("held-back");
    held_back["spec"]["updateStrategy"] = json!({"type": "RollingUpdate", "rollingUpdate": {"partition": 1}});
    for manifest in [&by_hand, &held_back] {
        Web::create(&place, manifest.clone()).await?.recorded().await?;
    }
    let mut pod = deployment("job", 1, reads_all("app"))["spec"]["template"]["spec"].take();
    pod["restartPolicy"] = json!("Never");
    let job = json!({"template": {"spec": pod}});
    let bare = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bare"}, "spec": pod});
    let batch = |kind: &str, spec: Value| json!({"apiVersion": "batch/v1", "kind": kind, "metadata": {"name": "job"}, "spec": spec});
    let cron = batch("CronJob", json!({"schedule": "0 0 1 1 *", "jobTemplate": {"spec": job}}));
    let untouched = [bare, batch("Job", job), cron];
    for object in &untouched {
        place.create(object).await?;
    }
    place.edit("app", json!({"level": "debug"})).await?;
    for (name, reason) in [("by-hand", "OnDelete"), ("held-back", "Partitioned")] {
        place.told(name, reason).await?;
    }
    place.were_replaced(&[]).await?;
    for written in place.written().await? {
        ensure!(written.object.starts_with("statefulsets/"), "{written:?}");
    }
    for object in &untouched {
        let stored = place.namespace.requests().get(object).await?.accepted()?;
        let text = stored.to_string();
        ensure!(!text.contains("immutable.dev/config"), "{text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_missing_object_that_pods_need_holds_until_it_is_there() -> Result<()> {
    let place = Place::shared().await?;
    place.config("app", json!({"level": "info"})).await?;
    let key = json!([{"name": "LEVEL", "valueFrom": {"configMapKeyRef": {"name": "app", "key": "level"}}}]);
    let pod = json!({"containers": [{"env": key}]});
    let web = Web::create(&place, deployment("web", 1, pod)).await?;
    web.recorded().await?;
    web.complete().await?;
    place.next_second().await?;

    place.delete(&config("app", json!({}))).await?;
    let note = place.told("web", "MissingReference").await?;
    ensure!(note.contains("app"), "{note}");
    place.were_replaced(&[]).await?;
    // There, but without what is needed.
    place.config("app", json!({"other": "x"})).await?;
    place.were_replaced(&[]).await?;
    let after = web.replaced_by(place.edit("app", json!({"level": "debug"}))).await?;
    ensure!(cause(&after)?.starts_with("ConfigMap app"), "{}", cause(&after)?);
    place.were_replaced(&[("deployments/web", 1)]).await
}

#[tokio::test]
async fn pods_that_waited_for_their_first_config_are_not_replaced_when_it_comes() -> Result<()> {
    let place = Place::shared().await?;
    let mut waits = deployment("web", 1, reads_all("app"));
    // The kubelet would hold it back like this.
    waits["spec"]["template"]["metadata"]["annotations"] = json!({
        "test.immutable.dev/ready": "false", "test.immutable.dev/waiting": "CreateContainerConfigError",
    });
    let web = Web::create(&place, waits).await?;
    web.becomes("waiting", |stored| stored["status"]["unavailableReplicas"] == 1).await?;
    place.quiet().await?;
    place.next_second().await?;
    place.config("app", json!({"level": "info"})).await?;
    place.quiet().await?;
    let pods: Api<Pod> = Api::namespaced(place.namespace.client(), place.namespace.name());
    for pod in pods.list(&ListParams::default()).await? {
        let starts = json!({"metadata": {"annotations": {"test.immutable.dev/ready": null}}});
        pods.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(starts)).await?;
    }
    web.complete().await?;
    place.were_replaced(&[]).await?;
    web.recorded().await?;
    place.next_second().await?;
    let before = web.stored().await?;
    place.edit("app", json!({"level": "debug"})).await?;
    web.becomes("replaced", |stored| stamp(stored) != stamp(&before)).await?;
    place.were_replaced(&[("deployments/web", 1)]).await
}

#[tokio::test]
async fn a_workload_whose_optional_object_is_missing_is_served_all_the_same() -> Result<()> {
    let place = Place::shared().await?;
    place.config("app", json!({"level": "info"})).await?;
    let mut pod = reads_all("app");
    pod["containers"][0]["env"] = json!([
        {"name": "MORE", "valueFrom": {"secretKeyRef": {"name": "more", "key": "token", "optional": true}}},
    ]);
    let web = Web::create(&place, deployment("web", 1, pod)).await?;
    web.recorded().await?;
    web.complete().await?;
    let after = web.replaced_by(place.edit("app", json!({"level": "debug"}))).await?;
    ensure!(stamp(&after).is_some(), "{after}");
    place.were_replaced(&[("deployments/web", 1)]).await
}
