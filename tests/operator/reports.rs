//! What runs and violates is told in reports and Events, and only when there is something new to tell.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use kube::api::{Api, ApiResource, DynamicObject, ListParams, Patch};
use kube::core::GroupVersionKind;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::policies::{Policy, condition};
use crate::support::{
    Answer, Cluster, Effect, GENEROUS, Operator, TestNamespace, install_crds, install_report_crds, install_rights,
    wait_until,
};
use crate::workloads::{BAD, GOOD, pod_spec, workload};

pub(crate) const OPEN_REPORTS: (&str, &str, &str) = ("openreports.io", "v1alpha1", "Report");
pub(crate) const WG_POLICY: (&str, &str, &str) = ("wgpolicyk8s.io", "v1alpha2", "PolicyReport");

static SHARED: OnceCell<(Cluster, Operator)> = OnceCell::const_new();

/// A control plane with both APIs of reports and an operator, for the tests of this file.
async fn shared() -> Result<&'static (Cluster, Operator)> {
    SHARED
        .get_or_try_init(|| async {
            let cluster = Cluster::start().await?;
            install_report_crds(&cluster, OPEN_REPORTS.0).await?;
            install_report_crds(&cluster, WG_POLICY.0).await?;
            let operator = Operator::start(&cluster).await?;
            Ok((cluster, operator))
        })
        .await
}

/// The reports of ours in a namespace, or everywhere.
pub(crate) async fn reports(
    client: &Client,
    (group, version, kind): (&str, &str, &str),
    namespace: Option<&str>,
) -> Result<Vec<Value>> {
    let plural = format!("{}s", kind.to_lowercase());
    let resource = ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), &plural);
    let api: Api<DynamicObject> = match namespace {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let list = api.list(&ListParams::default()).await?;
    list.items.into_iter().map(|report| Ok(serde_json::to_value(report)?)).collect()
}

/// Waits until there is exactly one report in a namespace and it is as it should be.
async fn one_report(namespace: &TestNamespace, what: &str, is: impl Fn(&Value) -> bool) -> Result<Value> {
    wait_until(what, GENEROUS, async || {
        let reports = reports(&namespace.client(), OPEN_REPORTS, Some(namespace.name())).await?;
        let [report] = reports.as_slice() else { anyhow::bail!("{} reports", reports.len()) };
        ensure!(is(report), "{report:#}");
        Ok(report.clone())
    })
    .await
}

async fn no_report(namespace: &TestNamespace) -> Result<()> {
    wait_until("no report", GENEROUS, async || {
        let reports = reports(&namespace.client(), OPEN_REPORTS, Some(namespace.name())).await?;
        ensure!(reports.is_empty(), "{reports:?}");
        Ok(())
    })
    .await
}

/// The Events of ours in a namespace: reason, what it is about, note.
async fn events(namespace: &TestNamespace) -> Result<Vec<(String, String, String)>> {
    let api: Api<k8s_openapi::api::events::v1::Event> = Api::namespaced(namespace.client(), namespace.name());
    let list = api.list(&ListParams::default()).await?;
    let ours = list.items.into_iter().filter(|event| event.name_any().starts_with("immutable-"));
    let ours = ours.map(|event| {
        let about = event.regarding.unwrap_or_default();
        let about = format!("{} {}", about.kind.unwrap_or_default(), about.name.unwrap_or_default());
        (event.reason.unwrap_or_default(), about, event.note.unwrap_or_default())
    });
    Ok(ours.collect())
}

fn results(report: &Value) -> Vec<&Value> {
    report["results"].as_array().into_iter().flatten().collect()
}

fn ids(report: &Value) -> BTreeSet<String> {
    let id = |result: &&Value| result["properties"]["resultID"].as_str().unwrap_or_default().to_owned();
    results(report).iter().map(id).collect()
}

pub(crate) async fn set_image(namespace: &TestNamespace, name: &str, image: &str) -> Result<()> {
    let manifest = workload("Deployment", name, image);
    let patch = Patch::Strategic(json!({"spec": {"template": {"spec": pod_spec(image)}}}));
    namespace.requests().patch(Effect::Real, &manifest, &patch, None).await?.accepted().map(|_| ())
}

