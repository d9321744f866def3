//! Requests to the API server with manifests of any kind, and with the warnings of the answer.

use anyhow::{Context, Result, bail, ensure};
use axum::http;
use kube::{
    Client,
    api::{GetParams, Patch, PatchParams, PostParams},
    client::Body,
    core::{GroupVersionKind, Request},
    discovery::{self, Scope},
};
use serde_json::Value;

/// Whether a request changes the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The API server does everything but write (`dryRun=All`).
    DryRun,
    /// The API server writes.
    Real,
}

/// What the API server answered.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    /// The HTTP status.
    pub(crate) code: u16,
    /// The object, or the `Status` of a rejection.
    pub(crate) body: Value,
    /// The texts of the `Warning` headers.
    pub(crate) warnings: Vec<String>,
}

impl Answer {
    /// The object of a request that was accepted.
    ///
    /// # Errors
    /// When it was rejected, with the message.
    pub(crate) fn accepted(self) -> Result<Value> {
        ensure!(self.code < 300, "rejected ({}): {}", self.code, self.message());
        Ok(self.body)
    }

    /// The message of a request that was rejected.
    ///
    /// # Errors
    /// When it was accepted.
    pub(crate) fn rejected(self) -> Result<String> {
        if self.code < 300 {
            bail!("accepted, but a rejection was expected: {}", self.body);
        }
        Ok(self.message())
    }

    fn message(&self) -> String {
        self.body["message"].as_str().map_or_else(|| self.body.to_string(), ToOwned::to_owned)
    }
}

/// Requests of one user, in one namespace for the manifests that name none.
#[derive(Clone)]
pub(crate) struct Requests {
    client: Client,
    namespace: String,
}

impl Requests {
    /// Requests by this client.
    pub(crate) fn new(client: Client, namespace: impl Into<String>) -> Self {
        Self { client, namespace: namespace.into() }
    }

    /// The client behind the requests.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// POST: creates an object.
    ///
    /// # Errors
    /// When there is no answer, or the kind is unknown. A rejection is an answer.
    pub(crate) async fn create(&self, effect: Effect, manifest: &Value) -> Result<Answer> {
        let (collection, _) = self.path(manifest).await?;
        let request = Request::new(collection).create(&post_params(effect), serde_json::to_vec(manifest)?)?;
        self.send(request).await
    }

    /// PUT: replaces an object, or with `subresource` that part of it.
    ///
    /// # Errors
    /// When there is no answer, or the kind is unknown. A rejection is an answer.
    pub(crate) async fn replace(&self, effect: Effect, manifest: &Value, subresource: Option<&str>) -> Result<Answer> {
        let (collection, name) = self.path(manifest).await?;
        let (request, params, body) = (Request::new(collection), post_params(effect), serde_json::to_vec(manifest)?);
        self.send(match subresource {
            None => request.replace(&name, &params, body)?,
            Some(part) => request.replace_subresource(part, &name, &params, body)?,
        })
        .await
    }

    /// PATCH of the object that `manifest` names: its `apiVersion`, `kind` and `metadata.name`.
    ///
    /// # Errors
    /// When there is no answer, or the kind is unknown. A rejection is an answer.
    pub(crate) async fn patch(
        &self,
        effect: Effect,
        manifest: &Value,
        patch: &Patch<Value>,
        subresource: Option<&str>,
    ) -> Result<Answer> {
        let (collection, name) = self.path(manifest).await?;
        let request = Request::new(collection);
        let params = PatchParams {
            dry_run: effect == Effect::DryRun,
            // Server-side apply requires a field manager, and a test that applies twice means one that may.
            field_manager: Some("test".to_owned()),
            force: matches!(patch, Patch::Apply(_)),
            field_validation: None,
        };
        self.send(match subresource {
            None => request.patch(&name, &params, patch)?,
            Some(part) => request.patch_subresource(part, &name, &params, patch)?,
        })
        .await
    }

    /// GET of the object that `manifest` names.
    ///
    /// # Errors
    /// When there is no answer, or the kind is unknown. A rejection is an answer.
    pub(crate) async fn get(&self, manifest: &Value) -> Result<Answer> {
        let (collection, name) = self.path(manifest).await?;
        self.send(Request::new(collection).get(&name, &GetParams::default())?).await
    }

    /// DELETE of the object that `manifest` names.
    ///
    /// # Errors
    /// When there is no answer, or the kind is unknown. A rejection is an answer.
    pub(crate) async fn delete(&self, effect: Effect, manifest: &Value) -> Result<Answer> {
        let (collection, name) = self.path(manifest).await?;
        let params = kube::api::DeleteParams { dry_run: effect == Effect::DryRun, ..Default::default() };
        let request = Request::new(collection).delete(&name, &params)?;
        self.send(request).await
    }

    /// The URL path of a manifest's collection, and the object's name.
    async fn path(&self, manifest: &Value) -> Result<(String, String)> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let api_version = text(&manifest["apiVersion"]);
        let kind = text(&manifest["kind"]);
        let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
        let (resource, capabilities) =
            discovery::pinned_kind(&self.client, &GroupVersionKind::gvk(group, version, &kind))
                .await
                .with_context(|| format!("the API server does not serve {kind} of {api_version}"))?;
        let root = if group.is_empty() { "api" } else { "apis" };
        let namespace = manifest["metadata"]["namespace"].as_str().unwrap_or(&self.namespace);
        let plural = resource.plural;
        let path = match capabilities.scope {
            Scope::Cluster => format!("/{root}/{api_version}/{plural}"),
            Scope::Namespaced => format!("/{root}/{api_version}/namespaces/{namespace}/{plural}"),
        };
        Ok((path, text(&manifest["metadata"]["name"])))
    }

    async fn send(&self, mut request: http::Request<Vec<u8>>) -> Result<Answer> {
        // Unknown fields are mistakes in a test, and not every kind of request of the library can say so.
        let separator = if request.uri().query().is_some() { '&' } else { '?' };
        *request.uri_mut() = format!("{}{separator}fieldValidation=Strict", request.uri()).parse()?;
        let response = self.client.send(request.map(Body::from)).await?;
        let code = response.status().as_u16();
        let warnings = response
            .headers()
            .get_all("warning")
            .iter()
            .map(|value| Ok(warning_text(value.to_str()?)))
            .collect::<Result<_>>()?;
        let bytes = response.into_body().collect_bytes().await?;
        let body = serde_json::from_slice(&bytes)
            .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
        Ok(Answer { code, body, warnings })
    }
}

fn post_params(effect: Effect) -> PostParams {
    PostParams { dry_run: effect == Effect::DryRun, field_manager: Some("test".to_owned()) }
}

/// The text in a header such as `299 - "the text"`.
fn warning_text(header: &str) -> String {
    let quoted = header.splitn(3, ' ').nth(2).unwrap_or(header);
    let inner = quoted.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(quoted);
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.chars();
    while let Some(character) = characters.next() {
        text.push(if character == '\\' { characters.next().unwrap_or('\\') } else { character });
    }
    text
}
