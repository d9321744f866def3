//! A real API server with policies, each in a namespace of its own.

use anyhow::{Context, Result, bail};
use immutable_core::{
    native::{Installation, compile},
    policy::Policy,
};
use jiff::Timestamp;
use kube::{Client, api::PostParams, core::Request};
use serde_json::{Value, json};

use crate::{
    policies::Settings,
    support::{Cluster, Effect, GENEROUS, TestNamespace, wait_until},
    workloads::{CUSTOM_GROUP, SORTS, Sort, around, custom_definitions},
};

/// The API server, one namespace without policies, and one for each policy.
pub(crate) struct Server {
    client: Client,
    plain: TestNamespace,
    pub(crate) places: Vec<Place>,
}

/// A policy and the namespace in which it holds.
pub(crate) struct Place {
    pub(crate) policy: Policy,
    pub(crate) namespace: TestNamespace,
}

/// What the API server answers to a create.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Reply {
    /// It would store this.
    Accepted(Value),
    /// A policy denies, with this message.
    Denied(String),
    /// The object is not valid.
    Refused(String),
}

impl Server {
    /// Applies the policies; those in place before `before` are made without them.
    ///
    /// # Errors
    /// When one is not in force in the end.
    pub(crate) async fn start(settings: &[Settings]) -> Result<Self> {
        let cluster = Cluster::shared().await?;
        let plain = cluster.namespace(&[]).await?;
        for definition in custom_definitions() {
            plain.create_object(&definition).await?;
        }
        let mut places = Vec::new();
        for settings in settings {
            let namespace = cluster.namespace(&[]).await?;
            places.push(Place { policy: settings.policy(Some(namespace.name()))?, namespace });
        }
        let server = Self { client: plain.client(), plain, places };
        for sort in SORTS {
            wait_until("the custom kinds", GENEROUS, async || {
                match server.create(server.plain.name(), &violating(sort)).await? {
                    Reply::Accepted(_) => Ok(()),
                    other => bail!("{other:?}"),
                }
            })
            .await?;
        }
        Ok(server)
    }

    /// Applies the policies.
    ///
    /// # Errors
    /// When one is not in force in the end.
    pub(crate) async fn apply(&self) -> Result<()> {
        let policies = self.places.iter().map(|place| &place.policy);
        for object in compile(policies, &installation(), Timestamp::UNIX_EPOCH).objects() {
            let manifest = object.manifest(None);
            let created = self.plain.requests().create(Effect::Real, &manifest).await?;
            created.accepted().with_context(|| manifest.to_string())?;
        }
        for place in &self.places {
            for sort in SORTS {
                let object = violating(sort);
                if crate::verdict::messages(&place.policy, &object)?.is_empty() {
                    continue;
                }
                wait_until("the policy in force", GENEROUS, async || {
                    match self.create(place.namespace.name(), &object).await? {
                        Reply::Denied(_) => Ok(()),
                        other => bail!("{}: {other:?}", place.policy.id),
                    }
                })
                .await?;
            }
        }
        Ok(())
    }

    /// What the API server makes of an object where no policy holds.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) async fn store(&self, object: &Value) -> Result<Reply> {
        self.create(self.plain.name(), object).await
    }

    /// Creates an object in a dry run.
    ///
    /// # Errors
    /// When there is no answer.
    pub(crate) async fn create(&self, namespace: &str, object: &Value) -> Result<Reply> {
        let sort = Sort::of(object).context("an unknown kind")?;
        let (_, api_version, plural) = sort.names();
        let root = if api_version.contains('/') { "apis" } else { "api" };
        let collection = format!("/{root}/{api_version}/namespaces/{namespace}/{plural}");
        let params = PostParams { dry_run: true, field_manager: None };
        let request = Request::new(collection).create(&params, serde_json::to_vec(object)?)?;
        reply(self.client.request::<Value>(request).await)
    }
}

/// Reads the answer of the API server.
pub(crate) fn reply(answer: Result<Value, kube::Error>) -> Result<Reply> {
    const DENIED: &str = " denied request: ";
    match answer {
        Ok(object) => Ok(Reply::Accepted(object)),
        Err(kube::Error::Api(status)) => match status.message.split_once(DENIED) {
            Some((_, message)) => Ok(Reply::Denied(message.to_owned())),
            None if status.code == 422 || status.code == 400 => Ok(Reply::Refused(status.message.clone())),
            None => bail!("{status:?}"),
        },
        Err(error) => Err(error.into()),
    }
}

/// An object that breaks rules, whatever the policy.
fn violating(sort: Sort) -> Value {
    let restart = if sort.home() == crate::specs::Home::Ending { "Never" } else { "Always" };
    let mut object = around(sort, &json!({"restartPolicy": restart, "containers": [{"name": "c", "image": "nginx"}]}));
    object["metadata"]["labels"] = json!({"tier": "web", "team": "a"});
    match sort.names().0 {
        "Deployment" => object["spec"]["strategy"] = json!({"type": "Recreate"}),
        "StatefulSet" | "DaemonSet" => object["spec"]["updateStrategy"] = json!({"type": "OnDelete"}),
        _ => {}
    }
    object
}

/// What the API server answered, as a manifest that can be created again.
pub(crate) fn as_manifest(stored: &Value) -> Value {
    let mut object = stored.clone();
    if let Some(fields) = object.as_object_mut() {
        fields.remove("status");
    }
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.retain(|key, _| ["name", "labels", "annotations"].contains(&key.as_str()));
    }
    if object["kind"] == "Job" {
        // The API server makes the selector and its labels, and insists on making them itself.
        crate::shrink::remove(&mut object, "/spec/selector");
        for labels in ["/metadata/labels", "/spec/template/metadata/labels"] {
            if let Some(labels) = object.pointer_mut(labels).and_then(Value::as_object_mut) {
                labels.retain(|key, _| !key.ends_with("controller-uid") && !key.ends_with("job-name"));
            }
        }
    }
    object
}

/// Whether the object is of the group of the custom kinds.
pub(crate) fn is_custom(object: &Value) -> bool {
    object["apiVersion"].as_str().is_some_and(|version| version.starts_with(CUSTOM_GROUP))
}

/// The installation whose objects the tests compile.
fn installation() -> Installation {
    Installation { namespace: "immutable-system".to_owned(), owner: "immutable-operator-owner".to_owned() }
}
