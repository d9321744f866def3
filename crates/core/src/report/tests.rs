//! Reports as values.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::exception::{ExceptionId, WorkloadFilter};
use crate::policy::{ControllerCreated, ExceptionSettings, NamespaceMatch, PolicyDraft, Profile};
use crate::rules::RuleId;
use crate::selector::LabelSelector;
use crate::workload::{Kind, Workload, WorkloadKind};
use crate::world::{Change, Content};

const UID: &str = "5b7c1d5e-0000-4000-8000-000000000001";

fn installation() -> Installation {
    Installation { namespace: "immutable-system".to_owned(), owner: "owner".to_owned() }
}

fn world(rules: &Value) -> World {
    let draft = PolicyDraft {
        id: PolicyId { namespace: None, name: "production".to_owned() },
        profile: Profile::None,
        enforcement: Enforcement::Audit,
        suspend: None,
        namespaces: NamespaceMatch::default(),
        kinds: Vec::new(),
        selector: LabelSelector::default(),
        custom_workloads: Vec::new(),
        rules: serde_json::from_value(rules.clone()).unwrap(),
        controller_created: ControllerCreated::Audit,
        exceptions: ExceptionSettings::default(),
        replace: None,
    };
    let policy = draft.validate().unwrap();
    let mut world = World::new("immutable-system");
    world.apply(Change::Policy(policy.id.clone(), Some(Arc::new(policy))));
    world
}

/// A Deployment that runs these images, in containers `c0`, `c1` and so on.
fn deployment(images: &[String]) -> (WorkloadKey, Object) {
    let containers: Vec<Value> =
        images.iter().enumerate().map(|(index, image)| json!({"name": format!("c{index}"), "image": image})).collect();
    let manifest = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"template": {"spec": {"containers": containers}}},
    });
    let workload = Workload::read(&manifest, "apps/v1", "Deployment", &[]).unwrap().unwrap();
    let kind = WorkloadKind::BuiltIn(Kind::Deployment);
    let key = WorkloadKey { kind, namespace: "shop".to_owned(), name: "web".to_owned() };
    (
        key,
        Object {
            uid: UID.to_owned(),
            controller: None,
            content: Content::Known(Box::new(workload)),
            rollout: None,
            pod: None,
        },
    )
}

fn report_of(rules: &Value, exceptions: &InEffect, images: &[String]) -> Option<Report> {
    let (key, object) = deployment(images);
    report(&world(rules), exceptions, &key, &object)
}

fn none() -> InEffect {
    InEffect::default()
}

fn ids(report: &Report) -> Vec<&str> {
    report.results.iter().map(|result| result.properties["resultID"].as_str()).collect()
}

#[test]
fn results_are_the_worst_first_and_say_what_became_of_each() {
    let rules = json!({
        "imageTag": {"enforcement": "Enforce"}, "privilegeEscalation": {"enforcement": "Enforce"}, "probes": {},
    });
    let report = report_of(&rules, &none(), &["nginx".to_owned()]).unwrap();
    let told: Vec<_> =
        report.results.iter().map(|result| (result.result, result.rule.unwrap(), result.scored)).collect();
    let expected = [
        (Outcome::Fail, "image-tag", true),
        (Outcome::Fail, "privilege-escalation", true),
        (Outcome::Warn, "probes", false),
    ];
    assert_eq!(told, expected);
    assert_eq!(report.results[0].message, "container c0: image nginx has no tag, which means the mutable tag latest");
    assert_eq!(report.results[0].properties["path"], "/spec/template/spec/containers/0/image");
    assert_eq!((report.summary.fail, report.summary.warn, report.left_out), (2, 1, 0));
    assert_eq!(report_of(&json!({"imageTag": {}}), &none(), &["nginx:1.27".to_owned()]), None);
}

