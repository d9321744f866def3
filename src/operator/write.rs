//! The only file that calls a writing API. Leadership is checked at the moment of writing, and every
//! write names what it was decided on: correctness never rests on the lease alone.

mod rollout;

use std::time::Duration;

use immutable_core::exception::ExceptionId;
use immutable_core::native::{
    INSTALLATION_LABEL, Intent, NativeKind, NativeObject, Observed, Owner, Probe, SOURCE_ANNOTATION, probe_manifest,
};
use immutable_core::policy::PolicyId;
use immutable_core::report::{ReportApi, ReportId, ReportIntent};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ObjectMeta, Patch, PatchParams, PostParams, Preconditions,
};
use kube::core::GroupVersionKind;
use kube::{Client, Resource, ResourceExt};
use serde::{Deserialize as _, Serialize};
use serde_json::Value;
use tokio::sync::watch;

use super::leader::{Leadership, writes_end};
use super::report_watch::report_resource;
use super::watch::native_resource;
use crate::api::{ExceptionStatus, ImmutableException, PolicyStatus};
use crate::telemetry::Metrics;

/// Owns every field that the operator writes, but the leases'.
const FIELD_MANAGER: &str = "immutable-operator";

/// The default retry of the client can stall a call for minutes; nothing here may take longer.
const DEADLINE: Duration = Duration::from_secs(15);

/// A proof that takes longer says nothing; others wait for their turn.
const PROOF_DEADLINE: Duration = Duration::from_secs(5);

/// Why a write did not happen.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Somebody else leads.
    #[error("not the leader any more")]
    NotLeader,
    /// Nothing may be written without an owner that garbage collection can follow.
    #[error("the owner ClusterRole {0} is missing or is being deleted")]
    OwnerMissing(String),
    /// An object of this name was made by something else.
    #[error("{kind} {name} exists and was not made from the same source; delete it or find out who made it")]
    NotOurs {
        /// its kind
        kind: &'static str,
        /// its name
        name: String,
    },
    /// The API server did not answer.
    #[error("the API server did not answer within {} s", DEADLINE.as_secs())]
    Timeout,
    /// The API server refused.
    #[error("{}", said(.0))]
    Refused(Box<kube::Error>),
}

impl WriteError {
    /// Whether what was decided on has changed since: decide again, this is no failure.
    pub(super) fn is_conflict(&self) -> bool {
        matches!(self, Self::Refused(error) if matches!(&**error, kube::Error::Api(status) if status.is_conflict()))
    }

    /// Whether there is no such object.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Refused(error) if is_not_found(error))
    }

    /// Whether there is one of this name already.
    pub fn is_already_exists(&self) -> bool {
        matches!(self, Self::Refused(error) if matches!(&**error, kube::Error::Api(status) if status.is_already_exists()))
    }

    /// Whether there was no answer at all, which may come later.
    pub(super) fn is_no_answer(&self) -> bool {
        match self {
            Self::Timeout => true,
            Self::Refused(error) => matches!(**error, kube::Error::Service(_) | kube::Error::HyperError(_)),
            _ => false,
        }
    }

    /// The code that the API server answered, 0 where it did not.
    pub(super) fn code(&self) -> u16 {
        match self {
            Self::Refused(error) => match &**error {
                kube::Error::Api(status) => status.code,
                _ => 0,
            },
            _ => 0,
        }
    }
}

/// The API server's own words, where there are any.
fn said(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// What the API server said to a proof.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// The policy denied it.
    Denied,
    /// It was let in.
    Admitted,
    /// Neither can be said; the text says why.
    Unknown(String),
}

/// Writes, while this replica leads.
#[derive(Clone)]
pub(super) struct Writer {
    client: Client,
    leading: watch::Receiver<Leadership>,
    owner: String,
    metrics: Metrics,
}

impl Writer {
    /// A writer that writes while `leading` says so; `owner` is the ClusterRole that owns what it writes.
    pub(super) fn new(client: Client, leading: watch::Receiver<Leadership>, owner: String, metrics: Metrics) -> Self {
        Self { client, leading, owner, metrics }
    }

