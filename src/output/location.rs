//! File names as other tools want them.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::path::Path;

/// The name that stands for standard input where a dash would not be understood.
pub(super) const STDIN: &str = "stdin";

/// The name of a file for people.
pub(super) fn file_name(file: &str) -> &str {
    if file == "-" { STDIN } else { file }
}

/// A path as a repository writes it: forward slashes, no `./`.
///
/// `..` stays: what it leads to depends on links.
pub(super) fn repository_path(file: &str) -> Cow<'_, str> {
    // Elsewhere a backslash is a character of the name.
    let slashed = if cfg!(windows) { Cow::Owned(file.replace('\\', "/")) } else { Cow::Borrowed(file) };
    let absolute = slashed.starts_with('/');
    let plain = |segment: &str| segment != "." && !segment.is_empty();
    let rest = slashed.strip_prefix('/').unwrap_or(&slashed);
    if rest.split('/').all(plain) {
        return slashed;
    }
    let kept: Vec<&str> = rest.split('/').filter(|segment| plain(segment)).collect();
    Cow::Owned(format!("{}{}", if absolute { "/" } else { "" }, kept.join("/")))
}

/// A path as a URI reference: relative where the path is.
pub(super) fn uri(file: &str) -> String {
    if file == "-" {
        return STDIN.to_owned();
    }
    let path = repository_path(file);
    let mut uri = String::with_capacity(path.len() + 8);
    if Path::new(file).is_absolute() {
        uri.push_str("file://");
        if !path.starts_with('/') {
            uri.push('/');
        }
    }
    for byte in path.bytes() {
        match byte {
            // What RFC 3986 allows in every segment; a colon in the first one would read as a scheme.
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'~'
            | b'/'
            | b'@'
            | b'!'
            | b'$'
            | b'&'
            | b'\''
            | b'('
            | b')'
            | b'*'
            | b'+'
            | b','
            | b';'
            | b'=' => uri.push(char::from(byte)),
            // Writing to a String cannot fail.
            other => {
                let _ = write!(uri, "%{other:02X}");
            }
        }
    }
    uri
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_path_becomes_a_uri() {
        assert_eq!(uri("./deploy//web.yaml"), "deploy/web.yaml");
        assert_eq!(uri("a b/c:d#é%.yaml"), "a%20b/c%3Ad%23%C3%A9%25.yaml");
        assert_eq!(uri("/srv/web.yaml"), "file:///srv/web.yaml");
        assert_eq!(uri("../web.yaml"), "../web.yaml");
        assert_eq!(uri("a\\b"), "a%5Cb");
        assert_eq!(uri("-"), "stdin");
    }
}
