//! Changes that people and controllers make to objects.

use serde_json::{Map, Value, json};

use crate::{
    images,
    random::Random,
    specs::{Generator, Home},
    workloads::{Sort, add_strategy, labels},
};

/// The object after a few changes, or none.
pub(crate) fn changed(old: &Value, random: &mut Random, edges: &[String]) -> Value {
    let mut new = old.clone();
    for _ in 0..random.below(4) {
        let before = new.clone();
        change(&mut new, random, edges);
        if names_meet(&new) {
            new = before;
        }
    }
    new
}

/// Whether two containers have one name, which the API server refuses in what it validates.
fn names_meet(object: &Value) -> bool {
    let Some(sort) = Sort::of(object).filter(|sort| sort.home() != Home::Custom) else { return false };
    let spec = object.pointer(pod_specs(sort)[0]).unwrap_or(&Value::Null);
    let lists = ["containers", "initContainers"].into_iter().filter_map(|list| spec[list].as_array());
    let mut names: Vec<&str> = lists.flatten().filter_map(|container| container["name"].as_str()).collect();
    let count = names.len();
    names.sort_unstable();
    names.dedup();
    names.len() < count
}

/// Where the pod specs are.
fn pod_specs(sort: Sort) -> &'static [&'static str] {
    match sort.names().0 {
        "Pod" => &["/spec"],
        "PodTemplate" => &["/template/spec"],
        "CronJob" => &["/spec/jobTemplate/spec/template/spec"],
        "Fleet" => &["/spec/blue/spec", "/spec/deep/green/spec"],
        _ => &["/spec/template/spec"],
    }
}

fn change(object: &mut Value, random: &mut Random, edges: &[String]) {
    let Some(sort) = Sort::of(object) else { return };
    match random.below(6) {
        0 => {
            object["metadata"]["labels"] = labels(random).unwrap_or(Value::Null);
            return;
        }
        1 => {
            object["metadata"]["annotations"] = json!({"changed": "yes"});
            return;
        }
        2 if sort.has_strategy() => return add_strategy(object, sort, random),
        _ => {}
    }
    let pointer = *random.pick(pod_specs(sort));
    if let Some(spec) = object.pointer_mut(pointer).and_then(Value::as_object_mut) {
        change_spec(spec, sort, random, edges);
    }
}

fn change_spec(spec: &mut Map<String, Value>, sort: Sort, random: &mut Random, edges: &[String]) {
    let mut generator = Generator::new(random.clone(), edges, sort.home());
    let other = generator.pod_spec();
    *random = generator.random;
    match random.below(8) {
        0 => drop(spec.insert("terminationGracePeriodSeconds".to_owned(), json!(random.below(9)))),
        1 => drop(spec.insert("nodeSelector".to_owned(), json!({"disk": "fast"}))),
        2 => {
            let field =
                *random.pick(&["os", "securityContext", "resources", "restartPolicy", "volumes", "initContainers"]);
            match other.get(field) {
                Some(value) => drop(spec.insert(field.to_owned(), value.clone())),
                None => drop(spec.remove(field)),
            }
        }
        3 => {
            if let Some(containers) = spec.get_mut("containers").and_then(Value::as_array_mut) {
                match random.below(3) {
                    0 => containers.reverse(),
                    1 if containers.len() > 1 => drop(containers.pop()),
                    _ => containers.push(json!({"name": "added", "image": images::pinned()})),
                }
            }
        }
        4 => {
            // The same containers in another list.
            let moved = spec.get_mut("initContainers").and_then(Value::as_array_mut).and_then(Vec::pop);
            if let (Some(moved), Some(containers)) = (moved, spec.get_mut("containers").and_then(Value::as_array_mut)) {
                containers.push(moved);
            }
        }
        _ => change_container(spec, &other, random, edges),
    }
}

fn change_container(spec: &mut Map<String, Value>, other: &Value, random: &mut Random, edges: &[String]) {
    let list = *random.pick(&["containers", "containers", "initContainers", "ephemeralContainers"]);
    let Some(containers) = spec.get_mut(list).and_then(Value::as_array_mut) else { return };
    let number = random.below(containers.len());
    let Some(container) = containers.get_mut(number) else { return };
    match random.below(4) {
        0 => container["image"] = json!(images::any(random, edges)),
        1 => {
            let fields = ["env", "command", "args", "workingDir", "ports", "stdin", "lifecycle"];
            let values = [
                json!([{"name": "C", "value": "D"}]),
                json!(["other"]),
                json!(["x"]),
                json!("/x"),
                json!([{"containerPort": 80}]),
                json!(true),
                json!({"preStop": {"sleep": {"seconds": 1}}}),
            ];
            let at = random.below(fields.len());
            container[fields[at]] = values[at].clone();
        }
        _ => {
            let fields = [
                "imagePullPolicy",
                "securityContext",
                "resources",
                "readinessProbe",
                "livenessProbe",
                "startupProbe",
                "restartPolicy",
                "volumeMounts",
            ];
            let field = *random.pick(&fields);
            match other["containers"][0].get(field) {
                Some(value) => container[field] = value.clone(),
                None => drop(container.as_object_mut().and_then(|container| container.remove(field))),
            }
        }
    }
}
