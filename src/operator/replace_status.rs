//! What the status of a policy says of where its workloads stand with what they read, and how often. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use immutable_core::policy::{Policy, PolicyId};
use immutable_core::replace::{Group, Numbers, OnConfigChange, Summary};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use tokio::time::Instant;

use crate::api::{ConditionType, PolicyStatus};

/// How often it is written at most.
const INTERVAL: Duration = Duration::from_secs(10);

/// Status, reason and message of the condition; nothing where the policy has no `replace` section. Without a `summary` it
/// is not known where workloads stand.
pub(super) fn replaced(
    policy: &Policy,
    summary: Option<&Summary>,
    now: Timestamp,
) -> Option<(&'static str, &'static str, String)> {
    let replace = policy.replace.as_ref()?;
    if let Some(suspension) = policy.suspension.as_ref().filter(|_| policy.is_suspended(now)) {
        let message =
            format!("no pods are replaced: it is suspended until {}: {}", suspension.until, suspension.reason);
        return Some(("False", "Suspended", message));
    }
    if replace.on_config_change == OnConfigChange::Disabled {
        let message = "spec.replace.onConfigChange is Disabled: of what it matches no pods are replaced".to_owned();
        return Some(("False", "Disabled", message));
    }
    let Some(summary) = summary else {
        let message = "not known yet: what runs and the key of digests are being read; \
                       if this lasts, the operator's log says what is missing";
        return Some(("Unknown", "Progressing", message.to_owned()));
    };
    if let Some(numbers) = summary.policies.get(&policy.id) {
        return Some(standing(numbers));
    }
    let message = "no workload that it matches is replaced: annotate some with immutable.dev/rollout=enabled, \
                   or write spec.replace.onConfigChange: Enabled; those that read no ConfigMap or Secret need nothing";
    Some(("True", "NothingServed", message.to_owned()))
}

fn standing(numbers: &Numbers) -> (&'static str, &'static str, String) {
    let all = numbers.workloads();
    let current = format!("{} of {} what is current", numbers.up_to_date, run(all));
    let failed = &numbers.failed;
    let failure = || {
        format!(
            "{} not available after being replaced; correct what it reads, or the workload",
            named(failed, "is", "are")
        )
    };
    let worst = numbers.worst();
    let urgent = worst.filter(|(reason, _)| reason.needs_somebody());
    match (urgent.or_else(|| worst.filter(|_| failed.count == 0)), failed.count) {
        (Some((reason, group)), failed) => {
            let message = format!("{}: {}", named(group, "waits", "wait"), group.message);
            let message = if failed == 0 { message } else { format!("{message}; {}", failure()) };
            ("False", reason.name(), format!("{message}; {current}"))
        }
        (None, 1..) => ("False", "Failed", format!("{}; {current}", failure())),
        (None, 0) if numbers.rolling.count > 0 => {
            let message = format!("{} being replaced; {current}", named(&numbers.rolling, "is", "are"));
            ("False", "Rolling", message)
        }
        (None, 0) if numbers.pending.count > 0 => {
            let message = format!("{} about to be replaced; {current}", named(&numbers.pending, "is", "are"));
            ("False", "Pending", message)
        }
        (None, 0) => ("True", "UpToDate", format!("{} what is current", run(all))),
    }
}

fn run(count: u64) -> String {
    if count == 1 { "1 workload runs".to_owned() } else { format!("{count} workloads run") }
}

/// `Deployment shop/a, Deployment shop/b and 3 more wait`
fn named(group: &Group, one: &str, several: &str) -> String {
    let names: Vec<String> = group.examples.iter().map(ToString::to_string).collect();
    let verb = if group.count == 1 { one } else { several };
    match group.count.saturating_sub(names.len() as u64) {
        0 => format!("{} {verb}", names.join(", ")),
        more => format!("{} and {more} more {verb}", names.join(", ")),
    }
}

/// When it was last written where the workloads of each policy stand: that changes with every rollout, and is written at
/// an interval at most.
#[derive(Default)]
pub(super) struct Standings {
    written: BTreeMap<PolicyId, Instant>,
    /// When the first may be written that was held back.
    due: Option<Instant>,
}

impl Standings {
    /// Forgets what is due, and the policies that are gone, before all statuses are looked at.
    pub(super) fn begin(&mut self, is_there: impl Fn(&PolicyId) -> bool) {
        self.written.retain(|id, _| is_there(id));
        self.due = None;
    }

    /// Puts what is stored in the place of what is new where that was written a moment ago for the same generation.
    pub(super) fn hold_back(&mut self, id: &PolicyId, stored: &PolicyStatus, status: &mut PolicyStatus, now: Instant) {
        let place = |status: &PolicyStatus| {
            let is_it = |condition: &Condition| condition.type_ == ConditionType::Replaced.name();
            status.conditions.iter().position(is_it)
        };
        let (before, after) = (place(stored), place(status));
        let of = |status: &PolicyStatus, place: Option<usize>| place.map(|place| status.conditions[place].clone());
        if of(stored, before) == of(status, after) && stored.replace == status.replace {
            return;
        }
        let free = self.written.get(id).map(|last| *last + INTERVAL).filter(|free| *free > now);
        match (free, before, after) {
            (Some(free), Some(before), Some(after)) if stored.observed_generation == status.observed_generation => {
                status.conditions[after] = stored.conditions[before].clone();
                status.replace.clone_from(&stored.replace);
                self.due = Some(self.due.map_or(free, |due| due.min(free)));
            }
            _ => drop(self.written.insert(id.clone(), now)),
        }
    }

