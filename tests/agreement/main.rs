//! Proves that the Rust side of the rules and the API server agree, word by word.

#[path = "../support/mod.rs"]
mod support;

mod changes;
mod config;
mod corpus;
mod costs;
mod ephemeral;
mod evaluator;
mod exceptions;
mod images;
mod on_library;
mod on_server;
mod oracle;
mod policies;
mod random;
mod server;
mod shrink;
mod specs;
mod updates;
mod verdict;
mod workloads;
