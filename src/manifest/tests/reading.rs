//! What texts mean.

use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::map_documents;
use super::{error, one, read};

fn corpus(folder: &str) -> Vec<(PathBuf, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/yaml").join(folder);
    let mut files: Vec<_> = std::fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    files.sort();
    files
        .into_iter()
        .map(|path| {
            let text = std::fs::read_to_string(&path).unwrap();
            (path, text)
        })
        .collect()
}

/// Numbers are equal by value: Go writes 1.0 as 1.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left == right || left.as_f64() == right.as_f64(),
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(left, right)| same(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, value)| right.get(key).is_some_and(|other| same(value, other)))
        }
        _ => left == right,
    }
}

#[test]
fn reads_what_kubectl_reads() {
    let files = corpus("");
    assert!(files.len() > 10);
    for (path, text) in files {
        let expected = std::fs::read_to_string(path.with_extension("json")).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        let found = if expected.is_null() {
            assert!(read(&text).is_empty(), "{}", path.display());
            continue;
        } else {
            one(&text)
        };
        assert!(same(&found, &expected), "{}:\n{found}\n{expected}", path.display());
    }
}

#[test]
fn refuses_what_kubectl_refuses_and_a_little_more() {
    for (path, text) in corpus("refused").into_iter().chain(corpus("stricter")) {
        assert!(read(&text).iter().any(Result::is_err), "{} is read as {:?}", path.display(), read(&text));
    }
}

#[test]
fn errors_say_where_and_what() {
    let cases = [
        ("a: 1\nb: 2\na: 3\n", "a.yaml:3:1: the key \"a\" is written twice, first in line 1"),
        ("{\"a\": 1,\n \"a\": 2}", "a.yaml:2:2: the key \"a\" is written twice, first in line 1"),
        ("a: 1\n---\nb:\n\t- c\n", "a.yaml:4:1: not valid YAML: a tab cannot be indentation"),
        ("a: \"b\n", "a.yaml:1:4: not valid YAML: the quote that begins here does not end"),
        ("a: *b", "a.yaml:1:4: the alias *b has no anchor &b before it"),
        ("a: &b [*b]", "a.yaml:1:8: the value of the anchor &b contains itself"),
        ("a:\n  b: 1\n c: 2\n", "a.yaml:3:2: not valid YAML: expected a key of the mapping from line 1"),
        ("a: [b\nc: d", "a.yaml:2:2: not valid YAML: expected \",\" or \"]\" for what opens in line 1"),
        ("{\"a\": tru]}", "a.yaml:1:7: not valid JSON: expected a value, found \"t\""),
        ("{\"a\": 1e999}", "a.yaml:1:7: the number \"1e999\" is too large"),
        ("a: 1\n---b\nc: d\n---\ne: f\n", "a.yaml:2:4: kubectl reads nothing but a comment after ---, found \"b\""),
        ("a: \u{1}", "a.yaml:1:4: the control character U+0001 is not allowed"),
        ("<<: 1", "a.yaml:1:5: << takes a mapping or a list of mappings"),
        ("a: .nan", "a.yaml:1:4: JSON has no number NaN"),
    ];
    for (text, expected) in cases {
        assert_eq!(error(text), expected);
    }
}

#[test]
fn templates_are_named_as_such() {
    let advice = "unrendered template: render it first, for example helm template DIR | immutable check -";
    for (text, place) in [
        ("image: {{ .Values.image }}\n", "1:8"),
        ("a: 1\n---\n# {{ a comment }}\n{{- if .Values.x }}\nb: 2\n{{- end }}\n", "4:1"),
        ("a:\n  {{- toYaml .Values.a | nindent 2 }}\n", "2:3"),
        ("name: {{ include \"x\" . }}-app\n", "1:7"),
        ("{{ if true }}\n{\"a\": 1}\n{{ end }}\n", "1:1"),
    ] {
        assert_eq!(error(text), format!("a.yaml:{place}: {advice}"), "{text:?}");
    }
    // Somebody else's templates in a value are a value.
    assert_eq!(one("a: \"{{ $labels.pod }}\"\nb: |\n  {{ x }}\n"), json!({"a": "{{ $labels.pod }}", "b": "{{ x }}\n"}));
    assert!(error("a: \"{{ x }}\"\nb: @\n").contains("no value begins with"));
}

#[test]
fn documents_stand_alone() {
    let text = "a: 1\n---\n[broken\n--- # a comment\nb: 2\n...\n---\n\n---\n# nothing\n---\nc: |\n  x\n---\nd: 3\r\n---\r\ne: 4";
    let documents = read(text);
    let (errors, values): (Vec<_>, Vec<_>) = documents.into_iter().partition(Result::is_err);
    assert_eq!(errors.len(), 1);
    let values: Vec<Value> = values.into_iter().map(Result::unwrap).collect();
    assert_eq!(values, [json!({"a": 1}), json!({"b": 2}), json!({"c": "x\n"}), json!({"d": 3}), json!({"e": 4})]);
    // Anchors do not reach the next document; what follows `...` is one.
    assert!(error("a: &x 1\n---\nb: *x\n").starts_with("a.yaml:3:4"));
    assert_eq!(read("a: 1\n...\nb: 2\n").len(), 2);
    assert_eq!(read("").len() + read("\n# x\n").len() + read("---\n---\n").len() + read("\u{feff}").len(), 0);
}

