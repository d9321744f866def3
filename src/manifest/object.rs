//! Kubernetes objects within documents; lists are opened.

use serde::Deserialize;

use super::error::{ErrorKind, ManifestError, Position, Problem, quoted};
use super::tree::{Node, Value};

/// Lists in lists in lists: kubectl opens them, nobody writes them.
const DEEPEST_LIST: usize = 4;

/// One Kubernetes object of an input.
#[derive(Debug, Clone)]
pub struct Object<'tree> {
    file: &'tree str,
    node: Node<'tree>,
    pointer: String,
    api_version: &'tree str,
    kind: &'tree str,
}

impl<'tree> Object<'tree> {
    /// The file it stands in; `-` is standard input.
    pub fn file(&self) -> &'tree str {
        self.file
    }

    /// The object itself.
    pub fn node(&self) -> Node<'tree> {
        self.node
    }

    /// Where it is in its document: empty, or for example `/items/3` in a list.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// Its `apiVersion`; an item of a typed list may leave it to the list.
    pub fn api_version(&self) -> &'tree str {
        self.api_version
    }

    /// Its `kind`; an item of a `DeploymentList` may leave it out and is a `Deployment`.
    pub fn kind(&self) -> &'tree str {
        self.kind
    }

    fn metadata(&self, field: &str) -> Option<&'tree str> {
        self.node.get("metadata")?.get(field)?.as_str().filter(|text| !text.is_empty())
    }

    /// Its name; absent where `generateName` stands in for it.
    pub fn name(&self) -> Option<&'tree str> {
        self.metadata("name")
    }

    /// Its namespace, if it says one.
    pub fn namespace(&self) -> Option<&'tree str> {
        self.metadata("namespace")
    }

    /// Where what an RFC 6901 pointer *below this object* names is, or its nearest existing ancestor.
    pub fn locate(&self, pointer: &str) -> Position {
        self.node.locate(pointer)
    }

    /// Reads it as a view: a struct with those fields that somebody asks for.
    ///
    /// # Errors
    /// When a field holds what its type does not allow; it names the field and its place.
    pub fn view<T: Deserialize<'tree>>(&self) -> Result<T, ManifestError> {
        T::deserialize(self.node).map_err(|error| ManifestError {
            file: self.file.to_owned(),
            position: error.position().unwrap_or_else(|| self.node.position()),
            message: error.to_string(),
            kind: ErrorKind::Value,
        })
    }

    /// An error about what a pointer below this object names.
    pub fn error(&self, pointer: &str, kind: ErrorKind, message: impl Into<String>) -> ManifestError {
        Problem::new(self.locate(pointer), kind, message).within(self.file)
    }
}

/// What a document turned out to hold.
pub(super) enum Found<'tree> {
    Object(Object<'tree>),
    /// YAML, but no Kubernetes object.
    Other(Position),
    Problem(Problem),
}

/// Finds the objects of a document.
pub(super) fn objects<'tree>(file: &'tree str, root: Node<'tree>, found: &mut dyn FnMut(Found<'tree>)) {
    Walk { file, found }.visit(root, String::new(), None, 0);
}

struct Walk<'walk, 'tree> {
    file: &'tree str,
    found: &'walk mut dyn FnMut(Found<'tree>),
}

impl<'tree> Walk<'_, 'tree> {
    fn problem(&mut self, position: Position, kind: ErrorKind, message: impl Into<String>) {
        (self.found)(Found::Problem(Problem::new(position, kind, message)));
    }

    /// `inherited` is what a typed list says of its items.
    fn visit(&mut self, node: Node<'tree>, pointer: String, inherited: Option<(&'tree str, &'tree str)>, depth: usize) {
        let api_version = self.identity(node, "apiVersion");
        let kind = self.identity(node, "kind");
        let (Ok(api_version), Ok(kind)) = (api_version, kind) else {
            return;
        };
        let (api_version, kind) = match (api_version, kind, inherited) {
            (Some(api_version), Some(kind), _) => (api_version, kind),
            (None, None, Some(inherited)) if matches!(node.value(), Value::Mapping(_)) => inherited,
            (api_version, kind, _) => return self.not_an_object(node, api_version, kind, depth),
        };
        for (field, text) in [("/apiVersion", api_version), ("/kind", kind)] {
            if text.contains("{{") {
                (self.found)(Found::Problem(super::template::problem(node.locate(field))));
                return;
            }
        }
        // kubectl takes whatever has items for a list, and creates what they are.
        let item_kind = kind.strip_suffix("List").unwrap_or_default();
        let items =
            node.get("items").filter(|items| kind.ends_with("List") || matches!(items.value(), Value::Sequence(_)));
        let items = items.map(|items| (item_kind, items));
        let Some((item_kind, items)) = items else {
            if kind != "List" {
                (self.found)(Found::Object(Object { file: self.file, node, pointer, api_version, kind }));
            }
            return;
        };
        let items = match items.value() {
            Value::Sequence(items) => items,
            Value::Null => return,
            _ => return self.problem(items.position(), ErrorKind::Value, "items: expected a list"),
        };
        if depth == DEEPEST_LIST {
            return self.problem(
                node.position(),
                ErrorKind::Depth,
                format!("more than {DEEPEST_LIST} Lists in each other"),
            );
        }
        let inherited = (!item_kind.is_empty()).then_some((api_version, item_kind));
        for (number, item) in items.enumerate() {
            self.visit(item, format!("{pointer}/items/{number}"), inherited, depth + 1);
        }
    }

    /// `apiVersion` or `kind`; empty is absent. What is there and no string has been reported.
    fn identity(&mut self, node: Node<'tree>, field: &str) -> Result<Option<&'tree str>, ()> {
        let Some(value) = node.get(field) else {
            return Ok(None);
        };
        match value.value() {
            Value::String(text) => Ok(Some(text).filter(|text| !text.is_empty())),
            Value::Null => Ok(None),
            // With only one of the two it is some other program's file.
            _ if node.get("apiVersion").is_none() || node.get("kind").is_none() => Ok(None),
            _ => {
                self.problem(value.position(), ErrorKind::Value, format!("{field}: expected a string"));
                Err(())
            }
        }
    }

    fn not_an_object(&mut self, node: Node<'tree>, api_version: Option<&str>, kind: Option<&str>, depth: usize) {
        let position = node.position();
        // Half a Kubernetes object is a mistake in one, and must not pass as some other program's file.
        let looks_like_one = matches!(node.get("metadata").map(Node::value), Some(Value::Mapping(_)))
            || matches!(node.get("spec").map(Node::value), Some(Value::Mapping(_)));
        match (api_version, kind) {
            (None, Some(kind)) if looks_like_one => {
                self.problem(position, ErrorKind::NotAnObject, format!("kind {} without apiVersion", quoted(kind)));
            }
            (Some(version), None) if looks_like_one => {
                self.problem(position, ErrorKind::NotAnObject, format!("apiVersion {} without kind", quoted(version)));
            }
            _ if depth > 0 => self.problem(position, ErrorKind::NotAnObject, NOT_AN_OBJECT),
            _ => (self.found)(Found::Other(position)),
        }
    }
}

/// What is said of YAML that was named and holds no object.
pub(super) const NOT_AN_OBJECT: &str = "no Kubernetes object: apiVersion and kind are missing";
