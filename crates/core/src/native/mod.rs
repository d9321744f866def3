//! Policies -> ValidatingAdmissionPolicies and bindings, which the API server evaluates by itself.
//!
//! Equal settings share one compiled policy, whose name is made of its content; what a policy adds is a
//! binding. Nothing here can fail at the API server because of what a user wrote: every text enters an
//! expression through [`crate::rules::quote`].

mod binding;
mod condition;
mod controllers;
mod custom;
mod excuse;
mod excused;
mod expression;
mod message;
pub(crate) mod names;
mod objects;
mod plan;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::exception::Exception;
use crate::policy::{ControllerCreated, EffectiveRule, Enforcement, Policy, PolicyId};
use crate::rules::RuleId;
use crate::selector::LabelSelector;
use crate::workload::Kind;

pub use excused::{Honoured, excuse};
pub use expression::PROBE;
pub use message::{line, message};
pub use names::short_digest;
pub use objects::{
    API_VERSION, AdmissionBinding, AdmissionBindingSpec, AdmissionPolicy, AdmissionPolicySpec, HASH_LABEL,
    INSTALLATION_LABEL, MANAGED_BY, MatchResources, NamedExpression, NativeKind, NativeObject, Owner,
    POLICIES_ANNOTATION, ResourceRule, SOURCE_ANNOTATION, Validation,
};
pub use plan::{Intent, Observed, ObservedOwner, ObservedSpec, Plan, plan};

use binding::{Wanted, namespace_selector};
use condition::{excused, in_scope, match_condition};
use excuse::Excuses;
use expression::{ANY_PROBE, is_probe, variables};
use message::{STATIC_MESSAGE, message_cel};
use shape::Shape;

/// The most code points of one expression; the API server refuses 100,000.
const LONGEST_EXPRESSION: usize = 80_000;

/// What all policies together come to.
#[derive(Debug, Default)]
pub struct Compilation {
    /// The compiled policies by name, shared ones once.
    pub admission_policies: BTreeMap<String, Arc<AdmissionPolicy>>,
    /// The bindings by name.
    pub bindings: BTreeMap<String, AdmissionBinding>,
    /// What each policy came to.
    pub policies: BTreeMap<PolicyId, Compiled>,
}

/// What one policy came to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Compiled {
    /// Names of its compiled policies.
    pub admission_policies: Vec<String>,
    /// Names of its bindings, shared ones too.
    pub bindings: Vec<String>,
    /// How its enforcement is proven; none where nothing is enforced.
    pub probe: Option<Probe>,
    /// What it leaves open or judges anew, for the status.
    pub gaps: Vec<String>,
    /// Why it cannot be compiled; then it has no objects.
    pub error: Option<String>,
}

/// How the enforcement of a policy is proven: a dry-run create of an inert PodTemplate that must be denied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// Value of the annotation [`PROBE`].
    pub key: String,
    /// The compiled policy that must deny it.
    pub admission_policy: String,
    /// Labels that its own binding selects, and no earlier one.
    pub labels: BTreeMap<String, String>,
}

impl Compilation {
    /// Every object, policies before bindings.
    pub fn objects(&self) -> impl Iterator<Item = NativeObject> + '_ {
        let policies = self.admission_policies.values().cloned().map(NativeObject::Policy);
        policies.chain(self.bindings.values().cloned().map(Box::new).map(NativeObject::Binding))
    }
}

/// One installation of the operator. Several on one cluster do not touch each other's objects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    /// The operator's own namespace, which is left out unless a policy names it.
    pub namespace: String,
    /// The ClusterRole that owns what is compiled.
    pub owner: String,
}

impl Installation {
    /// Value of [`INSTALLATION_LABEL`].
    pub fn label(&self) -> String {
        names::short_digest(&self.owner)
    }
}

/// What a policy comes to apart from all others. It depends on nothing but the policy and the installation, and is
/// the dear part of compiling: whoever compiles again and again keeps it for as long as the policy stays the same.
#[derive(Debug)]
pub struct Translation {
    gaps: Vec<String>,
    units: Result<Vec<Unit>, String>,
}

