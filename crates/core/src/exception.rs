//! Who is excused from which rule until when: one evaluator, with the time as an argument.
//!
//! An exception always expires and always has a reason. It excuses workloads of its own namespace only, and each
//! finding needs one that is in effect: two never make up for each other.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;

use crate::evaluate::{About, Finding};
use crate::glob::Glob;
use crate::policy::{Policy, PolicyId};
use crate::rules::RuleId;
use crate::selector::LabelSelector;
use crate::workload::{ContainerType, PodTemplate, Workload};

/// How many exceptions of a namespace are honoured: a tenant must not make what is compiled large.
pub const MOST_PER_NAMESPACE: usize = 20;
/// How many patterns each may have.
pub const MOST_PATTERNS: usize = 16;
/// How many characters all exceptions of one policy may come to in what is compiled: etcd takes objects of 1.5 MiB.
/// Beyond that each namespace has a share, and keeps its oldest.
pub const MOST_TEXT: usize = 600_000;
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
    /// When it ends, in whole seconds: so does the API server tell the time of a request.
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

    /// How many characters it comes to in what is compiled, at most.
    pub(crate) fn text_size(&self) -> usize {
        let WorkloadFilter { kinds, names, selector } = &self.workloads;
        let patterns = names.iter().chain(&self.images).map(|pattern| pattern.as_str().len() * 5 + 1);
        let words = kinds.iter().chain(&self.containers).map(|word| word.len() + 1);
        let rules = self.rules.iter().map(|rule| rule.id().len() + 1);
        100 + patterns.chain(words).chain(rules).sum::<usize>() + selector.text_size()
    }

    /// Whether a finding about a workload of its namespace is one that it excuses, if it counts. `made_from` names
    /// what the workload was made from, if anything: what is excused excuses what is derived from it.
    pub fn covers(&self, workload: &Workload, made_from: &[Named<'_>], finding: &Finding) -> bool {
        let WorkloadFilter { kinds, names, selector } = &self.workloads;
        let is_meant = |named: &Named<'_>| {
            (kinds.is_empty() || kinds.iter().any(|kind| kind == named.kind))
                && (names.is_empty() || names.iter().any(|name| name.matches(named.name)))
        };
        let itself = Named { kind: workload.kind.name(), name: workload.name() };
        let of_container = || match &finding.about {
            About::Container { name, .. } => self.containers.contains(name),
            About::Volume(_) | About::Workload => false,
        };
        let of_image = || {
            let image = image(workload, finding);
            image.is_some_and(|image| self.images.iter().any(|pattern| pattern.matches(image)))
        };
        self.rules.contains(&finding.rule)
            && (is_meant(&itself) || made_from.iter().any(is_meant))
            && selector.matches(&workload.metadata.labels)
            && (self.containers.is_empty() || of_container())
            && (self.images.is_empty() || of_image())
    }
}

/// The image of the container or volume that a finding is about: by its place, since nobody has seen to it that the
/// names of a custom resource differ.
fn image<'w>(workload: &'w Workload, finding: &Finding) -> Option<&'w str> {
    let below = |template: &'w PodTemplate| Some((template, finding.pointer.strip_prefix(&*template.pointer)?));
    let (template, place) = workload.templates.iter().find_map(below)?;
    let mut segments = place.split('/').skip(1);
    let (list, index) = (segments.next()?, segments.next()?.parse::<usize>().ok()?);
    if list == "volumes" {
        return template.spec.volumes.get(index)?.image.as_ref().map(|image| image.reference.as_str());
    }
    let list = ContainerType::ALL.into_iter().find(|container_type| container_type.field() == list)?;
    template.spec.list(list).get(index).map(|container| container.image.as_str())
}

/// An object by what exceptions choose it by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named<'a> {
    /// its kind
    pub kind: &'a str,
    /// its name
    pub name: &'a str,
}

/// All exceptions there are.
#[derive(Clone, Debug, Default)]
pub struct Exceptions {
    by_namespace: BTreeMap<String, Vec<Arc<Exception>>>,
}

impl Exceptions {
    /// Takes them in any order.
    pub fn new(all: Vec<Exception>) -> Self {
        let mut exceptions = Self::default();
        for exception in all {
            exceptions.insert(Arc::new(exception));
        }
        exceptions
    }

    /// Takes one in, in the place of the one that it replaces.
    pub fn insert(&mut self, exception: Arc<Exception>) {
        self.remove(&exception.id);
        let of_namespace = self.by_namespace.entry(exception.id.namespace.clone()).or_default();
        // The oldest of a namespace are honoured.
        let age = |exception: &Exception| (exception.created, exception.id.name.clone());
        let at = of_namespace.partition_point(|other| age(other) < age(&exception));
        of_namespace.insert(at, exception);
    }

