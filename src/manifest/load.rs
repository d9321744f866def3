//! Bytes become text.

use std::fs::File;
use std::io::{self, Read};

use super::discover::Source;
use super::error::{ErrorKind, ManifestError, Position, Problem};

/// The largest input. A whole cluster of 10,000 workloads takes about 20 MB; the tree holds offsets of 32 bits, and an
/// endless standard input must end somewhere before memory does.
pub const MAX_INPUT: u64 = 512 * 1024 * 1024;

/// Reads a file or standard input as text.
///
/// # Errors
/// When it cannot be read, is larger than [`MAX_INPUT`], or is no text in UTF-8.
pub fn load(source: &Source) -> Result<String, ManifestError> {
    let Some(path) = &source.path else {
        return read_stdin();
    };
    let unreadable = |error: &io::Error| fault(&source.name, ErrorKind::Unreadable, format!("cannot be read: {error}"));
    let file = File::open(path).map_err(|error| unreadable(&error))?;
    let metadata = file.metadata().map_err(|error| unreadable(&error))?;
    if metadata.is_dir() {
        return Err(fault(&source.name, ErrorKind::Unreadable, "is a folder".to_owned()));
    }
    // The size only saves growing the buffer; what counts is what arrives.
    let bytes = read_bounded(file, metadata.len(), &source.name)?;
    to_text(&source.name, bytes)
}

/// Reads standard input as text; its name is `-`.
///
/// # Errors
/// As [`load`]; also when it is empty.
pub fn read_stdin() -> Result<String, ManifestError> {
    let bytes = read_bounded(io::stdin().lock(), 0, "-")?;
    // Nothing to judge must not look like nothing found.
    if bytes.is_empty() {
        let message = "standard input is empty: what should have written it has probably failed".to_owned();
        return Err(fault("-", ErrorKind::Unreadable, message));
    }
    to_text("-", bytes)
}

fn read_bounded(input: impl Read, expected: u64, name: &str) -> Result<Vec<u8>, ManifestError> {
    let too_large = || {
        let limit = MAX_INPUT / (1024 * 1024);
        fault(name, ErrorKind::TooLarge, format!("larger than {limit} MiB: split it"))
    };
    if expected > MAX_INPUT {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0).saturating_add(1));
    input
        .take(MAX_INPUT + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| fault(name, ErrorKind::Unreadable, format!("cannot be read: {error}")))?;
    if bytes.len() as u64 > MAX_INPUT {
        return Err(too_large());
    }
    Ok(bytes)
}

fn fault(name: &str, kind: ErrorKind, message: String) -> ManifestError {
    Problem::new(Position::START, kind, message).within(name)
}

/// Takes bytes for text, without copying them; the last line ends with a line break, as kubectl's line reader
/// makes it end.
///
/// # Errors
/// When they are binary data, UTF-16 or UTF-32, or no valid UTF-8.
pub fn to_text(name: &str, bytes: Vec<u8>) -> Result<String, ManifestError> {
    if bytes.starts_with(&[0xFF, 0xFE]) || bytes.starts_with(&[0xFE, 0xFF]) || bytes.starts_with(&[0, 0, 0xFE, 0xFF]) {
        let message = "is UTF-16 or UTF-32: save it as UTF-8".to_owned();
        return Err(fault(name, ErrorKind::Encoding, message));
    }
    if bytes.contains(&0) {
        return Err(fault(name, ErrorKind::Encoding, "is binary data, not YAML or JSON".to_owned()));
    }
    let mut text = String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let before = String::from_utf8_lossy(valid);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let position = Position { line: narrow(line), column: narrow(column) };
        Problem::new(position, ErrorKind::Encoding, "not valid UTF-8").within(name)
    })?;
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    Ok(text)
}
