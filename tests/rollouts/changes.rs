//! What is a change, and what one change does.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::place::{Place, RECORD_MANAGER, ROLLOUT_MANAGER, config};
use crate::web::{Web, cause, deployment, reads_all};

/// What a field manager owns of a workload, by server-side apply.
fn owned(workload: &Value, manager: &str) -> Result<Value> {
    let entries = workload["metadata"]["managedFields"].as_array().context("no managedFields")?;
    let of_manager: Vec<&Value> = entries.iter().filter(|entry| entry["manager"] == manager).collect();
    ensure!(of_manager.len() == 1 && of_manager[0]["operation"] == "Apply", "{manager}: {of_manager:?}");
    Ok(of_manager[0]["fieldsV1"].clone())
}

/// The spec without the annotations of the template that are ours.
fn spec_but_for_ours(workload: &Value) -> Value {
    let mut spec = workload["spec"].clone();
    let metadata = &mut spec["template"]["metadata"];
    let mut is_empty = false;
    if let Some(annotations) = metadata["annotations"].as_object_mut() {
        annotations.retain(|name, _| !name.starts_with("immutable.dev/"));
        is_empty = annotations.is_empty();
    }
    if let Some(metadata) = metadata.as_object_mut()
        && (is_empty || metadata["annotations"].is_null())
    {
        metadata.remove("annotations");
    }
    spec
}

#[tokio::test]
async fn one_edit_replaces_every_pod_once_and_writes_only_what_is_documented() -> Result<()> {
    let place = Place::shared().await?;
    place.config("app", json!({"level": "info", "color": "blue"})).await?;
    let web = place.web("web", 2, "app").await?;
    let before = web.stored().await?;
    let annotations = |names: &[&str]| {
        let names = names.iter().map(|name| (format!("f:immutable.dev/{name}"), json!({})));
        json!({"f:annotations": names.collect::<serde_json::Map<_, _>>()})
    };
    let recorded = json!({"f:metadata": annotations(&["config-baseline", "config-sources"])});
    ensure!(owned(&before, RECORD_MANAGER)? == recorded, "{before}");
    let old = place.pods("web").await?;
    ensure!(old.len() == 2, "{old:?}");

    let after = web.replaced_by(place.edit("app", json!({"level": "debug"}))).await?;
    ensure!(cause(&after)? == "ConfigMap app (level)", "{}", cause(&after)?);
    let new = place.pods("web").await?;
    ensure!(new.len() == 2 && old.keys().all(|pod| !new.contains_key(pod)), "before {old:?}, after {new:?}");
    place.were_replaced(&[("deployments/web", 1)]).await?;

    let after = web.stored().await?;
    let rolled = json!({
        "f:metadata": annotations(&["config-sources"]),
        "f:spec": {"f:template": {"f:metadata": annotations(&["config-digest", "rollout-cause"])}},
    });
    ensure!(owned(&after, ROLLOUT_MANAGER)? == rolled, "{}", after["metadata"]["managedFields"]);
    let recorded = json!({"f:metadata": annotations(&["config-baseline"])});
    ensure!(owned(&after, RECORD_MANAGER)? == recorded, "{}", after["metadata"]["managedFields"]);
    ensure!(spec_but_for_ours(&after) == spec_but_for_ours(&before), "before {before}, after {after}");
    let mut written = place.written().await?;
    // The Deployment's controller may have been faster.
    written.retain(|written| written.code != 409);
    ensure!(
        written.len() == 2 && written[0].manager == RECORD_MANAGER,
        "more than a record and a rollout: {written:?}"
    );
    Ok(())
}

#[tokio::test]
async fn what_changes_no_content_replaces_nothing() -> Result<()> {
    let place = Place::shared().await?;
    let data = json!({"level": "info", "color": "blue"});
    place.config("app", data.clone()).await?;
    let web = place.web("web", 1, "app").await?;
    // What was made in the second of an edit may have read either content.
    place.next_second().await?;

    let app = config("app", data.clone());
    place.merge(&app, json!({"metadata": {"labels": {"team": "shop"}, "annotations": {"note": "x"}}})).await?;
    let mut rewritten = config("app", data.clone());
    rewritten["metadata"]["labels"] = json!({"team": "other"});
    place
        .namespace
        .requests()
        .replace(crate::support::Effect::Real, &rewritten, None)
        .await?
        .accepted()
        .context("rewrite the same data")?;
    place.were_replaced(&[]).await?;
    place.delete(&app).await?;
    place.create(&app).await?;
    place.were_replaced(&[]).await?;

    // It is still looked at.
    web.replaced_by(place.edit("app", json!({"level": "debug"}))).await?;
    place.were_replaced(&[("deployments/web", 1)]).await
}

#[tokio::test]
async fn keys_and_values_that_divide_the_same_bytes_otherwise_are_a_change() -> Result<()> {
    let place = Place::shared().await?;
    place.config("app", json!({"a": "1;b=2"})).await?;
    let web = place.web("web", 1, "app").await?;
    let after = web.replaced_by(place.edit("app", json!({"a": "1", "b": "2"}))).await?;
    ensure!(cause(&after)? == "ConfigMap app (a, b)", "{}", cause(&after)?);
    place.were_replaced(&[("deployments/web", 1)]).await
}

#[tokio::test]
async fn what_is_deleted_and_made_anew_with_other_data_replaces_pods_once() -> Result<()> {
    let place = Place::shared().await?;
    place.config("plain", json!({"level": "info"})).await?;
    let mut frozen = config("frozen", json!({"level": "info"}));
    frozen["immutable"] = json!(true);
    place.create(&frozen).await?;
    let plain_web = place.web("plain-web", 1, "plain").await?;
    let frozen_web = place.web("frozen-web", 1, "frozen").await?;

    for (web, object) in [(&plain_web, config("plain", json!({}))), (&frozen_web, frozen)] {
        let mut other = object.clone();
        other["data"] = json!({"level": "debug"});
        let after = web
            .replaced_by(async {
                place.delete(&object).await?;
                place.create(&other).await
            })
            .await?;
        let named = format!("ConfigMap {}", object["metadata"]["name"].as_str().unwrap_or_default());
        ensure!(cause(&after)?.starts_with(&named), "{}", cause(&after)?);
    }
    place.were_replaced(&[("deployments/frozen-web", 1), ("deployments/plain-web", 1)]).await
}

#[tokio::test]
async fn an_optional_object_that_appears_or_goes_replaces_pods_once() -> Result<()> {
    let place = Place::shared().await?;
    let mut pod = reads_all("extra");
    pod["containers"][0]["envFrom"][0]["configMapRef"]["optional"] = json!(true);
    let web = Web::create(&place, deployment("web", 1, pod)).await?;
    web.recorded().await?;
    web.complete().await?;
    let after = web.replaced_by(place.config("extra", json!({"level": "info"}))).await?;
    ensure!(cause(&after)? == "ConfigMap extra", "{}", cause(&after)?);
    place.were_replaced(&[("deployments/web", 1)]).await?;
    let gone = async {
        place.delete(&config("extra", json!({}))).await?;
        Ok(Value::Null)
    };
    web.replaced_by(gone).await?;
    place.were_replaced(&[("deployments/web", 2)]).await
}
