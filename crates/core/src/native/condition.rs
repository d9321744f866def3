//! The one match condition of a compiled policy: whom it asks, and whether it has anything to say.
//!
//! Nearly every object passes. An object for which a match condition is false costs nothing more, while a validation
//! is followed by its message, which the API server makes for every request, from variables evaluated anew. So
//! whether there is a finding is asked here, without making a sentence of it, and in one loop over the containers;
//! the validation is then always broken, and only words the findings. It is one condition and not several because
//! the API server evaluates them all, also those behind one that is false.

use std::collections::BTreeSet;

use crate::policy::EffectiveRule;
use crate::rules::image::is_valid_cel;
use crate::rules::{Case, ContainerCheck, Field, RuleId, Subject, marks, quote};
use crate::selector::{LabelSelector, Operator};

use super::custom;
use super::excuse::{covers, is_excused};
use super::expression::{VOLUME_IMAGE, keep_used, shared_variables, uses};
use super::objects::NamedExpression;
use super::shape::{Shape, optional_list};

/// The match condition: every guard holds, and a rule has a finding that an update did not leave as it was.
pub(crate) fn match_condition(
    shape: &Shape,
    rules: &[&EffectiveRule],
    selector: &LabelSelector,
    guards: &[String],
) -> NamedExpression {
    let mut all: Vec<String> = guards.iter().map(|guard| format!("({guard})")).collect();
    if *shape != Shape::Proof {
        let untouched = untouched(shape, rules, selector).map(|untouched| format!("{untouched} || "));
        let passes = format!("{}{}", untouched.unwrap_or_default(), clean(shape, rules, &|_, _| None));
        all.push(format!("!({})", with_variables(shared_variables(shape, false), &passes)));
    }
    NamedExpression { name: "has-findings".to_owned(), expression: all.join(" && ") }
}

/// A boolean expression over variables where there are none: in a match condition. What depends on another variable
/// stands a level further in.
fn with_variables(variables: Vec<NamedExpression>, body: &str) -> String {
    let mut outer: Vec<NamedExpression> = keep_used(variables, body);
    let mut text = body.to_owned();
    while !outer.is_empty() {
        let needed = |variable: &NamedExpression| outer.iter().any(|other| uses(&other.expression, &variable.name));
        let (rest, level): (Vec<_>, Vec<_>) = outer.iter().cloned().partition(needed);
        let carried = rest.iter().filter(|variable| uses(&text, &variable.name));
        let carried = carried.map(|variable| format!("'{0}': variables.{0}", variable.name));
        let made = level.iter().map(|variable| format!("'{}': dyn({})", variable.name, variable.expression));
        let entries: Vec<String> = carried.chain(made).collect();
        text = format!("[{{{}}}].all(variables, {text})", entries.join(", "));
        outer = rest;
    }
    text
}

/// Says in CEL that an exception excuses a thing from a rule, if exceptions are asked for at all.
type Excused<'a> = &'a dyn Fn(RuleId, String) -> Option<String>;

/// CEL that is true where no rule has a finding that no exception excuses: what a validation asks.
pub(crate) fn excused(shape: &Shape, rules: &[&EffectiveRule]) -> String {
    clean(shape, rules, &|rule, covers| Some(is_excused(rule, &covers)))
}

/// CEL that is true where no rule has a finding, but for those that are excused.
fn clean(shape: &Shape, rules: &[&EffectiveRule], excused: Excused<'_>) -> String {
    let mut all = Vec::new();
    if shape.pod_spec("object").is_some() {
        all.extend(containers(shape, rules, excused));
        all.extend(volumes(shape, rules, excused));
    }
    for rule in rules {
        if let Shape::Strategy(kind) = shape {
            for check in rule.checks.strategies.iter().filter(|check| check.kind == *kind) {
                let holds = none_of(&check.cases).join(" && ");
                let holds = or_excused(holds, excused(rule.rule, covers(shape, None, None)));
                all.push(format!("[object.spec].all({}, {holds})", crate::rules::Strategies::VARIABLE));
            }
        }
        if let Shape::Config(kind) = shape
            && rule.checks.config.as_ref().is_some_and(|kinds| kinds.contains(kind))
        {
            let holds = "has(object.immutable) && object.immutable".to_owned();
            all.push(or_excused(holds, excused(rule.rule, covers(shape, None, None))));
        }
    }
    if all.is_empty() { "true".to_owned() } else { all.join(" && ") }
}

/// A condition, or that an exception excuses what breaks it.
fn or_excused(holds: String, excused: Option<String>) -> String {
    match excused {
        Some(excused) => format!("({holds} || {excused})"),
        None => holds,
    }
}

