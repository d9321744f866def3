//! One pass: compile, plan, write, prove, report. It decides nothing that the core decides.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use immutable_core::native::{
    Compilation, Compiled, Installation, Intent, NativeKind, NativeObject, Observed, ObservedSpec, Probe, link, plan,
};
use immutable_core::policy::{Policy, PolicyId};
use immutable_core::replace::Summary;
use immutable_core::rules::ConfigKind;
use immutable_core::scan::Scan;
use immutable_core::workload::WorkloadKind;
use jiff::Timestamp;
use tokio::time::Instant;

use super::cluster::{Cluster, KnownPolicy};
use super::conditions::{Progress, Seen, status};
use super::proof::{ProofState, Proofs, judge, target};
use super::replace_status::Standings;
use super::reports::Reports;
use super::write::{WriteError, Writer};
use crate::telemetry::Metrics;

/// How long the API server's type check is waited for.
const TYPE_CHECK_DEADLINE: Duration = Duration::from_secs(10);
/// How long being let in counts as too early to say.
const TOO_EARLY: Duration = Duration::from_secs(5);
/// How long a pass is put off after one that failed.
const RETRY: Duration = Duration::from_secs(2);
/// How long at most, when it fails again and again.
const LAST_RETRY: Duration = Duration::from_secs(30);
/// How many objects are judged before others have their turn: with a hundred policies, some ten milliseconds.
const SCAN_SLICE: usize = 100;
/// How often everything is judged from the start.
const FULL_SCAN: Duration = Duration::from_secs(600);
/// How often the summary of a policy is written at most.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(10);
/// How many writes are under way at once.
const WRITES_AT_ONCE: usize = 4;
/// How many statuses of exceptions one pass writes: a tenant may have a thousand.
const STATUSES_PER_PASS: usize = 100;
/// How often at most it is looked whether they have changed.
const EXCEPTIONS_INTERVAL: Duration = Duration::from_millis(500);
/// How long after a delete the API server may still go by what is gone: it looks at its policies every second.
const LEARNED: Duration = Duration::from_secs(2);
/// How many proofs one pass makes, so that a thousand policies do not make a burst.
const PROOFS_PER_PASS: usize = 20;

/// What lives from one pass to the next.
pub(super) struct Reconciler {
    writer: Writer,
    metrics: Metrics,
    installation: Installation,
    proofs: Proofs,
    /// When each compilation of a policy was first seen complete in the cluster.
    written: BTreeMap<PolicyId, (Compiled, Instant)>,
    /// The policies for whose sake something that is no longer wanted stays.
    waiting: BTreeSet<PolicyId>,
    /// What the last write of an object said, where it failed.
    failures: BTreeMap<Key, Failure>,
    /// How many passes have failed in a row.
    failed_passes: u32,
    /// What runs, judged.
    scan: Scan,
    /// When everything was judged from the start, if it was.
    scanned: Option<Instant>,
    /// When the summary of each policy was last written.
    summarised: BTreeMap<PolicyId, Instant>,
    /// Where workloads stand whose pods are replaced; none while that is not known.
    pub standing: Option<Arc<Summary>>,
    standings: Standings,
    /// What is told of workloads.
    pub reports: Reports,
    /// When it was last looked whether statuses of exceptions have changed.
    exceptions_reported: Option<Instant>,
    /// The policies that are in force as they were last compiled, and nothing else of them.
    in_force: BTreeSet<PolicyId>,
    /// When each policy was last not settled, with its exceptions.
    unsettled: BTreeMap<PolicyId, Instant>,
}

type Key = (NativeKind, String);

/// Why an object was not written.
struct Failure {
    message: String,
    /// It was decided on what has changed since, so the next pass decides again.
    passes: bool,
}

impl Failure {
    fn of(error: &WriteError) -> Self {
        Self { message: error.to_string(), passes: error.is_conflict() }
    }
}

impl Reconciler {
    /// A reconciler that writes through `writer`.
    pub(super) fn new(writer: Writer, metrics: Metrics, installation: Installation, reports: Reports) -> Self {
        Self {
            writer,
            metrics,
            installation,
            proofs: Proofs::default(),
            written: BTreeMap::new(),
            waiting: BTreeSet::new(),
            failures: BTreeMap::new(),
            failed_passes: 0,
            scan: Scan::default(),
            scanned: None,
            summarised: BTreeMap::new(),
            standing: None,
            standings: Standings::default(),
            reports,
            exceptions_reported: None,
            in_force: BTreeSet::new(),
            unsettled: BTreeMap::new(),
        }
    }

