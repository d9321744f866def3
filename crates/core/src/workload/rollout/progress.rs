//! How far a controller is with the newest template.

#[cfg(test)]
mod tests;

use serde_json::Value;

use super::{Replacing, text};
use crate::workload::{Kind, WorkloadKind};

/// How far a controller is with the newest template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The controller has seen the newest spec, and every pod that it replaces by itself runs it and is available.
    Complete,
    /// Anything else: pods are replaced, are not available, or the newest spec has not been seen. A controller that
    /// tells too little stays here.
    UnderWay,
    /// The controller itself has given up, for the newest spec: a Deployment's progress deadline is exceeded, a custom
    /// workload is degraded or stalled. `StatefulSets` and `DaemonSets` have no such state.
    Failed,
}

impl Progress {
    /// `replicas`: the wanted pods.
    pub(super) fn read(value: &Value, kind: &WorkloadKind, replicas: i64, replacing: Replacing) -> Self {
        let Some(status) = value.get("status").filter(|status| status.is_object()) else { return Self::UnderWay };
        let view = View { value, status, replicas, replacing };
        let is_complete = match kind.built_in() {
            Some(Kind::Deployment) => return view.deployment(),
            Some(Kind::StatefulSet) => view.stateful_set(),
            Some(_) => view.daemon_set(),
            None => return view.custom(),
        };
        if is_complete { Self::Complete } else { Self::UnderWay }
    }
}

/// The revision of a `StatefulSet`'s newest spec, once it has been observed.
pub(super) fn update_revision<'v>(value: &'v Value, kind: &WorkloadKind) -> Option<&'v str> {
    let status = value.get("status").filter(|_| kind.built_in() == Some(Kind::StatefulSet))?;
    let revision = text(status.get("updateRevision"))?;
    is_observed(value, status)?.then_some(revision)
}

/// Whether the controller has seen the newest spec; none where it does not tell.
fn is_observed(value: &Value, status: &Value) -> Option<bool> {
    Some(integer(status.get("observedGeneration"))? >= generation(value))
}

fn generation(value: &Value) -> i64 {
    integer(value.pointer("/metadata/generation")).unwrap_or(0)
}

/// An object that has a status.
struct View<'v> {
    value: &'v Value,
    status: &'v Value,
    replicas: i64,
    replacing: Replacing,
}

impl<'v> View<'v> {
    fn is_observed(&self) -> Option<bool> {
        is_observed(self.value, self.status)
    }

    /// A count of pods. Go leaves out most of them when they are 0.
    fn count(&self, field: &str) -> i64 {
        self.counted(&[field]).unwrap_or(0)
    }

    /// The first of these counts that is there.
    fn counted(&self, fields: &[&str]) -> Option<i64> {
        fields.iter().find_map(|field| self.status.get(field).and_then(Value::as_i64))
    }

