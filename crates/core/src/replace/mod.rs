//! Replacing pods: what policies ask for, when it may happen, and what several of them come to.

mod budget;
pub mod cause;
mod cron;
mod explain;
mod flap;
mod gates;
pub mod history;
pub mod intent;
pub mod merge;
pub mod planner;
mod record;
mod served;
pub mod settings;
mod snapshot;
mod summary;
mod told;
mod track;
mod waiting;
pub mod window;

use jiff::{SignedDuration, Timestamp};

pub use cause::{Cause, ChangedObject};
pub use explain::{Comparison, Existence, ObjectStanding, Phase, Pods, Record, Service, Standing};
pub use history::{History, Revision};
pub use intent::{Intent, Target};
pub use merge::{Conflict, Merged, PolicyCheckpoints, merge};
pub use planner::{Outcome, Planner, Step};
pub use settings::{Checkpoint, Compatibility, OnConfigChange, OnFailure, Replace, ReplaceSettings};
pub use summary::{Group, Numbers, Summary};
pub use told::{Begun, Held};
pub use waiting::{Reason, Waiting};
pub use window::{Window, WindowKind, WindowState, Windows};

/// A moment so much later; the last there is where that is later still.
fn after(moment: Timestamp, duration: SignedDuration) -> Timestamp {
    moment.checked_add(duration).unwrap_or(Timestamp::MAX)
}
