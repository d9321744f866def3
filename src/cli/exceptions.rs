//! Exceptions from files, for `check`.

use std::path::PathBuf;

use immutable_core::exception::Exception;

use super::resources::{Read, placed, read_all, wrong_version};
use crate::api::ImmutableException;
use crate::manifest::Object;

/// Reads every exception of some files; all that is wrong with any of them otherwise.
///
/// `namespace` is that of an exception that names none.
pub(super) fn read(paths: &[PathBuf], namespace: &str) -> Read<Vec<Exception>> {
    let none = "holds no ImmutableException";
    read_all(paths, none, |object| exception(object, namespace), |exception| exception.id.clone())
}

/// The exception that an object is, if it is one.
fn exception(object: &Object<'_>, namespace: &str) -> Option<Read<Exception>> {
    if object.kind() != "ImmutableException" {
        return None;
    }
    if object.api_version() != crate::api::API_VERSION {
        return Some(Err(vec![wrong_version(object)]));
    }
    let validated = object.view::<ImmutableException>().map(|mut exception| {
        if exception.metadata.namespace.as_deref().unwrap_or_default().is_empty() {
            exception.metadata.namespace = Some(namespace.to_owned());
        }
        exception.validate()
    });
    Some(placed(object, validated))
}