    /// Carries out one intent; returns the stored object of an apply.
    ///
    /// # Errors
    /// It was not carried out; the next plan may want it again.
    pub(super) async fn carry_out(
        &self,
        intent: &Intent,
        known: Option<&Observed>,
    ) -> Result<Option<DynamicObject>, WriteError> {
        match intent {
            Intent::Apply(object) => self.apply(object, known).await.map(Some),
            Intent::Delete { kind, name, uid, resource_version } => {
                let api = self.native(*kind);
                let parameters = DeleteParams {
                    preconditions: Some(Preconditions {
                        uid: Some(uid.clone()),
                        resource_version: Some(resource_version.clone()),
                    }),
                    ..DeleteParams::default()
                };
                match self.call("delete", kind.name(), api.delete(name, &parameters)).await {
                    Err(WriteError::Refused(error)) if is_not_found(&error) => Ok(None),
                    result => result.map(|_| None),
                }
            }
        }
    }

    async fn apply(&self, object: &NativeObject, known: Option<&Observed>) -> Result<DynamicObject, WriteError> {
        let api = self.native(object.kind());
        let owner = self.owner().await?;
        // A name is made of what the object is; one that exists with another source is not ours to change.
        if known.is_none()
            && let Some(stored) = self.call("get", object.kind().name(), api.get_opt(object.name())).await?
        {
            // Without any it is ours, damaged: its name is made of what it enforces.
            let source = stored.annotations().get(SOURCE_ANNOTATION);
            if source.is_some_and(|source| source != object.source()) {
                return Err(WriteError::NotOurs { kind: object.kind().name(), name: object.name().to_owned() });
            }
        }
        let mut manifest = object.manifest(Some(&owner));
        // What was decided on an object that has changed since, or is gone, is decided again.
        if let Some(observed) = known {
            manifest["metadata"]["uid"] = Value::from(observed.uid.clone());
            manifest["metadata"]["resourceVersion"] = Value::from(observed.resource_version.clone());
        }
        let patch = Patch::Apply(&manifest);
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        let apply = || self.call("apply", object.kind().name(), api.patch(object.name(), &parameters, &patch));
        // An apply leaves what others added to a list, a match condition or an action, beside what is ours. That
        // can switch off what is enforced, and can be refused as a whole.
        match apply().await {
            Ok(stored) if stored.data.get("spec") == manifest.get("spec") && is_owned_by(&stored, &owner) => Ok(stored),
            Ok(stored) => self.replace_spec(object, &manifest, &stored.metadata).await,
            Err(error) if error.code() == 422 => {
                let decided_on = known.map(|known| ObjectMeta {
                    uid: Some(known.uid.clone()),
                    resource_version: Some(known.resource_version.clone()),
                    ..ObjectMeta::default()
                });
                match decided_on {
                    Some(decided_on) => self.replace_spec(object, &manifest, &decided_on).await.map_err(|_| error),
                    None => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Writes the whole spec of exactly the object that was decided on, whoever owns its parts.
    async fn replace_spec(
        &self,
        object: &NativeObject,
        manifest: &Value,
        decided_on: &ObjectMeta,
    ) -> Result<DynamicObject, WriteError> {
        let mut spec = manifest.get("spec").cloned().unwrap_or_default();
        if let Some(fields) = spec.as_object_mut() {
            fields.insert("$patch".to_owned(), Value::from("replace"));
        }
        let mut owners = manifest["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        owners.insert(0, serde_json::json!({"$patch": "replace"}));
        let metadata = serde_json::json!({
            "uid": decided_on.uid, "resourceVersion": decided_on.resource_version, "ownerReferences": owners,
        });
        let patch = Patch::Strategic(serde_json::json!({"metadata": metadata, "spec": spec}));
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        let api = self.native(object.kind());
        self.call("replace", object.kind().name(), api.patch(object.name(), &parameters, &patch)).await
    }

    /// The owner as it is at this moment: with a stale uid garbage collection would delete what was just written.
    async fn owner(&self) -> Result<Owner, WriteError> {
        let api: Api<ClusterRole> = Api::all(self.client.clone());
        let role = self.call("get", "ClusterRole", api.get_metadata_opt(&self.owner)).await?;
        role.filter(|role| role.metadata.deletion_timestamp.is_none())
            .and_then(|role| role.metadata.uid)
            .map(|uid| Owner { name: self.owner.clone(), uid })
            .ok_or_else(|| WriteError::OwnerMissing(self.owner.clone()))
    }

    /// Writes the status of the policy with this uid: one of the same name is another.
    ///
    /// # Errors
    /// It was not written.
    pub(super) async fn report(&self, id: &PolicyId, uid: &str, status: &PolicyStatus) -> Result<(), WriteError> {
        self.write_status(id.kind(), &policy_api(&self.client, id), &id.name, uid, status).await
    }

    /// Writes the status of the exception with this uid.
    ///
    /// # Errors
    /// It was not written.
    pub(super) async fn report_exception(
        &self,
        id: &ExceptionId,
        uid: &str,
        status: &ExceptionStatus,
    ) -> Result<(), WriteError> {
        let api: Api<ImmutableException> = Api::namespaced(self.client.clone(), &id.namespace);
        self.write_status("ImmutableException", &api, &id.name, uid, status).await
    }

    async fn write_status<K>(
        &self,
        kind: &'static str,
        api: &Api<K>,
        name: &str,
        uid: &str,
        status: &impl Serialize,
    ) -> Result<(), WriteError>
    where
        K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
    {
        let patch = Patch::Merge(serde_json::json!({"metadata": {"uid": uid}, "status": status}));
        let parameters = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
        match self.call("patch status", kind, api.patch_status(name, &parameters, &patch)).await {
            Err(WriteError::Refused(error)) if is_not_found(&error) => Ok(()),
            result => result.map(|_| ()),
        }
    }

    /// Tries to create, in a dry run, what a policy must deny.
    pub(super) async fn prove(&self, probe: &Probe, namespace: &str) -> Proof {
        let gvk = GroupVersionKind::gvk("", "v1", "PodTemplate");
        let resource = ApiResource::from_gvk_with_plural(&gvk, "podtemplates");
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), namespace, &resource);
        let object: DynamicObject = match serde_json::from_value(probe_manifest(probe, namespace)) {
            Ok(object) => object,
            Err(error) => return Proof::Unknown(error.to_string()),
        };
        let parameters = PostParams { dry_run: true, field_manager: Some(FIELD_MANAGER.to_owned()) };
        let proof =
            tokio::time::timeout(PROOF_DEADLINE, self.call("prove", "PodTemplate", api.create(&parameters, &object)));
        match proof.await.unwrap_or(Err(WriteError::Timeout)) {
            Ok(_) => Proof::Admitted,
            Err(WriteError::Refused(error)) => match &*error {
                kube::Error::Api(status) if status.message.contains(&format!("'{}'", probe.admission_policy)) => {
                    Proof::Denied
                }
                kube::Error::Api(status) => Proof::Unknown(status.message.clone()),
                other => Proof::Unknown(other.to_string()),
            },
            Err(error) => Proof::Unknown(error.to_string()),
        }
    }

    /// Writes or deletes a report; returns it as it is stored.
    ///
    /// # Errors
    /// It was not carried out; decide again.
    pub(super) async fn write_report(&self, intent: &ReportIntent) -> Result<Option<(ReportApi, Value)>, WriteError> {
        let stored = match intent {
            ReportIntent::Create(id, manifest) => {
                let (api, report, parameters) = (self.reports(id), object(manifest)?, post());
                match self.call("create", id.api.kind(), api.create(&parameters, &report)).await {
                    Err(WriteError::Refused(error)) if is_already_exists(&error) => {
                        self.take_over(id, manifest).await?
                    }
                    created => created?,
                }
            }
            ReportIntent::Replace { id, manifest, uid, resource_version } => {
                self.replace_report(id, manifest, Some(uid.clone()), Some(resource_version.clone())).await?
            }
            ReportIntent::Delete { id, uid, resource_version } => {
                let parameters = DeleteParams {
                    preconditions: Some(Preconditions {
                        uid: Some(uid.clone()),
                        resource_version: Some(resource_version.clone()),
                    }),
                    ..DeleteParams::default()
                };
                let deleted = self.call("delete", id.api.kind(), self.reports(id).delete(&id.name, &parameters)).await;
                return match deleted {
                    Err(WriteError::Refused(error)) if is_not_found(&error) => Ok(None),
                    deleted => deleted.map(|_| None),
                };
            }
        };
        let (ReportIntent::Create(id, _) | ReportIntent::Replace { id, .. } | ReportIntent::Delete { id, .. }) = intent;
        Ok(serde_json::to_value(stored).ok().map(|stored| (id.api, stored)))
    }

    /// A report that is there and is not seen as ours has lost its labels, or is another installation's.
    async fn take_over(&self, id: &ReportId, manifest: &Value) -> Result<DynamicObject, WriteError> {
        let stored = self.call("get", id.api.kind(), self.reports(id).get(&id.name)).await?;
        let ours = manifest["metadata"]["labels"][INSTALLATION_LABEL].as_str();
        let installation = stored.labels().get(INSTALLATION_LABEL).map(String::as_str);
        if installation.is_some() && installation != ours {
            return Err(WriteError::NotOurs { kind: id.api.kind(), name: id.name.clone() });
        }
        self.replace_report(id, manifest, stored.metadata.uid, stored.metadata.resource_version).await
    }

    /// Replaces exactly the version of a report that was seen.
    async fn replace_report(
        &self,
        id: &ReportId,
        manifest: &Value,
        uid: Option<String>,
        resource_version: Option<String>,
    ) -> Result<DynamicObject, WriteError> {
        let mut report = object(manifest)?;
        report.metadata.uid = uid;
        report.metadata.resource_version = resource_version;
        let parameters = post();
        self.call("update", id.api.kind(), self.reports(id).replace(&id.name, &parameters, &report)).await
    }

    fn reports(&self, id: &ReportId) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), &id.namespace, &report_resource(id.api))
    }