#[test]
fn directives_belong_to_their_document() {
    assert_eq!(one("%YAML 1.1\n# x\n---\na: yes\n"), json!({"a": true}));
    assert_eq!(one("%TAG !y! tag:yaml.org,2002:\n---\na: !y!str yes\n"), json!({"a": "yes"}));
    assert!(error("%YAML 2.0\n---\na: 1\n").starts_with("a.yaml:1:1: not valid YAML: only YAML 1 can be read"));
}

#[test]
fn json_is_read_as_json() {
    assert_eq!(read("{\"a\": 1}\n{\"b\": [2]} {}").len(), 3);
    assert_eq!(one("[\"\\u00e9\\ud83d\\ude00\\ud83d\\/\", 1.5, -0]"), json!(["é😀\u{FFFD}/", 1.5, 0]));
    // What JSON does not know may still be YAML.
    assert_eq!(one("{a: b, \"c\": 'd', e: [f,],}"), json!({"a": "b", "c": "d", "e": ["f"]}));
    assert_eq!(one("{\"a\": 012}"), json!({"a": 10}));
}

#[test]
fn merges_follow_kubectl() {
    // In the order of the text: a merge also overrides what is before it. go-yaml v2 does that, and kubectl with it.
    assert_eq!(one("a: &a {x: 1}\nb:\n  x: 2\n  <<: *a\n")["b"], json!({"x": 1}));
    assert_eq!(one("a: &a {x: 1}\nb:\n  <<: *a\n  x: 2\n")["b"], json!({"x": 2}));
    // Anchors keep their values where a merge moves or drops them.
    let text = "a: {<<: &d {x: &x [1, 2]}, x: &y 3, z: &z {k: &k v}}\nb: [*d, *x, *y, *z, *k]\n";
    assert_eq!(one(text)["b"], json!([{"x": [1, 2]}, [1, 2], 3, {"k": "v"}, "v"]));
    assert!(error("a: &a {x: 1}\nb:\n  x: 2\n  <<: *a\n  x: 3\n").contains("the key \"x\" is written twice"));
}

#[test]
fn depth_and_aliases_are_bounded() {
    assert!(error(&"[".repeat(100_000)).contains("nested deeper than 128 levels"));
    assert!(error(&"{\"a\":".repeat(100_000)).contains("nested deeper than 128 levels"));
    assert!(error(&"- ".repeat(100_000)).contains("nested deeper than 128 levels"));
    let chain: Vec<_> = (1..200).map(|level| format!("a{level}: &a{level} [*a{}]\n", level - 1)).collect();
    let text = format!("a0: &a0 [x]\n{}", chain.concat());
    assert!(error(&text).contains("nested deeper than 128 levels"));
    // Many uses of one small anchor are ordinary.
    let text = format!("a: &a {{x: 1, y: 2}}\nb:\n{}", "- *a\n".repeat(5_000));
    assert_eq!(one(&text)["b"].as_array().unwrap().len(), 5_000);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*|[-?:,\\[\\]{}#&*!|>'\"%@` \t\r\na0<~\u{85}\u{2028}é]{0,60}") {
        let _ = read(&text);
    }

    #[test]
    fn no_mutation_makes_it_panic(
        file in 0..12_usize,
        edits in proptest::collection::vec((any::<prop::sample::Index>(), 0..4_usize, "[-?:,\\[\\]{}#&*!|>'\"%\\\\ \t\r\n0a<~é]{1,3}"), 1..6),
    ) {
        let files = corpus("");
        let mut characters: Vec<char> = files[file % files.len()].1.chars().collect();
        for (place, removed, inserted) in edits {
            let at = place.index(characters.len() + 1);
            let end = (at + removed).min(characters.len());
            characters.splice(at..end, inserted.chars());
        }
        let text: String = characters.into_iter().collect();
        let _ = read(&text);
    }

    #[test]
    fn what_json_writes_is_read_back(text in ".*", number in any::<i64>(), fraction in -1e300..1e300_f64) {
        let value = json!({"text": text, "list": [number, fraction, null, true, {}], text.clone() + "k": []});
        let found = one(&value.to_string());
        prop_assert!(same(&found, &value));
        // JSON is YAML, but for escapes that YAML 1.1 does not know.
        let pretty = serde_json::to_string_pretty(&json!({"list": [number, text.len(), [null, {}]]})).unwrap();
        let commented = format!("# a comment makes it YAML\n{pretty}");
        prop_assert!(same(&one(&pretty), &one(&commented)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn threads_change_nothing(count in 1..400_usize) {
        let document = |number| {
            format!("---\napiVersion: v1\nkind: A\nmetadata: {{name: n{number}}}\n{}\n", "#".repeat(4000))
        };
        let text = (0..count).map(document).collect::<Vec<_>>().concat();
        let found = map_documents("-", &text, true, |object| object.name().map(str::to_owned));
        let names: Vec<_> = found.results.into_iter().map(|name| name.unwrap().unwrap()).collect();
        let expected: Vec<_> = (0..count).map(|number| format!("n{number}")).collect();
        prop_assert_eq!(names, expected);
    }
}
