//! Sentences that are written once and rendered twice: in Rust, and in CEL by the API server.

use super::subject::Subject;

/// How many characters of a name or an image are shown.
const SHOWN: usize = 80;

/// A value of a sentence, in both languages.
pub struct Value<S: Subject> {
    rust: ValueOf<S>,
    cel: String,
}

type ValueOf<S> = Box<dyn for<'a> Fn(&<S as Subject>::View<'a>, &mut String) + Send + Sync>;

impl<S: Subject> Value<S> {
    /// A value that a user wrote: shown in printable ASCII, cut at 80 characters.
    pub fn written(rust: impl for<'v, 'a> Fn(&'v S::View<'a>) -> &'v str + Send + Sync + 'static, cel: &str) -> Self {
        Self { rust: Box::new(move |view, text| push_printable(text, rust(view))), cel: cel_printable(cel) }
    }

    /// A part of what has been validated, so that it is printable already: cut at 80 characters.
    pub fn valid(rust: impl for<'v, 'a> Fn(&'v S::View<'a>) -> &'v str + Send + Sync + 'static, cel: &str) -> Self {
        Self {
            rust: Box::new(move |view, text| push_printable(text, rust(view))),
            cel: format!("[{cel}].map(s, s.size() > {SHOWN} ? s.substring(0, {}) + '...' : s)[0]", SHOWN - 3),
        }
    }

    /// A value made of our own words, shown as it is.
    pub fn own(rust: impl for<'a> Fn(&S::View<'a>) -> String + Send + Sync + 'static, cel: impl Into<String>) -> Self {
        Self { rust: Box::new(move |view, text| text.push_str(&rust(view))), cel: cel.into() }
    }
}

enum Part<S: Subject> {
    Literal(String),
    Value(Value<S>),
}

/// A sentence about a subject, with values in it.
pub struct Text<S: Subject> {
    parts: Vec<Part<S>>,
}

impl<S: Subject> Text<S> {
    /// Reads a template such as `image {image} has no digest`.
    ///
    /// Names stand for the subject's own values ([`Subject::value`]); `values` adds more. A name that
    /// nobody knows stays in the text, where a test over all rules finds it.
    pub fn new(template: &str, mut values: Vec<(&'static str, Value<S>)>) -> Self {
        let mut parts = Vec::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, after)) = after.split_once('}') else { break };
            if !before.is_empty() {
                parts.push(Part::Literal(before.to_owned()));
            }
            let own = values.iter().position(|(known, _)| *known == name).map(|at| values.swap_remove(at).1);
            parts.push(match own.or_else(|| S::value(name)) {
                Some(value) => Part::Value(value),
                None => Part::Literal(format!("{{{name}}}")),
            });
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Literal(rest.to_owned()));
        }
        Self { parts }
    }

    /// The sentence about one subject.
    pub fn render(&self, view: &S::View<'_>) -> String {
        if let [Part::Literal(only)] = self.parts.as_slice() {
            return only.clone();
        }
        let mut text = String::with_capacity(2 * SHOWN);
        for part in &self.parts {
            match part {
                Part::Literal(literal) => text.push_str(literal),
                Part::Value(value) => (value.rust)(view, &mut text),
            }
        }
        text
    }

    /// A CEL expression that makes the same sentence.
    pub fn cel(&self) -> String {
        let parts: Vec<String> = self
            .parts
            .iter()
            .map(|part| match part {
                Part::Literal(literal) => quote(literal),
                Part::Value(value) => value.cel.clone(),
            })
            .collect();
        parts.join(" + ")
    }
}

/// A CEL string literal with any content: the one place where text enters an expression.
pub fn quote(text: &str) -> String {
    let mut literal = String::with_capacity(text.len() + 2);
    literal.push('\'');
    for character in text.chars() {
        match character {
            '\'' => literal.push_str("\\'"),
            '\\' => literal.push_str("\\\\"),
            ' '..='~' => literal.push(character),
            other => {
                use std::fmt::Write as _;
                let code = u32::from(other);
                // Writing to a String cannot fail.
                let _ =
                    if code <= 0xFFFF { write!(literal, "\\u{code:04X}") } else { write!(literal, "\\U{code:08X}") };
            }
        }
    }
    literal.push('\'');
    literal
}

/// A CEL list of string literals.
pub fn quote_list<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let quoted: Vec<String> = texts.into_iter().map(quote).collect();
    format!("[{}]", quoted.join(", "))
}

/// Text of a user as it may be shown: printable ASCII on one line, cut at 80 characters.
///
/// The API server drops a message that holds a line break, and a terminal may obey what it is shown.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(SHOWN));
    push_printable(&mut shown, text);
    shown
}

/// Appends [`printable`] text.
pub(crate) fn push_printable(to: &mut String, text: &str) {
    let is_clean = text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if is_clean && text.len() <= SHOWN {
        return to.push_str(text);
    }
    let shown = |character: char| if matches!(character, ' '..='~') { character } else { '?' };
    if text.chars().nth(SHOWN).is_some() {
        to.extend(text.chars().take(SHOWN - 3).map(shown));
        to.push_str("...");
    } else {
        to.extend(text.chars().map(shown));
    }
}

/// [`printable`] in CEL. What is clean, nearly everything, costs one small match.
pub(crate) fn cel_printable(expression: &str) -> String {
    format!(
        "[{expression}].map(s, s.size() > {SHOWN} ? s.substring(0, {}) + '...' : s)\
         .map(s, s.matches('^[ -~]*$') ? s : s.split('').map(x, x >= ' ' && x <= '~' ? x : '?').join(''))[0]",
        SHOWN - 3
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_user_wrote_is_shown_on_one_line() {
        assert_eq!(printable("nginx:1"), "nginx:1");
        assert_eq!(printable("ngi\nnx\u{200b}é"), "ngi?nx??");
        assert_eq!(printable(&"a".repeat(80)), "a".repeat(80));
        assert_eq!(printable(&"a".repeat(81)), format!("{}...", "a".repeat(77)));
        assert_eq!(printable(&"é".repeat(80)), "?".repeat(80));
    }

    #[test]
    fn a_literal_holds_anything() {
        assert_eq!(quote(r"it's \n"), r"'it\'s \\n'");
        assert_eq!(quote("a\nb\u{1F600}"), r"'a\u000Ab\U0001F600'");
    }
}
