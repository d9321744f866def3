//! One pass: compile, plan, write, prove, report. It decides nothing that the core decides.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use immutable_core::native::{Compilation, Compiled, Intent, NativeKind, compile, plan};
use immutable_core::policy::PolicyId;
use jiff::Timestamp;
use tokio::time::Instant;

use super::cluster::Cluster;
use super::conditions::{Progress, Seen, status};
use super::proof::{ProofState, Proofs, judge, target};
use super::write::{WriteError, Writer};
use crate::telemetry::Metrics;

/// How long the API server's type check is waited for.
const TYPE_CHECK_DEADLINE: Duration = Duration::from_secs(10);
/// How long being let in counts as too early to say.
const TOO_EARLY: Duration = Duration::from_secs(5);
/// How long a pass that failed is put off.
const RETRY: Duration = Duration::from_secs(2);
/// How many proofs one pass makes, so that a thousand policies do not make a burst.
const PROOFS_PER_PASS: usize = 20;

/// What lives from one pass to the next.
pub(super) struct Reconciler {
    writer: Writer,
    metrics: Metrics,
    operator_namespace: String,
    owner: String,
    proofs: Proofs,
    /// When each compilation of a policy was first seen complete in the cluster.
    written: BTreeMap<PolicyId, (Compiled, Instant)>,
    /// What the last write of an object said, where it failed.
    failures: BTreeMap<(NativeKind, String), String>,
}

impl Reconciler {
    /// A reconciler that writes through `writer`.
    pub(super) fn new(writer: Writer, metrics: Metrics, operator_namespace: String, owner: String) -> Self {
        Self {
            writer,
            metrics,
            operator_namespace,
            owner,
            proofs: Proofs::default(),
            written: BTreeMap::new(),
            failures: BTreeMap::new(),
        }
    }

    /// One pass; returns when the next is due if nothing happens.
    pub(super) async fn pass(&mut self, cluster: &mut Cluster) -> Duration {
        let started = Instant::now();
        let now = Timestamp::now();
        let valid = cluster.policies.values().filter_map(|known| known.policy.as_ref().ok());
        let compilation = compile(valid, &self.operator_namespace, now);
        let failed = self.write(cluster, &compilation).await;
        self.prove(cluster, &compilation).await;
        // What was proven just now may set free what it replaces.
        let failed = self.write(cluster, &compilation).await || failed;
        let failed = self.report(cluster, &compilation, now).await || failed;
        self.metrics.pass(started.elapsed(), failed);
        self.count(cluster, &compilation);
        self.next(cluster, &compilation, now, failed)
    }

    fn count(&self, cluster: &Cluster, compilation: &Compilation) {
        for kind in ["ClusterImmutablePolicy", "ImmutablePolicy"] {
            for valid in [true, false] {
                let of_kind = cluster.policies.iter().filter(|(id, _)| id.kind() == kind);
                self.metrics.policies(kind, valid, of_kind.filter(|(_, known)| known.policy.is_ok() == valid).count());
            }
        }
        self.metrics.native_objects(NativeKind::Policy.name(), compilation.admission_policies.len());
        self.metrics.native_objects(NativeKind::Binding.name(), compilation.bindings.len());
    }

    /// Carries out the plan; returns whether a write failed.
    async fn write(&mut self, cluster: &mut Cluster, compilation: &Compilation) -> bool {
        let settled: BTreeSet<PolicyId> = compilation
            .policies
            .iter()
            .filter(|(id, compiled)| self.proofs.is_settled(id, compiled) || compiled.probe.is_none())
            .map(|(id, _)| id.clone())
            .collect();
        let plan = plan(compilation, &cluster.observed(), &settled, cluster.owner.as_ref());
        self.failures.clear();
        for conflict in &plan.conflicts {
            if let Some((kind, name)) = conflict.split_once(' ') {
                let kind = if kind == NativeKind::Policy.name() { NativeKind::Policy } else { NativeKind::Binding };
                let message =
                    format!("{conflict} was not made from the same source; delete it or find out who made it");
                self.failures.insert((kind, name.to_owned()), message);
            }
        }
        for intent in &plan.intents {
            let key = match intent {
                Intent::Apply(object) => (object.kind(), object.name().to_owned()),
                Intent::Delete { kind, name, .. } => (*kind, name.clone()),
            };
            match self.writer.carry_out(intent, cluster.native.contains_key(&key)).await {
                Ok(Some(object)) => {
                    tracing::info!(kind = key.0.name(), name = %key.1, "applied");
                    cluster.written(key.0, &object);
                }
                Ok(None) => {
                    tracing::info!(kind = key.0.name(), name = %key.1, "deleted");
                    cluster.deleted(key.0, &key.1);
                }
                Err(WriteError::NotLeader) => return true,
                Err(error) => {
                    if !error.is_conflict() {
                        tracing::warn!(kind = key.0.name(), name = %key.1, %error, "not written");
                    }
                    self.failures.insert(key, error.to_string());
                }
            }
        }
        !self.failures.is_empty()
    }

