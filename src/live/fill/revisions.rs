//! The revisions of a workload's template, and who wrote it.

use std::collections::BTreeMap;

use immutable_core::replace::Revision;
use immutable_core::workload::rollout::{CAUSE, RECORD_MANAGER, ROLLOUT_MANAGER, STAMP, Writer};
use immutable_core::workload::{Kind, WorkloadKind};
use immutable_core::world::WorkloadKey;
use k8s_openapi::api::apps::v1::{ControllerRevision, ReplicaSet};
use kube::ResourceExt;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use serde_json::Value;

use super::{ListError, Lists, NOT_SERVED, PAGE_SIZE};

/// What a Deployment's `ReplicaSet` says of its revisions (`RevisionAnnotation` and `RevisionHistoryAnnotation` of
/// `pkg/controller/deployment/util/deployment_util.go`).
const REVISION: &str = "deployment.kubernetes.io/revision";
const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";

/// What the API server keeps of how a template came to be.
#[derive(Default)]
pub(crate) struct Past {
    /// Its revisions, in no order.
    pub revisions: Vec<Revision>,
    /// The field managers beside the operator that wrote the template.
    pub writers: Vec<Writer>,
    /// What could not be read, in words.
    pub problems: Vec<String>,
}

impl Lists {
    /// What is kept of how the template of a Deployment, `StatefulSet` or `DaemonSet` came to be; of other kinds nothing is.
    ///
    /// # Errors
    /// The API server does not answer.
    pub(crate) async fn past(&self, key: &WorkloadKey, uid: &str) -> anyhow::Result<Past> {
        let mut past = Past::default();
        let WorkloadKind::BuiltIn(kind) = key.kind else { return Ok(past) };
        let kept = match kind {
            Kind::Deployment => ApiResource::erase::<ReplicaSet>(&()),
            Kind::StatefulSet | Kind::DaemonSet => ApiResource::erase::<ControllerRevision>(&()),
            _ => return Ok(past),
        };
        let resource = ApiResource {
            group: kind.group().to_owned(),
            version: "v1".to_owned(),
            api_version: kind.api_version().to_owned(),
            kind: kind.name().to_owned(),
            plural: kind.resource().to_owned(),
        };
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &key.namespace, &resource);
        let workload = match self.within(api.get_opt(&key.name)).await {
            Ok(Some(workload)) if workload.metadata.uid.as_deref() == Some(uid) => workload,
            Ok(_) | Err(ListError::NotServed) => return Ok(past),
            Err(ListError::Refused(why)) => {
                past.problems.push(why);
                return Ok(past);
            }
            Err(ListError::NoAnswer(error)) => return Err(error),
        };
        past.writers = writers(&workload);
        let api: Api<DynamicObject> = Api::namespaced_with(self.client.clone(), &key.namespace, &kept);
        let of_it = |object: DynamicObject| {
            let owners = object.metadata.owner_references.iter().flatten();
            let is_its = owners.clone().any(|owner| owner.controller == Some(true) && owner.uid == uid);
            if is_its { revision(kind, &object) } else { None }
        };
        let selected = ListParams::default().labels(&match_labels(&workload));
        match self.list_as(&api, selected.limit(PAGE_SIZE), of_it).await {
            Ok(all) => past.revisions = all.into_iter().flatten().collect(),
            Err(ListError::NotServed) => past.problems.push(format!("{} {NOT_SERVED}", kept.kind)),
            Err(ListError::Refused(why)) => past.problems.push(why),
            Err(ListError::NoAnswer(error)) => return Err(error),
        }
        Ok(past)
    }
}

/// The labels that what a workload made has, as a selector; it need not be all that it selects by.
fn match_labels(workload: &DynamicObject) -> String {
    let labels = workload.data.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let pairs = labels.into_iter().flatten().filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)));
    pairs.collect::<Vec<_>>().join(",")
}

/// Who wrote `spec.template`, apart from the operator.
fn writers(workload: &DynamicObject) -> Vec<Writer> {
    let entries = workload.metadata.managed_fields.iter().flatten();
    let writer = |entry: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry| {
        let manager = entry.manager.as_deref()?;
        let is_ours = [ROLLOUT_MANAGER, RECORD_MANAGER].contains(&manager);
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0)?;
        let writes = fields.pointer("/f:spec/f:template").is_some();
        let time = entry.time.as_ref()?.0;
        (writes && !is_ours && entry.subresource.is_none())
            .then(|| Writer { manager: manager.chars().take(128).collect::<String>().into(), time })
    };
    entries.filter_map(writer).collect()
}

fn revision(kind: Kind, object: &DynamicObject) -> Option<Revision> {
    let (number, template, is_again) = if kind == Kind::Deployment {
        let annotations = object.annotations();
        let number = annotations.get(REVISION)?.parse().ok()?;
        let history = annotations.get(REVISION_HISTORY);
        (number, object.data.pointer("/spec/template"), history.is_some_and(|history| !history.is_empty()))
    } else {
        let number = object.data.get("revision")?.as_i64()?;
        // A revision that is taken up again gets a new number, and what made it is not noted.
        (number, object.data.pointer("/data/spec/template"), false)
    };
    let annotations = template.map(immutable_core::workload::rollout::workload_annotations);
    let annotations: BTreeMap<&str, &str> = annotations.unwrap_or_default();
    let text = |name: &str| annotations.get(name).map(|text| (*text).to_owned());
    Some(Revision {
        number,
        name: object.name_any(),
        created: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
        stamp: text(STAMP),
        cause: text(CAUSE),
        is_again,
    })
}
