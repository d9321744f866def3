//! Metrics of replaced pods, and of what is read and written for that.

use std::time::Duration;

use immutable_core::replace::{Numbers, Reason};
use immutable_core::rules::ConfigKind;
use prometheus::{HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts};

use super::catalogue::Catalogue;
use super::number;

/// Why pods are replaced; there is one reason so far.
const CONFIG_CHANGED: &str = "ConfigChanged";
/// From milliseconds, where nothing is waited for, to the length of a night, where a window is.
const BUCKETS: [f64; 17] =
    [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0, 43_200.0];

/// What became of a write that replaces pods, or that records what they were started with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteResult {
    /// The API server took it.
    Taken,
    /// It was refused, or there was no answer.
    Failed,
    /// The workload had changed meanwhile; it is decided again.
    Conflict,
}

/// What a read of a ConfigMap or Secret came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadResult {
    /// It is there.
    Present,
    /// There is none.
    Absent,
    /// It may not be read.
    Unreadable,
    /// There was no answer.
    Error,
}

impl ReadResult {
    const ALL: [Self; 4] = [Self::Present, Self::Absent, Self::Unreadable, Self::Error];

    fn name(self) -> &'static str {
        match self {
            Self::Present => "present",
            Self::Absent => "absent",
            Self::Unreadable => "unreadable",
            Self::Error => "error",
        }
    }
}

/// All of them.
pub(super) struct Rollouts {
    writes: IntCounterVec,
    seconds: HistogramVec,
    pending: IntGauge,
    rolling: IntGauge,
    failed: IntGauge,
    waiting: IntGaugeVec,
    suppressed: IntCounterVec,
    objects: IntGaugeVec,
    reads: IntCounterVec,
    records: IntCounterVec,
    dropped: IntCounter,
}

impl Rollouts {
    /// Registers all of them; every series is there from the start.
    pub(super) fn register(catalogue: &mut Catalogue) -> prometheus::Result<Self> {
        let mut counters = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntCounterVec> {
            let metric = IntCounterVec::new(Opts::new(name, help), labels)?;
            catalogue.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let writes = counters(
            "immutable_rollouts_total",
            "Writes that replace the pods of a workload, by trigger and result.",
            &["trigger", "result"],
        )?;
        for result in ["begun", "failed", "conflict"] {
            writes.with_label_values(&[CONFIG_CHANGED, result]).reset();
        }
        let suppressed = counters(
            "immutable_rollouts_suppressed_total",
            "Workloads that began to wait for more than a moment, by reason; each once for one change.",
            &["reason"],
        )?;
        let reads = counters("immutable_config_reads_total", "Reads of ConfigMaps and Secrets.", &["kind", "result"])?;
        for kind in ConfigKind::ALL {
            for result in ReadResult::ALL {
                reads.with_label_values(&[kind.name(), result.name()]).reset();
            }
        }
        let records = counters(
            "immutable_config_records_total",
            "Writes of what pods were started with, which replace nothing.",
            &["result"],
        )?;
        for result in ["written", "failed", "conflict"] {
            records.with_label_values(&[result]).reset();
        }
        let mut gauge = |name: &str, help: &str| -> prometheus::Result<IntGauge> {
            let metric = IntGauge::new(name, help)?;
            catalogue.register(Box::new(metric.clone()))?;
            Ok(metric)
        };
        let pending = gauge(
            "immutable_rollouts_pending",
            "Workloads whose pods are to be replaced and that wait for nothing but the write.",
        )?;
        let rolling = gauge("immutable_rollouts_rolling", "Workloads whose pods are being replaced by the operator.")?;
        let failed =
            gauge("immutable_rollouts_failed", "Workloads that did not become available after they were replaced.")?;
        let waiting = IntGaugeVec::new(
            Opts::new("immutable_rollouts_waiting", "Workloads whose pods are to be replaced, by what they wait for."),
            &["reason"],
        )?;
        let objects = IntGaugeVec::new(
            Opts::new("immutable_config_objects", "ConfigMaps and Secrets whose content is known, by its digest."),
            &["kind"],
        )?;
        for kind in ConfigKind::ALL {
            objects.with_label_values(&[kind.name()]).set(0);
        }
        for reason in Reason::ALL {
            waiting.with_label_values(&[reason.name()]).set(0);
            suppressed.with_label_values(&[reason.name()]).reset();
        }
        let seconds = HistogramVec::new(
            HistogramOpts::new(
                "immutable_rollout_change_to_patch_seconds",
                "From the first sight of a change to the patch that replaces the pods.",
            )
            .buckets(BUCKETS.to_vec()),
            &["trigger"],
        )?;
        // Without a first observation there would be no series.
        drop(seconds.with_label_values(&[CONFIG_CHANGED]));
        let dropped = IntCounter::new(
            "immutable_rollout_events_dropped_total",
            "Events of rollouts that were not told, because there were too many or they were refused.",
        )?;
        catalogue.register(Box::new(waiting.clone()))?;
        catalogue.register(Box::new(objects.clone()))?;
        catalogue.register(Box::new(seconds.clone()))?;
        catalogue.register(Box::new(dropped.clone()))?;
        let all =
            Self { writes, seconds, pending, rolling, failed, waiting, suppressed, objects, reads, records, dropped };
        Ok(all)
    }

    /// What a write came to.
    pub(super) fn rolled(&self, result: WriteResult) {
        let name = match result {
            WriteResult::Taken => "begun",
            WriteResult::Failed => "failed",
            WriteResult::Conflict => "conflict",
        };
        self.writes.with_label_values(&[CONFIG_CHANGED, name]).inc();
    }

    /// How long ago the change was first seen, of a write that was taken.
    pub(super) fn took(&self, since: Duration) {
        self.seconds.with_label_values(&[CONFIG_CHANGED]).observe(since.as_secs_f64());
    }

    /// What a write of a record came to.
    pub(super) fn recorded(&self, result: WriteResult) {
        let name = match result {
            WriteResult::Taken => "written",
            WriteResult::Failed => "failed",
            WriteResult::Conflict => "conflict",
        };
        self.records.with_label_values(&[name]).inc();
    }

    /// What a read came to.
    pub(super) fn read(&self, kind: ConfigKind, result: ReadResult) {
        self.reads.with_label_values(&[kind.name(), result.name()]).inc();
    }

    /// A workload began to wait for something.
    pub(super) fn suppressed(&self, reason: Reason) {
        self.suppressed.with_label_values(&[reason.name()]).inc();
    }

    /// Events were not told.
    pub(super) fn events_dropped(&self, count: usize) {
        self.dropped.inc_by(count as u64);
    }

    /// Where all workloads stand.
    pub(super) fn numbers(&self, numbers: &Numbers) {
        self.pending.set(number(numbers.pending.count));
        self.rolling.set(number(numbers.rolling.count));
        self.failed.set(number(numbers.failed.count));
        for reason in Reason::ALL {
            let count = numbers.waiting.get(&reason).map_or(0, |group| group.count);
            self.waiting.with_label_values(&[reason.name()]).set(number(count));
        }
    }

    /// How many objects of a kind are known by what they hold.
    pub(super) fn objects(&self, kind: ConfigKind, count: usize) {
        self.objects.with_label_values(&[kind.name()]).set(number(count as u64));
    }
}
