//! `immutable completion`: prints a completion script.

use clap::CommandFactory as _;
use clap_complete::Shell;

use super::Cli;
use super::exit::{Exit, print};

/// Prints a completion script for a shell
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Which shell
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut Cli::command(), "immutable", &mut script);
    print(&String::from_utf8_lossy(&script))
}
