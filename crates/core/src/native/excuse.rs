//! Exceptions in CEL: data that a compiled policy carries, and the expressions that read it.
//!
//! An exception is one line of text, so that a thousand of them are two thousand nodes of an expression and not a
//! hundred thousand: fields behind one another, items of a field behind one another, both split when a workload has
//! findings. No item holds a separator: names, globs and labels have been validated, and a glob's RE2 has no blank.
//! Every line enters an expression through [`quote`], as every text does.
//!
//! Expiry holds without the operator. CEL has no clock, but the object has: on CREATE the API server has just set
//! `creationTimestamp`; on UPDATE it gives the field manager that adds or changes a field the time of this moment, so the
//! latest time of all managers is now or later. What a client can do about that (all of it seen):
//!
//! - Where an update only removes fields, no time is set, and those that the client sends are stored. So it must add or
//!   change a leaf of a container: labels and annotations are changed behind the field manager's back too, by the
//!   generation of a DaemonSet's template, and by mutating admission.
//! - With managers that cannot be understood the API server sets no time either, and restores those of the old object. So
//!   an entry must be there that the old object has not. (Two updates by one manager in one second have the same, and the
//!   second is not excused.)
//! - A list that is a set can be turned round or made shorter without a time. So a list must hold what it did not.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::exception::{Exception, WorkloadFilter};
use crate::glob::Glob;
use crate::policy::Policy;
use crate::rules::{RuleId, quote, quote_list};
use crate::selector::{LabelSelector, Operator};
use crate::workload::{ContainerType, Kind};

use super::condition::labels_at;
use super::controllers;
use super::custom;
use super::objects::NamedExpression;
use super::shape::Shape;

/// Separates the fields of a line.
const FIELD: &str = "\t";
/// Separates the items of a field.
const ITEM: &str = " ";
/// The most characters of the lines of one variable; with what stands around it stays below the longest expression.
const LONGEST_DATA: usize = 70_000;
/// A time that no exception outlives: an object without a clock.
const NO_CLOCK: &str = "timestamp('9999-12-31T23:59:59Z')";

/// What some exceptions say in a compiled policy, by namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Excuses {
    by_namespace: BTreeMap<String, Vec<String>>,
    with_selectors: bool,
}

impl Excuses {
    /// Those of some exceptions that have something to say of these rules and this shape; none if there are none.
    pub(super) fn of(
        exceptions: &BTreeMap<String, Vec<Arc<Exception>>>,
        shape: &Shape,
        rules: &[RuleId],
    ) -> Option<Self> {
        let mut excuses = Self::default();
        for (namespace, exceptions) in exceptions {
            let concerning = exceptions.iter().filter(|exception| {
                let kinds = &exception.workloads.kinds;
                exception.rules.iter().any(|rule| rules.contains(rule))
                    && (kinds.is_empty() || kinds.iter().any(|kind| shape.may_come_of(kind)))
            });
            let lines: Vec<String> = concerning.clone().map(|exception| line(exception)).collect();
            excuses.with_selectors |= concerning.into_iter().any(|exception| !exception.workloads.selector.is_empty());
            if !lines.is_empty() {
                excuses.by_namespace.insert(namespace.clone(), lines);
            }
        }
        (!excuses.by_namespace.is_empty()).then_some(excuses)
    }

    /// The variables that hold the lines, and `excuses`: those that are about the object and hold at its time, as lists of
    /// fields, which are lists of items.
    pub(super) fn variables(&self, shape: &Shape, policy: &Policy) -> Vec<NamedExpression> {
        let data = self.data();
        let of_namespace: Vec<String> = data
            .iter()
            .map(|part| format!("variables.{0}", part.name))
            .map(|part| format!("(request.namespace in {part} ? {part}[request.namespace] : [])"))
            .collect();
        let mut conditions = vec![
            "timestamp(e[6][0]) > variables.clock".to_owned(),
            "variables.targets.exists(w, (e[1][0] == '' || w[0] in e[1]) && (e[2][0] == '' || e[2].exists(p, w[1].matches(p))))"
                .to_owned(),
        ];
        if self.with_selectors {
            let labels = labels_at(shape, "object", "");
            conditions.push(format!("(e[5][0] == '' || [{labels}].exists(l, e[5].all(r, {})))", requirement("r")));
        }
        let excuses = format!(
            "({}).map(t, t.split({}).map(f, f.split({}))).filter(e, {})",
            of_namespace.join(" + "),
            quote(FIELD),
            quote(ITEM),
            conditions.join(" && ")
        );
        let mut variables = data;
        variables.extend([
            NamedExpression { name: "clock".to_owned(), expression: clock(shape) },
            NamedExpression { name: "targets".to_owned(), expression: targets(shape, policy) },
            NamedExpression { name: "excuses".to_owned(), expression: excuses },
        ]);
        variables
    }

