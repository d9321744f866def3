//! Exceptions in the API server: they hold soon, for what they name only, and end by themselves, also when the operator
//! is dead.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use kube::api::Patch;
use serde_json::{Value, json};

use crate::policies::{Native, Policy, condition};
use crate::support::{Cluster, Effect, GENEROUS, Operator, Requests, TestNamespace, wait_until};
use crate::workloads::{BAD, GOOD, denied, ordinary_user, workload};

/// An exception that ends after a while, in whole seconds.
pub(crate) fn exception(name: &str, seconds: i64, more: &Value) -> (Value, Timestamp) {
    let now = Timestamp::now().as_second();
    let end = Timestamp::from_second(now + seconds).unwrap_or_default();
    let mut spec =
        json!({"rules": ["image-tag"], "reason": "the vendor ships no releases", "expiresAt": end.to_string()});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    let manifest = json!({
        "apiVersion": "immutable.dev/v1alpha1", "kind": "ImmutableException", "metadata": {"name": name}, "spec": spec,
    });
    (manifest, end)
}

/// Waits until a workload would be let in.
async fn excused(namespace: &TestNamespace, manifest: &Value) -> Result<Value> {
    wait_until("to be excused", GENEROUS, async || namespace.accepts(manifest).await).await
}

/// A Deployment whose container says that its root filesystem is read-only.
fn read_only(name: &str, image: &str) -> Value {
    let mut manifest = workload("Deployment", name, image);
    manifest["spec"]["template"]["spec"]["containers"][0]["securityContext"] = json!({"readOnlyRootFilesystem": true});
    manifest
}

/// Two rules, enforced.
fn two_rules() -> Value {
    json!({"enforcement": "Enforce", "rules": {"imageTag": {}, "readOnlyRootFilesystem": {}}})
}

/// Kinds that are changed after the end with forged managers, each of a shape of its own.
const CHANGED: [&str; 5] = ["Deployment", "StatefulSet", "CronJob", "PodTemplate", "Pod"];

fn image_pointer(kind: &str) -> &'static str {
    match kind {
        "Pod" => "/spec/containers/0/image",
        "PodTemplate" => "/template/spec/containers/0/image",
        "CronJob" => "/spec/jobTemplate/spec/template/spec/containers/0/image",
        _ => "/spec/template/spec/containers/0/image",
    }
}

/// A workload whose root filesystem is read-only.
fn workload_with(kind: &str, name: &str, image: &str) -> Value {
    let mut manifest = workload(kind, name, image);
    let container = image_pointer(kind).trim_end_matches("/image");
    if let Some(container) = manifest.pointer_mut(container) {
        container["securityContext"] = json!({"readOnlyRootFilesystem": true});
    }
    manifest
}

/// Managers that nobody is; for one that cannot be understood the API server sets no times at all.
fn forged_managers() -> Vec<(&'static str, Value)> {
    let manager = |api_version: &str, time: &Value, fields: &Value| {
        json!({
            "manager": "x", "operation": "Update", "apiVersion": api_version, "time": time,
            "fieldsType": "FieldsV1", "fieldsV1": fields,
        })
    };
    let (long_ago, labels) = (json!("2020-01-01T00:00:00Z"), json!({"f:metadata": {"f:labels": {"f:x": {}}}}));
    vec![
        ("an invented one", manager("v1", &long_ago, &labels)),
        ("an apiVersion of three parts", manager("a/b/c", &long_ago, &labels)),
        ("an unknown apiVersion", manager("nobody.example/v7", &long_ago, &labels)),
        ("no time", manager("v1", &Value::Null, &labels)),
        ("fields that are none", manager("v1", &long_ago, &json!({"k:{": {}, "x": 1}))),
    ]
}

