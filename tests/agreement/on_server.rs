//! The comparison on a real API server: the raw file, the stored object and the denial say the same.

use std::{collections::BTreeMap, fmt::Write as _, time::Instant};

use anyhow::{Context, Result, ensure};
use futures::{StreamExt, TryStreamExt, stream};
use serde_json::Value;

use crate::{
    corpus, ephemeral, images, policies,
    random::{Random, seed},
    server::{Reply, Server, as_manifest},
    shrink::shrink,
    verdict::{concerns, messages, signature},
    workloads,
};

/// How many generated objects there are beside the hand-written ones.
const GENERATED: usize = 1500;
/// How many requests are under way.
const AT_ONCE: usize = 16;
/// How many differences are shown.
const SHOWN: usize = 12;
/// How many policies judge each object.
const POLICIES_EACH: usize = 2;

/// A case in which not all say the same.
#[derive(Debug)]
struct Difference {
    place: usize,
    /// What sort of difference it is.
    signature: String,
    object: Value,
    what: String,
}

#[derive(Debug, Default)]
struct Outcome {
    refused: Option<String>,
    judged: usize,
    denied: usize,
    difference: Option<Difference>,
}

/// How many objects must be judged on the real API server.
const PROMISED: usize = 2_000;

#[tokio::test(flavor = "multi_thread")]
async fn files_stored_objects_and_denials_agree_on_a_real_api_server() -> Result<()> {
    let seed = seed("agreement on the server")?;
    let settings: Vec<_> = policies::of_pods().into_iter().chain(policies::of_strategies()).collect();
    let server = Server::start(&settings).await?;
    ephemeral::prepare(&server).await?;
    server.apply().await?;
    ephemeral::compare(&server, seed).await?;
    let start = Instant::now();

    let mut objects = corpus::objects();
    let by_hand = objects.len();
    let edges = images::edges();
    objects.extend((0..GENERATED).map(|case| workloads::any(Random::of(seed, case), &edges)));
    let count = objects.len();

    let server = &server;
    let outcomes: Vec<Outcome> = stream::iter(objects.into_iter().enumerate())
        .map(|(number, object)| async move { compare(server, number, &object).await })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;

    let refused: Vec<&String> = outcomes.iter().filter_map(|outcome| outcome.refused.as_ref()).collect();
    let judged: usize = outcomes.iter().map(|outcome| outcome.judged).sum();
    let denied: usize = outcomes.iter().map(|outcome| outcome.denied).sum();
    println!(
        "{count} objects, {by_hand} of them by hand, {} refused by validation; {judged} verdicts, {denied} of them \
         denials; {:?}",
        refused.len(),
        start.elapsed()
    );
    ensure!(count - refused.len() >= PROMISED, "only {} were judged", count - refused.len());
    ensure!(refused.len() * 10 < count * 3, "too many objects are refused by validation: {refused:?}");
    ensure!(denied * 5 > judged, "too few denials to prove anything");
    ensure!(denied * 10 < judged * 9, "too few passes to prove anything");

    let differences: Vec<Difference> = outcomes.into_iter().filter_map(|outcome| outcome.difference).collect();
    report(server, differences).await
}

/// Fails with one difference of each sort, made small.
async fn report(server: &Server, differences: Vec<Difference>) -> Result<()> {
    let count = differences.len();
    let by_sort: BTreeMap<String, Difference> =
        differences.into_iter().map(|difference| (difference.signature.clone(), difference)).collect();
    let mut shown = String::new();
    for (signature, difference) in by_sort.iter().take(SHOWN) {
        let place = difference.place;
        let smallest = shrink(&difference.object, async |candidate| {
            let difference = difference_at(server, place, candidate).await;
            // What fails for another reason is another difference.
            Ok(difference.is_ok_and(|found| found.is_some_and(|found| found.signature == *signature)))
        })
        .await?;
        let what = difference_at(server, place, &smallest).await?.map_or(String::new(), |found| found.what);
        write!(shown, "\n{signature}\npolicy {}: {smallest}\n{what}\n", server.places[place].policy.id)?;
    }
    ensure!(by_sort.is_empty(), "{count} differences of {} sorts, each made small:\n{shown}", by_sort.len());
    Ok(())
}

