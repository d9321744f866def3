//! Lines and columns.

use rstest::rstest;

use super::super::trees;

const DEPLOYMENT: &str = "\
# a comment
apiVersion: apps/v1
spec:
  replicas: 3
  template:
    spec:
      containers:
      - name: ünï
        image: \"nginx:1.27\"
        securityContext: {runAsNonRoot: true}
        args: [a, 'b']
        env:
      -   image: >-
            redis
  a/b: 1
  ~: &anchor
    x: *never
";

#[rstest]
#[case("", 2, 1)]
#[case("/apiVersion", 2, 13)]
#[case("/kind", 2, 1)]
#[case("/spec", 3, 1)]
#[case("/spec/replicas", 4, 13)]
#[case("/spec/replicas/deeper", 4, 13)]
#[case("/spec/missing/deeper", 3, 1)]
#[case("/spec/template/spec", 6, 5)]
#[case("/spec/template/spec/containers", 7, 7)]
#[case("/spec/template/spec/containers/0", 8, 9)]
#[case("/spec/template/spec/containers/0/name", 8, 15)]
#[case("/spec/template/spec/containers/0/image", 9, 16)]
#[case("/spec/template/spec/containers/0/resources/limits", 8, 9)]
#[case("/spec/template/spec/containers/0/securityContext", 10, 9)]
#[case("/spec/template/spec/containers/0/securityContext/runAsNonRoot", 10, 41)]
#[case("/spec/template/spec/containers/0/securityContext/privileged", 10, 9)]
#[case("/spec/template/spec/containers/0/args/1", 11, 19)]
#[case("/spec/template/spec/containers/0/args/2", 11, 9)]
#[case("/spec/template/spec/containers/0/args/x", 11, 9)]
#[case("/spec/template/spec/containers/0/env", 12, 9)]
#[case("/spec/template/spec/containers/0/env/0/name", 12, 9)]
#[case("/spec/template/spec/containers/1", 13, 11)]
#[case("/spec/template/spec/containers/1/image", 13, 18)]
#[case("/spec/template/spec/containers/2", 7, 7)]
#[case("/spec/a~1b", 15, 8)]
fn pointers_lead_to_places(#[case] pointer: &str, #[case] line: u32, #[case] column: u32) {
    let text = DEPLOYMENT.replace("  ~: &anchor\n    x: *never\n", "");
    for (text, before) in [(text.clone(), 0), (format!("a: 1\n---\n{text}"), 2), (text.replace('\n', "\r\n"), 0)] {
        let trees = trees("-", &text);
        let tree = trees.last().unwrap().as_ref().unwrap();
        let position = tree.root().locate(pointer);
        assert_eq!((position.line, position.column), (line + before, column), "{pointer}");
    }
}

#[test]
fn aliases_are_where_they_are_used_and_their_content_where_it_is_written() {
    let text = "a: &a\n  image: x\n  b: [y]\nc: *a\nd:\n  <<: *a\n  e: 1\nf: &f x\ng: *f\n";
    let trees = trees("-", text);
    let root = trees[0].as_ref().unwrap().root();
    for (pointer, line, column) in [
        ("/a", 1, 1),
        ("/c", 4, 1),
        ("/c/image", 2, 10),
        ("/c/missing", 4, 1),
        ("/d/image", 2, 10),
        ("/d/b/0", 3, 7),
        ("/d/missing", 5, 1),
        ("/g", 9, 4),
    ] {
        let position = root.locate(pointer);
        assert_eq!((position.line, position.column), (line, column), "{pointer}");
    }
}

#[test]
fn json_has_places_too() {
    let text = "{\n  \"ü\": {\"b\": [1,\n   {\"c\": \"d\"}]},\n \"e\": null}\n{\"f\": 1}";
    let trees = trees("-", text);
    let root = trees[0].as_ref().unwrap().root();
    for (pointer, line, column) in [
        ("", 1, 1),
        ("/ü", 2, 3),
        ("/ü/b", 2, 9),
        ("/ü/b/0", 2, 15),
        ("/ü/b/1", 3, 4),
        ("/ü/b/1/c", 3, 10),
        ("/e", 4, 2),
    ] {
        let position = root.locate(pointer);
        assert_eq!((position.line, position.column), (line, column), "{pointer}");
    }
    let second = trees[1].as_ref().unwrap().root().locate("/f");
    assert_eq!((second.line, second.column), (5, 7));
}