/// Changes of a running workload that break a rule, each by another way, as they are sent.
async fn attempts(user: &Requests, name: &str, tag: &str) -> Result<Vec<(&'static str, crate::support::Answer)>> {
    let manifest = read_only(name, BAD);
    let image_of = |what: &str| format!("registry.example/{tag}/{what}:latest");
    let image =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": image_of("patched")}]}}}});
    let mut applied = manifest.clone();
    applied["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image_of("applied"));
    let mut replaced = user.get(&manifest).await?.accepted()?;
    replaced["spec"]["template"]["spec"]["containers"][0]["image"] = json!(image_of("replaced"));
    replaced["metadata"]["resourceVersion"] = Value::Null;
    let created = workload("Deployment", &format!("{name}-{tag}"), BAD);
    Ok(vec![
        ("create", user.create(Effect::DryRun, &created).await?),
        ("create of a Pod", user.create(Effect::DryRun, &workload("Pod", &format!("{name}-{tag}"), BAD)).await?),
        ("strategic patch", user.patch(Effect::DryRun, &manifest, &Patch::Strategic(image), None).await?),
        ("server-side apply", user.patch(Effect::DryRun, &manifest, &Patch::Apply(applied), None).await?),
        ("PUT", user.replace(Effect::DryRun, &replaced, None).await?),
    ])
}

/// Updates that only remove the field that makes a root filesystem read-only, with the times of managers as they are
/// or forged.
async fn removals(user: &Requests, name: &str, forged: &str) -> Result<Vec<(&'static str, crate::support::Answer)>> {
    let manifest = read_only(name, BAD);
    let nothing = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "securityContext": null}]}}}});
    let null = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "main", "securityContext": {"readOnlyRootFilesystem": null}},
    ]}}}});
    let stored = user.get(&manifest).await?.accepted()?;
    let mut removed = stored.clone();
    removed["metadata"]["resourceVersion"] = Value::Null;
    removed["spec"]["template"]["spec"]["containers"][0]["securityContext"] = json!({});
    let mut backdated = removed.clone();
    for entry in backdated["metadata"]["managedFields"].as_array_mut().context("no managers")? {
        entry["time"] = json!(forged);
    }
    let mut invented = removed.clone();
    let entries = invented["metadata"]["managedFields"].as_array_mut().context("no managers")?;
    let mut entry = entries.first().context("no manager")?.clone();
    entry["manager"] = json!("somebody");
    entry["time"] = json!(forged);
    entries.push(entry);
    let mut emptied = removed.clone();
    emptied["metadata"]["managedFields"] = json!([{}]);
    // A list with a shorter entry is another list, and yet nothing was added.
    let mut shorter = removed.clone();
    shorter["metadata"]["managedFields"] = invented["metadata"]["managedFields"].clone();
    shorter["spec"]["template"]["spec"]["containers"][0]["env"][0].as_object_mut().context("no env")?.remove("value");
    Ok(vec![
        ("a struct as null", user.patch(Effect::DryRun, &manifest, &Patch::Strategic(nothing), None).await?),
        ("a field as null", user.patch(Effect::DryRun, &manifest, &Patch::Strategic(null), None).await?),
        ("PUT without it", user.replace(Effect::DryRun, &removed, None).await?),
        ("PUT with forged times", user.replace(Effect::DryRun, &backdated, None).await?),
        ("PUT with a forged manager", user.replace(Effect::DryRun, &invented, None).await?),
        ("PUT without managers", user.replace(Effect::DryRun, &emptied, None).await?),
        ("PUT with less in a list, and a forged manager", user.replace(Effect::DryRun, &shorter, None).await?),
    ])
}

/// From the second before the end to the second after it: whatever is let in was made before it.
async fn around_the_end(user: &Requests, end: Timestamp) -> Result<()> {
    let begin = end.checked_sub(SignedDuration::from_secs(1))?;
    wait_until("the end", GENEROUS, async || {
        ensure!(Timestamp::now() >= begin, "not yet");
        Ok(())
    })
    .await?;
    let (mut before, mut after) = (0, 0);
    while Timestamp::now() < end.checked_add(SignedDuration::from_secs(1))? {
        let asked = Timestamp::now();
        let answer = user.create(Effect::DryRun, &read_only("legacy-last", BAD)).await?;
        if answer.code < 300 {
            let made: Timestamp = answer.body["metadata"]["creationTimestamp"].as_str().context("no time")?.parse()?;
            ensure!(made < end, "let in at {made}, after {end}");
            before += 1;
        } else {
            denied(answer)?;
            ensure!(Timestamp::now() >= end, "denied at {asked}, before {end}");
            after += 1;
        }
    }
    ensure!(before > 0 && after > 0, "{before} before and {after} after the end");
    Ok(())
}

