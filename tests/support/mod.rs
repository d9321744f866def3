//! What the integration tests share: a real control plane, namespaces to work in, and helpers to wait.
//!
//! Every helper returns an error that says what was expected and what was seen, so that a test is a list of calls
//! with `?` behind them.

// Each test binary compiles this module for itself and uses a part of it.
#![allow(dead_code)]

mod cluster;
mod kubectl;
mod namespace;
mod operator;
mod requests;
mod supervisor;
mod waiting;

#[allow(unused_imports)]
pub(crate) use {
    cluster::Cluster,
    kubectl::Output,
    namespace::TestNamespace,
    operator::{BINARY, Operator, Response, install_crds, install_report_crds, install_rights},
    requests::{Answer, Effect, Requests},
    supervisor::binary,
    waiting::{GENEROUS, wait_until},
};
