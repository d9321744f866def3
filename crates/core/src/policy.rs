//! Policies: which rules hold for which workloads, and what happens when they are broken.

mod matching;
mod validate;

use std::fmt;

use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::replace::Replace;
use crate::rules::{Checks, ConfigKind, RuleId, RuleSettings};
use crate::schema::validations;
use crate::workload::{CustomWorkload, Kind};

pub(crate) use matching::SYSTEM_NAMESPACES;
pub use matching::{Match, Matching, NamespaceLabels, NamespaceMatch};
pub use validate::{NOTHING_TO_DO, PolicyDraft, PolicyProblem};

/// A starting set of rules, along the spectrum of how much a workload must change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Profile {
    /// Web servers and workers: everything but the pull policy and immutable configuration.
    Stateless,
    /// Databases and brokers: mutable with controls.
    Stateful,
    /// Network plugins and node agents: pinned images.
    Infrastructure,
    /// Only what `rules` names.
    #[default]
    None,
}

/// What happens when a rule is broken, from the weakest to the strongest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Enforcement {
    /// It is recorded in the audit log and in reports.
    #[default]
    Audit,
    /// The client is warned, and it is recorded.
    Warn,
    /// The request is denied, and that is recorded.
    Enforce,
}

impl Enforcement {
    /// Every level, the strongest first.
    pub const ALL: [Self; 3] = [Self::Enforce, Self::Warn, Self::Audit];

    /// `Enforce`
    pub fn name(self) -> &'static str {
        match self {
            Self::Enforce => "Enforce",
            Self::Warn => "Warn",
            Self::Audit => "Audit",
        }
    }
}

impl fmt::Display for Enforcement {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// The enforcement of one rule. (Not `Off`: YAML 1.1 reads that as false.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum RuleEnforcement {
    /// The request is denied, and that is recorded.
    Enforce,
    /// The client is warned, and it is recorded.
    Warn,
    /// It is recorded in the audit log and in reports.
    Audit,
    /// The rule is switched off.
    Disabled,
}

impl RuleEnforcement {
    /// The level; none for a rule that is switched off.
    pub fn level(self) -> Option<Enforcement> {
        match self {
            Self::Enforce => Some(Enforcement::Enforce),
            Self::Warn => Some(Enforcement::Warn),
            Self::Audit => Some(Enforcement::Audit),
            Self::Disabled => None,
        }
    }
}

/// What happens to objects that a built-in controller makes from a template judged before.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ControllerCreated {
    /// They are recorded and never denied, so that older workloads live on.
    #[default]
    Audit,
    /// They are judged like everything else; older workloads cannot make new pods.
    Enforce,
}

/// Break-glass with an end: until then nothing is enforced and nothing is replaced.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Suspension {
    /// When it ends by itself, RFC 3339.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub until: Timestamp,
    /// Why, for those who find it.
    #[schemars(length(min = 1, max = 1024))]
    pub reason: String,
}

/// What a policy allows of exceptions, as it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ExceptionSettings {
    /// The longest life of an exception from its creation, such as 72h; absent means 720h.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), extend("x-kubernetes-validations" = validations(&[
        ("self.matches('^([0-9]+h)?([0-9]+m)?([0-9]+s)?$') && self != ''", "write a duration such as 72h or 90m"),
    ])))]
    pub max_duration: Option<String>,
    /// Ids of the rules that may be excused, such as image-digest; absent means every one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), inner(length(max = 63)))]
    pub rules: Option<Vec<String>>,
    /// Whether an exception may choose workloads by their labels, which whoever may label can give.
    pub allow_selectors: bool,
}

/// What a validated policy allows of exceptions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allowed {
    /// The longest life of an exception, from its creation.
    pub max_duration: SignedDuration,
    /// The rules that may be excused; none for all.
    pub rules: Option<Vec<RuleId>>,
    /// Whether workloads may be chosen by their labels.
    pub selectors: bool,
}

impl Default for Allowed {
    fn default() -> Self {
        Self { max_duration: SignedDuration::from_hours(720), rules: None, selectors: false }
    }
}