fn exception(name: &str, hours: i64) -> Value {
    let ends = jiff::Timestamp::now() + jiff::SignedDuration::from_hours(hours);
    json!({
        "apiVersion": "immutable.dev/v1alpha1", "kind": "ImmutableException", "metadata": {"name": name},
        "spec": {
            "rules": ["image-tag"], "workloads": {"names": ["web"]}, "reason": "the vendor publishes no other tag",
            "expiresAt": ends.to_string(),
        },
    })
}

#[tokio::test]
async fn a_violating_workload_has_one_report_until_nothing_is_left_to_say() -> Result<()> {
    let (cluster, _) = shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let stored = namespace.create_object(&workload("Deployment", "web", BAD)).await?;
    namespace.create_object(&workload("Deployment", "good", GOOD)).await?;
    let policy = Policy::create(&namespace, json!({"enforcement": "Warn", "rules": {"imageTag": {}}})).await?;
    let report = one_report(&namespace, "the report", |_| true).await?;
    let uid = &stored["metadata"]["uid"];
    let metadata = &report["metadata"];
    ensure!(metadata["name"] == format!("immutable-{}", uid.as_str().unwrap_or_default()), "{metadata}");
    let owner = json!([{"apiVersion": "apps/v1", "kind": "Deployment", "name": "web", "uid": uid}]);
    ensure!(metadata["ownerReferences"] == owner, "{metadata}");
    ensure!(metadata["labels"]["app.kubernetes.io/managed-by"] == "immutable-operator", "{metadata}");
    ensure!(metadata["annotations"]["argocd.argoproj.io/ignore-resource-updates"] == "true", "{metadata}");
    ensure!(report["source"] == "immutable-operator", "{report:#}");
    ensure!(report["scope"]["uid"] == *uid && report["scope"]["namespace"] == namespace.name(), "{report:#}");
    ensure!(report["summary"] == json!({"pass": 0, "fail": 0, "warn": 1, "error": 0, "skip": 0}), "{report:#}");
    let result = results(&report)[0].clone();
    for (field, value) in [
        ("policy", policy.name()),
        ("rule", "image-tag"),
        ("category", "Immutable images"),
        ("severity", "high"),
        ("result", "warn"),
    ] {
        ensure!(result[field] == value, "{field}: {result:#}");
    }
    let properties = &result["properties"];
    ensure!(properties["container"] == "main" && properties["enforcement"] == "Warn", "{result:#}");
    ensure!(properties["path"] == "/spec/template/spec/containers/0/image", "{result:#}");
    ensure!(properties["fix"].as_str().is_some_and(|fix| !fix.is_empty()), "{result:#}");

    // Another image with the same fault is the same finding; at Enforce it fails.
    set_image(&namespace, "web", "registry.example/other:latest").await?;
    let is_other = |report: &Value| report["results"][0]["message"].as_str().is_some_and(|text| text.contains("other"));
    let changed = one_report(&namespace, "the other image", is_other).await?;
    ensure!(ids(&changed) == ids(&report), "{:?} {:?}", ids(&changed), ids(&report));
    policy.edit(json!({"enforcement": "Enforce"})).await?;
    let failed = one_report(&namespace, "it to fail", |report| report["summary"]["fail"] == 1).await?;
    ensure!(ids(&failed) == ids(&report) && results(&failed)[0]["result"] == "fail", "{failed:#}");

    // An exception makes it a skip, until it is gone; that it ends within a day is told. One that does not count ends
    // unheard.
    let mut idle = exception("idle", 3);
    idle["spec"]["policies"] = json!([{"kind": "ClusterImmutablePolicy", "name": "nobody"}]);
    namespace.create_object(&idle).await?;
    namespace.create_object(&exception("legacy", 3)).await?;
    let skipped = one_report(&namespace, "the skip", |report| report["summary"]["skip"] == 1).await?;
    let properties = &results(&skipped)[0]["properties"];
    ensure!(properties["exception"] == "legacy" && ids(&skipped) == ids(&report), "{skipped:#}");
    ensure!(properties["exceptionReason"] == "the vendor publishes no other tag", "{skipped:#}");
    wait_until("the end to be told", GENEROUS, async || {
        let events = events(&namespace).await?;
        let about = |event: &&(String, String, String)| event.1 == "ImmutableException legacy";
        let told = events.iter().find(about).with_context(|| format!("{events:?}"))?;
        ensure!(told.0 == "ExceptionExpiring" && told.2.contains("image-tag"), "{told:?}");
        ensure!(events.iter().all(|event| event.1 != "ImmutableException idle"), "{events:?}");
        Ok(())
    })
    .await?;
    namespace.requests().delete(Effect::Real, &exception("legacy", 3)).await?.accepted()?;
    one_report(&namespace, "it to fail again", |report| report["summary"]["fail"] == 1).await?;

    set_image(&namespace, "web", GOOD).await?;
    no_report(&namespace).await?;
    // A bare pod has one, too, and loses it with its end.
    policy.edit(json!({"enforcement": "Audit"})).await?;
    policy.reports("Ready", "True", "Compiled").await?;
    let pod = workload("Pod", "bare", BAD);
    wait_until("the pod to be let in", GENEROUS, async || {
        namespace.requests().create(Effect::Real, &pod).await?.accepted()
    })
    .await?;
    one_report(&namespace, "the pod's", |report| report["scope"]["kind"] == "Pod").await?;
    namespace.requests().delete(Effect::Real, &pod).await?.accepted()?;
    no_report(&namespace).await?;
    policy.delete().await
}

