//! Tells templates that nobody rendered from YAML that is merely wrong.

use super::error::{ErrorKind, Position, Problem};

/// What is said of a template that nobody rendered.
pub const UNRENDERED: &str = "unrendered template: render it first, for example helm template DIR | immutable check -";

/// Where the first `{{ ... }}` stands outside of comments and quotes.
pub(super) fn find(text: &str, first_line: u32) -> Option<Position> {
    let mut line_number = first_line;
    for line in text.split('\n') {
        if let Some(start) = line.find("{{") {
            let before = line.get(..start).unwrap_or_default();
            // In quotes, other programs' templates are values like any other: `"{{ $labels.pod }}"`.
            if !before.contains(['"', '\'', '`']) && !before.trim_start().starts_with('#') {
                let column = u32::try_from(before.chars().count() + 1).unwrap_or(u32::MAX);
                return Some(Position { line: line_number, column });
            }
        }
        line_number = line_number.saturating_add(1);
    }
    None
}

/// The error for a template at this place.
pub(super) fn problem(position: Position) -> Problem {
    Problem::new(position, ErrorKind::Template, UNRENDERED)
}
