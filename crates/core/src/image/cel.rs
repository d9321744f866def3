//! The same grammar in CEL, for the API server.
//!
//! Only what Kubernetes 1.33 has, and nothing that can fail to evaluate: every function used is defined for every
//! string. Regular expressions are raw string constants, which the API server compiles once.
//!
//! Two things shape the expressions. The cost that the API server charges for `matches` is a tenth of the text's
//! length times a quarter of the pattern's, so the patterns are short. And Go runs a pattern several times faster
//! when its program has at most 500 instructions, which the repetition `{0,127}` of a tag alone would exceed; so
//! lengths are checked apart, and only for texts long enough to break them.

use super::glob::TagGlob;

/// `[registry/]repository[:tag][@digest]`, but for the lengths of tag and repository and the two cases below.
///
/// - `[^\W_]` is a letter or digit of ASCII: in RE2 `\w` is ASCII, and `\d` too.
/// - A host name is runs of those, joined by one dot or by dashes, which is what the grammar of its labels comes to.
/// - The slash between two parts of a repository is one more separator between two runs.
/// - `$` is the very end of the text: RE2 lets no line break follow it.
/// - The kubelet's check for lower case adds nothing to this.
const GRAMMAR: &str = concat!(
    r"^(([^\W_]+((\.|-+)[^\W_]+)*|\[[a-fA-F\d:]+])(:\d+)?/)?",
    r"[a-z\d]+(([./]|__?|-+)[a-z\d]+)*",
    r"(:\w[\w.-]*)?",
    r"(@sha(256:[a-f\d]{64}|384:[a-f\d]{96}|512:[a-f\d]{128}))?$",
);

/// An image id, which is no name.
const IDENTIFIER: &str = r"^[a-f\d]{64}$";

/// An address in brackets that nothing marks as one: normalising looks for a dot, a colon or a capital letter, finds
/// none, and takes it for a part of a repository, which it cannot be.
const UNMARKED_ADDRESS: &str = r"^\[[a-f\d]+]/";

/// A tag of more than 128 characters, in what matches [`GRAMMAR`]: a port is followed by `/`, an address by `]`, and
/// no digest is that long.
const LONG_TAG: &str = r":[\w.-]{129,}(@|$)";

/// A repository of one part on Docker Hub, which exceeds 255 characters once `library/` is added.
const LONG_OFFICIAL: &str = r"^((index\.)?docker\.io/)?[^/:@]{248,}([:@][^/]*)?$";

/// A first part that is the registry. With an underscore it counts to the repository; see `Reference::registry`.
const HAS_REGISTRY: &str = r"^(localhost|[^/_]*[A-Z.:][^/_]*)/";

/// More than 255 characters of repository behind the registry.
const LONG_BEHIND_REGISTRY: &str = r"^[^/]+/[^:@]{256}";

/// More than 255 characters of repository where there is no registry.
const LONG_FROM_START: &str = r"^[^:@]{256}";

/// A CEL expression that is true exactly when [`Reference::parse`](super::Reference::parse) accepts the string.
///
/// `variable` is an identifier or a path of fields, such as `c.image`. The expression is in parentheses.
///
/// It never fails to evaluate, but nothing bounds the length of a registry, and a valid reference of more than 255
/// characters is charged about 7 units a character: some 130,000 characters exceed the API server's limit of
/// 1,000,000 units an expression.
pub fn cel_is_valid(variable: &str) -> String {
    format!(
        "({variable}.matches(r'{GRAMMAR}') && \
         (size({variable}) != 64 || !{variable}.matches(r'{IDENTIFIER}')) && \
         (!{variable}.startsWith('[') || !{variable}.matches(r'{UNMARKED_ADDRESS}')) && \
         (size({variable}) < 130 || !{variable}.matches(r'{LONG_TAG}')) && \
         (size({variable}) < 248 || !{variable}.matches(r'{LONG_OFFICIAL}')) && \
         (size({variable}) < 256 || !({variable}.matches(r'{HAS_REGISTRY}') \
         ? {variable}.matches(r'{LONG_BEHIND_REGISTRY}') : {variable}.matches(r'{LONG_FROM_START}'))))"
    )
}

