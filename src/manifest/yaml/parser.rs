//! Tokens become events: the grammar of YAML, as a machine with a stack, so that no nesting reaches the call stack.

use std::borrow::Cow;

use super::cursor::Mark;
use super::scanner::{Fault, Placed, Scanner, Token, fault};

/// What comes next in a document.
#[derive(Debug)]
pub(super) enum Event<'text> {
    StreamEnd,
    DocumentStart,
    DocumentEnd,
    Alias(&'text str),
    Scalar(ScalarEvent<'text>),
    SequenceStart { anchor: Option<&'text str> },
    SequenceEnd,
    MappingStart { anchor: Option<&'text str> },
    MappingEnd,
}

#[derive(Debug)]
pub(super) struct ScalarEvent<'text> {
    pub(super) value: Cow<'text, str>,
    /// Where the value stands in the text, if it is borrowed from it.
    pub(super) offset: usize,
    /// Without quotes: it may be a number or a boolean.
    pub(super) plain: bool,
    pub(super) tag: Option<Cow<'text, str>>,
    pub(super) anchor: Option<&'text str>,
}

#[derive(Debug, Clone, Copy)]
enum State {
    ImplicitDocumentStart,
    DocumentStart,
    DocumentContent,
    DocumentEnd,
    BlockNode,
    BlockSequenceEntry { first: bool },
    IndentlessSequenceEntry,
    BlockMappingKey { first: bool },
    BlockMappingValue,
    FlowSequenceEntry { first: bool },
    FlowPairKey,
    FlowPairValue,
    FlowPairEnd,
    FlowMappingKey { first: bool },
    FlowMappingValue,
    FlowMappingEmptyValue,
    End,
}

pub(super) struct Parser<'text> {
    scanner: Scanner<'text>,
    state: State,
    states: Vec<State>,
    /// Where the collections begin that are open.
    marks: Vec<Mark>,
    tag_directives: Vec<(&'text str, Cow<'text, str>)>,
}

type Next<'text> = Result<(Event<'text>, Mark), Fault>;

impl<'text> Parser<'text> {
    pub(super) fn new(text: &'text str, first_line: u32) -> Self {
        Self {
            scanner: Scanner::new(text, first_line),
            state: State::ImplicitDocumentStart,
            states: Vec::new(),
            marks: Vec::new(),
            tag_directives: Vec::new(),
        }
    }

