//! All of it together: what happens, one thing at a time, and what must hold after each.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use immutable_core::references::dependencies;
use immutable_core::replace::{Intent, Outcome, Reason};
use immutable_core::rules::ConfigKind;
use immutable_core::workload::Kind;
use immutable_core::workload::rollout::{CAUSE, Progress, Replacing, STAMP};
use immutable_core::world::{Change, Content};
use serde_json::Value;

use crate::cluster::{Cluster, WATCHED};
use crate::objects::{BAD, Data, Pod, Read, Reference, Workload, config_id, projected, stamp_of};
use crate::operator::{Fault, Operator, Writing, policy};

/// One thing that happens. Numbers are taken modulo what there is.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Edit {
        config: usize,
        key: usize,
        value: u8,
    },
    Touch {
        config: usize,
    },
    Remove {
        config: usize,
    },
    Deploy {
        workload: usize,
        keeps: bool,
        adds: Option<usize>,
    },
    Undo {
        workload: usize,
    },
    DropStamp {
        workload: usize,
    },
    RevertFrom {
        workload: usize,
        times: u32,
    },
    Pause {
        workload: usize,
        paused: bool,
    },
    Scale {
        workload: usize,
        replicas: usize,
    },
    Evict {
        workload: usize,
        pod: usize,
    },
    Recreate {
        workload: usize,
    },
    Annotate {
        workload: usize,
    },
    Refuse {
        workload: usize,
        refuses: bool,
    },
    Reconcile {
        workload: usize,
    },
    Watch {
        operator: usize,
        kind: usize,
        events: usize,
    },
    PerformReads {
        operator: usize,
    },
    AnswerReads {
        operator: usize,
    },
    Step {
        operator: usize,
    },
    Write {
        operator: usize,
        write: usize,
        fault: Fault,
    },
    Answer {
        operator: usize,
        write: usize,
    },
    Restart {
        operator: usize,
    },
    Lead {
        operator: usize,
        at_once: bool,
    },
    Pass {
        milliseconds: i64,
    },
    Jump {
        operator: usize,
        milliseconds: i64,
    },
    /// Everything works for so many seconds.
    Run {
        seconds: usize,
    },
}

/// What holds in a run.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub replace: Value,
    pub workloads: Vec<(Kind, Vec<Reference>, Replacing, usize)>,
    pub configs: usize,
    pub operators: usize,
}

/// A replacement of ours that was begun.
#[derive(Clone, Debug)]
pub(crate) struct Rolled {
    pub uid: String,
    pub name: String,
    pub stamp: String,
    pub cause: String,
    /// In milliseconds, by the API server's clock.
    pub at: i64,
    pub operator: usize,
    pub image: u32,
}

pub(crate) struct Model {
    pub cluster: Cluster,
    pub operators: Vec<Operator>,
    pub rolled: Vec<Rolled>,
    pub history: String,
    policies: Vec<Change>,
    replace: Value,
    /// Those whose pods are being replaced by us, by uid.
    open: BTreeSet<String>,
    configs: usize,
    /// Whether a clock was set, after which less is promised.
    pub has_jumped: bool,
}

const KEYS: [&str; 3] = ["a", "b", "z"];

impl Model {
    pub(crate) fn new(setup: &Setup) -> Self {
        let mut cluster = Cluster::new();
        for config in 0..setup.configs {
            cluster.write_config(config, Some(Data::from([("a", 1), ("b", 1)])), "kubectl");
        }
        cluster.now += 60_000;
        for (index, (kind, references, replacing, replicas)) in setup.workloads.iter().enumerate() {
            let name = format!("w{index}");
            cluster.create(*kind, &name, references, *replicas);
            cluster.workloads.get_mut(&name).unwrap().replacing = *replacing;
        }
        cluster.run_controllers();
        cluster.now += 60_000;
        let policies = vec![policy("p", &setup.replace)];
        let mut operators: Vec<Operator> =
            (0..setup.operators).map(|_| Operator::start(&mut cluster, &policies)).collect();
        operators[0].leads = true;
        let (rolled, history, configs) = (Vec::new(), String::new(), setup.configs);
        let replace = setup.replace.clone();
        let open = BTreeSet::new();
        Self { cluster, operators, rolled, history, policies, replace, open, configs, has_jumped: false }
    }

