//! Reports and Events: what is to be told of each workload, written a little at a time beside everything else.
//!
//! No report is kept: what is stored is known by its digest, and what it should say is made when its turn comes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use immutable_core::event::{Marks, Telling, notices, written};
use immutable_core::native::Installation;
use immutable_core::report::{ReportApi, ReportId, ReportIntent, digest, report};
use immutable_core::scan::Scan;
use immutable_core::world::{Touched, WorkloadKey, World};
use jiff::Timestamp;
use serde_json::Value;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::cluster::{Change, Cluster};
use super::endings::{Endings, LOOK_INTERVAL};
use super::report_choice::{ReportsMode, Served};
use super::report_queue::{Queue, Urgency, Work};
use super::report_troubles::Troubles;
use super::report_watch::{ReportEvent, Stored, narrow};
use super::write::{WriteError, Writer};
use crate::telemetry::Metrics;

/// How long a step takes at most, before other events have their turn.
const STEP: Duration = Duration::from_millis(20);
/// When the next step is due where nothing is to be done.
const IDLE: Duration = Duration::from_secs(30);
/// How long a report that vanished is waited for: its workload may be going, too, and be seen a moment later.
const VANISHED: Duration = Duration::from_secs(1);
/// When a report of another installation is looked at again.
const FOREIGN: Duration = Duration::from_secs(600);

/// A report as it is stored.
struct Known {
    stored: Stored,
    /// What we asked for when the API server stored this: an older CRD may leave fields out, and is not fought with.
    asked: Option<[u8; 16]>,
}

/// A workload of which something is told.
struct Told {
    uid: String,
    /// What Events told of it, where that is known beside its report.
    events: Option<Marks>,
}

/// What a task has done.
struct Done {
    work: Work,
    /// The verb of a write of a report, the report, and which of that name it was.
    write: Option<(&'static str, ReportId, Option<String>)>,
    asked: [u8; 16],
    /// The uid of the workload, and which Events are told of it by now.
    marks: Option<(String, Marks)>,
    /// Why an Event could not be told.
    untold: Option<WriteError>,
    result: Result<Option<(ReportId, Stored)>, WriteError>,
}

/// What is to be written about one thing.
struct Job {
    work: Work,
    /// Each with its mark.
    events: Vec<(u32, Value)>,
    /// The uid of the workload, and the marks of all there is to tell of it.
    marks: Option<(String, Marks)>,
    asked: [u8; 16],
    /// What the report that is there says, and what was asked for.
    there: [Option<[u8; 16]>; 2],
    intent: Option<ReportIntent>,
}

/// All of it.
pub(super) struct Reports {
    mode: ReportsMode,
    installation: Installation,
    instance: String,
    writer: Writer,
    metrics: Metrics,
    /// The APIs that are served.
    served: Served,
    /// Those whose reports are all known.
    complete: BTreeSet<ReportApi>,
    /// Those whose reports cannot be watched, and why.
    refused: BTreeMap<ReportApi, String>,
    known: BTreeMap<ReportId, Known>,
    told: BTreeMap<Arc<WorkloadKey>, Told>,
    /// The same by uid.
    by_uid: HashMap<String, Arc<WorkloadKey>>,
    capped: BTreeSet<Arc<WorkloadKey>>,
    endings: Endings,
    queue: Queue,
    tasks: JoinSet<Done>,
    ended: Vec<Done>,
    /// The versions in which reports went while writes were under way: what such a write answers may be of the past.
    gone: BTreeMap<ReportId, Stored>,
    /// Whether what runs has been judged in this term.
    scanned: bool,
    /// Whether everything must be looked at.
    stale: bool,
}

impl Reports {
    /// Nothing yet.
    pub(super) fn new(mode: ReportsMode, instance: String, writer: Writer, metrics: Metrics, of: Installation) -> Self {
        Self {
            mode,
            installation: of,
            instance,
            writer,
            metrics,
            served: Served::default(),
            complete: BTreeSet::new(),
            refused: BTreeMap::new(),
            known: BTreeMap::new(),
            told: BTreeMap::new(),
            by_uid: HashMap::new(),
            capped: BTreeSet::new(),
            endings: Endings::default(),
            queue: Queue::new(Instant::now()),
            tasks: JoinSet::new(),
            ended: Vec::new(),
            gone: BTreeMap::new(),
            scanned: false,
            stale: false,
        }
    }

