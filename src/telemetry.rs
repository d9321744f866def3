//! Logs and metrics.

mod catalogue;
mod findings;
mod posture;
mod rollouts;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use immutable_core::replace::{Numbers, Reason};
use immutable_core::rules::ConfigKind;
use immutable_core::scan::Changes;
use immutable_core::world::World;
use jiff::Timestamp;
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, TextEncoder,
};
use tracing_subscriber::EnvFilter;

use catalogue::Catalogue;
pub use catalogue::Described;
use findings::Findings;
use posture::Posture;
use rollouts::Rollouts;
pub use rollouts::{ReadResult, WriteResult};

use crate::api::PolicyStatus;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// for people
    #[default]
    Text,
    /// for machines, one object a line
    Json,
}

/// Starts logging to stderr; `RUST_LOG` says how much, absent means information.
pub fn start_logging(format: LogFormat) {
    // The client quotes whole answers that it cannot parse, and an answer may be a Secret.
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info,kube=warn"));
    let quiet = "kube_client::client=error".parse().ok();
    let filter = quiet.into_iter().fold(filter, EnvFilter::add_directive);
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => builder
            .with_ansi(std::env::var_os("NO_COLOR").is_none() && std::io::IsTerminal::is_terminal(&std::io::stderr()))
            .init(),
        LogFormat::Json => builder.json().init(),
    }
}

/// The operator's metrics. No label takes unbounded values.
#[derive(Clone)]
pub struct Metrics {
    inner: Arc<Inner>,
}

struct Inner {
    registry: Catalogue,
    leading: IntGauge,
    passes: IntCounterVec,
    pass_seconds: HistogramVec,
    api_calls: IntCounterVec,
    watch_errors: IntCounterVec,
    policies: IntGaugeVec,
    native_objects: IntGaugeVec,
    findings: Findings,
    posture: Posture,
    scan_seconds: HistogramVec,
    scanned: IntCounter,
    reports: ReportMetrics,
    rollouts: Rollouts,
    /// Held by who asks: what is shown is set then, and nobody else is to see half of it.
    asking: Mutex<()>,
}

/// What is counted of reports.
struct ReportMetrics {
    wanted: IntGauge,
    capped: IntGauge,
    writes: IntCounterVec,
}

impl ReportMetrics {
    fn new(registry: &mut Catalogue) -> prometheus::Result<Self> {
        let wanted = IntGauge::new("immutable_reports", "Reports that are wanted.")?;
        let capped = IntGauge::new(
            "immutable_reports_capped",
            "Reports that leave something out, because there was too much to say.",
        )?;
        let writes = IntCounterVec::new(
            Opts::new("immutable_report_writes_total", "Writes of reports, by verb and result."),
            &["verb", "result"],
        )?;
        for verb in ["create", "update", "delete"] {
            for result in ["success", "error"] {
                writes.with_label_values(&[verb, result]).reset();
            }
        }
        registry.register(Box::new(wanted.clone()))?;
        registry.register(Box::new(capped.clone()))?;
        registry.register(Box::new(writes.clone()))?;
        Ok(Self { wanted, capped, writes })
    }
}

