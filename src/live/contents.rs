//! What ConfigMaps and Secrets hold, read one by one and reduced to keyed digests at once.

use super::dynamic::dynamic_resource;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use immutable_core::references::digest::{ConfigContent, DigestKey};
use immutable_core::rules::ConfigKind;
use immutable_core::workload::ConfigMarks;
use immutable_core::world::{ConfigId, ConfigObject, Reading};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::Client;
use kube::api::{Api, ApiResource, ObjectMeta};
use serde::Deserialize;

/// A ConfigMap or Secret as it travels. Values stay as they are written: what is base64 is not decoded.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Config {
    #[serde(deserialize_with = "super::lenient::lenient_metadata")]
    metadata: ObjectMeta,
    #[serde(default)]
    data: Option<BTreeMap<String, Option<String>>>,
    #[serde(default)]
    binary_data: Option<BTreeMap<String, Option<String>>>,
}

/// Its name alone: what it holds may be a secret.
impl fmt::Debug for Config {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (namespace, name) = (&self.metadata.namespace, &self.metadata.name);
        formatter.debug_struct("Config").field("namespace", namespace).field("name", name).finish_non_exhaustive()
    }
}

dynamic_resource!(Config, metadata);

/// How the API server serves a kind.
pub(crate) fn config_resource(kind: ConfigKind) -> ApiResource {
    match kind {
        ConfigKind::ConfigMap => ApiResource::erase::<ConfigMap>(&()),
        ConfigKind::Secret => ApiResource::erase::<Secret>(&()),
    }
}

/// Reads one.
///
/// # Errors
/// The API server does not answer, or as it should not: it is tried again. That it refuses is no error but what was read.
pub(crate) async fn read_config(client: &Client, id: &ConfigId, key: &DigestKey) -> kube::Result<Reading> {
    let api: Api<Config> = Api::namespaced_with(client.clone(), &id.key.namespace, &config_resource(id.kind));
    match api.get_opt(&id.key.name).await {
        Ok(None) => Ok(Reading::Absent),
        Ok(Some(config)) => Ok(Reading::Present(Box::new(reduced(&config, key)))),
        Err(kube::Error::Api(status)) if matches!(status.code, 401 | 403) => {
            Ok(Reading::Unreadable(status.message.clone()))
        }
        // What cannot be parsed is quoted, and it may be a secret.
        Err(kube::Error::SerdeError(_)) => {
            Err(kube::Error::Service(format!("what the API server answers is no {}", id.kind.name()).into()))
        }
        Err(error) => Err(error),
    }
}

/// What is kept of one.
fn reduced(config: &Config, key: &DigestKey) -> ConfigObject {
    let metadata = &config.metadata;
    let data = texts(config.data.as_ref());
    let content = ConfigContent::new(key, data, texts(config.binary_data.as_ref()));
    let writes = metadata.managed_fields.iter().flatten();
    let of_data = writes.clone().filter(|write| {
        let fields = write.fields_v1.as_ref().map(|fields| &fields.0);
        fields.is_none_or(|fields| fields.get("f:data").is_some() || fields.get("f:binaryData").is_some())
    });
    let time = |time: &Option<k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>| time.as_ref().map(|time| time.0);
    let written: Option<Timestamp> = of_data.filter_map(|write| time(&write.time)).max();
    let last = writes.max_by_key(|write| time(&write.time));
    ConfigObject {
        uid: metadata.uid.clone().unwrap_or_default().into(),
        resource_version: metadata.resource_version.clone().unwrap_or_default().into(),
        content: Arc::new(content),
        marks: metadata.annotations.as_ref().map(ConfigMarks::read).unwrap_or_default(),
        // One that was made anew was written then, too.
        written: written.max(time(&metadata.creation_timestamp).filter(|_| written.is_some())),
        writer: last
            .and_then(|write| write.manager.as_deref())
            .map(|manager| manager.chars().take(128).collect::<String>().into()),
    }
}

fn texts(fields: Option<&BTreeMap<String, Option<String>>>) -> impl Iterator<Item = (&str, &str)> {
    fields.into_iter().flatten().map(|(key, value)| (key.as_str(), value.as_deref().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn what_it_holds_is_never_shown() {
        let config = json!({
            "metadata": {"namespace": "shop", "name": "db", "annotations": {"last-applied": "hunter2"}},
            "data": {"password": "hunter2"}, "binaryData": {"key": "hunter2"},
        });
        let config: Config = serde_json::from_value(config).unwrap();
        let shown = format!("{config:?}");
        assert!(shown.contains("db") && !shown.contains("hunter2") && !shown.contains("password"), "{shown}");
    }
}
