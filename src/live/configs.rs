//! ConfigMaps, of which only this is kept: whether they are immutable.

use std::borrow::Cow;

use immutable_core::world::ConfigKey;
use kube::Resource;
use kube::api::ObjectMeta;
use kube::core::NamespaceResourceScope;
use serde::Deserialize;

/// A ConfigMap without what it holds.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ConfigMap {
    #[serde(deserialize_with = "super::served::narrow_metadata")]
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
pub(crate) const CONFIG_PAGE_SIZE: u32 = 20;

/// What is kept of a ConfigMap.
pub(crate) fn config_fact(config_map: ConfigMap) -> (ConfigKey, bool) {
    let ObjectMeta { namespace, name, .. } = config_map.metadata;
    let key = ConfigKey { namespace: namespace.unwrap_or_default(), name: name.unwrap_or_default() };
    (key, config_map.immutable)
}
