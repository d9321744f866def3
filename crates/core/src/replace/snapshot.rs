//! What a workload reads came to at one moment, object by object.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;

use super::cause::{Cause, ChangedObject};
use super::record::Sources;
use super::waiting::{Reason, Waiting};
use crate::references::Dependency;
use crate::references::digest::{ConfigContent, Digest, DigestKey, State, digest, missing, short};
use crate::rules::ConfigKind;
use crate::world::{ConfigId, ConfigKey, ConfigObject, Contents, Known};

/// What all objects came to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Snapshot {
    pub digest: Digest,
    /// Each object; none where it is not known any more what each came to.
    pub parts: BTreeMap<(ConfigKind, Box<str>), Part>,
    /// Whether these are not all: of what was recorded by somebody who is gone not every object may be named.
    pub is_cut: bool,
}

/// What one object came to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Part {
    pub short: Box<str>,
    /// Digests of its keys, where this version of it was seen.
    pub content: Option<Seen>,
}

/// What was seen of an object.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Seen {
    Absent,
    Present(Arc<ConfigContent>),
}

impl Seen {
    fn state(&self) -> State<'_> {
        match self {
            Self::Absent => State::Absent,
            Self::Present(content) => State::Present(content),
        }
    }
}

/// What the objects are now.
pub(super) struct Now {
    pub snapshot: Snapshot,
    /// What new pods could not start without.
    pub missing: Vec<String>,
    /// When each was last written, as the API server noted it.
    pub written: BTreeMap<(ConfigKind, Box<str>), Timestamp>,
}

/// Which object a dependency of a workload of this namespace is on.
pub(super) fn id_of(dependency: &Dependency, namespace: &str) -> ConfigId {
    let key = ConfigKey { namespace: namespace.to_owned(), name: dependency.name.to_string() };
    ConfigId { kind: dependency.kind, key }
}

/// Looks at everything that a workload reads.
pub(super) fn look(
    dependencies: &[Dependency],
    namespace: &str,
    contents: &Contents,
    key: &DigestKey,
) -> Result<Now, Waiting> {
    let mut states = Vec::with_capacity(dependencies.len());
    let mut parts = BTreeMap::new();
    let mut written = BTreeMap::new();
    for dependency in dependencies {
        let id = id_of(dependency, namespace);
        let object: Option<&ConfigObject> = match contents.get(&id) {
            Known::Present(object) => Some(object),
            Known::Absent => None,
            Known::Unknown => {
                return Err(Waiting::for_event(Reason::NotReadYet, format!("{id} is being read")));
            }
            Known::Unreadable(why) => {
                let message = format!("{id} cannot be read: {why}; grant the operator list, watch and get on it");
                return Err(Waiting::for_event(Reason::Unreadable, message));
            }
        };
        let name = (dependency.kind, dependency.name.clone());
        let state = object.map_or(State::Absent, |object| State::Present(&object.content));
        let seen = object.map_or(Seen::Absent, |object| Seen::Present(Arc::clone(&object.content)));
        parts.insert(name.clone(), Part { short: short(key, dependency, state).into(), content: Some(seen) });
        if let Some(at) = object.and_then(|object| object.written) {
            written.insert(name, at);
        }
        states.push((dependency, state));
    }
    let snapshot = Snapshot { digest: digest(key, &states), parts, is_cut: false };
    Ok(Now { snapshot, missing: missing(&states), written })
}

impl Snapshot {
    /// What is known of content that was recorded by somebody who is gone.
    pub(super) fn recorded(digest: Digest, sources: Option<Sources>) -> Self {
        let sources = sources.filter(|sources| sources.of == digest.to_string());
        let is_cut = sources.as_ref().is_some_and(|sources| sources.is_cut);
        let parts = sources.into_iter().flat_map(|sources| sources.objects);
        let part = |((kind, name), short): ((ConfigKind, String), String)| {
            ((kind, name.into_boxed_str()), Part { short: short.into(), content: None })
        };
        Self { digest, parts: parts.map(part).collect(), is_cut }
    }

    /// What stands in `immutable.dev/config-sources`.
    pub(super) fn sources(&self) -> Sources {
        let objects = self.parts.iter();
        Sources {
            of: self.digest.to_string(),
            objects: objects.map(|((kind, name), part)| ((*kind, name.to_string()), part.short.to_string())).collect(),
            is_cut: self.is_cut,
        }
    }

    /// Whether every object that both read is as it was. What was recorded may have been of fewer keys.
    pub(super) fn agrees_with(&self, now: &Self, dependencies: &[Dependency], key: &DigestKey) -> bool {
        // Nothing that counted has changed.
        if self.digest == digest(key, &[]) {
            return true;
        }
        if self.parts.is_empty() || self.is_cut {
            return false;
        }
        dependencies.iter().all(|dependency| {
            let name = (dependency.kind, dependency.name.clone());
            let (Some(before), Some(now)) = (self.parts.get(&name), now.parts.get(&name)) else { return true };
            match &before.content {
                Some(seen) => *short(key, dependency, seen.state()) == *now.short,
                None => before.short == now.short,
            }
        })
    }

    /// The objects that are other than they were, with their keys where both versions were seen.
    pub(super) fn changed(
        &self,
        now: &Self,
        dependencies: &[Dependency],
    ) -> BTreeMap<(ConfigKind, Box<str>), BTreeSet<String>> {
        let mut changed = BTreeMap::new();
        for dependency in dependencies {
            let name = (dependency.kind, dependency.name.clone());
            let Some(part) = now.parts.get(&name) else { continue };
            match self.parts.get(&name) {
                Some(before) if before.short == part.short => {}
                Some(Part { content: Some(Seen::Present(before)), .. }) => {
                    let mut keys = BTreeSet::new();
                    if let Some(Seen::Present(content)) = &part.content {
                        let read = before.changed_keys(content).into_iter().filter(|key| dependency.keys.reads(key));
                        keys.extend(read.map(ToOwned::to_owned));
                    }
                    changed.insert(name, keys);
                }
                _ => {
                    changed.insert(name, BTreeSet::new());
                }
            }
        }
        changed
    }
}

impl Now {
    /// Why a workload that was started with `recorded` is replaced. Where nobody knows what changed, it is what was written
    /// last.
    pub(super) fn cause(&self, recorded: &Snapshot, dependencies: &[Dependency]) -> Cause {
        let mut changed = recorded.changed(&self.snapshot, dependencies);
        if recorded.parts.is_empty()
            && let Some(last) = self.written.values().max()
        {
            changed.retain(|name, _| self.written.get(name) == Some(last));
        }
        let object = |((kind, name), keys): ((ConfigKind, Box<str>), BTreeSet<String>)| ChangedObject {
            kind,
            name: name.into(),
            keys,
        };
        Cause { objects: changed.into_iter().map(object).collect(), returned_since: None }
    }

    /// When any of it was last written, as far as that is noted for all of it. Of what is not there nobody knows since when.
    pub(super) fn last_written(&self) -> Option<Timestamp> {
        let all = self.snapshot.parts.len() == self.written.len();
        if all { self.written.values().max().copied() } else { None }
    }
}
