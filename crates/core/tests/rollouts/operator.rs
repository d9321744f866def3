//! An operator as its shell runs it: watches that come late, reads, writes that fail, a restart, a clock that is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use immutable_core::policy::{
    ControllerCreated, Enforcement, ExceptionSettings, NamespaceMatch, PolicyDraft, PolicyId, Profile,
};
use immutable_core::replace::{Intent, Outcome, Planner, ReplaceSettings};
use immutable_core::rules::{ConfigKind, RuleSettings};
use immutable_core::selector::LabelSelector;
use immutable_core::workload::Kind;
use immutable_core::world::{Change, ConfigId, NamespaceFacts, Reading, Touched, World};
use jiff::Timestamp;
use serde_json::Value;

use crate::cluster::{Cluster, WATCHED};
use crate::objects::{Data, NAMESPACE, config_id, reading};

/// What becomes of a write on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    None,
    /// It is denied.
    Refused,
    /// It is lost.
    LostRequest,
    /// It is done, and the answer is lost.
    LostAnswer,
    /// The operator finds that it leads no more.
    NotTried,
}

/// A write that was handed out.
#[derive(Clone, Debug)]
pub(crate) struct Writing {
    pub intent: Intent,
    /// What became of it, once it was done.
    pub outcome: Option<Outcome>,
}

#[derive(Clone, Debug, Default)]
struct Reads {
    done: Option<(Reading, Option<Data>)>,
    again: bool,
}

pub(crate) struct Operator {
    pub world: World,
    pub planner: Planner,
    seen: BTreeMap<Kind, usize>,
    seen_configs: BTreeMap<ConfigKind, usize>,
    reads: BTreeMap<ConfigId, Reads>,
    touched: Touched,
    pub writes: Vec<Writing>,
    /// How much its clock is ahead, in milliseconds.
    pub skew: i64,
    /// Whether it believes that it leads.
    pub leads: bool,
    pub next: Option<Timestamp>,
    /// When it was started, or first read something, in milliseconds of the API server's clock.
    pub started: i64,
    /// When it last learned what something holds, in the same way.
    pub learned: i64,
    /// What it has read since it was started.
    pub known: BTreeSet<(ConfigId, Option<Data>)>,
}

/// A policy for the whole cluster.
pub(crate) fn policy(name: &str, replace: &Value) -> Change {
    let id = PolicyId { namespace: None, name: name.to_owned() };
    let settings: ReplaceSettings = serde_json::from_value(replace.clone()).unwrap();
    let draft = PolicyDraft {
        id: id.clone(),
        profile: Profile::None,
        enforcement: Enforcement::Audit,
        suspend: None,
        namespaces: NamespaceMatch::default(),
        kinds: Vec::new(),
        selector: LabelSelector::default(),
        custom_workloads: Vec::new(),
        rules: RuleSettings::default(),
        controller_created: ControllerCreated::default(),
        exceptions: ExceptionSettings::default(),
        replace: Some(settings),
    };
    Change::Policy(id, Some(Arc::new(draft.validate().unwrap())))
}

impl Operator {
    /// One that starts now: everything is listed.
    pub(crate) fn start(cluster: &mut Cluster, policies: &[Change]) -> Self {
        let mut planner = Planner::default();
        planner.use_key(Some(cluster.key.clone()));
        let mut operator = Self {
            world: World::new("immutable-system"),
            planner,
            seen: BTreeMap::new(),
            seen_configs: BTreeMap::new(),
            reads: BTreeMap::new(),
            touched: Touched::everything(),
            writes: Vec::new(),
            skew: 0,
            leads: false,
            next: None,
            started: cluster.now,
            learned: cluster.now,
            known: BTreeSet::new(),
        };
        let facts = NamespaceFacts { labels: BTreeMap::new(), terminating: false };
        operator.take(Change::Namespace(NAMESPACE.to_owned(), Some(facts)));
        for policy in policies {
            operator.take(policy.clone());
        }
        for kind in WATCHED {
            operator.take(cluster.list(kind));
            operator.seen.insert(kind, cluster.log[&kind].len());
        }
        for (kind, log) in &cluster.config_log {
            operator.seen_configs.insert(*kind, log.len());
        }
        operator
    }