/// Translates one policy.
pub fn translate(policy: &Policy, installation: &Installation) -> Translation {
    let units = admission_policies(policy, &BTreeMap::new(), installation);
    Translation { gaps: controllers::gaps(policy), units }
}

/// Compiles policies for a cluster at a moment: what is suspended then comes to nothing.
pub fn compile<'a>(
    policies: impl IntoIterator<Item = &'a Policy>,
    installation: &Installation,
    now: Timestamp,
) -> Compilation {
    let translated: Vec<_> = policies.into_iter().map(|policy| (policy, translate(policy, installation))).collect();
    link(translated.iter().map(|(policy, translation)| (*policy, translation)), installation, now)
}

/// Joins what policies were translated to: [`compile`] for those who keep translations.
pub fn link<'a>(
    policies: impl IntoIterator<Item = (&'a Policy, &'a Translation)>,
    installation: &Installation,
    now: Timestamp,
) -> Compilation {
    let mut compilation = Compilation::default();
    let mut wanted = Vec::new();
    for (policy, translation) in policies {
        let mut compiled = Compiled { gaps: translation.gaps.clone(), ..Compiled::default() };
        match &translation.units {
            _ if policy.is_suspended(now) => {}
            Ok(units) => {
                for unit in units {
                    let name = &unit.admission_policy.name;
                    compiled.admission_policies.push(name.clone());
                    compiled.probe = compiled.probe.take().or_else(|| unit.probe.clone());
                    wanted.push(Wanted {
                        policy: policy.id.clone(),
                        admission_policy: name.clone(),
                        level: unit.level,
                        namespaces: namespace_selector(policy, &installation.namespace),
                        objects: unit.objects.clone(),
                        proves: unit.admission_policy.proves,
                    });
                    let shared = compilation.admission_policies.entry(name.clone());
                    let shared = shared.or_insert_with(|| Arc::clone(&unit.admission_policy));
                    // 48 bits of a hash: nothing may be enforced by what only happens to have the same name.
                    if shared.source != unit.admission_policy.source {
                        compiled.error =
                            Some(format!("{name} is the name of another compiled policy too; change a setting"));
                    }
                }
            }
            Err(error) => compiled.error = Some(error.clone()),
        }
        compilation.policies.insert(policy.id.clone(), compiled);
    }
    for binding in binding::join(wanted, installation) {
        for policy in &binding.policies {
            if let Some(compiled) = compilation.policies.get_mut(policy) {
                compiled.bindings.push(binding.name.clone());
                if let Some(probe) = compiled.probe.as_mut().filter(|_| binding.proves) {
                    probe.labels.clone_from(&binding.spec.match_resources.object_selector.match_labels);
                }
            }
        }
        compilation.bindings.insert(binding.name.clone(), binding);
    }
    compilation
}

/// One compiled policy and how it is bound.
#[derive(Clone, Debug)]
struct Unit {
    admission_policy: Arc<AdmissionPolicy>,
    level: Enforcement,
    objects: LabelSelector,
    probe: Option<Probe>,
}

/// The exceptions that count for a policy, by namespace.
type ByNamespace = BTreeMap<String, Vec<Arc<Exception>>>;

/// The compiled policies of one policy: one per shape and level, and one more for what controllers make.
fn admission_policies(
    policy: &Policy,
    exceptions: &ByNamespace,
    installation: &Installation,
) -> Result<Vec<Unit>, String> {
    let mut units = Vec::new();
    for shape in Shape::of(policy) {
        for level in Enforcement::ALL {
            let at_level = policy.rules.iter().filter(|rule| rule.enforcement == level);
            let rules: Vec<&EffectiveRule> = at_level.filter(|rule| shape.concerns(&rule.checks)).collect();
            if !rules.is_empty() {
                let ids: Vec<RuleId> = rules.iter().map(|rule| rule.rule).collect();
                let excuses = Excuses::of(exceptions, &shape, &ids);
                units.extend(unit(policy, &shape, level, &rules, excuses.as_ref(), installation)?);
            }
        }
    }
    let enforces = policy.rules.iter().any(|rule| rule.enforcement == Enforcement::Enforce);
    if enforces && policy.matching.selector.example().is_some() {
        units.push(proof(&units, installation));
    }
    Ok(units)
}