#[tokio::test]
async fn what_others_do_to_a_report_is_repaired_and_what_is_no_longer_judged_has_none() -> Result<()> {
    let (cluster, _) = shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    namespace.create_object(&workload("Deployment", "web", BAD)).await?;
    let policy = Policy::create(&namespace, json!({"rules": {"imageTag": {}}})).await?;
    let report = one_report(&namespace, "the report", |_| true).await?;
    let same = |other: &Value| {
        other["results"] == report["results"]
            && other["summary"] == report["summary"]
            && other["metadata"]["ownerReferences"] == report["metadata"]["ownerReferences"]
            && other["metadata"]["labels"] == report["metadata"]["labels"]
    };
    for edit in [
        json!({"results": [{"policy": "production", "result": "pass"}]}),
        json!({"summary": {"warn": 0}}),
        json!({"metadata": {"ownerReferences": null}}),
        json!({"metadata": {"labels": {"immutable.dev/installation": null}}}),
    ] {
        let patch = Patch::Merge(edit.clone());
        namespace.requests().patch(Effect::Real, &report, &patch, None).await?.accepted()?;
        one_report(&namespace, &format!("{edit} to be repaired"), same).await?;
    }
    namespace.requests().delete(Effect::Real, &report).await?.accepted()?;
    let again = |other: &Value| same(other) && other["metadata"]["uid"] != report["metadata"]["uid"];
    one_report(&namespace, "it to come again", again).await?;
    // What carries our labels and belongs to no workload goes.
    let mut stray = report.clone();
    let uid = "00000000-0000-4000-8000-000000000000";
    stray["metadata"] = json!({"name": format!("immutable-{uid}"), "labels": report["metadata"]["labels"]});
    namespace.create_object(&stray).await?;
    one_report(&namespace, "the stray one to go", same).await?;

    policy.edit(json!({"match": {"selector": {"matchLabels": {"nobody": "has-it"}}}})).await?;
    no_report(&namespace).await?;
    policy.delete().await
}

