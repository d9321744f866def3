//! The operator: watch events fill a picture of the cluster, the core decides on it, the writer acts.

mod cluster;
mod conditions;
mod endings;
mod exception_status;
mod exceptions;
mod leader;
mod proof;
mod reconcile;
mod replace_status;
mod report_choice;
mod report_queue;
mod report_troubles;
mod report_watch;
mod reports;
mod rollouts;
mod server;
mod watch;
mod workloads;
mod write;

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use futures::StreamExt;
use immutable_core::native::Installation;
use immutable_core::rules::ConfigKind;
use immutable_core::world;
use kube::{Client, Config};
use tokio::sync::watch as channel;
use tokio_util::sync::CancellationToken;

use crate::telemetry::Metrics;
use cluster::Cluster;
pub(crate) use exception_status::why;
use leader::{Leadership, leads};
use reconcile::Reconciler;
pub use report_choice::ReportsMode;
use report_watch::ReportWatch;
use reports::Reports;
use rollouts::{Follow, RolloutEvent, Rollouts};
use server::Health;
use workloads::Workloads;
pub use write::{WriteError, create_exception, set_suspension};

/// The namespace where none is known from the pod.
pub const DEFAULT_NAMESPACE: &str = "immutable-system";
/// The ClusterRole that owns what is compiled.
pub const DEFAULT_OWNER: &str = "immutable-operator-owner";
/// Where a pod finds its own namespace.
const NAMESPACE_FILE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";
/// How long requests that are under way may take at the end.
const LAST_ANSWERS: Duration = Duration::from_secs(3);
/// Events that come together are handled together.
const SETTLE: Duration = Duration::from_millis(20);
/// How long kinds that cannot be listed at the start are waited for, before pods are replaced without knowing of them.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same for what becomes of rollouts; what is read of ConfigMaps and Secrets is looked at at once.
const ROLLING_SETTLE: Duration = Duration::from_millis(5);
/// How many events of rollouts are kept until a pass has ended; what is beyond waits where it comes from.
const MOST_KEPT: usize = 10_000;

/// What a person may set.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The operator's own namespace, which is never judged unless a policy names it.
    pub namespace: Option<String>,
    /// The ClusterRole that owns what is compiled.
    pub owner: Option<String>,
    /// Where health and metrics are served.
    pub listen: Option<SocketAddr>,
    /// Which reports are written.
    pub reports: ReportsMode,
}

/// Runs the operator until it is told to stop.
///
/// # Errors
/// It cannot start: no API server, no address, no owner outside a cluster.
pub async fn run(settings: Settings) -> anyhow::Result<()> {
    let in_cluster = std::env::var_os("KUBECONFIG").is_none()
        && std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
        && Path::new(NAMESPACE_FILE).exists();
    let config = if in_cluster { Config::incluster()? } else { Config::infer().await? };
    let own_namespace = in_cluster.then(|| config.default_namespace.clone());
    let namespace = settings.namespace.or(own_namespace).unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
    let owner = settings.owner.unwrap_or_else(|| DEFAULT_OWNER.to_owned());
    let listen = match settings.listen {
        Some(address) => vec![address],
        // Every address of the pod, of either family; where there is no IPv6, of the other.
        None if in_cluster => vec![SocketAddr::from(([0_u16; 8], 8080)), SocketAddr::from(([0; 4], 8080))],
        None => vec![SocketAddr::from(([127, 0, 0, 1], 0))],
    };
    let client = Client::try_from(config)?;
    let metrics = Metrics::new()?;
    let health = Health::default();
    let stop = CancellationToken::new();
    let (leading, is_leading) = channel::channel(None);
    let listener = tokio::net::TcpListener::bind(listen.as_slice()).await?;
    tracing::info!(address = %listener.local_addr()?, %namespace, %owner, version = env!("CARGO_PKG_VERSION"), "started");
    let server = tokio::spawn(server::serve(listener, health.clone(), metrics.clone(), stop.clone()));
    let election = leader::lead(client.clone(), namespace.clone(), identity(), leading, metrics.clone(), stop.clone());
    let election = tokio::spawn(election);

    let prepared = async {
        if !in_cluster {
            prepare(&client, &namespace, &owner).await?;
        }
        Ok::<(), WriteError>(())
    };
    tokio::select! {
        prepared = prepared => prepared?,
        () = told_to_stop() => stop.cancel(),
    }
    let writer = write::Writer::new(client.clone(), is_leading.clone(), owner.clone(), metrics.clone());
    let installation = Installation { namespace, owner: owner.clone() };
    let reports = Reports::new(settings.reports, identity(), writer.clone(), metrics.clone(), installation.clone());
    let rollouts = Rollouts::new(client.clone(), writer.clone(), metrics.clone(), &installation, identity());
    let reconciler = Reconciler::new(writer, metrics.clone(), installation.clone(), reports);
    tokio::select! {
        () = work(&client, &installation, is_leading, reconciler, rollouts, &health, &metrics) => {}
        () = told_to_stop() => tracing::info!("stopping"),
    }
    stop.cancel();
    election.await?;
    // A client that never ends its request must not hold up the end.
    match tokio::time::timeout(LAST_ANSWERS, server).await {
        Ok(ended) => Ok(ended??),
        Err(_) => Ok(()),
    }
}

