//! `immutable check` as a person or a pipeline calls it: exit codes, streams, bad input.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// What a call came to.
struct Output {
    code: i32,
    stdout: String,
    stderr: String,
}

fn immutable(arguments: &[&str], input: &[u8]) -> Result<Output> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_immutable"))
        .args(arguments)
        .env_remove("KUBECONFIG")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = child.stdin.take().context("no stdin")?;
    let bytes = input.to_vec();
    // A program that refuses its arguments closes its input early: that is not this test's subject.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&bytes)));
    let output = child.wait_with_output()?;
    drop(writer.join());
    Ok(Output {
        code: output.status.code().context("ended by a signal")?,
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

fn check(arguments: &[&str], input: &str) -> Result<Output> {
    immutable(&[&["check"], arguments, &["-"]].concat(), input.as_bytes())
}

const MUTABLE: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - name: app
    image: nginx:latest
";

const POLICY: &str = "\
apiVersion: immutable.dev/v1alpha1
kind: ClusterImmutablePolicy
metadata: {name: tags}
spec:
  enforcement: LEVEL
  rules: {imageTag: {}}
";

/// A file with a policy of one rule at one level.
fn policy(folder: &Path, level: &str) -> Result<String> {
    let path = folder.join(format!("{level}.yaml"));
    std::fs::write(&path, POLICY.replace("LEVEL", level))?;
    Ok(path.display().to_string())
}

#[test]
fn the_exit_code_is_that_of_the_contract_for_every_format() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let [enforce, warn, audit] = ["Enforce", "Warn", "Audit"].map(|level| policy(folder.path(), level));
    let (enforce, warn, audit) = (enforce?, warn?, audit?);
    for format in ["text", "json", "sarif", "junit", "github"] {
        let code = |arguments: &[&str], input: &str| -> Result<i32> {
            Ok(check(&[&["-o", format], arguments].concat(), input)?.code)
        };
        ensure!(code(&["--policy", &enforce], MUTABLE)? == 1, "{format}: a finding at Enforce");
        ensure!(code(&["--policy", &warn], MUTABLE)? == 0, "{format}: a finding at Warn");
        ensure!(code(&["--policy", &warn, "--fail-on", "warn"], MUTABLE)? == 1, "{format}: --fail-on warn");
        ensure!(code(&["--policy", &audit, "--fail-on", "warn"], MUTABLE)? == 0, "{format}: Audit below warn");
        ensure!(code(&["--policy", &audit, "--fail-on", "audit"], MUTABLE)? == 1, "{format}: --fail-on audit");
        ensure!(code(&["--policy", &enforce], &MUTABLE.replace("latest", "1.27"))? == 0, "{format}: nothing fails");
        let both = format!("{MUTABLE}---\na: [\n");
        ensure!(code(&["--policy", &enforce], &both)? == 2, "{format}: unreadable input wins over a failure");
    }
    Ok(())
}

#[test]
fn stdout_is_the_result_and_stderr_everything_else() -> Result<()> {
    let output = check(&["-o", "json"], &format!("{MUTABLE}---\nkind: [\n"))?;
    let report: Value = serde_json::from_str(&output.stdout)?;
    ensure!(report["kind"] == "CheckReport" && report["apiVersion"] == "immutable.dev/v1alpha1");
    ensure!(report["summary"]["resources"] == 1 && report["summary"]["error"] == 1, "{report}");
    ensure!(output.stderr.lines().any(|line| line.starts_with("-:")), "{}", output.stderr);
    ensure!(output.code == 2);
    Ok(())
}

#[test]
fn a_result_is_as_the_contract_says() -> Result<()> {
    let output = check(&["-o", "json"], MUTABLE)?;
    let report: Value = serde_json::from_str(&output.stdout)?;
    let result = report["results"]
        .as_array()
        .and_then(|results| results.iter().find(|result| result["rule"] == "image-tag"))
        .context("no image-tag result")?;
    ensure!(
        result["result"] == "fail" && result["policy"] == "builtin/stateless" && result["enforcement"] == "Enforce"
    );
    ensure!(
        result["resource"]
            == serde_json::json!({"apiVersion": "v1", "kind": "Pod", "namespace": "default", "name": "web"}),
        "{result}"
    );
    ensure!(result["container"] == serde_json::json!({"name": "app", "type": "container"}), "{result}");
    ensure!(result["path"] == "/spec/containers/0/image", "{result}");
    ensure!(result["message"] == "image nginx:latest has the mutable tag latest", "{result}");
    ensure!(result["fix"] == "write nginx:TAG@sha256:DIGEST", "{result}");
    ensure!(result["source"] == serde_json::json!({"file": "-", "line": 7, "column": 12}), "{result}");
    Ok(())
}

#[test]
fn bad_input_is_an_error_with_its_place_and_loses_nothing_else() -> Result<()> {
    let cases = [
        ("broken YAML", "a: [\n"),
        ("a key written twice", "apiVersion: v1\nkind: Pod\nkind: Pod\n"),
        ("an unrendered template", "apiVersion: v1\nkind: Pod\nmetadata:\n  name: {{ .Values.name }}\n"),
        ("aliases that explode", &bomb()),
        ("a wrong type", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: 5}\n"),
        ("no containers", "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: {containers: []}\n"),
        ("an unknown apiVersion", "apiVersion: extensions/v1beta1\nkind: Deployment\nmetadata: {name: x}\nspec: {}\n"),
        ("tabs", "apiVersion: v1\n\tkind: Pod\n"),
    ];
    for (what, bad) in cases {
        for input in [format!("{bad}---\n{MUTABLE}"), format!("{MUTABLE}---\n{bad}")] {
            let output = check(&["-o", "json"], &input)?;
            let report: Value = serde_json::from_str(&output.stdout).with_context(|| what.to_owned())?;
            ensure!(output.code == 2, "{what}: exit {}", output.code);
            ensure!(report["summary"]["resources"] == 1, "{what}: the good document was lost: {report}");
            ensure!(report["summary"]["error"] == 1, "{what}: {}", report["summary"]);
            let place = output.stderr.lines().next().unwrap_or_default();
            let mut parts = place.splitn(4, ':');
            let file = parts.next();
            let numbers = [parts.next(), parts.next()].map(|part| part.is_some_and(|part| part.parse::<u32>().is_ok()));
            ensure!(file == Some("-") && numbers == [true, true], "{what}: {place:?}");
        }
    }
    Ok(())
}

/// Nine levels of nine aliases each: a third of a billion nodes.
fn bomb() -> String {
    let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let alias = format!("*a{}", level - 1);
        text = format!("{text}a{level}: &a{level} [{}]\n", [alias.as_str(); 9].join(", "));
    }
    text
}

