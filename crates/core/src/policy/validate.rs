//! From what a person wrote to a policy that cannot be wrong: the one border.

use jiff::SignedDuration;

use super::{
    Allowed, ControllerCreated, Enforcement, ExceptionSettings, Matching, NamespaceMatch, Policy, PolicyId, Profile,
    RuleEnforcement, Suspension, effective_rules,
};
use crate::replace::ReplaceSettings;
use crate::rules::image_tag::{ImageTag, LONGEST_PATTERNS};
use crate::rules::{RuleId, RuleSettings};
use crate::selector::{LabelSelector, is_dns_label};
use crate::workload::{CustomWorkload, Kind};

/// A policy as written, after its syntax was read.
#[derive(Clone, Debug)]
pub struct PolicyDraft {
    /// Which one.
    pub id: PolicyId,
    /// `spec.profile`
    pub profile: Profile,
    /// `spec.enforcement`
    pub enforcement: Enforcement,
    /// `spec.suspend`
    pub suspend: Option<Suspension>,
    /// `spec.match.namespaces`; none for a namespaced policy
    pub namespaces: NamespaceMatch,
    /// `spec.match.kinds`; empty for every kind
    pub kinds: Vec<Kind>,
    /// `spec.match.selector`
    pub selector: LabelSelector,
    /// `spec.match.customWorkloads`
    pub custom_workloads: Vec<CustomWorkload>,
    /// `spec.rules`
    pub rules: RuleSettings,
    /// `spec.controllerCreated`
    pub controller_created: ControllerCreated,
    /// `spec.exceptions`
    pub exceptions: ExceptionSettings,
    /// `spec.replace`
    pub replace: Option<ReplaceSettings>,
}

/// What a policy that does nothing is told, here and by the API server.
pub const NOTHING_TO_DO: &str =
    "the policy has no rule and replaces nothing; set spec.profile or name a rule in spec.rules, or set spec.replace";

/// The most pod templates of custom workloads: each is compiled by itself, and every write in the cluster pays for it.
const MOST_TEMPLATES: usize = 16;

/// What is wrong with a policy, and what to write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct PolicyProblem {
    /// The field, `spec.match.selector`.
    pub field: String,
    /// What is wrong and what to write.
    pub message: String,
}

