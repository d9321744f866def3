//! Why a text is no reference, and what to write instead.

use super::reference::{
    DIGEST_ALGORITHMS, Parts, Place, REPOSITORY_LENGTH_MAX, TAG_LENGTH_MAX, is_digest_byte, is_identifier, is_port,
    is_registry, is_tag_byte, names_registry,
};

/// What is wrong with an image reference, and what to write instead.
///
/// Each message completes "image X is invalid: ". Building one allocates nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// Nothing is written.
    #[error("it is empty; write REGISTRY/NAME:TAG@sha256:DIGEST")]
    Empty,
    /// What a template engine or a shell leaves behind when a value was not filled in.
    #[error(
        "it contains {artefact}, so a template was not rendered or a value was missing; render it, then check again"
    )]
    Template {
        /// The telling piece.
        artefact: &'static str,
    },
    /// `https://…` and the like.
    #[error("it has a scheme; leave out everything up to and including ://")]
    Scheme,
    /// White space, a line break included.
    #[error("character {position} is white space (U+{code:04X}); remove it", code = u32::from(*.character))]
    Whitespace {
        /// The character.
        character: char,
        /// Its place, counted from 1.
        position: usize,
    },
    /// A character that cannot be seen: control characters, zero-width characters, text direction marks.
    #[error("character {position} is invisible (U+{code:04X}); remove it", code = u32::from(*.character))]
    Invisible {
        /// The character.
        character: char,
        /// Its place, counted from 1.
        position: usize,
    },
    /// A character outside ASCII, possibly one that looks like an ASCII letter.
    #[error(
        "character {position}, {character:?} (U+{code:04X}), is not ASCII even if it looks so; type it again in ASCII",
        code = u32::from(*.character)
    )]
    NotAscii {
        /// The character.
        character: char,
        /// Its place, counted from 1.
        position: usize,
    },
    /// `user@host/name`.
    #[error("it names a user before '@'; leave that out and give credentials in imagePullSecrets")]
    User,
    /// More than one `@`.
    #[error("it has more than one '@'; write one digest: NAME@sha256:DIGEST")]
    SecondDigest,
    /// 64 hexadecimal digits and nothing else.
    #[error("64 hexadecimal digits alone are an image id, not a name; write NAME@sha256:DIGEST")]
    Identifier,
    /// Nothing stands before the tag or the digest.
    #[error("the name is missing; write NAME:TAG or NAME@sha256:DIGEST")]
    NameMissing,
    /// `nginx:`.
    #[error("there is no tag after ':'; write NAME:TAG")]
    TagEmpty,
    /// The tag is too long.
    #[error("the tag has {length} characters; write at most {TAG_LENGTH_MAX}")]
    TagLength {
        /// How many characters it has.
        length: usize,
    },
    /// The tag begins with `.` or `-`.
    #[error("the tag begins with '{character}'; begin it with a letter, a digit or '_'")]
    TagStart {
        /// The first character.
        character: char,
    },
    /// The tag has a character that no tag may have.
    #[error("the tag has the character {character:?}; write only letters, digits, '_', '.' and '-'")]
    TagCharacter {
        /// The first such character.
        character: char,
    },
    /// `nginx@`.
    #[error("there is no digest after '@'; write NAME@sha256:DIGEST")]
    DigestEmpty,
    /// There is no algorithm, or one that the kubelet does not know.
    #[error("the digest does not begin with a known algorithm in lower case; write @sha256:DIGEST or @sha512:DIGEST")]
    DigestAlgorithm,
    /// The digest is cut off or too long.
    #[error("the {algorithm} digest has {length} characters; write all {expected} of them")]
    DigestLength {
        /// The algorithm.
        algorithm: &'static str,
        /// How many digits it has.
        expected: usize,
        /// How many characters there are.
        length: usize,
    },
    /// The digest has a capital letter.
    #[error("the digest has the capital letter {character:?}; write it in lower case")]
    DigestUppercase {
        /// The first such letter.
        character: char,
    },
    /// The digest has a character that is no hexadecimal digit.
    #[error("the digest has the character {character:?}; write only the digits 0 to 9 and a to f")]
    DigestCharacter {
        /// The first such character.
        character: char,
    },
    /// The registry's port is not a number.
    #[error("the registry's port is not a number; write REGISTRY:PORT/NAME")]
    RegistryPort,
    /// The part before the first `/` is meant as a registry and is none.
    #[error(
        "the part before the first '/' is no registry; write a host such as registry.example.com:5000 or [fd00::1]:5000"
    )]
    Registry,
    /// The repository is too long.
    #[error(
        "the repository has {length} characters, \"library/\" included where it is implied; write at most {REPOSITORY_LENGTH_MAX}"
    )]
    RepositoryLength {
        /// How many characters it has after normalisation.
        length: usize,
    },
    /// A part of the name between slashes is empty.
    #[error("the name begins or ends with '/' or has two in a row; write one '/' between its parts")]
    RepositoryPartEmpty,
    /// The repository has a capital letter.
    #[error("the repository has the capital letter {character:?}; write it in lower case")]
    RepositoryUppercase {
        /// The first such letter.
        character: char,
    },
    /// The repository has a character that no repository may have.
    #[error(
        "the repository has the character {character:?}; write only lower-case letters, digits, '.', '_', '-' and '/'"
    )]
    RepositoryCharacter {
        /// The first such character.
        character: char,
    },
    /// The repository has a separator where none may stand.
    #[error(
        "each part of the repository begins and ends with a letter or digit; write one '.', one or two '_' or dashes \
         between them"
    )]
    RepositorySeparator,
}

