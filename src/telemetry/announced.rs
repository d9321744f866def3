//! Metrics that dashboards and alerts are written for, and that have no series before somebody sets them. A line goes
//! from here when its metric is counted where it happens.

use prometheus::{IntCounterVec, IntGaugeVec, Opts};

use super::catalogue::Catalogue;

/// Whole numbers that go up and down.
const GAUGES: &[(&str, &str, &[&str])] = &[
    ("immutable_reports", "Reports that are wanted.", &[]),
    ("immutable_reports_capped", "Reports that leave something out, because there was too much to say.", &[]),
];

/// What only grows.
const COUNTERS: &[(&str, &str, &[&str])] =
    &[("immutable_report_writes_total", "Writes of reports, by verb and result.", &["verb", "result"])];

/// Registers all of them.
///
/// # Errors
/// Two metrics have one name.
pub(super) fn register(catalogue: &mut Catalogue) -> prometheus::Result<()> {
    for (name, help, labels) in GAUGES {
        catalogue.register(Box::new(IntGaugeVec::new(Opts::new(*name, *help), labels)?))?;
    }
    for (name, help, labels) in COUNTERS {
        catalogue.register(Box::new(IntCounterVec::new(Opts::new(*name, *help), labels)?))?;
    }
    Ok(())
}
