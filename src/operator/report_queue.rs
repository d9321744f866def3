//! What is to be told, in which order and how fast: the worst first, a bounded number a second, failures later.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use immutable_core::exception::ExceptionId;
use immutable_core::report::ReportId;
use immutable_core::scan::Badness;
use immutable_core::world::WorkloadKey;
use tokio::time::Instant;

/// How many writes a second; with what may come at once, 100 at most in any second.
const RATE: f64 = 90.0;
/// How many may come at once after a pause.
const BURST: f64 = 10.0;
/// How many writes are under way at once.
const AT_ONCE: usize = 4;
/// How long something that failed is put off.
const RETRY: Duration = Duration::from_secs(2);
/// How long at most, when it fails again and again.
const LAST_RETRY: Duration = Duration::from_secs(60);

/// What is to be looked at. What comes of it is decided at its turn, on what is known by then.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Work {
    /// Whether a report is still wanted.
    Remove(ReportId),
    /// What is to be told of a workload.
    Tell(Arc<WorkloadKey>),
    /// Whether an exception ends soon.
    Expiring(ExceptionId),
}

/// What comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Urgency {
    /// An exception ends: who may write exceptions must not keep out what is told of workloads.
    Ending,
    /// It has failed before, and must keep nothing out.
    Again,
    /// As bad as it is about the workload.
    Of(Badness),
    /// What is old is worse than nothing.
    Outdated,
}

/// Why something was not done.
#[derive(Debug)]
struct Failure {
    attempts: u32,
    /// When it is tried again; none while it is being tried.
    until: Option<Instant>,
    /// What went wrong; none where only something else was faster.
    message: Option<String>,
}

/// The queue.
#[derive(Debug)]
pub(super) struct Queue {
    waiting: BTreeSet<(Reverse<Urgency>, Work)>,
    under_way: BTreeSet<Work>,
    failures: BTreeMap<Work, Failure>,
    /// How much may be written at this moment; less than nothing after something that took several writes.
    tokens: f64,
    filled: Instant,
}

