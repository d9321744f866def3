//! The operator on a real control plane, always with exactly the rights that are shipped.

#[path = "../support/mod.rs"]
mod support;

mod exceptions;
mod gap;
mod grandfathering;
mod kstatus;
mod lifecycle;
mod no_way_around;
mod policies;
mod process;
mod proof;
mod repair;
mod report_races;
mod reports;
mod rights;
mod rollout_signs;
mod scan;
mod system;
mod validation;
mod workloads;
