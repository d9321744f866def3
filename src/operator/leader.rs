//! Leader election by a Lease, as client-go does it: other replicas' times are never read, only how long
//! their record has stood unchanged by our own clock, so that no skew between clocks matters.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Client;
use kube::api::Api;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::write::{WriteError, counted, within_deadline, write_lease};
use crate::telemetry::Metrics;

/// Name of the Lease.
const LEASE: &str = "immutable-operator";
/// How long a record that nobody renews keeps others out.
const LEASE_DURATION: Duration = Duration::from_secs(15);
/// How long a renewal counts, from before it was tried. A write is begun before that and ended before the lease is.
const RENEW_DEADLINE: Duration = Duration::from_secs(10);
/// How long after that a write may still be under way: a second less than others wait.
const LAST_WRITES: Duration = Duration::from_secs(4);
/// How often it is tried.
const RETRY_PERIOD: Duration = Duration::from_secs(2);

/// What to do about the lease.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// Write our name into it.
    Take,
    /// Somebody else holds it.
    Wait,
}

/// The lease as last seen, and since when by our own clock.
struct Seen {
    spec: LeaseSpec,
    since: Instant,
}

/// Until when this replica leads, if it does. A process that was frozen finds its time run out when it wakes.
pub(super) type Leadership = Option<Instant>;

/// Whether this replica leads at this moment.
pub(super) fn leads(leadership: &watch::Receiver<Leadership>) -> bool {
    writes_end(leadership).is_some()
}

/// When what is written now must have ended, if this replica leads: before another can take the lease.
pub(super) fn writes_end(leadership: &watch::Receiver<Leadership>) -> Option<Instant> {
    let until = leadership.borrow().filter(|until| Instant::now() < *until)?;
    Some(until + LAST_WRITES)
}

/// Tries to lead until told to stop, then gives the lease back. `leadership` tells until when it leads.
pub(super) async fn lead(
    client: Client,
    namespace: String,
    identity: String,
    leadership: watch::Sender<Leadership>,
    metrics: Metrics,
    stop: CancellationToken,
) {
    let api: Api<Lease> = Api::namespaced(client.clone(), &namespace);
    let mut seen: Option<Seen> = None;
    loop {
        // Counted from before the attempt: others count from when they see what it wrote, which is later.
        let started = Instant::now();
        let attempt = attempt(&client, &api, &namespace, &identity, &metrics, &mut seen);
        match tokio::time::timeout(RENEW_DEADLINE / 3, attempt).await {
            Ok(Ok(true)) => {
                if set(&leadership, Some(started + RENEW_DEADLINE)) {
                    tracing::info!(%identity, "leading");
                }
            }
            Ok(Ok(false)) => {
                if set(&leadership, None) {
                    tracing::warn!("somebody else took the lease; standing by");
                }
            }
            Ok(Err(error)) => tracing::warn!(%error, "the lease could not be read or written"),
            Err(_) => tracing::warn!("the API server did not answer about the lease"),
        }
        let until = *leadership.borrow();
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(RETRY_PERIOD) => {}
            () = tokio::time::sleep_until(until.unwrap_or_else(Instant::now)), if until.is_some() => {}
        }
        if until.is_some_and(|until| Instant::now() >= until) && set(&leadership, None) {
            tracing::warn!("the lease could not be renewed in time; standing by");
        }
    }
    if set(&leadership, None) {
        release(&client, &api, &namespace, &identity, &metrics).await;
    }
}

/// Tells until when it leads, and returns whether that it does is news: every renewal would wake the reconciler
/// otherwise.
fn set(leadership: &watch::Sender<Leadership>, until: Leadership) -> bool {
    leadership.send_if_modified(|known| std::mem::replace(known, until).is_some() != until.is_some())
}

