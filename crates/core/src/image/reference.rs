//! The grammar, and what a reference says.

use std::borrow::Cow;
use std::fmt;

use super::error::{ReferenceError, explain};

/// What an image without a registry comes from (`normalize.go`, `defaultDomain`).
const DEFAULT_REGISTRY: &str = "docker.io";
/// The older name of the same registry, replaced by it (`normalize.go`, `legacyDefaultDomain`).
const LEGACY_DEFAULT_REGISTRY: &str = "index.docker.io";
/// The one registry name that needs neither a dot nor a port (`regexp.go`, `localhost`).
const LOCALHOST: &str = "localhost";
/// What the default registry puts before a repository of one part (`normalize.go`, `officialRepoPrefix`).
const OFFICIAL_PREFIX: &str = "library/";
/// Longest repository, counted after normalisation and without the registry (`reference.go`,
/// `RepositoryNameTotalLengthMax`).
pub(super) const REPOSITORY_LENGTH_MAX: usize = 255;
/// Longest tag (`regexp.go`, `tag`: one character and at most 127 more).
pub(super) const TAG_LENGTH_MAX: usize = 128;
/// The length of an image id, which is no name (`regexp.go`, `identifier`).
const IDENTIFIER_LENGTH: usize = 64;
/// Digest algorithms and the length of their hexadecimal digits (`go-digest`, `algorithm.go`). The kubelet imports
/// `crypto/sha256` and `crypto/sha512`, and the latter brings sha384 with it.
pub(super) const DIGEST_ALGORITHMS: [(&str, usize); 3] = [("sha256", 64), ("sha384", 96), ("sha512", 128)];

/// A valid image reference: what the kubelet would make of it.
///
/// Two references are equal when they were written alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference<'a> {
    original: &'a str,
    registry: &'a str,
    official: bool,
    path: &'a str,
    tag: Option<&'a str>,
    digest: Option<&'a str>,
}

impl<'a> Reference<'a> {
    /// Reads a reference exactly as Go's `ParseNormalizedNamed` does, in linear time and without allocating.
    ///
    /// # Errors
    ///
    /// When the kubelet would answer `InvalidImageName`. The error says what is wrong and what to write.
    pub fn parse(original: &'a str) -> Result<Self, ReferenceError> {
        recognise(original).ok_or_else(|| explain(original))
    }

    /// The reference as it was written.
    pub fn original(&self) -> &'a str {
        self.original
    }

    /// The registry, with its port: `docker.io` where none is written, and for `index.docker.io`.
    ///
    /// Empty in one corner: where the first part has a dot and an underscore, as in `my_host.example/app`, Go takes
    /// it for a registry while normalising and for a part of the repository while parsing, and is left with none.
    /// Case is kept, because credentials are looked up by it.
    pub fn registry(&self) -> &'a str {
        self.registry
    }

    /// The repository without the registry; `library/` is added where Docker Hub implies it.
    pub fn repository(&self) -> Cow<'a, str> {
        if self.official { Cow::Owned(format!("{OFFICIAL_PREFIX}{}", self.path)) } else { Cow::Borrowed(self.path) }
    }

    /// The tag as written. An absent one means `latest`, unless there is a digest.
    pub fn tag(&self) -> Option<&'a str> {
        self.tag
    }

    /// The digest with its algorithm, as in `sha256:…`. It alone decides what is pulled: a tag beside it is ignored.
    pub fn digest(&self) -> Option<&'a str> {
        self.digest
    }

    /// The digest, if it is one that registries serve content by: sha256 or sha512. The grammar admits sha384 too.
    pub fn pinned_digest(&self) -> Option<&'a str> {
        self.digest.filter(|digest| !digest.starts_with("sha384:"))
    }

    /// Whether neither tag nor digest is written, so that `latest` is pulled.
    pub fn tag_missing(&self) -> bool {
        self.tag.is_none() && self.digest.is_none()
    }

    /// The reference as people know it, without `docker.io/` and `library/` (`normalize.go`, `familiarizeName`).
    ///
    /// For reading only: `docker.io/localhost/app` becomes `localhost/app`, which names another registry.
    pub fn familiar(&self) -> Familiar<'a> {
        Familiar(*self)
    }

    fn write_suffix(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(tag) = self.tag {
            write!(formatter, ":{tag}")?;
        }
        if let Some(digest) = self.digest {
            write!(formatter, "@{digest}")?;
        }
        Ok(())
    }
}

