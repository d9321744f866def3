//! `ImmutableException`.

use immutable_core::exception::{
    Exception, ExceptionId, MOST_PATTERNS, PolicyReference, SHORTEST_REASON, WorkloadFilter,
};
use immutable_core::glob::Glob;
use immutable_core::policy::PolicyProblem;
use immutable_core::rules::RuleId;
use immutable_core::schema::validations;
use immutable_core::selector::{LabelSelector, is_dns_label};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an exception excuses, why, and until when. Filters that are given must all hold.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[kube(
    group = "immutable.dev",
    version = "v1alpha1",
    kind = "ImmutableException",
    plural = "immutableexceptions",
    shortname = "imex",
    category = "immutable",
    status = "ExceptionStatus",
    derive = "PartialEq",
    doc = "Excuses workloads of its own namespace from rules, for a reason and until a time.",
    printcolumn(name = "Policies", type_ = "string", json_path = ".status.policies"),
    printcolumn(name = "Target", type_ = "string", json_path = ".status.target"),
    printcolumn(name = "Active", type_ = "string", json_path = ".status.conditions[?(@.type=='Active')].reason"),
    printcolumn(name = "Expires", type_ = "string", json_path = ".spec.expiresAt"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason"),
    printcolumn(name = "Matched", type_ = "integer", json_path = ".status.matchedWorkloads", priority = 1),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp", priority = 1),
    namespaced
)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[expect(clippy::duplicated_attributes, reason = "each column of the table has the same attributes")]
pub struct ImmutableExceptionSpec {
    /// The policies that it is about; absent means every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub policies: Vec<ExceptedPolicy>,
    /// Ids of the rules that it excuses from, such as image-digest.
    #[schemars(length(min = 1, max = 32), inner(length(max = 63)))]
    pub rules: Vec<String>,
    /// The workloads; absent means every one of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workloads: Option<ExceptedWorkloads>,
    /// Patterns over images; absent means every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub images: Vec<Glob>,
    /// Names of containers; absent means every one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)), extend("x-kubernetes-validations" = validations(&[
        ("self.all(n, n.matches('^[a-z0-9]([a-z0-9-]*[a-z0-9])?$'))", "write names of containers: lower case letters, digits and '-'"),
    ])))]
    pub containers: Vec<String>,
    /// Why, for those who find it.
    #[schemars(length(min = 10, max = 1024))]
    pub reason: String,
    /// Where it was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub ticket: Option<String>,
    /// When it ends, RFC 3339.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub expires_at: Timestamp,
}

/// What the operator reports of an exception.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExceptionStatus {
    /// The generation that the rest was computed from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready: it is understood and compiled; Active: it counts, or the reason says why not.
    #[serde(default)]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// The policies that it is about, in words.
    #[serde(default)]
    pub policies: String,
    /// What it excuses, in words.
    #[serde(default)]
    pub target: String,
    /// How many workloads that run it excuses from something.
    #[serde(default)]
    #[schemars(extend("format" = "int64"))]
    pub matched_workloads: u64,
    /// The first of them, ten at most, as Kind/name.
    #[serde(default)]
    pub workloads: Vec<String>,
    /// Whether it has ever excused a workload.
    #[serde(default)]
    pub has_matched: bool,
}

/// A policy that an exception is about.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExceptedPolicy {
    /// `ClusterImmutablePolicy`, or an `ImmutablePolicy` of the exception's namespace.
    pub kind: PolicyKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}

/// A kind of policy.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, JsonSchema)]
pub enum PolicyKind {
    /// of the cluster
    ClusterImmutablePolicy,
    /// of a namespace
    ImmutablePolicy,
}

