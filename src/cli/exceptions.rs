//! Exceptions from files, for `check`.

use std::path::PathBuf;

use immutable_core::exception::Exception;

use super::policies::with_suggestion;
use crate::api::ImmutableException;
use crate::manifest::{ErrorKind, ManifestError, Object, Position, discover, load, map_documents, read_stdin};

/// Reads every exception of some files; all that is wrong with any of them otherwise.
///
/// `namespace` is that of an exception that names none.
pub(super) fn read(paths: &[PathBuf], namespace: &str) -> Result<Vec<Exception>, Vec<ManifestError>> {
    let discovery = discover(paths, &[]);
    let mut errors = discovery.errors;
    let mut found: Vec<(Exception, ManifestError)> = Vec::new();
    for source in &discovery.sources {
        let text = if source.name == "-" { read_stdin() } else { load(source) };
        let text = match text {
            Ok(text) => text,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        for result in map_documents(&source.name, &text, source.named, |object| exception(object, namespace)).results {
            match result {
                Err(error) => errors.push(error),
                Ok(None) => {}
                Ok(Some(Err(problems))) => errors.extend(problems),
                Ok(Some(Ok((exception, place)))) => {
                    let same = found.iter().find(|(other, _)| other.id == exception.id);
                    if let Some((_, first)) = same {
                        let message = format!("{} is here and at {}:{}", exception.id, first.file, first.position);
                        errors.push(ManifestError { message, ..place });
                    } else {
                        found.push((exception, place));
                    }
                }
            }
        }
    }
    if found.is_empty() && errors.is_empty() && !paths.is_empty() {
        errors.push(ManifestError {
            file: paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "),
            position: Position::START,
            message: "holds no ImmutableException".to_owned(),
            kind: ErrorKind::Value,
        });
    }
    if errors.is_empty() { Ok(found.into_iter().map(|(exception, _)| exception).collect()) } else { Err(errors) }
}

type Read = Result<(Exception, ManifestError), Vec<ManifestError>>;

/// The exception that an object is, if it is one, with its place.
fn exception(object: &Object<'_>, namespace: &str) -> Option<Read> {
    if object.kind() != "ImmutableException" {
        return None;
    }
    if object.api_version() != crate::api::API_VERSION {
        let message = format!("apiVersion {} is not known; write {}", object.api_version(), crate::api::API_VERSION);
        return Some(Err(vec![object.error("/apiVersion", ErrorKind::Value, message)]));
    }
    let validated = object.view::<ImmutableException>().map(|mut exception| {
        if exception.metadata.namespace.as_deref().unwrap_or_default().is_empty() {
            exception.metadata.namespace = Some(namespace.to_owned());
        }
        exception.validate()
    });
    Some(match validated {
        Ok(Ok(exception)) => Ok((exception, object.error("/metadata/name", ErrorKind::Value, String::new()))),
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
    })
}
