//! What others do to templates at the same time: no loop, no fight, and nothing that was deleted comes back.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::place::{Place, second_of_data, stamp};
use crate::support::Effect;
use crate::web::{Web, deployment, reads_all};

async fn rollouts(place: &Place<'_>, name: &str) -> Result<usize> {
    Ok(place.rollouts().await?.get(&format!("deployments/{name}")).copied().unwrap_or_default())
}

/// Fails where a pod is older than this second.
async fn no_pod_is_older(place: &Place<'_>, name: &str, second: i64) -> Result<()> {
    let pods = place.pods(name).await?;
    ensure!(!pods.is_empty() && pods.values().all(|created| *created >= second), "edited at {second}: {pods:?}");
    Ok(())
}

#[tokio::test]
async fn an_undo_is_left_alone_and_the_next_edit_replaces_pods_once() -> Result<()> {
    let place = Place::shared().await?;
    place.config("app", json!({"level": "info"})).await?;
    let web = place.web("web", 2, "app").await?;
    place.next_second().await?;
    let edited = place.edit("app", json!({"level": "debug"}));
    let after = web.replaced_by(edited).await?;
    place.next_second().await?;
    let namespace = place.namespace.name();
    place.cluster.kubectl(&["-n", namespace, "rollout", "undo", "deployment/web"], "").await?.success()?;
    web.becomes("undone", |stored| stored["metadata"]["generation"] != after["metadata"]["generation"]).await?;
    web.reads_what_is_current().await?;
    place.quiet().await?;
    ensure!(rollouts(&place, "web").await? <= 2, "{:?}", place.written().await?);
    let before = rollouts(&place, "web").await?;
    web.replaced_by(place.edit("app", json!({"level": "trace"}))).await?;
    place.were_replaced(&[("deployments/web", before + 1)]).await
}

#[tokio::test]
async fn a_replace_without_our_annotations_is_left_alone_and_the_next_edit_replaces_pods_once() -> Result<()> {
    let place = Place::shared().await?;
    place.config("app", json!({"level": "info"})).await?;
    let web = place.web("web", 2, "app").await?;
    place.next_second().await?;
    let app = place.edit("app", json!({"level": "debug"}));
    web.replaced_by(app).await?;
    place.next_second().await?;
    place.namespace.requests().replace(Effect::Real, web.manifest(), None).await?.accepted()?;
    web.reads_what_is_current().await?;
    place.quiet().await?;
    ensure!(rollouts(&place, "web").await? <= 2, "{:?}", place.written().await?);
    let before = rollouts(&place, "web").await?;
    web.replaced_by(place.edit("app", json!({"level": "trace"}))).await?;
    place.were_replaced(&[("deployments/web", before + 1)]).await
}

#[tokio::test]
async fn a_deploy_at_the_moment_of_an_edit_is_one_rollout_more_at_most() -> Result<()> {
    const ROUNDS: u32 = 4;
    let place = Place::shared().await?;
    place.config("app", json!({"round": "none"})).await?;
    let web = place.web("web", 2, "app").await?;
    for round in 1..=ROUNDS {
        place.next_second().await?;
        let image = format!("registry.example/web:{}", round + 1);
        let template = json!({"spec": {"containers": [{"name": "main", "image": image, "envFrom": [
            {"configMapRef": {"name": "app"}}
        ]}]}});
        let edit = place.edit("app", json!({"round": round.to_string()}));
        let deploy = web.merge(json!({"spec": {"template": template}}));
        let (edited, deployed) = if round % 2 == 0 {
            tokio::join!(edit, deploy)
        } else {
            let (deployed, edited) = tokio::join!(deploy, edit);
            (edited, deployed)
        };
        deployed?;
        web.reads_what_is_current().await?;
        place.quiet().await?;
        web.complete().await?;
        edited?;
        no_pod_is_older(&place, "web", second_of_data(&place, "app").await?).await?;
        let all = rollouts(&place, "web").await?;
        ensure!(all <= usize::try_from(round)?, "{all} rollouts after {round} rounds: {:?}", place.written().await?);
    }
    Ok(())
}

