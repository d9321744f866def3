//! `immutable plan`: which pods would be replaced now, in which order, and what is held back.

use std::io::Write as _;
use std::path::PathBuf;

use clap::ValueEnum;
use immutable_core::policy::Policy;
use immutable_core::replace::{Phase, Service, Standing};
use immutable_core::world::WorkloadKey;
use jiff::Timestamp;
use kube::Client;

use super::connection::Connection;
use super::exit::{Exit, refuse, say};
use super::outlook::{Asked, Outlook, is_replaceable, unstick};
use super::picture::no_namespace;
use super::policies;
use super::scan::resource;
use crate::live::Lists;
use crate::operator::DEFAULT_NAMESPACE;
use crate::output::{HeldBack, Plan, Replaced, Told, Waits};

/// Tells which pods would be replaced now because what they read has changed, and what is held back
///
/// The operator's own planner is asked about what the cluster is now; nothing is written, and no operator is needed.
/// Exit codes: 0 nothing is to be replaced, 1 something is, or failed, 2 usage or something unreadable, 3 could not
/// finish, such as a Secret that may not be read.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Namespace to look at; absent means that of the kubeconfig's context
    #[arg(short, long, value_name = "NAMESPACE", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// Look at all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// File with a policy that counts beside those of the cluster, or in the place of its namesake; - is standard input
    #[arg(long, value_name = "PATH")]
    policy: Option<PathBuf>,
    /// How the result is written
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// The operator's own namespace, which holds the key of digests
    #[arg(long, default_value = DEFAULT_NAMESPACE, value_name = "NAMESPACE")]
    operator_namespace: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    /// For people
    Text,
    /// For programs: docs/schema/plan-report.schema.json
    Json,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(plan(arguments))
}

async fn plan(arguments: &Arguments) -> anyhow::Result<Exit> {
    let config = arguments.connection.config().await?;
    let namespace = arguments.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let policy = match policies::read(arguments.policy.as_slice(), &namespace).map(<[Policy; 1]>::try_from) {
        Err(errors) => return refuse(errors),
        Ok(Ok([policy])) => Some(policy),
        Ok(Err(none)) if none.is_empty() => None,
        Ok(Err(several)) => {
            return refuse([format!("there are {} policies in --policy; give a file with one", several.len())]);
        }
    };
    let one = (!arguments.all_namespaces).then(|| namespace.clone());
    let lists = Lists::new(Client::try_from(config)?, one, arguments.connection.timeout());
    let asked = Asked { operator_namespace: &arguments.operator_namespace, more: None, policy };
    let policies = Outlook::policies(&lists, &asked).await?;
    let Some(outlook) = Outlook::take(&lists, asked, policies, Timestamp::now()).await? else {
        return refuse([no_namespace(&namespace)]);
    };
    outlook.say_problems();
    let (plan, exit) = told(&outlook);
    if outlook.is_unrecorded {
        say(format_args!(
            "nothing was ever recorded: there is no key of digests in namespace {}. The operator makes it when it has \
             something to replace, and --operator-namespace names another place",
            arguments.operator_namespace
        ));
    }
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match arguments.output {
        Format::Text => plan.write_text(&mut out)?,
        Format::Json => plan.write_json(&mut out)?,
    }
    out.flush()?;
    Ok(exit)
}

/// What the planner says of everything.
fn told(outlook: &Outlook) -> (Plan, Exit) {
    let mut plan = Plan { errors: outlook.problems.clone(), ..Plan::default() };
    if let Some(why) = &outlook.no_key {
        let message = format!("contents cannot be compared without the key of digests: {why}");
        say(format_args!("error: {message}"));
        plan.errors.push(message);
    }
    for intent in &outlook.rolls {
        let key = &intent.target().key;
        let Some(standing) = outlook.standing(key) else { continue };
        if let (Phase::Due(cause), Service::Served(merged)) = (&standing.phase, &standing.service) {
            let settle = format!("{:#}", merged.settle);
            plan.replace.push(Replaced { resource: resource(key), cause: cause.to_string(), settle });
        }
    }
    for (key, _) in outlook.world.objects().filter(|(key, _)| is_replaceable(&key.kind)) {
        if let Some(standing) = outlook.standing(key) {
            add(&mut plan, key, standing);
        }
    }
    let mut exit = outlook.exit;
    if !plan.replace.is_empty() || !plan.held_back.is_empty() || !plan.failed.is_empty() {
        exit = exit.max(Exit::Failure);
    }
    if outlook.no_key.is_some() || !plan.unknown.is_empty() {
        exit = exit.max(Exit::Unfinished);
    }
    (plan, exit)
}

/// Puts a workload where it belongs.
fn add(plan: &mut Plan, key: &WorkloadKey, standing: Standing) {
    let told = |message: String| Told { resource: resource(key), message };
    let since = |since: Option<Timestamp>| since.map_or_else(String::new, |since| format!(" since {since}"));
    if let Some(pod) = standing.stuck.first() {
        let command = unstick(pod, &key.namespace);
        let message =
            format!("StuckRevision: {pod} is of an older revision and not ready, so nothing goes on: {command}");
        plan.failed.push(told(message));
    }
    match (standing.phase, standing.service) {
        (Phase::NotServed, Service::NotServed(why)) => *plan.not_served.entry(why).or_default() += 1,
        (Phase::UpToDate, _) => plan.up_to_date += u64::from(standing.stuck.is_empty()),
        (Phase::Waiting(cause, waiting), _) => plan.held_back.push(HeldBack {
            resource: resource(key),
            cause: cause.to_string(),
            waits: Waits { reason: waiting.reason.name(), message: waiting.message, until: waiting.until },
        }),
        (Phase::Unknown(waiting), _) => plan.unknown.push(told(waiting.message)),
        (Phase::Rolling(at), _) if standing.stuck.is_empty() => {
            plan.under_way.push(told(format!("its pods are being replaced{}", since(at))));
        }
        (Phase::Failed(at), _) => {
            plan.failed.push(told(format!("its pods are being replaced{} and do not become available", since(at))));
        }
        // They stand in their order already, or with what is stuck.
        (Phase::Due(_) | Phase::Rolling(_) | Phase::NotServed, _) => {}
    }
}
