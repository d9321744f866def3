//! What was meant, probably.

use immutable_core::rules::RuleId;

/// The known name that is nearest, with its distance.
pub(super) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<(usize, &'a str)> {
    known.into_iter().map(|known| (strsim::damerau_levenshtein(name, known), known)).min()
}

/// The rule with an id.
///
/// # Errors
/// There is none; the text names the nearest.
pub(super) fn rule(name: &str) -> Result<RuleId, String> {
    RuleId::named(name).ok_or_else(|| {
        let nearest = nearest(name, RuleId::ALL.iter().map(|rule| rule.id()));
        let suggestion = nearest.map_or_else(String::new, |(_, id)| format!("; did you mean {id}?"));
        format!("there is no rule {name}{suggestion} `immutable explain` lists all")
    })
}
