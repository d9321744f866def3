//! What the `replace` sections of all policies that match one workload come to: the most careful of them.

use std::collections::BTreeSet;
use std::fmt;

use jiff::{SignedDuration, Timestamp};

use super::settings::{Checkpoint, Compatibility, OnConfigChange, OnFailure, Replace};
use super::window::{WindowState, Windows};
use crate::policy::PolicyId;
use crate::rules::ConfigKind;

/// What holds for one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Merged {
    /// The policies that speak, in the order of their ids; none where the defaults hold. Each counts for its own budgets.
    pub policies: Vec<PolicyId>,
    /// Disabled where one policy says so; otherwise Enabled where one says so; otherwise `OptIn`.
    pub on_config_change: OnConfigChange,
    /// The policies that say Disabled.
    pub disabled_by: Vec<PolicyId>,
    /// Changes of which kinds count: those that every policy names. Empty is a [`Conflict`].
    pub kinds: BTreeSet<ConfigKind>,
    /// The largest.
    pub settle: SignedDuration,
    /// The largest.
    pub min_interval: SignedDuration,
    /// The smallest; none where no policy has a limit. Each policy's own limit is over its own workloads.
    pub max_concurrent: Option<u32>,
    /// Open when every policy's are.
    pub windows: Windows,
    /// The largest.
    pub warmup: SignedDuration,
    /// Of the policies that have any, in the order of `policies`: each is over its own workloads.
    pub checkpoints: Vec<PolicyCheckpoints>,
    /// Halt where one policy says so.
    pub on_failure: OnFailure,
    /// The largest: the longest that another's rollout is waited for.
    pub progress_deadline: SignedDuration,
    /// What any policy understands.
    pub compatibility: BTreeSet<Compatibility>,
    /// What each policy with windows says, and of which kinds each wants to know.
    with_windows: Vec<PolicyId>,
    kinds_of: Vec<(PolicyId, BTreeSet<ConfigKind>)>,
}

/// The checkpoints of one policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyCheckpoints {
    /// Which policy.
    pub policy: PolicyId,
    /// By strictly ascending percentages, never empty.
    pub checkpoints: Vec<Checkpoint>,
}

/// What contradicts itself; nothing is replaced while it does. [`fmt::Display`] says what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Conflict {
    /// No kind is named by all of these policies.
    Kinds(Vec<(PolicyId, BTreeSet<ConfigKind>)>),
    /// The windows of these policies are never open together.
    Windows(Vec<PolicyId>),
}

impl fmt::Display for Conflict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kinds(policies) => {
                let policies = policies.iter().map(|(policy, kinds)| {
                    let kinds: Vec<_> = kinds.iter().map(|kind| kind.name()).collect();
                    format!("{} {policy} ({})", policy.kind(), kinds.join(", "))
                });
                write!(
                    formatter,
                    "no kind of configuration is named by every policy: {}; change spec.replace.kinds of one",
                    join(policies)
                )
            }
            Self::Windows(policies) => write!(
                formatter,
                "the windows of {} {} within 400 days; change spec.replace.windows of {}",
                join(policies.iter().map(|policy| format!("{} {policy}", policy.kind()))),
                if policies.len() == 1 { "never open" } else { "are never open together" },
                if policies.len() == 1 { "it" } else { "one" },
            ),
        }
    }
}

fn join(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(" and ")
}

/// What the policies that match a workload come to; the defaults where there is none. In any order, the same.
///
/// Which policies match, and which of them are suspended, is for the caller to know.
pub fn merge<'a>(policies: impl Iterator<Item = (&'a PolicyId, &'a Replace)>) -> Merged {
    let mut policies: Vec<_> = policies.collect();
    policies.sort_unstable_by_key(|(id, _)| *id);
    let defaults = Replace::default();
    let all: Vec<&Replace> =
        if policies.is_empty() { vec![&defaults] } else { policies.iter().map(|(_, replace)| *replace).collect() };
    let ids = |speaks: fn(&Replace) -> bool| -> Vec<PolicyId> {
        policies.iter().filter(|(_, replace)| speaks(replace)).map(|(id, _)| (*id).clone()).collect()
    };
    let largest = |of: fn(&Replace) -> SignedDuration| all.iter().map(|replace| of(replace)).max().unwrap_or_default();
    let says = |change| all.iter().any(|replace| replace.on_config_change == change);
    Merged {
        policies: ids(|_| true),
        on_config_change: if says(OnConfigChange::Disabled) {
            OnConfigChange::Disabled
        } else if says(OnConfigChange::Enabled) {
            OnConfigChange::Enabled
        } else {
            OnConfigChange::OptIn
        },
        disabled_by: ids(|replace| replace.on_config_change == OnConfigChange::Disabled),
        kinds: all.iter().fold(defaults.kinds.clone(), |kinds, replace| &kinds & &replace.kinds),
        settle: largest(|replace| replace.settle),
        min_interval: largest(|replace| replace.min_interval),
        max_concurrent: all.iter().filter_map(|replace| replace.max_concurrent).min(),
        windows: Windows::new(all.iter().map(|replace| replace.windows.clone())),
        warmup: largest(|replace| replace.warmup),
        checkpoints: policies
            .iter()
            .filter(|(_, replace)| !replace.checkpoints.is_empty())
            .map(|(id, replace)| PolicyCheckpoints { policy: (*id).clone(), checkpoints: replace.checkpoints.clone() })
            .collect(),
        on_failure: if all.iter().any(|replace| replace.on_failure == OnFailure::Halt) {
            OnFailure::Halt
        } else {
            OnFailure::Continue
        },
        progress_deadline: largest(|replace| replace.progress_deadline),
        compatibility: all.iter().flat_map(|replace| replace.compatibility.iter().copied()).collect(),
        with_windows: ids(|replace| !replace.windows.is_empty()),
        kinds_of: policies.iter().map(|(id, replace)| ((*id).clone(), replace.kinds.clone())).collect(),
    }
}

impl Merged {
    /// What contradicts itself, seen from a moment; none where a policy says Disabled, which is clear enough.
    ///
    /// Windows are looked at as far as [`super::window::HORIZON`] ahead.
    pub fn conflict(&self, now: Timestamp) -> Option<Conflict> {
        if self.on_config_change == OnConfigChange::Disabled {
            None
        } else if self.kinds.is_empty() {
            Some(Conflict::Kinds(self.kinds_of.clone()))
        } else if self.windows.state(now) == (WindowState::Closed { next: None }) {
            Some(Conflict::Windows(self.with_windows.clone()))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests;
