//! The API server: versions, preconditions, field managers, and watch events in the order of each kind.

use std::collections::{BTreeMap, BTreeSet};

use immutable_core::references::digest::DigestKey;
use immutable_core::replace::{Intent, Outcome};
use immutable_core::rules::ConfigKind;
use immutable_core::workload::rollout::{BASELINE, CAUSE, DIFFERS_SINCE, ROLLOUT, Replacing, SOURCES, STAMP};
use immutable_core::workload::{self, Kind, WorkloadKind};
use immutable_core::world::{Change, ConfigId, Object, WorkloadKey};

use crate::objects::{
    Config, Data, Pod, Read, Reference, Revision, Template, Workload, config_id, key, made, projected, stamp_of,
};

/// The kinds that are watched, each by itself.
pub(crate) const WATCHED: [Kind; 5] =
    [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::ReplicaSet, Kind::Pod];
/// 2026-01-05T00:00:00Z in milliseconds.
pub(crate) const START: i64 = 1_767_571_200_000;

type Known = BTreeMap<(Kind, String, Vec<Reference>, u32), workload::Workload>;

pub(crate) struct Cluster {
    /// In milliseconds.
    pub now: i64,
    pub version: u64,
    pub workloads: BTreeMap<String, Workload>,
    pub configs: BTreeMap<usize, Config>,
    pub log: BTreeMap<Kind, Vec<Change>>,
    pub config_log: BTreeMap<ConfigKind, Vec<ConfigId>>,
    /// Pods that are gone, by name.
    pub gone: BTreeMap<String, Pod>,
    /// When what a workload reads last changed, in milliseconds, by uid.
    pub changed: BTreeMap<String, i64>,
    /// Whether a roll of a workload is owed, by uid.
    pub owed: BTreeSet<String>,
    /// Workloads of which nothing is recorded and whose content changed, so that nobody who looks later can know, by uid.
    pub unknowable: BTreeSet<String>,
    /// Pods of which an operator that starts cannot know what they read, by name.
    pub unknowable_pods: BTreeSet<String>,
    /// What an operator has looked at: a workload, by uid, with so many references.
    pub looked_at: BTreeSet<(String, usize)>,
    pub key: DigestKey,
    known: Known,
    /// ReplicaSets, by uid: their name and their controller.
    replica_sets: BTreeMap<String, (String, String)>,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        Self {
            now: START,
            version: 1,
            workloads: BTreeMap::new(),
            configs: BTreeMap::new(),
            log: WATCHED.into_iter().map(|kind| (kind, Vec::new())).collect(),
            config_log: BTreeMap::from([(ConfigKind::ConfigMap, Vec::new()), (ConfigKind::Secret, Vec::new())]),
            gone: BTreeMap::new(),
            changed: BTreeMap::new(),
            owed: BTreeSet::new(),
            unknowable: BTreeSet::new(),
            unknowable_pods: BTreeSet::new(),
            looked_at: BTreeSet::new(),
            key: DigestKey::from_bytes(&[7; 32]).unwrap(),
            known: Known::new(),
            replica_sets: BTreeMap::new(),
        }
    }

    fn next_version(&mut self) -> u64 {
        self.version += 1;
        self.version
    }

    /// Makes a workload whose pods run.
    pub(crate) fn create(&mut self, kind: Kind, name: &str, references: &[Reference], replicas: usize) {
        let template = Template { image: 1, references: references.to_vec(), annotations: BTreeMap::new() };
        let version = self.next_version();
        let annotations = BTreeMap::from([(ROLLOUT.to_owned(), "enabled".to_owned())]);
        let revisions = vec![Revision { template: template.clone(), annotations: annotations.clone() }];
        let workload = Workload {
            kind,
            name: name.to_owned(),
            uid: format!("{name}-{version}"),
            version,
            generation: 1,
            observed: 0,
            annotations,
            template,
            owners: BTreeMap::new(),
            times: BTreeMap::from([("kubectl", self.now)]),
            revisions,
            current: 0,
            pods: Vec::new(),
            replicas,
            paused: false,
            replacing: Replacing::Rolling,
            progressed: self.now,
            told: None,
            refuses: false,
            conflicts: false,
            reverting: 0,
        };
        self.workloads.insert(name.to_owned(), workload);
        self.emit(name);
    }

    pub(crate) fn delete(&mut self, name: &str) -> Workload {
        let workload = self.workloads.remove(name).unwrap();
        self.log.get_mut(&workload.kind).unwrap().push(Change::Workload(workload.key(), None));
        for pod in &workload.pods {
            self.gone.insert(pod.name.clone(), pod.clone());
            self.log.get_mut(&Kind::Pod).unwrap().push(Change::Workload(key(Kind::Pod, &pod.name), None));
        }
        let (gone, kept) =
            std::mem::take(&mut self.replica_sets).into_iter().partition(|(_, (_, owner))| *owner == workload.uid);
        let gone: BTreeMap<String, (String, String)> = gone;
        self.replica_sets = kept;
        for (name, _) in gone.into_values() {
            self.log.get_mut(&Kind::ReplicaSet).unwrap().push(Change::Workload(key(Kind::ReplicaSet, &name), None));
        }
        workload
    }

    /// Tells of the present state of a workload.
    pub(crate) fn emit(&mut self, name: &str) {
        let version = self.next_version();
        let Some(workload) = self.workloads.get_mut(name) else { return };
        workload.version = version;
        workload.told = Some(workload.progress(self.now));
        let object = workload.object(self.now, &mut self.known);
        self.log.get_mut(&workload.kind).unwrap().push(Change::Workload(workload.key(), Some(object)));
    }

    /// Tells of a pod, and of what made it.
    pub(crate) fn emit_pod(&mut self, workload: &Workload, pod: &Pod, is_there: bool) {
        let maker = workload.maker(pod.revision);
        if workload.kind == Kind::Deployment && !self.replica_sets.contains_key(&maker) {
            self.replica_sets.insert(maker.clone(), (maker.clone(), workload.uid.clone()));
            let object = made(maker.clone(), workload.uid.clone(), None);
            self.log
                .get_mut(&Kind::ReplicaSet)
                .unwrap()
                .push(Change::Workload(key(Kind::ReplicaSet, &maker), Some(object)));
        }
        let object = is_there.then(|| made(format!("{}-uid", pod.name), maker, Some(pod)));
        if !is_there {
            self.gone.insert(pod.name.clone(), pod.clone());
        }
        self.log.get_mut(&Kind::Pod).unwrap().push(Change::Workload(key(Kind::Pod, &pod.name), object));
    }

    /// Every object of a kind, as a list returns them.
    pub(crate) fn list(&mut self, kind: Kind) -> Change {
        let mut all: Vec<(WorkloadKey, Object)> = Vec::new();
        for workload in self.workloads.values() {
            if workload.kind == kind {
                all.push((workload.key(), workload.object(self.now, &mut self.known)));
            }
            if kind == Kind::Pod {
                let object = |pod: &Pod| made(format!("{}-uid", pod.name), workload.maker(pod.revision), Some(pod));
                all.extend(workload.pods.iter().map(|pod| (key(Kind::Pod, &pod.name), object(pod))));
            }
        }
        if kind == Kind::ReplicaSet {
            let sets = self.replica_sets.iter();
            all.extend(sets.map(|(uid, (name, owner))| (key(kind, name), made(uid.clone(), owner.clone(), None))));
        }
        Change::Workloads(WorkloadKind::BuiltIn(kind), all)
    }

    /// What pods of a template read now; none where one of them could not start.
    pub(crate) fn read(&self, references: &[Reference]) -> Option<Read> {
        let mut read = Read::new();
        for reference in references {
            let data = projected(reference, self.configs.get(&reference.config).map(|config| &config.data));
            let is_there = data.as_ref().is_some_and(|data| reference.key.is_none_or(|key| data.contains_key(key)));
            if !reference.optional && !is_there {
                return None;
            }
            read.push(data);
        }
        Some(read)
    }

    /// What pods of a template would read now, whether they could start or not.
    pub(crate) fn current(&self, template: &Template) -> Read {
        let data = |reference: &Reference| self.configs.get(&reference.config).map(|config| &config.data);
        template.references.iter().map(|reference| projected(reference, data(reference))).collect()
    }

    pub(crate) fn current_stamp(&self, template: &Template) -> String {
        stamp_of(&self.key, template, &self.current(template))
    }

    /// What operators remembered is lost.
    pub(crate) fn forget_memory(&mut self) {
        let is_unrecorded = |workload: &&Workload| {
            !workload.annotations.contains_key(BASELINE) && !workload.template.annotations.contains_key(STAMP)
        };
        let unrecorded = self.workloads.values().filter(is_unrecorded).map(|workload| workload.uid.clone());
        self.unknowable.extend(unrecorded.filter(|uid| self.owed.contains(uid)));
        // A pod that read neither what is recorded nor what is current, of which nothing has been noted yet.
        for workload in self.workloads.values() {
            let recorded = workload.annotations.get(BASELINE).or_else(|| workload.template.annotations.get(STAMP));
            let is_recorded = |stamp: &str| recorded.is_some_and(|recorded| recorded.ends_with(stamp));
            if workload.annotations.contains_key(DIFFERS_SINCE) {
                continue;
            }
            for pod in &workload.pods {
                let Some(read) = &pod.read else { continue };
                if pod.references != workload.template.references
                    || !is_recorded(&stamp_of(&self.key, &workload.template, read))
                {
                    self.unknowable_pods.insert(pod.name.clone());
                }
            }
        }
    }

    /// Writes a ConfigMap or Secret, or deletes it.
    pub(crate) fn write_config(&mut self, config: usize, data: Option<Data>, writer: &'static str) {
        let before: Vec<Read> = self.workloads.values().map(|workload| self.current(&workload.template)).collect();
        let version = self.next_version();
        match (data, self.configs.get_mut(&config)) {
            (Some(data), Some(known)) => {
                if known.data != data {
                    (known.written, known.writer) = (self.now, writer);
                }
                (known.data, known.version) = (data, version);
            }
            (Some(data), None) => {
                let uid = format!("c{config}-{version}");
                self.configs.insert(config, Config { uid, version, data, written: self.now, writer });
            }
            (None, known) => {
                if known.is_none() {
                    return;
                }
                self.configs.remove(&config);
            }
        }
        let id = config_id(config);
        self.config_log.get_mut(&id.kind).unwrap().push(id);
        for (before, workload) in before.into_iter().zip(self.workloads.values()) {
            if before != self.current(&workload.template) {
                let uid = workload.uid.clone();
                self.changed.insert(uid.clone(), self.now);
                if !self.looked_at.contains(&(uid.clone(), workload.template.references.len())) {
                    self.unknowable.insert(uid.clone());
                }
                self.owed.insert(uid);
            }
        }
    }

    /// Changes annotations by an update: what it changes it owns alone.
    pub(crate) fn update(&mut self, name: &str, manager: &'static str, change: impl FnOnce(&mut Workload)) {
        let Some(workload) = self.workloads.get_mut(name) else { return };
        let before = workload.clone();
        change(workload);
        let is_other = before.template != workload.template;
        let has_annotated = workload.kind == Kind::Deployment && before.annotations != workload.annotations;
        if is_other || has_annotated || before.replicas != workload.replicas || before.paused != workload.paused {
            workload.generation += 1;
        }
        for in_template in [true, false] {
            let of = |workload: &Workload| {
                if in_template { workload.template.annotations.clone() } else { workload.annotations.clone() }
            };
            let (was, is) = (of(&before), of(workload));
            for annotation in was.keys().chain(is.keys()).collect::<BTreeSet<_>>() {
                if was.get(annotation) != is.get(annotation) {
                    workload.owners.insert((in_template, annotation.clone()), BTreeSet::from([manager]));
                }
            }
        }
        workload.times.insert(manager, self.now);
        if is_other {
            let uid = workload.uid.clone();
            self.owed.insert(uid.clone());
            let current = (before.template.references != workload.template.references).then_some(self.now);
            if let Some(now) = current {
                self.changed.insert(uid, now);
            }
        }
        self.emit(name);
    }

    /// A server-side apply of ours, with force. Tells whether a template was changed.
    pub(crate) fn apply(&mut self, intent: &Intent) -> (Outcome, bool) {
        let target = intent.target();
        assert!(!target.uid.is_empty() && !target.resource_version.is_empty(), "no precondition: {intent:?}");
        let now = self.now;
        let Some(workload) = self.workloads.get_mut(&target.key.name) else { return (Outcome::Gone, false) };
        if workload.refuses {
            return (Outcome::Failed("denied".to_owned()), false);
        }
        if workload.conflicts {
            return (Outcome::Outdated, false);
        }
        if workload.uid != target.uid || workload.version.to_string() != target.resource_version {
            return (Outcome::Outdated, false);
        }
        let mut applied: BTreeMap<(bool, String), String> = BTreeMap::new();
        let mut set = |in_template, name: &str, value: &Option<String>| {
            if let Some(value) = value {
                applied.insert((in_template, name.to_owned()), value.clone());
            }
        };
        match intent {
            Intent::Roll { stamp, cause, sources, baseline, .. } => {
                set(false, BASELINE, baseline);
                set(true, STAMP, &Some(stamp.clone()));
                set(true, CAUSE, &Some(cause.clone()));
                set(false, SOURCES, &Some(sources.clone()));
            }
            Intent::Record { baseline, sources, differs_since, .. } => {
                set(false, BASELINE, baseline);
                set(false, SOURCES, sources);
                set(false, DIFFERS_SINCE, differs_since);
            }
        }
        let (before, manager) = (workload.clone(), intent.manager());
        for (place, value) in &applied {
            let map = if place.0 { &mut workload.template.annotations } else { &mut workload.annotations };
            let is_same = map.get(&place.1) == Some(value);
            map.insert(place.1.clone(), value.clone());
            let owners = workload.owners.entry(place.clone()).or_default();
            if !is_same {
                owners.clear();
            }
            owners.insert(manager);
        }
        for (place, owners) in &mut workload.owners {
            if !applied.contains_key(place) && owners.remove(manager) && owners.is_empty() {
                let map = if place.0 { &mut workload.template.annotations } else { &mut workload.annotations };
                map.remove(&place.1);
            }
        }
        let is_same = before.annotations == workload.annotations
            && before.template == workload.template
            && before.owners == workload.owners;
        if is_same {
            return (Outcome::Written(target.resource_version.clone()), false);
        }
        let rolls = before.template != workload.template;
        // Of a Deployment the API server raises it for annotations too.
        if rolls || workload.kind == Kind::Deployment && before.annotations != workload.annotations {
            workload.generation += 1;
        }
        workload.times.insert(manager, now);
        let name = workload.name.clone();
        self.emit(&name);
        let version = self.workloads[&name].version.to_string();
        (Outcome::Written(version), rolls)
    }
}
