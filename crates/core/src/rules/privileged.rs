//! `privileged`: no container is the node.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::marks::{HAS_SECURITY_CONTEXT, SECURITY_CONTEXT};
use super::subject::{Case, ContainerView};
use super::{Category, Checks, Document, Field, Rule, Severity, Text};
use crate::policy::{Profile, RuleEnforcement};

/// Rejects privileged containers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Privileged {
    /// Enforcement of this rule; absent means the policy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<RuleEnforcement>,
}

impl Rule for Privileged {
    const ID: &'static str = "privileged";
    const PROFILES: &'static [Profile] = &[Profile::Stateless, Profile::Stateful];
    const DOCUMENT: Document = Document {
        title: "Containers are not privileged",
        reason: "A privileged container has every capability and every device of the node. It can change any \
                 other container, so nothing on that node is immutable.",
        remedy: "Remove `securityContext.privileged`, and add the one capability that the program needs.",
        severity: Severity::Critical,
        category: Category::Runtime,
        bad: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n    \
              securityContext: {privileged: true}\n",
        good: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n",
    };

    fn enforcement(&self) -> Option<RuleEnforcement> {
        self.enforcement
    }

    fn checks(&self) -> Checks {
        let privileged = Case::new(
            |view: &ContainerView<'_>| view.container.security_context.privileged == Some(true),
            format!("{HAS_SECURITY_CONTEXT}has({SECURITY_CONTEXT}.privileged) && {SECURITY_CONTEXT}.privileged"),
            Text::new("is privileged", Vec::new()),
            Text::new("write securityContext.privileged: false", Vec::new()),
        )
        .at("/securityContext/privileged");
        Checks::all_containers(&[Field::Container("securityContext")], vec![privileged]).linux_only()
    }
}
