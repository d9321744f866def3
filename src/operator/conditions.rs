//! What the status of a policy says, as a function of what was seen. Pure.

use immutable_core::native::Compiled;
use immutable_core::policy::{Enforcement, Policy};
use immutable_core::replace;
use immutable_core::rules::ConfigKind;
use immutable_core::scan::Summary;
use immutable_core::workload::WorkloadKind;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

use super::cluster::KnownPolicy;
use super::proof::ProofState;
use super::replace_status::replaced;
use crate::api::{ConditionType, EffectiveRuleStatus, PolicyStatus, ReplaceStatus, SummaryStatus};

/// How long a message of a condition may be; the API server takes 32 KiB.
const LONGEST_MESSAGE: usize = 1024;

/// How far the native objects of a policy are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Written, and type-checked or not checked in time.
    Done,
    /// Being written or type-checked.
    Working(String),
    /// It goes no further without somebody; reason and message.
    Failed(&'static str, String),
}

/// Everything that the status of one policy is computed from.
pub(super) struct Seen<'a> {
    /// What it came to.
    pub compiled: Option<&'a Compiled>,
    /// How far its native objects are.
    pub progress: Progress,
    /// What the last proof said.
    pub proof: &'a ProofState,
    /// What runs comes to; none before it was looked at.
    pub scan: Option<&'a Summary>,
    /// The kinds that cannot be watched, with the reason.
    pub unwatched: &'a [(&'a WorkloadKind, &'a str)],
    /// Reason and message where reports lack something.
    pub reports: Option<(&'static str, String)>,
    /// Where workloads stand whose pods are replaced; none while that is not known.
    pub replace: Option<&'a replace::Summary>,
    /// The kinds of configuration that a rule asks for and that are not known, with the reason.
    pub unknown_configs: &'a [(ConfigKind, &'a str)],
}

/// The status of a policy, with the times of conditions that have not changed.
pub(super) fn status(known: &KnownPolicy, seen: &Seen<'_>, now: Timestamp) -> PolicyStatus {
    let mut status = PolicyStatus { observed_generation: Some(known.version.generation), ..PolicyStatus::default() };
    let mut conditions = Vec::new();
    match known.policy.as_ref().map(|translated| &*translated.policy) {
        Err(problems) => {
            let message = problems.join("; ");
            conditions.push((ConditionType::Ready, "False", "InvalidPolicy", message.clone()));
            conditions.push((ConditionType::Stalled, "True", "InvalidPolicy", message.clone()));
            let message = format!("{message}; what was in force of it before stays in force");
            conditions.push((ConditionType::Enforced, "Unknown", "InvalidPolicy", message));
        }
        Ok(policy) => {
            status.effective_rules = policy.rules.iter().map(EffectiveRuleStatus::from).collect();
            if let Some(compiled) = seen.compiled {
                status.native_policies =
                    compiled.admission_policies.iter().chain(&compiled.bindings).cloned().collect();
                status.gaps.clone_from(&compiled.gaps);
                let custom = seen.unwatched.iter().filter(|(kind, _)| kind.built_in().is_none());
                status.gaps.extend(custom.map(|(kind, _)| {
                    let served = format!("{} {kind} cannot be watched", kind.api_version());
                    format!("{served}: if it is not served so, no template of it is judged, and its controllerUser is excused")
                }));
            }
            readiness(policy, &seen.progress, now, &mut conditions);
            conditions.push(enforced(policy, seen, now));
            conditions.push(scanned(seen));
            status.summary = seen.scan.map(SummaryStatus::from);
            if let Some((state, reason, message)) = replaced(policy, seen.replace, now) {
                conditions.push((ConditionType::Replaced, state, reason, message));
                let numbers = |summary: &replace::Summary| {
                    summary.policies.get(&policy.id).map(ReplaceStatus::from).unwrap_or_default()
                };
                status.replace = seen.replace.map(numbers);
            }
        }
    }
    let (stored, generation) = (&known.status.conditions, known.version.generation);
    let dated =
        |(condition, state, reason, message)| dated(condition, (state, reason, message), stored, generation, now);
    status.conditions = conditions.into_iter().map(dated).collect();
    status
}

type Draft = (ConditionType, &'static str, &'static str, String);

