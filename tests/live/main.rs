//! `immutable scan`, `impact` and `except` on a real control plane.

#[path = "../support/mod.rs"]
mod support;

#[path = "../output/schema.rs"]
#[expect(clippy::unwrap_used, clippy::panic, reason = "a schema that cannot be read has failed its test")]
mod schema;
#[path = "../operator/workloads.rs"]
#[allow(dead_code, reason = "the operator's tests use the rest")]
mod workloads;

mod command;
mod except;
mod impact;
mod plan;
mod replacing;
mod scan;
mod user;
mod why;
