//! Replacing pods: what policies ask for, when it may happen, and what several of them come to.

mod cron;
pub mod merge;
pub mod settings;
pub mod window;

pub use merge::{Conflict, Merged, PolicyCheckpoints, merge};
pub use settings::{Checkpoint, Compatibility, OnConfigChange, OnFailure, Replace, ReplaceSettings};
pub use window::{Window, WindowKind, WindowState, Windows};
