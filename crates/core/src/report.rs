//! What is told of a workload in a report: worst results first, with ids that stay, and never too large.
//!
//! Both report APIs hold the same; which of them is asked for is an argument. Nothing in a report changes by itself:
//! there is no time in it, so that it is written only when there is something new to say.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::evaluate::{About, Certainty};
use crate::exception::{Exception, InEffect};
use crate::native::{INSTALLATION_LABEL, Installation, MANAGED_BY, names};
use crate::policy::{Enforcement, PolicyId};
use crate::rules::Severity;
use crate::scan::{Judgement, Told, told};
use crate::world::{Object, WorkloadKey, World};

/// How many results a report has at most: those that a person reads, and what etcd takes without pain.
pub const MOST_RESULTS: usize = 250;
/// How many bytes its results have at most.
pub const MOST_BYTES: usize = 256 * 1024;
/// How long a text is at most, in characters.
const LONGEST_TEXT: usize = 1024;
/// Who says so.
const SOURCE: &str = "immutable-operator";
/// Argo CD looks at every change of what it does not track itself; a report is nothing for it.
const ARGO_ANNOTATION: &str = "argocd.argoproj.io/ignore-resource-updates";
/// How many results were left out.
const LEFT_OUT_ANNOTATION: &str = "immutable.dev/results-left-out";
/// What Events have told: the report is the memory of it, so that a restart repeats none.
pub const EVENTS_ANNOTATION: &str = "immutable.dev/events-told";

/// An API of reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReportApi {
    /// `openreports.io`
    OpenReports,
    /// `wgpolicyk8s.io`
    WgPolicy,
}

impl ReportApi {
    /// Both, the preferred one first.
    pub const ALL: [Self; 2] = [Self::OpenReports, Self::WgPolicy];

    /// `openreports.io`
    pub fn group(self) -> &'static str {
        match self {
            Self::OpenReports => "openreports.io",
            Self::WgPolicy => "wgpolicyk8s.io",
        }
    }

    /// `v1alpha1`
    pub fn version(self) -> &'static str {
        match self {
            Self::OpenReports => "v1alpha1",
            Self::WgPolicy => "v1alpha2",
        }
    }

    /// `openreports.io/v1alpha1`
    pub fn api_version(self) -> String {
        format!("{}/{}", self.group(), self.version())
    }

    /// `Report`
    pub fn kind(self) -> &'static str {
        match self {
            Self::OpenReports => "Report",
            Self::WgPolicy => "PolicyReport",
        }
    }

    /// `reports`
    pub fn resource(self) -> &'static str {
        match self {
            Self::OpenReports => "reports",
            Self::WgPolicy => "policyreports",
        }
    }
}

/// Which report: unique in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReportId {
    /// Its API.
    pub api: ReportApi,
    /// The namespace, which is that of its workload.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// What all names begin with.
const PREFIX: &str = "immutable-";

impl ReportId {
    /// The report of the workload with this uid.
    pub fn of(api: ReportApi, namespace: &str, uid: &str) -> Self {
        Self { api, namespace: namespace.to_owned(), name: format!("{PREFIX}{uid}") }
    }

    /// The uid of its workload; none where the name is not one that we give.
    pub fn workload_uid(&self) -> Option<&str> {
        self.name.strip_prefix(PREFIX)
    }
}

/// What to do about a report.
#[derive(Clone, Debug, PartialEq)]
pub enum ReportIntent {
    /// It is not there yet.
    Create(ReportId, Value),
    /// It says something else; exactly this version of it is replaced.
    Replace {
        /// which one
        id: ReportId,
        /// what it shall be
        manifest: Value,
        /// the uid that was seen
        uid: String,
        /// the version that was seen
        resource_version: String,
    },
    /// Nothing is left to say; exactly this version of it is deleted.
    Delete {
        /// which one
        id: ReportId,
        /// the uid that was seen
        uid: String,
        /// the version that was seen
        resource_version: String,
    },
}

impl ReportIntent {
    /// Has the report remember other Events than it would, and returns the digest of what it says then; none where
    /// nothing is written.
    pub fn remember(&mut self, events: &str) -> Option<[u8; 16]> {
        let (Self::Create(_, manifest) | Self::Replace { manifest, .. }) = self else { return None };
        if let Some(annotations) = manifest["metadata"]["annotations"].as_object_mut() {
            annotations.remove(EVENTS_ANNOTATION);
            if !events.is_empty() {
                annotations.insert(EVENTS_ANNOTATION.to_owned(), Value::from(events));
            }
        }
        Some(digest(manifest))
    }
}

/// What became of a rule on a subject, the worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// Broken, and enforced.
    Fail,
    /// It cannot be decided.
    Error,
    /// Broken, and only warned of or recorded.
    Warn,
    /// Excused by an exception.
    Skip,
}

