//! The CRDs, and those of their validations that a type cannot say.

use immutable_core::rules::{RuleId, RuleSettings};
use immutable_core::schema::validations;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::Schema;

use super::{ClusterImmutablePolicy, ImmutablePolicy};

/// The custom resource definitions, in the order in which they are printed.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![ClusterImmutablePolicy::crd(), ImmutablePolicy::crd()]
}

/// Adds what must hold between the fields of a policy.
pub(super) fn add_policy_validations(schema: &mut Schema) {
    let named: Vec<String> = RuleId::ALL
        .iter()
        .map(|rule| RuleSettings::field(*rule))
        .map(|field| {
            format!(
                "has(self.rules.{field}) && (!has(self.rules.{field}.enforcement) || self.rules.{field}.enforcement != 'Disabled')"
            )
        })
        .collect();
    let rule = format!("self.profile != 'None' || has(self.rules) && ({})", named.join(" || "));
    let message = "the policy has no rule; set spec.profile or name a rule in spec.rules";
    schema.insert("x-kubernetes-validations".to_owned(), validations(&[(&rule, message)]));
}
