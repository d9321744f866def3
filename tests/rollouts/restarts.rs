//! An operator that starts: what changed while nobody looked is replaced, and nothing else.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::place::{Place, RECORD_MANAGER, at_once, at_once_but, second_of_data, stamp};
use crate::support::{Cluster, Effect, Operator, install_crds, install_rights};
use crate::web::{Web, baseline, cause, deployment, reads_all};

/// As many as are edited while the operator is dead.
const EDITED: usize = 30;

#[tokio::test]
async fn what_changed_while_nobody_looked_is_replaced_once_and_a_start_alone_replaces_nothing() -> Result<()> {
    let cluster = Cluster::start().await?;
    install_crds(&cluster).await?;
    install_rights(&cluster).await?;
    let place = Place::on(&cluster, at_once_but(json!({"onConfigChange": "OptIn"}))).await?;
    let opted_in = |name: &str, pod| {
        let mut deployment = deployment(name, 0, pod);
        deployment["metadata"]["annotations"] = json!({"immutable.dev/rollout": "enabled"});
        deployment
    };
    let mut webs = Vec::new();
    // Each has an object of its own, and one that is never edited.
    place.config("shared", json!({"level": "info"})).await?;
    for number in 0..EDITED + 5 {
        let name = format!("web-{number}");
        place.config(&name, json!({"level": "info", "color": "blue"})).await?;
        let mut pod = reads_all(&name);
        pod["containers"][0]["env"] = json!([
            {"name": "SHARED", "valueFrom": {"configMapKeyRef": {"name": "shared", "key": "level"}}},
        ]);
        webs.push(Web::create(&place, opted_in(&name, pod)).await?);
    }
    let reads_nothing = Web::create(&place, opted_in("reads-nothing", json!({}))).await?;
    let has_not_opted_in = Web::create(&place, deployment("has-not-opted-in", 0, reads_all("shared"))).await?;

    // The first start.
    let mut operator = Operator::launch(&cluster).await?;
    operator.ready().await?;
    for web in &webs {
        web.recorded().await?;
    }
    place.were_replaced(&[]).await?;
    for web in [&reads_nothing, &has_not_opted_in] {
        let stored = web.stored().await?;
        ensure!(baseline(&stored).is_none() && stamp(&stored).is_none(), "{stored}");
    }
    let others = place.written().await?;
    let is_opted_in = |object: &str| object.starts_with("deployments/web-");
    ensure!(
        others.iter().all(|written| written.manager == RECORD_MANAGER && is_opted_in(&written.object)),
        "{others:?}"
    );

    // Dead, and started again.
    operator.kill()?;
    for number in 0..EDITED {
        place.edit(&format!("web-{number}"), json!({"level": "debug"})).await?;
    }
    let mut operator = Operator::launch(&cluster).await?;
    let before = webs[EDITED].stored().await?;
    for (number, web) in webs[..EDITED].iter().enumerate() {
        let after = web.replaced(&before).await?;
        ensure!(cause(&after)? == format!("ConfigMap web-{number}"), "{}", cause(&after)?);
    }
    let names: Vec<String> = (0..EDITED).map(|number| format!("deployments/web-{number}")).collect();
    let expected: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    place.were_replaced(&expected).await?;

    // A start without a change.
    operator.terminate().await?;
    let written = place.written().await?.len();
    let mut operator = Operator::launch(&cluster).await?;
    place.were_replaced(&expected).await?;
    let now = place.written().await?;
    ensure!(now.len() == written, "a start alone writes {:?}", &now[written..]);
    operator.still_runs().await
}

#[tokio::test]
async fn what_others_did_while_nobody_looked_ends_in_one_rollout_more_at_most() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut operator = Operator::start(&cluster).await?;
    let place = Place::on(&cluster, at_once()).await?;
    let names = ["undone", "replaced", "deployed", "stripped", "edited-and-undone"];
    let mut webs = Vec::new();
    for name in names {
        place.config(name, json!({"level": "info"})).await?;
        webs.push(place.web(name, 1, name).await?);
    }
    place.next_second().await?;
    for (name, web) in names.iter().zip(&webs) {
        web.replaced_by(place.edit(name, json!({"level": "debug"}))).await?;
    }
    place.next_second().await?;
    operator.terminate().await?;

    let undo = async |name: &str| {
        let workload = format!("deployment/{name}");
        let arguments = ["-n", place.namespace.name(), "rollout", "undo", &workload];
        cluster.kubectl(&arguments, "").await?.success()
    };
    undo("undone").await?;
    place.namespace.requests().replace(Effect::Real, webs[1].manifest(), None).await?.accepted()?;
    let containers = json!([{"name": "main", "image": "registry.example/web:2", "envFrom": [
        {"configMapRef": {"name": "deployed"}}
    ]}]);
    webs[2].merge(json!({"spec": {"template": {"spec": {"containers": containers}}}})).await?;
    // All that the operator wrote on the workload itself.
    let nothing = json!({
        "immutable.dev/config-baseline": null, "immutable.dev/config-sources": null,
        "immutable.dev/config-differs-since": null,
    });
    webs[3].merge(json!({"metadata": {"annotations": nothing}})).await?;
    place.edit("edited-and-undone", json!({"level": "trace"})).await?;
    undo("edited-and-undone").await?;
    for web in &webs {
        web.complete().await?;
    }

    let mut operator = Operator::launch(&cluster).await?;
    place.quiet().await?;
    for (name, web) in names.iter().zip(&webs) {
        web.reads_what_is_current().await?;
        let edited = second_of_data(&place, name).await?;
        let pods = place.pods(name).await?;
        ensure!(!pods.is_empty() && pods.values().all(|created| *created >= edited), "{name}, {edited}: {pods:?}");
        let rollouts = place.rollouts().await?.get(&format!("deployments/{name}")).copied().unwrap_or_default();
        eprintln!("MEASURED {name}: {rollouts} rollouts");
        let most = if *name == "stripped" { 1 } else { 2 };
        ensure!(rollouts <= most, "{name}: {rollouts}");
    }
    let before = place.rollouts().await?;
    place.next_second().await?;
    place.quiet().await?;
    ensure!(place.rollouts().await? == before, "it goes on: {before:?}, {:?}", place.rollouts().await?);
    operator.still_runs().await
}
