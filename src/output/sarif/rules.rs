//! The tool and its rules, as SARIF describes them.

use immutable_core::policy::Enforcement;
use immutable_core::rules::{Document, RuleId, Severity};
use serde::Serialize;

const HOME: &str = "https://github.com/immutable-operator/immutable-operator";

/// A message in plain text.
#[derive(Serialize)]
pub(super) struct Text {
    pub(super) text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Driver<'a> {
    name: &'static str,
    version: &'a str,
    semantic_version: &'a str,
    information_uri: &'static str,
    rules: Vec<Rule>,
    notifications: [NotificationRule; 2],
}

impl<'a> Driver<'a> {
    pub(super) fn new(version: &'a str) -> Self {
        Self {
            name: "immutable",
            version,
            semantic_version: version,
            information_uri: HOME,
            rules: RuleId::ALL.iter().copied().map(Rule::new).collect(),
            notifications: [
                NotificationRule::new(
                    super::UNREADABLE.id,
                    "An input cannot be judged; nothing in it is known to be good.",
                ),
                NotificationRule::new(super::LEFT_OUT.id, "There are more results than a run may hold."),
            ],
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct NotificationRule {
    id: &'static str,
    short_description: Text,
}

impl NotificationRule {
    fn new(id: &'static str, description: &str) -> Self {
        Self { id, short_description: Text { text: description.to_owned() } }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    id: &'static str,
    name: String,
    short_description: Text,
    full_description: Text,
    help: Help,
    help_uri: String,
    default_configuration: Configuration,
    properties: RuleProperties,
}

#[derive(Serialize)]
struct Help {
    text: String,
    markdown: String,
}

#[derive(Serialize)]
struct Configuration {
    level: &'static str,
}

#[derive(Serialize)]
struct RuleProperties {
    /// GitHub shows critical, high, medium or low by it, on rules that are tagged `security`.
    #[serde(rename = "security-severity")]
    security_severity: &'static str,
    precision: &'static str,
    tags: [&'static str; 4],
}

impl Rule {
    fn new(rule: RuleId) -> Self {
        let document = rule.document();
        Self {
            id: rule.id(),
            name: pascal_case(rule.id()),
            short_description: Text { text: document.title.to_owned() },
            full_description: Text { text: document.reason.to_owned() },
            help: help(document),
            help_uri: format!("{HOME}/blob/main/docs/rules/{}.md", rule.id()),
            default_configuration: Configuration { level: level_of(Some(Enforcement::Enforce)) },
            properties: RuleProperties {
                security_severity: security_severity(document.severity),
                precision: "very-high",
                tags: ["security", "kubernetes", "immutability", document.category.name()],
            },
        }
    }
}

fn help(document: &Document) -> Help {
    let Document { title, reason, remedy, bad, good, .. } = document;
    let (bad, good) = (bad.trim_end(), good.trim_end());
    Help {
        text: format!("{title}.\n\nWhy: {reason}\n\nWhat to do: {remedy}\n\nNot so:\n{bad}\n\nBut so:\n{good}\n"),
        markdown: format!(
            "# {title}\n\n{reason}\n\n## What to do\n\n{remedy}\n\n### Not so\n\n```yaml\n{bad}\n```\n\n### But so\n\n```yaml\n{good}\n```\n"
        ),
    }
}

/// Scores in the middle of what GitHub calls critical (over 9), high (7), medium (4) and low.
fn security_severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "9.5",
        Severity::High => "8.0",
        Severity::Medium => "5.5",
        Severity::Low => "2.0",
    }
}

/// The level of a broken rule: what is enforced is an error.
pub(super) fn level_of(enforcement: Option<Enforcement>) -> &'static str {
    match enforcement {
        Some(Enforcement::Enforce) => "error",
        Some(Enforcement::Warn) | None => "warning",
        Some(Enforcement::Audit) => "note",
    }
}

/// `image-digest` -> `ImageDigest`, which the standard asks for in names.
fn pascal_case(id: &str) -> String {
    id.split('-')
        .flat_map(|word| {
            let mut characters = word.chars();
            characters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(characters)
        })
        .collect()
}