    /// Tells an Event, unless it was told before: its name is made of what it says.
    ///
    /// # Errors
    /// It was not told.
    pub(super) async fn create_event(&self, manifest: Value) -> Result<(), WriteError> {
        let event = object(&manifest)?;
        let gvk = GroupVersionKind::gvk("events.k8s.io", "v1", "Event");
        let resource = ApiResource::from_gvk_with_plural(&gvk, "events");
        let namespace = event.metadata.namespace.clone().unwrap_or_default();
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &namespace, &resource);
        match self.call("create", "Event", api.create(&post(), &event)).await {
            Err(WriteError::Refused(error)) if is_already_exists(&error) => Ok(()),
            result => result.map(|_| ()),
        }
    }

    fn native(&self, kind: NativeKind) -> Api<DynamicObject> {
        Api::all_with(self.client.clone(), &native_resource(kind))
    }

    async fn call<T>(
        &self,
        verb: &'static str,
        kind: &'static str,
        future: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, WriteError> {
        let end = writes_end(&self.leading).ok_or(WriteError::NotLeader)?;
        counted(&self.metrics, verb, kind, async {
            match tokio::time::timeout_at(end, within_deadline(future)).await {
                Ok(result) => result,
                Err(_) => Err(WriteError::Timeout),
            }
        })
        .await
    }
}

