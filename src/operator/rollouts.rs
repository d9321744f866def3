//! Replacing pods: what ConfigMaps and Secrets hold is read, the planner decides, and what it wants is written.
//!
//! A change is replaced within milliseconds where no pass is under way. Beside a pass what is queued is read and written, and
//! what that brings is kept: the picture of the cluster is the pass's alone, so what follows is decided when it has ended.

mod bursts;
mod key;
mod put_off;
mod reading;
mod tasks;
mod tell;
mod watch;
mod writing;

use std::collections::BTreeSet;
use std::sync::Arc;

use immutable_core::native::Installation;
use immutable_core::replace::{Begun, Compatibility, Intent, Numbers, Outcome, Planner, Summary};
use immutable_core::rules::ConfigKind;
use immutable_core::workload::rollout::Choice;
use immutable_core::world::{self, ConfigId, Reading, Touched, World};
use jiff::Timestamp;
use kube::Client;
use tokio::time::{Duration, Instant};

use super::cluster::Cluster;
use super::write::Writer;
use crate::telemetry::{Metrics, ReadResult, WriteResult};
use key::KeyKeeper;
use reading::Reader;
use tell::Teller;
use watch::{ConfigEvent, ConfigWatch};
use writing::Writing;

/// When the next step is due where nothing is to be done.
const IDLE: Duration = Duration::from_secs(30);
/// How often it is summed up at most where workloads stand: that is a walk over all of them.
const SUMMARY_INTERVAL: Duration = Duration::from_secs(1);
/// How long after a step at the soonest, so that what was just begun is not held up.
const SUMMARY_PAUSE: Duration = Duration::from_millis(200);

/// Something that a step may be due for.
pub(super) enum RolloutEvent {
    /// of a watch of ConfigMaps or Secrets
    Config(ConfigEvent),
    /// that one was read
    Read(ConfigId, Option<Reading>),
    /// what became of a write
    Written(Box<(Intent, Outcome)>),
    /// that the key of digests was looked for
    Key,
    /// that it is time to sum up where workloads stand
    SumUp,
}

/// What is to be done after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follow {
    /// A step, at once.
    Step,
    /// A pass: statuses say something else.
    Pass,
    /// Nothing.
    Nothing,
}

/// All of it.
pub(super) struct Rollouts {
    planner: Planner,
    client: Client,
    writer: Writer,
    metrics: Metrics,
    watch: Option<ConfigWatch>,
    /// Whether the names of all ConfigMaps and Secrets are kept.
    keeps_names: bool,
    reader: Reader,
    keeper: KeyKeeper,
    writing: Writing,
    touched: Touched,
    /// Whether everything was known once.
    is_complete: bool,
    teller: Teller,
    /// Where workloads stand, and when that was summed up; none before the first look.
    summary: Option<(Arc<Summary>, Instant)>,
    /// When that is to be done again.
    sum_up_at: Option<Instant>,
    leads: bool,
}

impl Rollouts {
    /// Nothing yet; the key of digests is kept in the namespace of the installation.
    pub(super) fn new(
        client: Client,
        writer: Writer,
        metrics: Metrics,
        installation: &Installation,
        instance: String,
    ) -> Self {
        let namespace = &installation.namespace;
        Self {
            teller: Teller::new(writer.clone(), metrics.clone(), installation.clone(), instance),
            summary: None,
            sum_up_at: None,
            leads: false,
            planner: Planner::default(),
            reader: Reader::new(client.clone()),
            keeper: KeyKeeper::new(client.clone(), writer.clone(), namespace),
            client,
            writer,
            metrics,
            watch: None,
            keeps_names: false,
            writing: Writing::new(),
            touched: Touched::everything(),
            is_complete: false,
        }
    }

