//! `ImmutablePolicy` and `ClusterImmutablePolicy`.

use immutable_core::policy::{
    ControllerCreated, Enforcement, ExceptionSettings, NamespaceMatch, Policy, PolicyDraft, PolicyId, PolicyProblem,
    Profile, Suspension,
};
use immutable_core::replace::ReplaceSettings;
use immutable_core::rules::RuleSettings;
use immutable_core::schema::validations;
use immutable_core::selector::LabelSelector;
use immutable_core::workload::{CustomWorkload, Kind};
use kube::{CustomResource, ResourceExt};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::status::PolicyStatus;

/// Declares one of the two kinds; they differ in what they match.
macro_rules! policy_kind {
    ($(#[$doc:meta])* $kind:literal, $plural:literal, $short:literal, $spec:ident, $object:ident, $match:ident, $doc_text:literal $(, $namespaced:ident)?) => {
        $(#[$doc])*
        #[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
        #[kube(
            group = "immutable.dev",
            version = "v1alpha1",
            kind = $kind,
            plural = $plural,
            shortname = $short,
            category = "immutable",
            status = "PolicyStatus",
            derive = "PartialEq",
            doc = $doc_text,
            printcolumn(name = "Profile", type_ = "string", json_path = ".spec.profile"),
            printcolumn(name = "Enforcement", type_ = "string", json_path = ".spec.enforcement"),
            printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].status"),
            printcolumn(name = "Enforced", type_ = "string", json_path = ".status.conditions[?(@.type=='Enforced')].status"),
            printcolumn(name = "Workloads", type_ = "integer", json_path = ".status.summary.workloads"),
            printcolumn(name = "Would reject", type_ = "integer", json_path = ".status.summary.wouldReject"),
            printcolumn(name = "Ready because", type_ = "string", json_path = ".status.conditions[?(@.type=='Ready')].reason", priority = 1),
            printcolumn(name = "Enforced because", type_ = "string", json_path = ".status.conditions[?(@.type=='Enforced')].reason", priority = 1),
            printcolumn(name = "Suspended until", type_ = "string", json_path = ".spec.suspend.until", priority = 1),
            printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
            $($namespaced)?
        )]
        #[serde(default, rename_all = "camelCase", deny_unknown_fields)]
        #[schemars(transform = super::schema::add_policy_validations)]
        pub struct $spec {
            /// The starting set of rules; `rules` changes it.
            pub profile: Profile,
            /// What happens when a rule is broken, unless the rule says otherwise. Begin with Audit.
            pub enforcement: Enforcement,
            /// Break-glass with an end: until then nothing is enforced and nothing is replaced.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub suspend: Option<Suspension>,
            /// Which workloads are judged; absent means all.
            #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
            pub matching: Option<$match>,
            /// Switches rules on (`imageTag: {}`), off (`enforcement: Disabled`), or changes them; wins over the profile.
            pub rules: RuleSettings,
            /// What happens to ReplicaSets, Jobs and Pods that a built-in controller makes from a template judged before.
            pub controller_created: ControllerCreated,
            /// What is allowed of exceptions from it.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub exceptions: Option<ExceptionSettings>,
            /// When, how many at once and how fast pods are replaced whose configuration changed; absent means never.
            #[serde(skip_serializing_if = "Option::is_none")]
            pub replace: Option<ReplaceSettings>,
        }
    };
}

policy_kind!(
    /// What a `ClusterImmutablePolicy` asks of workloads in many namespaces.
    "ClusterImmutablePolicy",
    "clusterimmutablepolicies",
    "cimpol",
    ClusterImmutablePolicySpec,
    ClusterImmutablePolicy,
    ClusterMatch,
    "Says which workloads of the cluster must be immutable, by which rules, and what happens when they are not."
);

policy_kind!(
    /// What an `ImmutablePolicy` asks of the workloads of its own namespace.
    "ImmutablePolicy",
    "immutablepolicies",
    "impol",
    ImmutablePolicySpec,
    ImmutablePolicy,
    Match,
    "Says which workloads of its own namespace must be immutable, by which rules, and what happens when they are not. \
     It never relaxes a ClusterImmutablePolicy.",
    namespaced
);

/// Each template of each level is a compiled policy of its own, which every write in the cluster pays for.
fn few_templates() -> serde_json::Value {
    validations(&[(
        "self.map(c, c.podTemplates.size()).sum() <= 16",
        "write at most 16 pod templates over all custom workloads; a second policy takes more",
    )])
}

/// Which workloads a cluster policy judges; all filters must hold.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ClusterMatch {
    /// Which namespaces; absent means all but kube-system, kube-node-lease and the operator's own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespaces: Option<NamespaceMatch>,
    /// Which built-in kinds; absent means every one. Pods are always judged, because every other kind ends in them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9))]
    pub kinds: Vec<Kind>,
    /// Labels of the workload or of its pod template; absent means any.
    #[serde(skip_serializing_if = "LabelSelector::is_empty")]
    pub selector: LabelSelector,
    /// Custom resources that carry pod templates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-validations" = few_templates()))]
    pub custom_workloads: Vec<CustomWorkload>,
}

/// Which workloads of its namespace a namespaced policy judges; all filters must hold.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Match {
    /// Which built-in kinds; absent means every one. Pods are always judged, because every other kind ends in them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 9))]
    pub kinds: Vec<Kind>,
    /// Labels of the workload or of its pod template; absent means any.
    #[serde(skip_serializing_if = "LabelSelector::is_empty")]
    pub selector: LabelSelector,
    /// Custom resources that carry pod templates.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-validations" = few_templates()))]
    pub custom_workloads: Vec<CustomWorkload>,
}

impl ClusterImmutablePolicy {
    /// The validated policy.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn validate(&self) -> Result<Policy, Vec<PolicyProblem>> {
        let spec = self.spec.clone();
        let matching = spec.matching.unwrap_or_default();
        PolicyDraft {
            id: PolicyId { namespace: None, name: self.name_any() },
            profile: spec.profile,
            enforcement: spec.enforcement,
            suspend: spec.suspend,
            namespaces: matching.namespaces.unwrap_or_default(),
            kinds: matching.kinds,
            selector: matching.selector,
            custom_workloads: matching.custom_workloads,
            rules: spec.rules,
            controller_created: spec.controller_created,
            exceptions: spec.exceptions.unwrap_or_default(),
            replace: spec.replace,
        }
        .validate()
    }
}

impl ImmutablePolicy {
    /// The validated policy; without a namespace it is of `default`, as for kubectl.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub fn validate(&self) -> Result<Policy, Vec<PolicyProblem>> {
        let spec = self.spec.clone();
        let matching = spec.matching.unwrap_or_default();
        PolicyDraft {
            id: PolicyId {
                namespace: Some(self.namespace().unwrap_or_else(|| "default".to_owned())),
                name: self.name_any(),
            },
            profile: spec.profile,
            enforcement: spec.enforcement,
            suspend: spec.suspend,
            namespaces: NamespaceMatch::default(),
            kinds: matching.kinds,
            selector: matching.selector,
            custom_workloads: matching.custom_workloads,
            rules: spec.rules,
            controller_created: spec.controller_created,
            exceptions: spec.exceptions.unwrap_or_default(),
            replace: spec.replace,
        }
        .validate()
    }
}
