//! `immutable why`: why the pods of one workload are replaced, or are not.

use std::io::Write as _;

use clap::ValueEnum;
use immutable_core::replace::window::WindowState;
use immutable_core::replace::{
    Cause, Comparison, Compatibility, Existence, History, Merged, ObjectStanding, Phase, PolicyCheckpoints, Revision,
    Service, Standing, history,
};
use immutable_core::workload::WorkloadKind;
use immutable_core::workload::rollout::Progress;
use immutable_core::world::{WorkloadKey, World};
use jiff::Timestamp;
use kube::Client;

use super::connection::Connection;
use super::exit::{Exit, refuse, say};
use super::kinds::{self, Named};
use super::outlook::{Asked, Outlook, state, unstick};
use super::picture::no_namespace;
use super::scan::resource;
use crate::live::Lists;
use crate::operator::DEFAULT_NAMESPACE;
use crate::output::{Made, Pause, PodCounts, Reads, Recorded, Settings, Stuck, Waits, Why};

/// How many pods are named.
const MOST_PODS: usize = 10;

/// Tells why the pods of a workload are replaced, or are not: what they read, what changed, what is waited for
///
/// It only reads, and needs no operator. Exit codes: 0 it was told, 2 usage or no such workload, 3 could not finish.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The workload as for kubectl: KIND/NAME or KIND NAME, such as deploy/web
    #[arg(value_name = "WORKLOAD", required = true, num_args = 1..=2)]
    workload: Vec<String>,
    /// Its namespace; absent means that of the kubeconfig's context
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
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
    /// For programs: docs/schema/why-report.schema.json
    Json,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let target = match arguments.workload.as_slice() {
        [both] => both.split_once('/'),
        [kind, name] => Some((kind.as_str(), name.as_str())),
        _ => None,
    };
    let is_name = |name: &str| !name.is_empty() && !name.contains(['/', ' ', '*']);
    let Some((kind, name)) = target.filter(|(kind, name)| is_name(kind) && is_name(name)) else {
        let written = arguments.workload.join(" ");
        return refuse([format!("{written:?} is no workload; write KIND/NAME, such as deploy/web")]);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(why(arguments, kind, name))
}

async fn why(arguments: &Arguments, kind: &str, name: &str) -> anyhow::Result<Exit> {
    let config = arguments.connection.config().await?;
    let namespace = arguments.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let lists = Lists::new(Client::try_from(config)?, Some(namespace.clone()), arguments.connection.timeout());
    let asked = Asked { operator_namespace: &arguments.operator_namespace, more: None, policy: None };
    let policies = Outlook::policies(&lists, &asked).await?;
    let kind = match self::kind(kind, &policies.0) {
        Ok(kind) => kind,
        Err(error) => return refuse([error]),
    };
    let key = WorkloadKey { kind, namespace, name: name.to_owned() };
    let asked = Asked { more: key.kind.built_in(), ..asked };
    let Some(mut outlook) = Outlook::take(&lists, asked, policies, Timestamp::now()).await? else {
        return refuse([no_namespace(&key.namespace)]);
    };
    outlook.say_problems();
    let Some(uid) = outlook.world.object(&key).map(|object| object.uid.clone()) else {
        if let Some((_, why)) = outlook.world.unwatched().find(|(kind, _)| **kind == key.kind) {
            anyhow::bail!("{} of {} cannot be listed: {why}", key.kind, key.kind.api_version());
        }
        return refuse([format!(
            "there is no {key}; kubectl get {} -n {} shows which there are",
            plural(&key, &outlook.world),
            key.namespace
        )]);
    };
    outlook.read(&lists, &key).await?;
    let past = lists.past(&key, &uid).await?;
    let rolled = outlook.world.object(&key).and_then(|object| object.rollout.as_ref()?.rolled);
    let history = history::history(past.revisions, &past.writers, rolled);
    let Some(standing) = outlook.standing(&key) else {
        anyhow::bail!("{key} is gone");
    };
    let mut told = told(&outlook, &key, standing, history);
    told.warnings.extend(past.problems);
    for warning in &told.warnings {
        say(format_args!("warning: {warning}"));
    }
    told.warnings.splice(0..0, outlook.problems.iter().cloned());
    let mut out = std::io::BufWriter::new(std::io::stdout().lock());
    match arguments.output {
        Format::Text => told.write_text(&mut out)?,
        Format::Json => told.write_json(&mut out)?,
    }
    out.flush()?;
    Ok(Exit::Success)
}

