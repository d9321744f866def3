//! Exit codes, and how results reach stdout.

use std::io::Write as _;
use std::process::ExitCode;

use crate::output::Shown;

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

/// Says a line on stderr. Nobody may be listening there any more, which is no reason to stop.
///
/// Manifests and file names are quoted in what is said: a terminal finds no sequences in it, and GitHub Actions
/// no commands of its own.
pub(super) fn say(message: impl std::fmt::Display) {
    let text = message.to_string();
    let shown = Shown(&text).to_string().replace("##[", "## [");
    // GitHub reads a command behind blanks, too. A path stays the same path with this.
    let prefix = if shown.trim_start().starts_with("::") { "./" } else { "" };
    drop(writeln!(std::io::stderr().lock(), "{prefix}{shown}"));
}

/// Says on stderr why the input or the usage is wrong.
#[expect(clippy::unnecessary_wraps, reason = "it stands where a command returns")]
pub(super) fn refuse(messages: impl IntoIterator<Item = impl std::fmt::Display>) -> anyhow::Result<Exit> {
    for message in messages {
        say(message);
    }
    Ok(Exit::Input)
}
