//! Policies from files, for `check` and `compile`.

use std::path::PathBuf;

use immutable_core::policy::Policy;

use crate::api::{ClusterImmutablePolicy, ImmutablePolicy};
use crate::manifest::{ErrorKind, ManifestError, Object, discover, load, map_documents, read_stdin};

/// What is wrong with the usage if standard input is named more than once: only the first reader would get it.
pub(super) fn stdin_twice<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Option<&'static str> {
    let times = paths.into_iter().filter(|path| path.as_os_str() == "-").count();
    (times > 1).then_some("error: - is standard input, which can be read only once")
}

/// Reads every policy of some files; all that is wrong with any of them otherwise.
///
/// `namespace` is that of an ImmutablePolicy that names none.
pub(super) fn read(paths: &[PathBuf], namespace: &str) -> Result<Vec<Policy>, Vec<ManifestError>> {
    let mut policies = Vec::new();
    let mut errors = Vec::new();
    let discovery = discover(paths, &[]);
    errors.extend(discovery.errors);
    for source in &discovery.sources {
        let text = if source.name == "-" { read_stdin() } else { load(source) };
        let text = match text {
            Ok(text) => text,
            Err(error) => {
                errors.push(error);
                continue;
            }
        };
        let mut found = 0;
        for result in map_documents(&source.name, &text, source.named, |object| policy(object, namespace)).results {
            match result {
                Err(error) => errors.push(error),
                Ok(None) => {}
                Ok(Some(Err(problems))) => {
                    found += 1;
                    errors.extend(problems);
                }
                Ok(Some(Ok((policy, place)))) => {
                    found += 1;
                    let same: Option<&(Policy, ManifestError)> =
                        policies.iter().find(|(other, _): &&(Policy, ManifestError)| other.id == policy.id);
                    if let Some((_, first)) = same {
                        let message = format!("{} is here and at {}:{}", policy.id, first.file, first.position);
                        errors.push(ManifestError { message, ..place });
                    } else {
                        policies.push((policy, place));
                    }
                }
            }
        }
        if found == 0 && source.named && errors.is_empty() {
            errors.push(ManifestError {
                file: source.name.clone(),
                position: crate::manifest::Position { line: 1, column: 1 },
                message: "holds no ClusterImmutablePolicy and no ImmutablePolicy".to_owned(),
                kind: ErrorKind::Value,
            });
        }
    }
    if policies.is_empty() && errors.is_empty() && !paths.is_empty() {
        errors.push(ManifestError {
            file: paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", "),
            position: crate::manifest::Position { line: 1, column: 1 },
            message: "holds no ClusterImmutablePolicy and no ImmutablePolicy".to_owned(),
            kind: ErrorKind::Value,
        });
    }
    if errors.is_empty() { Ok(policies.into_iter().map(|(policy, _)| policy).collect()) } else { Err(errors) }
}

/// The policy that an object is, if it is one, with its place.
fn policy(object: &Object<'_>, namespace: &str) -> Option<Result<(Policy, ManifestError), Vec<ManifestError>>> {
    if object.api_version() != crate::api::API_VERSION {
        return object.api_version().starts_with("immutable.dev/").then(|| {
            let message =
                format!("apiVersion {} is not known; write {}", object.api_version(), crate::api::API_VERSION);
            Err(vec![object.error("/apiVersion", ErrorKind::Value, message)])
        });
    }
    let validated = match object.kind() {
        "ClusterImmutablePolicy" => object.view::<ClusterImmutablePolicy>().map(|policy| policy.validate()),
        "ImmutablePolicy" => object.view::<ImmutablePolicy>().map(|mut policy| {
            if policy.metadata.namespace.as_deref().unwrap_or_default().is_empty() {
                policy.metadata.namespace = Some(namespace.to_owned());
            }
            policy.validate()
        }),
        kind => return Some(Err(vec![object.error("/kind", ErrorKind::Value, unknown_kind(kind))])),
    };
    Some(match validated {
        Ok(Ok(policy)) => Ok((policy, object.error("/metadata/name", ErrorKind::Value, String::new()))),
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

const KINDS: [&str; 2] = ["ClusterImmutablePolicy", "ImmutablePolicy"];

/// What is said of a kind of our own group that is no policy: ignoring it would be ignoring a misspelt policy.
fn unknown_kind(kind: &str) -> String {
    if kind == "ImmutableException" {
        return "kind ImmutableException is no policy; give it with --exceptions".to_owned();
    }
    let nearest = KINDS
        .iter()
        .map(|known| (strsim::damerau_levenshtein(kind, known), known))
        .filter(|(distance, _)| *distance <= 5)
        .min()
        .map_or_else(String::new, |(_, known)| format!("; did you mean {known}?"));
    format!("kind {kind} is not known; write {}{nearest}", KINDS.join(" or "))
}

/// Adds the known name that is nearest to an unknown one: a field, or one of a set of values.
pub(super) fn with_suggestion(message: &str) -> String {
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
