//! Proof of enforcement: what was seen, of which compilation, and when to look again.

use std::collections::BTreeMap;
use std::time::Duration;

use immutable_core::native::{Compiled, Probe};
use immutable_core::policy::{Match, NamespaceLabels, Policy, PolicyId};
use immutable_core::world::NamespaceFacts;
use tokio::time::Instant;

use super::write::Proof;

/// How often a proof that succeeded is made again: a proof is of the past.
const PROVE_AGAIN: Duration = Duration::from_secs(30);
/// How soon after a write it is tried; the API server takes up to a second to see a new policy.
const FIRST_RETRY: Duration = Duration::from_millis(100);
/// The longest pause between attempts that fail.
const LAST_RETRY: Duration = Duration::from_secs(10);

/// What is known of the enforcement of a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ProofState {
    /// Not tried yet, or tried too early.
    Pending,
    /// The denial was seen.
    Proven {
        /// where
        namespace: String,
    },
    /// There is nothing to prove; the text says why.
    NothingToProve(String),
    /// What must be denied was let in.
    Admitted {
        /// where
        namespace: String,
    },
    /// It could not be seen; the text says why.
    Unknown(String),
}

struct Attempt {
    of: Compiled,
    state: ProofState,
    failures: u32,
    next: Instant,
}

/// The proofs of all policies.
#[derive(Default)]
pub(super) struct Proofs {
    attempts: BTreeMap<PolicyId, Attempt>,
}

impl Proofs {
    /// The state of a policy's proof, for its present compilation.
    pub(super) fn state(&self, id: &PolicyId, compiled: &Compiled) -> &ProofState {
        match self.attempts.get(id) {
            Some(attempt) if attempt.of == *compiled => &attempt.state,
            _ => &ProofState::Pending,
        }
    }

    /// Whether a policy may give up what enforced it before.
    pub(super) fn is_settled(&self, id: &PolicyId, compiled: &Compiled) -> bool {
        matches!(self.state(id, compiled), ProofState::Proven { .. } | ProofState::NothingToProve(_))
    }

    /// Whether it is time to try.
    pub(super) fn is_due(&self, id: &PolicyId, compiled: &Compiled, now: Instant) -> bool {
        self.attempts.get(id).is_none_or(|attempt| attempt.of != *compiled || attempt.next <= now)
    }

    /// Since when a proof is due; none for one that was never made.
    pub(super) fn due_since(&self, id: &PolicyId) -> Option<Instant> {
        self.attempts.get(id).map(|attempt| attempt.next)
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.attempts.values().map(|attempt| attempt.next).min()
    }

    /// Takes in what was seen.
    pub(super) fn record(&mut self, id: &PolicyId, compiled: &Compiled, state: ProofState, now: Instant) {
        let settled = matches!(state, ProofState::Proven { .. } | ProofState::NothingToProve(_));
        let failures = match self.attempts.get(id) {
            _ if settled => 0,
            Some(attempt) if attempt.of == *compiled => attempt.failures + 1,
            _ => 1,
        };
        let pause = if settled {
            PROVE_AGAIN
        } else {
            (FIRST_RETRY * 2_u32.saturating_pow(failures.saturating_sub(1).min(10))).min(LAST_RETRY)
        };
        self.attempts.insert(id.clone(), Attempt { of: compiled.clone(), state, failures, next: now + pause });
    }

    /// Makes a proof due: something was repaired, and what was seen before says nothing any more.
    pub(super) fn hasten(&mut self, id: &PolicyId, now: Instant) {
        if let Some(attempt) = self.attempts.get_mut(id) {
            attempt.next = now;
        }
    }

    /// Forgets what was proven: its objects are not as they must be.
    pub(super) fn forget(&mut self, id: &PolicyId) {
        self.attempts.remove(id);
    }

    /// Keeps the proofs of policies that are still there.
    pub(super) fn retain(&mut self, keep: impl Fn(&PolicyId) -> bool) {
        self.attempts.retain(|id, _| keep(id));
    }
}

/// How a policy is proven: where, and by what; or why there is nothing to prove.
pub(super) fn target<'a>(
    policy: &Policy,
    compiled: &'a Compiled,
    namespaces: &BTreeMap<String, NamespaceFacts>,
    operator_namespace: &str,
) -> Result<(&'a Probe, String), String> {
    let Some(probe) = &compiled.probe else {
        return Err("nothing is enforced, or its selector can match nothing".to_owned());
    };
    namespaces
        .iter()
        .filter(|(_, facts)| !facts.terminating)
        .find(|(name, facts)| {
            let labels = NamespaceLabels::Known(&facts.labels);
            policy.matches_namespace(name, labels, Some(operator_namespace)) == Match::Yes
        })
        .map(|(name, _)| (probe, name.clone()))
        .ok_or_else(|| "no namespace matches, so there is nothing to deny".to_owned())
}

/// What an answer of the API server says of the enforcement; soon after a write being let in says nothing yet.
pub(super) fn judge(proof: Proof, namespace: String, soon: bool) -> ProofState {
    match proof {
        Proof::Denied => ProofState::Proven { namespace },
        Proof::Admitted if soon => ProofState::Pending,
        Proof::Admitted => ProofState::Admitted { namespace },
        Proof::Unknown(why) => ProofState::Unknown(why),
    }
}
