//! `immutable check` with what somebody writes who wants it to fail, to hang, or to look away.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// What a call came to.
struct Output {
    code: i32,
    stdout: String,
    stderr: String,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_immutable"));
    command.args(arguments).env_remove("KUBECONFIG").stdin(Stdio::null());
    command
}

fn immutable(arguments: &[&str], input: &str) -> Result<Output> {
    let mut file = tempfile::tempfile()?;
    file.write_all(input.as_bytes())?;
    file.seek(SeekFrom::Start(0))?;
    let output = command(arguments).stdin(file).output()?;
    Ok(Output {
        code: output.status.code().context("ended by a signal")?,
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

fn check(arguments: &[&str], input: &str) -> Result<Output> {
    immutable(&[&["check"], arguments, &["-"]].concat(), input)
}

fn report(output: &Output) -> Result<Value> {
    serde_json::from_str(&output.stdout).with_context(|| output.stderr.clone())
}

fn pod(metadata: &str, spec: &str) -> String {
    format!("apiVersion: v1\nkind: Pod\nmetadata: {metadata}\nspec: {spec}\n")
}

const MUTABLE: &str = "{containers: [{name: app, image: nginx:latest}]}";

fn deployment(spec: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: web}}\nspec: {{{spec}, template: {{spec: {MUTABLE}}}}}\n"
    )
}

/// A file with one policy.
fn policy(folder: &Path, name: &str, kind: &str, spec: &str) -> Result<String> {
    let path = folder.join(format!("{name}.yaml"));
    let text = format!("apiVersion: immutable.dev/v1alpha1\nkind: {kind}\nmetadata: {{name: {name}}}\nspec: {spec}\n");
    std::fs::write(&path, text)?;
    Ok(path.display().to_string())
}

fn tags(folder: &Path, matching: &str) -> Result<String> {
    let spec = format!("{{enforcement: Enforce, rules: {{imageTag: {{}}}}, match: {{{matching}}}}}");
    policy(folder, "tags", "ClusterImmutablePolicy", &spec)
}

#[test]
fn texts_wider_than_any_terminal_are_shown() -> Result<()> {
    for length in [65_000, 66_000, 200_000] {
        let long = "x".repeat(length);
        let spec = format!("{{containers: [{{name: {long}, image: '{long}:latest'}}]}}");
        let output = check(&[], &pod(&format!("{{name: {long}}}"), &spec))?;
        ensure!(output.code == 1 && output.stdout.contains("image-tag"), "{length}: exit {}", output.code);
    }
    Ok(())
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_loses_no_exit_code() -> Result<()> {
    let full = || File::options().write(true).open("/dev/full");
    let code = |command: &mut Command| -> Result<Option<i32>> { Ok(command.stdout(Stdio::null()).status()?.code()) };
    let unreadable = ["check", "no-such-file.yaml"];
    ensure!(code(command(&unreadable).stderr(full()?))? == Some(2), "check cannot complain");
    ensure!(code(command(&["compile", "no-such-file.yaml"]).stderr(full()?))? == Some(2), "compile cannot complain");
    ensure!(code(command(&["explain", "x"]).stderr(full()?))? == Some(2), "explain cannot complain");
    ensure!(code(command(&["--no-such-flag"]).stderr(full()?))? == Some(2), "usage cannot be told");
    for arguments in [&["--help"][..], &["--version"], &["check", "--help"], &["version"], &["crds"]] {
        let status = command(arguments).stdout(full()?).stderr(Stdio::null()).status()?;
        ensure!(status.code() == Some(3), "{arguments:?}: {status}");
        ensure!(immutable(arguments, "")?.code == 0, "{arguments:?}");
    }
    Ok(())
}

#[test]
fn what_is_said_on_stderr_obeys_nobody() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let name = "a\n::error::owned\u{1b}[31m.yaml";
    std::fs::write(folder.path().join(name), "a: [\n")?;
    std::fs::write(folder.path().join("::error::x.yaml"), "a: [\n")?;
    let output = command(&["check", name, "::error::x.yaml"]).current_dir(folder.path()).output()?;
    let stderr = String::from_utf8(output.stderr)?;
    ensure!(stderr.lines().count() == 2 && !stderr.contains('\u{1b}'), "{stderr:?}");
    ensure!(!stderr.lines().any(|line| line.trim_start().starts_with("::")), "{stderr:?}");
    Ok(())
}

