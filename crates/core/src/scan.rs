//! What runs in the cluster, judged: kept up to date change by change, never from the start unless everything changed.

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::evaluate::{Certainty, Facts, Finding, Verdict, evaluate};
use crate::exception::{Exception, ExceptionId, InEffect, Named};
use crate::policy::{Enforcement, Policy, PolicyId};
use crate::rules::{RuleId, Severity};
use crate::workload::Workload;
use crate::world::{Content, Judged, Object, Touched, WorkloadKey, World};

/// What the policies say of one workload; only those that judge it.
type Results = BTreeMap<PolicyId, WorkloadResult>;

/// What one policy says of one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct WorkloadResult {
    /// How many findings each broken rule has, and at which level: a list, since there are as many of them as
    /// workloads times policies.
    findings: Box<[((RuleId, Enforcement), u64)]>,
    /// How many findings each exception excuses, by rule.
    excused: BTreeMap<(RuleId, ExceptionId), u64>,
    /// How many things could not be decided.
    errors: u64,
    /// Whether admission would deny it, were every rule enforced.
    rejected: bool,
}

impl WorkloadResult {
    fn is_compliant(&self) -> bool {
        self.findings.is_empty() && self.errors == 0
    }

    /// Whether there is anything to tell: a finding, excused or not, or something that cannot be decided.
    fn tells(&self) -> bool {
        !self.is_compliant() || !self.excused.is_empty()
    }

    /// Adds what this comes to, or with the other function takes it off.
    fn count(&self, change: impl Fn(&mut u64, u64), summary: &mut Summary) {
        change(&mut summary.workloads, 1);
        change(&mut summary.compliant, u64::from(self.is_compliant()));
        change(&mut summary.rejected, u64::from(self.rejected));
        change(&mut summary.errors, self.errors);
        for ((rule, _), count) in &self.findings {
            change(summary.findings.entry(*rule).or_default(), *count);
        }
        for ((rule, _), count) in &self.excused {
            change(summary.excused.entry(*rule).or_default(), *count);
        }
        summary.findings.retain(|_, count| *count > 0);
        summary.excused.retain(|_, count| *count > 0);
    }
}

/// What a policy comes to over all workloads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many workloads it judges.
    pub workloads: u64,
    /// How many of them break no rule from which no exception excuses them.
    pub compliant: u64,
    /// How many of them would be denied, were every rule enforced and they created now: what cannot be decided
    /// natively is no reason.
    pub rejected: u64,
    /// How many things could not be decided, which is never a pass.
    pub errors: u64,
    /// Findings by rule, without those that are excused.
    pub findings: BTreeMap<RuleId, u64>,
    /// Findings that are excused, by rule.
    pub excused: BTreeMap<RuleId, u64>,
}

/// How bad it is about a workload; the worse, the greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Badness {
    enforced: bool,
    severity: Option<Reverse<Severity>>,
    undecided: u64,
    findings: u64,
}

/// Findings of a rule of a policy at a level in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violations {
    /// Whose rule it is.
    pub policy: PolicyId,
    /// The rule.
    pub rule: RuleId,
    /// What happens on admission.
    pub enforcement: Enforcement,
    /// Where.
    pub namespace: String,
}

/// The verdicts on everything that runs.
#[derive(Debug, Default)]
pub struct Scan {
    results: BTreeMap<Arc<WorkloadKey>, Results>,
    summaries: BTreeMap<PolicyId, Summary>,
    violations: BTreeMap<Violations, u64>,
    matched: BTreeMap<ExceptionId, BTreeSet<WorkloadKey>>,
    changed: (BTreeSet<Violations>, BTreeSet<PolicyId>),
}

/// What counts other than before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// How many findings there are now of each sort of which there are more or fewer; zero where there are none any more.
    pub violations: BTreeMap<Violations, u64>,
    /// What these policies come to now; none for those that are gone.
    pub summaries: BTreeMap<PolicyId, Option<Summary>>,
}