#[tokio::test]
async fn a_report_that_is_too_large_is_capped_and_the_policy_says_so() -> Result<()> {
    let (cluster, operator) = shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let containers: Vec<Value> = (0..260).map(|number| json!({"name": format!("c{number}"), "image": BAD})).collect();
    let mut large = workload("Deployment", "large", BAD);
    large["spec"]["replicas"] = json!(0);
    large["spec"]["template"]["spec"]["containers"] = Value::from(containers);
    namespace.create_object(&large).await?;
    let policy = Policy::create(&namespace, json!({"rules": {"imageTag": {}}})).await?;
    let report = one_report(&namespace, "the report", |_| true).await?;
    ensure!(report["summary"]["warn"] == 260 && results(&report).len() == 250, "{}", report["summary"]);
    ensure!(report["metadata"]["annotations"]["immutable.dev/results-left-out"] == "10", "{}", report["metadata"]);
    ensure!(report["configuration"]["limits"]["maxResults"] == 250, "{}", report["configuration"]);
    let stored = policy.reports("Scanned", "True", "ReportsCapped").await?;
    let message = condition(&stored, "Scanned")?["message"].clone();
    ensure!(message.as_str().is_some_and(|text| text.contains("1 workload ")), "{message}");
    ensure!(operator.metric("immutable_reports_capped").await? >= 1.0, "the metric does not count it");
    namespace.requests().delete(Effect::Real, &large).await?.accepted()?;
    policy.reports("Scanned", "True", "Scanned").await?;
    no_report(&namespace).await?;
    policy.delete().await
}

#[tokio::test]
async fn an_event_tells_once_that_a_workload_newly_breaks_rules_that_are_enforced() -> Result<()> {
    let (cluster, _) = shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    namespace.create_object(&workload("Deployment", "web", BAD)).await?;
    let policy = Policy::create(&namespace, json!({"rules": {"imageTag": {}}})).await?;
    one_report(&namespace, "the report", |_| true).await?;
    ensure!(events(&namespace).await?.is_empty(), "what is only audited is no matter of Events");
    let told = async |number: usize| {
        wait_until(&format!("{number} Events"), GENEROUS, async || {
            let events = events(&namespace).await?;
            ensure!(events.len() == number, "{events:?}");
            Ok(events)
        })
        .await
    };
    policy.edit(json!({"enforcement": "Warn"})).await?;
    let first = told(1).await?;
    let (reason, about, note) = &first[0];
    ensure!(reason == "PolicyViolation" && about == "Deployment web", "{first:?}");
    let expected = format!("it breaks a rule of ClusterImmutablePolicy {}: image-tag (1 finding)", policy.name());
    ensure!(*note == expected, "{note}");
    // The same rule on another image is no news, another rule is.
    set_image(&namespace, "web", "registry.example/other:latest").await?;
    let is_other = |report: &Value| report["results"][0]["message"].as_str().is_some_and(|text| text.contains("other"));
    one_report(&namespace, "the other image", is_other).await?;
    told(1).await?;
    policy.edit(json!({"rules": {"imageDigest": {}}})).await?;
    one_report(&namespace, "both rules", |report| report["summary"]["warn"] == 2).await?;
    told(2).await?;
    policy.delete().await
}

/// What the operator wrote of reports and Events, by verb and resource.
async fn writes(cluster: &Cluster) -> Result<BTreeMap<(String, String), usize>> {
    let mut counts = BTreeMap::new();
    for event in cluster.audit_events().await? {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (verb, resource) = (text(&event["verb"]), text(&event["objectRef"]["resource"]));
        let ours = text(&event["user"]["username"]).ends_with(":immutable-operator");
        let writes = ["create", "update", "patch", "delete"].contains(&verb.as_str());
        if ours && writes && ["reports", "policyreports", "events"].contains(&resource.as_str()) {
            *counts.entry((verb, resource)).or_default() += 1;
        }
    }
    Ok(counts)
}

/// Waits until exactly these Deployments have reports in one API, and none has one in the other.
async fn told_in(
    namespace: &TestNamespace,
    wanted: Option<(&str, &str, &str)>,
    expected: &BTreeSet<String>,
) -> Result<()> {
    wait_until(&format!("reports in {wanted:?}"), GENEROUS, async || {
        for api in [OPEN_REPORTS, WG_POLICY] {
            let stored = match reports(&namespace.client(), api, Some(namespace.name())).await {
                Ok(stored) => stored,
                Err(error) if wanted == Some(api) => return Err(error),
                // It is not served.
                Err(_) => continue,
            };
            let names: BTreeSet<String> =
                stored.iter().filter_map(|report| report["scope"]["name"].as_str()).map(ToOwned::to_owned).collect();
            let none = BTreeSet::new();
            let expected = if wanted == Some(api) { expected } else { &none };
            ensure!(names == *expected && stored.len() == expected.len(), "{api:?}: {names:?}");
        }
        Ok(())
    })
    .await
}