    /// Forgets one.
    pub fn remove(&mut self, id: &ExceptionId) {
        if let Some(of_namespace) = self.by_namespace.get_mut(&id.namespace) {
            of_namespace.retain(|exception| exception.id != *id);
            if of_namespace.is_empty() {
                self.by_namespace.remove(&id.namespace);
            }
        }
    }

    /// Every one.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Exception>> {
        self.by_namespace.values().flatten()
    }

    /// Which of them count at a moment, for each of some policies.
    pub fn in_effect<'a>(&self, policies: impl IntoIterator<Item = &'a Policy>, now: Timestamp) -> InEffect {
        let mut in_effect = InEffect::default();
        let mut living: BTreeMap<&str, Vec<&Arc<Exception>>> = BTreeMap::new();
        for (namespace, all) in &self.by_namespace {
            // Expired ones take no place of others.
            let of_namespace: Vec<_> = all.iter().filter(|exception| now < exception.expires_at).collect();
            let ends = of_namespace.iter().map(|exception| exception.expires_at).min();
            in_effect.until = in_effect.until.into_iter().chain(ends).min();
            living.insert(namespace, of_namespace);
        }
        for policy in policies {
            let of_policy = match &policy.id.namespace {
                Some(namespace) => living.get_key_value(namespace.as_str()).into_iter().collect(),
                None => living.iter().collect::<Vec<_>>(),
            };
            let mut honoured: BTreeMap<String, Vec<Arc<Exception>>> = BTreeMap::new();
            for exception in within_limits(of_policy, policy, now) {
                honoured.entry(exception.id.namespace.clone()).or_default().push(Arc::clone(exception));
            }
            if !honoured.is_empty() {
                in_effect.by_policy.insert(policy.id.clone(), honoured);
            }
        }
        in_effect
    }
}

/// The exceptions of some namespaces that a policy honours.
fn within_limits<'e>(
    living: Vec<(&&str, &Vec<&'e Arc<Exception>>)>,
    policy: &Policy,
    now: Timestamp,
) -> Vec<&'e Arc<Exception>> {
    let mut honoured: Vec<&Arc<Exception>> = living
        .into_iter()
        .flat_map(|(_, all)| all.iter().copied().take(MOST_PER_NAMESPACE))
        .filter(|exception| exception.standing(policy, now) == Standing::InEffect)
        .collect();
    let share = share(&honoured);
    let mut used: BTreeMap<&str, usize> = BTreeMap::new();
    honoured.retain(|exception| {
        let used = used.entry(&exception.id.namespace).or_default();
        *used += exception.text_size();
        *used <= share
    });
    honoured
}

/// How much text each namespace may have: who needs less leaves the rest to the others, so that nobody's many keep out
/// another's few.
fn share(honoured: &[&Arc<Exception>]) -> usize {
    let mut needs: BTreeMap<&str, usize> = BTreeMap::new();
    for exception in honoured {
        *needs.entry(&exception.id.namespace).or_default() += exception.text_size();
    }
    let mut needs: Vec<usize> = needs.into_values().collect();
    needs.sort_unstable();
    let mut left = MOST_TEXT;
    for (served, need) in needs.iter().enumerate() {
        let share = left / (needs.len() - served);
        if *need > share {
            return share;
        }
        left -= need;
    }
    usize::MAX
}

/// The exceptions that count, until one of them ends or anything else changes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InEffect {
    /// The oldest of each namespace first.
    by_policy: BTreeMap<PolicyId, BTreeMap<String, Vec<Arc<Exception>>>>,
    /// When the next of all exceptions ends.
    until: Option<Timestamp>,
}