impl Scan {
    /// Judges again what a change touched; returns how many workloads that were.
    pub fn update(&mut self, world: &World, exceptions: &InEffect, touched: &Touched) -> usize {
        let all = self.due(world, touched);
        self.judge(world, exceptions, &all);
        all.len()
    }

    /// What a change has to be judged again for. Whoever cannot stop for all of it gives it to [`Self::judge`] bit by bit.
    pub fn due(&mut self, world: &World, touched: &Touched) -> Vec<Arc<WorkloadKey>> {
        if !touched.all {
            return touched.workloads.iter().cloned().map(Arc::new).collect();
        }
        // A policy that judges nothing has a summary, too, and one that is gone has none once nothing counts for it.
        for (id, _) in world.policies() {
            if !self.summaries.contains_key(id) {
                self.summaries.insert(id.clone(), Summary::default());
                self.changed.1.insert(id.clone());
            }
        }
        let gone = self.results.keys().filter(|key| world.object(key).is_none()).cloned();
        let mut all: Vec<Arc<WorkloadKey>> = gone.collect();
        all.extend(world.keys().cloned());
        all
    }

    /// Judges these again.
    pub fn judge(&mut self, world: &World, exceptions: &InEffect, keys: &[Arc<WorkloadKey>]) {
        for key in keys {
            let judged = world.object(key).map(|object| judge(world, exceptions, key, object));
            self.replace(key, judged.unwrap_or_default());
        }
        let is_gone = |(id, summary): &(&PolicyId, &Summary)| world.policy(id).is_none() && summary.workloads == 0;
        let gone: Vec<PolicyId> = self.summaries.iter().filter(is_gone).map(|(id, _)| id.clone()).collect();
        for id in gone {
            self.summaries.remove(&id);
            self.changed.1.insert(id);
        }
    }

    fn replace(&mut self, key: &Arc<WorkloadKey>, results: Results) {
        if self.results.get(key).is_some_and(|before| *before == results) {
            return;
        }
        for (policy, result) in self.results.remove(key).unwrap_or_default() {
            self.changed.1.insert(policy.clone());
            result.count(|sum, by| *sum -= by, self.summaries.entry(policy.clone()).or_default());
            for ((rule, enforcement), count) in result.findings {
                let what = Violations { policy: policy.clone(), rule, enforcement, namespace: key.namespace.clone() };
                take(&mut self.violations, &what, count);
                self.changed.0.insert(what);
            }
            for (_, exception) in result.excused.into_keys() {
                if let Entry::Occupied(mut matched) = self.matched.entry(exception) {
                    matched.get_mut().remove(key);
                    if matched.get().is_empty() {
                        matched.remove();
                    }
                }
            }
        }
        for (policy, result) in &results {
            self.changed.1.insert(policy.clone());
            result.count(|sum, by| *sum += by, self.summaries.entry(policy.clone()).or_default());
            for &((rule, enforcement), count) in &result.findings {
                let what = Violations { policy: policy.clone(), rule, enforcement, namespace: key.namespace.clone() };
                *self.violations.entry(what.clone()).or_default() += count;
                self.changed.0.insert(what);
            }
            for (_, exception) in result.excused.keys() {
                self.matched.entry(exception.clone()).or_default().insert((**key).clone());
            }
        }
        if !results.is_empty() {
            self.results.insert(Arc::clone(key), results);
        }
    }

    /// What a policy comes to; none before it was scanned.
    pub fn summary(&self, policy: &PolicyId) -> Option<&Summary> {
        self.summaries.get(policy)
    }

    /// The workloads that have anything to tell: a finding, excused or not, or something that cannot be decided.
    pub fn with_something_to_tell(&self) -> impl Iterator<Item = &Arc<WorkloadKey>> {
        let tells = |results: &Results| results.values().any(WorkloadResult::tells);
        self.results.iter().filter(move |(_, results)| tells(results)).map(|(key, _)| key)
    }