    /// Forgets what was seen in an earlier term: others have led since, and may have taken away what it proved.
    pub(super) fn new_term(&mut self) {
        self.proofs = Proofs::default();
        self.written.clear();
        self.waiting.clear();
        self.failures.clear();
        self.failed_passes = 0;
        self.scan = Scan::default();
        self.scanned = None;
        self.reports.new_term();
    }

    /// Begins to write what is to be told of workloads; returns when to look again if nothing happens.
    pub(super) fn tell(&mut self, cluster: &Cluster) -> Duration {
        self.reports.step(cluster, &self.scan)
    }

    /// One pass; returns when the next is due if nothing happens. What runs is judged only when all of it is known.
    pub(super) async fn pass(&mut self, cluster: &mut Cluster, is_scannable: bool) -> Duration {
        let started = Instant::now();
        let now = Timestamp::now();
        cluster.look_at_exceptions(&self.in_force, now);
        let valid = cluster.policies.values().filter_map(|known| known.policy.as_ref().ok());
        let excused = &cluster.exceptions.excused;
        let translated = valid.map(|valid| {
            (&*valid.policy, excused.get(&valid.policy.id).map_or(&valid.translation, |excused| &excused.translation))
        });
        let mut compilation = link(translated, &self.installation, now);
        // What cannot be read any more keeps what enforced it before.
        for (id, known) in &cluster.policies {
            if let Err(problems) = &known.policy {
                let compiled = Compiled { error: Some(problems.join("; ")), ..Compiled::default() };
                compilation.policies.insert(id.clone(), compiled);
            }
        }
        let settled = self.settled(&compilation);
        self.write(cluster, &compilation, &settled).await;
        self.prove(cluster, &compilation).await;
        // What was proven just now may set free what it replaces.
        let settled_now = self.settled(&compilation);
        if settled_now != settled {
            self.write(cluster, &compilation, &settled_now).await;
        }
        if is_scannable {
            self.scan(cluster).await;
        }
        self.note_what_is_in_force(cluster, &compilation);
        let mut failed = self.report(cluster, &compilation, now).await || !self.failures.is_empty();
        if self.exceptions_reported.is_none_or(|last| last.elapsed() >= EXCEPTIONS_INTERVAL) {
            failed |= self.report_exceptions(cluster, now).await;
            self.exceptions_reported = Some(Instant::now());
        }
        self.failed_passes = if failed { self.failed_passes.saturating_add(1) } else { 0 };
        self.metrics.pass(started.elapsed(), failed);
        self.count(cluster, &compilation);
        self.next(cluster, &compilation, started, now)
    }

    /// The policies that may give up what enforced them before.
    fn settled(&self, compilation: &Compilation) -> BTreeSet<PolicyId> {
        let policies = compilation.policies.iter();
        let is_settled = |id: &PolicyId, compiled: &Compiled| {
            compiled.error.is_none()
                && !keys(compiled).iter().any(|key| self.failures.contains_key(key))
                && (compiled.probe.is_none() || self.proofs.is_settled(id, compiled))
        };
        policies.filter(|(id, compiled)| is_settled(id, compiled)).map(|(id, _)| id.clone()).collect()
    }

    /// Judges again what has changed, and at an interval everything: a mistake must not live for ever.
    async fn scan(&mut self, cluster: &mut Cluster) {
        let started = Instant::now();
        if self.scanned.is_none_or(|scanned| started.duration_since(scanned) >= FULL_SCAN) {
            cluster.touch_all();
            self.scanned = Some(started);
        }
        let touched = cluster.take_touched();
        if touched.is_empty() {
            return;
        }
        let due = self.scan.due(&cluster.world, &touched);
        for slice in due.chunks(SCAN_SLICE) {
            self.scan.judge(&cluster.world, &cluster.exceptions.in_effect, slice);
            // The lease is renewed, and questions are answered, by the same thread.
            tokio::task::yield_now().await;
        }
        let everything = self.scanned.map(Instant::into_std);
        let changes = self.scan.take_changes();
        self.metrics.scanned(started.elapsed(), due.len(), changes, &cluster.world, everything);
        self.reports.touched(&touched, &self.scan);
    }

