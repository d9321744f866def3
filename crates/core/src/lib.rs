//! Decides. Everything here is pure: values in, values out, with time and cluster facts as arguments.
//!
//! Data goes one way: a manifest is read once into a [`workload::Workload`], a policy once into a
//! [`policy::Policy`]; [`evaluate`] tells the findings, [`native`] compiles the same rules into what the
//! API server evaluates by itself.

pub mod evaluate;
pub mod event;
pub mod exception;
pub mod glob;
pub mod image;
pub mod native;
pub mod policy;
pub mod references;
pub mod replace;
pub mod report;
pub mod rules;
pub mod scan;
pub mod schema;
pub mod selector;
pub mod workload;
pub mod world;
