//! `capabilities`: all are dropped, few may come back.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::subject::{Case, ContainerView, Containers};
use super::text::{Value, quote_list};
use super::{Category, Checks, Document, Field, Rule, Severity, Text};
use crate::policy::{Profile, RuleEnforcement};

/// Rejects containers that do not drop `ALL` capabilities or add others than `allowed`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Capabilities {
    /// Enforcement of this rule; absent means the policy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<RuleEnforcement>,
    /// Capabilities that may be added, in capitals and without CAP_.
    #[schemars(length(max = 64), inner(length(min = 1, max = 63), pattern(r"^[A-Z][A-Z0-9_]*$")))]
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
        let kept_cel = format!("!({HAS} && has(c.securityContext.capabilities.drop) \
                                && 'ALL' in c.securityContext.capabilities.drop)");
        let allowed = quote_list(self.allowed.iter().map(String::as_str));
        let added_cel = format!(
            "{HAS} && has(c.securityContext.capabilities.add) && !c.securityContext.capabilities.add.all(x, x in {allowed})"
        );
        let extra = |allowed: Vec<String>| move |view: &ContainerView<'_>| !extra(view, &allowed).is_empty();
        let has_extra = extra(self.allowed.clone());
        let both = extra(self.allowed.clone());
        let drop = "drop: [ALL]";
        let cases = vec![
            Case::new(
                move |view: &ContainerView<'_>| keeps(view) && both(view),
                format!("{kept_cel} && {added_cel}"),
                Text::new("capabilities ALL are not dropped and {extra} may not be added", vec![self.extra_value(&allowed)]),
                Text::new(&format!("write securityContext.capabilities {drop} without them"), Vec::new()),
            )
            .at("/securityContext/capabilities/drop"),
            Case::new(
                keeps,
                kept_cel,
                Text::new("capabilities ALL are not dropped", Vec::new()),
                Text::new(&format!("write securityContext.capabilities {drop}"), Vec::new()),
            )
            .at("/securityContext/capabilities/drop"),
            Case::new(
                has_extra,
                added_cel,
                Text::new("capabilities {extra} may not be added", vec![self.extra_value(&allowed)]),
                Text::new("remove them from securityContext.capabilities.add", Vec::new()),
            )
            .at("/securityContext/capabilities/add"),
        ];
        Checks::all_containers(&[Field::Container("securityContext")], cases).linux_only()
    }
}

impl Capabilities {
    fn extra_value(&self, allowed_cel: &str) -> (&'static str, Value<Containers>) {
        let allowed = self.allowed.clone();
        let value = Value::written(
            move |view| extra(view, &allowed).join(", "),
            &format!("c.securityContext.capabilities.add.filter(x, !(x in {allowed_cel})).join(', ')"),
        );
        ("extra", value)
    }
}

const HAS: &str = "has(c.securityContext) && has(c.securityContext.capabilities)";

fn keeps(view: &ContainerView<'_>) -> bool {
    !view.container.security_context.capabilities.drop.iter().any(|name| name == "ALL")
}

fn extra<'a>(view: &ContainerView<'a>, allowed: &[String]) -> Vec<&'a str> {
    let add = &view.container.security_context.capabilities.add;
    add.iter().filter(|name| !allowed.contains(name)).map(String::as_str).collect()
}
