//! Measures what `docs/performance.md` promises, on this machine, and prints it as a table.
//!
//! Everything that is compared is measured in one run, interleaved: on a shared machine only ratios and
//! differences mean something. `make bench` runs it.

#[path = "../../tests/support/mod.rs"]
mod support;

mod admission;
mod check;
mod evaluation;
mod exceptions;
mod idle;
mod lifecycle;
mod replace;
mod scan;
mod statistics;

use anyhow::Result;

/// One line of the table.
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) promised: String,
    pub(crate) seen: String,
    pub(crate) holds: bool,
}

impl Row {
    /// A figure that must be at most a limit.
    pub(crate) fn at_most(what: &str, seen: f64, limit: f64, unit: &str, detail: &str) -> Self {
        Self {
            what: what.to_owned(),
            promised: format!("at most {limit} {unit}"),
            seen: format!("{seen:.2} {unit}{detail}"),
            holds: seen <= limit,
        }
    }
}

fn main() -> Result<()> {
    // `cargo bench` passes --bench, and `cargo test` none: then there is nothing to measure.
    if !std::env::args().any(|argument| argument == "--bench") {
        return Ok(());
    }
    // `cargo bench --bench measure -- evaluation` measures that alone.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    // A section's parts have names such as `replace/latency`.
    let is_wanted = |section: &str| {
        wanted.is_empty() || wanted.iter().any(|name| name == section || section.starts_with(&format!("{name}/")))
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut rows = Vec::new();
    if is_wanted("evaluation") {
        rows.extend(evaluation::measure()?);
    }
    if is_wanted("check") {
        rows.extend(check::measure()?);
    }
    if is_wanted("idle") {
        rows.extend(runtime.block_on(idle::measure())?);
    }
    if is_wanted("lifecycle") {
        rows.extend(runtime.block_on(lifecycle::measure())?);
    }
    if is_wanted("exceptions") {
        rows.extend(runtime.block_on(exceptions::measure())?);
    }
    if is_wanted("scan") {
        rows.extend(runtime.block_on(scan::measure())?);
    }
    if is_wanted("admission") {
        rows.extend(runtime.block_on(admission::measure())?);
    }
    if is_wanted("replace/latency") {
        rows.extend(runtime.block_on(replace::latency())?);
    }
    if is_wanted("replace/many") {
        rows.extend(runtime.block_on(replace::many())?);
    }
    if is_wanted("replace/memory") {
        rows.extend(runtime.block_on(replace::memory())?);
    }
    println!("\n| what | promised | seen | holds |\n|---|---|---|---|");
    for row in &rows {
        println!("| {} | {} | {} | {} |", row.what, row.promised, row.seen, if row.holds { "yes" } else { "**no**" });
    }
    anyhow::ensure!(rows.iter().all(|row| row.holds), "not everything that is promised was seen");
    Ok(())
}