/// After the end no change comes in with managers that are invented.
async fn forging_brings_nothing_back(user: &Requests) -> Result<()> {
    for kind in CHANGED {
        for (what, entry) in forged_managers() {
            let good = workload_with(kind, &format!("legacy-{}", kind.to_ascii_lowercase()), GOOD);
            let mut bad = user.get(&good).await?.accepted()?;
            bad["metadata"]["resourceVersion"] = Value::Null;
            *bad.pointer_mut(image_pointer(kind)).context("no image")? = json!(BAD);
            bad["metadata"]["managedFields"].as_array_mut().context("no managers")?.push(entry);
            denied(user.replace(Effect::DryRun, &bad, None).await?).with_context(|| format!("a {kind} with {what}"))?;
        }
    }
    Ok(())
}

#[tokio::test]
async fn an_exception_ends_in_the_api_server_also_when_the_operator_is_dead() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace(&[]).await?;
    let elsewhere = cluster.namespace(&[]).await?;
    let user = ordinary_user(&cluster, &namespace).await?;
    let policy = Policy::create(&namespace, two_rules()).await?;
    let other = Policy::create(&elsewhere, two_rules()).await?;
    for policy in [&policy, &other] {
        policy.enforced().await?;
    }
    denied(user.create(Effect::DryRun, &read_only("legacy", BAD)).await?)?;

    let filters = json!({"rules": ["image-tag", "read-only-root-filesystem"], "workloads": {"names": ["legacy*"]}});
    let (manifest, end) = exception("legacy", 45, &filters);
    let created = Timestamp::now();
    namespace.create_object(&manifest).await?;
    excused(&namespace, &read_only("legacy", BAD)).await?;
    eprintln!("MEASURED an exception holds after {}", Timestamp::now().duration_since(created));
    operator.kill()?;

    let mut running = read_only("legacy", BAD);
    running["spec"]["template"]["spec"]["containers"][0]["env"] = json!([{"name": "A", "value": "x"}]);
    user.create(Effect::Real, &running).await?.accepted()?;
    // In the second in which it was made its manager would have no other time.
    wait_until("another second", GENEROUS, async || {
        let made: Timestamp = user.get(&running).await?.accepted()?["metadata"]["creationTimestamp"]
            .as_str()
            .context("no time")?
            .parse()?;
        ensure!(Timestamp::now() > made.checked_add(SignedDuration::from_secs(1))?, "not yet");
        Ok(())
    })
    .await?;
    for (what, answer) in attempts(&user, "legacy", "earlier").await? {
        answer.accepted().with_context(|| format!("{what} before the end"))?;
    }
    // It is about what it names, where it is.
    denied(user.create(Effect::DryRun, &read_only("other", BAD)).await?)?;
    denied(elsewhere.requests().create(Effect::DryRun, &read_only("legacy", BAD)).await?)?;
    let long_ago = "2020-01-01T00:00:00Z";
    for (what, answer) in removals(&user, "legacy", long_ago).await? {
        denied(answer).with_context(|| format!("{what}, before the end"))?;
    }
    // The generation of a DaemonSet's template is counted behind the back of the field managers.
    let mut daemon = workload("DaemonSet", "legacy-daemon", BAD);
    daemon["spec"]["template"]["spec"]["containers"][0]["securityContext"] = json!({"readOnlyRootFilesystem": true});
    user.create(Effect::Real, &daemon).await?.accepted()?;
    // Good ones, which somebody will want to change when it is too late.
    for kind in CHANGED {
        user.create(Effect::Real, &workload_with(kind, &format!("legacy-{}", kind.to_ascii_lowercase()), GOOD))
            .await?
            .accepted()?;
    }

    around_the_end(&user, end).await?;
    for (what, answer) in attempts(&user, "legacy", "later").await? {
        denied(answer).with_context(|| format!("{what} after the end"))?;
    }
    for (what, answer) in removals(&user, "legacy", long_ago).await? {
        denied(answer).with_context(|| format!("{what}, after the end"))?;
    }
    let mut bare = user.get(&daemon).await?.accepted()?;
    bare["metadata"]["resourceVersion"] = Value::Null;
    bare["spec"]["template"]["spec"]["containers"][0]["securityContext"] = json!({});
    denied(user.replace(Effect::DryRun, &bare, None).await?).context("a removal from a DaemonSet")?;
    forging_brings_nothing_back(&user).await?;
    // Forged times do not bring it back where the API server notes its own.
    let mut forged = user.get(&running).await?.accepted()?;
    forged["metadata"]["resourceVersion"] = Value::Null;
    forged["metadata"]["creationTimestamp"] = json!(long_ago);
    for entry in forged["metadata"]["managedFields"].as_array_mut().context("no managers")? {
        entry["time"] = json!(long_ago);
    }
    forged["spec"]["template"]["spec"]["containers"][0]["image"] = json!("registry.example/forged:latest");
    denied(user.replace(Effect::DryRun, &forged, None).await?).context("a PUT with forged times")?;
    let mut old = read_only("legacy-old", BAD);
    old["metadata"]["creationTimestamp"] = json!(long_ago);
    old["metadata"]["managedFields"] = json!([]);
    denied(user.create(Effect::DryRun, &old).await?).context("a create with a forged time")?;
    let set =
        ["--namespace", namespace.name(), "set", "image", "deployment/legacy", "main=registry.example/set:latest"];
    let set = cluster.kubectl(&set, "").await?;
    ensure!(!set.status.success() && set.stderr.contains("'immutable-"), "{set:?}");
    // What was let in lives on.
    let scaled = Patch::Merge(json!({"metadata": {"labels": {"kept": "yes"}}, "spec": {"replicas": 5}}));
    user.patch(Effect::DryRun, &running, &scaled, None).await?.accepted()?;
    user.create(Effect::DryRun, &read_only("legacy-good", GOOD)).await?.accepted()?;
    Ok(())
}

