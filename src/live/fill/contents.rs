//! What workloads refer to, read one by one, a few at a time.

use std::collections::BTreeSet;

use futures::stream::{self, StreamExt as _};
use immutable_core::references::digest::DigestKey;
use immutable_core::rules::ConfigKind;
use immutable_core::world::{Change, ConfigId, ConfigKey, Reading, Touched, World};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::api::{Api, ListParams, ObjectMeta};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource};
use serde::de::DeserializeOwned;

use super::{ListError, Lists, NOT_SERVED, PAGE_SIZE, Unlisted};
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

    /// Tells the world the names of ConfigMaps and Secrets; returns which could not be listed.
    ///
    /// # Errors
    /// The API server does not answer.
    pub(crate) async fn names(&self, world: &mut World) -> anyhow::Result<Vec<Unlisted>> {
        let mut unlisted = Vec::new();
        for kind in [ConfigKind::ConfigMap, ConfigKind::Secret] {
            let client = self.client.clone();
            let of = |object: ObjectMeta| ConfigKey {
                namespace: object.namespace.unwrap_or_default(),
                name: object.name.unwrap_or_default(),
            };
            let listed = match kind {
                ConfigKind::ConfigMap => self.metadata::<ConfigMap, _>(client, of).await,
                ConfigKind::Secret => self.metadata::<Secret, _>(client, of).await,
            };
            let why = match listed {
                Ok(all) => {
                    world.apply(Change::Names(kind, all));
                    continue;
                }
                Err(ListError::NotServed) => NOT_SERVED.to_owned(),
                Err(ListError::Refused(why)) => why,
                Err(ListError::NoAnswer(error)) => return Err(error),
            };
            unlisted.push(Unlisted { kind: format!("v1 {}", kind.name()), why });
        }
        Ok(unlisted)
    }

    /// The metadata of every object of a kind, narrowed.
    async fn metadata<K, T>(&self, client: Client, narrow: impl Fn(ObjectMeta) -> T) -> Result<Vec<T>, ListError>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    {
        let mut parameters = ListParams::default().limit(PAGE_SIZE);
        let api: Api<K> = match &self.namespace {
            Some(namespace) => Api::namespaced(client, namespace),
            None => Api::all(client),
        };
        let mut all = Vec::new();
        loop {
            let page = self.within(api.list_metadata(&parameters)).await?;
            all.extend(page.items.into_iter().map(|object| narrow(object.metadata)));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(all),
            }
        }
    }

    /// Tells the world what ConfigMaps and Secrets hold, as digests; what may not be read is told, too.
    ///
    /// # Errors
    /// The API server does not answer.
    pub(crate) async fn contents(
        &self,
        ids: BTreeSet<ConfigId>,
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
