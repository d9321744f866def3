//! What a report comes to, for the end of a page.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use immutable_core::rules::RuleId;

use super::group::same_workload;
use super::report::{Entry, Outcome, Report, Summary};
use super::shown::count;

/// The findings of one rule.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RuleCount {
    /// enforced findings
    pub(super) fail: u64,
    /// findings that are not
    pub(super) warn: u64,
    /// what could not be decided
    pub(super) error: u64,
    /// excused findings
    pub(super) skip: u64,
    /// workloads with any of them
    pub(super) workloads: u64,
}

impl RuleCount {
    /// How many results there are.
    pub(super) fn total(&self) -> u64 {
        self.fail + self.warn + self.error + self.skip
    }
}

/// The one thing to do first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FirstStep<'a> {
    /// The rule whose findings it removes.
    pub(super) rule: RuleId,
    /// What to write.
    pub(super) fix: &'a str,
    /// How many findings it removes.
    pub(super) findings: u64,
    /// In how many workloads.
    pub(super) workloads: u64,
    /// How many findings there are that it was chosen from.
    pub(super) of: u64,
    /// What those are: failures, or warnings where nothing fails.
    pub(super) outcome: Outcome,
}

/// Counts over all entries.
pub(super) struct Tally<'a> {
    /// Rules that were judged, counted per policy and workload.
    pub(super) checks: u64,
    /// How many policies have results.
    pub(super) policies: usize,
    /// By rule, the one with most results first.
    pub(super) rules: Vec<(RuleId, RuleCount)>,
    /// What to do first; none if there is at most one finding.
    pub(super) first_step: Option<FirstStep<'a>>,
    summary: Summary,
    others: u64,
    unmatched: u64,
}

#[derive(Default)]
struct FixCount<'a> {
    findings: u64,
    workloads: u64,
    last: Option<&'a Entry>,
}

impl<'a> Tally<'a> {
    /// Counts a report.
    pub(super) fn of(report: &'a Report) -> Self {
        let mut broken_checks = 0;
        let mut policies = BTreeSet::new();
        let mut rules: BTreeMap<RuleId, (RuleCount, Option<&Entry>)> = BTreeMap::new();
        let mut previous: Option<&Entry> = None;
        for entry in &report.entries {
            let Some(rule) = entry.rule else { continue };
            policies.extend(entry.policy.as_deref());
            if entry.outcome == Outcome::Pass {
                continue;
            }
            // Several findings of one check stand together: the order of a report says so.
            let same_check = |previous: &Entry| {
                previous.rule == entry.rule && previous.policy == entry.policy && same_workload(previous, entry)
            };
            broken_checks += u64::from(!previous.is_some_and(same_check));
            previous = Some(entry);
            let (rule_count, last) = rules.entry(rule).or_default();
            match entry.outcome {
                Outcome::Fail => rule_count.fail += 1,
                Outcome::Warn => rule_count.warn += 1,
                Outcome::Error => rule_count.error += 1,
                Outcome::Skip => rule_count.skip += 1,
                Outcome::Pass => {}
            }
            rule_count.workloads += u64::from(!last.is_some_and(|last| same_workload(last, entry)));
            *last = Some(entry);
        }
        let mut rules: Vec<_> = rules.into_iter().map(|(rule, (rule_count, _))| (rule, rule_count)).collect();
        rules.sort_by_key(|(_, rule_count)| std::cmp::Reverse(rule_count.total()));
        Self {
            checks: report.summary.pass + broken_checks,
            policies: policies.len(),
            rules,
            first_step: first_step(&report.entries),
            summary: report.summary,
            others: report.others,
            unmatched: report.unmatched,
        }
    }
}

/// The cheapest first step: the same words, written for the same rule, that remove most findings.
///
/// Only what fails is looked at; where nothing fails, what warns. Writing the same words again costs little,
/// finding out what to write costs most, so the step that removes most findings wins. Where two remove as
/// many, the one in fewer workloads does, then the more severe rule, the rule told first, and the alphabet.
fn first_step(entries: &[Entry]) -> Option<FirstStep<'_>> {
    let of = |outcome| entries.iter().filter(move |entry| entry.outcome == outcome);
    let outcome = if of(Outcome::Fail).next().is_some() { Outcome::Fail } else { Outcome::Warn };
    let mut fixes: HashMap<(RuleId, &str), FixCount<'_>> = HashMap::new();
    let mut total = 0;
    for entry in of(outcome) {
        let Some(rule) = entry.rule else { continue };
        total += 1;
        let fix = fixes.entry((rule, entry.fix.as_str())).or_default();
        fix.findings += 1;
        fix.workloads += u64::from(!fix.last.is_some_and(|last| same_workload(last, entry)));
        fix.last = Some(entry);
    }
    if total < 2 {
        return None;
    }
    let (&(rule, fix), counts) =
        fixes.iter().filter(|((_, fix), _)| !fix.is_empty()).min_by_key(|((rule, fix), counts)| {
            (std::cmp::Reverse(counts.findings), counts.workloads, rule.document().severity, *rule, *fix)
        })?;
    Some(FirstStep { rule, fix, findings: counts.findings, workloads: counts.workloads, of: total, outcome })
}

/// `3 workloads, 39 checks (35 pass): 3 fail, 1 warn`
impl fmt::Display for Tally<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { resources, pass, warn, fail, skip, error } = self.summary;
        if resources == 0 && self.checks == 0 && self.unmatched > 0 {
            write!(formatter, "{}, none in scope of a policy, nothing was judged", count(self.unmatched, "workload"))?;
        } else if resources == 0 && self.checks == 0 {
            formatter.write_str("no workloads, nothing was judged")?;
        } else {
            write!(formatter, "{}, {}", count(resources, "workload"), count(self.checks, "check"))?;
        }
        let counts = [(fail, "fail"), (warn, "warn"), (skip, "skip")];
        let mut parts: Vec<String> = counts
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, word)| format!("{number} {word}"))
            .collect();
        if error > 0 {
            parts.push(count(error, "error"));
        }
        if !parts.is_empty() {
            if self.checks > 0 {
                write!(formatter, " ({pass} pass)")?;
            }
            write!(formatter, ": {}", parts.join(", "))?;
        } else if resources > 0 {
            formatter.write_str(", no findings")?;
        }
        if self.unmatched > 0 && (resources > 0 || self.checks > 0) {
            write!(formatter, "; {} in scope of no policy", count(self.unmatched, "workload"))?;
        }
        if self.others > 0 {
            let are = if self.others == 1 { "is no Kubernetes object" } else { "are no Kubernetes objects" };
            write!(formatter, "; {} {are}", count(self.others, "document"))?;
        }
        Ok(())
    }
}