/// One try; true if the lease is ours now.
async fn attempt(
    client: &Client,
    api: &Api<Lease>,
    namespace: &str,
    identity: &str,
    metrics: &Metrics,
    seen: &mut Option<Seen>,
) -> Result<bool, WriteError> {
    let stored = counted(metrics, "get", "Lease", within_deadline(api.get_opt(LEASE))).await?;
    let spec = stored.as_ref().and_then(|lease| lease.spec.clone()).unwrap_or_default();
    if seen.as_ref().is_none_or(|seen| seen.spec != spec) {
        *seen = Some(Seen { spec: spec.clone(), since: Instant::now() });
    }
    let unchanged = seen.as_ref().map_or(Duration::ZERO, |seen| seen.since.elapsed());
    if step(&spec, identity, unchanged) == Step::Wait {
        return Ok(false);
    }
    let now = MicroTime(Timestamp::now());
    let ours = spec.holder_identity.as_deref() == Some(identity);
    let lease = Lease {
        metadata: stored.map_or_else(
            || ObjectMeta { name: Some(LEASE.to_owned()), ..ObjectMeta::default() },
            |lease| lease.metadata,
        ),
        spec: Some(LeaseSpec {
            holder_identity: Some(identity.to_owned()),
            lease_duration_seconds: i32::try_from(LEASE_DURATION.as_secs()).ok(),
            acquire_time: if ours { spec.acquire_time } else { Some(now.clone()) },
            renew_time: Some(now),
            lease_transitions: Some(spec.lease_transitions.unwrap_or_default() + i32::from(!ours)),
            ..LeaseSpec::default()
        }),
    };
    match write_lease(client, namespace, &lease, metrics).await {
        Ok(written) => {
            *seen = Some(Seen { spec: written.spec.unwrap_or_default(), since: Instant::now() });
            Ok(true)
        }
        // Somebody wrote it, not necessarily as its holder: the next try reads who.
        Err(error) => Err(error),
    }
}

/// What to do about a lease that has stood unchanged for a while.
fn step(spec: &LeaseSpec, identity: &str, unchanged: Duration) -> Step {
    let holder = spec.holder_identity.as_deref().unwrap_or_default();
    let duration = spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or_default();
    if holder.is_empty() || holder == identity || unchanged >= Duration::from_secs(duration) {
        Step::Take
    } else {
        Step::Wait
    }
}

/// Gives the lease back, so that a successor need not wait.
async fn release(client: &Client, api: &Api<Lease>, namespace: &str, identity: &str, metrics: &Metrics) {
    let released = async {
        let stored = counted(metrics, "get", "Lease", within_deadline(api.get_opt(LEASE))).await.ok().flatten();
        let Some(mut lease) = stored else { return };
        let ours = |spec: &LeaseSpec| spec.holder_identity.as_deref() == Some(identity);
        if let Some(spec) = lease.spec.as_mut().filter(|spec| ours(spec)) {
            spec.holder_identity = Some(String::new());
            spec.lease_duration_seconds = Some(1);
            if let Err(error) = write_lease(client, namespace, &lease, metrics).await {
                tracing::warn!(%error, "the lease could not be given back; a successor waits until it expires");
            }
        }
    };
    if tokio::time::timeout(RETRY_PERIOD, released).await.is_err() {
        tracing::warn!("the lease could not be given back in time; a successor waits until it expires");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held_by(holder: &str, seconds: i32) -> LeaseSpec {
        LeaseSpec {
            holder_identity: Some(holder.to_owned()),
            lease_duration_seconds: Some(seconds),
            ..LeaseSpec::default()
        }
    }

    #[test]
    fn a_lease_is_taken_only_when_nobody_renews_it() {
        let wait = |spec, seconds| step(&spec, "me", Duration::from_secs(seconds));
        assert_eq!(wait(LeaseSpec::default(), 0), Step::Take);
        assert_eq!(wait(held_by("me", 15), 0), Step::Take);
        assert_eq!(wait(held_by("", 15), 0), Step::Take);
        assert_eq!(wait(held_by("other", 15), 14), Step::Wait);
        assert_eq!(wait(held_by("other", 15), 15), Step::Take);
    }
}