    /// The lines, in as many variables as they need.
    fn data(&self) -> Vec<NamedExpression> {
        let mut parts: Vec<BTreeMap<&str, Vec<String>>> = Vec::new();
        let mut length = usize::MAX;
        for (namespace, lines) in &self.by_namespace {
            for line in lines {
                let quoted = quote(line);
                let more = quoted.len() + namespace.len() + 10;
                if length.saturating_add(more) > LONGEST_DATA {
                    parts.push(BTreeMap::new());
                    length = 0;
                }
                length += more;
                if let Some(part) = parts.last_mut() {
                    part.entry(namespace).or_default().push(quoted);
                }
            }
        }
        let expression = |part: BTreeMap<&str, Vec<String>>| {
            let entries: Vec<String> =
                part.iter().map(|(namespace, lines)| format!("{}: [{}]", quote(namespace), lines.join(", "))).collect();
            format!("{{{}}}", entries.join(", "))
        };
        let named =
            |(number, part)| NamedExpression { name: format!("exceptions_{number}"), expression: expression(part) };
        parts.into_iter().enumerate().map(named).collect()
    }
}

/// What an exception says: rules, kinds, names, containers, images, labels, and when it ends.
fn line(exception: &Exception) -> String {
    let Exception { rules, workloads, images, containers, expires_at, .. } = exception;
    let WorkloadFilter { kinds, names, selector } = workloads;
    let rules: BTreeSet<&str> = rules.iter().map(|rule| rule.id()).collect();
    let fields = [
        rules.into_iter().collect::<Vec<_>>().join(ITEM),
        kinds.join(ITEM),
        patterns(names),
        containers.join(ITEM),
        patterns(images),
        requirements(selector),
        expires_at.to_string(),
    ];
    fields.join(FIELD)
}

fn patterns(globs: &[Glob]) -> String {
    let sources: Vec<String> = globs.iter().map(|glob| format!("(?s)^{}$", glob.to_regex_source())).collect();
    sources.join(ITEM)
}

/// Labels as `OPERATOR=KEY=VALUE,VALUE`: neither keys nor values hold `=` or `,`.
fn requirements(selector: &LabelSelector) -> String {
    let mut items: Vec<String> = selector.match_labels.iter().map(|(key, value)| format!("In={key}={value}")).collect();
    items.extend(selector.match_expressions.iter().map(|requirement| {
        let operator = match requirement.operator {
            Operator::In => "In",
            Operator::NotIn => "NotIn",
            Operator::Exists => "Exists",
            Operator::DoesNotExist => "DoesNotExist",
        };
        format!("{operator}={}={}", requirement.key, requirement.values.join(","))
    }));
    items.join(ITEM)
}

/// CEL that is true where labels `l` satisfy one of [`requirements`].
fn requirement(item: &str) -> String {
    format!(
        "[{item}.split('=')].all(q, q[0] == 'In' ? q[1] in l && l[q[1]] in q[2].split(',') : \
         q[0] == 'NotIn' ? !(q[1] in l && l[q[1]] in q[2].split(',')) : q[0] == 'Exists' ? q[1] in l : !(q[1] in l))"
    )
}

/// CEL that keeps of a list what no exception excuses from a rule; `condition` says it of a subject and an exception `e`.
pub(super) fn unexcused(list: &str, variable: &str, rule: RuleId, condition: &str) -> String {
    format!(
        "[variables.excuses.filter(e, {} in e[0])].map(x, {list}.filter({variable}, !x.exists(e, {condition})))[0]",
        quote(rule.id())
    )
}

/// CEL that is true where an exception excuses a thing from a rule; `condition` says that an exception `e` is about it.
pub(super) fn is_excused(rule: RuleId, condition: &str) -> String {
    format!("variables.excuses.exists(e, {} in e[0] && {condition})", quote(rule.id()))
}

/// CEL that is true where an exception `e` is about a thing with this container name, if any, and this image, if any.
pub(super) fn covers(shape: &Shape, container: Option<&str>, image: Option<(&str, &str)>) -> String {
    let of_container = match container {
        // The names of a custom resource's containers say the list themselves.
        Some(name) if !shape.is_validated() => {
            let of_lists = ContainerType::ALL.map(|list| format!("{name} == {} + n", quote(&custom::prefix(list))));
            format!("(e[3][0] == '' || e[3].exists(n, {}))", of_lists.join(" || "))
        }
        Some(name) => format!("(e[3][0] == '' || {name} in e[3])"),
        None => "e[3][0] == ''".to_owned(),
    };
    let of_image = match image {
        Some((presence, image)) => format!("(e[4][0] == '' || {presence}e[4].exists(p, ({image}).matches(p)))"),
        None => "e[4][0] == ''".to_owned(),
    };
    format!("{of_container} && {of_image}")
}