    /// Forgets what an earlier term had to do; what is stored is known all the time.
    pub(super) fn new_term(&mut self) {
        self.queue.clear();
        self.told.clear();
        self.by_uid.clear();
        self.capped.clear();
        self.endings = Endings::default();
        self.scanned = false;
    }

    /// Takes in what the watches of reports tell.
    pub(super) fn apply(&mut self, event: ReportEvent) {
        let now = Instant::now();
        match event {
            ReportEvent::Served(served) => {
                let before = (self.served.apis(), self.wanted());
                let apis = served.apis();
                self.served = served;
                let wanted = self.wanted();
                if before != (apis.clone(), wanted) {
                    self.known.retain(|id, _| apis.contains(&id.api));
                    self.complete.retain(|api| apis.contains(api));
                    self.refused.retain(|api, _| apis.contains(api));
                    tracing::info!(api = wanted.map_or("none", ReportApi::group), "reports");
                    self.stale = true;
                }
            }
            ReportEvent::Change(api, Change::Failed(why)) => drop(self.refused.insert(api, why)),
            ReportEvent::Change(api, Change::Reset(reports)) => {
                let mut before = std::mem::take(&mut self.known);
                for (id, stored) in reports {
                    let known = before.remove(&id).filter(|known| known.stored.digest == stored.digest);
                    self.known.insert(id, Known { stored, asked: known.and_then(|known| known.asked) });
                }
                self.known.extend(before.into_iter().filter(|(id, _)| id.api != api));
                self.complete.insert(api);
                self.refused.remove(&api);
                self.stale = true;
            }
            ReportEvent::Change(_, Change::Apply((id, stored))) => {
                if self.take_in(&id, stored, None) {
                    self.look_at(id, now);
                }
            }
            ReportEvent::Change(_, Change::Delete((id, stored))) => {
                if !(self.tasks.is_empty() && self.ended.is_empty()) {
                    self.gone.insert(id.clone(), stored.clone());
                }
                if self.known.get(&id).is_some_and(|known| known.stored.uid == stored.uid) {
                    self.known.remove(&id);
                    if let Some(key) = self.claimed_by(&id) {
                        self.queue.push_later(Work::Tell(Arc::clone(key)), VANISHED, now);
                    }
                }
            }
        }
    }

    /// Takes in a version of a report unless a newer one is known; returns whether it says something new.
    fn take_in(&mut self, id: &ReportId, stored: Stored, asked: Option<[u8; 16]>) -> bool {
        match self.known.get_mut(id) {
            Some(known) if known.stored.uid == stored.uid => {
                if version(&stored) < version(&known.stored) {
                    return false;
                }
                let is_other = known.stored.digest != stored.digest;
                if is_other || asked.is_some() {
                    known.asked = asked;
                }
                known.stored = stored;
                is_other
            }
            _ => {
                self.known.insert(id.clone(), Known { stored, asked });
                true
            }
        }
    }

    /// Whether a version of a report is one that has gone.
    fn is_gone(&self, id: &ReportId, stored: &Stored) -> bool {
        self.gone.get(id).is_some_and(|gone| gone.uid == stored.uid && version(stored) <= version(gone))
    }

    /// Has a report looked at that somebody has written.
    fn look_at(&mut self, id: ReportId, now: Instant) {
        if !self.scanned {
            return;
        }
        let work = self.claimed_by(&id).map(|key| Work::Tell(Arc::clone(key)));
        self.queue.push(work.unwrap_or(Work::Remove(id)), Urgency::Outdated, now);
    }

