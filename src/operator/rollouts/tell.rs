//! Events of rollouts: told beside them and never before them, ten a second at most.
//!
//! What happens to more than twenty workloads for the sake of one object is told of that object, with their number.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::time::Duration;

use immutable_core::event::Telling;
use immutable_core::event::rollouts::{Many, Related, first_of};
use immutable_core::native::Installation;
use immutable_core::replace::{Begun, Held, Reason};
use immutable_core::world::{ConfigId, Contents, Known, WorkloadKey};
use jiff::Timestamp;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::operator::write::{WriteError, Writer};
use crate::telemetry::Metrics;

/// How long after one Event the next may be told: ten a second.
const PAUSE: Duration = Duration::from_millis(100);
/// How many are being told at once.
const AT_ONCE: usize = 4;
/// How many wait at most; what is beyond is dropped and counted.
const LONGEST_QUEUE: usize = 1000;
/// How many workloads have an Event of their own, of those that one object brings about in one go.
const TOLD_EACH: u64 = 20;
/// How long nothing more must come for one object before it counts as the end of one go.
const QUIET: Duration = Duration::from_secs(1);
/// How long one go lasts at most.
const LONGEST_GO: Duration = Duration::from_secs(60);
/// How often an Event is tried, and how long it is waited between.
const ATTEMPTS: u32 = 3;
const RETRY: Duration = Duration::from_secs(2);

/// What one object brings about: the same for all of them, replaced or waiting for the same reason.
type Go = (ConfigId, Option<Reason>);

/// One go that has not ended.
struct Burst {
    began: Instant,
    last: Instant,
    each: u64,
    /// The uid of the object.
    uid: Option<Box<str>>,
    more: Many,
}

impl Burst {
    fn ends(&self) -> Instant {
        (self.last + QUIET).min(self.began + LONGEST_GO)
    }
}

/// Tells them.
pub(super) struct Teller {
    writer: Writer,
    metrics: Metrics,
    installation: Installation,
    instance: String,
    bursts: BTreeMap<Go, Burst>,
    queue: VecDeque<Value>,
    tasks: JoinSet<Option<WriteError>>,
    /// When the next may be told.
    next: Instant,
}

impl Teller {
    /// Nothing to tell yet.
    pub(super) fn new(writer: Writer, metrics: Metrics, installation: Installation, instance: String) -> Self {
        Self {
            writer,
            metrics,
            installation,
            instance,
            bursts: BTreeMap::new(),
            queue: VecDeque::new(),
            tasks: JoinSet::new(),
            next: Instant::now(),
        }
    }

    /// Pods are being replaced; it was decided on this version of the workload.
    pub(super) fn replaced(&mut self, begun: &Begun, version: &str, contents: &Contents) {
        let id = first_of(&begun.key, &begun.cause);
        let related = id.as_ref().map(|id| (id, uid_of(id, contents)));
        if self.is_told_each(&begun.key, None, related) {
            let event = self.telling().replaced(begun, version, related);
            self.push(event);
        }
    }

    /// Pods are not replaced; told where somebody must do something.
    pub(super) fn held(&mut self, held: &Held, contents: &Contents) {
        let reason = held.waiting.reason;
        if !reason.needs_somebody() {
            return;
        }
        let id = first_of(&held.key, &held.cause);
        let related = id.as_ref().map(|id| (id, uid_of(id, contents)));
        if self.is_told_each(&held.key, Some(reason), related) {
            let event = self.telling().held(held, related);
            self.push(event);
        }
    }

    /// Forgets what is not told yet: somebody else leads.
    pub(super) fn forget(&mut self) {
        self.bursts.clear();
        self.queue.clear();
    }

    /// Tells what there is to tell; never ends, and may be broken off at any time.
    pub(super) async fn work(&mut self) -> Infallible {
        loop {
            let now = Instant::now();
            self.end_bursts(now);
            let may_begin = self.tasks.len() < AT_ONCE && !self.queue.is_empty();
            if may_begin && self.next <= now {
                self.begin(now);
                continue;
            }
            let end = self.bursts.values().map(Burst::ends).min();
            let due = may_begin.then_some(self.next).into_iter().chain(end).min();
            let due = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(ended) = self.tasks.join_next() => {
                    if let Ok(Some(error)) = ended {
                        self.drop_events(1, &error.to_string());
                    }
                }
                () = due => {}
            }
        }
    }

    /// Whether a workload has an Event of its own; otherwise it is counted.
    fn is_told_each(&mut self, key: &WorkloadKey, reason: Option<Reason>, related: Option<Related<'_>>) -> bool {
        let Some((id, uid)) = related else { return true };
        let now = Instant::now();
        self.end_bursts(now);
        let more = Many { reason, count: 0, examples: Vec::new() };
        let new = || Burst { began: now, last: now, each: 0, uid: uid.map(Box::from), more };
        let burst = self.bursts.entry((id.clone(), reason)).or_insert_with(new);
        burst.last = now;
        if burst.each < TOLD_EACH {
            burst.each += 1;
            return true;
        }
        burst.more.add(key);
        false
    }

    fn end_bursts(&mut self, now: Instant) {
        let ended: Vec<(Go, Burst)> = self.bursts.extract_if(.., |_, burst| burst.ends() <= now).collect();
        for ((id, _), burst) in ended {
            if burst.more.count > 0 {
                let event = self.telling().many(&burst.more, (&id, burst.uid.as_deref()));
                self.push(event);
            }
        }
    }

    fn push(&mut self, event: Value) {
        if self.queue.len() < LONGEST_QUEUE {
            self.queue.push_back(event);
        } else {
            self.drop_events(1, "there are too many");
        }
    }

    fn begin(&mut self, now: Instant) {
        let Some(event) = self.queue.pop_front() else { return };
        self.next = now + PAUSE;
        let writer = self.writer.clone();
        self.tasks.spawn(async move {
            for attempt in 1.. {
                match writer.create_event(event.clone()).await {
                    Ok(()) | Err(WriteError::NotLeader) => return None,
                    Err(error) if attempt >= ATTEMPTS || !may_come_right(&error) => return Some(error),
                    Err(_) => tokio::time::sleep(RETRY).await,
                }
            }
            None
        });
    }

    fn drop_events(&self, count: usize, why: &str) {
        self.metrics.rollout_events_dropped(count);
        tracing::debug!(count, why, "Events of rollouts were not told");
    }

    fn telling(&self) -> Telling<'_> {
        Telling { installation: &self.installation, instance: &self.instance, now: Timestamp::now() }
    }
}

/// Whether another attempt may succeed.
fn may_come_right(error: &WriteError) -> bool {
    matches!(error.code(), 0 | 429 | 500..)
}

fn uid_of<'a>(id: &ConfigId, contents: &'a Contents) -> Option<&'a str> {
    match contents.get(id) {
        Known::Present(object) => Some(&object.uid),
        _ => None,
    }
}
