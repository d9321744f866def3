//! `immutable except`: prints an `ImmutableException`, or creates it.

use std::collections::BTreeSet;

use immutable_core::glob::Glob;
use immutable_core::native::short_digest;
use immutable_core::policy::Allowed;
use immutable_core::rules::RuleId;
use immutable_core::selector::is_dns_label;
use jiff::{SignedDuration, Timestamp};

use super::connection::Connection;
use super::exit::{Exit, print, refuse, say};
use super::kinds::{self, Named};
use super::{duration, exceptions, nearest};
use crate::api::{ExceptedPolicy, ExceptedWorkloads, ImmutableException, ImmutableExceptionSpec, PolicyKind};
use crate::live::Lists;
use crate::operator::create_exception;

/// Prints an exception for a workload, or creates it with --apply
///
/// `immutable except deploy/web --rule image-digest --for 72h --reason "…" | kubectl apply -f -` does what --apply does.
/// What is made from a workload is excused with it: name the Deployment, not its pods.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The workload, such as deploy/web; the name may hold * and ?
    #[arg(value_name = "KIND/NAME")]
    workload: String,
    /// Id of a rule that it is excused from; may be given several times
    #[arg(long = "rule", required = true, value_name = "RULE")]
    rules: Vec<String>,
    /// How long from now, such as 72h, 90m or 3d
    #[arg(long = "for", required = true, value_name = "DURATION", allow_hyphen_values = true)]
    duration: String,
    /// Why, for those who find it; at least 10 characters
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    reason: String,
    /// A policy that it is about, NAME of a ClusterImmutablePolicy or KIND/NAME; may be given several times, absent
    /// means every one
    #[arg(long = "policy", value_name = "[KIND/]NAME")]
    policies: Vec<String>,
    /// Name of a container; may be given several times, absent means every one
    #[arg(long = "container", value_name = "NAME")]
    containers: Vec<String>,
    /// Pattern over images, with * and ?; may be given several times, absent means every one
    #[arg(long = "image", value_name = "GLOB")]
    images: Vec<String>,
    /// Where it was asked for
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    ticket: Option<String>,
    /// Name of the exception; absent means one made of what it excuses, the same each time
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Namespace of the workload; absent means that of the kubeconfig's context, or default
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// Create it in the cluster instead of printing it
    #[arg(long)]
    apply: bool,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let namespace = match (&arguments.namespace, runtime.block_on(arguments.connection.config())) {
        (Some(namespace), _) => namespace.clone(),
        (None, Ok(config)) => config.default_namespace,
        // Printing needs no cluster, unless one is named.
        (None, Err(error)) if arguments.apply || arguments.connection.is_named() => return Err(error),
        (None, Err(_)) => "default".to_owned(),
    };
    let exception = match exception(arguments, namespace, Timestamp::now()) {
        Ok(exception) => exception,
        Err(problems) => return refuse(problems.into_iter().map(|problem| format!("error: {problem}"))),
    };
    if !arguments.apply {
        return print(&crate::manifest::to_yaml(&serde_json::to_value(&exception)?)?);
    }
    runtime.block_on(apply(arguments, &exception))
}

async fn apply(arguments: &Arguments, exception: &ImmutableException) -> anyhow::Result<Exit> {
    let namespace = exception.metadata.namespace.as_deref().unwrap_or_default();
    let name = exception.metadata.name.as_deref().unwrap_or_default();
    let client = arguments.connection.client().await?;
    match create_exception(&client, namespace, exception).await {
        Ok(()) => {
            let exit = print(&format!(
                "ImmutableException {namespace}/{name} created; it ends by itself at {}\n",
                exception.spec.expires_at
            ))?;
            if let Ok(exception) = exception.validate() {
                let lists = Lists::new(client, Some(namespace.to_owned()), arguments.connection.timeout());
                exceptions::say_who_does_not_honour(&lists, exception, Timestamp::now()).await;
            }
            Ok(exit)
        }
        Err(error) if error.is_already_exists() => refuse([
            format!("error: ImmutableException {namespace}/{name} exists already; choose another --name, or renew it:"),
            format!(
                "  kubectl patch immutableexception {name} --namespace {namespace} --type merge --patch \
                 '{{\"spec\":{{\"expiresAt\":\"{}\"}}}}'",
                exception.spec.expires_at
            ),
            "A policy counts how long it lives from its creation; delete it first to begin anew.".to_owned(),
        ]),
        Err(error) if error.is_not_found() => Err(anyhow::anyhow!(
            "{error}: either there is no namespace {namespace}, or the cluster does not know ImmutableExceptions, which \
             `immutable crds | kubectl apply --server-side -f -` installs"
        )),
        Err(error) => Err(error.into()),
    }
}

