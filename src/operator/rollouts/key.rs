//! The key of digests: a Secret that the operator makes once, beside itself. Without it nothing is compared; when it is
//! lost while the operator runs, it is written again, and when it is lost before, what is recorded is learned anew.

use std::time::Duration;

use immutable_core::references::digest::DigestKey;
use immutable_core::rules::ConfigKind;
use immutable_core::world::{ConfigId, ConfigKey};
use kube::Client;
use tokio::task::JoinSet;

use crate::live::{DIGEST_KEY_NAME, DigestKeyError, read_digest_key};
use crate::operator::write::Writer;

/// How long it is waited before the next attempt.
const RETRY: Duration = Duration::from_secs(2);
/// How long a look may take; the client's own patience is longer.
const DEADLINE: Duration = Duration::from_secs(15);

/// Keeps it.
pub(super) struct KeyKeeper {
    client: Client,
    writer: Writer,
    id: ConfigId,
    bytes: Option<Box<[u8]>>,
    /// What was found and has not been taken.
    found: Option<DigestKey>,
    looking: JoinSet<Result<Option<Box<[u8]>>, String>>,
    /// Whether it must be looked at.
    is_stale: bool,
}

impl KeyKeeper {
    pub(super) fn new(client: Client, writer: Writer, namespace: &str) -> Self {
        let key = ConfigKey { namespace: namespace.to_owned(), name: DIGEST_KEY_NAME.to_owned() };
        let id = ConfigId { kind: ConfigKind::Secret, key };
        Self { client, writer, id, bytes: None, found: None, looking: JoinSet::new(), is_stale: true }
    }

    /// It may have changed, or be gone.
    pub(super) fn seen(&mut self, id: &ConfigId) {
        self.is_stale |= *id == self.id;
    }

    /// All there are were listed anew: it may have changed or be gone, unnoticed.
    pub(super) fn all(&mut self, kind: ConfigKind) {
        self.is_stale |= kind == self.id.kind;
    }

    /// A key that is new.
    pub(super) fn take(&mut self) -> Option<DigestKey> {
        self.found.take()
    }

    /// Looks for it where that is due; the leader makes it where there is none.
    pub(super) fn look(&mut self, leads: bool) {
        if !self.is_stale || !self.looking.is_empty() {
            return;
        }
        self.is_stale = false;
        let (client, writer, id, known) =
            (self.client.clone(), self.writer.clone(), self.id.clone(), self.bytes.clone());
        self.looking.spawn(async move {
            let found = tokio::time::timeout(DEADLINE, find(&client, &writer, &id, known, leads)).await;
            let found = found.unwrap_or_else(|_| {
                Err(format!("{id}: the API server did not answer within {} s", DEADLINE.as_secs()))
            });
            if !matches!(found, Ok(Some(_))) {
                tokio::time::sleep(RETRY).await;
            }
            found
        });
    }

    /// Waits until a look has ended.
    pub(super) async fn next(&mut self) {
        match self.looking.join_next().await {
            Some(Ok(Ok(Some(bytes)))) => {
                if self.bytes.as_ref() != Some(&bytes) {
                    self.found = DigestKey::from_bytes(&bytes);
                    self.bytes = Some(bytes);
                }
            }
            Some(Ok(Ok(None))) => self.is_stale = true,
            Some(Ok(Err(message))) => {
                tracing::error!(%message, "no pods are replaced without the key of digests");
                self.is_stale = true;
            }
            Some(Err(error)) => {
                tracing::error!(%error, "the look for the key of digests has broken off");
                self.is_stale = true;
            }
            None => std::future::pending().await,
        }
    }
}

fn random() -> Result<Box<[u8]>, String> {
    let mut bytes = vec![0; DigestKey::LENGTH].into_boxed_slice();
    getrandom::fill(&mut bytes).map_err(|error| format!("the system gives no random bytes: {error}"))?;
    Ok(bytes)
}

/// The bytes of the key; none where they are to be looked for again.
async fn find(
    client: &Client,
    writer: &Writer,
    id: &ConfigId,
    known: Option<Box<[u8]>>,
    leads: bool,
) -> Result<Option<Box<[u8]>>, String> {
    let (namespace, name) = (&id.key.namespace, &id.key.name);
    match read_digest_key(client, namespace).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(DigestKeyError::Absent) if leads => {
            let bytes = match known {
                Some(known) => known,
                None => random()?,
            };
            match writer.create_digest_key(namespace, name, &bytes).await {
                Ok(()) => Ok(Some(bytes)),
                // Somebody was faster: it is read again.
                Err(error) if error.is_already_exists() => Ok(None),
                Err(error) => Err(format!("the key of digests cannot be created: {error}")),
            }
        }
        // The leader makes it.
        Err(DigestKeyError::Absent) => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::telemetry::Metrics;

    #[tokio::test]
    async fn it_is_looked_at_again_when_secrets_are_listed_anew() {
        let config = kube::Config::new("http://127.0.0.1:1".parse().unwrap());
        let client = Client::try_from(config).unwrap();
        let (_, leading) = tokio::sync::watch::channel(None);
        let writer = Writer::new(client.clone(), leading, "owner".to_owned(), Metrics::new().unwrap());
        let mut keeper = KeyKeeper::new(client, writer, "system");
        keeper.look(false);
        assert!(!keeper.is_stale);
        keeper.all(ConfigKind::ConfigMap);
        assert!(!keeper.is_stale);
        keeper.all(ConfigKind::Secret);
        assert!(keeper.is_stale);
    }
}
