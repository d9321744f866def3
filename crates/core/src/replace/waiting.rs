//! Why pods that should be replaced are not, in words that a person can act on.

use std::fmt;

use jiff::Timestamp;

/// Why a workload waits. The names stand in statuses, metrics, Events and the output of `immutable plan`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// More edits may come.
    Settling,
    /// It was replaced a moment ago.
    MinInterval,
    /// No window is open.
    Window,
    /// As many others as may be are being replaced.
    MaxConcurrent,
    /// Another one has just become available.
    Warmup,
    /// A checkpoint was reached.
    Checkpoint,
    /// A workload that was replaced for the same change has failed.
    Halted,
    /// The Deployment is paused.
    Paused,
    /// Its pods are replaced by whoever deletes them.
    OnDelete,
    /// Some of its pods are held back by a partition.
    Partitioned,
    /// A pod of an older revision is not ready, and the controller of the StatefulSet waits for it for ever.
    StuckRevision,
    /// Somebody else's rollout is under way.
    AnothersRollout,
    /// New pods could not start: something they need is not there.
    MissingReference,
    /// Something it reads cannot be read by the operator.
    Unreadable,
    /// What it reads changes again and again.
    Flapping,
    /// Somebody takes back what the operator writes.
    Reverted,
    /// Its policies contradict one another.
    Conflict,
    /// A policy of it is suspended.
    Suspended,
    /// The API server refused the last attempt, or did not answer.
    WriteFailed,
    /// What is needed for digests, or for a first look, is not read yet.
    NotReadYet,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 20] = [
        Self::Settling,
        Self::MinInterval,
        Self::Window,
        Self::MaxConcurrent,
        Self::Warmup,
        Self::Checkpoint,
        Self::Halted,
        Self::Paused,
        Self::OnDelete,
        Self::Partitioned,
        Self::StuckRevision,
        Self::AnothersRollout,
        Self::MissingReference,
        Self::Unreadable,
        Self::Flapping,
        Self::Reverted,
        Self::Conflict,
        Self::Suspended,
        Self::WriteFailed,
        Self::NotReadYet,
    ];

    /// As it stands in a status.
    pub fn name(self) -> &'static str {
        match self {
            Self::Settling => "Settling",
            Self::MinInterval => "MinInterval",
            Self::Window => "Window",
            Self::MaxConcurrent => "MaxConcurrent",
            Self::Warmup => "Warmup",
            Self::Checkpoint => "Checkpoint",
            Self::Halted => "Halted",
            Self::Paused => "Paused",
            Self::OnDelete => "OnDelete",
            Self::Partitioned => "Partitioned",
            Self::StuckRevision => "StuckRevision",
            Self::AnothersRollout => "AnothersRollout",
            Self::MissingReference => "MissingReference",
            Self::Unreadable => "Unreadable",
            Self::Flapping => "Flapping",
            Self::Reverted => "Reverted",
            Self::Conflict => "Conflict",
            Self::Suspended => "Suspended",
            Self::WriteFailed => "WriteFailed",
            Self::NotReadYet => "NotReadYet",
        }
    }

    /// Whether it passes by itself within moments, so that nobody need be told.
    pub fn is_brief(self) -> bool {
        matches!(self, Self::Settling | Self::MinInterval | Self::NotReadYet)
    }

    /// Whether somebody must do something before it goes on.
    pub fn needs_somebody(self) -> bool {
        matches!(
            self,
            Self::Halted
                | Self::OnDelete
                | Self::Partitioned
                | Self::StuckRevision
                | Self::Paused
                | Self::MissingReference
                | Self::Unreadable
                | Self::Flapping
                | Self::Reverted
                | Self::Conflict
                | Self::WriteFailed
        )
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// What a workload waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Why.
    pub reason: Reason,
    /// The same in words, with what can be done.
    pub message: String,
    /// When it is looked at again at the latest, where that is known.
    pub until: Option<Timestamp>,
}

impl Waiting {
    /// For something that ends at a moment that is known.
    pub(super) fn until(reason: Reason, until: Timestamp, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), until: Some(until) }
    }

    /// For something that an event ends.
    pub(super) fn for_event(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), until: None }
    }
}