    fn count(&self, cluster: &Cluster, compilation: &Compilation) {
        for kind in ["ClusterImmutablePolicy", "ImmutablePolicy"] {
            for valid in [true, false] {
                let of_kind = cluster.policies.iter().filter(|(id, _)| id.kind() == kind);
                self.metrics.policies(kind, valid, of_kind.filter(|(_, known)| known.policy.is_ok() == valid).count());
            }
        }
        self.metrics.conditions(cluster.policies.values().map(|known| &known.status));
        self.metrics.exceptions(&cluster.exceptions.states(), cluster.exceptions.in_effect.next_end());
        self.metrics.native_objects(NativeKind::Policy.name(), compilation.admission_policies.len());
        self.metrics.native_objects(NativeKind::Binding.name(), compilation.bindings.len());
    }

    /// Carries out the plan, stage by stage.
    async fn write(&mut self, cluster: &mut Cluster, compilation: &Compilation, settled: &BTreeSet<PolicyId>) {
        let plan = plan(compilation, &cluster.native, settled, cluster.owner.as_ref());
        self.failures.clear();
        self.waiting = plan.waiting;
        for key in plan.conflicts {
            let error = WriteError::NotOurs { kind: key.0.name(), name: key.1.clone() };
            self.failures.insert(key, Failure::of(&error));
        }
        for stage in plan.stages {
            let mut intents = Vec::new();
            for intent in stage {
                let key = key_of(&intent);
                // Seen in force, it would say that those are too that could not be written: it waits for them.
                let proves = matches!(&intent, Intent::Apply(object) if object.proves());
                if !(proves && self.covers_failures(&key, compilation)) {
                    intents.push((key, intent));
                }
            }
            let (writer, native) = (&self.writer, &cluster.native);
            let calls = intents.into_iter().map(|(key, intent)| async move {
                let result = writer.carry_out(&intent, native.get(&key)).await;
                (key, intent, result)
            });
            let results: Vec<_> = futures::stream::iter(calls).buffer_unordered(WRITES_AT_ONCE).collect().await;
            for (key, intent, result) in results {
                match result {
                    Ok(Some(object)) => {
                        tracing::info!(kind = key.0.name(), name = %key.1, "applied");
                        self.look_again(cluster, compilation, &key, &intent);
                        cluster.written(key.0, &object);
                    }
                    Ok(None) => {
                        tracing::info!(kind = key.0.name(), name = %key.1, "deleted");
                        cluster.deleted(key.0, &key.1);
                    }
                    Err(error) => {
                        if !error.is_conflict() && !matches!(error, WriteError::NotLeader) {
                            tracing::warn!(kind = key.0.name(), name = %key.1, %error, "not written");
                        }
                        self.failures.insert(key, Failure::of(&error));
                    }
                }
            }
        }
    }

    /// Whether a write has failed of what this object proves.
    fn covers_failures(&self, key: &Key, compilation: &Compilation) -> bool {
        let proven = compilation.policies.values().map(keys).filter(|keys| keys.contains(key));
        proven.flatten().any(|other| self.failures.contains_key(&other))
    }

    /// Makes the proofs due of policies whose enforcement was not as it had been proven.
    fn look_again(&mut self, cluster: &Cluster, compilation: &Compilation, key: &Key, intent: &Intent) {
        let Intent::Apply(object) = intent else { return };
        if cluster.native.get(key).is_some_and(|known| !was_changed(known, object)) {
            return;
        }
        for (id, compiled) in &compilation.policies {
            if self.written.get(id).is_some_and(|(of, _)| of == compiled) && keys(compiled).contains(key) {
                self.written.remove(id);
                self.proofs.hasten(id, Instant::now());
            }
        }
    }

