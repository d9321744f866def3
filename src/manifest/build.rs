//! Builds a tree from the front to the back; YAML and JSON both feed it.
//!
//! What is wrong with a document whatever its notation is found here: keys written twice, nesting without end, aliases
//! that multiply.

use std::collections::HashMap;

use super::error::{ErrorKind, Position, Problem, quoted};
use super::scalar::Scalar;
use super::tree::{Entry, EntryKind, Tree};

/// The deepest nesting. Kubernetes' deepest objects are schemas inside `CustomResourceDefinition`s, at about 60; whoever
/// walks the tree by recursion needs a bound that fits a thread's stack.
pub(super) const MAX_DEPTH: usize = 128;

/// Up to this many keys, comparing each with each is faster than hashing.
const FEW_KEYS: usize = 12;

struct Frame {
    start: usize,
    items: u32,
    mapping: bool,
    /// A mapping's key has been written and its value has not.
    awaits_value: bool,
    merges: bool,
    anchor: Option<usize>,
}

/// Where the value of an anchor is.
enum Anchor {
    /// Still being written: an alias to it would contain itself.
    Open,
    Entries(usize),
    /// Its entries went away with a merge; this is a copy.
    Stored(usize),
}

pub(super) struct Builder<'text> {
    tree: Tree<'text>,
    frames: Vec<Frame>,
    anchors: Vec<Anchor>,
    anchor_numbers: HashMap<&'text str, usize>,
    stored: Vec<Entry>,
    /// How many aliases there were, and how many entries they were worth.
    aliases: usize,
    from_aliases: usize,
}

impl<'text> Builder<'text> {
    pub(super) fn new(text: &'text str) -> Self {
        Self {
            tree: Tree { text, owned: String::new(), entries: Vec::new() },
            frames: Vec::new(),
            anchors: Vec::new(),
            anchor_numbers: HashMap::new(),
            stored: Vec::new(),
            aliases: 0,
            from_aliases: 0,
        }
    }

    /// Makes room for a document of this many bytes: a key or value takes about 13 bytes of a manifest.
    pub(super) fn expect(&mut self, bytes: usize) {
        self.tree.entries.reserve(bytes / 12 + 4);
    }