/// Waits until the condition Active of an exception has this status and reason, and returns the exception.
async fn becomes(namespace: &TestNamespace, name: &str, status: &str, reason: &str) -> Result<Value> {
    let manifest = json!({
        "apiVersion": "immutable.dev/v1alpha1", "kind": "ImmutableException", "metadata": {"name": name},
    });
    wait_until(&format!("{name} to be {status}, {reason}"), GENEROUS, async || {
        let stored = namespace.requests().get(&manifest).await?.accepted()?;
        let active = condition(&stored, "Active")?;
        ensure!(stored["status"]["observedGeneration"] == stored["metadata"]["generation"], "{}", stored["status"]);
        ensure!(active["status"] == status && active["reason"] == reason, "{}", stored["status"]);
        Ok(stored)
    })
    .await
}

#[tokio::test]
async fn the_status_says_whether_an_exception_counts_and_why_not() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let mut spec = two_rules();
    spec["exceptions"] = json!({"maxDuration": "1h", "rules": ["image-tag"]});
    let policy = Policy::create(&namespace, spec).await?;
    policy.enforced().await?;
    let cases = [
        ("counts", 600, json!({"workloads": {"kinds": ["Deployment"], "names": ["legacy*"]}}), "True", "NeverMatched"),
        ("past", -10, json!({}), "False", "Expired"),
        ("long", 7200, json!({}), "False", "TooLong"),
        ("rule", 600, json!({"rules": ["image-tag", "privileged"]}), "False", "RuleNotExcusable"),
        ("labels", 600, json!({"workloads": {"selector": {"matchLabels": {"a": "b"}}}}), "False", "SelectorNotAllowed"),
        (
            "elsewhere",
            600,
            json!({"policies": [{"kind": "ClusterImmutablePolicy", "name": "nobody"}]}),
            "False",
            "PolicyNotFound",
        ),
        ("unknown", 600, json!({"rules": ["image-tags"]}), "False", "Invalid"),
    ];
    for (name, seconds, more, ..) in &cases {
        namespace.create_object(&exception(name, *seconds, more).0).await.with_context(|| (*name).to_owned())?;
    }
    for (name, _, _, status, reason) in &cases {
        let stored = becomes(&namespace, name, status, reason).await?;
        let message = condition(&stored, "Active")?["message"].as_str().unwrap_or_default().to_owned();
        ensure!(message.len() > 20, "{name}: {message}");
        let ready = condition(&stored, "Ready")?;
        ensure!((ready["status"] == "True") == (*name != "unknown"), "{name}: {ready}");
    }
    // What it lets in is what it has matched.
    let running = read_only("legacy", BAD);
    namespace.create_object(&running).await.context("it is active, so it holds")?;
    let stored = becomes(&namespace, "counts", "True", "InEffect").await?;
    ensure!(stored["status"]["matchedWorkloads"] == 1, "{}", stored["status"]);
    ensure!(stored["status"]["workloads"] == json!(["Deployment/legacy"]), "{}", stored["status"]);
    let table = cluster.kubectl(&["--namespace", namespace.name(), "get", "imex", "counts"], "").await?.stdout;
    for word in ["POLICIES", "TARGET", "ACTIVE", "EXPIRES", "REASON", "all", "Deployment/legacy*", "InEffect", "vendor"]
    {
        ensure!(table.contains(word), "no {word} in {table}");
    }
    let counted = policy.stored().await?["status"]["summary"].clone();
    wait_until("the summary to count the excused", GENEROUS, async || {
        let summary = policy.stored().await?["status"]["summary"].clone();
        let excused = json!([{"rule": "image-tag", "count": 1}]);
        ensure!(summary["excused"] == excused && summary["wouldReject"] == 0, "{summary}, at first {counted}");
        Ok(())
    })
    .await?;
    // It ends, and nothing else happens.
    let (mut soon, end) = exception("counts", 2, &json!({}));
    soon["spec"] = json!({"expiresAt": end.to_string()});
    namespace.requests().patch(Effect::Real, &soon, &Patch::Merge(soon.clone()), None).await?.accepted()?;
    becomes(&namespace, "counts", "False", "Expired").await?;
    wait_until("the summary to count what is no longer excused", GENEROUS, async || {
        let summary = policy.stored().await?["status"]["summary"].clone();
        ensure!(summary["excused"] == json!([]) && summary["wouldReject"] == 1, "{summary}");
        Ok(())
    })
    .await?;
    ensure!(Timestamp::now() >= end, "it ended before its time");
    policy.delete().await
}