    /// Makes the proofs that are due.
    async fn prove(&mut self, cluster: &Cluster, compilation: &Compilation) {
        self.proofs.retain(|id| compilation.policies.contains_key(id));
        self.written.retain(|id, _| compilation.policies.contains_key(id));
        let mut due = Vec::new();
        for (id, compiled) in &compilation.policies {
            let failed = keys(compiled).iter().any(|key| self.failures.contains_key(key));
            if failed || !is_written(cluster, compiled) {
                self.proofs.forget(id);
                self.written.remove(id);
                continue;
            }
            let now = Instant::now();
            let since = match self.written.get(id) {
                Some((of, since)) if of == compiled => *since,
                _ => {
                    self.written.insert(id.clone(), (compiled.clone(), now));
                    now
                }
            };
            let Some(policy) = cluster.policies.get(id).and_then(KnownPolicy::valid) else { continue };
            let target = target(policy, compiled, cluster.world.namespaces(), &self.installation.namespace);
            // A namespace may have come for a policy that had none.
            let has_come = target.is_ok() && matches!(self.proofs.state(id, compiled), ProofState::NothingToProve(_));
            if !(has_come || self.proofs.is_due(id, compiled, now)) {
                continue;
            }
            match target {
                Ok((probe, namespace)) => due.push((self.proofs.due_since(id), id, compiled, probe, namespace, since)),
                Err(why) => self.proofs.record(id, compiled, ProofState::NothingToProve(why), now),
            }
        }
        // Those that have waited longest first, so that failing ones never keep others out.
        due.sort_by_key(|(due_since, ..)| *due_since);
        // One denial is that of all policies with the same proof in the same namespace. In another it would say nothing:
        // the API server may not have learned yet that the binding they share has come to bind that one too.
        let mut shared: Vec<(&Probe, String, Vec<_>)> = Vec::new();
        for (_, id, compiled, probe, namespace, since) in due {
            match shared.iter_mut().find(|(other, place, _)| *other == probe && *place == namespace) {
                Some((.., policies)) => policies.push((id, compiled, since)),
                None => shared.push((probe, namespace, vec![(id, compiled, since)])),
            }
        }
        let writer = &self.writer;
        let proofs = shared.into_iter().take(PROOFS_PER_PASS).map(|(probe, namespace, policies)| async move {
            (writer.prove(probe, &namespace).await, namespace, policies)
        });
        let results: Vec<_> = futures::stream::iter(proofs).buffer_unordered(WRITES_AT_ONCE).collect().await;
        for (proof, namespace, policies) in results {
            for (id, compiled, since) in policies {
                let state = judge(proof.clone(), namespace.clone(), since.elapsed() < TOO_EARLY);
                self.proofs.record(id, compiled, state, Instant::now());
            }
        }
    }

    /// Writes the statuses that have changed; returns whether a write failed.
    async fn report(&mut self, cluster: &mut Cluster, compilation: &Compilation, now: Timestamp) -> bool {
        let mut changed = Vec::new();
        self.summarised.retain(|id, _| cluster.policies.contains_key(id));
        self.standings.begin(|id| cluster.policies.contains_key(id));
        let troubles = self.reports.troubles(&self.scan);
        for (id, known) in &cluster.policies {
            // The custom kinds of other policies are no matter of this one.
            let declared = known.valid().map(Policy::custom_workloads).unwrap_or_default();
            let concerns = |kind: &WorkloadKind| match kind {
                WorkloadKind::BuiltIn(_) => true,
                WorkloadKind::Custom { api_version, kind } => {
                    declared.iter().any(|custom| custom.api_version == *api_version && custom.kind == *kind)
                }
            };
            let unwatched: Vec<(&WorkloadKind, &str)> =
                cluster.world.unwatched().filter(|(kind, _)| concerns(kind)).collect();
            let asks_for = |kind: &ConfigKind| known.valid().is_some_and(|policy| policy.asks_for(*kind));
            let unknown = cluster.world.unknown_configs().iter().filter(|(kind, _)| asks_for(kind));
            let unknown: Vec<(ConfigKind, &str)> = unknown.map(|(kind, why)| (*kind, why.as_str())).collect();
            let compiled = compilation.policies.get(id);
            let seen = Seen {
                compiled,
                progress: compiled.map_or(Progress::Done, |compiled| self.progress(cluster, id, compiled)),
                proof: compiled.map_or(&ProofState::Pending, |compiled| self.proofs.state(id, compiled)),
                scan: self.scanned.and_then(|_| self.scan.summary(id)),
                unwatched: &unwatched,
                reports: troubles.of(id),
                replace: self.standing.as_deref(),
                unknown_configs: &unknown,
            };
            let mut status = status(known, &seen, now);
            let is_due = self.summarised.get(id).is_none_or(|last| last.elapsed() >= SUMMARY_INTERVAL);
            if !is_due && known.status.summary.is_some() {
                status.summary.clone_from(&known.status.summary);
            }
            if status.summary != known.status.summary {
                self.summarised.insert(id.clone(), Instant::now());
            }
            self.standings.hold_back(id, &known.status, &mut status, Instant::now());
            if status != known.status {
                changed.push((id.clone(), known.version.uid.clone(), status));
            }
        }
        let writer = &self.writer;
        let calls = changed.into_iter().map(|(id, uid, status)| async move {
            let result = writer.report(&id, &uid, &status).await;
            (id, status, result)
        });
        let results: Vec<_> = futures::stream::iter(calls).buffer_unordered(WRITES_AT_ONCE).collect().await;
        let mut failed = false;
        for (id, status, result) in results {
            match result {
                Ok(()) => {
                    if let Some(known) = cluster.policies.get_mut(&id) {
                        known.status = status;
                    }
                }
                Err(error) => {
                    if !error.is_conflict() && !matches!(error, WriteError::NotLeader) {
                        tracing::warn!(policy = %id, %error, "the status was not written");
                    }
                    failed = true;
                }
            }
        }
        failed
    }

