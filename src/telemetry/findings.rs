//! Metrics of what runs. What changes is noted when it is judged, and shown when somebody asks: most of what is judged
//! changes little, and nobody asks more than a few times a minute.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Mutex;

use immutable_core::policy::PolicyId;
use immutable_core::scan::{Changes, Summary, Violations};
use prometheus::{GaugeVec, IntGaugeVec, Opts};

use super::catalogue::Catalogue;
use super::number;

/// How many series of violations have a namespace at most, and how many more have a policy: the rarest are left out.
const MOST_SERIES: usize = 2_000;

/// How many policies have series of their own at most.
const MOST_POLICIES: usize = 1_000;

pub(super) struct Findings {
    violations: IntGaugeVec,
    workloads: IntGaugeVec,
    compliance: GaugeVec,
    excused: IntGaugeVec,
    left_out: IntGaugeVec,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    violations: BTreeMap<Violations, u64>,
    summaries: BTreeMap<PolicyId, Summary>,
    has_changed: bool,
}

impl Findings {
    /// Registers all of them.
    pub(super) fn register(catalogue: &mut Catalogue) -> prometheus::Result<Self> {
        let mut numbers = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntGaugeVec> {
            let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
            catalogue.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let violations = numbers(
            "immutable_violations",
            "Findings in what runs, by policy, rule, enforcement and namespace; beyond 2000 sorts the rarest are under no namespace, and beyond 2000 of these under no policy.",
            &["policy", "rule", "enforcement", "resource_namespace"],
        )?;
        let workloads = numbers(
            "immutable_workloads",
            "Workloads that run, by policy and by whether they break one of its rules.",
            &["policy", "state"],
        )?;
        let excused =
            numbers("immutable_excused", "Findings that exceptions excuse, by policy and rule.", &["policy", "rule"])?;
        let left_out = numbers(
            "immutable_series_left_out",
            "What has no series of its own because there are too many: sorts of violations that are under no namespace, and policies.",
            &["of"],
        )?;
        let ratio =
            Opts::new("immutable_compliance_ratio", "Share of a policy's workloads that break none of its rules.");
        let compliance = GaugeVec::new(ratio, &["policy"])?;
        catalogue.register(Box::new(compliance.clone()))?;
        for of in ["violations", "policies"] {
            left_out.with_label_values(&[of]).set(0);
        }
        Ok(Self { violations, workloads, compliance, excused, left_out, seen: Mutex::default() })
    }

    /// Some of it counts other than before.
    pub(super) fn changed(&self, changes: Changes) {
        let Changes { violations, summaries } = changes;
        let Ok(mut seen) = self.seen.lock() else { return };
        seen.has_changed |= !(violations.is_empty() && summaries.is_empty());
        for (what, count) in violations {
            if count == 0 {
                seen.violations.remove(&what);
            } else {
                seen.violations.insert(what, count);
            }
        }
        for (policy, summary) in summaries {
            match summary {
                Some(summary) => drop(seen.summaries.insert(policy, summary)),
                None => drop(seen.summaries.remove(&policy)),
            }
        }
    }

    /// Sets every series, if anything has changed.
    pub(super) fn show(&self) {
        let Ok(mut seen) = self.seen.lock() else { return };
        if std::mem::take(&mut seen.has_changed) {
            self.show_violations(&seen.violations);
            self.show_policies(&seen.summaries);
        }
    }

    fn show_violations(&self, violations: &BTreeMap<Violations, u64>) {
        self.violations.reset();
        let add = |policy: &str, rule: &str, enforcement: &str, namespace: &str, count: u64| {
            self.violations.with_label_values(&[policy, rule, enforcement, namespace]).add(number(count));
        };
        let mut sorts: Vec<_> = violations.iter().collect();
        sorts.sort_by_key(|(_, count)| Reverse(**count));
        let (often, rare) = sorts.split_at(sorts.len().min(MOST_SERIES));
        for (Violations { policy, rule, enforcement, namespace }, count) in often {
            add(&policy.to_string(), rule.id(), &enforcement.to_string(), namespace, **count);
        }
        let mut of_policies: BTreeMap<_, u64> = BTreeMap::new();
        for (Violations { policy, rule, enforcement, .. }, count) in rare {
            *of_policies.entry((policy, *rule, *enforcement)).or_default() += **count;
        }
        let mut of_policies: Vec<_> = of_policies.into_iter().collect();
        of_policies.sort_by_key(|(_, count)| Reverse(*count));
        for (number, ((policy, rule, enforcement), count)) in of_policies.into_iter().enumerate() {
            let policy = if number < MOST_SERIES { policy.to_string() } else { String::new() };
            add(&policy, rule.id(), &enforcement.to_string(), "", count);
        }
        self.left_out.with_label_values(&["violations"]).set(number(rare.len() as u64));
    }

    fn show_policies(&self, summaries: &BTreeMap<PolicyId, Summary>) {
        self.workloads.reset();
        self.compliance.reset();
        self.excused.reset();
        for (id, summary) in summaries.iter().take(MOST_POLICIES) {
            let policy = id.to_string();
            let of_state = |state: &str| self.workloads.with_label_values(&[policy.as_str(), state]);
            of_state("compliant").set(number(summary.compliant));
            of_state("violating").set(number(summary.workloads - summary.compliant));
            let ratio = if summary.workloads == 0 { 1.0 } else { share(summary.compliant, summary.workloads) };
            self.compliance.with_label_values(&[policy.as_str()]).set(ratio);
            for (rule, count) in &summary.excused {
                self.excused.with_label_values(&[policy.as_str(), rule.id()]).set(number(*count));
            }
        }
        let left_out = summaries.len().saturating_sub(MOST_POLICIES);
        self.left_out.with_label_values(&["policies"]).set(number(left_out as u64));
    }
}

#[expect(clippy::cast_precision_loss, reason = "no cluster has so many workloads that a share would be wrong")]
fn share(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use immutable_core::policy::Enforcement;
    use immutable_core::rules::RuleId;
    use prometheus::core::Collector as _;

    use super::*;

    fn series(metric: &impl prometheus::core::Collector) -> usize {
        metric.collect().iter().map(|family| family.get_metric().len()).sum()
    }

    #[test]
    fn series_are_bounded_however_many_policies_and_namespaces_there_are() {
        let findings = Findings::register(&mut Catalogue::default()).unwrap();
        let (mut changes, mut total) = (Changes::default(), 0);
        for number in 0..9_000_u32 {
            let policy = PolicyId { namespace: Some(format!("tenant-{number}")), name: "own".to_owned() };
            let what = Violations {
                policy: policy.clone(),
                rule: RuleId::ImageTag,
                enforcement: Enforcement::Audit,
                namespace: format!("tenant-{number}"),
            };
            changes.violations.insert(what, u64::from(number + 1));
            changes.summaries.insert(policy, Some(Summary { workloads: 1, ..Summary::default() }));
            total += number + 1;
        }
        let gone = Changes {
            violations: changes.violations.keys().map(|what| (what.clone(), 0)).collect(),
            summaries: changes.summaries.keys().map(|policy| (policy.clone(), None)).collect(),
        };
        findings.changed(changes);
        findings.show();
        // 2,000 with a namespace, 2,000 with a policy, and the rest of the one rule and level.
        assert_eq!(series(&findings.violations), 4_001);
        let sum: f64 = findings
            .violations
            .collect()
            .iter()
            .flat_map(prometheus::proto::MetricFamily::get_metric)
            .map(|one| one.get_gauge().get_value())
            .sum();
        assert!((sum - f64::from(total)).abs() < 0.5, "{sum} and not {total}");
        let left_out = |of: &str| findings.left_out.with_label_values(&[of]).get();
        assert_eq!((left_out("violations"), left_out("policies")), (7_000, 8_000));
        assert_eq!((series(&findings.compliance), series(&findings.workloads)), (1_000, 2_000));
        findings.changed(gone);
        findings.show();
        assert_eq!((series(&findings.violations), series(&findings.compliance)), (0, 0));
        assert_eq!((left_out("violations"), left_out("policies")), (0, 0));
    }
}
