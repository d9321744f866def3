//! What is known of what ConfigMaps and Secrets hold: keyed digests, and never the content.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use super::{Change, ConfigKey, Touched};
use crate::references::digest::ConfigContent;
use crate::rules::ConfigKind;
use crate::workload::ConfigMarks;

/// Which ConfigMap or Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigId {
    /// Which of the two.
    pub kind: ConfigKind,
    /// Its namespace and name.
    pub key: ConfigKey,
}

impl fmt::Display for ConfigId {
    /// `ConfigMap shop/settings`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}/{}", self.kind.name(), self.key.namespace, self.key.name)
    }
}

/// What is kept of a ConfigMap or Secret.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigObject {
    /// Its uid.
    pub uid: Box<str>,
    /// The version that was read.
    pub resource_version: Box<str>,
    /// Digests of what it holds.
    pub content: Arc<ConfigContent>,
    /// When its data was last written, as the API server noted it; none where that is not noted.
    pub written: Option<Timestamp>,
    /// The field manager that wrote last.
    pub writer: Option<Box<str>>,
    /// What its annotations say to stakater/Reloader.
    pub marks: ConfigMarks,
}

/// How far a ConfigMap or Secret is known.
#[derive(Clone, Copy, Debug)]
pub enum Known<'a> {
    /// Nobody has looked yet.
    Unknown,
    /// It cannot be read, and why.
    Unreadable(&'a str),
    /// There is none.
    Absent,
    /// It is there.
    Present(&'a ConfigObject),
}

/// What was read of one.
#[derive(Clone, Debug, PartialEq)]
pub enum Reading {
    /// It cannot be read, and why.
    Unreadable(String),
    /// There is none.
    Absent,
    /// It is there.
    Present(Box<ConfigObject>),
}

/// Everything that was read of ConfigMaps and Secrets that workloads refer to, and the names of all others.
#[derive(Debug, Default)]
pub struct Contents {
    known: BTreeMap<ConfigId, Reading>,
    names: BTreeMap<(ConfigKind, Box<str>), BTreeSet<Box<str>>>,
    /// The kinds of which all names are known.
    named: BTreeSet<ConfigKind>,
}

impl Contents {
    /// What is known of one.
    pub fn get(&self, id: &ConfigId) -> Known<'_> {
        match self.known.get(id) {
            None => Known::Unknown,
            Some(Reading::Unreadable(why)) => Known::Unreadable(why),
            Some(Reading::Absent) => Known::Absent,
            Some(Reading::Present(object)) => Known::Present(object),
        }
    }

    /// The names of those of a kind in a namespace.
    pub fn names(&self, kind: ConfigKind, namespace: &str) -> impl Iterator<Item = &str> {
        self.names.get(&(kind, Box::from(namespace))).into_iter().flatten().map(|name| &**name)
    }

    /// How many of a kind are there and known by what they hold.
    pub fn present(&self, kind: ConfigKind) -> usize {
        let is_there =
            |(id, reading): &(&ConfigId, &Reading)| id.kind == kind && matches!(reading, Reading::Present(_));
        self.known.iter().filter(is_there).count()
    }

    /// How many were read, with those that are not there.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether none is known by what it holds.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// Whether the names of all are known.
    pub fn has_all_names(&self) -> bool {
        ConfigKind::ALL.iter().all(|kind| self.named.contains(kind))
    }

    /// Takes in a change of contents or names; of others nothing.
    pub(super) fn apply(&mut self, change: Change) -> Touched {
        let mut touched = Touched::default();
        match change {
            Change::Content(id, reading) => touched.contents.extend(self.read(&id, reading).then_some(id)),
            Change::Name(id, is_there) => {
                let is_news = self.name(&id, is_there);
                touched.names.extend(is_news.then_some((id.kind, id.key.namespace)));
            }
            Change::ForgetContents => {
                self.known.clear();
                touched.all_rollouts = true;
            }
            Change::Names(kind, all) => {
                self.name_all(kind, all);
                touched.all_rollouts = true;
            }
            _ => {}
        }
        touched
    }

    /// Takes in what was read, or forgets it; returns whether anything but its version is other than before.
    fn read(&mut self, id: &ConfigId, reading: Option<Reading>) -> bool {
        let Some(reading) = reading else { return self.known.remove(id).is_some() };
        let is_news = match (self.known.get(id), &reading) {
            (Some(Reading::Present(before)), Reading::Present(now)) => {
                before.uid != now.uid || before.content != now.content || before.marks != now.marks
            }
            (before, now) => before != Some(now),
        };
        self.known.insert(id.clone(), reading);
        is_news
    }

    /// Takes in that one is there, or not; returns whether that is news.
    fn name(&mut self, id: &ConfigId, is_there: bool) -> bool {
        let of_namespace = (id.kind, Box::from(id.key.namespace.as_str()));
        if is_there {
            return self.names.entry(of_namespace).or_default().insert(id.key.name.as_str().into());
        }
        let Some(names) = self.names.get_mut(&of_namespace) else { return false };
        let is_news = names.remove(id.key.name.as_str());
        if names.is_empty() {
            self.names.remove(&of_namespace);
        }
        is_news
    }

    /// Takes in which there are of a kind, and no others.
    fn name_all(&mut self, kind: ConfigKind, all: Vec<ConfigKey>) {
        self.names.retain(|(other, _), _| *other != kind);
        self.named.insert(kind);
        for ConfigKey { namespace, name } in all {
            self.names.entry((kind, namespace.into())).or_default().insert(name.into());
        }
    }
}
