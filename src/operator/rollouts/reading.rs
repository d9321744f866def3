//! Reads the ConfigMaps and Secrets that are wanted, each once for each of its versions, a few at a time.

use std::collections::BTreeMap;
use std::time::Duration;

use immutable_core::references::digest::DigestKey;
use immutable_core::world::{ConfigId, Contents, Known, Reading};
use kube::Client;
use tokio::time::Instant;

use super::put_off::PutOff;
use super::tasks::Tasks;
use super::watch::Version;
use crate::live::read_config;

/// How many are read at once: each takes a connection, and what it may hold.
const READS_AT_ONCE: usize = 4;
/// How long a read may take; the client's own patience is longer.
const DEADLINE: Duration = Duration::from_secs(15);
/// How long a read that failed is put off.
const RETRY: Duration = Duration::from_secs(2);
/// What may not be read is asked for again: rights may be given at any time.
const REFUSED: Duration = Duration::from_secs(30);

/// Whose turn comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Rank {
    /// One that is known and has changed: thousands of new references of one namespace do not hold up others' changes.
    Changed,
    /// One that is not known.
    New,
}

/// One that is being read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct UnderWay {
    /// With which rank it was begun.
    rank: Rank,
    /// It is to be read once more then, with this rank.
    again: Option<Rank>,
    /// Nobody has wanted it for a time since the read began: what is read may be of before, and is dropped.
    is_dropped: bool,
}

/// The reader.
pub(super) struct Reader {
    client: Client,
    key: Option<DigestKey>,
    /// Those that wait: by rank, and who has come first.
    queue: BTreeMap<(Rank, u64), ConfigId>,
    queued: BTreeMap<ConfigId, (Rank, u64)>,
    /// The number of the next in the queue.
    number: u64,
    under_way: BTreeMap<ConfigId, UnderWay>,
    reads: Tasks<ConfigId, kube::Result<Reading>>,
    put_off: PutOff,
}

