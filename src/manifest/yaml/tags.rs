//! Anchors, tags and directives.

use std::borrow::Cow;

use super::scanner::{Fault, Scanner, Token, fault};

impl<'text> Scanner<'text> {
    /// The name behind `&` or `*`.
    pub(super) fn scan_anchor(&mut self) -> Result<&'text str, Fault> {
        let mark = self.cursor.mark;
        self.cursor.skip();
        let name = self.alphabetic();
        let ends = self.cursor.is_blank_or_end(0)
            || matches!(self.cursor.peek(0), b'?' | b':' | b',' | b']' | b'}' | b'%' | b'@' | b'`');
        if name.is_empty() || !ends {
            return fault(
                mark,
                "a name of letters, digits, - and _ has to follow & or *; quote the text if it is meant as such",
            );
        }
        Ok(name)
    }

    fn alphabetic(&mut self) -> &'text str {
        let start = self.cursor.mark.at;
        while self.cursor.is_alphabetic() {
            self.cursor.skip();
        }
        self.cursor.slice(start, self.cursor.mark.at)
    }

    pub(super) fn scan_tag(&mut self) -> Result<Token<'text>, Fault> {
        let start = self.cursor.mark;
        let (handle, suffix) = if self.cursor.peek(1) == b'<' {
            self.cursor.skip();
            self.cursor.skip();
            let suffix = self.scan_uri("")?;
            if self.cursor.peek(0) != b'>' {
                return fault(self.cursor.mark, "expected the > of a tag");
            }
            self.cursor.skip();
            ("", suffix)
        } else {
            let handle = self.scan_handle();
            if handle.len() > 1 && handle.ends_with('!') {
                (handle, self.scan_uri("")?)
            } else {
                let suffix = self.scan_uri(handle)?;
                // A mere `!` is a tag of its own.
                if suffix.is_empty() { ("", Cow::Borrowed("!")) } else { ("!", suffix) }
            }
        };
        if !self.cursor.is_blank_or_end(0) {
            return fault(start, "expected a blank behind a tag; quote the text if no tag is meant");
        }
        Ok(Token::Tag { handle, suffix })
    }

    /// `!`, `!!` or `!name!`; without the last `!`, the beginning of a suffix.
    fn scan_handle(&mut self) -> &'text str {
        let start = self.cursor.mark.at;
        self.cursor.skip();
        self.alphabetic();
        if self.cursor.peek(0) == b'!' {
            self.cursor.skip();
        }
        self.cursor.slice(start, self.cursor.mark.at)
    }

    /// The rest of a tag; `head` is a handle that was none, of which the `!` does not count.
    fn scan_uri(&mut self, head: &'text str) -> Result<Cow<'text, str>, Fault> {
        let mark = self.cursor.mark;
        let mut bytes = head.as_bytes().get(1..).unwrap_or_default().to_vec();
        let mut any = !head.is_empty();
        loop {
            match self.cursor.peek(0) {
                b'%' => {
                    let octet = [self.cursor.peek(1), self.cursor.peek(2)]
                        .iter()
                        .try_fold(0_u32, |octet, digit| Some(octet << 4 | char::from(*digit).to_digit(16)?));
                    let Some(octet) = octet.and_then(|octet| u8::try_from(octet).ok()) else {
                        return fault(self.cursor.mark, "expected two hexadecimal digits behind the % of a tag");
                    };
                    bytes.push(octet);
                    for _ in 0..3 {
                        self.cursor.skip();
                    }
                }
                byte if self.cursor.is_alphabetic() || b";/?:@&=+$,.!~*'()[]".contains(&byte) => {
                    bytes.push(byte);
                    self.cursor.skip();
                }
                _ => break,
            }
            any = true;
        }
        if !any {
            return fault(mark, "expected the name of a tag");
        }
        match String::from_utf8(bytes) {
            Ok(uri) => Ok(Cow::Owned(uri)),
            Err(_) => fault(mark, "the escapes of a tag are no valid UTF-8"),
        }
    }

    /// `%YAML 1.1` or `%TAG !e! tag:example.com,2000:`.
    pub(super) fn scan_directive(&mut self) -> Result<Token<'text>, Fault> {
        let start = self.cursor.mark;
        self.cursor.skip();
        let name = self.alphabetic();
        if !self.cursor.is_blank_or_end(0) {
            return fault(start, "no such directive");
        }
        self.cursor.skip_blanks();
        let token = match name {
            "YAML" => {
                let major = self.number();
                let dot = self.cursor.peek(0) == b'.';
                self.cursor.skip();
                if major != "1" || !dot || self.number().is_empty() {
                    return fault(start, "only YAML 1 can be read");
                }
                Token::Version
            }
            "TAG" => {
                let handle = if self.cursor.peek(0) == b'!' { self.scan_handle() } else { "" };
                if !handle.ends_with('!') || !self.cursor.is_blank(0) {
                    return fault(start, "expected a handle such as !e! behind %TAG");
                }
                self.cursor.skip_blanks();
                Token::TagDirective { handle, prefix: self.scan_uri("")? }
            }
            _ => return fault(start, "no such directive"),
        };
        self.cursor.skip_blanks();
        self.cursor.skip_comment();
        if !self.cursor.is_break_or_end(0) {
            return fault(self.cursor.mark, "expected a comment or the end of the line behind a directive");
        }
        if self.cursor.is_break(0) {
            self.cursor.skip_line();
        }
        Ok(token)
    }

    fn number(&mut self) -> &'text str {
        let start = self.cursor.mark.at;
        while self.cursor.peek(0).is_ascii_digit() && self.cursor.mark.at < start + 2 {
            self.cursor.skip();
        }
        self.cursor.slice(start, self.cursor.mark.at)
    }
}
