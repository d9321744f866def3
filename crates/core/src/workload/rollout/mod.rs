//! What a planner that replaces pods needs to know of a workload.

mod progress;
#[cfg(test)]
mod tests;
mod writers;

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use super::{IntOrPercent, Kind, Reloader, Tree, UpdateStrategy, WorkloadKind};
use crate::rules::printable;

pub use progress::Progress;
pub use writers::Writer;

/// Annotation of a workload by which its owner opts in or out: `enabled` or `disabled`.
pub const ROLLOUT: &str = "immutable.dev/rollout";
/// Annotation of a pod template: digest of the content its pods were started with. A change of it replaces the pods.
pub const STAMP: &str = "immutable.dev/config-digest";
/// Annotation of a pod template: why the stamp changed, in words; revisions keep it as their history.
pub const CAUSE: &str = "immutable.dev/rollout-cause";
/// Annotation of a workload: the stamp it belongs to (or `-`), a colon and the digest of what its pods were started with.
pub const BASELINE: &str = "immutable.dev/config-baseline";
/// Annotation of a workload: a short digest of each object its pods refer to.
pub const SOURCES: &str = "immutable.dev/config-sources";
/// Annotation of a workload: since when the content differs from what is recorded.
pub const DIFFERS_SINCE: &str = "immutable.dev/config-differs-since";

/// Field manager of the annotations of pod templates.
pub const ROLLOUT_MANAGER: &str = "immutable-operator-rollout";
/// Field manager of the annotations of the workload itself. One manager for both would strip the template.
pub const RECORD_MANAGER: &str = "immutable-operator-record";

/// Bytes kept of an annotation. What we write is shorter; anybody can write up to 256 KiB.
pub const KEPT_BYTES: usize = 8192;

/// A Deployment, `StatefulSet`, `DaemonSet` or custom workload as far as replacing its pods goes.
///
/// What has the wrong type is read as absent.
#[derive(Clone, Debug, PartialEq)]
pub struct Rollout {
    /// `metadata.resourceVersion`; empty if absent.
    pub resource_version: Box<str>,
    /// What the annotation [`ROLLOUT`] says.
    pub choice: Choice,
    /// [`STAMP`] of the pod template. Several templates must all carry the same one, otherwise there is none.
    pub stamp: Option<Box<str>>,
    /// [`CAUSE`] of the pod template, with the same rule.
    pub cause: Option<Box<str>>,
    /// [`BASELINE`] as written, cut at [`KEPT_BYTES`] like all of these texts.
    pub baseline: Option<Box<str>>,
    /// [`SOURCES`] as written.
    pub sources: Option<Box<str>>,
    /// [`DIFFERS_SINCE`] as written.
    pub differs_since: Option<Box<str>>,
    /// A hash of the pod templates without [`STAMP`] and [`CAUSE`]: it differs when somebody else changed them. For
    /// comparison in memory only; another build may hash differently.
    pub template: u64,
    /// How far its controller is.
    pub progress: Progress,
    /// `status.updateRevision` of a `StatefulSet`: the revision that Pods of the newest template carry
    /// ([`super::PodFacts::revision`]). None for others, and until the controller has seen the newest spec.
    pub update_revision: Option<Box<str>>,
    /// Whether its controller was told to start nothing (`spec.paused` of a Deployment or custom workload).
    pub paused: bool,
    /// Whether `metadata.deletionTimestamp` is set: it will not roll any more.
    pub leaving: bool,
    /// Which pods its controller replaces by itself when the template changes.
    pub replacing: Replacing,
    /// Wanted pods: `spec.replicas`, or `status.desiredNumberScheduled` of a `DaemonSet`. A custom workload may have
    /// neither; then `status.replicas`, then 1.
    pub replicas: i64,
    /// When [`ROLLOUT_MANAGER`] last changed the object, from `metadata.managedFields`.
    pub rolled: Option<Timestamp>,
    /// Who else changed it last, apart from subresources such as `status` and `scale`.
    pub writer: Option<Writer>,
    /// JSON Pointers of the pod templates that are there (objects that hold `metadata` and `spec`), such as
    /// `/spec/template`. A custom workload may have none.
    pub template_pointers: Box<[Box<str>]>,
    /// What its annotations say to stakater/Reloader, where they say anything.
    pub reloader: Option<Box<Reloader>>,
}

/// What the owner of a workload says about replacing its pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Choice {
    /// `enabled`
    Enabled,
    /// `disabled`
    Disabled,
    /// The annotation is absent.
    Unset,
    /// Something else, as it may be shown: printable ASCII of at most 80 characters.
    Invalid(Box<str>),
}

