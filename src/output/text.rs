//! `-o text`: for people.
//!
//! ```text
//! FILE:LINE  KIND NAMESPACE/NAME
//!   fail  12  image-tag  container app  what is wrong  -> what to write
//! ```
//! Without a place where what was judged is no text. The line of the heading is that of the first finding, so that a click on it leads somewhere useful.

use std::fmt;
use std::io::{self, Write};

use immutable_core::policy::Enforcement;

use super::Options;
use super::group::{Named, excuse, groups, part};
use super::location::file_name;
use super::report::{Entry, Outcome, Report};
use super::shown::{Shown, count};
use super::tally::{FirstStep, RuleCount, Tally};

const BOLD: &str = "1";
const DIM: &str = "2";
const CYAN: &str = "36";

/// Text in a colour, if there is any.
struct Painted<T> {
    text: T,
    /// Parameters of the terminal's SGR sequence.
    style: Option<&'static str>,
}

impl<T: fmt::Display> fmt::Display for Painted<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.style {
            // Padding belongs inside: the terminal's sequences have no width.
            Some(style) => {
                write!(formatter, "\x1b[{style}m")?;
                self.text.fmt(formatter)?;
                formatter.write_str("\x1b[0m")
            }
            None => self.text.fmt(formatter),
        }
    }
}

#[derive(Clone, Copy)]
struct Paint {
    color: bool,
}

impl Paint {
    fn paint<T: fmt::Display>(self, style: &'static str, text: T) -> Painted<T> {
        Painted { text, style: self.color.then_some(style) }
    }
}

pub(super) fn write(report: &Report, options: &Options<'_>, out: &mut dyn Write) -> io::Result<()> {
    let tally = Tally::of(report);
    let layout =
        Layout { paint: Paint { color: options.color }, width: options.width, show_policy: tally.policies > 1 };
    for group in groups(&report.entries) {
        layout.write_group(group, out)?;
        writeln!(out)?;
    }
    layout.write_rules(&tally, out)?;
    if let Some(step) = &tally.first_step {
        layout.write_first_step(step, out)?;
    }
    writeln!(out, "{}", layout.paint.paint(BOLD, &tally))
}

/// The columns of one finding, as text.
struct Row<'a> {
    entry: &'a Entry,
    marker: &'static str,
    line: String,
    rule: &'static str,
    policy: &'a str,
    part: String,
    message: String,
    advice: String,
}

impl<'a> Row<'a> {
    fn new(entry: &'a Entry) -> Self {
        let advice = match excuse(entry) {
            Some(excuse) => excuse,
            None if entry.fix.is_empty() => String::new(),
            None => format!("-> {}", Shown(&entry.fix)),
        };
        Self {
            entry,
            marker: marker(entry),
            line: if entry.place.is_in_text() { entry.place.line.to_string() } else { String::new() },
            rule: entry.rule.map_or("unreadable", |rule| rule.id()),
            policy: entry.policy.as_deref().unwrap_or_default(),
            part: part(&entry.about),
            message: Shown(&entry.message).to_string(),
            advice,
        }
    }

    fn style(&self) -> &'static str {
        match self.entry.outcome {
            Outcome::Fail => "1;31",
            Outcome::Error => "1;35",
            Outcome::Warn => "33",
            Outcome::Skip => CYAN,
            Outcome::Pass => "32",
        }
    }
}

/// The word at the beginning of a line: the result, or `audit` where nobody is warned.
fn marker(entry: &Entry) -> &'static str {
    match (entry.outcome, entry.enforcement) {
        (Outcome::Warn, Some(Enforcement::Audit)) => "audit",
        (outcome, _) => outcome.name(),
    }
}

/// The widths of the columns of a group.
#[derive(Default)]
struct Widths {
    line: usize,
    rule: usize,
    policy: usize,
    part: usize,
    message: usize,
    advice: usize,
}

