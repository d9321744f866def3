//! Content that changes and returns while the change waits.

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{DeleteParams, ListParams},
};
use serde_json::json;

use crate::place::{Place, at_once_but};
use crate::support::{GENEROUS, wait_until};
use crate::web::cause;

/// Changes what pods read, lets something happen, and takes the change back before it has settled; returns when all that
/// has settled.
async fn change_and_return(place: &Place<'_>, meanwhile: impl AsyncFnOnce() -> Result<()>) -> Result<()> {
    place.config("other", json!({"mark": "none"})).await?;
    let other = place.web("other", 0, "other").await?;
    // The first time it takes longer, and what follows must be done before the change has settled.
    place.quiet().await?;
    place.next_second().await?;
    place.edit("app", json!({"level": "debug"})).await?;
    place.quiet().await?;
    meanwhile().await?;
    place.edit("app", json!({"level": "info"})).await?;
    // What is edited now settles later.
    other.replaced_by(place.edit("other", json!({"mark": "after"}))).await.map(|_| ())
}

fn slowly() -> serde_json::Value {
    at_once_but(json!({"settle": "9s"}))
}

#[tokio::test]
async fn content_that_returns_before_it_has_settled_replaces_nothing() -> Result<()> {
    let place = Place::shared_with(slowly()).await?;
    place.config("app", json!({"level": "info"})).await?;
    let web = place.web("web", 1, "app").await?;
    change_and_return(&place, async || Ok(())).await?;
    place.were_replaced(&[("deployments/other", 1)]).await?;
    web.replaced_by(place.edit("app", json!({"level": "debug"}))).await?;
    place.were_replaced(&[("deployments/other", 1), ("deployments/web", 1)]).await
}

#[tokio::test]
async fn a_pod_born_while_a_change_waits_is_replaced_although_the_content_returns() -> Result<()> {
    let place = Place::shared_with(slowly()).await?;
    place.config("app", json!({"level": "info"})).await?;
    let web = place.web("web", 2, "app").await?;
    let before = web.stored().await?;
    let old = place.pods("web").await?;
    let pods: Api<Pod> = Api::namespaced(place.namespace.client(), place.namespace.name());
    let born = async || {
        let list = pods.list(&ListParams::default().labels("app=web")).await?;
        let first = list.items.first().and_then(|pod| pod.metadata.name.clone()).context("no pod")?;
        pods.delete(&first, &DeleteParams::default().grace_period(0)).await?;
        wait_until("another pod", GENEROUS, async || {
            let pods = place.pods("web").await?;
            let is_new = pods.len() == 2 && pods.keys().any(|pod| !old.contains_key(pod));
            ensure!(is_new, "{pods:?}");
            Ok(())
        })
        .await
    };
    let mut middle = None;
    change_and_return(&place, async || {
        born().await?;
        middle = Some(place.pods("web").await?);
        Ok(())
    })
    .await?;
    let middle = middle.context("no pods")?;
    let after = web.replaced(&before).await?;
    ensure!(cause(&after)?.contains("ConfigMap app (level); back as before "), "{}", cause(&after)?);
    place.were_replaced(&[("deployments/other", 1), ("deployments/web", 1)]).await?;
    let new = place.pods("web").await?;
    ensure!(new.keys().all(|pod| !middle.contains_key(pod)), "before {middle:?}, after {new:?}");
    web.reads_what_is_current().await.map(|_| ())
}
