//! What must hold after everything that happens, and in the end.

use std::collections::BTreeSet;

use immutable_core::replace::{Intent, Reason};
use immutable_core::workload::Kind;
use immutable_core::workload::rollout::{Progress, Replacing, STAMP};
use serde_json::Value;

use crate::cluster::Cluster;
use crate::model::Model;
use crate::objects::{Data, Pod, Read, Reference, Workload, config_id, projected, stamp_of};

impl Model {
    /// Leaves out whose pods have been replaced, or were by somebody else.
    pub(crate) fn close(&mut self) {
        let (cluster, rolled) = (&self.cluster, &self.rolled);
        self.open.retain(|uid| {
            let workload = cluster.workloads.values().find(|workload| workload.uid == *uid);
            let last = rolled.iter().rfind(|rolled| rolled.uid == *uid);
            workload.zip(last).is_some_and(|(workload, last)| {
                workload.progress(cluster.now) != Progress::Complete
                    && workload.template.annotations.get(STAMP) == Some(&last.stamp)
                    && workload.template.image == last.image
            })
        });
    }

    /// What is handed out is within the windows, and no more at once than may be.
    pub(crate) fn check_gates(&self, operator: usize, intents: &[Intent]) {
        let fresh = |intent: &&Intent| intent.rolls() && !self.open.contains(&intent.target().uid);
        if self.has_jumped || !intents.iter().any(|intent| fresh(&intent)) {
            return;
        }
        let minute = self.cluster.now.div_euclid(60_000).rem_euclid(30);
        assert!(self.replace.get("windows").is_none() || minute < 10, "outside the window\n{}", self.history);
        let writes = self.operators[operator].writes.iter().map(|write| &write.intent);
        // What has failed takes no place where the others go on whatever becomes of it.
        let goes_on = self.replace.get("onFailure").is_some_and(|on_failure| on_failure == "Continue");
        let has_failed = |uid: &&str| {
            let workload = self.cluster.workloads.values().find(|workload| workload.uid == **uid);
            workload.is_some_and(|workload| workload.progress(self.cluster.now) == Progress::Failed)
        };
        let open = self.open.iter().map(String::as_str);
        let mut under_way: BTreeSet<&str> = open.filter(|uid| !(goes_on && has_failed(uid))).collect();
        under_way.extend(writes.filter(|intent| intent.rolls()).map(|intent| intent.target().uid.as_str()));
        let most = self.replace.get("maxConcurrent").and_then(Value::as_u64).unwrap_or(u64::MAX);
        assert!(under_way.len() as u64 <= most, "too many at once: {under_way:?}\n{}", self.history);
    }

    /// Some pod that the operator may know of has read something else than it is to read now.
    pub(crate) fn check_cause(&self, operator: usize, uid: &str, stamp: &str) {
        let Some(workload) = self.cluster.workloads.values().find(|workload| workload.uid == uid) else { return };
        // Of an object that was not read before nobody knows when it last changed.
        let references = &workload.template.references;
        if workload.revisions.iter().any(|revision| revision.template.references != *references) {
            return;
        }
        // All that is noted of an object is when any key was last written.
        let configs =
            workload.template.references.iter().filter_map(|reference| self.cluster.configs.get(&reference.config));
        let written = configs.map(|config| config.written).max().unwrap_or(0);
        let changed = self.cluster.changed.get(uid).copied().unwrap_or(0).max(written);
        // Where there is no pod, none is replaced; and of what changed while nobody looked nobody knows when.
        if self.has_jumped || workload.pods.is_empty() || self.operators[operator].started >= changed {
            return;
        }
        // Two edits within a second are told apart by nobody, if they are seen late.
        if self.operators[operator].learned > changed + 60_000 {
            return;
        }
        // A kubelet may be as late as the operator, for a minute at most. Nobody knows when something went away.
        let read_by_all =
            if self.cluster.read(&workload.template.references).is_some_and(|read| read.iter().all(Option::is_some)) {
                self.operators[operator].learned.min(changed + 60_000).max(changed)
            } else {
                i64::MAX
            };
        let gone = self.cluster.gone.values().filter(|pod| pod.name.starts_with(&format!("{uid}-")));
        let is_stale = |pod: &Pod| {
            // One that is not ready may have waited, and reads when it starts.
            !pod.available
                || pod.created.div_euclid(1000) <= read_by_all.div_euclid(1000)
                || is_stale(&self.cluster, workload, pod, stamp)
        };
        let is_known_to_be_gone = |pod: &&Pod| !self.knows(operator, pod);
        let any = workload.pods.iter().chain(gone.filter(|pod| !is_known_to_be_gone(pod))).any(is_stale);
        assert!(any, "{uid} is to be replaced although every pod reads what is current\n{}", self.history);
    }

