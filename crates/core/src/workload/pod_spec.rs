//! The pod spec, as far as the rules read it.
//!
//! A narrow view: unknown fields are ignored, an explicit null is absent, as for the API server.

use crate::image::{ALL_IMAGES, LONGEST_IMAGE};
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

/// The list of a pod spec that a container stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ContainerType {
    /// `spec.containers`
    Container,
    /// `spec.initContainers`, sidecars among them
    InitContainer,
    /// `spec.ephemeralContainers`
    EphemeralContainer,
}

impl ContainerType {
    /// Every list, in the order in which findings are told.
    pub const ALL: [Self; 3] = [Self::Container, Self::InitContainer, Self::EphemeralContainer];

    /// The field of the pod spec.
    pub fn field(self) -> &'static str {
        match self {
            Self::Container => "containers",
            Self::InitContainer => "initContainers",
            Self::EphemeralContainer => "ephemeralContainers",
        }
    }

    /// How messages and reports name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::InitContainer => "initContainer",
            Self::EphemeralContainer => "ephemeralContainer",
        }
    }
}

/// What the rules read of a pod spec.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct PodSpec {
    /// `containers`
    #[serde(deserialize_with = "null_is_absent")]
    pub containers: Vec<Container>,
    /// `initContainers`
    #[serde(deserialize_with = "null_is_absent")]
    pub init_containers: Vec<Container>,
    /// `ephemeralContainers`
    #[serde(deserialize_with = "null_is_absent")]
    pub ephemeral_containers: Vec<Container>,
    /// `volumes`
    #[serde(deserialize_with = "null_is_absent")]
    pub volumes: Vec<Volume>,
    /// `securityContext` of the pod
    #[serde(deserialize_with = "null_is_absent")]
    pub security_context: SecurityContext,
    /// `resources` of the pod, shared by its containers
    #[serde(deserialize_with = "null_is_absent")]
    pub resources: Resources,
    /// `restartPolicy`; the API server's default is Always
    pub restart_policy: Option<String>,
    /// `os`
    pub os: Option<OperatingSystem>,
}

impl PodSpec {
    /// How many characters an image may have: fewer where there are many, since the API server's budget is charged by
    /// the length of all. Ephemeral containers come later and do not count.
    pub fn longest_image(&self) -> usize {
        let places = self.containers.len() + self.init_containers.len() + self.volumes.len();
        LONGEST_IMAGE.min(ALL_IMAGES / places.max(1))
    }

    /// The containers of one list.
    pub fn list(&self, container_type: ContainerType) -> &[Container] {
        match container_type {
            ContainerType::Container => &self.containers,
            ContainerType::InitContainer => &self.init_containers,
            ContainerType::EphemeralContainer => &self.ephemeral_containers,
        }
    }

    /// Every container with its list and its place in it: the one walk over all lists.
    pub fn all_containers(&self) -> impl Iterator<Item = (ContainerType, usize, &Container)> {
        ContainerType::ALL.into_iter().flat_map(|container_type| {
            self.list(container_type)
                .iter()
                .enumerate()
                .map(move |(index, container)| (container_type, index, container))
        })
    }

    /// Forgets variables at the end that refer to nothing: most do, and every place that is counted is before them.
    pub(crate) fn shrink(&mut self) {
        for containers in [&mut self.containers, &mut self.init_containers, &mut self.ephemeral_containers] {
            for container in containers {
                let last = container.env.iter().rposition(|variable| *variable != EnvVar::default());
                container.env.truncate(last.map_or(0, |last| last + 1));
                container.env.shrink_to_fit();
                container.volume_mounts.shrink_to_fit();
            }
        }
        self.volumes.shrink_to_fit();
    }

    /// Whether the pod says that it runs on Windows.
    pub fn is_windows(&self) -> bool {
        self.os.as_ref().is_some_and(|os| os.name == "windows")
    }

    /// Whether finished containers are started again, so that the pod serves until it is replaced.
    pub fn restarts_always(&self) -> bool {
        self.restart_policy.as_deref().is_none_or(|policy| policy.is_empty() || policy == "Always")
    }
}

/// `spec.os`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct OperatingSystem {
    /// `linux` or `windows`
    #[serde(deserialize_with = "null_is_absent")]
    pub name: String,
}