#[tokio::test]
async fn a_deploy_that_reads_other_objects_is_no_change_of_what_they_hold() -> Result<()> {
    let place = Place::shared().await?;
    place.config("app", json!({"level": "info"})).await?;
    place.config("more", json!({"level": "info"})).await?;
    let web = place.web("web", 2, "app").await?;
    web.replaced_by(place.edit("app", json!({"level": "debug"}))).await?;
    let both = json!([{"configMapRef": {"name": "app"}}, {"configMapRef": {"name": "more"}}]);
    let reads = |references: Value| {
        let containers = json!([{"name": "main", "image": "registry.example/web:1", "envFrom": references}]);
        json!({"spec": {"template": {"spec": {"containers": containers}}}})
    };
    web.merge(reads(both)).await?;
    web.complete().await?;
    place.were_replaced(&[("deployments/web", 1)]).await?;
    web.replaced_by(place.edit("more", json!({"level": "debug"}))).await?;
    web.merge(reads(json!([{"configMapRef": {"name": "more"}}]))).await?;
    web.complete().await?;
    place.were_replaced(&[("deployments/web", 2)]).await?;
    place.edit("app", json!({"level": "trace"})).await?;
    place.were_replaced(&[("deployments/web", 2)]).await
}

#[tokio::test]
async fn a_tool_that_takes_the_stamp_back_again_and_again_is_given_in_to() -> Result<()> {
    let place = Place::shared().await?;
    place.config("app", json!({"level": "info"})).await?;
    let web = place.web("web", 2, "app").await?;
    let is_done = AtomicBool::new(false);
    let reverts = AtomicU32::new(0);
    let reverting = async {
        while !is_done.load(Ordering::Relaxed) {
            if stamp(&web.stored().await?).is_some() {
                let annotations = json!({"immutable.dev/config-digest": null, "immutable.dev/rollout-cause": null});
                web.merge(json!({"spec": {"template": {"metadata": {"annotations": annotations}}}})).await?;
                reverts.fetch_add(1, Ordering::Relaxed);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    let test = async {
        let result = async {
            for edit in 1..=2 {
                place.next_second().await?;
                place.edit("app", json!({"level": edit.to_string()})).await?;
                web.becomes("reverted", |_| reverts.load(Ordering::Relaxed) >= edit).await?;
                place.quiet().await?;
                web.complete().await?;
                place.next_second().await?;
                place.quiet().await?;
                let all = rollouts(&place, "web").await?;
                // Two for each content at most.
                ensure!(all <= 2 * usize::try_from(edit)?, "{all} rollouts after {edit} edits");
            }
            Ok(())
        };
        let result = result.await;
        is_done.store(true, Ordering::Relaxed);
        result
    };
    let (reverted, result) = tokio::join!(reverting, test);
    reverted?;
    result?;
    // Newer content is tried again.
    web.replaced_by(place.edit("app", json!({"level": "last"}))).await?;
    web.reads_what_is_current().await.map(|_| ())
}

#[tokio::test]
async fn what_is_deleted_between_decision_and_write_is_never_made_anew() -> Result<()> {
    let place = Place::shared().await?;
    place.config("app", json!({"level": "info"})).await?;
    let mut webs = Vec::new();
    for number in 0..20 {
        webs.push(Web::create(&place, deployment(&format!("web-{number}"), 0, reads_all("app"))).await?);
    }
    for web in &webs {
        web.recorded().await?;
    }
    let deleted = async {
        for web in &webs {
            place.delete(web.manifest()).await?;
        }
        anyhow::Ok(())
    };
    let (edited, deleted) = tokio::join!(place.edit("app", json!({"level": "debug"})), deleted);
    edited?;
    deleted?;
    // One of them is made anew, by its owner: it starts with what is current.
    let again = Web::create(&place, webs[0].manifest().clone()).await?;
    again.recorded().await?;
    place.quiet().await?;
    for web in &webs[1..] {
        let answer = place.namespace.requests().get(web.manifest()).await?;
        ensure!(answer.code == 404, "{}", answer.body);
    }
    let stored = again.stored().await?;
    ensure!(stamp(&stored).is_none(), "{stored}");
    Ok(())
}
