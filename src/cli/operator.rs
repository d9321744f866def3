//! `immutable operator`: runs in the cluster, or beside it.

use std::net::SocketAddr;

use super::exit::Exit;
use crate::operator;
use crate::telemetry::{LogFormat, start_logging};

/// Runs the operator
///
/// In a pod the namespace is the pod's and it listens on :8080; elsewhere the namespace is
/// immutable-system and the port is any free one on loopback.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The operator's own namespace
    #[arg(long, value_name = "NAMESPACE")]
    namespace: Option<String>,
    /// The ClusterRole that owns what is compiled
    #[arg(long, default_value = operator::DEFAULT_OWNER, value_name = "NAME")]
    owner: String,
    /// Where health and metrics are served
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    listen: Option<SocketAddr>,
    /// Which reports are written, one for each workload with something to say
    #[arg(long, value_enum, default_value_t)]
    reports: operator::ReportsMode,
    /// How log lines are written
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

/// `:8080` means every address, as elsewhere in Kubernetes.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let full = if text.starts_with(':') { format!("0.0.0.0{text}") } else { text.to_owned() };
    full.parse().map_err(|_| "write ADDRESS:PORT or :PORT".to_owned())
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    start_logging(arguments.log_format);
    let settings = operator::Settings {
        namespace: arguments.namespace.clone(),
        owner: Some(arguments.owner.clone()),
        listen: arguments.listen,
        reports: arguments.reports,
    };
    // One thread does: the work is waiting, and every thread costs memory.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(operator::run(settings))?;
    Ok(Exit::Success)
}
