//! The kinds that carry pod specs, and where each keeps them.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A built-in kind that carries a pod spec.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema)]
pub enum Kind {
    /// A pod without, or judged apart from, its owner.
    Pod,
    /// `apps/v1`
    Deployment,
    /// `apps/v1`
    StatefulSet,
    /// `apps/v1`
    DaemonSet,
    /// `apps/v1`
    ReplicaSet,
    /// `v1`
    ReplicationController,
    /// `batch/v1`
    Job,
    /// `batch/v1`
    CronJob,
    /// `v1`: an inert object that only holds a template.
    PodTemplate,
}

/// What the API server calls a kind, and where it keeps the pod spec.
struct KindFacts {
    kind: Kind,
    name: &'static str,
    group: &'static str,
    resource: &'static str,
    /// JSON Pointer of the pod spec.
    pod_spec: &'static str,
}

const FACTS: [KindFacts; 9] = [
    facts(Kind::Pod, "Pod", "", "pods", "/spec"),
    facts(Kind::Deployment, "Deployment", "apps", "deployments", TEMPLATE),
    facts(Kind::StatefulSet, "StatefulSet", "apps", "statefulsets", TEMPLATE),
    facts(Kind::DaemonSet, "DaemonSet", "apps", "daemonsets", TEMPLATE),
    facts(Kind::ReplicaSet, "ReplicaSet", "apps", "replicasets", TEMPLATE),
    facts(Kind::ReplicationController, "ReplicationController", "", "replicationcontrollers", TEMPLATE),
    facts(Kind::Job, "Job", "batch", "jobs", TEMPLATE),
    facts(Kind::CronJob, "CronJob", "batch", "cronjobs", "/spec/jobTemplate/spec/template/spec"),
    facts(Kind::PodTemplate, "PodTemplate", "", "podtemplates", "/template/spec"),
];

const TEMPLATE: &str = "/spec/template/spec";

const fn facts(
    kind: Kind,
    name: &'static str,
    group: &'static str,
    resource: &'static str,
    pod_spec: &'static str,
) -> KindFacts {
    KindFacts { kind, name, group, resource, pod_spec }
}

impl Kind {
    /// Every kind, in the order of the enum.
    pub const ALL: [Self; 9] = [
        Self::Pod,
        Self::Deployment,
        Self::StatefulSet,
        Self::DaemonSet,
        Self::ReplicaSet,
        Self::ReplicationController,
        Self::Job,
        Self::CronJob,
        Self::PodTemplate,
    ];

    fn facts(self) -> &'static KindFacts {
        &FACTS[self as usize]
    }

    /// The kind with this name, whatever its apiVersion.
    pub fn named(name: &str) -> Option<Self> {
        FACTS.iter().find(|facts| facts.name == name).map(|facts| facts.kind)
    }

    /// `Deployment`
    pub fn name(self) -> &'static str {
        self.facts().name
    }

    /// The API group; empty for the core group. Every kind here is served as `v1`.
    pub fn group(self) -> &'static str {
        self.facts().group
    }

    /// `apps/v1`
    pub fn api_version(self) -> &'static str {
        match self.group() {
            "" => "v1",
            "apps" => "apps/v1",
            _ => "batch/v1",
        }
    }

    /// The plural by which the API server serves it, `deployments`.
    pub fn resource(self) -> &'static str {
        self.facts().resource
    }

    /// What its controller makes of it; none where nothing makes anything of it.
    pub const fn makes(self) -> Option<Self> {
        match self {
            Self::Deployment => Some(Self::ReplicaSet),
            Self::CronJob => Some(Self::Job),
            Self::ReplicaSet | Self::ReplicationController | Self::StatefulSet | Self::DaemonSet | Self::Job => {
                Some(Self::Pod)
            }
            Self::Pod | Self::PodTemplate => None,
        }
    }

    /// JSON Pointer of the pod spec.
    pub fn pod_spec_pointer(self) -> &'static str {
        self.facts().pod_spec
    }

    /// JSON Pointers of the templates whose metadata what is made of them carries; none for a Pod.
    pub fn template_pointers(self) -> &'static [&'static str] {
        match self {
            Self::Pod => &[],
            Self::PodTemplate => &["/template"],
            Self::CronJob => &["/spec/jobTemplate", "/spec/jobTemplate/spec/template"],
            _ => &["/spec/template"],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_the_order_of_the_enum() {
        for kind in Kind::ALL {
            assert_eq!(kind.facts().kind, kind);
            assert_eq!(Kind::named(kind.name()), Some(kind));
        }
    }
}
