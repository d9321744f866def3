//! The digest of what the pods of a workload read. It stands in pod templates, which people may read who may not read
//! Secrets, so it is keyed: without the key nobody can try out values.
//!
//! Everything is framed by its length before it is hashed, so that no two contents are written alike, and the same in
//! every process: a digest outlives the operator that wrote it.

use std::fmt;
use std::str::FromStr;

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::Dependency;
use crate::rules::{ConfigKind, printable};

/// How digests are made. Another number makes digests that are not compared with those of before.
const VERSION: u32 = 1;

/// The secret by which digests are made: 32 bytes.
#[derive(Clone)]
pub struct DigestKey {
    /// Ready to take the first byte.
    keyed: Hmac<Sha256>,
    id: [u8; 4],
}

impl DigestKey {
    /// How many bytes a key has.
    pub const LENGTH: usize = 32;

    /// Takes exactly [`Self::LENGTH`] bytes, which must be random.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != Self::LENGTH {
            return None;
        }
        // HMAC takes keys of any length.
        let keyed = Hmac::<Sha256>::new_from_slice(bytes).ok()?;
        let id = truncated(keyed.clone().chain_update(b"id"));
        Some(Self { keyed, id })
    }

    /// What names the key in public, 8 hexadecimal digits: nothing of the key can be learned from it.
    pub fn id(&self) -> String {
        hex(&self.id)
    }

    /// Begins a message of one purpose. No purpose is the beginning of another, and none of `id`.
    fn begin(&self, purpose: &'static [u8]) -> Message {
        Message(self.keyed.clone().chain_update(purpose))
    }
}

impl fmt::Debug for DigestKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DigestKey").field("id", &self.id()).finish_non_exhaustive()
    }
}

/// A message that is being written; every part has its length before it.
struct Message(Hmac<Sha256>);

impl Message {
    fn number(&mut self, number: usize) {
        // As wide on every machine; no memory holds more.
        self.0.update(&(number as u64).to_be_bytes());
    }

    fn part(&mut self, part: &[u8]) {
        self.number(part.len());
        self.0.update(part);
    }

    fn end<const N: usize>(self) -> [u8; N] {
        truncated(self.0)
    }
}

/// The first bytes of a code; an HMAC may be cut.
fn truncated<const N: usize>(mac: Hmac<Sha256>) -> [u8; N] {
    let code = mac.finalize().into_bytes();
    std::array::from_fn(|index| code[index])
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The field of an object that holds a key. A Secret has `data` only, though it is written as `binaryData` is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Field {
    Data,
    BinaryData,
}

/// What is kept of the content of one ConfigMap or Secret: a keyed code per key, never a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ConfigContent(Box<[Entry]>);

/// One key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Entry {
    key: Box<str>,
    field: Field,
    code: [u8; 16],
}

impl ConfigContent {
    /// Reads keys and values as they are stored: `data` of a ConfigMap or Secret, and `binaryData` of a ConfigMap. What
    /// is base64 there is taken as text: the API server writes each value in one way.
    pub fn new<'a>(
        digest_key: &DigestKey,
        data: impl IntoIterator<Item = (&'a str, &'a str)>,
        binary_data: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Self {
        let data = data.into_iter().map(|(key, value)| (key, Field::Data, value));
        let binary_data = binary_data.into_iter().map(|(key, value)| (key, Field::BinaryData, value));
        let entry = |(key, field, value): (&str, Field, &str)| {
            let mut message = digest_key.begin(b"value");
            message.part(value.as_bytes());
            Entry { key: key.into(), field, code: message.end() }
        };
        let mut entries: Box<[Entry]> = data.chain(binary_data).map(entry).collect();
        entries.sort_unstable();
        Self(entries)
    }

    /// Every key, in order; a key that `data` and `binaryData` both have is there twice.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|entry| &*entry.key)
    }

    /// Whether a key is there.
    pub fn has(&self, key: &str) -> bool {
        !self.of_key(key).is_empty()
    }

    /// The keys that came, went, or have another value or field in the other; both of one [`DigestKey`].
    pub fn changed_keys<'a>(&'a self, other: &'a Self) -> Vec<&'a str> {
        let mut changed: Vec<&str> =
            self.keys().chain(other.keys()).filter(|key| self.of_key(key) != other.of_key(key)).collect();
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    fn of_key(&self, key: &str) -> &[Entry] {
        let first = self.0.partition_point(|entry| *entry.key < *key);
        let rest = &self.0[first..];
        &rest[..rest.partition_point(|entry| *entry.key == *key)]
    }
}

/// What is known of the object behind a dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State<'a> {
    /// It does not exist.
    Absent,
    /// It exists, with this content.
    Present(&'a ConfigContent),
}

