//! Reads the ConfigMaps and Secrets that are wanted, each once for each of its versions, a few at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use immutable_core::references::digest::DigestKey;
use immutable_core::world::{ConfigId, Contents, Known, Reading};
use kube::Client;
use tokio::task::JoinSet;

use super::watch::Version;
use crate::live::read_config;

/// How many are read at once: each takes a connection, and what it may hold.
const READS_AT_ONCE: usize = 6;
/// How long a read may take; the client's own patience is longer.
const DEADLINE: Duration = Duration::from_secs(15);
/// How long a read that failed is put off.
const RETRY: Duration = Duration::from_secs(2);
/// What may not be read is asked for again: rights may be given at any time.
const REFUSED: Duration = Duration::from_secs(30);

/// The reader.
pub(super) struct Reader {
    client: Client,
    key: Option<DigestKey>,
    queue: VecDeque<ConfigId>,
    queued: BTreeSet<ConfigId>,
    /// Those that are being read, and whether they have changed since.
    under_way: BTreeMap<ConfigId, bool>,
    reads: JoinSet<(ConfigId, u64, kube::Result<Reading>)>,
    later: JoinSet<ConfigId>,
    /// Grows with every key: what was read by another one is dropped.
    generation: u64,
}

impl Reader {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            key: None,
            queue: VecDeque::new(),
            queued: BTreeSet::new(),
            under_way: BTreeMap::new(),
            reads: JoinSet::new(),
            later: JoinSet::new(),
            generation: 0,
        }
    }

    /// Reads by another key from now on, and nothing that was asked for before.
    pub(super) fn forget(&mut self, key: DigestKey) {
        let client = self.client.clone();
        let generation = self.generation + 1;
        *self = Self { key: Some(key), generation, ..Self::new(client) };
    }

    /// A version of one that is wanted was seen.
    pub(super) fn seen(&mut self, id: &ConfigId, version: Version, contents: &Contents) {
        let is_known = matches!(contents.get(id), Known::Present(object)
            if Version::new(&object.uid, &object.resource_version) == version);
        if !is_known {
            self.read(id.clone());
        }
    }

    /// One that is wanted is gone; another of its name may be there.
    pub(super) fn gone(&mut self, id: &ConfigId, version: Version, contents: &Contents) {
        let is_other = matches!(contents.get(id), Known::Present(object) if !version.is_of(&object.uid));
        if !is_other {
            self.read(id.clone());
        }
    }

    /// Reads one that is not known, unless it is being read.
    pub(super) fn want(&mut self, id: ConfigId) {
        if !self.under_way.contains_key(&id) {
            self.read(id);
        }
    }

    /// Reads one, or once more where it is being read.
    pub(super) fn read(&mut self, id: ConfigId) {
        if let Some(again) = self.under_way.get_mut(&id) {
            *again = true;
        } else if self.queued.insert(id.clone()) {
            self.queue.push_back(id);
        }
        self.begin();
    }

    /// One is not wanted any more.
    pub(super) fn unwanted(&mut self, id: &ConfigId) {
        if self.queued.remove(id) {
            self.queue.retain(|queued| queued != id);
        }
    }

    /// What was read next; nothing where it could not be read, which is tried again. Never ends.
    pub(super) async fn next(&mut self) -> (ConfigId, Option<Reading>) {
        loop {
            tokio::select! {
                Some(read) = self.reads.join_next() => {
                    if let Ok((id, generation, result)) = read
                        && generation == self.generation
                    {
                        return self.ended(id, result);
                    }
                }
                Some(Ok(id)) = self.later.join_next() => self.read(id),
                else => std::future::pending().await,
            }
        }
    }

    fn ended(&mut self, id: ConfigId, result: kube::Result<Reading>) -> (ConfigId, Option<Reading>) {
        let again = self.under_way.remove(&id).unwrap_or_default();
        let reading = match result {
            Ok(reading) => {
                if matches!(reading, Reading::Unreadable(_)) {
                    self.put_off(id.clone(), REFUSED);
                }
                Some(reading)
            }
            Err(error) => {
                tracing::warn!(object = %id, %error, "not read; it is tried again");
                self.put_off(id.clone(), RETRY);
                None
            }
        };
        if again {
            self.read(id.clone());
        }
        self.begin();
        (id, reading)
    }

    fn put_off(&mut self, id: ConfigId, time: Duration) {
        self.later.spawn(async move {
            tokio::time::sleep(time).await;
            id
        });
    }

    fn begin(&mut self) {
        let Some(key) = &self.key else { return };
        while self.reads.len() < READS_AT_ONCE
            && let Some(id) = self.queue.pop_front()
        {
            self.queued.remove(&id);
            self.under_way.insert(id.clone(), false);
            let (client, key, generation) = (self.client.clone(), key.clone(), self.generation);
            self.reads.spawn(async move {
                let read = tokio::time::timeout(DEADLINE, read_config(&client, &id, &key)).await;
                let result = read.unwrap_or_else(|_| Err(kube::Error::Service("no answer in time".into())));
                (id, generation, result)
            });
        }
    }
}