impl PolicyDraft {
    /// Validates all of it.
    ///
    /// # Errors
    /// Every problem that was found, never just the first.
    pub fn validate(self) -> Result<Policy, Vec<PolicyProblem>> {
        let mut problems = Vec::new();
        let mut problem = |field: &str, message: String| {
            problems.push(PolicyProblem { field: field.to_owned(), message });
        };
        let is_on =
            |rule: &RuleId| self.rules.names(*rule) && self.rules.enforcement(*rule) != Some(RuleEnforcement::Disabled);
        if self.profile == Profile::None && !RuleId::ALL.iter().any(is_on) && self.replace.is_none() {
            problem("spec", NOTHING_TO_DO.to_owned());
        }
        for message in self.namespaces.selector.problems() {
            problem("spec.match.namespaces.selector", message);
        }
        for message in self.selector.problems() {
            problem("spec.match.selector", message);
        }
        for (field, names) in [("names", &self.namespaces.names), ("exclude", &self.namespaces.exclude)] {
            for name in names.iter().filter(|name| !is_dns_label(name)) {
                problem(
                    &format!("spec.match.namespaces.{field}"),
                    format!("{name:?} is no namespace name; write lower-case letters, digits and '-'"),
                );
            }
        }
        for (index, custom) in self.custom_workloads.iter().enumerate() {
            for message in custom_workload_problems(custom) {
                problem(&format!("spec.match.customWorkloads[{index}]"), message);
            }
        }
        if self.custom_workloads.iter().map(|custom| custom.pod_templates.len()).sum::<usize>() > MOST_TEMPLATES {
            problem(
                "spec.match.customWorkloads",
                format!("has more than {MOST_TEMPLATES} podTemplates in all; write a second policy for the others"),
            );
        }
        let exceptions = match allowed(&self.exceptions) {
            Ok(allowed) => allowed,
            Err(problems) => {
                for (field, message) in problems {
                    problem(&format!("spec.exceptions.{field}"), message);
                }
                Allowed::default()
            }
        };
        let replace = match self.replace.as_ref().map(ReplaceSettings::validate).transpose() {
            Ok(replace) => replace,
            Err(problems) => {
                for (field, message) in problems {
                    problem(&format!("spec.replace.{field}"), message);
                }
                None
            }
        };
        for (field, message) in rule_problems(&self.rules) {
            problem(&format!("spec.rules.{field}"), message);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        let mut kinds = if self.kinds.is_empty() { Kind::ALL.to_vec() } else { self.kinds };
        kinds.sort_unstable();
        kinds.dedup();
        let namespaces = match &self.id.namespace {
            // A namespaced policy binds its own namespace only, whatever that is called.
            Some(own) => NamespaceMatch { names: vec![own.clone()], ..NamespaceMatch::default() },
            None => self.namespaces,
        };
        // Written twice it is meant once.
        let mut custom_workloads: Vec<CustomWorkload> = Vec::new();
        for custom in self.custom_workloads {
            if !custom_workloads.contains(&custom) {
                custom_workloads.push(custom);
            }
        }
        Ok(Policy {
            rules: effective_rules(self.profile, self.enforcement, &self.rules),
            matching: Matching { namespaces, kinds, selector: self.selector, custom_workloads },
            id: self.id,
            controller_created: self.controller_created,
            suspension: self.suspend,
            exceptions,
            replace,
        })
    }
}

/// What is allowed of exceptions, or what is wrong with it, by field.
fn allowed(settings: &ExceptionSettings) -> Result<Allowed, Vec<(String, String)>> {
    let mut problems = Vec::new();
    let mut allowed = Allowed { selectors: settings.allow_selectors, ..Allowed::default() };
    if let Some(text) = &settings.max_duration {
        match text.parse::<SignedDuration>() {
            Ok(duration) if duration > SignedDuration::ZERO => allowed.max_duration = duration,
            _ => problems
                .push(("maxDuration".to_owned(), format!("{text:?} is no duration; write one such as 72h or 90m"))),
        }
    }
    if let Some(names) = &settings.rules {
        let mut rules = Vec::new();
        for (index, name) in names.iter().enumerate() {
            match RuleId::named(name) {
                Some(rule) => rules.push(rule),
                None => problems.push((
                    format!("rules[{index}]"),
                    format!("there is no rule {name:?}; immutable explain lists all"),
                )),
            }
        }
        allowed.rules = Some(rules);
    }
    if problems.is_empty() { Ok(allowed) } else { Err(problems) }
}

fn custom_workload_problems(custom: &CustomWorkload) -> Vec<String> {
    let mut problems = Vec::new();
    let lower = |text: &str, extra: &str| {
        !text.is_empty()
            && text.chars().all(|character| {
                character.is_ascii_lowercase() || character.is_ascii_digit() || extra.contains(character)
            })
    };
    let (group, version) = (custom.group(), custom.version());
    if !lower(group, "-.") || !group.contains('.') || !lower(version, "") || !version.starts_with('v') {
        problems.push(format!(
            "apiVersion {:?} is not valid; write GROUP/VERSION, such as argoproj.io/v1alpha1",
            custom.api_version
        ));
    }
    if !custom.kind.starts_with(|first: char| first.is_ascii_uppercase())
        || !custom.kind.chars().all(|character| character.is_ascii_alphanumeric())
    {
        problems.push(format!("kind {:?} is not valid; write it as in manifests, such as Rollout", custom.kind));
    }
    if !lower(&custom.resource, "") {
        problems.push(format!("resource {:?} is not valid; write the plural, such as rollouts", custom.resource));
    }
    if custom.pod_templates.is_empty() {
        problems.push("podTemplates is empty; write at least one, such as /spec/template".to_owned());
    }
    for pointer in &custom.pod_templates {
        let valid = pointer.strip_prefix('/').is_some_and(|rest| {
            rest.split('/').all(|segment| {
                segment.starts_with(|first: char| first.is_ascii_alphabetic())
                    && segment.chars().all(|character| character.is_ascii_alphanumeric())
            })
        });
        if !valid {
            problems.push(format!(
                "podTemplates {pointer:?} is not valid; write the path of a pod template, such as /spec/template"
            ));
        }
    }
    problems
}

/// What the types of the settings cannot say. The CRD says the same, for the API server to refuse.
fn rule_problems(rules: &RuleSettings) -> Vec<(&'static str, String)> {
    let mut problems = Vec::new();
    let mut problem = |field, message: &str| problems.push((field, message.to_owned()));
    if let Some(rule) = &rules.update_strategy
        && !(0..=100).contains(&rule.min_healthy_percent)
    {
        problem("updateStrategy.minHealthyPercent", "is out of range; write a number from 0 to 100");
    }
    if rules.resource_limits.as_ref().is_some_and(|rule| rule.required.is_empty()) {
        problem("resourceLimits.required", "is empty; write at least one, such as limits.memory, or disable the rule");
    }
    if rules.probes.as_ref().is_some_and(|rule| rule.required.is_empty()) {
        problem("probes.required", "is empty; write at least one, such as readiness, or disable the rule");
    }
    if rules.image_pull_policy.as_ref().is_some_and(|rule| rule.allowed.is_empty()) {
        problem("imagePullPolicy.allowed", "is empty; write at least one, such as Always, or disable the rule");
    }
    if rules.immutable_config.as_ref().is_some_and(|rule| rule.kinds.is_empty()) {
        problem("immutableConfig.kinds", "is empty; write at least one, such as ConfigMap, or disable the rule");
    }
    if rules.image_tag.as_ref().is_some_and(|rule| rule.forbidden_tags.len() > 32) {
        problem("imageTag.forbiddenTags", "has more than 32 patterns; join some with * or ?");
    }
    let length = |rule: &ImageTag| rule.forbidden_tags.iter().map(|tag| tag.as_str().len()).sum::<usize>();
    if rules.image_tag.as_ref().is_some_and(|rule| length(rule) > LONGEST_PATTERNS) {
        problem("imageTag.forbiddenTags", "is too long; write at most 256 characters in all, join some with * or ?");
    }
    let is_capability = |name: &String| {
        name.starts_with(|first: char| first.is_ascii_uppercase())
            && name
                .chars()
                .all(|character| character.is_ascii_uppercase() || character.is_ascii_digit() || character == '_')
            && !name.starts_with("CAP_")
    };
    if rules.capabilities.as_ref().is_some_and(|rule| !rule.allowed.iter().all(is_capability)) {
        problem("capabilities.allowed", "has an invalid name; write capitals without CAP_, such as NET_BIND_SERVICE");
    }
    if rules.capabilities.as_ref().is_some_and(|rule| rule.allowed.len() > 64) {
        problem("capabilities.allowed", "has more than 64 entries; there are fewer capabilities");
    }
    problems
}