#[test]
fn binary_empty_and_foreign_files_are_told_apart() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let write = |name: &str, content: &[u8]| -> Result<String> {
        let path = folder.path().join(name);
        std::fs::write(&path, content)?;
        Ok(path.display().to_string())
    };
    let binary = write("binary.yaml", b"\x00\x01\x02")?;
    let empty = write("empty.yaml", b"")?;
    let comment = write("comment.yaml", b"# nothing yet\n---\n")?;
    let values = write("values.yaml", b"replicas: 3\n")?;
    ensure!(immutable(&["check", &binary], b"")?.code == 2, "a binary file");
    ensure!(immutable(&["check", &empty], b"")?.code == 0, "an empty file");
    ensure!(immutable(&["check", &comment], b"")?.code == 0, "only comments");
    let nothing = immutable(&["check", "-"], b"")?;
    ensure!(nothing.code == 2 && nothing.stderr.contains("-:1:1: standard input is empty"), "{}", nothing.stderr);
    ensure!(immutable(&["check", &values], b"")?.code == 2, "named itself, YAML that is no object is an error");
    std::fs::remove_file(&binary)?;
    let found = immutable(&["check", &folder.path().display().to_string()], b"")?;
    ensure!(found.code == 0, "found in a folder it is passed over: {}", found.stderr);
    ensure!(immutable(&["check", "no-such-file.yaml"], b"")?.code == 2, "a file that is not there");
    ensure!(immutable(&["check"], b"")?.code == 2, "no path at all");
    Ok(())
}