    /// The API that reports are wanted in; none where there is none.
    fn wanted(&self) -> Option<ReportApi> {
        self.served.choose(self.mode).ok().flatten()
    }

    /// The workload that a report is wanted for.
    fn claimed_by(&self, id: &ReportId) -> Option<&Arc<WorkloadKey>> {
        let key = self.by_uid.get(id.workload_uid()?)?;
        (self.wanted() == Some(id.api) && key.namespace == id.namespace).then_some(key)
    }

    /// Something was judged again.
    pub(super) fn touched(&mut self, touched: &Touched, scan: &Scan) {
        self.scanned = true;
        self.stale |= touched.all;
        let now = Instant::now();
        for key in &touched.workloads {
            let badness = scan.badness(key);
            if let Some((key, _)) = self.told.get_key_value(key) {
                let key = Arc::clone(key);
                self.queue.push(Work::Tell(key), badness.map_or(Urgency::Outdated, Urgency::Of), now);
            } else if let Some(badness) = badness {
                self.queue.push(Work::Tell(Arc::new(key.clone())), Urgency::Of(badness), now);
            }
        }
    }

    /// Has everything looked at that should be told and everything that was.
    fn look_at_all(&mut self, scan: &Scan, world: &World) {
        let now = Instant::now();
        let mut before = std::mem::take(&mut self.told);
        self.by_uid.clear();
        for key in scan.with_something_to_tell() {
            let (Some(object), Some(badness)) = (world.object(key), scan.badness(key)) else { continue };
            let (key, told) = match before.remove_entry(key) {
                Some((key, told)) if told.uid == object.uid => (key, told),
                _ => (Arc::clone(key), Told { uid: object.uid.clone(), events: None }),
            };
            self.by_uid.insert(told.uid.clone(), Arc::clone(&key));
            self.queue.push(Work::Tell(Arc::clone(&key)), Urgency::Of(badness), now);
            self.told.insert(key, told);
        }
        self.capped.retain(|key| self.told.contains_key(key));
        let unclaimed: Vec<ReportId> = self.known.keys().filter(|id| self.claimed_by(id).is_none()).cloned().collect();
        for id in unclaimed {
            self.queue.push(Work::Remove(id), Urgency::Outdated, now);
        }
    }

    /// Waits until something that is under way has ended.
    pub(super) async fn finished(&mut self) {
        match self.tasks.join_next().await {
            Some(Ok(done)) => self.ended.push(done),
            Some(Err(error)) => tracing::error!(%error, "a write of a report has broken off"),
            None => std::future::pending().await,
        }
    }

    /// Begins what may be begun now; returns when the next step is due if nothing happens.
    pub(super) fn step(&mut self, cluster: &Cluster, scan: &Scan) -> Duration {
        let started = Instant::now();
        for done in std::mem::take(&mut self.ended) {
            self.end(done, started);
        }
        if self.tasks.is_empty() {
            self.gone.clear();
        }
        let is_known = |api: ReportApi| self.complete.contains(&api) || self.refused.contains_key(&api);
        if !self.scanned || !self.served.choose(self.mode).is_ok_and(|wanted| wanted.is_none_or(is_known)) {
            return IDLE;
        }
        if std::mem::take(&mut self.stale) {
            self.look_at_all(scan, &cluster.world);
        }
        self.look_at_ends(cluster, started);
        let next = loop {
            match self.queue.pop(Instant::now()) {
                Err(next) => break next.unwrap_or(IDLE).min(LOOK_INTERVAL),
                Ok(work) => match self.decide(&work, cluster, scan) {
                    Some(job) => self.begin(job),
                    None => self.queue.done(&work),
                },
            }
            if started.elapsed() >= STEP {
                break Duration::ZERO;
            }
        };
        let wanted = if self.wanted().is_some() { self.told.len() } else { 0 };
        self.metrics.reports(wanted, self.capped.len());
        next
    }

