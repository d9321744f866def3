//! What the formats of `immutable check` write. `UPDATE_GOLDEN=1 cargo test --test output` writes the files
//! anew; read the difference.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on has failed")]

#[path = "output/replacing.rs"]
mod replacing;
#[path = "output/sample.rs"]
mod sample;
#[path = "output/schema.rs"]
mod schema;

use std::path::{Path, PathBuf};

use immutable_core::rules::RuleId;
use immutable_operator::output::{Entry, Format, Options, Outcome, Report, write};
use sample::{clean, everything, first_day, in_cluster, many};
use serde_json::Value;

const PLAIN: Options<'_> = Options { color: false, width: None, version: "1.2.3" };

fn written_with(format: Format, report: &Report, options: &Options<'_>) -> String {
    let mut out = Vec::new();
    write(format, report, options, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn written(format: Format, report: &Report) -> String {
    written_with(format, report, &PLAIN)
}

fn parsed(format: Format, report: &Report) -> Value {
    serde_json::from_str(&written(format, report)).unwrap()
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn data(name: &str) -> PathBuf {
    root().join("tests/data/output").join(name)
}

fn json_file(path: &Path) -> Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[track_caller]
fn assert_golden(name: &str, text: &str) {
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(data(name), text).unwrap();
    }
    let golden = std::fs::read_to_string(data(name)).unwrap_or_default();
    assert!(golden == text, "{name} differs; written was:\n{text}");
}

fn all_reports() -> [Report; 6] {
    [first_day(), everything(), clean(), Report::default(), many(3, 2), in_cluster()]
}

#[test]
fn text_is_as_agreed() {
    assert_golden("first-day.txt", &written(Format::Text, &first_day()));
    assert_golden("everything.txt", &written(Format::Text, &everything()));
    assert_golden("in-cluster.txt", &written(Format::Text, &in_cluster()));
    let narrow = Options { width: Some(100), ..PLAIN };
    assert_golden("first-day-narrow.txt", &written_with(Format::Text, &first_day(), &narrow));
    let colored = Options { color: true, ..PLAIN };
    assert_golden("first-day-color.txt", &written_with(Format::Text, &first_day(), &colored));
    assert_eq!(written(Format::Text, &clean()), "3 workloads, 39 checks, no findings\n");
    assert_eq!(written(Format::Text, &Report::default()), "no workloads, nothing was judged\n");
}

#[test]
fn colour_is_all_that_colour_adds() {
    let colored = written_with(Format::Text, &first_day(), &Options { color: true, ..PLAIN });
    let mut plain = String::new();
    let mut parts = colored.split("\u{1b}[");
    plain.push_str(parts.next().unwrap());
    parts.for_each(|part| plain.push_str(part.split_once('m').unwrap().1));
    assert_eq!(plain, written(Format::Text, &first_day()));
}

#[test]
fn nothing_that_a_terminal_or_a_log_obeys_is_written() {
    for format in [Format::Text, Format::Github, Format::Junit] {
        let text = written(format, &everything());
        let bad = text.chars().find(|&it| it != '\n' && (it.is_control() || ('\u{202a}'..='\u{202e}').contains(&it)));
        assert_eq!(bad, None, "{format:?}");
    }
}

#[test]
fn the_cheapest_first_step_removes_most_findings() {
    let step = |report: &Report| {
        let text = written(Format::Text, report);
        text.split_once("Cheapest first step\n").map(|(_, step)| step.split_once("\n\n").unwrap().0.to_owned())
    };
    let expected = "  read-only-root-filesystem: write securityContext.readOnlyRootFilesystem: true\n  \
                    removes 4 of 9 failures, in 3 workloads";
    assert_eq!(step(&first_day()).unwrap(), expected);
    // Two rules with as many findings: the one in fewer workloads comes first.
    let mut report = many(2, 1);
    let mut other = many(1, 2).entries;
    for entry in &mut other {
        entry.rule = Some(RuleId::Probes);
        entry.fix = "write a probe".to_owned();
    }
    report.entries.extend(other);
    assert_eq!(step(&report).unwrap(), "  probes: write a probe\n  removes 2 of 4 failures, in 1 workload");
    // What fails goes before what warns, and one finding needs no advice.
    report.entries[0].outcome = Outcome::Warn;
    report.entries[2].outcome = Outcome::Warn;
    report.entries[3].outcome = Outcome::Warn;
    assert_eq!(step(&report), None);
    assert_eq!(step(&clean()), None);
}

#[test]
fn json_is_as_published() {
    let published = json_file(&root().join("docs/schema/check-report.schema.json"));
    for report in all_reports() {
        assert_eq!(schema::faults(&published, &parsed(Format::Json, &report)), Vec::<String>::new());
    }
    assert_golden("everything.json", &written(Format::Json, &everything()));
    assert_golden("clean.json", &written(Format::Json, &clean()));
}

#[test]
fn the_published_schema_refuses_what_it_should() {
    let published = json_file(&root().join("docs/schema/check-report.schema.json"));
    let good = parsed(Format::Json, &everything());
    let changes: [(&str, Value); 8] = [
        ("/results/0/result", "excused".into()),
        ("/results/0/result", "skip".into()),
        ("/results/2/result", "fail".into()),
        ("/results/0/source/line", 0.into()),
        ("/results/3/container/type", "sidecar".into()),
        ("/results/0/policy", Value::Null),
        ("/summary/fail", (-1).into()),
        ("/kind", "Report".into()),
    ];
    for (pointer, value) in changes {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap() = value;
        assert_ne!(schema::faults(&published, &bad), Vec::<String>::new(), "{pointer}");
    }
    let mut bad = good.clone();
    bad["results"][3]["volume"] = "cache".into();
    assert_ne!(schema::faults(&published, &bad), Vec::<String>::new());
    // A place is where there is a text, and nowhere else.
    for kind in ["CheckReport", "ScanReport"] {
        let report = if kind == "CheckReport" { in_cluster() } else { everything() };
        let mut bad = parsed(Format::Json, &report);
        assert_ne!(bad["kind"], kind);
        bad["kind"] = kind.into();
        assert_ne!(schema::faults(&published, &bad), Vec::<String>::new(), "{kind}");
    }
    let mut bad = good;
    bad["results"][0].as_object_mut().unwrap().remove("rule");
    assert_ne!(schema::faults(&published, &bad), Vec::<String>::new());
}

#[test]
fn sarif_follows_the_standard() {
    let standard = json_file(&data("sarif-schema-2.1.0.json"));
    for report in all_reports() {
        assert_eq!(schema::faults(&standard, &parsed(Format::Sarif, &report)), Vec::<String>::new());
    }
    let mut log = parsed(Format::Sarif, &everything());
    let rules = log["runs"][0]["tool"]["driver"]["rules"].take();
    assert_eq!(rules.as_array().unwrap().len(), RuleId::ALL.len());
    for (rule, id) in rules.as_array().unwrap().iter().zip(RuleId::ALL) {
        assert_eq!(rule["id"], id.id());
        assert!(rule["properties"]["tags"].as_array().unwrap().len() <= 10);
        let severity: f32 = rule["properties"]["security-severity"].as_str().unwrap().parse().unwrap();
        assert!((0.1..=10.0).contains(&severity));
    }
    assert_eq!(rules[1]["name"], "ImageDigest");
    // Rules document themselves; the rest is the golden file's. Keys have no order there.
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(data("everything.sarif"), format!("{log:#}\n")).unwrap();
    }
    assert_eq!(json_file(&data("everything.sarif")), log);
    for result in log["runs"][0]["results"].as_array().unwrap() {
        let index = usize::try_from(result["ruleIndex"].as_u64().unwrap()).unwrap();
        assert_eq!(result["ruleId"], RuleId::ALL[index].id());
    }
}

#[test]
fn sarif_says_that_an_input_was_not_read() {
    let successful = |report: &Report| {
        parsed(Format::Sarif, report)["runs"][0]["invocations"][0]["executionSuccessful"].as_bool().unwrap()
    };
    assert!(successful(&first_day()));
    assert!(successful(&clean()));
    assert!(!successful(&everything()));
}

fn fingerprints(report: &Report) -> Vec<Value> {
    let log = parsed(Format::Sarif, report);
    let results = log["runs"][0]["results"].as_array().unwrap();
    results.iter().map(|result| result["partialFingerprints"].clone()).collect()
}

#[test]
fn a_fingerprint_stays_when_lines_and_neighbours_move() {
    let before = fingerprints(&first_day());
    let mut moved = first_day();
    for entry in &mut moved.entries {
        entry.place.line += 7;
        entry.place.column += 2;
        entry.path = entry.path.replace("/0/", "/3/");
        entry.message.push_str(", in other words");
        entry.fix.push_str(" please");
    }
    assert_eq!(before, fingerprints(&moved));
    let line_hash = |value: &Value| value["primaryLocationLineHash"].as_str().unwrap().to_owned();
    let mut distinct: Vec<String> = before.iter().map(line_hash).collect();
    distinct.sort_unstable();
    distinct.dedup();
    assert_eq!(distinct.len(), before.len());

    let mut renamed = first_day();
    renamed.entries.iter_mut().for_each(|entry| entry.place.file = "other.yaml".into());
    for (before, after) in before.iter().zip(fingerprints(&renamed)) {
        assert_eq!(before["immutableFinding/v1"], after["immutableFinding/v1"]);
        assert_ne!(line_hash(before), line_hash(&after));
    }
    // These values are in the databases of code scanning: changing them opens every alert anew.
    assert_eq!(before[0]["primaryLocationLineHash"], "0ceea312fef73cd9:1");
    assert_eq!(before[0]["immutableFinding/v1"], "edffc4b73fb01419");
}

#[test]
fn sarif_holds_no_more_than_github_takes_and_says_so() {
    let mut report = many(26_000, 1);
    // The last ones fail, the first ones only warn: failures are kept.
    report.entries[..20_000].iter_mut().for_each(|entry| entry.outcome = Outcome::Warn);
    let log = parsed(Format::Sarif, &report);
    let run = &log["runs"][0];
    let results = run["results"].as_array().unwrap();
    assert_eq!(results.len(), 25_000);
    assert_eq!(
        results.last().unwrap()["locations"][0]["logicalLocations"][0]["fullyQualifiedName"],
        "Deployment/shop/web-25999/container/app-0"
    );
    let notifications = run["invocations"][0]["toolExecutionNotifications"].as_array().unwrap();
    assert_eq!(notifications.len(), 1);
    assert!(notifications[0]["message"]["text"].as_str().unwrap().starts_with("1000 of 26000 results were left out"));
    let fits = parsed(Format::Sarif, &many(25_000, 1));
    assert_eq!(fits["runs"][0]["invocations"][0]["toolExecutionNotifications"], Value::Array(Vec::new()));
}

#[test]
fn junit_is_read_by_others() {
    for report in all_reports() {
        let text = written(Format::Junit, &report);
        let read = quick_junit::Report::deserialize_from_str(&text).unwrap();
        assert_eq!(read.tests, read.test_suites.iter().map(|suite| suite.test_cases.len()).sum::<usize>());
        assert_eq!(read.tests, report.entries.len().max(1));
        let mut names: Vec<_> = read
            .test_suites
            .iter()
            .flat_map(|suite| &suite.test_cases)
            .map(|case| (case.classname.as_deref().unwrap_or_default(), case.name.as_str()))
            .collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), read.tests, "a case has a namesake, which GitLab would hide");
    }
    assert_golden("everything.junit.xml", &written(Format::Junit, &everything()));
    assert_golden("clean.junit.xml", &written(Format::Junit, &clean()));
}

#[test]
fn github_commands_are_one_line_each() {
    let text = written(Format::Github, &everything());
    assert_golden("everything.github.txt", &text);
    assert!(
        text.lines().all(|line| line.starts_with("::error ")
            || line.starts_with("::warning ")
            || line.starts_with("::notice "))
    );
    let shown = |entry: &&Entry| !matches!(entry.outcome, Outcome::Pass | Outcome::Skip);
    assert_eq!(text.lines().count(), everything().entries.iter().filter(shown).count() + 1);
    let total = |report: &Report| written(Format::Github, report).lines().last().unwrap().to_owned();
    assert!(total(&many(11, 1)).contains("the log of the step holds all 11"));
    assert_eq!(total(&many(10, 1)), "::notice title=immutable check::10 workloads, 10 checks (0 pass): 10 fail");
    assert_eq!(total(&clean()), "::notice title=immutable check::3 workloads, 39 checks, no findings");
}

#[test]
fn a_full_disk_is_an_error_and_no_panic() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    for format in [Format::Text, Format::Json, Format::Sarif, Format::Junit, Format::Github] {
        let error = write(format, &first_day(), &PLAIN, &mut Full).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::StorageFull, "{format:?}");
    }
}