/// The kind that is meant: of Kubernetes itself, or one that a policy declares.
fn kind(text: &str, world: &World) -> Result<WorkloadKind, String> {
    let (name, group) = text.split_once('.').map_or((text, None), |(name, group)| (name, Some(group)));
    let named = kinds::named(text);
    if let Named::BuiltIn(kind) = named {
        return Ok(WorkloadKind::BuiltIn(kind));
    }
    let declared = || world.policies().flat_map(|(_, policy)| policy.custom_workloads());
    let is_meant = |custom: &&immutable_core::workload::CustomWorkload| {
        let versioned = format!("{}.{}", custom.version(), custom.group());
        (custom.kind.eq_ignore_ascii_case(name) || custom.resource.eq_ignore_ascii_case(name))
            && group.is_none_or(|group| group == custom.group() || group == versioned)
    };
    if let Some(custom) = declared().find(is_meant) {
        return Ok(WorkloadKind::Custom { api_version: custom.api_version.clone(), kind: custom.kind.clone() });
    }
    let suggestion = match named {
        Named::OtherGroup(kind) | Named::Unknown { near: Some(kind), .. } => format!("; did you mean {kind}?"),
        _ => String::new(),
    };
    Err(format!(
        "{text:?} is no kind that is known; write one such as deploy, sts or ds, or that of a custom resource that a \
         policy names in match.customWorkloads{suggestion}"
    ))
}

/// How kubectl is asked for a kind.
fn plural(key: &WorkloadKey, world: &World) -> String {
    match &key.kind {
        WorkloadKind::BuiltIn(kind) => kind.resource().to_owned(),
        WorkloadKind::Custom { api_version, kind } => {
            let mut declared = world.policies().flat_map(|(_, policy)| policy.custom_workloads());
            let custom = declared.find(|custom| custom.declares(api_version, kind));
            custom.map_or_else(|| kind.clone(), |custom| format!("{}.{}", custom.resource, custom.group()))
        }
    }
}

fn told(outlook: &Outlook, key: &WorkloadKey, standing: Standing, history: History) -> Why {
    let mut warnings = Vec::new();
    if let Some(why) = &outlook.no_key {
        warnings.push(format!("contents cannot be compared without the key of digests: {why}"));
    }
    if let (true, Service::Served(_)) = (outlook.is_unrecorded, &standing.service) {
        warnings.push("nothing was ever recorded: there is no key of digests; the operator makes it".to_owned());
    }
    let rollout = outlook.world.object(key).and_then(|object| object.rollout.as_deref());
    if let (Some(reloader), Service::Served(merged)) =
        (rollout.and_then(|rollout| rollout.reloader.as_ref()), &standing.service)
        && merged.compatibility.contains(&Compatibility::Reloader)
    {
        warnings.extend(reloader.problems().iter().cloned());
    }
    let (cause, waiting) = match &standing.phase {
        Phase::Due(cause) => (Some(cause.to_string()), None),
        Phase::Waiting(cause, waiting) => (Some(cause.to_string()), Some(waiting)),
        Phase::Unknown(waiting) => (None, Some(waiting)),
        _ => (None, None),
    };
    let waiting = waiting.filter(|_| outlook.no_key.is_none());
    let mut older = standing.pods.older.clone();
    older.truncate(MOST_PODS);
    let made = |revision: Revision, manager| Made {
        revision: revision.number,
        name: revision.name,
        created: revision.created,
        again: revision.is_again,
        // Anybody can write there what they like; what the operator cannot have written is left out.
        cause: revision.cause.map(|text| Cause::read(&text).to_string()).filter(|cause| !cause.is_empty()),
        manager,
    };
    Why {
        workload: resource(key),
        state: state(&standing.phase),
        message: message(outlook, &standing),
        cause,
        waiting: waiting.map(|waiting| Waits {
            reason: waiting.reason.name(),
            message: waiting.message.clone(),
            until: waiting.until,
        }),
        policies: standing.policies.iter().map(|id| format!("{} {id}", id.kind())).collect(),
        settings: match &standing.service {
            Service::Served(merged) => Some(settings(merged, outlook.now)),
            Service::NotServed(_) => None,
        },
        recorded: Recorded {
            stamp: standing.record.stamp,
            baseline: standing.record.baseline,
            started_with: standing.record.digest,
            current: standing.current,
        },
        pods: PodCounts {
            total: standing.pods.total,
            older: standing.pods.older.len(),
            older_names: older,
            changed: standing.pods.changed,
        },
        stuck: standing.stuck.into_iter().map(|pod| Stuck { command: unstick(&pod, &key.namespace), pod }).collect(),
        objects: standing.objects.into_iter().map(reads).collect(),
        replacements: history.replacements.into_iter().map(|revision| made(revision, None)).collect(),
        last_by_others: history.last_of_others.map(|(mut revision, manager)| {
            // What it carries along was somebody else's reason.
            revision.cause = None;
            made(revision, manager)
        }),
        warnings,
    }
}