/// The workloads that an exception excuses.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ExceptedWorkloads {
    /// Kinds, such as Deployment; absent means every one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(min = 1, max = 63)), extend("x-kubernetes-validations" = validations(&[
        ("self.all(k, k.matches('^[A-Z][A-Za-z0-9]*$'))", "write kinds as in manifests, such as Deployment"),
    ])))]
    pub kinds: Vec<String>,
    /// Patterns over the name; absent means every one.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub names: Vec<Glob>,
    /// Labels of the workload; a policy must allow it, since labels are self-service.
    #[serde(skip_serializing_if = "LabelSelector::is_empty")]
    pub selector: LabelSelector,
}

/// The longest name of a kind.
const LONGEST_KIND: usize = 63;

impl ImmutableException {
    /// The validated exception; without a namespace it is of `default`, as for kubectl.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn validate(&self) -> Result<Exception, Vec<PolicyProblem>> {
        let spec = self.spec.clone();
        let mut problems = Vec::new();
        let mut problem = |field: &str, message: String| {
            problems.push(PolicyProblem { field: format!("spec.{field}"), message });
        };
        let mut rules = Vec::new();
        for (index, name) in spec.rules.iter().enumerate() {
            match RuleId::named(name) {
                Some(rule) => rules.push(rule),
                None => problem(
                    &format!("rules[{index}]"),
                    format!("there is no rule {name:?}; immutable explain lists all"),
                ),
            }
        }
        if spec.rules.is_empty() {
            problem("rules", "is empty; write at least one, such as image-digest".to_owned());
        }
        if spec.reason.trim().chars().count() < SHORTEST_REASON {
            problem(
                "reason",
                format!("is too short; write at least {SHORTEST_REASON} characters for those who find it"),
            );
        }
        let workloads = spec.workloads.unwrap_or_default();
        for message in workloads.selector.problems() {
            problem("workloads.selector", message);
        }
        for (index, kind) in workloads.kinds.iter().enumerate() {
            if !(kind.starts_with(|first: char| first.is_ascii_uppercase())
                && kind.len() <= LONGEST_KIND
                && kind.chars().all(|character| character.is_ascii_alphanumeric()))
            {
                let message = format!("{kind:?} is no kind; write it as in manifests, such as Deployment");
                problem(&format!("workloads.kinds[{index}]"), message);
            }
        }
        for (index, name) in spec.containers.iter().enumerate() {
            if !is_dns_label(name) {
                let message = format!("{name:?} is no name of a container; write lower case letters, digits and '-'");
                problem(&format!("containers[{index}]"), message);
            }
        }
        if workloads.names.len() + spec.images.len() > MOST_PATTERNS {
            problem("images", format!("there are more than {MOST_PATTERNS} patterns; join some with * or ?"));
        }
        let texts =
            [("reason", spec.reason.as_str(), 1024), ("ticket", spec.ticket.as_deref().unwrap_or_default(), 256)];
        for (field, text, most) in texts {
            if text.chars().count() > most {
                problem(field, format!("is too long; write at most {most} characters"));
            }
        }
        let lists = [
            ("policies", spec.policies.len(), 16),
            ("rules", spec.rules.len(), 32),
            ("workloads.kinds", workloads.kinds.len(), 16),
            ("containers", spec.containers.len(), 16),
        ];
        for (field, length, most) in lists {
            if length > most {
                problem(field, format!("has {length} entries; write at most {most}, or a second exception"));
            }
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Exception {
            id: ExceptionId {
                namespace: self.namespace().unwrap_or_else(|| "default".to_owned()),
                name: self.name_any(),
            },
            policies: spec
                .policies
                .into_iter()
                .map(|policy| PolicyReference {
                    namespaced: policy.kind == PolicyKind::ImmutablePolicy,
                    name: policy.name,
                })
                .collect(),
            rules,
            workloads: WorkloadFilter { kinds: workloads.kinds, names: workloads.names, selector: workloads.selector },
            images: spec.images,
            containers: spec.containers,
            reason: spec.reason,
            ticket: spec.ticket,
            created: self.metadata.creation_timestamp.as_ref().map(|time| time.0),
            expires_at: whole_seconds(spec.expires_at),
        })
    }
}

/// A time without its fraction.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).unwrap_or(time)
}
