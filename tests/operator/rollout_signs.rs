//! What is seen of replaced pods: in the status of the policy, in Events and in metrics; and that no value of what they
//! read is seen anywhere.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::events::v1::Event;
use kube::Api;
use kube::api::{ListParams, Patch};
use serde_json::{Value, json};

use crate::policies::{Policy, condition};
use crate::support::{Cluster, Effect, GENEROUS, Operator, TestNamespace, wait_until};
use crate::workloads::GOOD;

/// What a policy says by which nothing is waited for.
fn at_once() -> Value {
    json!({
        "rules": {"imageTag": {"enforcement": "Audit"}},
        "replace": {"onConfigChange": "Enabled", "settle": "0s", "minInterval": "0s"},
    })
}

/// A Deployment that reads all of a ConfigMap or Secret by its environment.
fn reader(name: &str, replicas: u32, source: &str, config: &str) -> Value {
    let container = json!({"name": "main", "image": GOOD, "envFrom": [{source: {"name": config}}]});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [container], "terminationGracePeriodSeconds": 0},
            },
        },
    })
}

async fn merge(namespace: &TestNamespace, manifest: &Value, patch: Value) -> Result<Value> {
    namespace.requests().patch(Effect::Real, manifest, &Patch::Merge(patch), None).await?.accepted()
}

/// The Events in a namespace.
async fn events(namespace: &TestNamespace) -> Result<Vec<Value>> {
    let api: Api<Event> = Api::namespaced(namespace.client(), namespace.name());
    let events = api.list(&ListParams::default()).await?;
    events.into_iter().map(|event| Ok(serde_json::to_value(event)?)).collect()
}

/// The Event of this reason about an object of this kind.
async fn told(namespace: &TestNamespace, reason: &str, kind: &str) -> Result<Value> {
    wait_until(&format!("an Event {reason} about a {kind}"), GENEROUS, async || {
        let events = events(namespace).await?;
        let is_it = |event: &&Value| event["reason"] == reason && event["regarding"]["kind"] == kind;
        events.iter().find(is_it).cloned().with_context(|| format!("{events:?}"))
    })
    .await
}

/// The numbers in the status of a policy, without those that are 0 and without messages.
fn numbers(policy: &Value) -> Value {
    let mut numbers = policy["status"]["replace"].clone();
    if let Some(fields) = numbers.as_object_mut() {
        let waiting: Vec<Value> = fields
            .remove("waiting")
            .iter()
            .filter_map(Value::as_array)
            .flatten()
            .map(|waiting| json!([waiting["reason"], waiting["count"]]))
            .collect();
        fields.retain(|_, count| *count != 0);
        if !waiting.is_empty() {
            fields.insert("waiting".to_owned(), json!(waiting));
        }
    }
    numbers
}

/// Everything that can be read without the right to read Secrets.
async fn seen(cluster: &Cluster, operator: &Operator, namespace: &TestNamespace) -> Result<String> {
    let kinds = "events,deployments,replicasets,pods,immutablepolicies,controllerrevisions";
    let get = ["get", kinds, "--namespace", namespace.name(), "--output=json", "--show-managed-fields"];
    let objects = cluster.kubectl(&get, "").await?.success()?;
    Ok([objects, operator.get("/metrics").await?.body, operator.log().await?, operator.stdout().await?].concat())
}

