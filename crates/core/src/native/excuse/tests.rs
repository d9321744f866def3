//! What a reader of CEL makes of the lines: a small one of literals, which knows nothing of how they are written.

#![allow(clippy::unwrap_used)]

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::exception::ExceptionId;
use crate::selector::Requirement;

/// Reads a CEL string literal in single quotes at the start of a text; returns it and what follows.
fn literal(text: &str) -> (String, &str) {
    let mut rest = text.strip_prefix('\'').expect("a quotation mark").chars();
    let mut read = String::new();
    loop {
        match rest.next().expect("an end") {
            '\'' => return (read, rest.as_str()),
            '\\' => match rest.next().expect("an escape") {
                digits @ ('u' | 'U') => {
                    let count = if digits == 'u' { 4 } else { 8 };
                    let code: String = rest.by_ref().take(count).collect();
                    read.push(char::from_u32(u32::from_str_radix(&code, 16).unwrap()).unwrap());
                }
                escaped @ ('\'' | '\\') => read.push(escaped),
                other => panic!("no such escape: {other}"),
            },
            other => read.push(other),
        }
    }
}

/// Reads `{'namespace': ['line', ...], ...}`.
fn data(expression: &str) -> BTreeMap<String, Vec<String>> {
    let mut rest = expression.strip_prefix('{').expect("a map");
    let mut read = BTreeMap::new();
    while !rest.starts_with('}') {
        let (namespace, after) = literal(rest.trim_start_matches(", "));
        rest = after.strip_prefix(": [").expect("a list");
        let mut lines = Vec::new();
        while !rest.starts_with(']') {
            let (line, after) = literal(rest.trim_start_matches(", "));
            lines.push(line);
            rest = after;
        }
        rest = &rest[1..];
        assert_eq!(read.insert(namespace, lines), None);
    }
    assert_eq!(rest, "}");
    read
}

/// Any glob: printable ASCII, as it is at the border.
fn glob() -> impl Strategy<Value = Glob> {
    prop_oneof!["[!-~]{1,40}", r#"['"\\$(){}\[\]|^.+*?,=:]{1,12}"#, "[a-z*?./:-]{1,30}"]
        .prop_map(|text| Glob::parse(&text).unwrap())
}

fn exception() -> impl Strategy<Value = Exception> {
    let globs = || proptest::collection::vec(glob(), 0..5);
    let key = "([a-z]{1,5}\\.[a-z]{1,3}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,10}[A-Za-z0-9])?";
    let value = "([A-Za-z0-9]([A-Za-z0-9_.-]{0,10}[A-Za-z0-9])?)?";
    (
        proptest::sample::subsequence(RuleId::ALL.to_vec(), 1..4),
        globs(),
        globs(),
        proptest::collection::vec("[a-z0-9]([a-z0-9-]{0,10}[a-z0-9])?", 0..4),
        proptest::collection::btree_map(key, value, 0..3),
        ("[a-z]{1,8}", "[a-z]{1,8}", any::<String>(), 0..4_000_000_000_i64),
    )
        .prop_map(|(rules, names, images, containers, labels, (namespace, name, reason, end))| Exception {
            id: ExceptionId { namespace, name },
            policies: Vec::new(),
            rules,
            workloads: WorkloadFilter {
                kinds: vec!["Deployment".to_owned()],
                names,
                selector: LabelSelector {
                    match_labels: labels.clone(),
                    match_expressions: labels
                        .iter()
                        .map(|(key, value)| Requirement::is_in(key, [value.clone(), "other".to_owned()]))
                        .collect(),
                },
            },
            images,
            containers,
            ticket: Some(reason.clone()),
            reason,
            created: None,
            expires_at: Timestamp::from_second(end).unwrap(),
        })
}

proptest! {
    #[test]
    fn every_line_is_read_back_as_it_was_written(all in proptest::collection::vec(exception(), 1..30)) {
        let mut by_namespace: BTreeMap<String, Vec<Arc<Exception>>> = BTreeMap::new();
        for exception in all {
            by_namespace.entry(exception.id.namespace.clone()).or_default().push(Arc::new(exception));
        }
        let excuses = Excuses::of(&by_namespace, &Shape::Pod, RuleId::ALL).unwrap();
        let mut read: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for part in excuses.data() {
            prop_assert!(part.expression.chars().count() <= super::super::LONGEST_EXPRESSION);
            prop_assert!(part.expression.is_ascii());
            for (namespace, lines) in data(&part.expression) {
                read.entry(namespace).or_default().extend(lines);
            }
        }
        prop_assert_eq!(read.keys().collect::<Vec<_>>(), by_namespace.keys().collect::<Vec<_>>());
        for (namespace, lines) in read {
            let exceptions = &by_namespace[&namespace];
            prop_assert_eq!(lines.len(), exceptions.len());
            for (line, exception) in lines.iter().zip(exceptions) {
                prop_assert!(quote(line).len() <= exception.text_size(), "{} of {line}", exception.text_size());
                let fields: Vec<Vec<&str>> = line.split(FIELD).map(|field| field.split(ITEM).collect()).collect();
                prop_assert_eq!(fields.len(), 7);
                let items = |field: usize| fields[field].iter().filter(|item| !item.is_empty()).count();
                prop_assert_eq!(items(0), exception.rules.len());
                prop_assert_eq!(items(2), exception.workloads.names.len());
                prop_assert_eq!(items(3), exception.containers.len());
                prop_assert_eq!(items(4), exception.images.len());
                let selector = &exception.workloads.selector;
                prop_assert_eq!(items(5), selector.match_labels.len() + selector.match_expressions.len());
                prop_assert!(fields[5].iter().all(|item| item.is_empty() || item.split('=').count() == 3));
                prop_assert_eq!(fields[6][0].parse::<Timestamp>().unwrap(), exception.expires_at);
            }
        }
    }

    #[test]
    fn a_glob_is_the_regular_expression_that_it_is_compiled_to(glob in glob(), text in "[ -~é\n]{0,24}", same in any::<bool>()) {
        // Of what it matches more often than chance would have it.
        let text = if same { glob.as_str().replace('*', &text).replace('?', "x") } else { text };
        let pattern = regex::Regex::new(&patterns(std::slice::from_ref(&glob))).unwrap();
        prop_assert_eq!(pattern.is_match(&text), glob.matches(&text), "{} {:?}", pattern, text);
    }
}