/// What a dry run must be denied by. Its name is made of all that it proves, so that seeing it in force says
/// that the API server has learned of them: it is written after them.
fn proof(proven: &[Unit], installation: &Installation) -> Unit {
    let names: Vec<&str> = proven.iter().map(|unit| unit.admission_policy.name.as_str()).collect();
    let key = names::short_digest(&serde_json::json!(names).to_string());
    let selector = LabelSelector::default();
    let level = Enforcement::Enforce;
    let spec = spec(&Shape::Proof, level, &[], &selector, &[is_probe(&key)], None);
    let admission_policy = Arc::new(named(spec, &Shape::Proof, level, "", installation));
    let probe = Probe { key, admission_policy: admission_policy.name.clone(), labels: BTreeMap::new() };
    Unit { admission_policy, level: Enforcement::Enforce, objects: selector, probe: Some(probe) }
}

/// The unit of a shape and level, and the one that records what controllers make of older templates.
fn unit(
    policy: &Policy,
    shape: &Shape,
    level: Enforcement,
    rules: &[&EffectiveRule],
    excuses: Option<&Excuses>,
    installation: &Installation,
) -> Result<Vec<Unit>, String> {
    let selector = match shape {
        // The labels of the workload say nothing of the ConfigMaps beside it.
        Shape::Config(_) => LabelSelector::default(),
        _ => policy.matching.selector.clone(),
    };
    let objects = match shape {
        Shape::Pod | Shape::EphemeralContainers | Shape::Relabelled => selector.clone(),
        // The labels of a template count too, and a binding cannot select by those.
        _ => LabelSelector::default(),
    };
    let users = match policy.controller_created {
        ControllerCreated::Audit if level == Enforcement::Enforce => controllers::excused_users(policy, shape),
        _ => Vec::new(),
    };
    let make = |level: Enforcement, guards: &[String], tail: &str| -> Result<Unit, String> {
        let excuses = excuses.map(|excuses| excuses.variables(shape, policy));
        let spec = spec(shape, level, rules, &selector, guards, excuses);
        let admission_policy = Arc::new(named(spec, shape, level, tail, installation));
        within_limits(&admission_policy.spec)?;
        Ok(Unit { admission_policy, level, objects: objects.clone(), probe: None })
    };
    let mut guards = exclusions(shape);
    if *shape == Shape::Relabelled
        && let (Some(now), Some(before)) =
            (in_scope(shape, "object", &selector), in_scope(shape, "oldObject", &selector))
    {
        guards.push(format!("{now} && !({before})"));
    }
    if objects != selector
        && let Some(now) = in_scope(shape, "object", &selector)
        && let Some(before) = in_scope(shape, "oldObject", &selector)
    {
        guards.push(format!("{now} || request.operation == 'UPDATE' && {before}"));
    }
    if users.is_empty() {
        return Ok(vec![make(level, &guards, "")?]);
    }
    let made_by = controllers::made_by(&users, shape);
    let with = |guard: String| [&guards[..], &[guard]].concat();
    Ok(vec![
        make(level, &with(format!("!({made_by})")), "")?,
        make(Enforcement::Audit, &with(made_by), "-by-controllers")?,
    ])
}

