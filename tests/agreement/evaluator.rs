//! The API server's own CEL library, without an API server: `cel-evaluate`.

use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use immutable_core::{
    native::{AdmissionPolicy, NativeObject, compile},
    policy::Policy,
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

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    error: String,
    #[serde(default)]
    results: Vec<Judgement>,
}

/// The compiled policies of a policy.
pub(crate) fn compiled(policy: &Policy) -> Result<Vec<AdmissionPolicy>> {
    let compilation = compile([policy], "immutable-system", Timestamp::UNIX_EPOCH);
    for (id, compiled) in &compilation.policies {
        ensure!(compiled.error.is_none(), "{id}: {:?}", compiled.error);
    }
    Ok(compilation.admission_policies.into_values().collect())
}

impl Evaluator {
    /// Starts one.
    ///
    /// # Errors
    /// When a policy does not compile.
    pub(crate) async fn start(policy: &Policy) -> Result<Self> {
        let program = support::binary("cel-evaluate").await?;
        let mut process = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("start cel-evaluate")?;
        let mut requests = process.stdin.take().context("no standard input")?;
        let mut answers = BufReader::new(process.stdout.take().context("no standard output")?).lines();
        let manifests: Vec<Value> =
            compiled(policy)?.into_iter().map(|policy| NativeObject::Policy(policy).manifest(None)).collect();
        requests.write_all(format!("{}\n", json!({"policies": manifests})).as_bytes()).await?;
        let ready = answers.next_line().await?.context("cel-evaluate ended")?;
        ensure!(ready.contains("compiled"), "policy {}: {ready}", policy.id);
        Ok(Self { _process: process, requests, answers })
    }

    /// What all compiled policies say to each request.
    ///
    /// # Errors
    /// When a request cannot be judged.
    pub(crate) async fn judge(&mut self, requests: &[Value]) -> Result<Vec<Vec<Judgement>>> {
        let Self { requests: input, answers, .. } = self;
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
                if !answer.error.is_empty() {
                    bail!("{request}: {}", answer.error);
                }
                judgements.push(answer.results);
            }
            Ok::<_, anyhow::Error>(judgements)
        };
        let ((), judgements) = tokio::try_join!(write, read)?;
        Ok(judgements)
    }
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
pub(crate) fn denials(judgements: &[Judgement]) -> Vec<String> {
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
