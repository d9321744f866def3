//! Two replicas, of which the one that leads is killed or frozen half way.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::place::{Place, at_once_but};
use crate::support::{Cluster, GENEROUS, Operator, wait_until};
use crate::web::{Web, deployment, reads_all};

const WORKLOADS: usize = 120;

/// How many workloads have been replaced, all together.
async fn replaced(place: &Place<'_>) -> Result<usize> {
    Ok(place.rollouts().await?.values().sum())
}

/// Edits what all read, and waits until some and not all of them are replaced for that.
async fn half_way(place: &Place<'_>, level: &str) -> Result<()> {
    let before = replaced(place).await?;
    place.edit("app", json!({"level": level})).await?;
    let now = wait_until("some to be replaced", GENEROUS, async || {
        let now = replaced(place).await? - before;
        ensure!(now >= 20, "{now}");
        Ok(now)
    })
    .await?;
    ensure!(now < WORKLOADS, "all {now} were replaced before anything could happen");
    Ok(())
}

async fn leads(operator: &Operator) -> Result<()> {
    wait_until("the other replica to lead", GENEROUS, async || {
        let leader = operator.metric("immutable_leader").await?;
        ensure!(leader > 0.5, "immutable_leader is {leader}");
        Ok(())
    })
    .await
}

/// Waits until each was replaced so often, and makes sure that none is replaced again.
async fn each_was_replaced(place: &Place<'_>, times: usize) -> Result<()> {
    wait_until(&format!("every workload to be replaced {times} times"), GENEROUS, async || {
        let all = replaced(place).await?;
        ensure!(all >= WORKLOADS * times, "{all}");
        Ok(())
    })
    .await?;
    let names: Vec<String> = (0..WORKLOADS).map(|number| format!("deployments/web-{number}")).collect();
    let expected: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), times)).collect();
    place.were_replaced(&expected).await
}

async fn signal(signal: &str, operator: &Operator) -> Result<()> {
    let id = operator.id().to_string();
    let status = tokio::process::Command::new("kill").args([signal, &id]).status().await?;
    ensure!(status.success(), "kill {signal}: {status}");
    Ok(())
}

/// A leader, another replica, and workloads that are replaced so many at once that there is a half way.
struct Two<'c> {
    leader: Operator,
    other: Operator,
    place: Place<'c>,
}

impl<'c> Two<'c> {
    async fn start(cluster: &'c Cluster) -> Result<Self> {
        let leader = Operator::start(cluster).await?;
        leads(&leader).await?;
        let other = Operator::launch(cluster).await?;
        other.ready().await?;
        let place = Place::on(cluster, at_once_but(json!({"maxConcurrent": 5}))).await?;
        place.config("app", json!({"level": "info"})).await?;
        let mut webs = Vec::new();
        for number in 0..WORKLOADS {
            webs.push(Web::create(&place, deployment(&format!("web-{number}"), 0, reads_all("app"))).await?);
        }
        for web in &webs {
            web.recorded().await?;
        }
        drop(webs);
        Ok(Self { leader, other, place })
    }
}

#[tokio::test]
async fn a_leader_killed_half_way_leaves_each_workload_replaced_exactly_once() -> Result<()> {
    let cluster = Cluster::start().await?;
    let Two { mut leader, other, place } = Two::start(&cluster).await?;
    half_way(&place, "killed").await?;
    leader.kill()?;
    leads(&other).await?;
    each_was_replaced(&place, 1).await
}

#[tokio::test]
async fn a_leader_frozen_half_way_leaves_each_workload_replaced_exactly_once() -> Result<()> {
    let cluster = Cluster::start().await?;
    let Two { leader, other, place } = Two::start(&cluster).await?;
    half_way(&place, "frozen").await?;
    signal("-STOP", &leader).await?;
    let successor = leads(&other).await;
    signal("-CONT", &leader).await?;
    successor?;
    each_was_replaced(&place, 1).await?;
    // It knows that it leads no more, and both go on as one.
    place.edit("app", json!({"level": "thawed"})).await?;
    each_was_replaced(&place, 2).await
}
