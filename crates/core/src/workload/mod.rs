//! Workloads: objects that carry pod specs, read as narrow, tolerant views.

mod defaults;
mod kind;
mod pod_facts;
mod pod_spec;
pub mod reloader;
pub mod rollout;
mod strategy;
mod tree;

use std::collections::BTreeMap;
use std::fmt;

use serde::de::Deserializer;
use serde::{Deserialize, Serialize};

use crate::rules::printable;
use crate::schema::validations;

pub use defaults::image_pull_policy;
pub use kind::Kind;
pub use pod_facts::PodFacts;
pub use pod_spec::{
    Capabilities, ConfigKeySelector, ConfigProjection, ConfigReference, Container, ContainerType, EmptyDir,
    EnvFromSource, EnvVar, EnvVarSource, ImageVolume, KeyToPath, OperatingSystem, PodSpec, Projected, ProjectedSource,
    Resources, SecurityContext, Volume, VolumeMount,
};
pub use reloader::{ConfigMarks, ConfigObjects, Reloader};
pub use rollout::Rollout;
pub use strategy::{IntOrPercent, UpdateStrategy};
pub use tree::Tree;

use pod_spec::null_is_absent;

/// A custom resource that carries pod templates, as a policy declares it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CustomWorkload {
    /// apiVersion of the custom resource, such as `argoproj.io/v1alpha1`.
    #[schemars(length(max = 317), extend("x-kubernetes-validations" = validations(&[
        ("self.matches('^[a-z0-9-]+([.][a-z0-9-]+)+/v[a-z0-9]+$')", "write GROUP/VERSION, such as argoproj.io/v1alpha1"),
    ])))]
    pub api_version: String,
    /// Kind of the custom resource, such as `Rollout`.
    #[schemars(length(max = 63), extend("x-kubernetes-validations" = validations(&[
        ("self.matches('^[A-Z][A-Za-z0-9]*$')", "write the kind as in manifests, such as Rollout"),
    ])))]
    pub kind: String,
    /// Plural by which the API server serves it, such as `rollouts`.
    #[schemars(length(max = 63), extend("x-kubernetes-validations" = validations(&[
        ("self.matches('^[a-z0-9]+$')", "write the plural as the API server serves it, such as rollouts"),
    ])))]
    pub resource: String,
    /// JSON Pointers of its pod templates (the objects that hold `metadata` and `spec`), such as `/spec/template`.
    #[schemars(length(min = 1, max = 8), inner(length(max = 253)), extend("x-kubernetes-validations" = validations(&[
        ("self.all(p, p.matches('^(/[A-Za-z][A-Za-z0-9]*)+$'))", "write the paths of pod templates, such as /spec/template"),
    ])))]
    pub pod_templates: Vec<String>,
    /// User name of the controller that makes its pods; they come from a template judged here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub controller_user: Option<String>,
}

impl CustomWorkload {
    /// The API group.
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    /// Whether an object is one of these. The API server judges all versions of it, and so must be asked here.
    pub fn declares(&self, api_version: &str, kind: &str) -> bool {
        self.kind == kind && api_version.split_once('/').is_some_and(|(group, _)| group == self.group())
    }

    /// The version in the group.
    pub fn version(&self) -> &str {
        self.api_version.split_once('/').map_or(&self.api_version, |(_, version)| version)
    }
}

/// What a workload is: a built-in kind or a custom one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WorkloadKind {
    /// A kind of Kubernetes itself.
    BuiltIn(Kind),
    /// A custom resource, by apiVersion and kind.
    Custom {
        /// such as `argoproj.io/v1alpha1`
        api_version: String,
        /// such as `Rollout`
        kind: String,
    },
}

impl WorkloadKind {
    /// `Deployment`, `Rollout`
    pub fn name(&self) -> &str {
        match self {
            Self::BuiltIn(kind) => kind.name(),
            Self::Custom { kind, .. } => kind,
        }
    }

    /// `apps/v1`, `argoproj.io/v1alpha1`
    pub fn api_version(&self) -> &str {
        match self {
            Self::BuiltIn(kind) => kind.api_version(),
            Self::Custom { api_version, .. } => api_version,
        }
    }

    /// The built-in kind, if it is one.
    pub fn built_in(&self) -> Option<Kind> {
        match self {
            Self::BuiltIn(kind) => Some(*kind),
            Self::Custom { .. } => None,
        }
    }
}

/// What every object says of itself.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Metadata {
    /// empty for a generated name
    #[serde(deserialize_with = "null_is_absent")]
    pub name: String,
    /// prefix of a name that the API server completes
    #[serde(deserialize_with = "null_is_absent")]
    pub generate_name: String,
    /// empty where the manifest names none
    #[serde(deserialize_with = "null_is_absent")]
    pub namespace: String,
    /// labels of the object itself
    #[serde(deserialize_with = "labels")]
    pub labels: BTreeMap<String, String>,
}

