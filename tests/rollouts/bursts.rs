//! Many edits, few rollouts.

use std::time::Duration;

use anyhow::{Result, ensure};
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