    /// The next event and where it begins. After the last one it is always [`Event::StreamEnd`].
    pub(super) fn next(&mut self) -> Next<'text> {
        match self.state {
            State::ImplicitDocumentStart => self.document_start(true),
            State::DocumentStart => self.document_start(false),
            State::DocumentContent => self.document_content(),
            State::DocumentEnd => self.document_end(),
            State::BlockNode => self.node(true, false),
            State::BlockSequenceEntry { first } => self.block_sequence_entry(first),
            State::IndentlessSequenceEntry => self.indentless_sequence_entry(),
            State::BlockMappingKey { first } => self.block_mapping_key(first),
            State::BlockMappingValue => self.block_mapping_value(),
            State::FlowSequenceEntry { first } => self.flow_sequence_entry(first),
            State::FlowPairKey => self.flow_pair_key(),
            State::FlowPairValue => self.flow_pair_value(),
            State::FlowPairEnd => {
                self.state = State::FlowSequenceEntry { first: false };
                Ok((Event::MappingEnd, self.scanner.peek()?.start))
            }
            State::FlowMappingKey { first } => self.flow_mapping_key(first),
            State::FlowMappingValue => self.flow_mapping_value(false),
            State::FlowMappingEmptyValue => self.flow_mapping_value(true),
            State::End => Ok((Event::StreamEnd, self.scanner.peek()?.start)),
        }
    }

    fn pop_state(&mut self) {
        self.state = self.states.pop().unwrap_or(State::End);
    }

    #[allow(clippy::unnecessary_wraps)] // always the last step of a state
    fn empty(mark: Mark) -> Next<'text> {
        let value = Cow::Borrowed("");
        Ok((Event::Scalar(ScalarEvent { value, offset: mark.at, plain: true, tag: None, anchor: None }), mark))
    }

    /// Takes the token that opens a collection.
    fn enter(&mut self) -> Result<(), Fault> {
        let opening = self.scanner.take()?;
        self.marks.push(opening.start);
        Ok(())
    }

    /// Takes the token that closes a collection.
    fn leave(&mut self, event: Event<'text>) -> Next<'text> {
        self.pop_state();
        self.marks.pop();
        let closing = self.scanner.take()?;
        Ok((event, closing.start))
    }

    fn document_start(&mut self, implicit: bool) -> Next<'text> {
        if !implicit {
            while self.scanner.peek()?.token == Token::DocumentEnd {
                self.scanner.take()?;
            }
        }
        let next = self.scanner.peek()?;
        let mark = next.start;
        match next.token {
            Token::StreamEnd => {
                self.state = State::End;
                return Ok((Event::StreamEnd, mark));
            }
            Token::Version | Token::TagDirective { .. } | Token::DocumentStart => {}
            _ if implicit => {
                self.states.push(State::DocumentEnd);
                self.state = State::BlockNode;
                return Ok((Event::DocumentStart, mark));
            }
            _ => {}
        }
        self.directives()?;
        let next = self.scanner.take()?;
        if next.token != Token::DocumentStart {
            return fault(
                next.start,
                "this belongs to nothing before it: check the indentation, or write --- before it",
            );
        }
        self.states.push(State::DocumentEnd);
        self.state = State::DocumentContent;
        Ok((Event::DocumentStart, mark))
    }

    fn directives(&mut self) -> Result<(), Fault> {
        let mut version = false;
        loop {
            let next = self.scanner.peek()?;
            let mark = next.start;
            match &next.token {
                Token::Version if version => return fault(mark, "a second %YAML"),
                Token::Version => version = true,
                Token::TagDirective { handle, prefix } => {
                    let directive = (*handle, prefix.clone());
                    if self.tag_directives.iter().any(|(known, _)| *known == directive.0) {
                        return fault(mark, "a second %TAG for this handle");
                    }
                    self.tag_directives.push(directive);
                }
                _ => return Ok(()),
            }
            self.scanner.take()?;
        }
    }

    fn document_content(&mut self) -> Next<'text> {
        let next = self.scanner.peek()?;
        match next.token {
            Token::Version
            | Token::TagDirective { .. }
            | Token::DocumentStart
            | Token::DocumentEnd
            | Token::StreamEnd => {
                let mark = next.start;
                self.pop_state();
                Self::empty(mark)
            }
            _ => self.node(true, false),
        }
    }

    fn document_end(&mut self) -> Next<'text> {
        let next = self.scanner.peek()?;
        let mark = next.start;
        if next.token == Token::DocumentEnd {
            self.scanner.take()?;
        }
        self.tag_directives.clear();
        self.state = State::DocumentStart;
        Ok((Event::DocumentEnd, mark))
    }

    fn node(&mut self, block: bool, indentless: bool) -> Next<'text> {
        let mut start = None;
        let (mut anchor, mut tag) = (None, None);
        loop {
            let next = self.scanner.peek()?;
            match &next.token {
                Token::Alias(_) if start.is_none() => {
                    let Placed { token, start, .. } = self.scanner.take()?;
                    self.pop_state();
                    return match token {
                        Token::Alias(name) => Ok((Event::Alias(name), start)),
                        _ => fault(start, "expected an alias"),
                    };
                }
                Token::Anchor(name) if anchor.is_none() => {
                    anchor = Some(*name);
                    start.get_or_insert(next.start);
                }
                Token::Tag { handle, suffix } if tag.is_none() => {
                    let mark = next.start;
                    start.get_or_insert(mark);
                    let (handle, suffix) = (*handle, suffix.clone());
                    tag = Some(self.resolve_tag(handle, suffix, mark)?);
                }
                _ => break,
            }
            self.scanner.take()?;
        }
        // An empty tag is none.
        let tag = tag.filter(|tag| !tag.is_empty());
        self.node_content(block, indentless, start, anchor, tag)
    }

    fn resolve_tag(&self, handle: &str, suffix: Cow<'text, str>, mark: Mark) -> Result<Cow<'text, str>, Fault> {
        if handle.is_empty() {
            return Ok(suffix);
        }
        let prefix = match self.tag_directives.iter().find(|(known, _)| *known == handle) {
            Some((_, prefix)) => prefix.as_ref(),
            None if handle == "!" => "!",
            None if handle == "!!" => "tag:yaml.org,2002:",
            None => return fault(mark, "a tag whose handle no %TAG declares"),
        };
        Ok(Cow::Owned(format!("{prefix}{suffix}")))
    }

    fn node_content(
        &mut self,
        block: bool,
        indentless: bool,
        start: Option<Mark>,
        anchor: Option<&'text str>,
        tag: Option<Cow<'text, str>>,
    ) -> Next<'text> {
        let next = self.scanner.peek()?;
        let mark = start.unwrap_or(next.start);
        let (state, event) = match next.token {
            Token::BlockEntry if indentless => (State::IndentlessSequenceEntry, Event::SequenceStart { anchor }),
            Token::Scalar { .. } => {
                let Placed { token, start, .. } = self.scanner.take()?;
                self.pop_state();
                let Token::Scalar { value, offset, plain } = token else {
                    return fault(start, "expected a scalar");
                };
                // A mere `!` says: read it as if it were a string or not, by its looks; kubectl takes a string.
                return Ok((Event::Scalar(ScalarEvent { value, offset, plain, tag, anchor }), mark));
            }
            Token::FlowSequenceStart => (State::FlowSequenceEntry { first: true }, Event::SequenceStart { anchor }),
            Token::FlowMappingStart => (State::FlowMappingKey { first: true }, Event::MappingStart { anchor }),
            Token::BlockSequenceStart if block => {
                (State::BlockSequenceEntry { first: true }, Event::SequenceStart { anchor })
            }
            Token::BlockMappingStart if block => {
                (State::BlockMappingKey { first: true }, Event::MappingStart { anchor })
            }
            _ if anchor.is_some() || tag.is_some() => {
                self.pop_state();
                let value = Cow::Borrowed("");
                let scalar = ScalarEvent { value, offset: mark.at, plain: tag.is_none(), tag, anchor };
                return Ok((Event::Scalar(scalar), mark));
            }
            _ => return fault(next.start, "expected a value"),
        };
        self.state = state;
        Ok((event, mark))
    }

    fn block_sequence_entry(&mut self, first: bool) -> Next<'text> {
        if first {
            self.enter()?;
        }
        let next = self.scanner.peek()?;
        match next.token {
            Token::BlockEntry => {
                let end = self.scanner.take()?.end;
                if matches!(self.scanner.peek()?.token, Token::BlockEntry | Token::BlockEnd) {
                    self.state = State::BlockSequenceEntry { first: false };
                    return Self::empty(end);
                }
                self.states.push(State::BlockSequenceEntry { first: false });
                self.node(true, false)
            }
            Token::BlockEnd => self.leave(Event::SequenceEnd),
            _ => {
                let mark = next.start;
                fault(mark, format!("expected a \"-\" as in the list from line {}", self.line_of_collection()))
            }
        }
    }

    /// The line of the file on which the innermost open collection begins.
    fn line_of_collection(&self) -> u32 {
        let line = self.marks.last().map_or(0, |mark| mark.line);
        self.scanner.first_line.saturating_add(line)
    }

    fn indentless_sequence_entry(&mut self) -> Next<'text> {
        let next = self.scanner.peek()?;
        let mark = next.start;
        if next.token != Token::BlockEntry {
            self.pop_state();
            return Ok((Event::SequenceEnd, mark));
        }
        let end = self.scanner.take()?.end;
        if matches!(self.scanner.peek()?.token, Token::BlockEntry | Token::Key | Token::Value | Token::BlockEnd) {
            self.state = State::IndentlessSequenceEntry;
            return Self::empty(end);
        }
        self.states.push(State::IndentlessSequenceEntry);
        self.node(true, false)
    }

    fn block_mapping_key(&mut self, first: bool) -> Next<'text> {
        if first {
            self.enter()?;
        }
        let next = self.scanner.peek()?;
        match next.token {
            Token::Key => {
                let end = self.scanner.take()?.end;
                if matches!(self.scanner.peek()?.token, Token::Key | Token::Value | Token::BlockEnd) {
                    self.state = State::BlockMappingValue;
                    return Self::empty(end);
                }
                self.states.push(State::BlockMappingValue);
                self.node(true, true)
            }
            Token::BlockEnd => self.leave(Event::MappingEnd),
            _ => {
                let mark = next.start;
                fault(mark, format!("expected a key of the mapping from line {}", self.line_of_collection()))
            }
        }
    }

    fn block_mapping_value(&mut self) -> Next<'text> {
        let next = self.scanner.peek()?;
        let mark = next.start;
        if next.token == Token::Value {
            let end = self.scanner.take()?.end;
            if !matches!(self.scanner.peek()?.token, Token::Key | Token::Value | Token::BlockEnd) {
                self.states.push(State::BlockMappingKey { first: false });
                return self.node(true, true);
            }
            self.state = State::BlockMappingKey { first: false };
            return Self::empty(end);
        }
        self.state = State::BlockMappingKey { first: false };
        Self::empty(mark)
    }

    /// Passes over the comma between two items.
    fn flow_separator(&mut self, closing: char) -> Result<(), Fault> {
        let next = self.scanner.peek()?;
        if next.token == Token::FlowEntry {
            self.scanner.take()?;
            return Ok(());
        }
        let mark = next.start;
        fault(mark, format!("expected \",\" or \"{closing}\" for what opens in line {}", self.line_of_collection()))
    }

    fn flow_sequence_entry(&mut self, first: bool) -> Next<'text> {
        if first {
            self.enter()?;
        }
        if self.scanner.peek()?.token != Token::FlowSequenceEnd {
            if !first {
                self.flow_separator(']')?;
            }
            match self.scanner.peek()?.token {
                Token::Key => {
                    self.state = State::FlowPairKey;
                    let start = self.scanner.take()?.start;
                    return Ok((Event::MappingStart { anchor: None }, start));
                }
                Token::FlowSequenceEnd => {}
                _ => {
                    self.states.push(State::FlowSequenceEntry { first: false });
                    return self.node(false, false);
                }
            }
        }
        self.leave(Event::SequenceEnd)
    }

    fn flow_pair_key(&mut self) -> Next<'text> {
        let next = self.scanner.peek()?;
        if matches!(next.token, Token::Value | Token::FlowEntry | Token::FlowSequenceEnd) {
            // go-yaml passes over the token; the value is then missing as well.
            let end = self.scanner.take()?.end;
            self.state = State::FlowPairValue;
            return Self::empty(end);
        }
        self.states.push(State::FlowPairValue);
        self.node(false, false)
    }

    fn flow_pair_value(&mut self) -> Next<'text> {
        if self.scanner.peek()?.token == Token::Value {
            self.scanner.take()?;
            if !matches!(self.scanner.peek()?.token, Token::FlowEntry | Token::FlowSequenceEnd) {
                self.states.push(State::FlowPairEnd);
                return self.node(false, false);
            }
        }
        self.state = State::FlowPairEnd;
        Self::empty(self.scanner.peek()?.start)
    }

    fn flow_mapping_key(&mut self, first: bool) -> Next<'text> {
        if first {
            self.enter()?;
        }
        if self.scanner.peek()?.token != Token::FlowMappingEnd {
            if !first {
                self.flow_separator('}')?;
            }
            match self.scanner.peek()?.token {
                Token::Key => {
                    self.scanner.take()?;
                    let next = self.scanner.peek()?;
                    if matches!(next.token, Token::Value | Token::FlowEntry | Token::FlowMappingEnd) {
                        let mark = next.start;
                        self.state = State::FlowMappingValue;
                        return Self::empty(mark);
                    }
                    self.states.push(State::FlowMappingValue);
                    return self.node(false, false);
                }
                Token::FlowMappingEnd => {}
                _ => {
                    self.states.push(State::FlowMappingEmptyValue);
                    return self.node(false, false);
                }
            }
        }
        self.leave(Event::MappingEnd)
    }

    fn flow_mapping_value(&mut self, empty: bool) -> Next<'text> {
        if !empty && self.scanner.peek()?.token == Token::Value {
            self.scanner.take()?;
            if !matches!(self.scanner.peek()?.token, Token::FlowEntry | Token::FlowMappingEnd) {
                self.states.push(State::FlowMappingKey { first: false });
                return self.node(false, false);
            }
        }
        self.state = State::FlowMappingKey { first: false };
        Self::empty(self.scanner.peek()?.start)
    }
}
