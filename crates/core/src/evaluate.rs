//! (policy, workload, facts) -> findings.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use crate::policy::{EffectiveRule, Enforcement, Policy};
use crate::references::{ReferredBy, references};
use crate::rules::{Case, ConfigKind, ContainerView, ImageView, RuleId, Subject, printable};
use crate::workload::{ContainerType, PodTemplate, Workload};

/// What is known beside the workload itself.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// By kind, namespace and name: whether it is immutable.
    configs: BTreeMap<ConfigKind, BTreeMap<String, BTreeMap<String, bool>>>,
    /// The kinds of which all are known.
    complete: BTreeSet<ConfigKind>,
}

impl Facts {
    /// Facts of a whole cluster: what is not among them does not exist.
    pub fn complete() -> Self {
        Self { configs: BTreeMap::new(), complete: [ConfigKind::ConfigMap, ConfigKind::Secret].into() }
    }

    /// Says whether all of a kind are known.
    pub fn set_complete(&mut self, kind: ConfigKind, complete: bool) {
        if complete {
            self.complete.insert(kind);
        } else {
            self.complete.remove(&kind);
        }
    }

    /// Whether all of a kind are known.
    pub fn is_complete(&self, kind: ConfigKind) -> bool {
        self.complete.contains(&kind)
    }

    /// Forgets a ConfigMap or Secret.
    pub fn remove(&mut self, kind: ConfigKind, namespace: &str, name: &str) {
        if let Some(of_kind) = self.configs.get_mut(&kind)
            && let Some(of_namespace) = of_kind.get_mut(namespace)
        {
            of_namespace.remove(name);
            if of_namespace.is_empty() {
                of_kind.remove(namespace);
            }
        }
    }

    /// Whether one is known to be immutable, or not to be.
    pub fn immutable(&self, kind: ConfigKind, namespace: &str, name: &str) -> Option<bool> {
        self.configs.get(&kind)?.get(namespace)?.get(name).copied()
    }

    /// Every one of a kind that is known, with its namespace.
    pub fn of_kind(&self, kind: ConfigKind) -> impl Iterator<Item = (&str, &str)> {
        self.configs
            .get(&kind)
            .into_iter()
            .flatten()
            .flat_map(|(namespace, names)| names.keys().map(move |name| (namespace.as_str(), name.as_str())))
    }

    /// Records a ConfigMap or Secret and whether it is immutable.
    pub fn insert(&mut self, kind: ConfigKind, namespace: &str, name: &str, immutable: bool) {
        let of_namespace = self.configs.entry(kind).or_default().entry(namespace.to_owned()).or_default();
        of_namespace.insert(name.to_owned(), immutable);
    }

    fn config(&self, kind: ConfigKind, namespace: &str, name: &str) -> ConfigFact {
        match self.immutable(kind, namespace, name) {
            Some(true) => ConfigFact::Immutable,
            Some(false) => ConfigFact::Mutable,
            None if self.is_complete(kind) => ConfigFact::Absent,
            None => ConfigFact::Unknown,
        }
    }
}

/// What is known of one referenced object.
enum ConfigFact {
    Immutable,
    Mutable,
    Absent,
    Unknown,
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum About {
    /// A container of some list.
    Container {
        /// its name
        name: String,
        /// its list
        container_type: ContainerType,
    },
    /// A volume, by name.
    Volume(String),
    /// The workload as a whole.
    Workload,
}

impl About {
    /// How a sentence about it begins: `container app: `; empty for the workload.
    pub fn prefix(&self) -> String {
        match self {
            Self::Container { name, container_type } => format!("{} {}: ", container_type.name(), printable(name)),
            Self::Volume(name) => format!("volume {}: ", printable(name)),
            Self::Workload => String::new(),
        }
    }
}

/// One way in which a workload breaks a rule, or cannot be judged by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The rule.
    pub rule: RuleId,
    /// What it is about.
    pub about: About,
    /// JSON Pointer of the field to be written, present or not.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// What to write.
    pub fix: String,
    /// Whether it is a verdict, or the admission that none is possible.
    pub certainty: Certainty,
}

/// Whether a finding is known to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certainty {
    /// The rule is broken.
    Broken,
    /// The facts do not say.
    Unknown,
}

/// What one rule of a policy says of a workload; without findings the workload passes.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    /// The rule.
    pub rule: RuleId,
    /// What happens when it is broken.
    pub enforcement: Enforcement,
    /// The ways in which it is.
    pub findings: Vec<Finding>,
}

/// Judges a workload in a namespace by every rule of a policy that has something to say of it.
pub fn evaluate(policy: &Policy, workload: &Workload, namespace: &str, facts: &Facts) -> Vec<Verdict> {
    let templates: Vec<TemplateViews<'_>> = workload.templates.iter().map(TemplateViews::new).collect();
    policy
        .rules
        .iter()
        .filter_map(|rule| {
            let mut findings = Vec::new();
            let mut applies = false;
            for template in &templates {
                applies |= judge_template(rule, template, &mut findings);
                applies |= judge_config(rule, template, namespace, facts, &mut findings);
            }
            applies |= judge_strategy(rule, workload, &mut findings);
            applies.then_some(Verdict { rule: rule.rule, enforcement: rule.enforcement, findings })
        })
        .collect()
}

/// The views of a template: made once, images parsed once, for all rules.
struct TemplateViews<'a> {
    template: &'a PodTemplate,
    containers: Vec<(usize, ContainerView<'a>)>,
    images: Vec<PlacedImage<'a>>,
}

/// An image with its owner and the pointer of its text.
struct PlacedImage<'a> {
    view: ImageView<'a>,
    about: About,
    pointer: ImagePointer,
}

/// Where an image stands below the pod spec; made into text only for a finding.
enum ImagePointer {
    Container(ContainerType, usize),
    Volume(usize),
}

