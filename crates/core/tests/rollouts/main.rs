//! The planner, explored: a model of a cluster, of people and tools that change it, and of operators that watch it late,
//! write in vain, crash, and have clocks that jump.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

mod checks;
mod cluster;
mod conflicts;
mod controllers;
mod explore;
mod halts;
mod model;
mod objects;
mod operator;
mod scenarios;
