//! Ephemeral containers, which come through a subresource of Pods: only those that are added are judged.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use immutable_core::{evaluate::About, native::message, policy::Policy};
use kube::api::Patch;
use serde_json::{Value, json};

use crate::{
    evaluator::{Evaluator, denials, update},
    images, policies,
    random::{Random, seed},
    server::{Place, Server},
    shrink::shrink,
    specs::{Generator, Home},
    support::{Effect, GENEROUS, wait_until},
    verdict::{Part, concerns, findings, signature},
    workloads::{Sort, of_sort},
};

/// How many additions are judged by each policy in the library.
const IN_LIBRARY: usize = 1500;
/// How many are judged by each policy on the server.
const ON_SERVER: usize = 60;
const POD: Sort = Sort::BuiltIn(immutable_core::workload::Kind::Pod);

/// What the API server must say when a Pod becomes another one by its subresource.
fn expected(policy: &Policy, old: &Value, new: &Value) -> Result<Vec<String>> {
    let namespace = new["metadata"]["namespace"].as_str().unwrap_or("default");
    if !concerns(policy, new, namespace)? {
        return Ok(Vec::new());
    }
    let old: BTreeSet<&str> = old["spec"]["ephemeralContainers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|container| container["name"].as_str())
        .collect();
    let is_new = |about: &About| matches!(about, About::Container { name, .. } if !old.contains(name.as_str()));
    let mut messages = Vec::new();
    for ((_, part), mut found) in findings(policy, new)? {
        found.retain(|finding| is_new(&finding.about));
        if part == Part::Ephemeral && !found.is_empty() {
            messages.push(message(&found));
        }
    }
    messages.sort_unstable();
    Ok(messages)
}

/// Some ephemeral containers for a pod spec whose volumes the generator has made or been told of.
fn additions(generator: &mut Generator<'_>) -> Vec<Value> {
    (0..=generator.random.below(2)).map(|index| generator.container("e", index)).collect()
}

/// A Pod before and after ephemeral containers were added to it.
fn addition(seed: u64, case: usize, edges: &[String]) -> Value {
    let mut old = of_sort(Random::of(seed, case), edges, POD);
    let mut generator = Generator::new(Random::of(!seed, case), edges, Home::Pod);
    generator.pod_spec();
    let mut all = additions(&mut generator);
    let mut new = old.clone();
    if generator.random.chance(50) {
        let before = json!({"name": "before", "image": "nginx"});
        old["spec"]["ephemeralContainers"] = json!([before]);
        all.insert(0, before);
    }
    new["spec"]["ephemeralContainers"] = Value::Array(all);
    json!({"old": old, "new": new})
}

/// What the Rust side and the library say of each addition.
async fn sides(evaluator: &mut Evaluator, policy: &Policy, pairs: &[Value]) -> Result<Vec<(Vec<String>, Vec<String>)>> {
    let request = |pair: &Value| {
        let mut request = update(&pair["old"], &pair["new"]);
        request["subresource"] = json!("ephemeralcontainers");
        request
    };
    let requests: Vec<Value> = pairs.iter().map(request).collect();
    let judged = evaluator.judge(&requests).await?;
    let both = pairs.iter().zip(judged).map(|(pair, judged)| {
        let rust = expected(policy, &pair["old"], &pair["new"]);
        (rust.unwrap_or_else(|error| vec![format!("UNREADABLE {error:#}")]), denials(&judged))
    });
    Ok(both.collect())
}

#[tokio::test(flavor = "multi_thread")]
async fn ephemeral_containers_agree_in_the_servers_cel_library() -> Result<()> {
    let seed = seed("agreement of ephemeral containers")?;
    let edges = images::edges();
    let mut denied = 0;
    for settings in policies::of_pods().into_iter().chain([policies::mixed()]) {
        let policy = settings.policy(None)?;
        let mut evaluator = Evaluator::start(&policy).await?;
        let pairs: Vec<Value> = (0..IN_LIBRARY).map(|case| addition(seed, case, &edges)).collect();
        for (pair, (rust, server)) in pairs.iter().zip(sides(&mut evaluator, &policy, &pairs).await?) {
            denied += usize::from(!server.is_empty());
            if rust != server {
                let one = async |pair: &Value, evaluator: &mut Evaluator| {
                    let found = sides(evaluator, &policy, std::slice::from_ref(pair)).await?;
                    found.into_iter().next().context("no answer")
                };
                let sort = signature(rust.iter(), server.iter());
                let smallest = shrink(pair, async |pair| {
                    let (rust, server) = one(pair, &mut evaluator).await?;
                    // What fails for another reason is another difference.
                    Ok(rust != server && signature(rust.iter(), server.iter()) == sort)
                })
                .await?;
                let (rust, server) = one(&smallest, &mut evaluator).await?;
                bail!("policy {}: {smallest}\n  Rust   {rust:?}\n  server {server:?}", policy.id);
            }
        }
    }
    println!("{denied} of {} additions denied", 6 * IN_LIBRARY);
    ensure!(denied > IN_LIBRARY, "too few denials to prove anything");
    Ok(())
}

/// Creates the Pods to which containers are added later, before any policy is there to deny them.
///
/// # Errors
/// When one cannot be created.
pub(crate) async fn prepare(server: &Server) -> Result<()> {
    for Place { namespace, .. } in &server.places {
        for os in ["linux", "windows"] {
            let pod = json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": os, "labels": {"tier": "web", "team": "a"}},
                "spec": {
                    "os": {"name": os},
                    "containers": [{"name": "app", "image": "nginx"}],
                    "volumes": [
                        {"name": "v0", "hostPath": {"path": "/"}}, {"name": "v1", "emptyDir": {}},
                        {"name": "v2", "hostPath": {"path": "/var"}}, {"name": "v3", "image": {"reference": "nginx"}},
                    ],
                },
            });
            namespace.create_object(&pod).await?;
            let before = json!({"name": "before", "image": "nginx"});
            // Who else writes the Pod at the same time makes a conflict.
            wait_until("an ephemeral container", GENEROUS, async || {
                add(Effect::Real, namespace, os, std::slice::from_ref(&before)).await?.map_err(anyhow::Error::msg)
            })
            .await?;
        }
    }
    Ok(())
}

