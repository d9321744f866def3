//! `-o sarif`: SARIF 2.1.0, for code scanning of GitHub, GitLab and others.
//!
//! An input that cannot be judged is no result but a notification of the tool, as the standard wants it: a
//! result would need a rule. Rules that hold are left out: readers show whatever is a result as a finding.

use std::collections::HashMap;
use std::io::{self, Write};

use immutable_core::evaluate::About;
use immutable_core::policy::Enforcement;
use immutable_core::rules::RuleId;
use serde::Serialize;

use super::Options;
use super::group::{Sentence, excuse};
use super::json::write_lines;
use super::location::uri;
use super::report::{Entry, Outcome, Place, Report, Resource};

mod fingerprint;
mod rules;

use fingerprint::Fingerprints;
use rules::{Driver, Text, level_of};

/// How many results of a run GitHub takes; it refuses files that hold more.
const MOST_RESULTS: usize = 25_000;

const SCHEMA: &str = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult<'a> {
    rule_id: RuleId,
    rule_index: usize,
    kind: &'static str,
    level: &'static str,
    message: Text,
    locations: [Location; 1],
    partial_fingerprints: Fingerprints,
    #[serde(skip_serializing_if = "Option::is_none")]
    suppressions: Option<Vec<Suppression>>,
    properties: ResultProperties<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location {
    physical_location: PhysicalLocation,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    logical_locations: Vec<LogicalLocation>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PhysicalLocation {
    artifact_location: ArtifactLocation,
    region: Region,
}

#[derive(Serialize)]
struct ArtifactLocation {
    uri: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Region {
    start_line: u32,
    start_column: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct LogicalLocation {
    name: String,
    fully_qualified_name: String,
    kind: &'static str,
}

#[derive(Serialize)]
struct Suppression {
    kind: &'static str,
    status: &'static str,
    justification: String,
}

#[derive(Serialize)]
struct ResultProperties<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enforcement: Option<Enforcement>,
    /// JSON Pointer of the field to be written.
    path: &'a str,
}

#[derive(Serialize)]
struct Notification {
    descriptor: Descriptor,
    level: &'static str,
    message: Text,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    locations: Vec<Location>,
}

#[derive(Serialize)]
struct Descriptor {
    id: &'static str,
    index: usize,
}

/// What the tool may say of itself; the index of each is its place in this list.
const UNREADABLE: Descriptor = Descriptor { id: "unreadable-input", index: 0 };
const LEFT_OUT: Descriptor = Descriptor { id: "results-left-out", index: 1 };

pub(super) fn write(report: &Report, options: &Options<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut room = Room::new(&report.entries, MOST_RESULTS);
    write!(
        out,
        "{{\n  \"$schema\": \"{SCHEMA}\",\n  \"version\": \"2.1.0\",\n  \"runs\": [{{\n  \"tool\": {{\"driver\": "
    )?;
    serde_json::to_writer(&mut *out, &Driver::new(options.version))?;
    let readable = report.entries.iter().all(|entry| entry.rule.is_some());
    write!(out, "}},\n  \"invocations\": [{{\"executionSuccessful\": {readable}, \"toolExecutionNotifications\": ")?;
    let unreadable = report.entries.iter().filter(|entry| entry.rule.is_none()).map(unreadable);
    write_lines(unreadable.chain(room.left_out()), out)?;
    // The name stands before the last slash; what follows it would name a single run.
    write!(
        out,
        "}}],\n  \"automationDetails\": {{\"id\": \"immutable-{}/\"}},\n  \"columnKind\": \"unicodeCodePoints\",\n  \"results\": ",
        report.subject.command()
    )?;
    let suppressing = report.entries.iter().any(|entry| entry.outcome == Outcome::Skip);
    let mut occurrences = HashMap::new();
    let results = report
        .entries
        .iter()
        .filter(|entry| room.takes(entry))
        .filter_map(|entry| Some(result(entry, entry.rule?, suppressing, &mut occurrences)));
    write_lines(results, out)?;
    out.write_all(b"\n  }]\n}\n")
}

fn result<'a>(
    entry: &'a Entry,
    rule: RuleId,
    suppressing: bool,
    occurrences: &mut HashMap<u64, u32>,
) -> SarifResult<'a> {
    // What cannot be decided is `open`, and the standard allows no other level with that.
    let (kind, level) = match entry.outcome {
        Outcome::Error => ("open", "none"),
        _ => ("fail", level_of(entry.enforcement)),
    };
    let suppression = (entry.outcome == Outcome::Skip).then(|| Suppression {
        kind: "external",
        status: "accepted",
        justification: excuse(entry).unwrap_or_default(),
    });
    SarifResult {
        rule_id: rule,
        rule_index: RuleId::ALL.iter().position(|known| *known == rule).unwrap_or_default(),
        kind,
        level,
        message: Text { text: Sentence(entry).to_string() },
        locations: [location(&entry.place, entry.resource.as_deref(), &entry.about)],
        partial_fingerprints: Fingerprints::of(entry, rule, occurrences),
        // Either all results say whether they are suppressed or none does: the standard wants it so.
        suppressions: suppressing.then(|| suppression.into_iter().collect()),
        properties: ResultProperties {
            policy: entry.policy.as_deref(),
            enforcement: entry.enforcement,
            path: &entry.path,
        },
    }
}

