//! `immutable impact`: what of what runs a policy would reject, were it enforced.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;

use clap::ValueEnum;
use immutable_core::policy::{Policy, PolicyId};
use immutable_core::rules::RuleId;
use immutable_core::scan::{Told, told};
use immutable_core::world::{Object, WorkloadKey};
use jiff::Timestamp;
use kube::Client;

use super::connection::Connection;
use super::exit::{Exit, refuse, say};
use super::picture::{Picture, no_namespace, no_policy};
use super::scan::resource;
use super::{exceptions, policies};
use crate::live::Lists;
use crate::operator::DEFAULT_NAMESPACE;
use crate::output::{Impact, Part, Rejected};

/// Tells what a policy would reject of what runs, were every rule enforced
///
/// The total is status.summary.wouldReject of the policy. Exit codes: 0 nothing would be rejected, 1 something
/// would, 2 usage or something unreadable, 3 could not finish.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Name of a policy of the cluster
    #[arg(value_name = "POLICY", required_unless_present = "policy", conflicts_with = "policy")]
    name: Option<String>,
    /// Namespace of an ImmutablePolicy; without it a ClusterImmutablePolicy is meant
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// File with the one policy that is meant, which need not be in the cluster; - is standard input
    #[arg(long, value_name = "PATH")]
    policy: Option<PathBuf>,
    /// File or folder with exceptions that count beside those of the cluster; may be given several times
    #[arg(long, value_name = "PATH")]
    exceptions: Vec<PathBuf>,
    /// The moment at which exceptions are judged, RFC 3339; absent means now
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// How the result is written
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// The operator's own namespace, which is left out unless a policy names it
    #[arg(long, default_value = DEFAULT_NAMESPACE, value_name = "NAMESPACE")]
    operator_namespace: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs: docs/schema/impact-report.schema.json
    Json,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    if let Some(usage) = policies::stdin_twice(arguments.policy.iter().chain(&arguments.exceptions)) {
        return refuse([usage]);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(impact(arguments))
}

async fn impact(arguments: &Arguments) -> anyhow::Result<Exit> {
    let config = arguments.connection.config().await?;
    let default_namespace = arguments.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let client = Client::try_from(config)?;
    let timeout = arguments.connection.timeout();
    let given = match policies::read(arguments.policy.as_slice(), &default_namespace) {
        Ok(policies) => policies,
        Err(errors) => return refuse(errors),
    };
    let exceptions = match exceptions::read(&arguments.exceptions, &default_namespace) {
        Ok(exceptions) => exceptions,
        Err(errors) => return refuse(errors),
    };
    let policy = match &arguments.name {
        Some(name) => {
            let id = PolicyId { namespace: arguments.namespace.clone(), name: name.clone() };
            match Lists::new(client.clone(), None, timeout).policy(&id).await? {
                Some(Ok(policy)) => policy,
                Some(Err(problems)) => {
                    return refuse([format!("{} {id} is not valid: {}", id.kind(), problems.join("; "))]);
                }
                None => return refuse([no_policy(&id)]),
            }
        }
        None => match <[Policy; 1]>::try_from(given) {
            Ok([policy]) => policy,
            Err(several) => {
                return refuse([format!("there are {} policies in --policy; give a file with one", several.len())]);
            }
        },
    };
    let id = policy.id.clone();
    let now = arguments.at.unwrap_or_else(Timestamp::now);
    let lists = Lists::new(client, id.namespace.clone(), timeout);
    let picture = Picture::take(&lists, (vec![policy], false), exceptions, &arguments.operator_namespace, now).await?;
    let Some(picture) = picture else { return refuse([no_namespace(&id.namespace.unwrap_or_default())]) };
    let (impact, exit) = judge(&picture, id);
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match arguments.output {
        Format::Text => impact.write_text(&mut out)?,
        Format::Json => impact.write_json(&mut out)?,
    }
    out.flush()?;
    Ok(exit)
}

/// Judges everything by the one policy of the picture.
fn judge(picture: &Picture, id: PolicyId) -> (Impact, Exit) {
    let mut impact = Impact {
        policy: id,
        workloads: 0,
        undecided: 0,
        rejected: Vec::new(),
        rules: BTreeMap::new(),
        errors: Vec::new(),
    };
    let mut exit = Exit::Success;
    for (key, object) in picture.world.objects() {
        match told_of(picture, &impact.policy, key, object) {
            None => {}
            Some(Told::Undecided(why)) => {
                impact.workloads += 1;
                impact.undecided += 1;
                let error = format!("{key} cannot be judged: {why}");
                say(format_args!("error: {error}"));
                impact.errors.push(error);
                exit = exit.max(Exit::Input);
            }
            Some(Told::Judged(judgements)) => {
                impact.workloads += 1;
                let undecided = judgements.iter().filter(|judgement| judgement.is_undecided());
                impact.undecided += u64::try_from(undecided.count()).unwrap_or(u64::MAX);
                let mut of_rule: BTreeMap<RuleId, u64> = BTreeMap::new();
                for judgement in judgements.iter().filter(|judgement| judgement.would_deny()) {
                    *of_rule.entry(judgement.finding.rule).or_default() += 1;
                }
                if of_rule.is_empty() {
                    continue;
                }
                exit = exit.max(Exit::Failure);
                for (rule, findings) in &of_rule {
                    let Part { findings: sum, would_reject } = impact.rules.entry(*rule).or_default();
                    *sum += findings;
                    *would_reject += 1;
                }
                let findings = of_rule.values().sum();
                let rules = of_rule.into_keys().collect();
                impact.rejected.push(Rejected { resource: resource(key), findings, rules });
            }
        }
    }
    impact.rejected.sort_by(|one, other| one.resource.namespace.cmp(&other.resource.namespace));
    for unlisted in &picture.unlisted {
        impact.errors.push(format!("{} cannot be listed: {}", unlisted.kind, unlisted.why));
        exit = exit.max(Exit::Unfinished);
    }
    (impact, exit)
}

fn told_of(picture: &Picture, id: &PolicyId, key: &WorkloadKey, object: &Object) -> Option<Told> {
    let policy = picture.world.policy(id)?;
    told(&picture.world, &picture.exceptions, policy, key, object)
}