    /// Has those exceptions looked at that end soon: what does not count is missed by nobody.
    fn look_at_ends(&mut self, cluster: &Cluster, now: Instant) {
        let uid_of = |id: &_| cluster.exceptions.all.get(id).map(|known| known.version.uid.clone());
        if !self.endings.look(uid_of, now) {
            return;
        }
        let present = Timestamp::now();
        for exception in cluster.exceptions.in_effect.all() {
            if let Some(uid) = uid_of(&exception.id)
                && self.endings.is_news(exception, &uid, now)
                && self.telling(present).expiring(exception, &uid).is_some()
            {
                self.queue.push(Work::Expiring(exception.id.clone()), Urgency::Ending, now);
            }
        }
    }

    fn telling(&self, now: Timestamp) -> Telling<'_> {
        Telling { installation: &self.installation, instance: &self.instance, now }
    }

    /// What is to be written about something, on what is known now; nothing where all is as it should be.
    fn decide(&mut self, work: &Work, cluster: &Cluster, scan: &Scan) -> Option<Job> {
        match work {
            Work::Tell(key) => self.decide_workload(key, cluster, scan),
            Work::Remove(id) if self.claimed_by(id).is_some() => None,
            Work::Remove(id) => self.removal(id),
            Work::Expiring(id) => {
                let now = Instant::now();
                let uid = &cluster.exceptions.all.get(id)?.version.uid;
                let exception = cluster.exceptions.in_effect.get(id)?;
                let event = self.telling(Timestamp::now()).expiring(exception, uid)?;
                if !self.endings.is_news(exception, uid, now) {
                    return None;
                }
                self.endings.tell(exception, uid, now);
                let (marks, intent) = (None, None);
                Some(Job {
                    work: work.clone(),
                    events: vec![(0, event)],
                    marks,
                    asked: [0; 16],
                    there: [None; 2],
                    intent,
                })
            }
        }
    }

    fn removal(&self, id: &ReportId) -> Option<Job> {
        let Stored { uid, resource_version, .. } = &self.known.get(id)?.stored;
        let intent =
            ReportIntent::Delete { id: id.clone(), uid: uid.clone(), resource_version: resource_version.clone() };
        let work = Work::Remove(id.clone());
        Some(Job { work, events: Vec::new(), marks: None, asked: [0; 16], there: [None; 2], intent: Some(intent) })
    }

