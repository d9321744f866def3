//! One object of the input -> what every policy says of it.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use immutable_core::evaluate::Facts;
use immutable_core::exception::InEffect;
use immutable_core::policy::{Match, NamespaceLabels, Policy};
use immutable_core::rules::ConfigKind;
use immutable_core::scan::verdicts;
use immutable_core::workload::{CustomWorkload, Workload};

use super::results::{Of, unreadable};
use crate::manifest::{ErrorKind, Locator, ManifestError, Object, Position, UNRENDERED};
use crate::operator::DEFAULT_NAMESPACE;
use crate::output::{Entry, Place, Resource};

/// What is known beside the object that is judged.
pub(super) struct Context<'a> {
    /// The policies, with their names as reports show them.
    pub policies: Vec<(Arc<str>, &'a Policy)>,
    /// ConfigMaps and Secrets of the input.
    pub facts: Facts,
    /// Labels of the namespaces of the input; none where they cannot be told.
    pub namespaces: BTreeMap<String, Option<BTreeMap<String, String>>>,
    /// Labels that a person gave for all namespaces that the input does not hold.
    pub given_labels: Option<BTreeMap<String, String>>,
    /// The namespace of objects that name none.
    pub default_namespace: String,
    /// Whether passes are listed.
    pub show_pass: bool,
    /// What excuses findings.
    pub exceptions: InEffect,
}

/// What one object came to.
#[derive(Default)]
pub(super) struct Judged {
    /// Whether it is a workload, judged or not.
    pub carries_pods: bool,
    /// Whether it is a workload that a policy judged.
    pub is_workload: bool,
    /// How many rules hold.
    pub passes: u64,
    /// Its results.
    pub entries: Vec<Entry>,
    /// Errors that make the input one that cannot be judged.
    pub errors: Vec<ManifestError>,
    /// Policies and namespaces whose match depends on labels that nobody gave.
    pub unknown_labels: BTreeSet<(String, String)>,
}

/// What one object adds to the facts.
pub(super) enum Fact {
    /// a ConfigMap or Secret
    Config { kind: ConfigKind, namespace: String, name: String, immutable: bool },
    /// a namespace, with its labels if they can be read
    Namespace { name: String, labels: Option<BTreeMap<String, String>> },
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
            let labels = object.view::<View>().ok().map(|view| with_name(view.metadata.labels, &name));
            Some(Fact::Namespace { name, labels })
        }
        _ => None,
    }
}

/// The labels of a namespace with the one that the API server sets on every namespace.
fn with_name(mut labels: BTreeMap<String, String>, name: &str) -> BTreeMap<String, String> {
    labels.insert("kubernetes.io/metadata.name".to_owned(), name.to_owned());
    labels
}

/// What the entries of one object have in common.
struct Common<'a, 'tree> {
    resource: Arc<Resource>,
    file: Arc<str>,
    locator: RefCell<Locator<'tree>>,
    namespace: &'a str,
    labels: Option<BTreeMap<String, String>>,
}

