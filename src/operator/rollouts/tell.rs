//! Events of rollouts: told beside them and never before them, ten a second at most.
//!
//! What happens to more than twenty workloads for the sake of one object is told of that object, with their number.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::time::Duration;

use immutable_core::event::Telling;
use immutable_core::event::rollouts::{Related, first_of};
use immutable_core::native::Installation;
use immutable_core::replace::{Begun, Held, Reason};
use immutable_core::world::{ConfigId, Contents, Known, WorkloadKey};
use jiff::Timestamp;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::bursts::{Bursts, Ended};
use crate::operator::write::{WriteError, Writer};
use crate::telemetry::Metrics;

/// How long after one Event the next may be told: ten a second.
const PAUSE: Duration = Duration::from_millis(100);
/// How many are being told at once.
const AT_ONCE: usize = 4;
/// How many wait at most; what is beyond is dropped and counted.
const LONGEST_QUEUE: usize = 1000;
/// How often an Event is tried, and how long it is waited between.
const ATTEMPTS: u32 = 3;
const RETRY: Duration = Duration::from_secs(2);

/// Tells them.
pub(super) struct Teller {
    writer: Writer,
    metrics: Metrics,
    installation: Installation,
    instance: String,
    bursts: Bursts,
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
            bursts: Bursts::default(),
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
            if self.begin(now) {
                continue;
            }
            let may_begin = self.tasks.len() < AT_ONCE && !self.queue.is_empty();
            let end = self.bursts.next();
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
        let Some(related) = related else { return true };
        let now = Instant::now();
        self.end_bursts(now);
        self.bursts.is_told_each(key, reason, related, now)
    }

    fn end_bursts(&mut self, now: Instant) {
        for Ended { id, uid, more } in self.bursts.take_ended(now) {
            let event = self.telling().many(&more, (&id, uid.as_deref()));
            self.push(event);
        }
    }

    fn push(&mut self, event: Value) {
        if self.queue.len() < LONGEST_QUEUE {
            self.queue.push_back(event);
        } else {
            self.drop_events(1, "there are too many");
        }
    }

    /// Begins to tell the next, if one may be told now.
    fn begin(&mut self, now: Instant) -> bool {
        if self.tasks.len() >= AT_ONCE || now < self.next {
            return false;
        }
        let Some(event) = self.queue.pop_front() else { return false };
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
        true
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use immutable_core::replace::{Cause, Waiting};
    use immutable_core::workload::{Kind, WorkloadKind};

    use super::*;

    fn teller() -> Teller {
        let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let client = kube::Client::try_from(config).unwrap();
        let (_, leading) = tokio::sync::watch::channel(None);
        let metrics = Metrics::new().unwrap();
        let installation = Installation { namespace: "system".to_owned(), owner: "owner".to_owned() };
        let writer = Writer::new(client, leading, "owner".to_owned(), metrics.clone());
        Teller::new(writer, metrics, installation, "pod-1".to_owned())
    }

    fn held(number: usize, reason: Reason) -> Held {
        let kind = WorkloadKind::BuiltIn(Kind::Deployment);
        Held {
            key: WorkloadKey { kind, namespace: "shop".to_owned(), name: format!("web-{number}") },
            uid: number.to_string(),
            waiting: Waiting { reason, message: "it waits".to_owned(), until: None },
            cause: Cause::default(),
            digest: String::new(),
        }
    }

    #[tokio::test]
    async fn what_is_too_much_is_dropped_and_counted() {
        let (mut teller, contents) = (teller(), Contents::default());
        for number in 0..LONGEST_QUEUE + 3 {
            teller.held(&held(number, Reason::Unreadable), &contents);
        }
        assert_eq!(teller.queue.len(), LONGEST_QUEUE);
        let text = teller.metrics.text();
        assert!(text.contains("\nimmutable_rollout_events_dropped_total 3\n"), "{text}");
        // What passes by itself is no matter of Events.
        teller.forget();
        teller.held(&held(0, Reason::Window), &contents);
        assert!(teller.queue.is_empty());
    }

    #[test]
    fn every_reason_is_documented_with_what_to_do() {
        let text = include_str!("../../../docs/operator.md");
        let (_, text) = text.split_once("### What rollouts wait for").unwrap();
        let (waiting, text) = text.split_once("## Reports").unwrap();
        let (_, events) = text.split_once("## Events").unwrap();
        let is_in = |text: &str, reason: Reason| {
            let mut cells = text.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
            cells.any(|cell| cell.split(", ").any(|name| name == format!("`{reason}`")))
        };
        for reason in Reason::ALL {
            assert!(is_in(waiting, reason), "{reason} is in no table of docs/operator.md");
            assert_eq!(is_in(events, reason), reason.needs_somebody(), "{reason} among the Events of docs/operator.md");
        }
    }

    #[tokio::test]
    async fn ten_a_second_are_told() {
        let (mut teller, contents) = (teller(), Contents::default());
        for number in 0..100 {
            teller.held(&held(number, Reason::Unreadable), &contents);
        }
        let start = Instant::now() + PAUSE;
        for milliseconds in (0..2050).step_by(10) {
            while teller.begin(start + Duration::from_millis(milliseconds)) {}
            // Nobody leads, so each is answered at once.
            while teller.tasks.join_next().await.is_some() {}
        }
        assert_eq!(teller.queue.len(), 100 - 21);
    }
}
