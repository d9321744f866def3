//! Entries by workload.

use std::fmt;
use std::sync::Arc;

use immutable_core::evaluate::About;
use immutable_core::policy::Enforcement;
use immutable_core::rules::printable;

use super::location::file_name;
use super::report::{Entry, Resource};
use super::shown::Shown;

/// The entries of each document, or of each file that could not be read, in their order.
pub(super) fn groups(entries: &[Entry]) -> impl Iterator<Item = &[Entry]> {
    entries.chunk_by(same_workload)
}

/// Whether two neighbours are about the same document; without a workload, about the same file.
pub(super) fn same_workload(one: &Entry, other: &Entry) -> bool {
    one.place.file == other.place.file
        && match (&one.resource, &other.resource) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            _ => false,
        }
}

/// `Deployment shop/web`
pub(super) struct Named<'a>(pub(super) &'a Resource);

impl fmt::Display for Named<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Resource { kind, namespace, name, .. } = self.0;
        let name = if name.is_empty() { "(without a name)" } else { name };
        write!(formatter, "{} ", Shown(kind))?;
        if !namespace.is_empty() {
            write!(formatter, "{}/", Shown(namespace))?;
        }
        write!(formatter, "{}", Shown(name))
    }
}

/// What an entry is about as a whole: its workload, or its file.
pub(super) struct Whole<'a>(pub(super) &'a Entry);

impl fmt::Display for Whole<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.resource {
            Some(resource) => Named(resource).fmt(formatter),
            None => Shown(file_name(&self.0.place.file)).fmt(formatter),
        }
    }
}

/// `container app`, `volume cache`; empty for the workload as a whole.
pub(super) fn part(about: &About) -> String {
    match about {
        About::Container { name, container_type } => format!("{} {}", container_type.name(), printable(name)),
        About::Volume(name) => format!("volume {}", printable(name)),
        About::Workload => String::new(),
    }
}

/// What is wrong and what to write, in one line that needs no context but the workload.
pub(super) struct Sentence<'a>(pub(super) &'a Entry);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Entry { about, message, fix, .. } = self.0;
        write!(formatter, "{}{}", about.prefix(), Shown(message))?;
        if fix.is_empty() { Ok(()) } else { write!(formatter, " -> {}", Shown(fix)) }
    }
}

/// Whether an error is as grave as a failure: what cannot be decided weighs as much as its rule does, an input
/// that cannot be read weighs fully.
pub(super) fn weighs_fully(entry: &Entry) -> bool {
    entry.enforcement.is_none_or(|enforcement| enforcement == Enforcement::Enforce)
}

/// Why a finding is excused: `exception NAME until TIME: REASON`.
pub(super) fn excuse(entry: &Entry) -> Option<String> {
    let exception = entry.exception.as_ref()?;
    Some(format!("exception {} until {}: {}", Shown(&exception.name), exception.expires_at, Shown(&exception.reason)))
}
