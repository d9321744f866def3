//! Label selectors, as Kubernetes defines them.

mod parse;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::schema::validations;

/// A label key in CEL: an optional DNS name and a slash, then a name.
const VALID_LABEL_KEY: &str = "self.matches('^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && self.indexOf('/') <= 253";
const VALID_LABEL_KEYS: &str = "self.all(k, k.matches('^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?([.][a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$') && k.indexOf('/') <= 253)";
const VALID_LABEL_VALUES: &str = "self.all(k, self[k].matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'))";
const VALID_VALUES: &str = "self.all(v, v.matches('^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$'))";

/// The most characters that keys and values may have together. Each stands in the expressions of a compiled policy
/// several times, and those may not grow without bound.
const LONGEST_SELECTOR: usize = 4096;
const NOT_LONG: &str = "(has(self.matchLabels) ? self.matchLabels.map(k, k.size() + self.matchLabels[k].size()).sum() : 0) + \
                        (has(self.matchExpressions) ? self.matchExpressions.map(e, e.key.size() + \
                        (has(e.values) ? e.values.map(v, v.size()).sum() : 0)).sum() : 0) <= 4096";

/// A label selector: all `matchLabels` and all `matchExpressions` must hold; an empty one selects everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = validations(&[
    (NOT_LONG, "write at most 4096 characters of keys and values in all"),
])))]
pub struct LabelSelector {
    /// Labels that must have exactly these values.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(
        extend("maxProperties" = 64),
        extend("additionalProperties" = {"type": "string", "maxLength": 63}),
        extend("x-kubernetes-validations" = validations(&[
            (VALID_LABEL_KEYS, "write label keys as [PREFIX/]NAME, NAME of at most 63 letters, digits, '-', '_' or '.'"),
            (VALID_LABEL_VALUES, "write label values of at most 63 letters, digits, '-', '_' or '.', or empty ones"),
        ]))
    )]
    pub match_labels: BTreeMap<String, String>,
    /// Further requirements.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub match_expressions: Vec<Requirement>,
}

/// One requirement of a label selector.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schemars(extend("x-kubernetes-validations" = validations(&[
    ("self.operator in ['In', 'NotIn'] ? has(self.values) && self.values.size() > 0 : !has(self.values) || self.values.size() == 0",
     "In and NotIn need at least one value; Exists and DoesNotExist take none"),
])))]
pub struct Requirement {
    /// The label's key.
    #[schemars(length(max = 317), extend("x-kubernetes-validations" = validations(&[
        (VALID_LABEL_KEY, "write a label key as [PREFIX/]NAME, NAME of at most 63 letters, digits, '-', '_' or '.'"),
    ])))]
    pub key: String,
    /// How the key relates to the values.
    pub operator: Operator,
    /// In and NotIn need at least one; Exists and DoesNotExist take none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64), inner(length(max = 63)), extend("x-kubernetes-validations" = validations(&[
        (VALID_VALUES, "write label values of at most 63 letters, digits, '-', '_' or '.', or empty ones"),
    ])))]
    pub values: Vec<String>,
}

/// How a label relates to the values of a requirement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Operator {
    /// the label is there and has one of the values
    In,
    /// the label is absent or has none of the values
    NotIn,
    /// the label is there
    Exists,
    /// the label is absent
    DoesNotExist,
}

impl Requirement {
    /// A label that must have one of some values.
    pub fn is_in(key: &str, values: impl IntoIterator<Item = String>) -> Self {
        Self { key: key.to_owned(), operator: Operator::In, values: values.into_iter().collect() }
    }

    /// A label that must have none of some values.
    pub fn not_in(key: &str, values: impl IntoIterator<Item = String>) -> Self {
        Self { key: key.to_owned(), operator: Operator::NotIn, values: values.into_iter().collect() }
    }

    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match self.operator {
            Operator::In => value.is_some_and(|value| self.values.contains(value)),
            Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

impl LabelSelector {
    /// Whether it asks for nothing.
    pub fn is_empty(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// Whether labels satisfy it.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(|requirement| requirement.matches(labels))
    }

    /// Labels that satisfy it, if any can.
    pub fn example(&self) -> Option<BTreeMap<String, String>> {
        let mut labels = self.match_labels.clone();
        for requirement in &self.match_expressions {
            match requirement.operator {
                Operator::In => {
                    let allowed = requirement.values.iter().find(|value| {
                        let mut trial = labels.clone();
                        trial.insert(requirement.key.clone(), (*value).clone());
                        self.match_expressions
                            .iter()
                            .filter(|other| other.key == requirement.key)
                            .all(|other| other.matches(&trial))
                    });
                    labels.entry(requirement.key.clone()).or_insert_with(|| allowed.cloned().unwrap_or_default());
                }
                Operator::Exists => {
                    let free = (0..=self.match_expressions.len() * 64).map(|number| format!("example-{number}")).find(
                        |value| {
                            !self.match_expressions.iter().any(|other| {
                                other.key == requirement.key
                                    && other.operator == Operator::NotIn
                                    && other.values.contains(value)
                            })
                        },
                    );
                    labels.entry(requirement.key.clone()).or_insert_with(|| free.unwrap_or_default());
                }
                Operator::NotIn | Operator::DoesNotExist => {}
            }
        }
        // An In that comes after an Exists of the same key must win.
        for requirement in &self.match_expressions {
            if requirement.operator == Operator::In && !requirement.matches(&labels) {
                let fitting = requirement.values.iter().find(|value| {
                    let mut trial = labels.clone();
                    trial.insert(requirement.key.clone(), (*value).clone());
                    self.matches(&trial)
                });
                if let Some(value) = fitting {
                    labels.insert(requirement.key.clone(), value.clone());
                }
            }
        }
        self.matches(&labels).then_some(labels)
    }

    /// How many characters of keys and values it has.
    pub(crate) fn text_size(&self) -> usize {
        let of_labels = self.match_labels.iter().map(|(key, value)| key.len() + value.len());
        let of_values = self.match_expressions.iter().flat_map(|requirement| &requirement.values).map(String::len);
        let of_keys = self.match_expressions.iter().map(|requirement| requirement.key.len());
        of_labels.chain(of_keys).chain(of_values).sum()
    }

    /// What is wrong with it, in the words of a person; the API server would refuse the compiled objects.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if self.text_size() > LONGEST_SELECTOR {
            problems.push(format!(
                "the selector is too long; write at most {LONGEST_SELECTOR} characters of keys and values"
            ));
        }
        for (key, value) in &self.match_labels {
            problems.extend(problem_with_key(key));
            problems.extend(problem_with_value(value));
        }
        for requirement in &self.match_expressions {
            problems.extend(problem_with_key(&requirement.key));
            problems.extend(requirement.values.iter().filter_map(|value| problem_with_value(value)));
            let needs_values = matches!(requirement.operator, Operator::In | Operator::NotIn);
            if needs_values && requirement.values.is_empty() {
                problems.push(format!(
                    "{:?} of label {} has no values; write at least one",
                    requirement.operator, requirement.key
                ));
            }
            if !needs_values && !requirement.values.is_empty() {
                problems.push(format!(
                    "{:?} of label {} takes no values; remove them",
                    requirement.operator, requirement.key
                ));
            }
        }
        problems
    }
}