    fn decide_workload(&mut self, key: &Arc<WorkloadKey>, cluster: &Cluster, scan: &Scan) -> Option<Job> {
        let object = cluster.world.object(key).filter(|_| scan.badness(key).is_some());
        let wanted = self.wanted();
        // Another workload of the same name, or nothing to tell any more.
        if self.told.get(key).is_some_and(|told| object.is_none_or(|object| object.uid != told.uid)) {
            let told = self.told.remove(key)?;
            self.by_uid.remove(&told.uid);
            self.capped.remove(key);
            if let Some(id) = wanted.map(|api| ReportId::of(api, &key.namespace, &told.uid))
                && self.known.contains_key(&id)
            {
                // Nothing else remembers the report now: as work of its own it is tried until it is done.
                self.queue.push(Work::Remove(id), Urgency::Outdated, Instant::now());
            }
        }
        let object = object?;
        if !self.told.contains_key(key) {
            self.told.insert(Arc::clone(key), Told { uid: object.uid.clone(), events: None });
            self.by_uid.insert(object.uid.clone(), Arc::clone(key));
        }
        // Nothing can be created where a namespace is going, and it takes everything along.
        if cluster.world.namespaces().get(&key.namespace).is_some_and(|facts| facts.terminating) {
            return None;
        }
        let api = wanted.filter(|api| self.complete.contains(api));
        let id = api.map(|api| ReportId::of(api, &key.namespace, &object.uid));
        let known = id.as_ref().and_then(|id| self.known.get(id));
        let notices = notices(scan, key);
        let marks: Marks = notices.iter().map(immutable_core::event::Notice::mark).collect();
        let told = self.told.get(key).and_then(|told| told.events.as_ref());
        let told = told.or_else(|| known.map(|known| &known.stored.events));
        let news = notices.iter().filter(|notice| told.is_none_or(|told| !told.contains(&notice.mark())));
        let telling = self.telling(Timestamp::now());
        let events = news.map(|notice| {
            let policy_uid = cluster.policies.get(&notice.policy).map_or("", |known| known.version.uid.as_str());
            (notice.mark(), notice.manifest(&telling, key, &object.uid, policy_uid))
        });
        let events: Vec<(u32, Value)> = events.collect();
        let there = known.map_or([None; 2], |known| [Some(known.stored.digest), known.asked]);
        let (mut intent, mut asked) = (None, [0; 16]);
        if let Some(id) = id
            && let Some(report) = report(&cluster.world, &cluster.exceptions.in_effect, key, object)
        {
            let manifest = report.manifest(id.api, &self.installation, key, &object.uid, &written(&marks));
            asked = digest(&manifest);
            intent = match known {
                Some(_) if there.contains(&Some(asked)) => None,
                Some(Known { stored, .. }) => Some(ReportIntent::Replace {
                    id,
                    manifest,
                    uid: stored.uid.clone(),
                    resource_version: stored.resource_version.clone(),
                }),
                None => Some(ReportIntent::Create(id, manifest)),
            };
            if report.is_capped() {
                self.capped.insert(Arc::clone(key));
            } else {
                self.capped.remove(key);
            }
        }
        if events.is_empty() && intent.is_none() {
            if let Some(told) = self.told.get_mut(key) {
                told.events = Some(marks);
            }
            return None;
        }
        let marks = Some((object.uid.clone(), marks));
        Some(Job { work: Work::Tell(Arc::clone(key)), events, marks, asked, there, intent })
    }

    /// Begins to write. Events come first: a report remembers those that were told.
    fn begin(&mut self, job: Job) {
        let Job { work, events, mut marks, mut asked, there, mut intent } = job;
        self.queue.begin(work.clone(), events.len() + usize::from(intent.is_some()));
        let writer = self.writer.clone();
        self.tasks.spawn(async move {
            let mut untold = None;
            for (mark, event) in events {
                if let Err(error) = writer.create_event(event).await {
                    tracing::warn!(%error, "an Event was not told");
                    if let Some((_, marks)) = &mut marks {
                        marks.remove(&mark);
                    }
                    untold = Some(error);
                }
            }
            // What nobody has heard of is not remembered, and comes again; the report does not wait for it.
            if let (Some(_), Some((_, marks)), Some(report)) = (&untold, &marks, &mut intent) {
                asked = report.remember(&written(marks)).unwrap_or(asked);
                intent = intent.filter(|_| !there.contains(&Some(asked)));
            }
            let write = intent.as_ref().map(|intent| match intent {
                ReportIntent::Create(id, _) => ("create", id.clone(), None),
                ReportIntent::Replace { id, uid, .. } => ("update", id.clone(), Some(uid.clone())),
                ReportIntent::Delete { id, uid, .. } => ("delete", id.clone(), Some(uid.clone())),
            });
            let result = match intent {
                Some(intent) => writer.write_report(&intent).await,
                None => Ok(None),
            };
            let result = result.map(|stored| stored.map(|(api, object)| narrow(api, &object)));
            Done { work, write, asked, marks, untold, result }
        });
    }