/// Where the pods stand, in words.
fn message(outlook: &Outlook, standing: &Standing) -> String {
    let since = |since: &Option<Timestamp>| since.map_or_else(String::new, |since| format!(" since {since}"));
    let message = match (&standing.phase, &standing.service) {
        (_, Service::NotServed(why)) => format!("its pods are not replaced: {why}"),
        (Phase::Due(_), Service::Served(merged)) if merged.settle.is_zero() => {
            "its pods are to be replaced now".to_owned()
        }
        (Phase::Due(_), Service::Served(merged)) => {
            format!("its pods are to be replaced now, after settle {:#}", merged.settle)
        }
        (Phase::Waiting(_, waiting), _) => {
            format!("its pods are to be replaced, and wait: {}: {}", waiting.reason, waiting.message)
        }
        (Phase::Unknown(waiting), _) => format!("it cannot be said: {}", waiting.message),
        (Phase::Rolling(at), _) => format!("its pods are being replaced{}", since(at)),
        (Phase::Failed(at), _) => format!("its pods are being replaced{} and do not become available", since(at)),
        (Phase::UpToDate | Phase::NotServed, _) if standing.record.digest.is_none() => {
            "up to date: nothing is recorded yet, and what it reads now will be".to_owned()
        }
        (Phase::UpToDate | Phase::NotServed, _) if standing.progress == Some(Progress::UnderWay) => {
            "up to date, with a rollout under way".to_owned()
        }
        (Phase::UpToDate | Phase::NotServed, _) => "up to date".to_owned(),
    };
    if matches!(standing.phase, Phase::Waiting(..)) {
        return message;
    }
    let conflict = match &standing.service {
        Service::Served(merged) => merged.conflict(outlook.now).map(|conflict| conflict.to_string()),
        Service::NotServed(_) => None,
    };
    match standing.held.as_ref().map(|held| held.message.clone()).or(conflict) {
        Some(held) => format!("{message}; nothing is replaced: {held}"),
        None => message,
    }
}

fn settings(merged: &Merged, now: Timestamp) -> Settings {
    let (window_open, window_until) = match merged.windows.state(now) {
        WindowState::Open { until } => (true, until),
        WindowState::Closed { next } => (false, next),
    };
    Settings {
        on_config_change: format!("{:?}", merged.on_config_change),
        kinds: merged.kinds.iter().map(|kind| kind.name()).collect(),
        settle: format!("{:#}", merged.settle),
        min_interval: format!("{:#}", merged.min_interval),
        max_concurrent: merged.max_concurrent,
        window_open,
        window_until,
        checkpoints: merged.checkpoints.iter().flat_map(pauses).collect(),
        compatibility: merged.compatibility.iter().map(|tool| format!("{tool:?}")).collect(),
        warmup: format!("{:#}", merged.warmup),
        on_failure: format!("{:?}", merged.on_failure),
        progress_deadline: format!("{:#}", merged.progress_deadline),
    }
}

fn pauses(of: &PolicyCheckpoints) -> impl Iterator<Item = Pause> {
    of.checkpoints.iter().map(|checkpoint| Pause {
        policy: format!("{} {}", of.policy.kind(), of.policy),
        percent: checkpoint.percent,
        delay: format!("{:#}", checkpoint.delay),
    })
}

fn reads(object: ObjectStanding) -> Reads {
    let dependency = object.dependency;
    let named =
        || dependency.keys.named.iter().filter(|(_, named)| named.read).map(|(key, _)| key.to_string()).collect();
    let (exists, error) = match object.existence {
        Existence::Unknown => (None, None),
        Existence::Unreadable(why) => (None, Some(why)),
        Existence::Absent => (Some(false), None),
        Existence::Present => (Some(true), None),
    };
    let (content, changed_keys) = match object.content {
        Comparison::Unknown => ("Unknown", Vec::new()),
        Comparison::Same => ("Same", Vec::new()),
        Comparison::Changed(keys) => ("Changed", keys.into_iter().collect()),
    };
    Reads {
        kind: dependency.kind.name(),
        required: dependency.required,
        counts: object.counts,
        keys: (!dependency.keys.all).then(named),
        exists,
        content,
        changed_keys,
        missing: object.missing,
        written: object.written,
        error,
        fields: dependency.fields,
        name: dependency.name.into(),
    }
}
