//! Events of replaced pods, and of pods that should be replaced and are not. Names of objects and keys, never values.

use serde_json::{Value, json};

use super::Telling;
use crate::replace::{Begun, Held, Reason};
use crate::rules::ConfigKind;
use crate::world::{ConfigId, ConfigKey, WorkloadKey};

/// How many workloads an Event on a ConfigMap or Secret names.
const MOST_NAMES: usize = 3;

/// The ConfigMap or Secret that an Event is about, with its uid where it is there.
pub type Related<'a> = (&'a ConfigId, Option<&'a str>);

/// What happened to many workloads for the sake of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Many {
    /// What they wait for; none where their pods are being replaced.
    pub reason: Option<Reason>,
    /// How many they are, beside those that have an Event of their own.
    pub count: u64,
    /// Some of them.
    pub examples: Vec<WorkloadKey>,
}

impl Many {
    /// Takes one more in.
    pub fn add(&mut self, key: &WorkloadKey) {
        self.count += 1;
        if self.examples.len() < MOST_NAMES {
            self.examples.push(key.clone());
        }
    }
}

/// The first object whose change makes pods be replaced.
pub fn first_of(key: &WorkloadKey, cause: &crate::replace::Cause) -> Option<ConfigId> {
    let object = cause.objects.first()?;
    let key = ConfigKey { namespace: key.namespace.clone(), name: object.name.clone() };
    Some(ConfigId { kind: object.kind, key })
}

impl Telling<'_> {
    /// That pods are being replaced. `version` is the resourceVersion of the workload that it was decided on.
    pub fn replaced(&self, begun: &Begun, version: &str, related: Option<Related<'_>>) -> Value {
        let note = format!("its pods are replaced, because this changed: {}", begun.cause);
        let identity = format!("{}:{version}", begun.uid);
        let regarding = workload(&begun.key, &begun.uid);
        let related = related.map(config);
        let mut event =
            self.manifest(&begun.key.namespace, &identity, "Replaced", "Replace", &note, &regarding, related.as_ref());
        event["type"] = Value::from("Normal");
        event
    }

    /// That pods are not replaced though they should be, and somebody must do something.
    pub fn held(&self, held: &Held, related: Option<Related<'_>>) -> Value {
        let reason = held.waiting.reason.name();
        let note = format!("its pods are not replaced: {}", held.waiting.message);
        // What cannot be read has no digest.
        let content = if held.digest.is_empty() { &held.waiting.message } else { &held.digest };
        let identity = format!("{}:{content}", held.uid);
        let regarding = workload(&held.key, &held.uid);
        let related = related.map(config);
        self.manifest(&held.key.namespace, &identity, reason, "Replace", &note, &regarding, related.as_ref())
    }

    /// The same of many workloads at once, told of the object that changed.
    pub fn many(&self, many: &Many, (id, uid): Related<'_>) -> Value {
        let names: Vec<String> = many.examples.iter().map(|key| format!("{} {}", key.kind.name(), key.name)).collect();
        let names = names.join(", ");
        let others = match many.count.saturating_sub(many.examples.len() as u64) {
            0 => names,
            more => format!("{names} and {more} more"),
        };
        let number = many.count;
        let workloads = if number == 1 { "workload" } else { "workloads" };
        let note = match many.reason {
            None => format!("the pods of {number} more {workloads} are replaced for it: {others}"),
            Some(reason) => {
                format!("the pods of {number} more {workloads} are not replaced for it ({reason}): {others}")
            }
        };
        let identity = format!("{}:{}", uid.unwrap_or_default(), self.now);
        let reason = many.reason.map_or("Replaced", Reason::name);
        let namespace = &id.key.namespace;
        let mut event = self.manifest(namespace, &identity, reason, "Replace", &note, &config((id, uid)), None);
        if many.reason.is_none() {
            event["type"] = Value::from("Normal");
        }
        event
    }
}

fn workload(key: &WorkloadKey, uid: &str) -> Value {
    json!({
        "apiVersion": key.kind.api_version(), "kind": key.kind.name(),
        "namespace": key.namespace, "name": key.name, "uid": uid,
    })
}

