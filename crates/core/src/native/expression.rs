//! Rules -> the CEL of one compiled policy.

use std::collections::BTreeSet;

use crate::policy::EffectiveRule;
use crate::rules::{Case, Field, IS_INIT, Subject, cel_printable, quote};
use crate::selector::{LabelSelector, Operator};
use crate::workload::ContainerType;

use super::clean::clean;
use super::custom;
use super::objects::NamedExpression;
use super::shape::{Shape, optional_list};

/// The variables of a compiled policy: what the rules share, one per rule, then all findings.
pub(crate) fn variables(shape: &Shape, rules: &[&EffectiveRule], selector: &LabelSelector) -> Vec<NamedExpression> {
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
    if *shape == Shape::Proof {
        findings.push("['[probe] enforcement is in force']".to_owned());
    }
    if findings.is_empty() {
        findings.push("[]".to_owned());
    }
    let mut variables = shared_variables(shape);
    variables.extend(rule_variables);
    variables.push(variable("findings", findings.join(" + ")));
    variables.push(variable("untouched", untouched(shape, rules, selector)));
    // The message is made for every request, also for those that pass, and shares nothing with the validation:
    // so whether an object passes is found out without making sentences.
    let clean = clean(shape, rules).unwrap_or_else(|| "variables.findings.size() == 0".to_owned());
    variables.push(variable("passes", format!("variables.untouched || {clean}")));
    keep_used(variables)
}

/// CEL that is true for the dry run by which the operator proves that this very policy is in force.
pub(crate) fn is_probe(key: &str) -> String {
    format!("{ANY_PROBE} && object.metadata.annotations['{PROBE}'] == {}", quote(key))
}

/// CEL that is true for any such dry run. It leaves no object behind, so letting it pass opens nothing.
pub(crate) const ANY_PROBE: &str = "has(request.dryRun) && request.dryRun && has(object.metadata.annotations) && \
                                    'immutable.dev/probe' in object.metadata.annotations";

/// Annotation of that dry run, whose value tells the compiled policies that it proves, and label of it, whose
/// value tells their bindings.
pub const PROBE: &str = "immutable.dev/probe";

fn variable(name: &str, expression: String) -> NamedExpression {
    NamedExpression { name: name.to_owned(), expression }
}

