//! Objects of every kind that carries pod specs.

use immutable_core::workload::{CustomWorkload, Kind};
use serde_json::{Map, Value, json};

use crate::{
    random::Random,
    specs::{Generator, Home},
};

/// A kind of workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sort {
    BuiltIn(Kind),
    /// A custom resource with one pod template.
    Rollout,
    /// A custom resource with two.
    Fleet,
}

/// Every kind that carries pod specs.
pub(crate) const SORTS: [Sort; 11] = [
    Sort::BuiltIn(Kind::Pod),
    Sort::BuiltIn(Kind::Deployment),
    Sort::BuiltIn(Kind::StatefulSet),
    Sort::BuiltIn(Kind::DaemonSet),
    Sort::BuiltIn(Kind::ReplicaSet),
    Sort::BuiltIn(Kind::ReplicationController),
    Sort::BuiltIn(Kind::Job),
    Sort::BuiltIn(Kind::CronJob),
    Sort::BuiltIn(Kind::PodTemplate),
    Sort::Rollout,
    Sort::Fleet,
];

/// The group of the custom kinds.
pub(crate) const CUSTOM_GROUP: &str = "agreement.example";

impl Sort {
    pub(crate) fn home(self) -> Home {
        match self {
            Self::BuiltIn(Kind::Pod) => Home::Pod,
            Self::BuiltIn(Kind::Job | Kind::CronJob) => Home::Ending,
            Self::BuiltIn(Kind::PodTemplate) => Home::Template,
            Self::BuiltIn(_) => Home::Serving,
            Self::Rollout | Self::Fleet => Home::Custom,
        }
    }

    /// The kind, apiVersion and plural of an object.
    pub(crate) fn names(self) -> (&'static str, String, &'static str) {
        match self {
            Self::BuiltIn(kind) => (kind.name(), kind.api_version().to_owned(), kind.resource()),
            Self::Rollout => ("Rollout", format!("{CUSTOM_GROUP}/v1"), "rollouts"),
            Self::Fleet => ("Fleet", format!("{CUSTOM_GROUP}/v1"), "fleets"),
        }
    }

    /// Which sort an object is.
    pub(crate) fn of(object: &Value) -> Option<Self> {
        let kind = object["kind"].as_str()?;
        SORTS.into_iter().find(|sort| sort.names().0 == kind)
    }

    /// Whether it has an update strategy.
    pub(crate) fn has_strategy(self) -> bool {
        matches!(self, Self::BuiltIn(Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet))
    }
}

/// The custom kinds, as policies declare them.
pub(crate) fn custom_workloads() -> Vec<CustomWorkload> {
    [(Sort::Rollout, vec!["/spec/template"]), (Sort::Fleet, vec!["/spec/blue", "/spec/deep/green"])]
        .into_iter()
        .map(|(sort, pointers)| {
            let (kind, api_version, resource) = sort.names();
            CustomWorkload {
                api_version,
                kind: kind.to_owned(),
                resource: resource.to_owned(),
                pod_templates: pointers.into_iter().map(ToOwned::to_owned).collect(),
                controller_user: None,
            }
        })
        .collect()
}

/// The definitions of the custom kinds: the API server looks into nothing.
pub(crate) fn custom_definitions() -> Vec<Value> {
    [Sort::Rollout, Sort::Fleet]
        .into_iter()
        .map(|sort| {
            let (kind, _, plural) = sort.names();
            json!({
                "apiVersion": "apiextensions.k8s.io/v1",
                "kind": "CustomResourceDefinition",
                "metadata": {"name": format!("{plural}.{CUSTOM_GROUP}")},
                "spec": {
                    "group": CUSTOM_GROUP,
                    "scope": "Namespaced",
                    "names": {"kind": kind, "plural": plural},
                    "versions": [{
                        "name": "v1", "served": true, "storage": true,
                        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
                    }],
                },
            })
        })
        .collect()
}

/// An object of a sort around a pod spec.
pub(crate) fn around(sort: Sort, spec: &Value) -> Value {
    let (kind, api_version, _) = sort.names();
    let template = json!({"metadata": {"labels": {"app": "x"}}, "spec": spec});
    let selector = json!({"matchLabels": {"app": "x"}});
    let mut object = json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": "x"}});
    match sort {
        Sort::BuiltIn(Kind::Pod) => object["spec"] = spec.clone(),
        Sort::BuiltIn(Kind::PodTemplate) => object["template"] = template,
        Sort::BuiltIn(Kind::CronJob) => {
            object["spec"] = json!({"schedule": "0 0 * * *", "jobTemplate": {"spec": {"template": template}}});
        }
        Sort::BuiltIn(Kind::Job) | Sort::Rollout => object["spec"] = json!({"template": template}),
        Sort::BuiltIn(Kind::ReplicationController) => {
            object["spec"] = json!({"selector": {"app": "x"}, "template": template});
        }
        Sort::BuiltIn(Kind::StatefulSet) => {
            object["spec"] = json!({"selector": selector, "template": template, "serviceName": "x"});
        }
        Sort::BuiltIn(_) => object["spec"] = json!({"selector": selector, "template": template}),
        Sort::Fleet => object["spec"] = json!({"blue": template}),
    }
    object
}

