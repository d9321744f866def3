//! What the modelled API server holds, and how the operator sees it.

use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

use immutable_core::references::digest::{ConfigContent, DigestKey, State, digest};
use immutable_core::references::{Dependency, dependencies};
use immutable_core::rules::ConfigKind;
use immutable_core::workload::rollout::{
    BASELINE, CAUSE, Choice, DIFFERS_SINCE, Progress, RECORD_MANAGER, ROLLOUT, ROLLOUT_MANAGER, Replacing, Rollout,
    SOURCES, STAMP, Writer,
};
use immutable_core::workload::{self, ConfigMarks, Kind, PodFacts, WorkloadKind};
use immutable_core::world::{ConfigId, ConfigKey, ConfigObject, Content, Object, Reading, WorkloadKey};
use jiff::Timestamp;
use serde_json::json;

pub(crate) const NAMESPACE: &str = "shop";
/// How long a Deployment may take for one step, in seconds.
pub(crate) const DEADLINE: i64 = 600;
/// A value with which pods never become available.
pub(crate) const BAD: u8 = 0;

/// Keys and values of a ConfigMap or Secret.
pub(crate) type Data = BTreeMap<&'static str, u8>;
/// What a pod read, reference by reference.
pub(crate) type Read = Vec<Option<Data>>;

/// A reference of a pod template.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Reference {
    pub config: usize,
    pub optional: bool,
    /// The only key that is read; none for all.
    pub key: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template {
    pub image: u32,
    pub references: Vec<Reference>,
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Revision {
    pub template: Template,
    /// The metadata annotations while it was the newest, which undoing brings back.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Pod {
    pub name: String,
    pub ordinal: usize,
    pub revision: usize,
    /// In milliseconds.
    pub created: i64,
    pub references: Vec<Reference>,
    /// None while something it needs is not there.
    pub read: Option<Read>,
    pub available: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub uid: String,
    pub version: u64,
    pub data: Data,
    /// In milliseconds.
    pub written: i64,
    pub writer: &'static str,
}

/// A Deployment, StatefulSet or DaemonSet.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    pub kind: Kind,
    pub name: String,
    pub uid: String,
    pub version: u64,
    pub generation: u64,
    pub observed: u64,
    pub annotations: BTreeMap<String, String>,
    pub template: Template,
    /// Who owns an annotation: of the template or of the metadata.
    pub owners: BTreeMap<(bool, String), BTreeSet<&'static str>>,
    /// When each manager last changed something, in milliseconds.
    pub times: BTreeMap<&'static str, i64>,
    pub revisions: Vec<Revision>,
    /// The revision that its controller moves to.
    pub current: usize,
    pub pods: Vec<Pod>,
    pub replicas: usize,
    pub paused: bool,
    pub replacing: Replacing,
    /// When its rollout last came a step further.
    pub progressed: i64,
    /// How far its rollout was when a watch event last told of it.
    pub told: Option<Progress>,
    /// Every write of ours is refused.
    pub refuses: bool,
    /// A webhook answers every write of ours as if there were a newer version.
    pub conflicts: bool,
    /// A tool takes back our stamp so often.
    pub reverting: u32,
}

pub(crate) fn second(millisecond: i64) -> Timestamp {
    Timestamp::from_second(millisecond.div_euclid(1000)).unwrap()
}

pub(crate) fn config_id(config: usize) -> ConfigId {
    let kind = if config.is_multiple_of(2) { ConfigKind::ConfigMap } else { ConfigKind::Secret };
    ConfigId { kind, key: ConfigKey { namespace: NAMESPACE.to_owned(), name: format!("c{config}") } }
}

/// What is read of an object by a reference.
pub(crate) fn projected(reference: &Reference, data: Option<&Data>) -> Option<Data> {
    let reads = |key: &&'static str| reference.key.is_none_or(|only| only == *key);
    data.map(|data| data.iter().filter(|(key, _)| reads(key)).map(|(key, value)| (*key, *value)).collect())
}

pub(crate) fn content(key: &DigestKey, data: &Data) -> ConfigContent {
    let written: Vec<(&str, String)> = data.iter().map(|(name, value)| (*name, format!("v{value}"))).collect();
    ConfigContent::new(key, written.iter().map(|(name, value)| (*name, value.as_str())), [])
}

pub(crate) fn reading(key: &DigestKey, config: Option<&Config>) -> Reading {
    let Some(config) = config else { return Reading::Absent };
    Reading::Present(Box::new(ConfigObject {
        uid: config.uid.as_str().into(),
        resource_version: config.version.to_string().into(),
        content: content(key, &config.data).into(),
        written: Some(second(config.written)),
        writer: Some(config.writer.into()),
        marks: ConfigMarks::default(),
    }))
}

