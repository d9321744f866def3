//! A bad policy is refused by the API server with a message that says what to write.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::policies::{Policy, bound_to, cluster_policy, condition};
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
        (json!({}), &["set spec.profile or name a rule in spec.rules, or set spec.replace"]),
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

/// What `spec.replace` must not say, likewise.
fn bad_replacements() -> Vec<(Value, &'static [&'static str])> {
    let replace = |settings: Value| json!({"replace": settings});
    let window = |change: Value| {
        let mut window =
            json!({"type": "Allow", "schedule": "0 22 * * MON-FRI", "duration": "4h", "timeZone": "Europe/Berlin"});
        for (key, value) in change.as_object().into_iter().flatten() {
            window[key] = value.clone();
        }
        replace(json!({"windows": [window]}))
    };
    let checkpoints = |percentages: &[i64]| {
        let checkpoints: Vec<_> =
            percentages.iter().map(|percent| json!({"percent": percent, "delay": "5m"})).collect();
        replace(json!({"checkpoints": checkpoints}))
    };
    vec![
        (replace(json!({"onConfigChange": "Always"})), &["Enabled", "OptIn", "Disabled"]),
        (replace(json!({"kinds": []})), &["at least 1 items"]),
        (replace(json!({"settle": "2h"})), &["spec.replace.settle", "write a duration of at most 1h, such as 2s"]),
        (replace(json!({"settle": "2"})), &["write a duration of at most 1h, such as 2s"]),
        (replace(json!({"minInterval": "1d"})), &["write a duration of at most 24h, such as 5s"]),
        (replace(json!({"maxConcurrent": 0})), &["spec.replace.maxConcurrent", "greater than or equal to 1"]),
        (replace(json!({"warmup": "999999h"})), &["write a duration of at most 24h, such as 30s"]),
        (replace(json!({"progressDeadline": "0s"})), &["write a duration from 1s to 24h, such as 10m"]),
        (replace(json!({"onFailure": "Stop"})), &["Halt", "Continue"]),
        (replace(json!({"compatibility": ["Keel"]})), &["Reloader"]),
        (window(json!({"type": "Maybe"})), &["Allow", "Deny"]),
        (
            window(json!({"schedule": "0 22 * *"})),
            &["write five fields: minute, hour, day of month, month, day of week"],
        ),
        (window(json!({"schedule": "0 24 * * *"})), &["windows[0].schedule", "such as 0 22 * * MON-FRI"]),
        (window(json!({"schedule": "@daily   "})), &["write five fields"]),
        (window(json!({"schedule": "0 22-6 * * *"})), &["write ranges upwards"]),
        (window(json!({"schedule": "0 22 * * FRI-SUN"})), &["write ranges upwards", "FRI-SAT,SUN"]),
        (window(json!({"duration": "30s"})), &["write a duration from 1m to 168h, such as 4h or 1h30m"]),
        (window(json!({"duration": "169h"})), &["windows[0].duration", "write a duration from 1m to 168h"]),
        (window(json!({"timeZone": "Mars/Olympus"})), &["windows[0].timeZone", "write the IANA name of a time zone"]),
        (window(json!({"timeZone": "CEST"})), &["such as Europe/Berlin or UTC"]),
        (window(json!({"timeZone": "+02:00"})), &["write the IANA name of a time zone"]),
        (window(json!({"timeZone": "Local"})), &["write the IANA name of a time zone"]),
        (window(json!({"timeZone": "europe/berlin"})), &["write the IANA name of a time zone"]),
        (checkpoints(&[0]), &["checkpoints[0].percent", "greater than or equal to 1"]),
        (checkpoints(&[101]), &["less than or equal to 100"]),
        (checkpoints(&[50, 10]), &["write each percentage once, in ascending order"]),
        (checkpoints(&[10, 10]), &["write each percentage once, in ascending order"]),
        (checkpoints(&[1, 2, 3, 4, 5, 6, 7, 8, 9]), &["must have at most 8 items"]),
        (
            replace(json!({"checkpoints": [{"percent": 10, "delay": "5 min"}]})),
            &["write a duration of at most 24h, such as 5m"],
        ),
        (replace(json!({"setle": "2s"})), &["unknown field \"spec.replace.setle\""]),
    ]
}

#[tokio::test]
async fn a_bad_policy_is_refused_with_what_to_write() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let mut wrong = Vec::new();
    for (spec, texts) in bad_specs().into_iter().chain(bad_replacements()) {
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

/// Every field at once, and what a schedule may say; without a rule, the policy is only for replacing.
#[tokio::test]
async fn a_policy_that_only_replaces_is_taken_and_enforces_nothing() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let window = |kind: &str, schedule: &str, zone: &str| json!({"type": kind, "schedule": schedule, "duration": "1h30m", "timeZone": zone});
    let spec = json!({"replace": {
        "onConfigChange": "Enabled", "kinds": ["ConfigMap", "Secret"], "settle": "2s", "minInterval": "5s",
        "maxConcurrent": 10, "warmup": "0s", "onFailure": "Halt", "progressDeadline": "10m",
        "compatibility": ["Reloader"],
        "checkpoints": [{"percent": 10, "delay": "5m"}, {"percent": 100, "delay": "0s"}],
        "windows": [
            window("Allow", "0 22 * * 1-5", "Europe/Berlin"),
            window("Allow", "*/15 0-6,22-23 1-7/2,L JAN-dec FRI#2,MONL,SUN", "America/Argentina/Buenos_Aires"),
            window("Deny", "0 0 24 12 *", "Etc/GMT+5"),
            json!({"type": "Deny", "schedule": "59 23 31 12 7", "duration": "168h"}),
        ],
    }});
    let policy = Policy::create(&namespace, spec).await?;
    policy.reports("Ready", "True", "Compiled").await?;
    let stored = policy.reports("Enforced", "False", "NotEnforcing").await?;
    let message = &condition(&stored, "Enforced")?["message"];
    ensure!(*message == "the policy has no rule; it only replaces pods", "{message}");
    ensure!(stored["status"].get("nativePolicies").is_none_or(|names| *names == json!([])), "{stored}");
    policy.delete().await
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
