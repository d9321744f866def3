//! `immutable suspend` and `resume`: break-glass with an end.

use anyhow::Context as _;
use jiff::{SignedDuration, Timestamp};
use kube::Client;

use super::exit::{Exit, print};
use crate::operator::set_suspension;

/// Suspends a policy until a time that comes by itself
///
/// Until then the policy enforces nothing. For a dead operator:
/// kubectl delete validatingadmissionpolicybindings -l app.kubernetes.io/managed-by=immutable-operator
#[derive(Debug, clap::Args)]
pub(super) struct SuspendArguments {
    /// Name of the policy
    policy: String,
    /// How long, such as 1h or 30m; at most 720h
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    duration: SignedDuration,
    /// Why, for those who find it
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    reason: String,
    /// Namespace of an ImmutablePolicy; without it a ClusterImmutablePolicy is meant
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

/// Ends the suspension of a policy
#[derive(Debug, clap::Args)]
pub(super) struct ResumeArguments {
    /// Name of the policy
    policy: String,
    /// Namespace of an ImmutablePolicy; without it a ClusterImmutablePolicy is meant
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
}

/// The longest suspension: longer is not break-glass but a policy that is off.
const LONGEST: SignedDuration = SignedDuration::from_hours(720);

fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    let duration: SignedDuration = text.parse().map_err(|_| "write a duration such as 1h or 30m".to_owned())?;
    if duration <= SignedDuration::ZERO || duration > LONGEST {
        return Err("write a duration of more than 0 and at most 720h".to_owned());
    }
    Ok(duration)
}

pub(super) fn suspend(arguments: &SuspendArguments) -> anyhow::Result<Exit> {
    let until = Timestamp::now().checked_add(arguments.duration)?.round(jiff::Unit::Second)?;
    let suspension = serde_json::json!({"until": until.to_string(), "reason": arguments.reason});
    change(&arguments.policy, arguments.namespace.as_deref(), &suspension)?;
    print(&format!("{} is suspended until {until}; it ends by itself\n", arguments.policy))
}

pub(super) fn resume(arguments: &ResumeArguments) -> anyhow::Result<Exit> {
    change(&arguments.policy, arguments.namespace.as_deref(), &serde_json::Value::Null)?;
    print(&format!("{} is not suspended; it is in force as soon as the operator has seen it\n", arguments.policy))
}

fn change(policy: &str, namespace: Option<&str>, suspension: &serde_json::Value) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = Client::try_default().await.context("no cluster can be reached by the kubeconfig")?;
        let changed = set_suspension(&client, policy, namespace, suspension).await;
        changed.map_err(|error| match (error.is_not_found(), namespace) {
            (true, None) => anyhow::anyhow!(
                "there is no ClusterImmutablePolicy {policy}; for an ImmutablePolicy name its namespace with -n"
            ),
            (true, Some(namespace)) => anyhow::anyhow!("there is no ImmutablePolicy {policy} in namespace {namespace}"),
            (false, _) => anyhow::anyhow!("{error}"),
        })
    })
}
