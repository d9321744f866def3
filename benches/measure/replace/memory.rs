//! What the operator's memory depends on: how many objects there are, and not how large they are.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::fleet::{Fleet, deployment, each};
use super::{leads, start};
use crate::Row;
use crate::idle::resident;
use crate::scan::peak;
use crate::support::Operator;

/// How many ConfigMaps there are, and as many Secrets.
const CONFIGS: usize = 5_000;
/// How many Deployments there are.
const WORKLOADS: usize = 1_000;
/// How many of them are opted in. Each reads a ConfigMap and a Secret that no other opted-in one reads.
const OPTED_IN: usize = 100;
/// What the objects hold, in bytes: at first, and then.
const SMALL: usize = 2_000;
const LARGE: usize = 10_000;
/// What a start or a burst left behind is given back by then, or never.
const GIVEN_BACK: Duration = Duration::from_secs(10);

fn config(number: usize) -> String {
    format!("settings-{number}")
}

fn workload(number: usize) -> Value {
    let mut deployment = deployment(&format!("web-{number}"), &config(number));
    if number < OPTED_IN {
        deployment["metadata"]["annotations"] = json!({"immutable.dev/rollout": "enabled"});
    }
    let spec = &mut deployment["spec"]["template"]["spec"];
    spec["volumes"] = json!([{"name": "keys", "secret": {"secretName": config(number)}}]);
    spec["containers"][0]["volumeMounts"] = json!([{"name": "keys", "mountPath": "/keys"}]);
    deployment
}

/// A value of so many bytes that says which version it is.
fn value(version: &str, bytes: usize) -> String {
    format!("{version:x<bytes$}")
}

/// Waits until each opted-in workload was replaced so often at least, and all rollouts are complete.
async fn replaced(fleet: &Fleet, before: usize) -> Result<()> {
    fleet
        .watched
        .until("the opted-in workloads to be replaced", |workloads| {
            let replaced = workloads.values().filter(|workload| workload.replacements.len() > before).count();
            ensure!(replaced >= OPTED_IN, "{replaced} of {OPTED_IN}");
            Ok(())
        })
        .await?;
    fleet.watched.until_calm(WORKLOADS).await
}

pub(crate) async fn measure() -> Result<Vec<Row>> {
    let cluster = start().await?;
    let fleet = Fleet::new(&cluster).await?;
    let small = value("first", SMALL);
    each(WORKLOADS, async |number| fleet.create(&workload(number)).await).await?;
    each(CONFIGS, async |number| {
        fleet.create_config_map(&config(number), &small).await?;
        fleet.create_secret(&config(number), &small).await
    })
    .await?;
    fleet.watched.until_calm(WORKLOADS).await?;

    let mut operator = Operator::start(&cluster).await?;
    leads(&operator).await?;
    let recorded = || async {
        fleet
            .watched
            .until("the opted-in workloads to be recorded", |workloads| {
                let recorded = workloads.values().filter(|workload| workload.recorded).count();
                ensure!(recorded == OPTED_IN, "{recorded} of {OPTED_IN}");
                Ok(())
            })
            .await
    };
    recorded().await?;
    let first = rest(&operator).await?;

    // Every second by its ConfigMap, the others by their Secret.
    let edited = value("second", SMALL);
    each(OPTED_IN, async |number| match number % 2 {
        0 => fleet.edit_config_map(&config(number), &edited).await,
        _ => fleet.edit_secret(&config(number), &edited).await,
    })
    .await?;
    replaced(&fleet, 0).await?;
    let after_edits = rest(&operator).await?;

    let large = value("third", LARGE);
    each(CONFIGS, async |number| {
        fleet.edit_config_map(&config(number), &large).await?;
        fleet.edit_secret(&config(number), &large).await
    })
    .await?;
    replaced(&fleet, 1).await?;
    let grown = rest(&operator).await?;
    let highest = peak(operator.id())?;

    operator.terminate().await?;
    let operator = Operator::launch(&cluster).await?;
    operator.ready().await?;
    leads(&operator).await?;
    // One more edit shows that it has read all of them again.
    let before = fleet.watched.of("web-0", |workload| workload.replacements.len())?;
    fleet.edit_config_map(&config(0), &value("fourth", LARGE)).await?;
    fleet
        .watched
        .until("the workload to be replaced", |workloads| {
            let times = workloads.get("web-0").map(|workload| workload.replacements.len());
            ensure!(times > Some(before), "it was {times:?} times");
            Ok(())
        })
        .await?;
    let again = rest(&operator).await?;
    let what = "5,000 ConfigMaps and 5,000 Secrets of 2 KB, 1,000 Deployments, 100 of them opted in";
    Ok(vec![
        Row::at_most(&format!("{what}: resident memory after the start"), first, 24.0, "MiB", ""),
        Row::at_most("the same, after 100 edits", after_edits, 24.0, "MiB", ""),
        Row::at_most(
            "the same, after all of them have grown to 10 KB",
            grown,
            24.0,
            "MiB",
            &format!(", at most {highest:.0}"),
        ),
        Row::at_most(
            "started again with objects of 10 KB: resident memory, against 2 KB",
            again / first,
            1.1,
            "times",
            &format!(" ({again:.1} MiB)"),
        ),
    ])
}

/// The operator's resident memory in MiB, when nothing has happened for a while.
async fn rest(operator: &Operator) -> Result<f64> {
    tokio::time::sleep(GIVEN_BACK).await;
    resident(operator.id())
}
