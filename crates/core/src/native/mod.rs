//! Policies -> ValidatingAdmissionPolicies and bindings, which the API server evaluates by itself.
//!
//! Equal settings share one compiled policy, whose name is made of its content; what a policy adds is a
//! binding. Nothing here can fail at the API server because of what a user wrote: every text enters an
//! expression through [`crate::rules::quote`].

mod binding;
mod controllers;
mod expression;
mod message;
mod names;
mod objects;
mod plan;
mod shape;

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::policy::{ControllerCreated, EffectiveRule, Enforcement, Policy, PolicyId};
use crate::selector::LabelSelector;
use crate::workload::Kind;

pub use expression::PROBE;
pub use message::{line, message};
pub use objects::{
    API_VERSION, AdmissionBinding, AdmissionBindingSpec, AdmissionPolicy, AdmissionPolicySpec, HASH_LABEL, MANAGED_BY,
    MatchResources, NamedExpression, NativeKind, NativeObject, Owner, POLICIES_ANNOTATION, ResourceRule,
    SOURCE_ANNOTATION, Validation,
};
pub use plan::{Intent, Observed, ObservedSpec, Plan, plan};

use binding::{Wanted, namespace_selector};
use expression::{ANY_PROBE, is_probe, variables};
use message::{STATIC_MESSAGE, message_cel};
use shape::Shape;

/// The most code points of one expression; the API server refuses 100,000.
const LONGEST_EXPRESSION: usize = 80_000;

/// What all policies together come to.
#[derive(Debug, Default)]
pub struct Compilation {
    /// The compiled policies by name, shared ones once.
    pub admission_policies: BTreeMap<String, AdmissionPolicy>,
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
    /// Labels that bring the PodTemplate into the policy's scope.
    pub labels: BTreeMap<String, String>,
}

impl Compilation {
    /// Every object, policies before bindings.
    pub fn objects(&self) -> impl Iterator<Item = NativeObject> + '_ {
        let policies = self.admission_policies.values().cloned().map(NativeObject::Policy);
        policies.chain(self.bindings.values().cloned().map(NativeObject::Binding))
    }
}

/// Compiles policies for a cluster at a moment: what is suspended then comes to nothing.
pub fn compile<'a>(
    policies: impl IntoIterator<Item = &'a Policy>,
    operator_namespace: &str,
    now: Timestamp,
) -> Compilation {
    let mut compilation = Compilation::default();
    let mut wanted = Vec::new();
    for policy in policies {
        let mut compiled = Compiled { gaps: controllers::gaps(policy), ..Compiled::default() };
        if !policy.is_suspended(now) {
            match admission_policies(policy) {
                Ok(units) => {
                    for unit in units {
                        compiled.admission_policies.push(unit.admission_policy.name.clone());
                        compiled.probe = compiled.probe.take().or_else(|| unit.probe.clone());
                        wanted.push(Wanted {
                            policy: policy.id.clone(),
                            admission_policy: unit.admission_policy.name.clone(),
                            level: unit.level,
                            namespaces: namespace_selector(policy, operator_namespace),
                            objects: unit.objects,
                            proves: unit.admission_policy.proves,
                        });
                        compilation
                            .admission_policies
                            .insert(unit.admission_policy.name.clone(), unit.admission_policy);
                    }
                }
                Err(error) => compiled.error = Some(error),
            }
        }
        compilation.policies.insert(policy.id.clone(), compiled);
    }
    for (binding, policies) in binding::join(wanted) {
        for policy in &policies {
            if let Some(compiled) = compilation.policies.get_mut(policy) {
                compiled.bindings.push(binding.name.clone());
            }
        }
        compilation.bindings.insert(binding.name.clone(), binding);
    }
    compilation
}

/// One compiled policy and how it is bound.
struct Unit {
    admission_policy: AdmissionPolicy,
    level: Enforcement,
    objects: LabelSelector,
    probe: Option<Probe>,
}

/// The compiled policies of one policy: one per shape and level, and one more for what controllers make.
fn admission_policies(policy: &Policy) -> Result<Vec<Unit>, String> {
    let mut units = Vec::new();
    for shape in Shape::of(policy) {
        for level in Enforcement::ALL {
            let at_level: Vec<&EffectiveRule> = policy.rules.iter().filter(|rule| rule.enforcement == level).collect();
            let rules: Vec<&EffectiveRule> =
                at_level.iter().copied().filter(|rule| shape.concerns(&rule.checks)).collect();
            let proves =
                matches!(shape, Shape::PodTemplate { .. }) && level == Enforcement::Enforce && !at_level.is_empty();
            let judged = shape != (Shape::PodTemplate { judged: false });
            if !proves && (rules.is_empty() || !judged) {
                continue;
            }
            units.extend(unit(policy, &shape, level, &rules, proves)?);
        }
    }
    Ok(units)
}

