//! Which workloads the planner serves, and what of what they read counts.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::merge::{Merged, merge};
use super::settings::{Compatibility, OnConfigChange};
use super::snapshot::id_of;
use super::waiting::{Reason, Waiting};
use crate::policy::{Policy, PolicyId};
use crate::references::{Dependency, dependencies};
use crate::rules::ConfigKind;
use crate::workload::reloader::ConfigObjects;
use crate::workload::rollout::{Choice, Rollout};
use crate::workload::{ConfigMarks, Reloader};
use crate::world::{ConfigId, ConfigKey, Content, Known, Object, WorkloadKey, World};

/// How many objects a workload may depend on: each is read, kept and compared again at every look.
const MOST_OBJECTS: usize = 500;

/// What the `replace` sections of the same policies come to is made once.
pub(super) type MergedCache = HashMap<Vec<PolicyId>, Arc<Merged>>;

/// Whether a workload is served.
pub(super) enum Served {
    /// It is not, and why, in words.
    No(String),
    /// It is, and what of it counts depends on these, which must be read first, or on the names of all.
    NotYet(Vec<ConfigId>),
    /// It is.
    Yes {
        merged: Arc<Merged>,
        /// What of what its pods read counts.
        dependencies: Vec<Dependency>,
        /// What must be known for that, beside what counts.
        marked: Vec<ConfigId>,
        /// What keeps all of it from happening.
        held: Option<Waiting>,
    },
}

/// Looks what policies and the workload itself say.
pub(super) fn served(
    world: &World,
    key: &WorkloadKey,
    object: &Object,
    rollout: &Rollout,
    cache: &mut MergedCache,
    now: Timestamp,
) -> Served {
    let Content::Known(workload) = &object.content else {
        return Served::No("it cannot be read".to_owned());
    };
    let matching: Vec<(&PolicyId, &Policy)> = world.policies_that_match(key, object).collect();
    let speaking = || matching.iter().filter_map(|(id, policy)| Some((*id, policy.replace.as_ref()?)));
    let ids: Vec<PolicyId> = speaking().map(|(id, _)| id.clone()).collect();
    let merged = Arc::clone(cache.entry(ids).or_insert_with(|| Arc::new(merge(speaking()))));
    match (&rollout.choice, merged.on_config_change) {
        (Choice::Disabled, _) => {
            return Served::No("its annotation immutable.dev/rollout says disabled".to_owned());
        }
        (Choice::Invalid(written), _) => {
            let message = format!("its annotation immutable.dev/rollout says {written}; write enabled or disabled");
            return Served::No(message);
        }
        (_, OnConfigChange::Disabled) => {
            let by: Vec<String> = merged.disabled_by.iter().map(ToString::to_string).collect();
            return Served::No(format!("spec.replace.onConfigChange is Disabled in policy {}", by.join(", ")));
        }
        _ => {}
    }
    let is_chosen = rollout.choice == Choice::Enabled || merged.on_config_change == OnConfigChange::Enabled;
    let reloader = rollout.reloader.as_deref().filter(|_| merged.compatibility.contains(&Compatibility::Reloader));
    if !is_chosen && !reloader.is_some_and(Reloader::selects) {
        let message = if merged.policies.is_empty() {
            "no policy with spec.replace matches it; annotate it with immutable.dev/rollout=enabled"
        } else {
            "it has not opted in; annotate it with immutable.dev/rollout=enabled"
        };
        return Served::No(message.to_owned());
    }
    let mut all = dependencies(workload);
    // Where no kind counts that is a conflict of policies, and what changes meanwhile waits for its end.
    let counts = |dependency: &Dependency| merged.kinds.is_empty() || merged.kinds.contains(&dependency.kind);
    all.retain(counts);
    if all.len() > MOST_OBJECTS {
        return Served::No(too_many(all.len()));
    }
    let mut marked = Vec::new();
    if let Some(reloader) = reloader {
        let namespace = &key.namespace;
        if let Some(why) = reloader.excess(&InNamespace { world, namespace }) {
            return Served::No(why);
        }
        marked.extend(all.iter().map(|dependency| id_of(dependency, namespace)));
        let is_unread = |id: &&ConfigId| matches!(world.contents().get(id), Known::Unknown);
        let unread: Vec<ConfigId> = marked.iter().filter(is_unread).cloned().collect();
        let needs_names = reloader.has_patterns() && !world.contents().has_all_names();
        if needs_names || !unread.is_empty() {
            return Served::NotYet(unread);
        }
        all = reloader.dependencies(&all, &InNamespace { world, namespace }, is_chosen);
        all.retain(counts);
    }
    if all.len() > MOST_OBJECTS {
        return Served::No(too_many(all.len()));
    }
    if all.is_empty() && marked.is_empty() {
        return Served::No("its pods read no ConfigMap or Secret that counts".to_owned());
    }
    let suspended = matching.iter().find(|(_, policy)| policy.is_suspended(now));
    let suspended = suspended.and_then(|(id, policy)| {
        let suspension = policy.suspension.as_ref()?;
        let message = format!("policy {id} is suspended until {}: {}", suspension.until, suspension.reason);
        Some(Waiting::until(Reason::Suspended, suspension.until, message))
    });
    // Windows that are never open are found where it is asked whether one is.
    let conflict = || {
        let conflict = if merged.kinds.is_empty() { merged.conflict(now) } else { None };
        conflict.map(|conflict| Waiting::for_event(Reason::Conflict, conflict.to_string()))
    };
    let held = suspended.or_else(conflict);
    Served::Yes { merged, dependencies: all, marked, held }
}