impl Context<'_> {
    /// Judges one object by every policy.
    pub(super) fn judge(&self, object: &Object<'_>) -> Judged {
        let declares = |policy: &Policy| {
            let mut custom = policy.custom_workloads().iter();
            custom.any(|custom| custom.declares(object.api_version(), object.kind()))
        };
        let read = |custom: &[&CustomWorkload]| {
            let workload = Workload::read(object.node(), object.api_version(), object.kind(), custom);
            workload.map_err(|error| (error.pointer().to_owned(), ErrorKind::Value, error.to_string())).and_then(
                |workload| match workload.as_ref().and_then(template_pointer) {
                    Some(pointer) => Err((pointer, ErrorKind::Template, UNRENDERED.to_owned())),
                    None => Ok(workload),
                },
            )
        };
        let mut judged = Judged::default();
        if !self.policies.iter().any(|(_, policy)| declares(policy)) {
            match read(&[]) {
                Ok(None) => {}
                Ok(Some(workload)) => {
                    judged.carries_pods = true;
                    let common = self.common(object, &workload);
                    for (name, policy) in &self.policies {
                        self.judge_workload(&common, &workload, name, policy, &mut judged);
                    }
                }
                Err((pointer, kind, message)) => self.unreadable(object, &pointer, kind, message, &mut judged),
            }
            return judged;
        }
        // Each policy says for itself where the templates are.
        let mut common = None;
        for (name, policy) in self.policies.iter().filter(|(_, policy)| declares(policy)) {
            match read(&policy.custom_workloads().iter().collect::<Vec<_>>()) {
                Ok(None) => {}
                Ok(Some(workload)) => {
                    let common = common.get_or_insert_with(|| self.common(object, &workload));
                    self.judge_workload(common, &workload, name, policy, &mut judged);
                }
                Err((pointer, kind, message)) => self.unreadable(object, &pointer, kind, message, &mut judged),
            }
        }
        judged
    }

    fn common<'a, 'tree>(&'a self, object: &Object<'tree>, workload: &Workload) -> Common<'a, 'tree>
    where
        'tree: 'a,
    {
        let namespace = object.namespace().unwrap_or(&self.default_namespace);
        let labels = match self.namespaces.get(namespace) {
            Some(labels) => labels.clone(),
            None => self.given_labels.clone().map(|labels| with_name(labels, namespace)),
        };
        Common {
            resource: Arc::new(Resource {
                api_version: workload.kind.api_version().to_owned(),
                kind: workload.kind.name().to_owned(),
                namespace: namespace.to_owned(),
                name: workload.name().to_owned(),
            }),
            file: Arc::from(object.file()),
            locator: RefCell::new(Locator::new(object.node())),
            namespace,
            labels,
        }
    }

    fn judge_workload(
        &self,
        common: &Common<'_, '_>,
        workload: &Workload,
        name: &Arc<str>,
        policy: &Policy,
        judged: &mut Judged,
    ) {
        let labels = common.labels.as_ref().map_or(NamespaceLabels::Unknown, NamespaceLabels::Known);
        match policy.matches(workload, common.namespace, labels, Some(DEFAULT_NAMESPACE)) {
            Match::No => return,
            Match::Unknown => {
                judged.unknown_labels.insert((name.to_string(), common.namespace.to_owned()));
            }
            Match::Yes => {}
        }
        judged.is_workload = true;
        let verdicts = verdicts(policy, workload, common.namespace, &[], &self.facts, &self.exceptions);
        let of = Of { policy: name, resource: &common.resource, show_pass: self.show_pass };
        let place = |path: &str| {
            let Position { line, column } = common.locator.borrow_mut().locate(path);
            Place { file: Arc::clone(&common.file), line, column }
        };
        judged.passes += of.entries(verdicts, place, &mut judged.entries);
    }

    /// Records that an object cannot be judged; once, however many policies find that.
    fn unreadable(&self, object: &Object<'_>, pointer: &str, kind: ErrorKind, message: String, judged: &mut Judged) {
        let error = object.error(pointer, kind, message);
        if judged.errors.contains(&error) {
            return;
        }
        let resource = Resource {
            api_version: object.api_version().to_owned(),
            kind: object.kind().to_owned(),
            namespace: object.namespace().unwrap_or(&self.default_namespace).to_owned(),
            name: object.name().unwrap_or_default().to_owned(),
        };
        let entry = Entry { resource: Some(Arc::new(resource)), path: pointer.to_owned(), ..unreadable_entry(&error) };
        judged.entries.push(entry);
        judged.errors.push(error);
    }
}

/// Where a workload still has a template of Helm or the like in what identifies it or is run by it. In quotes that is
/// YAML like any other, and judging it would judge something that never runs.
fn template_pointer(workload: &Workload) -> Option<String> {
    let unrendered = |text: &str| text.contains("{{");
    let metadata = &workload.metadata;
    let names = [
        ("/metadata/name", &metadata.name),
        ("/metadata/generateName", &metadata.generate_name),
        ("/metadata/namespace", &metadata.namespace),
    ];
    if let Some((pointer, _)) = names.into_iter().find(|(_, text)| unrendered(text)) {
        return Some(pointer.to_owned());
    }
    workload.templates.iter().find_map(|template| {
        template.spec.all_containers().find_map(|(container_type, index, container)| {
            let fields = [("name", &container.name), ("image", &container.image)];
            let (field, _) = fields.into_iter().find(|(_, text)| unrendered(text))?;
            Some(format!("{}/{}/{index}/{field}", template.pointer, container_type.field()))
        })
    })
}

/// The result for an input that cannot be judged.
pub(super) fn unreadable_entry(error: &ManifestError) -> Entry {
    let ManifestError { file, position: Position { line, column }, message, .. } = error;
    let place = Place { file: Arc::from(file.as_str()), line: *line, column: *column };
    unreadable(message.clone(), place, None, String::new())
}
