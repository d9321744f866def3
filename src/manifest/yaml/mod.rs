//! YAML: events become trees.

mod cursor;
mod parser;
mod scalars;
mod scanner;
mod tags;

use std::borrow::Cow;

use self::cursor::Mark;
use self::parser::{Event, Parser, ScalarEvent};
use super::build::Builder;
use super::error::{ErrorKind, Position, Problem};
use super::scalar::{Scalar, resolve_plain, resolve_tagged};
use super::tree::Tree;

/// Reads all documents of a text whose first line is `first_line` of its file. What comes after a fault is lost.
pub(super) fn read<'text>(text: &'text str, first_line: u32, found: &mut dyn FnMut(Result<Tree<'text>, Problem>)) {
    if let Err(problem) = read_documents(text, first_line, found) {
        found(Err(problem));
    }
}

fn read_documents<'text>(
    text: &'text str,
    first_line: u32,
    found: &mut dyn FnMut(Result<Tree<'text>, Problem>),
) -> Result<(), Problem> {
    let mut parser = Parser::new(text, first_line);
    let mut builder = Builder::new(text);
    loop {
        let (event, mark) = parser.next().map_err(|fault| {
            let message = format!("not valid YAML: {}", fault.message);
            Problem::new(position(first_line, fault.mark), ErrorKind::Syntax, message)
        })?;
        let place = position(first_line, mark);
        match event {
            Event::Scalar(scalar) => {
                let meaning = meaning(&scalar).map_err(|message| Problem::new(place, ErrorKind::Value, message))?;
                let offset = matches!(scalar.value, Cow::Borrowed(_)).then_some(scalar.offset);
                builder.scalar(place, &meaning, &scalar.value, offset, scalar.anchor)?;
            }
            Event::Alias(anchor) => builder.alias(place, anchor)?,
            Event::SequenceStart { anchor } => builder.open(place, false, anchor)?,
            Event::MappingStart { anchor } => builder.open(place, true, anchor)?,
            Event::SequenceEnd | Event::MappingEnd => builder.close()?,
            // Nearly always the only one of this text.
            Event::DocumentStart => builder.expect(text.len() - mark.at.min(text.len())),
            Event::DocumentEnd => {
                if let Some(tree) = std::mem::replace(&mut builder, Builder::new(text)).finish() {
                    found(Ok(tree));
                }
            }
            Event::StreamEnd => return Ok(()),
        }
    }
}

fn position(first_line: u32, mark: Mark) -> Position {
    Position { line: first_line.saturating_add(mark.line), column: mark.column.saturating_add(1) }
}

fn meaning(scalar: &ScalarEvent<'_>) -> Result<Scalar, String> {
    match &scalar.tag {
        None if scalar.plain => Ok(resolve_plain(&scalar.value)),
        None => Ok(Scalar::Text),
        Some(tag) => match tag.strip_prefix("tag:yaml.org,2002:") {
            Some(short) => resolve_tagged(&format!("!!{short}"), &scalar.value),
            None => Ok(Scalar::Text),
        },
    }
}
