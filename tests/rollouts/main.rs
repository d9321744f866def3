//! Pods are replaced when what they read changes: exactly once, and never without cause. On a real control plane, with
//! real rollouts of fake pods.

#[path = "../support/mod.rs"]
mod support;

mod place;
mod web;

mod changes;