/// The full form: `registry/repository[:tag][@digest]`, equal to what Go's `String` gives.
impl fmt::Display for Reference<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.registry.is_empty() {
            write!(formatter, "{}/", self.registry)?;
        }
        if self.official {
            formatter.write_str(OFFICIAL_PREFIX)?;
        }
        formatter.write_str(self.path)?;
        self.write_suffix(formatter)
    }
}

/// Displays a reference in its short form; see [`Reference::familiar`].
#[derive(Debug, Clone, Copy)]
pub struct Familiar<'a>(Reference<'a>);

impl fmt::Display for Familiar<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(reference) = self;
        let path = if reference.registry == DEFAULT_REGISTRY {
            match reference.path.strip_prefix(OFFICIAL_PREFIX) {
                Some(short) if !short.contains('/') => short,
                _ => reference.path,
            }
        } else {
            if !reference.registry.is_empty() {
                write!(formatter, "{}/", reference.registry)?;
            }
            reference.path
        };
        formatter.write_str(path)?;
        reference.write_suffix(formatter)
    }
}

/// The reference, if the text is one. Why it is none is asked only afterwards, so that messages can never change a
/// verdict.
fn recognise(original: &str) -> Option<Reference<'_>> {
    if is_identifier(original) {
        return None;
    }
    let Parts { name, tag, digest } = Parts::of(original);
    if !tag.is_none_or(is_tag) || !digest.is_none_or(is_digest) {
        return None;
    }
    let place = Place::of(name);
    (place.length() <= REPOSITORY_LENGTH_MAX && is_repository(place.path)).then_some(Reference {
        original,
        registry: place.registry,
        official: place.official,
        path: place.path,
        tag,
        digest,
    })
}

/// Where a name points to (`normalize.go`, `splitDockerDomain`); only the registry is validated yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    registry: &'a str,
    /// Whether `library/` goes before the path.
    official: bool,
    path: &'a str,
}

impl<'a> Place<'a> {
    pub(super) fn of(name: &'a str) -> Self {
        let (registry, path) = match name.split_once('/') {
            Some((LEGACY_DEFAULT_REGISTRY, path)) => (DEFAULT_REGISTRY, path),
            Some((first, path)) if names_registry(first) => {
                // Normalising takes it for a registry by its looks, parsing only by the grammar. An underscore is
                // what the grammar of a registry refuses and that of a repository admits.
                if is_registry(first) { (first, path) } else { ("", name) }
            }
            _ => (DEFAULT_REGISTRY, name),
        };
        let official = registry == DEFAULT_REGISTRY && !path.contains('/');
        Self { registry, official, path }
    }

    /// The length of the repository after normalisation.
    pub(super) fn length(self) -> usize {
        self.path.len() + if self.official { OFFICIAL_PREFIX.len() } else { 0 }
    }
}

/// A text cut at the places where a reference would be cut; nothing is validated yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Parts<'a> {
    /// Registry and repository.
    pub(super) name: &'a str,
    /// What follows the first `:` behind the last `/`; a `:` before that belongs to a port.
    pub(super) tag: Option<&'a str>,
    /// What follows the first `@`.
    pub(super) digest: Option<&'a str>,
}

