//! `run-as-non-root`: no process starts as uid 0.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::marks::{HAS_SECURITY_CONTEXT, SECURITY_CONTEXT};
use super::subject::{Case, ContainerView, Items};
use super::{Category, Checks, Document, Field, Rule, Severity};
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
        let root = format!("{} == 0", effective("runAsUser", "-1"));
        let unsaid = format!("!{}", effective("runAsNonRoot", "false"));
        let case = Case::listing(
            |view: &ContainerView<'_>| {
                let problems = [(!says_non_root(view), UNSAID), (runs_as_root(view), ROOT)];
                problems.iter().filter(|(holds, _)| *holds).map(|(_, text)| (*text).to_owned()).collect()
            },
            Items::default().when(&unsaid, UNSAID).when(&root, ROOT),
            "may run as root: {list}",
            "write securityContext.runAsNonRoot: true and no runAsUser: 0",
        )
        .at_field(|view: &ContainerView<'_>| {
            let field = if says_non_root(view) { "runAsUser" } else { "runAsNonRoot" };
            format!("/securityContext/{field}")
        });
        Checks::all_containers(&[Field::Container("securityContext"), Field::Pod("securityContext")], vec![case])
    }
}

const UNSAID: &str = "runAsNonRoot is not true";
const ROOT: &str = "runAsUser is 0";

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
        "({HAS_SECURITY_CONTEXT}has({SECURITY_CONTEXT}.{field}) ? {SECURITY_CONTEXT}.{field} : \
         has(variables.spec.securityContext) && has(variables.spec.securityContext.{field}) ? \
         variables.spec.securityContext.{field} : {absent})"
    )
}
