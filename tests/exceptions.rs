//! `immutable check --exceptions … --at …`: who is excused from what until when.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

const PODS: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata: {name: legacy, namespace: shop, labels: {team: old}}
spec:
  selector: {matchLabels: {app: legacy}}
  template:
    metadata: {labels: {app: legacy}}
    spec:
      containers:
      - {name: app, image: registry.example/legacy/app:latest}
      - {name: proxy, image: registry.example/proxy:latest}
---
apiVersion: v1
kind: Pod
metadata: {name: legacy, namespace: web}
spec: {containers: [{name: app, image: registry.example/legacy/app:latest}]}
";

const POLICY: &str = "\
apiVersion: immutable.dev/v1alpha1
kind: ClusterImmutablePolicy
metadata: {name: production}
spec:
  enforcement: Enforce
  rules: {imageTag: {}}
";

struct Checked {
    code: Option<i32>,
    report: Value,
    stderr: String,
}

impl Checked {
    /// The containers with this result, `shop/app`.
    fn containers(&self, result: &str) -> Vec<String> {
        let results = self.report["results"].as_array().into_iter().flatten();
        let of_result = results.filter(|entry| entry["result"] == result);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        of_result
            .map(|entry| format!("{}/{}", text(&entry["resource"]["namespace"]), text(&entry["container"]["name"])))
            .collect()
    }
}

fn check(folder: &Path, policy: &str, exceptions: &str, at: &str) -> Result<Checked> {
    std::fs::write(folder.join("policy.yaml"), policy)?;
    std::fs::write(folder.join("exceptions.yaml"), exceptions)?;
    let mut child = Command::new(env!("CARGO_BIN_EXE_immutable"))
        .current_dir(folder)
        .args(["check", "--policy", "policy.yaml", "--exceptions", "exceptions.yaml", "--at", at, "-o", "json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    // One that refuses its arguments reads nothing.
    drop(child.stdin.take().context("no stdin")?.write_all(PODS.as_bytes()));
    let output = child.wait_with_output()?;
    Ok(Checked {
        code: output.status.code(),
        report: serde_json::from_slice(&output.stdout).unwrap_or_default(),
        stderr: String::from_utf8(output.stderr)?,
    })
}

/// An exception of namespace shop from image-tag, with more in its spec.
fn exception(more: &Value) -> String {
    let mut spec = json!({
        "rules": ["image-tag"], "reason": "the vendor ships no releases", "expiresAt": "2026-12-01T00:00:00Z",
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    let manifest = json!({
        "apiVersion": "immutable.dev/v1alpha1", "kind": "ImmutableException",
        "metadata": {"name": "legacy", "namespace": "shop"}, "spec": spec,
    });
    format!("{manifest}\n")
}

const BEFORE: &str = "2026-11-30T23:59:59Z";
const AFTER: &str = "2026-12-01T00:00:00Z";

#[test]
fn an_excused_finding_is_a_skip_with_the_reason_until_the_instant_of_expiry() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let before = check(folder.path(), POLICY, &exception(&json!({})), BEFORE)?;
    ensure!(before.containers("skip") == ["shop/app", "shop/proxy"], "{}", before.report);
    // It is of its own namespace.
    ensure!(before.containers("fail") == ["web/app"] && before.code == Some(1), "{}", before.report);
    ensure!(before.report["summary"]["skip"] == 2, "{}", before.report);
    let skipped = before.report["results"].as_array().into_iter().flatten().find(|entry| entry["result"] == "skip");
    let expected = json!({
        "name": "legacy", "reason": "the vendor ships no releases", "expiresAt": "2026-12-01T00:00:00Z",
    });
    ensure!(skipped.is_some_and(|entry| entry["exception"] == expected), "{skipped:?}");

    let after = check(folder.path(), POLICY, &exception(&json!({})), AFTER)?;
    ensure!(after.containers("skip").is_empty() && after.containers("fail").len() == 3, "{}", after.report);
    ensure!(
        after.stderr.contains("exception shop/legacy is not honoured by policy production: Expired"),
        "{}",
        after.stderr
    );
    Ok(())
}

#[test]
fn filters_are_anded() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cases = [
        (json!({"images": ["registry.example/legacy/*"]}), vec!["shop/app"]),
        (json!({"containers": ["proxy"]}), vec!["shop/proxy"]),
        (json!({"containers": ["proxy"], "images": ["registry.example/legacy/*"]}), vec![]),
        (json!({"workloads": {"kinds": ["Deployment"], "names": ["leg*"]}}), vec!["shop/app", "shop/proxy"]),
        (json!({"workloads": {"kinds": ["StatefulSet"]}}), vec![]),
        (json!({"workloads": {"names": ["other-*"]}}), vec![]),
        (json!({"rules": ["image-digest"]}), vec![]),
        (
            json!({"policies": [{"kind": "ClusterImmutablePolicy", "name": "production"}]}),
            vec!["shop/app", "shop/proxy"],
        ),
        (json!({"policies": [{"kind": "ImmutablePolicy", "name": "production"}]}), vec![]),
        (json!({"policies": [{"kind": "ClusterImmutablePolicy", "name": "other"}]}), vec![]),
    ];
    for (more, expected) in cases {
        let checked = check(folder.path(), POLICY, &exception(&more), BEFORE)?;
        ensure!(checked.containers("skip") == expected, "{more}: {} {}", checked.report, checked.stderr);
    }
    Ok(())
}

#[test]
fn a_policy_says_what_may_be_excused_and_for_how_long() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let allowing = |what: &str| format!("{POLICY}  exceptions: {what}\n");
    let by_label = json!({"workloads": {"selector": {"matchLabels": {"team": "old"}}}});
    let day_before = "2026-11-29T00:00:00Z";
    let cases = [
        (allowing("{maxDuration: 72h}"), json!({}), day_before, "InEffect"),
        (allowing("{maxDuration: 47h}"), json!({}), day_before, "TooLong"),
        // 720 hours if nothing is said.
        (POLICY.to_owned(), json!({}), "2026-10-31T00:00:00Z", "TooLong"),
        (allowing("{rules: [image-digest]}"), json!({}), BEFORE, "RuleNotExcusable"),
        (allowing("{rules: [image-digest, image-tag]}"), json!({}), BEFORE, "InEffect"),
        (POLICY.to_owned(), by_label.clone(), BEFORE, "SelectorNotAllowed"),
        (allowing("{allowSelectors: true}"), by_label, BEFORE, "InEffect"),
    ];
    for (policy, more, at, expected) in cases {
        let checked = check(folder.path(), &policy, &exception(&more), at)?;
        let honoured = checked.containers("skip").len() == 2;
        ensure!(honoured == (expected == "InEffect"), "{expected}: {} {}", checked.report, checked.stderr);
        ensure!(honoured || checked.stderr.contains(expected), "{expected}: {}", checked.stderr);
    }
    Ok(())
}

#[test]
fn only_the_oldest_twenty_of_a_namespace_are_honoured() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let numbered = |number: usize, rules: &str| {
        let one = exception(&json!({"rules": [rules]}));
        format!("---\n{}", one.replace("\"name\":\"legacy\"", &format!("\"name\":\"e{number:02}\"")))
    };
    let some = |count: usize| -> String { (0..count).map(|number| numbered(number, "probes")).collect() };
    let checked = check(folder.path(), POLICY, &(some(19) + &numbered(99, "image-tag")), BEFORE)?;
    ensure!(checked.containers("skip").len() == 2, "{}", checked.stderr);
    let checked = check(folder.path(), POLICY, &(some(20) + &numbered(99, "image-tag")), BEFORE)?;
    ensure!(checked.containers("skip").is_empty(), "{}", checked.report);
    ensure!(checked.stderr.contains("shop/e99 is not honoured by policy production: TooMany"), "{}", checked.stderr);
    Ok(())
}

