//! Patterns over a whole text: `*` is any run of characters, `?` is one of printable ASCII, every other character is
//! itself.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// The most characters of a pattern: more than the longest name or image that anyone writes.
const LONGEST: usize = 512;

/// A pattern over a whole name or image, with regard to case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Glob(String);

/// Why a text is no [`Glob`], and what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// Nothing is written.
    #[error("the pattern is empty; write a name, or * for all")]
    Empty,
    /// It is longer than anything that it could match.
    #[error("the pattern has {0} characters; write at most {LONGEST}")]
    Length(usize),
    /// It has a character that no name and no image has.
    #[error(
        "the pattern has the character {0:?}; write printable ASCII without blanks, * for any run of characters and ? for one"
    )]
    Character(char),
}

impl Glob {
    /// Reads a pattern.
    ///
    /// # Errors
    /// When it is empty, too long, or has a character that no name and no image has.
    pub fn parse(text: &str) -> Result<Self, GlobError> {
        let length = text.chars().count();
        if length == 0 {
            return Err(GlobError::Empty);
        }
        if length > LONGEST {
            return Err(GlobError::Length(length));
        }
        match text.chars().find(|character| !('!'..='~').contains(character)) {
            Some(character) => Err(GlobError::Character(character)),
            None => Ok(Self(text.to_owned())),
        }
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole text matches.
    pub fn matches(&self, text: &str) -> bool {
        matches(self.0.as_bytes(), text.as_bytes())
    }

    /// The same pattern as RE2, without anchors and without a group around it: a concatenation, fit to stand between the
    /// bars of an alternation.
    pub fn to_regex_source(&self) -> String {
        regex_source(&self.0, "[!-~]")
    }
}

/// A pattern as RE2, with `any` for the character that `?` stands for, without anchors and without a group around it: a concatenation, fit to stand between
/// the bars of an alternation. It has no quotation mark that the pattern has not, no blank, and at most five times as
/// many characters as the pattern. A line break matches `*` only where the flag `s` is set.
pub(crate) fn regex_source(pattern: &str, any: &str) -> String {
    let mut source = String::with_capacity(pattern.len() * 2);
    let mut previous = None;
    for character in pattern.chars() {
        match character {
            // Two stars mean what one does; RE2 would follow both.
            '*' if previous == Some('*') => {}
            '*' => source.push_str(".*"),
            '?' => source.push_str(any),
            '\\' | '.' | '+' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' | '|' => source.extend(['\\', character]),
            literal => source.push(literal),
        }
        previous = Some(character);
    }
    source
}

/// Whether a whole text matches a pattern of ASCII.
///
/// Only the last `*` is ever taken up again, so the time is at most the pattern's length times the text's.
pub(crate) fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at_pattern, mut at_text) = (0, 0);
    // Where to go on when a character does not fit: behind the last star, which then takes one more character.
    let mut retry: Option<(usize, usize)> = None;
    while at_text < text.len() {
        match pattern.get(at_pattern) {
            Some(b'*') => {
                at_pattern += 1;
                retry = Some((at_pattern, at_text));
            }
            Some(b'?') if text[at_text].is_ascii_graphic() => {
                at_pattern += 1;
                at_text += 1;
            }
            Some(expected) if *expected != b'?' && *expected == text[at_text] => {
                at_pattern += 1;
                at_text += 1;
            }
            _ => {
                let Some((behind_star, taken)) = retry else {
                    return false;
                };
                at_pattern = behind_star;
                at_text = taken + 1;
                retry = Some((behind_star, at_text));
            }
        }
    }
    pattern[at_pattern..].iter().all(|byte| *byte == b'*')
}

impl fmt::Display for Glob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Glob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Glob {
    // A structural schema of a custom resource has no references.
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("Glob")
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A pattern over the whole text, with regard to case: * is any run of characters, ? is one \
                            character, every other character is itself.",
            "minLength": 1,
            "maxLength": LONGEST,
            "x-kubernetes-validations": crate::schema::validations(&[(
                "self.matches('^[!-~]+$')",
                "write printable ASCII without blanks, * for any run of characters and ? for one",
            )]),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[rstest::rstest]
    #[case("web-*", "web-1", true)]
    #[case("web-*", "web-", true)]
    #[case("web-*", "my-web-1", false)]
    #[case("registry.example/legacy/*", "registry.example/legacy/team/app:1", true)]
    #[case("registry.example/legacy/*", "registry.example/legacy-evil/app:1", false)]
    #[case("?", "é", false)]
    #[case("??", "é", false)]
    #[case("a?", "a b", false)]
    fn matches_the_whole_text(#[case] pattern: &str, #[case] text: &str, #[case] expected: bool) {
        assert_eq!(Glob::parse(pattern).unwrap().matches(text), expected);
    }

    #[rstest::rstest]
    #[case("", GlobError::Empty)]
    #[case("a b", GlobError::Character(' '))]
    #[case("a\n", GlobError::Character('\n'))]
    #[case("nаme", GlobError::Character('а'))]
    fn says_what_to_write(#[case] pattern: &str, #[case] expected: GlobError) {
        assert_eq!(Glob::parse(pattern), Err(expected));
        assert!(expected.to_string().contains("; write "));
        assert_eq!(Glob::parse(&"a".repeat(513)), Err(GlobError::Length(513)));
    }
}
