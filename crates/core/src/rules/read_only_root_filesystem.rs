//! `read-only-root-filesystem`: what was shipped cannot be changed where it runs.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::marks::{HAS_SECURITY_CONTEXT, SECURITY_CONTEXT};
use super::subject::{Case, ContainerView};
use super::{Category, Checks, Document, Field, Rule, Severity, Text};
use crate::policy::{Profile, RuleEnforcement};

/// Rejects containers that may write to their own root filesystem.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ReadOnlyRootFilesystem {
    /// Enforcement of this rule; absent means the policy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<RuleEnforcement>,
}

impl Rule for ReadOnlyRootFilesystem {
    const ID: &'static str = "read-only-root-filesystem";
    const PROFILES: &'static [Profile] = &[Profile::Stateless, Profile::Stateful];
    const DOCUMENT: Document = Document {
        title: "The root filesystem is read-only",
        reason: "A writable root lets a process, an attacker or a colleague with exec change the code of one pod. \
                 Nobody sees it, and it is gone, or not, with the next restart.",
        remedy: "Set `securityContext.readOnlyRootFilesystem: true` and mount an emptyDir with a sizeLimit where the \
                 program must write, often /tmp, /run or a cache folder.",
        severity: Severity::High,
        category: Category::Runtime,
        bad: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n",
        good: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n    \
               securityContext: {readOnlyRootFilesystem: true}\n",
    };

    fn enforcement(&self) -> Option<RuleEnforcement> {
        self.enforcement
    }

    fn checks(&self) -> Checks {
        let writable = Case::new(
            |view: &ContainerView<'_>| view.container.security_context.read_only_root_filesystem != Some(true),
            format!(
                "!({HAS_SECURITY_CONTEXT}has({SECURITY_CONTEXT}.readOnlyRootFilesystem) && {SECURITY_CONTEXT}.readOnlyRootFilesystem)"
            ),
            Text::new("the root filesystem is writable", Vec::new()),
            Text::new("write securityContext.readOnlyRootFilesystem: true", Vec::new()),
        )
        .at("/securityContext/readOnlyRootFilesystem");
        Checks::all_containers(&[Field::Container("securityContext")], vec![writable]).linux_only()
    }
}