/// One pod spec of a workload.
#[derive(Clone, Debug, PartialEq)]
pub struct PodTemplate {
    /// JSON Pointer of the pod spec in the object.
    pub pointer: String,
    /// The pod spec with the API server's defaults.
    pub spec: PodSpec,
}

/// An object that carries pod specs.
#[derive(Clone, Debug, PartialEq)]
pub struct Workload {
    /// What it is.
    pub kind: WorkloadKind,
    /// Its name, namespace and labels.
    pub metadata: Metadata,
    /// Labels of what is made from it: of the pods of its templates, and of the Jobs of a CronJob.
    pub template_labels: Vec<BTreeMap<String, String>>,
    /// Its pod specs; a custom workload may have several or none.
    pub templates: Vec<PodTemplate>,
    /// How it replaces its pods, where the kind has a strategy.
    pub strategy: Option<UpdateStrategy>,
}

impl Workload {
    /// Whether its pods read a ConfigMap or Secret.
    pub fn reads_config(&self) -> bool {
        self.templates.iter().any(|template| !crate::references::references(&template.spec).is_empty())
    }

    /// The name, or the prefix of a generated one.
    pub fn name(&self) -> &str {
        if self.metadata.name.is_empty() { &self.metadata.generate_name } else { &self.metadata.name }
    }
}

/// Why an object cannot be judged.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum UnreadableWorkload {
    /// The kind is known, the apiVersion is not the one that serves it.
    #[error("{kind} of apiVersion {found} is not known; write {expected}")]
    ApiVersion {
        /// the kind
        kind: Kind,
        /// as written
        found: String,
        /// as served
        expected: &'static str,
    },
    /// A pod spec that must be there is not.
    #[error("{pointer} is missing; write the pod spec there")]
    PodSpecMissing {
        /// where it must stand
        pointer: String,
    },
    /// A pod spec runs nothing, which the API server refuses.
    #[error("{pointer}/containers is missing or empty; write at least one container")]
    NoContainers {
        /// of the pod spec
        pointer: String,
    },
    /// A field has the wrong type; the text says which.
    #[error("{detail}")]
    Field {
        /// the pointer of the part that could not be read
        pointer: String,
        /// what the reader said
        detail: String,
    },
}

impl UnreadableWorkload {
    /// The JSON Pointer to look at.
    pub fn pointer(&self) -> &str {
        match self {
            Self::ApiVersion { .. } => "/apiVersion",
            Self::PodSpecMissing { pointer } | Self::NoContainers { pointer } | Self::Field { pointer, .. } => pointer,
        }
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl Workload {
    /// Reads a workload from a manifest; none for a kind that carries no pods. An item of a typed list may
    /// leave out what it is, so that is told apart.
    ///
    /// # Errors
    /// The object is a workload and cannot be judged.
    pub fn read<'de, T>(
        root: T,
        api_version: &str,
        kind: &str,
        custom: &[&CustomWorkload],
    ) -> Result<Option<Self>, UnreadableWorkload>
    where
        T: Tree<'de>,
        T::Error: fmt::Display,
    {
        let declared = || custom.iter().filter(|custom| custom.declares(api_version, kind));
        if declared().next().is_some() {
            let mut pointers: Vec<&str> = Vec::new();
            for pointer in declared().flat_map(|custom| &custom.pod_templates) {
                if !pointers.contains(&pointer.as_str()) {
                    pointers.push(pointer);
                }
            }
            return Self::read_custom(root, api_version, kind, &pointers).map(Some);
        }
        let Some(kind) = Kind::named(kind) else { return Ok(None) };
        if api_version != kind.api_version() {
            return Err(UnreadableWorkload::ApiVersion {
                kind,
                found: api_version.to_owned(),
                expected: kind.api_version(),
            });
        }
        let pointer = kind.pod_spec_pointer();
        let node = root
            .at(pointer)
            .filter(|node| !node.is_null())
            .ok_or_else(|| UnreadableWorkload::PodSpecMissing { pointer: pointer.to_owned() })?;
        let template = read_template(node, Some(kind), pointer.to_owned())?;
        if template.spec.containers.is_empty() {
            return Err(UnreadableWorkload::NoContainers { pointer: template.pointer });
        }
        let mut metadata = read_metadata(root, "")?;
        let template_labels = read_template_labels(root, kind.template_pointers().iter().copied())?;
        defaults::fill_in_labels(kind, &mut metadata.labels, &template_labels);
        Ok(Some(Self {
            kind: WorkloadKind::BuiltIn(kind),
            metadata,
            template_labels,
            templates: vec![template],
            strategy: UpdateStrategy::read(kind, root)?,
        }))
    }

    fn read_custom<'de, T>(
        root: T,
        api_version: &str,
        kind: &str,
        pointers: &[&str],
    ) -> Result<Self, UnreadableWorkload>
    where
        T: Tree<'de>,
        T::Error: fmt::Display,
    {
        let mut templates = Vec::new();
        for pointer in pointers {
            // A Rollout may name a Deployment instead of holding a template.
            let Some(node) = custom_template(root, pointer)? else { continue };
            let pointer = format!("{pointer}/spec");
            let Some(node) = node.get("spec").filter(|node| !node.is_null()) else {
                return Err(UnreadableWorkload::PodSpecMissing { pointer });
            };
            let template = read_template(node, None, pointer)?;
            if template.spec.containers.is_empty() {
                return Err(UnreadableWorkload::NoContainers { pointer: template.pointer });
            }
            templates.push(template);
        }
        Ok(Self {
            kind: WorkloadKind::Custom { api_version: api_version.to_owned(), kind: kind.to_owned() },
            metadata: read_metadata(root, "")?,
            template_labels: read_template_labels(root, pointers.iter().copied())?,
            templates,
            strategy: None,
        })
    }
}

