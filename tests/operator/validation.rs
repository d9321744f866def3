//! A bad policy is refused by the API server, with a message that says what to write.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::policies::cluster_policy;
use crate::support::{Effect, Operator, Requests};

/// A spec with a mistake, and what the refusal must say.
fn mistakes() -> Vec<(Value, &'static str)> {
    let matching = |value: Value| json!({"profile": "Stateless", "match": value});
    let rules = |value: Value| json!({"profile": "Stateless", "rules": value});
    let custom = |field: &str, value: Value| {
        let mut custom = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "resource": "rollouts", "podTemplates": ["/spec/template"],
        });
        custom[field] = value;
        matching(json!({"customWorkloads": [custom]}))
    };
    let expression = |value: Value| matching(json!({"selector": {"matchExpressions": [value]}}));
    vec![
        (json!({}), "set spec.profile or name a rule in spec.rules"),
        (
            json!({"profile": "None", "rules": {"imageTag": {"enforcement": "Disabled"}}}),
            "set spec.profile or name a rule",
        ),
        (json!({"profile": "Statless"}), "\"Stateless\", \"Stateful\", \"Infrastructure\", \"None\""),
        (json!({"profile": "Stateless", "enforcement": "On"}), "\"Audit\", \"Warn\", \"Enforce\""),
        (rules(json!({"imageTag": {"enforcement": "Off"}})), "\"Disabled\""),
        (rules(json!({"imageTags": {}})), "unknown field \"spec.rules.imageTags\""),
        (
            rules(json!({"imageTag": {"forbiddenTags": ["a b"]}})),
            "write a tag such as stable or a pattern such as pr-*",
        ),
        (rules(json!({"imageTag": {"forbiddenTags": [""]}})), "forbiddenTags[0]"),
        (rules(json!({"imageTag": {"forbiddenTags": vec!["x"; 33]}})), "at most 32 items"),
        (rules(json!({"updateStrategy": {"minHealthyPercent": 101}})), "less than or equal to 100"),
        (rules(json!({"updateStrategy": {"minHealthyPercent": -1}})), "greater than or equal to 0"),
        (rules(json!({"resourceLimits": {"required": []}})), "at least 1 items"),
        (rules(json!({"probes": {"required": ["ready"]}})), "\"readiness\", \"liveness\", \"startup\""),
        (rules(json!({"capabilities": {"allowed": ["net_admin"]}})), "write capabilities in capitals"),
        (matching(json!({"selector": {"matchLabels": {"a b": "c"}}})), "write label keys as [PREFIX/]NAME"),
        (matching(json!({"selector": {"matchLabels": {"a": "b c"}}})), "write label values"),
        (expression(json!({"key": "a b", "operator": "Exists"})), "write a label key"),
        (expression(json!({"key": "a", "operator": "In"})), "In and NotIn need at least one value"),
        (expression(json!({"key": "a", "operator": "Exists", "values": ["b"]})), "Exists and DoesNotExist take none"),
        (expression(json!({"key": "a", "operator": "Near", "values": ["b"]})), "\"DoesNotExist\""),
        (matching(json!({"namespaces": {"names": ["Shop"]}})), "write names of namespaces"),
        (matching(json!({"namespaces": {"selector": {"matchLabels": {"/a": "b"}}}})), "write label keys"),
        (matching(json!({"kinds": ["Deploy"]})), "\"Deployment\""),
        (custom("apiVersion", json!("v1")), "write GROUP/VERSION"),
        (custom("kind", json!("rollout")), "write the kind as in manifests"),
        (custom("resource", json!("Rollouts")), "write the plural"),
        (custom("podTemplates", json!(["spec.template"])), "write the paths of pod templates"),
        (custom("podTemplates", json!([])), "at least 1 items"),
        (json!({"profile": "Stateless", "suspend": {"until": "tomorrow", "reason": "x"}}), "date-time"),
        (
            json!({"profile": "Stateless", "suspend": {"until": "2100-01-01T00:00:00Z"}}),
            "spec.suspend.reason: Required value",
        ),
    ]
}

#[tokio::test]
async fn a_bad_policy_is_refused_with_what_to_write() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let requests = Requests::new(cluster.client().await?, "default");
    for (spec, expected) in mistakes() {
        let policy = cluster_policy("mistake", spec.clone());
        let refusal = requests.create(Effect::DryRun, &policy).await?.rejected()?;
        ensure!(refusal.contains(expected), "{spec}: {refusal}");
        ensure!(!refusal.contains("should match '"), "{spec}: a bare regular expression is no help: {refusal}");
    }
    Ok(())
}

#[tokio::test]
async fn what_the_api_server_takes_the_operator_can_read() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let requests = Requests::new(cluster.client().await?, "default");
    let everything = json!({
        "profile": "Stateful",
        "enforcement": "Warn",
        "suspend": {"until": "2100-01-01T00:00:00Z", "reason": "incident 4711"},
        "match": {
            "namespaces": {"selector": {"matchLabels": {"kubernetes.io/metadata.name": "shop"}}, "names": ["shop"], "exclude": ["legacy"]},
            "kinds": ["Deployment", "StatefulSet"],
            "selector": {"matchLabels": {"tier": ""}, "matchExpressions": [{"key": "a.b/c_d", "operator": "NotIn", "values": ["x", ""]}]},
            "customWorkloads": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "resource": "rollouts",
                "podTemplates": ["/spec/template"], "controllerUser": "system:serviceaccount:argo-rollouts:argo-rollouts"}],
        },
        "rules": {
            "imageTag": {"forbiddenTags": ["stable", "main", "pr-*", "v?"]},
            "imageDigest": {"enforcement": "Warn"},
            "probes": {"enforcement": "Disabled"},
            "capabilities": {"allowed": []},
            "imagePullPolicy": {"allowed": ["Always", "Never"]},
            "resourceLimits": {"required": ["limits.cpu", "requests.ephemeral-storage"]},
            "updateStrategy": {"minHealthyPercent": 0},
            "immutableConfig": {"kinds": ["ConfigMap", "Secret"]},
        },
        "controllerCreated": "Enforce",
    });
    let stored = requests.create(Effect::DryRun, &cluster_policy("everything", everything)).await?.accepted()?;
    let policy: immutable_operator::api::ClusterImmutablePolicy = serde_json::from_value(stored)?;
    let problems = policy.validate().err().unwrap_or_default();
    ensure!(problems.is_empty(), "{problems:?}");
    Ok(())
}