impl<'a> TemplateViews<'a> {
    fn new(template: &'a PodTemplate) -> Self {
        let pod = &template.spec;
        let on_host = pod.volumes.iter().filter(|volume| volume.host_path.is_some());
        let host_paths: Rc<BTreeSet<&str>> = Rc::new(on_host.map(|volume| volume.name.as_str()).collect());
        let containers: Vec<_> = pod
            .all_containers()
            .map(|(container_type, index, container)| {
                (index, ContainerView { container_type, container, pod, host_paths: Rc::clone(&host_paths) })
            })
            .collect();
        let of_containers = containers.iter().map(|(index, view)| PlacedImage {
            view: ImageView::new(&view.container.image, pod),
            about: About::Container { name: view.container.name.clone(), container_type: view.container_type },
            pointer: ImagePointer::Container(view.container_type, *index),
        });
        let of_volumes = pod.volumes.iter().enumerate().filter_map(|(index, volume)| {
            volume.image.as_ref().map(|image| PlacedImage {
                view: ImageView::new(&image.reference, pod),
                about: About::Volume(volume.name.clone()),
                pointer: ImagePointer::Volume(index),
            })
        });
        let images = of_containers.chain(of_volumes).collect();
        Self { template, containers, images }
    }
}

fn judge_template(rule: &EffectiveRule, views: &TemplateViews<'_>, findings: &mut Vec<Finding>) -> bool {
    let pod = &views.template.spec;
    let pod_pointer = &views.template.pointer;
    for image in &views.images {
        let base = || match image.pointer {
            ImagePointer::Container(list, index) => format!("{pod_pointer}/{}/{index}/image", list.field()),
            ImagePointer::Volume(index) => format!("{pod_pointer}/volumes/{index}/image/reference"),
        };
        findings.extend(first_case(rule.rule, rule.checks.image_cases(), &image.view, || image.about.clone(), base));
    }
    for check in rule.checks.containers.iter().filter(|check| !(check.linux_only && pod.is_windows())) {
        for (index, view) in &views.containers {
            if check.lists.contains(&view.container_type) {
                let container_type = view.container_type;
                let about = || About::Container { name: view.container.name.clone(), container_type };
                let base = || format!("{pod_pointer}/{}/{index}", container_type.field());
                findings.extend(first_case(rule.rule, &check.cases, view, about, base));
            }
        }
    }
    for (index, volume) in pod.volumes.iter().enumerate() {
        let about = || About::Volume(volume.name.clone());
        let base = || format!("{pod_pointer}/volumes/{index}");
        findings.extend(first_case(rule.rule, &rule.checks.volumes, &volume, about, base));
    }
    rule.checks.concern_pods()
}

fn judge_strategy(rule: &EffectiveRule, workload: &Workload, findings: &mut Vec<Finding>) -> bool {
    let Some(strategy) = &workload.strategy else { return false };
    let Some(check) = rule.checks.strategies.iter().find(|check| check.kind == strategy.kind) else { return false };
    findings.extend(first_case(rule.rule, &check.cases, &strategy, || About::Workload, String::new));
    true
}

/// The first case that holds is the finding.
fn first_case<'c, S: Subject>(
    rule: RuleId,
    cases: impl IntoIterator<Item = &'c Case<S>>,
    view: &S::View<'_>,
    about: impl FnOnce() -> About,
    base: impl FnOnce() -> String,
) -> Option<Finding> {
    let case = cases.into_iter().find(|case| case.holds(view))?;
    let mut pointer = base();
    pointer.push_str(&case.field(view));
    Some(Finding {
        rule,
        about: about(),
        pointer,
        message: case.message().render(view),
        fix: case.fix().render(view),
        certainty: Certainty::Broken,
    })
}

/// The authority of the API server, which the cluster keeps in every namespace and mounts into every Pod.
fn is_of_the_cluster(kind: ConfigKind, name: &str) -> bool {
    kind == ConfigKind::ConfigMap && name == "kube-root-ca.crt"
}

/// `immutable-config` is the one rule that needs facts beside the workload.
fn judge_config(
    rule: &EffectiveRule,
    views: &TemplateViews<'_>,
    namespace: &str,
    facts: &Facts,
    findings: &mut Vec<Finding>,
) -> bool {
    let Some(kinds) = &rule.checks.config else { return false };
    for reference in references(&views.template.spec) {
        if !kinds.contains(&reference.kind) || is_of_the_cluster(reference.kind, reference.name) {
            continue;
        }
        let (kind, name) = (reference.kind.name(), printable(reference.name));
        let (message, fix, certainty) = match facts.config(reference.kind, namespace, reference.name) {
            ConfigFact::Immutable => continue,
            ConfigFact::Absent if reference.optional => continue,
            ConfigFact::Mutable => (
                format!("{kind} {name} is not immutable"),
                format!("write immutable: true in the {kind}, and a new name for new content"),
                Certainty::Broken,
            ),
            ConfigFact::Absent => (
                format!("{kind} {name} does not exist"),
                format!("create the {kind} with immutable: true"),
                Certainty::Unknown,
            ),
            ConfigFact::Unknown => (
                format!("{kind} {name} is not among what was given, so it cannot be judged"),
                format!("give the {kind} as input too"),
                Certainty::Unknown,
            ),
        };
        findings.push(Finding {
            rule: rule.rule,
            about: match reference.by {
                ReferredBy::Container(container_type, name) => {
                    About::Container { name: name.to_owned(), container_type }
                }
                ReferredBy::Volume(name) => About::Volume(name.to_owned()),
            },
            pointer: format!("{}{}", views.template.pointer, reference.pointer),
            message,
            fix,
            certainty,
        });
    }
    true
}
