//! What the Rust side says, in the words in which the API server must say it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, anyhow};
use immutable_core::{
    evaluate::{About, Facts, Finding, evaluate},
    native::message,
    policy::{Enforcement, Match, NamespaceLabels, Policy},
    rules::RuleId,
    workload::{ContainerType, Kind, Workload, WorkloadKind},
};
use serde_json::Value;

/// A part of an object that one compiled policy judges.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Part {
    /// The pod spec behind a pointer.
    Pods(String),
    /// The ephemeral containers of a Pod.
    Ephemeral,
    /// The update strategy.
    Strategy,
}

/// The findings of each part at each level.
pub(crate) type Findings = BTreeMap<(Enforcement, Part), Vec<Finding>>;

/// Judges an object.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn findings(policy: &Policy, object: &Value) -> Result<Findings> {
    findings_that(policy, object, |_, _| true)
}

/// Judges an object, and keeps some of the findings.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn findings_that(
    policy: &Policy,
    object: &Value,
    keep: impl Fn(&Workload, &Finding) -> bool,
) -> Result<Findings> {
    let workload = read(policy, object)?;
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or("default");
    let mut parts = Findings::new();
    for verdict in evaluate(policy, &workload, namespace, &Facts::default()) {
        // Natively it judges the ConfigMaps themselves.
        if verdict.rule == RuleId::ImmutableConfig {
            continue;
        }
        for finding in verdict.findings.into_iter().filter(|finding| keep(&workload, finding)) {
            let part = part(&workload, &finding)?;
            parts.entry((verdict.enforcement, part)).or_default().push(finding);
        }
    }
    Ok(parts)
}

fn part(workload: &Workload, finding: &Finding) -> Result<Part> {
    if finding.about == About::Workload {
        return Ok(Part::Strategy);
    }
    let is_pod = workload.kind == WorkloadKind::BuiltIn(Kind::Pod);
    let ephemeral =
        |about: &About| matches!(about, About::Container { container_type: ContainerType::EphemeralContainer, .. });
    if is_pod && ephemeral(&finding.about) {
        return Ok(Part::Ephemeral);
    }
    let template = workload.templates.iter().find(|template| finding.pointer.starts_with(&template.pointer));
    template.map(|template| Part::Pods(template.pointer.clone())).context("a finding outside of every pod spec")
}

fn read(policy: &Policy, object: &Value) -> Result<Workload> {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    let custom: Vec<_> = policy.custom_workloads().iter().collect();
    Workload::read(object, text("apiVersion"), text("kind"), &custom)
        .map_err(|error| anyhow!("{}: {error}", error.pointer()))?
        .context("it carries no pods")
}

/// Whether the policy judges the object at all, by its kind and labels.
///
/// # Errors
/// When it cannot be read.
pub(crate) fn concerns(policy: &Policy, object: &Value, namespace: &str) -> Result<bool> {
    let workload = read(policy, object)?;
    Ok(policy.matches(&workload, namespace, NamespaceLabels::Unknown, None) == Match::Yes)
}

/// The messages of the denials of a create, in alphabetical order.
///
/// # Errors
/// When the object cannot be read.
pub(crate) fn messages(policy: &Policy, object: &Value) -> Result<Vec<String>> {
    Ok(told(&findings(policy, object)?))
}

/// The messages for some findings of a create.
pub(crate) fn told(parts: &Findings) -> Vec<String> {
    // The API server refuses Pods that are born with ephemeral containers; they come through their subresource.
    let created = parts.iter().filter(|((_, part), _)| *part != Part::Ephemeral);
    let mut messages: Vec<String> = created.map(|(_, findings)| message(findings)).collect();
    messages.sort_unstable();
    messages
}

/// What sort of difference there is between two sides: the rules that only one of them names, or an error.
pub(crate) fn signature<'a>(
    rust: impl Iterator<Item = &'a String>,
    server: impl Iterator<Item = &'a String>,
) -> String {
    fn findings<'a>(messages: impl Iterator<Item = &'a String>) -> BTreeSet<&'a str> {
        messages
            .flat_map(|message| message.split_once("s: ").map_or(message.as_str(), |(_, found)| found).split(" | "))
            .collect()
    }
    let (rust, server) = (findings(rust), findings(server));
    let kinds: BTreeSet<String> = rust
        .symmetric_difference(&server)
        .map(|finding| match finding.split_once(']') {
            Some((rule, _)) => format!("{}{rule}]", if rust.contains(finding) { "Rust " } else { "server " }),
            None => finding.rsplit(": ").next().unwrap_or_default().to_owned(),
        })
        .collect();
    kinds.into_iter().collect::<Vec<_>>().join(", ")
}