    fn note(&mut self, text: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.history, "{:>8} {text}", self.cluster.now - crate::cluster::START);
    }

    fn name_of(&self, workload: usize) -> String {
        let names: Vec<&String> = self.cluster.workloads.keys().collect();
        names[workload % names.len()].clone()
    }

    pub(crate) fn apply(&mut self, op: &Op) {
        self.note(format_args!("{op:?}"));
        match *op {
            Op::Edit { config, key, value } => {
                let config = config % self.configs;
                let mut data = self.cluster.configs.get(&config).map(|config| config.data.clone()).unwrap_or_default();
                data.insert(KEYS[key % KEYS.len()], value);
                // What a Pod cannot start without is there.
                data.entry("a").or_insert(1);
                self.cluster.write_config(config, Some(data), "kubectl");
            }
            Op::Touch { config } => {
                let config = config % self.configs;
                let data = self.cluster.configs.get(&config).map(|config| config.data.clone());
                if data.is_some() {
                    self.cluster.write_config(config, data, "kubectl");
                }
            }
            Op::Remove { config } => self.cluster.write_config(config % self.configs, None, "kubectl"),
            Op::Jump { operator, milliseconds } => {
                let count = self.operators.len();
                self.operators[operator % count].skew = milliseconds;
                self.has_jumped |= milliseconds != 0;
            }
            Op::Pass { milliseconds } => {
                self.cluster.now += milliseconds;
                self.cluster.tell_overdue();
            }
            Op::Run { seconds } => {
                for _ in 0..seconds {
                    self.run();
                }
            }
            Op::Watch { .. }
            | Op::PerformReads { .. }
            | Op::AnswerReads { .. }
            | Op::Step { .. }
            | Op::Write { .. }
            | Op::Answer { .. }
            | Op::Restart { .. }
            | Op::Lead { .. } => self.operate(op),
            _ => self.change(op),
        }
    }

    fn change(&mut self, op: &Op) {
        match *op {
            Op::Deploy { workload, keeps, adds } => {
                let name = self.name_of(workload);
                let added = adds.map(|config| Reference { config: config % self.configs, optional: true, key: None });
                self.cluster.update(&name, "helm", |workload| {
                    workload.template.image += 1;
                    let known = &mut workload.template.references;
                    if let Some(added) = added
                        && known.iter().all(|reference| reference.config != added.config)
                    {
                        known.push(added);
                    }
                    if !keeps {
                        workload.template.annotations.clear();
                        workload.annotations.retain(|name, _| name == immutable_core::workload::rollout::ROLLOUT);
                    }
                });
            }
            Op::Undo { workload } => {
                let name = self.name_of(workload);
                self.cluster.update(&name, "kubectl-rollout", |workload| {
                    let before = (0..workload.revisions.len()).rev().find(|revision| *revision != workload.current);
                    if let Some(before) = before {
                        workload.template = workload.revisions[before].template.clone();
                        if workload.kind == Kind::Deployment {
                            workload.annotations = workload.revisions[before].annotations.clone();
                        }
                    }
                });
            }
            Op::DropStamp { workload } => {
                let name = self.name_of(workload);
                self.cluster.update(&name, "argocd", |workload| {
                    workload.template.annotations.remove(STAMP);
                    workload.template.annotations.remove(CAUSE);
                });
            }
            Op::RevertFrom { workload, times } => {
                let name = self.name_of(workload);
                self.cluster.workloads.get_mut(&name).unwrap().reverting = times;
            }
            Op::Pause { workload, paused } => {
                let name = self.name_of(workload);
                self.cluster
                    .update(&name, "kubectl", |workload| workload.paused = paused && workload.kind == Kind::Deployment);
            }
            Op::Scale { workload, replicas } => {
                let name = self.name_of(workload);
                self.cluster.update(&name, "hpa", |workload| workload.replicas = replicas);
            }
            Op::Evict { workload, pod } => {
                let name = self.name_of(workload);
                self.cluster.evict(&name, pod);
            }
            Op::Recreate { workload } => {
                let name = self.name_of(workload);
                let before = self.cluster.delete(&name).unwrap();
                self.cluster.create(before.kind, &name, &before.template.references, before.replicas);
                let workload = self.cluster.workloads.get_mut(&name).unwrap();
                workload.replacing = before.replacing;
                // The operator may not know yet what its predecessor's pods were to be replaced for.
                if self.cluster.owed.contains(&before.uid) {
                    self.cluster.owed.insert(workload.uid.clone());
                }
            }
            Op::Annotate { workload } => {
                let name = self.name_of(workload);
                let version = self.cluster.version.to_string();
                self.cluster
                    .update(&name, "kubectl", |workload| drop(workload.annotations.insert("note".to_owned(), version)));
            }
            Op::Refuse { workload, refuses } => {
                let name = self.name_of(workload);
                self.cluster.workloads.get_mut(&name).unwrap().refuses = refuses;
            }
            Op::Reconcile { workload } => {
                let name = self.name_of(workload);
                self.cluster.reconcile(&name);
            }
            _ => unreachable!(),
        }
    }

    fn operate(&mut self, op: &Op) {
        let count = self.operators.len();
        match *op {
            Op::Watch { operator, kind, events } => {
                let operator = &mut self.operators[operator % count];
                match kind % 7 {
                    5 => operator.watch_configs(&self.cluster, ConfigKind::ConfigMap, events),
                    6 => operator.watch_configs(&self.cluster, ConfigKind::Secret, events),
                    kind => operator.watch(&self.cluster, WATCHED[kind], events),
                };
            }
            Op::PerformReads { operator } => drop(self.operators[operator % count].perform_reads(&self.cluster)),
            Op::AnswerReads { operator } => drop(self.operators[operator % count].answer_reads(&self.cluster)),
            Op::Step { operator } => self.step(operator % count),
            Op::Write { operator, write, fault } => self.write(operator % count, write, fault),
            Op::Answer { operator, write } => {
                let operator = &mut self.operators[operator % count];
                let done: Vec<usize> =
                    (0..operator.writes.len()).filter(|at| operator.writes[*at].outcome.is_some()).collect();
                if !done.is_empty() {
                    operator.answer(&self.cluster, done[write % done.len()]);
                }
            }
            Op::Restart { operator } => {
                let before = &self.operators[operator % count];
                let (leads, skew) = (before.leads, before.skew);
                self.cluster.forget_memory();
                let mut fresh = Operator::start(&mut self.cluster, &self.policies);
                (fresh.leads, fresh.skew) = (leads, skew);
                self.operators[operator % count] = fresh;
            }
            Op::Lead { operator, at_once } => {
                if at_once {
                    for operator in &mut self.operators {
                        operator.leads = false;
                    }
                }
                self.operators[operator % count].leads = true;
            }
            _ => unreachable!(),
        }
    }

    pub(crate) fn step(&mut self, operator: usize) {
        self.cluster.now += 1;
        for (_, object) in self.operators[operator].world.objects() {
            if let (Content::Known(workload), Some(_)) = (&object.content, &object.rollout) {
                let references = dependencies(workload).len();
                self.cluster.looked_at.insert((object.uid.clone(), references));
            }
        }
        self.close();
        let intents = self.operators[operator].step(&self.cluster);
        self.check_gates(operator, &intents);
        for intent in intents {
            let target = intent.target().clone();
            if let Intent::Roll { stamp, cause, .. } = &intent {
                self.note(format_args!(
                    "  {operator} decides to roll {} v{} to {stamp}: {cause}",
                    target.key, target.resource_version
                ));
                self.check_cause(operator, &target.uid, stamp);
            } else {
                self.note(format_args!("  {operator} decides on {intent:?}"));
            }
        }
    }

    /// The number-th write that was not done yet reaches the API server.
    fn write(&mut self, operator: usize, number: usize, fault: Fault) {
        let writes = &self.operators[operator].writes;
        let open: Vec<usize> = (0..writes.len()).filter(|at| writes[*at].outcome.is_none()).collect();
        if open.is_empty() {
            return;
        }
        let at = open[number % open.len()];
        let intent = writes[at].intent.clone();
        let outcome = match fault {
            Fault::NotTried => Outcome::NotTried,
            Fault::Refused => Outcome::Failed("denied".to_owned()),
            Fault::LostRequest => Outcome::Failed("no answer".to_owned()),
            Fault::None | Fault::LostAnswer => {
                let (outcome, rolls) = self.cluster.apply(&intent);
                self.note(format_args!("  {operator} writes {}: {outcome:?}", intent.target().key));
                if rolls {
                    self.landed(operator, &intent);
                }
                if fault == Fault::LostAnswer { Outcome::Failed("no answer".to_owned()) } else { outcome }
            }
        };
        self.operators[operator].writes[at].outcome = Some(outcome);
    }

    /// A replacement of ours has begun.
    fn landed(&mut self, operator: usize, intent: &Intent) {
        let Intent::Roll { target, stamp, cause, .. } = intent else { return };
        let uid = target.uid.clone();
        assert!(self.cluster.owed.remove(&uid), "{} was replaced twice or without cause\n{}", target.key, self.history);
        let template = &self.cluster.workloads[&target.key.name].template;
        if self.cluster.current_stamp(template) != *stamp {
            // It changed while the write was under way.
            self.cluster.owed.insert(uid.clone());
        }
        let interval = self.replace.get("minInterval").and_then(Value::as_str).unwrap_or("5s");
        let interval = match interval {
            "0s" => 0,
            "5s" => 5000,
            "1m" => 60_000,
            other => panic!("{other}"),
        };
        // Where the answer was lost, the API server's note of it has whole seconds.
        let last = self.rolled.iter().rfind(|rolled| rolled.uid == uid).map(|rolled| rolled.at);
        let is_soon = last.is_some_and(|last| self.cluster.now - last < interval - 1000);
        assert!(self.has_jumped || !is_soon, "{} was replaced a moment ago\n{}", target.key, self.history);
        let image = template.image;
        self.open.insert(uid.clone());
        let (name, stamp, cause) = (target.key.name.clone(), stamp.clone(), cause.clone());
        self.rolled.push(Rolled { uid, name, stamp, cause, at: self.cluster.now, operator, image });
    }

    /// Leaves out whose pods have been replaced, or were by somebody else.
    fn close(&mut self) {
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
    fn check_gates(&self, operator: usize, intents: &[Intent]) {
        let fresh = |intent: &&Intent| intent.rolls() && !self.open.contains(&intent.target().uid);
        if self.has_jumped || !intents.iter().any(|intent| fresh(&intent)) {
            return;
        }
        let minute = self.cluster.now.div_euclid(60_000).rem_euclid(30);
        assert!(self.replace.get("windows").is_none() || minute < 10, "outside the window\n{}", self.history);
        let writes = self.operators[operator].writes.iter().map(|write| &write.intent);
        let mut under_way: BTreeSet<&str> = self.open.iter().map(String::as_str).collect();
        under_way.extend(writes.filter(|intent| intent.rolls()).map(|intent| intent.target().uid.as_str()));
        let most = self.replace.get("maxConcurrent").and_then(Value::as_u64).unwrap_or(u64::MAX);
        assert!(under_way.len() as u64 <= most, "too many at once: {under_way:?}\n{}", self.history);
    }

    /// Some pod that the operator may know of has read something else than it is to read now.
    fn check_cause(&self, operator: usize, uid: &str, stamp: &str) {
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

    /// Everything works for a second.
    fn run(&mut self) {
        self.cluster.now += 1000;
        self.cluster.tell_overdue();
        self.cluster.reconcile_all();
        for operator in 0..self.operators.len() {
            self.catch_up(operator);
        }
    }

    /// One operator sees and does all it can; tells whether that was anything.
    fn catch_up(&mut self, operator: usize) -> bool {
        let mut any = false;
        for _ in 0..3 {
            let known = &mut self.operators[operator];
            for kind in WATCHED {
                any |= known.watch(&self.cluster, kind, usize::MAX);
            }
            for kind in [ConfigKind::ConfigMap, ConfigKind::Secret] {
                any |= known.watch_configs(&self.cluster, kind, usize::MAX);
            }
            any |= known.perform_reads(&self.cluster);
            any |= known.answer_reads(&self.cluster);
            self.step(operator);
            let open = |write: &Writing| write.outcome.is_none();
            while self.operators[operator].writes.iter().any(open) {
                any = true;
                self.write(operator, 0, Fault::None);
            }
            while !self.operators[operator].writes.is_empty() {
                self.operators[operator].answer(&self.cluster, 0);
            }
        }
        any
    }

    /// Nobody changes anything any more, and what was broken is repaired.
    pub(crate) fn repair(&mut self) {
        self.note(format_args!("repaired"));
        let names: Vec<String> = self.cluster.workloads.keys().cloned().collect();
        for name in names {
            let workload = self.cluster.workloads.get_mut(&name).unwrap();
            workload.refuses = false;
            if workload.paused {
                self.cluster.update(&name, "kubectl", |workload| workload.paused = false);
            }
        }
        for config in 0..self.configs {
            let Some(data) = self.cluster.configs.get(&config).map(|config| config.data.clone()) else { continue };
            if data.values().any(|value| *value == BAD) {
                let good = data.into_iter().map(|(key, value)| (key, value.max(1))).collect();
                self.cluster.write_config(config, Some(good), "kubectl");
            }
        }
        for operator in &mut self.operators {
            operator.leads = false;
        }
        self.operators[0].leads = true;
    }

    /// The workloads whose pods are being replaced by us.
    pub(crate) fn under_way(&self) -> Vec<&str> {
        let is_under_way = |workload: &&Workload| {
            let last = self.rolled.iter().rfind(|rolled| rolled.uid == workload.uid);
            let has_stamp = last.is_some_and(|last| workload.template.annotations.get(STAMP) == Some(&last.stamp));
            has_stamp && workload.progress(self.cluster.now) != Progress::Complete
        };
        self.cluster.workloads.values().filter(is_under_way).map(|workload| workload.name.as_str()).collect()
    }

    /// Lets time pass until nothing happens any more.
    pub(crate) fn quiet(&mut self) {
        for round in 0..3000 {
            self.cluster.now += 1000;
            let mut any = self.cluster.tell_overdue();
            any |= self.cluster.reconcile_all();
            for operator in 0..self.operators.len() {
                any |= self.catch_up(operator);
            }
            if any {
                continue;
            }
            let due = self.operators.iter().filter(|operator| operator.leads);
            let due = due.filter_map(|operator| Some(operator.next?.as_millisecond() + 1 - operator.skew));
            let Some(next) = due.chain(self.cluster.next_deadline()).min() else {
                self.note(format_args!("quiet after {round} rounds"));
                return;
            };
            self.cluster.now = self.cluster.now.max(next);
        }
        panic!("it never becomes quiet\n{}", self.history);
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
                Some(Reason::WriteFailed) => workload.refuses,
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
}

impl Model {
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