#[test]
fn a_bad_exception_says_what_to_write() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let cases = [
        (json!({"expiresAt": null}), "expiresAt"),
        (json!({"reason": "short"}), "write at least 10 characters"),
        (json!({"rules": []}), "write at least one, such as image-digest"),
        (json!({"rules": ["image-tags"]}), "there is no rule"),
        (json!({"images": ["a b"]}), "printable ASCII without blanks"),
        (json!({"images": vec!["x*"; 17]}), "more than 16 patterns"),
        (json!({"workloads": {"selector": {"matchLabels": {"a b": "c"}}}}), "label key"),
        (json!({"policys": []}), "did you mean policies?"),
        (json!({"expiresAt": "tomorrow"}), "expiresAt"),
    ];
    for (more, expected) in cases {
        let checked = check(folder.path(), POLICY, &exception(&more), BEFORE)?;
        ensure!(checked.code == Some(2) && checked.report.is_null(), "{more}: {:?} {}", checked.code, checked.stderr);
        let names_place = checked.stderr.starts_with("exceptions.yaml:");
        ensure!(names_place && checked.stderr.contains(expected), "{more}: {}", checked.stderr);
    }
    let nothing = check(folder.path(), POLICY, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n", BEFORE)?;
    ensure!(nothing.code == Some(2) && nothing.stderr.contains("holds no ImmutableException"), "{}", nothing.stderr);
    Ok(())
}