    /// The finished tree; nothing, if there was no value.
    pub(super) fn finish(self) -> Option<Tree<'text>> {
        (!self.tree.entries.is_empty() && self.frames.is_empty()).then_some(self.tree)
    }

    /// Whether what comes next is the key of a mapping.
    pub(super) fn expects_key(&self) -> bool {
        self.frames.last().is_some_and(|frame| frame.mapping && !frame.awaits_value)
    }

    /// Begins a list or a mapping.
    pub(super) fn open(
        &mut self,
        position: Position,
        mapping: bool,
        anchor: Option<&'text str>,
    ) -> Result<(), Problem> {
        if self.expects_key() {
            return Err(Problem::new(position, ErrorKind::Syntax, "a mapping or a list cannot be a key"));
        }
        if self.frames.len() >= MAX_DEPTH {
            return Err(too_deep(position));
        }
        let kind = if mapping { EntryKind::Mapping } else { EntryKind::Sequence };
        let anchor = anchor.map(|name| self.declare(name));
        let start = self.tree.entries.len();
        self.frames.push(Frame { start, items: 0, mapping, awaits_value: false, merges: false, anchor });
        self.tree.entries.push(Entry::new(position, kind, 1, 0));
        Ok(())
    }

    /// Ends the innermost list or mapping.
    pub(super) fn close(&mut self) -> Result<(), Problem> {
        let Some(frame) = self.frames.pop() else {
            return Ok(());
        };
        if frame.merges {
            self.merge(&frame)?;
        } else if frame.mapping {
            self.check_keys(&frame)?;
        }
        let size = narrow(self.tree.entries.len() - frame.start)?;
        if let Some(entry) = self.tree.entries.get_mut(frame.start) {
            entry.low = size;
            if !frame.merges {
                entry.high = frame.items;
            }
        }
        if let Some(anchor) = frame.anchor.and_then(|number| self.anchors.get_mut(number)) {
            *anchor = Anchor::Entries(frame.start);
        }
        self.completed();
        Ok(())
    }

    /// Writes a scalar whose text stands at `offset` of the input as it is, if that is given.
    pub(super) fn scalar(
        &mut self,
        position: Position,
        scalar: &Scalar,
        text: &str,
        offset: Option<usize>,
        anchor: Option<&'text str>,
    ) -> Result<(), Problem> {
        let entry = match scalar {
            Scalar::Merge if self.expects_key() => {
                if let Some(frame) = self.frames.last_mut() {
                    frame.merges = true;
                }
                Entry::new(position, EntryKind::Merge, 0, 0)
            }
            Scalar::Text | Scalar::Merge => self.text(position, text, offset)?,
            Scalar::Decoded(decoded) => self.text(position, decoded, None)?,
            other => self.number(position, other)?,
        };
        if let Some(name) = anchor {
            let number = self.declare(name);
            if let Some(anchor) = self.anchors.get_mut(number) {
                *anchor = Anchor::Entries(self.tree.entries.len());
            }
        }
        self.tree.entries.push(entry);
        self.completed();
        Ok(())
    }

    /// Writes what an anchor stands for.
    pub(super) fn alias(&mut self, position: Position, name: &str) -> Result<(), Problem> {
        let anchor = self.anchor_numbers.get(name).and_then(|number| self.anchors.get(*number));
        let (from_store, start) = match anchor {
            Some(Anchor::Entries(start)) => (false, *start),
            Some(Anchor::Stored(start)) => (true, *start),
            Some(Anchor::Open) => {
                let message = format!("the value of the anchor &{name} contains itself");
                return Err(Problem::new(position, ErrorKind::Alias, message));
            }
            None => {
                let message = format!("the alias *{name} has no anchor &{name} before it");
                return Err(Problem::new(position, ErrorKind::Alias, message));
            }
        };
        let source = if from_store { &self.stored } else { &self.tree.entries };
        let Some(first) = source.get(start).copied() else {
            return Ok(());
        };
        let size = first.size();
        self.check_budget(position, size)?;
        let source = if from_store { &self.stored } else { &self.tree.entries };
        if self.frames.len() + depth(source.get(start..start + size).unwrap_or_default()) > MAX_DEPTH {
            return Err(too_deep(position));
        }
        let at = self.tree.entries.len();
        if self.expects_key() {
            let key = self.key_of(first.at(position))?;
            self.tree.entries.push(key);
        } else if from_store {
            self.tree.entries.extend(self.stored.iter().skip(start).take(size));
        } else {
            self.tree.entries.extend_from_within(start..start + size);
        }
        if let Some(entry) = self.tree.entries.get_mut(at) {
            *entry = entry.at(position);
        }
        self.completed();
        Ok(())
    }

    /// go-yaml's rule: a small document may come from aliases almost as a whole, a large one to a tenth.
    fn check_budget(&mut self, position: Position, size: usize) -> Result<(), Problem> {
        const SMALL: f64 = 400_000.0;
        const LARGE: f64 = 4_000_000.0;
        self.aliases += 1;
        self.from_aliases += size;
        // The alias itself is a step of its own there.
        let all = self.tree.entries.len() + size + self.aliases;
        #[allow(clippy::cast_precision_loss)] // a ratio
        let (from_aliases, all_of_it) = (self.from_aliases as f64, all as f64);
        let allowed = 0.99 - 0.89 * ((all_of_it - SMALL) / (LARGE - SMALL)).clamp(0.0, 1.0);
        if self.from_aliases > 100 && all > 1000 && from_aliases / all_of_it > allowed {
            return Err(Problem::new(position, ErrorKind::Alias, "aliases multiply beyond what kubectl reads"));
        }
        Ok(())
    }

    fn declare(&mut self, name: &'text str) -> usize {
        let number = self.anchors.len();
        self.anchors.push(Anchor::Open);
        self.anchor_numbers.insert(name, number);
        number
    }

    /// One key or value has been written.
    fn completed(&mut self) {
        if let Some(frame) = self.frames.last_mut() {
            if frame.mapping && !frame.awaits_value {
                frame.awaits_value = true;
            } else {
                frame.awaits_value = false;
                frame.items += 1;
            }
        }
    }

    fn text(&mut self, position: Position, text: &str, offset: Option<usize>) -> Result<Entry, Problem> {
        if let Some(offset) = offset {
            return Ok(Entry::new(position, EntryKind::Text, narrow(offset)?, narrow(text.len())?));
        }
        let start = narrow(self.tree.owned.len())?;
        self.tree.owned.push_str(text);
        Ok(Entry::new(position, EntryKind::Owned, start, narrow(text.len())?))
    }

    fn number(&mut self, position: Position, scalar: &Scalar) -> Result<Entry, Problem> {
        let entry = match scalar {
            Scalar::Bool(false) => Entry::new(position, EntryKind::False, 0, 0),
            Scalar::Bool(true) => Entry::new(position, EntryKind::True, 0, 0),
            Scalar::Integer(value) => Entry::number(position, EntryKind::Integer, value.cast_unsigned()),
            Scalar::Unsigned(value) => Entry::number(position, EntryKind::Unsigned, *value),
            Scalar::Float(value) if !value.is_finite() && !self.expects_key() => {
                return Err(Problem::new(position, ErrorKind::Value, format!("JSON has no number {value}")));
            }
            Scalar::Float(value) => Entry::number(position, EntryKind::Float, value.to_bits()),
            _ => Entry::new(position, EntryKind::Null, 0, 0),
        };
        if self.expects_key() { self.key_of(entry) } else { Ok(entry) }
    }

    /// Turns what is no string into the key that sigs.k8s.io/yaml makes of it.
    fn key_of(&mut self, entry: Entry) -> Result<Entry, Problem> {
        let position = entry.position();
        let bits = u64::from(entry.high) << 32 | u64::from(entry.low);
        let text = match entry.kind() {
            EntryKind::Text | EntryKind::Owned => return Ok(entry),
            EntryKind::False => "false".to_owned(),
            EntryKind::True => "true".to_owned(),
            EntryKind::Integer => bits.cast_signed().to_string(),
            EntryKind::Float => super::scalar::float_key(f64::from_bits(bits)),
            EntryKind::Null | EntryKind::Merge => {
                return Err(Problem::new(position, ErrorKind::Syntax, "null cannot be a key: quote it or remove it"));
            }
            EntryKind::Unsigned => {
                return Err(Problem::new(position, ErrorKind::Syntax, "a number over 2^63 cannot be a key: quote it"));
            }
            EntryKind::Sequence | EntryKind::Mapping => {
                return Err(Problem::new(position, ErrorKind::Syntax, "a mapping or a list cannot be a key"));
            }
        };
        self.text(position, &text, None)
    }

    /// The pairs of an open mapping as indexes of key and value.
    fn pairs(&self, start: usize, end: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let mut next = start + 1;
        std::iter::from_fn(move || {
            let value = self.tree.entries.get(next + 1).filter(|_| next + 1 < end)?;
            let pair = (next, next + 1);
            next += 1 + value.size();
            Some(pair)
        })
    }

    fn key(&self, index: usize) -> &str {
        self.tree.entries.get(index).map_or("", |entry| self.tree.string(*entry))
    }

    fn check_keys(&self, frame: &Frame) -> Result<(), Problem> {
        let end = self.tree.entries.len();
        if (frame.items as usize) <= FEW_KEYS {
            let mut keys = [("", 0); FEW_KEYS];
            for (number, (index, _)) in self.pairs(frame.start, end).enumerate() {
                let key = self.key(index);
                let (before, rest) = keys.split_at_mut(number.min(FEW_KEYS - 1));
                if let Some((_, first)) = before.iter().find(|(other, _)| *other == key) {
                    return Err(self.twice(*first, index));
                }
                if let Some(slot) = rest.first_mut() {
                    *slot = (key, index);
                }
            }
            return Ok(());
        }
        let mut keys = HashMap::with_capacity(frame.items as usize);
        for (index, _) in self.pairs(frame.start, end) {
            if let Some(first) = keys.insert(self.key(index), index) {
                return Err(self.twice(first, index));
            }
        }
        Ok(())
    }

    fn twice(&self, first: usize, second: usize) -> Problem {
        let place = |index: usize| self.tree.entries.get(index).map_or(Position::START, |entry| entry.position());
        Problem::new(
            place(second),
            ErrorKind::DuplicateKey,
            format!("the key {} is written twice, first in line {}", quoted(self.key(second)), place(first).line),
        )
    }

    /// Resolves the `<<` of a mapping as go-yaml v2 does: in the order of the text, so that a merge also overrides what
    /// was written before it; in a list of mappings the first wins.
    fn merge(&mut self, frame: &Frame) -> Result<(), Problem> {
        struct Chosen {
            key: usize,
            explicit: bool,
        }
        let end = self.tree.entries.len();
        let mut chosen: Vec<Chosen> = Vec::new();
        let mut numbers: HashMap<&str, usize> = HashMap::new();
        for (key, value) in self.pairs(frame.start, end) {
            let merges = self.tree.entries.get(key).is_some_and(|entry| entry.kind() == EntryKind::Merge);
            if !merges {
                let number = *numbers.entry(self.key(key)).or_insert(chosen.len());
                match chosen.get_mut(number) {
                    Some(before) if before.explicit => return Err(self.twice(before.key, key)),
                    Some(before) => *before = Chosen { key, explicit: true },
                    None => chosen.push(Chosen { key, explicit: true }),
                }
                continue;
            }
            for source in self.merge_sources(value)? {
                let source_end = source + self.tree.entries.get(source).map_or(1, |entry| entry.size());
                for (key, _) in self.pairs(source, source_end) {
                    let number = *numbers.entry(self.key(key)).or_insert(chosen.len());
                    match chosen.get_mut(number) {
                        // Still explicit if it was: writing the key once more is an error, merge or no merge.
                        Some(before) => before.key = key,
                        None => chosen.push(Chosen { key, explicit: false }),
                    }
                }
            }
        }
        let moved: Vec<usize> = chosen.into_iter().map(|pair| pair.key).collect();
        self.replace_pairs(frame.start, &moved)
    }

    /// The mappings that a `<<` names, in the order in which they apply.
    fn merge_sources(&self, value: usize) -> Result<Vec<usize>, Problem> {
        let Some(entry) = self.tree.entries.get(value) else {
            return Ok(Vec::new());
        };
        let not_mapping = |entry: &Entry| {
            Problem::new(entry.position(), ErrorKind::Syntax, "<< takes a mapping or a list of mappings")
        };
        match entry.kind() {
            EntryKind::Mapping => Ok(vec![value]),
            EntryKind::Sequence => {
                let mut sources = Vec::new();
                let mut next = value + 1;
                while let Some(item) = self.tree.entries.get(next).filter(|_| next < value + entry.size()) {
                    if item.kind() != EntryKind::Mapping {
                        return Err(not_mapping(item));
                    }
                    sources.push(next);
                    next += item.size();
                }
                sources.reverse();
                Ok(sources)
            }
            _ => Err(not_mapping(entry)),
        }
    }

    /// Keeps these pairs of the mapping, each known by its key, and takes the anchors along.
    fn replace_pairs(&mut self, start: usize, keys: &[usize]) -> Result<(), Problem> {
        let old = self.tree.entries.split_off(start + 1);
        let mut moved = Vec::with_capacity(keys.len());
        for key in keys {
            let from = key - start - 1;
            let size = 1 + old.get(from + 1).map_or(0, |value| value.size());
            moved.push((*key, size, self.tree.entries.len()));
            self.tree.entries.extend(old.iter().skip(from).take(size));
        }
        if let Some(entry) = self.tree.entries.get_mut(start) {
            entry.high = narrow(keys.len())?;
        }
        moved.sort_unstable();
        let mut store_base = None;
        // Anchors stand in the order of the text, so those in this mapping are the last ones.
        for anchor in self.anchors.iter_mut().rev() {
            let place = match anchor {
                Anchor::Entries(place) if *place > start => *place,
                Anchor::Entries(_) | Anchor::Open => break,
                Anchor::Stored(_) => continue,
            };
            let before = moved.partition_point(|(from, ..)| *from <= place);
            *anchor = match before.checked_sub(1).and_then(|number| moved.get(number)) {
                Some((from, size, to)) if place < from + size => Anchor::Entries(to + place - from),
                _ => {
                    let base = *store_base.get_or_insert_with(|| {
                        let base = self.stored.len();
                        self.stored.extend_from_slice(&old);
                        base
                    });
                    Anchor::Stored(base + place - start - 1)
                }
            };
        }
        Ok(())
    }
}

fn too_deep(position: Position) -> Problem {
    Problem::new(position, ErrorKind::Depth, format!("nested deeper than {MAX_DEPTH} levels"))
}

fn narrow(number: usize) -> Result<u32, Problem> {
    u32::try_from(number)
        .map_err(|_| Problem::new(Position::START, ErrorKind::TooLarge, "a document over 4 GiB once it is read"))
}

/// How many containers lie within each other at most.
fn depth(entries: &[Entry]) -> usize {
    let mut ends: Vec<usize> = Vec::new();
    let mut deepest = 0;
    for (index, entry) in entries.iter().enumerate() {
        while ends.last().is_some_and(|end| *end <= index) {
            ends.pop();
        }
        if entry.is_container() {
            ends.push(index + entry.size());
            deepest = deepest.max(ends.len());
        }
    }
    deepest
}
