//! Proves that the control plane of the other tests behaves like a real cluster, and leaves nothing behind.

mod support;

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch, PatchParams},
};
use serde_json::{Value, json};

use support::{Cluster, Effect, GENEROUS, TestNamespace, wait_until};

fn deployment(name: &str, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": image}]},
            },
        },
    })
}

/// Waits for all replicas of the newest template, and returns the pods' names.
async fn rolled_out(namespace: &TestNamespace, name: &str, image: &str) -> Result<Vec<String>> {
    let deployments = Api::<Deployment>::namespaced(namespace.client(), namespace.name());
    wait_until("the rollout", GENEROUS, async || {
        let deployment = deployments.get(name).await?;
        let generation = deployment.metadata.generation;
        let status = deployment.status.unwrap_or_default();
        let done = status.observed_generation == generation
            && status.updated_replicas == Some(2)
            && status.available_replicas == Some(2)
            && status.replicas == Some(2);
        ensure!(done, "{status:?}");
        Ok(())
    })
    .await?;
    let pods = Api::<Pod>::namespaced(namespace.client(), namespace.name());
    wait_until("the pods of the template alone", GENEROUS, async || {
        let pods = pods.list(&ListParams::default().labels(&format!("app={name}"))).await?;
        let images: Vec<_> = pods.iter().filter_map(|pod| pod.spec.as_ref()?.containers[0].image.clone()).collect();
        ensure!(images == [image, image], "{images:?}");
        Ok(pods.iter().map(ResourceExt::name_any).collect())
    })
    .await
}

#[tokio::test]
async fn a_deployment_rolls_and_a_new_template_makes_new_pods() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace(&[("purpose", "rollout")]).await?;
    namespace.create_object(&deployment("web", "registry.example/web:1")).await?;
    let before = rolled_out(&namespace, "web", "registry.example/web:1").await?;

    let patch =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "registry.example/web:2"}]}}}});
    Api::<Deployment>::namespaced(namespace.client(), namespace.name())
        .patch("web", &PatchParams::default(), &Patch::Strategic(patch))
        .await?;
    let after = rolled_out(&namespace, "web", "registry.example/web:2").await?;
    ensure!(before.iter().all(|pod| !after.contains(pod)), "{before:?} and {after:?}");

    let event = pod_creation(cluster, &namespace).await?;
    let creator = &event["user"]["username"];
    ensure!(creator == "system:serviceaccount:kube-system:replicaset-controller", "pods are created by {creator}");
    Ok(())
}

/// The audit event of a pod's creation in the namespace.
async fn pod_creation(cluster: &Cluster, namespace: &TestNamespace) -> Result<Value> {
    wait_until("the audit event of a pod's creation", GENEROUS, async || {
        let events = cluster.audit_events().await?;
        let count = events.len();
        events
            .into_iter()
            .find(|event| {
                let object = &event["objectRef"];
                event["verb"] == "create"
                    && object["resource"] == "pods"
                    && object["subresource"].is_null()
                    && object["namespace"] == namespace.name()
            })
            .with_context(|| format!("not among {count} events"))
    })
    .await
}

/// A policy that denies `ConfigMaps` with `data.forbidden`, warns of ones with `data.odd`, and annotates the audit
/// event of every one, in one namespace.
async fn install_policy(namespace: &TestNamespace) -> Result<()> {
    let name = namespace.name();
    let policy = |suffix: &str, spec: Value| {
        json!({
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": format!("{name}-{suffix}")},
            "spec": spec,
        })
    };
    let constraints = json!({
        "resourceRules": [
            {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]},
        ],
    });
    let validation = |key: &str| {
        json!([{
            "expression": format!("!has(object.data) || !('{key}' in object.data)"),
            "messageExpression": format!("'data.{key} of ' + object.metadata.name"),
        }])
    };
    let deny = policy(
        "deny",
        json!({
            "matchConstraints": constraints,
            "validations": validation("forbidden"),
            "auditAnnotations": [{"key": "seen", "valueExpression": "'ConfigMap ' + object.metadata.name"}],
        }),
    );
    let warn = policy("warn", json!({"matchConstraints": constraints, "validations": validation("odd")}));
    for (policy, action) in [(deny, "Deny"), (warn, "Warn")] {
        namespace.create_object(&policy).await?;
        namespace
            .create_object(&json!({
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "ValidatingAdmissionPolicyBinding",
                "metadata": {"name": policy["metadata"]["name"]},
                "spec": {
                    "policyName": policy["metadata"]["name"],
                    "validationActions": [action],
                    "matchResources": {
                        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}},
                    },
                },
            }))
            .await?;
    }
    Ok(())
}

fn config_map(name: &str, key: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {key: "x"}})
}

#[tokio::test]
async fn policies_deny_warn_and_annotate_the_audit_log() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    install_policy(&namespace).await?;

    let message =
        wait_until("the denial", GENEROUS, async || namespace.rejects(&config_map("bad", "forbidden")).await).await?;
    ensure!(message.ends_with("denied request: data.forbidden of bad"), "{message}");
    let warnings = wait_until("the warning", GENEROUS, async || {
        let (object, warnings) = namespace.warns(&config_map("strange", "odd")).await?;
        ensure!(object["metadata"]["name"] == "strange", "{object}");
        ensure!(!warnings.is_empty(), "no warnings");
        Ok(warnings)
    })
    .await?;
    ensure!(warnings.len() == 1 && warnings[0].ends_with(": data.odd of strange"), "{warnings:?}");
    let object = namespace.accepts(&config_map("good", "plain")).await?;
    ensure!(object["metadata"]["uid"].is_string(), "{object}");
    let gone = namespace.requests().get(&config_map("good", "plain")).await?;
    ensure!(gone.code == 404, "a dry run was written: {gone:?}");
    let unknown = namespace
        .rejects(&json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "dat": {}}))
        .await?;
    ensure!(unknown.contains("unknown field \"dat\""), "{unknown}");

    namespace.create_object(&config_map("good", "plain")).await?;
    let key = format!("{}-deny/seen", namespace.name());
    let annotation = wait_until("the audit annotation", GENEROUS, async || {
        let events = cluster.audit_events().await?;
        events
            .iter()
            .filter(|event| event["objectRef"]["name"] == "good")
            .find_map(|event| event["annotations"][&key].as_str().map(ToOwned::to_owned))
            .context("no event has it")
    })
    .await?;
    ensure!(annotation == "ConfigMap good", "{annotation}");
    Ok(())
}

