//! A second, simple opinion on whether an update leaves everything that the rules read as it was.
//!
//! It knows nothing of how policies are compiled: it looks at JSON. A field of a container or volume counts whole,
//! and with the fields the names of what has them, in their order.

use immutable_core::{
    rules::{RuleId, printable},
    workload::{Container, image_pull_policy},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::verdict::Part;

/// Whether rules would read the same of a part before and after.
pub(crate) fn untouched(part: &Part, rules: &[RuleId], old: &Value, new: &Value) -> bool {
    let read = |object: &Value| match part {
        Part::Pods(pointer) => pods(object, pointer, rules),
        Part::Strategy => strategy(object),
        Part::Ephemeral => Value::Null,
    };
    read(old) == read(new)
}

/// What rules read of a pod spec.
fn pods(object: &Value, pointer: &str, rules: &[RuleId]) -> Value {
    let is_pod = object["kind"] == "Pod";
    let is_custom = crate::server::is_custom(object);
    let spec = object.pointer(pointer).map_or(Value::Null, without_nulls);
    let any = |of: &[RuleId]| rules.iter().any(|rule| of.contains(rule));
    let images = any(&[RuleId::ImageTag, RuleId::ImageDigest]);
    let mut read = Map::new();
    let linux = [RuleId::ReadOnlyRootFilesystem, RuleId::PrivilegeEscalation, RuleId::Privileged, RuleId::Capabilities];
    let mut lists = Vec::new();
    for list in ["containers", "initContainers", "ephemeralContainers"] {
        for container in spec[list].as_array().into_iter().flatten() {
            let mut one = json!({"list": list, "name": printable(container["name"].as_str().unwrap_or_default())});
            let mut take = |field: &str, wanted: bool| {
                if wanted {
                    one[field] = container[field].clone();
                }
            };
            take("image", images || any(&[RuleId::ImagePullPolicy]));
            take("securityContext", any(&linux) || any(&[RuleId::RunAsNonRoot]));
            take("resources", any(&[RuleId::ResourceLimits]));
            take("volumeMounts", any(&[RuleId::HostPath]) && !is_custom);
            for field in ["restartPolicy", "readinessProbe", "livenessProbe", "startupProbe"] {
                take(field, any(&[RuleId::Probes]));
            }
            take("imagePullPolicy", any(&[RuleId::ImagePullPolicy]));
            if !is_custom && one["volumeMounts"].as_array().is_some_and(Vec::is_empty) {
                one["volumeMounts"] = Value::Null;
            }
            if is_custom && any(&[RuleId::HostPath]) {
                one["volumeMounts"] = mounts(container);
            }
            if !is_custom && any(&[RuleId::ImagePullPolicy]) {
                one["imagePullPolicy"] = json!(filled_in_policy(container));
            }
            if !is_custom {
                let resources = one["resources"].clone();
                one["resources"] = amounts(&resources, is_pod);
            }
            lists.push(one);
        }
    }
    read.insert("containers".to_owned(), Value::Array(lists));
    if images || any(&[RuleId::HostPath, RuleId::ScratchVolumes]) {
        read.insert("volumes".to_owned(), volumes(&spec, &any));
    }
    if any(&linux) {
        read.insert("os".to_owned(), spec["os"].clone());
    }
    if any(&[RuleId::Probes]) {
        let written = spec["restartPolicy"].as_str().filter(|policy| !policy.is_empty());
        let filled_in = json!(written.unwrap_or("Always"));
        read.insert("restartPolicy".to_owned(), if is_custom { spec["restartPolicy"].clone() } else { filled_in });
    }
    if any(&[RuleId::RunAsNonRoot]) {
        let security = &spec["securityContext"];
        let filled_in = if security.is_null() && !is_custom { json!({}) } else { security.clone() };
        read.insert("securityContext".to_owned(), filled_in);
    }
    if any(&[RuleId::ResourceLimits]) {
        read.insert("resources".to_owned(), spec["resources"].clone());
        if is_pod && spec["resources"].is_object() {
            // The pod's own come from those of its containers.
            let of_all =
                |list: &str| spec[list].as_array().into_iter().flatten().map(|one| amounts(&one["resources"], true));
            let all: Vec<Value> = of_all("containers").chain(of_all("initContainers")).collect();
            read.insert("resources of containers".to_owned(), Value::Array(all));
        }
    }
    Value::Object(read)
}

/// What rules read of the mounts in a custom resource.
fn mounts(container: &Value) -> Value {
    let of = |mount: &Value| json!([mount["name"].as_str().unwrap_or_default(), mount["readOnly"] == true]);
    container["volumeMounts"].as_array().map_or(Value::Null, |mounts| mounts.iter().map(of).collect())
}

/// Requests and limits; empty ones are none, and those of Pods come from the limits.
fn amounts(resources: &Value, is_pod: bool) -> Value {
    let list = |name: &str| resources[name].as_object().cloned().unwrap_or_default();
    let (mut requests, limits) = (list("requests"), list("limits"));
    if is_pod {
        for (name, amount) in &limits {
            requests.entry(name.clone()).or_insert_with(|| amount.clone());
        }
    }
    json!({"requests": requests, "limits": limits})
}

fn volumes(spec: &Value, any: &impl Fn(&[RuleId]) -> bool) -> Value {
    let of = |volume: &Value| {
        let mut one = json!({"name": volume["name"].as_str().unwrap_or_default()});
        let has_source = volume.as_object().is_some_and(|fields| fields.keys().any(|key| key != "name"));
        for (field, rules) in [
            ("image", &[RuleId::ImageTag, RuleId::ImageDigest][..]),
            ("hostPath", &[RuleId::HostPath]),
            ("emptyDir", &[RuleId::ScratchVolumes]),
        ] {
            if any(rules) {
                one[field] = if field == "emptyDir" && !has_source { json!({}) } else { volume[field].clone() };
            }
        }
        one
    };
    spec["volumes"].as_array().into_iter().flatten().map(of).collect()
}

fn filled_in_policy(container: &Value) -> String {
    Container::deserialize(container).map(|container| image_pull_policy(&container).to_owned()).unwrap_or_default()
}

/// The update strategy with what the API server fills in.
fn strategy(object: &Value) -> Value {
    let kind = object["kind"].as_str().unwrap_or_default();
    let field = if kind == "Deployment" { "strategy" } else { "updateStrategy" };
    let written = without_nulls(&object["spec"][field]);
    let named = written["type"].as_str().filter(|name| !name.is_empty()).unwrap_or("RollingUpdate");
    let mut rolling = written["rollingUpdate"].as_object().cloned().unwrap_or_default();
    if named == "RollingUpdate" {
        let defaults = match kind {
            "Deployment" => json!({"maxUnavailable": "25%", "maxSurge": "25%"}),
            "DaemonSet" => json!({"maxUnavailable": 1, "maxSurge": 0}),
            _ => json!({"partition": 0}),
        };
        for (key, value) in defaults.as_object().into_iter().flatten() {
            rolling.entry(key.clone()).or_insert_with(|| value.clone());
        }
    }
    json!({"type": named, "rollingUpdate": rolling})
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(key, value)| (key.clone(), without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}
