//! What can be wrong with an input, and where.

use std::fmt;

/// A place in a text: line and column, both counted from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line, from 1.
    pub line: u32,
    /// The column in characters, from 1.
    pub column: u32,
}

impl Position {
    /// Where every text begins.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl fmt::Display for Position {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}:{}", self.line, self.column)
    }
}

/// What sort of fault it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// Neither YAML nor JSON.
    Syntax,
    /// A key is written twice in one mapping.
    DuplicateKey,
    /// Aliases that contain themselves or multiply beyond what kubectl allows.
    Alias,
    /// Nested deeper than any Kubernetes object is.
    Depth,
    /// A template that nobody rendered.
    Template,
    /// A Helm chart: its templates must be rendered first.
    HelmChart,
    /// Not text in UTF-8.
    Encoding,
    /// Larger than the limit.
    TooLarge,
    /// The operating system did not let us read it.
    Unreadable,
    /// Well-formed, but no Kubernetes object.
    NotAnObject,
    /// A field holds something that its type does not allow.
    Value,
}

/// An input, or one document of it, that cannot be judged. It reads `FILE:LINE:COL: text`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{}: {message}", self.position)]
pub struct ManifestError {
    /// The file as it was named or found; `-` is standard input.
    pub file: String,
    /// Where.
    pub position: Position,
    /// What is wrong and, where there is one way, what to do about it; one line.
    pub message: String,
    /// What sort of fault it is.
    pub kind: ErrorKind,
}

/// A fault in a text whose file name is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) position: Position,
    pub(super) kind: ErrorKind,
    pub(super) message: String,
}

impl Problem {
    pub(super) fn new(position: Position, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { position, kind, message: message.into() }
    }

    /// Names the file.
    pub(super) fn within(self, file: &str) -> ManifestError {
        ManifestError { file: file.to_owned(), position: self.position, message: self.message, kind: self.kind }
    }
}

/// The longest piece of input that a message repeats: inputs are hostile, terminals and logs are not to be flooded.
const LONGEST_ECHO: usize = 80;

/// A piece of input as a message may show it: in quotes, on one line, harmless and bounded.
pub(super) fn quoted(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(LONGEST_ECHO) + 2);
    shown.push('"');
    for (number, character) in text.chars().enumerate() {
        if number == LONGEST_ECHO {
            shown.push('…');
            break;
        }
        shown.extend(character.escape_debug().filter(|_| character != '\''));
        if character == '\'' {
            shown.push('\'');
        }
    }
    shown.push('"');
    shown
}
