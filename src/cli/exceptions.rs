//! Exceptions from files, and what is said of those that do not count.

use std::collections::BTreeMap;
use std::path::PathBuf;

use immutable_core::exception::{Exception, Exceptions, InEffect, Standing};
use immutable_core::policy::{Match, NamespaceLabels, Policy};
use immutable_core::world::World;
use jiff::Timestamp;

use super::exit::say;
use super::resources::{Read, placed, read_all, wrong_version};
use crate::api::ImmutableException;
use crate::live::Lists;
use crate::manifest::Object;
use crate::operator::{DEFAULT_NAMESPACE, why};

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

/// Says which policies of the cluster do not honour an exception that was created there, and why: whoever created it
/// counts on it. Of what may not be read nothing is said, and the status of the exception says it all the same.
pub(super) async fn say_who_does_not_honour(lists: &Lists, exception: Exception, now: Timestamp) {
    let mut world = World::new(DEFAULT_NAMESPACE);
    let (Ok(policies), Ok(_)) = (lists.policies().await, lists.namespaces(&mut world).await) else { return };
    let are_all = policies.unlisted.is_empty() && policies.all.iter().all(Result::is_ok);
    let stored = lists.exceptions().await.map_or_else(|_| Vec::new(), |stored| stored.all);
    let (id, own) = (exception.id.clone(), Exception { created: Some(now), ..exception });
    // As it is stored it has the time of the API server, where that can be read.
    let exceptions = Exceptions::new([own].into_iter().chain(stored.into_iter().flatten()).collect());
    let labels = world.namespaces().get(&id.namespace).map(|facts| &facts.labels);
    let judges = |policy: &&Policy| {
        let labels = labels.map_or(NamespaceLabels::Unknown, NamespaceLabels::Known);
        policy.matches_namespace(&id.namespace, labels, Some(DEFAULT_NAMESPACE)) != Match::No
    };
    let policies: Vec<&Policy> = policies.all.iter().flatten().filter(judges).collect();
    let in_effect = exceptions.in_effect(policies.iter().copied(), now);
    let Some(exception) = exceptions.iter().find(|exception| exception.id == id) else { return };
    let mut refusing: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut is_about_any = false;
    for policy in policies {
        let standing = in_effect.standing(exception, policy, now);
        is_about_any |= standing != Standing::OtherPolicy;
        if !matches!(standing, Standing::InEffect | Standing::OtherPolicy) {
            refusing.entry(why(standing, exception, policy)).or_default().push(policy.id.to_string());
        }
    }
    if !is_about_any && are_all {
        say(format_args!(
            "warning: it excuses nothing: PolicyNotFound, it is about no policy that judges its namespace"
        ));
    }
    for (why, policies) in refusing {
        let noun = if policies.len() == 1 { "policy" } else { "policies" };
        say(format_args!("warning: it is not honoured by {noun} {}: {why}", policies.join(", ")));
    }
}
