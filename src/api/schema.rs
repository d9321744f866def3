//! The CRDs, and those of their validations that a type cannot say.

use immutable_core::policy::NOTHING_TO_DO;
use immutable_core::rules::{RuleId, RuleSettings};
use immutable_core::schema::validations;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;
use schemars::Schema;

use super::{ClusterImmutablePolicy, ImmutableException, ImmutablePolicy};

/// The custom resource definitions, in the order in which they are printed.
pub fn crds() -> Vec<CustomResourceDefinition> {
    vec![ClusterImmutablePolicy::crd(), ImmutablePolicy::crd(), ImmutableException::crd()]
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
    let rule = format!("self.profile != 'None' || has(self.replace) || has(self.rules) && ({})", named.join(" || "));
    schema.insert("x-kubernetes-validations".to_owned(), validations(&[(&rule, NOTHING_TO_DO)]));
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::Value;

    use super::*;

    /// The paths of all fields of a schema that say nothing of themselves.
    fn undescribed(path: &str, schema: &Value, found: &mut Vec<String>) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            if field["description"].as_str().is_none_or(|description| description.trim().is_empty()) {
                found.push(path.clone());
            }
            undescribed(&path, field, found);
            undescribed(&format!("{path}[]"), &field["items"], found);
        }
    }

    /// The paths of all lists and maps without a limit.
    fn unlimited(path: &str, schema: &Value, found: &mut Vec<String>) {
        if schema["type"] == "array" && schema["maxItems"].is_null() {
            found.push(path.to_owned());
        }
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            unlimited(&format!("{path}.{name}"), field, found);
        }
        if schema["items"].is_object() {
            unlimited(&format!("{path}[]"), &schema["items"], found);
        }
    }

    #[test]
    fn every_field_is_described_every_list_is_limited_and_the_columns_are_there() {
        for crd in crds() {
            let crd = serde_json::to_value(crd).unwrap();
            let version = &crd["spec"]["versions"][0];
            let schema = &version["schema"]["openAPIV3Schema"]["properties"];
            let (mut silent, mut endless) = (Vec::new(), Vec::new());
            undescribed("spec", &schema["spec"], &mut silent);
            undescribed("status", &schema["status"], &mut silent);
            // What the operator writes, it bounds itself.
            unlimited("spec", &schema["spec"], &mut endless);
            assert_eq!((silent, endless), (Vec::<String>::new(), Vec::<String>::new()), "{}", crd["metadata"]["name"]);
            let columns: Vec<&str> = version["additionalPrinterColumns"]
                .as_array()
                .unwrap()
                .iter()
                .map(|column| column["name"].as_str().unwrap())
                .collect();
            let expected: &[&str] = match crd["spec"]["names"]["kind"].as_str() {
                Some("ImmutableException") => &["Policies", "Target", "Active", "Expires", "Reason", "Matched", "Age"],
                _ => &[
                    "Profile",
                    "Enforcement",
                    "Ready",
                    "Enforced",
                    "Workloads",
                    "Would reject",
                    "Ready because",
                    "Enforced because",
                    "Suspended until",
                    "Age",
                ],
            };
            assert_eq!(columns, expected);
            assert_eq!(crd["spec"]["names"]["categories"], serde_json::json!(["immutable"]));
        }
    }
}
