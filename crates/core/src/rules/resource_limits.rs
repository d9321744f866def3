//! `resource-limits`: what a container may use is said beforehand.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::marks::{HAS_RESOURCES, RESOURCES};
use super::subject::{Case, ContainerView, Items};
use super::text::quote;
use super::{Category, Checks, Document, Field, Rule, Severity};
use crate::policy::{Profile, RuleEnforcement};
use crate::workload::ContainerType;

/// Kubernetes forbids resources on ephemeral containers.
const LISTS: &[ContainerType] = &[ContainerType::Container, ContainerType::InitContainer];

/// Rejects containers that leave out one of the `required` limits or requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ResourceLimits {
    /// Enforcement of this rule; absent means the policy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<RuleEnforcement>,
    /// What must be set. A limit counts as the request; the pod's own resources count for its containers.
    #[schemars(length(min = 1, max = 6))]
    pub required: Vec<Quantity>,
}

/// A limit or request that can be required.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Quantity {
    /// `resources.limits.cpu`
    #[serde(rename = "limits.cpu")]
    CpuLimit,
    /// `resources.limits.memory`
    #[serde(rename = "limits.memory")]
    MemoryLimit,
    /// `resources.limits.ephemeral-storage`
    #[serde(rename = "limits.ephemeral-storage")]
    StorageLimit,
    /// `resources.requests.cpu`
    #[serde(rename = "requests.cpu")]
    CpuRequest,
    /// `resources.requests.memory`
    #[serde(rename = "requests.memory")]
    MemoryRequest,
    /// `resources.requests.ephemeral-storage`
    #[serde(rename = "requests.ephemeral-storage")]
    StorageRequest,
}

impl Quantity {
    /// `limits.memory`
    fn name(self) -> &'static str {
        match self {
            Self::CpuLimit => "limits.cpu",
            Self::MemoryLimit => "limits.memory",
            Self::StorageLimit => "limits.ephemeral-storage",
            Self::CpuRequest => "requests.cpu",
            Self::MemoryRequest => "requests.memory",
            Self::StorageRequest => "requests.ephemeral-storage",
        }
    }

    fn resource(self) -> &'static str {
        match self {
            Self::CpuLimit | Self::CpuRequest => "cpu",
            Self::MemoryLimit | Self::MemoryRequest => "memory",
            Self::StorageLimit | Self::StorageRequest => "ephemeral-storage",
        }
    }

    fn is_limit(self) -> bool {
        matches!(self, Self::CpuLimit | Self::MemoryLimit | Self::StorageLimit)
    }

    fn is_missing(self, view: &ContainerView<'_>) -> bool {
        let resource = self.resource();
        ![&view.container.resources, &view.pod.resources].into_iter().any(|resources| {
            resources.limits.contains(resource)
                || (!self.is_limit() && resources.requests.contains(resource))
        })
    }

    fn is_missing_cel(self) -> String {
        let resource = quote(self.resource());
        let within = |present: &str, resources: &str| {
            let list = |list: &str| format!("has({resources}.{list}) && {resource} in {resources}.{list}");
            let limits = list("limits");
            let either = if self.is_limit() { limits } else { format!("({limits} || {})", list("requests")) };
            format!("{present}{either}")
        };
        let of_pod = within("has(variables.spec.resources) && ", "variables.spec.resources");
        format!("!({} || {of_pod})", within(HAS_RESOURCES, RESOURCES))
    }
}

impl Default for ResourceLimits {
    fn default() -> Self {
        Self { enforcement: None, required: vec![Quantity::MemoryLimit, Quantity::CpuRequest, Quantity::MemoryRequest] }
    }
}

impl Rule for ResourceLimits {
    const ID: &'static str = "resource-limits";
    const PROFILES: &'static [Profile] = &[Profile::Stateless];
    const DOCUMENT: Document = Document {
        title: "Resources are requested and limited",
        reason: "A container without a memory limit can take its neighbours down, and one without requests is placed \
                 blindly and evicted first: pods are then replaced at a time that nobody chose.",
        remedy: "Set `resources.requests.cpu`, `resources.requests.memory` and `resources.limits.memory` on each \
                 container, or on the pod.",
        severity: Severity::Medium,
        category: Category::Replacement,
        bad: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n",
        good: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n    \
               resources:\n      requests: {cpu: 100m}\n      limits: {memory: 64Mi}\n",
    };

    fn enforcement(&self) -> Option<RuleEnforcement> {
        self.enforcement
    }

    fn checks(&self) -> Checks {
        let listed = self
            .required
            .iter()
            .fold(Items::default(), |items, quantity| items.when(&quantity.is_missing_cel(), quantity.name()));
        let required = self.required.clone();
        let first = self.required.clone();
        let case = Case::listing(
            move |view: &ContainerView<'_>| {
                required.iter().filter(|quantity| quantity.is_missing(view)).map(|quantity| quantity.name().to_owned()).collect()
            },
            listed,
            "resources are not set: {list}",
            "write them under resources",
        )
        .at_field(move |view: &ContainerView<'_>| {
            let name = first.iter().find(|quantity| quantity.is_missing(view)).map_or("", |quantity| quantity.name());
            format!("/resources/{}", name.replacen('.', "/", 1))
        });
        Checks::containers(LISTS, &[Field::Container("resources"), Field::Pod("resources")], vec![case])
    }
}
