//! Shapes: groups of kinds that keep the same things in the same places, so that one compiled policy is
//! type-checked against all of them.

use crate::policy::Policy;
use crate::rules::{Checks, ConfigKind, ContainerCheck, IS_INIT, quote};
use crate::workload::{ContainerType, CustomWorkload, Kind, UpdateStrategy};

use super::custom;
use super::objects::ResourceRule;

/// One group of kinds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Shape {
    /// Pods.
    Pod,
    /// Ephemeral containers, which come through a subresource of Pods.
    EphemeralContainers,
    /// Ephemeral containers of Pods that come into scope: added before, when nobody judged them.
    Relabelled,
    /// Kinds with a pod template at `spec.template`.
    Template(Vec<Kind>),
    /// PodTemplates.
    PodTemplate,
    /// The dry-run create of a PodTemplate that proves all others to be in force.
    Proof,
    /// CronJobs.
    CronJob,
    /// One pod template of a custom workload.
    Custom(CustomWorkload, String),
    /// The update strategy of one kind.
    Strategy(Kind),
    /// ConfigMaps or Secrets themselves.
    Config(ConfigKind),
}

/// Kinds with a pod template that people write.
const WRITTEN_KINDS: [Kind; 4] = [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::ReplicationController];

/// Kinds with a pod template that controllers make too: they alone pay for being asked who made them.
const MADE_KINDS: [Kind; 2] = [Kind::ReplicaSet, Kind::Job];

impl Shape {
    /// The shapes that a policy needs, but for the proof.
    pub(crate) fn of(policy: &Policy) -> Vec<Self> {
        let mut shapes = vec![Self::Pod, Self::EphemeralContainers];
        if !policy.matching.selector.is_empty() {
            shapes.push(Self::Relabelled);
        }
        for group in [&WRITTEN_KINDS[..], &MADE_KINDS] {
            let kinds: Vec<Kind> = group.iter().copied().filter(|kind| policy.judges(*kind)).collect();
            if !kinds.is_empty() {
                shapes.push(Self::Template(kinds));
            }
        }
        if policy.judges(Kind::CronJob) {
            shapes.push(Self::CronJob);
        }
        for custom in policy.custom_workloads() {
            shapes.extend(custom.pod_templates.iter().map(|pointer| Self::Custom(custom.clone(), pointer.clone())));
        }
        for kind in [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet] {
            if policy.judges(kind) {
                shapes.push(Self::Strategy(kind));
            }
        }
        shapes.extend([ConfigKind::ConfigMap, ConfigKind::Secret].map(Self::Config));
        if policy.judges(Kind::PodTemplate) {
            shapes.push(Self::PodTemplate);
        }
        shapes
    }

    /// Whether a rule has something to say of this shape.
    pub(crate) fn concerns(&self, checks: &Checks) -> bool {
        match self {
            Self::Strategy(kind) => checks.strategies.iter().any(|check| check.kind == *kind),
            Self::Config(kind) => checks.config.as_ref().is_some_and(|kinds| kinds.contains(kind)),
            Self::EphemeralContainers | Self::Relabelled => {
                let on_ephemeral = |check: &ContainerCheck| check.lists.contains(&ContainerType::EphemeralContainer);
                !checks.images.is_empty() || checks.containers.iter().any(on_ephemeral)
            }
            Self::Pod | Self::Template(_) | Self::PodTemplate | Self::CronJob | Self::Custom(..) => {
                checks.concern_pods()
            }
            Self::Proof => false,
        }
    }