#[tokio::test]
async fn one_api_is_written_and_a_restart_writes_nothing() -> Result<()> {
    let cluster = Cluster::start().await?;
    install_crds(&cluster).await?;
    install_rights(&cluster).await?;
    install_report_crds(&cluster, WG_POLICY.0).await?;
    let namespace = cluster.namespace(&[]).await?;
    let names: BTreeSet<String> = (0..5).map(|number| format!("web-{number}")).collect();
    for name in &names {
        namespace.create_object(&workload("Deployment", name, BAD)).await?;
    }
    let policy = Policy::create(&namespace, json!({"enforcement": "Warn", "rules": {"imageTag": {}}})).await?;
    let launch = async |mode: &str| Operator::launch_with_flags(&cluster, &["--reports", mode]).await;

    // Only the older API is there.
    let mut operator = launch("auto").await?;
    told_in(&namespace, Some(WG_POLICY), &names).await?;
    operator.terminate().await?;
    let before = writes(&cluster).await?;
    let key = |verb: &str, resource: &str| (verb.to_owned(), resource.to_owned());
    ensure!(before.get(&key("create", "policyreports")) == Some(&5), "{before:?}");
    ensure!(before.get(&key("create", "events")) == Some(&5), "{before:?}");
    let mut operator = launch("auto").await?;
    wait_until("the second scan", GENEROUS, async || {
        let wanted = operator.metric("immutable_reports").await?;
        ensure!((wanted - 5.0).abs() < 0.1, "{wanted}");
        Ok(())
    })
    .await?;
    // One change shows that it has come so far; nothing else was written.
    set_image(&namespace, "web-0", GOOD).await?;
    let four: BTreeSet<String> = names.iter().filter(|name| *name != "web-0").cloned().collect();
    told_in(&namespace, Some(WG_POLICY), &four).await?;
    operator.terminate().await?;
    let mut expected = before.clone();
    expected.insert(key("delete", "policyreports"), 1);
    let after = writes(&cluster).await?;
    ensure!(after == expected, "{before:?} {after:?}");

    // With both, the newer one is written, and what stands in the older one goes.
    install_report_crds(&cluster, OPEN_REPORTS.0).await?;
    let mut operator = launch("auto").await?;
    told_in(&namespace, Some(OPEN_REPORTS), &four).await?;
    operator.terminate().await?;
    let mut operator = launch("wgpolicyk8s").await?;
    told_in(&namespace, Some(WG_POLICY), &four).await?;
    operator.terminate().await?;
    let mut operator = launch("none").await?;
    told_in(&namespace, None, &four).await?;
    policy.reports("Scanned", "True", "Scanned").await?;
    operator.terminate().await?;
    Ok(())
}

/// Has somebody refuse an operation on an API; it passes again when what is returned is deleted.
async fn refuse(namespace: &TestNamespace, name: &str, group: &str, operation: &str) -> Result<Value> {
    let rule = json!({"apiGroups": [group], "apiVersions": ["*"], "resources": ["*"], "operations": [operation]});
    let refusing = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "false", "message": "somebody wants none"}],
        },
    });
    let binding = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name}, "spec": {"policyName": name, "validationActions": ["Deny"]},
    });
    namespace.create_object(&refusing).await?;
    namespace.create_object(&binding).await?;
    Ok(binding)
}

