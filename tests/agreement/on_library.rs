//! The comparison with the API server's own CEL library: many more objects than a server can take.

use std::{collections::BTreeMap, fmt::Write as _, sync::Arc, time::Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use immutable_core::policy::Policy;
use serde_json::Value;

use crate::{
    evaluator::{Evaluator, creation, denials},
    images, policies,
    random::{Random, seed},
    shrink::shrink,
    verdict::{concerns, messages, signature},
    workloads,
};

/// How many objects are generated.
const GENERATED: usize = 100_000;
/// How many objects are under way in one process.
const BATCH: usize = 500;
/// How many differences are shown.
const SHOWN: usize = 12;

/// A case in which the two sides differ.
pub(crate) struct Difference {
    object: Value,
    rust: Vec<String>,
    server: Vec<String>,
}

impl Difference {
    fn signature(&self) -> String {
        signature(self.rust.iter(), self.server.iter())
    }
}

#[derive(Default)]
struct Outcome {
    judged: usize,
    denied: usize,
    sorts: BTreeMap<String, usize>,
    differences: Vec<Difference>,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_objects_agree_in_the_servers_cel_library() -> Result<()> {
    let seed = seed("agreement in the library")?;
    let start = Instant::now();
    let settings: Vec<_> = policies::of_pods().into_iter().chain([policies::mixed(), policies::healthy()]).collect();
    let count = settings.len();
    let edges = Arc::new(images::edges());
    let parallel = std::thread::available_parallelism()?.get();

    let outcomes: Vec<Outcome> = stream::iter(settings.into_iter().enumerate())
        .map(|(number, settings)| {
            let edges = Arc::clone(&edges);
            let cases = (number..GENERATED).step_by(count);
            // Judging keeps a core busy, so each policy has a thread of its own.
            tokio::task::spawn_blocking(move || {
                let judge = async { judge_all(&settings.policy(None)?, seed, cases, &edges).await };
                tokio::runtime::Handle::current().block_on(judge)
            })
        })
        .buffer_unordered(parallel)
        .map(|joined| joined?)
        .try_collect()
        .await?;

    let judged: usize = outcomes.iter().map(|outcome| outcome.judged).sum();
    let denied: usize = outcomes.iter().map(|outcome| outcome.denied).sum();
    let mut sorts: BTreeMap<String, usize> = BTreeMap::new();
    for (sort, number) in outcomes.iter().flat_map(|outcome| &outcome.sorts) {
        *sorts.entry(sort.clone()).or_default() += number;
    }
    println!("{judged} objects, {denied} denied; {:?}; {sorts:?}", start.elapsed());
    ensure!(judged == GENERATED, "only {judged} were judged");
    ensure!(denied * 5 > judged && denied * 20 < judged * 19, "{denied} denials prove too little");
    let differences: usize = outcomes.iter().map(|outcome| outcome.differences.len()).sum();
    let mut shown = String::new();
    for outcome in &outcomes {
        for difference in &outcome.differences {
            write!(shown, "\n{}\n{}", difference.signature(), difference.object)?;
            write!(shown, "\n  Rust   {:?}\n  server {:?}\n", difference.rust, difference.server)?;
        }
    }
    ensure!(differences == 0, "differences, one of each sort and policy, made small:\n{shown}");
    Ok(())
}

/// Judges the cases by one policy; keeps one difference of each sort, made small.
async fn judge_all(
    policy: &Policy,
    seed: u64,
    cases: impl Iterator<Item = usize>,
    edges: &[String],
) -> Result<Outcome> {
    let mut evaluator = Evaluator::start(policy).await?;
    let mut outcome = Outcome::default();
    let mut by_sort: BTreeMap<String, Difference> = BTreeMap::new();
    let cases: Vec<usize> = cases.collect();
    for cases in cases.chunks(BATCH) {
        let objects: Vec<Value> = cases.iter().map(|case| workloads::any(Random::of(seed, *case), edges)).collect();
        for object in &objects {
            *outcome.sorts.entry(object["kind"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        for (object, found) in objects.iter().zip(compare(&mut evaluator, policy, &objects).await?) {
            outcome.judged += 1;
            outcome.denied += usize::from(!found.0.is_empty());
            if found.0 != found.1 {
                let difference = Difference { object: object.clone(), rust: found.0, server: found.1 };
                by_sort.entry(difference.signature()).or_insert(difference);
            }
        }
    }
    for (signature, difference) in by_sort.into_iter().take(SHOWN) {
        let object = shrink(&difference.object, async |candidate| {
            let found = compare(&mut evaluator, policy, std::slice::from_ref(candidate)).await?;
            let (rust, server) = found.into_iter().next().context("no answer")?;
            let found = Difference { object: candidate.clone(), rust, server };
            Ok(found.rust != found.server && found.signature() == signature)
        })
        .await?;
        let found = compare(&mut evaluator, policy, std::slice::from_ref(&object)).await?;
        let (rust, server) = found.into_iter().next().context("no answer")?;
        outcome.differences.push(Difference { object, rust, server });
    }
    Ok(outcome)
}

/// What the Rust side and the library say of each object.
async fn compare(
    evaluator: &mut Evaluator,
    policy: &Policy,
    objects: &[Value],
) -> Result<Vec<(Vec<String>, Vec<String>)>> {
    let requests: Vec<Value> = objects.iter().map(creation).collect();
    let judgements = evaluator.judge(&requests).await?;
    let both = objects.iter().zip(judgements).map(|(object, judgements)| {
        let rust = match concerns(policy, object, "default") {
            Ok(true) => messages(policy, object),
            Ok(false) => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        (rust.unwrap_or_else(|error| vec![format!("UNREADABLE {error:#}")]), denials(&judgements))
    });
    Ok(both.collect())
}
