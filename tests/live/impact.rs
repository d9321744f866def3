//! `immutable impact`: what a policy would reject.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::command::{Called, Folder, call};
use crate::schema;
use crate::support::{Cluster, GENEROUS, Operator, TestNamespace, wait_until};
use crate::workloads::{BAD, GOOD, workload};

/// Waits until the operator has counted so many workloads, and returns its summary.
async fn summary(namespace: &TestNamespace, policy: &Value, workloads: u64, excused: u64) -> Result<Value> {
    wait_until("the operator to have counted", GENEROUS, async || {
        let stored = namespace.requests().get(policy).await?.accepted()?;
        let summary = &stored["status"]["summary"];
        let counts = summary["excused"].as_array().into_iter().flatten().filter_map(|rule| rule["count"].as_u64());
        ensure!(summary["workloads"] == workloads && counts.sum::<u64>() == excused, "{}", stored["status"]);
        // The ConfigMap is not there, and Secrets are read by nobody.
        ensure!(summary["undecided"] == 2, "{}", stored["status"]);
        Ok(summary.clone())
    })
    .await
}

async fn impact(cluster: &Cluster, arguments: &[&str]) -> Result<Called> {
    call(cluster.kubeconfig(), &[&["impact", "-o", "json"], arguments].concat()).await
}

#[tokio::test]
async fn the_total_is_the_one_that_the_operator_reports() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let name = namespace.name();
    let mut reads = workload("Pod", "reads", GOOD);
    reads["spec"]["volumes"] = json!([
        {"name": "config", "configMap": {"name": "settings"}}, {"name": "key", "secret": {"secretName": "key"}},
    ]);
    let workloads = [
        workload("Deployment", "bad", BAD),
        workload("Deployment", "good", GOOD),
        workload("StatefulSet", "bad", BAD),
        workload("Pod", "excused", BAD),
        workload("Job", "bad", BAD),
        reads,
    ];
    let exception = json!({
        "apiVersion": "immutable.dev/v1alpha1", "kind": "ImmutableException", "metadata": {"name": "excused"},
        "spec": {
            "rules": ["image-tag", "image-digest"], "workloads": {"kinds": ["Pod"], "names": ["excused"]},
            "reason": "the vendor ships no releases",
            "expiresAt": jiff::Timestamp::from_second(jiff::Timestamp::now().as_second() + 7200)?.to_string(),
        },
    });
    for object in workloads.iter().chain([&exception]) {
        namespace.create_object(object).await?;
    }
    let rules = json!({"imageTag": {}, "imageDigest": {}, "immutableConfig": {"kinds": ["ConfigMap", "Secret"]}});
    let namespaced = json!({
        "apiVersion": "immutable.dev/v1alpha1", "kind": "ImmutablePolicy", "metadata": {"name": "audited"},
        "spec": {"enforcement": "Audit", "rules": rules},
    });
    let of_cluster = json!({
        "apiVersion": "immutable.dev/v1alpha1", "kind": "ClusterImmutablePolicy", "metadata": {"name": name},
        "spec": {"enforcement": "Audit", "rules": rules, "match": {"namespaces": {"names": [name]}}},
    });
    // What is not in the cluster yet is told of, too.
    let folder = Folder::new()?;
    let path = folder.write("policy.yaml", std::slice::from_ref(&of_cluster))?;
    let before = impact(cluster, &["--policy", &path]).await?;
    for (policy, arguments) in [(&namespaced, &["-n", name, "audited"][..]), (&of_cluster, &[name])] {
        namespace.create_object(policy).await?;
        let reported = summary(&namespace, policy, 6, 2).await?;
        let called = impact(cluster, arguments).await?;
        let report = called.exits(1)?.json()?;
        for (count, expected) in [("workloads", 6), ("wouldReject", 3), ("undecided", 2)] {
            ensure!(reported[count] == expected && report["summary"][count] == expected, "{reported}: {report}");
        }
        let named = report["workloads"].as_array().into_iter().flatten();
        let named: Vec<String> = named.map(|one| format!("{} {}", one["kind"], one["name"])).collect();
        ensure!(named == [r#""Deployment" "bad""#, r#""StatefulSet" "bad""#, r#""Job" "bad""#], "{named:?}");
        ensure!(
            report["workloads"][0]["rules"] == json!(["image-tag", "image-digest"])
                && report["workloads"][0]["findings"] == 2,
            "{report}"
        );
        ensure!(report["rules"][0] == json!({"rule": "image-tag", "findings": 3, "wouldReject": 3}), "{report}");
        ensure!(report["namespaces"] == json!([{"namespace": name, "findings": 6, "wouldReject": 3}]), "{report}");
        let published =
            std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema/impact-report.schema.json"))?;
        let faults = schema::faults(&serde_json::from_str(&published)?, &report);
        ensure!(faults.is_empty(), "{faults:?}");
    }
    let after = impact(cluster, &[name]).await?;
    ensure!(before.exits(1)?.stdout == after.stdout, "{}\n{}", before.stdout, after.stdout);
    // Without the exception the pod would be rejected, too.
    let later = impact(cluster, &[name, "--at", "2999-01-01T00:00:00Z"]).await?.json()?;
    ensure!(later["summary"]["wouldReject"] == 4, "{later}");

    let text = call(cluster.kubeconfig(), &["impact", name]).await?;
    let total = format!(
        "ClusterImmutablePolicy {name} would reject 3 of 6 workloads, were every rule enforced; 2 things could not be decided\n"
    );
    ensure!(text.exits(1)?.stdout.ends_with(&total), "{}", text.stdout);
    ensure!(text.stdout.contains(&format!("Deployment {name}/bad")), "{}", text.stdout);

    let harmless = json!({
        "apiVersion": "immutable.dev/v1alpha1", "kind": "ImmutablePolicy", "metadata": {"name": "harmless"},
        "spec": {"enforcement": "Enforce", "rules": {"privileged": {}}},
    });
    let one = folder.write("harmless.yaml", std::slice::from_ref(&harmless))?;
    impact(cluster, &["-n", name, "--policy", &one]).await?.exits(0)?;
    let two = folder.write("two.yaml", &[harmless, of_cluster.clone()])?;
    impact(cluster, &["-n", name, "--policy", &two]).await?.exits(2)?.says("there are 2 policies")?;
    impact(cluster, &["nothing"]).await?.exits(2)?.says("name its namespace with -n")?;
    impact(cluster, &["-n", name, "nothing"]).await?.exits(2)?.says("there is no ImmutablePolicy nothing")?;
    impact(cluster, &[]).await?.exits(2)?;
    for policy in [&namespaced, &of_cluster] {
        namespace.requests().delete(crate::support::Effect::Real, policy).await?.accepted()?;
    }
    Ok(())
}