/// An object of some sort.
pub(crate) fn any(mut random: Random, edges: &[String]) -> Value {
    let sort = *random.pick(&SORTS);
    of_sort(random, edges, sort)
}

/// An object of this sort.
pub(crate) fn of_sort(random: Random, edges: &[String], sort: Sort) -> Value {
    let mut generator = Generator::new(random, edges, sort.home());
    let spec = generator.pod_spec();
    let mut object = around(sort, &spec);
    if sort == Sort::Fleet {
        if generator.random.chance(20) {
            object["spec"] = json!({});
        }
        if generator.random.chance(60) {
            let second = Generator::new(generator.random.clone(), edges, Home::Custom).pod_spec();
            object["spec"]["deep"] = json!({"green": {"spec": second}});
        }
    }
    if let Some(labels) = labels(&mut generator.random) {
        object["metadata"]["labels"] = labels;
    }
    if generator.random.chance(20)
        && let Some(Value::Object(more)) = labels(&mut generator.random)
        && let Some(labels) = template_labels(&mut object, sort)
    {
        labels.extend(more);
    }
    if sort.has_strategy() {
        add_strategy(&mut object, sort, &mut generator.random);
    }
    object
}

/// The labels of the first template in an object.
fn template_labels(object: &mut Value, sort: Sort) -> Option<&mut Map<String, Value>> {
    let pointer = match sort {
        Sort::BuiltIn(Kind::Pod) => return None,
        Sort::BuiltIn(Kind::PodTemplate) => "/template/metadata/labels",
        Sort::BuiltIn(Kind::CronJob) => "/spec/jobTemplate/spec/template/metadata/labels",
        Sort::Fleet => "/spec/blue/metadata/labels",
        _ => "/spec/template/metadata/labels",
    };
    object.pointer_mut(pointer)?.as_object_mut()
}

/// Labels that the policy with a selector asks for, or not.
pub(crate) fn labels(random: &mut Random) -> Option<Value> {
    match random.below(8) {
        0 => None,
        1 => Some(Value::Null),
        2 => Some(json!({"tier": "other", "team": "a"})),
        3 => Some(json!({"tier": "web", "team": "a", "stage": "test"})),
        4 => Some(json!({"tier": "web", "team": "a", "legacy": "yes"})),
        5 => Some(json!({"tier": "web"})),
        6 => Some(json!({"tier": "api", "team": "", "stage": "prod"})),
        _ => Some(json!({"tier": "web", "team": "a"})),
    }
}

/// Gives an object replicas and an update strategy, present or not.
pub(crate) fn add_strategy(object: &mut Value, sort: Sort, random: &mut Random) {
    let spec = &mut object["spec"];
    if sort == Sort::BuiltIn(Kind::Deployment) {
        let unavailable = |random: &mut Random| -> Value {
            let numbers = [0, 1, 2, 3, 5, 10, 100, i32::MAX];
            let percentages =
                ["1%", "24%", "25%", "26%", "49%", "50%", "51%", "75%", "99%", "100%", "0%", "025%", "0000000000030%"];
            match random.below(3) {
                0 => json!(random.pick(&numbers)),
                1 => json!(random.pick(&percentages)),
                _ => Value::Null,
            }
        };
        match random.below(7) {
            0 => {}
            1 => spec["strategy"] = Value::Null,
            2 => spec["strategy"] = json!({}),
            3 => spec["strategy"] = json!({"type": "Recreate"}),
            4 => spec["strategy"] = json!({"type": "RollingUpdate", "rollingUpdate": null}),
            5 => spec["strategy"] = json!({"rollingUpdate": {"maxUnavailable": unavailable(random), "maxSurge": 1}}),
            _ => {
                let rolling = json!({"maxUnavailable": unavailable(random), "maxSurge": "30%"});
                spec["strategy"] = json!({"type": "RollingUpdate", "rollingUpdate": rolling});
            }
        }
    } else {
        match random.below(6) {
            0 => {}
            1 => spec["updateStrategy"] = Value::Null,
            2 => spec["updateStrategy"] = json!({}),
            3 => spec["updateStrategy"] = json!({"type": "OnDelete"}),
            4 => spec["updateStrategy"] = json!({"type": "RollingUpdate"}),
            _ => spec["updateStrategy"] = json!({"type": "OnDelete", "rollingUpdate": null}),
        }
    }
    if sort != Sort::BuiltIn(Kind::DaemonSet) {
        match random.below(4) {
            0 => {}
            1 => spec["replicas"] = Value::Null,
            _ => spec["replicas"] = json!(random.pick(&[0, 1, 2, 3, 4, 5, 10, 100, i32::MAX])),
        }
    }
}
