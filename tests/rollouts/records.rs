//! What is noted beside a template, where others write there too.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::place::{Place, RECORD_MANAGER};
use crate::web::baseline;

/// How often the operator noted something on a Deployment.
async fn noted(place: &Place<'_>) -> Result<usize> {
    let of_web = place.written().await?.into_iter().filter(|written| written.object == "deployments/web");
    Ok(of_web.filter(|written| written.manager == RECORD_MANAGER).count())
}

#[tokio::test]
async fn who_writes_annotations_of_ours_is_not_fought_with() -> Result<()> {
    let place = Place::shared().await?;
    place.config("app", json!({"level": "1"})).await?;
    let web = place.web("web", 1, "app").await?;
    let stored = web.recorded().await?;
    web.complete().await?;
    let digest = baseline(&stored).and_then(|baseline| baseline.strip_prefix("-:")).context("no baseline")?.to_owned();
    let before = noted(&place).await?;
    let annotation = |name: &str, value: Value| json!({"metadata": {"annotations": {name: value}}});
    // It says that the content differs, and belongs to somebody else: an apply without it leaves it as it is.
    let since = json!(format!("{digest}:2026-11-26T14:00:00Z"));
    web.merge(annotation("immutable.dev/config-differs-since", since)).await?;
    for _ in 0..3 {
        place.quiet().await?;
    }
    // It is taken away again and again: each time it is written once at most, and ever later.
    for _ in 0..4 {
        web.merge(annotation("immutable.dev/config-baseline", Value::Null)).await?;
        place.quiet().await?;
    }
    let after = noted(&place).await?;
    ensure!(after <= before + 4, "it noted {} times", after - before);
    place.were_replaced(&[]).await
}
