//! The core reads its views from the spanned tree.

use super::deserialize::ViewError;
use super::tree::{Node, Value};

impl<'tree> immutable_core::workload::Tree<'tree> for Node<'tree> {
    fn get(self, key: &str) -> Option<Self> {
        Node::get(self, key)
    }

    fn pointer_of(error: &ViewError) -> String {
        error.pointer()
    }

    fn is_null(self) -> bool {
        matches!(self.value(), Value::Null)
    }
}