/// Which pods a controller replaces by itself when the template changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Replacing {
    /// All, in steps or at once (`RollingUpdate`, `Recreate`).
    Rolling,
    /// None: a person deletes them.
    OnDelete,
    /// All but this many (more than 0), those with the lowest ordinals.
    Partition(i64),
}

impl Rollout {
    /// Reads the view. None for kinds whose pods are not replaced through a template: Pods, Jobs, `CronJobs`,
    /// `ReplicaSets`, `ReplicationControllers` and `PodTemplates`.
    ///
    /// `pod_templates`: JSON Pointers of a custom workload's templates ([`super::CustomWorkload::pod_templates`]);
    /// not looked at for the others.
    pub fn read(value: &Value, kind: &WorkloadKind, pod_templates: &[String]) -> Option<Self> {
        if !is_rolled(kind) {
            return None;
        }
        let templates = templates(value, kind, pod_templates);
        let own = workload_annotations(value);
        let replicas = replicas(value, kind);
        let replacing = Replacing::read(value, kind, replicas);
        let written = writers::Written::read(value);
        Some(Self {
            resource_version: text(value.pointer("/metadata/resourceVersion")).unwrap_or_default().into(),
            choice: Choice::read(own.get(ROLLOUT).copied()),
            stamp: in_all(&templates, STAMP),
            cause: in_all(&templates, CAUSE),
            baseline: own.get(BASELINE).map(|text| kept(text)),
            sources: own.get(SOURCES).map(|text| kept(text)),
            differs_since: own.get(DIFFERS_SINCE).map(|text| kept(text)),
            template: hash_of(&templates),
            progress: Progress::read(value, kind, replicas, replacing),
            update_revision: progress::update_revision(value, kind).map(kept),
            paused: is_paused(value, kind),
            leaving: text(value.pointer("/metadata/deletionTimestamp")).is_some(),
            replacing,
            replicas,
            rolled: written.rolled,
            writer: written.writer,
            template_pointers: templates.iter().map(|(pointer, _)| Box::from(*pointer)).collect(),
            reloader: reloader(&own, templates.first().map(|(_, template)| *template)),
        })
    }
}

/// Read only where there is something to read: hardly any workload has it.
fn reloader(own: &BTreeMap<&str, &str>, template: Option<&Value>) -> Option<Box<Reloader>> {
    let of_template = template.map(workload_annotations).unwrap_or_default();
    if !own.keys().chain(of_template.keys()).any(|name| Reloader::is_annotation(name)) {
        return None;
    }
    let owned = |annotations: &BTreeMap<&str, &str>| {
        annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    };
    Reloader::read(&owned(own), &owned(&of_template)).map(Box::new)
}

impl Choice {
    fn read(written: Option<&str>) -> Self {
        match written {
            None => Self::Unset,
            Some("enabled") => Self::Enabled,
            Some("disabled") => Self::Disabled,
            Some(other) => Self::Invalid(printable(other).into()),
        }
    }
}

impl Replacing {
    fn read(value: &Value, kind: &WorkloadKind, replicas: i64) -> Self {
        let field = match kind.built_in() {
            // Both of its strategies replace all pods.
            Some(Kind::Deployment) => return Self::Rolling,
            Some(kind) => UpdateStrategy::field(kind),
            None => Some("updateStrategy"),
        };
        let strategy = field.and_then(|field| value.get("spec")?.get(field));
        let Some(strategy) = strategy else { return Self::Rolling };
        if text(strategy.get("type")) == Some("OnDelete") {
            return Self::OnDelete;
        }
        let mut partition = match kind.built_in() {
            Some(Kind::DaemonSet) => None,
            _ => strategy.pointer("/rollingUpdate/partition"),
        };
        // OpenKruise's CloneSet has it here, as a number or a share of the replicas that is rounded up.
        if kind.built_in().is_none() && partition.is_none() {
            partition = strategy.get("partition");
        }
        let pods = match partition.map(IntOrPercent::deserialize) {
            Some(Ok(IntOrPercent::Number(pods))) => pods,
            Some(Ok(IntOrPercent::Percent(percent))) if kind.built_in().is_none() => {
                replicas.saturating_mul(percent).saturating_add(99) / 100
            }
            _ => 0,
        };
        if pods > 0 { Self::Partition(pods) } else { Self::Rolling }
    }
}

