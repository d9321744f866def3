//! Objects, lists, and what is neither.

use super::super::map_documents;

fn found(text: &str, named: bool) -> (Vec<String>, usize) {
    let documents = map_documents("a.yaml", text, named, |object| {
        format!("{} {} {}{}", object.api_version(), object.kind(), object.name().unwrap_or("-"), object.pointer())
    });
    let lines = documents.results.into_iter().map(|result| result.unwrap_or_else(|error| error.to_string())).collect();
    (lines, documents.others)
}

#[test]
fn lists_are_opened() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Pod, metadata: {name: a}}\n\
        - apiVersion: apps/v1\n  kind: DeploymentList\n  items:\n  - metadata: {name: b}\n  - {apiVersion: x/v1, kind: C}\n- 1\n";
    let (lines, _) = found(text, false);
    assert_eq!(
        lines,
        [
            "v1 Pod a/items/0",
            "apps/v1 Deployment b/items/1/items/0",
            "x/v1 C -/items/1/items/1",
            "a.yaml:10:3: no Kubernetes object: apiVersion and kind are missing",
        ]
    );
    assert_eq!(found("apiVersion: v1\nkind: List\n", true).0, [""; 0]);
    assert_eq!(found("apiVersion: v1\nkind: List\nitems: 1\n", true).0, ["a.yaml:3:8: items: expected a list"]);
    // A kind that merely ends so is an object of its own.
    assert_eq!(found("apiVersion: v1\nkind: AllowList\nspec: {items: []}\n", true).0, ["v1 AllowList -"]);
    let nested = format!("{}1{}", "{apiVersion: v1, kind: List, items: [".repeat(9), "]}".repeat(9));
    assert!(found(&nested, true).0[0].ends_with("more than 4 Lists in each other"));
}

#[test]
fn positions_in_lists_are_those_of_the_file() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  spec:\n    image: x\n";
    let documents = map_documents("-", text, true, |object| object.locate("/spec/image"));
    let position = documents.results[0].as_ref().unwrap();
    assert_eq!((position.line, position.column), (7, 12));
}

#[test]
fn other_yaml_is_counted_unless_it_was_named() {
    for text in ["a: 1", "- a", "text", "apiVersion: v2\nname: chart\n", "kind: x\n", "apiVersion: 1\n"] {
        assert_eq!(found(text, false), (Vec::new(), 1), "{text:?}");
        let message = "a.yaml:1:1: no Kubernetes object: apiVersion and kind are missing";
        assert_eq!(found(text, true).0, [message], "{text:?}");
    }
    assert_eq!(found("# nothing\n", true), (Vec::new(), 0));
    assert_eq!(found("null\n---\n{}\n", false).1, 2);
}

#[test]
fn half_an_object_is_an_error() {
    for (text, expected) in [
        ("kind: Deployment\nspec: {}\n", "a.yaml:1:1: kind \"Deployment\" without apiVersion"),
        ("apiVersion: v1\nmetadata: {name: a}\n", "a.yaml:1:1: apiVersion \"v1\" without kind"),
        ("apiVersion: 1\nkind: A\n", "a.yaml:1:13: apiVersion: expected a string"),
        ("apiVersion: v1\nkind: [A]\n", "a.yaml:2:7: kind: expected a string"),
        (
            "apiVersion: \"{{ x }}\"\nkind: A\n",
            "a.yaml:1:13: unrendered template: render it first, for example helm template DIR | immutable check -",
        ),
    ] {
        assert_eq!(found(text, false).0, [expected]);
    }
}
