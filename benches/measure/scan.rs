//! Judging a large cluster from the start of the operator on.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures::TryStreamExt as _;
use immutable_operator::api::API_VERSION;
use serde_json::{Value, json};

use crate::Row;
use crate::idle::resident;
use crate::support::{
    Cluster, Effect, GENEROUS, Operator, Requests, install_crds, install_report_crds, install_rights, wait_until,
};

/// How many Deployments there are, each with a ReplicaSet and three Pods; three in ten violate.
const WORKLOADS: usize = 10_000;
/// How many creates are under way at once.
const AT_ONCE: usize = 24;

/// Seconds of CPU that a process has used, as Linux counts them: in ticks of a hundredth.
fn cpu_seconds(process: u32) -> Result<f64> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat"))?;
    let (_, fields) = text.rsplit_once(')').context("no name")?;
    let ticks =
        |index: usize| -> Result<f64> { Ok(fields.split_whitespace().nth(index).context("no field")?.parse()?) };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

fn pod_spec(number: usize) -> Value {
    let image = if number % 10 < 3 {
        format!("registry.example/team-{}/service-{number}:latest", number % 100)
    } else {
        format!("registry.example/team-{}/service-{number}:1.4@sha256:{}", number % 100, "0123456789abcdef".repeat(4))
    };
    let env: Vec<Value> =
        (0..10).map(|env| json!({"name": format!("SETTING_{env}"), "value": format!("value-{env}")})).collect();
    json!({"schedulerName": "nobody", "containers": [{
        "name": "app", "image": image, "env": env, "ports": [{"containerPort": 8080}],
        "resources": {"requests": {"cpu": "100m"}, "limits": {"memory": "64Mi"}},
        "readinessProbe": {"httpGet": {"path": "/", "port": 8080}},
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}],
    }], "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "16Mi"}}]})
}

/// A Deployment with what its controllers would have made of it.
async fn create(requests: &Requests, number: usize) -> Result<()> {
    let name = format!("service-{number}");
    let labels = json!({"app": name});
    let template = json!({"metadata": {"labels": labels}, "spec": pod_spec(number)});
    let spec = json!({"replicas": 3, "selector": {"matchLabels": labels}, "template": template});
    let owner = |of: &Value| {
        json!([{
            "apiVersion": "apps/v1", "kind": of["kind"], "name": of["metadata"]["name"], "uid": of["metadata"]["uid"],
            "controller": true,
        }])
    };
    let deployment = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name, "labels": labels}, "spec": spec});
    let deployment = requests.create(Effect::Real, &deployment).await?.accepted()?;
    let replica_set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "spec": spec,
        "metadata": {"name": format!("{name}-5f6d"), "labels": labels, "ownerReferences": owner(&deployment)},
    });
    let replica_set = requests.create(Effect::Real, &replica_set).await?.accepted()?;
    for replica in 0..3 {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "spec": pod_spec(number),
            "metadata": {"name": format!("{name}-5f6d-{replica}"), "labels": labels, "ownerReferences": owner(&replica_set)},
        });
        requests.create(Effect::Real, &pod).await?.accepted()?;
    }
    Ok(())
}

fn report_writes(verb: &str) -> String {
    format!("immutable_report_writes_total{{result=\"success\",verb=\"{verb}\"}}")
}

/// Waits until so many reports were written, and returns how long that took.
async fn written(operator: &Operator, verb: &str, number: f64) -> Result<f64> {
    let started = Instant::now();
    wait_until(&format!("{number} reports"), GENEROUS, async || {
        let seen = operator.metric(&report_writes(verb)).await?;
        ensure!((seen - number).abs() < 0.5, "{seen}");
        Ok(())
    })
    .await?;
    Ok(started.elapsed().as_secs_f64())
}

/// The most memory that a process ever had resident, in MiB.
pub(crate) fn peak(process: u32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status"))?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).context("no VmHWM")?;
    let kibibytes: f64 = line.split_whitespace().nth(1).context("no figure")?.parse()?;
    Ok(kibibytes / 1024.0)
}

