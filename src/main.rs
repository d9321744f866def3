//! The binary `immutable`, also called as `kubectl immutable`.

use std::process::ExitCode;

use clap::Parser;
use immutable_operator::cli::Cli;

fn main() -> ExitCode {
    Cli::parse().run()
}
