//! The binary `immutable`, also called as `kubectl immutable`.

use std::process::ExitCode;

use immutable_operator::cli::Cli;

fn main() -> ExitCode {
    Cli::main()
}
