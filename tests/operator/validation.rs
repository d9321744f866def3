//! A bad policy is refused by the API server with a message that says what to write.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::policies::{Policy, bound_to, cluster_policy};
use crate::support::{Effect, Operator, TestNamespace};

/// The refusal of a spec by the API server.
async fn refusal(namespace: &TestNamespace, spec: &Value) -> Result<String> {
    let manifest = cluster_policy("refused", spec.clone());
    let answer = namespace.requests().create(Effect::DryRun, &manifest).await?;
    answer.rejected().with_context(|| format!("{spec}"))
}

/// Three custom workloads with eight pod templates each.
fn many_templates() -> Value {
    let templates: Vec<String> = (0..8).map(|number| format!("/spec/t{number}")).collect();
    let custom = json!({
        "apiVersion": "example.com/v1", "kind": "Fleet", "resource": "fleets", "podTemplates": templates,
    });
    json!({"profile": "Stateless", "match": {"customWorkloads": [custom, custom, custom]}})
}

/// Specs that must be refused, each with what the message must say.
fn bad_specs() -> Vec<(Value, &'static [&'static str])> {
    let matching = |matching: Value| json!({"profile": "Stateless", "match": matching});
    let selector = |selector: Value| matching(json!({"selector": selector}));
    let expression = |expression: Value| selector(json!({"matchExpressions": [expression]}));
    let rule = |rule: &str, settings: Value| json!({"rules": {rule: settings}});
    let custom = |change: Value| {
        let mut custom = json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "resource": "rollouts", "podTemplates": ["/spec/template"],
        });
        for (key, value) in change.as_object().into_iter().flatten() {
            custom[key] = value.clone();
        }
        matching(json!({"customWorkloads": [custom]}))
    };
    vec![
        (json!({}), &["the policy has no rule; set spec.profile or name a rule in spec.rules"]),
        (json!({"profile": "None", "enforcement": "Enforce"}), &["set spec.profile or name a rule in spec.rules"]),
        (rule("imageTag", json!({"enforcement": "Disabled"})), &["the policy has no rule"]),
        (json!({"profile": "Stateles"}), &["Stateless", "Stateful", "Infrastructure", "None"]),
        (json!({"profile": "Stateless", "enforcement": "Off"}), &["Audit", "Warn", "Enforce"]),
        (rule("imageTag", json!({"enforcement": "Off"})), &["Disabled"]),
        (selector(json!({"matchLabels": {"-bad": "x"}})), &["write label keys as [PREFIX/]NAME"]),
        (selector(json!({"matchLabels": {"a/b/c": "x"}})), &["write label keys as [PREFIX/]NAME"]),
        (selector(json!({"matchLabels": {"good": "not good"}})), &["write label values of at most 63"]),
        (selector(json!({"matchLabels": {"a..b/x": "x"}})), &["write label keys as [PREFIX/]NAME"]),
        (
            selector(json!({"matchExpressions": vec![
                json!({"key": "tier", "operator": "In", "values": vec!["x".repeat(63); 64]}); 2]})),
            &["write at most 4096 characters of keys and values in all"],
        ),
        (expression(json!({"key": "tier", "operator": "In"})), &["In and NotIn need at least one value"]),
        (
            expression(json!({"key": "tier", "operator": "Exists", "values": ["x"]})),
            &["Exists and DoesNotExist take none"],
        ),
        (expression(json!({"key": "not good", "operator": "Exists"})), &["write a label key as [PREFIX/]NAME"]),
        (expression(json!({"key": "tier", "operator": "Like", "values": ["x"]})), &["NotIn", "DoesNotExist"]),
        (
            matching(json!({"namespaces": {"selector": {"matchExpressions": [{"key": "tier", "operator": "NotIn"}]}}})),
            &["In and NotIn need at least one value"],
        ),
        (matching(json!({"namespaces": {"names": ["Shop"]}})), &["write names of namespaces: lower-case letters"]),
        (matching(json!({"namespaces": {"exclude": ["a.b"]}})), &["write names of namespaces: lower-case letters"]),
        (matching(json!({"kinds": ["Deploy"]})), &["Deployment", "StatefulSet"]),
        (
            rule("imageTag", json!({"forbiddenTags": ["in valid"]})),
            &["write a tag such as stable or a pattern such as pr-*"],
        ),
        (rule("imageTag", json!({"forbiddenTags": [""]})), &["at least 1 chars"]),
        (rule("imageTag", json!({"forbiddenTags": vec!["x"; 33]})), &["must have at most 32 items"]),
        (
            rule("imageTag", json!({"forbiddenTags": vec!["x".repeat(100); 3]})),
            &["write at most 256 characters of patterns in all"],
        ),
        (rule("updateStrategy", json!({"minHealthyPercent": 101})), &["less than or equal to 100"]),
        (rule("updateStrategy", json!({"minHealthyPercent": -1})), &["greater than or equal to 0"]),
        (rule("resourceLimits", json!({"required": []})), &["at least 1 items"]),
        (rule("resourceLimits", json!({"required": ["limits.gpu"]})), &["limits.memory"]),
        (rule("probes", json!({"required": ["ready"]})), &["readiness"]),
        (rule("imagePullPolicy", json!({"allowed": ["Sometimes"]})), &["IfNotPresent"]),
        (rule("capabilities", json!({"allowed": ["net_admin"]})), &["write capabilities in capitals"]),
        (rule("capabilities", json!({"allowed": ["CAP_NET_RAW"]})), &["without CAP_, such as NET_BIND_SERVICE"]),
        (
            json!({"profile": "Stateless", "suspend": {"until": "2030-01-01T00:00:00Z"}}),
            &["spec.suspend.reason: Required value"],
        ),
        (
            json!({"profile": "Stateless", "suspend": {"until": "2030-01-01T00:00:00Z", "reason": ""}}),
            &["at least 1 chars"],
        ),
        (json!({"profile": "Stateless", "suspend": {"until": "tomorrow", "reason": "x"}}), &["date-time"]),
        (custom(json!({"apiVersion": "v1"})), &["write GROUP/VERSION, such as argoproj.io/v1alpha1"]),
        (custom(json!({"kind": "rollout"})), &["write the kind as in manifests, such as Rollout"]),
        (custom(json!({"resource": "Rollouts"})), &["write the plural as the API server serves it, such as rollouts"]),
        (
            custom(json!({"podTemplates": ["spec.template"]})),
            &["write the paths of pod templates, such as /spec/template"],
        ),
        (custom(json!({"podTemplates": []})), &["at least 1 items"]),
        (many_templates(), &["write at most 16 pod templates over all custom workloads"]),
        // Strict validation, as kubectl asks for by default.
        (rule("imageTags", json!({})), &["unknown field \"spec.rules.imageTags\""]),
        (rule("imageTag", json!({"enforcment": "Warn"})), &["unknown field \"spec.rules.imageTag.enforcment\""]),
    ]
}

