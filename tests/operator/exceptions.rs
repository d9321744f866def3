//! Exceptions in the API server: they hold soon, for what they name only, and end by themselves, also when the operator
//! is dead.

use anyhow::{Context, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use kube::api::Patch;
use serde_json::{Value, json};

use crate::policies::Policy;
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
    // With a label that is new, the API server notes the time.
    let labelled = json!({"metadata": {"labels": {"new": "yes"}}, "spec": {"template": {"spec": {"containers": [
        {"name": "main", "securityContext": null},
    ]}}}});
    let answer = user.patch(Effect::DryRun, &running, &Patch::Strategic(labelled.clone()), None).await?;
    answer.accepted().context("a removal with a new label, before the end")?;

    // From the second before the end to the second after it: whatever is let in was made before it.
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

    for (what, answer) in attempts(&user, "legacy", "later").await? {
        denied(answer).with_context(|| format!("{what} after the end"))?;
    }
    for (what, answer) in removals(&user, "legacy", long_ago).await? {
        denied(answer).with_context(|| format!("{what}, after the end"))?;
    }
    let answer = user.patch(Effect::DryRun, &running, &Patch::Strategic(labelled), None).await?;
    denied(answer).context("a removal with a new label, after the end")?;
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
