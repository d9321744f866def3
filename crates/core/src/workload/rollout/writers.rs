//! Who changed a workload last, as `metadata.managedFields` tells.

use jiff::Timestamp;
use serde_json::Value;

use super::{RECORD_MANAGER, ROLLOUT_MANAGER, text};

/// Who changed a workload, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writer {
    /// The field manager as written, cut at 128 characters, which is what the API server allows.
    pub manager: Box<str>,
    /// When it last changed a field, by the API server's clock, in whole seconds.
    pub time: Timestamp,
}

/// What `metadata.managedFields` tells. An entry's time changes only when its manager changes something
/// (k8s.io/apimachinery/pkg/util/managedfields/internal/managedfieldsupdater.go).
#[derive(Debug, Default, PartialEq)]
pub(super) struct Written {
    pub(super) rolled: Option<Timestamp>,
    pub(super) writer: Option<Writer>,
}

/// `FieldManagerMaxLength` of k8s.io/apimachinery/pkg/apis/meta/v1/validation/validation.go.
const MANAGER_CHARACTERS: usize = 128;

impl Written {
    pub(super) fn read(value: &Value) -> Self {
        let mut written = Self::default();
        let mut newest: Option<(&str, Timestamp)> = None;
        for entry in value.pointer("/metadata/managedFields").and_then(Value::as_array).into_iter().flatten() {
            // Controllers and autoscalers write through subresources; none of these changes a template.
            if text(entry.get("subresource")).is_some_and(|subresource| !subresource.is_empty()) {
                continue;
            }
            let time = text(entry.get("time")).and_then(|time| time.parse::<Timestamp>().ok());
            let (Some(manager), Some(time)) = (text(entry.get("manager")), time) else { continue };
            if manager == ROLLOUT_MANAGER {
                // Ours is an apply; an update with this name is nobody's.
                if text(entry.get("operation")) == Some("Apply") {
                    written.rolled = written.rolled.max(Some(time));
                }
            } else if manager != RECORD_MANAGER && newest.is_none_or(|(_, known)| known <= time) {
                newest = Some((manager, time));
            }
        }
        written.writer = newest.map(|(manager, time)| Writer {
            manager: manager.chars().take(MANAGER_CHARACTERS).collect::<String>().into(),
            time,
        });
        written
    }
}