/// Counts a call by what came of it.
pub(super) async fn counted<T>(
    metrics: &Metrics,
    verb: &'static str,
    kind: &'static str,
    call: impl Future<Output = Result<T, WriteError>>,
) -> Result<T, WriteError> {
    let begun = metrics.api_call(verb, kind);
    let result = call.await;
    match &result {
        Ok(_) => begun.succeeded(),
        Err(error) => begun.refused(error.code()),
    }
    result
}

pub(super) async fn within_deadline<T>(future: impl Future<Output = kube::Result<T>>) -> Result<T, WriteError> {
    match tokio::time::timeout(DEADLINE, future).await {
        Ok(result) => result.map_err(|error| WriteError::Refused(Box::new(error))),
        Err(_) => Err(WriteError::Timeout),
    }
}

/// Whether it has our owner, as we write it, and no other.
fn is_owned_by(object: &DynamicObject, owner: &Owner) -> bool {
    matches!(object.owner_references(), [only] if only.uid == owner.uid && only.name == owner.name
        && only.controller != Some(true) && only.block_owner_deletion != Some(true))
}

fn post() -> PostParams {
    PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() }
}

/// A manifest of ours as it travels.
fn object(manifest: &Value) -> Result<DynamicObject, WriteError> {
    DynamicObject::deserialize(manifest).map_err(|error| WriteError::Refused(Box::new(kube::Error::SerdeError(error))))
}