    fn end(&mut self, done: Done, now: Instant) {
        let Done { work, write, asked, marks, untold, result } = done;
        if let (Work::Tell(key), Some((uid, marks))) = (&work, marks)
            && let Some(told) = self.told.get_mut(key).filter(|told| told.uid == uid)
        {
            told.events = Some(marks);
        }
        let verb = write.as_ref().map(|(verb, ..)| *verb);
        let untold = untold.map(|error| (None, error));
        let failure = match result {
            Ok(stored) => {
                if let Some(verb) = verb {
                    self.metrics.report_write(verb, true);
                }
                match (stored, write) {
                    // Or somebody has taken it away since, or its label, by which it is watched.
                    (Some((id, stored)), _) if self.is_gone(&id, &stored) => {
                        self.queue.done(&work);
                        self.queue.push_later(work, VANISHED, now);
                        return;
                    }
                    (Some((id, stored)), _) => drop(self.take_in(&id, stored, Some(asked))),
                    // One that was written in its place meanwhile stays known.
                    (None, Some(("delete", id, uid))) => {
                        if self.known.get(&id).is_some_and(|known| Some(&known.stored.uid) == uid.as_ref()) {
                            self.known.remove(&id);
                        }
                    }
                    (None, _) => {}
                }
                untold
            }
            // An Event is not put off as long as a report of another installation.
            Err(error @ WriteError::NotOurs { .. }) => untold.or(Some((verb, error))),
            Err(error) => Some((verb, error)),
        };
        if let (Work::Expiring(id), Some(_)) = (&work, &failure) {
            self.endings.untold(id);
        }
        match failure {
            None | Some((_, WriteError::NotLeader)) => self.queue.done(&work),
            // Another installation tells the same of it.
            Some((_, WriteError::NotOurs { .. })) => {
                self.queue.done(&work);
                self.queue.push_later(work, FOREIGN, now);
            }
            Some((_, error)) if error.is_conflict() || error.is_not_found() => self.queue.failed(work, None, now),
            Some((verb, error)) => {
                if let Some(verb) = verb {
                    self.metrics.report_write(verb, false);
                }
                tracing::warn!(what = ?work, %error, "not told");
                let what = if verb.is_some() { "" } else { "an Event was not told: " };
                self.queue.failed(work, Some(format!("{what}{error}")), now);
            }
        }
    }

    /// What the conditions of policies say of their reports.
    pub(super) fn troubles(&self, scan: &Scan) -> Troubles {
        let mut troubles = Troubles::default();
        let wanted = match self.served.choose(self.mode) {
            Ok(wanted) => wanted,
            Err(why) => {
                troubles.everywhere = why;
                return troubles;
            }
        };
        if let Some(api) = self.mode.insists_on().filter(|_| wanted.is_none()) {
            let api_version = api.api_version();
            troubles.everywhere =
                Some(format!("{api_version} is not served; install its CRDs, or let --reports be auto or none"));
        } else if let Some((api, why)) = self.refused.iter().find(|(api, _)| wanted == Some(**api)) {
            troubles.everywhere = Some(format!("{} {} cannot be watched: {why}", api.api_version(), api.kind()));
        }
        for (work, message) in self.queue.failures() {
            match work {
                Work::Tell(key) => {
                    for policy in scan.concerns(key) {
                        let (count, _) =
                            troubles.failed.entry(policy.clone()).or_insert_with(|| (0, message.to_owned()));
                        *count += 1;
                    }
                }
                Work::Remove(id) if troubles.everywhere.is_none() => {
                    troubles.everywhere =
                        Some(format!("{} {}/{} could not be removed: {message}", id.api.kind(), id.namespace, id.name));
                }
                Work::Remove(_) | Work::Expiring(_) => {}
            }
        }
        for key in &self.capped {
            for policy in scan.concerns(key) {
                *troubles.capped.entry(policy.clone()).or_default() += 1;
            }
        }
        troubles
    }
}

/// Versions of one object are numbers that grow; what is none counts as new.
fn version(stored: &Stored) -> u64 {
    stored.resource_version.parse().unwrap_or(u64::MAX)
}
