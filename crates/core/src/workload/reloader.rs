//! The annotations of [stakater/Reloader](https://github.com/stakater/Reloader), so that workloads that were made for it
//! are served as they are. What counts for it, in which order, is `ShouldReload` of its `pkg/common/common.go`.
//!
//! One thing differs on purpose: it reads an item `a|b` of a list as "begins with a or ends with b". Here every item
//! stands for whole names.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use regex_lite::{Regex, RegexBuilder};

use crate::references::{Dependency, Keys};
use crate::rules::{ConfigKind, printable};

/// Annotations, as an object has them.
type Annotations = BTreeMap<String, String>;

/// What every annotation of Reloader ends its domain with.
const DOMAIN: &str = "reloader.stakater.com";
/// Asks for everything that is referenced.
const AUTO: &str = "reloader.stakater.com/auto";
/// Asks for what is referenced and marked by [`MATCH`].
const SEARCH: &str = "reloader.stakater.com/search";
/// On an object: those that search count it.
const MATCH: &str = "reloader.stakater.com/match";
/// On an object: nobody counts it.
const IGNORE: &str = "reloader.stakater.com/ignore";
/// What Reloader itself leaves behind.
const LEFT_BEHIND: [&str; 2] =
    ["reloader.stakater.com/last-reloaded-from", "deployment.reloader.stakater.com/paused-at"];

/// How many names or patterns one annotation may list.
const MOST_NAMES: usize = 64;
/// How many of them may be patterns: they are compiled at every event of the workload, so that its problems are known.
const MOST_PATTERNS: usize = 16;
/// How many bytes a compiled pattern takes at most: whoever may annotate must not take the operator's memory. With those of
/// both kinds a workload takes 64 KiB at most.
const LARGEST_PATTERN: usize = 2 << 10;
/// How many bytes a name has at most (a DNS subdomain), and so an item.
const LONGEST_ITEM: usize = 253;
/// How many problems are told one by one.
const MOST_PROBLEMS: usize = 16;
/// How many objects of one kind patterns may name.
pub const MOST_MATCHED: usize = 256;
/// How deep a pattern may nest.
const DEEPEST_PATTERN: u32 = 16;

/// The annotations about one kind.
struct KindAnnotations {
    auto: &'static str,
    reload: &'static str,
    exclude: &'static str,
}

fn annotations_of(kind: ConfigKind) -> KindAnnotations {
    match kind {
        ConfigKind::ConfigMap => KindAnnotations {
            auto: "configmap.reloader.stakater.com/auto",
            reload: "configmap.reloader.stakater.com/reload",
            exclude: "configmaps.exclude.reloader.stakater.com/reload",
        },
        ConfigKind::Secret => KindAnnotations {
            auto: "secret.reloader.stakater.com/auto",
            reload: "secret.reloader.stakater.com/reload",
            exclude: "secrets.exclude.reloader.stakater.com/reload",
        },
    }
}

/// What an object says of itself to Reloader. Only `true` counts there, in these letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConfigMarks {
    /// Workloads that search count it.
    pub is_match: bool,
    /// No workload counts it.
    pub is_ignored: bool,
}

impl ConfigMarks {
    /// Reads the annotations of a ConfigMap or Secret.
    pub fn read(annotations: &Annotations) -> Self {
        let is_true = |name: &str| annotations.get(name).is_some_and(|value| value == "true");
        Self { is_match: is_true(MATCH), is_ignored: is_true(IGNORE) }
    }
}

/// The ConfigMaps and Secrets that exist in the namespace of a workload.
pub trait ConfigObjects {
    /// What one says of itself; none where it does not exist.
    fn marks(&self, kind: ConfigKind, name: &str) -> Option<ConfigMarks>;

    /// All names of a kind. Asked for only where a workload names them by a pattern.
    fn names(&self, kind: ConfigKind) -> impl Iterator<Item = &str>;
}

/// What a workload asks of Reloader.
#[derive(Clone, Debug, PartialEq)]
pub struct Reloader {
    config_map: Selection,
    secret: Selection,
    problems: Box<[String]>,
}