impl Queue {
    /// An empty one.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            waiting: BTreeSet::new(),
            under_way: BTreeSet::new(),
            failures: BTreeMap::new(),
            tokens: BURST,
            filled: now,
        }
    }

    /// Forgets everything but what is under way.
    pub(super) fn clear(&mut self) {
        self.waiting.clear();
        self.failures.clear();
    }

    /// Takes something in. What has failed keeps its time to wait: it is decided anew then.
    pub(super) fn push(&mut self, work: Work, urgency: Urgency, now: Instant) {
        let waits = |failure: &Failure| failure.until.is_some_and(|until| until > now);
        if !self.failures.get(&work).is_some_and(waits) {
            self.waiting.insert((Reverse(urgency), work));
        }
    }

    /// Takes something in that is to be looked at a little later.
    pub(super) fn push_later(&mut self, work: Work, pause: Duration, now: Instant) {
        let failure = self.failures.entry(work).or_insert(Failure { attempts: 0, until: None, message: None });
        failure.until = Some(now + pause);
    }

    /// What is next, if anything may be written now, or how long until then.
    pub(super) fn pop(&mut self, now: Instant) -> Result<Work, Option<Duration>> {
        self.tokens = BURST.min(self.tokens + now.duration_since(self.filled).as_secs_f64() * RATE);
        self.filled = now;
        let due = |failure: &Failure| failure.until.is_some_and(|until| until <= now);
        for (work, failure) in self.failures.iter_mut().filter(|(_, failure)| due(failure)) {
            failure.until = None;
            let urgency = if matches!(work, Work::Expiring(_)) { Urgency::Ending } else { Urgency::Again };
            self.waiting.insert((Reverse(urgency), work.clone()));
        }
        // What is under way wakes its owner when it ends.
        if self.under_way.len() >= AT_ONCE {
            return Err(None);
        }
        let Some(first) = self.waiting.iter().find(|(_, work)| !self.under_way.contains(work)).cloned() else {
            let next = self.failures.values().filter_map(|failure| failure.until).min();
            return Err(next.map(|next| next.saturating_duration_since(now)));
        };
        if self.tokens < 1.0 {
            return Err(Some(Duration::from_secs_f64((1.0 - self.tokens) / RATE)));
        }
        self.waiting.remove(&first);
        Ok(first.1)
    }

    /// Something is under way, with so many writes.
    pub(super) fn begin(&mut self, work: Work, writes: usize) {
        #[expect(clippy::cast_precision_loss, reason = "a few dozen at most")]
        let cost = writes as f64;
        self.tokens -= cost;
        self.under_way.insert(work);
    }

    /// It was done, or there was nothing to do.
    pub(super) fn done(&mut self, work: &Work) {
        self.under_way.remove(work);
        self.failures.remove(work);
    }

    /// It was not done. Without a message it is no failure: something else was faster, and it is decided again.
    pub(super) fn failed(&mut self, work: Work, message: Option<String>, now: Instant) {
        self.under_way.remove(&work);
        let failure = self.failures.entry(work).or_insert(Failure { attempts: 0, until: None, message: None });
        failure.until = Some(now + (RETRY * 2_u32.saturating_pow(failure.attempts.min(10))).min(LAST_RETRY));
        failure.attempts = failure.attempts.saturating_add(1);
        failure.message = message;
    }

    /// What has failed, with what went wrong.
    pub(super) fn failures(&self) -> impl Iterator<Item = (&Work, &str)> {
        self.failures.iter().filter_map(|(work, failure)| Some((work, failure.message.as_deref()?)))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use immutable_core::report::ReportApi;

    use super::*;

    fn exception(name: usize) -> Work {
        Work::Expiring(ExceptionId { namespace: "shop".to_owned(), name: format!("{name:05}") })
    }

    #[tokio::test]
    async fn at_most_a_hundred_are_written_in_any_second() {
        let start = Instant::now();
        let mut queue = Queue::new(start);
        for name in 0..1_000 {
            queue.push(exception(name), Urgency::Outdated, start);
        }
        let mut written = Vec::new();
        for millisecond in 0..3_000 {
            let now = start + Duration::from_millis(millisecond);
            while let Ok(work) = queue.pop(now) {
                queue.begin(work.clone(), 1);
                queue.done(&work);
                written.push(millisecond);
            }
        }
        assert!(written.len() > 250, "{}", written.len());
        for first in &written {
            let in_its_second = written.iter().filter(|other| (*first..*first + 1_000).contains(other)).count();
            assert!(in_its_second <= 100, "{in_its_second} from {first} ms on");
        }
    }

    #[tokio::test]
    async fn what_fails_comes_later_and_last_and_nothing_is_under_way_twice() {
        let start = Instant::now();
        let mut queue = Queue::new(start);
        queue.push(exception(1), Urgency::Outdated, start);
        let first = queue.pop(start).unwrap();
        queue.begin(first.clone(), 1);
        queue.push(exception(1), Urgency::Outdated, start);
        assert_eq!(queue.pop(start), Err(None), "it is under way");
        queue.failed(first.clone(), Some("no".to_owned()), start);
        assert_eq!(queue.failures().collect::<Vec<_>>(), [(&first, "no")]);
        assert_eq!(queue.pop(start), Ok(exception(1)), "it was asked for while it was under way");
        queue.push(exception(1), Urgency::Outdated, start);
        assert_eq!(queue.pop(start), Err(Some(RETRY)));
        let later = start + RETRY;
        queue.push(exception(2), Urgency::Of(Badness::default()), later);
        assert_eq!(queue.pop(later), Ok(exception(2)));
        assert_eq!(queue.pop(later), Ok(exception(1)));
        queue.done(&exception(1));
        assert_eq!(queue.failures().count(), 0);
    }

    #[tokio::test]
    async fn the_ends_of_exceptions_keep_nothing_else_out() {
        let start = Instant::now();
        let mut queue = Queue::new(start);
        let report = |name: &str| {
            Work::Remove(ReportId { api: ReportApi::OpenReports, namespace: "shop".to_owned(), name: name.to_owned() })
        };
        queue.failed(report("again"), Some("no".to_owned()), start);
        queue.failed(exception(0), Some("no".to_owned()), start);
        let later = start + RETRY;
        for name in 1..1_000 {
            queue.push(exception(name), Urgency::Ending, later);
        }
        queue.push(report("good"), Urgency::Of(Badness::default()), later);
        queue.push(report("old"), Urgency::Outdated, later);
        let order: Vec<Work> = (0..5).map(|_| queue.pop(later).unwrap()).collect();
        assert_eq!(order, [report("old"), report("good"), report("again"), exception(0), exception(1)]);
    }
}