fn too_many(objects: usize) -> String {
    format!("its pods read {objects} ConfigMaps and Secrets, and at most {MOST_OBJECTS} are served; let it read fewer")
}

/// What Reloader's annotations are asked about.
struct InNamespace<'a> {
    world: &'a World,
    namespace: &'a str,
}

impl ConfigObjects for InNamespace<'_> {
    fn marks(&self, kind: ConfigKind, name: &str) -> Option<ConfigMarks> {
        let key = ConfigKey { namespace: self.namespace.to_owned(), name: name.to_owned() };
        match self.world.contents().get(&ConfigId { kind, key }) {
            Known::Present(object) => Some(object.marks),
            Known::Unknown | Known::Unreadable(_) | Known::Absent => None,
        }
    }

    fn names(&self, kind: ConfigKind) -> impl Iterator<Item = &str> {
        self.world.contents().names(kind, self.namespace)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;
    use crate::workload::{Kind, Workload, WorkloadKind};

    /// Why a workload that reads so many objects is not served; empty where it is.
    fn why_not(objects: usize) -> String {
        let kind = WorkloadKind::BuiltIn(Kind::Deployment);
        let from: Vec<_> = (0..objects).map(|index| json!({"configMapRef": {"name": format!("c{index}")}})).collect();
        // Twice: what counts is how many different ones there are.
        let containers = json!([{"name": "a", "envFrom": from}, {"name": "b", "envFrom": from}]);
        let annotations = json!({"immutable.dev/rollout": "enabled"});
        let value = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "web", "namespace": "shop", "annotations": annotations},
            "spec": {"template": {"spec": {"containers": containers}}},
        });
        let rollout = Rollout::read(&value, &kind, &[]).unwrap();
        let workload = Workload::read(&value, "apps/v1", "Deployment", &[]).unwrap().unwrap();
        let object = Object {
            uid: "1".to_owned(),
            controller: None,
            content: Content::Known(Box::new(workload)),
            rollout: None,
            pod: None,
        };
        let key = WorkloadKey { kind, namespace: "shop".to_owned(), name: "web".to_owned() };
        let world = World::new("immutable-system");
        match served(&world, &key, &object, &rollout, &mut MergedCache::new(), Timestamp::UNIX_EPOCH) {
            Served::No(why) => why,
            Served::NotYet(unread) => format!("waits for {unread:?}"),
            Served::Yes { dependencies, .. } => {
                assert_eq!(dependencies.len(), objects);
                String::new()
            }
        }
    }

    #[test]
    fn a_workload_that_reads_too_many_objects_is_not_served() {
        assert_eq!(why_not(MOST_OBJECTS), "");
        let why = why_not(MOST_OBJECTS + 1);
        assert_eq!(why, "its pods read 501 ConfigMaps and Secrets, and at most 500 are served; let it read fewer");
    }
}
