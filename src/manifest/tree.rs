//! A document as a tree in which every key and value knows its line and column.
//!
//! The tree is one vector of 16-byte entries in the order of the text, a container before what it holds: building it is
//! appending, skipping a subtree is one addition, copying one (an alias) is a `memcpy`. Strings stay in the text they came
//! from; only those that the text does not hold as they are (escapes, block scalars) go to a side buffer.

use super::error::Position;

/// Tells the kinds of entries apart; the four upper bits of [`Entry::column_and_kind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum EntryKind {
    Null,
    False,
    True,
    Integer,
    Unsigned,
    Float,
    /// `low` is the offset in the text, `high` the length.
    Text,
    /// `low` is the offset in the side buffer, `high` the length.
    Owned,
    /// `low` is the number of entries including this one, `high` the number of items.
    Sequence,
    /// `low` is the number of entries including this one, `high` the number of keys.
    Mapping,
    /// The key `<<`, only while its mapping is being built.
    Merge,
}

const KINDS: [EntryKind; 11] = [
    EntryKind::Null,
    EntryKind::False,
    EntryKind::True,
    EntryKind::Integer,
    EntryKind::Unsigned,
    EntryKind::Float,
    EntryKind::Text,
    EntryKind::Owned,
    EntryKind::Sequence,
    EntryKind::Mapping,
    EntryKind::Merge,
];

const COLUMN_BITS: u32 = 28;
const COLUMN_MASK: u32 = (1 << COLUMN_BITS) - 1;

/// One key, value or start of a container.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    line: u32,
    column_and_kind: u32,
    pub(super) low: u32,
    pub(super) high: u32,
}

impl Entry {
    pub(super) fn new(position: Position, kind: EntryKind, low: u32, high: u32) -> Self {
        // A column past 268 million is shown as that: such a line is no place that anyone can go to.
        let column = position.column.min(COLUMN_MASK);
        Self { line: position.line, column_and_kind: (kind as u32) << COLUMN_BITS | column, low, high }
    }

    #[allow(clippy::cast_possible_truncation)] // splits 64 bits into two halves on purpose
    pub(super) fn number(position: Position, kind: EntryKind, bits: u64) -> Self {
        Self::new(position, kind, bits as u32, (bits >> 32) as u32)
    }

    pub(super) fn kind(self) -> EntryKind {
        KINDS.get((self.column_and_kind >> COLUMN_BITS) as usize).copied().unwrap_or(EntryKind::Null)
    }

    pub(super) fn position(self) -> Position {
        Position { line: self.line, column: self.column_and_kind & COLUMN_MASK }
    }

    pub(super) fn at(self, position: Position) -> Self {
        Self::new(position, self.kind(), self.low, self.high)
    }

    fn bits(self) -> u64 {
        u64::from(self.high) << 32 | u64::from(self.low)
    }

    /// How many entries the subtree has that begins here.
    pub(super) fn size(self) -> usize {
        match self.kind() {
            EntryKind::Sequence | EntryKind::Mapping => self.low as usize,
            _ => 1,
        }
    }

    pub(super) fn is_container(self) -> bool {
        matches!(self.kind(), EntryKind::Sequence | EntryKind::Mapping)
    }
}

/// One document, parsed. Strings are borrowed from the text where it holds them as they are.
#[derive(Debug)]
pub struct Tree<'text> {
    pub(super) text: &'text str,
    pub(super) owned: String,
    pub(super) entries: Vec<Entry>,
}

impl Tree<'_> {
    /// The value that is the whole document.
    pub fn root(&self) -> Node<'_> {
        Node { tree: self, index: 0 }
    }

    /// How many keys, values and containers it holds.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Never: a tree has a root.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn string(&self, entry: Entry) -> &str {
        let range = entry.low as usize..entry.low as usize + entry.high as usize;
        let from = if entry.kind() == EntryKind::Owned { self.owned.as_str() } else { self.text };
        from.get(range).unwrap_or_default()
    }
}

/// One value of a [`Tree`]; as cheap to copy as a reference.
#[derive(Debug, Clone, Copy)]
pub struct Node<'tree> {
    tree: &'tree Tree<'tree>,
    index: usize,
}

