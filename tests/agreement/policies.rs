//! The policies of the comparison: every rule, with different settings.

use anyhow::{Result, anyhow};
use immutable_core::policy::Policy;
use immutable_operator::api::ClusterImmutablePolicy;
use serde_json::{Value, json};

use crate::workloads::custom_workloads;

/// What the spec of a policy says beside its namespaces and custom workloads.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) name: &'static str,
    spec: Value,
}

/// Policies on what pods hold.
pub(crate) fn of_pods() -> Vec<Settings> {
    vec![
        settings(
            "stateless",
            json!({"profile": "Stateless", "rules": {"updateStrategy": {"enforcement": "Disabled"}}}),
        ),
        settings("stateful", json!({"profile": "Stateful", "controllerCreated": "Enforce"})),
        settings(
            "strict",
            json!({"profile": "Stateless", "controllerCreated": "Enforce", "rules": {
                "imageTag": {"forbiddenTags": ["stable", "main", "pr-*", "v?", "*.1", "?mage*", "i?image", "ci?image*", "api?image", "c?resources?*", "c?securityContext?x"]},
                "capabilities": {"allowed": []},
                "resourceLimits": {"required": [
                    "limits.cpu", "limits.memory", "limits.ephemeral-storage",
                    "requests.cpu", "requests.memory", "requests.ephemeral-storage"]},
                "probes": {"required": ["readiness", "liveness", "startup"]},
                "imagePullPolicy": {"allowed": ["IfNotPresent", "Never"]},
                "updateStrategy": {"enforcement": "Disabled"},
            }}),
        ),
        settings(
            "lenient",
            json!({"rules": {
                "imageTag": {"forbiddenTags": ["*"]},
                "capabilities": {"allowed": ["NET_BIND_SERVICE", "SYS_TIME", "CHOWN"]},
                "resourceLimits": {"required": ["requests.ephemeral-storage", "limits.cpu"]},
                "probes": {"required": ["startup", "readiness"]},
                "imagePullPolicy": {"allowed": ["Always"]},
                "hostPath": {},
            }}),
        ),
        settings(
            "labelled",
            json!({
                "profile": "Stateless",
                "match": {"selector": {
                    "matchLabels": {"tier": "web"},
                    "matchExpressions": [
                        {"key": "team", "operator": "Exists"},
                        {"key": "legacy", "operator": "DoesNotExist"},
                        {"key": "stage", "operator": "NotIn", "values": ["test"]},
                        {"key": "tier", "operator": "In", "values": ["web", "api"]},
                    ],
                }},
                "rules": {
                    "imagePullPolicy": {"allowed": ["Always", "Never"]},
                    "probes": {"required": ["liveness"]},
                    "updateStrategy": {"enforcement": "Disabled"},
                },
            }),
        ),
    ]
}

/// Policies on update strategies alone: the API server shows the first denial only, so they stand apart.
pub(crate) fn of_strategies() -> Vec<Settings> {
    let strategy =
        |name, percent: i64| settings(name, json!({"rules": {"updateStrategy": {"minHealthyPercent": percent}}}));
    vec![strategy("healthy-0", 0), strategy("healthy-50", 50), strategy("healthy-75", 75), strategy("healthy-100", 100)]
}

/// One of them with everything else at its default.
pub(crate) fn healthy() -> Settings {
    settings("healthy", json!({"profile": "Stateless", "rules": {"updateStrategy": {"minHealthyPercent": 90}}}))
}

/// A rule that reads few fields, so that most updates leave them.
pub(crate) fn only_hosts() -> Settings {
    settings("only-hosts", json!({"rules": {"hostPath": {}, "scratchVolumes": {}}}))
}

/// The rules of the tests of updates that exceptions excuse.
pub(crate) fn two_rules() -> Settings {
    settings("two-rules", json!({"rules": {"imageTag": {}, "readOnlyRootFilesystem": {}, "updateStrategy": {}}}))
}

/// Rules at every level, so that one object is judged by several compiled policies of a shape.
pub(crate) fn mixed() -> Settings {
    settings(
        "mixed",
        json!({"profile": "Stateless", "rules": {
            "imageDigest": {"enforcement": "Warn"},
            "probes": {"enforcement": "Audit"},
            "capabilities": {"enforcement": "Warn"},
            "updateStrategy": {"enforcement": "Warn", "minHealthyPercent": 60},
            "imagePullPolicy": {"enforcement": "Audit"},
        }}),
    )
}

/// Every rule on, with the settings that ask for the most: for the costs.
pub(crate) fn everything() -> Settings {
    settings(
        "everything",
        json!({"profile": "Stateless", "rules": {
            "imageTag": {"forbiddenTags": forbidden_tags()},
            "imagePullPolicy": {"allowed": ["Never"]},
            "resourceLimits": {"required": [
                "limits.cpu", "limits.memory", "limits.ephemeral-storage",
                "requests.cpu", "requests.memory", "requests.ephemeral-storage"]},
            "probes": {"required": ["readiness", "liveness", "startup"]},
        }}),
    )
}

/// As many and as long patterns as a policy may have: 32 of 256 characters, dots among them, which double.
fn forbidden_tags() -> Vec<String> {
    let mut patterns: Vec<String> = (0..31).map(|number| format!("*.{number:02}?")).collect();
    let used: usize = patterns.iter().map(String::len).sum();
    patterns.push(format!("branch-*{}*.*-snapshot", ".".repeat(256 - used - 20)));
    patterns
}

fn settings(name: &'static str, spec: Value) -> Settings {
    Settings { name, spec }
}

impl Settings {
    /// The validated policy, at Enforce where its rules do not say otherwise, in one namespace or in all.
    ///
    /// # Errors
    /// When it is not valid.
    pub(crate) fn policy(&self, namespace: Option<&str>) -> Result<Policy> {
        let mut spec = self.spec.clone();
        spec["enforcement"] = json!("Enforce");
        spec["match"]["customWorkloads"] = json!(custom_workloads());
        if let Some(namespace) = namespace {
            spec["match"]["namespaces"] = json!({"names": [namespace]});
        }
        let policy: ClusterImmutablePolicy = serde_json::from_value(json!({
            "apiVersion": "immutable.dev/v1alpha1",
            "kind": "ClusterImmutablePolicy",
            "metadata": {"name": self.name},
            "spec": spec,
        }))?;
        policy.validate().map_err(|problems| anyhow!("policy {}: {problems:?}", self.name))
    }
}
