//! What one object brings about in one go: the first of many are told each by itself, the others are counted.

use std::collections::BTreeMap;
use std::time::Duration;

use immutable_core::event::rollouts::{Many, Related};
use immutable_core::replace::Reason;
use immutable_core::world::{ConfigId, WorkloadKey};
use tokio::time::Instant;

/// How many workloads have an Event of their own, of those that one object brings about in one go.
const TOLD_EACH: u64 = 20;
/// How long nothing more must come for one object before it counts as the end of one go.
const QUIET: Duration = Duration::from_secs(1);
/// How long one go lasts at most.
const LONGEST: Duration = Duration::from_secs(60);

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
        (self.last + QUIET).min(self.began + LONGEST)
    }
}

/// One go that has ended, in which there were too many workloads to tell each.
pub(super) struct Ended {
    /// The object.
    pub id: ConfigId,
    /// Its uid, where it is known.
    pub uid: Option<Box<str>>,
    /// Those that were not told.
    pub more: Many,
}

/// All that have not ended.
#[derive(Default)]
pub(super) struct Bursts {
    bursts: BTreeMap<Go, Burst>,
}

impl Bursts {
    /// Whether a workload is told of by itself; otherwise it is counted. Those that have ended must be taken before.
    pub(super) fn is_told_each(
        &mut self,
        key: &WorkloadKey,
        reason: Option<Reason>,
        (id, uid): Related<'_>,
        now: Instant,
    ) -> bool {
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

    /// Those that have ended and have something to tell.
    pub(super) fn take_ended(&mut self, now: Instant) -> Vec<Ended> {
        let mut ended = Vec::new();
        self.bursts.retain(|(id, _), burst| {
            let goes_on = burst.ends() > now;
            if !goes_on && burst.more.count > 0 {
                ended.push(Ended { id: id.clone(), uid: burst.uid.take(), more: burst.more.clone() });
            }
            goes_on
        });
        ended
    }

    /// When the next ends.
    pub(super) fn next(&self) -> Option<Instant> {
        self.bursts.values().map(Burst::ends).min()
    }

    /// Forgets all of them.
    pub(super) fn clear(&mut self) {
        self.bursts.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use immutable_core::rules::ConfigKind;
    use immutable_core::workload::{Kind, WorkloadKind};
    use immutable_core::world::ConfigKey;

    use super::*;

    fn id(name: &str) -> ConfigId {
        let key = ConfigKey { namespace: "shop".to_owned(), name: name.to_owned() };
        ConfigId { kind: ConfigKind::ConfigMap, key }
    }

    fn key(number: u64) -> WorkloadKey {
        let kind = WorkloadKind::BuiltIn(Kind::Deployment);
        WorkloadKey { kind, namespace: "shop".to_owned(), name: format!("web-{number}") }
    }

    /// How many of so many are told by themselves.
    fn told(bursts: &mut Bursts, count: u64, object: &str, reason: Option<Reason>, now: Instant) -> usize {
        let id = id(object);
        (0..count).filter(|number| bursts.is_told_each(&key(*number), reason, (&id, Some("uid")), now)).count()
    }

    #[test]
    fn beyond_twenty_they_are_counted_and_told_when_it_is_quiet() {
        let (mut bursts, start) = (Bursts::default(), Instant::now());
        assert_eq!(told(&mut bursts, 15, "a", None, start), 15);
        assert_eq!(told(&mut bursts, 500, "a", None, start + QUIET / 2), 5);
        // Another object and another reason are other things to tell.
        assert_eq!(told(&mut bursts, 20, "b", None, start + QUIET / 2), 20);
        assert_eq!(told(&mut bursts, 21, "a", Some(Reason::Halted), start + QUIET / 2), 20);
        assert!(bursts.take_ended(start + QUIET).is_empty());
        assert_eq!(bursts.next(), Some(start + QUIET / 2 + QUIET));
        let ended = bursts.take_ended(start + QUIET / 2 + QUIET);
        let counts: Vec<_> = ended.iter().map(|ended| (ended.more.reason, ended.more.count)).collect();
        assert_eq!(counts, [(None, 495), (Some(Reason::Halted), 1)]);
        assert_eq!(ended[0].uid.as_deref(), Some("uid"));
        // The next go begins anew.
        assert_eq!(told(&mut bursts, 21, "a", None, start + 4 * QUIET), 20);
    }

    #[test]
    fn what_never_ends_is_told_every_minute() {
        let (mut bursts, start) = (Bursts::default(), Instant::now());
        let mut counted = Vec::new();
        let mut each = 0;
        // Two workloads a second for two and a half minutes.
        for half in 0..300_u32 {
            let now = start + QUIET / 2 * half;
            counted.extend(bursts.take_ended(now).into_iter().map(|ended| ended.more.count));
            each += told(&mut bursts, 1, "a", None, now);
        }
        assert_eq!((counted, each), (vec![100, 100], 60));
    }
}
