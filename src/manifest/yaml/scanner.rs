//! Characters become tokens, as in libyaml and its Go port, go-yaml v2, which kubectl reads with.
//!
//! No other dialect will do: what kubectl refuses or reads in its own way (a `?` in a flow list, `]` left of its key, a
//! quoted line left of its key) has to be refused or read so here. What makes YAML hard is the *simple key*: only the `:`
//! behind a token tells that it was a key, and then the tokens for it are put in before.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::cursor::{Cursor, Mark};

/// Where and why a text is not YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    pub(super) mark: Mark,
    pub(super) message: String,
}

pub(super) fn fault<T>(mark: Mark, message: impl Into<String>) -> Result<T, Fault> {
    Err(Fault { mark, message: message.into() })
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token<'text> {
    StreamEnd,
    Version,
    TagDirective {
        handle: &'text str,
        prefix: Cow<'text, str>,
    },
    DocumentStart,
    DocumentEnd,
    BlockSequenceStart,
    BlockMappingStart,
    BlockEnd,
    FlowSequenceStart,
    FlowSequenceEnd,
    FlowMappingStart,
    FlowMappingEnd,
    BlockEntry,
    FlowEntry,
    Key,
    Value,
    Alias(&'text str),
    Anchor(&'text str),
    Tag {
        handle: &'text str,
        suffix: Cow<'text, str>,
    },
    /// `offset` is where the value stands in the text as it is, if it does.
    Scalar {
        value: Cow<'text, str>,
        offset: usize,
        plain: bool,
    },
}

#[derive(Debug)]
pub(super) struct Placed<'text> {
    pub(super) token: Token<'text>,
    pub(super) start: Mark,
    pub(super) end: Mark,
}

/// A token that turns out to be a key if a `:` follows soon enough.
#[derive(Debug, Clone, Copy, Default)]
struct SimpleKey {
    possible: bool,
    /// Nothing else can stand here in a block mapping.
    required: bool,
    token_number: usize,
    mark: Mark,
}

/// A key must end within so many bytes, and on its line.
const LONGEST_KEY: usize = 1024;
/// go-yaml's limit; the tree's own is far below.
const DEEPEST: usize = 10_000;

pub(super) struct Scanner<'text> {
    /// The line of the file on which the text begins; only messages need it.
    pub(super) first_line: u32,
    pub(super) cursor: Cursor<'text>,
    tokens: VecDeque<Placed<'text>>,
    tokens_taken: usize,
    ended: bool,
    pub(super) flow_level: usize,
    /// The column of the innermost block collection, -1 outside of all.
    pub(super) indent: i64,
    indents: Vec<i64>,
    pub(super) simple_key_allowed: bool,
    simple_keys: Vec<SimpleKey>,
}

impl<'text> Scanner<'text> {
    pub(super) fn new(text: &'text str, first_line: u32) -> Self {
        Self {
            first_line,
            cursor: Cursor::new(text),
            tokens: VecDeque::with_capacity(8),
            tokens_taken: 0,
            ended: false,
            flow_level: 0,
            indent: -1,
            indents: Vec::new(),
            simple_key_allowed: true,
            simple_keys: vec![SimpleKey::default()],
        }
    }