#[tokio::test]
async fn another_user_has_only_their_own_rights() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let nobody = namespace.requests_as(cluster.client_as("nobody", &["system:authenticated"]).await?);
    let message = nobody.create(Effect::DryRun, &config_map("x", "y")).await?.rejected()?;
    ensure!(message.contains("User \"nobody\" cannot create resource \"configmaps\""), "{message}");
    let master = namespace.requests_as(cluster.client_as("somebody", &["system:masters"]).await?);
    master.create(Effect::DryRun, &config_map("x", "y")).await?.accepted()?;
    Ok(())
}

#[tokio::test]
async fn kubectl_reads_its_standard_input() -> Result<()> {
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let arguments = ["--namespace", namespace.name(), "create", "--output=name", "--filename=-"];
    let created = cluster.kubectl(&arguments, &config_map("piped", "key").to_string()).await?.success()?;
    ensure!(created == "configmap/piped\n", "{created}");
    let again = cluster.kubectl(&arguments, &config_map("piped", "key").to_string()).await?;
    ensure!(!again.status.success() && again.stderr.contains("already exists"), "{again:?}");
    Ok(())
}

/// The processes of a control plane that still run. A zombie that nobody waits for has no command line any more.
fn survivors(directory: &Path) -> Vec<String> {
    let needle = directory.display().to_string();
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()))
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
        .map(|command| String::from_utf8_lossy(&command).replace('\0', " "))
        .filter(|command| command.contains(&needle))
        .collect()
}

async fn nothing_is_left(directory: &Path) -> Result<()> {
    wait_until("the control plane to be gone", GENEROUS, async || {
        let survivors = survivors(directory);
        ensure!(survivors.is_empty(), "{survivors:?}");
        ensure!(!directory.exists(), "{} is there", directory.display());
        Ok(())
    })
    .await
}

#[tokio::test]
async fn two_clusters_run_side_by_side_and_each_ends_alone() -> Result<()> {
    let (one, two) = tokio::join!(Cluster::start(), Cluster::start());
    let (one, two) = (one?, two?);
    ensure!(one.server() != two.server(), "both at {}", one.server());
    let first = one.namespace(&[]).await?;
    let client = two.client().await?;
    let namespaces = Api::<k8s_openapi::api::core::v1::Namespace>::all(client);
    let seen = namespaces.get_opt(first.name()).await?;
    ensure!(seen.is_none(), "a namespace of one is in the other");

    let directory = one.directory().to_owned();
    let expected = ["etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok"];
    ensure!(one.processes().keys().eq(expected), "{:?}", one.processes());
    ensure!(survivors(&directory).len() >= expected.len(), "the proof below would prove nothing");
    drop(first);
    drop(one);
    nothing_is_left(&directory).await?;
    namespaces.get("default").await?;
    Ok(())
}

#[tokio::test]
async fn a_killed_supervisor_takes_its_children_along() -> Result<()> {
    let mut cluster = Cluster::start().await?;
    let directory = cluster.directory().to_owned();
    cluster.kill_supervisor()?;
    wait_until("the components to be gone", GENEROUS, async || {
        let survivors = survivors(&directory);
        ensure!(survivors.is_empty(), "{survivors:?}");
        Ok(())
    })
    .await?;
    // Nobody was left to remove the directory: the next start does.
    drop(Cluster::start().await?);
    nothing_is_left(&directory).await
}

const DIRECTORIES_FILE: &str = "CONTROL_PLANE_TEST_DIRECTORIES";

/// The process that the next test starts.
#[tokio::test]
#[ignore = "it panics: another test runs it in a process of its own"]
async fn child_that_panics() -> Result<()> {
    let Some(file) = std::env::var_os(DIRECTORIES_FILE) else {
        return Ok(());
    };
    let shared = Cluster::shared().await?;
    let private = Cluster::start().await?;
    let directories = [shared.directory(), private.directory()];
    std::fs::write(&file, serde_json::to_vec(&directories)?)?;
    // Not even its destructors run.
    std::mem::forget(private);
    assert!(!Path::new(&file).exists(), "this test process panics");
    Ok(())
}

#[tokio::test]
async fn a_test_process_that_panics_leaves_nothing_behind() -> Result<()> {
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("directories.json");
    let status = tokio::process::Command::new(std::env::current_exe()?)
        .args(["--exact", "child_that_panics", "--ignored"])
        .env(DIRECTORIES_FILE, &file)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .await?;
    ensure!(!status.success(), "the test did not panic");
    let directories: Vec<PathBuf> = serde_json::from_slice(&std::fs::read(&file)?)?;
    ensure!(directories.len() == 2, "{directories:?}");
    for directory in directories {
        nothing_is_left(&directory).await?;
    }
    Ok(())
}
