//! What the operator reports of a policy.

use immutable_core::policy::{EffectiveRule, Enforcement, RuleSource};
use immutable_core::replace::Numbers;
use immutable_core::rules::RuleId;
use immutable_core::scan::Summary;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How long what is said of a workload may be; there are at most as many as there are reasons.
const LONGEST_MESSAGE: usize = 512;

/// What the operator reports of a policy.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PolicyStatus {
    /// The generation that the rest was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, Reconciling, Stalled, Enforced, Scanned, Replaced.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The rules that are on, and who switched each on: what the API server pruned is not among them.
    #[serde(default)]
    pub effective_rules: Vec<EffectiveRuleStatus>,
    /// Names of the ValidatingAdmissionPolicies and bindings that enforce it.
    #[serde(default)]
    pub native_policies: Vec<String>,
    /// What runs in the cluster comes to; absent before it was looked at.
    #[serde(default)]
    pub summary: Option<SummaryStatus>,
    /// Where the workloads stand whose pods are replaced when what they read changes; absent without `spec.replace`.
    #[serde(default)]
    pub replace: Option<ReplaceStatus>,
    /// What it leaves open or judges anew, because it does not judge every kind.
    // Always written: a merge patch that leaves it out would leave old ones standing.
    #[serde(default)]
    pub gaps: Vec<String>,
}

/// What runs in the cluster comes to.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct SummaryStatus {
    /// How many workloads the policy judges.
    #[schemars(extend("format" = "int64"))]
    pub workloads: u64,
    /// How many of them break no rule, but for what exceptions excuse.
    #[schemars(extend("format" = "int64"))]
    pub compliant: u64,
    /// How many of them would be rejected if every rule were enforced and they were created now; `immutable impact`
    /// names them.
    #[serde(default)]
    #[schemars(extend("format" = "int64"))]
    pub would_reject: u64,
    /// How many things could not be decided, which is never a pass.
    #[schemars(extend("format" = "int64"))]
    pub undecided: u64,
    /// How many findings each rule has; those without are not named.
    #[serde(default)]
    pub findings: Vec<RuleFindings>,
    /// How many findings of each rule exceptions excuse; they are not among the others.
    #[serde(default)]
    pub excused: Vec<RuleFindings>,
}

/// Where workloads stand with the ConfigMaps and Secrets that they read. Each is counted in one place.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReplaceStatus {
    /// How many workloads the policy has replaced when what they read changes.
    #[schemars(extend("format" = "int64"))]
    pub workloads: u64,
    /// How many of them run what is current.
    #[schemars(extend("format" = "int64"))]
    pub up_to_date: u64,
    /// How many are being replaced.
    #[schemars(extend("format" = "int64"))]
    pub rolling: u64,
    /// How many were replaced and did not become available.
    #[schemars(extend("format" = "int64"))]
    pub failed: u64,
    /// How many are to be replaced and wait for nothing but their turn.
    #[schemars(extend("format" = "int64"))]
    pub pending: u64,
    /// How many are to be replaced and wait, by reason; what somebody must do comes first.
    #[serde(default)]
    pub waiting: Vec<WaitingStatus>,
}

/// Workloads that wait for the same.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct WaitingStatus {
    /// What they wait for, such as Window.
    pub reason: String,
    /// How many they are.
    #[schemars(extend("format" = "int64"))]
    pub count: u64,
    /// One of them, and what it waits for in words.
    pub message: String,
}

impl From<&Numbers> for ReplaceStatus {
    fn from(numbers: &Numbers) -> Self {
        let waiting = numbers.by_rank().map(|(reason, group)| {
            let example = group.examples.first().map(ToString::to_string).unwrap_or_default();
            let message = format!("{example}: {}", group.message);
            let message = message.chars().take(LONGEST_MESSAGE).collect();
            WaitingStatus { reason: reason.name().to_owned(), count: group.count, message }
        });
        Self {
            workloads: numbers.workloads(),
            up_to_date: numbers.up_to_date,
            rolling: numbers.rolling.count,
            failed: numbers.failed.count,
            pending: numbers.pending.count,
            waiting: waiting.collect(),
        }
    }
}

/// How many findings a rule has.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
pub struct RuleFindings {
    /// Its id, such as image-digest.
    pub rule: String,
    /// How many findings it has.
    #[schemars(extend("format" = "int64"))]
    pub count: u64,
}

impl From<&Summary> for SummaryStatus {
    fn from(summary: &Summary) -> Self {
        let count = |(rule, count): (&RuleId, &u64)| RuleFindings { rule: rule.id().to_owned(), count: *count };
        Self {
            workloads: summary.workloads,
            compliant: summary.compliant,
            would_reject: summary.rejected,
            undecided: summary.errors,
            findings: summary.findings.iter().map(count).collect(),
            excused: summary.excused.iter().map(count).collect(),
        }
    }
}

/// A rule that is on.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
pub struct EffectiveRuleStatus {
    /// Its id, such as image-digest.
    pub rule: String,
    /// What happens when it is broken.
    pub enforcement: Enforcement,
    /// Who switched it on.
    pub from: RuleSource,
}

impl From<&EffectiveRule> for EffectiveRuleStatus {
    fn from(rule: &EffectiveRule) -> Self {
        Self { rule: rule.rule.id().to_owned(), enforcement: rule.enforcement, from: rule.from }
    }
}

/// The conditions of policies and exceptions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConditionType {
    /// It is compiled, written and type-checked.
    Ready,
    /// The operator is at work on a new generation.
    Reconciling,
    /// It cannot be compiled or written until somebody changes something.
    Stalled,
    /// Its denial was seen, at this generation.
    Enforced,
    /// What runs in the cluster is judged.
    Scanned,
    /// The pods of its workloads run what is current.
    Replaced,
    /// An exception counts.
    Active,
}

impl ConditionType {
    /// As it stands in the status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::Enforced => "Enforced",
            Self::Scanned => "Scanned",
            Self::Replaced => "Replaced",
            Self::Active => "Active",
        }
    }
}