#[test]
fn a_helm_chart_gives_one_error() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let templates = folder.path().join("templates");
    std::fs::create_dir(&templates)?;
    std::fs::write(folder.path().join("Chart.yaml"), "apiVersion: v2\nname: shop\nversion: 1.0.0\n")?;
    std::fs::write(folder.path().join("values.yaml"), "replicas: 3\n")?;
    for name in ["a.yaml", "b.yaml"] {
        std::fs::write(templates.join(name), "kind: Pod\nname: {{ .Release.Name }}\n")?;
    }
    let output = immutable(&["check", &folder.path().display().to_string()], b"")?;
    ensure!(output.code == 2 && output.stderr.lines().count() == 1, "{}", output.stderr);
    ensure!(output.stderr.contains("helm template"), "{}", output.stderr);
    Ok(())
}

#[test]
fn a_file_of_a_hundred_megabytes_is_judged() -> Result<()> {
    let file = tempfile::Builder::new().suffix(".yaml").tempfile()?;
    let mut writer = std::io::BufWriter::new(file.as_file());
    let padding = "x".repeat(10_000);
    for number in 0..10_000 {
        let metadata = format!("metadata: {{name: web-{number}, annotations: {{padding: {padding}}}}}");
        write!(writer, "---\n{}", MUTABLE.replace("metadata: {name: web}", &metadata))?;
    }
    writer.flush()?;
    drop(writer);
    let output = immutable(&["check", "-o", "json", &file.path().display().to_string()], b"")?;
    let head = output.stdout.get(..200).unwrap_or(&output.stdout);
    ensure!(output.code == 1 && head.contains("\"resources\":10000"), "{head} {}", output.stderr);
    Ok(())
}

#[test]
fn a_policy_with_a_mistake_says_what_to_write() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("policy.yaml");
    let cases = [
        ("rules: {imageTags: {}}", "did you mean imageTag?"),
        ("rules: {imageTag: {forbidden: [a]}}", "forbidden"),
        ("profile: Statless", "did you mean Stateless?"),
        ("enforcement: enforce", "did you mean Enforce?"),
        ("profile: None", "set spec.profile or name a rule"),
        ("rules: {imageTag: {forbiddenTags: [\"a b\"]}}", "tag"),
        ("profile: Stateless\n  match: {selector: {matchLabels: {\"a b\": c}}}", "label key"),
        ("rules: {updateStrategy: {minHealthyPercent: 101}}", "0 to 100"),
        ("replace: {setle: 2s}", "did you mean settle?"),
        ("replace: {settle: 2}", "spec.replace.settle"),
        ("replace: {maxConcurrent: 0}", "spec.replace.maxConcurrent: 0 is out of range; write a number from 1"),
        (
            "replace: {checkpoints: [{percent: 101, delay: 5m}]}",
            "spec.replace.checkpoints[0].percent: 101 is out of range",
        ),
        (
            "replace: {windows: [{type: Allow, schedule: 0 22 * * FRI-SUN, duration: 4h}]}",
            "spec.replace.windows[0].schedule: \"0 22 * * FRI-SUN\" is not valid; write ranges upwards",
        ),
        (
            "replace: {windows: [{type: Deny, schedule: 0 22 * * *, duration: 1d, timeZone: CEST}]}",
            "spec.replace.windows[0].timeZone: \"CEST\" is not known; write the IANA name",
        ),
    ];
    for (spec, expected) in cases {
        std::fs::write(
            &path,
            format!(
                "apiVersion: immutable.dev/v1alpha1\nkind: ClusterImmutablePolicy\nmetadata: {{name: x}}\nspec:\n  {spec}\n"
            ),
        )?;
        for command in ["check", "compile"] {
            let file = path.display().to_string();
            let output = match command {
                "check" => check(&["--policy", &file], MUTABLE)?,
                _ => immutable(&["compile", &file], b"")?,
            };
            ensure!(output.code == 2, "{command} {spec}: exit {}", output.code);
            ensure!(output.stderr.contains(expected), "{command} {spec}: {}", output.stderr);
            ensure!(output.stderr.starts_with(&file), "{command} {spec}: {}", output.stderr);
        }
    }
    Ok(())
}

