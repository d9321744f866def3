//! What the planner wants to have written: one small server-side apply each, of annotations and nothing else.

use serde_json::{Map, Value, json};

use crate::workload::rollout::{BASELINE, CAUSE, DIFFERS_SINCE, RECORD_MANAGER, ROLLOUT_MANAGER, SOURCES, STAMP};
use crate::world::WorkloadKey;

/// Which object, in the version that was decided on. Without either of uid and resourceVersion an apply could create what
/// was deleted, or overwrite what nobody looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Its kind, namespace and name.
    pub key: WorkloadKey,
    /// The plural by which it is served.
    pub resource: String,
    /// Its uid.
    pub uid: String,
    /// Its resourceVersion.
    pub resource_version: String,
    /// JSON Pointers of its pod templates.
    pub template_pointers: Box<[Box<str>]>,
}

/// One write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Replaces the pods.
    Roll {
        /// Of this workload.
        target: Target,
        /// `immutable.dev/config-digest` of the templates.
        stamp: String,
        /// `immutable.dev/rollout-cause` of the templates.
        cause: String,
        /// `immutable.dev/config-sources` of the workload.
        sources: String,
        /// `immutable.dev/config-baseline` of the workload, where one is there that says something else of this stamp.
        baseline: Option<String>,
    },
    /// Notes on the workload's own metadata what its pods were started with, which replaces nothing.
    Record {
        /// Of this workload.
        target: Target,
        /// `immutable.dev/config-baseline`
        baseline: Option<String>,
        /// `immutable.dev/config-sources`
        sources: Option<String>,
        /// `immutable.dev/config-differs-since`
        differs_since: Option<String>,
    },
}

impl Intent {
    /// What it is about.
    pub fn target(&self) -> &Target {
        match self {
            Self::Roll { target, .. } | Self::Record { target, .. } => target,
        }
    }

    /// Whether it replaces pods.
    pub fn rolls(&self) -> bool {
        matches!(self, Self::Roll { .. })
    }

    /// The field manager that writes it: each always writes all that it owns.
    pub fn manager(&self) -> &'static str {
        match self {
            Self::Roll { .. } => ROLLOUT_MANAGER,
            Self::Record { .. } => RECORD_MANAGER,
        }
    }

    /// The body of the apply.
    pub fn manifest(&self) -> Value {
        let target = self.target();
        let mut metadata = json!({
            "name": target.key.name, "namespace": target.key.namespace,
            "uid": target.uid, "resourceVersion": target.resource_version,
        });
        let mut manifest = json!({"apiVersion": target.key.kind.api_version(), "kind": target.key.kind.name()});
        match self {
            Self::Roll { stamp, cause, sources, baseline, .. } => {
                metadata["annotations"] = json!({SOURCES: sources});
                if let Some(baseline) = baseline {
                    metadata["annotations"][BASELINE] = json!(baseline);
                }
                for pointer in &target.template_pointers {
                    let template = json!({"metadata": {"annotations": {STAMP: stamp, CAUSE: cause}}});
                    put(&mut manifest, pointer, template);
                }
            }
            Self::Record { baseline, sources, differs_since, .. } => {
                let values = [(BASELINE, baseline), (SOURCES, sources), (DIFFERS_SINCE, differs_since)];
                let written =
                    values.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?))));
                metadata["annotations"] = Value::Object(written.collect());
            }
        }
        manifest["metadata"] = metadata;
        manifest
    }
}

/// Puts a value at a JSON Pointer of plain names, and makes what leads there.
fn put(root: &mut Value, pointer: &str, value: Value) {
    let mut at = root;
    for name in pointer.split('/').skip(1) {
        if !at.is_object() {
            *at = Value::Object(Map::new());
        }
        at = &mut at[name];
    }
    *at = value;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Kind, WorkloadKind};

    fn target(pointers: &[&str]) -> Target {
        let key = WorkloadKey {
            kind: WorkloadKind::BuiltIn(Kind::Deployment),
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        };
        let template_pointers = pointers.iter().map(|pointer| Box::from(*pointer)).collect();
        Target {
            key,
            resource: "deployments".to_owned(),
            uid: "u".to_owned(),
            resource_version: "7".to_owned(),
            template_pointers,
        }
    }

    #[test]
    fn a_roll_names_its_version_and_every_template_and_nothing_else() {
        let (stamp, cause, sources) = ("s".to_owned(), "c".to_owned(), "o".to_owned());
        let target = target(&["/spec/template", "/spec/other/template"]);
        let roll = Intent::Roll { target, stamp, cause, sources, baseline: None };
        let template = json!({"metadata": {"annotations": {
            "immutable.dev/config-digest": "s", "immutable.dev/rollout-cause": "c",
        }}});
        let metadata = json!({
            "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7",
            "annotations": {"immutable.dev/config-sources": "o"},
        });
        let spec = json!({"template": template, "other": {"template": template}});
        assert_eq!(
            roll.manifest(),
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec})
        );
        assert_eq!(roll.manager(), "immutable-operator-rollout");
    }

    #[test]
    fn a_record_is_metadata_alone() {
        let baseline = Some("-:d".to_owned());
        let record =
            Intent::Record { target: target(&["/spec/template"]), baseline, sources: None, differs_since: None };
        let manifest = record.manifest();
        assert_eq!(manifest["metadata"]["annotations"], json!({"immutable.dev/config-baseline": "-:d"}));
        assert_eq!(manifest.get("spec"), None);
        assert_eq!(record.manager(), "immutable-operator-record");
    }
}
