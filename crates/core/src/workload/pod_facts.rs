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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use rstest::rstest;
    use serde_json::json;

    use super::*;

    fn pod() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {
                "name": "web-0", "creationTimestamp": "2026-11-26T09:00:00Z",
                "labels": {"app": "web", "controller-revision-hash": "web-7d4b9c"},
                "ownerReferences": [
                    {"apiVersion": "v1", "kind": "ConfigMap", "name": "keeps", "uid": "1"},
                    {"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web", "uid": "2", "controller": true},
                ],
            },
            "spec": {"containers": [{"name": "web", "image": "web:1"}]},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "PodScheduled", "status": "True"}, {"type": "Ready", "status": "True"}],
            },
        })
    }

    /// Read from the tree and from its text, which must agree.
    fn read(pod: &Value) -> PodFacts {
        let facts = PodFacts::read(pod);
        assert_eq!(serde_json::from_str::<PodFacts>(&pod.to_string()).unwrap(), facts);
        facts
    }

    fn with(pointer: &str, changed: Value) -> PodFacts {
        let mut pod = pod();
        let (parent, key) = pointer.rsplit_once('/').unwrap();
        pod.pointer_mut(parent).unwrap()[key] = changed;
        read(&pod)
    }

    fn facts() -> PodFacts {
        PodFacts { created: 1_795_683_600, leaving: false, ready: true, revision: Some("web-7d4b9c".into()) }
    }

    #[rstest]
    #[case::serving("/kind", json!("Pod"), facts())]
    #[case::being_deleted("/metadata/deletionTimestamp", json!("2026-11-26T09:05:00Z"), PodFacts { leaving: true, ..facts() })]
    #[case::not_being_deleted("/metadata/deletionTimestamp", json!(null), facts())]
    #[case::ended("/status/phase", json!("Succeeded"), PodFacts { leaving: true, ..facts() })]
    #[case::failed("/status/phase", json!("Failed"), PodFacts { leaving: true, ..facts() })]
    #[case::pending("/status", json!({"phase": "Pending"}), PodFacts { ready: false, ..facts() })]
    #[case::not_ready("/status/conditions", json!([{"type": "Ready", "status": "False"}]), PodFacts { ready: false, ..facts() })]
    #[case::other_condition("/status/conditions", json!([{"type": "ContainersReady", "status": "True"}]), PodFacts { ready: false, ..facts() })]
    #[case::no_conditions("/status/conditions", json!(null), PodFacts { ready: false, ..facts() })]
    #[case::no_labels("/metadata/labels", json!(null), PodFacts { revision: None, ..facts() })]
    #[case::bare("/metadata/ownerReferences", json!(null), PodFacts { revision: None, ..facts() })]
    #[case::of_a_daemon_set(
        "/metadata/ownerReferences", json!([{"apiVersion": "apps/v1", "kind": "DaemonSet", "controller": true}]),
        PodFacts { revision: None, ..facts() }
    )]
    #[case::of_another_group(
        "/metadata/ownerReferences", json!([{"apiVersion": "apps.kruise.io/v1beta1", "kind": "StatefulSet", "controller": true}]),
        PodFacts { revision: None, ..facts() }
    )]
    #[case::owned_not_controlled(
        "/metadata/ownerReferences", json!([{"apiVersion": "apps/v1", "kind": "StatefulSet"}]),
        PodFacts { revision: None, ..facts() }
    )]
    #[case::escaped_text("/metadata/labels/controller-revision-hash", json!("a\"b"), PodFacts { revision: Some("a\"b".into()), ..facts() })]
    #[case::no_time("/metadata/creationTimestamp", json!("now"), PodFacts { created: 0, ..facts() })]
    fn a_pod_is_read(#[case] pointer: &str, #[case] changed: Value, #[case] expected: PodFacts) {
        assert_eq!(with(pointer, changed), expected);
    }

    #[test]
    fn what_is_no_pod_is_the_default() {
        assert_eq!(read(&json!({})), PodFacts::default());
        assert_eq!(PodFacts::read(&json!({"metadata": 1})), PodFacts::default());
        assert!(serde_json::from_str::<PodFacts>(r#"{"metadata": 1}"#).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in any::<String>(), time in any::<String>(), phase in any::<String>()) {
            let pod = json!({"metadata": {"creationTimestamp": time}, "status": {"phase": phase}});
            prop_assert!(!read(&pod).ready);
            let _ = serde_json::from_str::<PodFacts>(&text);
        }
    }
}