#[tokio::test]
async fn a_bad_policy_is_refused_with_what_to_write() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let mut wrong = Vec::new();
    for (spec, texts) in bad_specs() {
        match refusal(&namespace, &spec).await {
            Err(error) => wrong.push(format!("{error:#}")),
            Ok(message) => {
                if !texts.iter().all(|text| message.contains(text)) {
                    wrong.push(format!("{spec}: {texts:?} is not in: {message}"));
                }
                // A regular expression says nothing to a person.
                if message.contains("should match '") {
                    wrong.push(format!("{spec}: a bare regular expression: {message}"));
                }
            }
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

/// YAML reads a rule with nothing behind it as null, and a server-side apply that takes back all settings leaves null.
#[tokio::test]
async fn a_rule_that_is_named_is_on_whatever_stands_behind_it() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let spec = |tags: Value| {
        bound_to(
            namespace.name(),
            json!({
                "enforcement": "Enforce", "rules": {"imageTag": tags, "privileged": {}},
            }),
        )
    };
    let manifest = |tags: Value| cluster_policy(&format!("null-{}", namespace.name()), spec(tags));
    let apply = async |tags: Value| {
        let manifest = manifest(tags);
        let patch = kube::api::Patch::Apply(manifest.clone());
        namespace.requests().patch(Effect::Real, &manifest, &patch, None).await?.accepted()
    };
    apply(json!({"forbiddenTags": ["dev-*"]})).await?;
    let applied = apply(json!({})).await?;
    ensure!(applied["spec"]["rules"].get("imageTag").is_some(), "{applied}");
    let policy = Policy::existing(namespace.requests(), manifest(json!({})));
    policy.enforced().await?;
    crate::workloads::denied(
        namespace
            .requests()
            .create(Effect::DryRun, &crate::workloads::workload("Pod", "web", crate::workloads::BAD))
            .await?,
    )?;
    let stored = policy.stored().await?;
    let rules = stored["status"]["effectiveRules"].as_array().context("no rules")?;
    ensure!(rules.iter().any(|rule| rule["rule"] == "image-tag"), "{rules:?}");
    policy.edit(json!({"rules": {"imageTag": null, "imageDigest": {}}})).await?;
    policy.delete().await
}

#[tokio::test]
async fn what_the_api_server_takes_the_operator_can_read() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let everything = json!({
        "profile": "Stateful", "enforcement": "Warn", "controllerCreated": "Enforce",
        "suspend": {"until": "2030-01-01T00:00:00.5+02:00", "reason": "x"},
        "match": {
            "namespaces": {"selector": {"matchLabels": {"example.com/env": ""}}, "names": ["shop"], "exclude": ["legacy"]},
            "kinds": ["Deployment"], "selector": {"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["a_b.c-d"]}]},
            "customWorkloads": [{
                "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "resource": "rollouts", "podTemplates": ["/spec/template"],
                "controllerUser": "system:serviceaccount:argo-rollouts:argo-rollouts",
            }],
        },
        "rules": {
            "imageTag": {"forbiddenTags": ["stable", "pr-*", "v?.x"]}, "updateStrategy": {"minHealthyPercent": 0},
            "capabilities": {"allowed": []}, "probes": {"required": ["liveness", "startup"]},
            "immutableConfig": {"kinds": ["Secret"]}, "imagePullPolicy": {"allowed": ["Never"]},
        },
    });
    let name = format!("everything-{}", namespace.name());
    let policy = Policy::create_from(namespace.requests(), cluster_policy(&name, everything)).await?;
    policy.reports("Ready", "True", "Suspended").await?;
    policy.edit(json!({"suspend": null})).await?;
    policy.reports("Ready", "True", "Compiled").await?;
    policy.delete().await
}