impl Reader {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            key: None,
            queue: BTreeMap::new(),
            queued: BTreeMap::new(),
            number: 0,
            under_way: BTreeMap::new(),
            reads: Tasks::new(),
            put_off: PutOff::default(),
        }
    }

    /// Reads by another key from now on, and nothing that was asked for before.
    pub(super) fn forget(&mut self, key: DigestKey) {
        *self = Self { key: Some(key), ..Self::new(self.client.clone()) };
    }

    /// A version of one that is wanted was seen.
    pub(super) fn seen(&mut self, id: &ConfigId, version: Version, contents: &Contents) {
        let is_known = matches!(contents.get(id), Known::Present(object)
            if Version::new(&object.uid, &object.resource_version) == version);
        if !is_known {
            self.changed(id.clone(), contents);
        }
    }

    /// One that is wanted is gone; another of its name may be there.
    pub(super) fn gone(&mut self, id: &ConfigId, version: Version, contents: &Contents) {
        let is_other = matches!(contents.get(id), Known::Present(object) if !version.is_of(&object.uid));
        if !is_other {
            self.changed(id.clone(), contents);
        }
    }

    /// Reads one that has changed, once more where it is being read.
    pub(super) fn changed(&mut self, id: ConfigId, contents: &Contents) {
        let rank = match contents.get(&id) {
            Known::Present(_) | Known::Absent => Rank::Changed,
            Known::Unknown | Known::Unreadable(_) => Rank::New,
        };
        self.read(id, rank);
    }

    /// Reads one that is not known, unless it is being read.
    pub(super) fn want(&mut self, id: ConfigId) {
        if self.under_way.get(&id).is_none_or(|under_way| under_way.is_dropped) {
            self.read(id, Rank::New);
        }
    }

    fn read(&mut self, id: ConfigId, rank: Rank) {
        if let Some(under_way) = self.under_way.get_mut(&id) {
            under_way.again = Some(under_way.again.map_or(rank, |before| before.min(rank)));
            return;
        }
        self.put_off.remove(&id);
        match self.queued.get(&id) {
            Some((before, _)) if *before <= rank => {}
            before => {
                if let Some(before) = before {
                    self.queue.remove(before);
                }
                let place = (rank, self.number);
                self.number += 1;
                self.queue.insert(place, id.clone());
                self.queued.insert(id, place);
            }
        }
        self.begin();
    }

    /// One is not wanted any more.
    pub(super) fn unwanted(&mut self, id: &ConfigId) {
        self.put_off.remove(id);
        if let Some(place) = self.queued.remove(id) {
            self.queue.remove(&place);
        }
        if let Some(under_way) = self.under_way.get_mut(id) {
            under_way.again = None;
            under_way.is_dropped = true;
        }
    }

    /// What was read next; nothing where it could not be read, which is tried again. Never ends.
    pub(super) async fn next(&mut self) -> (ConfigId, Option<Reading>) {
        loop {
            while let Some((id, rank)) = self.put_off.take_due(Instant::now()) {
                self.read(id, rank);
            }
            let due = self.put_off.next();
            let due = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some((id, result)) = self.reads.next() => {
                    if let Some(read) = self.ended(id, result) {
                        return read;
                    }
                }
                () = due => {}
            }
        }
    }

    /// Takes in what was read, no result where that has broken off. Nothing is told where it is dropped.
    fn ended(&mut self, id: ConfigId, result: Option<kube::Result<Reading>>) -> Option<(ConfigId, Option<Reading>)> {
        let under_way = self.under_way.remove(&id)?;
        let reading = match result {
            Some(Ok(reading)) => Some(reading),
            Some(Err(error)) => {
                tracing::warn!(object = %id, %error, "not read; it is tried again");
                None
            }
            None => None,
        };
        if !under_way.is_dropped {
            let now = Instant::now();
            match &reading {
                Some(Reading::Unreadable(_)) => self.put_off.put(id.clone(), Rank::New, now + REFUSED),
                Some(_) => {}
                None => self.put_off.put(id.clone(), under_way.rank, now + RETRY),
            }
        }
        if let Some(rank) = under_way.again {
            self.read(id.clone(), rank);
        }
        self.begin();
        (!under_way.is_dropped).then_some((id, reading))
    }

    fn begin(&mut self) {
        let Some(key) = &self.key else { return };
        while self.reads.len() < READS_AT_ONCE
            && let Some(((rank, _), id)) = self.queue.pop_first()
        {
            self.queued.remove(&id);
            self.under_way.insert(id.clone(), UnderWay { rank, again: None, is_dropped: false });
            let (client, key) = (self.client.clone(), key.clone());
            self.reads.spawn(id.clone(), async move {
                let read = tokio::time::timeout(DEADLINE, read_config(&client, &id, &key)).await;
                read.unwrap_or_else(|_| Err(kube::Error::Service("no answer in time".into())))
            });
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use immutable_core::rules::ConfigKind;
    use immutable_core::world::ConfigKey;

    use super::*;

    fn reader() -> Reader {
        let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        Reader::new(Client::try_from(config).unwrap())
    }

    /// With a key, so that reads begin.
    fn reading() -> Reader {
        let mut reader = reader();
        reader.forget(DigestKey::from_bytes(&[7; DigestKey::LENGTH]).unwrap());
        reader
    }

    fn id(name: &str) -> ConfigId {
        let key = ConfigKey { namespace: "shop".to_owned(), name: name.to_owned() };
        ConfigId { kind: ConfigKind::ConfigMap, key }
    }

    #[tokio::test]
    async fn what_has_changed_is_read_before_what_is_new() {
        let mut reader = reader();
        for name in ["a", "b", "c"] {
            reader.want(id(name));
        }
        reader.read(id("changed"), Rank::Changed);
        // One that waits already gets before those that it waited behind, and each waits once.
        reader.read(id("c"), Rank::Changed);
        reader.want(id("c"));
        reader.unwanted(&id("b"));
        let order: Vec<_> = reader.queue.values().map(|id| id.key.name.as_str()).collect();
        assert_eq!(order, ["changed", "c", "a"]);
        assert_eq!(reader.queued.len(), 3);
    }

    #[tokio::test]
    async fn so_many_are_read_at_once_and_no_more() {
        let mut reader = reading();
        for number in 0..20 {
            reader.want(id(&format!("app-{number}")));
        }
        assert_eq!((reader.under_way.len(), reader.queue.len()), (READS_AT_ONCE, 20 - READS_AT_ONCE));
    }

    #[tokio::test]
    async fn what_may_not_be_read_is_put_off_once_and_only_while_it_is_wanted() {
        let mut reader = reading();
        for _ in 0..3 {
            reader.read(id("app"), Rank::New);
            assert_eq!(reader.put_off.next(), None);
            let reading = reader.ended(id("app"), Some(Ok(Reading::Unreadable("no".to_owned()))));
            assert!(matches!(reading, Some((_, Some(Reading::Unreadable(_))))));
        }
        assert!(reader.put_off.next().is_some());
        reader.unwanted(&id("app"));
        assert_eq!(reader.put_off.next(), None);
    }

    #[tokio::test]
    async fn what_was_not_wanted_for_a_time_is_read_anew() {
        let mut reader = reading();
        let once = UnderWay { rank: Rank::New, again: None, is_dropped: false };
        reader.want(id("app"));
        reader.unwanted(&id("app"));
        assert!(reader.ended(id("app"), Some(Ok(Reading::Absent))).is_none());
        assert!(reader.under_way.is_empty());
        reader.want(id("app"));
        // Wanted twice while it is read, it is read once.
        reader.want(id("app"));
        assert_eq!(reader.under_way[&id("app")], once);
        reader.unwanted(&id("app"));
        reader.want(id("app"));
        assert!(reader.ended(id("app"), Some(Ok(Reading::Absent))).is_none());
        assert_eq!(reader.under_way[&id("app")], once);
        assert!(matches!(reader.ended(id("app"), Some(Ok(Reading::Absent))), Some((_, Some(Reading::Absent)))));
    }

    #[tokio::test]
    async fn a_read_that_breaks_off_is_tried_again() {
        let mut reader = reading();
        reader.want(id("app"));
        assert!(matches!(reader.ended(id("app"), None), Some((_, None))));
        assert!(reader.put_off.next().is_some());
    }
}
