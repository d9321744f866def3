//! Views through serde.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::super::{ManifestError, map_documents};

#[derive(Debug, Deserialize, PartialEq)]
#[serde(untagged)]
enum IntOrString<'a> {
    Int(i32),
    #[serde(borrow)]
    String(Cow<'a, str>),
}

#[derive(Debug, Deserialize, PartialEq)]
enum Pull {
    Always,
    Never,
}

#[derive(Debug, Deserialize, PartialEq)]
struct Name(String);

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct View<'a> {
    #[serde(borrow)]
    image: Cow<'a, str>,
    #[serde(borrow)]
    borrowed: &'a str,
    replicas: Option<i32>,
    labels: BTreeMap<String, String>,
    #[serde(borrow)]
    ports: Vec<IntOrString<'a>>,
    pull: Option<Pull>,
    name: Option<Name>,
    ignored: Option<IgnoredAny>,
    fraction: f64,
    #[serde(borrow)]
    nested: Option<Box<Self>>,
}

#[allow(clippy::unwrap_in_result)] // the result is the view's, not the object's
fn view<T: Send>(text: &str, check: impl Fn(View<'_>) -> T + Sync) -> Result<T, ManifestError> {
    let text = format!("apiVersion: v1\nkind: A\n{text}");
    let mut found = map_documents("a.yaml", &text, true, |object| object.view::<View<'_>>().map(&check));
    assert_eq!(found.results.len(), 1);
    found.results.pop().and_then(Result::ok).expect("an object")
}

#[test]
fn views_read_what_they_name() {
    let text = "image: nginx\nborrowed: \"a\\tb\"\nreplicas: 3\nlabels: {a: b, 1: \"2\"}\nports: [80, http]\npull: Never\n\
        name: x\nignored: {deep: [1, {x: y}]}\nunknown: {a: [b, {c: d}]}\nfraction: 1\nnested: {image: x, nested: ~}\n";
    view(text, |view| {
        assert!(matches!(view.image, Cow::Borrowed("nginx")));
        assert_eq!(view.borrowed, "a\tb");
        assert_eq!(view.replicas, Some(3));
        assert_eq!(view.labels, BTreeMap::from([("a".into(), "b".into()), ("1".into(), "2".into())]));
        assert_eq!(view.ports, [IntOrString::Int(80), IntOrString::String("http".into())]);
        assert_eq!((view.pull, view.name), (Some(Pull::Never), Some(Name("x".into()))));
        assert!(view.ignored.is_some() && (view.fraction - 1.0).abs() < f64::EPSILON);
        assert!(view.nested.is_some_and(|nested| nested.image == "x" && nested.nested.is_none()));
    })
    .unwrap();
    assert_eq!(view("pull: Always", |view| view.pull).unwrap(), Some(Pull::Always));
}

#[test]
fn what_does_not_fit_is_named_with_its_place() {
    for (text, expected) in [
        ("replicas: two", "a.yaml:3:11: replicas: expected an integer, found the string \"two\""),
        (
            "replicas: 3000000000",
            "a.yaml:3:11: replicas: expected an integer, found the integer 3000000000, which does not fit",
        ),
        ("replicas: 1.5", "a.yaml:3:11: replicas: expected an integer, found the number 1.5"),
        ("image: [a]", "a.yaml:3:8: image: expected a string, found a list"),
        ("image: 1.27", "a.yaml:3:8: image: expected a string, found the number 1.27"),
        ("image:\n", "a.yaml:3:7: image: expected a string, found null"),
        ("labels: {a: yes}", "a.yaml:3:13: labels.a: expected a string, found the boolean true"),
        ("labels: {a/b: 1}", "a.yaml:3:15: labels[\"a/b\"]: expected a string, found the integer 1"),
        ("labels: a", "a.yaml:3:9: labels: expected a mapping, found the string \"a\""),
        ("ports: {}", "a.yaml:3:8: ports: expected a list, found a mapping"),
        ("ports:\n- 80\n- {}", "a.yaml:5:3: ports[1]: data did not match any variant of untagged enum IntOrString"),
        ("pull: Sometimes", "a.yaml:3:7: pull: expected one of Always, Never, found \"Sometimes\""),
        (
            "nested:\n  nested:\n    replicas: x",
            "a.yaml:5:15: nested.nested.replicas: expected an integer, found the string \"x\"",
        ),
        ("nested: 1", "a.yaml:3:9: nested: expected a mapping, found the integer 1"),
    ] {
        assert_eq!(view(text, |_| ()).unwrap_err().to_string(), expected);
    }
}
