//! Which ConfigMaps and Secrets a pod spec refers to, and where.

use crate::rules::ConfigKind;
use crate::workload::{ConfigReference, ContainerType, PodSpec};

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
}

/// The part of a pod spec that refers to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReferredBy<'a> {
    /// A container's environment.
    Container(ContainerType, &'a str),
    /// A volume.
    Volume(&'a str),
}

/// Every reference of a pod spec, in the order in which it is written.
pub fn references(pod: &PodSpec) -> Vec<Reference<'_>> {
    let mut found = Vec::new();
    for (container_type, index, container) in pod.all_containers() {
        let by = ReferredBy::Container(container_type, &container.name);
        let base = format!("/{}/{index}", container_type.field());
        for (env, variable) in container.env.iter().enumerate() {
            let from = &variable.value_from;
            let at = format!("{base}/env/{env}/valueFrom");
            push(
                &mut found,
                ConfigKind::ConfigMap,
                from.config_map_key_ref.as_ref(),
                || format!("{at}/configMapKeyRef/name"),
                by,
            );
            push(
                &mut found,
                ConfigKind::Secret,
                from.secret_key_ref.as_ref(),
                || format!("{at}/secretKeyRef/name"),
                by,
            );
        }
        for (env, source) in container.env_from.iter().enumerate() {
            let at = format!("{base}/envFrom/{env}");
            push(
                &mut found,
                ConfigKind::ConfigMap,
                source.config_map_ref.as_ref(),
                || format!("{at}/configMapRef/name"),
                by,
            );
            push(&mut found, ConfigKind::Secret, source.secret_ref.as_ref(), || format!("{at}/secretRef/name"), by);
        }
    }
    for (index, volume) in pod.volumes.iter().enumerate() {
        let by = ReferredBy::Volume(&volume.name);
        let at = format!("/volumes/{index}");
        push(&mut found, ConfigKind::ConfigMap, volume.config_map.as_ref(), || format!("{at}/configMap/name"), by);
        push(&mut found, ConfigKind::Secret, volume.secret.as_ref(), || format!("{at}/secret/secretName"), by);
        for (source, projected) in volume.projected.iter().flat_map(|projected| &projected.sources).enumerate() {
            let at = format!("{at}/projected/sources/{source}");
            push(
                &mut found,
                ConfigKind::ConfigMap,
                projected.config_map.as_ref(),
                || format!("{at}/configMap/name"),
                by,
            );
            push(&mut found, ConfigKind::Secret, projected.secret.as_ref(), || format!("{at}/secret/name"), by);
        }
    }
    found
}

fn push<'a>(
    found: &mut Vec<Reference<'a>>,
    kind: ConfigKind,
    reference: Option<&'a ConfigReference>,
    pointer: impl FnOnce() -> String,
    by: ReferredBy<'a>,
) {
    if let Some(ConfigReference { name, optional }) = reference
        && !name.is_empty()
    {
        found.push(Reference { kind, name, optional: *optional, pointer: pointer(), by });
    }
}