/// The unit of a shape and level, and the one that records what controllers make of older templates.
fn unit(
    policy: &Policy,
    shape: &Shape,
    level: Enforcement,
    rules: &[&EffectiveRule],
    proves: bool,
) -> Result<Vec<Unit>, String> {
    let objects = match shape {
        // The labels of the workload say nothing of the ConfigMaps beside it.
        Shape::Config(_) => LabelSelector::default(),
        _ => policy.matching.selector.clone(),
    };
    let users = match policy.controller_created {
        ControllerCreated::Audit if level == Enforcement::Enforce => controllers::excused_users(policy, shape),
        _ => Vec::new(),
    };
    let mut units = Vec::new();
    let make = |level: Enforcement, conditions: Vec<NamedExpression>, tail: &str| -> Result<Unit, String> {
        let key = proves.then(|| {
            let variables = variables(shape, rules, &objects, None);
            names::short_digest(&serde_json::json!([conditions, variables]).to_string())
        });
        let mut conditions = conditions;
        if let Shape::PodTemplate { judged } = shape {
            conditions.push(probe_condition(key.as_deref(), *judged));
        }
        let spec = AdmissionPolicySpec {
            failure_policy: if level == Enforcement::Enforce { "Fail" } else { "Ignore" }.to_owned(),
            match_constraints: MatchResources::requests(shape.resource_rules()),
            match_conditions: conditions,
            variables: variables(shape, rules, &objects, key.as_deref()),
            validations: vec![Validation {
                expression: "variables.passes".to_owned(),
                message: STATIC_MESSAGE.to_owned(),
                message_expression: message_cel(),
                reason: "Forbidden".to_owned(),
            }],
        };
        within_limits(&spec)?;
        let source = names::digest(&serde_json::json!(spec).to_string());
        let name = names::name(&source, &format!("{}-{}{tail}", level.name(), shape.name()));
        let labels = objects.example();
        let probe = key.zip(labels).map(|(key, labels)| Probe { key, admission_policy: name.clone(), labels });
        Ok(Unit {
            admission_policy: AdmissionPolicy { name, source, spec, proves },
            level,
            objects: objects.clone(),
            probe,
        })
    };
    if users.is_empty() {
        units.push(make(level, exclusions(shape), "")?);
    } else {
        let made_by = controllers::made_by(&users, shape);
        let condition = |name: &str, expression: String| {
            let mut conditions = exclusions(shape);
            conditions.push(NamedExpression { name: name.to_owned(), expression });
            conditions
        };
        units.push(make(level, condition("not-made-by-a-controller", format!("!({made_by})")), "")?);
        units.push(make(Enforcement::Audit, condition("made-by-a-controller", made_by), "-by-controllers")?);
    }
    Ok(units)
}

/// Keeps dry runs that prove another policy out, and everything else where PodTemplates are not judged.
fn probe_condition(key: Option<&str>, judged: bool) -> NamedExpression {
    let expression = match (key, judged) {
        (Some(key), true) => format!("!({ANY_PROBE}) || {}", is_probe(key)),
        (Some(key), false) => is_probe(key),
        (None, _) => format!("!({ANY_PROBE})"),
    };
    NamedExpression { name: "own-proof".to_owned(), expression }
}

/// ConfigMaps and Secrets that the cluster and Helm write for themselves.
fn exclusions(shape: &Shape) -> Vec<NamedExpression> {
    let Shape::Config(kind) = shape else { return Vec::new() };
    let condition =
        |name: &str, expression: &str| NamedExpression { name: name.to_owned(), expression: expression.to_owned() };
    let cluster = condition(
        "not-written-by-the-cluster",
        "!(request.userInfo.username.startsWith('system:serviceaccount:kube-system:') || \
         request.userInfo.username.startsWith('system:node:') || \
         request.userInfo.username in ['system:kube-controller-manager', 'system:kube-scheduler', 'system:apiserver'])",
    );
    let other = match kind {
        crate::rules::ConfigKind::ConfigMap => condition(
            "not-a-release-of-helm",
            "!(object.metadata.name.startsWith('sh.helm.release.v1.') && has(object.metadata.labels) && \
             'owner' in object.metadata.labels && object.metadata.labels['owner'] == 'helm')",
        ),
        crate::rules::ConfigKind::Secret => condition(
            "not-a-token-or-release",
            "!(has(object.type) && object.type in ['helm.sh/release.v1', 'kubernetes.io/service-account-token', \
             'bootstrap.kubernetes.io/token'])",
        ),
    };
    vec![cluster, other]
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

/// An inert PodTemplate that breaks every rule that a template can break; only ever created in a dry run.
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
            "containers": [{
                "name": "probe",
                "image": "immutable.dev/probe:latest",
                "securityContext": {"privileged": true, "runAsUser": 0},
                "volumeMounts": [{"name": "host", "mountPath": "/host"}],
            }],
            "volumes": [{"name": "host", "hostPath": {"path": "/"}}, {"name": "scratch", "emptyDir": {}}],
        }},
    })
}