/// Compares what some policies say of an object.
async fn compare(server: &Server, number: usize, object: &Value) -> Result<Outcome> {
    let stored = match stored(server, object).await? {
        Ok(stored) => stored,
        Err(message) => return Ok(Outcome { refused: Some(message), ..Outcome::default() }),
    };
    let mut outcome = Outcome::default();
    let of_pods = policies::of_pods().len();
    let of_strategies = server.places.len() - of_pods;
    let mut places: Vec<usize> = (0..POLICIES_EACH).map(|turn| (number + turn) % of_pods).collect();
    if workloads::Sort::of(object).is_some_and(workloads::Sort::has_strategy) {
        places.extend((0..POLICIES_EACH).map(|turn| of_pods + (number + turn) % of_strategies));
    }
    for place in places {
        let at = compare_at(server, place, object, &stored).await?;
        outcome.judged += at.judged;
        outcome.denied += at.denied;
        outcome.difference = outcome.difference.or(at.difference);
    }
    Ok(outcome)
}

/// What the API server would store, or why it refuses.
async fn stored(server: &Server, object: &Value) -> Result<Result<Value, String>> {
    match server.store(object).await? {
        Reply::Accepted(stored) => Ok(Ok(as_manifest(&stored))),
        Reply::Refused(message) => Ok(Err(message)),
        Reply::Denied(message) => anyhow::bail!("denied where no policy is: {message}"),
    }
}

/// The difference at one policy, if there is one.
async fn difference_at(server: &Server, place: usize, object: &Value) -> Result<Option<Difference>> {
    match stored(server, object).await? {
        Ok(stored) => Ok(compare_at(server, place, object, &stored).await?.difference),
        Err(_) => Ok(None),
    }
}

/// Compares what one policy says of an object: Rust of the raw file and of the stored object, the server of both.
async fn compare_at(server: &Server, place: usize, object: &Value, stored: &Value) -> Result<Outcome> {
    let mut outcome = Outcome::default();
    let (policy, namespace) = (&server.places[place].policy, server.places[place].namespace.name());
    let expected = |object: &Value| -> Result<Vec<String>> {
        if concerns(policy, object, namespace)? { messages(policy, object) } else { Ok(Vec::new()) }
    };
    let mut all = Vec::new();
    for (what, object) in [("file", object), ("stored", stored)] {
        let rust = match expected(object) {
            Ok(rust) => rust,
            Err(error) => vec![format!("UNREADABLE {error:#}")],
        };
        let denial = match server.create(namespace, object).await? {
            Reply::Accepted(_) => None,
            Reply::Denied(message) => Some(message),
            Reply::Refused(message) => Some(format!("REFUSED {message}")),
        };
        outcome.judged += 1;
        outcome.denied += usize::from(denial.is_some());
        all.push((what, rust, denial));
    }
    let (_, first, _) = all.first().context("nothing was judged")?.clone();
    // Of several denials the API server shows one, the same every time.
    let agrees = |(_, rust, denial): &(&str, Vec<String>, Option<String>)| {
        *rust == first
            && match denial {
                None => rust.is_empty(),
                Some(message) => rust.contains(message),
            }
    };
    if !all.iter().all(agrees) {
        let lines: Vec<String> = all
            .iter()
            .map(|(what, rust, denial)| format!("  {what}: Rust   {rust:?}\n  {what}: server {denial:?}"))
            .collect();
        let rust = all.iter().flat_map(|(_, rust, _)| rust);
        let signature = signature(rust, all.iter().filter_map(|(_, _, denial)| denial.as_ref()));
        outcome.difference = Some(Difference { place, signature, object: object.clone(), what: lines.join("\n") });
    }
    Ok(outcome)
}
