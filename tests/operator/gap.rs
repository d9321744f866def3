//! Editing a policy under a load of creates never lets a violating one through.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering},
};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::policies::{Policy, bound_to, cluster_policy};
use crate::support::{Cluster, Effect, Operator, TestNamespace};
use crate::workloads::{BAD, denied, workload};

/// How many tasks create at the same time.
const TASKS: usize = 4;
/// How many denials must be seen after each edit, so that the load is there when something happens.
const DENIALS: usize = 40;

/// Creates of violating workloads, without a pause, until it is ended.
struct Load {
    stop: Arc<AtomicBool>,
    denials: Arc<AtomicUsize>,
    let_in: Arc<AtomicUsize>,
    tasks: JoinSet<Result<()>>,
}

impl Load {
    /// In each of the namespaces, of kinds that a policy reaches in different ways.
    fn start(namespaces: &[&TestNamespace]) -> Self {
        let mut load =
            Self { stop: Arc::default(), denials: Arc::default(), let_in: Arc::default(), tasks: JoinSet::new() };
        for (number, kind) in
            ["Deployment", "Pod", "StatefulSet", "CronJob"].into_iter().cycle().take(TASKS).enumerate()
        {
            let requests = namespaces[number % namespaces.len()].requests().clone();
            let (stop, denials, let_in) = (load.stop.clone(), load.denials.clone(), load.let_in.clone());
            load.tasks.spawn(async move {
                let manifest = workload(kind, "violating", BAD);
                while !stop.load(Ordering::Relaxed) {
                    let answer = requests.create(Effect::DryRun, &manifest).await?;
                    if answer.code < 300 {
                        let_in.fetch_add(1, Ordering::Relaxed);
                        eprintln!("LET IN: a {kind}");
                    } else {
                        // Any other refusal would say nothing of the policy.
                        denied(answer)?;
                        denials.fetch_add(1, Ordering::Relaxed);
                    }
                }
                Ok(())
            });
        }
        load
    }

    /// Waits for more denials.
    async fn goes_on(&self) {
        let target = self.denials.load(Ordering::Relaxed) + DENIALS;
        while self.denials.load(Ordering::Relaxed) < target && !self.tasks.is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }

    async fn end(mut self) -> Result<()> {
        self.goes_on().await;
        self.stop.store(true, Ordering::Relaxed);
        while let Some(task) = self.tasks.join_next().await {
            task??;
        }
        let (denials, let_in) = (self.denials.load(Ordering::Relaxed), self.let_in.load(Ordering::Relaxed));
        eprintln!("MEASURED {denials} violating creates denied during the edits, {let_in} let in");
        ensure!(let_in == 0, "{let_in} of {} violating creates were let in", denials + let_in);
        Ok(())
    }
}

/// The edits: each changes what is compiled in another way, and the rule on tags is enforced before and after.
fn edits() -> Vec<Value> {
    vec![
        json!({"profile": "Stateless"}),
        json!({"rules": {"imageDigest": {"enforcement": "Warn"}}}),
        json!({"rules": {"imageDigest": {"enforcement": "Disabled"}, "imageTag": {"forbiddenTags": ["stable"]}}}),
        // What a PodTemplate is judged by stays as it is: the proof must not be that of before.
        json!({"match": {"kinds": ["Deployment", "Pod", "StatefulSet", "CronJob"]}}),
        json!({"match": {"kinds": ["Deployment", "Pod", "StatefulSet", "CronJob", "DaemonSet"]}}),
        json!({"controllerCreated": "Enforce"}),
        json!({"rules": {"updateStrategy": {"enforcement": "Disabled"}}}),
        json!({"controllerCreated": "Audit", "match": {"kinds": null}}),
        json!({"profile": "Infrastructure"}),
        json!({"match": {"selector": {"matchExpressions": [{"key": "exempt", "operator": "DoesNotExist"}]}}}),
        json!({"match": {"selector": {"matchLabels": {"app": "violating"}, "matchExpressions": null}}}),
        json!({"match": {"selector": null}}),
        json!({"profile": "None", "rules": {"imageTag": {"forbiddenTags": null}}}),
    ]
}