/// Pieces that only an unrendered template or a missing value leaves behind; a `$` alone does not tell as much.
const ARTEFACTS: [&str; 8] = ["{{", "}}", "${", "$(", "<no value>", "<nil>", "<none>", "%!"];

/// Names the first thing to put right in a text that is no reference. What tells most about its origin comes first:
/// an unrendered template holds white space too, and is not to be answered with "remove it".
pub(super) fn explain(text: &str) -> ReferenceError {
    if text.is_empty() {
        return ReferenceError::Empty;
    }
    if let Some(artefact) = ARTEFACTS.into_iter().find(|artefact| text.contains(artefact)) {
        return ReferenceError::Template { artefact };
    }
    if let Some(error) = explain_characters(text) {
        return error;
    }
    if text.contains("://") {
        return ReferenceError::Scheme;
    }
    if is_identifier(text) {
        return ReferenceError::Identifier;
    }
    let Parts { name, tag, digest } = Parts::of(text);
    if digest.is_some_and(|digest| digest.contains('/')) {
        return ReferenceError::User;
    }
    if digest.is_some_and(|digest| digest.contains('@')) {
        return ReferenceError::SecondDigest;
    }
    if name.is_empty() {
        return ReferenceError::NameMissing;
    }
    explain_name(name)
        .or_else(|| tag.and_then(explain_tag))
        .or_else(|| digest.and_then(explain_digest))
        .unwrap_or_else(|| ReferenceError::RepositoryLength { length: Place::of(name).length() })
}

fn explain_characters(text: &str) -> Option<ReferenceError> {
    let (index, character) = text.chars().enumerate().find(|(_, character)| !character.is_ascii_graphic())?;
    let position = index + 1;
    Some(if character.is_whitespace() {
        ReferenceError::Whitespace { character, position }
    } else if character.is_control() || is_invisible(character) {
        ReferenceError::Invisible { character, position }
    } else {
        ReferenceError::NotAscii { character, position }
    })
}

/// The format characters of Unicode that get into a reference by copying from a page.
fn is_invisible(character: char) -> bool {
    matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}'
    )
}

fn explain_name(name: &str) -> Option<ReferenceError> {
    if name.split('/').any(str::is_empty) {
        return Some(ReferenceError::RepositoryPartEmpty);
    }
    let repository = match name.split_once('/') {
        Some((first, repository)) if names_registry(first) && is_registry(first) => repository,
        Some((first, _)) if names_registry(first) => {
            // An underscore makes it a part of the repository, unless something else forbids that too.
            match first.split_once(':') {
                Some((host, port)) if is_registry(host) && !port.contains(':') && !is_port(port) => {
                    return Some(ReferenceError::RegistryPort);
                }
                None if explain_repository(first).is_none() => name,
                _ => return Some(ReferenceError::Registry),
            }
        }
        _ if name.starts_with('[') => return Some(ReferenceError::Registry),
        _ => name,
    };
    explain_repository(repository)
}

fn explain_repository(repository: &str) -> Option<ReferenceError> {
    for character in repository.chars() {
        if character.is_ascii_uppercase() {
            return Some(ReferenceError::RepositoryUppercase { character });
        }
        if !matches!(character, 'a'..='z' | '0'..='9' | '.' | '_' | '-' | '/') {
            return Some(ReferenceError::RepositoryCharacter { character });
        }
    }
    let is_separator = |character: char| matches!(character, '.' | '_' | '-');
    let separators_are_wrong = |part: &str| {
        part.starts_with(is_separator)
            || part.ends_with(is_separator)
            || part
                .split(|character| !is_separator(character))
                .any(|run| !matches!(run, "" | "." | "_" | "__") && run.bytes().any(|byte| byte != b'-'))
    };
    repository.split('/').any(separators_are_wrong).then_some(ReferenceError::RepositorySeparator)
}

fn explain_tag(tag: &str) -> Option<ReferenceError> {
    if let Some(character) = tag.chars().find(|character| !u8::try_from(*character).is_ok_and(is_tag_byte)) {
        return Some(ReferenceError::TagCharacter { character });
    }
    match tag.chars().next() {
        None => Some(ReferenceError::TagEmpty),
        Some(character @ ('.' | '-')) => Some(ReferenceError::TagStart { character }),
        Some(_) => (tag.len() > TAG_LENGTH_MAX).then_some(ReferenceError::TagLength { length: tag.len() }),
    }
}

fn explain_digest(digest: &str) -> Option<ReferenceError> {
    if digest.is_empty() {
        return Some(ReferenceError::DigestEmpty);
    }
    let known = digest.split_once(':').and_then(|(written, digits)| {
        let (algorithm, expected) = DIGEST_ALGORITHMS.into_iter().find(|(algorithm, _)| *algorithm == written)?;
        Some((algorithm, expected, digits))
    });
    let Some((algorithm, expected, digits)) = known else {
        return Some(ReferenceError::DigestAlgorithm);
    };
    if let Some(character) = digits.chars().find(|character| !u8::try_from(*character).is_ok_and(is_digest_byte)) {
        return Some(if matches!(character, 'A'..='F') {
            ReferenceError::DigestUppercase { character }
        } else {
            ReferenceError::DigestCharacter { character }
        });
    }
    let length = digits.len();
    (length != expected).then_some(ReferenceError::DigestLength { algorithm, expected, length })
}