/// Annotations of the workload itself; what is no text is left out.
pub fn workload_annotations(value: &Value) -> BTreeMap<&str, &str> {
    let annotations = value.pointer("/metadata/annotations").and_then(Value::as_object);
    let pairs = annotations.into_iter().flatten();
    pairs.filter_map(|(key, value)| Some((key.as_str(), value.as_str()?))).collect()
}

/// Annotations of the first pod template of a workload; none where it has no template. The arguments are those of
/// [`Rollout::read`].
pub fn template_annotations<'v>(
    value: &'v Value,
    kind: &WorkloadKind,
    pod_templates: &[String],
) -> BTreeMap<&'v str, &'v str> {
    let first = templates(value, kind, pod_templates).first().map(|(_, template)| *template);
    // A template has its metadata where a workload has them.
    first.map(workload_annotations).unwrap_or_default()
}

fn is_rolled(kind: &WorkloadKind) -> bool {
    kind.built_in().is_none_or(|kind| matches!(kind, Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet))
}

/// The templates that are there. One without a pod spec starts no pods.
fn templates<'v, 'p>(value: &'v Value, kind: &WorkloadKind, pod_templates: &'p [String]) -> Vec<(&'p str, &'v Value)> {
    let mut found: Vec<(&str, &Value)> = Vec::new();
    let mut add = |pointer: &'p str| {
        let template = Tree::at(value, pointer).filter(|template| template.get("spec").is_some_and(Value::is_object));
        if let Some(template) = template
            && found.iter().all(|(known, _)| *known != pointer)
        {
            found.push((pointer, template));
        }
    };
    match kind.built_in() {
        Some(kind) => kind.template_pointers().iter().copied().for_each(&mut add),
        None => pod_templates.iter().map(String::as_str).for_each(&mut add),
    }
    found
}

/// An annotation that all templates carry with the same value.
fn in_all(templates: &[(&str, &Value)], key: &str) -> Option<Box<str>> {
    let mut values = templates.iter().map(|(_, template)| text(template.get("metadata")?.get("annotations")?.get(key)));
    let first = values.next()??;
    values.all(|value| value == Some(first)).then(|| kept(first))
}

fn hash_of(templates: &[(&str, &Value)]) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (pointer, template) in templates {
        pointer.hash(&mut hasher);
        let metadata = template.get("metadata");
        let annotations = metadata.and_then(|metadata| metadata.get("annotations"));
        let parts: [(Option<&Value>, &[&str]); 3] =
            [(Some(*template), &["metadata"]), (metadata, &["annotations"]), (annotations, &[STAMP, CAUSE])];
        for (part, but) in parts {
            // An apply of our annotations makes the maps that they stand in, so an absent map hashes as an empty one.
            let entries = part.and_then(Value::as_object).into_iter().flatten();
            for entry in entries.filter(|(key, _)| !but.contains(&key.as_str())) {
                entry.hash(&mut hasher);
            }
            hasher.write_u8(0xff);
        }
    }
    hasher.finish()
}

fn replicas(value: &Value, kind: &WorkloadKind) -> i64 {
    let number = |pointer| value.pointer(pointer).and_then(Value::as_i64);
    let of_daemon_set = || number("/status/desiredNumberScheduled");
    match kind.built_in() {
        Some(Kind::DaemonSet) => of_daemon_set().unwrap_or(0),
        // SetDefaults_Deployment and SetDefaults_StatefulSet of pkg/apis/apps/v1/defaults.go.
        Some(_) => number("/spec/replicas").unwrap_or(1),
        // OpenKruise has a DaemonSet of its own.
        None => number("/spec/replicas").or_else(of_daemon_set).or_else(|| number("/status/replicas")).unwrap_or(1),
    }
}

fn is_paused(value: &Value, kind: &WorkloadKind) -> bool {
    let is_true = |pointer| value.pointer(pointer).and_then(Value::as_bool) == Some(true);
    match kind.built_in() {
        Some(Kind::Deployment) => is_true("/spec/paused"),
        Some(_) => false,
        // The latter two are OpenKruise's.
        None => {
            is_true("/spec/paused")
                || is_true("/spec/updateStrategy/paused")
                || is_true("/spec/updateStrategy/rollingUpdate/paused")
        }
    }
}

/// A text; null and other types are absent.
fn text(node: Option<&Value>) -> Option<&str> {
    node.and_then(Value::as_str)
}

/// What is kept of a text.
fn kept(text: &str) -> Box<str> {
    let mut end = text.len().min(KEPT_BYTES);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].into()
}
