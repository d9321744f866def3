//! How many at once, with which pauses, and when: what a policy says of the pace.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::place::{Place, ROLLOUT_MANAGER, at_once_but, policy};
use crate::support::{GENEROUS, wait_until};
use crate::web::Web;

/// When the operator last replaced the pods of a workload, and when they were available again, in seconds.
fn times(stored: &Value) -> Result<(i64, i64)> {
    let second = |value: &Value| -> Result<i64> {
        let text = value.as_str().with_context(|| format!("no time in {value}"))?;
        Ok(text.parse::<jiff::Timestamp>()?.as_second())
    };
    let writes = stored["metadata"]["managedFields"].as_array().context("no managedFields")?;
    let ours = writes.iter().find(|write| write["manager"] == ROLLOUT_MANAGER).context("not replaced")?;
    let conditions = stored["status"]["conditions"].as_array().context("no conditions")?;
    let progressing =
        conditions.iter().find(|condition| condition["type"] == "Progressing").context("no Progressing")?;
    Ok((second(&ours["time"])?, second(&progressing["lastUpdateTime"])?))
}

/// So many Deployments that read the ConfigMap `app`, edited once; returns when each was replaced and available, in order.
async fn replaced_in_order(place: &Place<'_>, number: usize) -> Result<Vec<(i64, i64)>> {
    place.config("app", json!({"level": "1"})).await?;
    let mut webs: Vec<Web<'_>> = Vec::new();
    for name in 0..number {
        webs.push(place.web(&format!("web-{name}"), 1, "app").await?);
    }
    for web in &webs {
        web.recorded().await?;
        web.complete().await?;
    }
    place.next_second().await?;
    let mut before = Vec::new();
    for web in &webs {
        before.push(web.stored().await?);
    }
    place.edit("app", json!({"level": "2"})).await?;
    let mut all = Vec::new();
    for (web, before) in webs.iter().zip(&before) {
        all.push(times(&web.replaced(before).await?)?);
    }
    all.sort_unstable();
    Ok(all)
}

#[tokio::test]
async fn one_at_a_time_and_none_before_the_last_one_is_warm() -> Result<()> {
    let place = Place::shared_with(at_once_but(json!({"maxConcurrent": 1, "warmup": "2s"}))).await?;
    let all = replaced_in_order(&place, 3).await?;
    for pair in all.windows(2) {
        let ((_, available), (next, _)) = (pair[0], pair[1]);
        ensure!(next >= available + 2, "the next began at {next}, {available} was available: {all:?}");
    }
    Ok(())
}

#[tokio::test]
async fn a_policy_pauses_at_its_checkpoint() -> Result<()> {
    let checkpoints = json!([{"percent": 50, "delay": "3s"}]);
    let place = Place::shared_with(at_once_but(json!({"checkpoints": checkpoints}))).await?;
    let all = replaced_in_order(&place, 4).await?;
    let begun: Vec<i64> = all.iter().map(|(begun, _)| *begun).collect();
    let available = all[..2].iter().map(|(_, available)| *available).max().context("none")?;
    ensure!(begun[1] <= begun[0] + 2 && begun[2] >= available + 3, "{all:?}");
    Ok(())
}

#[tokio::test]
async fn what_changes_while_no_window_is_open_waits_and_says_until_when() -> Result<()> {
    let once_a_year = json!([{"type": "Allow", "schedule": "0 0 29 2 *", "duration": "1m"}, {
        "type": "Allow", "schedule": "0 0 1 1 *", "duration": "1m",
    }]);
    let place = Place::shared_with(at_once_but(json!({"windows": once_a_year}))).await?;
    place.config("app", json!({"level": "1"})).await?;
    let web = place.web("web", 1, "app").await?;
    web.recorded().await?;
    web.complete().await?;
    place.next_second().await?;
    place.edit("app", json!({"level": "2"})).await?;
    let manifest = policy(&Value::Null);
    wait_until("the status to say that it waits", GENEROUS, async || {
        let stored = place.namespace.requests().get(&manifest).await?.accepted()?;
        let waiting = &stored["status"]["replace"]["waiting"][0];
        ensure!(waiting["reason"] == "Window" && waiting["count"] == 1, "{}", stored["status"]);
        let message = waiting["message"].as_str().unwrap_or_default();
        ensure!(message.contains("-01-01T00:00:00Z"), "{message}");
        Ok(())
    })
    .await?;
    place.were_replaced(&[]).await?;
    web.replaced_by(place.merge(&manifest, json!({"spec": {"replace": {"windows": null}}}))).await?;
    place.were_replaced(&[("deployments/web", 1)]).await
}
