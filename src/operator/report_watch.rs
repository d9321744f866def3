//! Which APIs of reports are served, and what is stored there of ours.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::{BoxStream, SelectAll, StreamExt};
use immutable_core::event::{Marks, read};
use immutable_core::native::{INSTALLATION_LABEL, Installation, MANAGED_BY};
use immutable_core::report::{EVENTS_ANNOTATION, ReportApi, ReportId, digest};
use kube::api::{Api, ApiResource, DynamicObject, ObjectMeta};
use kube::core::{DynamicResourceScope, GroupVersionKind};
use kube::runtime::watcher;
use kube::{Client, Resource};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::cluster::Change;
use super::report_choice::Served;
use super::watch::changes;
use super::write::{WriteError, counted, within_deadline};
use crate::telemetry::Metrics;

/// How often it is asked which APIs are served, while that was not answered.
const ASK_AGAIN: Duration = Duration::from_secs(2);
/// How often it is looked which APIs are served, while none is.
const LOOK_OFTEN: Duration = Duration::from_secs(15);
/// How often, while one is.
const LOOK_SELDOM: Duration = Duration::from_secs(60);
/// How many reports a list asks for at once: one may have 256 KiB.
const PAGE_SIZE: u32 = 50;

/// How the API server serves reports.
pub(super) fn report_resource(api: ReportApi) -> ApiResource {
    let gvk = GroupVersionKind::gvk(api.group(), api.version(), api.kind());
    ApiResource::from_gvk_with_plural(&gvk, api.resource())
}

/// What is kept of a report that is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    /// Its uid.
    pub uid: String,
    /// Its version.
    pub resource_version: String,
    /// What it says.
    pub digest: [u8; 16],
    /// What Events told of its workload.
    pub events: Marks,
}

/// Narrows a report as it is read: nothing else of it is ever kept.
pub(super) fn narrow(api: ReportApi, report: &Value) -> (ReportId, Stored) {
    let metadata = &report["metadata"];
    let text = |field: &str| metadata[field].as_str().unwrap_or_default().to_owned();
    let id = ReportId { api, namespace: text("namespace"), name: text("name") };
    let stored = Stored {
        uid: text("uid"),
        resource_version: text("resourceVersion"),
        digest: digest(report),
        events: read(metadata["annotations"][EVENTS_ANNOTATION].as_str().unwrap_or_default()),
    };
    (id, stored)
}

/// A report that is narrowed while it is read from the connection; its API is not known yet.
#[derive(Clone, Debug)]
struct Narrowed {
    metadata: ObjectMeta,
    report: (ReportId, Stored),
}

impl<'de> Deserialize<'de> for Narrowed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let report = narrow(ReportApi::OpenReports, &Value::deserialize(deserializer)?);
        let metadata = ObjectMeta {
            name: Some(report.0.name.clone()),
            namespace: Some(report.0.namespace.clone()),
            resource_version: Some(report.1.resource_version.clone()),
            ..ObjectMeta::default()
        };
        Ok(Self { metadata, report })
    }
}

impl Resource for Narrowed {
    type DynamicType = ApiResource;
    type Scope = DynamicResourceScope;

    fn kind(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        DynamicObject::kind(resource)
    }

    fn group(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        DynamicObject::group(resource)
    }

    fn version(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        DynamicObject::version(resource)
    }

    fn plural(resource: &ApiResource) -> std::borrow::Cow<'_, str> {
        DynamicObject::plural(resource)
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// What is told of the report APIs.
#[derive(Debug)]
pub(super) enum ReportEvent {
    /// What is known of which are served.
    Served(Served),
    /// Reports of ours in one of them.
    Change(ReportApi, Change<(ReportId, Stored)>),
}

/// The watches of reports, and the look-out for their APIs.
pub(super) struct ReportWatch {
    client: Client,
    metrics: Metrics,
    selector: String,
    streams: SelectAll<BoxStream<'static, ReportEvent>>,
    running: BTreeMap<ReportApi, CancellationToken>,
}

impl ReportWatch {
    /// Looks for both APIs: what is stored in the one that is not wanted is removed.
    pub(super) fn new(client: &Client, installation: &Installation, metrics: &Metrics) -> Self {
        let mut streams = SelectAll::new();
        streams.push(served(client.clone(), metrics.clone()).boxed());
        let selector = format!("{}={},{INSTALLATION_LABEL}={}", MANAGED_BY.0, MANAGED_BY.1, installation.label());
        Self { client: client.clone(), metrics: metrics.clone(), selector, streams, running: BTreeMap::new() }
    }

    /// The next event; never ends.
    pub(super) async fn next(&mut self) -> ReportEvent {
        let Some(event) = self.streams.next().await else { return std::future::pending().await };
        if let ReportEvent::Served(served) = &event {
            let served = served.apis();
            self.running.retain(|api, running| {
                let stays = served.contains(api);
                if !stays {
                    running.cancel();
                }
                stays
            });
            for api in served {
                if !self.running.contains_key(&api) {
                    let end = CancellationToken::new();
                    self.streams.push(self.stream(api, end.clone()));
                    self.running.insert(api, end);
                }
            }
        }
        event
    }

    fn stream(&self, api: ReportApi, end: CancellationToken) -> BoxStream<'static, ReportEvent> {
        let reports: Api<Narrowed> = Api::all_with(self.client.clone(), &report_resource(api));
        let config = watcher::Config::default().labels(&self.selector).page_size(PAGE_SIZE);
        let read = move |narrowed: Narrowed| {
            let (id, stored) = narrowed.report;
            (ReportId { api, ..id }, stored)
        };
        changes(reports, config, (api.kind(), self.metrics.watch_errors(api.kind())), read)
            .map(move |change| ReportEvent::Change(api, change))
            .take_until(async move { end.cancelled().await })
            .boxed()
    }
}

/// Looks again and again which APIs are served, and tells it each time.
fn served(client: Client, metrics: Metrics) -> impl futures::Stream<Item = ReportEvent> {
    let start = (client, metrics, Served::default(), Duration::ZERO);
    futures::stream::unfold(start, |(client, metrics, mut served, pause)| async move {
        tokio::time::sleep(pause).await;
        for api in ReportApi::ALL {
            let answer = is_served(&client, &metrics, api).await;
            if let Err(error) = &answer {
                tracing::debug!(api = api.group(), %error, "it is not known whether it is served");
            }
            served.take_in(api, answer.map_err(|error| error.to_string()));
        }
        let pause = match (served.is_complete(), served.apis().is_empty()) {
            (false, _) => ASK_AGAIN,
            (true, true) => LOOK_OFTEN,
            (true, false) => LOOK_SELDOM,
        };
        Some((ReportEvent::Served(served.clone()), (client, metrics, served, pause)))
    })
}

async fn is_served(client: &Client, metrics: &Metrics, api: ReportApi) -> Result<bool, WriteError> {
    let version = api.api_version();
    // The client tries again for minutes; the other API must not wait so long.
    let resources = within_deadline(client.list_api_group_resources(&version));
    match counted(metrics, "discover", api.kind(), resources).await {
        Ok(list) => Ok(list.resources.iter().any(|resource| resource.name == api.resource())),
        Err(error) if matches!(error.code(), 403 | 404) => Ok(false),
        Err(error) => Err(error),
    }
}