const ROLLOUT: &str = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: web}\n";

fn rollout_match(pointer: &str) -> String {
    format!(
        "customWorkloads: [{{apiVersion: argoproj.io/v1alpha1, kind: Rollout, resource: rollouts, podTemplates: [{pointer}]}}]"
    )
}

#[test]
fn each_policy_says_where_the_templates_of_a_custom_workload_are() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let spec = |pointer: &str| {
        format!("{{enforcement: Enforce, rules: {{imageTag: {{}}}}, match: {{{}}}}}", rollout_match(pointer))
    };
    let one = policy(folder.path(), "one", "ClusterImmutablePolicy", &spec("/spec/first"))?;
    let two = policy(folder.path(), "two", "ClusterImmutablePolicy", &spec("/spec/second"))?;
    let none = policy(folder.path(), "none", "ClusterImmutablePolicy", "{profile: Stateless, enforcement: Enforce}")?;
    let input = format!("{ROLLOUT}spec: {{second: {{spec: {MUTABLE}}}}}\n");
    let output = check(&["-o", "json", "--policy", &one, "--policy", &two, "--policy", &none], &input)?;
    let report = report(&output)?;
    ensure!(output.code == 1 && report["results"].as_array().is_some_and(|results| results.len() == 1), "{report}");
    ensure!(report["results"][0]["policy"] == "two", "{report}");
    ensure!(report["results"][0]["path"] == "/spec/second/spec/containers/0/image", "{report}");
    Ok(())
}

#[test]
fn a_custom_workload_without_containers_is_an_error_and_one_without_template_is_not() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let policy = tags(folder.path(), &rollout_match("/spec/template"))?;
    for (spec, code) in [
        ("{workloadRef: {name: x}}", 0),
        ("{template: null}", 0),
        ("null", 0),
        ("{template: []}", 2),
        ("{template: text}", 2),
        ("[]", 2),
        ("{template: {spec: []}}", 2),
        ("{template: {spec: {}}}", 2),
        ("{template: {spec: {containers: []}}}", 2),
        ("{template: {metadata: {}}}", 2),
    ] {
        let output = check(&["--policy", &policy], &format!("{ROLLOUT}spec: {spec}\n"))?;
        ensure!(output.code == code, "{spec}: exit {} {}", output.code, output.stderr);
    }
    Ok(())
}

#[test]
fn a_list_is_no_mapping() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for spec in [
        "[[{name: app, image: x}]]",
        "{containers: [[app, 'nginx@sha256:0']]}",
        "{containers: [{name: app, image: x, securityContext: [true, true]}]}",
    ] {
        let output = check(&[], &pod("{name: web}", spec))?;
        ensure!(output.code == 2 && output.stderr.contains("expected a mapping, found a list"), "{}", output.stderr);
    }
    for spec in ["[Stateless, Enforce]", "{rules: [{}]}", "{profile: Stateless, match: [[]]}"] {
        let policy = policy(folder.path(), "x", "ClusterImmutablePolicy", spec)?;
        let output = check(&["--policy", &policy], &pod("{name: web}", MUTABLE))?;
        ensure!(output.code == 2 && output.stderr.contains("found a list"), "{spec}: {}", output.stderr);
    }
    Ok(())
}