    /// Makes the proofs that are due.
    async fn prove(&mut self, cluster: &Cluster, compilation: &Compilation) {
        self.proofs.retain(|id| compilation.policies.contains_key(id));
        self.written.retain(|id, _| compilation.policies.contains_key(id));
        let mut made = 0;
        for (id, compiled) in &compilation.policies {
            if !is_written(cluster, compiled) {
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
            if made >= PROOFS_PER_PASS || !self.proofs.is_due(id, compiled, now) {
                continue;
            }
            let Some(Ok(policy)) = cluster.policies.get(id).map(|known| &known.policy) else { continue };
            let state = match target(policy, compiled, &cluster.namespaces, &self.operator_namespace) {
                Ok((probe, namespace)) => {
                    made += 1;
                    let proof = self.writer.prove(probe, &namespace).await;
                    judge(proof, namespace, since.elapsed() < TOO_EARLY)
                }
                Err(why) => ProofState::NothingToProve(why),
            };
            self.proofs.record(id, compiled, state, Instant::now());
        }
    }

    /// Writes the statuses that have changed; returns whether a write failed.
    async fn report(&mut self, cluster: &mut Cluster, compilation: &Compilation, now: Timestamp) -> bool {
        let mut changed = Vec::new();
        for (id, known) in &cluster.policies {
            let compiled = compilation.policies.get(id);
            let seen = Seen {
                compiled,
                progress: compiled.map_or(Progress::Done, |compiled| self.progress(cluster, id, compiled)),
                proof: compiled.map_or(&ProofState::Pending, |compiled| self.proofs.state(id, compiled)),
            };
            let status = status(known, &seen, now);
            if status != known.status {
                changed.push((id.clone(), status));
            }
        }
        let mut failed = false;
        for (id, status) in changed {
            match self.writer.report(&id, &status).await {
                Ok(()) => {
                    if let Some(known) = cluster.policies.get_mut(&id) {
                        known.status = status;
                    }
                }
                Err(WriteError::NotLeader) => return true,
                Err(error) => {
                    tracing::warn!(policy = %id, %error, "the status was not written");
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
                self.owner
            );
            return Progress::Failed("OwnerMissing", message);
        }
        let keys = keys(compiled);
        if let Some(failure) = keys.iter().find_map(|key| self.failures.get(key)) {
            return Progress::Failed("WriteFailed", failure.clone());
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
        Progress::Done
    }

    /// When the next pass is due if nothing happens.
    fn next(&self, cluster: &Cluster, compilation: &Compilation, now: Timestamp, failed: bool) -> Duration {
        let mut next = if failed { RETRY } else { Duration::from_secs(60) };
        if let Some(proof) = self.proofs.next() {
            next = next.min(proof.saturating_duration_since(Instant::now()).max(Duration::from_millis(50)));
        }
        for known in cluster.policies.values() {
            if let Ok(policy) = &known.policy
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

fn keys(compiled: &Compiled) -> Vec<(NativeKind, String)> {
    let policies = compiled.admission_policies.iter().map(|name| (NativeKind::Policy, name.clone()));
    policies.chain(compiled.bindings.iter().map(|name| (NativeKind::Binding, name.clone()))).collect()
}

/// Whether every object of a policy is in the cluster.
fn is_written(cluster: &Cluster, compiled: &Compiled) -> bool {
    compiled.error.is_none() && keys(compiled).iter().all(|key| cluster.native.contains_key(key))
}