    fn note_what_is_in_force(&mut self, cluster: &Cluster, compilation: &Compilation) {
        let mut in_force = self.settled(compilation);
        in_force.retain(|id| {
            let compiled = compilation.policies.get(id);
            compiled.is_some_and(|compiled| self.progress(cluster, id, compiled) == Progress::Done)
        });
        self.unsettled.retain(|id, _| compilation.policies.contains_key(id));
        for id in compilation.policies.keys().filter(|id| !in_force.contains(*id)) {
            self.unsettled.insert(id.clone(), Instant::now());
        }
        self.in_force = in_force;
    }

    /// Writes the statuses of exceptions that have changed; returns whether a write failed.
    async fn report_exceptions(&mut self, cluster: &mut Cluster, now: Timestamp) -> bool {
        // What is stricter goes last: an exception holds only when the API server has learned that it has gone.
        let mut settled = self.in_force.clone();
        settled.retain(|id| self.unsettled.get(id).is_none_or(|last| last.elapsed() >= LEARNED));
        let policies: Vec<&Policy> = cluster.world.policies().map(|(_, policy)| policy).collect();
        let outdated = cluster.exceptions.outdated(&self.scan, &policies, &settled, STATUSES_PER_PASS, now);
        let writer = &self.writer;
        let calls = outdated.into_iter().map(|(id, uid, status)| async move {
            let result = writer.report_exception(&id, &uid, &status).await;
            (id, status, result)
        });
        let results: Vec<_> = futures::stream::iter(calls).buffer_unordered(WRITES_AT_ONCE).collect().await;
        let mut failed = false;
        for (id, status, result) in results {
            match result {
                Ok(()) => cluster.exceptions.reported(&id, status),
                Err(error) => {
                    if !error.is_conflict() && !matches!(error, WriteError::NotLeader) {
                        tracing::warn!(exception = %id, %error, "the status was not written");
                    }
                    failed = true;
                }
            }
        }
        failed
    }

    fn progress(&self, cluster: &Cluster, id: &PolicyId, compiled: &Compiled) -> Progress {
        if let Some(error) = &compiled.error {
            return Progress::Failed("CannotCompile", error.clone());
        }
        if cluster.owner.is_none() && !compiled.admission_policies.is_empty() {
            let message = format!(
                "the ClusterRole {}, which owns what is compiled, is missing or is being deleted; install it again",
                self.installation.owner
            );
            return Progress::Failed("OwnerMissing", message);
        }
        let keys = keys(compiled);
        let failures: Vec<&Failure> = keys.iter().filter_map(|key| self.failures.get(key)).collect();
        if let Some(failure) = failures.iter().find(|failure| !failure.passes) {
            return Progress::Failed("WriteFailed", failure.message.clone());
        }
        if !failures.is_empty() {
            return Progress::Working("something else changed at the same moment; it is decided again".to_owned());
        }
        if !is_written(cluster, compiled) {
            return Progress::Working("its ValidatingAdmissionPolicies are being written".to_owned());
        }
        let checks: Vec<Option<&Vec<String>>> = keys
            .iter()
            .filter(|key| key.0 == NativeKind::Policy)
            .map(|key| cluster.native.get(key).and_then(|known| known.type_check.as_ref()))
            .collect();
        let warnings: Vec<&str> =
            checks.iter().flatten().flat_map(|warnings| warnings.iter().map(String::as_str)).collect();
        if !warnings.is_empty() {
            return Progress::Failed("TypeCheckFailed", warnings.join("; "));
        }
        let waited = self.written.get(id).is_some_and(|(_, since)| since.elapsed() >= TYPE_CHECK_DEADLINE);
        if checks.iter().any(Option::is_none) && !waited {
            return Progress::Working("the API server type-checks what was written".to_owned());
        }
        if self.waiting.contains(id) {
            let message = "what it replaces stays in force, too, until its own enforcement is proven";
            return Progress::Working(message.to_owned());
        }
        Progress::Done
    }

