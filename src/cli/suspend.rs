//! `immutable suspend` and `resume`: break-glass with an end.

use immutable_core::policy::PolicyId;
use jiff::{SignedDuration, Timestamp};

use super::connection::Connection;
use super::duration;
use super::exit::{Exit, print};
use super::picture::no_policy;
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
    #[command(flatten)]
    connection: Connection,
}

/// Ends the suspension of a policy
#[derive(Debug, clap::Args)]
pub(super) struct ResumeArguments {
    /// Name of the policy
    policy: String,
    /// Namespace of an ImmutablePolicy; without it a ClusterImmutablePolicy is meant
    #[arg(short, long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    #[command(flatten)]
    connection: Connection,
}

/// The longest suspension: longer is not break-glass but a policy that is off.
const LONGEST: SignedDuration = SignedDuration::from_hours(720);

fn parse_duration(text: &str) -> Result<SignedDuration, String> {
    let duration = duration::parse(text)?;
    if duration <= SignedDuration::ZERO || duration > LONGEST {
        return Err("write a duration of more than 0 and at most 720h".to_owned());
    }
    Ok(duration)
}

pub(super) fn suspend(arguments: &SuspendArguments) -> anyhow::Result<Exit> {
    let until = Timestamp::now().checked_add(arguments.duration)?.round(jiff::Unit::Second)?;
    let suspension = serde_json::json!({"until": until.to_string(), "reason": arguments.reason});
    let SuspendArguments { policy, namespace, connection, .. } = arguments;
    change(connection, policy, namespace.as_deref(), &suspension)?;
    print(&format!("{policy} is suspended until {until}; it ends by itself\n"))
}

pub(super) fn resume(arguments: &ResumeArguments) -> anyhow::Result<Exit> {
    let ResumeArguments { policy, namespace, connection } = arguments;
    change(connection, policy, namespace.as_deref(), &serde_json::Value::Null)?;
    print(&format!("{policy} is not suspended; it is in force as soon as the operator has seen it\n"))
}

fn change(
    connection: &Connection,
    policy: &str,
    namespace: Option<&str>,
    suspension: &serde_json::Value,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let client = connection.client().await?;
        let changed = set_suspension(&client, policy, namespace, suspension).await;
        changed.map_err(|error| {
            let id = PolicyId { namespace: namespace.map(ToOwned::to_owned), name: policy.to_owned() };
            if error.is_not_found() { anyhow::anyhow!(no_policy(&id)) } else { anyhow::anyhow!("{error}") }
        })
    })
}
