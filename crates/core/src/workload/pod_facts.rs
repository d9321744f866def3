//! What is kept of a Pod that belongs to a workload whose pods are replaced.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::Kind;
use super::pod_spec::null_is_absent;

/// What is kept of a Pod. Deserializes from the Pod's JSON text, of which it builds no tree; that fails where a field
/// named here has another type than the API server gives it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PodFacts {
    /// `metadata.creationTimestamp` in seconds since 1970-01-01T00:00:00Z; 0 where there is none.
    pub created: i64,
    /// Whether it is being deleted or has ended (`status.phase` Succeeded or Failed): it serves no more.
    pub leaving: bool,
    /// Whether the condition Ready is True.
    pub ready: bool,
    /// The label `controller-revision-hash` of a `StatefulSet`'s Pod: the name of the revision it was made from, as
    /// `status.updateRevision` has it. None for Pods of other controllers.
    pub revision: Option<Box<str>>,
}

impl PodFacts {
    /// Reads a Pod that is already a tree; of what cannot be read, the default. Reading the text is cheaper.
    pub fn read(pod: &Value) -> Self {
        Self::deserialize(pod).unwrap_or_default()
    }
}

impl<'de> Deserialize<'de> for PodFacts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Pod { metadata, status } = Pod::deserialize(deserializer)?;
        let made_by_stateful_set = metadata.owner_references.iter().any(Owner::is_stateful_set);
        let revision = metadata.labels.revision.filter(|_| made_by_stateful_set);
        Ok(Self {
            created: metadata.creation_timestamp.and_then(seconds).unwrap_or(0),
            leaving: metadata.deletion_timestamp.is_some()
                || matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")),
            ready: status.conditions.iter().any(Condition::is_ready),
            revision: revision.map(|Text(revision)| revision.into()),
        })
    }
}

fn seconds(Text(time): Text<'_>) -> Option<i64> {
    time.parse::<Timestamp>().ok().map(Timestamp::as_second)
}

/// A text that is borrowed where it can be, also where it is optional.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Pod<'a> {
    #[serde(borrow, deserialize_with = "null_is_absent")]
    metadata: Metadata<'a>,
    #[serde(borrow, deserialize_with = "null_is_absent")]
    status: Status<'a>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow)]
    creation_timestamp: Option<Text<'a>>,
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(borrow, deserialize_with = "null_is_absent")]
    labels: Labels<'a>,
    #[serde(borrow, deserialize_with = "null_is_absent")]
    owner_references: Vec<Owner<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Labels<'a> {
    /// `ControllerRevisionHashLabelKey` of k8s.io/api/apps/v1/types.go.
    #[serde(borrow, rename = "controller-revision-hash")]
    revision: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Owner<'a> {
    #[serde(borrow)]
    api_version: Option<Text<'a>>,
    #[serde(borrow)]
    kind: Option<Text<'a>>,
    controller: Option<bool>,
}

impl Owner<'_> {
    fn is_stateful_set(&self) -> bool {
        let kind = Kind::StatefulSet;
        self.controller == Some(true)
            && self.kind.as_deref() == Some(kind.name())
            && self.api_version.as_deref() == Some(kind.api_version())
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status<'a> {
    #[serde(borrow)]
    phase: Option<Text<'a>>,
    #[serde(borrow, deserialize_with = "null_is_absent")]
    conditions: Vec<Condition<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Condition<'a> {
    #[serde(borrow, rename = "type")]
    condition_type: Option<Text<'a>>,
    #[serde(borrow)]
    status: Option<Text<'a>>,
}

impl Condition<'_> {
    fn is_ready(&self) -> bool {
        self.condition_type.as_deref() == Some("Ready") && self.status.as_deref() == Some("True")
    }
}
