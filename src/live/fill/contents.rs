//! What workloads refer to, read one by one, a few at a time.

use futures::stream::{self, StreamExt as _};
use immutable_core::references::digest::DigestKey;
use immutable_core::world::{Change, ConfigId, Reading, Touched, World};

use super::{ListError, Lists};
use crate::live::{DIGEST_KEY_NAME, DigestKeyError, read_config, read_digest_key};

/// How many are read at once.
const READS_AT_ONCE: usize = 16;

/// What there is of the key of digests.
pub(crate) enum StoredKey {
    /// It is this one.
    Known(DigestKey),
    /// There is none: no digest was ever written by it, or none that will be compared.
    Absent,
    /// It cannot be had, and why.
    Refused(String),
}

impl Lists {
    /// The key of digests.
    ///
    /// # Errors
    /// The API server does not answer.
    pub(crate) async fn digest_key(&self, operator_namespace: &str) -> anyhow::Result<StoredKey> {
        let read = tokio::time::timeout(self.timeout, read_digest_key(&self.client, operator_namespace)).await;
        let refused = |why: &str| StoredKey::Refused(format!("Secret {operator_namespace}/{DIGEST_KEY_NAME}: {why}"));
        match read {
            Err(_) => Err(self.no_answer_in_time()),
            Ok(Ok(bytes)) => {
                Ok(DigestKey::from_bytes(&bytes).map_or_else(|| refused("it is no key"), StoredKey::Known))
            }
            Ok(Err(DigestKeyError::Absent)) => Ok(StoredKey::Absent),
            Ok(Err(DigestKeyError::Refused(_, kube::Error::Api(status)))) => Ok(refused(&status.message)),
            Ok(Err(error @ DigestKeyError::Refused(..))) => Err(anyhow::Error::new(error)),
            Ok(Err(error @ DigestKeyError::Invalid { .. })) => Ok(StoredKey::Refused(error.to_string())),
        }
    }

    /// Tells the world what ConfigMaps and Secrets hold, as digests; what may not be read is told, too.
    ///
    /// # Errors
    /// The API server does not answer.
    pub(crate) async fn contents(
        &self,
        ids: Vec<ConfigId>,
        key: &DigestKey,
        world: &mut World,
    ) -> anyhow::Result<Touched> {
        let read = |id: ConfigId| async move {
            let reading = self.within(read_config(&self.client, &id, key)).await;
            (id, reading)
        };
        let mut reads = stream::iter(ids).map(read).buffer_unordered(READS_AT_ONCE);
        let mut touched = Touched::default();
        while let Some((id, reading)) = reads.next().await {
            let reading = match reading {
                Ok(reading) => reading,
                Err(ListError::NotServed) => Reading::Absent,
                Err(ListError::Refused(why)) => Reading::Unreadable(why),
                Err(ListError::NoAnswer(error)) => return Err(error),
            };
            touched.merge(world.apply(Change::Content(id, Some(reading))));
        }
        Ok(touched)
    }
}
