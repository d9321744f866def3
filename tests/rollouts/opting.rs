//! Opting in and out, and edits of policies: none of them is a change of what pods read.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::place::{Place, at_once_but, policy};
use crate::web::{Web, baseline, deployment, reads_all};

fn choice(value: &Value) -> Value {
    json!({"metadata": {"annotations": {"immutable.dev/rollout": value}}})
}

#[tokio::test]
async fn opting_in_and_out_and_in_again_replaces_nothing() -> Result<()> {
    let place = Place::shared_with(at_once_but(json!({"onConfigChange": "OptIn"}))).await?;
    place.config("app", json!({"level": "1"})).await?;
    let web = Web::create(&place, deployment("web", 1, reads_all("app"))).await?;
    web.complete().await?;
    place.next_second().await?;
    place.edit("app", json!({"level": "2"})).await?;
    place.were_replaced(&[]).await?;
    ensure!(baseline(&web.stored().await?).is_none(), "it has not opted in: {:?}", place.written().await?);

    web.merge(choice(&json!("enabled"))).await?;
    web.recorded().await?;
    place.were_replaced(&[]).await?;
    web.replaced_by(place.edit("app", json!({"level": "3"}))).await?;

    for out in [json!("disabled"), Value::Null] {
        place.next_second().await?;
        web.merge(choice(&out)).await?;
        place.quiet().await?;
        place.edit("app", json!({"level": format!("out {out}")})).await?;
        place.quiet().await?;
        web.merge(choice(&json!("enabled"))).await?;
        web.reads_what_is_current().await?;
        place.were_replaced(&[("deployments/web", 1)]).await?;
    }
    web.replaced_by(place.edit("app", json!({"level": "4"}))).await?;
    place.were_replaced(&[("deployments/web", 2)]).await
}

#[tokio::test]
async fn an_edit_of_a_policy_replaces_nothing() -> Result<()> {
    let place = Place::shared().await?;
    place.config("app", json!({"level": "1"})).await?;
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "app"}, "stringData": {"a": "1"}});
    place.create(&secret).await?;
    let references = json!([{"configMapRef": {"name": "app"}}, {"secretRef": {"name": "app"}}]);
    let web = Web::create(&place, deployment("web", 1, json!({"containers": [{"envFrom": references}]}))).await?;
    web.recorded().await?;
    web.complete().await?;
    web.replaced_by(place.edit("app", json!({"level": "2"}))).await?;
    place.next_second().await?;

    let policy = policy(&Value::Null);
    for replace in [
        json!({"minInterval": "1s"}),
        json!({"kinds": ["ConfigMap"]}),
        json!({"kinds": ["ConfigMap", "Secret"]}),
        json!({"onConfigChange": "Disabled"}),
        json!({"onConfigChange": "Enabled"}),
        json!({"minInterval": "0s"}),
    ] {
        place.merge(&policy, json!({"spec": {"replace": replace}})).await?;
        place.were_replaced(&[("deployments/web", 1)]).await?;
    }
    web.reads_what_is_current().await?;
    // What changes while its kind does not count is no change when it counts again.
    place.merge(&policy, json!({"spec": {"replace": {"kinds": ["ConfigMap"]}}})).await?;
    place.quiet().await?;
    place.merge(&secret, json!({"stringData": {"a": "2"}})).await?;
    place.quiet().await?;
    place.merge(&policy, json!({"spec": {"replace": {"kinds": ["ConfigMap", "Secret"]}}})).await?;
    place.were_replaced(&[("deployments/web", 1)]).await?;
    web.replaced_by(place.merge(&secret, json!({"stringData": {"a": "3"}}))).await?;
    place.were_replaced(&[("deployments/web", 2)]).await
}
