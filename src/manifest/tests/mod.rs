//! Tests of the whole module; what kubectl reads is in `tests/data/yaml`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod inputs;
mod objects;
mod places;
mod reading;
mod views;

use serde::Deserialize;

use super::{ManifestError, trees};

/// All documents of a text as JSON.
fn read(text: &str) -> Vec<Result<serde_json::Value, ManifestError>> {
    trees("a.yaml", text)
        .into_iter()
        .map(|tree| tree.map(|tree| serde_json::Value::deserialize(tree.root()).unwrap()))
        .collect()
}

/// The one document of a text as JSON.
fn one(text: &str) -> serde_json::Value {
    let mut documents = read(text);
    assert_eq!(documents.len(), 1, "{text:?} gives {documents:?}");
    documents.remove(0).unwrap_or_else(|error| panic!("{text:?}: {error}"))
}

/// The error of a text that has one, as it is printed.
fn error(text: &str) -> String {
    let documents = read(text);
    documents.into_iter().find_map(Result::err).map_or_else(|| panic!("{text:?} is read"), |error| error.to_string())
}