#[tokio::test]
async fn what_is_made_from_an_excused_workload_is_excused_and_nothing_that_only_says_so() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let user = ordinary_user(cluster, &namespace).await?;
    let mut spec = json!({"enforcement": "Enforce", "rules": {"imageTag": {}}});
    spec["controllerCreated"] = json!("Enforce");
    let policy = Policy::create(&namespace, spec).await?;
    policy.enforced().await?;
    let filters = json!({"workloads": {"kinds": ["Deployment", "CronJob"], "names": ["legacy", "nightly"]}});
    namespace.create_object(&exception("legacy", 600, &filters).0).await?;
    becomes(&namespace, "legacy", "True", "NeverMatched").await?;
    user.create(Effect::Real, &workload("Deployment", "legacy", BAD)).await?.accepted()?;
    // Its ReplicaSet and its Pods are judged, too, as what they are made from.
    let pods = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "legacy"}});
    wait_until("the pods of the Deployment", GENEROUS, async || {
        let stored = namespace.requests().get(&pods).await?.accepted()?;
        ensure!(stored["status"]["replicas"] == 2, "{}", stored["status"]);
        Ok(())
    })
    .await?;
    let mut owned = workload("Pod", "bare", BAD);
    owned["metadata"]["ownerReferences"] = json!([
        {"apiVersion": "apps/v1", "kind": "Deployment", "name": "legacy", "uid": "0", "controller": true},
    ]);
    denied(user.create(Effect::DryRun, &owned).await?).context("a Pod that only says what made it")?;
    denied(user.create(Effect::DryRun, &workload("ReplicaSet", "legacy-0", BAD)).await?)?;
    // The Jobs of a CronJob, and their Pods, by those who make them.
    let mut job = workload("Job", "nightly-29000000", BAD);
    job["metadata"]["ownerReferences"] = json!([
        {"apiVersion": "batch/v1", "kind": "CronJob", "name": "nightly", "uid": "1", "controller": true},
    ]);
    let mut pod = workload("Pod", "nightly-29000000-x", BAD);
    pod["metadata"]["ownerReferences"] = json!([
        {"apiVersion": "batch/v1", "kind": "Job", "name": "nightly-29000000", "uid": "2", "controller": true},
    ]);
    for (controller, manifest) in [("cronjob-controller", &job), ("job-controller", &pod)] {
        let account = format!("system:serviceaccount:kube-system:{controller}");
        let as_controller = namespace.requests_as(cluster.client_as(&account, &["system:masters"]).await?);
        as_controller.create(Effect::DryRun, manifest).await?.accepted().with_context(|| controller.to_owned())?;
        denied(user.create(Effect::DryRun, manifest).await?).with_context(|| format!("instead of {controller}"))?;
    }
    policy.delete().await
}

