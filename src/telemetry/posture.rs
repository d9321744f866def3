//! Metrics of exceptions, of the state of policies, and of how old what is known is.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use immutable_core::world::World;
use jiff::Timestamp;
use prometheus::{GaugeVec, IntGauge, IntGaugeVec, Opts};

use super::catalogue::Catalogue;
use super::number;
use crate::api::PolicyStatus;

/// The states of exceptions, each of which has a series from the start: the reasons of their condition Active.
const STATES: [&str; 10] = [
    "InEffect",
    "NeverMatched",
    "Progressing",
    "Expired",
    "PolicyNotFound",
    "TooLong",
    "TooMany",
    "RuleNotExcusable",
    "SelectorNotAllowed",
    "Invalid",
];

pub(super) struct Posture {
    conditions: IntGaugeVec,
    unwatched: IntGauge,
    exceptions: IntGaugeVec,
    next_expiry: GaugeVec,
    scan_age: GaugeVec,
    /// Times of which the age is told when somebody asks.
    moments: Mutex<Moments>,
}

#[derive(Default)]
struct Moments {
    scanned: Option<Instant>,
    next_expiry: Option<Timestamp>,
}

impl Posture {
    /// Registers all of them.
    pub(super) fn register(catalogue: &mut Catalogue) -> prometheus::Result<Self> {
        let mut numbers = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntGaugeVec> {
            let metric = IntGaugeVec::new(Opts::new(name, help), labels)?;
            catalogue.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let conditions = numbers(
            "immutable_policy_conditions",
            "Policies that have a condition, by its status and reason.",
            &["condition", "status", "reason"],
        )?;
        let exceptions = numbers("immutable_exceptions", "Exceptions by state.", &["state"])?;
        for state in STATES {
            exceptions.with_label_values(&[state]).set(0);
        }
        let unwatched = IntGauge::new("immutable_unwatched_kinds", "Kinds that cannot be watched.")?;
        catalogue.register(Box::new(unwatched.clone()))?;
        let mut fractions = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<GaugeVec> {
            let metric = GaugeVec::new(Opts::new(name, help), labels)?;
            catalogue.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let scan_age = fractions("immutable_scan_age_seconds", "Time since everything was last judged.", &[])?;
        let next_expiry = fractions(
            "immutable_exception_next_expiry_seconds",
            "Time until the next exception expires; absent where none will.",
            &[],
        )?;
        Ok(Self { conditions, unwatched, exceptions, next_expiry, scan_age, moments: Mutex::default() })
    }

    /// What cannot be watched, and when everything was last judged.
    pub(super) fn scanned(&self, world: &World, everything: Option<Instant>) {
        self.unwatched.set(number((world.unwatched().count() + world.unknown_configs().len()) as u64));
        if let Ok(mut moments) = self.moments.lock() {
            moments.scanned = everything.or(moments.scanned);
        }
    }

    /// How many exceptions there are of each state, and when the next ends.
    pub(super) fn exceptions(&self, states: &BTreeMap<&str, usize>, next: Option<Timestamp>) {
        for state in STATES {
            let count = states.get(state).copied().unwrap_or_default();
            self.exceptions.with_label_values(&[state]).set(number(count as u64));
        }
        if let Ok(mut moments) = self.moments.lock() {
            moments.next_expiry = next;
        }
    }

    /// What the statuses of all policies say.
    pub(super) fn conditions<'a>(&self, statuses: impl Iterator<Item = &'a PolicyStatus>) {
        self.conditions.reset();
        for condition in statuses.flat_map(|status| &status.conditions) {
            let labels = [condition.type_.as_str(), condition.status.as_str(), condition.reason.as_str()];
            self.conditions.with_label_values(&labels).inc();
        }
    }

    /// Sets what depends on the time at which somebody asks.
    pub(super) fn at(&self, now: Timestamp) {
        let Ok(moments) = self.moments.lock() else { return };
        let none: [&str; 0] = [];
        self.scan_age.reset();
        if let Some(scanned) = moments.scanned {
            self.scan_age.with_label_values(&none).set(scanned.elapsed().as_secs_f64());
        }
        self.next_expiry.reset();
        if let Some(next) = moments.next_expiry {
            let left = Duration::try_from(next.duration_since(now)).unwrap_or_default();
            self.next_expiry.with_label_values(&none).set(left.as_secs_f64());
        }
    }
}
