//! Runbooks: one for each alert, with queries and commands that work.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::metrics;
use crate::rules::alerts;
use crate::sample::sample;
use crate::tools::{read, repository};

const FOLDER: &str = "docs/runbooks";
const ADDRESS: &str = "https://github.com/immutable-operator/immutable-operator/blob/main/docs/runbooks";

/// The names of the runbooks.
fn runbooks() -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for entry in std::fs::read_dir(repository(FOLDER))? {
        let name = entry?.file_name().into_string().ok().context("a strange name")?;
        let name = name.strip_suffix(".md").with_context(|| format!("{name} is no page"))?;
        names.insert(name.to_owned());
    }
    ensure!(names.remove("README"), "{FOLDER} has no index");
    Ok(names)
}

/// The lines of the blocks of a kind, wherever they are indented.
fn blocks(text: &str, kind: &str) -> Vec<String> {
    let (mut lines, mut inside) = (Vec::new(), None);
    for line in text.lines().map(str::trim) {
        match (line.strip_prefix("```"), inside) {
            (Some(opened), None) => inside = Some(opened),
            (Some(_), Some(_)) => inside = None,
            (None, Some(opened)) if opened == kind => lines.push(line.to_owned()),
            (None, _) => {}
        }
    }
    lines
}

#[test]
fn every_alert_has_a_runbook_and_every_runbook_an_alert() -> Result<()> {
    let index = read(&format!("{FOLDER}/README.md"))?;
    let mut of_alerts = BTreeSet::new();
    for rule in alerts()? {
        let alert = rule.alert;
        ensure!(rule.annotations.get("runbook_url") == Some(&Value::from(format!("{ADDRESS}/{alert}.md"))), "{alert}");
        let severity = rule.labels.get("severity").and_then(Value::as_str).unwrap_or_default();
        let row = format!("| [{alert}]({alert}.md) | {severity} |");
        ensure!(index.contains(&row), "the index has no row {row}");
        of_alerts.insert(alert);
    }
    ensure!(index.matches("| [").count() == of_alerts.len(), "the index has other rows too");
    let runbooks = runbooks()?;
    ensure!(of_alerts == runbooks, "alerts {of_alerts:?}, runbooks {runbooks:?}");
    for name in runbooks {
        let text = read(&format!("{FOLDER}/{name}.md"))?;
        let headings: Vec<&str> = text.lines().filter(|line| line.starts_with('#')).collect();
        let title = format!("# {name}");
        let expected = [&title, "## What it means", "## Impact", "## How to look", "## How to fix"];
        ensure!(headings == expected, "{name} has {headings:?}");
        ensure!(!blocks(&text, "promql").is_empty(), "{name} has no query");
    }
    Ok(())
}

#[tokio::test]
async fn every_query_of_a_runbook_asks_for_what_is_there() -> Result<()> {
    let known = metrics::known().await?;
    for name in runbooks()? {
        for query in blocks(&read(&format!("{FOLDER}/{name}.md"))?, "promql") {
            let (_, uses) = known.schema.check(&query).with_context(|| name.clone())?;
            known.has_values(&uses).with_context(|| format!("{name}: {query}"))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_kubectl_get_of_a_runbook_works() -> Result<()> {
    let (cluster, _) = sample().await?;
    let mut commands = BTreeSet::new();
    for name in runbooks()? {
        let lines = blocks(&read(&format!("{FOLDER}/{name}.md"))?, "console");
        let commanded = lines.iter().filter_map(|line| line.strip_prefix("$ "));
        // Nobody named `web` runs here.
        let gets = commanded.filter(|command| command.starts_with("kubectl get ") && !command.contains('|'));
        commands.extend(gets.map(ToOwned::to_owned));
    }
    ensure!(commands.len() > 5, "there are only {commands:?}");
    for command in commands {
        let arguments: Vec<String> = words(&command).into_iter().skip(1).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        cluster.kubectl(&arguments, "").await?.success().with_context(|| command.clone())?;
    }
    Ok(())
}

/// The words of a command as a shell takes them, with single quotes and no other.
fn words(command: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for character in command.chars() {
        match character {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            _ => words.last_mut().into_iter().for_each(|word| word.push(character)),
        }
    }
    words
}