/// When the request is made, as the object tells it.
fn clock(shape: &Shape) -> String {
    let object = |name: &str| if shape.is_validated() { name.to_owned() } else { format!("dyn({name})") };
    let (new, old) = (format!("{}.metadata", object("object")), format!("{}.metadata", object("oldObject")));
    let created = format!("(has({new}.creationTimestamp) ? timestamp({new}.creationTimestamp) : {NO_CLOCK})");
    let text = |of: &str, field: &str| format!("(has({of}.{field}) ? {of}.{field} : '')");
    let same = |field: &str| format!("{} == {}", text("o", field), text("m", field));
    let is_known = format!("has(o.time) && o.time == m.time && {} && {}", same("manager"), same("operation"));
    let is_clocked = [
        format!("has({new}.managedFields) && has({old}.managedFields)"),
        format!("{new}.managedFields.all(m, has(m.time))"),
        format!("{new}.managedFields.exists(m, !{old}.managedFields.exists(o, {is_known}))"),
        format!("({})", adds(shape)),
    ];
    format!(
        "request.operation == 'CREATE' ? {created} : {} ? {new}.managedFields.map(m, timestamp(m.time)).max() : {NO_CLOCK}",
        is_clocked.join(" && ")
    )
}

/// CEL that is true for an update that adds or changes a field whose manager the API server notes with the time.
fn adds(shape: &Shape) -> String {
    let mut any: Vec<String> = Vec::new();
    if let Some(old_spec) = shape.pod_spec("oldObject") {
        let old_containers = shape.containers_of_both(&old_spec);
        any.push(format!(
            "[{old_containers}].exists(a, variables.containers.exists(c, !a.exists(o, o.name == c.name) \
             || a.exists(o, o.name == c.name && {})))",
            more("dyn(c)", "dyn(o)", DEPTH)
        ));
    }
    for (parent, field) in shape.own_fields() {
        let (new, old) = (format!("object.{parent}.{field}"), format!("oldObject.{parent}.{field}"));
        any.push(format!(
            "has({new}) && {}",
            more(&format!("dyn({new})"), &format!("(has({old}) ? dyn({old}) : dyn({{}}))"), DEPTH)
        ));
    }
    if any.is_empty() { "false".to_owned() } else { any.join(" || ") }
}

/// How deep a container is compared: `securityContext.capabilities.drop`.
const DEPTH: usize = 3;

/// CEL that is true where a map has a leaf that another has not, or another value there. Of a list only what it did not
/// hold before counts, and lists of maps do not: an entry with a field less is another one, too.
fn more(new: &str, old: &str, depth: usize) -> String {
    let (key, value, other) = (format!("k{depth}"), format!("v{depth}"), format!("o{depth}"));
    let was = format!("({key} in {other} && type({other}[{key}]) == list ? {other}[{key}] : [])");
    let is_leaf = format!(
        "type({value}) == list ? {value}.exists(x, type(x) != map && type(x) != list && !(x in {was})) \
         : type({value}) != map && (!({key} in {other}) || {other}[{key}] != {value})"
    );
    let body = if depth == 1 {
        is_leaf
    } else {
        let nested = more(
            &value,
            &format!("({key} in {other} && type({other}[{key}]) == map ? {other}[{key}] : dyn({{}}))"),
            depth - 1,
        );
        format!("type({value}) == map ? {nested} : ({is_leaf})")
    };
    format!("[{old}].exists({other}, {new}.exists({key}, [{new}[{key}]].exists({value}, {body})))")
}

/// The object by kind and name, and what it was made from: known by who makes it, since anyone can write
/// ownerReferences. A controller names only the next above it; what made that has the same name without its end.
fn targets(shape: &Shape, policy: &Policy) -> String {
    let itself = "[[request.kind.kind, has(object.metadata.name) ? string(object.metadata.name) : '']]";
    let is_made = match shape {
        Shape::Pod => true,
        Shape::Template(kinds) => kinds.contains(&Kind::ReplicaSet) || kinds.contains(&Kind::Job),
        _ => false,
    };
    if !is_made {
        return itself.to_owned();
    }
    let users = controllers::all_users(policy);
    let owners = format!(
        "[request.userInfo.username in {} && has(object.metadata.ownerReferences) ? \
         object.metadata.ownerReferences.filter(o, has(o.controller) && o.controller).map(o, [string(o.kind), string(o.name)]) : []]",
        quote_list(users.iter().map(String::as_str))
    );
    let mut all = vec![itself.to_owned(), "a".to_owned()];
    let without_end = "w[1].substring(0, w[1].lastIndexOf('-'))";
    if *shape == Shape::Pod {
        // The second is that of Argo Rollouts.
        let labels = ["pod-template-hash", "rollouts-pod-template-hash"].map(|label| {
            let labels = "object.metadata.labels";
            format!("{0} in {labels} && w[1].endsWith('-' + {labels}[{0}])", quote(label))
        });
        let by_hash =
            format!("a.filter(w, w[0] == 'ReplicaSet' && has(object.metadata.labels) && ({}))", labels.join(" || "));
        let custom = policy.custom_workloads().iter().map(|custom| custom.kind.as_str());
        let makers: BTreeSet<&str> = std::iter::once("Deployment").chain(custom).collect();
        all.extend(makers.into_iter().map(|kind| format!("{by_hash}.map(w, [{}, {without_end}])", quote(kind))));
        all.push(format!("a.filter(w, w[0] == 'Job' && w[1].matches('-[0-9]+$')).map(w, ['CronJob', {without_end}])"));
    }
    format!("{owners}.map(a, {})[0]", all.join(" + "))
}

#[cfg(test)]
mod tests;
