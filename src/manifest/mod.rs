//! Manifests: YAML and JSON in, Kubernetes objects out, with the line and column of every field.
//!
//! One road leads through this module: [`discover()`] finds files, [`load()`] reads one as text, [`map_documents`] splits the
//! text at document markers and builds one [`Tree`] per document, on all cores, in the order of the input. What cannot be
//! read is a [`ManifestError`] of its own document and takes no other document with it.
//!
//! YAML is read as kubectl reads it (sigs.k8s.io/yaml over go-yaml v2: YAML 1.1). It is stricter on purpose where kubectl
//! keeps silent about something that has two meanings: a key written twice is an error.

mod build;
mod core_tree;
mod deserialize;
mod discover;
mod error;
mod glob;
mod json;
mod load;
mod object;
mod read;
mod scalar;
mod split;
mod template;
mod tree;
mod write;
mod yaml;

pub use deserialize::ViewError;
pub use discover::{Discovery, Source, discover};
pub use error::{ErrorKind, ManifestError, Position};
pub use glob::{Glob, GlobError};
pub use load::{MAX_INPUT, load, read_stdin, to_text};
pub use object::Object;
pub use read::{Documents, map_documents, trees};
pub use template::UNRENDERED;
pub use tree::{Entries, Items, Locator, Node, Tree, Value};
pub use write::to_yaml;

#[cfg(test)]
mod tests;