fn is_already_exists(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_already_exists())
}

fn is_not_found(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.is_not_found())
}

/// Creates or replaces the lease; with the resource version it was decided on, so that two replicas cannot both win.
///
/// # Errors
/// It was not written; a conflict means that somebody else was faster.
pub(super) async fn write_lease(
    client: &Client,
    namespace: &str,
    lease: &Lease,
    metrics: &Metrics,
) -> Result<Lease, WriteError> {
    let api: Api<Lease> = Api::namespaced(client.clone(), namespace);
    let parameters = PostParams { field_manager: Some("immutable-operator-lease".to_owned()), ..PostParams::default() };
    let name = lease.name_any();
    if lease.meta().resource_version.is_some() {
        counted(metrics, "update", "Lease", within_deadline(api.replace(&name, &parameters, lease))).await
    } else {
        counted(metrics, "create", "Lease", within_deadline(api.create(&parameters, lease))).await
    }
}

/// Makes sure of the namespace and the owner ClusterRole when the operator runs outside a cluster; inside
/// one they are installed with it.
///
/// # Errors
/// One of them is absent and cannot be created.
pub(super) async fn prepare_outside_cluster(client: &Client, namespace: &str, owner: &str) -> Result<(), WriteError> {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    create_if_absent(&namespaces, namespace).await?;
    let roles: Api<ClusterRole> = Api::all(client.clone());
    create_if_absent(&roles, owner).await
}

async fn create_if_absent<K>(api: &Api<K>, name: &str) -> Result<(), WriteError>
where
    K: Resource<DynamicType = ()> + Clone + std::fmt::Debug + Default + serde::Serialize + serde::de::DeserializeOwned,
{
    if within_deadline(api.get_metadata_opt(name)).await?.is_some() {
        return Ok(());
    }
    let mut object = K::default();
    object.meta_mut().name = Some(name.to_owned());
    let (key, value) = immutable_core::native::MANAGED_BY;
    object.labels_mut().insert(key.to_owned(), value.to_owned());
    match within_deadline(api.create(&PostParams::default(), &object)).await {
        Err(WriteError::Refused(error)) if matches!(&*error, kube::Error::Api(status) if status.is_already_exists()) => {
            Ok(())
        }
        // With the rights of an installation, not of a person: what is missing is reported where it matters.
        Err(WriteError::Refused(error)) if matches!(&*error, kube::Error::Api(status) if status.is_forbidden()) => {
            tracing::warn!(%name, %error, "missing, and may not be created");
            Ok(())
        }
        result => result.map(|_| ()),
    }
}

/// Sets or, with null, ends the suspension of a policy, for a person at the command line.
///
/// # Errors
/// There is no such policy, or it may not be changed.
pub async fn set_suspension(
    client: &Client,
    policy: &str,
    namespace: Option<&str>,
    suspension: &serde_json::Value,
) -> Result<(), WriteError> {
    let id = PolicyId { namespace: namespace.map(ToOwned::to_owned), name: policy.to_owned() };
    let patch = Patch::Merge(serde_json::json!({"spec": {"suspend": suspension}}));
    let parameters = PatchParams { field_manager: Some("immutable-cli".to_owned()), ..PatchParams::default() };
    within_deadline(policy_api(client, &id).patch(policy, &parameters, &patch)).await.map(|_| ())
}

/// Creates an exception, for a person at the command line.
///
/// # Errors
/// There is one of this name already, or it may not be created.
pub async fn create_exception(
    client: &Client,
    namespace: &str,
    exception: &ImmutableException,
) -> Result<(), WriteError> {
    let api: Api<ImmutableException> = Api::namespaced(client.clone(), namespace);
    let parameters = PostParams { field_manager: Some("immutable-cli".to_owned()), ..PostParams::default() };
    within_deadline(api.create(&parameters, exception)).await.map(|_| ())
}

fn policy_api(client: &Client, id: &PolicyId) -> Api<DynamicObject> {
    let plural = if id.namespace.is_some() { "immutablepolicies" } else { "clusterimmutablepolicies" };
    let gvk = GroupVersionKind::gvk(crate::api::GROUP, "v1alpha1", id.kind());
    let resource = ApiResource::from_gvk_with_plural(&gvk, plural);
    match &id.namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    }
}