/// The exception that is asked for.
///
/// # Errors
/// Everything that is wrong with it.
fn exception(arguments: &Arguments, namespace: String, now: Timestamp) -> Result<ImmutableException, Vec<String>> {
    let mut problems = Vec::new();
    let mut rules: Vec<RuleId> = Vec::new();
    for rule in arguments.rules.iter().filter_map(|name| note(nearest::rule(name), &mut problems)) {
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    let target = note(target(&arguments.workload), &mut problems);
    let expires_at = note(expiry(&arguments.duration, now), &mut problems);
    let policies: Vec<ExceptedPolicy> =
        arguments.policies.iter().filter_map(|text| note(policy(text), &mut problems)).collect();
    let images: Vec<Glob> =
        arguments.images.iter().filter_map(|text| note(pattern("--image", text), &mut problems)).collect();
    if !is_dns_label(&namespace) {
        problems.push(format!("{namespace:?} is no namespace; write lower case letters, digits and '-'"));
    }
    if let Some(name) = arguments.name.as_ref().filter(|name| !is_dns_subdomain(name)) {
        problems.push(format!("--name {name:?} is no name; write at most 253 lower case letters, digits, '-' and '.'"));
    }
    let (Some((kind, name)), Some(expires_at)) = (target, expires_at) else { return Err(problems) };
    let spec = ImmutableExceptionSpec {
        policies,
        rules: rules.iter().map(|rule| rule.id().to_owned()).collect(),
        workloads: Some(ExceptedWorkloads {
            kinds: vec![kind.clone()],
            names: vec![name.clone()],
            ..ExceptedWorkloads::default()
        }),
        images,
        containers: arguments.containers.clone(),
        reason: arguments.reason.clone(),
        ticket: arguments.ticket.clone(),
        expires_at,
    };
    let own_name = arguments.name.clone().unwrap_or_else(|| made_name(&kind, &name, &spec));
    let mut exception = ImmutableException::new(&own_name, spec);
    exception.metadata.namespace = Some(namespace);
    if problems.is_empty()
        && let Err(invalid) = exception.validate()
    {
        problems.extend(invalid.iter().map(ToString::to_string));
    }
    if problems.is_empty() { Ok(exception) } else { Err(problems) }
}

/// What was read; what is wrong otherwise is noted.
fn note<T>(read: Result<T, String>, problems: &mut Vec<String>) -> Option<T> {
    read.map_err(|problem| problems.push(problem)).ok()
}

/// The kind and the name of a workload.
fn target(text: &str) -> Result<(String, Glob), String> {
    let wrong = || format!("{text:?} is no workload; write KIND/NAME, such as deploy/web");
    let (kind, name) = text.split_once('/').ok_or_else(wrong)?;
    let is_pattern = name.contains(['*', '?']);
    let plain: String = name.chars().map(|one| if matches!(one, '*' | '?') { 'x' } else { one }).collect();
    if kind.is_empty() || !is_dns_subdomain(if is_pattern { &plain } else { name }) {
        return Err(wrong());
    }
    Ok((self::kind(kind)?, pattern("the name", name)?))
}

/// The kind that a name means: one that kubectl takes, or that of a custom resource as in manifests.
fn kind(text: &str) -> Result<String, String> {
    match kinds::named(text) {
        Named::BuiltIn(kind) => Ok(kind.name().to_owned()),
        Named::OtherGroup(kind) => {
            Err(format!("{text:?} is no kind that is known; write {kind} for that of Kubernetes"))
        }
        Named::Unknown { name, near } => {
            let is_custom = name == text
                && name.len() <= 63
                && name.starts_with(|first: char| first.is_ascii_uppercase())
                && name.chars().all(|character| character.is_ascii_alphanumeric());
            if is_custom {
                if let Some(near) = near {
                    say(format_args!("warning: {name} is no kind of Kubernetes itself; did you mean {near}?"));
                }
                return Ok(name.to_owned());
            }
            let suggestion = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
            Err(format!(
                "{text:?} is no kind that is known; write one such as deploy, or that of a custom resource as in \
                 manifests, such as Rollout{suggestion}"
            ))
        }
    }
}

/// The policy that a name means.
fn policy(text: &str) -> Result<ExceptedPolicy, String> {
    let (kind, name) = text.split_once('/').unwrap_or(("ClusterImmutablePolicy", text));
    let kind = match kind.to_ascii_lowercase().as_str() {
        "clusterimmutablepolicy" | "clusterimmutablepolicies" | "cimpol" => PolicyKind::ClusterImmutablePolicy,
        "immutablepolicy" | "immutablepolicies" | "impol" => PolicyKind::ImmutablePolicy,
        _ => {
            return Err(format!(
                "--policy {text:?} is no policy; write NAME for a ClusterImmutablePolicy, or ImmutablePolicy/NAME"
            ));
        }
    };
    if !is_dns_subdomain(name) {
        return Err(format!("--policy {text:?} names no policy; write lower case letters, digits, '-' and '.'"));
    }
    Ok(ExceptedPolicy { kind, name: name.to_owned() })
}

fn pattern(what: &str, text: &str) -> Result<Glob, String> {
    Glob::parse(text).map_err(|error| format!("{what} {text:?}: {error}"))
}

/// When it ends, in whole seconds: so does the API server tell the time.
fn expiry(text: &str, now: Timestamp) -> Result<Timestamp, String> {
    let duration = duration::parse(text).map_err(|error| format!("--for {text:?}: {error}"))?;
    if duration < SignedDuration::from_secs(1) {
        return Err(format!("--for {text:?} is over at once; write a duration such as 72h, 90m or 3d"));
    }
    let longest = Allowed::default().max_duration;
    if duration > longest {
        let hours = longest.as_hours();
        say(format_args!(
            "warning: --for {text} is longer than the {hours}h that a policy honours unless it allows more"
        ));
    }
    let end = now.checked_add(duration).ok().filter(|end| *end <= LAST);
    let end = end.ok_or_else(|| format!("--for {text:?} never ends; write a duration such as 72h, 90m or 3d"))?;
    Timestamp::from_second(end.as_second()).map_err(|error| format!("--for {text:?}: {error}"))
}

/// The last second that RFC 3339 can write, which ends in the year 9999; a few days before it for every time zone.
const LAST: Timestamp = Timestamp::constant(253_402_000_000, 0);

/// A name that tells the workload and the rule, is the same for what excuses the same, whatever its end, and another for
/// another exception.
fn made_name(kind: &str, name: &Glob, spec: &ImmutableExceptionSpec) -> String {
    let rules: BTreeSet<&str> = spec.rules.iter().map(String::as_str).collect();
    let containers: BTreeSet<&str> = spec.containers.iter().map(String::as_str).collect();
    let images: BTreeSet<&str> = spec.images.iter().map(Glob::as_str).collect();
    let policies: BTreeSet<String> = spec.policies.iter().map(|policy| serde_json::json!(policy).to_string()).collect();
    let identity = serde_json::json!([kind, name.as_str(), rules, containers, images, policies]).to_string();
    let readable = |character: char| if character.is_ascii_alphanumeric() { character } else { '-' };
    let target: String = name.as_str().chars().map(readable).take(60).collect();
    let target = target.trim_matches('-');
    let kind: String = kind.to_ascii_lowercase().chars().take(40).collect();
    let rule = rules.first().copied().unwrap_or_default();
    let parts = [&kind, target, rule, &short_digest(&identity)];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-")
}

/// A name of an object: labels of DNS with dots between.
fn is_dns_subdomain(text: &str) -> bool {
    !text.is_empty() && text.len() <= 253 && text.split('.').all(is_subdomain_label)
}

/// A label of it, which may be as long as the whole.
fn is_subdomain_label(label: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let ends = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
    label.bytes().all(is_inner) && ends(label.as_bytes().first()) && ends(label.as_bytes().last())
}
