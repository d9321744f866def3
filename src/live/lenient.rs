//! Objects whose managedFields anybody may have written: the API server keeps times there that no clock shows, and one
//! object that cannot be read would stop the watch of all.

use super::dynamic::dynamic_resource;
use jiff::Timestamp;
use kube::api::{DynamicObject, ObjectMeta};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// An object of any kind, without its managedFields.
#[derive(Clone, Debug)]
pub(crate) struct Lenient(pub(crate) DynamicObject);

impl<'de> Deserialize<'de> for Lenient {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        serde_json::from_value(value).map(Self).map_err(D::Error::custom)
    }
}

dynamic_resource!(Lenient, 0.metadata);

/// Metadata with its managedFields, but for times that are none.
pub(crate) fn lenient_metadata<'de, D: Deserializer<'de>>(deserializer: D) -> Result<ObjectMeta, D::Error> {
    let mut value = Value::deserialize(deserializer)?;
    let writes = value.get_mut("managedFields").and_then(Value::as_array_mut);
    for write in writes.into_iter().flatten().filter_map(Value::as_object_mut) {
        if write.get("time").and_then(Value::as_str).is_none_or(|time| time.parse::<Timestamp>().is_err()) {
            write.remove("time");
        }
    }
    serde_json::from_value(value).map_err(D::Error::custom)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[derive(Deserialize)]
    struct Holder {
        #[serde(deserialize_with = "lenient_metadata")]
        metadata: ObjectMeta,
    }

    #[test]
    fn a_time_that_no_clock_shows_stops_nothing() {
        let write = |time: &str| json!({"manager": "x", "operation": "Update", "apiVersion": "v1", "time": time});
        let writes = [write("9999-12-31T23:59:59Z"), write("2026-11-26T12:00:00Z")];
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "app", "managedFields": writes},
        });
        let lenient: Lenient = serde_json::from_value(object.clone()).unwrap();
        assert_eq!(lenient.0.metadata.name.as_deref(), Some("app"));
        let holder: Holder = serde_json::from_value(object).unwrap();
        let times: Vec<bool> =
            holder.metadata.managed_fields.unwrap().iter().map(|write| write.time.is_some()).collect();
        assert_eq!(times, [false, true]);
    }
}
