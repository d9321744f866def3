//! `immutable-config`: the API server judges ConfigMaps and Secrets when they are created, the Rust side what refers
//! to them. The words are the same.

use anyhow::{Context, Result, bail, ensure};
use immutable_core::{
    evaluate::{Facts, evaluate},
    native::{Installation, compile},
    policy::Policy,
    rules::ConfigKind,
    workload::Workload,
};
use immutable_operator::api::ClusterImmutablePolicy;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    random::{Random, seed},
    support::{Cluster, Effect, GENEROUS, TestNamespace, wait_until},
};

/// How many objects are generated.
const GENERATED: usize = 400;

#[tokio::test(flavor = "multi_thread")]
async fn config_maps_and_secrets_agree_on_a_real_api_server() -> Result<()> {
    let seed = seed("agreement of immutable-config")?;
    let cluster = Cluster::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let policy = policy(namespace.name())?;
    let installation =
        Installation { namespace: "immutable-system".to_owned(), owner: "immutable-operator-owner".to_owned() };
    for object in compile([&policy], &installation, Timestamp::UNIX_EPOCH).objects() {
        namespace.create_object(&object.manifest(None)).await?;
    }
    for kind in [ConfigKind::ConfigMap, ConfigKind::Secret] {
        wait_until("the policy in force", GENEROUS, async || {
            namespace.rejects(&object(kind, "mutable")).await.map(drop)
        })
        .await?;
    }
    let mut denied = 0;
    for case in 0..GENERATED {
        let mut random = Random::of(seed, case);
        let kind = *random.pick(&[ConfigKind::ConfigMap, ConfigKind::Secret]);
        let object = generate(&mut random, kind);
        let server = denial(&namespace, &object).await?;
        let rust = verdict(&policy, kind, namespace.name(), &object)?;
        denied += usize::from(server.is_some());
        ensure!(server == rust, "{object}\n  Rust   {rust:?}\n  server {server:?}");
    }
    ensure!(denied * 4 > GENERATED && denied * 4 < GENERATED * 3, "{denied} denials prove too little");
    left_out(cluster, &namespace).await
}

fn policy(namespace: &str) -> Result<Policy> {
    let policy: ClusterImmutablePolicy = serde_json::from_value(json!({
        "apiVersion": "immutable.dev/v1alpha1", "kind": "ClusterImmutablePolicy", "metadata": {"name": "config"},
        "spec": {
            "enforcement": "Enforce", "match": {"namespaces": {"names": [namespace]}},
            "rules": {"immutableConfig": {"kinds": ["ConfigMap", "Secret"]}},
        },
    }))?;
    policy.validate().map_err(|problems| anyhow::anyhow!("{problems:?}"))
}

fn object(kind: ConfigKind, name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": kind.name(), "metadata": {"name": name}})
}

fn generate(random: &mut Random, kind: ConfigKind) -> Value {
    // 80 characters are shown, so names around that length and the longest matter.
    let length = *random.pick(&[1, 8, 79, 80, 81, 200, 253]);
    let mut object = object(kind, &"n".repeat(length));
    match random.below(4) {
        0 => object["immutable"] = json!(false),
        1 | 2 => object["immutable"] = json!(true),
        _ => {}
    }
    if random.chance(30) {
        object["metadata"]["labels"] = json!({"owner": random.pick(&["helm", "shop"])});
    }
    if kind == ConfigKind::Secret && random.chance(50) {
        object["type"] = json!(random.pick(&["Opaque", "example.com/own"]));
    }
    object
}

/// What the API server says to the creation, after the name of the policy.
async fn denial(namespace: &TestNamespace, object: &Value) -> Result<Option<String>> {
    let answer = namespace.requests().create(Effect::DryRun, object).await?;
    if answer.code < 300 {
        return Ok(None);
    }
    let message = answer.rejected()?;
    let (_, message) = message.split_once(" denied request: ").with_context(|| message.clone())?;
    Ok(Some(message.to_owned()))
}

/// What the Rust side says of a Pod that refers to the object.
fn verdict(policy: &Policy, kind: ConfigKind, namespace: &str, object: &Value) -> Result<Option<String>> {
    let name = object["metadata"]["name"].as_str().context("no name")?;
    let mut facts = Facts::complete();
    facts.insert(kind, namespace, name, object["immutable"] == json!(true));
    let source = if kind == ConfigKind::ConfigMap { "configMapRef" } else { "secretRef" };
    let mut reference = json!({});
    reference[source] = json!({"name": name});
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"},
        "spec": {"containers": [{"name": "app", "image": "nginx:1", "envFrom": [reference]}]},
    });
    let workload = Workload::read(&pod, "v1", "Pod", &[]).map_err(|error| anyhow::anyhow!("{error}"))?;
    let verdicts = evaluate(policy, &workload.context("a Pod is a workload")?, namespace, &facts);
    let findings: Vec<_> = verdicts.into_iter().flat_map(|verdict| verdict.findings).collect();
    match findings.as_slice() {
        [] => Ok(None),
        [only] => Ok(Some(format!("1 finding: [{}] {}; {}", only.rule.id(), only.message, only.fix))),
        more => bail!("one reference has {} findings", more.len()),
    }
}

/// What the cluster and Helm write for themselves is not judged.
async fn left_out(cluster: &Cluster, namespace: &TestNamespace) -> Result<()> {
    let mut release = object(ConfigKind::ConfigMap, "sh.helm.release.v1.shop.v1");
    release["metadata"]["labels"] = json!({"owner": "helm"});
    namespace.accepts(&release).await.context("a release of Helm in a ConfigMap")?;
    release["metadata"]["labels"] = json!({});
    namespace.rejects(&release).await.context("its name alone")?;
    let mut secret = object(ConfigKind::Secret, "release");
    secret["type"] = json!("helm.sh/release.v1");
    namespace.accepts(&secret).await.context("a release of Helm in a Secret")?;
    let controller = "system:serviceaccount:kube-system:root-ca-cert-publisher";
    let as_controller = namespace.requests_as(cluster.client_as(controller, &["system:masters"]).await?);
    let own = object(ConfigKind::ConfigMap, "kube-root-ca.crt-2");
    as_controller.create(Effect::DryRun, &own).await?.accepted().context("what a controller writes")?;
    namespace.rejects(&own).await.context("the same by a person").map(drop)
}
