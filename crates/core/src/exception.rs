//! Who is excused from which rule until when: one evaluator, with the time as an argument.
//!
//! An exception always expires and always has a reason. It excuses workloads of its own namespace only, and each
//! finding needs one that is in effect: two never make up for each other.

use std::fmt;

use jiff::Timestamp;

use crate::evaluate::{About, Finding};
use crate::glob::Glob;
use crate::policy::{Policy, PolicyId};
use crate::rules::RuleId;
use crate::selector::LabelSelector;
use crate::workload::Workload;

/// How many exceptions of a namespace are honoured: a tenant must not make what is compiled large.
pub const MOST_PER_NAMESPACE: usize = 20;
/// How many patterns each may have.
pub const MOST_PATTERNS: usize = 16;
/// The shortest reason: what is shorter tells nobody anything.
pub const SHORTEST_REASON: usize = 10;

/// Which exception: a name is unique in its namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExceptionId {
    /// The namespace whose workloads it excuses.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for ExceptionId {
    /// `shop/legacy-image`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.namespace, self.name)
    }
}

/// A policy that an exception names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyReference {
    /// `ImmutablePolicy`, then of the exception's namespace, or `ClusterImmutablePolicy`
    pub namespaced: bool,
    /// its name
    pub name: String,
}

/// Which workloads an exception excuses; all that is given must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkloadFilter {
    /// Kinds, such as Deployment; empty for every one.
    pub kinds: Vec<String>,
    /// Patterns over the name; empty for every one.
    pub names: Vec<Glob>,
    /// Labels of the workload. They are self-service: a policy must allow it.
    pub selector: LabelSelector,
}

/// A validated exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    /// Which one.
    pub id: ExceptionId,
    /// The policies that it is about; empty for every one.
    pub policies: Vec<PolicyReference>,
    /// The rules that it excuses from; at least one.
    pub rules: Vec<RuleId>,
    /// The workloads.
    pub workloads: WorkloadFilter,
    /// Patterns over images; empty for every one, and for what has none.
    pub images: Vec<Glob>,
    /// Names of containers; empty for every one, and for what is none.
    pub containers: Vec<String>,
    /// Why.
    pub reason: String,
    /// Where it was asked for.
    pub ticket: Option<String>,
    /// When it was created, as the API server says; none in a file.
    pub created: Option<Timestamp>,
    /// When it ends.
    pub expires_at: Timestamp,
}

/// Whether an exception counts, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// It counts.
    InEffect,
    /// Its time is over.
    Expired,
    /// It is not about this policy.
    OtherPolicy,
    /// It lives longer than the policy allows.
    TooLong,
    /// It is beyond the number, or has more patterns, than are honoured.
    TooMany,
    /// The policy does not let one of its rules be excused.
    RuleNotExcusable,
    /// The policy does not let workloads be chosen by labels.
    SelectorNotAllowed,
}

impl Standing {
    /// The reason of the condition Active.
    pub fn reason(self) -> &'static str {
        match self {
            Self::InEffect => "InEffect",
            Self::Expired => "Expired",
            Self::OtherPolicy => "PolicyNotFound",
            Self::TooLong => "TooLong",
            Self::TooMany => "TooMany",
            Self::RuleNotExcusable => "RuleNotExcusable",
            Self::SelectorNotAllowed => "SelectorNotAllowed",
        }
    }
}

impl Exception {
    /// Whether it counts for a policy at a moment. How many there are of its namespace is for [`Exceptions`] to say.
    pub fn standing(&self, policy: &Policy, now: Timestamp) -> Standing {
        let allowed = &policy.exceptions;
        let lifetime = self.expires_at.duration_since(self.created.unwrap_or(now));
        let is_excusable = |rule: &RuleId| allowed.rules.as_ref().is_none_or(|excusable| excusable.contains(rule));
        if !self.is_about(&policy.id) {
            Standing::OtherPolicy
        } else if now >= self.expires_at {
            Standing::Expired
        } else if lifetime > allowed.max_duration {
            Standing::TooLong
        } else if self.workloads.names.len() + self.images.len() > MOST_PATTERNS {
            Standing::TooMany
        } else if !self.rules.iter().all(is_excusable) {
            Standing::RuleNotExcusable
        } else if !self.workloads.selector.is_empty() && !allowed.selectors {
            Standing::SelectorNotAllowed
        } else {
            Standing::InEffect
        }
    }

