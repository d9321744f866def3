//! The native objects as data, in exactly the form in which the API server stores their specs, so that a
//! difference from what is stored is a change by somebody else.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::policy::{Enforcement, PolicyId};
use crate::selector::{LabelSelector, Requirement};

/// Label that tells which objects are ours.
pub const MANAGED_BY: (&str, &str) = ("app.kubernetes.io/managed-by", "immutable-operator");
/// Label with the hash that the name holds too.
pub const HASH_LABEL: &str = "immutable.dev/hash";
/// Label that tells which installation of the operator an object belongs to; none touches another's.
pub const INSTALLATION_LABEL: &str = "immutable.dev/installation";
/// Annotation that says what the object was compiled from; an object with another source is never overwritten.
pub const SOURCE_ANNOTATION: &str = "immutable.dev/source";
/// Annotation that lists whom a binding serves, see [`AdmissionBinding::serves`].
pub const POLICIES_ANNOTATION: &str = "immutable.dev/policies";
/// The API version of both kinds.
pub const API_VERSION: &str = "admissionregistration.k8s.io/v1";

/// Which kind a native object is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NativeKind {
    /// `ValidatingAdmissionPolicy`
    Policy,
    /// `ValidatingAdmissionPolicyBinding`
    Binding,
}

impl NativeKind {
    /// The kind's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Policy => "ValidatingAdmissionPolicy",
            Self::Binding => "ValidatingAdmissionPolicyBinding",
        }
    }
}

/// A `ValidatingAdmissionPolicy`.
#[derive(Clone, Debug, PartialEq)]
pub struct AdmissionPolicy {
    /// Its name, made of what it is.
    pub name: String,
    /// Value of [`INSTALLATION_LABEL`].
    pub installation: String,
    /// What it was compiled from.
    pub source: String,
    /// What it checks.
    pub spec: AdmissionPolicySpec,
    /// Whether a dry run proves it. It is written after all others: seen in force, so are they.
    pub proves: bool,
}

/// A `ValidatingAdmissionPolicyBinding`.
#[derive(Clone, Debug, PartialEq)]
pub struct AdmissionBinding {
    /// Its name, made of what it is.
    pub name: String,
    /// Value of [`INSTALLATION_LABEL`].
    pub installation: String,
    /// What it was compiled from.
    pub source: String,
    /// The policies it serves.
    pub policies: Vec<PolicyId>,
    /// What it binds to what.
    pub spec: AdmissionBindingSpec,
    /// Whether it binds a policy that a dry run proves, and so is written after all others.
    pub proves: bool,
}

/// The spec of a `ValidatingAdmissionPolicy`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdmissionPolicySpec {
    /// `Fail` or `Ignore`
    pub failure_policy: String,
    /// What is judged.
    pub match_constraints: MatchResources,
    /// Requests for which one of these is false are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub match_conditions: Vec<NamedExpression>,
    /// Evaluated at most once per request, when first used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub variables: Vec<NamedExpression>,
    /// What must hold.
    pub validations: Vec<Validation>,
}

/// A CEL expression with a name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NamedExpression {
    /// the name
    pub name: String,
    /// the expression
    pub expression: String,
}

/// One expression that must be true, and what is said when it is not.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Validation {
    /// must be true
    pub expression: String,
    /// said where the message expression gives nothing
    pub message: String,
    /// makes the message; evaluated for every request
    pub message_expression: String,
    /// the reason in the API server's answer
    pub reason: String,
}

/// The spec of a `ValidatingAdmissionPolicyBinding`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdmissionBindingSpec {
    /// the `ValidatingAdmissionPolicy`
    pub policy_name: String,
    /// what happens
    pub validation_actions: Vec<String>,
    /// where
    pub match_resources: MatchResources,
}

/// Which objects in which namespaces.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MatchResources {
    /// labels of the namespace
    #[serde(default)]
    pub namespace_selector: LabelSelector,
    /// labels of the object, old or new
    #[serde(default)]
    pub object_selector: LabelSelector,
    /// which requests; empty in a binding
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resource_rules: Vec<ResourceRule>,
    /// `Equivalent`: other versions of the same objects too
    pub match_policy: String,
}

/// Which requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ResourceRule {
    /// API groups
    pub api_groups: Vec<String>,
    /// versions
    pub api_versions: Vec<String>,
    /// `CREATE`, `UPDATE`
    pub operations: Vec<String>,
    /// plurals, with subresources
    pub resources: Vec<String>,
    /// `Namespaced`
    pub scope: String,
}

impl AdmissionBinding {
    /// Whom it serves, as [`POLICIES_ANNOTATION`] lists it: cluster policies by name, those of a namespace as
    /// `shop/5e884898+2cf24dba`, by digests of their names. No tenant can make it long: more than eight are `shop/*`.
    pub fn serves(&self) -> Vec<String> {
        let mut served = Vec::new();
        let mut of_namespaces: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        for policy in &self.policies {
            match &policy.namespace {
                Some(namespace) => of_namespaces.entry(namespace).or_default().push(mark(policy)),
                None => served.push(policy.name.clone()),
            }
        }
        served.extend(of_namespaces.into_iter().map(|(namespace, mut marks)| {
            marks.sort_unstable();
            marks.dedup();
            let marks = if marks.len() > MARKS_APART { ANY.to_owned() } else { marks.join("+") };
            format!("{namespace}/{marks}")
        }));
        served
    }
}