/// A CEL expression for [`Reference::digest`](super::Reference::digest) being there, given a valid reference.
pub fn cel_has_digest(variable: &str) -> String {
    format!("{variable}.contains('@')")
}

/// A CEL expression for [`Reference::pinned_digest`](super::Reference::pinned_digest) being there, given a valid
/// reference.
pub fn cel_has_pinned_digest(variable: &str) -> String {
    format!("({variable}.contains('@sha256:') || {variable}.contains('@sha512:'))")
}

/// A CEL expression for [`Reference::tag_missing`](super::Reference::tag_missing), given a valid reference.
pub fn cel_tag_missing(variable: &str) -> String {
    // The colon of a port stands before the last slash; without both, -1 is not greater than -1.
    format!("(!{variable}.contains('@') && {variable}.lastIndexOf(':') <= {variable}.lastIndexOf('/'))")
}

/// A CEL expression for a reference without a digest whose tag matches one of the patterns, given a valid reference
/// that has a tag or a digest. It is `false` for no patterns.
pub fn cel_tag_matches(variable: &str, patterns: &[TagGlob]) -> String {
    if patterns.is_empty() {
        return "false".to_owned();
    }
    let alternatives: Vec<String> = patterns.iter().map(TagGlob::to_regex_source).collect();
    // The cost is by the length of what is matched: the tag alone is at most 128 characters.
    format!(
        "(!{variable}.contains('@') && {variable}.substring({variable}.lastIndexOf(':') + 1).matches(r'^({})$'))",
        alternatives.join("|")
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    /// What Kubernetes 1.33 charges for `matches` on a text of this length.
    fn cost(pattern: &str, length: usize) -> usize {
        (length + 1).div_ceil(10) * pattern.len().div_ceil(4)
    }

    #[test]
    fn a_hundred_long_images_stay_far_below_the_limit() {
        // 253 characters, the longest image that people have, in every container: every check up to 256 is made.
        let one: usize = [GRAMMAR, LONG_TAG, LONG_OFFICIAL].into_iter().map(|pattern| cost(pattern, 253)).sum();
        assert!(100 * one < 180_000, "{one} for each");
        // Images long enough for everything.
        let all = [GRAMMAR, LONG_TAG, LONG_OFFICIAL, HAS_REGISTRY, LONG_BEHIND_REGISTRY];
        let one: usize = all.into_iter().map(|pattern| cost(pattern, 512)).sum();
        assert!(100 * one < 500_000, "{one} for each");
    }

    #[test]
    fn expressions_are_what_they_are_tested_as() {
        assert_eq!(cel_has_digest("c.image"), "c.image.contains('@')");
        assert_eq!(cel_has_pinned_digest("c.image"), "(c.image.contains('@sha256:') || c.image.contains('@sha512:'))");
        assert_eq!(
            cel_tag_missing("c.image"),
            "(!c.image.contains('@') && c.image.lastIndexOf(':') <= c.image.lastIndexOf('/'))"
        );
        let globs = [TagGlob::parse("latest").unwrap(), TagGlob::parse("pr-*").unwrap()];
        assert_eq!(
            cel_tag_matches("c.image", &globs),
            r"(!c.image.contains('@') && c.image.substring(c.image.lastIndexOf(':') + 1).matches(r'^(latest|pr-.*)$'))"
        );
        assert_eq!(cel_tag_matches("c.image", &[]), "false");
    }

    #[test]
    fn patterns_can_stand_in_raw_strings() {
        let expression = cel_is_valid("image");
        // Every quotation mark belongs to a raw string or to the '[' of startsWith.
        let raw_strings = expression.matches("r'").count();
        assert_eq!(expression.matches('\'').count(), 2 * raw_strings + 2);
        assert!(expression.is_ascii() && !expression.contains('\n'));
        assert!(GRAMMAR.len() <= 160, "{}", GRAMMAR.len());
    }
}