impl<'a> Parts<'a> {
    pub(super) fn of(text: &'a str) -> Self {
        let (named, digest) = match text.split_once('@') {
            Some((named, digest)) => (named, Some(digest)),
            None => (text, None),
        };
        let last_part = named.rfind('/').map_or(0, |slash| slash + 1);
        let (name, tag) = match named[last_part..].find(':') {
            Some(colon) => (&named[..last_part + colon], Some(&named[last_part + colon + 1..])),
            None => (named, None),
        };
        Self { name, tag, digest }
    }
}

/// Whether the part before the first `/` looks like a registry (`normalize.go`, `splitDockerDomain`).
pub(super) fn names_registry(first: &str) -> bool {
    first == LOCALHOST || first.bytes().any(|byte| matches!(byte, b'.' | b':' | b'A'..=b'Z'))
}

/// `host[:port]`, where the host is a name, an IPv4 address or an IPv6 address in brackets (`regexp.go`,
/// `domainAndPort`). Addresses and ports are not checked beyond their characters.
pub(super) fn is_registry(text: &str) -> bool {
    let (host_is_valid, port) = if let Some(address) = text.strip_prefix('[') {
        let Some((address, port)) = address.split_once(']') else {
            return false;
        };
        let characters = |byte: u8| byte.is_ascii_hexdigit() || byte == b':';
        (!address.is_empty() && address.bytes().all(characters), port)
    } else {
        let (host, port) = text.split_at(text.find(':').unwrap_or(text.len()));
        (host.split('.').all(is_host_label), port)
    };
    host_is_valid && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port))
}

/// One part of a host name between dots (`regexp.go`, `domainNameComponent`).
fn is_host_label(label: &str) -> bool {
    let bytes = label.as_bytes();
    bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'-')
        && bytes.first().is_some_and(|first| *first != b'-')
        && bytes.last() != Some(&b'-')
}

/// Digits, any number (`regexp.go`, `optionalPort`).
pub(super) fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Parts joined by `/` (`regexp.go`, `remoteName`): runs of lower-case letters and digits, between which stands one
/// `/` or one separator: `.`, `_`, `__` or dashes.
fn is_repository(text: &str) -> bool {
    let mut rest = text.as_bytes();
    loop {
        let run = rest.iter().take_while(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()).count();
        if run == 0 {
            return false;
        }
        rest = match &rest[run..] {
            [] => return true,
            // Two underscores are tried before one.
            [b'_', b'_', rest @ ..] | [b'/' | b'.' | b'_', rest @ ..] => rest,
            [b'-', rest @ ..] => &rest[rest.iter().take_while(|byte| **byte == b'-').count()..],
            _ => return false,
        };
    }
}

/// Whether a character may stand in a tag: Go's `[\w.-]`, in which `\w` is ASCII.
pub(super) fn is_tag_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-')
}

/// `regexp.go`, `tag`.
fn is_tag(text: &str) -> bool {
    text.len() <= TAG_LENGTH_MAX
        && text.bytes().all(is_tag_byte)
        && text.bytes().next().is_some_and(|first| !matches!(first, b'.' | b'-'))
}

/// What `regexp.go`, `digestPat`, and then `go-digest`, `Validate`, both admit: a known algorithm and as many
/// lower-case hexadecimal digits as it has.
fn is_digest(text: &str) -> bool {
    text.split_once(':').is_some_and(|(algorithm, digits)| {
        DIGEST_ALGORITHMS.contains(&(algorithm, digits.len())) && digits.bytes().all(is_digest_byte)
    })
}

/// Hexadecimal, in lower case only.
pub(super) fn is_digest_byte(byte: u8) -> bool {
    matches!(byte, b'0'..=b'9' | b'a'..=b'f')
}

/// The whole text is an image id, which could be a repository of Docker Hub and is refused for that reason
/// (`normalize.go`, first check).
pub(super) fn is_identifier(text: &str) -> bool {
    text.len() == IDENTIFIER_LENGTH && text.bytes().all(is_digest_byte)
}

#[cfg(test)]
mod tests;