/// What it asks for of one kind.
#[derive(Clone, Debug, Default, PartialEq)]
struct Selection {
    /// Everything that is referenced, or expressly not; none where nothing is said.
    auto: Option<bool>,
    /// What is referenced and marked.
    search: bool,
    /// These, referenced or not.
    named: Box<[Name]>,
    /// Whether the pod template says so, since the workload says nothing.
    of_template: bool,
    /// Not these.
    excluded: Box<[Box<str>]>,
}

/// An item of a list of names.
#[derive(Clone, Debug)]
enum Name {
    Plain(Box<str>),
    /// Matches whole names.
    Pattern(Regex),
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain(name), Self::Plain(other)) => name == other,
            (Self::Pattern(pattern), Self::Pattern(other)) => pattern.as_str() == other.as_str(),
            _ => false,
        }
    }
}

/// Whether an item of a list has a character that stands for something else than itself.
fn is_pattern(item: &str) -> bool {
    item.contains(['\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$'])
}

/// What is wrong, each once, and no more than a person reads.
#[derive(Default)]
struct Problems {
    told: Vec<String>,
    /// Hashes of all of them.
    known: BTreeSet<u64>,
}

impl Problems {
    fn push(&mut self, problem: String) {
        let mut hasher = DefaultHasher::new();
        problem.hash(&mut hasher);
        if self.known.insert(hasher.finish()) && self.told.len() < MOST_PROBLEMS {
            self.told.push(problem);
        }
    }

    fn all(mut self) -> Vec<String> {
        let more = self.known.len() - self.told.len();
        if more > 0 {
            self.told
                .push(format!("and {more} more problems with annotations of stakater/Reloader; correct these first"));
        }
        self.told
    }
}

impl Name {
    fn read(item: &str) -> Result<Self, regex_lite::Error> {
        if !is_pattern(item) {
            return Ok(Self::Plain(item.into()));
        }
        let compile =
            |text: &str| RegexBuilder::new(text).size_limit(LARGEST_PATTERN).nest_limit(DEEPEST_PATTERN).build();
        // By itself too: the parentheses around it must not close what it opens.
        compile(item)?;
        compile(&format!("^(?:{item})$")).map(Self::Pattern)
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Plain(plain) => **plain == *name,
            Self::Pattern(pattern) => pattern.is_match(name),
        }
    }
}

impl Selection {
    /// Whether it asks for anything.
    fn selects(&self) -> bool {
        self.auto == Some(true) || self.search || !self.named.is_empty()
    }
}

impl Reloader {
    /// Reads the annotations of a workload and of its pod template, which count where the workload has none that select.
    /// None where nothing of Reloader's is there.
    pub fn read(workload: &Annotations, template: &Annotations) -> Option<Self> {
        let is_ours = |name: &String| is_of_reloader(name) && !LEFT_BEHIND.contains(&name.as_str());
        if !workload.keys().chain(template.keys()).any(is_ours) {
            return None;
        }
        let mut problems = Problems::default();
        let mut read = |kind| read_selection(kind, workload, template, &mut problems);
        let (config_map, secret) = (read(ConfigKind::ConfigMap), read(ConfigKind::Secret));
        let names = workload.keys().map(|name| (name, false)).chain(template.keys().map(|name| (name, true)));
        let ours = names.filter(|(name, _)| is_ours(name));
        for problem in ours.filter_map(|(name, in_template)| misplaced(name, in_template)) {
            problems.push(problem);
        }
        Some(Self { config_map, secret, problems: problems.all().into() })
    }

    /// Whether an annotation of this name is one of Reloader's.
    pub fn is_annotation(name: &str) -> bool {
        is_of_reloader(name)
    }

    /// Whether names of objects are given by patterns, so that it matters which there are.
    pub fn has_patterns(&self) -> bool {
        let mut named = self.config_map.named.iter().chain(&self.secret.named);
        named.any(|name| matches!(name, Name::Pattern(_)))
    }

    /// Whether it asks for anything by itself, so that the workload opts in.
    pub fn selects(&self) -> bool {
        self.config_map.selects() || self.secret.selects()
    }

    /// What is wrong with the annotations, for a person: which one, why it does not count, what to write.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Why what it asks for is too much to be served, for a person: its patterns name more than [`MOST_MATCHED`] objects of
    /// a kind. None where they do not.
    pub fn excess(&self, objects: &impl ConfigObjects) -> Option<String> {
        [ConfigKind::ConfigMap, ConfigKind::Secret].into_iter().find_map(|kind| {
            let is_more = self.matching(kind, objects).nth(MOST_MATCHED).is_some();
            is_more.then(|| {
                let annotation = annotations_of(kind).reload;
                format!(
                    "the patterns of its annotation {annotation} name more than {MOST_MATCHED} objects; write narrower ones"
                )
            })
        })
    }

