//! Rules -> the CEL of one compiled policy.

use std::collections::BTreeSet;

use crate::policy::EffectiveRule;
use crate::rules::{Case, Containers, Field, HoldsImage, Subject, Volumes, quote};
use crate::selector::{LabelSelector, Operator};
use crate::workload::ContainerType;

use super::objects::NamedExpression;
use super::shape::Shape;

/// The variables of a compiled policy: what the rules share, one per rule, then all findings.
pub(crate) fn variables(shape: &Shape, rules: &[&EffectiveRule], selector: &LabelSelector, probe: Option<&str>) -> Vec<NamedExpression> {
    let mut findings = Vec::new();
    let mut rule_variables = Vec::new();
    for rule in rules {
        let expression = rule_expression(shape, rule);
        if expression.is_empty() {
            continue;
        }
        let name = rule.rule.id().replace('-', "_");
        findings.push(format!("variables.{name}"));
        rule_variables.push(variable(&name, expression.join(" + ")));
    }
    if let Some(key) = probe {
        findings.push(format!("({} ? ['[probe] enforcement is in force'] : [])", is_probe(key)));
    }
    if findings.is_empty() {
        findings.push("[]".to_owned());
    }
    let mut variables = shared_variables(shape);
    variables.extend(rule_variables);
    variables.push(variable("findings", findings.join(" + ")));
    variables.push(variable("untouched", untouched(shape, rules, selector)));
    variables.push(variable("passes", "variables.untouched || variables.findings.size() == 0".to_owned()));
    keep_used(variables)
}

/// CEL that is true for the dry run by which the operator proves that this very policy is in force.
pub(crate) fn is_probe(key: &str) -> String {
    format!("{ANY_PROBE} && object.metadata.annotations['{PROBE}'] == {}", quote(key))
}

/// CEL that is true for any such dry run. It leaves no object behind, so letting it pass opens nothing.
pub(crate) const ANY_PROBE: &str = "has(request.dryRun) && request.dryRun && has(object.metadata.annotations) && \
                                    'immutable.dev/probe' in object.metadata.annotations";

/// Annotation of that dry run; its value names the compiled policy that must deny it.
pub const PROBE: &str = "immutable.dev/probe";

fn variable(name: &str, expression: String) -> NamedExpression {
    NamedExpression { name: name.to_owned(), expression }
}

/// What several rules read.
fn shared_variables(shape: &Shape) -> Vec<NamedExpression> {
    let Some(spec) = shape.pod_spec("object") else { return Vec::new() };
    let mut variables = vec![variable("spec", spec)];
    if *shape == Shape::Pod {
        variables.push(variable("debugging", "request.subResource == 'ephemeralcontainers'".to_owned()));
    }
    let mut images = Vec::new();
    for (list, expression) in shape.containers("variables.spec") {
        variables.push(variable(list_name(list), expression));
        images.push(format!("variables.{}.map(c, {})", list_name(list), Containers::IMAGE));
    }
    let volumes = match shape {
        Shape::Pod => "!variables.debugging && has(variables.spec.volumes) ? variables.spec.volumes : []",
        _ => "has(variables.spec.volumes) ? variables.spec.volumes : []",
    };
    variables.push(variable("volumes", volumes.to_owned()));
    images.push(format!("variables.volumes.filter(v, has(v.image)).map(v, {})", Volumes::IMAGE));
    variables.push(variable(
        "windows",
        "has(variables.spec.os) && has(variables.spec.os.name) && variables.spec.os.name == 'windows'".to_owned(),
    ));
    variables.push(variable(
        "host_paths",
        // The volumes of the pod itself: a debug container may mount them too.
        "(has(variables.spec.volumes) ? variables.spec.volumes : []).filter(v, has(v.hostPath)).map(v, v.name)".to_owned(),
    ));
    variables.push(variable(
        "invalid_images",
        format!(
            "({}).filter(i, i.size() <= {} && !{})",
            images.join(" + "),
            crate::rules::image::LONGEST_IMAGE,
            crate::image::cel_is_valid("i")
        ),
    ));
    variables
}

