//! Policies from files, for the commands that judge by some.

use std::path::PathBuf;

use immutable_core::policy::Policy;

use super::nearest::nearest;
use super::resources::{Read, placed, read_all, wrong_version};
use crate::api::{ClusterImmutablePolicy, ImmutablePolicy};
use crate::manifest::{ErrorKind, Object};

/// What is wrong with the usage if standard input is named more than once: only the first reader would get it.
pub(super) fn stdin_twice<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Option<&'static str> {
    let times = paths.into_iter().filter(|path| path.as_os_str() == "-").count();
    (times > 1).then_some("error: - is standard input, which can be read only once")
}

/// Reads every policy of some files; all that is wrong with any of them otherwise.
///
/// `namespace` is that of an ImmutablePolicy that names none.
pub(super) fn read(paths: &[PathBuf], namespace: &str) -> Read<Vec<Policy>> {
    let none = "holds no ClusterImmutablePolicy and no ImmutablePolicy";
    read_all(paths, none, |object| policy(object, namespace), |policy| policy.id.clone())
}

/// The policy that an object is, if it is one.
fn policy(object: &Object<'_>, namespace: &str) -> Option<Read<Policy>> {
    if object.api_version() != crate::api::API_VERSION {
        return object.api_version().starts_with("immutable.dev/").then(|| Err(vec![wrong_version(object)]));
    }
    let validated = match object.kind() {
        "ClusterImmutablePolicy" => object.view::<ClusterImmutablePolicy>().map(|policy| policy.validate()),
        "ImmutablePolicy" => object.view::<ImmutablePolicy>().map(|mut policy| {
            if policy.metadata.namespace.as_deref().unwrap_or_default().is_empty() {
                policy.metadata.namespace = Some(namespace.to_owned());
            }
            policy.validate()
        }),
        kind => return Some(Err(vec![object.error("/kind", ErrorKind::Value, unknown_kind(kind))])),
    };
    Some(placed(object, validated))
}

const KINDS: [&str; 2] = ["ClusterImmutablePolicy", "ImmutablePolicy"];

/// What is said of a kind of our own group that is no policy: ignoring it would be ignoring a misspelt policy.
fn unknown_kind(kind: &str) -> String {
    if kind == "ImmutableException" {
        return "kind ImmutableException is no policy; give it with --exceptions".to_owned();
    }
    let nearest = nearest(kind, KINDS)
        .filter(|(distance, _)| *distance <= 5)
        .map_or_else(String::new, |(_, known)| format!("; did you mean {known}?"));
    format!("kind {kind} is not known; write {}{nearest}", KINDS.join(" or "))
}