/// One result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReportResult {
    source: &'static str,
    /// `production`, or `shop/production` for one of a namespace.
    pub policy: String,
    /// Absent where a policy cannot judge the workload at all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    category: Option<&'static str>,
    /// How bad it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// What became of it.
    pub result: Outcome,
    scored: bool,
    /// What is wrong.
    pub message: String,
    /// What tools and people look up: the fix, the path, the id.
    pub properties: BTreeMap<&'static str, String>,
}

impl ReportResult {
    /// The worst come first; what is equally bad has an order that stays.
    fn order(&self) -> impl Ord {
        let property = |name: &str| self.properties.get(name).map(String::as_str).unwrap_or_default();
        let (path, id) = (property("path"), property("resultID"));
        (self.result, self.severity, self.policy.as_str(), self.rule, path.len(), path, id)
    }
}

/// How many results there are of each sort, also of those that were left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ReportSummary {
    pass: u64,
    /// Broken, and enforced.
    pub fail: u64,
    /// Broken, and not enforced.
    pub warn: u64,
    /// Undecided.
    pub error: u64,
    /// Excused.
    pub skip: u64,
}

/// What is to be said of a workload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The worst first, and not more than fit.
    pub results: Vec<ReportResult>,
    /// All of them in numbers.
    pub summary: ReportSummary,
    /// How many did not fit.
    pub left_out: u64,
}

/// What is to be said of a workload; nothing where it breaks no rule of a policy that judges it.
pub fn report(world: &World, exceptions: &InEffect, key: &WorkloadKey, object: &Object) -> Option<Report> {
    let mut report = Report::default();
    for (id, policy) in world.policies_of(&key.namespace) {
        match told(world, exceptions, policy, key, object) {
            None => {}
            Some(Told::Undecided(why)) => report.add(undecided(&object.uid, id, &why)),
            Some(Told::Judged(judged)) => {
                for judgement in judged {
                    report.add(result(&object.uid, id, &judgement));
                }
            }
        }
    }
    report.finish();
    (!report.results.is_empty()).then_some(report)
}

impl Report {
    /// Takes a result in. What can no longer be among the worst is dropped on the way: a workload may have more
    /// findings than fit into memory at once.
    fn add(&mut self, result: ReportResult) {
        let count = match result.result {
            Outcome::Fail => &mut self.summary.fail,
            Outcome::Error => &mut self.summary.error,
            Outcome::Warn => &mut self.summary.warn,
            Outcome::Skip => &mut self.summary.skip,
        };
        *count += 1;
        self.results.push(result);
        if self.results.len() >= 2 * MOST_RESULTS {
            self.keep_the_worst();
        }
    }

    fn keep_the_worst(&mut self) {
        self.results.sort_by(|one, other| one.order().cmp(&other.order()));
        let dropped = self.results.len().saturating_sub(MOST_RESULTS);
        self.results.truncate(MOST_RESULTS);
        self.left_out += u64::try_from(dropped).unwrap_or(u64::MAX);
    }

    fn finish(&mut self) {
        self.keep_the_worst();
        let mut bytes = 0;
        let fitting = self.results.iter().take_while(|result| {
            bytes += serde_json::to_string(result).map_or(MOST_BYTES, |text| text.len());
            bytes <= MOST_BYTES
        });
        let fitting = fitting.count();
        self.left_out += u64::try_from(self.results.len() - fitting).unwrap_or(u64::MAX);
        self.results.truncate(fitting);
        // Consumers show properties of results and seldom annotations.
        if self.left_out > 0
            && let Some(last) = self.results.last_mut()
        {
            last.properties.insert("resultsLeftOut", self.left_out.to_string());
        }
    }

    /// Whether something was left out.
    pub fn is_capped(&self) -> bool {
        self.left_out > 0
    }

    /// The report as it is written; `events` is what Events told of the workload.
    pub fn manifest(
        &self,
        api: ReportApi,
        installation: &Installation,
        key: &WorkloadKey,
        uid: &str,
        events: &str,
    ) -> Value {
        let workload = json!({
            "apiVersion": key.kind.api_version(), "kind": key.kind.name(), "name": key.name, "uid": uid,
        });
        let mut scope = workload.clone();
        scope["namespace"] = Value::from(key.namespace.as_str());
        let mut manifest = json!({
            "apiVersion": api.api_version(),
            "kind": api.kind(),
            "metadata": {
                "name": ReportId::of(api, "", uid).name,
                "namespace": key.namespace,
                "labels": {MANAGED_BY.0: MANAGED_BY.1, INSTALLATION_LABEL: installation.label()},
                "annotations": {ARGO_ANNOTATION: "true"},
                // It goes with the workload, and never holds it up.
                "ownerReferences": [workload],
            },
            "scope": scope,
            "summary": self.summary,
            "results": self.results,
        });
        if !events.is_empty() {
            manifest["metadata"]["annotations"][EVENTS_ANNOTATION] = Value::from(events);
        }
        if self.left_out > 0 {
            manifest["metadata"]["annotations"][LEFT_OUT_ANNOTATION] = Value::from(self.left_out.to_string());
        }
        if api == ReportApi::OpenReports {
            manifest["source"] = Value::from(SOURCE);
            if self.left_out > 0 {
                manifest["configuration"] = json!({"limits": {"maxResults": self.results.len()}});
            }
        }
        manifest
    }
}

