//! What happens to the Deployments of a namespace, seen by a watch that is not the operator's.

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use futures::TryStreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::{Api, ApiResource, ListParams, WatchEvent, WatchParams};
use kube::core::Object;
use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;

use crate::support::GENEROUS;

/// On the workload's own metadata: what its pods were started with, when it was first seen.
const BASELINE: &str = "immutable.dev/config-baseline";
/// On the pod template: why it was changed.
const CAUSE: &str = "immutable.dev/rollout-cause";

/// What is read of a Deployment.
type Seen = Object<Spec, Status>;

#[derive(Clone, Debug, Deserialize)]
struct Spec {
    replicas: i32,
    template: Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Status {
    observed_generation: i64,
    replicas: i32,
    updated_replicas: i32,
    available_replicas: i32,
}

/// One change of a pod template.
#[derive(Debug)]
pub(super) struct Replacement {
    /// When the watch told of it.
    pub(super) seen: Instant,
    /// The cause that the template names; empty where it names none.
    pub(super) cause: String,
}

/// One Deployment.
#[derive(Debug, Default)]
pub(super) struct Workload {
    template: Value,
    /// Every change of its pod template since its creation, the oldest first.
    pub(super) replacements: Vec<Replacement>,
    /// Whether the operator has written down what its pods were started with.
    pub(super) recorded: bool,
    /// Whether its last rollout is complete.
    pub(super) calm: bool,
}

impl Workload {
    fn update(&mut self, object: Seen, seen: Instant) {
        let status = object.status.unwrap_or_default();
        let replicas = object.spec.replicas;
        self.recorded = object.metadata.annotations.is_some_and(|annotations| annotations.contains_key(BASELINE));
        self.calm = object.metadata.generation == Some(status.observed_generation)
            && [status.replicas, status.updated_replicas, status.available_replicas] == [replicas; 3];
        let before = std::mem::replace(&mut self.template, object.spec.template);
        if !before.is_null() && before != self.template {
            let cause = self.template["metadata"]["annotations"][CAUSE].as_str().unwrap_or_default();
            self.replacements.push(Replacement { seen, cause: cause.to_owned() });
        }
    }
}

/// The Deployments by name.
pub(super) type Workloads = BTreeMap<String, Workload>;

/// The Deployments of a namespace, as they are now.
pub(super) struct Watched {
    workloads: watch::Receiver<Result<Workloads, String>>,
}

impl Watched {
    /// Watches a namespace from now on, until this is dropped.
    pub(super) async fn start(client: Client, namespace: &str) -> Result<Self> {
        let api: Api<Seen> = Api::namespaced_with(client, namespace, &ApiResource::erase::<Deployment>(&()));
        let list = api.list(&ListParams::default()).await?;
        let version = list.metadata.resource_version.context("the list has no resourceVersion")?;
        let mut workloads = Workloads::new();
        for object in list.items {
            workloads.entry(name(&object)?).or_default().update(object, Instant::now());
        }
        let (sender, workloads) = watch::channel(Ok(workloads));
        tokio::spawn(async move {
            let end = tokio::select! {
                end = follow(&api, version, &sender) => end,
                () = sender.closed() => Ok(()),
            };
            if let Err(error) = end {
                drop(sender.send_replace(Err(format!("the watch of Deployments ended: {error:#}"))));
            }
        });
        Ok(Self { workloads })
    }

    /// What is true of them now.
    ///
    /// # Errors
    /// When the watch has ended.
    pub(super) fn now<T>(&self, answer: impl FnOnce(&Workloads) -> T) -> Result<T> {
        let workloads = self.workloads.borrow();
        workloads.as_ref().map(answer).map_err(|error| anyhow!(error.clone()))
    }

    /// Waits until they answer; an error says what was seen instead.
    ///
    /// # Errors
    /// When they do not for too long, with what was seen last.
    pub(super) async fn until<T>(&self, what: &str, answer: impl Fn(&Workloads) -> Result<T>) -> Result<T> {
        let mut changes = self.workloads.clone();
        let deadline = tokio::time::Instant::now() + GENEROUS;
        loop {
            let seen = match changes.borrow_and_update().as_ref().map(&answer) {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(seen)) => seen,
                Err(error) => bail!("{error}"),
            };
            match tokio::time::timeout_at(deadline, changes.changed()).await {
                Ok(told) => told.context("nobody watches any more")?,
                Err(_) => return Err(seen.context(format!("waited {GENEROUS:?} for {what}; seen last"))),
            }
        }
    }

    /// Waits until something holds for every one of them.
    ///
    /// # Errors
    /// When they are not for too long, with how many are.
    pub(super) async fn all(&self, what: &str, holds: impl Fn(&Workload) -> bool) -> Result<()> {
        self.until(what, |workloads| {
            let number = workloads.values().filter(|workload| holds(workload)).count();
            ensure!(number == workloads.len(), "{number} of {}", workloads.len());
            Ok(())
        })
        .await
    }

    /// Waits until there are so many of them and every rollout is complete.
    ///
    /// # Errors
    /// When that takes too long, with how many are.
    pub(super) async fn until_calm(&self, count: usize) -> Result<()> {
        self.until("every rollout to be complete", |workloads| {
            let calm = workloads.values().filter(|workload| workload.calm).count();
            ensure!(calm == count && calm == workloads.len(), "{calm} of {count}");
            Ok(())
        })
        .await
    }

    /// What is true of one of them now.
    ///
    /// # Errors
    /// When there is none of this name.
    pub(super) fn of<T>(&self, name: &str, answer: impl FnOnce(&Workload) -> T) -> Result<T> {
        self.now(|workloads| workloads.get(name).map(answer))?.with_context(|| format!("no Deployment {name}"))
    }

    /// How often pods were replaced so far, of all together.
    ///
    /// # Errors
    /// When the watch has ended.
    pub(super) fn replacements(&self) -> Result<usize> {
        self.now(|workloads| workloads.values().map(|workload| workload.replacements.len()).sum())
    }
}

fn name(object: &Seen) -> Result<String> {
    object.metadata.name.clone().context("a Deployment without a name")
}

/// Tells of every change; ends only by an error. The server ends each watch after a while, and the next goes on there.
async fn follow(api: &Api<Seen>, mut version: String, sender: &watch::Sender<Result<Workloads, String>>) -> Result<()> {
    loop {
        let mut events = std::pin::pin!(api.watch(&WatchParams::default(), &version).await?);
        while let Some(event) = events.try_next().await? {
            let seen = Instant::now();
            match event {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                    version = object.metadata.resource_version.clone().unwrap_or_default();
                    let name = name(&object)?;
                    sender.send_modify(|workloads| {
                        if let Ok(workloads) = workloads {
                            workloads.entry(name).or_default().update(object, seen);
                        }
                    });
                }
                WatchEvent::Deleted(object) => bail!("{} was deleted", name(&object)?),
                WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
                WatchEvent::Error(status) => bail!("{status}"),
            }
        }
    }
}
