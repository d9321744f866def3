//! What a policy would reject, as text or JSON (`docs/schema/impact-report.schema.json`).

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use immutable_core::policy::PolicyId;
use immutable_core::rules::RuleId;
use serde::Serialize;

use super::group::Named;
use super::json::write_lines;
use super::report::Resource;
use super::shown::{Shown, count};

/// A workload that would be rejected.
#[derive(Clone, Debug, Serialize)]
pub struct Rejected {
    /// Which one.
    #[serde(flatten)]
    pub resource: Resource,
    /// For how many findings.
    pub findings: u64,
    /// Of which rules.
    pub rules: BTreeSet<RuleId>,
}

/// How much of what runs would be rejected.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// Findings.
    pub findings: u64,
    /// Workloads that have them.
    pub would_reject: u64,
}

/// What a policy would reject, were every rule enforced and everything that runs created now.
#[derive(Clone, Debug)]
pub struct Impact {
    /// The policy.
    pub policy: PolicyId,
    /// How many workloads it judges.
    pub workloads: u64,
    /// How many things could not be decided, as the status of the policy counts them: a workload that cannot be judged is
    /// one of them, and so is each question about another that has no answer.
    pub undecided: u64,
    /// Those that it would reject, by namespace.
    pub rejected: Vec<Rejected>,
    /// What each rule has to do with it.
    pub rules: BTreeMap<RuleId, Part>,
    /// What cannot be known, in words.
    pub errors: Vec<String>,
}

impl Impact {
    /// What each namespace has to do with it.
    fn namespaces(&self) -> BTreeMap<&str, Part> {
        let mut namespaces: BTreeMap<&str, Part> = BTreeMap::new();
        for Rejected { resource, findings, .. } in &self.rejected {
            let part = namespaces.entry(&resource.namespace).or_default();
            part.would_reject += 1;
            part.findings += findings;
        }
        namespaces
    }

    /// Writes it for people.
    ///
    /// # Errors
    /// Only those of `out`.
    pub fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let named: Vec<String> = self.rejected.iter().map(|one| Named(&one.resource).to_string()).collect();
        let width = named.iter().map(|name| name.chars().count()).max().unwrap_or_default();
        for (name, Rejected { findings, rules, .. }) in named.iter().zip(&self.rejected) {
            let rules: Vec<&str> = rules.iter().map(|rule| rule.id()).collect();
            writeln!(out, "{name:width$}  {:>11}  {}", count(*findings, "finding"), rules.join(", "))?;
        }
        if !self.rejected.is_empty() {
            let rules = self.rules.iter().map(|(rule, part)| (rule.id(), *part));
            write_parts("By rule (immutable explain RULE says why)", rules, out)?;
            write_parts("By namespace", self.namespaces().into_iter(), out)?;
            writeln!(out)?;
        }
        write!(
            out,
            "{} {} would reject {} of {}, were every rule enforced",
            self.policy.kind(),
            Shown(&self.policy.to_string()),
            self.rejected.len(),
            count(self.workloads, "workload")
        )?;
        match self.undecided {
            0 => writeln!(out),
            undecided => writeln!(out, "; {} could not be decided", count(undecided, "thing")),
        }
    }

    /// Writes it for programs.
    ///
    /// # Errors
    /// Only those of `out`.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        #[derive(Serialize)]
        struct Policy<'a> {
            kind: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            namespace: Option<&'a str>,
            name: &'a str,
        }
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Summary {
            workloads: u64,
            would_reject: usize,
            undecided: u64,
        }
        #[derive(Serialize)]
        struct OfRule {
            rule: RuleId,
            #[serde(flatten)]
            part: Part,
        }
        #[derive(Serialize)]
        struct OfNamespace<'a> {
            namespace: &'a str,
            #[serde(flatten)]
            part: Part,
        }
        let PolicyId { namespace, name } = &self.policy;
        let policy = Policy { kind: self.policy.kind(), namespace: namespace.as_deref(), name };
        let summary =
            Summary { workloads: self.workloads, would_reject: self.rejected.len(), undecided: self.undecided };
        write!(
            out,
            "{{\n  \"apiVersion\": \"{}\",\n  \"kind\": \"ImpactReport\",\n  \"policy\": ",
            crate::api::API_VERSION
        )?;
        serde_json::to_writer(&mut *out, &policy)?;
        write!(out, ",\n  \"summary\": ")?;
        serde_json::to_writer(&mut *out, &summary)?;
        write!(out, ",\n  \"rules\": ")?;
        write_lines(self.rules.iter().map(|(rule, part)| OfRule { rule: *rule, part: *part }), out)?;
        write!(out, ",\n  \"namespaces\": ")?;
        let namespaces = self.namespaces();
        write_lines(namespaces.iter().map(|(namespace, part)| OfNamespace { namespace, part: *part }), out)?;
        write!(out, ",\n  \"workloads\": ")?;
        write_lines(self.rejected.iter(), out)?;
        write!(out, ",\n  \"errors\": ")?;
        write_lines(self.errors.iter(), out)?;
        out.write_all(b"\n}\n")
    }
}

fn write_parts<'a>(title: &str, parts: impl Iterator<Item = (&'a str, Part)>, out: &mut dyn Write) -> io::Result<()> {
    let mut parts: Vec<(&str, Part)> = parts.collect();
    parts.sort_by_key(|(name, part)| (std::cmp::Reverse(part.would_reject), *name));
    let width = parts.iter().map(|(name, _)| name.len()).max().unwrap_or_default();
    writeln!(out, "\n{title}")?;
    for (name, Part { findings, would_reject }) in parts {
        let findings = count(findings, "finding");
        writeln!(out, "  {name:width$}  {findings:>11}  in {}", count(would_reject, "workload"))?;
    }
    Ok(())
}
