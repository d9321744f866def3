//! The three ways to write a scalar: plain, in quotes, in a block. One that is a piece of the text stays that piece.

use std::borrow::Cow;

use super::cursor::Mark;
use super::scanner::{Fault, Scanner, Token, fault};

/// A value that is a piece of the text for as long as it can be.
struct Pieces {
    owned: Option<String>,
    /// Where the piece begins that is not in `owned` yet.
    from: usize,
    start: usize,
}

impl Pieces {
    fn new(start: usize) -> Self {
        Self { owned: None, from: start, start }
    }

    /// Takes the piece that ends here over, so that something else can follow.
    fn own(&mut self, scanner: &Scanner<'_>, to: usize) -> &mut String {
        let owned = self.owned.get_or_insert_default();
        owned.push_str(scanner.cursor.slice(self.from, to));
        owned
    }

    fn finish<'text>(mut self, scanner: &Scanner<'text>, to: usize, plain: bool) -> Token<'text> {
        if self.owned.is_some() {
            let value = std::mem::take(self.own(scanner, to));
            return Token::Scalar { value: Cow::Owned(value), offset: 0, plain };
        }
        Token::Scalar { value: Cow::Borrowed(scanner.cursor.slice(self.start, to)), offset: self.start, plain }
    }
}

/// Line breaks within a scalar: one is a space, of several the first goes.
#[derive(Default)]
struct Breaks {
    first: Option<&'static str>,
    others: String,
}

impl Breaks {
    fn push(&mut self, line_break: &'static str, escaped: bool) {
        if self.first.is_none() && !escaped {
            self.first = Some(line_break);
        } else {
            self.others.push_str(line_break);
        }
    }

    fn fold(&mut self, into: &mut String) {
        match self.first.take() {
            Some("\n") if self.others.is_empty() => into.push(' '),
            Some("\n") | None => into.push_str(&self.others),
            Some(other) => {
                into.push_str(other);
                into.push_str(&self.others);
            }
        }
        self.others.clear();
    }
}

impl<'text> Scanner<'text> {
    /// The scalar and where it ends; the blanks behind it are passed over too.
    pub(super) fn scan_plain(&mut self) -> Result<(Token<'text>, Mark), Fault> {
        let indent = self.indent + 1;
        let mut pieces = Pieces::new(self.cursor.mark.at);
        let mut end = self.cursor.mark;
        let mut breaks = Breaks::default();
        let mut on_new_line = false;
        while !self.cursor.is_document_marker() && self.cursor.peek(0) != b'#' {
            while !self.cursor.is_blank_or_end(0) && !self.ends_plain() {
                if on_new_line {
                    breaks.fold(pieces.own(self, end.at));
                    pieces.from = self.cursor.mark.at;
                    on_new_line = false;
                }
                self.cursor.skip();
                self.cursor.skip_run();
                end = self.cursor.mark;
            }
            if !self.cursor.is_blank(0) && !self.cursor.is_break(0) {
                break;
            }
            loop {
                if self.cursor.is_blank(0) {
                    let outside = i64::from(self.cursor.mark.column) < indent;
                    if on_new_line && outside && self.cursor.peek(0) == b'\t' {
                        return fault(self.cursor.mark, "a tab cannot be indentation");
                    }
                    self.cursor.skip();
                } else if self.cursor.is_break(0) {
                    breaks.push(self.cursor.skip_line(), false);
                    on_new_line = true;
                } else {
                    break;
                }
            }
            if self.flow_level == 0 && i64::from(self.cursor.mark.column) < indent {
                break;
            }
        }
        if on_new_line {
            self.simple_key_allowed = true;
        }
        Ok((pieces.finish(self, end.at, true), end))
    }

    fn ends_plain(&self) -> bool {
        match self.cursor.peek(0) {
            b':' => self.cursor.is_blank_or_end(1),
            b',' | b'?' | b'[' | b']' | b'{' | b'}' => self.flow_level > 0,
            _ => false,
        }
    }

