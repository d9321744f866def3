//! Recording rules and alerts.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::metrics;
use crate::tools::{read, run};

pub(crate) const FILE: &str = "deploy/prometheus/immutable.rules.yaml";
const TESTS: &str = "deploy/prometheus/immutable.rules.test.yaml";

#[derive(Deserialize)]
struct File {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

/// A rule as Prometheus reads it.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Rule {
    pub(crate) record: String,
    pub(crate) alert: String,
    pub(crate) expr: String,
    #[serde(rename = "for")]
    pub(crate) lasts: String,
    pub(crate) labels: Map<String, Value>,
    pub(crate) annotations: Map<String, Value>,
}

/// All rules in their order.
pub(crate) fn rules() -> Result<Vec<Rule>> {
    let file: File = serde_saphyr::from_str(&read(FILE)?)?;
    let rules: Vec<Rule> = file.groups.into_iter().flat_map(|group| group.rules).collect();
    ensure!(!rules.is_empty(), "{FILE} has no rules");
    Ok(rules)
}

/// The alerts among them.
pub(crate) fn alerts() -> Result<Vec<Rule>> {
    let alerts: Vec<Rule> = rules()?.into_iter().filter(|rule| !rule.alert.is_empty()).collect();
    ensure!(!alerts.is_empty(), "{FILE} has no alerts");
    Ok(alerts)
}

#[tokio::test]
async fn every_metric_and_label_of_the_rules_is_there() -> Result<()> {
    let known = metrics::known().await?;
    for rule in rules()? {
        let name = format!("{}{}", rule.record, rule.alert);
        let (labels, uses) = known.schema.check(&rule.expr).with_context(|| name.clone())?;
        known.has_values(&uses).with_context(|| name.clone())?;
        // What an alert says of itself is made of its labels.
        for text in rule.annotations.values().filter_map(Value::as_str) {
            for part in text.split("$labels.").skip(1) {
                let label: String = part.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
                ensure!(labels.contains(&label), "{name} says {label}, and has only {labels:?}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn promtool_finds_nothing_wrong() -> Result<()> {
    run("promtool", &["check", "rules", "--lint=all", "--lint-fatal", FILE], "").await?;
    run("promtool", &["test", "rules", TESTS], "").await?;
    Ok(())
}

#[test]
fn every_alert_says_what_it_is_and_is_tested() -> Result<()> {
    let tests: Value = serde_saphyr::from_str(&read(TESTS)?)?;
    let cases = tests["tests"].as_array().context("no tests")?;
    let cases: Vec<&Value> = cases.iter().filter_map(|case| case["alert_rule_test"].as_array()).flatten().collect();
    let (mut fires, mut is_silent) = (BTreeSet::new(), BTreeSet::new());
    for case in cases {
        let alert = case["alertname"].as_str().context("a case names no alert")?;
        let expected = case["exp_alerts"].as_array().context("a case expects nothing")?;
        if expected.is_empty() {
            is_silent.insert(alert)
        } else {
            fires.insert(alert)
        };
    }
    for Rule { alert, lasts, labels, annotations, .. } in alerts()? {
        let severity = labels.get("severity").and_then(Value::as_str).unwrap_or_default();
        ensure!(["critical", "warning", "info"].contains(&severity), "{alert} has the severity {severity:?}");
        ensure!(!lasts.is_empty(), "{alert} says not how long it must last (for)");
        for annotation in ["summary", "description", "runbook_url"] {
            let text = annotations.get(annotation).and_then(Value::as_str).unwrap_or_default();
            ensure!(!text.is_empty() && !text.contains('\n'), "{alert} has no {annotation} of one line");
        }
        ensure!(fires.contains(alert.as_str()), "{TESTS} does not say when {alert} fires");
        ensure!(is_silent.contains(alert.as_str()), "{TESTS} does not say when {alert} is silent");
    }
    Ok(())
}