#[tokio::test]
async fn editing_a_cluster_policy_lets_nothing_through() -> Result<()> {
    let cluster = Cluster::start().await?;
    let _operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace(&[("tier", "web"), ("env", "production")]).await?;
    let spec = bound_to(namespace.name(), json!({"enforcement": "Enforce", "rules": {"imageTag": {}}}));
    let policy = Policy::create_from(namespace.requests(), cluster_policy("edited", spec)).await?;
    policy.enforced().await?;
    let load = Load::start(&[&namespace]);
    load.goes_on().await;
    let selectors = [
        json!({"selector": {"matchLabels": {"kubernetes.io/metadata.name": null, "tier": "web"}}}),
        json!({"selector": {"matchLabels": {"tier": null, "env": "production"}}}),
        json!({"selector": null, "names": [namespace.name()]}),
        json!({"names": null, "exclude": ["default"]}),
    ];
    let selectors = selectors.into_iter().map(|selector| json!({"match": {"namespaces": selector}}));
    for edit in edits().into_iter().chain(selectors) {
        eprintln!("edit: {edit}");
        policy.edit(edit).await?;
        policy.enforced().await?;
        load.goes_on().await;
    }
    load.end().await
}

#[tokio::test]
async fn editing_one_of_several_joined_policies_lets_nothing_through() -> Result<()> {
    let cluster = Cluster::start().await?;
    let _operator = Operator::start(&cluster).await?;
    let spec = || json!({"enforcement": "Enforce", "rules": {"imageTag": {}}});
    let (one, two, three) =
        (cluster.namespace(&[]).await?, cluster.namespace(&[]).await?, cluster.namespace(&[]).await?);
    let first = Policy::create_namespaced(&one, "middle", spec()).await?;
    let second = Policy::create_namespaced(&two, "middle", spec()).await?;
    let third = Policy::create_namespaced(&three, "same", spec()).await?;
    for policy in [&first, &second, &third] {
        policy.enforced().await?;
    }
    ensure!(first.native_names().await? == second.native_names().await?, "their bindings are not joined");
    let load = Load::start(&[&one, &two]);
    load.goes_on().await;
    for edit in edits() {
        eprintln!("edit: {edit}");
        first.edit(edit.clone()).await?;
        first.enforced().await?;
        load.goes_on().await;
        // The second follows, so that the two part and meet again.
        second.edit(edit).await?;
        second.enforced().await?;
        load.goes_on().await;
    }
    // With many names the bindings of all are joined, and part again with fewer: each time they are others.
    let four = cluster.namespace(&[]).await?;
    let edited = first.stored().await?["spec"].clone();
    let mut others = Vec::new();
    for number in 0..8 {
        others.push(Policy::create_namespaced(&four, &format!("other-{number}"), edited.clone()).await?);
    }
    for policy in others.iter().chain([&first, &second, &third]) {
        policy.enforced().await?;
    }
    let other = others.first().context("no other policy")?;
    ensure!(first.native_names().await? == other.native_names().await?, "their bindings are not joined");
    load.goes_on().await;
    for policy in others {
        policy.delete().await?;
    }
    third.delete().await?;
    load.goes_on().await;
    for policy in [&first, &second] {
        policy.enforced().await?;
    }
    load.end().await
}

#[tokio::test]
async fn edits_that_overtake_each_other_and_a_killed_operator_let_nothing_through() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace(&[]).await?;
    let spec = bound_to(namespace.name(), json!({"enforcement": "Enforce", "rules": {"imageTag": {}}}));
    let policy = Policy::create_from(namespace.requests(), cluster_policy("overtaken", spec)).await?;
    policy.enforced().await?;
    let load = Load::start(&[&namespace]);
    load.goes_on().await;
    for (number, edit) in edits().into_iter().enumerate() {
        policy.edit(edit).await?;
        // At another moment of the work on it each time: before the first write, between two, before the proof.
        tokio::time::sleep(Duration::from_millis(90 * u64::try_from(number)?)).await;
        if number % 3 == 2 {
            operator.kill()?;
            load.goes_on().await;
            operator = Operator::launch(&cluster).await?;
        }
    }
    policy.enforced().await?;
    operator.still_runs().await?;
    load.end().await
}