    /// When the next pass is due if nothing happens.
    fn next(&self, cluster: &Cluster, compilation: &Compilation, started: Instant, now: Timestamp) -> Duration {
        let mut next = match self.failed_passes {
            0 => Duration::from_secs(60),
            failed => (RETRY * 2_u32.saturating_pow(failed.min(10) - 1)).min(LAST_RETRY),
        };
        if let Some(proof) = self.proofs.next() {
            next = next.min(proof.saturating_duration_since(Instant::now()).max(Duration::from_millis(50)));
        }
        if let Some(standing) = self.standings.next(Instant::now()) {
            next = next.min(standing);
        }
        if let Some(exceptions) = cluster.exceptions.next(&self.in_force, now) {
            next = next.min(exceptions);
        }
        for last in self.unsettled.values().filter(|last| last.elapsed() < LEARNED + EXCEPTIONS_INTERVAL) {
            next = next.min(LEARNED.saturating_sub(last.elapsed()).max(EXCEPTIONS_INTERVAL));
        }
        // A pass that came too early for them is followed by one that does not.
        if let Some(last) =
            self.exceptions_reported.filter(|last| started < *last + EXCEPTIONS_INTERVAL && *last < started)
        {
            next = next.min(EXCEPTIONS_INTERVAL.saturating_sub(last.elapsed()));
        }
        for known in cluster.policies.values() {
            if let Some(policy) = known.valid()
                && let Some(suspension) = policy.suspension.as_ref().filter(|suspension| suspension.until > now)
            {
                let left = suspension.until.duration_since(now);
                next = next.min(Duration::try_from(left).unwrap_or(RETRY) + Duration::from_millis(1));
            }
        }
        let checking = compilation
            .policies
            .keys()
            .any(|id| self.written.get(id).is_some_and(|(_, since)| since.elapsed() < TYPE_CHECK_DEADLINE));
        if checking { next.min(Duration::from_secs(1)) } else { next }
    }
}

fn key_of(intent: &Intent) -> Key {
    match intent {
        Intent::Apply(object) => (object.kind(), object.name().to_owned()),
        Intent::Delete { kind, name, .. } => (*kind, name.clone()),
    }
}

/// Whether somebody else had changed what an object does; namespaces come and go in a joined binding.
fn was_changed(stored: &Observed, wanted: &NativeObject) -> bool {
    match (&stored.spec, wanted) {
        (Some(ObservedSpec::Policy(stored)), NativeObject::Policy(wanted)) => *stored != wanted.spec,
        (Some(ObservedSpec::Binding(stored)), NativeObject::Binding(wanted)) => {
            let mut stored = stored.clone();
            if stored.match_resources.only_names().is_some() {
                stored.match_resources.namespace_selector = wanted.spec.match_resources.namespace_selector.clone();
            }
            stored != wanted.spec
        }
        _ => true,
    }
}

fn keys(compiled: &Compiled) -> Vec<Key> {
    let policies = compiled.admission_policies.iter().map(|name| (NativeKind::Policy, name.clone()));
    policies.chain(compiled.bindings.iter().map(|name| (NativeKind::Binding, name.clone()))).collect()
}

/// Whether every object of a policy is in the cluster.
fn is_written(cluster: &Cluster, compiled: &Compiled) -> bool {
    compiled.error.is_none() && keys(compiled).iter().all(|key| cluster.native.contains_key(key))
}
