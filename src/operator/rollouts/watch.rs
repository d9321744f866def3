//! Watches of ConfigMaps and Secrets: of their metadata alone, of which the version is kept until it is read.

use std::collections::BTreeMap;

use futures::stream::{BoxStream, SelectAll, StreamExt};
use immutable_core::rules::ConfigKind;
use immutable_core::world::{ConfigId, ConfigKey};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Client;
use kube::api::{Api, ObjectMeta, PartialObjectMeta};
use kube::runtime::watcher;

use crate::operator::cluster::Change;
use crate::operator::watch::changes;
use crate::telemetry::Metrics;

/// How many a list asks for at once.
const PAGE_SIZE: u32 = 250;

/// Which version of an object there is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::operator) struct Version {
    pub uid: Box<str>,
    pub resource_version: Box<str>,
}

/// What a watch tells.
pub(in crate::operator) enum ConfigEvent {
    /// It came or changed.
    Seen(ConfigId, Version),
    /// The one of this uid is gone.
    Gone(ConfigId, Box<str>),
    /// These and no others are there.
    All(ConfigKind, BTreeMap<ConfigKey, Version>),
}

/// Both watches.
pub(super) struct ConfigWatch {
    streams: SelectAll<BoxStream<'static, ConfigEvent>>,
}

impl ConfigWatch {
    pub(super) fn new(client: &Client, metrics: &Metrics) -> Self {
        let config = || watcher::Config::default().page_size(PAGE_SIZE);
        // Helm keeps every release of every chart in a Secret, which no pod reads.
        let secrets = config().fields("type!=helm.sh/release.v1");
        let config_maps: Api<PartialObjectMeta<ConfigMap>> = Api::all(client.clone());
        let all_secrets: Api<PartialObjectMeta<Secret>> = Api::all(client.clone());
        let counted = |kind: ConfigKind| (kind.resource(), metrics.watch_errors(kind.name()));
        let kind = ConfigKind::ConfigMap;
        let config_maps = changes(config_maps, config(), counted(kind), |object| narrow(object.metadata))
            .filter_map(move |change| std::future::ready(event(ConfigKind::ConfigMap, change)));
        let secrets = changes(all_secrets, secrets, counted(ConfigKind::Secret), |object| narrow(object.metadata))
            .filter_map(move |change| std::future::ready(event(ConfigKind::Secret, change)));
        let mut streams = SelectAll::new();
        streams.push(config_maps.boxed());
        streams.push(secrets.boxed());
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
    let key = ConfigKey { namespace: metadata.namespace.unwrap_or_default(), name: metadata.name.unwrap_or_default() };
    let uid = metadata.uid.unwrap_or_default().into();
    (key, Version { uid, resource_version: metadata.resource_version.unwrap_or_default().into() })
}

fn event(kind: ConfigKind, change: Change<(ConfigKey, Version)>) -> Option<ConfigEvent> {
    match change {
        Change::Apply((key, version)) => Some(ConfigEvent::Seen(ConfigId { kind, key }, version)),
        Change::Delete((key, version)) => Some(ConfigEvent::Gone(ConfigId { kind, key }, version.uid)),
        Change::Reset(all) => Some(ConfigEvent::All(kind, all.into_iter().collect())),
        // What is referred to is read all the same, and says why it cannot be.
        Change::Failed(_) => None,
    }
}
