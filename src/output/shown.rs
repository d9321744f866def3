//! Text of others, made safe to be shown.

use std::fmt::{self, Write as _};

/// Shows a text on one line and without what a terminal, a log or XML would obey.
///
/// Rules already show values of manifests in printable ASCII; file names, reasons of exceptions and errors
/// of parsers come here as they are.
#[derive(Clone, Copy)]
pub(crate) struct Shown<'a>(pub(crate) &'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|character| formatter.write_char(harmless(character)))
    }
}

/// The character that is shown for a character.
pub(super) fn harmless(character: char) -> char {
    match character {
        '\n' | '\r' | '\t' => ' ',
        // Invisible ones and those that change the direction can make a line read as another; XML cannot hold
        // the last two, escaped or not.
        '\u{200b}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fffe}'
        | '\u{ffff}' => '?',
        control if control.is_control() => '?',
        other => other,
    }
}

/// A count with its noun: `1 workload`, `2 workloads`.
pub(super) fn count(number: u64, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_neutralised() {
        assert_eq!(Shown("\u{1b}[31mred\u{7}\u{9b}2J\r\n\u{202e}x é").to_string(), "?[31mred??2J  ?x é");
    }
}