impl Widths {
    fn of(rows: &[Row<'_>]) -> Self {
        let mut widths = Self::default();
        for row in rows {
            // What is longer sticks out: others need not be moved by it, and a formatter knows no width over 65535.
            let widen = |width: &mut usize, text: &str| *width = (*width).max(text.chars().count().min(WIDEST));
            widen(&mut widths.line, &row.line);
            widen(&mut widths.rule, row.rule);
            widen(&mut widths.policy, row.policy);
            widen(&mut widths.part, &row.part);
            widen(&mut widths.advice, &row.advice);
            if !row.advice.is_empty() {
                widen(&mut widths.message, &row.message);
            }
        }
        widths
    }

    /// Where the message begins.
    fn indent(&self) -> usize {
        let column = |width: usize| if width == 0 { 0 } else { width + 2 };
        2 + MARKER + 2 + column(self.line) + column(self.rule) + column(self.policy) + column(self.part)
    }
}

/// The width of `error` and `audit`.
const MARKER: usize = 5;
/// The widest column.
const WIDEST: usize = 200;

struct Layout {
    paint: Paint,
    width: Option<usize>,
    show_policy: bool,
}

impl Layout {
    fn write_group(&self, group: &[Entry], out: &mut dyn Write) -> io::Result<()> {
        let Some(first) = group.first() else { return Ok(()) };
        // A pass is about the workload as a whole: there is nothing to look at.
        let findings = || group.iter().filter(|entry| entry.outcome != Outcome::Pass);
        let line = findings().map(|entry| entry.place.line).min().unwrap_or(first.place.line);
        let file = Shown(file_name(&first.place.file));
        let place = if first.place.is_in_text() { format!("{file}:{line}") } else { file.to_string() };
        match &first.resource {
            Some(resource) if !first.place.is_in_text() => {
                writeln!(out, "{}", self.paint.paint(BOLD, Named(resource)))?;
            }
            Some(resource) => {
                writeln!(out, "{}  {}", self.paint.paint(DIM, place), self.paint.paint(BOLD, Named(resource)))?;
            }
            None => writeln!(out, "{}", self.paint.paint(BOLD, place))?,
        }
        let rows: Vec<Row<'_>> = group.iter().map(Row::new).collect();
        let mut widths = Widths::of(&rows);
        if !self.show_policy {
            widths.policy = 0;
        }
        // All or none of a group, so that its columns stay columns.
        let below = self.width.is_some_and(|width| widths.indent() + widths.message + 2 + widths.advice > width);
        rows.iter().try_for_each(|row| self.write_row(row, &widths, below, out))
    }

    fn write_row(&self, row: &Row<'_>, widths: &Widths, below: bool, out: &mut dyn Write) -> io::Result<()> {
        let marker = self.paint.paint(row.style(), row.marker);
        write!(out, "  {marker:MARKER$}  ")?;
        if widths.line > 0 {
            write!(out, "{:>width$}  ", row.line, width = widths.line)?;
        }
        write!(out, "{:rule$}", row.rule, rule = widths.rule)?;
        for (text, width) in [(row.policy, widths.policy), (&row.part, widths.part)] {
            if width > 0 {
                write!(out, "  {text:width$}")?;
            }
        }
        if row.advice.is_empty() {
            return writeln!(out, "  {}", row.message);
        }
        let advice = self.paint.paint(CYAN, &row.advice);
        if below {
            writeln!(out, "  {}\n{:indent$}{advice}", row.message, "", indent = widths.indent())
        } else {
            writeln!(out, "  {:width$}  {advice}", row.message, width = widths.message)
        }
    }

    fn write_rules(&self, tally: &Tally<'_>, out: &mut dyn Write) -> io::Result<()> {
        let Some(width) = tally.rules.iter().map(|(rule, _)| rule.id().len()).max() else { return Ok(()) };
        let explained = self.paint.paint(DIM, "(immutable explain RULE says why)");
        writeln!(out, "{} {explained}", self.paint.paint(BOLD, "By rule"))?;
        let widest = |text: fn(&RuleCount) -> String| {
            tally.rules.iter().map(|(_, counts)| text(counts).len()).max().unwrap_or_default()
        };
        let results = widest(results);
        for (rule, counts) in &tally.rules {
            writeln!(
                out,
                "  {:width$}  {:8}  {:results$}  in {}",
                rule.id(),
                rule.document().severity.name(),
                self::results(counts),
                count(counts.workloads, "workload"),
            )?;
        }
        writeln!(out)
    }

    fn write_first_step(&self, step: &FirstStep<'_>, out: &mut dyn Write) -> io::Result<()> {
        let FirstStep { rule, fix, findings, workloads, of, outcome } = *step;
        let noun = if outcome == Outcome::Fail { "failures" } else { "warnings" };
        writeln!(out, "{}", self.paint.paint(BOLD, "Cheapest first step"))?;
        let fix = self.paint.paint(CYAN, Shown(fix));
        writeln!(out, "  {rule}: {fix}")?;
        writeln!(out, "  removes {findings} of {of} {noun}, in {}\n", count(workloads, "workload"))
    }
}

/// `2 fail, 1 skip`
fn results(counts: &RuleCount) -> String {
    let named = [(counts.fail, "fail"), (counts.warn, "warn"), (counts.error, "error"), (counts.skip, "skip")];
    let present: Vec<String> =
        named.into_iter().filter(|(number, _)| *number > 0).map(|(number, name)| format!("{number} {name}")).collect();
    present.join(", ")
}