    /// A readable part of the compiled policy's name.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Pod => "pod".to_owned(),
            Self::EphemeralContainers => "ephemeralcontainers".to_owned(),
            Self::Relabelled => "relabelled-pod".to_owned(),
            Self::Template(kinds) if kinds.iter().any(|kind| MADE_KINDS.contains(kind)) => "made-template".to_owned(),
            Self::Template(_) => "template".to_owned(),
            Self::PodTemplate => "podtemplate".to_owned(),
            Self::Proof => "proof".to_owned(),
            Self::CronJob => "cronjob".to_owned(),
            Self::Custom(custom, _) => custom.resource.clone(),
            Self::Strategy(kind) => format!("{}-strategy", kind.name().to_ascii_lowercase()),
            Self::Config(kind) => kind.name().to_ascii_lowercase(),
        }
    }

    /// The requests that concern it.
    pub(crate) fn resource_rules(&self) -> Vec<ResourceRule> {
        let both = ["CREATE", "UPDATE"];
        match self {
            // `pods/ephemeralcontainers` is not covered by `pods`. `pods/resize` cannot add or remove a
            // request or limit, so no verdict can change by it.
            Self::Pod => vec![rule("", "v1", &both, &["pods"])],
            Self::EphemeralContainers => vec![rule("", "v1", &["UPDATE"], &["pods/ephemeralcontainers"])],
            Self::Relabelled => vec![rule("", "v1", &["UPDATE"], &["pods"])],
            Self::Template(kinds) => ["apps", "", "batch"]
                .into_iter()
                .filter_map(|group| {
                    let resources: Vec<&str> =
                        kinds.iter().filter(|kind| kind.group() == group).map(|kind| kind.resource()).collect();
                    (!resources.is_empty()).then(|| rule(group, "v1", &both, &resources))
                })
                .collect(),
            Self::PodTemplate => vec![rule("", "v1", &both, &["podtemplates"])],
            Self::Proof => vec![rule("", "v1", &["CREATE"], &["podtemplates"])],
            Self::CronJob => vec![rule("batch", "v1", &both, &["cronjobs"])],
            Self::Custom(custom, _) => vec![rule(custom.group(), custom.version(), &both, &[&custom.resource])],
            Self::Strategy(kind) => vec![rule(kind.group(), "v1", &both, &[kind.resource()])],
            Self::Config(kind) => vec![rule("", "v1", &["CREATE"], &[kind.resource()])],
        }
    }

    /// The pod spec in CEL, below `object` or `oldObject`; none for shapes that have none.
    pub(crate) fn pod_spec(&self, object: &str) -> Option<String> {
        Some(match self {
            Self::Pod | Self::EphemeralContainers | Self::Relabelled => format!("{object}.spec"),
            Self::Template(_) => format!("{object}.spec.template.spec"),
            Self::PodTemplate => format!("{object}.template.spec"),
            Self::CronJob => format!("{object}.spec.jobTemplate.spec.template.spec"),
            // The schema of a custom resource may leave fields out that rules read: no type check helps.
            Self::Custom(_, pointer) => custom::pod_spec(object, pointer),
            Self::Strategy(_) | Self::Config(_) | Self::Proof => return None,
        })
    }

    /// JSON Pointers of the templates whose labels bring an object of this shape into scope beside its own.
    pub(crate) fn template_pointers(&self) -> Vec<&str> {
        let of = |kind: Kind| kind.template_pointers().to_vec();
        match self {
            Self::Pod | Self::EphemeralContainers | Self::Relabelled | Self::Config(_) | Self::Proof => Vec::new(),
            Self::Template(_) => of(Kind::Deployment),
            Self::Strategy(kind) => of(*kind),
            Self::PodTemplate => of(Kind::PodTemplate),
            Self::CronJob => of(Kind::CronJob),
            // Rust asks the object as a whole, too.
            Self::Custom(custom, _) => custom.pod_templates.iter().map(String::as_str).collect(),
        }
    }

    /// The container lists that are judged here, joined in the order in which findings are told.
    ///
    /// Containers and init containers have one type and can be one list; ephemeral ones have another.
    pub(crate) fn lists(&self) -> &'static [ContainerType] {
        match self {
            // Templates may not hold ephemeral containers, and a Pod gets them through its subresource only.
            Self::Pod | Self::Template(_) | Self::PodTemplate | Self::CronJob => {
                &[ContainerType::Container, ContainerType::InitContainer]
            }
            Self::EphemeralContainers | Self::Relabelled => &[ContainerType::EphemeralContainer],
            Self::Custom(..) => &ContainerType::ALL,
            Self::Strategy(_) | Self::Config(_) | Self::Proof => &[],
        }
    }

    /// The containers that are judged here, in CEL.
    pub(crate) fn containers(&self, spec: &str) -> String {
        match self {
            // The subresource carries the whole pod; only what is added is judged.
            Self::EphemeralContainers => format!(
                "(has({spec}.ephemeralContainers) ? {spec}.ephemeralContainers : []).filter(c, \
                 !has(oldObject.spec.ephemeralContainers) || !oldObject.spec.ephemeralContainers.exists(o, o.name == c.name))"
            ),
            Self::Custom(..) => custom::containers(spec, self.lists()),
            _ => {
                let lists: Vec<String> = self.lists().iter().map(|list| optional_list(spec, list.field())).collect();
                lists.join(" + ")
            }
        }
    }

    /// All containers of the kinds that are judged here, in CEL, those too that stood there before.
    pub(crate) fn containers_of_both(&self, spec: &str) -> String {
        match self {
            Self::EphemeralContainers => optional_list(spec, ContainerType::EphemeralContainer.field()),
            _ => self.containers(spec),
        }
    }

    /// Whether something of this shape can be, or be made from, an object of a kind.
    pub(crate) fn may_come_of(&self, kind: &str) -> bool {
        match self {
            // Controllers make them from anything.
            Self::Pod => true,
            Self::Template(kinds) if kinds.iter().any(|kind| MADE_KINDS.contains(kind)) => true,
            Self::Template(kinds) => kinds.iter().any(|own| own.name() == kind),
            Self::EphemeralContainers | Self::Relabelled => kind == Kind::Pod.name(),
            Self::PodTemplate | Self::Proof => kind == Kind::PodTemplate.name(),
            Self::CronJob => kind == Kind::CronJob.name(),
            Self::Custom(custom, _) => kind == custom.kind,
            Self::Strategy(own) => kind == own.name(),
            Self::Config(own) => kind == own.name(),
        }
    }

    /// Whether a container `c` stands in a list, in CEL: names are unique over all lists.
    pub(crate) fn is_in_list(&self, list: ContainerType) -> String {
        match self {
            Self::Custom(..) => format!("c.name.startsWith({})", quote(&custom::prefix(list))),
            _ if list == ContainerType::InitContainer => IS_INIT.to_owned(),
            _ => format!("{}.exists(o, o.name == c.name)", optional_list("variables.spec", list.field())),
        }
    }

    /// The image of a container, in CEL.
    pub(crate) fn image(&self, container: &str) -> String {
        if self.is_validated() {
            format!("string({container}.image)")
        } else {
            format!("(has({container}.image) ? string({container}.image) : '')")
        }
    }

    /// The volumes that are judged here, in CEL.
    pub(crate) fn volumes(&self, spec: &str) -> String {
        match self {
            Self::EphemeralContainers | Self::Relabelled => "[]".to_owned(),
            Self::Custom(..) => custom::volumes(spec),
            _ => optional_list(spec, "volumes"),
        }
    }

    /// Whether the API server has validated names and images, so that they are there and printable.
    pub(crate) fn is_validated(&self) -> bool {
        !matches!(self, Self::Custom(..))
    }

    /// The fields outside the pod spec that its rules read, of which an update must leave all as they were.
    ///
    /// Not the replicas: scaling goes through a subresource too, and must never be denied.
    pub(crate) fn own_fields(&self) -> Vec<(&'static str, &'static str)> {
        match self {
            Self::Strategy(kind) => UpdateStrategy::field(*kind).map(|field| ("spec", field)).into_iter().collect(),
            _ => Vec::new(),
        }
    }
}

/// A list that may be absent.
pub(crate) fn optional_list(owner: &str, field: &str) -> String {
    format!("(has({owner}.{field}) ? {owner}.{field} : [])")
}

fn rule(group: &str, version: &str, operations: &[&str], resources: &[&str]) -> ResourceRule {
    let own = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    ResourceRule {
        api_groups: own(&[group]),
        api_versions: own(&[version]),
        operations: own(operations),
        resources: own(resources),
        scope: "Namespaced".to_owned(),
    }
}