/// The template at a pointer, none where it or what it would stand in is absent. What is there must be a mapping.
fn custom_template<'de, T>(root: T, pointer: &str) -> Result<Option<T>, UnreadableWorkload>
where
    T: Tree<'de>,
    T::Error: fmt::Display,
{
    /// Whatever keys it has.
    #[derive(Deserialize)]
    struct Mapping {}
    let mut node = root;
    let mut at = String::new();
    for key in pointer.split('/').skip(1) {
        let Some(child) = node.get(key).filter(|child| !child.is_null()) else { return Ok(None) };
        node = child;
        at = format!("{at}/{key}");
        Mapping::deserialize(node).map_err(|error| field::<T>(&at, &error))?;
    }
    Ok(Some(node))
}

fn read_template<'de, T>(node: T, kind: Option<Kind>, pointer: String) -> Result<PodTemplate, UnreadableWorkload>
where
    T: Tree<'de>,
    T::Error: fmt::Display,
{
    let mut spec = PodSpec::deserialize(node).map_err(|error| field::<T>(&pointer, &error))?;
    check_restart_policies(&spec, &pointer)?;
    defaults::fill_in(kind, &mut spec);
    spec.shrink();
    Ok(PodTemplate { pointer, spec })
}

/// Refuses restart policies that the API server does not know: what they mean decides which rules apply.
fn check_restart_policies(spec: &PodSpec, pointer: &str) -> Result<(), UnreadableWorkload> {
    let check = |policy: Option<&String>, path: &str| {
        let policy = policy.filter(|policy| !matches!(policy.as_str(), "" | "Always" | "OnFailure" | "Never"));
        policy.map_or(Ok(()), |policy| {
            let name = path.replace('/', ".");
            Err(UnreadableWorkload::Field {
                pointer: format!("{pointer}/{path}"),
                detail: format!("{name}: {} is not known; write Always, OnFailure or Never", printable(policy)),
            })
        })
    };
    check(spec.restart_policy.as_ref(), "restartPolicy")?;
    spec.all_containers().try_for_each(|(container_type, index, container)| {
        // No text for those that name none, which are most.
        match &container.restart_policy {
            Some(policy) => check(Some(policy), &format!("{}/{index}/restartPolicy", container_type.field())),
            None => Ok(()),
        }
    })
}

/// `owner` is the pointer of the object that has the metadata.
fn read_metadata<'de, T>(root: T, owner: &str) -> Result<Metadata, UnreadableWorkload>
where
    T: Tree<'de>,
    T::Error: fmt::Display,
{
    match root.get("metadata") {
        Some(node) => null_is_absent(node).map_err(|error| field::<T>(&format!("{owner}/metadata"), &error)),
        None => Ok(Metadata::default()),
    }
}

/// The labels of the templates at these places, where there are templates.
fn read_template_labels<'de, 'p, T>(
    root: T,
    pointers: impl IntoIterator<Item = &'p str>,
) -> Result<Vec<BTreeMap<String, String>>, UnreadableWorkload>
where
    T: Tree<'de>,
    T::Error: fmt::Display,
{
    let template = |pointer| root.at(pointer).filter(|node| !node.is_null()).map(|node| (pointer, node));
    let templates = pointers.into_iter().filter_map(template);
    templates.map(|(pointer, template)| Ok(read_metadata(template, pointer)?.labels)).collect()
}

/// An error about a field below a place.
fn field<'de, T>(pointer: &str, error: &T::Error) -> UnreadableWorkload
where
    T: Tree<'de>,
    T::Error: fmt::Display,
{
    UnreadableWorkload::Field { pointer: pointer.to_owned() + &T::pointer_of(error), detail: error.to_string() }
}

/// Labels; a value that is null is the empty one, as Go reads it.
fn labels<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, String>, D::Error> {
    let labels = Option::<BTreeMap<String, Option<String>>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(labels.into_iter().map(|(key, value)| (key, value.unwrap_or_default())).collect())
}
