//! `run-as-non-root`: no process starts as uid 0.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::subject::{Case, ContainerView, Containers};
use super::{Category, Checks, Document, Field, Rule, Severity, Text};
use crate::policy::{Profile, RuleEnforcement};

/// Rejects containers that may run as root; the container's fields win over the pod's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct RunAsNonRoot {
    /// Enforcement of this rule; absent means the policy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<RuleEnforcement>,
}

impl Rule for RunAsNonRoot {
    const ID: &'static str = "run-as-non-root";
    const PROFILES: &'static [Profile] = &[Profile::Stateless];
    const DOCUMENT: Document = Document {
        title: "Containers do not run as root",
        reason: "Root in a container owns every file of its image and is root on the node if it gets out.",
        remedy: "Set `securityContext.runAsNonRoot: true` for the pod, and a `runAsUser` other than 0 where the image \
                 names no numeric user.",
        severity: Severity::High,
        category: Category::Runtime,
        bad: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n",
        good: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  securityContext: {runAsNonRoot: true}\n  containers:\n  \
               - name: web\n    image: nginx:1.27.3\n",
    };

    fn enforcement(&self) -> Option<RuleEnforcement> {
        self.enforcement
    }

    fn checks(&self) -> Checks {
        let non_root = effective("runAsNonRoot", "false");
        let user = effective("runAsUser", "-1");
        let root = format!("{user} == 0");
        let unsaid = format!("!{non_root}");
        let cases = vec![
            case(
                |view| runs_as_root(view) && !says_non_root(view),
                &format!("{root} && {unsaid}"),
                "runs as uid 0 and does not say runAsNonRoot",
                "write securityContext.runAsNonRoot: true and a runAsUser other than 0",
            )
            .at("/securityContext/runAsNonRoot"),
            case(runs_as_root, &root, "runs as uid 0", "write a securityContext.runAsUser other than 0")
                .at("/securityContext/runAsUser"),
            case(
                |view| !says_non_root(view),
                &unsaid,
                "may run as root",
                "write securityContext.runAsNonRoot: true",
            )
            .at("/securityContext/runAsNonRoot"),
        ];
        Checks::all_containers(&[Field::Container("securityContext"), Field::Pod("securityContext")], cases)
    }
}

fn case(
    rust: impl for<'a> Fn(&ContainerView<'a>) -> bool + Send + Sync + 'static,
    cel: &str,
    message: &str,
    fix: &str,
) -> Case<Containers> {
    Case::<Containers>::new(rust, cel, Text::new(message, Vec::new()), Text::new(fix, Vec::new()))
}

fn says_non_root(view: &ContainerView<'_>) -> bool {
    let own = view.container.security_context.run_as_non_root;
    own.or(view.pod.security_context.run_as_non_root) == Some(true)
}

fn runs_as_root(view: &ContainerView<'_>) -> bool {
    let own = view.container.security_context.run_as_user;
    own.or(view.pod.security_context.run_as_user) == Some(0)
}

/// A field of the container's security context, or else of the pod's, or else a value, in CEL.
fn effective(field: &str, absent: &str) -> String {
    format!(
        "(has(c.securityContext) && has(c.securityContext.{field}) ? c.securityContext.{field} : \
         has(variables.spec.securityContext) && has(variables.spec.securityContext.{field}) ? \
         variables.spec.securityContext.{field} : {absent})"
    )
}
