//! Updates: one that leaves every field that the rules read as it was passes, every other is judged whole.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use immutable_core::{
    native::message,
    policy::{Enforcement, Policy},
    rules::RuleId,
};
use serde_json::{Value, json};

use crate::{
    changes::changed,
    evaluator::{Evaluator, denials, update},
    images, oracle, policies,
    random::{Random, seed},
    shrink::shrink,
    verdict::{Part, concerns, findings, signature},
    workloads,
};

/// How many pairs are judged by each policy.
const PAIRS: usize = 2000;

/// What the API server must say of an update: the messages of the parts that are not as they were.
fn expected(policy: &Policy, old: &Value, new: &Value) -> Result<Vec<String>> {
    if !concerns(policy, new, "default")? && !concerns(policy, old, "default")? {
        return Ok(Vec::new());
    }
    let was_concerned = concerns(policy, old, "default")?;
    let mut messages = Vec::new();
    for ((level, part), found) in findings(policy, new)? {
        let rules = rules(policy, level);
        if part != Part::Ephemeral && !(was_concerned && oracle::untouched(&part, &rules, old, new)) {
            messages.push(message(&found));
        }
    }
    messages.sort_unstable();
    Ok(messages)
}

fn rules(policy: &Policy, level: Enforcement) -> Vec<RuleId> {
    policy.rules.iter().filter(|rule| rule.enforcement == level).map(|rule| rule.rule).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn updates_pass_where_nothing_that_is_read_changes_and_are_judged_whole_elsewhere() -> Result<()> {
    let seed = seed("agreement of updates")?;
    let edges = images::edges();
    let settings = policies::of_pods().into_iter().chain([policies::mixed(), policies::only_hosts()]);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for settings in settings.chain(policies::of_strategies().into_iter().take(2)) {
        let policy = settings.policy(None)?;
        let mut evaluator = Evaluator::start(&policy).await?;
        let pairs: Vec<(Value, Value)> = (0..PAIRS)
            .map(|case| {
                let old = workloads::any(Random::of(seed, case), &edges);
                let new = changed(&old, &mut Random::of(!seed, case), &edges);
                (old, new)
            })
            .collect();
        let requests: Vec<Value> = pairs.iter().map(|(old, new)| update(old, new)).collect();
        for ((old, new), judged) in pairs.iter().zip(evaluator.judge(&requests).await?) {
            let (rust, server) = (expected(&policy, old, new)?, denials(&judged));
            let violating = !findings(&policy, new)?.is_empty();
            *counts
                .entry(match (violating, server.is_empty()) {
                    (true, true) => "let through",
                    (true, false) => "denied",
                    (false, _) => "clean",
                })
                .or_default() += 1;
            if rust != server {
                return explain(&mut evaluator, &policy, old, new).await;
            }
        }
    }
    println!("{counts:?}");
    let enough = |what: &str| counts.get(what).is_some_and(|count| *count > 500);
    ensure!(enough("let through") && enough("denied"), "too few of a sort to prove anything: {counts:?}");
    Ok(())
}

/// Fails with the difference, made small.
async fn explain(evaluator: &mut Evaluator, policy: &Policy, old: &Value, new: &Value) -> Result<()> {
    let both = json!({"old": old, "new": new});
    let mut sides = async |pair: &Value| -> Result<Option<(Vec<String>, Vec<String>)>> {
        let Ok(rust) = expected(policy, &pair["old"], &pair["new"]) else { return Ok(None) };
        let judged = evaluator.judge(&[update(&pair["old"], &pair["new"])]).await?;
        let judged = judged.into_iter().next().context("no answer")?;
        // What is no object any more is no update.
        Ok(judged.is_ok().then(|| (rust, denials(&judged))))
    };
    let (rust, server) = sides(&both).await?.context("no answer")?;
    let sort = signature(rust.iter(), server.iter());
    let smallest = shrink(&both, async |pair| {
        let found = sides(pair).await?;
        // What fails for another reason is another difference.
        Ok(found.is_some_and(|(rust, server)| rust != server && signature(rust.iter(), server.iter()) == sort))
    })
    .await?;
    let (rust, server) = sides(&smallest).await?.context("no answer")?;
    anyhow::bail!("policy {}: {smallest}\n  Rust   {rust:?}\n  server {server:?}", policy.id)
}
