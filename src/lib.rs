//! The shell: everything that touches the network, the disk or the clock. It makes no decision about
//! workloads; those are made in [`immutable_core`].

pub mod api;
pub mod cli;
mod live;
pub mod manifest;
pub mod operator;
pub mod output;
pub mod telemetry;