/// What a [`Node`] holds.
#[derive(Debug, Clone)]
pub enum Value<'tree> {
    /// `null`, `~` or nothing.
    Null,
    /// A boolean as YAML 1.1 has them.
    Bool(bool),
    /// An integer of 64 bits.
    Integer(i64),
    /// An integer that only fits without a sign.
    Unsigned(u64),
    /// Any other number; always finite.
    Float(f64),
    /// A string.
    String(&'tree str),
    /// A list.
    Sequence(Items<'tree>),
    /// A mapping in the order of the text.
    Mapping(Entries<'tree>),
}

impl<'tree> Node<'tree> {
    fn entry(self) -> Entry {
        self.tree.entries.get(self.index).copied().unwrap_or_else(|| Entry::new(Position::START, EntryKind::Null, 0, 0))
    }

    /// Where the value begins: the first character of a scalar, the first key of a mapping.
    pub fn position(self) -> Position {
        self.entry().position()
    }

    /// What it holds.
    pub fn value(self) -> Value<'tree> {
        let entry = self.entry();
        match entry.kind() {
            EntryKind::Null | EntryKind::Merge => Value::Null,
            EntryKind::False => Value::Bool(false),
            EntryKind::True => Value::Bool(true),
            EntryKind::Integer => Value::Integer(entry.bits().cast_signed()),
            EntryKind::Unsigned => Value::Unsigned(entry.bits()),
            EntryKind::Float => Value::Float(f64::from_bits(entry.bits())),
            EntryKind::Text | EntryKind::Owned => Value::String(self.tree.string(entry)),
            EntryKind::Sequence => {
                Value::Sequence(Items { tree: self.tree, next: self.index + 1, left: entry.high as usize })
            }
            EntryKind::Mapping => {
                Value::Mapping(Entries { tree: self.tree, next: self.index + 1, left: entry.high as usize })
            }
        }
    }

    /// The string it holds, if it is one.
    pub fn as_str(self) -> Option<&'tree str> {
        match self.value() {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value of a key, if this is a mapping that has it.
    pub fn get(self, key: &str) -> Option<Self> {
        self.entry_of(key).map(|(_, value)| value)
    }

    /// An item, if this is a list that has it.
    pub fn item(self, number: usize) -> Option<Self> {
        match self.value() {
            Value::Sequence(mut items) => items.nth(number),
            _ => None,
        }
    }

    fn entry_of(self, key: &str) -> Option<(Position, Self)> {
        match self.value() {
            Value::Mapping(mut entries) => {
                entries.find_map(|(name, position, value)| (name == key).then_some((position, value)))
            }
            _ => None,
        }
    }

    /// Where to look for what an RFC 6901 pointer names.
    ///
    /// A scalar is where its value is. A container is where its key is written, an item of a list where it begins. What
    /// is not there is where its nearest existing ancestor is, by the same rules.
    pub fn locate(self, pointer: &str) -> Position {
        Locator::new(self).locate(pointer)
    }
}

/// Finds the places of many pointers below one node, as [`Node::locate`] finds one.
///
/// Lists have no index: their items are counted from the front. It remembers how far it has counted, so that looking
/// up one item after the other takes as long as walking the list.
#[derive(Debug, Clone)]
pub struct Locator<'tree> {
    root: Node<'tree>,
    /// The last list of each depth.
    lists: Vec<Counted<'tree>>,
}

#[derive(Debug, Clone)]
struct Counted<'tree> {
    pointer: String,
    /// How many items have been passed, and those from there on.
    number: usize,
    items: Items<'tree>,
}

impl<'tree> Locator<'tree> {
    /// For pointers that begin at this node.
    pub fn new(root: Node<'tree>) -> Self {
        Self { root, lists: Vec::new() }
    }

    /// Where to look for what a pointer names; see [`Node::locate`].
    pub fn locate(&mut self, pointer: &str) -> Position {
        let mut node = self.root;
        let mut position = node.position();
        let mut depth = 0;
        let mut end = 0;
        for token in pointer.split('/').skip(1) {
            let above = pointer.get(..end).unwrap_or_default();
            end += 1 + token.len();
            if let Value::Sequence(items) = node.value() {
                let Some(item) = token.parse().ok().and_then(|number| self.item(depth, above, items, number)) else {
                    break;
                };
                depth += 1;
                node = item;
                position = item.position();
                continue;
            }
            let found = if token.contains('~') {
                node.entry_of(&token.replace("~1", "/").replace("~0", "~"))
            } else {
                node.entry_of(token)
            };
            let Some((key, value)) = found else { break };
            node = value;
            position = match value.value() {
                // An empty value has no place of its own.
                Value::Null | Value::Mapping(_) | Value::Sequence(_) => key,
                _ => value.position(),
            };
        }
        position
    }

    /// An item of the list at a pointer, which is the list number `depth` on the way.
    fn item(&mut self, depth: usize, pointer: &str, items: Items<'tree>, number: usize) -> Option<Node<'tree>> {
        if !self.lists.get(depth).is_some_and(|list| list.pointer == pointer && list.number <= number) {
            self.lists.truncate(depth);
            self.lists.push(Counted { pointer: pointer.to_owned(), number: 0, items });
        }
        let list = self.lists.get_mut(depth)?;
        while list.number < number {
            list.items.next()?;
            list.number += 1;
        }
        list.items.clone().next()
    }
}

/// The items of a list.
#[derive(Debug, Clone)]
pub struct Items<'tree> {
    tree: &'tree Tree<'tree>,
    next: usize,
    left: usize,
}

impl<'tree> Iterator for Items<'tree> {
    type Item = Node<'tree>;

    fn next(&mut self) -> Option<Node<'tree>> {
        self.left = self.left.checked_sub(1)?;
        let node = Node { tree: self.tree, index: self.next };
        self.next += node.entry().size();
        Some(node)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

/// The keys of a mapping, each with its position and value.
#[derive(Debug, Clone)]
pub struct Entries<'tree> {
    tree: &'tree Tree<'tree>,
    next: usize,
    left: usize,
}

impl<'tree> Iterator for Entries<'tree> {
    type Item = (&'tree str, Position, Node<'tree>);

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let key = self.tree.entries.get(self.next)?;
        let value = Node { tree: self.tree, index: self.next + 1 };
        self.next += 1 + value.entry().size();
        Some((self.tree.string(*key), key.position(), value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}
