//! The API server's own CEL library, without an API server: `cel-evaluate`.

use std::{collections::BTreeMap, process::Stdio, sync::Arc};

use anyhow::{Context, Result, ensure};
use immutable_core::{
    exception::InEffect,
    native::{Compilation, Honoured, Installation, NativeObject, compile, excuse, link, translate},
    policy::Policy,
    selector::LabelSelector,
};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
};

use crate::{support, workloads::Sort};

/// A process that judges requests by the compiled policies of one policy. It ends when this is dropped.
pub(crate) struct Evaluator {
    _process: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
    /// The label selector of each compiled policy's binding, which the process knows nothing of.
    selectors: BTreeMap<String, LabelSelector>,
}

/// What one compiled policy says.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Judgement {
    pub(crate) policy: String,
    pub(crate) matched: bool,
    pub(crate) denied: bool,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) error: String,
    #[serde(default)]
    pub(crate) cost: i64,
    #[serde(default)]
    pub(crate) match_cost: i64,
    #[serde(default)]
    pub(crate) max_expression_cost: i64,
    #[serde(default)]
    pub(crate) max_expression: String,
}

/// What all compiled policies say to a request, or why it cannot be judged.
pub(crate) type Judged = Result<Vec<Judgement>, String>;

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    error: String,
    #[serde(default)]
    results: Vec<Judgement>,
}

impl Evaluator {
    /// Starts one.
    ///
    /// # Errors
    /// When a policy does not compile.
    pub(crate) async fn start(policy: &Policy) -> Result<Self> {
        Self::start_compiled(&compile([policy], &installation(), Timestamp::UNIX_EPOCH)).await
    }

    /// Starts one for a policy with the exceptions that count for it at a moment.
    ///
    /// # Errors
    /// When it does not compile.
    pub(crate) async fn start_excusing(policy: &Policy, exceptions: &InEffect) -> Result<Self> {
        Self::start_compiled(&excusing(policy, exceptions)).await
    }

    async fn start_compiled(compilation: &Compilation) -> Result<Self> {
        let program = support::binary("cel-evaluate").await?;
        let mut process = Command::new(program)
            // A third of its time would go into collecting garbage.
            .env("GOGC", "1000")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start cel-evaluate")?;
        let mut requests = process.stdin.take().context("no standard input")?;
        let mut answers = BufReader::new(process.stdout.take().context("no standard output")?).lines();
        for (id, compiled) in &compilation.policies {
            ensure!(compiled.error.is_none(), "{id}: {:?}", compiled.error);
        }
        let selectors = compilation
            .bindings
            .values()
            .map(|binding| (binding.spec.policy_name.clone(), binding.spec.match_resources.object_selector.clone()))
            .collect();
        let admission_policies = compilation.admission_policies.values();
        let manifests: Vec<Value> =
            admission_policies.map(|policy| NativeObject::Policy(Arc::clone(policy)).manifest(None)).collect();
        requests.write_all(format!("{}\n", json!({"policies": manifests})).as_bytes()).await?;
        let ready = answers.next_line().await?.context("cel-evaluate ended")?;
        ensure!(ready.contains("compiled"), "{ready}");
        Ok(Self { _process: process, requests, answers, selectors })
    }

    /// What all compiled policies say to each request, or why it cannot be judged.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) async fn judge(&mut self, requests: &[Value]) -> Result<Vec<Judged>> {
        let Self { requests: input, answers, selectors, .. } = self;
        // At the same time: neither side can hold all.
        let write = async {
            for request in requests {
                input.write_all(format!("{request}\n").as_bytes()).await?;
            }
            input.flush().await?;
            Ok::<(), anyhow::Error>(())
        };
        let read = async {
            let mut judgements = Vec::with_capacity(requests.len());
            for request in requests {
                let line = answers.next_line().await?.context("cel-evaluate ended")?;
                let answer: Answer = serde_json::from_str(&line).with_context(|| format!("read {line}"))?;
                judgements.push(if answer.error.is_empty() {
                    let bound = |judgement: &Judgement| {
                        selectors.get(&judgement.policy).is_some_and(|selector| selects(selector, request))
                    };
                    Ok(answer.results.into_iter().filter(bound).collect())
                } else {
                    Err(answer.error)
                });
            }
            Ok::<_, anyhow::Error>(judgements)
        };
        let ((), judgements) = tokio::try_join!(write, read)?;
        Ok(judgements)
    }
}

/// Whether a binding's selector matches: as the API server does it, the object as it is or as it was.
fn selects(selector: &LabelSelector, request: &Value) -> bool {
    ["object", "oldObject"].into_iter().filter(|which| request[which].is_object()).any(|which| {
        let labels = request[which]["metadata"]["labels"].as_object();
        let labels = labels.into_iter().flatten();
        let labels = labels.map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()));
        selector.matches(&labels.collect())
    })
}

/// The request by which somebody creates an object.
pub(crate) fn creation(object: &Value) -> Value {
    request(object, "CREATE")
}

/// The request by which somebody changes an object into another.
pub(crate) fn update(old: &Value, new: &Value) -> Value {
    let mut request = request(new, "UPDATE");
    request["oldObject"] = old.clone();
    request
}

fn request(object: &Value, operation: &str) -> Value {
    let (group, version) = match object["apiVersion"].as_str().unwrap_or_default().split_once('/') {
        Some((group, version)) => (group, version),
        None => ("", "v1"),
    };
    let resource = Sort::of(object).map_or("", |sort| sort.names().2);
    json!({
        "operation": operation,
        "username": "alice",
        "kind": {"group": group, "version": version, "kind": object["kind"]},
        "resource": {"group": group, "version": version, "resource": resource},
        "namespace": "default",
        "name": object["metadata"]["name"],
        "object": object,
        "defaults": true,
    })
}

/// The messages of the denials in alphabetical order; an expression that cannot be evaluated is a message too.
pub(crate) fn denials(judged: &Judged) -> Vec<String> {
    let judgements = match judged {
        Ok(judgements) => judgements,
        Err(error) => return vec![format!("NOT JUDGED: {error}")],
    };
    let mut messages: Vec<String> =
        judgements
            .iter()
            .filter(|judgement| judgement.denied || !judgement.error.is_empty())
            .map(|judgement| {
                if judgement.error.is_empty() {
                    judgement.message.clone()
                } else {
                    format!("ERROR {}", judgement.error)
                }
            })
            .collect();
    messages.sort_unstable();
    messages
}

/// A policy with the exceptions that count for it, compiled.
pub(crate) fn excusing(policy: &Policy, exceptions: &InEffect) -> Compilation {
    let (none, plain) = (BTreeMap::new(), translate(policy, &installation()));
    let exceptions = exceptions.of_policy(&policy.id).unwrap_or(&none);
    let excused = excuse(&[Honoured { policy, plain: &plain, exceptions }], &installation());
    let translation = excused.get(&policy.id).unwrap_or(&plain);
    link([(policy, translation)], &installation(), Timestamp::UNIX_EPOCH)
}

/// The installation whose objects the tests compile.
fn installation() -> Installation {
    Installation { namespace: "immutable-system".to_owned(), owner: "immutable-operator-owner".to_owned() }
}
