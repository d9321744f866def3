//! From the paths that a person names to the files that are read.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use super::error::{ErrorKind, ManifestError, Position, Problem};
use super::glob::Glob;

/// One input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// How messages call it: the path as it was named or found, `-` for standard input.
    pub name: String,
    /// Where to read it; nothing for standard input.
    pub path: Option<PathBuf>,
    /// It was asked for itself, rather than found in a folder.
    pub named: bool,
}

/// What the paths led to.
#[derive(Debug, Default)]
pub struct Discovery {
    /// The inputs in order: paths as they were given, folders sorted by name.
    pub sources: Vec<Source>,
    /// What could not be looked into, and Helm charts that must be rendered first.
    pub errors: Vec<ManifestError>,
}

/// Finds the inputs behind paths: a file is itself, `-` standard input, a folder all .yaml, .yml and .json below it.
/// Hidden files and folders are passed over, links are followed once.
pub fn discover(paths: &[PathBuf], exclude: &[Glob]) -> Discovery {
    let mut walk = Walk { exclude, found: Discovery::default(), visited: HashSet::new() };
    for path in paths {
        if path.as_os_str() == "-" {
            walk.found.sources.push(Source { name: "-".to_owned(), path: None, named: true });
        } else {
            walk.named(path);
        }
    }
    walk.found
}

struct Walk<'glob> {
    exclude: &'glob [Glob],
    found: Discovery,
    /// Folders by their real path, so that links in a circle end.
    visited: HashSet<PathBuf>,
}

impl Walk<'_> {
    fn error(&mut self, path: &Path, kind: ErrorKind, message: String) {
        let problem = Problem::new(Position::START, kind, message);
        self.found.errors.push(problem.within(&path.display().to_string()));
    }

    fn unreadable(&mut self, path: &Path, error: &io::Error) {
        self.error(path, ErrorKind::Unreadable, format!("cannot be read: {error}"));
    }

    fn excluded(&self, relative: &Path) -> bool {
        let names: Vec<_> = relative.components().map(|name| name.as_os_str().to_string_lossy()).collect();
        let path = names.join("/");
        self.exclude.iter().any(|glob| glob.matches(&path))
    }

    fn named(&mut self, path: &Path) {
        match std::fs::metadata(path) {
            Err(error) => self.unreadable(path, &error),
            Ok(metadata) if metadata.is_dir() => {
                // Naming a folder twice is asking twice.
                self.visited.clear();
                self.folder(path, Path::new(""), false);
            }
            Ok(_) => self.source(path, true),
        }
    }

    fn source(&mut self, path: &Path, named: bool) {
        self.found.sources.push(Source { name: path.display().to_string(), path: Some(path.to_owned()), named });
    }

    /// `in_chart`: a chart further up renders this folder's templates too.
    fn folder(&mut self, path: &Path, relative: &Path, in_chart: bool) {
        match std::fs::canonicalize(path) {
            Err(error) => return self.unreadable(path, &error),
            Ok(real) => {
                if !self.visited.insert(real) {
                    return;
                }
            }
        }
        let mut names = Vec::new();
        match std::fs::read_dir(path) {
            Err(error) => return self.unreadable(path, &error),
            Ok(entries) => {
                for entry in entries {
                    match entry {
                        Ok(entry) => names.push(entry.file_name()),
                        Err(error) => self.unreadable(path, &error),
                    }
                }
            }
        }
        names.sort_unstable();
        let chart = path.join("Chart.yaml").is_file() && path.join("templates").is_dir();
        if chart && !in_chart {
            let message = format!("{0} is a Helm chart: helm template {0} | immutable check -", path.display());
            self.error(&path.join("Chart.yaml"), ErrorKind::HelmChart, message);
        }
        for name in names {
            let child = path.join(&name);
            let relative = relative.join(&name);
            if name.as_encoded_bytes().starts_with(b".") || self.excluded(&relative) || chart && name == "templates" {
                continue;
            }
            match std::fs::metadata(&child) {
                Ok(metadata) if metadata.is_dir() => {
                    self.folder(&child, &relative, in_chart || chart);
                }
                // Reading a pipe that nobody writes to would never end.
                Ok(metadata) if metadata.is_file() && is_manifest(&child) => self.source(&child, false),
                // What nobody would read may be as broken as it likes.
                Err(error) if is_manifest(&child) => self.unreadable(&child, &error),
                _ => {}
            }
        }
    }
}

fn is_manifest(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known)))
}