fn location(place: &Place, resource: Option<&Resource>, about: &About) -> Location {
    let logical = resource.map(|Resource { kind, namespace, name, .. }| {
        let whole = format!("{kind}/{namespace}/{name}");
        let part = |kind: &'static str, name: &str| LogicalLocation {
            name: name.to_owned(),
            fully_qualified_name: format!("{whole}/{kind}/{name}"),
            kind,
        };
        match about {
            About::Container { name, container_type } => part(container_type.name(), name),
            About::Volume(name) => part("volume", name),
            About::Workload => LogicalLocation { name: name.clone(), fully_qualified_name: whole, kind: "resource" },
        }
    });
    Location {
        physical_location: PhysicalLocation {
            artifact_location: ArtifactLocation { uri: uri(&place.file) },
            // Where there is no text, too: GitHub takes no location without a line.
            region: Region { start_line: place.line.max(1), start_column: place.column.max(1) },
        },
        logical_locations: logical.into_iter().collect(),
    }
}

fn unreadable(entry: &Entry) -> Notification {
    Notification {
        descriptor: UNREADABLE,
        level: "error",
        message: Text { text: Sentence(entry).to_string() },
        locations: vec![location(&entry.place, entry.resource.as_deref(), &entry.about)],
    }
}

/// What a run may hold: the worst results first, where there are too many.
struct Room {
    /// How many more of each outcome are taken.
    left: HashMap<Outcome, usize>,
    taken: usize,
    results: usize,
}

impl Room {
    fn new(entries: &[Entry], most: usize) -> Self {
        let mut numbers: HashMap<Outcome, usize> = HashMap::new();
        for entry in entries.iter().filter(|entry| entry.rule.is_some()) {
            *numbers.entry(entry.outcome).or_default() += 1;
        }
        let (mut taken, mut results) = (0, 0);
        let mut left = HashMap::new();
        for outcome in [Outcome::Fail, Outcome::Error, Outcome::Warn, Outcome::Skip] {
            let number = numbers.get(&outcome).copied().unwrap_or_default();
            let some = number.min(most - taken);
            left.insert(outcome, some);
            taken += some;
            results += number;
        }
        Self { left, taken, results }
    }

    fn takes(&mut self, entry: &Entry) -> bool {
        match self.left.get_mut(&entry.outcome) {
            Some(left) if entry.rule.is_some() && *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        }
    }

    /// The admission that results are missing.
    fn left_out(&self) -> Option<Notification> {
        let Self { taken, results, .. } = self;
        (taken < results).then(|| Notification {
            descriptor: LEFT_OUT,
            level: "warning",
            message: Text {
                text: format!(
                    "{} of {results} results were left out, failures last: a run holds {taken} at most. \
                     Judge less at a time, or use -o json.",
                    results - taken,
                ),
            },
            locations: Vec::new(),
        })
    }
}