    /// The next event; never ends.
    pub(super) async fn next(&mut self) -> RolloutEvent {
        let sum_up_at = self.sum_up_at;
        let sum_up = async {
            match sum_up_at {
                Some(at) => tokio::time::sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = self.next_beside_a_pass() => event,
            () = sum_up => RolloutEvent::SumUp,
        }
    }

    /// The next event that may be kept while a pass goes on, which has the picture of the cluster for itself; never ends.
    pub(super) async fn next_beside_a_pass(&mut self) -> RolloutEvent {
        let watch = async {
            match &mut self.watch {
                Some(watch) => watch.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = watch => RolloutEvent::Config(event),
            (id, reading) = self.reader.next() => RolloutEvent::Read(id, reading),
            written = self.writing.next() => RolloutEvent::Written(Box::new(written)),
            () = self.keeper.next() => RolloutEvent::Key,
            never = self.teller.work() => match never {},
        }
    }

    /// Takes in an event; returns what is to be done then.
    pub(super) fn apply(&mut self, event: RolloutEvent, cluster: &mut Cluster) -> Follow {
        match event {
            RolloutEvent::SumUp => return if self.sum_up(cluster) { Follow::Pass } else { Follow::Nothing },
            RolloutEvent::Config(event) => self.config(event, cluster),
            RolloutEvent::Read(id, reading) => {
                self.metrics.config_read(id.kind, read_result(reading.as_ref()));
                if self.planner.wants(&id)
                    && let Some(reading) = reading
                {
                    cluster.change(world::Change::Content(id, Some(reading)));
                }
            }
            RolloutEvent::Written(written) => {
                let (intent, outcome) = *written;
                self.count(&intent, &outcome);
                if let Some(begun) = self.planner.done(&intent, outcome, Timestamp::now()) {
                    self.has_begun(&begun, &intent, cluster);
                }
            }
            RolloutEvent::Key => {
                if let Some(key) = self.keeper.take() {
                    // What was decided by digests of another key is not written.
                    let revoked = self.writing.revoke_all();
                    self.give_back(revoked);
                    self.reader.forget(key.clone());
                    self.planner.use_key(Some(key));
                    cluster.change(world::Change::ForgetContents);
                }
            }
        }
        Follow::Step
    }

    fn config(&mut self, event: ConfigEvent, cluster: &mut Cluster) {
        let contents = cluster.world.contents();
        match event {
            ConfigEvent::Seen(id, version) => {
                if self.planner.wants(&id) {
                    self.reader.seen(&id, version, contents);
                }
                self.keeper.seen(&id);
                if self.keeps_names {
                    cluster.change(world::Change::Name(id, true));
                }
            }
            ConfigEvent::Gone(id, version) => {
                if self.planner.wants(&id) {
                    self.reader.gone(&id, version, contents);
                }
                self.keeper.seen(&id);
                if self.keeps_names {
                    cluster.change(world::Change::Name(id, false));
                }
            }
            ConfigEvent::All(kind, all) => {
                let mut gone: BTreeSet<&ConfigId> = self.planner.wanted().filter(|id| id.kind == kind).collect();
                self.keeper.all(kind);
                let mut names = Vec::new();
                for (key, version) in all {
                    let id = ConfigId { kind, key };
                    if gone.remove(&id) {
                        self.reader.seen(&id, version, contents);
                    }
                    if self.keeps_names {
                        names.push(id.key);
                    }
                }
                for id in gone {
                    self.reader.changed(id.clone(), contents);
                }
                if self.keeps_names {
                    cluster.change(world::Change::Names(kind, names));
                }
            }
        }
    }

    /// Plans, and begins what may be begun now; returns when the next step is due if nothing happens.
    pub(super) fn step(&mut self, cluster: &mut Cluster, is_complete: bool, leads: bool) -> Duration {
        self.touched.merge(cluster.take_touched_rollouts());
        self.is_complete |= is_complete;
        if !self.is_complete || !self.is_wanted(&cluster.world) {
            return IDLE;
        }
        // Patterns in annotations of Reloader's are over all names there are.
        let needs_names = !self.keeps_names && asks_for_names(&cluster.world);
        if self.watch.is_none() || needs_names {
            self.keeps_names |= needs_names;
            self.watch = Some(ConfigWatch::new(&self.client, &self.metrics));
        }
        self.keeper.look(leads);
        if !leads {
            let revoked = self.writing.revoke_all();
            self.give_back(revoked);
            self.teller.forget();
        }
        let now = Timestamp::now();
        let touched = std::mem::take(&mut self.touched);
        // The step decides anew on what it gets back, and hands out again what is still wanted.
        let revoked = self.writing.revoke(&touched, Instant::now());
        self.give_back(revoked);
        let step = self.planner.step(&cluster.world, &touched, now, leads);
        for id in step.unwanted {
            self.reader.unwanted(&id);
            cluster.change(world::Change::Content(id, None));
        }
        for id in step.wanted {
            self.reader.want(id);
        }
        self.writing.add(step.intents, Instant::now());
        self.begin();
        for (key, why) in step.dropped {
            tracing::warn!(workload = %key, %why, "its pods read what was before, and are not replaced");
        }
        for held in step.held {
            self.metrics.rollout_suppressed(held.waiting.reason);
            self.teller.held(&held, cluster.world.contents());
        }
        self.leads = leads;
        let last = self.summary.as_ref().map(|(_, last)| *last + SUMMARY_INTERVAL);
        let soon = Instant::now() + SUMMARY_PAUSE;
        self.sum_up_at.get_or_insert_with(|| last.map_or(soon, |last| last.max(soon)));
        step.next.map_or(IDLE, |next| {
            Duration::try_from(next.duration_since(now)).unwrap_or_default().clamp(Duration::from_millis(1), IDLE)
        })
    }

    /// Where workloads stand; none while that is not known.
    pub(super) fn summary(&self) -> Option<Arc<Summary>> {
        self.summary.as_ref().map(|(summary, _)| Arc::clone(summary))
    }

    /// Sums up where workloads stand; returns whether that is otherwise than before for any policy.
    fn sum_up(&mut self, cluster: &Cluster) -> bool {
        self.sum_up_at = None;
        for kind in ConfigKind::ALL {
            self.metrics.config_objects(kind, cluster.world.contents().present(kind));
        }
        if !self.planner.has_key() {
            return self.summary.take().is_some();
        }
        let summary = self.planner.summary();
        // A replica that does not lead knows the same, and would count it a second time.
        let nothing = Numbers::default();
        self.metrics.rollouts(if self.leads { &summary.all } else { &nothing });
        let is_same = self.summary.as_ref().is_some_and(|(before, _)| before.policies == summary.policies);
        self.summary = Some((Arc::new(summary), Instant::now()));
        !is_same
    }

    fn count(&self, intent: &Intent, outcome: &Outcome) {
        let result = match outcome {
            Outcome::Written(_) => WriteResult::Taken,
            Outcome::Outdated => WriteResult::Conflict,
            Outcome::Failed(_) => WriteResult::Failed,
            Outcome::Gone | Outcome::NotTried => return,
        };
        if intent.rolls() {
            self.metrics.rollout(result);
        } else {
            self.metrics.config_record(result);
        }
    }

    fn has_begun(&mut self, begun: &Begun, intent: &Intent, cluster: &Cluster) {
        tracing::info!(workload = %begun.key, cause = %begun.cause, "its pods are replaced");
        if let Some(seen) = begun.seen {
            let since = Timestamp::now().duration_since(seen);
            self.metrics.rollout_seconds(Duration::try_from(since).unwrap_or_default());
        }
        self.teller.replaced(begun, &intent.target().resource_version, cluster.world.contents());
    }

    /// Begins as many writes as may be under way.
    pub(super) fn begin(&mut self) {
        self.writing.begin(&self.writer, Instant::now());
    }

    /// Tells the planner that these were not written.
    fn give_back(&mut self, intents: Vec<Intent>) {
        let now = Timestamp::now();
        for intent in intents {
            let _ = self.planner.done(&intent, Outcome::NotTried, now);
        }
    }

    /// Whether anybody asks for it. Once it was, it stays: what is watched costs little.
    fn is_wanted(&self, world: &World) -> bool {
        let says =
            |object: &world::Object| object.rollout.as_ref().is_some_and(|rollout| rollout.choice == Choice::Enabled);
        self.watch.is_some()
            || world.policies().any(|(_, policy)| policy.replace.is_some())
            || world.objects().any(|(_, object)| says(object))
    }
}

/// Whether a policy understands annotations that hold patterns.
fn asks_for_names(world: &World) -> bool {
    let replaces = world.policies().filter_map(|(_, policy)| policy.replace.as_ref());
    replaces.flat_map(|replace| &replace.compatibility).any(|other| *other == Compatibility::Reloader)
}

fn read_result(reading: Option<&Reading>) -> ReadResult {
    match reading {
        Some(Reading::Present(_)) => ReadResult::Present,
        Some(Reading::Absent) => ReadResult::Absent,
        Some(Reading::Unreadable(_)) => ReadResult::Unreadable,
        None => ReadResult::Error,
    }
}
