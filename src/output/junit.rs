//! `-o junit`: `JUnit` XML, a suite for each workload and a case for each result.
//!
//! Written by hand, because a library would want the whole report a second time before it writes the first
//! byte. A case is named so that it is unique in a job: GitLab shows only the first of those that share file
//! and name, and knows no suites.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::io::{self, Write};

use super::group::{Sentence, Whole, excuse, groups, part, weighs_fully};
use super::location::{file_name, repository_path};
use super::report::{Entry, Outcome, Report};
use super::shown::harmless;
use super::tally::Tally;

/// Text in XML, in an attribute or between tags.
struct Xml<T>(T);

impl<T: fmt::Display> fmt::Display for Xml<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escape(formatter), "{}", self.0)
    }
}

struct Escape<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for Escape<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|character| match character {
            '&' => self.0.write_str("&amp;"),
            '<' => self.0.write_str("&lt;"),
            '>' => self.0.write_str("&gt;"),
            '"' => self.0.write_str("&quot;"),
            '\'' => self.0.write_str("&apos;"),
            other => self.0.write_char(harmless(other)),
        })
    }
}

/// What a CI makes of a case.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Status {
    Passed,
    /// Passed, with a text.
    Remarked,
    Skipped,
    Failed,
    Errored,
}

/// A case is red only where `check` exits other than 0 by default.
fn status(entry: &Entry) -> Status {
    match entry.outcome {
        Outcome::Pass => Status::Passed,
        Outcome::Warn => Status::Remarked,
        Outcome::Fail => Status::Failed,
        Outcome::Error if weighs_fully(entry) => Status::Errored,
        // What nobody enforces and nobody could decide was not tested.
        Outcome::Skip | Outcome::Error => Status::Skipped,
    }
}

#[derive(Default)]
struct Counts {
    tests: u64,
    failures: u64,
    errors: u64,
    skipped: u64,
}

impl Counts {
    fn of(entries: &[Entry]) -> Self {
        let mut counts = Self::default();
        for entry in entries {
            counts.tests += 1;
            match status(entry) {
                Status::Passed | Status::Remarked => {}
                Status::Skipped => counts.skipped += 1,
                Status::Failed => counts.failures += 1,
                Status::Errored => counts.errors += 1,
            }
        }
        counts
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tests, failures, errors, skipped } = self;
        write!(formatter, r#"tests="{tests}" skipped="{skipped}" failures="{failures}" errors="{errors}""#)
    }
}

pub(super) fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, r#"<?xml version="1.0" encoding="UTF-8"?>"#)?;
    if report.entries.is_empty() {
        return write_clean(report, out);
    }
    let command = report.subject.command();
    writeln!(out, r#"<testsuites name="immutable {command}" {}>"#, Counts::of(&report.entries))?;
    for group in groups(&report.entries) {
        let Some(first) = group.first() else { continue };
        writeln!(out, r#"  <testsuite name="{}" {}>"#, Xml(Whole(first)), Counts::of(group))?;
        let mut names = HashMap::new();
        for entry in group {
            write_case(entry, &mut names, out)?;
        }
        writeln!(out, "  </testsuite>")?;
    }
    writeln!(out, "</testsuites>")
}

/// A report without cases is an error to some readers, so one case says that there is nothing to say.
fn write_clean(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let counts = Counts { tests: 1, ..Counts::default() };
    let command = report.subject.command();
    writeln!(out, r#"<testsuites name="immutable {command}" {counts}>"#)?;
    writeln!(out, r#"  <testsuite name="immutable {command}" {counts}>"#)?;
    writeln!(out, r#"    <testcase name="no findings" classname="immutable {command}">"#)?;
    writeln!(out, "      <system-out>{}</system-out>", Xml(Tally::of(report)))?;
    writeln!(out, "    </testcase>\n  </testsuite>\n</testsuites>")
}

/// The name of a case: the rule, the part, the workload and the policy.
fn name(entry: &Entry) -> String {
    let Some(rule) = entry.rule else { return format!("can be judged: {}", Whole(entry)) };
    let part = match part(&entry.about) {
        part if part.is_empty() => part,
        part => format!(" [{part}]"),
    };
    let policy = entry.policy.as_deref().unwrap_or_default();
    format!("{rule}{part} in {} ({policy})", Whole(entry))
}

fn write_case(entry: &Entry, names: &mut HashMap<String, u32>, out: &mut dyn Write) -> io::Result<()> {
    let name = name(entry);
    // The same name however the path was given.
    let path = repository_path(file_name(&entry.place.file));
    let file = Xml(&path);
    write!(out, r#"    <testcase name="{}"#, Xml(&name))?;
    // A container may refer to two ConfigMaps, and a file hold two broken documents.
    let same = names.entry(name).or_insert(0);
    *same += 1;
    if *same > 1 {
        write!(out, " #{same}")?;
    }
    write!(out, r#"" classname="{file}" file="{file}""#)?;
    if entry.place.is_in_text() {
        write!(out, r#" line="{}""#, entry.place.line)?;
    }
    let status = status(entry);
    let tag = match status {
        Status::Passed => return writeln!(out, "/>"),
        Status::Remarked => {
            writeln!(out, ">")?;
            write!(out, "      <system-out>")?;
            write_detail(entry, out)?;
            writeln!(out, "</system-out>")?;
            return writeln!(out, "    </testcase>");
        }
        Status::Skipped => "skipped",
        Status::Failed => "failure",
        Status::Errored => "error",
    };
    writeln!(out, ">")?;
    let reason = excuse(entry);
    match &reason {
        Some(excuse) => write!(out, r#"      <{tag} message="{}""#, Xml(excuse))?,
        None => write!(out, r#"      <{tag} message="{}""#, Xml(Sentence(entry)))?,
    }
    if status != Status::Skipped {
        write!(out, r#" type="{}""#, entry.rule.map_or("unreadable", |rule| rule.id()))?;
    }
    write!(out, ">")?;
    write_detail(entry, out)?;
    writeln!(out, "</{tag}>\n    </testcase>")
}

/// What a viewer shows when a case is opened.
fn write_detail(entry: &Entry, out: &mut dyn Write) -> io::Result<()> {
    let place = &entry.place;
    let file = Xml(file_name(&place.file));
    write!(out, "{file}:")?;
    if place.is_in_text() {
        write!(out, "{}:{}:", place.line, place.column)?;
    }
    write!(out, " {}: {}", entry.outcome.name(), Xml(Sentence(entry)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text() {
        assert_eq!(
            Xml("<a b=\"c\">&'\u{1b}\u{0}\n]]>\u{ffff}").to_string(),
            "&lt;a b=&quot;c&quot;&gt;&amp;&apos;?? ]]&gt;?"
        );
    }
}