    /// Whether it is about a policy: by name, and a namespaced one only of its own namespace.
    fn is_about(&self, policy: &PolicyId) -> bool {
        if policy.namespace.as_ref().is_some_and(|namespace| *namespace != self.id.namespace) {
            return false;
        }
        let is_named = |reference: &PolicyReference| {
            reference.namespaced == policy.namespace.is_some() && reference.name == policy.name
        };
        self.policies.is_empty() || self.policies.iter().any(is_named)
    }

    /// Whether a finding about a workload of its namespace is one that it excuses, if it counts.
    pub fn covers(&self, workload: &Workload, finding: &Finding) -> bool {
        let WorkloadFilter { kinds, names, selector } = &self.workloads;
        let of_kind = kinds.is_empty() || kinds.iter().any(|kind| kind == workload.kind.name());
        let of_name = names.is_empty() || names.iter().any(|name| name.matches(workload.name()));
        let of_container = || match &finding.about {
            About::Container { name, .. } => self.containers.contains(name),
            About::Volume(_) | About::Workload => false,
        };
        let of_image = || {
            let image = image(workload, finding);
            image.is_some_and(|image| self.images.iter().any(|pattern| pattern.matches(image)))
        };
        self.rules.contains(&finding.rule)
            && of_kind
            && of_name
            && selector.matches(&workload.metadata.labels)
            && (self.containers.is_empty() || of_container())
            && (self.images.is_empty() || of_image())
    }
}

/// The image of the container or volume that a finding is about.
fn image<'w>(workload: &'w Workload, finding: &Finding) -> Option<&'w str> {
    let template = workload.templates.iter().find(|template| finding.pointer.starts_with(&template.pointer))?;
    match &finding.about {
        About::Container { name, container_type } => {
            let mut containers = template.spec.list(*container_type).iter();
            containers.find(|container| container.name == *name).map(|container| container.image.as_str())
        }
        About::Volume(name) => {
            let volume = template.spec.volumes.iter().find(|volume| volume.name == *name)?;
            volume.image.as_ref().map(|image| image.reference.as_str())
        }
        About::Workload => None,
    }
}

/// All exceptions there are.
#[derive(Clone, Debug, Default)]
pub struct Exceptions {
    /// Ordered by namespace, then by age, then by name: the oldest of a namespace are honoured.
    all: Vec<Exception>,
}

impl Exceptions {
    /// Takes them in any order.
    pub fn new(mut all: Vec<Exception>) -> Self {
        let order =
            |exception: &Exception| (exception.id.namespace.clone(), exception.created, exception.id.name.clone());
        all.sort_by_key(order);
        Self { all }
    }

    /// Whether one counts for a policy at a moment. Expired ones take no place of others.
    pub fn standing(&self, exception: &Exception, policy: &Policy, now: Timestamp) -> Standing {
        let standing = exception.standing(policy, now);
        let mut living = self.of_namespace(&exception.id.namespace).filter(|other| now < other.expires_at);
        let is_honoured = living.by_ref().take(MOST_PER_NAMESPACE).any(|other| other.id == exception.id);
        if standing == Standing::InEffect && !is_honoured { Standing::TooMany } else { standing }
    }

    /// The exception that excuses a finding of a policy about a workload, if there is one.
    pub fn excuse(
        &self,
        policy: &Policy,
        namespace: &str,
        workload: &Workload,
        finding: &Finding,
        now: Timestamp,
    ) -> Option<&Exception> {
        self.of_namespace(namespace).find(|exception| {
            exception.covers(workload, finding) && self.standing(exception, policy, now) == Standing::InEffect
        })
    }

    /// Every one.
    pub fn iter(&self) -> impl Iterator<Item = &Exception> {
        self.all.iter()
    }

    fn of_namespace(&self, namespace: &str) -> impl Iterator<Item = &Exception> {
        let start = self.all.partition_point(|exception| exception.id.namespace.as_str() < namespace);
        self.all[start..].iter().take_while(move |exception| exception.id.namespace == namespace)
    }
}
