//! Every kind that carries pods, as the API server serves it, and what is kept of its objects.

use super::dynamic::dynamic_resource;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use immutable_core::workload::{CustomWorkload, Kind, PodFacts, Rollout, Workload, WorkloadKind};
use immutable_core::world::{Content, Object, WorkloadKey};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use kube::api::{ApiResource, ObjectMeta};
use kube::core::GroupVersionKind;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// An object of any kind as JSON text, with what is asked of its metadata: of most objects nothing more is read. The
/// text is dropped as soon as it is narrowed.
#[derive(Clone, Debug)]
pub(crate) struct RawObject {
    metadata: ObjectMeta,
    text: Box<RawValue>,
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        struct Head {
            #[serde(deserialize_with = "narrow_metadata")]
            metadata: ObjectMeta,
        }
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let Head { metadata } = serde_json::from_str(text.get()).map_err(serde::de::Error::custom)?;
        Ok(Self { metadata, text })
    }
}

/// What is asked of metadata, and nothing else: managedFields are most of it.
pub(crate) fn narrow_metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct NarrowMetadata {
        name: Option<String>,
        namespace: Option<String>,
        uid: Option<String>,
        resource_version: Option<String>,
        owner_references: Option<Vec<OwnerReference>>,
    }
    let metadata = NarrowMetadata::deserialize(deserializer)?;
    Ok(ObjectMeta {
        name: metadata.name,
        namespace: metadata.namespace,
        uid: metadata.uid,
        resource_version: metadata.resource_version,
        owner_references: metadata.owner_references,
        ..ObjectMeta::default()
    })
}

dynamic_resource!(RawObject, metadata);

/// A kind that carries pods.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Served {
    /// What it is.
    pub kind: WorkloadKind,
    /// The plural by which it is served.
    pub resource: String,
    /// Where a custom resource has its pod templates.
    pod_templates: Vec<String>,
}

impl Served {
    /// The built-in kinds and these custom ones.
    pub(crate) fn all(custom: &[CustomWorkload]) -> Vec<Self> {
        let built_in = Kind::ALL.iter().map(|kind| Self {
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
        let of_custom = of_custom.into_iter().map(|((api_version, kind, resource), pod_templates)| Self {
            kind: WorkloadKind::Custom { api_version, kind },
            resource,
            pod_templates,
        });
        built_in.chain(of_custom).collect()
    }

    /// Whether built-in controllers make objects of it, of which there are most.
    pub(crate) fn is_made(&self) -> bool {
        self.kind.built_in().is_some_and(|kind| MADE.contains(&kind))
    }

    /// How the API server is asked for it.
    pub(crate) fn api_resource(&self) -> ApiResource {
        let api_version = self.kind.api_version();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let gvk = GroupVersionKind::gvk(group, version, self.kind.name());
        ApiResource::from_gvk_with_plural(&gvk, &self.resource)
    }

    /// A reader of its objects, which keeps what built-in controllers make, or not.
    pub(crate) fn reader(&self, keeps_what_is_made: Arc<AtomicBool>) -> Reader {
        let custom = match &self.kind {
            WorkloadKind::BuiltIn(_) => None,
            WorkloadKind::Custom { api_version, kind } => Some(CustomWorkload {
                api_version: api_version.clone(),
                kind: kind.clone(),
                resource: self.resource.clone(),
                pod_templates: self.pod_templates.clone(),
                controller_user: None,
            }),
        };
        Reader { kind: self.kind.clone(), custom, keeps_what_is_made }
    }
}

/// Kinds that controllers make.
const MADE: [Kind; 3] = [Kind::Pod, Kind::ReplicaSet, Kind::Job];

/// Reads objects of one kind.
pub(crate) struct Reader {
    kind: WorkloadKind,
    custom: Option<CustomWorkload>,
    keeps_what_is_made: Arc<AtomicBool>,
}

impl Reader {
    /// What is kept of an object.
    pub(crate) fn read(&self, object: RawObject) -> (WorkloadKey, Object) {
        let RawObject { metadata, text } = object;
        let key = WorkloadKey {
            kind: self.kind.clone(),
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
        };
        let owners = metadata.owner_references.unwrap_or_default();
        let controller = owners.into_iter().find(|owner| owner.controller == Some(true));
        // Anyone can write ownerReferences; one that no controller would write makes nothing of it.
        let is_made = controller.as_ref().is_some_and(|controller| {
            let owner = Kind::named(&controller.kind).filter(|kind| kind.api_version() == controller.api_version);
            owner.and_then(Kind::makes).is_some_and(|makes| self.kind.built_in() == Some(makes))
        });
        let mut rollout = None;
        let content = if is_made && !self.keeps_what_is_made.load(Ordering::Relaxed) {
            Content::Made
        } else {
            let custom: Vec<&CustomWorkload> = self.custom.iter().collect();
            let value: Value = serde_json::from_str(text.get()).unwrap_or_default();
            match Workload::read(&value, self.kind.api_version(), self.kind.name(), &custom) {
                Ok(Some(workload)) => {
                    let pointers = self.custom.as_ref().map_or(&[][..], |custom| &custom.pod_templates);
                    let read = Rollout::read(&value, &self.kind, pointers);
                    let reads_config = |rollout: &Rollout| rollout.reloader.is_some() || workload.reads_config();
                    rollout = read.filter(reads_config).map(Box::new);
                    Content::Known(Box::new(workload))
                }
                Ok(None) => Content::Unreadable(format!("{} carries no pods", self.kind)),
                Err(error) => Content::Unreadable(format!("{}: {error}", error.pointer())),
            }
        };
        let is_pod = self.kind.built_in() == Some(Kind::Pod);
        let pod = is_pod.then(|| serde_json::from_str::<PodFacts>(text.get()).unwrap_or_default());
        let uid = metadata.uid.unwrap_or_default();
        (key, Object { uid, controller: controller.map(|controller| controller.uid), content, rollout, pod })
    }
}
