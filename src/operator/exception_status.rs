//! What the status of an exception says, as a function of what was seen. Pure.

use std::collections::BTreeSet;

use immutable_core::exception::{Exception, InEffect, Standing};
use immutable_core::glob::Glob;
use immutable_core::policy::{Policy, PolicyId};
use immutable_core::world::WorkloadKey;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

use super::conditions::dated;
use super::exceptions::KnownException;
use crate::api::{ConditionType, ExceptionStatus};

/// How many of the workloads that it matches a status names.
const NAMED_WORKLOADS: usize = 10;
/// How many characters the words for policies and for what is excused have at most: a column of a table.
const LONGEST_WORDS: usize = 120;

/// Everything that the status of one exception is computed from.
pub(super) struct Seen<'a> {
    /// The valid policies.
    pub policies: &'a [&'a Policy],
    /// Those of which what counts is in the API server, and nothing stricter beside it.
    pub settled: &'a BTreeSet<PolicyId>,
    /// What counts.
    pub in_effect: &'a InEffect,
    /// What is compiled of that.
    pub compiled: &'a InEffect,
    /// The workloads that it excuses from something.
    pub matched: Option<&'a BTreeSet<WorkloadKey>>,
}

/// The status of an exception, with the times of conditions that have not changed.
pub(super) fn status(known: &KnownException, seen: &Seen<'_>, now: Timestamp) -> ExceptionStatus {
    let matched = seen.matched.map_or(0, BTreeSet::len);
    let named = seen.matched.into_iter().flatten().take(NAMED_WORKLOADS);
    let mut status = ExceptionStatus {
        observed_generation: Some(known.version.generation),
        matched_workloads: u64::try_from(matched).unwrap_or(u64::MAX),
        workloads: named.map(|key| format!("{}/{}", key.kind, key.name)).collect(),
        has_matched: known.status.has_matched || matched > 0,
        ..ExceptionStatus::default()
    };
    let (ready, active) = match &known.exception {
        Err(problems) => {
            let message = problems.join("; ");
            (("False", "Invalid", message.clone()), ("False", "Invalid", message))
        }
        Ok(exception) => {
            status.policies = policies(exception);
            status.target = target(exception);
            activity(known, exception, seen, status.has_matched, now)
        }
    };
    let condition = |condition: ConditionType, (state, reason, message): Draft| -> Condition {
        dated(condition, (state, reason, message), &known.status.conditions, known.version.generation, now)
    };
    // What waits for somebody is stalled: without it, tools would take it for one that is under way.
    let stalled = known.exception.is_err().then(|| ("True", ready.1, ready.2.clone()));
    status.conditions = vec![condition(ConditionType::Ready, ready), condition(ConditionType::Active, active)];
    status.conditions.extend(stalled.map(|stalled| condition(ConditionType::Stalled, stalled)));
    status
}

/// Status, reason, and message of a condition.
type Draft = (&'static str, &'static str, String);

/// The conditions Ready and Active of a valid exception.
fn activity(
    known: &KnownException,
    exception: &Exception,
    seen: &Seen<'_>,
    has_matched: bool,
    now: Timestamp,
) -> (Draft, Draft) {
    let done = |message: &str| ("True", "Compiled", message.to_owned());
    if now >= exception.expires_at {
        let message = format!("it ended at {}; delete it, or write a new one", exception.expires_at);
        return (done("nothing is left of it in what is enforced"), ("False", "Expired", message));
    }
    let standings = seen.policies.iter().map(|policy| (*policy, seen.in_effect.standing(exception, policy, now)));
    let about: Vec<(&Policy, Standing)> =
        standings.filter(|(_, standing)| *standing != Standing::OtherPolicy).collect();
    let refusing: Vec<String> = about
        .iter()
        .filter(|(_, standing)| *standing != Standing::InEffect)
        .map(|(policy, standing)| format!("{}: {}", policy.id, why(*standing, exception, policy)))
        .collect();
    let Some((_, worst)) = about.iter().max_by_key(|(_, standing)| *standing) else {
        let message = "no policy that judges this namespace is one that it names; look at spec.policies";
        return (done("it is about no policy"), ("False", "PolicyNotFound", message.to_owned()));
    };
    let honouring: Vec<&Policy> =
        about.iter().filter(|(_, standing)| *standing == Standing::InEffect).map(|(policy, _)| *policy).collect();
    if honouring.is_empty() {
        return (done("no policy honours it"), ("False", worst.reason(), refusing.join("; ")));
    }
    // What is in force stays so while others' exceptions come and go: everything that is compiled has it.
    let is_active = known.status.conditions.iter().any(|condition| {
        condition.type_ == ConditionType::Active.name()
            && condition.status == "True"
            && condition.observed_generation == Some(known.version.generation)
    });
    let is_compiled = |policy: &Policy| seen.compiled.holds_as_it_is(exception, &policy.id);
    let waits = |policy: &Policy| !is_compiled(policy) || !(is_active || seen.settled.contains(&policy.id));
    if let Some(policy) = honouring.iter().find(|policy| waits(policy)) {
        let message = format!("what enforces policy {} is being written", policy.id);
        return (("Unknown", "Progressing", message.clone()), ("Unknown", "Progressing", message));
    }
    let names: Vec<String> = honouring.iter().map(|policy| policy.id.to_string()).collect();
    let mut message = format!("in effect for {} until {}", bounded(&names), exception.expires_at);
    if !refusing.is_empty() {
        message = format!("{message}; not honoured by {}", refusing.join("; "));
    }
    if has_matched {
        (done("every policy that honours it is compiled with it"), ("True", "InEffect", message))
    } else {
        let message = format!("{message}; it has not yet excused anything that runs");
        (done("every policy that honours it is compiled with it"), ("True", "NeverMatched", message))
    }
}

