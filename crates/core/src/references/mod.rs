//! Which ConfigMaps and Secrets a pod spec refers to, where, and which of their keys its containers read.

mod dependency;
pub mod digest;
mod mounts;

use crate::rules::ConfigKind;
use crate::workload::{ConfigKeySelector, ConfigProjection, ConfigReference, ContainerType, PodSpec};

pub use dependency::{Dependency, Keys, MOST_FIELDS, dependencies};

use mounts::Mounts;

/// One reference of a pod spec to an object in its namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference<'a> {
    /// What kind of object.
    pub kind: ConfigKind,
    /// The object's name.
    pub name: &'a str,
    /// Whether the pod starts without it.
    pub optional: bool,
    /// JSON Pointer of the name, below the pod spec.
    pub pointer: String,
    /// What refers to it.
    pub by: ReferredBy<'a>,
    /// What is read of it.
    pub keys: ReferencedKeys<'a>,
}

/// The part of a pod spec that refers to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferredBy<'a> {
    /// A container's environment.
    Container(ContainerType, &'a str),
    /// A volume.
    Volume(&'a str),
}

/// Which keys of an object one reference reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReferencedKeys<'a> {
    /// None: no container mounts the volume. The kubelet sets up no such volume, so the pod starts even where the object
    /// is missing (`processPodVolumes` of its volume manager: "Skipping unused volume").
    Unmounted,
    /// All that the object has.
    All,
    /// These; a key may stand here more than once.
    Named(Vec<(&'a str, KeyUse)>),
}

/// What becomes of one key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyUse {
    /// A container sees its value.
    pub read: bool,
    /// The pod does not start without it.
    pub required: bool,
}

impl KeyUse {
    /// Adds another use of the same key.
    pub fn merge(&mut self, other: Self) {
        self.read |= other.read;
        self.required |= other.required;
    }
}

/// Every reference of a pod spec, in the order in which it is written.
pub fn references(pod: &PodSpec) -> Vec<Reference<'_>> {
    let mut found = Vec::new();
    for (container_type, index, container) in pod.all_containers() {
        let by = ReferredBy::Container(container_type, &container.name);
        // No text for those that refer to nothing, which are most.
        let base = || format!("/{}/{index}", container_type.field());
        for (env, variable) in container.env.iter().enumerate() {
            let from = &variable.value_from;
            let at = |field: &str| format!("{}/env/{env}/valueFrom/{field}/name", base());
            found.extend(variable_reference(ConfigKind::ConfigMap, from.config_map_key_ref.as_deref(), by, || {
                at("configMapKeyRef")
            }));
            found.extend(variable_reference(ConfigKind::Secret, from.secret_key_ref.as_deref(), by, || {
                at("secretKeyRef")
            }));
        }
        for (env, source) in container.env_from.iter().enumerate() {
            let at = |field: &str| format!("{}/envFrom/{env}/{field}/name", base());
            found.extend(environment_reference(ConfigKind::ConfigMap, source.config_map_ref.as_ref(), by, || {
                at("configMapRef")
            }));
            found.extend(environment_reference(ConfigKind::Secret, source.secret_ref.as_ref(), by, || at("secretRef")));
        }
    }
    push_volumes(pod, &mut found);
    found
}

fn push_volumes<'a>(pod: &'a PodSpec, found: &mut Vec<Reference<'a>>) {
    let is_config = |volume: &&crate::workload::Volume| {
        volume.config_map.is_some() || volume.secret.is_some() || volume.projected.is_some()
    };
    if !pod.volumes.iter().any(|volume| is_config(&volume)) {
        return;
    }
    let mounts = Mounts::of(pod);
    for (index, volume) in pod.volumes.iter().enumerate() {
        let name = &volume.name;
        let at = |field: &str| format!("/volumes/{index}/{field}");
        let mut push = |kind, projection: Option<&'a ConfigProjection>, pointer: &dyn Fn() -> String| {
            found.extend(projection.filter(|projection| !projection.name.is_empty()).map(|projection| Reference {
                kind,
                name: &projection.name,
                optional: projection.optional,
                pointer: pointer(),
                by: ReferredBy::Volume(name),
                keys: mounts.keys(name, projection),
            }));
        };
        push(ConfigKind::ConfigMap, volume.config_map.as_deref(), &|| at("configMap/name"));
        push(ConfigKind::Secret, volume.secret.as_deref(), &|| at("secret/secretName"));
        for (source, projected) in volume.projected.iter().flat_map(|projected| &projected.sources).enumerate() {
            let at = |field: &str| at(&format!("projected/sources/{source}/{field}/name"));
            push(ConfigKind::ConfigMap, projected.config_map.as_deref(), &|| at("configMap"));
            push(ConfigKind::Secret, projected.secret.as_deref(), &|| at("secret"));
        }
    }
}

/// A variable that holds one key.
fn variable_reference<'a>(
    kind: ConfigKind,
    selector: Option<&'a ConfigKeySelector>,
    by: ReferredBy<'a>,
    pointer: impl FnOnce() -> String,
) -> Option<Reference<'a>> {
    let ConfigKeySelector { name, key, optional } = selector.filter(|selector| !selector.name.is_empty())?;
    let keys = ReferencedKeys::Named(vec![(key, KeyUse { read: true, required: !optional })]);
    Some(Reference { kind, name, optional: *optional, pointer: pointer(), by, keys })
}

/// A variable for every key.
fn environment_reference<'a>(
    kind: ConfigKind,
    reference: Option<&'a ConfigReference>,
    by: ReferredBy<'a>,
    pointer: impl FnOnce() -> String,
) -> Option<Reference<'a>> {
    let ConfigReference { name, optional } = reference.filter(|reference| !reference.name.is_empty())?;
    Some(Reference { kind, name, optional: *optional, pointer: pointer(), by, keys: ReferencedKeys::All })
}

#[cfg(test)]
mod tests;
