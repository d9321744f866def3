//! Replacing pods: what ConfigMaps and Secrets hold is read, the planner decides, and what it wants is written.
//!
//! All of it goes on beside the passes: a change is replaced within milliseconds.

mod key;
mod reading;
mod watch;

use std::collections::VecDeque;

use immutable_core::replace::{Intent, Outcome, Planner};
use immutable_core::workload::rollout::Choice;
use immutable_core::world::{self, ConfigId, Reading, Touched, World};
use jiff::Timestamp;
use kube::Client;
use tokio::task::JoinSet;
use tokio::time::Duration;

use super::cluster::Cluster;
use super::write::{WriteError, Writer};
use crate::telemetry::Metrics;
use key::KeyKeeper;
use reading::Reader;
use watch::{ConfigEvent, ConfigWatch};

/// How many writes are under way at once.
const WRITES_AT_ONCE: usize = 16;
/// When the next step is due where nothing is to be done.
const IDLE: Duration = Duration::from_secs(30);

/// Something that a step may be due for.
pub(super) enum RolloutEvent {
    /// of a watch of ConfigMaps or Secrets
    Config(ConfigEvent),
    /// that one was read
    Read(ConfigId, Option<Reading>),
    /// that a write has ended
    Written(Box<(Intent, Result<String, WriteError>)>),
    /// that the key of digests was looked for
    Key,
}

/// All of it.
pub(super) struct Rollouts {
    planner: Planner,
    client: Client,
    writer: Writer,
    metrics: Metrics,
    watch: Option<ConfigWatch>,
    reader: Reader,
    keeper: KeyKeeper,
    queue: VecDeque<Intent>,
    writing: JoinSet<(Intent, Result<String, WriteError>)>,
    touched: Touched,
    /// Whether everything was known once.
    is_complete: bool,
}

impl Rollouts {
    /// Nothing yet; the key of digests is kept in a namespace.
    pub(super) fn new(client: Client, writer: Writer, metrics: Metrics, namespace: &str) -> Self {
        Self {
            planner: Planner::default(),
            reader: Reader::new(client.clone()),
            keeper: KeyKeeper::new(client.clone(), writer.clone(), namespace),
            client,
            writer,
            metrics,
            watch: None,
            queue: VecDeque::new(),
            writing: JoinSet::new(),
            touched: Touched::everything(),
            is_complete: false,
        }
    }

    /// The next event; never ends.
    pub(super) async fn next(&mut self) -> RolloutEvent {
        let watch = async {
            match &mut self.watch {
                Some(watch) => watch.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            event = watch => RolloutEvent::Config(event),
            (id, reading) = self.reader.next() => RolloutEvent::Read(id, reading),
            Some(written) = self.writing.join_next() => match written {
                Ok(written) => RolloutEvent::Written(Box::new(written)),
                Err(error) => {
                    tracing::error!(%error, "a write of a rollout has broken off");
                    std::future::pending().await
                }
            },
            () = self.keeper.next() => RolloutEvent::Key,
        }
    }

    /// Takes in an event.
    pub(super) fn apply(&mut self, event: RolloutEvent, cluster: &mut Cluster) {
        match event {
            RolloutEvent::Config(event) => self.config(event, cluster),
            RolloutEvent::Read(id, reading) => {
                if self.planner.wants(&id)
                    && let Some(reading) = reading
                {
                    cluster.change(world::Change::Content(id, Some(reading)));
                }
            }
            RolloutEvent::Written(written) => {
                let (intent, result) = *written;
                let outcome = outcome(&intent, result);
                let _ = self.planner.done(&intent, outcome, Timestamp::now());
            }
            RolloutEvent::Key => {
                if let Some(key) = self.keeper.take() {
                    self.reader.forget(key.clone());
                    self.planner.use_key(Some(key));
                    cluster.change(world::Change::ForgetContents);
                }
            }
        }
    }

    fn config(&mut self, event: ConfigEvent, cluster: &mut Cluster) {
        match event {
            ConfigEvent::Seen(id, version) => {
                if self.planner.wants(&id) {
                    self.reader.seen(&id, &version, cluster.world.contents());
                }
                self.keeper.seen(&id, &version);
                cluster.change(world::Change::Name(id, true));
            }
            ConfigEvent::Gone(id, uid) => {
                if self.planner.wants(&id) {
                    self.reader.gone(&id, &uid, cluster.world.contents());
                }
                self.keeper.gone(&id);
                cluster.change(world::Change::Name(id, false));
            }
            ConfigEvent::All(kind, all) => {
                let wanted: Vec<ConfigId> = self.planner.wanted().filter(|id| id.kind == kind).cloned().collect();
                for id in wanted {
                    match all.get(&id.key) {
                        Some(version) => self.reader.seen(&id, version, cluster.world.contents()),
                        None => self.reader.read(id),
                    }
                }
                self.keeper.all(kind, &all);
                cluster.change(world::Change::Names(kind, all.into_keys().collect()));
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
        if self.watch.is_none() {
            self.watch = Some(ConfigWatch::new(&self.client, &self.metrics));
        }
        self.keeper.look(leads);
        if !leads {
            for intent in std::mem::take(&mut self.queue) {
                let _ = self.planner.done(&intent, Outcome::NotTried, Timestamp::now());
            }
        }
        let now = Timestamp::now();
        let touched = std::mem::take(&mut self.touched);
        let step = self.planner.step(&cluster.world, &touched, now, leads);
        for id in step.unwanted {
            self.reader.unwanted(&id);
            cluster.change(world::Change::Content(id, None));
        }
        for id in step.wanted {
            self.reader.want(id);
        }
        self.queue.extend(step.intents);
        self.begin();
        step.next.map_or(IDLE, |next| {
            Duration::try_from(next.duration_since(now)).unwrap_or_default().clamp(Duration::from_millis(1), IDLE)
        })
    }

    /// Begins as many writes as may be under way.
    pub(super) fn begin(&mut self) {
        while self.writing.len() < WRITES_AT_ONCE
            && let Some(intent) = self.queue.pop_front()
        {
            let writer = self.writer.clone();
            self.writing.spawn(async move {
                let result = writer.roll(&intent).await;
                (intent, result)
            });
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

/// What became of a write, for the planner.
fn outcome(intent: &Intent, result: Result<String, WriteError>) -> Outcome {
    let key = &intent.target().key;
    match result {
        Ok(version) => {
            if intent.rolls() {
                tracing::info!(workload = %key, "its pods are replaced");
            }
            Outcome::Written(version)
        }
        Err(WriteError::NotLeader) => Outcome::NotTried,
        Err(error) if error.is_conflict() => Outcome::Outdated,
        Err(error) if error.is_not_found() => Outcome::Gone,
        Err(error) => {
            tracing::warn!(workload = %key, %error, "its annotations could not be written; it is tried again");
            Outcome::Failed(error.to_string())
        }
    }
}