#[test]
fn exclude_leaves_out_what_was_found_and_nothing_that_was_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("web.yaml");
    std::fs::write(&path, pod("{name: web}", MUTABLE))?;
    let (path, folder) = (path.display().to_string(), folder.path().display().to_string());
    ensure!(immutable(&["check", "--exclude", "web.yaml", &path], "")?.code == 1, "named");
    ensure!(immutable(&["check", "--exclude", "web.yaml", &folder], "")?.code == 0, "found");
    let above = folder.trim_start_matches('/').split('/').next().unwrap_or_default();
    ensure!(immutable(&["check", "--exclude", above, &folder], "")?.code == 1, "{above} is above");
    Ok(())
}

#[test]
fn labels_of_a_namespace_hold_its_name_and_count_as_unknown_where_they_cannot_be_told() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let by_name = |name: &str| {
        tags(
            folder.path(),
            &format!("namespaces: {{selector: {{matchLabels: {{kubernetes.io/metadata.name: {name}}}}}}}"),
        )
    };
    let given = |policy: &str| check(&["--policy", policy, "--namespace-labels", "a=b"], &pod("{name: web}", MUTABLE));
    ensure!(given(&by_name("default")?)?.code == 1 && given(&by_name("shop")?)?.code == 0);

    let policy = tags(folder.path(), "namespaces: {selector: {matchLabels: {env: production}}}")?;
    let namespace =
        |labels: &str| format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: default, labels: {labels}}}\n");
    for (namespaces, code) in [
        (vec!["{env: test}"], 0),
        (vec!["{env: test}", "{env: test}"], 0),
        (vec!["{env: null}"], 0),
        (vec!["{env: test}", "{env: production}"], 1),
        (vec!["{env: production}", "{env: test}", "{env: test}"], 1),
        (vec!["{env: test, tier: 1}"], 1),
        (vec!["[]"], 1),
    ] {
        let texts: Vec<String> = namespaces.iter().map(|labels| namespace(labels)).collect();
        let output =
            check(&["--policy", &policy], &format!("{}---\n{}", texts.join("---\n"), pod("{name: web}", MUTABLE)))?;
        ensure!(output.code == code, "{namespaces:?}: exit {} {}", output.code, output.stderr);
        ensure!(output.stderr.contains("not known") == (code == 1), "{namespaces:?}: {}", output.stderr);
    }
    Ok(())
}

#[test]
fn a_config_map_that_is_given_twice_is_immutable_if_both_are() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let rules = "{enforcement: Enforce, rules: {immutableConfig: {}}}";
    let policy = policy(folder.path(), "x", "ClusterImmutablePolicy", rules)?;
    let user = pod("{name: web}", "{containers: [{name: app, image: x, envFrom: [{configMapRef: {name: settings}}]}]}");
    for (immutable, code) in [(["true", "true"], 0), (["true", "false"], 1), (["false", "true"], 1)] {
        let config =
            |value| format!("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\nimmutable: {value}\n");
        let output = check(&["--policy", &policy], &format!("{user}{}", immutable.map(config).concat()))?;
        ensure!(output.code == code, "{immutable:?}: exit {}", output.code);
    }
    Ok(())
}

#[test]
fn standard_input_is_named_once() -> Result<()> {
    for arguments in [&["check", "-", "-"][..], &["check", "--policy", "-", "-"], &["compile", "-", "-"]] {
        let output = immutable(arguments, &pod("{name: web}", MUTABLE))?;
        ensure!(output.code == 2 && output.stderr.contains("only once"), "{arguments:?}: {}", output.stderr);
    }
    Ok(())
}

#[test]
fn an_unknown_kind_of_policy_is_an_error() -> Result<()> {
    let folder = tempfile::tempdir()?;
    for (kind, expected) in [
        ("ClusterImutablePolicy", "did you mean ClusterImmutablePolicy?"),
        ("immutablePolicy", "did you mean ImmutablePolicy?"),
        ("Foo", "kind Foo is not known; write ClusterImmutablePolicy or ImmutablePolicy"),
        ("ImmutableException", "is no policy; give it with --exceptions"),
    ] {
        let file = policy(folder.path(), "x", kind, "{}")?;
        let output = check(&["--policy", &file], &pod("{name: web}", MUTABLE))?;
        ensure!(output.code == 2 && output.stderr.contains(expected), "{kind}: {}", output.stderr);
    }
    Ok(())
}