fn readiness(policy: &Policy, progress: &Progress, now: Timestamp, conditions: &mut Vec<Draft>) {
    match progress {
        Progress::Failed(reason, message) => {
            conditions.push((ConditionType::Ready, "False", reason, message.clone()));
            conditions.push((ConditionType::Stalled, "True", reason, message.clone()));
        }
        Progress::Working(message) => {
            conditions.push((ConditionType::Ready, "Unknown", "Progressing", message.clone()));
            conditions.push((ConditionType::Reconciling, "True", "Progressing", message.clone()));
        }
        Progress::Done if policy.is_suspended(now) => {
            conditions.push((ConditionType::Ready, "True", "Suspended", suspension(policy)));
        }
        Progress::Done => {
            conditions.push((
                ConditionType::Ready,
                "True",
                "Compiled",
                "compiled, written and type-checked".to_owned(),
            ));
        }
    }
}

fn suspension(policy: &Policy) -> String {
    policy
        .suspension
        .as_ref()
        .map_or_else(String::new, |suspension| format!("suspended until {}: {}", suspension.until, suspension.reason))
}

fn enforced(policy: &Policy, seen: &Seen<'_>, now: Timestamp) -> Draft {
    let (status, reason, message) = if policy.is_suspended(now) {
        ("False", "Suspended", suspension(policy))
    } else if policy.rules.is_empty() {
        ("False", "NotEnforcing", "the policy has no rule; it only replaces pods".to_owned())
    } else if !policy.rules.iter().any(|rule| rule.enforcement == Enforcement::Enforce) {
        ("False", "NotEnforcing", "no rule is at Enforce; findings are only warned about or recorded".to_owned())
    } else if let Progress::Failed(reason, message) = &seen.progress {
        ("False", *reason, message.clone())
    } else {
        match seen.proof {
            ProofState::Proven { namespace } => (
                "True",
                "Proven",
                format!(
                    "a dry-run create in namespace {namespace} that only the proof of this policy denies was denied"
                ),
            ),
            ProofState::NothingToProve(why) => ("Unknown", "NothingToProve", why.clone()),
            ProofState::Pending => ("False", "Pending", "not yet seen in force".to_owned()),
            ProofState::Admitted { namespace } => (
                "False",
                "NotInForce",
                format!("a dry-run create in namespace {namespace} that the proof of this policy must deny was let in"),
            ),
            ProofState::Unknown(why) => {
                ("Unknown", "ProofFailed", format!("whether it is in force could not be seen: {why}"))
            }
        }
    };
    (ConditionType::Enforced, status, reason, message)
}

fn scanned(seen: &Seen<'_>) -> Draft {
    let (status, reason, message) = match seen.scan {
        None => ("Unknown", "Progressing", "what runs in the cluster is being read".to_owned()),
        Some(_) if !(seen.unwatched.is_empty() && seen.unknown_configs.is_empty()) => {
            let kinds = seen.unwatched.iter().map(|(kind, why)| format!("{} {kind}: {why}", kind.api_version()));
            let configs = seen.unknown_configs.iter().map(|(kind, why)| format!("v1 {}: {why}", kind.name()));
            ("False", "KindUnwatched", kinds.chain(configs).collect::<Vec<_>>().join("; "))
        }
        // What is judged is judged all the same.
        Some(_) => match &seen.reports {
            Some((reason, message)) => ("True", *reason, message.clone()),
            None => ("True", "Scanned", "everything that carries pods is judged as it changes".to_owned()),
        },
    };
    (ConditionType::Scanned, status, reason, message)
}

/// A condition with the time of its last change: that of the stored one where the status is the same.
pub(super) fn dated(
    condition: ConditionType,
    (status, reason, message): (&'static str, &'static str, String),
    stored: &[Condition],
    generation: i64,
    now: Timestamp,
) -> Condition {
    let stored = stored.iter().find(|stored| stored.type_ == condition.name());
    let since =
        stored.filter(|stored| stored.status == status).map_or(Time(now), |stored| stored.last_transition_time.clone());
    Condition {
        type_: condition.name().to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.chars().take(LONGEST_MESSAGE).collect(),
        last_transition_time: since,
        observed_generation: Some(generation),
    }
}
