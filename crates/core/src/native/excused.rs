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
            Some(_) => {
                identity(honoured.policy, &honoured.plain.units).unwrap_or_else(|| honoured.policy.id.to_string())
            }
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
/// policy that cannot be compiled. Who makes objects of custom workloads is asked only where there are exceptions.
fn identity(policy: &Policy, units: &Result<Vec<Unit>, String>) -> Option<String> {
    let units = units.as_ref().ok()?;
    let unit = |unit: &Unit| (unit.admission_policy.name.clone(), unit.level.name(), serde_json::json!(unit.objects));
    let kinds: Vec<&str> = policy.custom_workloads().iter().map(|custom| custom.kind.as_str()).collect();
    let units: Vec<_> = units.iter().map(unit).collect();
    Some(serde_json::json!([units, controllers::all_users(policy), kinds]).to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::Timestamp;
    use serde_json::json;

    use super::super::tests::{draft, installation};
    use super::super::{link, translate};
    use super::*;
    use crate::exception::{ExceptionId, WorkloadFilter};
    use crate::rules::RuleId;

    fn exceptions(namespace: &str, rules: &[RuleId], reason: &str) -> ByNamespace {
        let exception = Exception {
            id: ExceptionId { namespace: namespace.to_owned(), name: "legacy".to_owned() },
            policies: Vec::new(),
            rules: rules.to_vec(),
            workloads: WorkloadFilter::default(),
            images: Vec::new(),
            containers: vec![reason.to_owned()],
            reason: reason.to_owned(),
            ticket: None,
            created: None,
            expires_at: Timestamp::UNIX_EPOCH,
        };
        [(namespace.to_owned(), vec![Arc::new(exception)])].into()
    }

    /// What policies of these namespaces and names come to, each with its exceptions: the names of what is compiled.
    fn compiled(policies: &[(Option<&str>, &str, ByNamespace)]) -> Vec<Vec<String>> {
        let settings = json!({"imageTag": {}, "privileged": {"enforcement": "Audit"}});
        let parsed: Vec<Policy> = policies
            .iter()
            .map(|(namespace, name, _)| draft(*namespace, name, settings.clone()).validate().unwrap())
            .collect();
        let plain: Vec<Translation> = parsed.iter().map(|policy| translate(policy, &installation())).collect();
        let honoured = parsed.iter().zip(&plain).zip(policies).filter(|(_, (.., exceptions))| !exceptions.is_empty());
        let honoured: Vec<Honoured<'_>> =
            honoured.map(|((policy, plain), (.., exceptions))| Honoured { policy, plain, exceptions }).collect();
        let excused = excuse(&honoured, &installation());
        let translated =
            parsed.iter().zip(&plain).map(|(policy, plain)| (policy, excused.get(&policy.id).unwrap_or(plain)));
        let linked = link(translated, &installation(), Timestamp::UNIX_EPOCH);
        assert!(linked.policies.values().all(|compiled| compiled.error.is_none()));
        parsed.iter().map(|policy| linked.policies[&policy.id].admission_policies.clone()).collect()
    }

    #[test]
    fn tenants_with_equal_policies_share_what_is_compiled_with_all_their_exceptions() {
        let tag = [RuleId::ImageTag];
        let names = compiled(&[
            (Some("bank"), "all", ByNamespace::new()),
            (Some("shop"), "all", exceptions("shop", &tag, "a")),
            (Some("web"), "other", exceptions("web", &tag, "b")),
        ]);
        assert_eq!(names[1], names[2]);
        assert!(names[0].iter().any(|name| !names[1].contains(name)));
        // What has no rule that is excused stays what it was.
        let audited: Vec<_> = names[0].iter().filter(|name| name.contains("-audit-")).collect();
        assert!(audited.iter().any(|name| names[1].contains(name)), "{names:?}");
    }

    #[test]
    fn a_controller_of_one_tenant_is_none_of_anothers() {
        let of = |namespace: &str, user: &str| {
            let mut draft = draft(Some(namespace), "all", json!({"imageTag": {}}));
            draft.controller_created = crate::policy::ControllerCreated::Enforce;
            draft.custom_workloads = serde_json::from_value(json!([{
                "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "resource": "rollouts",
                "podTemplates": ["/spec/template"], "controllerUser": user,
            }]))
            .unwrap();
            draft.validate().unwrap()
        };
        let policies = [of("shop", "alice"), of("web", "bob")];
        let all = [exceptions("shop", &[RuleId::ImageTag], "a"), exceptions("web", &[RuleId::ImageTag], "b")];
        let plain: Vec<Translation> = policies.iter().map(|policy| translate(policy, &installation())).collect();
        let honoured: Vec<Honoured<'_>> =
            (0..2).map(|at| Honoured { policy: &policies[at], plain: &plain[at], exceptions: &all[at] }).collect();
        let excused = excuse(&honoured, &installation());
        let targets = |policy: &Policy| {
            let units = excused[&policy.id].units.as_ref().unwrap();
            let variables = units.iter().flat_map(|unit| &unit.admission_policy.spec.variables);
            variables
                .filter(|variable| variable.name == "targets")
                .map(|variable| variable.expression.clone())
                .collect::<String>()
        };
        assert!(targets(&policies[0]).contains("'alice'") && !targets(&policies[0]).contains("'bob'"));
        assert!(targets(&policies[1]).contains("'bob'") && !targets(&policies[1]).contains("'alice'"));
    }

    #[test]
    fn an_exception_of_one_policy_is_none_of_another() {
        let tag = [RuleId::ImageTag];
        let names = compiled(&[
            (Some("shop"), "one", exceptions("shop", &tag, "a")),
            (Some("shop"), "two", exceptions("shop", &tag, "b")),
            (None, "three", exceptions("shop", &tag, "a")),
            (None, "four", exceptions("shop", &tag, "b")),
        ]);
        let enforced = |policy: usize| names[policy].iter().find(|name| name.ends_with("-enforce-pod")).unwrap();
        let different: std::collections::BTreeSet<_> = (0..4).map(enforced).collect();
        // The third holds the same as the first, and is bound by itself.
        assert_eq!(different.len(), 2, "{names:?}");
        assert_eq!(enforced(0), enforced(2));
    }

    #[test]
    fn what_concerns_no_rule_of_a_policy_changes_nothing() {
        let plain = compiled(&[(None, "all", ByNamespace::new())]);
        assert_eq!(compiled(&[(None, "all", exceptions("shop", &[RuleId::Probes], "a"))]), plain);
    }
}