    /// How bad it is about a workload; none where there is nothing to tell of it.
    pub fn badness(&self, key: &WorkloadKey) -> Option<Badness> {
        let results = self.results.get(key)?;
        let findings = || results.values().flat_map(|result| &result.findings);
        let badness = Badness {
            enforced: findings().any(|((_, enforcement), _)| *enforcement == Enforcement::Enforce),
            severity: findings().map(|((rule, _), _)| Reverse(rule.document().severity)).max(),
            undecided: results.values().map(|result| result.errors).sum(),
            findings: findings().map(|(_, count)| count).sum(),
        };
        results.values().any(WorkloadResult::tells).then_some(badness)
    }

    /// The policies that have anything to tell of a workload.
    pub fn concerns(&self, key: &WorkloadKey) -> impl Iterator<Item = &PolicyId> {
        let results = self.results.get(key).into_iter().flatten();
        results.filter(|(_, result)| result.tells()).map(|(id, _)| id)
    }

    /// The policies whose rules at Enforce or Warn a workload breaks, with the findings of each rule.
    pub fn broken(&self, key: &WorkloadKey) -> impl Iterator<Item = (&PolicyId, BTreeMap<RuleId, u64>)> {
        let results = self.results.get(key).into_iter().flatten();
        results.filter_map(|(id, result)| {
            let mut rules = BTreeMap::new();
            for ((rule, enforcement), count) in &result.findings {
                if *enforcement > Enforcement::Audit {
                    *rules.entry(*rule).or_default() += count;
                }
            }
            (!rules.is_empty()).then_some((id, rules))
        })
    }

    /// The workloads that an exception excuses from something; none for one that matches nothing.
    pub fn matched(&self, exception: &ExceptionId) -> Option<&BTreeSet<WorkloadKey>> {
        self.matched.get(exception)
    }

    /// What counts other than when somebody last asked.
    pub fn take_changes(&mut self) -> Changes {
        let (violations, policies) = std::mem::take(&mut self.changed);
        let count = |what: Violations| {
            let count = self.violations.get(&what).copied().unwrap_or_default();
            (what, count)
        };
        let summary = |policy: PolicyId| {
            let summary = self.summaries.get(&policy).cloned();
            (policy, summary)
        };
        Changes {
            violations: violations.into_iter().map(count).collect(),
            summaries: policies.into_iter().map(summary).collect(),
        }
    }

    /// How many findings there are of each sort; none that are zero.
    pub fn violations(&self) -> &BTreeMap<Violations, u64> {
        &self.violations
    }
}

/// Takes some off a count, and the count away when nothing is left.
fn take<K: Ord>(counts: &mut BTreeMap<K, u64>, key: &K, count: u64) {
    if let Some(left) = counts.get_mut(key) {
        *left -= count;
        if *left == 0 {
            counts.remove(key);
        }
    }
}

/// What every policy says of a workload, in numbers.
fn judge(world: &World, exceptions: &InEffect, key: &WorkloadKey, object: &Object) -> Results {
    let mut results = Results::new();
    for (id, policy) in world.policies_of(&key.namespace) {
        let mut result = WorkloadResult::default();
        let mut findings: BTreeMap<(RuleId, Enforcement), u64> = BTreeMap::new();
        match told(world, exceptions, policy, key, object) {
            None => continue,
            Some(Told::Undecided(_)) => result.errors = 1,
            Some(Told::Judged(judged)) => {
                result.rejected = judged.iter().any(Judgement::would_deny);
                for Judgement { finding, enforcement, exception } in judged {
                    match (finding.certainty, exception) {
                        (_, Some(exception)) => {
                            *result.excused.entry((finding.rule, exception.id.clone())).or_default() += 1;
                        }
                        (Certainty::Broken, None) => {
                            *findings.entry((finding.rule, enforcement)).or_default() += 1;
                        }
                        (Certainty::Unknown, None) => result.errors += 1,
                    }
                }
            }
        }
        result.findings = findings.into_iter().collect();
        results.insert(id.clone(), result);
    }
    results
}

