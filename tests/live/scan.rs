//! `immutable scan`: the verdicts of what runs.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use futures::StreamExt as _;
use jiff::{SignedDuration, Timestamp};
use kube::api::{Api, ListParams};
use serde_json::{Value, json};

use crate::command::{Called, Folder, call, cluster};
use crate::schema;
use crate::support::{Cluster, GENEROUS, TestNamespace, install_crds, wait_until};
use crate::user::{User, kubeconfig, write};
use crate::workloads::{BAD, GOOD, KINDS, workload};

const API_VERSION: &str = "immutable.dev/v1alpha1";

/// An `ImmutablePolicy`, of the namespace that it is created in or read for.
fn policy(name: &str, spec: &Value) -> Value {
    json!({"apiVersion": API_VERSION, "kind": "ImmutablePolicy", "metadata": {"name": name}, "spec": spec})
}

fn image_tag(enforcement: &str) -> Value {
    policy("tags", &json!({"enforcement": enforcement, "rules": {"imageTag": {}}}))
}

/// Waits until so many pods are there.
async fn pods(namespace: &TestNamespace, count: usize) -> Result<()> {
    let api: Api<k8s_openapi::api::core::v1::Pod> = Api::namespaced(namespace.client(), namespace.name());
    wait_until(&format!("{count} pods"), GENEROUS, async || {
        let pods = api.list(&ListParams::default()).await?.items.len();
        ensure!(pods >= count, "there are {pods}");
        Ok(())
    })
    .await
}

/// The results without what depends on where they stand, in an order of their own.
fn comparable(called: &Called) -> Result<Vec<String>> {
    let report = called.json()?;
    let mut results: Vec<Value> = report["results"].as_array().context("no results")?.clone();
    for result in &mut results {
        result.as_object_mut().context("no result")?.remove("source");
    }
    let mut texts: Vec<String> = results.iter().map(ToString::to_string).collect();
    texts.sort();
    Ok(texts)
}

#[tokio::test]
async fn verdicts_are_those_of_check_on_the_same_manifests() -> Result<()> {
    let cluster = cluster().await?;
    let namespace = cluster.namespace(&[]).await?;
    let folder = Folder::new()?;
    let mut manifests: Vec<Value> = KINDS.iter().map(|kind| workload(kind, &kind.to_ascii_lowercase(), BAD)).collect();
    manifests.push(workload("Deployment", "good", GOOD));
    let mut detailed = workload("Deployment", "detailed", GOOD);
    detailed["spec"]["strategy"] = json!({"type": "Recreate"});
    detailed["spec"]["template"]["spec"]["initContainers"] = json!([{
        "name": "init", "image": "nginx", "restartPolicy": "Always", "securityContext": {"privileged": true},
        "resources": {"limits": {"memory": "1Gi", "cpu": "1"}},
    }]);
    detailed["spec"]["template"]["spec"]["volumes"] =
        json!([{"name": "cache", "emptyDir": {}}, {"name": "host", "hostPath": {"path": "/var/log"}}]);
    detailed["spec"]["template"]["spec"]["containers"][0]["volumeMounts"] =
        json!([{"name": "host", "mountPath": "/logs"}]);
    detailed["spec"]["template"]["spec"]["containers"][0]["envFrom"] =
        json!([{"configMapRef": {"name": "fixed"}}, {"configMapRef": {"name": "mutable"}}]);
    manifests.push(detailed);
    for (name, immutable) in [("fixed", true), ("mutable", false)] {
        let metadata = json!({"name": name});
        manifests.push(json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "immutable": immutable}));
    }
    for manifest in &manifests {
        namespace.create_object(manifest).await?;
    }
    let strict = policy(
        "strict",
        &json!({"profile": "Stateless", "enforcement": "Warn", "rules": {
            "imageTag": {"enforcement": "Enforce"}, "probes": {"enforcement": "Audit"}, "imagePullPolicy": {}, "immutableConfig": {},
        }}),
    );
    let expires = Timestamp::from_second(Timestamp::now().as_second() + 3600)?;
    let exception = json!({
        "apiVersion": API_VERSION, "kind": "ImmutableException", "metadata": {"name": "legacy"},
        "spec": {
            "rules": ["image-tag", "probes"], "workloads": {"kinds": ["Deployment", "CronJob"], "names": ["*d*", "cron*"]},
            "reason": "the vendor ships no releases", "expiresAt": expires.to_string(),
        },
    });
    for object in [&strict, &exception] {
        namespace.create_object(object).await?;
    }
    // Two of each of the Deployments, and one of everything else that makes any.
    pods(&namespace, 10).await?;
    let input = folder.write("input.yaml", &manifests)?;
    let (policies, exceptions) =
        (folder.write("policy.yaml", &[strict])?, folder.write("exception.yaml", &[exception])?);
    let name = namespace.name();
    for (at, skips) in [(expires.checked_sub(SignedDuration::from_secs(1))?, true), (expires, false)] {
        let at = at.to_string();
        let checked = call(
            cluster.kubeconfig(),
            &[
                "check",
                "--policy",
                &policies,
                "--exceptions",
                &exceptions,
                "--at",
                &at,
                "-n",
                name,
                "-o",
                "json",
                "--show-pass",
                &input,
            ],
        )
        .await?;
        let live = ["scan", "-n", name, "--at", &at, "-o", "json", "--show-pass"];
        let scanned = call(cluster.kubeconfig(), &live).await?;
        ensure!(comparable(&scanned)? == comparable(&checked)?, "{}\n{}", scanned.stdout, checked.stdout);
        ensure!(scanned.json()?["summary"] == checked.json()?["summary"], "{}\n{}", scanned.stdout, checked.stdout);
        checked.exits(1)?;
        scanned.exits(1)?;
        let warned = scanned.results("warn")?;
        ensure!(warned.contains(&"Deployment/detailed immutable-config".to_owned()), "{warned:?}");
        let skipped = scanned.results("skip")?;
        let expected = ["CronJob/cronjob image-tag", "Deployment/deployment image-tag"];
        ensure!(expected.iter().all(|one| skipped.iter().any(|seen| seen == one)) == skips, "{skipped:?}");
        ensure!(skips || scanned.stderr.contains("is not honoured by policy"), "{}", scanned.stderr);
        // Given as files instead they say the same.
        let given = ["--policy", &policies, "--exceptions", &exceptions];
        let given = call(cluster.kubeconfig(), &[&live[..], &given].concat()).await?;
        ensure!(comparable(&given)? == comparable(&checked)?, "{}\n{}", given.stdout, checked.stdout);
    }
    Ok(())
}