/// Which policy: a name is only unique within its kind and namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PolicyId {
    /// The namespace of an `ImmutablePolicy`; none for a `ClusterImmutablePolicy`.
    pub namespace: Option<String>,
    /// The name.
    pub name: String,
}

impl PolicyId {
    /// `ImmutablePolicy` or `ClusterImmutablePolicy`
    pub fn kind(&self) -> &'static str {
        if self.namespace.is_some() { "ImmutablePolicy" } else { "ClusterImmutablePolicy" }
    }
}

impl fmt::Display for PolicyId {
    /// `production` or `shop/production`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.namespace {
            Some(namespace) => write!(formatter, "{namespace}/{}", self.name),
            None => formatter.write_str(&self.name),
        }
    }
}

/// A validated policy: nothing in it can be wrong any more.
pub struct Policy {
    /// Which one.
    pub id: PolicyId,
    /// Which workloads it judges.
    pub matching: Matching,
    /// The rules that are on, in the order of [`RuleId::ALL`].
    pub rules: Vec<EffectiveRule>,
    /// What happens to what controllers make.
    pub controller_created: ControllerCreated,
    /// Whether it is suspended, and until when.
    pub suspension: Option<Suspension>,
    /// What it allows of exceptions.
    pub exceptions: Allowed,
    /// What it asks of replacing pods; none for nothing.
    pub replace: Option<Replace>,
}

/// A rule that is on in a policy.
pub struct EffectiveRule {
    /// Which one.
    pub rule: RuleId,
    /// What happens when it is broken.
    pub enforcement: Enforcement,
    /// Who switched it on.
    pub from: RuleSource,
    /// What it looks for.
    pub checks: Checks,
}

/// Who switched a rule on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum RuleSource {
    /// `spec.profile`
    Profile,
    /// `spec.rules`
    Rules,
}

impl Policy {
    /// The policy that `immutable check` uses where none is named: the Stateless profile at Enforce.
    pub fn builtin_stateless() -> Self {
        Self {
            id: PolicyId { namespace: None, name: "builtin/stateless".to_owned() },
            matching: Matching::everything(),
            rules: effective_rules(Profile::Stateless, Enforcement::Enforce, &RuleSettings::default()),
            controller_created: ControllerCreated::default(),
            suspension: None,
            exceptions: Allowed::default(),
            replace: None,
        }
    }

    /// Whether break-glass holds at this moment.
    pub fn is_suspended(&self, now: Timestamp) -> bool {
        self.suspension.as_ref().is_some_and(|suspension| now < suspension.until)
    }

    /// Whether it judges objects of this kind. Pods are judged always: every other kind ends in them, so
    /// leaving them out would leave a way in.
    pub fn judges(&self, kind: Kind) -> bool {
        kind == Kind::Pod || self.matching.kinds.contains(&kind)
    }

    /// Whether one of its rules asks for ConfigMaps or Secrets themselves.
    pub fn asks_for(&self, kind: ConfigKind) -> bool {
        self.rules.iter().any(|rule| rule.checks.config.as_ref().is_some_and(|kinds| kinds.contains(&kind)))
    }

    /// The custom workloads it declares.
    pub fn custom_workloads(&self) -> &[CustomWorkload] {
        &self.matching.custom_workloads
    }
}

/// The rules that are on: those of the profile, changed by what `rules` says.
pub(crate) fn effective_rules(profile: Profile, default: Enforcement, settings: &RuleSettings) -> Vec<EffectiveRule> {
    RuleId::ALL
        .iter()
        .filter_map(|&rule| {
            let named = settings.names(rule);
            if !named && !rule.profiles().contains(&profile) {
                return None;
            }
            let enforcement = settings.enforcement(rule).map_or(Some(default), RuleEnforcement::level)?;
            let from = if named { RuleSource::Rules } else { RuleSource::Profile };
            Some(EffectiveRule { rule, enforcement, from, checks: settings.checks(rule) })
        })
        .collect()
}
