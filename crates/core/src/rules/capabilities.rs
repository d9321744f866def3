//! `capabilities`: all are dropped, few may come back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::marks::{HAS_SECURITY_CONTEXT, SECURITY_CONTEXT};
use super::subject::{Case, ContainerView, Items};
use super::text::{cel_printable, printable, quote, quote_list};
use super::{Category, Checks, Document, Field, Rule, Severity};
use crate::policy::{Profile, RuleEnforcement};
use crate::schema::validations;

/// Rejects containers that do not drop `ALL` capabilities or add others than `allowed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Capabilities {
    /// Enforcement of this rule; absent means the policy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<RuleEnforcement>,
    /// Capabilities that may be added, in capitals and without CAP_.
    #[schemars(length(max = 64), inner(length(max = 63)), extend("x-kubernetes-validations" = validations(&[
        ("self.all(c, c.matches('^[A-Z][A-Z0-9_]*$') && !c.startsWith('CAP_'))", "write capabilities in capitals and without CAP_, such as NET_BIND_SERVICE"),
    ])))]
    pub allowed: Vec<String>,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self { enforcement: None, allowed: vec!["NET_BIND_SERVICE".to_owned()] }
    }
}

impl Rule for Capabilities {
    const ID: &'static str = "capabilities";
    const PROFILES: &'static [Profile] = &[Profile::Stateless];
    const DOCUMENT: Document = Document {
        title: "Capabilities are dropped",
        reason: "The runtime's default set lets a process change file owners, open raw sockets and more. Hardly any \
                 program needs one of them.",
        remedy: "Set `securityContext.capabilities.drop: [ALL]`, in capitals as in the Pod Security Standards, and add \
                 only what is allowed, by default NET_BIND_SERVICE.",
        severity: Severity::Medium,
        category: Category::Runtime,
        bad: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n    \
              securityContext: {capabilities: {add: [SYS_ADMIN]}}\n",
        good: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n    \
               securityContext: {capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}}\n",
    };

    fn enforcement(&self) -> Option<RuleEnforcement> {
        self.enforcement
    }

    fn checks(&self) -> Checks {
        let allowed = quote_list(self.allowed.iter().map(String::as_str));
        let field = format!("{SECURITY_CONTEXT}.capabilities");
        let present = format!("{HAS_SECURITY_CONTEXT}has({field})");
        let dropped = format!("{present} && has({field}.drop) && 'ALL' in {field}.drop");
        let extra = format!(
            "{field}.add.filter(x, !(x in {allowed})).map(x, {} + {})",
            quote(ADDED),
            cel_printable("x")
        );
        let has_extra = format!("{present} && has({field}.add) && !{field}.add.all(x, x in {allowed})");
        let may_add = self.allowed.clone();
        let case = Case::listing(
            move |view: &ContainerView<'_>| {
                let capabilities = &view.container.security_context.capabilities;
                let kept = keeps(view).then(|| KEPT.to_owned());
                let added = capabilities.add.iter().filter(|name| !may_add.contains(name));
                kept.into_iter().chain(added.map(|name| format!("{ADDED}{}", printable(name)))).collect()
            },
            Items::default().when(&format!("!({dropped})"), KEPT).each(&extra, &has_extra),
            "capabilities: {list}",
            "write securityContext.capabilities.drop: [ALL] and add only what is allowed",
        )
        .at_field(|view: &ContainerView<'_>| {
            format!("/securityContext/capabilities/{}", if keeps(view) { "drop" } else { "add" })
        });
        Checks::all_containers(&[Field::Container("securityContext")], vec![case]).linux_only()
    }
}

const KEPT: &str = "ALL is not dropped";
const ADDED: &str = "may not add ";

fn keeps(view: &ContainerView<'_>) -> bool {
    !view.container.security_context.capabilities.drop.iter().any(|name| name == "ALL")
}
