//! Splits a text at document markers, so that a fault in one document costs no other and documents are read in parallel.
//!
//! As in kubectl, a line that begins with `---` is a marker wherever it stands, and nothing but a comment may follow it.

use super::error::{ErrorKind, Position, Problem, quoted};

/// The text between two markers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment<'text> {
    pub(super) text: &'text str,
    /// The line of the file on which `text` begins.
    pub(super) line: u32,
    /// The marker before it is none that kubectl takes.
    pub(super) fault: Option<Problem>,
}

/// All segments in the order of the text.
pub(super) fn segments(text: &str) -> Vec<Segment<'_>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut segments = Vec::new();
    let (mut start, mut line, mut fault) = (0, 1_u32, None);
    // Directives belong to the document behind the marker, which is then part of its text.
    let mut searched = 0;
    while let Some(marker) = next_marker(text, searched) {
        let rest = text.get(marker..).unwrap_or_default();
        let length = rest.find('\n').map_or(rest.len(), |end| end + 1);
        let before = text.get(start..marker).unwrap_or_default();
        let after = rest.get(3..length).unwrap_or_default().trim();
        searched = marker + length;
        let valid = after.is_empty() || after.starts_with('#');
        if fault.is_none() && valid && is_directives(before) {
            continue;
        }
        segments.push(Segment { text: before, line, fault: fault.take() });
        line = line.saturating_add(lines(before));
        if !valid {
            let position = Position { line, column: 4 };
            let message = format!("kubectl reads nothing but a comment after ---, found {}", quoted(after));
            fault = Some(Problem::new(position, ErrorKind::Syntax, message));
        }
        line = line.saturating_add(1);
        start = searched;
    }
    segments.push(Segment { text: text.get(start..).unwrap_or_default(), line, fault });
    segments
}

fn next_marker(text: &str, from: usize) -> Option<usize> {
    let rest = text.get(from..)?;
    if rest.starts_with("---") {
        return Some(from);
    }
    rest.find("\n---").map(|found| from + found + 1)
}

fn lines(text: &str) -> u32 {
    u32::try_from(text.bytes().filter(|byte| *byte == b'\n').count()).unwrap_or(u32::MAX)
}

/// Whether it holds directives (`%YAML 1.1`) and nothing else but comments.
fn is_directives(text: &str) -> bool {
    let mut directives = false;
    for line in text.lines() {
        if line.starts_with('%') {
            directives = true;
        } else if !line.trim().is_empty() && !line.trim_start().starts_with('#') {
            return false;
        }
    }
    directives
}
