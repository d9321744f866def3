//! Writes of what replaces pods: annotations, and the key of their digests.

use std::collections::BTreeMap;

use immutable_core::native::MANAGED_BY;
use immutable_core::replace::Intent;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{Api, ApiResource, ObjectMeta, PartialObjectMeta, Patch, PatchParams};
use kube::core::GroupVersionKind;

use super::{WriteError, Writer, post};
use crate::live::DIGEST_KEY_FIELD;

impl Writer {
    /// Applies what the planner wants of a workload, in exactly the version that it was decided on.
    ///
    /// Returns the version that is stored then.
    ///
    /// # Errors
    /// It was not written; decide again.
    pub(in crate::operator) async fn roll(&self, intent: &Intent) -> Result<String, WriteError> {
        let target = intent.target();
        let key = &target.key;
        let api_version = key.kind.api_version();
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let gvk = GroupVersionKind::gvk(group, version, key.kind.name());
        let resource = ApiResource::from_gvk_with_plural(&gvk, &target.resource);
        let api: Api<PartialObjectMeta<kube::api::DynamicObject>> =
            Api::namespaced_with(self.client.clone(), &key.namespace, &resource);
        // Undoing a rollout brings back old annotations, with whoever undid it as their owner.
        let parameters = PatchParams::apply(intent.manager()).force();
        let patch = Patch::Apply(intent.manifest());
        let verb = if intent.rolls() { "roll" } else { "record" };
        let kind = key.kind.built_in().map_or("custom", |kind| kind.name());
        let stored = self.call(verb, kind, api.patch_metadata(&key.name, &parameters, &patch)).await?;
        Ok(stored.metadata.resource_version.unwrap_or_default())
    }

    /// Creates the Secret with the key of digests.
    ///
    /// # Errors
    /// It was not created; there may be one already.
    pub(in crate::operator) async fn create_digest_key(
        &self,
        namespace: &str,
        name: &str,
        bytes: &[u8],
    ) -> Result<(), WriteError> {
        let (label, value) = MANAGED_BY;
        let secret = Secret {
            metadata: ObjectMeta {
                name: Some(name.to_owned()),
                labels: Some(BTreeMap::from([(label.to_owned(), value.to_owned())])),
                ..ObjectMeta::default()
            },
            data: Some(BTreeMap::from([(DIGEST_KEY_FIELD.to_owned(), ByteString(bytes.to_vec()))])),
            ..Secret::default()
        };
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespace);
        self.call("create", "Secret", api.create(&post(), &secret)).await.map(|_| ())
    }
}