    /// Which objects count, by kind and name: of what the workload depends on, and what is named besides. `by_default`
    /// says whether everything referenced counts where the workload does not say; `auto: "false"` says so.
    ///
    /// An ignored object counts for nobody and an excluded one not here; else it is enough to be named (then all of
    /// its keys count), or to be referenced and searched for, or to be referenced and asked for by kind. What is not
    /// told here may still be missing: ask [`missing`](crate::references::digest::missing) about `own`. Where there is an
    /// [`excess`](Self::excess), it is not all.
    pub fn dependencies(&self, own: &[Dependency], objects: &impl ConfigObjects, by_default: bool) -> Vec<Dependency> {
        let mut counting: BTreeMap<(ConfigKind, Box<str>), Dependency> = BTreeMap::new();
        for dependency in own {
            let (kind, name) = (dependency.kind, &dependency.name);
            let selection = self.selection(kind);
            let marks = objects.marks(kind, name);
            let is_marked = selection.search && marks.is_some_and(|marks| marks.is_match);
            if !self.is_excluded(kind, name, marks) && (is_marked || selection.auto.unwrap_or(by_default)) {
                counting.insert((kind, name.clone()), dependency.clone());
            }
        }
        for kind in [ConfigKind::ConfigMap, ConfigKind::Secret] {
            for name in self.named(kind, objects) {
                let counted = counting.entry((kind, name.into())).or_insert_with(|| {
                    let known = own.iter().find(|dependency| dependency.kind == kind && *dependency.name == *name);
                    known.cloned().unwrap_or_else(|| Dependency {
                        kind,
                        name: name.into(),
                        required: false,
                        keys: Keys::default(),
                        fields: Vec::new(),
                    })
                });
                counted.keys.read_all();
                let owner = if self.selection(kind).of_template { " of the pod template" } else { "" };
                counted.fields.insert(0, format!("annotation {}{owner}", annotations_of(kind).reload));
            }
        }
        counting.into_values().collect()
    }

    fn selection(&self, kind: ConfigKind) -> &Selection {
        match kind {
            ConfigKind::ConfigMap => &self.config_map,
            ConfigKind::Secret => &self.secret,
        }
    }

    /// Every name of a kind that is named, each once; one that is written out need not exist.
    fn named<'a>(&'a self, kind: ConfigKind, objects: &'a impl ConfigObjects) -> BTreeSet<&'a str> {
        let named = &self.selection(kind).named;
        let written = named.iter().filter_map(|name| match name {
            Name::Plain(plain) => Some(&**plain),
            Name::Pattern(_) => None,
        });
        let matching = self.matching(kind, objects).take(MOST_MATCHED);
        let written = written.filter(|name| !self.is_excluded(kind, name, objects.marks(kind, name)));
        written.chain(matching).collect()
    }

    /// The objects that patterns name.
    fn matching<'a>(&'a self, kind: ConfigKind, objects: &'a impl ConfigObjects) -> impl Iterator<Item = &'a str> {
        let patterns = move || self.selection(kind).named.iter().filter(|name| matches!(name, Name::Pattern(_)));
        let existing = patterns().next().map(|_| objects.names(kind)).into_iter().flatten();
        existing.filter(move |existing| {
            patterns().any(|name| name.matches(existing))
                && !self.is_excluded(kind, existing, objects.marks(kind, existing))
        })
    }

    fn is_excluded(&self, kind: ConfigKind, name: &str, marks: Option<ConfigMarks>) -> bool {
        marks.is_some_and(|marks| marks.is_ignored)
            || self.selection(kind).excluded.iter().any(|excluded| **excluded == *name)
    }
}