/// Makes sure of what an installation has, outside of a cluster; waits for an API server that does not answer.
async fn prepare(client: &Client, namespace: &str, owner: &str) -> Result<(), WriteError> {
    loop {
        match write::prepare_outside_cluster(client, namespace, owner).await {
            Err(error) if error.is_no_answer() => {
                tracing::warn!(%error, "the API server does not answer yet");
                tokio::time::sleep(Duration::from_secs(2)).await;
            }
            result => return result,
        }
    }
}

/// Takes in events and makes passes while this replica leads.
async fn work(
    client: &Client,
    installation: &Installation,
    mut is_leading: channel::Receiver<Leadership>,
    mut reconciler: Reconciler,
    mut rollouts: Rollouts,
    health: &Health,
    metrics: &Metrics,
) {
    let mut events = watch::events(client, installation, metrics);
    let mut workloads = Workloads::new(client.clone(), metrics.clone());
    let mut cluster = Cluster::new(installation.clone());
    let mut report_watch = ReportWatch::new(client, installation, metrics);
    let mut due = tokio::time::Instant::now();
    // What is told of workloads goes on beside the passes, a little at a time.
    let mut telling_due = due;
    // So are rollouts; but while a pass goes on, nothing new is decided.
    let mut rolling_due = due;
    let started = due;
    loop {
        tokio::select! {
            event = events.next() => {
                let Some(event) = event else { return };
                cluster.apply(event);
                workloads.follow_config_maps(cluster.world.asks_for(ConfigKind::ConfigMap));
                for kind in workloads.follow(&cluster.custom_workloads(), cluster.world.keeps_what_is_made()) {
                    cluster.change(world::Change::Forgotten(kind));
                }
                due = due.min(tokio::time::Instant::now() + SETTLE);
                rolling_due = rolling_due.min(tokio::time::Instant::now() + ROLLING_SETTLE);
            }
            change = workloads.next() => {
                cluster.change(change);
                due = due.min(tokio::time::Instant::now() + SETTLE);
                rolling_due = rolling_due.min(tokio::time::Instant::now() + ROLLING_SETTLE);
            }
            event = rollouts.next() => {
                match rollouts.apply(event, &mut cluster) {
                    Follow::Step => rolling_due = tokio::time::Instant::now(),
                    Follow::Pass => due = due.min(tokio::time::Instant::now() + SETTLE),
                    Follow::Nothing => {}
                }
            }
            () = tokio::time::sleep_until(rolling_due) => {
                // Where Pods are not known, nobody can say what they were started with; rights may come a moment later.
                let lacks_built_in = cluster.world.unwatched().any(|(kind, _)| kind.built_in().is_some());
                let is_complete = cluster.is_complete()
                    && cluster.world.missing(workloads.kinds()).is_empty()
                    && (!lacks_built_in || started.elapsed() >= PATIENCE);
                let next = rollouts.step(&mut cluster, is_complete, leads(&is_leading));
                rolling_due = tokio::time::Instant::now() + next;
            }
            event = report_watch.next() => {
                reconciler.reports.apply(event);
                telling_due = tokio::time::Instant::now();
            }
            () = reconciler.reports.finished() => telling_due = tokio::time::Instant::now(),
            () = tokio::time::sleep_until(telling_due) => {
                let next = if leads(&is_leading) { reconciler.tell(&cluster) } else { Duration::from_secs(10) };
                telling_due = tokio::time::Instant::now() + next;
            }
            changed = is_leading.changed() => {
                if changed.is_err() {
                    return;
                }
                let leading = leads(&is_leading);
                metrics.leading(leading);
                if leading {
                    reconciler.new_term();
                    cluster.touch_all();
                }
                due = tokio::time::Instant::now();
                rolling_due = due;
            }
            () = tokio::time::sleep_until(due) => {
                health.alive();
                due = tokio::time::Instant::now() + Duration::from_secs(10);
                if cluster.is_complete() {
                    health.ready();
                    if leads(&is_leading) {
                        let is_scannable = cluster.world.missing(workloads.kinds()).is_empty();
                        reconciler.standing = rollouts.summary();
                        let pass = reconciler.pass(&mut cluster, is_scannable);
                        let (next, kept) = beside(&mut rollouts, pass).await;
                        for event in kept {
                            rollouts.apply(event, &mut cluster);
                            rolling_due = tokio::time::Instant::now();
                        }
                        due = tokio::time::Instant::now() + next.min(Duration::from_secs(10));
                        telling_due = tokio::time::Instant::now();
                    }
                } else {
                    tracing::debug!(missing = ?cluster.missing(), "waiting for the first lists");
                }
            }
        }
    }
}

/// Makes a pass while reads and writes of rollouts go on; returns what they have brought, too.
async fn beside<T>(rollouts: &mut Rollouts, pass: impl Future<Output = T>) -> (T, Vec<RolloutEvent>) {
    let mut pass = std::pin::pin!(pass);
    let mut kept = Vec::new();
    loop {
        tokio::select! {
            ended = &mut pass => return (ended, kept),
            event = rollouts.next_beside_a_pass(), if kept.len() < MOST_KEPT => {
                kept.push(event);
                rollouts.begin();
            }
        }
    }
}

/// Who this replica is: the pod's name, and the process where several run under one name.
fn identity() -> String {
    let host = std::env::var("HOSTNAME").unwrap_or_else(|_| "local".to_owned());
    format!("{host}-{}", std::process::id())
}

async fn told_to_stop() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut stream) => {
                stream.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        () = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}