pub(crate) async fn measure() -> Result<Vec<Row>> {
    let cluster = Cluster::start().await?;
    install_crds(&cluster).await?;
    install_rights(&cluster).await?;
    install_report_crds(&cluster, "openreports.io").await?;
    let namespaces = futures::future::try_join_all((0..10).map(|_| cluster.namespace(&[]))).await?;
    // What they would make of 10,000 Deployments is made here, at once: nobody must act on it meanwhile.
    for controller in ["kube-controller-manager", "kube-scheduler", "kwok"] {
        let process = cluster.processes().get(controller).with_context(|| format!("no {controller}"))?.to_string();
        let status = tokio::process::Command::new("kill").args(["-STOP", &process]).status().await?;
        ensure!(status.success(), "kill -STOP {process}: {status}");
    }
    futures::stream::iter((0..WORKLOADS).map(Ok))
        .try_for_each_concurrent(AT_ONCE, |number| create(namespaces[number % 10].requests(), number))
        .await?;
    let requests = namespaces[0].requests();
    let policy = json!({
        "apiVersion": API_VERSION, "kind": "ClusterImmutablePolicy", "metadata": {"name": "scanned"},
        "spec": {"profile": "Infrastructure", "enforcement": "Audit"},
    });
    requests.create(Effect::Real, &policy).await?.accepted()?;

    let started = Instant::now();
    let operator = Operator::launch(&cluster).await?;
    let counted = async |violating: f64| {
        let metric = "immutable_workloads{policy=\"scanned\",state=\"violating\"}";
        wait_until("the scan", GENEROUS, async || {
            let seen = operator.metric(metric).await?;
            ensure!((seen - violating).abs() < 0.5, "{seen}");
            Ok(())
        })
        .await
    };
    counted(3_000.0).await?;
    let wall = started.elapsed().as_secs_f64();
    let cpu = cpu_seconds(operator.id())?;
    let created = written(&operator, "create", 3_000.0).await?;
    // What the start left behind is given back by then, or never.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let memory = resident(operator.id())?;
    let peak = peak(operator.id())?;

    let changed = Instant::now();
    let fixed = json!({"spec": {"template": {"spec": pod_spec(9)}}});
    let manifest = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "service-0"}});
    requests.patch(Effect::Real, &manifest, &kube::api::Patch::Strategic(fixed), None).await?.accepted()?;
    counted(2_999.0).await?;
    let one = changed.elapsed().as_secs_f64();
    written(&operator, "delete", 1.0).await?;
    let reported = changed.elapsed().as_secs_f64();
    drop(operator);

    // Another operator finds everything as it should be: it waits for the lease, judges all, and writes nothing.
    let operator = Operator::launch(&cluster).await?;
    wait_until("the second scan", GENEROUS, async || {
        let wanted = operator.metric("immutable_reports").await?;
        ensure!((wanted - 2_999.0).abs() < 0.5, "{wanted}");
        Ok(())
    })
    .await?;
    tokio::time::sleep(Duration::from_secs(10)).await;
    let mut again = 0.0;
    for verb in ["create", "update", "delete"] {
        again += operator.metric(&report_writes(verb)).await?;
    }
    let restarted = resident(operator.id())?;
    let what = "10,000 Deployments, as many ReplicaSets, 30,000 Pods that do not run";
    Ok(vec![
        Row::at_most(&format!("{what}: from the start of the operator until all are judged"), wall, 10.0, "s", ""),
        Row::at_most("the same, CPU of the operator until then", cpu, 3.0, "s", ""),
        Row::at_most("the same, until their 3,000 reports are written", created, 40.0, "s", ""),
        Row::at_most("the same, resident memory 10 s later", memory, 96.0, "MiB", &format!(", at most {peak:.0}")),
        Row::at_most("one changed workload: until its verdict counts", one, 2.0, "s", ""),
        Row::at_most("one changed workload: until its report is written", reported, 2.0, "s", ""),
        Row::at_most("the operator started again: reports that it writes", again, 0.0, "", ""),
        Row::at_most("the same, resident memory 10 s later", restarted, 96.0, "MiB", ""),
    ])
}
