//! One ConfigMap that 500 Deployments read.

use std::time::Instant;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::audit::Asked;
use super::fleet::{Fleet, deployment, each, each_at_once};
use super::opt_in;
use crate::Row;
use crate::support::Cluster;

/// How many Deployments each of the two namespaces has.
pub(super) const WORKLOADS: usize = 500;
/// How many server-side applies are under way at once in what the operator is compared with.
const AT_ONCE: usize = 16;
/// How often each is measured, in turn.
const ROUNDS: usize = 2;
/// The ConfigMap that all of one namespace read.
const SHARED: &str = "shared";

/// Two namespaces with as many Deployments.
pub(super) struct Fleets {
    /// All of them read the same ConfigMap.
    pub(super) shared: Fleet,
    /// Each reads a ConfigMap of its own, that has its name.
    pub(super) own: Fleet,
}

/// The name of a Deployment in either.
pub(super) fn name(number: usize) -> String {
    format!("web-{number}")
}

impl Fleets {
    /// Creates all of them and waits until their pods run.
    pub(super) async fn create(cluster: &Cluster) -> Result<Self> {
        let (shared, own) = (Fleet::new(cluster).await?, Fleet::new(cluster).await?);
        shared.create_config_map(SHARED, "0").await?;
        each(WORKLOADS, async |number| {
            let name = name(number);
            shared.create(&deployment(&name, SHARED)).await?;
            own.create_config_map(&name, "0").await?;
            own.create(&deployment(&name, &name)).await
        })
        .await?;
        let fleets = Self { shared, own };
        fleets.calm().await?;
        Ok(fleets)
    }

    /// Waits until every rollout is complete.
    pub(super) async fn calm(&self) -> Result<()> {
        self.shared.watched.until_calm(WORKLOADS).await?;
        self.own.watched.until_calm(WORKLOADS).await
    }
}

/// Waits until all of them have been replaced so often, and returns when the last was.
async fn last(fleet: &Fleet, times: usize) -> Result<Instant> {
    fleet
        .watched
        .until("every pod template to be patched", |workloads| {
            let seen = || workloads.values().map(|workload| workload.replacements.get(times - 1));
            let missing = seen().filter(Option::is_none).count();
            anyhow::ensure!(missing == 0, "{missing} of {WORKLOADS} are not");
            seen().flatten().map(|replacement| replacement.seen).max().context("there are none")
        })
        .await
}

pub(super) async fn measure(cluster: &Cluster, fleets: &Fleets) -> Result<Vec<Row>> {
    let Fleets { shared, own } = fleets;
    opt_in(cluster, &[shared.namespace()]).await?;
    shared.watched.all("every workload to be recorded", |workload| workload.recorded).await?;
    let at_first = shared.watched.replacements()? + own.watched.replacements()?;
    let (mut ours, mut bare) = (Vec::new(), Vec::new());
    let (mut wrong, mut requests, mut events_a_second) = (0_usize, 0, 0);
    let mut described = String::new();
    for round in 1..=ROUNDS {
        fleets.calm().await?;
        let (since, before) = (Timestamp::now(), shared.watched.replacements()?);
        let start = Instant::now();
        shared.edit_config_map(SHARED, &format!("edit {round}")).await?;
        ours.push(last(shared, round).await?.duration_since(start).as_secs_f64());
        fleets.calm().await?;
        let asked = Asked::since(cluster, since).await?;
        wrong += (shared.watched.replacements()? - before).abs_diff(WORKLOADS) + asked.rollouts.abs_diff(WORKLOADS);
        requests = requests.max(asked.requests());
        events_a_second = events_a_second.max(asked.events_a_second);
        described = format!(" ({}; {} Events)", asked.described(), asked.events);

        let start = Instant::now();
        each_at_once(AT_ONCE, WORKLOADS, async |number| own.stamp(&name(number), &format!("edit {round}")).await)
            .await?;
        bare.push(last(own, round).await?.duration_since(start).as_secs_f64());
    }
    fleets.calm().await?;
    let worst = ours.iter().copied().fold(0.0, f64::max);
    let (ours, bare): (f64, f64) = (ours.iter().sum(), bare.iter().sum());
    let each = format!(" ({ROUNDS} rounds, in turn; the bare ones on average {:.2} s)", bare / rounds());
    let what = "one ConfigMap of 500 Deployments, no limits: from its write until the last pod template is patched";
    Ok(vec![
        Row::at_most("workloads seen for the first time: pod templates changed", count(at_first), 0.0, "", ""),
        Row::at_most(what, worst, 6.0, "s", &each),
        Row::at_most("the same, against 500 bare server-side applies, 16 at once", ours / bare, 2.0, "times", ""),
        Row::at_most("the same, pod templates patched too often or not at all", count(wrong), 0.0, "", ""),
        Row::at_most("the same, requests besides Events, Lease and status", count(requests), 510.0, "", &described),
        Row::at_most("the same, Events in the busiest second", count(events_a_second), 10.0, "", ""),
    ])
}

fn rounds() -> f64 {
    count(ROUNDS)
}

/// A count as a figure.
#[expect(clippy::cast_precision_loss, reason = "a few thousand at most")]
pub(super) fn count(number: usize) -> f64 {
    number as f64
}