#[test]
fn a_policy_of_one_namespace_is_of_the_one_that_was_named() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let policy = policy(folder.path(), "x", "ImmutablePolicy", "{enforcement: Enforce, rules: {imageTag: {}}}")?;
    let judge = |arguments: &[&str]| check(&[&["--policy", &policy], arguments].concat(), &pod("{name: web}", MUTABLE));
    ensure!(judge(&[])?.code == 1 && judge(&["-n", "shop"])?.code == 1);
    let elsewhere = check(&["--policy", &policy, "-n", "shop"], &pod("{name: web, namespace: default}", MUTABLE))?;
    ensure!(elsewhere.code == 0, "{}", elsewhere.stdout);
    ensure!(immutable(&["compile", &policy], "")?.stdout.contains("immutable.dev/policies: default/"));
    ensure!(immutable(&["compile", "-n", "shop", &policy], "")?.stdout.contains("immutable.dev/policies: shop/"));
    Ok(())
}

#[test]
fn a_rule_with_nothing_behind_it_is_on() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let spec = "\n  enforcement: Enforce\n  rules:\n    imageTag:\n    privileged: {}";
    let policy = policy(folder.path(), "null", "ClusterImmutablePolicy", spec)?;
    let output = check(&["--policy", &policy], &pod("{name: web}", MUTABLE))?;
    ensure!(output.code == 1 && output.stdout.contains("image-tag"), "{}{}", output.stdout, output.stderr);
    Ok(())
}

#[test]
fn whatever_has_items_is_a_list_as_for_kubectl() -> Result<()> {
    let bad = pod("{name: web}", MUTABLE).replace('\n', "\n  ");
    let list = format!("apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: x}}\nitems:\n- {bad}\n");
    let output = check(&[], &list)?;
    ensure!(output.code == 1, "{}{}", output.stdout, output.stderr);
    Ok(())
}

#[test]
fn an_unrendered_template_in_quotes_is_an_error() -> Result<()> {
    let good = "{containers: [{name: app, image: x}]}";
    for (metadata, spec) in [
        ("{name: '{{ .Values.name }}'}", good),
        ("{name: web, namespace: \"{{ .Release.Namespace }}\"}", good),
        ("{name: web}", "{containers: [{name: '{{ x }}', image: x}]}"),
        ("{name: web}", "{containers: [{name: a, image: '{{ x }}:{{ y }}'}]}"),
        ("{name: web}", "{containers: [{name: a, image: x}], initContainers: [{name: a, image: '{{ x }}'}]}"),
    ] {
        let output = check(&["-o", "json"], &pod(metadata, spec))?;
        ensure!(output.code == 2 && output.stderr.contains("helm template"), "{metadata} {spec}: {}", output.stderr);
        ensure!(report(&output)?["summary"]["resources"] == 0, "{metadata} {spec}");
    }
    Ok(())
}