fn list_name(list: ContainerType) -> &'static str {
    match list {
        ContainerType::Container => "containers",
        ContainerType::InitContainer => "init_containers",
        ContainerType::EphemeralContainer => "ephemeral_containers",
    }
}

/// The lists of findings of one rule, in the order in which the Rust side tells them.
fn rule_expression(shape: &Shape, rule: &EffectiveRule) -> Vec<String> {
    let id = rule.rule.id();
    let mut lists = Vec::new();
    if shape.pod_spec("object").is_some() {
        for (list, _) in shape.containers("variables.spec") {
            for check in rule.checks.containers.iter().filter(|check| check.lists.contains(&list)) {
                let name = container_name(shape);
                let prefix = format!("{} + {name} + ': '", quote(&format!("[{id}] {} ", list.name())));
                let found = found(&format!("variables.{}", list_name(list)), &check.cases, &prefix);
                lists.push(if check.linux_only { format!("(variables.windows ? [] : {found})") } else { found });
            }
        }
        if !rule.checks.volumes.is_empty() {
            let prefix = format!("{} + {} + ': '", quote(&format!("[{id}] volume ")), volume_name(shape));
            lists.push(found("variables.volumes", &rule.checks.volumes, &prefix));
        }
    }
    if let Shape::Strategy(kind) = shape {
        for check in rule.checks.strategies.iter().filter(|check| check.kind == *kind) {
            let prefix = quote(&format!("[{id}] "));
            let cases = check.cases.iter().rev().fold("[]".to_owned(), |otherwise, case| {
                format!("({} ? [{prefix} + {}] : {otherwise})", case.cel(), sentence(case))
            });
            lists.push(cases);
        }
    }
    if let Shape::Config(kind) = shape
        && rule.checks.config.as_ref().is_some_and(|kinds| kinds.contains(kind))
    {
        let kind = kind.name();
        lists.push(format!(
            "(has(object.immutable) && object.immutable ? [] : [{} + object.metadata.name.substring(0, object.metadata.name.size() > 80 ? 77 : \
             object.metadata.name.size()) + (object.metadata.name.size() > 80 ? '...' : '') + {}])",
            quote(&format!("[{id}] {kind} ")),
            quote(&format!(
                " is not immutable; write immutable: true in the {kind}, and a new name for new content"
            ))
        ));
    }
    lists
}

/// The API server has validated names of built-in kinds; those of custom workloads may be anything.
fn container_name(shape: &Shape) -> String {
    match shape {
        Shape::Custom(..) => crate::rules::cel_printable("(has(c.name) ? string(c.name) : '')"),
        _ => "c.name".to_owned(),
    }
}

fn volume_name(shape: &Shape) -> String {
    match shape {
        Shape::Custom(..) => crate::rules::cel_printable("(has(v.name) ? string(v.name) : '')"),
        _ => "v.name".to_owned(),
    }
}

/// A list with one sentence for each subject for which a case holds.
fn found<S: Subject>(list: &str, cases: &[Case<S>], prefix: &str) -> String {
    let any: Vec<String> = cases.iter().map(|case| format!("({})", case.cel())).collect();
    let (last, earlier) = match cases.split_last() {
        Some(split) => split,
        None => return "[]".to_owned(),
    };
    let text = earlier.iter().rev().fold(format!("({})", sentence(last)), |otherwise, case| {
        format!("({} ? {} : {otherwise})", case.cel(), sentence(case))
    });
    format!("{list}.map({}, {}, {prefix} + {text})", S::VARIABLE, any.join(" || "))
}

fn sentence<S: Subject>(case: &Case<S>) -> String {
    format!("{} + '; ' + {}", case.message().cel(), case.fix().cel())
}

