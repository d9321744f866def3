//! Which fields of a pod refer to configuration, and which keys of it count.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::place::{Place, config};
use crate::web::{Web, cause, deployment, reads_all, workload};

/// One way in which pods read an object of their own name.
struct Way {
    name: &'static str,
    /// `ConfigMap` or `Secret`
    kind: &'static str,
    pod: Value,
    /// Whether the key `unread` is read by nobody.
    leaves_one: bool,
}

/// A pod with a volume that its container mounts like this.
fn mounts(volume: Value, sub_path: Option<&str>) -> Value {
    let mut mounted = json!({"name": "config", "mountPath": "/etc/config"});
    if let Some(path) = sub_path {
        mounted["subPath"] = json!(path);
    }
    let mut volume = volume;
    volume["name"] = json!("config");
    json!({"containers": [{"volumeMounts": [mounted]}], "volumes": [volume]})
}

fn ways() -> Vec<Way> {
    let items = json!([{"key": "read", "path": "file"}]);
    let variable =
        |field: &str, name: &str| json!([{"name": "READ", "valueFrom": {field: {"name": name, "key": "read"}}}]);
    let way = |name, kind, leaves_one, pod| Way { name, kind, pod, leaves_one };
    let of_config_map = |name, leaves_one, pod| way(name, "ConfigMap", leaves_one, pod);
    let of_secret = |name, leaves_one, pod| way(name, "Secret", leaves_one, pod);
    vec![
        of_config_map("env", true, json!({"containers": [{"env": variable("configMapKeyRef", "env")}]})),
        of_config_map("env-from", false, reads_all("env-from")),
        of_config_map("volume", false, mounts(json!({"configMap": {"name": "volume"}}), None)),
        of_config_map("items", true, mounts(json!({"configMap": {"name": "items", "items": items}}), None)),
        of_config_map("sub-path", true, mounts(json!({"configMap": {"name": "sub-path"}}), Some("read"))),
        of_config_map(
            "projected",
            true,
            mounts(json!({"projected": {"sources": [{"configMap": {"name": "projected", "items": items}}]}}), None),
        ),
        of_config_map("init", true, json!({"initContainers": [{"env": variable("configMapKeyRef", "init")}]})),
        of_secret("secret-env", true, json!({"containers": [{"env": variable("secretKeyRef", "secret-env")}]})),
        of_secret(
            "secret-env-from",
            false,
            json!({"containers": [{"envFrom": [{"secretRef": {"name": "secret-env-from"}}]}]}),
        ),
        of_secret("secret-volume", false, mounts(json!({"secret": {"secretName": "secret-volume"}}), None)),
        of_secret(
            "secret-projected",
            true,
            mounts(json!({"projected": {"sources": [{"secret": {"name": "secret-projected", "items": items}}]}}), None),
        ),
    ]
}

/// The object that a way reads.
fn object(way: &Way, read: &str, unread: &str) -> Value {
    let field = if way.kind == "Secret" { "stringData" } else { "data" };
    json!({
        "apiVersion": "v1", "kind": way.kind, "metadata": {"name": way.name},
        field: {"read": read, "unread": unread},
    })
}

#[tokio::test]
async fn pods_are_replaced_for_every_reference_and_only_for_keys_that_they_read() -> Result<()> {
    let place = Place::shared().await?;
    let ways = ways();
    let mut webs = Vec::new();
    for way in &ways {
        place.create(&object(way, "one", "one")).await?;
        webs.push(Web::create(&place, deployment(way.name, 0, way.pod.clone())).await?);
    }
    // A volume that no container mounts is not set up.
    let mut unmounted = mounts(json!({"configMap": {"name": "volume"}}), None);
    unmounted["containers"] = Value::Null;
    Web::create(&place, deployment("unmounted", 0, unmounted)).await?;
    for web in &webs {
        web.recorded().await?;
        web.complete().await?;
    }
    let fields = |way: &Way, read: &str, unread: &str| {
        let mut object = object(way, read, unread);
        ["data", "stringData"].into_iter().find_map(|field| Some((field, object.get_mut(field)?.take())))
    };
    for way in ways.iter().filter(|way| way.leaves_one) {
        let (field, values) = fields(way, "one", "two").context("no data")?;
        place.merge(&object(way, "", ""), json!({field: values})).await?;
    }
    place.were_replaced(&[]).await?;
    for (way, web) in ways.iter().zip(&webs) {
        let (field, values) = fields(way, "two", "two").context("no data")?;
        let after = web.replaced_by(place.merge(&object(way, "", ""), json!({field: values}))).await;
        let after = after.with_context(|| way.name.to_owned())?;
        let keys = if way.leaves_one { "read" } else { "read, unread" };
        let expected = format!("{} {} ({keys})", way.kind, way.name);
        ensure!(cause(&after)? == expected, "{}, expected {expected}", cause(&after)?);
    }
    let names: Vec<String> = ways.iter().map(|way| format!("deployments/{}", way.name)).collect();
    let expected: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    place.were_replaced(&expected).await
}

#[tokio::test]
async fn bytes_that_are_no_text_count_too() -> Result<()> {
    let place = Place::shared().await?;
    let mut binary = config("app", json!({}));
    binary["binaryData"] = json!({"logo": "/w=="});
    place.create(&binary).await?;
    let web = place.web("web", 1, "app").await?;
    let after = web.replaced_by(place.merge(&binary, json!({"binaryData": {"logo": "/g=="}}))).await?;
    ensure!(cause(&after)? == "ConfigMap app (logo)", "{}", cause(&after)?);
    // The same bytes as text are another thing.
    web.replaced_by(place.merge(&binary, json!({"binaryData": null, "data": {"logo": "/g=="}}))).await?;
    place.were_replaced(&[("deployments/web", 2)]).await
}

#[tokio::test]
async fn stateful_sets_and_daemon_sets_are_replaced_too() -> Result<()> {
    let place = Place::shared().await?;
    place.config("app", json!({"level": "info"})).await?;
    let mut database = workload("StatefulSet", "database", reads_all("app"));
    database["spec"]["replicas"] = json!(2);
    let webs = [
        Web::create(&place, database).await?,
        Web::create(&place, workload("DaemonSet", "agent", reads_all("app"))).await?,
    ];
    let mut before = Vec::new();
    for (web, name) in webs.iter().zip(["database", "agent"]) {
        web.recorded().await?;
        before.push((web.complete().await?, place.pods(name).await?));
    }
    place.edit("app", json!({"level": "debug"})).await?;
    for ((web, name), (stored, old)) in webs.iter().zip(["database", "agent"]).zip(&before) {
        let after = web.replaced(stored).await?;
        ensure!(cause(&after)? == "ConfigMap app (level)", "{}", cause(&after)?);
        let new = place.pods(name).await?;
        ensure!(new.len() == old.len() && old.keys().all(|pod| !new.contains_key(pod)), "{name}: {old:?}, {new:?}");
    }
    place.were_replaced(&[("daemonsets/agent", 1), ("statefulsets/database", 1)]).await
}