/// Adds ephemeral containers to a Pod: what it becomes, or why not.
async fn add(
    effect: Effect,
    namespace: &crate::support::TestNamespace,
    pod: &str,
    containers: &[Value],
) -> Result<Result<Value, String>> {
    let named = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": pod}});
    let patch = Patch::Strategic(json!({"spec": {"ephemeralContainers": containers}}));
    let answer = namespace.requests().patch(effect, &named, &patch, Some("ephemeralcontainers")).await?;
    Ok(if answer.code < 300 { answer.accepted().map_err(|error| error.to_string()) } else { Err(answer.rejected()?) })
}

/// Compares what the API server says of additions to the prepared Pods.
///
/// # Errors
/// When it is not what the Rust side says.
pub(crate) async fn compare(server: &Server, seed: u64) -> Result<()> {
    let edges = images::edges();
    let (mut denied, mut refused, mut judged) = (0, 0, 0);
    for place in &server.places {
        for case in 0..ON_SERVER {
            let os = if case % 4 == 0 { "windows" } else { "linux" };
            let named = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": os}});
            let old = place.namespace.requests().get(&named).await?.accepted()?;
            let mut generator = Generator::new(Random::of(seed, case), &edges, Home::Pod);
            generator.is_like(os == "windows", &["v0", "v1", "v2", "v3"]);
            let added = additions(&mut generator);
            let mut new = old.clone();
            if let Some(all) = new["spec"]["ephemeralContainers"].as_array_mut() {
                all.extend(added.iter().cloned());
            }
            let rust = expected(&place.policy, &old, &new)?;
            let denial = match add(Effect::DryRun, &place.namespace, os, &added).await? {
                Ok(_) => Vec::new(),
                Err(rejection) => {
                    let Some((_, message)) = rejection.split_once(" denied request: ") else {
                        refused += 1;
                        continue;
                    };
                    vec![message.to_owned()]
                }
            };
            judged += 1;
            denied += usize::from(!denial.is_empty());
            let added = Value::Array(added);
            ensure!(rust == denial, "policy {}: {added}\n  Rust   {rust:?}\n  server {denial:?}", place.policy.id);
        }
    }
    println!("{judged} additions of ephemeral containers, {denied} of them denied, {refused} refused by validation");
    ensure!(denied > 50 && refused * 2 < judged, "they prove too little");
    Ok(())
}
