//! Which ends of exceptions were told, and how often more may be: tenants make exceptions, and change them.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use immutable_core::exception::{Exception, ExceptionId, MOST_PER_NAMESPACE};
use jiff::Timestamp;
use tokio::time::Instant;

/// How often the ends of exceptions are looked at.
pub(super) const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// How long nothing more is told of an exception, whatever becomes of its end, and in which time a namespace has no
/// more Events than it may have exceptions that count.
const PAUSE: Duration = Duration::from_secs(3600);

/// What was last told of an exception.
struct Told {
    /// Which of its name.
    uid: String,
    ends: Timestamp,
    at: Instant,
}

/// All that was told.
#[derive(Default)]
pub(super) struct Endings {
    told: BTreeMap<ExceptionId, Told>,
    /// When something was told in a namespace: whoever makes exceptions anew again and again tells no more by it.
    of_namespace: BTreeMap<String, VecDeque<Instant>>,
    looked: Option<Instant>,
}

impl Endings {
    /// Whether it is time to look at the ends; if so, forgets what is of no use any more.
    pub(super) fn look(&mut self, uid_of: impl Fn(&ExceptionId) -> Option<String>, now: Instant) -> bool {
        if self.looked.is_some_and(|looked| now.duration_since(looked) < LOOK_INTERVAL) {
            return false;
        }
        self.looked = Some(now);
        self.told.retain(|id, told| uid_of(id).is_some_and(|uid| uid == told.uid));
        self.of_namespace.retain(|_, times| times.back().is_some_and(|last| now.duration_since(*last) < PAUSE));
        true
    }

    /// Whether the end of an exception is news, and may be told now.
    pub(super) fn is_news(&self, exception: &Exception, uid: &str, now: Instant) -> bool {
        let is_past = |at: &Instant| now.duration_since(*at) >= PAUSE;
        let told = self.told.get(&exception.id).filter(|told| told.uid == uid);
        let times = self.of_namespace.get(&exception.id.namespace);
        told.is_none_or(|told| told.ends != exception.expires_at && is_past(&told.at))
            && times.is_none_or(|times| times.len() < MOST_PER_NAMESPACE || times.front().is_none_or(is_past))
    }

    /// Remembers that an end is told.
    pub(super) fn tell(&mut self, exception: &Exception, uid: &str, now: Instant) {
        let told = Told { uid: uid.to_owned(), ends: exception.expires_at, at: now };
        self.told.insert(exception.id.clone(), told);
        let times = self.of_namespace.entry(exception.id.namespace.clone()).or_default();
        times.push_back(now);
        while times.len() > MOST_PER_NAMESPACE {
            times.pop_front();
        }
    }

    /// It was not told after all.
    pub(super) fn untold(&mut self, id: &ExceptionId) {
        if self.told.remove(id).is_some()
            && let Some(times) = self.of_namespace.get_mut(&id.namespace)
        {
            times.pop_back();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use immutable_core::exception::WorkloadFilter;
    use immutable_core::rules::RuleId;

    use super::*;

    fn exception(name: usize, hour: u8) -> Exception {
        Exception {
            id: ExceptionId { namespace: "shop".to_owned(), name: format!("{name:04}") },
            policies: Vec::new(),
            rules: vec![RuleId::ImageTag],
            workloads: WorkloadFilter::default(),
            images: Vec::new(),
            containers: Vec::new(),
            reason: "the vendor publishes no other tag".to_owned(),
            ticket: None,
            created: None,
            expires_at: format!("2026-11-26T{hour:02}:00:00Z").parse().unwrap(),
        }
    }

    #[tokio::test]
    async fn the_end_of_an_exception_is_told_once_an_hour_however_often_it_is_changed() {
        let start = Instant::now();
        let mut endings = Endings::default();
        let mut told = Vec::new();
        // It is changed at each look, for three hours.
        for look in 0..3 * 360_u32 {
            let now = start + LOOK_INTERVAL * look;
            assert!(endings.look(|_| Some("uid".to_owned()), now));
            let changed = exception(0, u8::try_from(look % 20).unwrap());
            if endings.is_news(&changed, "uid", now) {
                endings.tell(&changed, "uid", now);
                assert!(!endings.is_news(&changed, "uid", now + PAUSE * 5), "the same end is no news");
                told.push(look);
            }
        }
        assert_eq!(told, [0, 361, 722], "the first that differs after an hour");
    }

    #[tokio::test]
    async fn a_namespace_tells_no_more_than_it_has_exceptions_that_count() {
        let start = Instant::now();
        let mut endings = Endings::default();
        let mut told = 0;
        // Each look finds others, and those before are gone.
        for look in 0..720_usize {
            let now = start + LOOK_INTERVAL * u32::try_from(look).unwrap();
            let current: Vec<_> = (0..20).map(|number| exception(look * 20 + number, 9)).collect();
            endings.look(|id| current.iter().find(|known| known.id == *id).map(|known| known.id.name.clone()), now);
            for exception in &current {
                if endings.is_news(exception, &exception.id.name, now) {
                    endings.tell(exception, &exception.id.name, now);
                    told += 1;
                }
            }
            assert!(endings.told.len() <= 40 && endings.of_namespace["shop"].len() <= 20);
        }
        assert_eq!(told, 40, "in two hours");
        assert!(endings.look(|_| None, start + PAUSE * 4));
        assert!(endings.told.is_empty() && endings.of_namespace.is_empty(), "nothing is kept without use");
    }

    #[tokio::test]
    async fn what_could_not_be_told_is_told_later_and_another_of_the_same_name_is_another() {
        let now = Instant::now();
        let mut endings = Endings::default();
        let legacy = exception(0, 9);
        endings.tell(&legacy, "one", now);
        assert!(!endings.is_news(&legacy, "one", now));
        assert!(endings.is_news(&legacy, "other", now));
        endings.untold(&legacy.id);
        assert!(endings.is_news(&legacy, "one", now));
        assert!(endings.of_namespace["shop"].is_empty());
    }
}