fn problem_with_key(key: &str) -> Option<String> {
    let (prefix, name) = key.split_once('/').map_or((None, key), |(prefix, name)| (Some(prefix), name));
    let prefix_is_valid =
        prefix.is_none_or(|prefix| !prefix.is_empty() && prefix.len() <= 253 && prefix.split('.').all(is_dns_label));
    (!prefix_is_valid || name.is_empty() || !is_label_text(name)).then(|| {
        format!(
            "label key {key:?} is not valid; write [PREFIX/]NAME, NAME of at most 63 letters, digits, '-', '_' or '.'"
        )
    })
}

fn problem_with_value(value: &str) -> Option<String> {
    (!value.is_empty() && !is_label_text(value))
        .then(|| format!("label value {value:?} is not valid; write at most 63 letters, digits, '-', '_' or '.'"))
}

fn is_label_text(text: &str) -> bool {
    let ends = |character: Option<char>| character.is_some_and(|character| character.is_ascii_alphanumeric());
    text.len() <= 63
        && ends(text.chars().next())
        && ends(text.chars().last())
        && text.chars().all(|character| character.is_ascii_alphanumeric() || "-_.".contains(character))
}

/// A DNS-1123 label: what a namespace may be named.
pub fn is_dns_label(text: &str) -> bool {
    let ends = |character: Option<char>| {
        character.is_some_and(|character| character.is_ascii_lowercase() || character.is_ascii_digit())
    };
    text.len() <= 63
        && ends(text.chars().next())
        && ends(text.chars().last())
        && text
            .chars()
            .all(|character| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selector(json: &str) -> LabelSelector {
        serde_json::from_str(json).expect("a selector")
    }

    #[rstest::rstest]
    #[case("{}")]
    #[case(r#"{"matchLabels":{"a":"b"}}"#)]
    #[case(r#"{"matchExpressions":[{"key":"a","operator":"Exists"},{"key":"a","operator":"NotIn","values":["example-0"]}]}"#)]
    #[case(r#"{"matchExpressions":[{"key":"a","operator":"Exists"},{"key":"a","operator":"In","values":["x","y"]},{"key":"a","operator":"NotIn","values":["x"]}]}"#)]
    #[case(
        r#"{"matchExpressions":[{"key":"a","operator":"DoesNotExist"},{"key":"b","operator":"NotIn","values":["x"]}]}"#
    )]
    fn an_example_satisfies_it(#[case] json: &str) {
        let selector = selector(json);
        let labels = selector.example().expect("it can be satisfied");
        assert!(selector.matches(&labels));
        assert_eq!(selector.problems(), Vec::<String>::new());
    }

    #[rstest::rstest]
    #[case(r#"{"matchLabels":{"a b":"c"}}"#, "label key")]
    #[case(r#"{"matchLabels":{"a":"c d"}}"#, "label value")]
    #[case(r#"{"matchLabels":{"/a":"c"}}"#, "label key")]
    #[case(r#"{"matchExpressions":[{"key":"a","operator":"In"}]}"#, "no values")]
    #[case(r#"{"matchExpressions":[{"key":"a","operator":"Exists","values":["b"]}]}"#, "takes no values")]
    fn a_bad_one_says_what_to_write(#[case] json: &str, #[case] expected: &str) {
        let problems = selector(json).problems();
        assert!(problems.len() == 1 && problems[0].contains(expected), "{problems:?}");
    }

    #[test]
    fn what_cannot_be_satisfied_has_no_example() {
        let selector =
            selector(r#"{"matchLabels":{"a":"b"},"matchExpressions":[{"key":"a","operator":"DoesNotExist"}]}"#);
        assert_eq!(selector.example(), None);
    }
}