#[test]
fn namespaces_come_from_the_input_or_the_flag_and_unknown_counts_as_matching() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("policy.yaml");
    std::fs::write(
        &path,
        "\
apiVersion: immutable.dev/v1alpha1
kind: ClusterImmutablePolicy
metadata: {name: x}
spec:
  enforcement: Enforce
  rules: {imageTag: {}}
  match: {namespaces: {selector: {matchLabels: {env: production}}}}
",
    )?;
    let policy = path.display().to_string();
    let namespace = |env: &str| {
        format!("apiVersion: v1\nkind: Namespace\nmetadata: {{name: default, labels: {{env: {env}}}}}\n---\n{MUTABLE}")
    };
    let unknown = check(&["--policy", &policy], MUTABLE)?;
    ensure!(unknown.code == 1 && unknown.stderr.contains("not known"), "{}", unknown.stderr);
    let given = check(&["--policy", &policy, "--namespace-labels", "env=test"], MUTABLE)?;
    // A mistyped label must not look like a clean result.
    ensure!(given.code == 0 && given.stderr.contains("in scope of a policy"), "{}", given.stderr);
    ensure!(given.stdout.contains("1 workload, none in scope of a policy, nothing was judged"), "{}", given.stdout);
    ensure!(check(&["--policy", &policy, "--namespace-labels", "env=production"], MUTABLE)?.code == 1);
    ensure!(check(&["--policy", &policy], &namespace("test"))?.code == 0);
    ensure!(check(&["--policy", &policy], &namespace("production"))?.code == 1);
    Ok(())
}

#[test]
fn immutable_config_is_looked_up_in_the_input_and_unknown_is_an_error() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("policy.yaml");
    std::fs::write(
        &path,
        "\
apiVersion: immutable.dev/v1alpha1
kind: ClusterImmutablePolicy
metadata: {name: x}
spec: {enforcement: Enforce, rules: {immutableConfig: {}}}
",
    )?;
    let policy = path.display().to_string();
    let pod = "\
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  containers:
  - {name: app, image: x, envFrom: [{configMapRef: {name: settings}}]}
";
    let config = |immutable: &str| {
        format!("{pod}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: settings}}\n{immutable}\n")
    };
    let result = |input: &str| -> Result<(i32, String)> {
        let output = check(&["--policy", &policy, "-o", "json", "--show-pass"], input)?;
        let report: Value = serde_json::from_str(&output.stdout)?;
        Ok((output.code, report["results"][0]["result"].as_str().unwrap_or_default().to_owned()))
    };
    ensure!(result(pod)? == (1, "error".to_owned()), "unknown: {:?}", result(pod)?);
    ensure!(result(&config("immutable: true"))? == (0, "pass".to_owned()));
    ensure!(result(&config("immutable: false"))? == (1, "fail".to_owned()));
    ensure!(result(&config(""))? == (1, "fail".to_owned()));
    Ok(())
}

#[test]
fn lists_json_and_kinds_without_pods_are_read() -> Result<()> {
    let list = serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"containers": [{"name": "c", "image": "nginx"}]}},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {}},
    ]});
    let output = check(&["-o", "json"], &serde_json::to_string_pretty(&list)?)?;
    let report: Value = serde_json::from_str(&output.stdout)?;
    ensure!(report["summary"]["resources"] == 1 && report["summary"]["error"] == 0, "{report}");
    Ok(())
}

#[test]
fn the_other_commands_answer() -> Result<()> {
    ensure!(immutable(&["version"], b"")?.stdout.starts_with("immutable "));
    ensure!(immutable(&["explain", "image-tag"], b"")?.stdout.contains("## Why"));
    ensure!(immutable(&["explain", "imageTag"], b"")?.code == 0);
    let unknown = immutable(&["explain", "image-tags"], b"")?;
    ensure!(unknown.code == 2 && unknown.stderr.contains("image-tag"), "{}", unknown.stderr);
    for shell in ["bash", "zsh", "fish"] {
        ensure!(immutable(&["completion", shell], b"")?.stdout.contains("immutable"), "{shell}");
    }
    ensure!(immutable(&["crds"], b"")?.stdout.contains("clusterimmutablepolicies.immutable.dev"));
    ensure!(immutable(&["no-such-command"], b"")?.code == 2);
    ensure!(immutable(&["suspend", "x", "--for", "soon", "--reason", "y"], b"")?.code == 2);
    Ok(())
}

#[test]
fn the_examples_show_findings_with_lines() -> Result<()> {
    let output = immutable(&["check", "examples/"], b"")?;
    ensure!(output.code == 1 && output.stdout.contains("image-tag"), "{}", output.stdout);
    let clean = immutable(&["check", "examples/workloads/immutable.yaml"], b"")?;
    ensure!(clean.code == 0, "{}", clean.stdout);
    Ok(())
}
