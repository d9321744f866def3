//! Exceptions from files, and what is said of those that do not count.

use std::collections::BTreeMap;
use std::path::PathBuf;

use immutable_core::exception::{Exception, Exceptions, InEffect, Standing};
use immutable_core::policy::Policy;
use jiff::Timestamp;

use super::exit::say;
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

/// An exception that is not honoured must say so: whoever wrote it counts on it. Unless these are all policies there are,
/// one that is about none of them is no matter.
pub(super) fn say_what_is_not_honoured(
    policies: &[&Policy],
    exceptions: &Exceptions,
    in_effect: &InEffect,
    now: Timestamp,
    are_all: bool,
) {
    for exception in exceptions.iter() {
        let mut by_standing: BTreeMap<Standing, Vec<String>> = BTreeMap::new();
        for policy in policies {
            let standing = in_effect.standing(exception, policy, now);
            by_standing.entry(standing).or_default().push(policy.id.to_string());
        }
        by_standing.remove(&Standing::OtherPolicy);
        if by_standing.is_empty() && are_all {
            say(format_args!("warning: exception {} is about no policy that is checked", exception.id));
        }
        for (standing, policies) in by_standing.iter().filter(|(standing, _)| **standing != Standing::InEffect) {
            let noun = if policies.len() == 1 { "policy" } else { "policies" };
            let (names, reason) = (policies.join(", "), standing.reason());
            say(format_args!("warning: exception {} is not honoured by {noun} {names}: {reason}", exception.id));
        }
    }
}
