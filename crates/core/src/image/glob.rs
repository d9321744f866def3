//! Patterns over a whole tag.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::reference::{TAG_LENGTH_MAX, is_tag_byte};

/// A pattern that a whole tag matches or not, with regard to case.
///
/// `*` stands for any run of characters, an empty one included, `?` for exactly one; every other character stands
/// for itself. So `main` matches only `main`, and `pr-*` also `pr-12`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TagGlob(String);

/// Why a text is no [`TagGlob`], and what to write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TagGlobError {
    /// Nothing is written.
    #[error("the tag pattern is empty; write a tag such as stable or a pattern such as pr-*")]
    Empty,
    /// Longer than any tag.
    #[error("the tag pattern has {length} characters; write at most {TAG_LENGTH_MAX}, as many as a tag can have")]
    Length {
        /// How many characters it has.
        length: usize,
    },
    /// A whole reference, or a tag written with its `:`.
    #[error("the tag pattern has the character {character:?}; write the tag alone, without name, ':' and digest")]
    NotOnlyTag {
        /// The first character that tells.
        character: char,
    },
    /// A character that no tag has, so that the pattern could never match.
    #[error(
        "the tag pattern has the character {character:?}; write letters, digits, '_', '.' and '-', '*' for any run of \
         characters and '?' for one"
    )]
    Character {
        /// The first such character.
        character: char,
    },
}

impl TagGlob {
    /// Reads a pattern of 1 to 128 characters.
    ///
    /// # Errors
    ///
    /// When it is empty, too long, or has a character that no tag can have.
    pub fn parse(text: &str) -> Result<Self, TagGlobError> {
        validate(text).map(|()| Self(text.to_owned()))
    }

    /// The tag that every registry moves.
    pub fn latest() -> Self {
        Self("latest".to_owned())
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the whole tag matches. A text with a character that no tag has matches nothing.
    pub fn matches(&self, tag: &str) -> bool {
        tag.bytes().all(is_tag_byte) && crate::glob::matches(self.0.as_bytes(), tag.as_bytes())
    }

    /// The same pattern as RE2, as [`crate::glob::Glob::to_regex_source`] has it. It has no quotation mark, so it can
    /// stand in a raw CEL string.
    pub fn to_regex_source(&self) -> String {
        crate::glob::regex_source(&self.0, ".")
    }
}

fn validate(text: &str) -> Result<(), TagGlobError> {
    if text.is_empty() {
        return Err(TagGlobError::Empty);
    }
    let is_allowed = |character: char| matches!(character, '*' | '?') || u8::try_from(character).is_ok_and(is_tag_byte);
    match text.chars().find(|character| !is_allowed(*character)) {
        Some(character @ (':' | '/' | '@')) => Err(TagGlobError::NotOnlyTag { character }),
        Some(character) => Err(TagGlobError::Character { character }),
        None if text.len() > TAG_LENGTH_MAX => Err(TagGlobError::Length { length: text.len() }),
        None => Ok(()),
    }
}

impl fmt::Display for TagGlob {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for TagGlob {
    type Err = TagGlobError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text)
    }
}

impl TryFrom<String> for TagGlob {
    type Error = TagGlobError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        validate(&text).map(|()| Self(text))
    }
}