/// What several rules read.
fn shared_variables(shape: &Shape) -> Vec<NamedExpression> {
    let (Some(spec), Some(old_spec)) = (shape.pod_spec("object"), shape.pod_spec("oldObject")) else {
        return Vec::new();
    };
    let image = if shape.is_validated() { "string(c.image)" } else { "(has(c.image) ? string(c.image) : '')" };
    let (init_names, volumes) = if shape.is_validated() {
        let all = optional_list("variables.spec", "initContainers");
        // The volumes of the pod itself: a debug container may mount them too.
        (format!("{all}.map(c, c.name)"), optional_list("variables.spec", "volumes"))
    } else {
        let of_list = format!("c.name.startsWith({})", quote(&custom::prefix(ContainerType::InitContainer)));
        (format!("variables.containers.filter(c, {of_list}).map(c, c.name)"), "variables.volumes".to_owned())
    };
    let images = format!(
        "variables.containers.map(c, {{'at': {} + c.name + ': ', 'image': {image}}}) + variables.volumes.filter(v, has(v.image))\
         .map(v, {{'at': 'volume ' + {} + ': ', 'image': has(v.image.reference) ? string(v.image.reference) : ''}})",
        container_type(shape),
        volume_name(shape),
    );
    vec![
        variable("spec", spec),
        variable("old_spec", old_spec),
        variable("containers", shape.containers("variables.spec")),
        variable("init_names", init_names),
        variable("volumes", shape.volumes("variables.spec")),
        variable(
            "windows",
            "has(variables.spec.os) && has(variables.spec.os.name) && variables.spec.os.name == 'windows'".to_owned(),
        ),
        variable("host_paths", format!("{volumes}.filter(v, has(v.hostPath)).map(v, v.name)")),
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

/// The name of a volume `v` as it is shown.
fn volume_name(shape: &Shape) -> String {
    if shape.is_validated() { "v.name".to_owned() } else { cel_printable("v.name") }
}

/// `'container '` and the like, for a container `c`.
fn container_type(shape: &Shape) -> String {
    if !shape.is_validated() {
        // Its name says it already.
        return quote("");
    }
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
        if !rule.checks.images.is_empty() {
            lists.push(found("variables.images", rule.checks.image_cases(), &format!("{tag} + i.at")));
        }
        for check in &rule.checks.containers {
            let judged = check.lists.iter().filter(|list| shape.lists().contains(list)).count();
            if judged == 0 {
                continue;
            }
            let prefix = format!("{tag} + {} + c.name + ': '", container_type(shape));
            let left_out = shape.lists().iter().filter(|list| !check.lists.contains(list));
            let list = left_out.fold("variables.containers".to_owned(), |list, out| {
                if shape.is_validated() {
                    let others = optional_list("variables.spec", out.field());
                    format!("{list}.filter(c, !{others}.exists(o, o.name == c.name))")
                } else {
                    format!("{list}.filter(c, !c.name.startsWith({}))", quote(&custom::prefix(*out)))
                }
            });
            let found = found(&list, &check.cases, &prefix);
            lists.push(if check.linux_only { format!("(variables.windows ? [] : {found})") } else { found });
        }
        if !rule.checks.volumes.is_empty() {
            let name = volume_name(shape);
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
fn found<'c, S: Subject>(list: &str, cases: impl IntoIterator<Item = &'c Case<S>>, prefix: &str) -> String {
    let cases: Vec<&Case<S>> = cases.into_iter().collect();
    let variable = S::VARIABLE;
    if let [only] = cases.as_slice()
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
    all.extend(in_scope(shape, "oldObject", selector));
    if shape.pod_spec("oldObject").is_some() {
        let fields: BTreeSet<Field> = rules.iter().flat_map(|rule| rule.checks.reads.iter().copied()).collect();
        all.extend(unchanged_fields(shape, "variables.old_spec", &fields));
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
        let old = shape.containers(old_spec);
        all.push(same_list("variables.containers", &format!("({old})"), "c", &of_containers));
        // The names of a custom resource's containers say the list themselves.
        if shape.is_validated() {
            let in_init = optional_list(old_spec, "initContainers");
            all.push(format!("variables.init_names == {in_init}.map(c, c.name)"));
        }
    }
    if !of_volumes.is_empty() {
        all.push(same_list("variables.volumes", &shape.volumes(old_spec), "v", &of_volumes));
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

/// CEL that is true for an object whose labels, or those of a template in it, satisfy a selector; none for
/// the selector that selects everything.
///
/// A template counts because what is made of it carries its labels and comes from a controller, which is
/// excused: a workload that only keeps the label from its own metadata must not get its pods in unjudged.
pub(crate) fn in_scope(shape: &Shape, object: &str, selector: &LabelSelector) -> Option<String> {
    if selector.is_empty() {
        return None;
    }
    let mut requirements: Vec<String> = selector
        .match_labels
        .iter()
        .map(|(key, value)| format!("{0} in l && l[{0}] == {1}", quote(key), quote(value)))
        .collect();
    for requirement in &selector.match_expressions {
        let key = quote(&requirement.key);
        let values = crate::rules::quote_list(requirement.values.iter().map(String::as_str));
        requirements.push(match requirement.operator {
            Operator::In => format!("{key} in l && l[{key}] in {values}"),
            Operator::NotIn => format!("!({key} in l && l[{key}] in {values})"),
            Operator::Exists => format!("{key} in l"),
            Operator::DoesNotExist => format!("!({key} in l)"),
        });
    }
    let pointers = std::iter::once("").chain(shape.template_pointers());
    let labels: Vec<String> = pointers.map(|pointer| labels_at(shape, object, pointer)).collect();
    Some(format!("[{}].exists(l, {})", labels.join(", "), requirements.join(" && ")))
}

/// The labels of an object or of a template in it, or none.
fn labels_at(shape: &Shape, object: &str, pointer: &str) -> String {
    if !shape.is_validated() {
        return custom::map_at(object, &format!("{pointer}/metadata/labels"), "{}");
    }
    let mut path = object.to_owned();
    let mut present = Vec::new();
    for segment in pointer.split('/').skip(1).chain(["metadata", "labels"]) {
        path = format!("{path}.{segment}");
        present.push(format!("has({path})"));
    }
    format!("({} ? {path} : {{}})", present.join(" && "))
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