#[test]
fn values_that_the_api_server_refuses_are_errors_that_name_the_field() -> Result<()> {
    let unavailable = |value: &str| deployment(&format!("strategy: {{rollingUpdate: {{maxUnavailable: {value}}}}}"));
    let field = "strategy.rollingUpdate.maxUnavailable";
    let restarting =
        |policy: &str| pod("{name: web}", &MUTABLE.replacen('{', &format!("{{restartPolicy: {policy}, "), 1));
    for (input, expected) in [
        (unavailable("'25'"), field),
        (unavailable("'-1%'"), field),
        (unavailable("'+1%'"), field),
        (unavailable("'%'"), field),
        (unavailable("-1"), field),
        (unavailable("[]"), "expected a number of pods or a percentage such as 25%, found a list"),
        (unavailable("1.5"), "expected a number of pods or a percentage such as 25%, found the number 1.5"),
        (deployment("replicas: -1"), "spec.replicas"),
        (deployment("strategy: {type: rollingUpdate}"), "spec.strategy.type"),
        (deployment("strategy: {type: OnDelete}"), "spec.strategy.type"),
        (restarting("always"), "restartPolicy"),
        (
            pod("{name: web}", "{containers: [{name: a, image: x, restartPolicy: always}]}"),
            "containers.0.restartPolicy",
        ),
    ] {
        let output = check(&[], &input)?;
        ensure!(output.code == 2 && output.stderr.contains(expected), "{input}: {} {}", output.code, output.stderr);
    }
    for input in
        [unavailable("25%"), unavailable("1.0"), unavailable("0"), deployment("replicas: 4.0"), restarting("Never")]
    {
        let output = check(&[], &input)?;
        ensure!(output.code == 1 && output.stderr.is_empty(), "{input}: {} {}", output.code, output.stderr);
    }
    Ok(())
}

#[test]
fn floats_that_are_whole_and_labels_that_are_null_are_read_as_kubectl_reads_them() -> Result<()> {
    let metadata = "{name: web, labels: {a: null}}";
    let spec = "{containers: [{name: a, image: nginx:latest, securityContext: {runAsUser: 1000.0}}]}";
    let output = check(&[], &pod(metadata, spec))?;
    ensure!(output.code == 1 && output.stderr.is_empty(), "{} {}", output.code, output.stderr);
    for wrong in ["1000.5", "1e300", "'1000'"] {
        ensure!(check(&[], &pod(metadata, &spec.replace("1000.0", wrong)))?.code == 2, "{wrong}");
    }
    Ok(())
}

#[test]
fn a_wrong_type_points_at_the_field() -> Result<()> {
    let spec = "\n  containers:\n  - name: app\n    image: 5";
    let output = check(&["-o", "json"], &pod("{name: web}", spec))?;
    let report = report(&output)?;
    ensure!(report["results"][0]["path"] == "/spec/containers/0/image", "{report}");
    ensure!(report["results"][0]["source"] == serde_json::json!({"file": "-", "line": 7, "column": 12}), "{report}");
    ensure!(output.stderr.starts_with("-:7:12: "), "{}", output.stderr);
    let output = check(&["-o", "json"], &deployment("replicas: many"))?;
    ensure!(self::report(&output)?["results"][0]["path"] == "/spec/replicas", "{}", output.stdout);
    Ok(())
}

#[cfg(unix)]
#[test]
fn a_pipe_in_a_folder_is_passed_over() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let pipe = folder.path().join("pipe.yaml");
    ensure!(Command::new("mkfifo").arg(&pipe).status()?.success(), "mkfifo");
    let mut child = command(&["check", &folder.path().display().to_string()]).stdout(Stdio::null()).spawn()?;
    let end = Instant::now() + Duration::from_secs(20);
    while Instant::now() < end {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "{status}");
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill()?;
    anyhow::bail!("it waits for the pipe")
}

#[test]
fn places_in_a_list_of_thousands_take_no_quadratic_time() -> Result<()> {
    let time = |containers: usize| -> Result<Duration> {
        let mut spec = "\n  containers:\n".to_owned();
        for number in 0..containers {
            writeln!(spec, "  - {{name: c{number}, image: nginx:latest}}")?;
        }
        let input = pod("{name: web}", &spec);
        let start = Instant::now();
        let output = check(&["-o", "json"], &input)?;
        ensure!(output.code == 1, "{}", output.stderr);
        Ok(start.elapsed())
    };
    let (few, many) = (time(2_000)?, time(20_000)?);
    ensure!(many < few * 40 + Duration::from_secs(1), "{few:?} for 2,000 and {many:?} for 20,000");
    Ok(())
}
