//! Formats of `immutable check` and `scan`: one file each, all written from one report.
//!
//! A format only shows. Whether something fails is decided before it is chosen, so none of them can
//! change the exit code; the only thing that can go wrong here is the writing itself. Entries are
//! written one after the other, as they stand in the report: nothing is copied, however many there are.

mod github;
mod group;
mod impact;
mod json;
mod junit;
mod location;
mod plan;
mod report;
mod sarif;
mod shown;
mod tally;
mod text;
mod why;

use std::io::{self, Write};

use clap::ValueEnum;

pub(crate) use shown::Shown;

pub use impact::{Impact, Part, Rejected};
pub use plan::{HeldBack, Plan, Replaced, Told};
pub use report::{Entry, ExceptionNote, Outcome, Place, Report, Resource, Subject, Summary};
pub use why::{Made, Pause, PodCounts, Reads, Recorded, Settings, State, Stuck, Waits, Why};

/// How a report is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, ValueEnum)]
pub enum Format {
    /// For people: by workload, with counts and the cheapest first step
    #[default]
    Text,
    /// For programs: docs/schema/check-report.schema.json
    Json,
    /// SARIF 2.1.0, for code scanning
    Sarif,
    /// XML as JUnit writes it, for test reports of a CI
    Junit,
    /// Workflow commands of GitHub Actions, which become annotations
    Github,
}

/// What a format may want to know beside the report.
#[derive(Clone, Copy, Debug)]
pub struct Options<'a> {
    /// Whether text may be coloured; only the caller knows terminals and `NO_COLOR`.
    pub color: bool,
    /// Columns of the terminal; without them a finding is one line, however long.
    pub width: Option<usize>,
    /// The version of this program, for formats that name their tool.
    pub version: &'a str,
}

/// Writes a report. It writes in small pieces: give it a buffer, and flush that.
///
/// Entries of one document share one `Arc<Resource>`: that is how they are told from those of a namesake.
///
/// # Errors
///
/// Only those of `out`.
pub fn write(format: Format, report: &Report, options: &Options<'_>, out: &mut dyn Write) -> io::Result<()> {
    match format {
        Format::Text => text::write(report, options, out),
        Format::Json => json::write(report, out),
        Format::Sarif => sarif::write(report, options, out),
        Format::Junit => junit::write(report, out),
        Format::Github => github::write(report, out),
    }
}
