//! Watches of everything that carries pods, one a kind: a kind that is forbidden or missing does not stop the others.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::stream::{BoxStream, SelectAll, StreamExt};
use immutable_core::rules::ConfigKind;
use immutable_core::workload::{CustomWorkload, Kind, WorkloadKind};
use immutable_core::world;
use kube::Client;
use kube::api::Api;
use kube::runtime::watcher;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::cluster::Change;
use super::watch::{PAGE_SIZE, changes};
use crate::live::{CONFIG_PAGE_SIZE, ConfigMap, RawObject, Served, config_fact};
use crate::telemetry::Metrics;

/// Every watch of what carries pods.
pub(super) struct Workloads {
    client: Client,
    metrics: Metrics,
    streams: SelectAll<BoxStream<'static, world::Change>>,
    running: BTreeMap<Served, CancellationToken>,
    keeps_what_is_made: Arc<AtomicBool>,
    /// Ends the watch of ConfigMaps, where a policy asks for it.
    config_maps: Option<DropGuard>,
}

impl Workloads {
    /// Watches of the built-in kinds.
    pub(super) fn new(client: Client, metrics: Metrics) -> Self {
        let mut workloads = Self {
            client,
            metrics,
            streams: SelectAll::new(),
            running: BTreeMap::new(),
            keeps_what_is_made: Arc::default(),
            config_maps: None,
        };
        drop(workloads.follow(&[], false));
        workloads
    }

    /// Watches ConfigMaps, or no longer.
    pub(super) fn follow_config_maps(&mut self, wanted: bool) {
        if !wanted {
            self.config_maps = None;
        } else if self.config_maps.is_none() {
            let end = CancellationToken::new();
            let api: Api<ConfigMap> = Api::all(self.client.clone());
            let config = watcher::Config::default().page_size(CONFIG_PAGE_SIZE);
            let kind = ConfigKind::ConfigMap;
            let counted = (kind.resource(), self.metrics.watch_errors(kind.name()));
            let stream = changes(api, config, counted, config_fact);
            let stream = stream.map(move |change| match change {
                Change::Apply((key, immutable)) => world::Change::Config(kind, key, Some(immutable)),
                Change::Delete((key, _)) => world::Change::Config(kind, key, None),
                Change::Reset(all) => world::Change::Configs(kind, all),
                Change::Failed(why) => world::Change::UnknownConfigs(kind, why),
            });
            let ended = end.clone();
            self.streams.push(stream.take_until(async move { ended.cancelled().await }).boxed());
            self.config_maps = Some(end.drop_guard());
        }
    }

    /// Watches the built-in kinds and these custom ones, and no others; returns what is watched no more. What built-in
    /// controllers make is kept with all that is judged, or without; where it is wanted now and was not before, it is
    /// listed anew.
    pub(super) fn follow(&mut self, custom: &[CustomWorkload], keeps_what_is_made: bool) -> Vec<WorkloadKind> {
        let wanted = Served::all(custom);
        let kept_before = self.keeps_what_is_made.swap(keeps_what_is_made, Ordering::Relaxed);
        let is_listed_anew = |watched: &Served| keeps_what_is_made && !kept_before && watched.is_made();
        let mut dropped = Vec::new();
        self.running.retain(|watched, running| {
            let stays = wanted.contains(watched) && !is_listed_anew(watched);
            if !stays {
                running.cancel();
                dropped.push(watched.kind.clone());
            }
            stays
        });
        for watched in wanted {
            if !self.running.contains_key(&watched) {
                let end = CancellationToken::new();
                self.streams.push(self.stream(&watched, end.clone()));
                self.running.insert(watched, end);
            }
        }
        dropped.retain(|kind| !self.running.keys().any(|watched| watched.kind == *kind));
        dropped
    }

    /// The kinds that are watched.
    pub(super) fn kinds(&self) -> impl Iterator<Item = &WorkloadKind> {
        self.running.keys().map(|watched| &watched.kind)
    }

    /// The next change; never ends.
    pub(super) async fn next(&mut self) -> world::Change {
        match self.streams.next().await {
            Some(change) => change,
            None => std::future::pending().await,
        }
    }

    fn stream(&self, watched: &Served, end: CancellationToken) -> BoxStream<'static, world::Change> {
        let api: Api<RawObject> = Api::all_with(self.client.clone(), &watched.api_resource());
        let reader = watched.reader(Arc::clone(&self.keeps_what_is_made));
        let kind = watched.kind.clone();
        let config = watcher::Config::default().page_size(PAGE_SIZE);
        // Policies name custom kinds, as many as they like.
        let errors = self.metrics.watch_errors(watched.kind.built_in().map_or("custom", Kind::name));
        changes(api, config, (&watched.resource, errors), move |object| reader.read(object))
            .map(move |change| match change {
                Change::Apply((key, object)) => world::Change::Workload(key, Some(object)),
                Change::Delete((key, _)) => world::Change::Workload(key, None),
                Change::Reset(objects) => world::Change::Workloads(kind.clone(), objects),
                Change::Failed(why) => world::Change::Unwatched(kind.clone(), why),
            })
            .take_until(async move { end.cancelled().await })
            .boxed()
    }
}
