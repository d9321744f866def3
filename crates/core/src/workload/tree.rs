//! What a parsed manifest must offer so that views can be read from it.

use serde::Deserializer;

/// A parsed manifest, or a place in one: JSON from the API server or a spanned YAML tree.
pub trait Tree<'de>: Deserializer<'de> + Copy
where
    <Self as Deserializer<'de>>::Error: std::fmt::Display,
{
    /// The value of a key, where this is a mapping that has the key.
    fn get(self, key: &str) -> Option<Self>;

    /// The value behind a JSON Pointer of mapping keys (`/spec/template`).
    fn at(self, pointer: &str) -> Option<Self> {
        pointer.split('/').skip(1).try_fold(self, |node, key| {
            if key.contains('~') { node.get(&key.replace("~1", "/").replace("~0", "~")) } else { node.get(key) }
        })
    }

    /// The JSON Pointer below this place of what could not be read, where the error knows.
    fn pointer_of(_error: &<Self as Deserializer<'de>>::Error) -> String {
        String::new()
    }

    /// Whether this is an explicit null, which Kubernetes reads as absent.
    fn is_null(self) -> bool;
}

impl<'de> Tree<'de> for &'de serde_json::Value {
    fn get(self, key: &str) -> Option<Self> {
        self.as_object()?.get(key)
    }

    fn is_null(self) -> bool {
        self.is_null()
    }
}
