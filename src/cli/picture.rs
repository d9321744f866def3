//! A picture of a live cluster, for `scan` and `impact`.

use std::sync::Arc;

use immutable_core::exception::{Exception, InEffect};
use immutable_core::policy::{Policy, PolicyId};
use immutable_core::world::{Change, World};
use jiff::Timestamp;

use super::exceptions::say_what_is_not_honoured;
use super::exit::say;
use crate::live::{Lists, Unlisted};

/// What runs, and what counts for it.
pub(super) struct Picture {
    pub world: World,
    pub exceptions: InEffect,
    /// What could not be listed.
    pub unlisted: Vec<Unlisted>,
}

impl Picture {
    /// Looks at a cluster as these policies see it, which are all there are or not, at a moment. Exceptions of the cluster count, and `more` beside them
    /// or in the place of namesakes. Gives nothing where the namespace that is asked for is not there.
    ///
    /// # Errors
    /// The API server does not answer.
    pub(super) async fn take(
        lists: &Lists,
        (policies, are_all): (Vec<Policy>, bool),
        more: Vec<Exception>,
        operator_namespace: &str,
        now: Timestamp,
    ) -> anyhow::Result<Option<Self>> {
        let mut world = World::new(operator_namespace);
        for policy in policies {
            say_if_suspended(&policy, now);
            world.apply(Change::Policy(policy.id.clone(), Some(Arc::new(policy))));
        }
        if !lists.namespaces(&mut world).await? {
            return Ok(None);
        }
        let stored = lists.exceptions().await?;
        let mut unlisted = stored.unlisted;
        let mut exceptions = Vec::new();
        for exception in stored.all {
            match exception {
                Ok(exception) => exceptions.push(exception),
                Err((name, problems)) => {
                    say(format_args!("warning: {name} is not valid, so it excuses nothing: {}", problems.join("; ")));
                }
            }
        }
        for exception in exceptions.into_iter().chain(more) {
            world.apply(Change::Exception(exception.id.clone(), Some(Arc::new(exception))));
        }
        unlisted.extend(lists.workloads(&mut world).await?);
        // Some may be of namespaces that were made after those were listed, whose labels decide, too.
        let is_known = |namespace: &str| world.namespaces().contains_key(namespace);
        if !world.objects().all(|(key, _)| is_known(&key.namespace)) {
            lists.namespaces(&mut world).await?;
        }
        for Unlisted { kind, why } in &unlisted {
            say(format_args!("error: {kind} cannot be listed: {why}"));
        }
        let policies = || world.policies().map(|(_, policy)| policy);
        let in_effect = world.exceptions().in_effect(policies(), now);
        let all: Vec<&Policy> = policies().collect();
        say_what_is_not_honoured(&all, world.exceptions(), &in_effect, now, are_all);
        Ok(Some(Self { world, exceptions: in_effect, unlisted }))
    }
}

/// What is said where a person names something that is not there.
pub(super) fn no_namespace(name: &str) -> String {
    format!("there is no namespace {name}; -A looks at all of them")
}

/// What is said where a person names something that is not there.
pub(super) fn no_policy(id: &PolicyId) -> String {
    match &id.namespace {
        None => {
            format!("there is no ClusterImmutablePolicy {}; for an ImmutablePolicy name its namespace with -n", id.name)
        }
        Some(namespace) => format!("there is no ImmutablePolicy {} in namespace {namespace}", id.name),
    }
}

fn say_if_suspended(policy: &Policy, now: Timestamp) {
    if let Some(suspension) = policy.suspension.as_ref().filter(|_| policy.is_suspended(now)) {
        say(format_args!(
            "policy {} is suspended until {} and enforces nothing; it is judged by all the same",
            policy.id, suspension.until
        ));
    }
}
