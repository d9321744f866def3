//! Evaluating one Deployment with all rules.

use std::hint::black_box;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use immutable_core::evaluate::{Facts, evaluate};
use immutable_core::rules::{ConfigKind, RuleId};
use immutable_core::workload::Workload;
use immutable_operator::api::ClusterImmutablePolicy;

use crate::Row;
use crate::statistics::percentile;

/// A Deployment with three containers that breaks nearly every rule: findings cost more than passes.
pub(crate) fn deployment(image: &str) -> serde_json::Value {
    let container = |name: &str| {
        serde_json::json!({
            "name": name, "image": image,
            "env": [{"name": "A", "value": "b"}, {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "c"}}}],
            "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
        })
    };
    serde_json::json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": "web", "labels": {"app": "web"}},
        "spec": {
            "replicas": 3, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {
                    "containers": [container("app"), container("proxy"), container("logs")],
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                },
            },
        },
    })
}

pub(crate) fn measure() -> Result<Vec<Row>> {
    const ROUNDS: u32 = 2_000;
    let policy: ClusterImmutablePolicy = serde_json::from_value(serde_json::json!({
        "apiVersion": "immutable.dev/v1alpha1", "kind": "ClusterImmutablePolicy", "metadata": {"name": "all"},
        "spec": {"profile": "Stateless", "rules": {"imagePullPolicy": {}, "immutableConfig": {}}},
    }))?;
    let policy = policy.validate().map_err(|problems| anyhow::anyhow!("{problems:?}"))?;
    ensure!(policy.rules.len() == RuleId::ALL.len(), "not every rule is on");
    let mut facts = Facts::complete();
    facts.insert(ConfigKind::ConfigMap, "shop", "settings", false);
    let manifest = deployment("registry.example/shop/web:latest");
    let workload =
        Workload::read(&manifest, "apps/v1", "Deployment", &[]).map_err(|error| anyhow::anyhow!("{error}"))?;
    let workload = workload.context("a Deployment is a workload")?;
    let mut samples: Vec<f64> = (0..50)
        .map(|_| {
            let started = Instant::now();
            for _ in 0..ROUNDS {
                black_box(evaluate(black_box(&policy), black_box(&workload), "shop", &facts));
            }
            started.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS)
        })
        .collect();
    let median = percentile(&mut samples, 0.5);
    let findings: usize =
        evaluate(&policy, &workload, "shop", &facts).iter().map(|verdict| verdict.findings.len()).sum();
    Ok(vec![Row::at_most(
        "evaluating one Deployment of three containers, all rules",
        median,
        10.0,
        "µs",
        &format!(", {findings} findings, median of 50"),
    )])
}
