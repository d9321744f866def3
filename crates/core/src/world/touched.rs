//! What must be looked at again after a change.

use std::collections::BTreeSet;

use super::{ConfigId, WorkloadKey};
use crate::rules::ConfigKind;

/// What must be looked at again after a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    /// Everything must be judged again.
    pub all: bool,
    /// These must be judged again, whether they are still there or not.
    pub workloads: BTreeSet<WorkloadKey>,
    /// Of every workload it must be looked whether its pods are to be replaced.
    pub all_rollouts: bool,
    /// Of these it must be looked whether their pods are to be replaced.
    pub rollouts: BTreeSet<WorkloadKey>,
    /// What these hold is other than before.
    pub contents: BTreeSet<ConfigId>,
    /// In these namespaces ConfigMaps or Secrets came or went.
    pub names: BTreeSet<(ConfigKind, String)>,
}

impl Touched {
    /// All there is.
    pub fn everything() -> Self {
        Self { all: true, all_rollouts: true, ..Self::default() }
    }

    /// Adds another change's.
    pub fn merge(&mut self, other: Self) {
        self.all |= other.all;
        if self.all {
            // What is all needs no list, which may be long.
            self.workloads.clear();
        } else {
            self.workloads.extend(other.workloads);
        }
        self.all_rollouts |= other.all_rollouts;
        if self.all_rollouts {
            self.rollouts.clear();
            self.names.clear();
        } else {
            self.rollouts.extend(other.rollouts);
            self.names.extend(other.names);
        }
        self.contents.extend(other.contents);
    }

    /// Splits off what concerns rollouts.
    pub fn take_rollouts(&mut self) -> Self {
        Self {
            all_rollouts: std::mem::take(&mut self.all_rollouts),
            rollouts: std::mem::take(&mut self.rollouts),
            contents: std::mem::take(&mut self.contents),
            names: std::mem::take(&mut self.names),
            ..Self::default()
        }
    }

    /// Whether nothing must be judged again.
    pub fn is_empty(&self) -> bool {
        !self.all && self.workloads.is_empty()
    }

    /// Whether no workload's pods are to be looked at.
    pub fn has_no_rollouts(&self) -> bool {
        !self.all_rollouts && self.rollouts.is_empty() && self.contents.is_empty() && self.names.is_empty()
    }
}
