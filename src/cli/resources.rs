//! Our own custom resources from files: policies and exceptions are read alike.

use std::fmt::Display;
use std::path::PathBuf;

use immutable_core::policy::PolicyProblem;

use crate::manifest::{ErrorKind, ManifestError, Object, Position, discover, load, map_documents, read_stdin};

/// What an object came to: itself, or everything that is wrong with it.
pub(super) type Read<T> = Result<T, Vec<ManifestError>>;

/// Reads every object of a sort from some files; all that is wrong with any of them otherwise.
///
/// `read` gives nothing for objects of no concern; `id` tells the same one apart when it is written twice; `none` is
/// said of a file that was named and holds none.
pub(super) fn read_all<T: Send, Id: Display + PartialEq>(
    paths: &[PathBuf],
    none: &str,
    read: impl Fn(&Object<'_>) -> Option<Read<T>> + Sync,
    id: impl Fn(&T) -> Id,
) -> Read<Vec<T>> {
    let discovery = discover(paths, &[]);
    let mut errors = discovery.errors;
    let mut found: Vec<(T, ManifestError)> = Vec::new();
    let nothing = |file: String| ManifestError {
        file,
        position: Position::START,
        message: none.to_owned(),
        kind: ErrorKind::Value,
    };
    for source in &discovery.sources {
        let text = match if source.name == "-" { read_stdin() } else { load(source) } {
            Ok(text) => text,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        let placed = |object: &Object<'_>| {
            read(object).map(|read| read.map(|one| (one, object.error("/metadata/name", ErrorKind::Value, ""))))
        };
        let mut holds_any = false;
        for result in map_documents(&source.name, &text, source.named, placed).results {
            match result {
                Err(error) => errors.push(error),
                Ok(None) => {}
                Ok(Some(Err(problems))) => {
                    holds_any = true;
                    errors.extend(problems);
                }
                Ok(Some(Ok((one, place)))) => {
                    holds_any = true;
                    match found.iter().find(|(other, _)| id(other) == id(&one)) {
                        Some((_, first)) => {
                            let message = format!("{} is here and at {}:{}", id(&one), first.file, first.position);
                            errors.push(ManifestError { message, ..place });
                        }
                        None => found.push((one, place)),
                    }
                }
            }
        }
        if !holds_any && source.named && errors.is_empty() {
            errors.push(nothing(source.name.clone()));
        }
    }
    if found.is_empty() && errors.is_empty() && !paths.is_empty() {
        errors.push(nothing(paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")));
    }
    if errors.is_empty() { Ok(found.into_iter().map(|(one, _)| one).collect()) } else { Err(errors) }
}

/// The outcome of a validation, with the place of each problem.
pub(super) fn placed<T>(
    object: &Object<'_>,
    validated: Result<Result<T, Vec<PolicyProblem>>, ManifestError>,
) -> Read<T> {
    match validated {
        Ok(Ok(valid)) => Ok(valid),
        Ok(Err(problems)) => Err(problems
            .iter()
            .map(|problem| {
                let pointer = format!("/{}", problem.field.replace(['.', '['], "/").replace(']', ""));
                object.error(&pointer, ErrorKind::Value, problem.to_string())
            })
            .collect()),
        Err(mut error) => {
            error.message = with_suggestion(&error.message);
            Err(vec![error])
        }
    }
}

/// The complaint about an apiVersion of our group that is not the one that is served.
pub(super) fn wrong_version(object: &Object<'_>) -> ManifestError {
    let message = format!("apiVersion {} is not known; write {}", object.api_version(), crate::api::API_VERSION);
    object.error("/apiVersion", ErrorKind::Value, message)
}

/// Adds the known name that is nearest to an unknown one: a field, or one of a set of values.
fn with_suggestion(message: &str) -> String {
    let unknown = message.split('"').nth(1);
    let known = message.split_once("expected one of ").map(|(_, known)| known.split(", found").next().unwrap_or(known));
    let (Some(unknown), Some(known)) = (unknown, known) else { return message.to_owned() };
    let nearest = known
        .split(", ")
        .map(|name| (strsim::damerau_levenshtein(unknown, name), name))
        .filter(|(distance, name)| *distance <= name.len().max(unknown.len()) / 2)
        .min();
    match nearest {
        // The list of all fields is long, and one of them was meant.
        Some((_, name)) => {
            let what = message.split_once(", expected one of").map_or(message, |(what, _)| what);
            format!("{what}; did you mean {name}?")
        }
        None => message.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::with_suggestion;

    #[test]
    fn an_unknown_name_gets_the_nearest_known_one() {
        let message = "spec.rules: unknown field \"imageTags\", expected one of imageTag, imageDigest";
        assert_eq!(with_suggestion(message), "spec.rules: unknown field \"imageTags\"; did you mean imageTag?");
        let message = "spec.profile: expected one of Stateless, Stateful, found \"Statless\"";
        assert_eq!(with_suggestion(message), format!("{message}; did you mean Stateless?"));
        let message = "unknown field \"zzz\", expected one of imageTag, imageDigest";
        assert_eq!(with_suggestion(message), message);
    }
}
