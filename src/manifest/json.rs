//! JSON: one value after the other, with line and column.

use super::build::Builder;
use super::error::{ErrorKind, Position, Problem, quoted};
use super::scalar::Scalar;
use super::tree::Tree;

/// Reads all values of a text whose first line is `first_line` of its file. What comes after a fault is lost.
pub(super) fn read(text: &str, first_line: u32) -> (Vec<Tree<'_>>, Option<Problem>) {
    let mut reader = Reader { text, at: 0, known: 0, position: Position { line: first_line, column: 1 } };
    let mut trees = Vec::new();
    loop {
        reader.skip_space();
        if reader.peek().is_none() {
            return (trees, None);
        }
        let mut builder = Builder::new(text);
        match reader.document(&mut builder) {
            Ok(()) => trees.extend(builder.finish()),
            Err(problem) => return (trees, Some(problem)),
        }
    }
}

struct Reader<'text> {
    text: &'text str,
    at: usize,
    /// `position` is that of this offset.
    known: usize,
    position: Position,
}

impl<'text> Reader<'text> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Line and column of an offset; asked for in the order of the text.
    fn position(&mut self, offset: usize) -> Position {
        let passed = self.text.get(self.known..offset).unwrap_or_default();
        for byte in passed.bytes() {
            match byte {
                b'\n' => {
                    self.position.line = self.position.line.saturating_add(1);
                    self.position.column = 1;
                }
                // The later bytes of a character take no column.
                0x80..=0xBF => {}
                _ => self.position.column = self.position.column.saturating_add(1),
            }
        }
        self.known = self.known.max(offset);
        self.position
    }

    fn fault(&mut self, message: &str) -> Problem {
        let position = self.position(self.at.max(self.known));
        let message = match self.text.get(self.at..).and_then(|rest| rest.chars().next()) {
            Some(found) => format!("not valid JSON: {message}, found {}", quoted(&found.to_string())),
            None => format!("not valid JSON: {message}, but the text ends here"),
        };
        Problem::new(position, ErrorKind::Syntax, message)
    }

    /// One value, without recursion: what is open stands in `open`, true for a mapping.
    fn document(&mut self, builder: &mut Builder<'text>) -> Result<(), Problem> {
        let mut open: Vec<bool> = Vec::new();
        loop {
            self.skip_space();
            let start = self.at;
            match self.peek() {
                Some(byte @ (b'{' | b'[')) => {
                    let mapping = byte == b'{';
                    let place = self.position(start);
                    self.at += 1;
                    self.skip_space();
                    builder.open(place, mapping, None)?;
                    open.push(mapping);
                    if self.peek() != Some(if mapping { b'}' } else { b']' }) {
                        if mapping {
                            self.key(builder)?;
                        }
                        continue;
                    }
                }
                Some(b'"') => self.string(builder)?,
                Some(b'-' | b'0'..=b'9') => self.number(builder)?,
                Some(b't') => self.word(builder, "true", &Scalar::Bool(true))?,
                Some(b'f') => self.word(builder, "false", &Scalar::Bool(false))?,
                Some(b'n') => self.word(builder, "null", &Scalar::Null)?,
                _ => return Err(self.fault("expected a value")),
            }
            // A value has ended; so may what holds it.
            loop {
                let Some(mapping) = open.last().copied() else {
                    return Ok(());
                };
                self.skip_space();
                match (self.peek(), mapping) {
                    (Some(b','), false) => {
                        self.at += 1;
                        break;
                    }
                    (Some(b','), true) => {
                        self.at += 1;
                        self.skip_space();
                        self.key(builder)?;
                        break;
                    }
                    (Some(b'}'), true) | (Some(b']'), false) => {
                        self.at += 1;
                        open.pop();
                        builder.close()?;
                    }
                    (_, true) => return Err(self.fault("expected \",\" or \"}\"")),
                    (_, false) => return Err(self.fault("expected \",\" or \"]\"")),
                }
            }
        }
    }

    fn key(&mut self, builder: &mut Builder<'text>) -> Result<(), Problem> {
        if self.peek() != Some(b'"') {
            return Err(self.fault("expected a key in double quotes"));
        }
        self.string(builder)?;
        self.skip_space();
        if self.peek() != Some(b':') {
            return Err(self.fault("expected \":\""));
        }
        self.at += 1;
        Ok(())
    }

    fn word(&mut self, builder: &mut Builder<'text>, word: &str, scalar: &Scalar) -> Result<(), Problem> {
        if !self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(self.fault("expected a value"));
        }
        let place = self.position(self.at);
        self.at += word.len();
        builder.scalar(place, scalar, "", None, None)
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self, builder: &mut Builder<'text>) -> Result<(), Problem> {
        let start = self.at;
        let mut whole = true;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else if self.digits() == 0 {
            return Err(self.fault("expected a digit"));
        }
        if self.peek() == Some(b'.') {
            whole = false;
            self.at += 1;
            if self.digits() == 0 {
                return Err(self.fault("expected a digit"));
            }
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            whole = false;
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            if self.digits() == 0 {
                return Err(self.fault("expected a digit"));
            }
        }
        let text = self.text.get(start..self.at).unwrap_or_default();
        let place = self.position(start);
        let scalar = if whole && let Ok(integer) = text.parse::<i64>() {
            Scalar::Integer(integer)
        } else if whole && let Ok(integer) = text.parse::<u64>() {
            Scalar::Unsigned(integer)
        } else {
            match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Scalar::Float(value),
                _ => {
                    let message = format!("the number {} is too large", quoted(text));
                    return Err(Problem::new(place, ErrorKind::Value, message));
                }
            }
        };
        builder.scalar(place, &scalar, "", None, None)
    }

    fn string(&mut self, builder: &mut Builder<'text>) -> Result<(), Problem> {
        let place = self.position(self.at);
        self.at += 1;
        let start = self.at;
        let mut owned: Option<String> = None;
        let mut copied = start;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    let owned = owned.get_or_insert_default();
                    owned.push_str(self.text.get(copied..self.at).unwrap_or_default());
                    self.at += 1;
                    owned.push(self.escape()?);
                    copied = self.at;
                }
                Some(0x20..) => self.at += 1,
                _ => return Err(self.fault("expected the rest of a string")),
            }
        }
        let rest = self.text.get(copied..self.at).unwrap_or_default();
        self.at += 1;
        match owned {
            Some(mut owned) => {
                owned.push_str(rest);
                builder.scalar(place, &Scalar::Text, &owned, None, None)
            }
            None => builder.scalar(place, &Scalar::Text, rest, Some(start), None),
        }
    }

    fn escape(&mut self) -> Result<char, Problem> {
        let Some(byte) = self.peek() else {
            return Err(self.fault("expected the rest of a string"));
        };
        let character = match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                self.at += 1;
                return self.unicode();
            }
            _ => return Err(self.fault("expected one of \"\\/bfnrtu after \\")),
        };
        self.at += 1;
        Ok(character)
    }

    fn unicode(&mut self) -> Result<char, Problem> {
        let first = self.hexadecimal()?;
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        if (0xD800..0xDC00).contains(&first) && rest.starts_with(b"\\u") {
            let back = self.at;
            self.at += 2;
            let second = self.hexadecimal()?;
            if (0xDC00..0xE000).contains(&second) {
                let code = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
                return Ok(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            self.at = back;
        }
        // Half a pair is no character; kubectl's reader puts this in its place.
        Ok(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    fn hexadecimal(&mut self) -> Result<u32, Problem> {
        let mut code = 0;
        for _ in 0..4 {
            let Some(digit) = self.peek().and_then(|byte| char::from(byte).to_digit(16)) else {
                return Err(self.fault("expected four hexadecimal digits"));
            };
            code = code << 4 | digit;
            self.at += 1;
        }
        Ok(code)
    }
}