    fn condition(&self, condition_type: &str) -> Option<Condition<'v>> {
        let mut conditions = self.status.get("conditions")?.as_array()?.iter();
        let condition = conditions.find(|condition| text(condition.get("type")) == Some(condition_type))?;
        let observed = integer(condition.get("observedGeneration"));
        Some(Condition {
            status: text(condition.get("status")).unwrap_or_default(),
            reason: text(condition.get("reason")).unwrap_or_default(),
            is_current: observed.is_none_or(|observed| observed >= generation(self.value)),
        })
    }

    /// `DeploymentComplete` and `DeploymentTimedOut` of `pkg/controller/deployment/util/deployment_util.go`.
    fn deployment(&self) -> Progress {
        if self.is_observed() != Some(true) {
            return Progress::UnderWay;
        }
        let are_all = |field| self.count(field) == self.replicas;
        if are_all("updatedReplicas") && are_all("replicas") && are_all("availableReplicas") {
            return Progress::Complete;
        }
        match self.condition("Progressing") {
            Some(condition) if condition.is_timed_out() => Progress::Failed,
            _ => Progress::UnderWay,
        }
    }

    /// `StatefulSetStatusViewer` of `k8s.io/kubectl/pkg/polymorphichelpers/rollout_status.go`, and the counts that
    /// `completeRollingUpdate` of `pkg/controller/statefulset/stateful_set_utils.go` asks for. Equal revisions alone say
    /// too little: when a change is taken back half way, they are equal while pods of the other one run.
    fn stateful_set(&self) -> bool {
        let available = self.counted(&["availableReplicas", "readyReplicas"]).unwrap_or(0);
        self.is_observed() == Some(true)
            && self.count("replicas") == self.replicas
            && available >= self.replicas
            && self.count("updatedReplicas") >= self.wanted_updates()
    }

    /// `DaemonSetStatusViewer` of the same file. `updateDaemonSetStatus` of
    /// `pkg/controller/daemon/daemon_controller.go` writes all counts together, one pod a node also during a surge.
    fn daemon_set(&self) -> bool {
        self.is_observed() == Some(true)
            && self.count("numberAvailable") >= self.replicas
            && self.count("updatedNumberScheduled") >= self.wanted_updates()
    }

    /// How many pods the controller moves to the newest template by itself; may be negative.
    fn wanted_updates(&self) -> i64 {
        match self.replacing {
            Replacing::Rolling => self.replicas,
            Replacing::Partition(kept) => self.replicas.saturating_sub(kept),
            Replacing::OnDelete => 0,
        }
    }

    /// What a custom controller tells, the most certain first. It is complete only if something says so and nothing
    /// that is there says otherwise. One that tells no observed generation may still speak of the spec before.
    ///
    /// 1. A generation that has not been observed: under way.
    /// 2. `status.phase` in the words of Argo Rollouts (`GetRolloutPhase` of utils/rollout/rolloututil.go).
    /// 3. The conditions that kstatus knows (`checkGenericProperties` of
    ///    sigs.k8s.io/cli-utils/pkg/kstatus/status/generic.go), and those that say no.
    /// 4. Counts as those of Deployments, `StatefulSets` and `DaemonSets`.
    /// 5. Conditions that say yes.
    fn custom(&self) -> Progress {
        let is_observed = self.is_observed();
        // Somebody let an Argo Rollout go on, which its controller has not seen: no generation tells that.
        let pauses = self.status.get("pauseConditions").and_then(Value::as_array);
        let is_unpausing = self.status.get("controllerPause").and_then(Value::as_bool) == Some(true)
            && pauses.is_none_or(Vec::is_empty);
        if is_observed == Some(false) || is_unpausing {
            return Progress::UnderWay;
        }
        match text(self.status.get("phase")) {
            Some("Healthy") => return Progress::Complete,
            Some("Degraded") => return Progress::Failed,
            Some("Progressing" | "Paused") => return Progress::UnderWay,
            // Other controllers have words of their own, such as Running, that tell nothing of the template.
            _ => {}
        }
        let [reconciling, stalled, progressing, ready, available] =
            ["Reconciling", "Stalled", "Progressing", "Ready", "Available"].map(|name| self.condition(name));
        let all = [&reconciling, &stalled, &progressing, &ready, &available];
        if all.into_iter().flatten().any(|condition| !condition.is_current) {
            return Progress::UnderWay;
        }
        let is =
            |condition: &Option<Condition<'_>>, status| condition.as_ref().is_some_and(|found| found.status == status);
        let is_timed_out = progressing.as_ref().is_some_and(Condition::is_timed_out);
        if is(&reconciling, "True") {
            return Progress::UnderWay;
        }
        if is(&stalled, "True") || is_timed_out {
            return Progress::Failed;
        }
        let is_refused = |condition: &Option<Condition<'_>>| condition.is_some() && !is(condition, "True");
        if is_refused(&ready) || is_refused(&available) {
            return Progress::UnderWay;
        }
        // A Deployment says Progressing also when it is done, others only while they are at it.
        let has_settled =
            progressing.as_ref().map(|found| found.status == "False" || found.reason == "NewReplicaSetAvailable");
        let is_complete = match self.by_counts() {
            Some(is_complete) => is_complete,
            None if self.replicas == 0 && is_observed == Some(true) => true,
            // Available pods may be those of the template before.
            None => {
                has_settled != Some(false) && is(&ready, "True") || has_settled == Some(true) && is(&available, "True")
            }
        };
        if is_complete { Progress::Complete } else { Progress::UnderWay }
    }

    /// What the counts of a custom workload say; none where they do not tell updated pods from others.
    fn by_counts(&self) -> Option<bool> {
        let total = self.counted(&["replicas", "currentNumberScheduled"]);
        let available = self.counted(&["availableReplicas", "numberAvailable"]);
        let ready = self.counted(&["readyReplicas", "numberReady"]);
        // A pod that is ready is not yet available where it must stay so for a time.
        let waits = self.value.pointer("/spec/minReadySeconds").and_then(Value::as_i64).unwrap_or(0) > 0;
        let available = if waits { available } else { available.or(ready) };
        if total.is_some_and(|total| total > self.replicas)
            || available.or(ready).is_some_and(|available| available < self.replicas)
        {
            return Some(false);
        }
        let updated = self.counted(&["updatedReplicas", "updatedNumberScheduled"]);
        match self.wanted_updates() {
            ..=0 => available.map(|_| true),
            wanted => Some(updated? >= wanted && available.unwrap_or(0) >= self.replicas),
        }
    }
}

/// A condition of an object.
struct Condition<'v> {
    status: &'v str,
    reason: &'v str,
    /// Whether it is about the newest spec, as far as it tells.
    is_current: bool,
}

impl Condition<'_> {
    /// Of the type Progressing: whether the deadline for progress is exceeded (`TimedOutReason`).
    fn is_timed_out(&self) -> bool {
        self.status == "False" && self.reason == "ProgressDeadlineExceeded"
    }
}

/// A whole number, also one in a text, as Argo Rollouts write the observed generation. An older version wrote a hash
/// there, which is no number and so tells nothing.
fn integer(node: Option<&Value>) -> Option<i64> {
    let node = node?;
    node.as_i64().or_else(|| node.as_str()?.parse().ok())
}
