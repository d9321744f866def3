//! Watches of everything that carries pods, one a kind: a kind that is forbidden or missing does not stop the others.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::stream::{BoxStream, SelectAll, StreamExt};
use immutable_core::rules::ConfigKind;
use immutable_core::workload::{CustomWorkload, Kind, Workload, WorkloadKind};
use immutable_core::world::{self, ConfigKey, Content, Object, WorkloadKey};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{Api, ApiResource, ObjectMeta};
use kube::core::{DynamicResourceScope, GroupVersionKind, NamespaceResourceScope};
use kube::runtime::watcher;
use kube::{Client, Resource};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::cluster::Change;
use super::watch::{PAGE_SIZE, changes};

/// An object of any kind as JSON text, with what is asked of its metadata: of most objects nothing more is read. The
/// text is dropped as soon as it is narrowed.
#[derive(Clone, Debug)]
pub(super) struct RawObject {
    metadata: ObjectMeta,
    text: Box<RawValue>,
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Head {
            metadata: NarrowMetadata,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct NarrowMetadata {
            name: Option<String>,
            namespace: Option<String>,
            uid: Option<String>,
            resource_version: Option<String>,
            owner_references: Option<Vec<OwnerReference>>,
        }
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let Head { metadata } = serde_json::from_str(text.get()).map_err(serde::de::Error::custom)?;
        let metadata = ObjectMeta {
            name: metadata.name,
            namespace: metadata.namespace,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            owner_references: metadata.owner_references,
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, text })
    }
}

impl Resource for RawObject {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> Cow<'_, str> {
        resource.kind.as_str().into()
    }

    fn group(resource: &ApiResource) -> Cow<'_, str> {
        resource.group.as_str().into()
    }

    fn version(resource: &ApiResource) -> Cow<'_, str> {
        resource.version.as_str().into()
    }

    fn plural(resource: &ApiResource) -> Cow<'_, str> {
        resource.plural.as_str().into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// A ConfigMap without what it holds.
#[derive(Clone, Debug, Deserialize)]
struct ConfigMap {
    metadata: ObjectMeta,
    #[serde(default)]
    immutable: bool,
}

impl Resource for ConfigMap {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        "ConfigMap".into()
    }

    fn group((): &()) -> Cow<'_, str> {
        "".into()
    }

    fn version((): &()) -> Cow<'_, str> {
        "v1".into()
    }

    fn plural((): &()) -> Cow<'_, str> {
        "configmaps".into()
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// How many ConfigMaps a list asks for at once: each may be of 1 MiB.
const CONFIG_PAGE_SIZE: u32 = 20;

/// A kind that is watched.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Watched {
    kind: WorkloadKind,
    resource: String,
    /// Where a custom resource has its pod templates.
    pod_templates: Vec<String>,
}

/// Every watch of what carries pods.
pub(super) struct Workloads {
    client: Client,
    streams: SelectAll<BoxStream<'static, world::Change>>,
    running: BTreeMap<Watched, CancellationToken>,
    keeps_what_is_made: Arc<AtomicBool>,
    /// Ends the watch of ConfigMaps, where a policy asks for it.
    config_maps: Option<DropGuard>,
}

impl Workloads {
    /// Watches of the built-in kinds.
    pub(super) fn new(client: Client) -> Self {
        let mut workloads = Self {
            client,
            streams: SelectAll::new(),
            running: BTreeMap::new(),
            keeps_what_is_made: Arc::default(),
            config_maps: None,
        };
        drop(workloads.follow(&[], false));
        workloads
    }

    /// Watches ConfigMaps, or no longer.
    pub(super) fn follow_config_maps(&mut self, wanted: bool) {
        if !wanted {
            self.config_maps = None;
        } else if self.config_maps.is_none() {
            let end = CancellationToken::new();
            let api: Api<ConfigMap> = Api::all(self.client.clone());
            let config = watcher::Config::default().page_size(CONFIG_PAGE_SIZE);
            let kind = ConfigKind::ConfigMap;
            let stream = changes(api, config, kind.resource(), |config_map: ConfigMap| {
                let ObjectMeta { namespace, name, .. } = config_map.metadata;
                let key = ConfigKey { namespace: namespace.unwrap_or_default(), name: name.unwrap_or_default() };
                (key, config_map.immutable)
            });
            let stream = stream.map(move |change| match change {
                Change::Apply((key, immutable)) => world::Change::Config(kind, key, Some(immutable)),
                Change::Delete((key, _)) => world::Change::Config(kind, key, None),
                Change::Reset(all) => world::Change::Configs(kind, all),
                Change::Failed(why) => world::Change::UnknownConfigs(kind, why),
            });
            let ended = end.clone();
            self.streams.push(stream.take_until(async move { ended.cancelled().await }).boxed());
            self.config_maps = Some(end.drop_guard());
        }
    }