/// True for an update that leaves every field that the rules read as it was, of an object that was in
/// scope already: otherwise label off, bad image, label on gets through. None for shapes that know no such update.
fn untouched(shape: &Shape, rules: &[&EffectiveRule], selector: &LabelSelector) -> Option<String> {
    if matches!(shape, Shape::EphemeralContainers | Shape::Relabelled | Shape::Config(_) | Shape::Proof) {
        // What is added is never as it was, and the others are judged when they are created.
        return None;
    }
    let mut all = vec!["request.operation == 'UPDATE'".to_owned()];
    all.extend(in_scope(shape, "oldObject", selector));
    if let Some(old_spec) = shape.pod_spec("oldObject") {
        let fields: BTreeSet<Field> = rules.iter().flat_map(|rule| rule.checks.reads.iter().copied()).collect();
        let unchanged = unchanged_fields(shape, "old_spec", &fields);
        all.push(format!("[{old_spec}].all(old_spec, {})", unchanged.join(" && ")));
    }
    for (parent, field) in shape.own_fields() {
        all.push(same(&format!("object.{parent}"), &format!("oldObject.{parent}"), field));
    }
    Some(all.join(" && "))
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
pub(super) fn labels_at(shape: &Shape, object: &str, pointer: &str) -> String {
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

fn containers(shape: &Shape, rules: &[&EffectiveRule], excused: Excused<'_>) -> Option<String> {
    let mut conditions = Vec::new();
    let mut of_linux = Vec::new();
    let this = || covers(shape, Some("c.name"), Some(("", &shape.image("c"))));
    for rule in rules {
        for check in &rule.checks.containers {
            let conditions = if check.linux_only { &mut of_linux } else { &mut conditions };
            conditions.extend(of_lists(shape, check).map(|holds| or_excused(holds, excused(rule.rule, this()))));
        }
    }
    if !of_linux.is_empty() {
        conditions.push(format!("(variables.windows || {})", of_linux.join(" && ")));
    }
    conditions.extend(
        images(rules, &|rule| excused(rule, this())).map(|holds| format!("[{}].all(i, {holds})", shape.image("c"))),
    );
    (!conditions.is_empty())
        .then(|| format!("variables.containers.all(c, {})", marks::looked_up_once(&conditions.join(" && "))))
}

/// What must hold of a container, if it stands in a list that the check looks at.
fn of_lists(shape: &Shape, check: &ContainerCheck) -> Option<String> {
    if !shape.lists().iter().any(|list| check.lists.contains(list)) {
        return None;
    }
    let left_out = shape.lists().iter().filter(|list| !check.lists.contains(list));
    let mut alternatives: Vec<String> = left_out.map(|list| shape.is_in_list(*list)).collect();
    alternatives.push(none_of(&check.cases).join(" && "));
    Some(if let [only] = alternatives.as_slice() { only.clone() } else { format!("({})", alternatives.join(" || ")) })
}

fn volumes(shape: &Shape, rules: &[&EffectiveRule], excused: Excused<'_>) -> Option<String> {
    let this = || covers(shape, None, Some(("has(v.image) && ", VOLUME_IMAGE)));
    let of_rule = |rule: &&EffectiveRule| {
        let holds = none_of(&rule.checks.volumes);
        (!holds.is_empty()).then(|| or_excused(holds.join(" && "), excused(rule.rule, this())))
    };
    let mut conditions: Vec<String> = rules.iter().filter_map(of_rule).collect();
    conditions.extend(
        images(rules, &|rule| excused(rule, this()))
            .map(|holds| format!("(!has(v.image) || [{VOLUME_IMAGE}].all(i, {holds}))")),
    );
    (!conditions.is_empty()).then(|| format!("variables.volumes.all(v, {})", conditions.join(" && ")))
}

/// What must hold of an image `i`: the grammar once, for all rules, each of which an invalid one breaks.
fn images(rules: &[&EffectiveRule], excused: &dyn Fn(RuleId) -> Option<String>) -> Option<String> {
    let mut plain = Vec::new();
    let mut excusable = Vec::new();
    for rule in rules {
        let holds = none_of(&rule.checks.images).iter().map(|holds| marks::of_image(holds)).collect::<Vec<_>>();
        match excused(rule.rule) {
            _ if holds.is_empty() => {}
            Some(excused) => excusable.push(format!("(b && {} || {excused})", holds.join(" && "))),
            None => plain.extend(holds),
        }
    }
    let valid = is_valid_cel("i");
    if !excusable.is_empty() {
        return Some(format!("[{valid}].all(b, {})", excusable.join(" && ")));
    }
    (!plain.is_empty()).then(|| std::iter::once(valid).chain(plain).collect::<Vec<_>>().join(" && "))
}

fn none_of<S: Subject>(cases: &[Case<S>]) -> Vec<String> {
    cases.iter().map(|case| format!("!({})", case.holds_cel())).collect()
}
