//! `immutable why`: why the pods of one workload are replaced, or are not.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::command::call;
use crate::replacing::{
    available, checked, config_map, edit, merge, names, next_second, reading, recorded, replace_policy, stamped, told,
};
use crate::support::{Cluster, Effect, GENEROUS, Operator, wait_until};
use crate::user::User;
use crate::workloads::{GOOD, workload};

#[tokio::test]
async fn from_the_edit_to_the_history() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace(&[]).await?;
    let name = namespace.name();
    let why = async |workload: &str| told(&cluster, &["why", workload, "-n", name]).await;
    namespace.create_object(&replace_policy("quick", &json!({"settle": "0s", "minInterval": "0s"}))).await?;
    for object in [config_map("app", "1"), config_map("other", "1")] {
        namespace.create_object(&object).await?;
    }
    let mut web = reading("Deployment", "web", &["app"]);
    let variable =
        json!({"name": "X", "valueFrom": {"configMapKeyRef": {"name": "other", "key": "level", "optional": true}}});
    web["spec"]["template"]["spec"]["containers"][0]["env"] = json!([variable]);
    namespace.create_object(&web).await?;
    available(&namespace, &web).await?;
    recorded(&namespace, &web).await?;

    let (called, report) = why("deployment.apps/web").await?;
    called.exits(0)?;
    ensure!(report["state"] == "UpToDate" && report["message"] == "up to date", "{report}");
    ensure!(report["policies"] == json!([format!("ImmutablePolicy {name}/quick")]), "{report}");
    ensure!(report["settings"]["settle"] == "0s" && report["settings"]["onConfigChange"] == "OptIn", "{report}");
    ensure!(report["recorded"]["startedWith"] == report["recorded"]["current"], "{report}");
    ensure!(report["recorded"].get("stamp").is_none(), "{report}");
    ensure!(names(&report["objects"]) == ["app", "other"], "{report}");
    let [app, other] = [0, 1].map(|index| &report["objects"][index]);
    ensure!(app["required"] == true && app["content"] == "Same" && app["exists"] == true, "{app}");
    ensure!(app["fields"] == json!(["/spec/template/spec/containers/0/envFrom/0/configMapRef/name"]), "{app}");
    ensure!(other["keys"] == json!(["level"]) && other["required"] == false, "{other}");
    ensure!(report["replacements"] == json!([]) && report["lastByOthers"]["manager"] == "test", "{report}");
    ensure!(report["pods"] == json!({"total": 2, "older": 0, "olderNames": []}), "{report}");

    edit(&namespace, "app", "2").await?;
    let stamp = stamped(&namespace, &web, None).await?;
    next_second().await?;
    merge(&namespace, &web, json!({"spec": {"template": {"metadata": {"annotations": {"mine": "1"}}}}})).await?;
    available(&namespace, &web).await?;
    edit(&namespace, "other", "2").await?;
    stamped(&namespace, &web, Some(&stamp)).await?;
    let (_, report) = why("deploy/web").await?;
    ensure!(report["state"] == "UpToDate", "{report}");
    let causes: Vec<&Value> =
        report["replacements"].as_array().into_iter().flatten().map(|made| &made["cause"]).collect();
    ensure!(causes == ["ConfigMap other (level)", "ConfigMap app (level)"], "{report}");
    let (last, newest) = (&report["lastByOthers"], &report["replacements"][0]);
    ensure!(last["manager"] == "test" && last.get("cause").is_none(), "{last}");
    ensure!(last["revision"].as_i64() < newest["revision"].as_i64(), "{report}");
    ensure!(report["recorded"]["stamp"] == report["recorded"]["current"], "{report}");

    // Nobody is there to replace them.
    operator.terminate().await?;
    edit(&namespace, "app", "3").await?;
    let text = call(cluster.kubeconfig(), &["why", "deploy", "web", "-n", name]).await?;
    let first = format!("Deployment {name}/web: its pods are to be replaced now\n  cause        ConfigMap app\n");
    ensure!(text.exits(0)?.stdout.starts_with(&first), "{}", text.stdout);
    ensure!(text.stdout.contains("2 pods; 2 are older than the change of "), "{}", text.stdout);
    ensure!(text.stdout.contains("ConfigMap app    changed since"), "{}", text.stdout);
    ensure!(text.stdout.contains("ConfigMap other  as the pods were started with; read: level"), "{}", text.stdout);
    ensure!(text.stdout.contains(": ConfigMap other (level)\n"), "{}", text.stdout);

    merge(&namespace, &web, json!({"spec": {"paused": true}})).await?;
    let (_, report) = why("deploy/web").await?;
    ensure!(report["state"] == "Waiting" && report["waiting"]["reason"] == "Paused", "{report}");

    // Without the key of digests, what needs no comparison is told all the same.
    let resources =
        ["deployments", "statefulsets", "daemonsets", "replicasets", "pods", "configmaps", "immutablepolicies"];
    let user = User::create(&cluster, &namespace, &resources).await?;
    let called = call(user.kubeconfig(), &["why", "deploy/web", "-o", "json"]).await?;
    let report = called.exits(0)?.says("key of digests")?.says("cannot get resource \"secrets\"")?.json()?;
    checked(&report)?;
    ensure!(report["state"] == "Unknown" && report["objects"][0]["content"] == "Unknown", "{report}");
    ensure!(report["objects"][0]["exists"] == true && report["recorded"]["stamp"].is_string(), "{report}");
    ensure!(report["pods"]["total"] == 2 && report["replacements"][0]["cause"].is_string(), "{report}");
    Ok(())
}

