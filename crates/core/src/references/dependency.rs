//! What a workload depends on: its references, one entry per object.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{KeyUse, Reference, ReferencedKeys, references};
use crate::rules::{ConfigKind, printable};
use crate::workload::Workload;

/// How many places a dependency names.
pub const MOST_FIELDS: usize = 32;

/// A ConfigMap or Secret that the pods of a workload read, in the workload's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dependency {
    /// What kind of object.
    pub kind: ConfigKind,
    /// The object's name.
    pub name: Box<str>,
    /// Whether new pods wait until it exists.
    pub required: bool,
    /// What is read of it.
    pub keys: Keys,
    /// Where the workload refers to it, for a person: JSON Pointers in the order in which they are written, with the
    /// key where one is read. After [`MOST_FIELDS`] one line says how many more there are.
    pub fields: Vec<String>,
}

/// Which keys of an object are read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Every key that the object has.
    pub all: bool,
    /// These keys; where all are read, only those that must be there.
    pub named: BTreeMap<Box<str>, KeyUse>,
}

impl Keys {
    /// Whether the value of a key counts.
    pub fn reads(&self, key: &str) -> bool {
        self.all || self.named.get(key).is_some_and(|named| named.read)
    }

    /// Whether no key is read, so that the object's content does not count.
    pub fn is_empty(&self) -> bool {
        !self.all && !self.named.values().any(|named| named.read)
    }

    /// The keys without which new pods do not start.
    pub fn required(&self) -> impl Iterator<Item = &str> {
        self.named.iter().filter(|(_, named)| named.required).map(|(key, _)| &**key)
    }

    /// Reads every key from now on.
    pub(crate) fn read_all(&mut self) {
        self.all = true;
        self.named.retain(|_, named| named.required);
        for named in self.named.values_mut() {
            named.read = true;
        }
    }

    fn add(&mut self, keys: &ReferencedKeys<'_>) {
        match keys {
            ReferencedKeys::Unmounted => {}
            ReferencedKeys::All => self.all = true,
            ReferencedKeys::Named(named) => {
                for (key, key_use) in named {
                    match self.named.get_mut(*key) {
                        Some(known) => known.merge(*key_use),
                        None => {
                            self.named.insert((*key).into(), *key_use);
                        }
                    }
                }
            }
        }
    }
}

/// What the pods of a workload depend on, over all its templates: one entry per object, by kind and name.
pub fn dependencies(workload: &Workload) -> Vec<Dependency> {
    let mut found: BTreeMap<(ConfigKind, &str), (Dependency, usize)> = BTreeMap::new();
    for template in &workload.templates {
        for reference in references(&template.spec) {
            let (dependency, more) = found.entry((reference.kind, reference.name)).or_insert_with(|| {
                let (kind, name) = (reference.kind, reference.name.into());
                (Dependency { kind, name, required: false, keys: Keys::default(), fields: Vec::new() }, 0)
            });
            dependency.required |= !reference.optional && reference.keys != ReferencedKeys::Unmounted;
            dependency.keys.add(&reference.keys);
            if dependency.fields.len() < MOST_FIELDS {
                dependency.fields.push(field(&template.pointer, &reference));
            } else {
                *more += 1;
            }
        }
    }
    let finished = found.into_values().map(|(mut dependency, more)| {
        if dependency.keys.all {
            dependency.keys.read_all();
        }
        if more > 0 {
            dependency.fields.push(format!("and {more} more"));
        }
        dependency
    });
    finished.collect()
}

/// A place with the keys that are read there.
fn field(template: &str, reference: &Reference<'_>) -> String {
    let mut field = format!("{template}{}", reference.pointer);
    match &reference.keys {
        ReferencedKeys::Unmounted => field.push_str(" (not mounted)"),
        ReferencedKeys::All => {}
        ReferencedKeys::Named(named) => {
            let read: Vec<&str> = named.iter().filter(|(_, named)| named.read).map(|(key, _)| *key).collect();
            let keys = if read.len() == 1 { "key" } else { "keys" };
            // Writing to a String cannot fail.
            let _ = write!(field, " ({keys} {})", printable(&read.join(", ")));
        }
    }
    field
}