fn config((id, uid): Related<'_>) -> Value {
    let kind: ConfigKind = id.kind;
    let mut reference = json!({
        "apiVersion": "v1", "kind": kind.name(), "namespace": id.key.namespace, "name": id.key.name,
    });
    if let Some(uid) = uid {
        reference["uid"] = Value::from(uid);
    }
    reference
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use jiff::Timestamp;

    use super::*;
    use crate::native::Installation;
    use crate::replace::{Cause, ChangedObject, Waiting};
    use crate::workload::{Kind, WorkloadKind};

    fn key(name: &str) -> WorkloadKey {
        let kind = WorkloadKind::BuiltIn(Kind::Deployment);
        WorkloadKey { kind, namespace: "shop".to_owned(), name: name.to_owned() }
    }

    fn cause() -> Cause {
        let keys = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
        let objects = vec![ChangedObject { kind: ConfigKind::Secret, name: "db".to_owned(), keys }];
        Cause { objects, returned_since: None }
    }

    fn told<T>(tell: impl FnOnce(&Telling<'_>) -> T) -> T {
        let installation = Installation { namespace: "system".to_owned(), owner: "owner".to_owned() };
        tell(&Telling { installation: &installation, instance: "pod-1", now: Timestamp::UNIX_EPOCH })
    }

    #[test]
    fn a_replacement_names_the_workload_the_object_and_its_keys() {
        let begun = Begun { key: key("web"), uid: "u".to_owned(), cause: cause(), seen: None };
        let Some(id) = first_of(&begun.key, &begun.cause) else { unreachable!("a cause with an object") };
        assert_eq!(id.to_string(), "Secret shop/db");
        let event = told(|telling| telling.replaced(&begun, "7", Some((&id, Some("s")))));
        assert_eq!(event["note"], "its pods are replaced, because this changed: Secret db (a, b)");
        assert_eq!((&event["type"], &event["reason"]), (&json!("Normal"), &json!("Replaced")));
        assert_eq!((&event["regarding"]["name"], &event["related"]["uid"]), (&json!("web"), &json!("s")));
        // Another replacement of the same workload is another Event.
        let other = told(|telling| telling.replaced(&begun, "8", None));
        assert_ne!(event["metadata"]["name"], other["metadata"]["name"]);
    }

    #[test]
    fn what_is_held_up_is_the_same_event_until_the_content_changes() {
        let waiting = Waiting { reason: Reason::Paused, message: "it is paused".to_owned(), until: None };
        let (uid, digest) = ("u".to_owned(), "d".to_owned());
        let held = Held { key: key("web"), uid, waiting, cause: cause(), digest };
        let event = told(|telling| telling.held(&held, None));
        assert_eq!((&event["type"], &event["reason"]), (&json!("Warning"), &json!("Paused")));
        assert_eq!(event["note"], "its pods are not replaced: it is paused");
        let other = Held { digest: "e".to_owned(), ..held.clone() };
        let names =
            [&held, &held, &other].map(|held| told(|telling| telling.held(held, None))["metadata"]["name"].clone());
        assert!(names[0] == names[1] && names[0] != names[2]);
    }

    #[test]
    fn many_are_told_of_the_object_and_counted() {
        let mut many = Many { reason: None, count: 0, examples: Vec::new() };
        for name in ["a", "b", "c", "d", "e"] {
            many.add(&key(name));
        }
        let id = ConfigId {
            kind: ConfigKind::ConfigMap,
            key: ConfigKey { namespace: "shop".to_owned(), name: "settings".to_owned() },
        };
        let event = told(|telling| telling.many(&many, (&id, None)));
        let note =
            "the pods of 5 more workloads are replaced for it: Deployment a, Deployment b, Deployment c and 2 more";
        assert_eq!(event["note"], note);
        assert_eq!((&event["regarding"]["kind"], &event["type"]), (&json!("ConfigMap"), &json!("Normal")));
        many.reason = Some(Reason::Halted);
        let event = told(|telling| telling.many(&many, (&id, None)));
        assert_eq!((&event["reason"], &event["type"]), (&json!("Halted"), &json!("Warning")));
    }
}