impl InEffect {
    /// The exception that excuses a finding of a policy about a workload, if there is one.
    pub fn excuse(
        &self,
        policy: &PolicyId,
        namespace: &str,
        workload: &Workload,
        made_from: &[Named<'_>],
        finding: &Finding,
    ) -> Option<&Arc<Exception>> {
        let of_namespace = self.by_policy.get(policy)?.get(namespace)?;
        of_namespace.iter().find(|exception| exception.covers(workload, made_from, finding))
    }

    /// What counts for a policy, by namespace.
    pub fn of_policy(&self, policy: &PolicyId) -> Option<&BTreeMap<String, Vec<Arc<Exception>>>> {
        self.by_policy.get(policy)
    }

    /// The policies for which any count.
    pub fn policies(&self) -> impl Iterator<Item = &PolicyId> {
        self.by_policy.keys()
    }

    /// Takes over what counts for a policy elsewhere.
    pub fn take_over(&mut self, policy: &PolicyId, from: &Self) {
        match from.of_policy(policy) {
            Some(exceptions) => drop(self.by_policy.insert(policy.clone(), exceptions.clone())),
            None => drop(self.by_policy.remove(policy)),
        }
    }

    /// What counts for any policy, each once.
    pub fn all(&self) -> impl Iterator<Item = &Arc<Exception>> {
        let each = self.by_policy.values().flat_map(BTreeMap::values).flatten();
        each.map(|exception| (&exception.id, exception)).collect::<BTreeMap<_, _>>().into_values()
    }

    /// One that counts for any policy.
    pub fn get(&self, exception: &ExceptionId) -> Option<&Arc<Exception>> {
        let mut of_namespace =
            self.by_policy.values().filter_map(|of_policy| of_policy.get(&exception.namespace)).flatten();
        of_namespace.find(|known| known.id == *exception)
    }

    /// Whether one counts for a policy.
    pub fn holds(&self, exception: &ExceptionId, policy: &PolicyId) -> bool {
        let of_namespace = self.by_policy.get(policy).and_then(|of_policy| of_policy.get(&exception.namespace));
        of_namespace.is_some_and(|all| all.iter().any(|known| known.id == *exception))
    }

    /// Whether one counts for a policy as it is, and not as it was before an edit.
    pub fn holds_as_it_is(&self, exception: &Exception, policy: &PolicyId) -> bool {
        let of_namespace = self.by_policy.get(policy).and_then(|of_policy| of_policy.get(&exception.id.namespace));
        of_namespace.is_some_and(|all| all.iter().any(|known| **known == *exception))
    }

    /// Why one counts for a policy or does not.
    pub fn standing(&self, exception: &Exception, policy: &Policy, now: Timestamp) -> Standing {
        match exception.standing(policy, now) {
            Standing::InEffect if !self.holds(&exception.id, &policy.id) => Standing::TooMany,
            standing => standing,
        }
    }

    /// When the next of all exceptions ends.
    pub fn until(&self) -> Option<Timestamp> {
        self.until
    }

    /// When the next of those ends that count.
    pub fn next_end(&self) -> Option<Timestamp> {
        let counting = self.by_policy.values().flat_map(BTreeMap::values).flatten();
        counting.map(|exception| exception.expires_at).min()
    }

    /// The namespaces where something else counts than before.
    pub fn changed_since(&self, before: &Self) -> BTreeSet<String> {
        let mut changed = BTreeSet::new();
        let none = BTreeMap::new();
        for policy in self.by_policy.keys().chain(before.by_policy.keys()) {
            let (now, before) = (self.of_policy(policy).unwrap_or(&none), before.of_policy(policy).unwrap_or(&none));
            for namespace in now.keys().chain(before.keys()) {
                if now.get(namespace) != before.get(namespace) {
                    changed.insert(namespace.clone());
                }
            }
        }
        changed
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn exception(namespace: &str, number: usize, patterns: usize) -> Exception {
        Exception {
            id: ExceptionId { namespace: namespace.to_owned(), name: format!("e{number:02}") },
            policies: Vec::new(),
            rules: vec![RuleId::ImageTag],
            workloads: WorkloadFilter::default(),
            images: (0..patterns).map(|_| Glob::parse(&"*".repeat(512)).unwrap()).collect(),
            containers: Vec::new(),
            reason: "the vendor ships no releases".to_owned(),
            ticket: None,
            created: Timestamp::from_second(i64::try_from(number).unwrap()).ok(),
            expires_at: Timestamp::from_second(1_000).unwrap(),
        }
    }

    #[test]
    fn nobodys_many_keep_out_anothers_few() {
        let mut all: Vec<Exception> = (0..16)
            .flat_map(|tenant| (0..20).map(move |number| (format!("aaa-{tenant:02}"), number)))
            .map(|(namespace, number)| exception(&namespace, number, MOST_PATTERNS))
            .collect();
        all.push(exception("zzz", 0, 0));
        let policy = Policy::builtin_stateless();
        let in_effect = Exceptions::new(all).in_effect([&policy], Timestamp::from_second(500).unwrap());
        let honoured = in_effect.of_policy(&policy.id).unwrap();
        assert_eq!(honoured["zzz"].len(), 1);
        let text: usize = honoured.values().flatten().map(|exception| exception.text_size()).sum();
        assert!(text <= MOST_TEXT, "{text}");
        // Each of the others keeps its oldest, as far as its share goes.
        for (namespace, kept) in honoured.iter().filter(|(namespace, _)| *namespace != "zzz") {
            assert!(kept.iter().enumerate().all(|(at, kept)| kept.id.name == format!("e{at:02}")), "{namespace}");
        }
    }
}
