//! Names made of what an object is: two tenants' policies never meet in one name.

use std::fmt::Write as _;

use sha2::{Digest, Sha256};

/// The longest name of an object.
const NAME_LENGTH: usize = 253;

/// 64 hexadecimal digits of SHA-256.
pub(crate) fn digest(identity: &str) -> String {
    Sha256::digest(identity.as_bytes()).iter().fold(String::new(), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// 12 hexadecimal digits of it: enough to tell names apart, and the same in every version.
pub fn short_digest(identity: &str) -> String {
    let mut digest = digest(identity);
    digest.truncate(12);
    digest
}

/// `immutable-<12 hex of what it is>-<readable tail>`
pub(crate) fn name(identity: &str, tail: &str) -> String {
    let mut name = format!("immutable-{}-", short_digest(identity));
    let readable = |character: char| {
        if character.is_ascii_lowercase() || character.is_ascii_digit() { character } else { '-' }
    };
    name.extend(tail.to_ascii_lowercase().chars().map(readable).take(NAME_LENGTH - name.len()));
    name.truncate(name.trim_end_matches('-').len());
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_always_valid() {
        for tail in ["production", "a.b", "UPPER_case/é", "-", "", &"x".repeat(300)] {
            let name = name("identity", tail);
            assert!(name.len() <= NAME_LENGTH, "{name}");
            assert!(
                name.chars()
                    .all(|character| character.is_ascii_lowercase() || character.is_ascii_digit() || character == '-')
            );
            assert!(!name.ends_with('-'), "{name}");
        }
    }
}
