//! `immutable scan`, `impact` and `except` on a real control plane.

#[path = "../support/mod.rs"]
mod support;

#[path = "../output/schema.rs"]
mod schema;
#[path = "../operator/workloads.rs"]
#[allow(dead_code, reason = "the operator's tests use the rest")]
mod workloads;

mod command;
mod except;
mod impact;
mod scan;
mod user;
