//! Validations that a schema's types cannot say, for the API server, with the words that a person then reads.

use serde_json::{Value, json};

/// `x-kubernetes-validations`: CEL rules over `self`, each with what to write.
pub fn validations(rules: &[(&str, &str)]) -> Value {
    rules.iter().map(|(rule, message)| json!({"rule": rule, "message": message})).collect()
}