#[test]
fn what_is_excused_is_skipped_with_the_exception() {
    let exception = Exception {
        id: ExceptionId { namespace: "shop".to_owned(), name: "legacy".to_owned() },
        policies: Vec::new(),
        rules: vec![RuleId::ImageTag],
        workloads: WorkloadFilter::default(),
        images: vec![serde_json::from_value(json!("nginx*")).unwrap()],
        containers: Vec::new(),
        reason: "the vendor signs no\nother image".to_owned(),
        ticket: None,
        created: Some("2026-11-26T10:00:00Z".parse().unwrap()),
        expires_at: "2026-11-27T10:00:00Z".parse().unwrap(),
    };
    let rules = json!({"imageTag": {"enforcement": "Enforce"}});
    let mut world = world(&rules);
    world.apply(Change::Exception(exception.id.clone(), Some(Arc::new(exception))));
    let now: Timestamp = "2026-11-26T12:00:00Z".parse().unwrap();
    let in_effect = world.exceptions().in_effect(world.policies().map(|(_, policy)| policy), now);
    let (key, object) = deployment(&["nginx".to_owned(), "httpd".to_owned()]);
    let report = report(&world, &in_effect, &key, &object).unwrap();
    assert_eq!((report.summary.fail, report.summary.skip), (1, 1));
    let skipped = &report.results[1];
    assert_eq!(skipped.result, Outcome::Skip);
    let property = |name: &str| skipped.properties[name].as_str();
    assert_eq!(property("exception"), "legacy");
    assert_eq!(property("exceptionReason"), "the vendor signs no?other image");
    assert_eq!(property("exceptionExpiresAt"), "2026-11-27T10:00:00Z");
}

