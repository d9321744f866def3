//! A restart of the operator among 1,000 workloads: it causes no rollout and loses none.

use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::fan_out::{Fleets, WORKLOADS, count, name};
use super::fleet::{Fleet, each};
use super::watched::Workload;
use super::{leads, opt_in};
use crate::Row;
use crate::support::{Cluster, Operator};

/// How many ConfigMaps are edited while the operator is dead, each of one workload.
const EDITED: usize = 100;
/// How long is waited for what must not come, when what has to come has come.
const QUIET: Duration = Duration::from_secs(10);

pub(super) async fn measure(cluster: &Cluster, mut operator: Operator, fleets: &Fleets) -> Result<Vec<Row>> {
    let Fleets { shared, own } = fleets;
    let total = || -> Result<usize> { Ok(shared.watched.replacements()? + own.watched.replacements()?) };
    let before = total()?;
    opt_in(cluster, &[shared.namespace(), own.namespace()]).await?;
    own.watched.all("every workload to be recorded", |workload| workload.recorded).await?;
    fleets.calm().await?;
    let opted_in = total()? - before;

    // Nothing has changed when it starts again. The edit of one then shows that it knows all of them.
    operator.terminate().await?;
    let (before, of_each) = (total()?, per_workload(own)?);
    let mut operator = Operator::launch(cluster).await?;
    leads(&operator).await?;
    let known = WORKLOADS - 1;
    edit(own, known).await?;
    replaced(own, known..WORKLOADS, &of_each).await?;
    fleets.calm().await?;
    tokio::time::sleep(QUIET).await;
    let restarted = (total()? - before).abs_diff(1);

    operator.kill()?;
    let (before, of_each) = (total()?, per_workload(own)?);
    each(EDITED, async |number| edit(own, number).await).await?;
    let operator = Operator::launch(cluster).await?;
    leads(&operator).await?;
    let start = Instant::now();
    replaced(own, 0..EDITED, &of_each).await?;
    let caught_up = start.elapsed().as_secs_f64();
    fleets.calm().await?;
    tokio::time::sleep(QUIET).await;
    let after = per_workload(own)?;
    let times = || after.iter().zip(&of_each).map(|(after, before)| after - before);
    let wrong: usize = times().enumerate().map(|(number, times)| times.abs_diff(usize::from(number < EDITED))).sum();
    let elsewhere = total()? - before - times().sum::<usize>();
    let unnamed = unnamed(own)?;
    let what =
        "100 ConfigMaps edited while it is dead, then started: workloads replaced without cause, twice or not at all";
    Ok(vec![
        Row::at_most("500 more workloads opted in: pod templates changed", count(opted_in), 0.0, "", ""),
        Row::at_most(
            "started again among 1,000, nothing changed: pod templates changed",
            count(restarted),
            0.0,
            "",
            "",
        ),
        Row::at_most(what, count(wrong + elsewhere), 0.0, "", &format!(" (all patched {caught_up:.2} s after it led)")),
        Row::at_most("the same, replacements that do not name their ConfigMap", count(unnamed), 0.0, "", ""),
    ])
}

async fn edit(fleet: &Fleet, number: usize) -> Result<()> {
    fleet.edit_config_map(&name(number), "edited").await
}

/// How often each workload was replaced so far.
fn per_workload(fleet: &Fleet) -> Result<Vec<usize>> {
    (0..WORKLOADS).map(|number| fleet.watched.of(&name(number), |workload| workload.replacements.len())).collect()
}

/// Waits until each of these was replaced more often than before.
async fn replaced(fleet: &Fleet, which: Range<usize>, before: &[usize]) -> Result<()> {
    fleet
        .watched
        .until("the workloads to be replaced", |workloads| {
            let is_missing = |number: &usize| {
                workloads.get(&name(*number)).is_none_or(|workload| workload.replacements.len() <= before[*number])
            };
            let missing = which.clone().filter(is_missing).count();
            ensure!(missing == 0, "{missing} of {} are not", which.len());
            Ok(())
        })
        .await
}

/// How many of those that were edited do not say at last that their ConfigMap is why.
fn unnamed(fleet: &Fleet) -> Result<usize> {
    let mut unnamed = 0;
    for number in 0..EDITED {
        let name = name(number);
        let names = |workload: &Workload| workload.replacements.last().is_some_and(|last| last.cause.contains(&name));
        unnamed += usize::from(!fleet.watched.of(&name, names)?);
    }
    Ok(unnamed)
}