fn is_of_reloader(name: &str) -> bool {
    let domain = name.split_once('/').map_or("", |(domain, _)| domain);
    domain.strip_suffix(DOMAIN).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn read_selection(
    kind: ConfigKind,
    workload: &Annotations,
    template: &Annotations,
    problems: &mut Problems,
) -> Selection {
    let of_kind = annotations_of(kind);
    let selecting = [of_kind.reload, of_kind.auto, AUTO, SEARCH];
    let of_template = !selecting.iter().any(|name| workload.contains_key(*name));
    let annotations = if of_template { template } else { workload };
    let value = |name: &str| annotations.get(name).map_or("", String::as_str);
    let auto: Vec<bool> =
        [AUTO, of_kind.auto].into_iter().filter_map(|name| read_bool(name, value(name), problems)).collect();
    let search = match value(SEARCH) {
        "true" => true,
        // No more than Reloader itself counts; most of all not what was switched off on purpose.
        other => {
            if parse_bool(other).unwrap_or(!other.is_empty()) {
                problems.push(format!("annotation {SEARCH}: {:?} does not count; write \"true\"", printable(other)));
            }
            false
        }
    };
    let mut named = Vec::new();
    let mut patterns = 0;
    for item in items(of_kind.reload, value(of_kind.reload), problems) {
        patterns += usize::from(is_pattern(item));
        if is_pattern(item) && patterns > MOST_PATTERNS {
            continue;
        }
        match Name::read(item) {
            Ok(name) => named.push(name),
            Err(error) => problems.push(format!(
                "annotation {}: {:?} is no pattern that can be used ({error}) and names nothing; write names or \
                 regular expressions, with commas between them",
                of_kind.reload,
                printable(item),
            )),
        }
    }
    if patterns > MOST_PATTERNS {
        problems.push(format!(
            "annotation {} lists {patterns} regular expressions, of which the first {MOST_PATTERNS} count; write fewer",
            of_kind.reload
        ));
    }
    let excluded = workload.get(of_kind.exclude).map_or("", String::as_str);
    let excluded = items(of_kind.exclude, excluded, problems).into_iter().map(Into::into).collect();
    Selection {
        auto: (!auto.is_empty()).then(|| auto.contains(&true)),
        search,
        named: named.into(),
        of_template,
        excluded,
    }
}

/// The items of a list.
fn items<'a>(annotation: &str, list: &'a str, problems: &mut Problems) -> Vec<&'a str> {
    let mut items: Vec<&str> = list.split(',').map(str::trim).filter(|item| !item.is_empty()).collect();
    if items.len() > MOST_NAMES {
        problems.push(format!(
            "annotation {annotation} lists {} names, of which the first {MOST_NAMES} count; write fewer",
            items.len()
        ));
        items.truncate(MOST_NAMES);
    }
    let listed = items.len();
    items.retain(|item| item.len() <= LONGEST_ITEM);
    if items.len() < listed {
        problems.push(format!(
            "annotation {annotation} lists {} names of more than {LONGEST_ITEM} bytes, which count for nothing; no object \
             has such a name, write shorter ones",
            listed - items.len()
        ));
    }
    items
}

/// None where nothing is said; what cannot be read counts as false, as for Reloader.
fn read_bool(annotation: &str, value: &str, problems: &mut Problems) -> Option<bool> {
    if value.is_empty() {
        return None;
    }
    Some(parse_bool(value).unwrap_or_else(|| {
        let shown = printable(value);
        problems.push(format!("annotation {annotation}: {shown:?} counts as false; write \"true\" or \"false\""));
        false
    }))
}

/// What Go's `strconv.ParseBool` reads.
fn parse_bool(value: &str) -> Option<bool> {
    match value {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Why an annotation does nothing where it stands, if it does nothing.
fn misplaced(name: &str, in_template: bool) -> Option<String> {
    let kinds = [ConfigKind::ConfigMap, ConfigKind::Secret].map(annotations_of);
    let shown = printable(name);
    if matches!(name, MATCH | IGNORE) {
        return Some(format!("annotation {shown} counts on a ConfigMap or Secret only; write it there"));
    }
    if kinds.iter().any(|kind| kind.exclude == name) {
        return in_template
            .then(|| format!("annotation {shown} does not count in a pod template; write it on the workload"));
    }
    let is_known = matches!(name, AUTO | SEARCH) || kinds.iter().any(|kind| [kind.auto, kind.reload].contains(&name));
    (!is_known).then(|| format!("annotation {shown} is not understood and does nothing; remove it"))
}

#[cfg(test)]
mod tests;