/// The calls that an operator makes, by verb: they are there from the start, so that the first of each is an increase.
const CALLS: &[(&str, &[&str])] = &[
    ("get", &["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding", "ClusterRole", "Lease"]),
    ("apply", &["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]),
    ("replace", &["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]),
    ("delete", &["ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"]),
    ("patch status", &["ClusterImmutablePolicy", "ImmutablePolicy", "ImmutableException"]),
    ("discover", &["Report", "PolicyReport"]),
    ("create", &["Event", "Lease"]),
    ("update", &["Lease"]),
];

/// What the API server answers where all is well. The client does not tell it; whoever creates something by its API is
/// answered 201, and of an apply it is not known whether it did.
fn code_of_success(verb: &str) -> u16 {
    if matches!(verb, "create" | "prove") { 201 } else { 200 }
}

/// A call to the API server; counted when it ends.
pub struct ApiCall {
    calls: IntCounterVec,
    verb: &'static str,
    kind: &'static str,
    code: u16,
}

impl ApiCall {
    /// It was answered as is wished.
    pub fn succeeded(mut self) {
        self.code = code_of_success(self.verb);
    }

    /// It was answered otherwise.
    pub fn refused(mut self, code: u16) {
        self.code = code;
    }
}

impl Drop for ApiCall {
    fn drop(&mut self) {
        self.calls.with_label_values(&[self.verb, self.kind, &self.code.to_string()]).inc();
    }
}

impl Metrics {
    /// Registers all of them; counters whose labels are known start at zero.
    ///
    /// # Errors
    /// Two metrics have one name.
    pub fn new() -> prometheus::Result<Self> {
        let mut registry = Catalogue::default();
        let build =
            IntGaugeVec::new(Opts::new("immutable_build_info", "The version that runs; always 1."), &["version"])?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let leading = IntGauge::new("immutable_leader", "Whether this replica leads.")?;
        let passes = IntCounterVec::new(
            Opts::new("immutable_reconcile_total", "Passes over all policies, by result."),
            &["result"],
        )?;
        for result in ["success", "error"] {
            passes.with_label_values(&[result]).reset();
        }
        let pass_seconds = HistogramVec::new(
            HistogramOpts::new("immutable_reconcile_duration_seconds", "Duration of a pass over all policies.")
                .buckets(vec![0.001, 0.005, 0.025, 0.1, 0.5, 2.5, 10.0, 60.0]),
            &[],
        )?;
        let api_calls = IntCounterVec::new(
            Opts::new(
                "immutable_api_calls_total",
                "Calls to the API server but watches, by verb, kind and HTTP code; code 0 is no answer.",
            ),
            &["verb", "kind", "code"],
        )?;
        for (verb, kinds) in CALLS {
            let code = code_of_success(verb).to_string();
            for kind in *kinds {
                api_calls.with_label_values(&[*verb, *kind, code.as_str()]).reset();
            }
        }
        let watch_errors = IntCounterVec::new(
            Opts::new("immutable_watch_errors_total", "Lists and watches that failed and were tried again, by kind."),
            &["kind"],
        )?;
        let policies =
            IntGaugeVec::new(Opts::new("immutable_policies", "Policies by kind and state."), &["kind", "state"])?;
        for kind in ["ClusterImmutablePolicy", "ImmutablePolicy"] {
            for state in ["valid", "invalid"] {
                policies.with_label_values(&[kind, state]).set(0);
            }
        }
        let native_objects = IntGaugeVec::new(
            Opts::new(
                "immutable_native_objects",
                "ValidatingAdmissionPolicies and bindings that the policies come to.",
            ),
            &["kind"],
        )?;
        let scan_seconds = HistogramVec::new(
            HistogramOpts::new("immutable_scan_duration_seconds", "Duration of judging what has changed of what runs.")
                .buckets(vec![0.0001, 0.001, 0.01, 0.1, 0.5, 2.5, 10.0]),
            &[],
        )?;
        let scanned =
            IntCounter::new("immutable_scan_workloads_total", "Workloads that were judged, again and again.")?;
        let reports = ReportMetrics::new(&mut registry)?;
        registry.register(Box::new(scan_seconds.clone()))?;
        registry.register(Box::new(scanned.clone()))?;
        registry.register(Box::new(build))?;
        registry.register(Box::new(leading.clone()))?;
        registry.register(Box::new(passes.clone()))?;
        registry.register(Box::new(pass_seconds.clone()))?;
        registry.register(Box::new(api_calls.clone()))?;
        registry.register(Box::new(watch_errors.clone()))?;
        registry.register(Box::new(policies.clone()))?;
        registry.register(Box::new(native_objects.clone()))?;
        let findings = Findings::register(&mut registry)?;
        let posture = Posture::register(&mut registry)?;
        let rollouts = Rollouts::register(&mut registry)?;
        // Memory, processor time, open files: read from /proc when asked.
        #[cfg(target_os = "linux")]
        registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        let inner = Inner {
            registry,
            leading,
            passes,
            pass_seconds,
            api_calls,
            watch_errors,
            policies,
            native_objects,
            findings,
            posture,
            scan_seconds,
            scanned,
            reports,
            rollouts,
            asking: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Whether this replica leads.
    pub fn leading(&self, leading: bool) {
        self.inner.leading.set(i64::from(leading));
    }

    /// One pass over all policies.
    pub fn pass(&self, duration: Duration, failed: bool) {
        self.inner.passes.with_label_values(&[if failed { "error" } else { "success" }]).inc();
        let none: [&str; 0] = [];
        self.inner.pass_seconds.with_label_values(&none).observe(duration.as_secs_f64());
    }

    /// A call to the API server that begins. It has no answer unless one is told, also where nobody waits for it any more.
    pub fn api_call(&self, verb: &'static str, kind: &'static str) -> ApiCall {
        ApiCall { calls: self.inner.api_calls.clone(), verb, kind, code: 0 }
    }

    /// Counts failures of the watch of a kind; there must be few kinds.
    pub fn watch_errors(&self, kind: &str) -> IntCounter {
        self.inner.watch_errors.with_label_values(&[kind])
    }

    /// How many policies there are of a kind, by whether they are valid.
    pub fn policies(&self, kind: &str, valid: bool, count: usize) {
        let state = if valid { "valid" } else { "invalid" };
        self.inner.policies.with_label_values(&[kind, state]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// How many native objects of a kind the policies come to.
    pub fn native_objects(&self, kind: &str, count: usize) {
        self.inner.native_objects.with_label_values(&[kind]).set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Some workloads were judged again; what counts otherwise now, and when all of it was last judged.
    pub fn scanned(
        &self,
        duration: Duration,
        judged: usize,
        changes: Changes,
        world: &World,
        everything: Option<Instant>,
    ) {
        let none: [&str; 0] = [];
        self.inner.scan_seconds.with_label_values(&none).observe(duration.as_secs_f64());
        self.inner.scanned.inc_by(u64::try_from(judged).unwrap_or(u64::MAX));
        self.inner.findings.changed(changes);
        self.inner.posture.scanned(world, everything);
    }

    /// How many reports are wanted, and how many of them leave something out.
    pub fn reports(&self, wanted: usize, capped: usize) {
        self.inner.reports.wanted.set(i64::try_from(wanted).unwrap_or(i64::MAX));
        self.inner.reports.capped.set(i64::try_from(capped).unwrap_or(i64::MAX));
    }

    /// One write of a report.
    pub fn report_write(&self, verb: &str, succeeded: bool) {
        let result = if succeeded { "success" } else { "error" };
        self.inner.reports.writes.with_label_values(&[verb, result]).inc();
    }

    /// What a write that replaces pods came to.
    pub fn rollout(&self, result: WriteResult) {
        self.inner.rollouts.rolled(result);
    }

    /// How long after the first sight of a change the API server took what replaces pods.
    pub fn rollout_seconds(&self, since: Duration) {
        self.inner.rollouts.took(since);
    }

    /// What a write of what pods were started with came to.
    pub fn config_record(&self, result: WriteResult) {
        self.inner.rollouts.recorded(result);
    }

    /// What a read of a ConfigMap or Secret came to.
    pub fn config_read(&self, kind: ConfigKind, result: ReadResult) {
        self.inner.rollouts.read(kind, result);
    }

    /// How many objects of a kind are known by what they hold.
    pub fn config_objects(&self, kind: ConfigKind, count: usize) {
        self.inner.rollouts.objects(kind, count);
    }

    /// A workload began to wait for more than a moment.
    pub fn rollout_suppressed(&self, reason: Reason) {
        self.inner.rollouts.suppressed(reason);
    }

    /// Events of rollouts were not told.
    pub fn rollout_events_dropped(&self, count: usize) {
        self.inner.rollouts.events_dropped(count);
    }

    /// Where all workloads stand whose pods are replaced when what they read changes.
    pub fn rollouts(&self, numbers: &Numbers) {
        self.inner.rollouts.numbers(numbers);
    }

    /// How many exceptions there are of each state, and when the next ends.
    pub fn exceptions(&self, states: &BTreeMap<&str, usize>, next: Option<Timestamp>) {
        self.inner.posture.exceptions(states, next);
    }

    /// What the statuses of all policies say.
    pub fn conditions<'a>(&self, statuses: impl Iterator<Item = &'a PolicyStatus>) {
        self.inner.posture.conditions(statuses);
    }

    /// What metrics there are, also those that have no series yet.
    pub fn described(&self) -> &[Described] {
        self.inner.registry.described()
    }

    /// All of them in Prometheus' text format.
    pub fn text(&self) -> String {
        let _alone = self.inner.asking.lock();
        self.inner.findings.show();
        self.inner.posture.at(Timestamp::now());
        let mut buffer = Vec::new();
        match TextEncoder::new().encode(&self.inner.registry.gather(), &mut buffer) {
            Ok(()) => String::from_utf8_lossy(&buffer).into_owned(),
            Err(error) => format!("# {error}\n"),
        }
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
