//! `-o json`: `docs/schema/check-report.schema.json`.
//!
//! One result a line: a difference of two reports then shows results, and a line can be searched for.

use std::io::{self, Write};

use immutable_core::evaluate::About;
use immutable_core::policy::Enforcement;
use immutable_core::rules::RuleId;
use serde::Serialize;

use super::report::{Entry, ExceptionNote, Outcome, Place, Report, Resource, Subject};

#[derive(Serialize)]
struct JsonResult<'a> {
    result: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<RuleId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    enforcement: Option<Enforcement>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource: Option<&'a Resource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    container: Option<JsonContainer<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume: Option<&'a str>,
    path: &'a str,
    message: &'a str,
    fix: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<&'a Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exception: Option<&'a ExceptionNote>,
}

#[derive(Serialize)]
struct JsonContainer<'a> {
    name: &'a str,
    r#type: &'static str,
}

impl<'a> From<&'a Entry> for JsonResult<'a> {
    fn from(entry: &'a Entry) -> Self {
        let (container, volume) = match &entry.about {
            About::Container { name, container_type } => {
                (Some(JsonContainer { name, r#type: container_type.name() }), None)
            }
            About::Volume(name) => (None, Some(name.as_str())),
            About::Workload => (None, None),
        };
        Self {
            result: entry.outcome,
            rule: entry.rule,
            policy: entry.policy.as_deref(),
            enforcement: entry.enforcement,
            resource: entry.resource.as_deref(),
            container,
            volume,
            path: &entry.path,
            message: &entry.message,
            fix: &entry.fix,
            source: entry.place.is_in_text().then_some(&entry.place),
            exception: entry.exception.as_ref(),
        }
    }
}

pub(super) fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    let kind = match report.subject {
        Subject::Manifests => "CheckReport",
        Subject::Cluster => "ScanReport",
    };
    write!(out, "{{\n  \"apiVersion\": \"immutable.dev/v1alpha1\",\n  \"kind\": \"{kind}\",\n  \"summary\": ")?;
    serde_json::to_writer(&mut *out, &report.summary)?;
    out.write_all(b",\n  \"results\": ")?;
    write_lines(report.entries.iter().map(JsonResult::from), out)?;
    out.write_all(b"\n}\n")
}

/// A JSON list with one element a line.
pub(super) fn write_lines<T: Serialize>(items: impl Iterator<Item = T>, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(b"[")?;
    let mut separator: &[u8] = b"\n    ";
    let mut any = false;
    for item in items {
        out.write_all(separator)?;
        serde_json::to_writer(&mut *out, &item)?;
        separator = b",\n    ";
        any = true;
    }
    out.write_all(if any { b"\n  ]" } else { b"]" })
}
