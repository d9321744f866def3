//! Pods are replaced when what they read changes: exactly once, and never without cause. On a real control plane, with
//! real rollouts of fake pods.

#[path = "../support/mod.rs"]
mod support;

mod place;
mod web;

mod bursts;
mod changes;
mod chaos;
mod custom;
mod failures;
mod holds;
mod keys;
mod opting;
mod others;
mod pace;
mod records;
mod references;
mod refused;
mod reloader;
mod replicas;
mod restarts;
mod returns;