    /// How long until what was held back may be written.
    pub(super) fn next(&self, now: Instant) -> Option<Duration> {
        self.due.map(|due| due.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use immutable_core::replace::Reason;
    use immutable_core::workload::{Kind, WorkloadKind};
    use immutable_core::world::WorkloadKey;
    use serde_json::json;

    use super::*;
    use crate::api::{ClusterImmutablePolicy, ReplaceStatus};
    use crate::operator::conditions::dated;

    fn group(names: &[&str], message: &str) -> Group {
        let key = |name: &&str| {
            let kind = WorkloadKind::BuiltIn(Kind::Deployment);
            Arc::new(WorkloadKey { kind, namespace: "shop".to_owned(), name: (*name).to_owned() })
        };
        let count = names.len() as u64;
        Group { count, examples: names.iter().take(3).map(key).collect(), message: message.to_owned() }
    }

    fn policy(spec: &serde_json::Value) -> Policy {
        let mut manifest = json!({"metadata": {"name": "p"}, "spec": {"rules": {"imageTag": {}}}});
        manifest["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let policy: ClusterImmutablePolicy = serde_json::from_value(manifest).unwrap();
        policy.validate().unwrap()
    }

    fn said(numbers: &Numbers) -> (&'static str, &'static str, String) {
        let policy = policy(&json!({"replace": {}}));
        let policies = BTreeMap::from([(policy.id.clone(), numbers.clone())]);
        let summary = Summary { all: numbers.clone(), policies };
        replaced(&policy, Some(&summary), Timestamp::UNIX_EPOCH).unwrap()
    }

    #[test]
    fn a_policy_that_replaces_nothing_says_so() {
        let now = Timestamp::UNIX_EPOCH;
        assert_eq!(replaced(&policy(&json!({})), None, now), None);
        let reason = |spec: serde_json::Value, summary| {
            replaced(&policy(&spec), summary, now).map(|(status, reason, _)| (status, reason))
        };
        assert_eq!(reason(json!({"replace": {}}), None), Some(("Unknown", "Progressing")));
        let nothing = Summary::default();
        assert_eq!(reason(json!({"replace": {}}), Some(&nothing)), Some(("True", "NothingServed")));
        let disabled = json!({"replace": {"onConfigChange": "Disabled"}});
        assert_eq!(reason(disabled, Some(&nothing)), Some(("False", "Disabled")));
        let suspended = json!({"replace": {}, "suspend": {"until": "2000-01-01T00:00:00Z", "reason": "incident 1"}});
        assert_eq!(reason(suspended, Some(&nothing)), Some(("False", "Suspended")));
    }

    #[test]
    fn what_somebody_must_do_is_told_before_what_goes_on() {
        let mut numbers = Numbers { up_to_date: 3, ..Numbers::default() };
        assert_eq!(said(&numbers), ("True", "UpToDate", "3 workloads run what is current".to_owned()));
        numbers.rolling = group(&["a"], "");
        let message = "Deployment shop/a is being replaced; 3 of 4 workloads run what is current".to_owned();
        assert_eq!(said(&numbers), ("False", "Rolling", message));
        numbers.waiting.insert(Reason::MaxConcurrent, group(&["b", "c", "d", "e"], "1 of 1 are under way"));
        let message = "Deployment shop/b, Deployment shop/c, Deployment shop/d and 1 more wait: 1 of 1 are under way; \
                       3 of 8 workloads run what is current";
        assert_eq!(said(&numbers), ("False", "MaxConcurrent", message.to_owned()));
        numbers.failed = group(&["f"], "");
        assert_eq!(said(&numbers).1, "Failed");
        numbers.waiting.insert(Reason::Halted, group(&["g"], "f was replaced for the same change"));
        let (_, reason, message) = said(&numbers);
        assert_eq!(reason, "Halted");
        assert!(message.contains("shop/f is not available after being replaced"), "{message}");
    }

    #[test]
    fn what_changes_all_the_time_is_written_at_an_interval() {
        let id = PolicyId { namespace: None, name: "p".to_owned() };
        let status = |up_to_date: u64, generation: i64| {
            let policy = policy(&json!({"replace": {}}));
            let numbers = Numbers { up_to_date, ..Numbers::default() };
            let summary =
                Summary { all: Numbers::default(), policies: BTreeMap::from([(policy.id.clone(), numbers.clone())]) };
            let said = replaced(&policy, Some(&summary), Timestamp::UNIX_EPOCH).unwrap();
            let condition = dated(ConditionType::Replaced, said, &[], generation, Timestamp::UNIX_EPOCH);
            PolicyStatus {
                observed_generation: Some(generation),
                conditions: vec![condition],
                replace: Some(ReplaceStatus::from(&numbers)),
                ..PolicyStatus::default()
            }
        };
        let (mut standings, now) = (Standings::default(), Instant::now());
        let stored = status(1, 1);
        let written = |standings: &mut Standings, mut new: PolicyStatus, now: Instant| {
            standings.begin(|_| true);
            standings.hold_back(&id, &stored, &mut new, now);
            new
        };
        assert_eq!(written(&mut standings, status(2, 1), now), status(2, 1));
        let later = now + INTERVAL / 2;
        assert_eq!(written(&mut standings, status(3, 1), later), stored);
        assert_eq!(standings.next(later), Some(INTERVAL / 2));
        // An edit is answered at once.
        assert_eq!(written(&mut standings, status(3, 2), later), status(3, 2));
        assert_eq!(written(&mut standings, status(4, 1), later + INTERVAL), status(4, 1));
        assert_eq!(standings.next(later), None);
    }
}