#[test]
fn an_id_is_that_of_the_finding_whatever_its_words() {
    let rules = json!({"imageTag": {}, "imageDigest": {}});
    let before = report_of(&rules, &none(), &["nginx:latest".to_owned(), "httpd".to_owned()]).unwrap();
    let after = report_of(&rules, &none(), &["nginx".to_owned(), "httpd:latest".to_owned()]).unwrap();
    assert_ne!(before, after);
    assert_eq!(ids(&before), ids(&after));
    let enforced = json!({"imageTag": {"enforcement": "Enforce"}, "imageDigest": {}});
    let enforced = report_of(&enforced, &none(), &["nginx:latest".to_owned(), "httpd".to_owned()]).unwrap();
    let set = |report: &Report| ids(report).into_iter().map(ToOwned::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(set(&before), set(&enforced));
    assert_eq!(set(&before).len(), 4);
}

#[test]
fn what_does_not_fit_is_left_out_and_counted() {
    let rules = json!({"imageTag": {}, "imageDigest": {"enforcement": "Enforce"}});
    let images: Vec<String> = (0..300).map(|number| format!("nginx-{number}")).collect();
    let report = report_of(&rules, &none(), &images).unwrap();
    assert!(report.is_capped());
    assert_eq!((report.summary.fail, report.summary.warn, report.left_out), (300, 300, 350));
    assert_eq!(report.results.len(), MOST_RESULTS);
    assert!(report.results.iter().all(|result| result.result == Outcome::Fail));
    assert_eq!(report.results.last().unwrap().properties["resultsLeftOut"], "350");
    let (key, _) = deployment(&images);
    let manifest = report.manifest(ReportApi::OpenReports, &installation(), &key, UID, "");
    assert_eq!(manifest["metadata"]["annotations"]["immutable.dev/results-left-out"], "350");
    assert_eq!(manifest["configuration"]["limits"]["maxResults"], 250);
}

#[test]
fn a_report_never_becomes_too_large() {
    let mut report = Report::default();
    let policy = PolicyId { namespace: Some("n".repeat(63)), name: "p".repeat(253) };
    for number in 0..600 {
        let mut result = undecided(&number.to_string(), &policy, &"\"\u{1f980}".repeat(2_000));
        result.properties.insert("fix", bounded(&"\u{1f980}".repeat(2_000)));
        report.add(result);
    }
    report.finish();
    let size: usize = report.results.iter().map(|result| serde_json::to_string(result).unwrap().len()).sum();
    assert!(size <= MOST_BYTES + 64, "{size}");
    assert!(report.results.len() < MOST_RESULTS, "{}", report.results.len());
    assert_eq!(u64::try_from(report.results.len()).unwrap() + report.left_out, 600);
    assert_eq!(report.summary.error, 600);
}

#[test]
fn a_report_remembers_what_it_is_told_to() {
    let (key, object) = deployment(&["nginx".to_owned()]);
    let report = report(&world(&json!({"imageTag": {}})), &none(), &key, &object).unwrap();
    for api in ReportApi::ALL {
        let id = ReportId::of(api, "shop", UID);
        let manifest = |events: &str| report.manifest(api, &installation(), &key, UID, events);
        for events in ["", "0000002a"] {
            let mut intent = ReportIntent::Create(id.clone(), manifest("0000002a,0000002b"));
            assert_eq!(intent.remember(events), Some(digest(&manifest(events))));
            assert_eq!(intent, ReportIntent::Create(id.clone(), manifest(events)));
        }
        let version = || "7".to_owned();
        let mut removal = ReportIntent::Delete { id, uid: version(), resource_version: version() };
        assert_eq!(removal.remember("0000002a"), None);
    }
}

#[test]
fn what_others_add_is_theirs_and_what_they_change_is_seen() {
    let rules = json!({"imageTag": {}});
    let (key, object) = deployment(&["nginx".to_owned()]);
    let report = report(&world(&rules), &none(), &key, &object).unwrap();
    for api in ReportApi::ALL {
        let written = report.manifest(api, &installation(), &key, UID, "0000002a");
        assert_eq!(ReportId::of(api, "shop", UID).workload_uid(), Some(UID));
        let with = |change: fn(&mut Value)| {
            let mut stored = written.clone();
            stored["metadata"]["uid"] = json!("of the report");
            stored["metadata"]["resourceVersion"] = json!("7");
            change(&mut stored);
            digest(&stored) == digest(&written)
        };
        assert!(with(|_| ()));
        assert!(with(|stored| stored["metadata"]["labels"]["team"] = json!("web")));
        assert!(with(|stored| stored["metadata"]["annotations"]["note"] = json!("seen")));
        assert!(!with(|stored| stored["results"][0]["result"] = json!("pass")));
        assert!(!with(|stored| stored["results"] = json!([])));
        assert!(!with(|stored| stored["summary"]["warn"] = json!(0)));
        assert!(!with(|stored| stored["scope"]["name"] = json!("other")));
        assert!(!with(|stored| stored["metadata"]["ownerReferences"] = json!([])));
        assert!(!with(|stored| drop(
            stored["metadata"]["annotations"].as_object_mut().unwrap().remove(ARGO_ANNOTATION)
        )));
    }
}

proptest! {
    #[test]
    fn the_order_of_what_comes_in_does_not_matter(seeds in proptest::collection::vec((0..4_usize, 0..900_u32), 1..900)) {
        let policy = PolicyId { namespace: None, name: "p".to_owned() };
        let results: Vec<ReportResult> = seeds.iter().map(|(outcome, number)| {
            let mut result = undecided(&number.to_string(), &policy, "why");
            result.result = [Outcome::Fail, Outcome::Error, Outcome::Warn, Outcome::Skip][*outcome];
            result
        }).collect();
        let gathered = |results: Vec<ReportResult>| {
            let mut report = Report::default();
            for result in results {
                report.add(result);
            }
            report.finish();
            report
        };
        let forwards = gathered(results.clone());
        let backwards = gathered(results.into_iter().rev().collect());
        prop_assert_eq!(&forwards, &backwards);
        prop_assert!(forwards.results.is_sorted_by_key(|result| result.result));
    }
}
