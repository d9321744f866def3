//! The command line: one file per subcommand.

mod check;
mod compile;
mod completion;
mod connection;
mod crds;
mod duration;
mod except;
mod exceptions;
mod exit;
mod explain;
mod impact;
mod judge;
mod kinds;
mod nearest;
mod operator;
mod outlook;
mod picture;
mod plan;
mod policies;
mod resources;
mod results;
mod scan;
mod suspend;
mod why;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use exit::Exit;
pub use explain::rule_page;

/// Checks, compiles and enforces the immutability of Kubernetes workloads.
#[derive(Debug, Parser)]
#[command(name = "immutable", version, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(check::Arguments),
    Scan(scan::Arguments),
    Impact(impact::Arguments),
    Why(why::Arguments),
    Plan(plan::Arguments),
    Except(except::Arguments),
    Compile(compile::Arguments),
    Crds(crds::Arguments),
    Explain(explain::Arguments),
    Suspend(suspend::SuspendArguments),
    Resume(suspend::ResumeArguments),
    Operator(operator::Arguments),
    Completion(completion::Arguments),
    /// Prints the version
    Version,
}

impl Cli {
    /// Runs what the arguments of this process say.
    pub fn main() -> ExitCode {
        let error = match Self::try_parse() {
            Ok(cli) => return cli.run(),
            Err(error) => error,
        };
        // Help and version are results: nobody may take half of them, or nothing, for a success.
        let written = error.print().and_then(|()| std::io::stdout().flush());
        let exit = match written {
            _ if error.use_stderr() => Exit::Input,
            Ok(()) => Exit::Success,
            Err(_) => Exit::Unfinished,
        };
        exit.into()
    }

    /// Runs the subcommand. Errors go to stderr, results to stdout.
    pub fn run(self) -> ExitCode {
        let result = match self.command {
            Command::Check(arguments) => check::run(&arguments),
            Command::Scan(arguments) => scan::run(&arguments),
            Command::Impact(arguments) => impact::run(&arguments),
            Command::Why(arguments) => why::run(&arguments),
            Command::Plan(arguments) => plan::run(&arguments),
            Command::Except(arguments) => except::run(&arguments),
            Command::Compile(arguments) => compile::run(&arguments),
            Command::Crds(arguments) => crds::run(&arguments),
            Command::Explain(arguments) => explain::run(&arguments),
            Command::Suspend(arguments) => suspend::suspend(&arguments),
            Command::Resume(arguments) => suspend::resume(&arguments),
            Command::Operator(arguments) => operator::run(&arguments),
            Command::Completion(arguments) => completion::run(&arguments),
            Command::Version => exit::print(&format!("immutable {}\n", env!("CARGO_PKG_VERSION"))),
        };
        result
            .unwrap_or_else(|error| {
                // A reader that has seen enough, such as `head`, is no fault.
                let broken_pipe = error.chain().any(|cause| {
                    cause
                        .downcast_ref::<std::io::Error>()
                        .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
                });
                if !broken_pipe {
                    exit::say(format_args!("error: {}", told_once(&error)));
                }
                Exit::Unfinished
            })
            .into()
    }
}

/// An error with its causes; many an error tells those itself.
fn told_once(error: &anyhow::Error) -> String {
    error
        .chain()
        .skip(1)
        .map(ToString::to_string)
        .fold(error.to_string(), |text, cause| if text.contains(&cause) { text } else { format!("{text}: {cause}") })
}
