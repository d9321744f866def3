//! Policies with exceptions: which share what is compiled.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{ByNamespace, Installation, Translation, Unit, admission_policies, controllers};
use crate::exception::Exception;
use crate::policy::{Policy, PolicyId};

/// A policy, what it comes to without exceptions, and the exceptions that count for it, by namespace.
pub struct Honoured<'a> {
    /// the policy
    pub policy: &'a Policy,
    /// what it comes to without
    pub plain: &'a Translation,
    /// the exceptions
    pub exceptions: &'a BTreeMap<String, Vec<Arc<Exception>>>,
}

/// Translates policies anew, with the exceptions that count for each.
///
/// Exceptions are told apart by namespace in what is compiled. So policies of different namespaces that come to the same
/// without exceptions come to the same with all of them together, and a tenant's exception costs no compiled policy more.
pub fn excuse(policies: &[Honoured<'_>], installation: &Installation) -> BTreeMap<PolicyId, Translation> {
    let mut translations = BTreeMap::new();
    let mut groups: BTreeMap<String, Vec<Group<'_>>> = BTreeMap::new();
    for honoured in policies {
        let same = match &honoured.policy.id.namespace {
            Some(_) => identity(&honoured.plain.units).unwrap_or_else(|| honoured.policy.id.to_string()),
            // It binds many namespaces, and an exception may name it and no other: it stands for itself.
            None => honoured.policy.id.to_string(),
        };
        let groups = groups.entry(same).or_default();
        match groups.iter_mut().find(|group| group.takes(honoured)) {
            Some(group) => group.take(honoured),
            None => groups.push(Group::of(honoured)),
        }
    }
    for group in groups.into_values().flatten() {
        let Some(first) = group.policies.first() else { continue };
        let units = admission_policies(first, &group.exceptions, installation);
        for policy in group.policies {
            translations
                .insert(policy.id.clone(), Translation { gaps: controllers::gaps(policy), units: units.clone() });
        }
    }
    translations
}

/// Policies that come to the same, with all their exceptions.
struct Group<'a> {
    policies: Vec<&'a Policy>,
    exceptions: ByNamespace,
    size: usize,
}

impl<'a> Group<'a> {
    fn of(honoured: &Honoured<'a>) -> Self {
        let mut group = Self { policies: Vec::new(), exceptions: BTreeMap::new(), size: 0 };
        group.take(honoured);
        group
    }

    /// Whether another can be one of them: no namespace may have other exceptions for one than for another.
    fn takes(&self, other: &Honoured<'_>) -> bool {
        let fits = |(namespace, exceptions)| self.exceptions.get(namespace).is_none_or(|known| known == exceptions);
        self.size + size(other.exceptions) <= crate::exception::MOST_TEXT && other.exceptions.iter().all(fits)
    }

    fn take(&mut self, other: &Honoured<'a>) {
        self.policies.push(other.policy);
        for (namespace, exceptions) in other.exceptions {
            if self.exceptions.insert(namespace.clone(), exceptions.clone()).is_none() {
                self.size += exceptions.iter().map(|exception| exception.text_size()).sum::<usize>();
            }
        }
    }
}

fn size(exceptions: &ByNamespace) -> usize {
    exceptions.values().flatten().map(|exception| exception.text_size()).sum()
}

/// What units are: the same text for the same ones. One that selects by labels says so in no expression. None for a
/// policy that cannot be compiled.
fn identity(units: &Result<Vec<Unit>, String>) -> Option<String> {
    let units = units.as_ref().ok()?;
    let unit = |unit: &Unit| (unit.admission_policy.name.clone(), unit.level.name(), serde_json::json!(unit.objects));
    Some(serde_json::json!(units.iter().map(unit).collect::<Vec<_>>()).to_string())
}