/// The stamp of pods that read this.
pub(crate) fn stamp_of(key: &DigestKey, template: &Template, read: &Read) -> String {
    let workload = workload_of(Kind::Deployment, "x", template);
    let found: Vec<Dependency> = dependencies(&workload);
    let contents: Vec<Option<ConfigContent>> = found
        .iter()
        .map(|dependency| {
            let at = template.references.iter().position(|reference| {
                let id = config_id(reference.config);
                id.kind == dependency.kind && *id.key.name == *dependency.name
            });
            read[at.unwrap()].as_ref().map(|data| content(key, data))
        })
        .collect();
    let states: Vec<(&Dependency, State<'_>)> = found
        .iter()
        .zip(&contents)
        .map(|(dependency, content)| (dependency, content.as_ref().map_or(State::Absent, State::Present)))
        .collect();
    digest(key, &states).to_string()
}

fn workload_of(kind: Kind, name: &str, template: &Template) -> workload::Workload {
    let from = template.references.iter().map(|reference| {
        let id = config_id(reference.config);
        let is_map = id.kind == ConfigKind::ConfigMap;
        match reference.key {
            None => {
                let source = json!({"name": id.key.name, "optional": reference.optional});
                (None, Some(if is_map { json!({"configMapRef": source}) } else { json!({"secretRef": source}) }))
            }
            Some(key) => {
                let source = json!({"name": id.key.name, "key": key, "optional": reference.optional});
                let from = if is_map { json!({"configMapKeyRef": source}) } else { json!({"secretKeyRef": source}) };
                (Some(json!({"name": "V", "valueFrom": from})), None)
            }
        }
    });
    let (env, env_from): (Vec<_>, Vec<_>) = from.unzip();
    let env: Vec<_> = env.into_iter().flatten().collect();
    let env_from: Vec<_> = env_from.into_iter().flatten().collect();
    let container = json!({"name": "app", "image": format!("app:{}", template.image), "env": env, "envFrom": env_from});
    let value = json!({
        "apiVersion": kind.api_version(), "kind": kind.name(),
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"template": {"spec": {"containers": [container]}}},
    });
    workload::Workload::read(&value, kind.api_version(), kind.name(), &[]).unwrap().unwrap()
}

impl Workload {
    pub(crate) fn key(&self) -> WorkloadKey {
        key(self.kind, &self.name)
    }

    /// Pods that its controller moves by itself.
    fn is_moved(&self, pod: &Pod) -> bool {
        match self.replacing {
            Replacing::Rolling => true,
            Replacing::OnDelete => false,
            Replacing::Partition(kept) => i64::try_from(pod.ordinal).unwrap() >= kept,
        }
    }

    pub(crate) fn progress(&self, now: i64) -> Progress {
        if self.observed < self.generation {
            return Progress::UnderWay;
        }
        let is_done = |pod: &Pod| pod.available && (pod.revision == self.current || !self.is_moved(pod));
        if self.pods.len() == self.replicas && self.pods.iter().all(is_done) {
            return Progress::Complete;
        }
        let is_overdue = now - self.progressed >= DEADLINE * 1000;
        if self.kind == Kind::Deployment && is_overdue && !self.paused { Progress::Failed } else { Progress::UnderWay }
    }

    /// As the operator reads it.
    pub(crate) fn object(
        &self,
        now: i64,
        cache: &mut BTreeMap<(Kind, String, Vec<Reference>, u32), workload::Workload>,
    ) -> Object {
        let of =
            |annotations: &BTreeMap<String, String>, name: &str| annotations.get(name).map(|text| text.as_str().into());
        let mut hasher = DefaultHasher::new();
        (self.template.image, &self.template.references).hash(&mut hasher);
        let writers =
            self.times.iter().filter(|(manager, _)| **manager != ROLLOUT_MANAGER && **manager != RECORD_MANAGER);
        let writer = writers.max_by_key(|(_, time)| second(**time));
        let rollout = Rollout {
            resource_version: self.version.to_string().into(),
            choice: match self.annotations.get(ROLLOUT).map(String::as_str) {
                Some("enabled") => Choice::Enabled,
                Some(_) => Choice::Disabled,
                None => Choice::Unset,
            },
            stamp: of(&self.template.annotations, STAMP),
            cause: of(&self.template.annotations, CAUSE),
            baseline: of(&self.annotations, BASELINE),
            sources: of(&self.annotations, SOURCES),
            differs_since: of(&self.annotations, DIFFERS_SINCE),
            template: hasher.finish(),
            progress: self.progress(now),
            update_revision: None,
            paused: self.paused && self.kind == Kind::Deployment,
            leaving: false,
            replacing: self.replacing,
            replicas: i64::try_from(self.replicas).unwrap(),
            rolled: self.times.get(ROLLOUT_MANAGER).map(|time| second(*time)),
            writer: writer.map(|(manager, time)| Writer { manager: (*manager).into(), time: second(*time) }),
            template_pointers: ["/spec/template".into()].into(),
            reloader: None,
        };
        let known = (self.kind, self.name.clone(), self.template.references.clone(), self.template.image);
        let make = || workload_of(self.kind, &self.name, &self.template);
        let workload = cache.entry(known).or_insert_with(make).clone();
        Object {
            uid: self.uid.clone(),
            controller: None,
            content: Content::Known(Box::new(workload)),
            rollout: Some(Box::new(rollout)),
            pod: None,
        }
    }

    /// The uid of what makes pods of a revision.
    pub(crate) fn maker(&self, revision: usize) -> String {
        if self.kind == Kind::Deployment { format!("{}-rs{revision}", self.uid) } else { self.uid.clone() }
    }
}

pub(crate) fn key(kind: Kind, name: &str) -> WorkloadKey {
    WorkloadKey { kind: WorkloadKind::BuiltIn(kind), namespace: NAMESPACE.to_owned(), name: name.to_owned() }
}

pub(crate) fn made(uid: String, controller: String, pod: Option<&Pod>) -> Object {
    let pod = pod.map(|pod| PodFacts {
        created: pod.created.div_euclid(1000),
        leaving: false,
        ready: pod.available,
        revision: None,
    });
    Object { uid, controller: Some(controller), content: Content::Made, rollout: None, pod }
}
