//! Rules -> the CEL of one compiled policy.

use std::collections::BTreeSet;

use crate::policy::EffectiveRule;
use crate::rules::{Case, Field, IS_INIT, Subject, cel_printable, quote};
use crate::selector::{LabelSelector, Operator};
use crate::workload::ContainerType;

use super::objects::NamedExpression;
use super::shape::{Shape, optional_list};

/// The variables of a compiled policy: what the rules share, one per rule, then all findings.
pub(crate) fn variables(
    shape: &Shape,
    rules: &[&EffectiveRule],
    selector: &LabelSelector,
    probe: Option<&str>,
) -> Vec<NamedExpression> {
    let mut findings = Vec::new();
    let mut rule_variables = Vec::new();
    for rule in rules {
        let lists = rule_expression(shape, rule);
        if lists.is_empty() {
            continue;
        }
        let name = rule.rule.id().replace('-', "_");
        findings.push(format!("variables.{name}"));
        rule_variables.push(variable(&name, lists.join(" + ")));
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
    let name = |subject: &str| {
        if shape.is_validated() {
            format!("{subject}.name")
        } else {
            cel_printable(&format!("(has({subject}.name) ? string({subject}.name) : '')"))
        }
    };
    let image = if shape.is_validated() { "string(c.image)" } else { "(has(c.image) ? string(c.image) : '')" };
    let init_names = format!("{}.map(c, {})", optional_list("variables.spec", "initContainers"), name("c"));
    let images = format!(
        "variables.containers.map(c, {{'at': {} + {} + ': ', 'image': {image}}}) + variables.volumes.filter(v, has(v.image))\
         .map(v, {{'at': 'volume ' + {} + ': ', 'image': has(v.image.reference) ? string(v.image.reference) : ''}})",
        container_type(shape),
        name("c"),
        name("v"),
    );
    vec![
        variable("spec", spec),
        variable("containers", shape.containers("variables.spec")),
        variable("init_names", init_names),
        variable("volumes", shape.volumes("variables.spec")),
        variable(
            "windows",
            "has(variables.spec.os) && has(variables.spec.os.name) && variables.spec.os.name == 'windows'".to_owned(),
        ),
        // The volumes of the pod itself: a debug container may mount them too.
        variable(
            "host_paths",
            format!("{}.filter(v, has(v.hostPath)).map(v, v.name)", optional_list("variables.spec", "volumes")),
        ),
        variable("images", images),
        variable(
            "invalid_images",
            format!(
                "variables.images.map(i, i.image).filter(i, i.size() <= {} && !{})",
                crate::rules::image::LONGEST_IMAGE,
                crate::image::cel_is_valid("i")
            ),
        ),
    ]
}

/// `'container '` and the like, for a container `c`.
fn container_type(shape: &Shape) -> String {
    let quoted = |list: ContainerType| quote(&format!("{} ", list.name()));
    let [first, others @ ..] = shape.lists() else { return quote("") };
    others.iter().fold(quoted(*first), |otherwise, list| match list {
        ContainerType::InitContainer => format!("({IS_INIT} ? {} : {otherwise})", quoted(*list)),
        _ => format!(
            "({}.exists(o, o.name == c.name) ? {} : {otherwise})",
            optional_list("variables.spec", list.field()),
            quoted(*list)
        ),
    })
}

/// The lists of findings of one rule, in the order in which the Rust side tells them.
fn rule_expression(shape: &Shape, rule: &EffectiveRule) -> Vec<String> {
    let id = rule.rule.id();
    let tag = quote(&format!("[{id}] "));
    let mut lists = Vec::new();
    if shape.pod_spec("object").is_some() {
        let name = if shape.is_validated() {
            "c.name".to_owned()
        } else {
            cel_printable("(has(c.name) ? string(c.name) : '')")
        };
        if !rule.checks.images.is_empty() {
            lists.push(found("variables.images", &rule.checks.images, &format!("{tag} + i.at")));
        }
        for check in &rule.checks.containers {
            let judged = check.lists.iter().filter(|list| shape.lists().contains(list)).count();
            if judged == 0 {
                continue;
            }
            let prefix = format!("{tag} + {} + {name} + ': '", container_type(shape));
            let left_out = shape.lists().iter().filter(|list| !check.lists.contains(list));
            let list = left_out.fold("variables.containers".to_owned(), |list, out| {
                format!(
                    "{list}.filter(c, !{}.exists(o, o.name == c.name))",
                    optional_list("variables.spec", out.field())
                )
            });
            let found = found(&list, &check.cases, &prefix);
            lists.push(if check.linux_only { format!("(variables.windows ? [] : {found})") } else { found });
        }
        if !rule.checks.volumes.is_empty() {
            let name = if shape.is_validated() {
                "v.name".to_owned()
            } else {
                cel_printable("(has(v.name) ? string(v.name) : '')")
            };
            lists.push(found("variables.volumes", &rule.checks.volumes, &format!("{tag} + 'volume ' + {name} + ': '")));
        }
    }
    if let Shape::Strategy(kind) = shape {
        for check in rule.checks.strategies.iter().filter(|check| check.kind == *kind) {
            lists.push(found("[object.spec]", &check.cases, &tag));
        }
    }
    if let Shape::Config(kind) = shape
        && rule.checks.config.as_ref().is_some_and(|kinds| kinds.contains(kind))
    {
        let kind = kind.name();
        lists.push(format!(
            "(has(object.immutable) && object.immutable ? [] : [{} + {} + {}])",
            quote(&format!("[{id}] {kind} ")),
            cel_printable("object.metadata.name"),
            quote(&format!(" is not immutable; write immutable: true in the {kind}, and a new name for new content"))
        ));
    }
    lists
}

/// A list with one sentence for each subject for which a case holds.
fn found<S: Subject>(list: &str, cases: &[Case<S>], prefix: &str) -> String {
    let variable = S::VARIABLE;
    if let [only] = cases
        && only.list_cel().is_none()
    {
        return format!("{list}.map({variable}, {}, {prefix} + {})", only.cel(), sentence(only));
    }
    let first = cases.iter().rev().fold("''".to_owned(), |otherwise, case| {
        let chosen = format!("({}) ? {prefix} + {} : {otherwise}", case.cel(), sentence(case));
        match case.list_cel() {
            Some(list) => format!("[{list}].map(l, {chosen})[0]"),
            None => chosen,
        }
    });
    format!("{list}.map({variable}, {first}).filter(t, t != '')")
}

fn sentence<S: Subject>(case: &Case<S>) -> String {
    format!("{} + '; ' + {}", case.message().cel(), case.fix().cel())
}

/// True for an update that leaves every field that the rules read as it was, of an object that was in
/// scope already: otherwise label off, bad image, label on gets through.
fn untouched(shape: &Shape, rules: &[&EffectiveRule], selector: &LabelSelector) -> String {
    let mut all = vec!["request.operation == 'UPDATE'".to_owned()];
    if *shape == Shape::EphemeralContainers {
        // What it adds is never as it was.
        return "false".to_owned();
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

fn unchanged_fields(shape: &Shape, old_spec: &str, fields: &BTreeSet<Field>) -> Vec<String> {
    let mut all = Vec::new();
    let mut of_containers = Vec::new();
    let mut of_volumes = Vec::new();
    for field in fields {
        match field {
            Field::Pod(name) => all.push(same("variables.spec", old_spec, name)),
            Field::Container(name) => of_containers.push(*name),
            Field::Volume(name) => of_volumes.push(*name),
        }
    }
    if !of_containers.is_empty() {
        let old =
            shape.lists().iter().map(|list| optional_list(old_spec, list.field())).collect::<Vec<_>>().join(" + ");
        let in_init = "variables.init_names";
        all.push(same_list("variables.containers", &format!("({old})"), "c", &of_containers));
        all.push(format!("{in_init} == {}.map(c, c.name)", optional_list(old_spec, "initContainers")));
    }
    if !of_volumes.is_empty() {
        all.push(same_list("variables.volumes", &optional_list(old_spec, "volumes"), "v", &of_volumes));
    }
    all
}

/// The same field, or absent, on both sides.
fn same(new: &str, old: &str, field: &str) -> String {
    format!("has({new}.{field}) == has({old}.{field}) && (!has({new}.{field}) || {new}.{field} == {old}.{field})")
}

/// The same names and fields of every entry, in the same order.
fn same_list(new: &str, old: &str, variable: &str, fields: &[&str]) -> String {
    let values: Vec<String> = std::iter::once("name")
        .chain(fields.iter().copied())
        .map(|field| format!("has({variable}.{field}) ? dyn({variable}.{field}) : dyn(null)"))
        .collect();
    let projected = format!(".map({variable}, [{}])", values.join(", "));
    format!("{new}{projected} == {old}{projected}")
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
