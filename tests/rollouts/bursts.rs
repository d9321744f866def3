//! Many edits, few rollouts.

use std::time::Duration;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use tokio::time::Instant;

use crate::place::{Place, at_once_but};
use crate::web::{Web, cause, deployment};

#[tokio::test]
async fn edits_within_the_settle_time_are_one_rollout() -> Result<()> {
    let place = Place::shared_with(at_once_but(json!({"settle": "2s"}))).await?;
    place.config("app", json!({"level": "info"})).await?;
    place.config("features", json!({"beta": "off"})).await?;
    let references = json!([{"configMapRef": {"name": "app"}}, {"configMapRef": {"name": "features"}}]);
    let web = Web::create(&place, deployment("web", 1, json!({"containers": [{"envFrom": references}]}))).await?;
    web.recorded().await?;
    web.complete().await?;
    let after = web
        .replaced_by(async {
            place.edit("app", json!({"level": "debug"})).await?;
            place.edit("features", json!({"beta": "on"})).await
        })
        .await?;
    ensure!(cause(&after)? == "ConfigMap app (level); ConfigMap features (beta)", "{}", cause(&after)?);
    // What is edited now settles after all that came before.
    web.replaced_by(place.edit("app", json!({"level": "trace"}))).await?;
    place.were_replaced(&[("deployments/web", 2)]).await
}

#[tokio::test]
async fn a_burst_of_edits_is_no_more_rollouts_than_its_interval_allows_and_the_last_value_wins() -> Result<()> {
    const EDITS: u32 = 40;
    let place = Place::shared_with(at_once_but(json!({"minInterval": "2s"}))).await?;
    place.config("app", json!({"number": "none"})).await?;
    let web = place.web("web", 1, "app").await?;
    let before = web.stored().await?;
    let start = Instant::now();
    for edit in 0..EDITS {
        place.edit("app", json!({"number": edit.to_string()})).await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    web.replaced(&before).await?;
    web.reads_what_is_current().await?;
    place.quiet().await?;
    // One at once, and one after each interval; its start is told in whole seconds.
    let most = 2 + start.elapsed().as_secs() / 2;
    let rollouts = place.rollouts().await?.get("deployments/web").copied().unwrap_or_default();
    ensure!((2..=usize::try_from(most)?).contains(&rollouts), "{rollouts} rollouts, at most {most}");
    Ok(())
}

#[tokio::test]
async fn writers_that_fight_are_named_and_not_followed() -> Result<()> {
    let place = Place::shared().await?;
    place.config("app", json!({"owner": "none"})).await?;
    let web = place.web("web", 0, "app").await?;
    place.next_second().await?;
    let configs: Api<ConfigMap> = Api::namespaced(place.namespace.client(), place.namespace.name());
    let mut edits = 0;
    let note = loop {
        for manager in ["one", "other"] {
            let parameters = PatchParams { field_manager: Some(manager.to_owned()), ..PatchParams::default() };
            configs.patch("app", &parameters, &Patch::Merge(json!({"data": {"owner": manager}}))).await?;
            edits += 1;
            // Each sees what the other wrote.
            place.quiet().await?;
        }
        if let Some(note) = place.was_told("web", "Flapping").await? {
            break note;
        }
        ensure!(edits < 40, "{edits} edits were followed: {:?}", place.rollouts().await?);
    };
    ensure!(note.contains("one and other"), "{note}");
    let rollouts = place.rollouts().await?;
    configs.patch("app", &PatchParams::default(), &Patch::Merge(json!({"data": {"owner": "third"}}))).await?;
    place.quiet().await?;
    ensure!(place.rollouts().await? == rollouts, "{:?}", place.rollouts().await?);
    web.complete().await.map(|_| ())
}
