//! What would be replaced now, as text or JSON (`docs/schema/plan-report.schema.json`).

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use super::group::Named;
use super::json::write_lines;
use super::report::Resource;
use super::shown::{Shown, count};
use super::why::Waits;

/// A workload whose pods would be replaced now.
#[derive(Clone, Debug, Serialize)]
pub struct Replaced {
    /// Which one.
    #[serde(flatten)]
    pub resource: Resource,
    /// Why.
    pub cause: String,
    /// For how long the operator waits for more edits first.
    pub settle: String,
}

/// A workload whose pods are to be replaced, and wait.
#[derive(Clone, Debug, Serialize)]
pub struct HeldBack {
    /// Which one.
    #[serde(flatten)]
    pub resource: Resource,
    /// Why they are to be replaced.
    pub cause: String,
    /// What they wait for.
    #[serde(flatten)]
    pub waits: Waits,
}

/// A workload of which something else is to be told.
#[derive(Clone, Debug, Serialize)]
pub struct Told {
    /// Which one.
    #[serde(flatten)]
    pub resource: Resource,
    /// What.
    pub message: String,
}

/// What would be replaced now.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// In the order in which they begin.
    pub replace: Vec<Replaced>,
    /// By namespace, kind and name.
    pub held_back: Vec<HeldBack>,
    /// Those whose replacement is under way.
    pub under_way: Vec<Told>,
    /// Those whose replacement failed, or does not go on by itself.
    pub failed: Vec<Told>,
    /// Those of which it cannot be said.
    pub unknown: Vec<Told>,
    /// How many read what is current.
    pub up_to_date: u64,
    /// How many are not served, by the reason.
    pub not_served: BTreeMap<String, u64>,
    /// What cannot be known, in words.
    pub errors: Vec<String>,
}

impl Plan {
    /// Writes it for people.
    ///
    /// # Errors
    /// Only those of `out`.
    pub fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        let told = |all: &[Told]| all.iter().map(|one| (named(&one.resource), one.message.clone())).collect();
        let replaced = |(index, one): (usize, &Replaced)| {
            let when = if one.settle == "0s" { "now".to_owned() } else { format!("now, after settle {}", one.settle) };
            (format!("{}. {}", index + 1, named(&one.resource)), format!("{when}: {}", one.cause))
        };
        let held = |one: &HeldBack| {
            let text = format!("{}: {} (for {})", one.waits.reason, one.waits.message, one.cause);
            (named(&one.resource), text)
        };
        let sections: [(&str, Vec<(String, String)>); 5] = [
            ("To be replaced, in this order", self.replace.iter().enumerate().map(replaced).collect()),
            ("Held back", self.held_back.iter().map(held).collect()),
            ("Being replaced", told(&self.under_way)),
            ("Failed or stuck", told(&self.failed)),
            ("Not known", told(&self.unknown)),
        ];
        for (title, lines) in sections.iter().filter(|(_, lines)| !lines.is_empty()) {
            writeln!(out, "{title}")?;
            let width = lines.iter().map(|(name, _)| name.chars().count()).max().unwrap_or_default();
            for (name, text) in lines {
                writeln!(out, "  {name:width$}  {}", Shown(text))?;
            }
            writeln!(out)?;
        }
        if !self.not_served.is_empty() {
            writeln!(out, "Not served")?;
            for (reason, number) in &self.not_served {
                writeln!(out, "  {:>12}  {}", count(*number, "workload"), Shown(reason))?;
            }
            writeln!(out)?;
        }
        let mut counts = vec![format!("{} to be replaced", count(self.replace.len() as u64, "workload"))];
        let others = [
            (self.held_back.len() as u64, "held back"),
            (self.under_way.len() as u64, "being replaced"),
            (self.failed.len() as u64, "failed or stuck"),
            (self.unknown.len() as u64, "not known"),
            (self.up_to_date, "up to date"),
            (self.not_served(), "not served"),
        ];
        counts.extend(others.iter().filter(|(number, _)| *number > 0).map(|(number, what)| format!("{number} {what}")));
        writeln!(out, "{}", counts.join(", "))
    }

    fn not_served(&self) -> u64 {
        self.not_served.values().sum()
    }

    /// Writes it for programs.
    ///
    /// # Errors
    /// Only those of `out`.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Summary {
            replace: usize,
            held_back: usize,
            under_way: usize,
            failed: usize,
            unknown: usize,
            up_to_date: u64,
            not_served: u64,
        }
        #[derive(Serialize)]
        struct OfReason<'a> {
            reason: &'a str,
            workloads: u64,
        }
        let summary = Summary {
            replace: self.replace.len(),
            held_back: self.held_back.len(),
            under_way: self.under_way.len(),
            failed: self.failed.len(),
            unknown: self.unknown.len(),
            up_to_date: self.up_to_date,
            not_served: self.not_served(),
        };
        let version = crate::api::API_VERSION;
        write!(out, "{{\n  \"apiVersion\": \"{version}\",\n  \"kind\": \"PlanReport\",\n  \"summary\": ")?;
        serde_json::to_writer(&mut *out, &summary)?;
        write!(out, ",\n  \"replace\": ")?;
        write_lines(self.replace.iter(), out)?;
        write!(out, ",\n  \"heldBack\": ")?;
        write_lines(self.held_back.iter(), out)?;
        for (name, told) in [("underWay", &self.under_way), ("failed", &self.failed), ("unknown", &self.unknown)] {
            write!(out, ",\n  \"{name}\": ")?;
            write_lines(told.iter(), out)?;
        }
        write!(out, ",\n  \"notServed\": ")?;
        write_lines(self.not_served.iter().map(|(reason, workloads)| OfReason { reason, workloads: *workloads }), out)?;
        write!(out, ",\n  \"errors\": ")?;
        write_lines(self.errors.iter(), out)?;
        out.write_all(b"\n}\n")
    }
}

fn named(resource: &Resource) -> String {
    Named(resource).to_string()
}
