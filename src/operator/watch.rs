//! Watches -> events. One slow or forbidden kind does not stop the others: each has its own backoff.

use futures::stream::{BoxStream, StreamExt, select_all};
use immutable_core::native::{INSTALLATION_LABEL, Installation, MANAGED_BY, NativeKind, Owner};
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{Api, ApiResource, PartialObjectMeta};
use kube::core::GroupVersionKind;
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, watcher};
use kube::{Client, ResourceExt};
use prometheus::IntCounter;

use super::cluster::{Change, Event};
use crate::live::{Lenient, namespace_facts};
use crate::telemetry::Metrics;

/// How many objects a list asks for at once: it decides the peak of memory at the start.
pub(super) const PAGE_SIZE: u32 = 50;

/// Every watch of the operator, as one stream of events.
pub(super) fn events(client: &Client, installation: &Installation, metrics: &Metrics) -> BoxStream<'static, Event> {
    let custom = |kind: &str, plural: &str| {
        let gvk = GroupVersionKind::gvk(crate::api::GROUP, "v1alpha1", kind);
        Api::<Lenient>::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&gvk, plural))
    };
    let native = |kind: NativeKind| Api::<Lenient>::all_with(client.clone(), &native_resource(kind));
    let config = || watcher::Config::default().page_size(PAGE_SIZE);
    let ours =
        || config().labels(&format!("{}={},{INSTALLATION_LABEL}={}", MANAGED_BY.0, MANAGED_BY.1, installation.label()));
    let namespaces = Api::<Lenient>::all_with(client.clone(), &ApiResource::erase::<Namespace>(&()));
    let owners = Api::<PartialObjectMeta<ClusterRole>>::all(client.clone());
    let named = config().fields(&format!("metadata.name={}", installation.owner));
    let counted = |kind: &'static str| (kind, metrics.watch_errors(kind));
    select_all([
        changes(
            custom("ClusterImmutablePolicy", "clusterimmutablepolicies"),
            config(),
            counted("ClusterImmutablePolicy"),
            |object: Lenient| object.0,
        )
        .map(Event::ClusterPolicy)
        .boxed(),
        changes(
            custom("ImmutablePolicy", "immutablepolicies"),
            config(),
            counted("ImmutablePolicy"),
            |object: Lenient| object.0,
        )
        .map(Event::Policy)
        .boxed(),
        changes(
            custom("ImmutableException", "immutableexceptions"),
            config(),
            counted("ImmutableException"),
            |object: Lenient| object.0,
        )
        .map(Event::Exception)
        .boxed(),
        changes(namespaces, config(), counted("Namespace"), |object| namespace_facts(object.0.metadata))
            .map(Event::Namespace)
            .boxed(),
        changes(native(NativeKind::Policy), ours(), counted(NativeKind::Policy.name()), |object: Lenient| object.0)
            .map(|change| Event::Native(NativeKind::Policy, change))
            .boxed(),
        changes(native(NativeKind::Binding), ours(), counted(NativeKind::Binding.name()), |object: Lenient| object.0)
            .map(|change| Event::Native(NativeKind::Binding, change))
            .boxed(),
        owner_changes(owners, named, counted("ClusterRole")).map(Event::Owner).boxed(),
    ])
    .boxed()
}

/// How the API server serves a native kind.
pub(super) fn native_resource(kind: NativeKind) -> ApiResource {
    let gvk = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind.name());
    let plural = match kind {
        NativeKind::Policy => "validatingadmissionpolicies",
        NativeKind::Binding => "validatingadmissionpolicybindings",
    };
    ApiResource::from_gvk_with_plural(&gvk, plural)
}

/// The changes of one kind, already narrowed to what is kept of it; `what` says how it is called, and counts its failures.
pub(super) fn changes<K, T, F>(
    api: Api<K>,
    config: watcher::Config,
    what: (&str, IntCounter),
    narrow: F,
) -> impl futures::Stream<Item = Change<T>> + Send + use<K, T, F>
where
    K: kube::Resource + Clone + std::fmt::Debug + serde::de::DeserializeOwned + Send + 'static,
    T: Send + 'static,
    F: Fn(K) -> T + Send + 'static,
{
    let mut initial = Vec::new();
    let (what, errors) = (what.0.to_owned(), what.1);
    watcher(api, config).default_backoff().filter_map(move |event| {
        let change = match event {
            Ok(watcher::Event::Init) => {
                initial.clear();
                None
            }
            Ok(watcher::Event::InitApply(object)) => {
                initial.push(narrow(object));
                None
            }
            Ok(watcher::Event::InitDone) => Some(Change::Reset(std::mem::take(&mut initial))),
            Ok(watcher::Event::Apply(object)) => Some(Change::Apply(narrow(object))),
            Ok(watcher::Event::Delete(object)) => Some(Change::Delete(narrow(object))),
            Err(error) => {
                errors.inc();
                tracing::warn!(kind = what, %error, "watch failed; it is tried again");
                is_refused(&error).then(|| Change::Failed(error.to_string()))
            }
        };
        std::future::ready(change)
    })
}

/// Whether a kind cannot be listed or may not be watched. A connection that broke is no such thing: the watch goes on
/// where it was, and says nothing of it.
fn is_refused(error: &watcher::Error) -> bool {
    match error {
        watcher::Error::InitialListFailed(_) => true,
        watcher::Error::WatchStartFailed(kube::Error::Api(status)) => matches!(status.code, 401 | 403 | 404),
        _ => false,
    }
}

/// The owner's changes: one that is being deleted owns nothing any more.
fn owner_changes(
    api: Api<PartialObjectMeta<ClusterRole>>,
    config: watcher::Config,
    what: (&str, IntCounter),
) -> impl futures::Stream<Item = Change<Owner>> + Send + use<> {
    changes(api, config, what, |object| {
        let going = object.metadata.deletion_timestamp.is_some();
        (going, Owner { name: object.name_any(), uid: object.metadata.uid.unwrap_or_default() })
    })
    .map(|change| match change {
        Change::Apply((false, owner)) => Change::Apply(owner),
        Change::Apply((true, owner)) | Change::Delete((_, owner)) => Change::Delete(owner),
        Change::Failed(why) => Change::Failed(why),
        Change::Reset(owners) => {
            Change::Reset(owners.into_iter().filter(|(going, _)| !going).map(|(_, owner)| owner).collect())
        }
    })
}
