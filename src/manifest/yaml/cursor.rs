//! A place in a text that moves forward and knows its line and column.

/// A place: its offset in bytes, and line and column counted from 0, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    pub(super) at: usize,
    pub(super) line: u32,
    pub(super) column: u32,
}

/// Bytes at which a run of plain text may end; all others are passed over in one go.
const STOPS: [bool; 256] = {
    let mut stops = [false; 256];
    let marks = b"\0 \t\r\n:#,?[]{}'\"\\";
    let mut index = 0;
    while index < marks.len() {
        stops[marks[index] as usize] = true;
        index += 1;
    }
    let mut byte = 0x80;
    while byte < 256 {
        stops[byte] = true;
        byte += 1;
    }
    stops
};

/// Reads a text that holds no NUL: beyond the end, [`Cursor::peek`] gives 0.
#[derive(Debug)]
pub(super) struct Cursor<'text> {
    text: &'text str,
    bytes: &'text [u8],
    pub(super) mark: Mark,
}

impl<'text> Cursor<'text> {
    pub(super) fn new(text: &'text str) -> Self {
        Self { text, bytes: text.as_bytes(), mark: Mark::default() }
    }

    /// The byte so many bytes ahead.
    pub(super) fn peek(&self, ahead: usize) -> u8 {
        self.bytes.get(self.mark.at + ahead).copied().unwrap_or(0)
    }

    /// The text from one offset to another.
    pub(super) fn slice(&self, from: usize, to: usize) -> &'text str {
        self.text.get(from..to).unwrap_or_default()
    }

    pub(super) fn is_end(&self) -> bool {
        self.mark.at >= self.bytes.len()
    }

    pub(super) fn is_blank(&self, ahead: usize) -> bool {
        matches!(self.peek(ahead), b' ' | b'\t')
    }

    /// YAML 1.1 also ends lines at U+0085, U+2028 and U+2029.
    pub(super) fn is_break(&self, ahead: usize) -> bool {
        match self.peek(ahead) {
            b'\r' | b'\n' => true,
            0xC2 => self.peek(ahead + 1) == 0x85,
            0xE2 => self.peek(ahead + 1) == 0x80 && matches!(self.peek(ahead + 2), 0xA8 | 0xA9),
            _ => false,
        }
    }

    pub(super) fn is_break_or_end(&self, ahead: usize) -> bool {
        self.is_break(ahead) || self.mark.at + ahead >= self.bytes.len()
    }

    /// A space, a tab, the end of the line or of the text.
    pub(super) fn is_blank_or_end(&self, ahead: usize) -> bool {
        self.is_blank(ahead) || self.is_break_or_end(ahead)
    }

    /// What YAML 1.1 calls alphabetic: what anchors and handles are made of.
    pub(super) fn is_alphabetic(&self) -> bool {
        matches!(self.peek(0), b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'_' | b'-')
    }

    /// `---` or `...` at the beginning of a line.
    pub(super) fn is_document_marker(&self) -> bool {
        self.mark.column == 0
            && matches!((self.peek(0), self.peek(1), self.peek(2)), (b'-', b'-', b'-') | (b'.', b'.', b'.'))
            && self.is_blank_or_end(3)
    }

    /// Passes over one character.
    pub(super) fn skip(&mut self) {
        let width = match self.peek(0) {
            0..0xC0 => 1,
            0xC0..0xE0 => 2,
            0xE0..0xF0 => 3,
            _ => 4,
        };
        self.mark.at = (self.mark.at + width).min(self.bytes.len());
        self.mark.column = self.mark.column.saturating_add(1);
    }

    /// Passes over characters that mean nothing to anybody.
    pub(super) fn skip_run(&mut self) {
        let rest = self.bytes.get(self.mark.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| STOPS[usize::from(*byte)]).unwrap_or(rest.len());
        self.mark.at += length;
        self.mark.column = self.mark.column.saturating_add(u32::try_from(length).unwrap_or(u32::MAX));
    }

    pub(super) fn skip_blanks(&mut self) {
        while self.is_blank(0) {
            self.skip();
        }
    }

    /// Passes over a comment, if there is one, up to the end of the line.
    pub(super) fn skip_comment(&mut self) {
        if self.peek(0) == b'#' {
            while !self.is_break_or_end(0) {
                self.skip();
            }
        }
    }

    /// Passes over the end of a line and says what it counts as.
    pub(super) fn skip_line(&mut self) -> &'static str {
        let (width, means) = match (self.peek(0), self.peek(1), self.peek(2)) {
            (b'\r', b'\n', _) | (0xC2, ..) => (2, "\n"),
            (0xE2, _, 0xA8) => (3, "\u{2028}"),
            (0xE2, ..) => (3, "\u{2029}"),
            _ => (1, "\n"),
        };
        self.mark.at = (self.mark.at + width).min(self.bytes.len());
        self.mark.column = 0;
        self.mark.line = self.mark.line.saturating_add(1);
        means
    }
}
