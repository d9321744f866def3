//! `immutable plan`: what would be replaced now.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::command::{Folder, call};
use crate::replacing::{available, checked, config_map, edit, merge, names, reading, recorded, replace_policy, told};
use crate::support::{Cluster, Effect, GENEROUS, Operator, TestNamespace, wait_until};
use crate::user::User;

/// A control plane of its own with what an operator recorded before it ended: nobody replaces anything any more.
async fn left_behind(objects: &[Value], served: &[Value]) -> Result<(Cluster, TestNamespace)> {
    let cluster = Cluster::start().await?;
    let mut operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace(&[]).await?;
    for object in objects.iter().chain(served) {
        namespace.create_object(object).await?;
    }
    for object in served {
        available(&namespace, object).await?;
        recorded(&namespace, object).await?;
    }
    operator.terminate().await?;
    Ok((cluster, namespace))
}

#[tokio::test]
async fn what_is_to_be_replaced_is_told_in_order_with_what_is_held_back() -> Result<()> {
    let mut paused = reading("Deployment", "paused", &["app"]);
    let mut by_hand = reading("StatefulSet", "by-hand", &["app"]);
    by_hand["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    let broken = reading("Deployment", "broken", &["app", "needed"]);
    let [web, api, current] = [("web", "app"), ("api", "app"), ("current", "other")]
        .map(|(name, config)| reading("Deployment", name, &[config]));
    let objects = [config_map("app", "1"), config_map("other", "1"), config_map("needed", "1")];
    let served = [web.clone(), api, current, paused.clone(), by_hand, broken];
    let (cluster, namespace) = left_behind(&objects, &served).await?;
    let name = namespace.name();
    let mut shy = reading("Deployment", "shy", &["app"]);
    shy["metadata"]["annotations"] = json!({});
    for object in [shy, reading("Deployment", "plain", &[])] {
        namespace.create_object(&object).await?;
    }

    let (called, report) = told(&cluster, &["plan", "-n", name]).await?;
    called.exits(0)?;
    ensure!(report["summary"]["upToDate"] == 6 && report["summary"]["notServed"] == 2, "{report}");

    paused["spec"]["paused"] = json!(true);
    merge(&namespace, &paused, json!({"spec": {"paused": true}})).await?;
    namespace.requests().delete(Effect::Real, &config_map("needed", "1")).await?.accepted()?;
    edit(&namespace, "app", "2").await?;
    let (called, report) = told(&cluster, &["plan", "-n", name]).await?;
    called.exits(1)?;
    ensure!(names(&report["replace"]) == ["api", "web"], "{report}");
    let first = &report["replace"][0];
    ensure!(first["cause"] == "ConfigMap app" && first["settle"] == "2s" && first["kind"] == "Deployment", "{first}");
    let held = report["heldBack"].as_array().into_iter().flatten();
    let mut held: Vec<String> = held.map(|one| format!("{} {}", one["name"], one["reason"]).replace('"', "")).collect();
    held.sort();
    ensure!(held == ["broken MissingReference", "by-hand OnDelete", "paused Paused"], "{report}");
    ensure!(report["summary"]["upToDate"] == 1, "{report}");
    let reasons = report["notServed"].to_string();
    ensure!(reasons.contains("read no ConfigMap") && reasons.contains("no policy with spec.replace"), "{reasons}");

    let text = call(cluster.kubeconfig(), &["plan", "-A"]).await?;
    let expected = format!("  1. Deployment {name}/api  now, after settle 2s: ConfigMap app\n");
    ensure!(text.exits(1)?.stdout.contains(&expected), "{}", text.stdout);
    let last = "2 workloads to be replaced, 3 held back, 1 up to date, 2 not served\n";
    ensure!(
        text.stdout.ends_with(last) || text.stdout.contains("2 workloads to be replaced, 3 held back"),
        "{}",
        text.stdout
    );

    // A policy that is not in the cluster: its window is closed, and whom it newly serves is no reason to replace.
    let folder = Folder::new()?;
    let hour = (jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).hour() + 12) % 24;
    let later = json!([{"type": "Allow", "schedule": format!("0 {hour} * * *"), "duration": "1h"}]);
    let windows = replace_policy("night", &json!({"onConfigChange": "Enabled", "windows": later}));
    let file = folder.write("night.yaml", &[windows])?;
    let (called, report) = told(&cluster, &["plan", "-n", name, "--policy", &file]).await?;
    called.exits(1)?;
    ensure!(report["replace"] == json!([]), "{report}");
    let web_waits = report["heldBack"].as_array().into_iter().flatten().find(|one| one["name"] == "web");
    ensure!(web_waits.is_some_and(|one| one["reason"] == "Window" && one["until"].is_string()), "{report}");
    ensure!(!names(&report["heldBack"]).contains(&"shy") && report["summary"]["upToDate"] == 2, "{report}");

    // One at a time: the others wait for it.
    let one = replace_policy("one", &json!({"maxConcurrent": 1}));
    let file = folder.write("one.yaml", std::slice::from_ref(&one))?;
    let (_, report) = told(&cluster, &["plan", "-n", name, "--policy", &file]).await?;
    ensure!(names(&report["replace"]) == ["api"], "{report}");
    let held = report["heldBack"].to_string();
    ensure!(held.contains("MaxConcurrent") && held.contains("with those that come first"), "{held}");

    let two = folder.write("two.yaml", &[one, replace_policy("two", &json!({}))])?;
    call(cluster.kubeconfig(), &["plan", "-n", name, "--policy", &two])
        .await?
        .exits(2)?
        .says("there are 2 policies")?;
    call(cluster.kubeconfig(), &["plan", "-n", "nowhere"]).await?.exits(2)?.says("there is no namespace nowhere")?;
    let stored = namespace.requests().get(&web).await?.accepted()?;
    let annotations = &stored["spec"]["template"]["metadata"]["annotations"];
    ensure!(annotations.get("immutable.dev/config-digest").is_none(), "something was written: {annotations}");

    what_may_not_be_read_is_never_the_same(&cluster, &namespace).await
}