impl Serialize for TagGlob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for TagGlob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::try_from(text).map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for TagGlob {
    // A structural schema of a custom resource has no references.
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        Cow::Borrowed("TagGlob")
    }

    fn json_schema(_generator: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "description": "A pattern over the whole tag, with regard to case: * is any run of characters, ? is one \
                            character, every other character is itself.",
            "minLength": 1,
            "maxLength": TAG_LENGTH_MAX,
            "x-kubernetes-validations": crate::schema::validations(&[(
                "self.matches('^[A-Za-z0-9_.*?-]+$')",
                "write a tag such as stable or a pattern such as pr-*: letters, digits, '_', '.', '-', '*' and '?'",
            )]),
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    /// The definition, as plainly as it can be said.
    fn naive(pattern: &[u8], tag: &[u8]) -> bool {
        match (pattern, tag) {
            ([], []) => true,
            ([b'*', rest @ ..], _) => (0..=tag.len()).any(|taken| naive(rest, &tag[taken..])),
            ([b'?', rest @ ..], [_, tag @ ..]) => naive(rest, tag),
            ([expected, rest @ ..], [found, tag @ ..]) => expected == found && naive(rest, tag),
            _ => false,
        }
    }

    #[rstest]
    #[case("latest", "latest", true)]
    #[case("latest", "Latest", false)]
    #[case("latest", "latest-1", false)]
    #[case("pr-*", "pr-12", true)]
    #[case("pr-*", "pr-", true)]
    #[case("pr-*", "xpr-1", false)]
    #[case("*-SNAPSHOT", "1.0-SNAPSHOT", true)]
    #[case("1.?", "1.2", true)]
    #[case("1.?", "1x2", false)]
    #[case("1.?", "1.27", false)]
    #[case("*a*b*", "xxaxxbxx", true)]
    #[case("*", "anything", true)]
    #[case("*", "not a tag", false)]
    #[case("?", "é", false)]
    fn matches_the_whole_tag(#[case] pattern: &str, #[case] tag: &str, #[case] expected: bool) {
        assert_eq!(TagGlob::parse(pattern).unwrap().matches(tag), expected);
    }

    #[rstest]
    #[case("", TagGlobError::Empty)]
    #[case("a b", TagGlobError::Character { character: ' ' })]
    #[case("[ab]", TagGlobError::Character { character: '[' })]
    #[case("lаtest", TagGlobError::Character { character: 'а' })]
    #[case(":latest", TagGlobError::NotOnlyTag { character: ':' })]
    #[case("nginx:latest", TagGlobError::NotOnlyTag { character: ':' })]
    fn says_what_to_write(#[case] pattern: &str, #[case] expected: TagGlobError) {
        assert_eq!(TagGlob::parse(pattern), Err(expected));
        assert!(expected.to_string().contains("; write "));
    }

    #[test]
    fn is_as_long_as_a_tag_at_most() {
        assert!(TagGlob::parse(&"*".repeat(128)).is_ok());
        assert_eq!(TagGlob::parse(&"a".repeat(129)), Err(TagGlobError::Length { length: 129 }));
    }

    #[test]
    fn becomes_a_regular_expression() {
        let glob = TagGlob::parse("v?.**-rc_1").unwrap();
        assert_eq!(glob.to_regex_source(), r"v.\..*-rc_1");
    }

    #[test]
    fn is_a_string_on_the_wire() {
        let glob: TagGlob = serde_json::from_str(r#""pr-*""#).unwrap();
        assert_eq!(serde_json::to_string(&glob).unwrap(), r#""pr-*""#);
        assert_eq!(glob.to_string(), "pr-*");
        let error = serde_json::from_str::<TagGlob>(r#""pr *""#).unwrap_err();
        assert!(error.to_string().contains("write letters"), "{error}");
        let schema = serde_json::to_value(schemars::schema_for!(TagGlob)).unwrap();
        assert_eq!(schema["type"], "string");
        assert_eq!(schema["maxLength"], 128);
    }

    #[test]
    fn a_hard_pattern_is_quick() {
        let glob = TagGlob::parse(&"*a".repeat(64)).unwrap();
        assert!(!glob.matches(&format!("{}b", "a".repeat(100_000))));
    }

    proptest! {
        #[test]
        fn agrees_with_the_naive_matcher(pattern in "[ab.*?]{1,9}", tag in "[ab.]{0,12}") {
            let glob = TagGlob::parse(&pattern).unwrap();
            prop_assert_eq!(glob.matches(&tag), naive(pattern.as_bytes(), tag.as_bytes()));
        }

        #[test]
        fn never_panics(pattern in any::<String>(), tag in any::<String>()) {
            if let Ok(glob) = TagGlob::parse(&pattern) {
                glob.matches(&tag);
                glob.to_regex_source();
            }
        }
    }
}