    fn knows(&self, operator: usize, pod: &Pod) -> bool {
        self.operators[operator].world.object(&crate::objects::key(Kind::Pod, &pod.name)).is_some()
    }

    /// What must hold in the end.
    pub(crate) fn check_end(&self) {
        for workload in self.cluster.workloads.values() {
            let waiting = self.operators[0].planner.waiting(&workload.key());
            let reason = waiting.map(|waiting| waiting.reason);
            let needs_somebody = match reason {
                Some(Reason::OnDelete) => workload.replacing == Replacing::OnDelete,
                Some(Reason::Partitioned) => matches!(workload.replacing, Replacing::Partition(_)),
                Some(Reason::Paused) => workload.paused,
                Some(Reason::MissingReference) => self.cluster.read(&workload.template.references).is_none(),
                Some(Reason::Reverted) => {
                    self.history.contains("argocd")
                        || self.history.contains("Revert")
                        || self.history.contains("DropStamp")
                        || self.history.contains("Undo")
                        || self.history.contains("Deploy")
                }
                Some(Reason::WriteFailed) => workload.refuses || workload.conflicts,
                // One whose pods cannot start takes its place until somebody brings what they need.
                Some(Reason::MaxConcurrent | Reason::Checkpoint | Reason::Halted) => self.is_any_stuck(),
                _ => false,
            };
            if needs_somebody || self.cluster.unknowable.contains(&workload.uid) {
                continue;
            }
            let stamp = self.cluster.current_stamp(&workload.template);
            for pod in workload.pods.iter().filter(|pod| self.is_knowable(pod)) {
                assert!(
                    !is_stale(&self.cluster, workload, pod, &stamp),
                    "{} is old, and {} waits for {waiting:?}\n{workload:#?}\n{}",
                    pod.name,
                    workload.name,
                    self.history
                );
            }
            assert_eq!(reason, None, "{} waits for {waiting:?}\n{}", workload.name, self.history);
            let can_start = self.cluster.read(&workload.template.references).is_some()
                && workload.pods.iter().all(|pod| self.is_knowable(pod));
            let progress = workload.progress(self.cluster.now);
            assert!(!can_start || progress == Progress::Complete, "{progress:?} {workload:#?}\n{}", self.history);
        }
    }

    /// Whether pods of any workload wait for what is not there.
    fn is_any_stuck(&self) -> bool {
        self.cluster.workloads.values().any(|workload| self.cluster.read(&workload.template.references).is_none())
    }

    /// Whether the operator that leads in the end has seen what a pod read.
    fn is_knowable(&self, pod: &Pod) -> bool {
        let known = &self.operators[0].known;
        let has_seen = |(reference, read): (&Reference, &Option<Data>)| {
            let id = config_id(reference.config);
            known.iter().any(|(known, data)| *known == id && projected(reference, data.as_ref()) == *read)
        };
        !self.cluster.unknowable_pods.contains(&pod.name)
            && pod.read.as_ref().is_none_or(|read| pod.references.iter().zip(read).all(has_seen))
    }
}

/// Whether a pod has not read what a stamp says.
fn is_stale(cluster: &Cluster, workload: &Workload, pod: &Pod, stamp: &str) -> bool {
    let Some(read) = &pod.read else { return false };
    if pod.references == workload.template.references {
        return stamp_of(&cluster.key, &workload.template, read) != stamp;
    }
    let current: Read = cluster.current(&workload.template);
    let of = |reference: &Reference| pod.references.iter().position(|known| known == reference);
    workload
        .template
        .references
        .iter()
        .zip(current)
        .any(|(reference, now)| of(reference).is_some_and(|at| read[at] != now))
}
