//! One edit, one workload: from the write of a ConfigMap to the patch of the pod template that reads it.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::fleet::{Fleet, deployment, each};
use super::{bare, opt_in, start};
use crate::Row;
use crate::statistics::percentile;
use crate::support::Operator;

/// How many Deployments there are on each side, each with a ConfigMap of its own. They take turns, so that none is
/// edited often enough to look like two that fight over it.
const WORKLOADS: usize = 40;
/// How many edits there are on each side.
const EDITS: usize = 120;

pub(crate) async fn measure() -> Result<Vec<Row>> {
    let cluster = start().await?;
    let _operator = Operator::start(&cluster).await?;
    let (served, other) = (create(&cluster).await?, Arc::new(create(&cluster).await?));
    opt_in(&cluster, &[served.namespace()]).await?;
    served.watched.all("every workload to be recorded", |workload| workload.recorded).await?;
    let mut by_loop = tokio::spawn(bare::run(Arc::clone(&other)));
    let compared = tokio::select! {
        ended = &mut by_loop => return Err(ended?.err().context("the loop ended")?),
        compared = compare(&served, &other) => compared,
    };
    by_loop.abort();
    let (mut ours, mut bare) = compared?;
    let (p50, p99) = (percentile(&mut ours, 0.5), percentile(&mut ours, 0.99));
    let (bare50, bare99) = (percentile(&mut bare, 0.5), percentile(&mut bare, 0.99));
    let what = "one edit of a ConfigMap, no settling: from its write until the pod template is patched, p50";
    let detail = format!(
        " (p99 {p99:.1} ms; the loop {bare50:.1} and {bare99:.1} ms; {EDITS} edits of each in turn, {WORKLOADS} Deployments)"
    );
    Ok(vec![
        Row::at_most(what, p50, 10.0, "ms", &detail),
        Row::at_most("the same, against a bare loop that watches, gets and patches", p50 / bare50, 1.5, "times", ""),
    ])
}

async fn create(cluster: &crate::support::Cluster) -> Result<Fleet> {
    let fleet = Fleet::new(cluster).await?;
    each(WORKLOADS, async |number| {
        fleet.create_config_map(&name(number), "0").await?;
        fleet.create(&deployment(&name(number), &name(number))).await
    })
    .await?;
    fleet.watched.until_calm(WORKLOADS).await?;
    Ok(fleet)
}

fn name(number: usize) -> String {
    format!("web-{number}")
}

/// Milliseconds of edits on each side, in turn, and each side as often first as the other.
async fn compare(served: &Fleet, other: &Fleet) -> Result<(Vec<f64>, Vec<f64>)> {
    let mut samples = (Vec::with_capacity(EDITS), Vec::with_capacity(EDITS));
    for round in 0..EDITS {
        let name = name(round % WORKLOADS);
        let first = if round.is_multiple_of(2) { served } else { other };
        let second = if round.is_multiple_of(2) { other } else { served };
        let (one, two) = (edit(first, &name, round).await?, edit(second, &name, round).await?);
        let (ours, bare) = if round.is_multiple_of(2) { (one, two) } else { (two, one) };
        samples.0.push(ours);
        samples.1.push(bare);
    }
    Ok(samples)
}

/// Milliseconds from just before the write until the watch shows another pod template. The rollout is complete when
/// this returns, so that it disturbs nothing that is measured next.
async fn edit(fleet: &Fleet, name: &str, round: usize) -> Result<f64> {
    let before = fleet.watched.of(name, |workload| workload.replacements.len())?;
    let value = format!("edit {round}");
    let start = Instant::now();
    fleet.edit_config_map(name, &value).await?;
    let seen = fleet
        .watched
        .until("the patch of the pod template", |workloads| {
            let replacement = workloads.get(name).and_then(|workload| workload.replacements.get(before));
            replacement.map(|replacement| replacement.seen).with_context(|| format!("{name} as before"))
        })
        .await?;
    fleet.watched.until_calm(WORKLOADS).await?;
    Ok(seen.duration_since(start).as_secs_f64() * 1e3)
}
