//! Metrics that dashboards and alerts are written for, and that have no series before somebody sets them. A line goes
//! from here when its metric is counted where it happens.

use prometheus::{GaugeVec, IntGaugeVec, Opts};

use super::catalogue::Catalogue;

/// Whole numbers that go up and down.
const GAUGES: &[(&str, &str, &[&str])] = &[
    (
        "immutable_policy_conditions",
        "Policies that have a condition, by its status and reason.",
        &["condition", "status", "reason"],
    ),
    ("immutable_excused", "Findings that exceptions excuse, by policy and rule.", &["policy", "rule"]),
    ("immutable_unwatched_kinds", "Kinds that cannot be watched.", &[]),
    ("immutable_exceptions", "Exceptions by state.", &["state"]),
];

/// Fractions and times.
const FRACTIONS: &[(&str, &str, &[&str])] = &[
    ("immutable_compliance_ratio", "Share of a policy's workloads that break none of its rules.", &["policy"]),
    ("immutable_scan_age_seconds", "Time since everything was last judged.", &[]),
    ("immutable_exception_next_expiry_seconds", "Time until the next exception expires; absent where none will.", &[]),
];

/// Registers all of them.
///
/// # Errors
/// Two metrics have one name.
pub(super) fn register(catalogue: &mut Catalogue) -> prometheus::Result<()> {
    for (name, help, labels) in GAUGES {
        catalogue.register(Box::new(IntGaugeVec::new(Opts::new(*name, *help), labels)?))?;
    }
    for (name, help, labels) in FRACTIONS {
        catalogue.register(Box::new(GaugeVec::new(Opts::new(*name, *help), labels)?))?;
    }
    Ok(())
}
