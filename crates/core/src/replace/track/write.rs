//! How far a write to a workload is.

use jiff::Timestamp;

use super::Track;
use crate::replace::after;
use crate::replace::planner::{FIRST_RETRY, LAST_RETRY, OUTDATED};

/// How many times in a row the event that must follow is waited for.
const MOST_CONFLICTS: u32 = 5;

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

impl Track {
    /// A write has failed, and this was said.
    pub(in crate::replace) fn fail(&mut self, message: &str, now: Timestamp) {
        let factor = 2_i32.saturating_pow(self.attempts.min(16));
        self.attempts = self.attempts.saturating_add(1);
        let until = after(now, FIRST_RETRY.saturating_mul(factor).min(LAST_RETRY));
        self.write = Write::Failed { attempts: self.attempts, until, message: message.to_owned() };
    }

    /// The API server says that the object is another one, or gone, and the event that says so is on its way. Where it says
    /// so again and again, something else does, such as an admission webhook: then it has failed like any other.
    pub(in crate::replace) fn conflict(&mut self, on: Box<str>, said: &str, now: Timestamp) {
        self.conflicts = self.conflicts.saturating_add(1);
        if self.conflicts <= MOST_CONFLICTS {
            self.write = Write::Outdated { on, until: after(now, OUTDATED) };
            return;
        }
        self.attempts = self.attempts.max(MOST_CONFLICTS);
        let message = format!(
            "the API server answers again and again that {said}; look for an admission webhook that says so, or for \
             somebody else who writes it all the time"
        );
        self.fail(&message, now);
    }
}