/// How many policies of a namespace a binding tells apart.
const MARKS_APART: usize = 8;
/// All policies of a namespace.
const ANY: &str = "*";

/// What a binding remembers of the name of a namespaced policy.
fn mark(policy: &PolicyId) -> String {
    super::names::digest(&policy.name)[..8].to_owned()
}

/// Whether a list as [`AdmissionBinding::serves`] makes it holds a policy.
pub(crate) fn is_served(served: &[String], policy: &PolicyId) -> bool {
    let Some(namespace) = &policy.namespace else { return served.contains(&policy.name) };
    let mut of_namespace = served.iter().filter_map(|entry| entry.split_once('/')).filter(|(of, _)| of == namespace);
    of_namespace.any(|(_, marks)| marks == ANY || marks.split('+').any(|one| one == mark(policy)))
}

/// Who owns the compiled objects, so that garbage collection removes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// name of a ClusterRole
    pub name: String,
    /// its uid
    pub uid: String,
}

/// A native object of either kind.
#[derive(Clone, Debug, PartialEq)]
pub enum NativeObject {
    /// a policy
    Policy(Arc<AdmissionPolicy>),
    /// a binding
    Binding(Box<AdmissionBinding>),
}

impl NativeObject {
    /// Its kind.
    pub fn kind(&self) -> NativeKind {
        match self {
            Self::Policy(_) => NativeKind::Policy,
            Self::Binding(_) => NativeKind::Binding,
        }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Policy(policy) => &policy.name,
            Self::Binding(binding) => &binding.name,
        }
    }

    fn installation(&self) -> &str {
        match self {
            Self::Policy(policy) => &policy.installation,
            Self::Binding(binding) => &binding.installation,
        }
    }

    /// Whether it, or what it binds, is seen in force by a dry run; then it is written after what it proves.
    pub fn proves(&self) -> bool {
        match self {
            Self::Policy(policy) => policy.proves,
            Self::Binding(binding) => binding.proves,
        }
    }

    /// What it was compiled from.
    pub fn source(&self) -> &str {
        match self {
            Self::Policy(policy) => &policy.source,
            Self::Binding(binding) => &binding.source,
        }
    }

    /// The manifest, as the API server takes it; without an owner where none is known.
    pub fn manifest(&self, owner: Option<&Owner>) -> serde_json::Value {
        let mut annotations = BTreeMap::from([(SOURCE_ANNOTATION, self.source().to_owned())]);
        let spec = match self {
            Self::Policy(policy) => serde_json::json!(policy.spec),
            Self::Binding(binding) => {
                annotations.insert(POLICIES_ANNOTATION, binding.serves().join(","));
                serde_json::json!(binding.spec)
            }
        };
        let hash = self.name().split('-').nth(1).unwrap_or_default();
        let mut manifest = serde_json::json!({
            "apiVersion": API_VERSION,
            "kind": self.kind().name(),
            "metadata": {
                "name": self.name(),
                "labels": {MANAGED_BY.0: MANAGED_BY.1, INSTALLATION_LABEL: self.installation(), HASH_LABEL: hash},
                "annotations": annotations,
            },
            "spec": spec,
        });
        if let Some(owner) = owner {
            manifest["metadata"]["ownerReferences"] = serde_json::json!([{
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "name": owner.name,
                "uid": owner.uid,
            }]);
        }
        manifest
    }
}

impl MatchResources {
    /// Binds everything that the policy matches, in namespaces and with labels.
    pub(crate) fn selecting(namespace_selector: LabelSelector, object_selector: LabelSelector) -> Self {
        Self { namespace_selector, object_selector, resource_rules: Vec::new(), match_policy: "Equivalent".to_owned() }
    }

    /// Matches requests, wherever they are bound.
    pub(crate) fn requests(resource_rules: Vec<ResourceRule>) -> Self {
        Self { resource_rules, match_policy: "Equivalent".to_owned(), ..Self::default() }
    }

    /// The namespaces that a binding names, where it selects by nothing else.
    pub fn only_names(&self) -> Option<&[String]> {
        match self.namespace_selector.match_expressions.as_slice() {
            [Requirement { key, operator: crate::selector::Operator::In, values }]
                if key == super::binding::NAMESPACE_NAME && self.namespace_selector.match_labels.is_empty() =>
            {
                Some(values)
            }
            _ => None,
        }
    }
}

/// What the API server does with a finding at each level.
pub(crate) fn validation_actions(level: Enforcement) -> Vec<String> {
    let actions: &[&str] = match level {
        Enforcement::Enforce => &["Deny", "Audit"],
        Enforcement::Warn => &["Warn", "Audit"],
        Enforcement::Audit => &["Audit"],
    };
    actions.iter().map(|action| (*action).to_owned()).collect()
}
