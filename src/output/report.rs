//! What `check` or `scan` found, as data: every format is written from this and nothing else.

use std::sync::Arc;

use immutable_core::evaluate::About;
use immutable_core::policy::Enforcement;
use immutable_core::rules::RuleId;
use jiff::Timestamp;
use serde::Serialize;

/// What became of one rule on one part of one workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// The rule holds.
    Pass,
    /// The rule is broken, and an exception excuses it.
    Skip,
    /// The rule is broken and not enforced.
    Warn,
    /// The rule is broken and enforced.
    Fail,
    /// The rule, or the input, cannot be judged.
    Error,
}

impl Outcome {
    /// `fail`
    pub fn name(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Skip => "skip",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Error => "error",
        }
    }
}

/// The object that was judged.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// `apps/v1`
    pub api_version: String,
    /// `Deployment`
    pub kind: String,
    /// The namespace that it says or that was given.
    pub namespace: String,
    /// The name, or the prefix of a generated one.
    pub name: String,
}

/// A place in the input, 1-based.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Place {
    /// The path as given or found; `-` for standard input. For an object of a cluster what stands for one.
    pub file: Arc<str>,
    /// line; 0 for an object of a cluster, which is no text
    pub line: u32,
    /// column, in characters
    pub column: u32,
}

impl Place {
    /// An object of a cluster, or the cluster: nobody wrote a text there, but some formats want the name of one.
    pub fn in_cluster(resource: Option<&Resource>) -> Self {
        let file = match resource {
            None => "kubernetes".to_owned(),
            Some(Resource { kind, namespace, name, .. }) => {
                let parts = ["kubernetes", namespace, kind, name];
                parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/")
            }
        };
        Self { file: file.into(), line: 0, column: 0 }
    }

    /// Whether it is one in a text.
    pub fn is_in_text(&self) -> bool {
        self.line > 0
    }
}

/// Why a finding is excused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ExceptionNote {
    /// The exception's name.
    pub name: String,
    /// Its reason.
    pub reason: String,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// One result.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What became of it.
    pub outcome: Outcome,
    /// The rule; none for an input that cannot be read.
    pub rule: Option<RuleId>,
    /// The policy's name, `NAMESPACE/NAME` for a namespaced one; none for an input that cannot be read.
    pub policy: Option<Arc<str>>,
    /// The rule's enforcement in that policy.
    pub enforcement: Option<Enforcement>,
    /// The workload; none where it could not be read.
    pub resource: Option<Arc<Resource>>,
    /// The part of the workload.
    pub about: About,
    /// JSON Pointer of the field to be written; empty for an input that cannot be read.
    pub path: String,
    /// What is wrong; for a pass, that nothing is.
    pub message: String,
    /// What to write; empty for a pass.
    pub fix: String,
    /// Where in the input.
    pub place: Place,
    /// The exception that excuses it.
    pub exception: Option<ExceptionNote>,
}

/// How many results of each kind there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// judged workloads
    pub resources: u64,
    /// rules that hold, counted per policy and workload
    pub pass: u64,
    /// findings that are not enforced
    pub warn: u64,
    /// findings that are
    pub fail: u64,
    /// excused findings
    pub skip: u64,
    /// what could not be judged
    pub error: u64,
}

/// What was judged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Subject {
    /// Manifests, by `immutable check`.
    #[default]
    Manifests,
    /// What runs in a cluster, by `immutable scan`.
    Cluster,
}

impl Subject {
    /// The command that judges it.
    pub(super) fn command(self) -> &'static str {
        match self {
            Self::Manifests => "check",
            Self::Cluster => "scan",
        }
    }
}

/// Everything that was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What was judged.
    pub subject: Subject,
    /// The counts; passes are counted also where they are not listed.
    pub summary: Summary,
    /// In the order of the input, or the worst workloads of a cluster first, then of policies and rules; passes only if
    /// asked for.
    pub entries: Vec<Entry>,
    /// Workloads that are in scope of no policy, which were not judged.
    pub unmatched: u64,
    /// Well-formed documents that are no Kubernetes objects, which were passed over.
    pub others: u64,
}
