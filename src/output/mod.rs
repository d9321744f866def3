//! Formats of `immutable check`: one file each, all written from one report.

mod report;

pub use report::{Entry, ExceptionNote, Outcome, Place, Report, Resource, Summary};

/// How results are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// for people
    Text,
}

/// What formats may depend on.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// whether colours may be used
    pub color: bool,
    /// the width of the terminal
    pub width: Option<usize>,
    /// our version
    pub version: &'a str,
}

/// Writes a report.
///
/// # Errors
/// It cannot be written.
pub fn write(_: Format, report: &Report, _: &Options<'_>, out: &mut dyn std::io::Write) -> std::io::Result<()> {
    for entry in &report.entries {
        writeln!(out, "{}:{}:{} {:?} {} -> {}", entry.place.file, entry.place.line, entry.place.column, entry.rule, entry.message, entry.fix)?;
    }
    writeln!(out, "{:?}", report.summary)
}
