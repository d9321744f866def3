//! Watches of ConfigMaps and Secrets: of their metadata alone, of which the version is kept until it is read.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use futures::stream::{BoxStream, SelectAll, StreamExt};
use immutable_core::rules::ConfigKind;
use immutable_core::world::{ConfigId, ConfigKey};
use kube::Client;
use kube::api::{Api, ObjectMeta};
use kube::runtime::watcher;
use serde::Deserialize;

use crate::live::{config_resource, dynamic_resource};
use crate::operator::cluster::Change;
use crate::operator::watch::changes;
use crate::telemetry::Metrics;

/// How many a list asks for at once.
const PAGE_SIZE: u32 = 100;

/// Which version of an object there is. There may be many thousands at once, of which most are dropped: a hash of what
/// names it is enough to tell one from the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::operator) struct Version {
    uid: u64,
    version: u64,
}

impl Version {
    /// The version of an object by its uid and resourceVersion.
    pub(super) fn new(uid: &str, resource_version: &str) -> Self {
        Self { uid: hash(uid), version: hash(resource_version) }
    }

    /// Whether both are of one object.
    pub(super) fn is_of(self, uid: &str) -> bool {
        self.uid == hash(uid)
    }
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// What a watch tells.
pub(in crate::operator) enum ConfigEvent {
    /// It came or changed.
    Seen(ConfigId, Version),
    /// This one is gone.
    Gone(ConfigId, Version),
    /// These and no others are there.
    All(ConfigKind, Vec<(ConfigKey, Version)>),
}

/// A ConfigMap or Secret as it is watched: the API server sends its metadata alone, and of that nothing else is read.
#[derive(Clone, Debug, Deserialize)]
struct Head {
    #[serde(deserialize_with = "crate::live::narrow_metadata")]
    metadata: ObjectMeta,
}

dynamic_resource!(Head, metadata, metadata_api = true);

/// Both watches.
pub(super) struct ConfigWatch {
    streams: SelectAll<BoxStream<'static, ConfigEvent>>,
}

impl ConfigWatch {
    pub(super) fn new(client: &Client, metrics: &Metrics) -> Self {
        let mut streams = SelectAll::new();
        for kind in ConfigKind::ALL {
            let api: Api<Head> = Api::all_with(client.clone(), &config_resource(kind));
            let config = watcher::Config::default().page_size(PAGE_SIZE);
            let counted = (kind.resource(), metrics.watch_errors(kind.name()));
            let stream = changes(api, config, counted, |head| narrow(head.metadata));
            streams.push(stream.filter_map(move |change| std::future::ready(event(kind, change))).boxed());
        }
        Self { streams }
    }

    /// The next event; never ends.
    pub(super) async fn next(&mut self) -> ConfigEvent {
        match self.streams.next().await {
            Some(event) => event,
            None => std::future::pending().await,
        }
    }
}

fn narrow(metadata: ObjectMeta) -> (ConfigKey, Version) {
    let uid = metadata.uid.unwrap_or_default();
    let version = Version::new(&uid, &metadata.resource_version.unwrap_or_default());
    let key = ConfigKey { namespace: metadata.namespace.unwrap_or_default(), name: metadata.name.unwrap_or_default() };
    (key, version)
}

fn event(kind: ConfigKind, change: Change<(ConfigKey, Version)>) -> Option<ConfigEvent> {
    match change {
        Change::Apply((key, version)) => Some(ConfigEvent::Seen(ConfigId { kind, key }, version)),
        Change::Delete((key, version)) => Some(ConfigEvent::Gone(ConfigId { kind, key }, version)),
        Change::Reset(all) => Some(ConfigEvent::All(kind, all)),
        // What is referred to is read all the same, and says why it cannot be.
        Change::Failed(_) => None,
    }
}
