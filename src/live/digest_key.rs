//! The Secret with the key of digests.

use immutable_core::references::digest::DigestKey;
use k8s_openapi::api::core::v1::Secret;
use kube::Client;
use kube::api::Api;

/// Its name, in the operator's namespace.
pub(crate) const DIGEST_KEY_NAME: &str = "immutable-operator-digest-key";
/// The key of its data.
pub(crate) const DIGEST_KEY_FIELD: &str = "key";

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DigestKeyError {
    /// There is no such Secret.
    #[error("there is no Secret {DIGEST_KEY_NAME}; the operator makes it when it has something to replace")]
    Absent,
    /// It holds something else.
    #[error(
        "Secret {namespace}/{DIGEST_KEY_NAME} does not hold {length} bytes under {DIGEST_KEY_FIELD}; delete it, and the \
         operator makes another one and replaces no pods for that",
        length = DigestKey::LENGTH
    )]
    Invalid {
        /// where it is
        namespace: String,
    },
    /// It cannot be read.
    #[error("Secret {0}/{DIGEST_KEY_NAME} cannot be read: {1}")]
    Refused(String, kube::Error),
}

/// Reads the bytes of the key.
///
/// # Errors
/// There is none, or it cannot be read.
pub(crate) async fn read_digest_key(client: &Client, namespace: &str) -> Result<Box<[u8]>, DigestKeyError> {
    let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
    let secret = api.get_opt(DIGEST_KEY_NAME).await;
    let secret = secret.map_err(|error| match error {
        // What cannot be parsed is quoted, and it may be the key.
        kube::Error::SerdeError(_) => DigestKeyError::Invalid { namespace: namespace.to_owned() },
        error => DigestKeyError::Refused(namespace.to_owned(), error),
    })?;
    let data = secret.ok_or(DigestKeyError::Absent)?.data.unwrap_or_default();
    let bytes = data.get(DIGEST_KEY_FIELD).filter(|bytes| bytes.0.len() == DigestKey::LENGTH);
    bytes.map(|bytes| bytes.0.clone().into()).ok_or_else(|| DigestKeyError::Invalid { namespace: namespace.to_owned() })
}
