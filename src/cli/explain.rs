//! `immutable explain`: what a rule is for, and what to write. The same text becomes `docs/rules/`.

use immutable_core::policy::Profile;
use immutable_core::rules::{RuleId, RuleSettings};

use super::exit::{Exit, print, refuse};
use super::nearest;

/// Explains a rule: its reason, an example and what to write
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Id of a rule, such as image-digest; without it all are listed
    rule: Option<String>,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let Some(name) = &arguments.rule else { return print(&list()) };
    match nearest::rule(name) {
        Ok(rule) => print(&rule_page(rule)),
        Err(error) => refuse([error]),
    }
}

fn list() -> String {
    RuleId::ALL.iter().fold(String::new(), |text, rule| {
        let document = rule.document();
        text + &format!("{:28}{:10}{}\n", rule.id(), document.severity.name(), document.title)
    })
}

/// The page of a rule, in Markdown.
pub fn rule_page(rule: RuleId) -> String {
    let document = rule.document();
    let profiles: Vec<&str> = rule
        .profiles()
        .iter()
        .map(|profile| match profile {
            Profile::Stateless => "Stateless",
            Profile::Stateful => "Stateful",
            Profile::Infrastructure => "Infrastructure",
            Profile::None => "None",
        })
        .collect();
    let profiles =
        if profiles.is_empty() { "in no profile; name it in spec.rules".to_owned() } else { profiles.join(", ") };
    let settings = settings(rule);
    format!(
        "# {id}: {title}\n\n\
         Severity {severity}. Category {category}. Profiles: {profiles}. Field: `spec.rules.{field}`.\n\n\
         ## Why\n\n{reason}\n\n## What to write\n\n{remedy}\n\n## Settings\n\n{settings}\n\n\
         ## Broken\n\n```yaml\n{bad}```\n\n## Right\n\n```yaml\n{good}```\n",
        id = rule.id(),
        title = document.title,
        severity = document.severity.name(),
        category = document.category.name(),
        field = RuleSettings::field(rule),
        reason = document.reason,
        remedy = document.remedy,
        bad = document.bad,
        good = document.good,
    )
}

/// Every setting of a rule, with what it is if absent.
fn settings(rule: RuleId) -> String {
    let schema = RuleSettings::schema(rule).to_value();
    let defaults = RuleSettings::default_settings(rule);
    let fields = schema["properties"].as_object().into_iter().flatten().map(|(name, field)| {
        let description = field["description"].as_str().unwrap_or_default().replace('\n', " ");
        let absent = match &defaults[name] {
            serde_json::Value::Null => String::new(),
            default => format!(" Absent: `{default}`."),
        };
        format!("- `{name}`: {description}{absent}")
    });
    fields.collect::<Vec<_>>().join("\n")
}
