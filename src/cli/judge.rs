//! One object of the input -> what every policy says of it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use immutable_core::evaluate::{About, Certainty, Facts, Finding, evaluate};
use immutable_core::policy::{Enforcement, Match, NamespaceLabels, Policy};
use immutable_core::rules::ConfigKind;
use immutable_core::workload::{CustomWorkload, UnreadableWorkload, Workload};

use crate::manifest::{ErrorKind, ManifestError, Object, Position};
use crate::output::{Entry, Outcome, Place, Resource};

/// What is known beside the object that is judged.
pub(super) struct Context<'a> {
    /// The policies, with their names as reports show them.
    pub policies: Vec<(Arc<str>, &'a Policy)>,
    /// The custom workloads that any of them declares.
    pub custom: Vec<&'a CustomWorkload>,
    /// ConfigMaps and Secrets of the input.
    pub facts: Facts,
    /// Labels of the namespaces of the input.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Labels that a person gave for all namespaces that the input does not hold.
    pub given_labels: Option<BTreeMap<String, String>>,
    /// The namespace of objects that name none.
    pub default_namespace: String,
    /// Whether passes are listed.
    pub show_pass: bool,
}

/// What one object came to.
#[derive(Default)]
pub(super) struct Judged {
    /// Whether it is a workload that a policy judged.
    pub is_workload: bool,
    /// How many rules hold.
    pub passes: u64,
    /// Its results.
    pub entries: Vec<Entry>,
    /// An error that makes the input one that cannot be judged.
    pub error: Option<ManifestError>,
    /// Policies and namespaces whose match depends on labels that nobody gave.
    pub unknown_labels: BTreeSet<(String, String)>,
}

/// What one object adds to the facts.
pub(super) enum Fact {
    /// a ConfigMap or Secret
    Config { kind: ConfigKind, namespace: String, name: String, immutable: bool },
    /// a namespace
    Namespace { name: String, labels: BTreeMap<String, String> },
}

/// Reads the fact that an object is, if it is one.
pub(super) fn fact(object: &Object<'_>, default_namespace: &str) -> Option<Fact> {
    if object.api_version() != "v1" {
        return None;
    }
    let name = object.name()?.to_owned();
    let config = |kind| {
        let immutable = object
            .node()
            .get("immutable")
            .is_some_and(|node| matches!(node.value(), crate::manifest::Value::Bool(true)));
        let namespace = object.namespace().unwrap_or(default_namespace).to_owned();
        Some(Fact::Config { kind, namespace, name: name.clone(), immutable })
    };
    match object.kind() {
        "ConfigMap" => config(ConfigKind::ConfigMap),
        "Secret" => config(ConfigKind::Secret),
        "Namespace" => {
            #[derive(Default, serde::Deserialize)]
            #[serde(default)]
            struct View {
                metadata: immutable_core::workload::Metadata,
            }
            let mut labels = object.view::<View>().ok()?.metadata.labels;
            // The API server sets it on every namespace.
            labels.insert("kubernetes.io/metadata.name".to_owned(), name.clone());
            Some(Fact::Namespace { name, labels })
        }
        _ => None,
    }
}

impl Context<'_> {
    /// Judges one object by every policy.
    pub(super) fn judge(&self, object: &Object<'_>) -> Judged {
        match Workload::read(object.node(), object.api_version(), object.kind(), &self.custom) {
            Ok(None) => Judged::default(),
            Ok(Some(workload)) => self.judge_workload(object, &workload),
            Err(error) => self.unreadable(object, &error),
        }
    }

    fn judge_workload(&self, object: &Object<'_>, workload: &Workload) -> Judged {
        let mut judged = Judged::default();
        let namespace = match workload.metadata.namespace.as_str() {
            "" => self.default_namespace.as_str(),
            own => own,
        };
        let resource = Arc::new(Resource {
            api_version: workload.kind.api_version().to_owned(),
            kind: workload.kind.name().to_owned(),
            namespace: namespace.to_owned(),
            name: workload.name().to_owned(),
        });
        let file: Arc<str> = Arc::from(object.file());
        let place = |pointer: &str| {
            let Position { line, column } = object.locate(pointer);
            Place { file: Arc::clone(&file), line, column }
        };
        for (name, policy) in &self.policies {
            let labels = match self.namespaces.get(namespace).or(self.given_labels.as_ref()) {
                Some(labels) => NamespaceLabels::Known(labels),
                None => NamespaceLabels::Unknown,
            };
            match policy.matches(workload, namespace, labels, None) {
                Match::No => continue,
                Match::Unknown => {
                    judged.unknown_labels.insert((name.to_string(), namespace.to_owned()));
                }
                Match::Yes => {}
            }
            judged.is_workload = true;
            for verdict in evaluate(policy, workload, namespace, &self.facts) {
                let entry = |outcome, about, path: String, message, fix| Entry {
                    outcome,
                    rule: Some(verdict.rule),
                    policy: Some(Arc::clone(name)),
                    enforcement: Some(verdict.enforcement),
                    resource: Some(Arc::clone(&resource)),
                    about,
                    place: place(&path),
                    path,
                    message,
                    fix,
                    exception: None,
                };
                if verdict.findings.is_empty() {
                    judged.passes += 1;
                    if self.show_pass {
                        let title = verdict.rule.document().title.to_owned();
                        judged.entries.push(entry(Outcome::Pass, About::Workload, String::new(), title, String::new()));
                    }
                }
                for finding in verdict.findings {
                    let outcome = outcome(&finding, verdict.enforcement);
                    let Finding { about, pointer, message, fix, .. } = finding;
                    judged.entries.push(entry(outcome, about, pointer, message, fix));
                }
            }
        }
        judged
    }

    fn unreadable(&self, object: &Object<'_>, error: &UnreadableWorkload) -> Judged {
        let manifest_error = object.error(error.pointer(), ErrorKind::Value, error.to_string());
        let mut entry = unreadable_entry(&manifest_error);
        entry.resource = Some(Arc::new(Resource {
            api_version: object.api_version().to_owned(),
            kind: object.kind().to_owned(),
            namespace: object.namespace().unwrap_or(&self.default_namespace).to_owned(),
            name: object.name().unwrap_or_default().to_owned(),
        }));
        error.pointer().clone_into(&mut entry.path);
        Judged { entries: vec![entry], error: Some(manifest_error), ..Judged::default() }
    }
}

fn outcome(finding: &Finding, enforcement: Enforcement) -> Outcome {
    match (finding.certainty, enforcement) {
        (Certainty::Unknown, _) => Outcome::Error,
        (Certainty::Broken, Enforcement::Enforce) => Outcome::Fail,
        (Certainty::Broken, Enforcement::Warn | Enforcement::Audit) => Outcome::Warn,
    }
}

/// The result for an input that cannot be judged: never a pass.
pub(super) fn unreadable_entry(error: &ManifestError) -> Entry {
    Entry {
        outcome: Outcome::Error,
        rule: None,
        policy: None,
        enforcement: None,
        resource: None,
        about: About::Workload,
        path: String::new(),
        message: error.message.clone(),
        fix: String::new(),
        place: Place { file: Arc::from(error.file.as_str()), line: error.position.line, column: error.position.column },
        exception: None,
    }
}