#[tokio::test]
async fn a_change_is_told_with_its_cause_and_its_values_are_nowhere() -> Result<()> {
    let (cluster, operator) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let values = ["swordfish-before", "swordfish-after"];
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "db"}, "stringData": {"password": values[0]},
    });
    namespace.create_object(&secret).await?;
    let policy = Policy::create_namespaced(&namespace, "replaces", at_once()).await?;
    policy.reports("Replaced", "True", "NothingServed").await?;
    let web = reader("web", 2, "secretRef", "db");
    namespace.create_object(&web).await?;
    let stored = policy.reports("Replaced", "True", "UpToDate").await?;
    ensure!(numbers(&stored) == json!({"workloads": 1, "upToDate": 1}), "{}", stored["status"]["replace"]);

    // A paused Deployment waits, and somebody must know.
    merge(&namespace, &web, json!({"spec": {"paused": true}})).await?;
    let metric = async |name: &str| operator.metric(name).await;
    let begun = "immutable_rollouts_total{result=\"begun\",trigger=\"ConfigChanged\"}";
    let taken = "immutable_rollout_change_to_patch_seconds_count{trigger=\"ConfigChanged\"}";
    let suppressed = "immutable_rollouts_suppressed_total{reason=\"Paused\"}";
    let waiting = "immutable_rollouts_waiting{reason=\"Paused\"}";
    let before = [metric(begun).await?, metric(taken).await?, metric(suppressed).await?];
    merge(&namespace, &secret, json!({"stringData": {"password": values[1]}})).await?;
    let stored = policy.reports("Replaced", "False", "Paused").await?;
    let expected = json!({"workloads": 1, "waiting": [["Paused", 1]]});
    ensure!(numbers(&stored) == expected, "{}", stored["status"]["replace"]);
    let message = condition(&stored, "Replaced")?["message"].as_str().unwrap_or_default();
    let name = format!("Deployment {}/web waits: it is paused", namespace.name());
    ensure!(message.starts_with(&name) && message.contains("0 of 1 workload runs"), "{message}");
    ensure!(condition(&stored, "Ready")?["status"] == "True", "what waits is no matter of being ready");
    let event = told(&namespace, "Paused", "Deployment").await?;
    ensure!(event["type"] == "Warning" && event["related"]["kind"] == "Secret", "{event}");
    wait_until("who waits to be counted", GENEROUS, async || {
        ensure!(metric(waiting).await? > 0.5, "nobody waits");
        ensure!(metric(suppressed).await? > before[2], "nobody began to wait");
        Ok(())
    })
    .await?;

    merge(&namespace, &web, json!({"spec": {"paused": false}})).await?;
    let event = told(&namespace, "Replaced", "Deployment").await?;
    let note = "its pods are replaced, because this changed: Secret db (password)";
    ensure!(event["note"] == note && event["type"] == "Normal" && event["action"] == "Replace", "{event}");
    let stored_secret = namespace.requests().get(&secret).await?.accepted()?;
    ensure!(event["related"]["uid"] == stored_secret["metadata"]["uid"], "{event}");
    let stored = policy.reports("Replaced", "True", "UpToDate").await?;
    ensure!(numbers(&stored) == json!({"workloads": 1, "upToDate": 1}), "{}", stored["status"]["replace"]);
    wait_until("the rollout to be counted", GENEROUS, async || {
        ensure!(metric(begun).await? > before[0] && metric(taken).await? > before[1], "it is not counted");
        ensure!(metric("immutable_config_objects{kind=\"Secret\"}").await? > 0.5, "no Secret is known");
        ensure!(
            metric("immutable_config_reads_total{kind=\"Secret\",result=\"present\"}").await? > 1.5,
            "none was read"
        );
        ensure!(metric("immutable_config_records_total{result=\"written\"}").await? > 0.5, "nothing is recorded");
        Ok(())
    })
    .await?;

    let seen = seen(cluster, operator, &namespace).await?;
    ensure!(seen.contains("Secret db (password)"), "the cause is not among what was looked through");
    let stored_value = stored_secret["data"]["password"].as_str().context("no value")?;
    for value in values.into_iter().chain([stored_value, "swordfish"]) {
        ensure!(!seen.contains(value), "the value {value} is seen");
    }
    policy.delete().await
}

#[tokio::test]
async fn a_change_that_replaces_many_is_told_of_the_object() -> Result<()> {
    const MANY: u64 = 30;
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let config = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"version": "0"},
    });
    namespace.create_object(&config).await?;
    let policy = Policy::create_namespaced(&namespace, "replaces", at_once()).await?;
    for number in 0..MANY {
        namespace.create_object(&reader(&format!("web-{number}"), 0, "configMapRef", "settings")).await?;
    }
    wait_until("all to be served", GENEROUS, async || {
        let stored = policy.stored().await?;
        ensure!(numbers(&stored) == json!({"workloads": MANY, "upToDate": MANY}), "{}", stored["status"]);
        Ok(())
    })
    .await?;
    merge(&namespace, &config, json!({"data": {"version": "1"}})).await?;
    // However slow all of it is, each is either told or counted, and never both.
    wait_until("all to be told or counted", GENEROUS, async || {
        let events = events(&namespace).await?;
        let of = |kind: &str| {
            let is_it = |event: &&Value| event["reason"] == "Replaced" && event["regarding"]["kind"] == kind;
            events.iter().filter(is_it).collect::<Vec<_>>()
        };
        let each = of("Deployment").len() as u64;
        let mut counted = 0;
        for event in of("ConfigMap") {
            let words = event["note"].as_str().unwrap_or_default().split(' ');
            let number = words.skip_while(|word| *word != "of").nth(1).context("no number")?;
            counted += number.parse::<u64>()?;
        }
        ensure!(each + counted == MANY, "{each} are told, {counted} are counted");
        ensure!(each >= 20, "only {each} are told, each by itself");
        Ok(())
    })
    .await?;
    policy.delete().await
}