/// A digest of everything in a report that we write, as it is stored or shall be. What others add to its labels and
/// annotations is theirs.
pub fn digest(report: &Value) -> [u8; 16] {
    let metadata = &report["metadata"];
    let labels = [MANAGED_BY.0, INSTALLATION_LABEL].map(|key| &metadata["labels"][key]);
    let annotations =
        [ARGO_ANNOTATION, EVENTS_ANNOTATION, LEFT_OUT_ANNOTATION].map(|key| &metadata["annotations"][key]);
    let content = ["source", "scope", "scopeSelector", "configuration", "summary", "results"].map(|key| &report[key]);
    let ours = json!([labels, annotations, &metadata["ownerReferences"], content]);
    // Keys of maps are sorted.
    let whole = Sha256::digest(ours.to_string().as_bytes());
    let mut digest = [0; 16];
    digest.copy_from_slice(&whole[..16]);
    digest
}

/// What is known of a finding but by its words: it stays the same while the finding does.
fn result_id(uid: &str, policy: &PolicyId, rule: &str, about: &About, path: &str) -> String {
    let (kind, name) = match about {
        About::Container { name, .. } => ("container", name.as_str()),
        About::Volume(name) => ("volume", name.as_str()),
        About::Workload => ("workload", ""),
    };
    let parts = [uid, &policy.to_string(), rule, kind, name, path];
    // Each with its length, so that no two lists of parts come to the same text.
    let framed = parts.iter().fold(String::new(), |text, part| format!("{text}{}:{part}", part.len()));
    let mut id = names::digest(&framed);
    id.truncate(32);
    id
}

/// One line of bounded length: a user may have written it.
fn bounded(text: &str) -> String {
    let shown = |character: char| if character.is_control() { '?' } else { character };
    let mut bounded: String = text.chars().take(LONGEST_TEXT).map(shown).collect();
    if text.chars().nth(LONGEST_TEXT).is_some() {
        bounded.push_str("...");
    }
    bounded
}

fn result(uid: &str, policy: &PolicyId, judgement: &Judgement) -> ReportResult {
    let Judgement { finding, enforcement, exception } = judgement;
    let result = match (exception, finding.certainty, enforcement) {
        (Some(_), ..) => Outcome::Skip,
        (None, Certainty::Unknown, _) => Outcome::Error,
        (None, Certainty::Broken, Enforcement::Enforce) => Outcome::Fail,
        (None, Certainty::Broken, Enforcement::Warn | Enforcement::Audit) => Outcome::Warn,
    };
    let document = finding.rule.document();
    let mut properties = BTreeMap::from([
        ("enforcement", enforcement.to_string()),
        ("fix", bounded(&finding.fix)),
        ("path", bounded(&finding.pointer)),
        ("resultID", result_id(uid, policy, finding.rule.id(), &finding.about, &finding.pointer)),
    ]);
    match &finding.about {
        About::Container { name, .. } => drop(properties.insert("container", bounded(name))),
        About::Volume(name) => drop(properties.insert("volume", bounded(name))),
        About::Workload => {}
    }
    if let Some(exception) = exception {
        excused(exception, &mut properties);
    }
    ReportResult {
        source: SOURCE,
        policy: policy.to_string(),
        rule: Some(finding.rule.id()),
        category: Some(document.category.name()),
        severity: Some(document.severity),
        result,
        scored: result == Outcome::Fail,
        message: bounded(&format!("{}{}", finding.about.prefix(), finding.message)),
        properties,
    }
}

fn excused(exception: &Exception, properties: &mut BTreeMap<&'static str, String>) {
    properties.insert("exception", bounded(&exception.id.name));
    properties.insert("exceptionReason", bounded(&exception.reason));
    properties.insert("exceptionExpiresAt", exception.expires_at.to_string());
}

fn undecided(uid: &str, policy: &PolicyId, why: &str) -> ReportResult {
    ReportResult {
        source: SOURCE,
        policy: policy.to_string(),
        rule: None,
        category: None,
        severity: None,
        result: Outcome::Error,
        scored: false,
        message: bounded(&format!("it cannot be judged: {why}")),
        properties: BTreeMap::from([("resultID", result_id(uid, policy, "", &About::Workload, ""))]),
    }
}

#[cfg(test)]
mod tests;