/// A container of any list.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Container {
    /// `name`; empty if absent
    #[serde(deserialize_with = "null_is_absent")]
    pub name: String,
    /// `image` as written; empty if absent
    #[serde(deserialize_with = "null_is_absent")]
    pub image: String,
    /// `imagePullPolicy`
    pub image_pull_policy: Option<String>,
    /// `restartPolicy`: an init container that restarts always is a sidecar
    pub restart_policy: Option<String>,
    /// `securityContext` of the container
    #[serde(deserialize_with = "null_is_absent")]
    pub security_context: SecurityContext,
    /// `resources`
    #[serde(deserialize_with = "null_is_absent")]
    pub resources: Resources,
    /// `readinessProbe`
    pub readiness_probe: Option<IgnoredAny>,
    /// `livenessProbe`
    pub liveness_probe: Option<IgnoredAny>,
    /// `startupProbe`
    pub startup_probe: Option<IgnoredAny>,
    /// `volumeMounts`
    #[serde(deserialize_with = "null_is_absent")]
    pub volume_mounts: Vec<VolumeMount>,
    /// `env`
    #[serde(deserialize_with = "null_is_absent")]
    pub env: Vec<EnvVar>,
    /// `envFrom`
    #[serde(deserialize_with = "null_is_absent")]
    pub env_from: Vec<EnvFromSource>,
}

/// The security context of a pod or a container: the fields of both that the rules read.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct SecurityContext {
    /// container only
    pub read_only_root_filesystem: Option<bool>,
    /// pod and container; the container's wins
    pub run_as_non_root: Option<bool>,
    /// pod and container; the container's wins
    pub run_as_user: Option<i64>,
    /// container only
    pub allow_privilege_escalation: Option<bool>,
    /// container only
    pub privileged: Option<bool>,
    /// container only
    #[serde(deserialize_with = "null_is_absent")]
    pub capabilities: Capabilities,
}

/// Linux capabilities added to or dropped from the runtime's default set.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Capabilities {
    /// `add`
    #[serde(deserialize_with = "null_is_absent")]
    pub add: Vec<String>,
    /// `drop`
    #[serde(deserialize_with = "null_is_absent")]
    pub drop: Vec<String>,
}

/// Which resources have a limit or a request; the amounts are not judged.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Resources {
    /// `limits`
    #[serde(deserialize_with = "names")]
    pub limits: Names,
    /// `requests`
    #[serde(deserialize_with = "names")]
    pub requests: Names,
}

/// `volumeMounts[]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct VolumeMount {
    /// the volume's name
    #[serde(deserialize_with = "null_is_absent")]
    pub name: Box<str>,
    /// the path in the volume that is mounted; empty means all of it
    #[serde(deserialize_with = "null_is_absent")]
    pub sub_path: Box<str>,
    /// whether the path is made from variables, so that it is known on the node alone
    #[serde(rename = "subPathExpr", deserialize_with = "is_written")]
    pub has_sub_path_expr: bool,
    /// absent means writable
    #[serde(deserialize_with = "null_is_absent")]
    pub read_only: bool,
}

/// `env[]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EnvVar {
    /// `valueFrom`
    #[serde(deserialize_with = "null_is_absent")]
    pub value_from: EnvVarSource,
}

/// `env[].valueFrom`. Most variables refer to nothing, so what few do is kept beside them.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EnvVarSource {
    /// one key of a ConfigMap
    pub config_map_key_ref: Option<Box<ConfigKeySelector>>,
    /// one key of a Secret
    pub secret_key_ref: Option<Box<ConfigKeySelector>>,
}

/// One key of a ConfigMap or Secret in the namespace of the pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConfigKeySelector {
    /// The object's name.
    #[serde(deserialize_with = "null_is_absent")]
    pub name: Box<str>,
    /// The key in its data.
    #[serde(deserialize_with = "null_is_absent")]
    pub key: Box<str>,
    /// Whether the pod starts without the object or the key.
    #[serde(deserialize_with = "null_is_absent")]
    pub optional: bool,
}

/// `envFrom[]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EnvFromSource {
    /// all keys of a ConfigMap
    pub config_map_ref: Option<ConfigReference>,
    /// all keys of a Secret
    pub secret_ref: Option<ConfigReference>,
}

/// The name of a ConfigMap or Secret in the namespace of the pod.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConfigReference {
    /// The object's name.
    #[serde(deserialize_with = "null_is_absent")]
    pub name: Box<str>,
    /// Whether the pod starts without the object.
    #[serde(deserialize_with = "null_is_absent")]
    pub optional: bool,
}

/// A ConfigMap or Secret in the namespace of the pod as files: a volume, or a source of a projected one.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ConfigProjection {
    /// The object's name; a `secret` volume says `secretName`.
    #[serde(alias = "secretName", deserialize_with = "null_is_absent")]
    pub name: Box<str>,
    /// Which keys become files, and where; none means all, each under its own name.
    #[serde(deserialize_with = "null_is_absent")]
    pub items: Box<[KeyToPath]>,
    /// Whether the pod starts without the object or one of the keys.
    #[serde(deserialize_with = "null_is_absent")]
    pub optional: bool,
}