#[tokio::test]
async fn every_kind_is_explained_and_what_is_unknown_is_refused() -> Result<()> {
    let cluster = crate::command::cluster().await?;
    let namespace = cluster.namespace(&[]).await?;
    let name = namespace.name();
    let mut nightly = workload("CronJob", "nightly", GOOD);
    nightly["spec"]["schedule"] = json!("0 0 1 1 *");
    nightly["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]["envFrom"] =
        json!([{"configMapRef": {"name": "missing"}}]);
    let web = reading("Deployment", "web", &["app"]);
    let objects = [nightly, workload("Job", "once", GOOD), workload("Pod", "bare", GOOD), web.clone()];
    for object in objects.iter().chain([&config_map("app", "1")]) {
        namespace.create_object(object).await?;
    }
    available(&namespace, &web).await?;
    for (workload, expected) in [
        ("cj/nightly", "each run reads what is current"),
        ("job/once", "Jobs are never touched"),
        ("pod/bare", "delete it and create it again"),
    ] {
        let (called, report) = told(cluster, &["why", workload, "-n", name]).await?;
        called.exits(0)?;
        ensure!(report["state"] == "NotServed", "{report}");
        ensure!(report["message"].as_str().is_some_and(|message| message.contains(expected)), "{report}");
    }
    let (_, report) = told(cluster, &["why", "cronjob/nightly", "-n", name]).await?;
    let missing = &report["objects"][0];
    ensure!(missing["exists"] == false && missing["counts"] == false, "{report}");
    ensure!(missing["missing"] == json!(["ConfigMap missing does not exist"]), "{report}");

    for (arguments, said) in [
        (&["web"][..], "\"web\" is no workload; write KIND/NAME, such as deploy/web"),
        (&["deploy/web/x"], "write KIND/NAME"),
        (&["deplyo/web"], "did you mean Deployment?"),
        (&["rollouts/web"], "a custom resource that a policy names in match.customWorkloads"),
        (&["deploy/absent"], "kubectl get deployments"),
    ] {
        let called = call(cluster.kubeconfig(), &[&["why", "-n", name], arguments].concat()).await?;
        called.exits(2)?.says(said)?;
    }
    namespace.requests().delete(Effect::Real, &web).await?.accepted()?;
    Ok(())
}

#[tokio::test]
async fn stateful_sets_and_custom_workloads_are_told_of_too() -> Result<()> {
    let cluster = Cluster::start().await?;
    let operator = Operator::start(&cluster).await?;
    let namespace = cluster.namespace(&[]).await?;
    let name = namespace.name();
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "rollouts.live.example"},
        "spec": {
            "group": "live.example", "scope": "Namespaced", "names": {"kind": "Rollout", "plural": "rollouts"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                "type": "object", "x-kubernetes-preserve-unknown-fields": true}}}],
        },
    });
    namespace.create_object(&definition).await?;
    let mut policy = replace_policy("quick", &json!({"settle": "0s", "minInterval": "0s", "kinds": ["ConfigMap"]}));
    policy["spec"]["match"] = json!({"customWorkloads": [{
        "apiVersion": "live.example/v1", "kind": "Rollout", "resource": "rollouts", "podTemplates": ["/spec/template"],
    }]});
    namespace.create_object(&config_map("app", "1")).await?;
    let mut custom = reading("Deployment", "canary", &["app"]);
    custom["apiVersion"] = json!("live.example/v1");
    custom["kind"] = json!("Rollout");
    wait_until("the custom resource to be served", GENEROUS, async || namespace.create_object(&custom).await).await?;
    namespace.create_object(&policy).await?;
    let db = reading("StatefulSet", "db", &["app"]);
    namespace.create_object(&db).await?;
    available(&namespace, &db).await?;
    recorded(&namespace, &db).await?;
    next_second().await?;
    edit(&namespace, "app", "2").await?;
    stamped(&namespace, &db, None).await?;

    let (called, report) = told(&cluster, &["why", "sts", "db", "-n", name]).await?;
    called.exits(0)?;
    ensure!(report["settings"]["kinds"] == json!(["ConfigMap"]), "{report}");
    ensure!(report["replacements"][0]["cause"] == "ConfigMap app (level)", "{report}");
    ensure!(report["replacements"][0]["revision"] == 2 && report["lastByOthers"]["revision"] == 1, "{report}");
    ensure!(report["stuck"] == json!([]), "{report}");
    for kind in ["rollouts", "Rollout", "rollouts.live.example", "rollouts.v1.live.example"] {
        let (called, report) = told(&cluster, &["why", &format!("{kind}/canary"), "-n", name]).await?;
        called.exits(0)?;
        ensure!(report["workload"]["kind"] == "Rollout" && names(&report["objects"]) == ["app"], "{report}");
        ensure!(report["state"] != "NotServed" && report["replacements"] == json!([]), "{report}");
    }

    // An undo takes the stamp away; who it was left no trace, so nobody is named.
    let undone = cluster.kubectl(&["rollout", "undo", "statefulset/db", "-n", name], "").await?;
    undone.success()?;
    available(&namespace, &db).await?;
    let report = wait_until("the undo to be seen", GENEROUS, async || {
        let (_, report) = told(&cluster, &["why", "sts/db", "-n", name]).await?;
        ensure!(report["lastByOthers"]["revision"] == 3 && report["state"] == "UpToDate", "{report}");
        Ok(report)
    })
    .await?;
    ensure!(report["lastByOthers"]["again"] == true && report["lastByOthers"].get("manager").is_none(), "{report}");
    drop(operator);
    Ok(())
}
