//! What is read again later: each once, however often it is put off.

use std::collections::{BTreeMap, BTreeSet};

use immutable_core::world::ConfigId;
use tokio::time::Instant;

use super::reading::Rank;

/// Those that are put off.
#[derive(Default)]
pub(super) struct PutOff {
    until: BTreeMap<ConfigId, (Instant, Rank)>,
    order: BTreeSet<(Instant, ConfigId)>,
}

impl PutOff {
    /// Puts one off until then, whatever was said of it before; this is its rank then.
    pub(super) fn put(&mut self, id: ConfigId, rank: Rank, until: Instant) {
        self.remove(&id);
        self.order.insert((until, id.clone()));
        self.until.insert(id, (until, rank));
    }

    /// It is not put off any more.
    pub(super) fn remove(&mut self, id: &ConfigId) {
        if let Some((id, (until, _))) = self.until.remove_entry(id) {
            self.order.remove(&(until, id));
        }
    }

    /// When the next is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(until, _)| *until)
    }

    /// Takes one that is due.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(ConfigId, Rank)> {
        self.order.first().filter(|(until, _)| *until <= now)?;
        let (_, id) = self.order.pop_first()?;
        let (_, rank) = self.until.remove(&id)?;
        Some((id, rank))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use immutable_core::rules::ConfigKind;
    use immutable_core::world::ConfigKey;

    use super::*;

    fn id(name: &str) -> ConfigId {
        let key = ConfigKey { namespace: "shop".to_owned(), name: name.to_owned() };
        ConfigId { kind: ConfigKind::Secret, key }
    }

    #[test]
    fn each_is_due_once_however_often_it_is_put_off() {
        let (mut put_off, start) = (PutOff::default(), Instant::now());
        let second = Duration::from_secs(1);
        put_off.put(id("a"), Rank::New, start + second);
        put_off.put(id("b"), Rank::New, start + second);
        put_off.put(id("c"), Rank::Changed, start + second);
        put_off.put(id("a"), Rank::New, start + 2 * second);
        put_off.remove(&id("b"));
        assert_eq!(put_off.next(), Some(start + second));
        assert_eq!(put_off.take_due(start), None);
        assert_eq!(put_off.take_due(start + second), Some((id("c"), Rank::Changed)));
        assert_eq!(put_off.take_due(start + second), None);
        assert_eq!(put_off.take_due(start + 2 * second), Some((id("a"), Rank::New)));
        assert_eq!((put_off.next(), put_off.until.len()), (None, 0));
    }
}
