//! From text to results: all documents, on all cores, in order.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::error::{ErrorKind, ManifestError, Position, Problem};
use super::object::{Found, NOT_AN_OBJECT, Object, objects};
use super::split::{Segment, segments};
use super::tree::Tree;
use super::{json, template, yaml};

/// Below this, starting threads costs more than it brings.
const SMALL: usize = 256 * 1024;
/// Documents that a thread takes at a time.
const BATCH: usize = 16;
/// More threads than this only wait for memory.
const MOST_THREADS: usize = 8;

/// What the documents of one input came to.
#[derive(Debug)]
pub struct Documents<T> {
    /// One result per object and per fault, in the order of the text.
    pub results: Vec<Result<T, ManifestError>>,
    /// How many documents are well-formed and no Kubernetes object, where that is no error.
    pub others: usize,
}

impl<T> Default for Documents<T> {
    fn default() -> Self {
        Self { results: Vec::new(), others: 0 }
    }
}

/// Applies a function to every Kubernetes object of a text; items of lists are objects of their own.
///
/// `named` says that somebody asked for this very file: a document that is no Kubernetes object is then an error. Empty
/// documents never are. A fault costs the document it is in and no other.
pub fn map_documents<T: Send>(
    file: &str,
    text: &str,
    named: bool,
    function: impl Fn(&Object<'_>) -> T + Sync,
) -> Documents<T> {
    let segments = segments(text);
    let one = |segment: &Segment<'_>, documents: &mut Documents<T>| {
        read_segment(segment, &mut |tree| match tree {
            Err(problem) => documents.results.push(Err(problem.within(file))),
            Ok(tree) => objects(file, tree.root(), &mut |found| match found {
                Found::Object(object) => documents.results.push(Ok(function(&object))),
                Found::Problem(problem) => documents.results.push(Err(problem.within(file))),
                Found::Other(position) if named => {
                    documents
                        .results
                        .push(Err(Problem::new(position, ErrorKind::NotAnObject, NOT_AN_OBJECT).within(file)));
                }
                Found::Other(_) => documents.others += 1,
            }),
        });
    };
    let threads = std::thread::available_parallelism().map_or(1, |number| number.get().min(MOST_THREADS));
    if text.len() < SMALL || threads == 1 || segments.len() <= BATCH {
        let mut documents = Documents::default();
        for segment in &segments {
            one(segment, &mut documents);
        }
        return documents;
    }
    let next = AtomicUsize::new(0);
    let finished = Mutex::new(Vec::with_capacity(segments.len() / BATCH + 1));
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut mine = Vec::new();
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(batch) = segments.chunks(BATCH).nth(number) else {
                        break;
                    };
                    let mut documents = Documents::default();
                    for segment in batch {
                        one(segment, &mut documents);
                    }
                    mine.push((number, documents));
                }
                finished.lock().unwrap_or_else(std::sync::PoisonError::into_inner).append(&mut mine);
            });
        }
    });
    let mut batches = finished.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    batches.sort_unstable_by_key(|(number, _)| *number);
    let mut all = Documents::default();
    all.results.reserve(batches.iter().map(|(_, batch)| batch.results.len()).sum());
    for (_, mut batch) in batches {
        all.results.append(&mut batch.results);
        all.others += batch.others;
    }
    all
}

/// Every document of a text as a tree, whatever it holds; for those who want no objects.
pub fn trees<'text>(file: &str, text: &'text str) -> Vec<Result<Tree<'text>, ManifestError>> {
    let mut trees = Vec::new();
    for segment in segments(text) {
        read_segment(&segment, &mut |tree| {
            trees.push(tree.map_err(|problem| problem.within(file)));
        });
    }
    trees
}

fn read_segment<'text>(segment: &Segment<'text>, found: &mut dyn FnMut(Result<Tree<'text>, Problem>)) {
    if let Some(fault) = &segment.fault {
        return found(Err(explain(fault.clone(), segment)));
    }
    // As kubectl does: what begins with a brace is tried as JSON, and as YAML when it is none.
    let start = segment.text.trim_start();
    if start.starts_with(['{', '[']) {
        let (trees, problem) = json::read(segment.text, segment.line);
        let Some(json_problem) = problem else {
            return trees.into_iter().for_each(|tree| found(Ok(tree)));
        };
        let mut from_yaml = Vec::new();
        read_yaml(segment, &mut |tree| from_yaml.push(tree));
        if json_problem.kind == ErrorKind::Syntax && trees.is_empty() && !from_yaml.iter().any(Result::is_err) {
            return from_yaml.into_iter().for_each(found);
        }
        // Both failed. Which notation was meant shows in the first key.
        let meant_json = start.get(1..).is_some_and(|rest| rest.trim_start().starts_with(['"', '{', '[', '}']));
        if !meant_json || start.starts_with("{{") {
            return from_yaml.into_iter().for_each(found);
        }
        for tree in trees {
            found(Ok(tree));
        }
        return found(Err(explain(json_problem, segment)));
    }
    read_yaml(segment, found);
}

fn read_yaml<'text>(segment: &Segment<'text>, found: &mut dyn FnMut(Result<Tree<'text>, Problem>)) {
    if let Some(problem) = control_character(segment) {
        return found(Err(problem));
    }
    yaml::read(segment.text, segment.line, &mut |tree| {
        found(tree.map_err(|problem| explain(problem, segment)));
    });
}

/// What went wrong may be that nobody rendered the template.
fn explain(problem: Problem, segment: &Segment<'_>) -> Problem {
    if problem.kind == ErrorKind::Syntax
        && let Some(position) = template::find(segment.text, segment.line)
    {
        return template::problem(position);
    }
    problem
}

/// Characters that YAML allows nowhere but as escapes.
fn control_character(segment: &Segment<'_>) -> Option<Problem> {
    let text = segment.text;
    // Without a branch per byte, this runs at memory speed; 0xC2 begins U+0080 to U+009F, 0xEF U+FFFE and U+FFFF.
    let suspect =
        |byte: u8| (byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r')) | matches!(byte, 0x7F | 0xC2 | 0xEF);
    if !text.bytes().fold(false, |found, byte| found | suspect(byte)) {
        return None;
    }
    let bad = |character: char| match character {
        '\t' | '\n' | '\r' | '\u{85}' => false,
        '\u{FFFE}' | '\u{FFFF}' => true,
        other => other.is_control(),
    };
    let (offset, character) = text.char_indices().find(|(_, character)| bad(*character))?;
    let before = text.get(..offset)?;
    let line = before.matches('\n').count();
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let position = Position {
        line: segment.line.saturating_add(u32::try_from(line).unwrap_or(u32::MAX)),
        column: u32::try_from(column).unwrap_or(u32::MAX),
    };
    let code = u32::from(character);
    Some(Problem::new(position, ErrorKind::Encoding, format!("the control character U+{code:04X} is not allowed")))
}