#[tokio::test]
async fn a_kind_that_may_not_be_listed_is_named_and_stops_no_other() -> Result<()> {
    let cluster = cluster().await?;
    let namespace = cluster.namespace(&[]).await?;
    let folder = Folder::new()?;
    for kind in ["Deployment", "StatefulSet"] {
        namespace.create_object(&workload(kind, "bad", BAD)).await?;
    }
    pods(&namespace, 3).await?;
    let resources = [
        "pods",
        "statefulsets",
        "daemonsets",
        "replicasets",
        "replicationcontrollers",
        "jobs",
        "cronjobs",
        "podtemplates",
        "immutablepolicies",
        "immutableexceptions",
    ];
    let user = User::create(cluster, &namespace, &resources).await?;
    let tags = folder.write("tags.yaml", &[image_tag("Enforce")])?;
    let scanned = call(user.kubeconfig(), &["scan", "--policy", &tags, "-o", "json"]).await?;
    scanned.exits(3)?.says("apps/v1 Deployment cannot be listed: deployments.apps is forbidden")?;
    // What the Deployment made is judged by itself.
    let failed = scanned.results("fail")?;
    ensure!(failed.len() == 2 && failed[0].starts_with("ReplicaSet/bad-"), "{failed:?}");
    ensure!(failed[1] == "StatefulSet/bad image-tag", "{failed:?}");
    let report = scanned.json()?;
    let errors: Vec<&Value> =
        report["results"].as_array().into_iter().flatten().filter(|result| result["result"] == "error").collect();
    ensure!(errors.len() == 1 && report["summary"]["error"] == 1, "{report}");
    ensure!(errors[0]["message"].as_str().is_some_and(|text| text.contains("apps/v1 Deployment")), "{report}");

    let config = policy("config", &json!({"enforcement": "Enforce", "rules": {"immutableConfig": {}}}));
    let config = folder.write("config.yaml", &[config])?;
    call(user.kubeconfig(), &["scan", "--policy", &config]).await?.exits(3)?.says("v1 ConfigMap cannot be listed")?;
    // Nor may they see the labels of the namespace.
    let production = json!({
        "apiVersion": API_VERSION, "kind": "ClusterImmutablePolicy", "metadata": {"name": "production"},
        "spec": {"enforcement": "Enforce", "rules": {"imageTag": {}},
                 "match": {"namespaces": {"selector": {"matchLabels": {"env": "production"}}}}},
    });
    let production = folder.write("production.yaml", &[production])?;
    let arguments = ["scan", "-n", namespace.name(), "--policy", &production, "-o", "json"];
    let scanned = call(user.kubeconfig(), &arguments).await?;
    let said = format!("the labels of namespace {} may not be read, so it counts as matched", namespace.name());
    ensure!(scanned.exits(3)?.says(&said)?.results("fail")?.len() == 2, "{}", scanned.stdout);
    let scanned = call(cluster.kubeconfig(), &arguments).await?;
    scanned.exits(0)?.says("no workload of the cluster that was looked at is in scope of a policy")?;

    // The policies of the cluster are such a kind, too; those of the namespace are judged by.
    namespace.create_object(&image_tag("Audit")).await?;
    let scanned = call(user.kubeconfig(), &["scan", "-o", "json"]).await?;
    scanned.exits(3)?.says("immutable.dev/v1alpha1 ClusterImmutablePolicy cannot be listed")?;
    ensure!(scanned.results("warn")?.len() == 2, "{}", scanned.stdout);
    ensure!(!scanned.stderr.contains("there is no policy"), "{}", scanned.stderr);
    call(user.kubeconfig(), &["impact", "-n", namespace.name(), "tags"]).await?.exits(3)?.says("Deployment")?;

    // Neither of them tried to change anything; what does is seen.
    let except = ["except", "deploy/bad", "--rule", "image-tag", "--for", "1h", "--reason", "they may not", "--apply"];
    call(user.kubeconfig(), &except).await?.exits(3)?.says("immutableexceptions.immutable.dev is forbidden")?;
    wait_until("the one write to be audited", GENEROUS, async || {
        let events = cluster.audit_events().await?;
        let ours = events.iter().filter(|event| event["impersonatedUser"]["username"] == *user.name);
        let resources: Vec<&Value> = ours.map(|event| &event["objectRef"]["resource"]).collect();
        ensure!(resources == ["immutableexceptions"], "{resources:?}");
        Ok(())
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn labels_and_namespaces_choose_what_is_reported() -> Result<()> {
    let cluster = cluster().await?;
    let (one, other) = (cluster.namespace(&[("env", "production")]).await?, cluster.namespace(&[]).await?);
    let folder = Folder::new()?;
    for (namespace, name) in [(&one, "web"), (&one, "api"), (&other, "far")] {
        namespace.create_object(&workload("Deployment", name, BAD)).await?;
    }
    pods(&one, 4).await?;
    pods(&other, 2).await?;
    let production = json!({
        "apiVersion": API_VERSION, "kind": "ClusterImmutablePolicy", "metadata": {"name": "production"},
        "spec": {"enforcement": "Enforce", "rules": {"imageTag": {}},
                 "match": {"namespaces": {"selector": {"matchExpressions": [
                     {"key": "kubernetes.io/metadata.name", "operator": "In", "values": [one.name(), other.name()]}]}}}},
    });
    let path = folder.write("policy.yaml", &[production])?;
    let found = async |config: &Path, arguments: &[&str]| {
        let called = call(config, &[&["scan", "--policy", &path, "-o", "json"], arguments].concat()).await?;
        called.exits(i32::from(!called.results("fail")?.is_empty()))?.results("fail")
    };
    let administrator = cluster.kubeconfig();
    let (web, api, far) = ("Deployment/web image-tag", "Deployment/api image-tag", "Deployment/far image-tag");
    ensure!(found(administrator, &["-n", one.name()]).await? == [api, web]);
    ensure!(found(administrator, &["-n", other.name()]).await? == [far]);
    ensure!(found(administrator, &["-A"]).await? == [api, far, web]);
    let of_context = write(&kubeconfig(cluster, Some(other.name())).await?)?;
    ensure!(found(of_context.path(), &[]).await? == [far]);
    // Their pods and ReplicaSets have other labels, or the same, and are told of as them.
    ensure!(found(administrator, &["-A", "-l", "app in (web, far)"]).await? == [far, web]);
    let neither = found(administrator, &["-A", "-l", "app!=web,app"]).await?;
    ensure!(neither == [api, far], "{neither:?}");
    ensure!(found(administrator, &["-A", "-l", "!app"]).await?.is_empty());
    ensure!(found(administrator, &["-n", one.name(), "-l", "app=nobody"]).await?.is_empty());
    call(administrator, &["scan", "-l", "app=("]).await?.exits(2)?.says("--selector")?;
    call(administrator, &["scan", "-n", "nowhere"]).await?.exits(2)?.says("there is no namespace nowhere")?;
    call(administrator, &["scan", "-n", "x", "-A"]).await?.exits(2)?;
    Ok(())
}

#[tokio::test]
async fn a_list_of_several_pages_is_read_to_its_end() -> Result<()> {
    let cluster = cluster().await?;
    let namespace = cluster.namespace(&[]).await?;
    let api: Api<k8s_openapi::api::core::v1::PodTemplate> = Api::namespaced(namespace.client(), namespace.name());
    let parameters = kube::api::PostParams::default();
    let objects = (0..1_100).map(|number| workload("PodTemplate", &format!("template-{number}"), BAD));
    let creates =
        objects.map(|object| async { anyhow::Ok(api.create(&parameters, &serde_json::from_value(object)?).await?) });
    let results: Vec<Result<_>> = futures::stream::iter(creates).buffer_unordered(16).collect().await;
    results.into_iter().collect::<Result<Vec<_>>>()?;
    let tags = Folder::new()?;
    let tags = tags.write("tags.yaml", &[image_tag("Enforce")])?;
    let arguments = ["scan", "-n", namespace.name(), "--policy", &tags, "-o", "json"];
    let started = std::time::Instant::now();
    let scanned = call(cluster.kubeconfig(), &arguments).await?;
    eprintln!("MEASURED a scan of 1,100 workloads takes {:?}", started.elapsed());
    ensure!(scanned.exits(1)?.json()?["summary"]["resources"] == 1_100, "{}", scanned.stderr);
    ensure!(scanned.results("fail")?.len() == 1_100, "{}", scanned.stderr);
    Ok(())
}

#[tokio::test]
async fn custom_workloads_are_judged_as_policies_declare_them() -> Result<()> {
    let cluster = cluster().await?;
    let namespace = cluster.namespace(&[]).await?;
    let folder = Folder::new()?;
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
    let mut rollout = workload("Deployment", "canary", BAD);
    rollout["apiVersion"] = json!("live.example/v1");
    rollout["kind"] = json!("Rollout");
    wait_until("the custom resource to be served", GENEROUS, async || namespace.create_object(&rollout).await).await?;
    let declaring = |kind: &str, resource: &str| {
        policy(
            "custom",
            &json!({"enforcement": "Enforce", "rules": {"imageTag": {}}, "match": {"customWorkloads": [{
                "apiVersion": "live.example/v1", "kind": kind, "resource": resource, "podTemplates": ["/spec/template"],
            }]}}),
        )
    };
    let served = folder.write("served.yaml", &[declaring("Rollout", "rollouts")])?;
    let arguments = ["scan", "-n", namespace.name(), "-o", "json", "--policy"];
    let scanned = call(cluster.kubeconfig(), &[&arguments[..], &[&served]].concat()).await?;
    ensure!(scanned.exits(1)?.results("fail")? == ["Rollout/canary image-tag"], "{}", scanned.stdout);
    // One that cannot be read is an error, and no pass.
    let mut broken = rollout.clone();
    broken["metadata"]["name"] = json!("broken");
    broken["spec"]["template"] = json!(["a list"]);
    namespace.create_object(&broken).await?;
    let scanned = call(cluster.kubeconfig(), &[&arguments[..], &[&served]].concat()).await?;
    scanned.exits(2)?.says(&format!("error: Rollout {}/broken cannot be judged: /spec/template", namespace.name()))?;
    ensure!(scanned.results("error")? == ["Rollout/broken "], "{}", scanned.stdout);
    ensure!(scanned.results("fail")? == ["Rollout/canary image-tag"], "{}", scanned.stdout);
    let impact = ["impact", "-n", namespace.name(), "-o", "json", "--policy", &served];
    let impact = call(cluster.kubeconfig(), &impact).await?;
    let summary = &impact.exits(2)?.json()?["summary"];
    ensure!(*summary == json!({"workloads": 2, "wouldReject": 1, "undecided": 1}), "{summary}");
    // One that is not served is named, and the others are judged.
    namespace.create_object(&workload("Deployment", "bad", BAD)).await?;
    let missing = folder.write("missing.yaml", &[declaring("Nothing", "nothings")])?;
    let scanned = call(cluster.kubeconfig(), &[&arguments[..], &[&missing]].concat()).await?;
    scanned.exits(3)?.says("live.example/v1 Nothing cannot be listed")?;
    ensure!(scanned.results("fail")? == ["Deployment/bad image-tag"], "{}", scanned.stdout);
    Ok(())
}

#[tokio::test]
async fn every_format_can_be_read_and_none_changes_the_exit_code() -> Result<()> {
    let cluster = cluster().await?;
    let namespace = cluster.namespace(&[]).await?;
    let folder = Folder::new()?;
    let mut worse = workload("Deployment", "worse", BAD);
    worse["spec"]["template"]["spec"]["initContainers"] = json!([{"name": "init", "image": BAD}]);
    namespace.create_object(&worse).await?;
    namespace.create_object(&workload("Deployment", "bad", BAD)).await?;
    let mixed = policy(
        "mixed",
        &json!({"profile": "Stateless", "enforcement": "Audit", "rules": {"imageTag": {"enforcement": "Enforce"}}}),
    );
    let mixed = folder.write("mixed.yaml", &[mixed])?;
    let audit = folder.write("audit.yaml", &[image_tag("Audit")])?;
    let scan = async |policy: &str, more: &[&str]| {
        call(cluster.kubeconfig(), &[&["scan", "-n", namespace.name(), "--policy", policy], more].concat()).await
    };
    for format in ["text", "json", "sarif", "junit", "github"] {
        scan(&mixed, &["-o", format]).await?.exits(1)?;
        scan(&audit, &["-o", format]).await?.exits(0)?;
        scan(&audit, &["-o", format, "--fail-on", "audit"]).await?.exits(1)?;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let file = |name: &str| -> Result<Value> { Ok(serde_json::from_str(&std::fs::read_to_string(root.join(name))?)?) };
    let no_faults = |name: &str, value: &Value| -> Result<()> {
        let faults = schema::faults(&file(name)?, value);
        ensure!(faults.is_empty(), "{faults:?}");
        Ok(())
    };
    let report = scan(&mixed, &["-o", "json", "--show-pass"]).await?.json()?;
    no_faults("docs/schema/check-report.schema.json", &report)?;
    ensure!(report["kind"] == "ScanReport" && report["results"][0].get("source").is_none(), "{report}");
    // The worst first.
    ensure!(report["results"][0]["resource"]["name"] == "worse", "{report}");
    let sarif = scan(&mixed, &["-o", "sarif"]).await?.json()?;
    no_faults("tests/data/output/sarif-schema-2.1.0.json", &sarif)?;
    let location = &sarif["runs"][0]["results"][0]["locations"][0];
    let uri = format!("kubernetes/{}/Deployment/worse", namespace.name());
    ensure!(location["physicalLocation"]["artifactLocation"]["uri"] == *uri, "{location}");
    let junit = quick_junit::Report::deserialize_from_str(&scan(&mixed, &["-o", "junit"]).await?.stdout)?;
    ensure!(
        junit.name.as_ref().is_some_and(|name| name.as_str() == "immutable scan") && junit.failures == 3,
        "{junit:?}"
    );
    let github = scan(&mixed, &["-o", "github"]).await?.stdout;
    ensure!(github.lines().all(|line| line.starts_with("::")) && !github.contains("file="), "{github}");
    let text = scan(&mixed, &[]).await?.stdout;
    let first = text.lines().next().unwrap_or_default();
    ensure!(first == format!("Deployment {}/worse", namespace.name()), "{text}");
    let advice = "image registry.example/web:latest has the mutable tag latest";
    ensure!(text.contains(advice) && text.contains("-> write registry.example/web:TAG@sha256:DIGEST"), "{text}");
    ensure!(text.contains("By rule") && text.contains("removes 3 of 3 failures, in 2 workloads"), "{text}");
    Ok(())
}

#[tokio::test]
async fn what_it_judges_by_is_said_and_what_cannot_be_known_is_no_pass() -> Result<()> {
    let cluster = Cluster::start().await?;
    let namespace = cluster.namespace(&[]).await?;
    let arguments = ["scan", "-n", namespace.name(), "-o", "json"];
    let scan = async || call(cluster.kubeconfig(), &arguments).await;
    namespace.create_object(&workload("Pod", "bad", BAD)).await?;
    // Nothing of ours is installed.
    let scanned = scan().await?;
    let said = format!("there is no policy for namespace {}, so the Stateless profile at Enforce", namespace.name());
    scanned.exits(1)?.says(&said)?;
    call(cluster.kubeconfig(), &["scan", "-A"]).await?.says("there is no policy in the cluster, so")?;
    ensure!(scanned.json()?["results"][0]["policy"] == "builtin/stateless", "{}", scanned.stdout);
    call(cluster.kubeconfig(), &["impact", "nothing"]).await?.exits(2)?.says("there is no ClusterImmutablePolicy")?;

    install_crds(&cluster).await?;
    let suspended = policy(
        "suspended",
        &json!({"enforcement": "Enforce", "rules": {"imageTag": {}},
                "suspend": {"until": "2999-01-01T00:00:00Z", "reason": "incident 4711"}}),
    );
    wait_until("policies to be served", GENEROUS, async || namespace.create_object(&suspended).await).await?;
    let scanned = scan().await?;
    scanned.exits(1)?.says("/suspended is suspended until 2999-01-01T00:00:00Z")?;
    ensure!(scanned.results("fail")? == ["Pod/bad image-tag"], "{}", scanned.stdout);

    // A policy and an exception of a newer version, which knows more rules.
    let future = policy("future", &json!({"rules": {"imageTag": {}}, "exceptions": {"rules": ["of-the-future"]}}));
    let exception = json!({
        "apiVersion": API_VERSION, "kind": "ImmutableException", "metadata": {"name": "future"},
        "spec": {"rules": ["of-the-future"], "reason": "it is not known yet", "expiresAt": "2999-01-01T00:00:00Z"},
    });
    for object in [&future, &exception] {
        namespace.create_object(object).await?;
    }
    let scanned = scan().await?;
    let name = format!("{}/future", namespace.name());
    scanned.exits(2)?.says(&format!("error: ImmutablePolicy {name} is not valid, so it is not judged by"))?;
    scanned.says(&format!("warning: ImmutableException {name} is not valid, so it excuses nothing"))?;
    ensure!(scanned.results("fail")? == ["Pod/bad image-tag"], "{}", scanned.stdout);
    ensure!(scanned.json()?["summary"]["error"] == 1, "{}", scanned.stdout);
    call(cluster.kubeconfig(), &["impact", "-n", namespace.name(), "future"]).await?.exits(2)?.says("is not valid")?;

    // What asks for facts that nobody has is an error, at its enforcement.
    let mut reads = workload("Pod", "reads", GOOD);
    reads["spec"]["volumes"] = json!([{"name": "config", "configMap": {"name": "settings"}}]);
    namespace.create_object(&reads).await?;
    let folder = Folder::new()?;
    let config = policy("config", &json!({"enforcement": "Enforce", "rules": {"immutableConfig": {}}}));
    let config = folder.write("config.yaml", &[config])?;
    let scanned = call(cluster.kubeconfig(), &[&arguments[..], &["--policy", &config]].concat()).await?;
    ensure!(
        scanned.exits(1)?.results("error")?.contains(&"Pod/reads immutable-config".to_owned()),
        "{}",
        scanned.stdout
    );
    Ok(())
}

#[tokio::test]
async fn without_an_api_server_it_could_not_finish() -> Result<()> {
    let nowhere = write(&json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    }))?;
    for command in [&["scan"][..], &["impact", "production"]] {
        let called = call(nowhere.path(), command).await?;
        called.exits(3)?.says("the API server does not answer as it should")?;
        ensure!(called.stdout.is_empty(), "{}", called.stdout);
        call(Path::new("/missing/kubeconfig"), command).await?.exits(3)?.says("/missing/kubeconfig")?;
        let other = ["--context", "y"];
        call(nowhere.path(), &[command, &other].concat()).await?.exits(3)?.says("context")?;
        // The flag goes before the environment.
        let path = nowhere.path().display().to_string();
        let flag = ["--kubeconfig", &path];
        call(Path::new("/missing/kubeconfig"), &[command, &flag].concat()).await?.exits(3)?.says("does not answer")?;
    }
    // One that takes the connection and says nothing.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let silent = write(&json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "x",
        "clusters": [{"name": "x", "cluster": {"server": format!("http://{}", listener.local_addr()?)}}],
        "users": [{"name": "x", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
    }))?;
    let arguments = ["scan", "--request-timeout", "1s"];
    call(silent.path(), &arguments).await?.exits(3)?.says("did not answer within 1 s; --request-timeout")?;
    Ok(())
}