/// What a compiled policy checks.
fn spec(
    shape: &Shape,
    level: Enforcement,
    rules: &[&EffectiveRule],
    selector: &LabelSelector,
    guards: &[String],
    excuses: Option<Vec<NamedExpression>>,
) -> AdmissionPolicySpec {
    // What passes does not come as far as this, unless an exception excuses it. That is asked without making sentences,
    // which the message does again.
    let expression = if excuses.is_some() { excused(shape, rules) } else { "false".to_owned() };
    AdmissionPolicySpec {
        failure_policy: if level == Enforcement::Enforce { "Fail" } else { "Ignore" }.to_owned(),
        match_constraints: MatchResources::requests(shape.resource_rules()),
        match_conditions: vec![match_condition(shape, rules, selector, guards)],
        variables: variables(shape, rules, excuses),
        validations: vec![Validation {
            expression,
            message: STATIC_MESSAGE.to_owned(),
            message_expression: message_cel(),
            reason: "Forbidden".to_owned(),
        }],
    }
}

/// A compiled policy, named by its content and whose it is.
fn named(
    spec: AdmissionPolicySpec,
    shape: &Shape,
    level: Enforcement,
    tail: &str,
    of: &Installation,
) -> AdmissionPolicy {
    let source = names::digest(&format!("{} {}", of.owner, serde_json::json!(spec)));
    let name = names::name(&source, &format!("{}-{}{tail}", level.name(), shape.name()));
    AdmissionPolicy { name, installation: of.label(), source, spec, proves: *shape == Shape::Proof }
}

/// Who and what is left out: ConfigMaps and Secrets that the cluster and Helm write for themselves, and
/// the dry runs that prove a policy.
fn exclusions(shape: &Shape) -> Vec<String> {
    let kind = match shape {
        Shape::Config(kind) => kind,
        Shape::PodTemplate => return vec![format!("!({ANY_PROBE})")],
        _ => return Vec::new(),
    };
    let cluster = "!(request.userInfo.username.startsWith('system:serviceaccount:kube-system:') || \
                   request.userInfo.username.startsWith('system:node:') || request.userInfo.username in \
                   ['system:kube-controller-manager', 'system:kube-scheduler', 'system:apiserver'])";
    let other = match kind {
        // The releases of Helm.
        crate::rules::ConfigKind::ConfigMap => {
            "!(object.metadata.name.startsWith('sh.helm.release.v1.') && has(object.metadata.labels) && \
             'owner' in object.metadata.labels && object.metadata.labels['owner'] == 'helm')"
        }
        // Those, and tokens.
        crate::rules::ConfigKind::Secret => {
            "!(has(object.type) && object.type in ['helm.sh/release.v1', 'kubernetes.io/service-account-token', \
             'bootstrap.kubernetes.io/token'])"
        }
    };
    vec![cluster.to_owned(), other.to_owned()]
}

fn within_limits(spec: &AdmissionPolicySpec) -> Result<(), String> {
    let named = spec.match_conditions.iter().chain(&spec.variables);
    match named.max_by_key(|named| named.expression.chars().count()) {
        Some(longest) if longest.expression.chars().count() > LONGEST_EXPRESSION => Err(format!(
            "{} compiles to an expression of {} characters, and the API server takes 100000; split the policy",
            longest.name,
            longest.expression.chars().count()
        )),
        _ => Ok(()),
    }
}

/// An inert PodTemplate that only the proof of a policy denies; only ever created in a dry run.
///
/// It breaks no more than a mutable tag does: what others refuse, root or host paths, must not stand before the proof.
pub fn probe_manifest(probe: &Probe, namespace: &str) -> serde_json::Value {
    serde_json::json!({
        "apiVersion": Kind::PodTemplate.api_version(),
        "kind": Kind::PodTemplate.name(),
        "metadata": {
            "generateName": "immutable-probe-",
            "namespace": namespace,
            "labels": probe.labels,
            "annotations": {PROBE: probe.key},
        },
        "template": {"spec": {
            "automountServiceAccountToken": false,
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "probe",
                "image": "immutable.dev/probe:latest",
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
                "resources": {"requests": {"cpu": "1m", "memory": "1Mi"}, "limits": {"cpu": "1m", "memory": "1Mi"}},
            }],
        }},
    })
}
