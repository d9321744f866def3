//! Which workloads a policy judges.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Policy;
use crate::schema::validations;
use crate::selector::LabelSelector;
use crate::workload::{CustomWorkload, Kind, Workload, WorkloadKind};

/// Namespaces that are judged only if a policy names them: a policy must not stop the cluster itself.
pub(crate) const SYSTEM_NAMESPACES: [&str; 2] = ["kube-system", "kube-node-lease"];

const VALID_NAMES: (&str, &str) = (
    "self.all(n, n.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$'))",
    "write names of namespaces: lower-case letters, digits and '-'",
);

/// Which namespaces a cluster policy judges; all filters must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct NamespaceMatch {
    /// Labels of the namespace.
    #[serde(skip_serializing_if = "LabelSelector::is_empty")]
    pub selector: LabelSelector,
    /// Names; only a name admits kube-system, kube-node-lease and the operator's own namespace.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 63)), extend("x-kubernetes-validations" = validations(&[VALID_NAMES])))]
    pub names: Vec<String>,
    /// Names that are left out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 256), inner(length(max = 63)), extend("x-kubernetes-validations" = validations(&[VALID_NAMES])))]
    pub exclude: Vec<String>,
}

/// Which workloads a validated policy judges.
#[derive(Clone, Debug, PartialEq)]
pub struct Matching {
    /// Which namespaces; for a namespaced policy its own.
    pub namespaces: NamespaceMatch,
    /// The built-in kinds that are judged as such; Pods always are ([`Policy::judges`]).
    pub kinds: Vec<Kind>,
    /// Labels of the workload or of its pod template.
    pub selector: LabelSelector,
    /// Custom resources that carry pod templates.
    pub custom_workloads: Vec<CustomWorkload>,
}

impl Matching {
    /// Everything of every supported kind.
    pub fn everything() -> Self {
        Self {
            namespaces: NamespaceMatch::default(),
            kinds: Kind::ALL.to_vec(),
            selector: LabelSelector::default(),
            custom_workloads: Vec::new(),
        }
    }
}

/// What is known of a namespace's labels. "Not known" is another answer than "none".
#[derive(Clone, Copy, Debug)]
pub enum NamespaceLabels<'a> {
    /// These and no others.
    Known(&'a BTreeMap<String, String>),
    /// Nobody said.
    Unknown,
}

/// Whether a policy judges a workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// It does.
    Yes,
    /// It does not.
    No,
    /// It depends on labels of the namespace that are not known.
    Unknown,
}

impl Policy {
    /// Whether the policy judges a workload in a namespace.
    ///
    /// `operator_namespace` is left out unless named.
    pub fn matches(
        &self,
        workload: &Workload,
        namespace: &str,
        labels: NamespaceLabels<'_>,
        operator_namespace: Option<&str>,
    ) -> Match {
        let kind = match &workload.kind {
            WorkloadKind::BuiltIn(kind) => self.judges(*kind),
            WorkloadKind::Custom { api_version, kind } => {
                self.matching.custom_workloads.iter().any(|custom| custom.declares(api_version, kind))
            }
        };
        // What has a template that makes pods in scope is in scope: they come from a controller, which is excused.
        let mut labels_of_all = std::iter::once(&workload.metadata.labels).chain(&workload.template_labels);
        if !kind || !labels_of_all.any(|labels| self.matching.selector.matches(labels)) {
            return Match::No;
        }
        self.matches_namespace(namespace, labels, operator_namespace)
    }

    /// Whether the policy judges anything in a namespace.
    pub fn matches_namespace(
        &self,
        namespace: &str,
        labels: NamespaceLabels<'_>,
        operator_namespace: Option<&str>,
    ) -> Match {
        if self.id.namespace.as_deref().is_some_and(|own| own != namespace) {
            return Match::No;
        }
        let NamespaceMatch { selector, names, exclude } = &self.matching.namespaces;
        let contains = |list: &[String]| list.iter().any(|name| name == namespace);
        let system = SYSTEM_NAMESPACES.contains(&namespace) || operator_namespace == Some(namespace);
        if contains(exclude) || !(names.is_empty() || contains(names)) || (system && !contains(names)) {
            return Match::No;
        }
        match labels {
            _ if selector.is_empty() => Match::Yes,
            NamespaceLabels::Known(labels) if selector.matches(labels) => Match::Yes,
            NamespaceLabels::Known(_) => Match::No,
            NamespaceLabels::Unknown => Match::Unknown,
        }
    }
}
