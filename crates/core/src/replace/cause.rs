//! Why pods are replaced, as it stands in the annotation `immutable.dev/rollout-cause`: `ConfigMap app (a, b); Secret db`.
//!
//! Names of objects and keys, never values. It is read back, so that an operator that starts knows what its predecessor did.

use std::collections::BTreeSet;
use std::fmt::{self, Write as _};

use jiff::Timestamp;

use crate::rules::ConfigKind;

/// How many objects are named.
const MOST_OBJECTS: usize = 16;
/// How many keys of an object are named.
const MOST_KEYS: usize = 8;
/// How long it is at most: annotations are copied to every ReplicaSet and pod.
const LONGEST: usize = 2048;

/// The objects whose change is the cause of a rollout.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// What changed.
    pub objects: Vec<ChangedObject>,
    /// That the content had been another one for a while and returned, and when it became another: pods were made of that.
    pub returned_since: Option<Timestamp>,
}

/// An object whose content changed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangedObject {
    /// What it is.
    pub kind: ConfigKind,
    /// Its name.
    pub name: String,
    /// Which keys changed, where that is known.
    pub keys: BTreeSet<String>,
}

impl fmt::Display for Cause {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        for (index, object) in self.objects.iter().enumerate() {
            let mut part = if index == 0 { String::new() } else { "; ".to_owned() };
            let _ = write!(part, "{} {}", object.kind.name(), object.name);
            if !object.keys.is_empty() {
                let named: Vec<&str> = object.keys.iter().take(MOST_KEYS).map(String::as_str).collect();
                let more = if object.keys.len() > MOST_KEYS { ", …" } else { "" };
                let _ = write!(part, " ({}{more})", named.join(", "));
            }
            if index >= MOST_OBJECTS || text.len() + part.len() > LONGEST {
                let _ = write!(text, "; and {} more", self.objects.len() - index);
                break;
            }
            text.push_str(&part);
        }
        if let Some(since) = self.returned_since {
            let _ = write!(text, "; back as before {since}");
        }
        formatter.write_str(&text)
    }
}

impl Cause {
    /// Reads what [`Cause`] wrote; what nobody can have written so is left out.
    pub fn read(text: &str) -> Self {
        let mut cause = Self::default();
        for part in text.split("; ").take(MOST_OBJECTS + 2) {
            if let Some(since) = part.strip_prefix("back as before ") {
                cause.returned_since = since.parse().ok();
                continue;
            }
            let (head, keys) = match part.split_once(" (") {
                Some((head, keys)) => (head, keys.strip_suffix(')').unwrap_or(keys)),
                None => (part, ""),
            };
            let Some((kind, name)) = head.split_once(' ') else { continue };
            let kinds = [ConfigKind::ConfigMap, ConfigKind::Secret];
            let Some(kind) = kinds.into_iter().find(|known| known.name() == kind) else { continue };
            if name.is_empty() || name.contains(' ') {
                continue;
            }
            let keys = keys.split(", ").filter(|key| !key.is_empty() && *key != "…").map(ToOwned::to_owned).collect();
            cause.objects.push(ChangedObject { kind, name: name.to_owned(), keys });
        }
        cause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: ConfigKind, name: &str, keys: &[&str]) -> ChangedObject {
        ChangedObject { kind, name: name.to_owned(), keys: keys.iter().map(ToString::to_string).collect() }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let since = Timestamp::UNIX_EPOCH;
        let objects =
            vec![object(ConfigKind::ConfigMap, "app.v1", &["a", "b.yaml"]), object(ConfigKind::Secret, "db", &[])];
        let cause = Cause { objects, returned_since: Some(since) };
        let text = "ConfigMap app.v1 (a, b.yaml); Secret db; back as before 1970-01-01T00:00:00Z";
        assert_eq!(cause.to_string(), text);
        assert_eq!(Cause::read(text), cause);
    }

    #[test]
    fn what_is_too_long_says_how_much_more_there_is() {
        let keys: Vec<String> = (0..20).map(|key| format!("key-{key}")).collect();
        let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
        let objects = (0..40).map(|name| object(ConfigKind::Secret, &format!("{name}-{}", "x".repeat(200)), &keys));
        let text = Cause { objects: objects.collect(), returned_since: None }.to_string();
        assert!(text.len() < LONGEST + 100, "{}", text.len());
        assert!(text.contains(", …)") && text.contains(" more"), "{text}");
        assert!(!Cause::read(&text).objects.is_empty());
    }

    #[test]
    fn nonsense_is_no_cause() {
        for text in ["", "; ; ", "Pod x", "ConfigMap", "ConfigMap  (a)", "back as before yesterday"] {
            assert_eq!(Cause::read(text), Cause::default(), "{text}");
        }
    }
}
