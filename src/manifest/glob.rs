//! `--exclude`: which paths are left out.

/// A pattern over paths. `*` and `?` stay within one name, `**` crosses names. A pattern without `/` matches a name
/// anywhere (`*.json`, `vendor`), one with `/` the whole path below the folder that was given (`apps/**/test.yaml`). What
/// matches a folder leaves out all that is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glob {
    names: Vec<String>,
    anywhere: bool,
}

/// A pattern that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GlobError {
    /// Nothing to match.
    #[error("the pattern is empty")]
    Empty,
    /// Something other globs know and this one does not: better refused than never matched.
    #[error("the pattern {0:?} has {1:?}: only *, ? and ** are understood")]
    Unsupported(String, char),
}

impl std::str::FromStr for Glob {
    type Err = GlobError;

    fn from_str(pattern: &str) -> Result<Self, GlobError> {
        let trimmed = pattern.strip_prefix("./").unwrap_or(pattern).trim_matches('/');
        if trimmed.is_empty() {
            return Err(GlobError::Empty);
        }
        if let Some(character) =
            trimmed.chars().find(|character| matches!(character, '[' | ']' | '{' | '}' | '\\' | '!'))
        {
            return Err(GlobError::Unsupported(pattern.to_owned(), character));
        }
        let names: Vec<String> = trimmed.split('/').map(str::to_owned).collect();
        Ok(Self { anywhere: names.len() == 1 && !pattern.starts_with('/'), names })
    }
}

impl Glob {
    /// Whether a path, its names divided by `/`, is left out.
    pub fn matches(&self, path: &str) -> bool {
        let names: Vec<&str> = path.split('/').filter(|name| !name.is_empty() && *name != ".").collect();
        if self.anywhere {
            return self.names.first().is_some_and(|pattern| names.iter().any(|name| name_matches(pattern, name)));
        }
        // A folder that matches takes all below with it.
        (1..=names.len()).any(|length| names.get(..length).is_some_and(|head| path_matches(&self.names, head)))
    }
}

/// Marks which prefixes of `names` the patterns so far can match: no backtracking, so no pattern is slow.
fn path_matches(patterns: &[String], names: &[&str]) -> bool {
    let mut reached = vec![false; names.len() + 1];
    if let Some(first) = reached.first_mut() {
        *first = true;
    }
    for pattern in patterns {
        let mut next = vec![false; names.len() + 1];
        for (index, from) in reached.iter().enumerate() {
            if !from {
                continue;
            }
            if pattern == "**" {
                next.iter_mut().skip(index).for_each(|slot| *slot = true);
                break;
            }
            if names.get(index).is_some_and(|name| name_matches(pattern, name))
                && let Some(slot) = next.get_mut(index + 1)
            {
                *slot = true;
            }
        }
        reached = next;
    }
    reached.last().copied().unwrap_or_default()
}

fn name_matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut in_name) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while let Some(character) = name.get(in_name) {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, in_name));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || wanted == character => {
                at += 1;
                in_name += 1;
            }
            _ => {
                let Some((star_at, from)) = star else {
                    return false;
                };
                star = Some((star_at, from + 1));
                at = star_at + 1;
                in_name = from + 1;
            }
        }
    }
    pattern.get(at..).unwrap_or_default().iter().all(|rest| *rest == '*')
}