/// Looks as users of whom each lacks a right; six workloads are served, and two are to be replaced.
async fn what_may_not_be_read_is_never_the_same(cluster: &Cluster, namespace: &TestNamespace) -> Result<()> {
    let resources =
        ["deployments", "statefulsets", "daemonsets", "replicasets", "pods", "configmaps", "immutablepolicies"];
    let user = User::create(cluster, namespace, &resources).await?;
    let called = call(user.kubeconfig(), &["plan", "-o", "json"]).await?;
    let report = called.exits(3)?.json()?;
    checked(&report)?;
    called.says("key of digests")?.says("cannot get resource \"secrets\"")?;
    ensure!(report["summary"]["unknown"] == 6 && report["replace"] == json!([]), "{report}");
    let rbac = "rbac.authorization.k8s.io";
    let gets = json!({
        "apiGroups": [""], "resources": ["secrets"], "verbs": ["get"],
        "resourceNames": ["immutable-operator-digest-key"],
    });
    let metadata = json!({"name": "reads-the-key", "namespace": "immutable-system"});
    let role_object =
        json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": metadata, "rules": [gets]});
    let binding = json!({
        "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding", "metadata": metadata,
        "subjects": [{"kind": "User", "name": user.name, "apiGroup": rbac}],
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "reads-the-key"},
    });
    for object in [role_object, binding] {
        namespace.create_object(&object).await?;
    }
    let by_user = async |expected: &[&str], unknown: u64| {
        wait_until("the user's rights to count", GENEROUS, async || {
            let called = call(user.kubeconfig(), &["plan", "-o", "json"]).await?;
            let report = called.exits(3)?.json()?;
            checked(&report)?;
            ensure!(names(&report["replace"]) == expected && report["summary"]["unknown"] == unknown, "{report}");
            Ok(report)
        })
        .await
    };
    // The policies of the cluster are all that is missing now.
    let report = by_user(&["api", "web"], 0).await?;
    ensure!(report["errors"].to_string().contains("ClusterImmutablePolicy cannot be listed"), "{report}");
    let mut fewer = json!({"apiVersion": format!("{rbac}/v1"), "kind": "Role", "metadata": {"name": "reads"}});
    let resources = resources.iter().filter(|resource| **resource != "configmaps");
    let rule = json!({"apiGroups": ["*"], "resources": resources.collect::<Vec<_>>(), "verbs": ["get", "list"]});
    fewer["rules"] = json!([rule]);
    namespace.requests().replace(Effect::Real, &fewer, None).await?.accepted()?;
    let report = by_user(&[], 6).await?;
    let unknown = report["unknown"][0]["message"].as_str().unwrap_or_default();
    ensure!(
        unknown.contains("cannot get resource \"configmaps\"") && !unknown.contains("grant the operator"),
        "{unknown}"
    );
    Ok(())
}

#[tokio::test]
async fn where_nothing_was_recorded_nothing_is_replaced() -> Result<()> {
    let cluster = Cluster::start().await?;
    let namespace = cluster.namespace(&[]).await?;
    namespace.create_object(&config_map("app", "1")).await?;
    namespace.create_object(&reading("Deployment", "web", &["app"])).await?;
    // Neither an operator nor our kinds are there.
    let (called, report) = told(&cluster, &["plan", "-n", namespace.name()]).await?;
    called.exits(0)?.says("nothing was ever recorded")?;
    ensure!(report["summary"]["upToDate"] == 1, "{report}");
    let (called, report) = told(&cluster, &["why", "deploy/web", "-n", namespace.name()]).await?;
    called.exits(0)?.says("nothing was ever recorded")?;
    ensure!(report["state"] == "UpToDate" && report["recorded"].get("startedWith").is_none(), "{report}");
    Ok(())
}