/// What a policy says of a workload, in words.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Every finding; none where it breaks no rule.
    Judged(Vec<Judgement>),
    /// It should be judged and cannot be, and why.
    Undecided(String),
}

/// A finding and what becomes of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Judgement {
    /// What is wrong.
    pub finding: Finding,
    /// What happens when the rule is broken.
    pub enforcement: Enforcement,
    /// The exception that excuses it, if one does.
    pub exception: Option<Arc<Exception>>,
}

impl Judgement {
    /// Whether it cannot be decided, and no exception makes that no matter.
    pub fn is_undecided(&self) -> bool {
        self.finding.certainty == Certainty::Unknown && self.exception.is_none()
    }

    /// Whether admission would deny a create of the workload for it, were every rule enforced: it judges configuration
    /// by itself, and what cannot be decided is no reason.
    pub fn would_deny(&self) -> bool {
        self.finding.certainty == Certainty::Broken
            && self.exception.is_none()
            && self.finding.rule != RuleId::ImmutableConfig
    }
}

/// What one rule of a policy says of a workload; without judgements the rule holds.
#[derive(Clone, Debug, PartialEq)]
pub struct RuleVerdict {
    /// The rule.
    pub rule: RuleId,
    /// What happens when it is broken.
    pub enforcement: Enforcement,
    /// Every finding.
    pub judgements: Vec<Judgement>,
}

/// Judges a workload in a namespace by every rule of a policy that has something to say of it, and tells which findings
/// an exception excuses. `made_from` names what the workload was made from.
pub fn verdicts(
    policy: &Policy,
    workload: &Workload,
    namespace: &str,
    made_from: &[Named<'_>],
    facts: &Facts,
    exceptions: &InEffect,
) -> Vec<RuleVerdict> {
    let of_rule = |Verdict { rule, enforcement, findings }| {
        let judge = |finding| {
            let exception = exceptions.excuse(&policy.id, namespace, workload, made_from, &finding).cloned();
            Judgement { finding, enforcement, exception }
        };
        RuleVerdict { rule, enforcement, judgements: findings.into_iter().map(judge).collect() }
    };
    evaluate(policy, workload, namespace, facts).into_iter().map(of_rule).collect()
}

/// What a policy says of an object, rule by rule, or why it cannot be judged; nothing where the policy does not judge
/// it, or judges it as what it was made from.
pub fn told_by_rule(
    world: &World,
    exceptions: &InEffect,
    policy: &Policy,
    key: &WorkloadKey,
    object: &Object,
) -> Option<Result<Vec<RuleVerdict>, String>> {
    let workload = match (world.is_judged(policy, key, object), &object.content) {
        (Judged::No | Judged::ByItsOwner, _) => return None,
        (Judged::Itself, Content::Known(workload)) => workload,
        (_, Content::Unreadable(why)) => return Some(Err(why.clone())),
        (Judged::Itself | Judged::Unknown, _) => {
            return Some(Err("what it was made from is not known, and what it runs was not kept".to_owned()));
        }
    };
    let made_from = world.made_from(key, object);
    Some(Ok(verdicts(policy, workload, &key.namespace, &made_from, world.facts(), exceptions)))
}

/// What a policy says of an object; nothing where it does not judge it, or judges it as what it was made from.
pub fn told(world: &World, exceptions: &InEffect, policy: &Policy, key: &WorkloadKey, object: &Object) -> Option<Told> {
    Some(match told_by_rule(world, exceptions, policy, key, object)? {
        Ok(verdicts) => Told::Judged(verdicts.into_iter().flat_map(|verdict| verdict.judgements).collect()),
        Err(why) => Told::Undecided(why),
    })
}

#[cfg(test)]
mod tests;
