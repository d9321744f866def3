//! How far a write to a workload is.

use jiff::Timestamp;

use crate::replace::after;
use crate::replace::planner::{LAST_RETRY, OUTDATED};

/// How far a write is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::replace) enum Write {
    /// Nothing was tried, or it has come back as an event.
    Idle,
    /// It was handed out.
    UnderWay,
    /// The API server took it, and the event that tells of it has not come: it was decided on this version.
    Taken { on: Box<str>, stamp: Option<Box<str>> },
    /// It was decided on this version, and there is a newer one.
    Outdated { on: Box<str>, until: Timestamp },
    /// It failed so often, is tried again then, and this was said.
    Failed { attempts: u32, until: Timestamp, message: String },
}

impl Write {
    /// Until when no other is tried. A clock that was set back must not make it longer than it ever is.
    pub(in crate::replace) fn waits(&self, now: Timestamp) -> Option<Timestamp> {
        let (until, longest) = match self {
            Self::Failed { until, .. } => (*until, LAST_RETRY),
            Self::Outdated { until, .. } => (*until, OUTDATED),
            Self::Idle | Self::UnderWay | Self::Taken { .. } => return None,
        };
        (now < until && until <= after(now, longest)).then_some(until)
    }
}