    /// Watches the built-in kinds and these custom ones, and no others; returns what is watched no more. What built-in
    /// controllers make is kept with all that is judged, or without; where it is wanted now and was not before, it is
    /// listed anew.
    pub(super) fn follow(&mut self, custom: &[CustomWorkload], keeps_what_is_made: bool) -> Vec<WorkloadKind> {
        let built_in = Kind::ALL.iter().map(|kind| Watched {
            kind: WorkloadKind::BuiltIn(*kind),
            resource: kind.resource().to_owned(),
            pod_templates: Vec::new(),
        });
        let mut of_custom: BTreeMap<(String, String, String), Vec<String>> = BTreeMap::new();
        for custom in custom {
            let key = (custom.api_version.clone(), custom.kind.clone(), custom.resource.clone());
            let pointers = of_custom.entry(key).or_default();
            pointers.extend(custom.pod_templates.iter().cloned());
            pointers.sort_unstable();
            pointers.dedup();
        }
        let of_custom = of_custom.into_iter().map(|((api_version, kind, resource), pod_templates)| Watched {
            kind: WorkloadKind::Custom { api_version, kind },
            resource,
            pod_templates,
        });
        let wanted: Vec<Watched> = built_in.chain(of_custom).collect();
        let kept_before = self.keeps_what_is_made.swap(keeps_what_is_made, Ordering::Relaxed);
        let is_listed_anew = |watched: &Watched| {
            keeps_what_is_made && !kept_before && watched.kind.built_in().is_some_and(|kind| MADE.contains(&kind))
        };
        let mut dropped = Vec::new();
        self.running.retain(|watched, running| {
            let stays = wanted.contains(watched) && !is_listed_anew(watched);
            if !stays {
                running.cancel();
                dropped.push(watched.kind.clone());
            }
            stays
        });
        for watched in wanted {
            if !self.running.contains_key(&watched) {
                let end = CancellationToken::new();
                self.streams.push(self.stream(&watched, end.clone()));
                self.running.insert(watched, end);
            }
        }
        dropped.retain(|kind| !self.running.keys().any(|watched| watched.kind == *kind));
        dropped
    }

    /// The kinds that are watched.
    pub(super) fn kinds(&self) -> impl Iterator<Item = &WorkloadKind> {
        self.running.keys().map(|watched| &watched.kind)
    }

    /// The next change; never ends.
    pub(super) async fn next(&mut self) -> world::Change {
        match self.streams.next().await {
            Some(change) => change,
            None => std::future::pending().await,
        }
    }

    fn stream(&self, watched: &Watched, end: CancellationToken) -> BoxStream<'static, world::Change> {
        let (api_version, name) = (watched.kind.api_version(), watched.kind.name());
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let gvk = GroupVersionKind::gvk(group, version, name);
        let resource = ApiResource::from_gvk_with_plural(&gvk, &watched.resource);
        let api: Api<RawObject> = Api::all_with(self.client.clone(), &resource);
        let reader = Reader {
            kind: watched.kind.clone(),
            custom: match &watched.kind {
                WorkloadKind::BuiltIn(_) => None,
                WorkloadKind::Custom { api_version, kind } => Some(CustomWorkload {
                    api_version: api_version.clone(),
                    kind: kind.clone(),
                    resource: watched.resource.clone(),
                    pod_templates: watched.pod_templates.clone(),
                    controller_user: None,
                }),
            },
            keeps_what_is_made: Arc::clone(&self.keeps_what_is_made),
        };
        let kind = watched.kind.clone();
        let config = watcher::Config::default().page_size(PAGE_SIZE);
        changes(api, config, &watched.resource, move |object| reader.read(object))
            .map(move |change| match change {
                Change::Apply((key, object)) => world::Change::Workload(key, Some(object)),
                Change::Delete((key, _)) => world::Change::Workload(key, None),
                Change::Reset(objects) => world::Change::Workloads(kind.clone(), objects),
                Change::Failed(why) => world::Change::Unwatched(kind.clone(), why),
            })
            .take_until(async move { end.cancelled().await })
            .boxed()
    }
}

/// Kinds that controllers make, of which there are most.
const MADE: [Kind; 3] = [Kind::Pod, Kind::ReplicaSet, Kind::Job];

/// Reads objects of one kind.
struct Reader {
    kind: WorkloadKind,
    custom: Option<CustomWorkload>,
    keeps_what_is_made: Arc<AtomicBool>,
}

impl Reader {
    /// What is kept of an object.
    fn read(&self, object: RawObject) -> (WorkloadKey, Object) {
        let RawObject { metadata, text } = object;
        let key = WorkloadKey {
            kind: self.kind.clone(),
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
        };
        let owners = metadata.owner_references.unwrap_or_default();
        let controller = owners.into_iter().find(|owner| owner.controller == Some(true));
        let is_made = controller.as_ref().is_some_and(|controller| {
            let kind = Kind::named(&controller.kind);
            kind.is_some_and(|kind| kind.api_version() == controller.api_version)
        });
        let content = if is_made && !self.keeps_what_is_made.load(Ordering::Relaxed) {
            Content::Made
        } else {
            let custom: Vec<&CustomWorkload> = self.custom.iter().collect();
            let value: Value = serde_json::from_str(text.get()).unwrap_or_default();
            match Workload::read(&value, self.kind.api_version(), self.kind.name(), &custom) {
                Ok(Some(workload)) => Content::Known(Box::new(workload)),
                Ok(None) => Content::Unreadable(format!("{} carries no pods", self.kind)),
                Err(error) => Content::Unreadable(format!("{}: {error}", error.pointer())),
            }
        };
        let uid = metadata.uid.unwrap_or_default();
        (key, Object { uid, controller: controller.map(|controller| controller.uid), content })
    }
}