/// Waits until the policy says what its reports lack.
async fn trouble(policy: &Policy, text: &str) -> Result<()> {
    wait_until(&format!("ReportsFailed: {text}"), GENEROUS, async || {
        let stored = policy.stored().await?;
        let scanned = condition(&stored, "Scanned")?;
        let message = scanned["message"].as_str().unwrap_or_default();
        ensure!(scanned["reason"] == "ReportsFailed" && message.contains(text), "{scanned}");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn where_reports_cannot_be_written_the_policy_says_so_and_everything_else_goes_on() -> Result<()> {
    let cluster = Cluster::start().await?;
    install_crds(&cluster).await?;
    install_rights(&cluster).await?;
    let namespace = cluster.namespace(&[]).await?;
    namespace.create_object(&workload("Deployment", "web", BAD)).await?;
    let policy = Policy::create(&namespace, json!({"enforcement": "Enforce", "rules": {"imageTag": {}}})).await?;
    let _operator = Operator::launch_with_flags(&cluster, &["--reports", "openreports"]).await?;
    let stored = policy.reports("Scanned", "True", "ReportsFailed").await?;
    let message = condition(&stored, "Scanned")?["message"].clone();
    ensure!(message.as_str().is_some_and(|text| text.contains("openreports.io/v1alpha1 is not served")), "{message}");
    // Found when it comes, and not only at the start. Something of others refuses what is written there at first.
    let refusal = refuse(&namespace, "no-reports", OPEN_REPORTS.0, "CREATE").await?;
    install_report_crds(&cluster, OPEN_REPORTS.0).await?;
    trouble(&policy, "somebody wants none").await?;
    policy.enforced().await?;
    namespace.requests().delete(Effect::Real, &refusal).await?.accepted()?;
    one_report(&namespace, "the report", |report| report["summary"]["fail"] == 1).await?;
    policy.reports("Scanned", "True", "Scanned").await?;
    Ok(())
}

#[tokio::test]
async fn what_is_refused_for_a_while_is_told_and_removed_in_the_end() -> Result<()> {
    let cluster = Cluster::start().await?;
    install_crds(&cluster).await?;
    install_rights(&cluster).await?;
    install_report_crds(&cluster, OPEN_REPORTS.0).await?;
    let namespace = cluster.namespace(&[]).await?;
    let policy = Policy::create(&namespace, json!({"enforcement": "Warn", "rules": {"imageTag": {}}})).await?;
    let _operator = Operator::launch(&cluster).await?;
    policy.reports("Scanned", "True", "Scanned").await?;
    let refused = async |answer: Result<Answer>| {
        let message = answer?.rejected()?;
        ensure!(message.contains("somebody wants none"), "{message}");
        Ok(())
    };

    // A report does not wait for an Event, and remembers none that nobody has heard of.
    let refusal = refuse(&namespace, "no-events", "events.k8s.io", "CREATE").await?;
    let other = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "other"},
        "eventTime": "2026-11-26T10:00:00.000000Z", "type": "Normal", "reason": "Other", "action": "Other",
        "reportingController": "example.com/other", "reportingInstance": "other",
        "regarding": {"apiVersion": "v1", "kind": "Pod", "namespace": namespace.name(), "name": "other"},
    });
    wait_until("Events to be refused", GENEROUS, async || {
        refused(namespace.requests().create(Effect::DryRun, &other).await).await
    })
    .await?;
    namespace.create_object(&workload("Deployment", "web", BAD)).await?;
    let remembers = |report: &Value| report["metadata"]["annotations"]["immutable.dev/events-told"].is_string();
    one_report(&namespace, "the report", |report| !remembers(report)).await?;
    trouble(&policy, "an Event was not told").await?;
    ensure!(events(&namespace).await?.is_empty(), "it was told");
    namespace.requests().delete(Effect::Real, &refusal).await?.accepted()?;
    let report = one_report(&namespace, "it to remember the Event", remembers).await?;
    let events = events(&namespace).await?;
    ensure!(events.len() == 1 && events[0].1 == "Deployment web", "{events:?}");
    policy.reports("Scanned", "True", "Scanned").await?;

    // Nothing is left to say of the workload, and nothing but the failure makes anybody look again.
    let refusal = refuse(&namespace, "no-removals", OPEN_REPORTS.0, "DELETE").await?;
    wait_until("removals to be refused", GENEROUS, async || {
        refused(namespace.requests().delete(Effect::DryRun, &report).await).await
    })
    .await?;
    set_image(&namespace, "web", GOOD).await?;
    trouble(&policy, "could not be removed").await?;
    one_report(&namespace, "it to be there still", |_| true).await?;
    namespace.requests().delete(Effect::Real, &refusal).await?.accepted()?;
    no_report(&namespace).await?;
    policy.reports("Scanned", "True", "Scanned").await?;
    Ok(())
}