    pub(super) fn scan_quoted(&mut self, quote: u8) -> Result<Token<'text>, Fault> {
        let start = self.cursor.mark;
        self.cursor.skip();
        let mut pieces = Pieces::new(self.cursor.mark.at);
        let mut breaks = Breaks::default();
        loop {
            if self.cursor.is_document_marker() {
                let line = self.first_line.saturating_add(start.line);
                return fault(self.cursor.mark, format!("a document marker in the quoted text from line {line}"));
            }
            if self.cursor.is_end() {
                return fault(start, "the quote that begins here does not end");
            }
            let mut escaped_break = false;
            while !self.cursor.is_blank_or_end(0) {
                let here = self.cursor.mark.at;
                let byte = self.cursor.peek(0);
                if byte == b'\'' && quote == b'\'' && self.cursor.peek(1) == b'\'' {
                    pieces.own(self, here).push('\'');
                    self.cursor.skip();
                    self.cursor.skip();
                    pieces.from = self.cursor.mark.at;
                } else if byte == quote {
                    break;
                } else if quote == b'"' && byte == b'\\' && self.cursor.is_break(1) {
                    pieces.own(self, here);
                    self.cursor.skip();
                    self.cursor.skip_line();
                    pieces.from = self.cursor.mark.at;
                    escaped_break = true;
                    break;
                } else if quote == b'"' && byte == b'\\' {
                    let character = self.scan_escape()?;
                    pieces.own(self, here).push(character);
                    pieces.from = self.cursor.mark.at;
                } else {
                    self.cursor.skip();
                    self.cursor.skip_run();
                }
            }
            if self.cursor.peek(0) == quote {
                break;
            }
            let blanks = self.cursor.mark.at;
            let mut on_new_line = escaped_break;
            loop {
                if self.cursor.is_blank(0) {
                    self.cursor.skip();
                } else if self.cursor.is_break(0) {
                    breaks.push(self.cursor.skip_line(), escaped_break);
                    on_new_line = true;
                } else {
                    break;
                }
            }
            if on_new_line {
                if escaped_break {
                    pieces.owned.get_or_insert_default();
                    breaks.fold(pieces.owned.get_or_insert_default());
                } else {
                    breaks.fold(pieces.own(self, blanks));
                }
                pieces.from = self.cursor.mark.at;
            }
        }
        let token = pieces.finish(self, self.cursor.mark.at, false);
        self.cursor.skip();
        Ok(token)
    }

    fn scan_escape(&mut self) -> Result<char, Fault> {
        let mark = self.cursor.mark;
        let mut digits = 0;
        let character = match self.cursor.peek(1) {
            b'0' => '\0',
            b'a' => '\x07',
            b'b' => '\x08',
            b't' | b'\t' => '\t',
            b'n' => '\n',
            b'v' => '\x0B',
            b'f' => '\x0C',
            b'r' => '\r',
            b'e' => '\x1B',
            byte @ (b' ' | b'"' | b'\'' | b'\\') => char::from(byte),
            b'N' => '\u{85}',
            b'_' => '\u{A0}',
            b'L' => '\u{2028}',
            b'P' => '\u{2029}',
            b'x' => {
                digits = 2;
                '\0'
            }
            b'u' => {
                digits = 4;
                '\0'
            }
            b'U' => {
                digits = 8;
                '\0'
            }
            // kubectl's reader knows no `\/` either.
            _ => {
                return fault(
                    mark,
                    "no such escape in double quotes: write \\\\ for a backslash, or use single quotes",
                );
            }
        };
        self.cursor.skip();
        self.cursor.skip();
        if digits == 0 {
            return Ok(character);
        }
        let mut code = 0_u32;
        for _ in 0..digits {
            let Some(digit) = char::from(self.cursor.peek(0)).to_digit(16) else {
                return fault(self.cursor.mark, format!("expected {digits} hexadecimal digits"));
            };
            code = code.wrapping_mul(16).wrapping_add(digit);
            self.cursor.skip();
        }
        match char::from_u32(code) {
            Some(character) => Ok(character),
            None => fault(mark, "no such Unicode character"),
        }
    }

    pub(super) fn scan_block(&mut self, literal: bool) -> Result<Token<'text>, Fault> {
        self.cursor.skip();
        let (keep, strip, increment) = self.scan_block_header()?;
        self.cursor.skip_blanks();
        self.cursor.skip_comment();
        if !self.cursor.is_break_or_end(0) {
            return fault(self.cursor.mark, "expected a comment or the end of the line behind | or >");
        }
        if self.cursor.is_break(0) {
            self.cursor.skip_line();
        }
        let mut indent = if increment > 0 { self.indent.max(0) + increment } else { 0 };
        let mut value = String::new();
        let mut line_break = "";
        let mut others = String::new();
        let mut after_blank = false;
        self.scan_block_breaks(&mut indent, &mut others)?;
        while i64::from(self.cursor.mark.column) == indent && !self.cursor.is_end() {
            let blank = self.cursor.is_blank(0);
            if !literal && !after_blank && !blank && line_break == "\n" {
                if others.is_empty() {
                    value.push(' ');
                }
            } else {
                value.push_str(line_break);
            }
            value.push_str(&others);
            others.clear();
            after_blank = blank;
            let start = self.cursor.mark.at;
            while !self.cursor.is_break_or_end(0) {
                self.cursor.skip();
                self.cursor.skip_run();
            }
            value.push_str(self.cursor.slice(start, self.cursor.mark.at));
            // The text may end without a line break, and then the value does.
            line_break = if self.cursor.is_break(0) { self.cursor.skip_line() } else { "" };
            self.scan_block_breaks(&mut indent, &mut others)?;
        }
        if !strip {
            value.push_str(line_break);
        }
        if keep {
            value.push_str(&others);
        }
        Ok(Token::Scalar { value: Cow::Owned(value), offset: 0, plain: false })
    }

    /// What stands behind `|` or `>`: keep or strip the last line breaks, and how far the text is indented.
    fn scan_block_header(&mut self) -> Result<(bool, bool, i64), Fault> {
        let (mut keep, mut strip, mut increment) = (false, false, 0);
        for _ in 0..2 {
            match self.cursor.peek(0) {
                b'0' if increment == 0 => {
                    return fault(self.cursor.mark, "an indentation of 0 is none");
                }
                byte @ b'1'..=b'9' if increment == 0 => increment = i64::from(byte - b'0'),
                b'+' if !keep && !strip => keep = true,
                b'-' if !keep && !strip => strip = true,
                _ => break,
            }
            self.cursor.skip();
        }
        Ok((keep, strip, increment))
    }

    /// Empty lines; finds the indentation out where it is not known yet.
    fn scan_block_breaks(&mut self, indent: &mut i64, breaks: &mut String) -> Result<(), Fault> {
        let mut widest = 0;
        loop {
            while (*indent == 0 || i64::from(self.cursor.mark.column) < *indent) && self.cursor.peek(0) == b' ' {
                self.cursor.skip();
            }
            let column = i64::from(self.cursor.mark.column);
            widest = widest.max(column);
            if (*indent == 0 || column < *indent) && self.cursor.peek(0) == b'\t' {
                return fault(self.cursor.mark, "a tab cannot be indentation");
            }
            if !self.cursor.is_break(0) {
                break;
            }
            breaks.push_str(self.cursor.skip_line());
        }
        if *indent == 0 {
            *indent = widest.max(self.indent + 1).max(1);
        }
        Ok(())
    }
}