    pub(crate) fn take(&mut self, change: Change) {
        let touched = self.world.apply(change);
        self.touched.merge(touched);
    }

    pub(crate) fn now(&self, cluster: &Cluster) -> Timestamp {
        Timestamp::from_millisecond(cluster.now + self.skew).unwrap()
    }

    /// Takes in some events of a kind.
    pub(crate) fn watch(&mut self, cluster: &Cluster, kind: Kind, events: usize) -> bool {
        let log = &cluster.log[&kind];
        let from = self.seen[&kind];
        let to = log.len().min(from.saturating_add(events));
        for change in &log[from..to] {
            self.take(change.clone());
        }
        self.seen.insert(kind, to);
        from < to
    }

    /// Takes in events of ConfigMaps or Secrets: what is wanted is read.
    pub(crate) fn watch_configs(&mut self, cluster: &Cluster, kind: ConfigKind, events: usize) -> bool {
        let log = &cluster.config_log[&kind];
        let from = self.seen_configs[&kind];
        let to = log.len().min(from.saturating_add(events));
        for id in &log[from..to] {
            if self.planner.wants(id) {
                self.read(id.clone());
            }
        }
        self.seen_configs.insert(kind, to);
        from < to
    }

    fn read(&mut self, id: ConfigId) {
        match self.reads.get_mut(&id) {
            Some(reads) => reads.again |= reads.done.is_some(),
            None => drop(self.reads.insert(id, Reads::default())),
        }
    }

    /// Some reads reach the API server.
    pub(crate) fn perform_reads(&mut self, cluster: &Cluster) -> bool {
        let mut any = false;
        for (id, reads) in self.reads.iter_mut().filter(|(_, reads)| reads.done.is_none()) {
            let config =
                cluster.configs.iter().find(|(config, _)| config_id(**config) == *id).map(|(_, config)| config);
            reads.done = Some((reading(&cluster.key, config), config.map(|config| config.data.clone())));
            any = true;
        }
        any
    }

    /// The answers come.
    pub(crate) fn answer_reads(&mut self, cluster: &Cluster) -> bool {
        let mut any = false;
        let done: Vec<ConfigId> =
            self.reads.iter().filter(|(_, reads)| reads.done.is_some()).map(|(id, _)| id.clone()).collect();
        for id in done {
            let reads = self.reads.remove(&id).unwrap();
            if reads.again {
                self.read(id.clone());
            }
            if self.planner.wants(&id)
                && let Some((reading, data)) = reads.done
            {
                if self.known.is_empty() {
                    self.started = cluster.now;
                }
                self.known.insert((id.clone(), data));
                self.take(Change::Content(id, Some(reading)));
                self.learned = cluster.now;
            }
            any = true;
        }
        any
    }

    /// A step of the planner. Returns what it handed out.
    pub(crate) fn step(&mut self, cluster: &Cluster) -> Vec<Intent> {
        let now = self.now(cluster);
        if !self.leads {
            let (kept, untried) =
                std::mem::take(&mut self.writes).into_iter().partition(|write| write.outcome.is_some());
            self.writes = kept;
            for write in untried {
                let _ = self.planner.done(&write.intent, Outcome::NotTried, now);
            }
        }
        let touched = std::mem::take(&mut self.touched);
        let step = self.planner.step(&self.world, &touched, now, self.leads);
        assert!(self.leads || step.intents.is_empty());
        for id in step.unwanted {
            self.take(Change::Content(id, None));
        }
        for id in step.wanted {
            self.read(id);
        }
        let targets: BTreeSet<_> = step.intents.iter().map(|intent| &intent.target().key).collect();
        assert_eq!(targets.len(), step.intents.len(), "two writes of one workload at once: {:?}", step.intents);
        self.writes.extend(step.intents.iter().map(|intent| Writing { intent: intent.clone(), outcome: None }));
        self.next = step.next;
        step.intents
    }

    /// The answer to a write comes.
    pub(crate) fn answer(&mut self, cluster: &Cluster, write: usize) -> bool {
        if self.writes.get(write).is_none_or(|write| write.outcome.is_none()) {
            return false;
        }
        let write = self.writes.remove(write);
        let now = self.now(cluster);
        let _ = self.planner.done(&write.intent, write.outcome.unwrap(), now);
        true
    }
}