    /// The next token, left where it is. After the last one it is always [`Token::StreamEnd`].
    pub(super) fn peek(&mut self) -> Result<&Placed<'text>, Fault> {
        while !self.ended && (self.tokens.is_empty() || self.may_become_key()?) {
            self.fetch()?;
        }
        if self.tokens.is_empty() {
            let mark = self.cursor.mark;
            self.tokens.push_back(Placed { token: Token::StreamEnd, start: mark, end: mark });
        }
        match self.tokens.front() {
            Some(token) => Ok(token),
            None => fault(self.cursor.mark, "the text ends too early"),
        }
    }

    /// Takes the next token.
    pub(super) fn take(&mut self) -> Result<Placed<'text>, Fault> {
        self.peek()?;
        self.tokens_taken += 1;
        match self.tokens.pop_front() {
            Some(token) => Ok(token),
            None => fault(self.cursor.mark, "the text ends too early"),
        }
    }

    /// Whether the first token waits for a `:`.
    fn may_become_key(&mut self) -> Result<bool, Fault> {
        let taken = self.tokens_taken;
        match self.simple_keys.iter().rposition(|key| key.possible && key.token_number == taken) {
            Some(number) => self.is_valid(number),
            None => Ok(false),
        }
    }

    fn is_valid(&mut self, number: usize) -> Result<bool, Fault> {
        let here = self.cursor.mark;
        let Some(key) = self.simple_keys.get_mut(number).filter(|key| key.possible) else {
            return Ok(false);
        };
        if key.mark.line < here.line || key.mark.at + LONGEST_KEY < here.at {
            if key.required {
                return fault(here, "expected a \":\" behind a key");
            }
            key.possible = false;
        }
        Ok(key.possible)
    }

    fn save_simple_key(&mut self) -> Result<(), Fault> {
        if self.simple_key_allowed {
            let mark = self.cursor.mark;
            let required = self.flow_level == 0 && self.indent == i64::from(mark.column);
            let token_number = self.tokens_taken + self.tokens.len();
            self.remove_simple_key()?;
            if let Some(last) = self.simple_keys.last_mut() {
                *last = SimpleKey { possible: true, required, token_number, mark };
            }
        }
        Ok(())
    }

    fn remove_simple_key(&mut self) -> Result<(), Fault> {
        let here = self.cursor.mark;
        if let Some(key) = self.simple_keys.last_mut().filter(|key| key.possible) {
            if key.required {
                return fault(here, "expected a \":\" behind a key");
            }
            key.possible = false;
        }
        Ok(())
    }

    fn push(&mut self, token: Token<'text>, start: Mark) {
        self.tokens.push_back(Placed { token, start, end: self.cursor.mark });
    }

    /// Enters a block collection, if this column lies further in; its token goes before token `number`.
    fn roll_indent(&mut self, mark: Mark, number: Option<usize>, token: Token<'text>) -> Result<(), Fault> {
        let column = i64::from(mark.column);
        if self.flow_level > 0 || self.indent >= column {
            return Ok(());
        }
        self.indents.push(self.indent);
        self.indent = column;
        if self.indents.len() > DEEPEST {
            return fault(mark, format!("nested deeper than {DEEPEST} levels"));
        }
        let place = number.map_or(self.tokens.len(), |number| number - self.tokens_taken);
        self.tokens.insert(place, Placed { token, start: mark, end: mark });
        Ok(())
    }

    /// Leaves the block collections that lie further in than this column.
    fn unroll_indent(&mut self, column: i64) {
        if self.flow_level > 0 {
            return;
        }
        while self.indent > column {
            self.push(Token::BlockEnd, self.cursor.mark);
            self.indent = self.indents.pop().unwrap_or(-1);
        }
    }

    fn fetch(&mut self) -> Result<(), Fault> {
        self.skip_to_token();
        self.unroll_indent(i64::from(self.cursor.mark.column));
        if self.cursor.is_end() {
            return self.fetch_end();
        }
        let byte = self.cursor.peek(0);
        if self.cursor.mark.column == 0 && byte == b'%' {
            self.unroll_indent(-1);
            self.remove_simple_key()?;
            self.simple_key_allowed = false;
            let start = self.cursor.mark;
            let token = self.scan_directive()?;
            self.push(token, start);
            return Ok(());
        }
        if self.cursor.is_document_marker() {
            return self.fetch_document_marker(byte);
        }
        let blank_follows = self.cursor.is_blank_or_end(1);
        match byte {
            b'[' => self.fetch_flow_start(Token::FlowSequenceStart),
            b'{' => self.fetch_flow_start(Token::FlowMappingStart),
            b']' => self.fetch_flow_end(Token::FlowSequenceEnd),
            b'}' => self.fetch_flow_end(Token::FlowMappingEnd),
            b',' => {
                self.remove_simple_key()?;
                self.simple_key_allowed = true;
                self.fetch_indicator(Token::FlowEntry);
                Ok(())
            }
            b'-' if blank_follows => self.fetch_block_entry(),
            b'?' if self.flow_level > 0 || blank_follows => self.fetch_key(),
            b':' if self.flow_level > 0 || blank_follows => self.fetch_value(),
            b'*' | b'&' | b'!' | b'\'' | b'"' => {
                self.save_simple_key()?;
                self.simple_key_allowed = false;
                let start = self.cursor.mark;
                let token = match byte {
                    b'*' => Token::Alias(self.scan_anchor()?),
                    b'&' => Token::Anchor(self.scan_anchor()?),
                    b'!' => self.scan_tag()?,
                    _ => self.scan_quoted(byte)?,
                };
                self.push(token, start);
                Ok(())
            }
            b'|' | b'>' if self.flow_level == 0 => {
                self.remove_simple_key()?;
                self.simple_key_allowed = true;
                let start = self.cursor.mark;
                let token = self.scan_block(byte == b'|')?;
                self.push(token, start);
                Ok(())
            }
            b'\t' => fault(self.cursor.mark, "a tab cannot be indentation"),
            b'#' | b'|' | b'>' | b'%' | b'@' | b'`' => {
                fault(self.cursor.mark, format!("no value begins with {:?}: quote it", char::from(byte)))
            }
            _ => {
                self.save_simple_key()?;
                self.simple_key_allowed = false;
                let start = self.cursor.mark;
                let (token, end) = self.scan_plain()?;
                self.tokens.push_back(Placed { token, start, end });
                Ok(())
            }
        }
    }

    fn skip_to_token(&mut self) {
        loop {
            let tabs = self.flow_level > 0 || !self.simple_key_allowed;
            while self.cursor.peek(0) == b' ' || (tabs && self.cursor.peek(0) == b'\t') {
                self.cursor.skip();
            }
            self.cursor.skip_comment();
            if !self.cursor.is_break(0) {
                return;
            }
            self.cursor.skip_line();
            if self.flow_level == 0 {
                self.simple_key_allowed = true;
            }
        }
    }

    fn fetch_indicator(&mut self, token: Token<'text>) {
        let start = self.cursor.mark;
        self.cursor.skip();
        self.push(token, start);
    }

    fn fetch_end(&mut self) -> Result<(), Fault> {
        // As if a line ended here; but places of what is missing stay where the text ends.
        let column = std::mem::take(&mut self.cursor.mark.column);
        if column != 0 {
            self.cursor.mark.line += 1;
        }
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        self.ended = true;
        self.push(Token::StreamEnd, self.cursor.mark);
        Ok(())
    }

    fn fetch_document_marker(&mut self, byte: u8) -> Result<(), Fault> {
        self.unroll_indent(-1);
        self.remove_simple_key()?;
        self.simple_key_allowed = false;
        let start = self.cursor.mark;
        for _ in 0..3 {
            self.cursor.skip();
        }
        self.push(if byte == b'-' { Token::DocumentStart } else { Token::DocumentEnd }, start);
        Ok(())
    }

    fn fetch_flow_start(&mut self, token: Token<'text>) -> Result<(), Fault> {
        self.save_simple_key()?;
        self.simple_keys.push(SimpleKey::default());
        self.flow_level += 1;
        if self.flow_level > DEEPEST {
            return fault(self.cursor.mark, format!("nested deeper than {DEEPEST} levels"));
        }
        self.simple_key_allowed = true;
        self.fetch_indicator(token);
        Ok(())
    }

    fn fetch_flow_end(&mut self, token: Token<'text>) -> Result<(), Fault> {
        self.remove_simple_key()?;
        if self.flow_level > 0 {
            self.flow_level -= 1;
            self.simple_keys.pop();
        }
        self.simple_key_allowed = false;
        self.fetch_indicator(token);
        Ok(())
    }

    fn fetch_block_entry(&mut self) -> Result<(), Fault> {
        let mark = self.cursor.mark;
        if self.flow_level == 0 {
            if !self.simple_key_allowed {
                return fault(mark, "a list item cannot begin here");
            }
            self.roll_indent(mark, None, Token::BlockSequenceStart)?;
        }
        self.remove_simple_key()?;
        self.simple_key_allowed = true;
        self.fetch_indicator(Token::BlockEntry);
        Ok(())
    }

    fn fetch_key(&mut self) -> Result<(), Fault> {
        let mark = self.cursor.mark;
        if self.flow_level == 0 {
            if !self.simple_key_allowed {
                return fault(mark, "a key cannot begin here");
            }
            self.roll_indent(mark, None, Token::BlockMappingStart)?;
        }
        self.remove_simple_key()?;
        self.simple_key_allowed = self.flow_level == 0;
        self.fetch_indicator(Token::Key);
        Ok(())
    }

    fn fetch_value(&mut self) -> Result<(), Fault> {
        let last = self.simple_keys.len().saturating_sub(1);
        if self.is_valid(last)?
            && let Some(key) = self.simple_keys.get_mut(last)
        {
            key.possible = false;
            let key = *key;
            let place = key.token_number - self.tokens_taken;
            self.tokens.insert(place, Placed { token: Token::Key, start: key.mark, end: key.mark });
            self.roll_indent(key.mark, Some(key.token_number), Token::BlockMappingStart)?;
            self.simple_key_allowed = false;
        } else {
            let mark = self.cursor.mark;
            if self.flow_level == 0 {
                if !self.simple_key_allowed {
                    return fault(mark, "a \": \" cannot stand here: quote the text, or check the indentation");
                }
                self.roll_indent(mark, None, Token::BlockMappingStart)?;
            }
            self.simple_key_allowed = self.flow_level == 0;
        }
        self.fetch_indicator(Token::Value);
        Ok(())
    }
}