/// True for an update that leaves every field that the rules read as it was, of an object that was in
/// scope already: otherwise label off, bad image, label on gets through.
fn untouched(shape: &Shape, rules: &[&EffectiveRule], selector: &LabelSelector) -> String {
    let mut all = vec!["request.operation == 'UPDATE'".to_owned()];
    if *shape == Shape::Pod {
        all.push("!variables.debugging".to_owned());
    }
    all.extend(selector_expressions("oldObject", selector));
    if let Some(old) = shape.pod_spec("oldObject") {
        let fields: BTreeSet<Field> = rules.iter().flat_map(|rule| rule.checks.reads.iter().copied()).collect();
        all.extend(unchanged_fields(shape, &format!("({old})"), &fields));
    }
    for (parent, field) in shape.own_fields() {
        all.push(same(&format!("object.{parent}"), &format!("oldObject.{parent}"), field));
    }
    all.join(" && ")
}

fn unchanged_fields(shape: &Shape, old: &str, fields: &BTreeSet<Field>) -> Vec<String> {
    let mut all = Vec::new();
    let mut of_containers = Vec::new();
    let mut of_volumes = Vec::new();
    for field in fields {
        match field {
            Field::Pod(name) => all.push(same("variables.spec", old, name)),
            Field::Container(name) => of_containers.push(*name),
            Field::Volume(name) => of_volumes.push(*name),
        }
    }
    if !of_containers.is_empty() {
        for (list, _) in shape.containers("variables.spec") {
            all.push(same_list(old, list.field(), "c", &of_containers));
        }
    }
    if !of_volumes.is_empty() {
        all.push(same_list(old, "volumes", "v", &of_volumes));
    }
    all
}

/// The same field, or absent, on both sides.
fn same(new: &str, old: &str, field: &str) -> String {
    format!("has({new}.{field}) == has({old}.{field}) && (!has({new}.{field}) || {new}.{field} == {old}.{field})")
}

/// The same names and fields of every entry, in the same order.
fn same_list(old: &str, list: &str, variable: &str, fields: &[&str]) -> String {
    let values: Vec<String> = std::iter::once("name")
        .chain(fields.iter().copied())
        .map(|field| format!("has({variable}.{field}) ? dyn({variable}.{field}) : dyn(null)"))
        .collect();
    let side = |spec: &str| format!("(has({spec}.{list}) ? {spec}.{list}.map({variable}, [{}]) : [])", values.join(", "));
    format!("{} == {}", side("variables.spec"), side(old))
}

/// A label selector over an object, in CEL.
pub(crate) fn selector_expressions(object: &str, selector: &LabelSelector) -> Vec<String> {
    let labels = format!("{object}.metadata.labels");
    let present = |key: &str| format!("has({labels}) && {} in {labels}", quote(key));
    let mut all = Vec::new();
    for (key, value) in &selector.match_labels {
        all.push(format!("{} && {labels}[{}] == {}", present(key), quote(key), quote(value)));
    }
    for requirement in &selector.match_expressions {
        let key = &requirement.key;
        let values = crate::rules::quote_list(requirement.values.iter().map(String::as_str));
        all.push(match requirement.operator {
            Operator::In => format!("{} && {labels}[{}] in {values}", present(key), quote(key)),
            Operator::NotIn => format!("!({} && {labels}[{}] in {values})", present(key), quote(key)),
            Operator::Exists => present(key),
            Operator::DoesNotExist => format!("!({})", present(key)),
        });
    }
    all
}

/// Leaves out variables that nothing uses; later ones use earlier ones.
fn keep_used(variables: Vec<NamedExpression>) -> Vec<NamedExpression> {
    let mut kept: Vec<NamedExpression> = Vec::new();
    for variable in variables.into_iter().rev() {
        let used = matches!(variable.name.as_str(), "passes" | "findings")
            || kept.iter().any(|later| uses(&later.expression, &variable.name));
        if used {
            kept.push(variable);
        }
    }
    kept.reverse();
    kept
}

fn uses(expression: &str, name: &str) -> bool {
    let reference = format!("variables.{name}");
    expression.match_indices(&reference).any(|(at, _)| {
        let next = expression[at + reference.len()..].chars().next();
        !next.is_some_and(|next| next.is_ascii_alphanumeric() || next == '_')
    })
}