/// The digest of everything that the pods of a workload read: `1-<key id>-<32 hexadecimal digits>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    version: u32,
    key_id: [u8; 4],
    code: [u8; 16],
}

impl Digest {
    /// One that can be compared with this one, and that no content has.
    pub fn of_nothing(&self) -> Self {
        Self { code: [0; 16], ..*self }
    }

    /// Whether another was made in the same way by the same key, so that a difference is one of content.
    pub fn is_comparable(&self, other: &Self) -> bool {
        (self.version, self.key_id) == (other.version, other.key_id)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}-{}", self.version, hex(&self.key_id), hex(&self.code))
    }
}

/// That a text is no digest.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{} is no digest of configuration: one reads 1-KEYID-DIGEST with 8 and 32 hexadecimal digits", printable(.0))]
pub struct NoDigest(String);

impl FromStr for Digest {
    type Err = NoDigest;

    /// Reads what [`Display`](fmt::Display) writes, and nothing else; of a later version too.
    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let read = || {
            let mut parts = text.split('-');
            let (version, key_id, code) = (parts.next()?, parts.next()?, parts.next()?);
            let digest = Self { version: version.parse().ok()?, key_id: bytes(key_id)?, code: bytes(code)? };
            // One text for one digest: no signs, no zeros in front, no capitals, nothing behind.
            (digest.to_string() == text).then_some(digest)
        };
        read().ok_or_else(|| NoDigest(text.to_owned()))
    }
}

fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if text.len() != 2 * N || !text.is_ascii() {
        return None;
    }
    for (index, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * index..2 * index + 2], 16).ok()?;
    }
    Some(bytes)
}

/// The digest of all that a workload reads, in whatever order it is given. What is read with no keys does not count,
/// nor does what else a dependency says.
pub fn digest(key: &DigestKey, dependencies: &[(&Dependency, State<'_>)]) -> Digest {
    let read = dependencies.iter().filter(|(dependency, _)| !dependency.keys.is_empty());
    let mut objects: Vec<[u8; 32]> = read.map(|(dependency, state)| object(key, dependency, *state)).collect();
    objects.sort_unstable();
    let mut message = key.begin(b"workload");
    message.number(objects.len());
    for object in &objects {
        message.part(object);
    }
    Digest { version: VERSION, key_id: key.id, code: message.end() }
}

/// 8 hexadecimal digits for one object as it is read, to tell which of several changed.
pub fn short(key: &DigestKey, dependency: &Dependency, state: State<'_>) -> String {
    hex(&object(key, dependency, state)[..4])
}

/// One object as it is read.
fn object(key: &DigestKey, dependency: &Dependency, state: State<'_>) -> [u8; 32] {
    let mut message = key.begin(b"object");
    message.part(kind_tag(dependency.kind));
    message.part(dependency.name.as_bytes());
    match state {
        State::Absent => message.number(0),
        State::Present(content) => {
            message.number(1);
            let keys = &dependency.keys;
            if keys.all {
                message.number(content.0.chunk_by(|one, other| one.key == other.key).count());
                for entries in content.0.chunk_by(|one, other| one.key == other.key) {
                    entries_of(&mut message, &entries[0].key, entries);
                }
            } else {
                let read = || keys.named.iter().filter(|(_, named)| named.read).map(|(key, _)| &**key);
                message.number(read().count());
                for key in read() {
                    entries_of(&mut message, key, content.of_key(key));
                }
            }
        }
    }
    message.end()
}

/// One key as it is read; without entries it is absent.
fn entries_of(message: &mut Message, key: &str, entries: &[Entry]) {
    message.part(key.as_bytes());
    message.number(entries.len());
    for entry in entries {
        let field: &[u8] = match entry.field {
            Field::Data => b"data",
            Field::BinaryData => b"binaryData",
        };
        message.part(field);
        message.part(&entry.code);
    }
}

/// What a digest calls a kind. It is part of what is stored and never changes.
fn kind_tag(kind: ConfigKind) -> &'static [u8] {
    match kind {
        ConfigKind::ConfigMap => b"ConfigMap",
        ConfigKind::Secret => b"Secret",
    }
}

/// What new pods would wait for, in words: `ConfigMap app does not exist`, `Secret db has no key password`.
pub fn missing(dependencies: &[(&Dependency, State<'_>)]) -> Vec<String> {
    let mut missing = Vec::new();
    for (dependency, state) in dependencies {
        let (kind, name) = (dependency.kind.name(), printable(&dependency.name));
        match state {
            State::Absent if dependency.required => missing.push(format!("{kind} {name} does not exist")),
            State::Absent => {}
            State::Present(content) => {
                let absent = dependency.keys.required().filter(|key| !content.has(key));
                missing.extend(absent.map(|key| format!("{kind} {name} has no key {}", printable(key))));
            }
        }
    }
    missing
}

#[cfg(test)]
mod tests;
