//! Rules -> the CEL of one compiled policy.

use crate::policy::EffectiveRule;
use crate::rules::{Case, Strategies, Subject, cel_printable, image, marks, quote};
use crate::workload::ContainerType;

use super::excuse::{covers, unexcused};
use super::objects::NamedExpression;
use super::shape::{Shape, optional_list};

/// The variables of a compiled policy: what the rules share, one per rule, then all findings; `excuses` are those of
/// exceptions, if there are any.
pub(crate) fn variables(
    shape: &Shape,
    rules: &[&EffectiveRule],
    excuses: Option<Vec<NamedExpression>>,
) -> Vec<NamedExpression> {
    let excusing = excuses.is_some();
    let mut findings = Vec::new();
    let mut rule_variables = Vec::new();
    for rule in rules {
        let lists = rule_expression(shape, rule, excusing);
        if lists.is_empty() {
            continue;
        }
        let name = rule.rule.id().replace('-', "_");
        findings.push(format!("variables.{name}"));
        rule_variables.push(variable(&name, marks::where_it_stands(&lists.join(" + "))));
    }
    if *shape == Shape::Proof {
        findings.push("['[probe] enforcement is in force']".to_owned());
    }
    if findings.is_empty() {
        findings.push("[]".to_owned());
    }
    let mut variables = shared_variables(shape, excusing);
    variables.extend(excuses.into_iter().flatten());
    variables.extend(rule_variables);
    variables.push(variable("findings", findings.join(" + ")));
    keep_used(variables, "variables.findings")
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

/// What several rules read, and the match condition too; later ones use earlier ones. Where images can be excused they
/// know the name of their container.
pub(super) fn shared_variables(shape: &Shape, excusing: bool) -> Vec<NamedExpression> {
    let Some(spec) = shape.pod_spec("object") else { return Vec::new() };
    let (init_names, volumes) = if shape.is_validated() {
        let all = optional_list("variables.spec", "initContainers");
        // The volumes of the pod itself: a debug container may mount them too.
        (format!("{all}.map(c, c.name)"), optional_list("variables.spec", "volumes"))
    } else {
        let of_list = shape.is_in_list(ContainerType::InitContainer);
        (format!("variables.containers.filter(c, {of_list}).map(c, c.name)"), "variables.volumes".to_owned())
    };
    let (of_container, of_volume) = if excusing { (", 'name': string(c.name)", ", 'name': ''") } else { ("", "") };
    let images = format!(
        "variables.containers.map(c, {{'at': {} + c.name + ': ', 'image': {}{of_container}}}) + variables.volumes.filter(v, has(v.image))\
         .map(v, {{'at': 'volume ' + {} + ': ', 'image': {VOLUME_IMAGE}{of_volume}}})",
        container_type(shape),
        shape.image("c"),
        volume_name(shape),
    );
    vec![
        variable("spec", spec),
        variable("containers", shape.containers("variables.spec")),
        variable("init_names", init_names),
        variable("volumes", shape.volumes("variables.spec")),
        variable("longest_image", longest_image()),
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
                image::LONGEST,
                crate::image::cel_is_valid("i")
            ),
        ),
    ]
}

/// How long an image may be, as `PodSpec::longest_image` says it.
fn longest_image() -> String {
    let places: Vec<String> = ["containers", "initContainers", "volumes"]
        .map(|list| format!("{}.size()", optional_list("variables.spec", list)))
        .to_vec();
    let (longest, all) = (crate::image::LONGEST_IMAGE, crate::image::ALL_IMAGES);
    format!("[{}].map(n, n * {longest} <= {all} ? {longest} : {all} / n)[0]", places.join(" + "))
}

/// The image of an image volume `v`.
pub(super) const VOLUME_IMAGE: &str = "has(v.image.reference) ? string(v.image.reference) : ''";

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
    others.iter().fold(quoted(*first), |otherwise, list| {
        format!("({} ? {} : {otherwise})", shape.is_in_list(*list), quoted(*list))
    })
}

/// The lists of findings of one rule, in the order in which the Rust side tells them.
fn rule_expression(shape: &Shape, rule: &EffectiveRule, excusing: bool) -> Vec<String> {
    let id = rule.rule.id();
    let tag = quote(&format!("[{id}] "));
    let mut lists = Vec::new();
    let left = |list: &str, variable: &str, condition: String| {
        if excusing { unexcused(list, variable, rule.rule, &condition) } else { list.to_owned() }
    };
    if shape.pod_spec("object").is_some() {
        if !rule.checks.images.is_empty() {
            let list = left("variables.images", "i", covers(shape, Some("i.name"), Some(("", "i.image"))));
            lists.push(found(&list, rule.checks.image_cases(), &format!("{tag} + i.at")));
        }
        for check in &rule.checks.containers {
            let judged = check.lists.iter().filter(|list| shape.lists().contains(list)).count();
            if judged == 0 {
                continue;
            }
            let prefix = format!("{tag} + {} + c.name + ': '", container_type(shape));
            let left_out = shape.lists().iter().filter(|list| !check.lists.contains(list));
            let list = left_out.fold("variables.containers".to_owned(), |list, out| {
                format!("{list}.filter(c, !{})", shape.is_in_list(*out))
            });
            let list = left(&list, "c", covers(shape, Some("c.name"), Some(("", &shape.image("c")))));
            let found = found(&list, &check.cases, &prefix);
            lists.push(if check.linux_only { format!("(variables.windows ? [] : {found})") } else { found });
        }
        if !rule.checks.volumes.is_empty() {
            let name = volume_name(shape);
            let list = left("variables.volumes", "v", covers(shape, None, Some(("has(v.image) && ", VOLUME_IMAGE))));
            lists.push(found(&list, &rule.checks.volumes, &format!("{tag} + 'volume ' + {name} + ': '")));
        }
    }
    if let Shape::Strategy(kind) = shape {
        for check in rule.checks.strategies.iter().filter(|check| check.kind == *kind) {
            let list = left("[object.spec]", Strategies::VARIABLE, covers(shape, None, None));
            lists.push(found(&list, &check.cases, &tag));
        }
    }
    if let Shape::Config(kind) = shape
        && rule.checks.config.as_ref().is_some_and(|kinds| kinds.contains(kind))
    {
        let kind = kind.name();
        let object = left("[object]", "o", covers(shape, None, None));
        lists.push(format!(
            "{object}.filter(o, !(has(o.immutable) && o.immutable)).map(o, {} + {} + {})",
            quote(&format!("[{id}] {kind} ")),
            cel_printable("o.metadata.name"),
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

/// Leaves out variables that an expression uses neither itself nor through others; later ones use earlier ones.
pub(super) fn keep_used(variables: Vec<NamedExpression>, expression: &str) -> Vec<NamedExpression> {
    let mut kept: Vec<NamedExpression> = Vec::new();
    for variable in variables.into_iter().rev() {
        if uses(expression, &variable.name) || kept.iter().any(|later| uses(&later.expression, &variable.name)) {
            kept.push(variable);
        }
    }
    kept.reverse();
    kept
}

pub(super) fn uses(expression: &str, name: &str) -> bool {
    let reference = format!("variables.{name}");
    expression.match_indices(&reference).any(|(at, _)| {
        let next = expression[at + reference.len()..].chars().next();
        !next.is_some_and(|next| next.is_ascii_alphanumeric() || next == '_')
    })
}
