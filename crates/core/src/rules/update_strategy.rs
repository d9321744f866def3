//! `update-strategy`: replacement is gradual.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::checks::StrategyCheck;
use super::subject::{Case, Strategies};
use super::text::Value;
use super::{Category, Checks, Document, Rule, Severity, Text};
use crate::policy::{Profile, RuleEnforcement};
use crate::workload::{self, IntOrPercent, Kind};

/// Rejects update strategies that stop a workload, or too much of it, or that replace nothing by themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateStrategy {
    /// Enforcement of this rule; absent means the policy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<RuleEnforcement>,
    /// The share of a Deployment's replicas, in percent, that must stay available during an update.
    #[schemars(range(min = 0, max = 100))]
    pub min_healthy_percent: i64,
}

impl Default for UpdateStrategy {
    fn default() -> Self {
        Self { enforcement: None, min_healthy_percent: 75 }
    }
}

impl Rule for UpdateStrategy {
    const ID: &'static str = "update-strategy";
    const PROFILES: &'static [Profile] = &[Profile::Stateless];
    const DOCUMENT: Document = Document {
        title: "Updates replace pods gradually",
        reason: "Immutable workloads change by replacement, so replacement must be harmless. Recreate stops everything \
                 first, a large maxUnavailable nearly so, and OnDelete leaves old pods running until someone deletes them.",
        remedy: "Use RollingUpdate with a maxUnavailable of at most 25%.",
        severity: Severity::Medium,
        category: Category::Replacement,
        bad: "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  strategy: {type: Recreate}\n  \
              selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      \
              containers:\n      - name: web\n        image: nginx:1.27.3\n",
        good: "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web}\nspec:\n  \
               strategy: {type: RollingUpdate, rollingUpdate: {maxUnavailable: 25%}}\n  \
               selector: {matchLabels: {app: web}}\n  template:\n    metadata: {labels: {app: web}}\n    spec:\n      \
               containers:\n      - name: web\n        image: nginx:1.27.3\n",
    };

    fn enforcement(&self) -> Option<RuleEnforcement> {
        self.enforcement
    }

    fn checks(&self) -> Checks {
        let strategies = vec![
            StrategyCheck { kind: Kind::Deployment, cases: vec![recreate(), self.too_many_unavailable()] },
            StrategyCheck { kind: Kind::StatefulSet, cases: vec![on_delete()] },
            StrategyCheck { kind: Kind::DaemonSet, cases: vec![on_delete()] },
        ];
        Checks { strategies, ..Checks::default() }
    }
}

fn recreate() -> Case<Strategies> {
    Case::new(
        |strategy: &&workload::UpdateStrategy| strategy.strategy_type == "Recreate",
        "has(w.strategy) && has(w.strategy.type) && w.strategy.type == 'Recreate'",
        Text::new("strategy Recreate stops every pod before it starts new ones", Vec::new()),
        Text::new("write strategy.type: RollingUpdate", Vec::new()),
    )
    .at("/spec/strategy/type")
}

fn on_delete() -> Case<Strategies> {
    Case::new(
        |strategy: &&workload::UpdateStrategy| strategy.strategy_type == "OnDelete",
        "has(w.updateStrategy) && has(w.updateStrategy.type) && w.updateStrategy.type == 'OnDelete'",
        Text::new("updateStrategy OnDelete leaves old pods running until someone deletes them", Vec::new()),
        Text::new("write updateStrategy.type: RollingUpdate", Vec::new()),
    )
    .at("/spec/updateStrategy/type")
}

impl UpdateStrategy {
    fn too_many_unavailable(&self) -> Case<Strategies> {
        let least = self.min_healthy_percent;
        let field = "w.strategy.rollingUpdate.maxUnavailable";
        // A number is the only form without a percent sign; the API server has validated both.
        let number = format!("type({field}) == int");
        let percent = format!("int(string({field}).replace('%', ''))");
        let replicas = "(has(w.replicas) ? w.replicas : 1)";
        // Percentages count as such; numbers against the written replicas. Nothing is missing of nothing.
        let unhealthy = format!(
            "({number} ? (int({field}) < {replicas} ? ({replicas} - int({field})) * 100 < {least} * {replicas} : {replicas} > 0 && {least} > 0) : \
             string({field}).matches('^0*[0-9]{{1,9}}%$') && 100 - {percent} < {least})"
        );
        let value = Value::own(
            |strategy: &&workload::UpdateStrategy| match &strategy.max_unavailable {
                IntOrPercent::Number(number) => number.to_string(),
                IntOrPercent::Percent(percent) => format!("{percent}%"),
                IntOrPercent::Invalid(_) => String::new(),
            },
            format!("({number} ? string({field}) : string({percent}) + '%')"),
        );
        Case::new(
            move |strategy: &&workload::UpdateStrategy| match strategy.max_unavailable {
                IntOrPercent::Percent(percent) => 100 - percent < least,
                IntOrPercent::Number(number) if number < strategy.replicas => {
                    (strategy.replicas - number).saturating_mul(100) < strategy.replicas.saturating_mul(least)
                }
                IntOrPercent::Number(_) => strategy.replicas > 0 && least > 0,
                IntOrPercent::Invalid(_) => false,
            },
            format!(
                "has(w.strategy) && has(w.strategy.rollingUpdate) && \
                 has(w.strategy.rollingUpdate.maxUnavailable) && {unhealthy}"
            ),
            Text::new(
                &format!("maxUnavailable {{value}} leaves less than {least}% of the replicas available"),
                vec![("value", value)],
            ),
            Text::new("write a smaller strategy.rollingUpdate.maxUnavailable, such as 25%", Vec::new()),
        )
        .at("/spec/strategy/rollingUpdate/maxUnavailable")
    }
}
