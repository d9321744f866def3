//! `-o github`: workflow commands, which GitHub Actions turns into annotations.
//!
//! GitHub keeps the first 10 errors, 10 warnings and 10 notices of a step as annotations, and all lines in
//! the log. The only notice is the total, so that it is never among those that are cut; excused findings are
//! counted there and take no room.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use super::group::{Sentence, Whole, weighs_fully};
use super::location::{file_name, repository_path};
use super::report::{Entry, Outcome, Report};
use super::shown::harmless;
use super::tally::Tally;

/// How many annotations of a kind GitHub shows for a step.
const SHOWN: u64 = 10;

/// The text of a command.
struct Data<T>(T);

/// The value of a property of a command.
struct Property<T>(T);

impl<T: fmt::Display> fmt::Display for Data<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escape { formatter, property: false }, "{}", self.0)
    }
}

impl<T: fmt::Display> fmt::Display for Property<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escape { formatter, property: true }, "{}", self.0)
    }
}

struct Escape<'a, 'b> {
    formatter: &'a mut fmt::Formatter<'b>,
    property: bool,
}

impl fmt::Write for Escape<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|character| match character {
            '%' => self.formatter.write_str("%25"),
            '\r' => self.formatter.write_str("%0D"),
            '\n' => self.formatter.write_str("%0A"),
            ':' if self.property => self.formatter.write_str("%3A"),
            ',' if self.property => self.formatter.write_str("%2C"),
            other => self.formatter.write_char(harmless(other)),
        })
    }
}

pub(super) fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let (mut errors, mut warnings) = (0, 0);
    for entry in &report.entries {
        let command = match entry.outcome {
            Outcome::Pass | Outcome::Skip => continue,
            Outcome::Fail => "error",
            Outcome::Error if weighs_fully(entry) => "error",
            Outcome::Warn | Outcome::Error => "warning",
        };
        *(if command == "error" { &mut errors } else { &mut warnings }) += 1;
        write_command(command, entry, out)?;
    }
    let total = Tally::of(report);
    write!(out, "::notice title=immutable {}::{}", report.subject.command(), Data(total.to_string()))?;
    if errors > SHOWN || warnings > SHOWN {
        write!(
            out,
            " (GitHub shows the first {SHOWN} errors and {SHOWN} warnings of a step as annotations; the log of the step \
             holds all {})",
            errors + warnings,
        )?;
    }
    writeln!(out)
}

fn write_command(command: &str, entry: &Entry, out: &mut dyn Write) -> io::Result<()> {
    let place = &entry.place;
    write!(out, "::{command} ")?;
    // Standard input and a cluster are no files of the repository: an annotation there would point nowhere.
    let is_file = &*place.file != "-" && place.is_in_text();
    let file = is_file.then(|| repository_path(&place.file));
    if let Some(file) = &file {
        write!(out, "file={},line={},col={},", Property(file), place.line, place.column)?;
    }
    match entry.rule {
        Some(rule) => write!(out, "title={}::", Property(format_args!("{rule} ({})", Whole(entry))))?,
        None => write!(out, "title={}::", Property(format_args!("cannot be judged ({})", Whole(entry))))?,
    }
    if file.is_none() && place.is_in_text() {
        write!(out, "{}, line {}: ", file_name(&place.file), place.line)?;
    }
    writeln!(out, "{}", Data(Sentence(entry)))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_cannot_end_a_command_or_begin_another() {
        assert_eq!(Data("50%\r\n::error::x, y").to_string(), "50%25%0D%0A::error::x, y");
        assert_eq!(Property("a:b,c%\n\u{1b}").to_string(), "a%3Ab%2Cc%25%0A?");
    }
}