/// `items[]` of a ConfigMap or Secret as files.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct KeyToPath {
    /// the key in the object's data
    #[serde(deserialize_with = "null_is_absent")]
    pub key: Box<str>,
    /// the file's path in the volume
    #[serde(deserialize_with = "null_is_absent")]
    pub path: Box<str>,
}

/// `volumes[]`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Volume {
    /// `name`
    pub name: String,
    /// `emptyDir`; the API server also makes one of a volume that names no source
    pub empty_dir: Option<EmptyDir>,
    /// `hostPath`
    pub host_path: Option<IgnoredAny>,
    /// `image`: an image mounted read-only
    pub image: Option<ImageVolume>,
    /// `configMap`
    pub config_map: Option<Box<ConfigProjection>>,
    /// `secret`
    pub secret: Option<Box<ConfigProjection>>,
    /// `projected`
    pub projected: Option<Projected>,
    /// Whether a source is named that no rule reads.
    pub other_source: bool,
}

impl<'de> Deserialize<'de> for Volume {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct VolumeVisitor;
        impl<'de> Visitor<'de> for VolumeVisitor {
            type Value = Volume;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a volume")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Volume, M::Error> {
                let mut volume = Volume::default();
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "name" => volume.name = map.next_value::<Option<String>>()?.unwrap_or_default(),
                        "emptyDir" => volume.empty_dir = map.next_value()?,
                        "hostPath" => volume.host_path = map.next_value()?,
                        "image" => volume.image = map.next_value()?,
                        "configMap" => volume.config_map = map.next_value()?,
                        "secret" => volume.secret = map.next_value()?,
                        "projected" => volume.projected = map.next_value()?,
                        _ => volume.other_source |= map.next_value::<Option<IgnoredAny>>()?.is_some(),
                    }
                }
                Ok(volume)
            }
        }
        deserializer.deserialize_map(VolumeVisitor)
    }
}

impl Volume {
    /// Whether any source is named; the API server gives an `emptyDir` to a volume without one.
    pub fn has_source(&self) -> bool {
        self.other_source
            || self.empty_dir.is_some()
            || self.host_path.is_some()
            || self.image.is_some()
            || self.config_map.is_some()
            || self.secret.is_some()
            || self.projected.is_some()
    }
}

/// `volumes[].emptyDir`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EmptyDir {
    /// the most it may hold
    pub size_limit: Option<IgnoredAny>,
}

/// `volumes[].image`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct ImageVolume {
    /// an image reference as in a container; may be absent in a template
    #[serde(deserialize_with = "null_is_absent")]
    pub reference: String,
}

/// `volumes[].projected`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Projected {
    /// `sources`
    #[serde(deserialize_with = "null_is_absent")]
    pub sources: Vec<ProjectedSource>,
}

/// `volumes[].projected.sources[]`
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ProjectedSource {
    /// `configMap`
    pub config_map: Option<Box<ConfigProjection>>,
    /// `secret`
    pub secret: Option<Box<ConfigProjection>>,
}

/// A few different names. There are two such sets in every container of a cluster, and a tree takes five times as much.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Names(Vec<Box<str>>);

impl Names {
    /// Whether a name is among them.
    pub fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|known| **known == *name)
    }

    /// Adds a name that may be among them.
    pub fn insert(&mut self, name: &str) {
        let place = self.0.partition_point(|known| **known < *name);
        if self.0.get(place).is_none_or(|known| **known != *name) {
            self.0.insert(place, name.into());
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// In the order of their letters.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|name| &**name)
    }
}

/// Reads the names of a map and skips its values.
fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Names, D::Error> {
    struct NamesVisitor;
    impl<'de> Visitor<'de> for NamesVisitor {
        type Value = Names;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            formatter.write_str("a map of resources")
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(Names::default())
        }

        fn visit_none<E>(self) -> Result<Self::Value, E> {
            Ok(Names::default())
        }

        fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
            deserializer.deserialize_map(self)
        }

        fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
            let mut names = Names::default();
            while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                names.insert(&name);
            }
            Ok(names)
        }
    }
    deserializer.deserialize_option(NamesVisitor)
}

/// Reads null as absent, as the API server does for every optional field.
pub(crate) fn null_is_absent<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Whether a text is there; an empty one is absent, as for the API server.
fn is_written<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Ok(Option::<Box<str>>::deserialize(deserializer)?.is_some_and(|text| !text.is_empty()))
}