#[tokio::test]
async fn a_tenant_with_many_hostile_exceptions_hurts_nobody_else() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let (hostile, other) =
        (cluster.namespace(&[("tenant", "yes")]).await?, cluster.namespace(&[("tenant", "yes")]).await?);
    let mut spec = json!({"enforcement": "Enforce", "rules": {"imageTag": {}}});
    let names = json!([hostile.name(), other.name()]);
    spec["match"]["namespaces"]["selector"]["matchExpressions"] =
        json!([{"key": "kubernetes.io/metadata.name", "operator": "In", "values": names}]);
    let manifest = crate::policies::cluster_policy(&format!("tenants-{}", hostile.name()), spec);
    let policy = Policy::create_from(hostile.requests(), manifest).await?;
    policy.enforced().await?;
    // What the CRD lets through, and at its length.
    let patterns = |number: usize| -> Vec<String> {
        let texts = ["'+variables.x+'", "\\u0027)||true", "(((((", "[a-", "\"\\", "${{x}}", "*'*", "a{1000}{1000}"];
        let long = |text: &str| format!("{text}{}", "?*\\".repeat(160 - number));
        texts.iter().map(|text| long(text)).collect()
    };
    for number in 0..40 {
        let more = json!({
            "images": patterns(number), "workloads": {"names": patterns(number)},
            "containers": (0..16).map(|index| format!("c{index}{}", "x".repeat(50))).collect::<Vec<_>>(),
            "reason": "' + variables.x + '\n\\\"", "ticket": "') || true || ('",
        });
        hostile.create_object(&exception(&format!("hostile-{number:02}"), 600, &more).0).await?;
    }
    for (field, bad) in [
        ("containers", json!(["' || true"])),
        ("images", json!(["a b"])),
        ("images", json!([""])),
        ("rules", json!([])),
        ("reason", json!("short")),
        ("expiresAt", json!("tomorrow")),
        ("workloads", json!({"kinds": ["'"]})),
    ] {
        let mut manifest = exception("refused", 600, &json!({})).0;
        manifest["spec"][field] = bad;
        hostile.rejects(&manifest).await.with_context(|| field.to_owned())?;
        manifest["spec"].as_object_mut().context("no spec")?.remove(field);
        if ["rules", "reason", "expiresAt"].contains(&field) {
            hostile.rejects(&manifest).await.with_context(|| format!("without {field}"))?;
        }
    }
    becomes(&hostile, "hostile-00", "True", "NeverMatched").await?;
    becomes(&hostile, "hostile-39", "False", "TooMany").await?;
    // And he changes his mind all the time.
    for number in 0..20 {
        let (manifest, _) = exception(&format!("hostile-{number:02}"), 600, &json!({}));
        hostile.requests().delete(Effect::Real, &manifest).await?.accepted()?;
    }
    let changes = async {
        for number in 0.. {
            let (manifest, _) = exception("restless", 600, &json!({"containers": [format!("c{number}")]}));
            hostile.create_object(&manifest).await?;
            tokio::time::sleep(Duration::from_secs(1)).await;
            hostile.requests().delete(Effect::Real, &manifest).await?.accepted()?;
        }
        anyhow::Ok(())
    };
    let mine = async {
        other.create_object(&exception("mine", 600, &json!({"workloads": {"names": ["legacy"]}})).0).await?;
        let started = Timestamp::now();
        excused(&other, &workload("Pod", "legacy", BAD)).await?;
        eprintln!("MEASURED beside a restless tenant it holds after {}", Timestamp::now().duration_since(started));
        becomes(&other, "mine", "True", "NeverMatched").await
    };
    tokio::select! {
        ended = changes => ended?,
        held = mine => drop(held?),
    }
    let generations = Native::list(hostile.client()).await?;
    let of_this = generations.bindings.keys().filter(|name| name.contains(policy.name())).count();
    ensure!(of_this < 60, "what was never in force piles up: {of_this} bindings");
    for namespace in [&hostile, &other] {
        denied(namespace.requests().create(Effect::DryRun, &workload("Pod", "web", BAD)).await?)?;
        namespace.accepts(&workload("Pod", "web", GOOD)).await?;
    }
    policy.reports("Ready", "True", "Compiled").await?;
    policy.delete().await
}
