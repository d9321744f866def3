//! The key of digests: whatever happens to it, no pod is replaced for that.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::place::{Place, at_once, policy};
use crate::support::{Cluster, GENEROUS, Operator, wait_until};
use crate::web::{Web, baseline, cause};

/// Names the Secret with the key.
fn key() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "immutable-operator-digest-key", "namespace": "immutable-system"},
    })
}

/// The key as it is stored.
async fn stored_key(place: &Place<'_>) -> Result<Value> {
    wait_until("the key", GENEROUS, async || {
        Ok(place.namespace.requests().get(&key()).await?.accepted()?["data"].clone())
    })
    .await
}

/// Waits until records are by another key than before: the key's id stands in a digest.
async fn recorded_anew(web: &Web<'_>, before: &Value) -> Result<Value> {
    let id = |workload: &Value| {
        let digest =
            baseline(workload).and_then(|baseline| baseline.split_once(':')).map(|(_, digest)| digest.to_owned());
        digest.map(|digest| digest.split('-').take(2).collect::<Vec<_>>().join("-"))
    };
    web.becomes("recorded by another key", |stored| id(stored).is_some() && id(stored) != id(before)).await?;
    web.recorded().await
}

#[tokio::test]
async fn a_lost_or_broken_key_replaces_nothing() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut operator = Operator::start(&cluster).await?;
    let place = Place::on(&cluster, at_once()).await?;
    place.config("app", json!({"level": "1"})).await?;
    place.config("still", json!({"level": "1"})).await?;
    let web = place.web("web", 1, "app").await?;
    let still = place.web("still", 1, "still").await?;
    web.replaced_by(place.edit("app", json!({"level": "2"}))).await?;
    place.next_second().await?;

    // Lost while the operator runs: it writes the same again.
    let known = stored_key(&place).await?;
    place.delete(&key()).await?;
    let again = stored_key(&place).await?;
    ensure!(again == known, "another key was made while the operator knew the one before");
    place.were_replaced(&[("deployments/web", 1)]).await?;
    web.replaced_by(place.edit("app", json!({"level": "3"}))).await?;

    // Lost while it is down: it makes another, and learns anew.
    let before = still.stored().await?;
    operator.terminate().await?;
    place.delete(&key()).await?;
    operator = Operator::start(&cluster).await?;
    let before = (web.stored().await?, recorded_anew(&still, &before).await?);
    ensure!(stored_key(&place).await? != known, "the same key");
    recorded_anew(&web, &before.0).await?;
    place.were_replaced(&[("deployments/web", 2)]).await?;
    let after = web.replaced_by(place.edit("app", json!({"level": "4"}))).await?;
    ensure!(cause(&after)? == "ConfigMap app (level)", "{}", cause(&after)?);
    still.replaced_by(place.edit("still", json!({"level": "2"}))).await?;
    let expected = [("deployments/still", 1), ("deployments/web", 3)];
    place.were_replaced(&expected).await?;

    // Broken: said in words that help, nothing is replaced, and all else works.
    operator.terminate().await?;
    place.merge(&key(), json!({"data": {"key": "c2hvcnQ="}})).await?;
    operator = Operator::start(&cluster).await?;
    wait_until("the broken key to be told", GENEROUS, async || {
        let log = operator.log().await?;
        ensure!(log.contains("does not hold") && log.contains("delete it"), "{log}");
        Ok(())
    })
    .await?;
    place.edit("app", json!({"level": "5"})).await?;
    let rule = json!({
        "apiVersion": "immutable.dev/v1alpha1", "kind": "ImmutablePolicy", "metadata": {"name": "rule"},
        "spec": {"enforcement": "Enforce", "rules": {"imageDigest": {}}, "match": {"kinds": ["Pod"]}},
    });
    place.create(&rule).await?;
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "bad"},
        "spec": {"containers": [{"name": "main", "image": "registry.example/web:1"}]},
    });
    wait_until("a denial", GENEROUS, async || place.namespace.rejects(&pod).await).await?;
    place.delete(&rule).await?;
    let rollouts = place.rollouts().await?;
    ensure!(rollouts.get("deployments/web") == Some(&3), "{rollouts:?}");

    // As it says: deleted, it is made again.
    let before = (web.stored().await?, still.stored().await?);
    place.delete(&key()).await?;
    recorded_anew(&web, &before.0).await?;
    recorded_anew(&still, &before.1).await?;
    place.were_replaced(&expected).await?;
    still.replaced_by(place.edit("still", json!({"level": "3"}))).await?;
    place.were_replaced(&[("deployments/still", 2), ("deployments/web", 3)]).await?;

    // Replaced by another while a change waits: what waits is not forgotten, and nothing else is replaced.
    place.merge(&policy(&Value::Null), json!({"spec": {"replace": {"settle": "8s"}}})).await?;
    let before = (web.stored().await?, still.stored().await?);
    place.edit("app", json!({"level": "6"})).await?;
    place.quiet().await?;
    place.merge(&key(), json!({"data": {"key": "YmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmJiYmI="}})).await?;
    web.replaced(&before.0).await?;
    recorded_anew(&still, &before.1).await?;
    place.were_replaced(&[("deployments/still", 2), ("deployments/web", 4)]).await?;
    operator.still_runs().await
}
