//! `scratch-volumes`: room to write is measured.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::subject::Case;
use super::{Category, Checks, Document, Field, Rule, Severity, Text};
use crate::policy::{Profile, RuleEnforcement};
use crate::workload::Volume;

/// Rejects `emptyDir` volumes without a `sizeLimit`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ScratchVolumes {
    /// Enforcement of this rule; absent means the policy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<RuleEnforcement>,
}

impl Rule for ScratchVolumes {
    const ID: &'static str = "scratch-volumes";
    const PROFILES: &'static [Profile] = &[Profile::Stateless];
    const DOCUMENT: Document = Document {
        title: "Scratch volumes have a limit",
        reason: "An emptyDir is the one place where an immutable pod writes. Without a limit it can fill the node's \
                 disk, or its memory, and every pod there is evicted.",
        remedy: "Set `emptyDir.sizeLimit` to what the program needs.",
        severity: Severity::Medium,
        category: Category::Runtime,
        bad: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n  \
              volumes:\n  - name: tmp\n    emptyDir: {}\n",
        good: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n  \
               volumes:\n  - name: tmp\n    emptyDir: {sizeLimit: 64Mi}\n",
    };

    fn enforcement(&self) -> Option<RuleEnforcement> {
        self.enforcement
    }

    fn checks(&self) -> Checks {
        let unlimited = Case::new(
            |volume: &&Volume| volume.empty_dir.as_ref().is_some_and(|scratch| scratch.size_limit.is_none()),
            "has(v.emptyDir) && !has(v.emptyDir.sizeLimit)",
            Text::new("emptyDir has no sizeLimit", Vec::new()),
            Text::new("write emptyDir.sizeLimit", Vec::new()),
        )
        .at("/emptyDir/sizeLimit");
        Checks { volumes: vec![unlimited], reads: vec![Field::Volume("emptyDir")], ..Checks::default() }
    }
}
