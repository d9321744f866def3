//! Whether there is any finding, in CEL, without making a sentence of it.
//!
//! Nearly every object passes, and the API server evaluates this twice for each: for the validation, and for the
//! message that it then does not show. One loop over the containers asks what all rules ask of them.

use crate::policy::EffectiveRule;
use crate::rules::image::is_valid_cel;
use crate::rules::{Case, Subject};

use super::shape::Shape;

/// CEL that is true where no rule has a finding; none for shapes whose objects nobody has validated, where the
/// findings themselves are counted.
pub(crate) fn clean(shape: &Shape, rules: &[&EffectiveRule]) -> Option<String> {
    if !shape.is_validated() || *shape == Shape::Proof {
        return None;
    }
    let mut all = Vec::new();
    if shape.pod_spec("object").is_some() {
        all.extend(containers(shape, rules));
        all.extend(volumes(rules));
    }
    for rule in rules {
        if let Shape::Strategy(kind) = shape {
            for check in rule.checks.strategies.iter().filter(|check| check.kind == *kind) {
                all.push(format!(
                    "[object.spec].all({}, {})",
                    crate::rules::Strategies::VARIABLE,
                    none_of(&check.cases).join(" && ")
                ));
            }
        }
        if let Shape::Config(kind) = shape
            && rule.checks.config.as_ref().is_some_and(|kinds| kinds.contains(kind))
        {
            all.push("has(object.immutable) && object.immutable".to_owned());
        }
    }
    Some(if all.is_empty() { "true".to_owned() } else { all.join(" && ") })
}

fn containers(shape: &Shape, rules: &[&EffectiveRule]) -> Option<String> {
    let mut conditions = Vec::new();
    let mut of_linux = Vec::new();
    for rule in rules {
        for check in &rule.checks.containers {
            // In shapes that are validated the lists of a shape are judged all or none.
            if shape.lists().iter().any(|list| check.lists.contains(list)) {
                let target = if check.linux_only { &mut of_linux } else { &mut conditions };
                target.extend(none_of(&check.cases));
            }
        }
    }
    if !of_linux.is_empty() {
        conditions.push(format!("(variables.windows || {})", of_linux.join(" && ")));
    }
    let images = images(rules, "i");
    if !images.is_empty() {
        conditions.push(format!("[string(c.image)].all(i, {})", images.join(" && ")));
    }
    let conditions = bound_once(&bound_once(&conditions.join(" && "), "securityContext", "s"), "resources", "r");
    (!conditions.is_empty()).then(|| format!("variables.containers.all(c, {conditions})"))
}

fn volumes(rules: &[&EffectiveRule]) -> Option<String> {
    let mut conditions: Vec<String> = rules.iter().flat_map(|rule| none_of(&rule.checks.volumes)).collect();
    let images = images(rules, "i");
    if !images.is_empty() {
        let image = "has(v.image.reference) ? string(v.image.reference) : ''";
        conditions.push(format!("(!has(v.image) || [{image}].all(i, {}))", images.join(" && ")));
    }
    (!conditions.is_empty()).then(|| format!("variables.volumes.all(v, {})", conditions.join(" && ")))
}

/// Looks a field of the container up once, where conditions ask for its fields again and again: each look into an
/// object costs more than all else. An absent one is empty, and has none of its fields either.
fn bound_once(conditions: &str, field: &str, variable: &str) -> String {
    let path = format!("c.{field}");
    let presence = format!("has({path}) && ");
    let without_presence = conditions.replace(&presence, "");
    let mut bound = String::with_capacity(without_presence.len());
    let mut rest = without_presence.as_str();
    let mut found = false;
    while let Some((before, after)) = rest.split_once(&format!("{path}.")) {
        bound.push_str(before);
        // `variables.spec.resources` ends like this too.
        let is_container = !before.ends_with(|last: char| last.is_ascii_alphanumeric());
        bound.push_str(if is_container { variable } else { &path });
        bound.push('.');
        found |= is_container;
        rest = after;
    }
    bound.push_str(rest);
    if !found {
        return conditions.to_owned();
    }
    format!("[has({path}) ? dyn({path}) : dyn({{}})].all({variable}, {bound})")
}

/// What must hold of an image, in one expression each: the grammar once, for all rules.
fn images(rules: &[&EffectiveRule], image: &str) -> Vec<String> {
    let conditions: Vec<String> = rules
        .iter()
        .flat_map(|rule| none_of(&rule.checks.images))
        .map(|condition| condition.replace("i.image", image))
        .collect();
    if conditions.is_empty() { conditions } else { std::iter::once(is_valid_cel(image)).chain(conditions).collect() }
}

fn none_of<S: Subject>(cases: &[Case<S>]) -> Vec<String> {
    cases.iter().map(|case| format!("!({})", case.holds_cel())).collect()
}