/// Why a policy does not honour an exception, and what to do.
pub(crate) fn why(standing: Standing, exception: &Exception, policy: &Policy) -> String {
    let allowed = &policy.exceptions;
    match standing {
        Standing::TooLong => format!("TooLong, it lives longer than {:#}; end it earlier", allowed.max_duration),
        Standing::TooMany => {
            "TooMany, only the 20 oldest of a namespace count, with 16 patterns each, and of their text a \
                              share that is fair to other namespaces; delete what is not needed, or join patterns"
                .to_owned()
        }
        Standing::RuleNotExcusable => {
            let is_excusable = |rule| allowed.rules.as_ref().is_none_or(|excusable| excusable.contains(rule));
            let refused: Vec<&str> =
                exception.rules.iter().filter(|rule| !is_excusable(rule)).map(|rule| rule.id()).collect();
            format!("RuleNotExcusable, {} may not be excused; remove it", refused.join(", "))
        }
        Standing::SelectorNotAllowed => {
            "SelectorNotAllowed, workloads are to be chosen by name; remove workloads.selector".to_owned()
        }
        Standing::InEffect | Standing::Expired | Standing::OtherPolicy => standing.reason().to_owned(),
    }
}

fn policies(exception: &Exception) -> String {
    if exception.policies.is_empty() {
        return "all".to_owned();
    }
    let name = |reference: &immutable_core::exception::PolicyReference| {
        if reference.namespaced {
            format!("{}/{}", exception.id.namespace, reference.name)
        } else {
            reference.name.clone()
        }
    };
    bounded(&exception.policies.iter().map(name).collect::<Vec<_>>())
}

/// `Deployment/web-*, Pod/web-*`, and what else narrows it.
fn target(exception: &Exception) -> String {
    let workloads = &exception.workloads;
    let names: Vec<&str> = workloads.names.iter().map(Glob::as_str).collect();
    let names = if names.is_empty() { vec!["*"] } else { names };
    let kinds: Vec<&str> = workloads.kinds.iter().map(String::as_str).collect();
    let kinds = if kinds.is_empty() { vec!["*"] } else { kinds };
    let mut words: Vec<String> =
        kinds.iter().flat_map(|kind| names.iter().map(move |name| format!("{kind}/{name}"))).collect();
    words.extend(exception.containers.iter().map(|container| format!("container {container}")));
    words.extend(exception.images.iter().map(|image| format!("image {image}")));
    if !workloads.selector.is_empty() {
        words.push("by labels".to_owned());
    }
    bounded(&words)
}

/// A list in one line that is no longer than a table takes.
fn bounded(words: &[String]) -> String {
    let text = words.join(", ");
    if text.chars().count() <= LONGEST_WORDS {
        return text;
    }
    let cut: String = text.chars().take(LONGEST_WORDS - 3).collect();
    format!("{cut}...")
}

/// The state that metrics count an exception under: the reason of its condition Active.
pub(super) fn state(status: &ExceptionStatus) -> &str {
    let active = status.conditions.iter().find(|condition| condition.type_ == ConditionType::Active.name());
    active.map_or("Progressing", |condition| condition.reason.as_str())
}
