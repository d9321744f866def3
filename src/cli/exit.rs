//! Exit codes, and how results reach stdout.

use std::io::Write as _;
use std::process::ExitCode;

/// What the exit code says; the highest that applies wins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// 0: nothing fails
    #[default]
    Success,
    /// 1: something fails
    Failure,
    /// 2: usage, or input that cannot be read
    Input,
    /// 3: could not finish
    Unfinished,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        match exit {
            Exit::Success => Self::SUCCESS,
            Exit::Failure => Self::from(1),
            Exit::Input => Self::from(2),
            Exit::Unfinished => Self::from(3),
        }
    }
}

/// Prints a result.
pub(super) fn print(text: &str) -> anyhow::Result<Exit> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(Exit::Success)
}

/// Says on stderr why the input or the usage is wrong.
#[expect(clippy::unnecessary_wraps, reason = "it stands where a command returns")]
pub(super) fn refuse(messages: impl IntoIterator<Item = impl std::fmt::Display>) -> anyhow::Result<Exit> {
    for message in messages {
        eprintln!("{message}");
    }
    Ok(Exit::Input)
}
