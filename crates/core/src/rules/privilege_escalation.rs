//! `privilege-escalation`: no process gains more rights than its parent.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::marks::{HAS_SECURITY_CONTEXT, SECURITY_CONTEXT};
use super::subject::{Case, ContainerView};
use super::{Category, Checks, Document, Field, Rule, Severity, Text};
use crate::policy::{Profile, RuleEnforcement};

/// Rejects containers whose processes may gain more rights than they started with.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct PrivilegeEscalation {
    /// Enforcement of this rule; absent means the policy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<RuleEnforcement>,
}

impl Rule for PrivilegeEscalation {
    const ID: &'static str = "privilege-escalation";
    const PROFILES: &'static [Profile] = &[Profile::Stateless, Profile::Stateful];
    const DOCUMENT: Document = Document {
        title: "Processes gain no privileges",
        reason: "Without this switch a setuid program in the image turns an ordinary process into root. It sets the \
                 kernel's no_new_privs flag, which no process can take back.",
        remedy: "Set `securityContext.allowPrivilegeEscalation: false` on each container.",
        severity: Severity::High,
        category: Category::Runtime,
        bad: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n",
        good: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n    \
               securityContext: {allowPrivilegeEscalation: false}\n",
    };

    fn enforcement(&self) -> Option<RuleEnforcement> {
        self.enforcement
    }

    fn checks(&self) -> Checks {
        let allowed = Case::new(
            |view: &ContainerView<'_>| view.container.security_context.allow_privilege_escalation != Some(false),
            format!(
                "!({HAS_SECURITY_CONTEXT}has({SECURITY_CONTEXT}.allowPrivilegeEscalation) && !{SECURITY_CONTEXT}.allowPrivilegeEscalation)"
            ),
            Text::new("processes may gain privileges", Vec::new()),
            Text::new("write securityContext.allowPrivilegeEscalation: false", Vec::new()),
        )
        .at("/securityContext/allowPrivilegeEscalation");
        Checks::all_containers(&[Field::Container("securityContext")], vec![allowed]).linux_only()
    }
}
