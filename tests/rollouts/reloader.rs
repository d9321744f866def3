//! The annotations of stakater/Reloader, where a policy says that they are understood.

use anyhow::Result;
use serde_json::{Value, json};

use crate::place::{Place, at_once_but, config};
use crate::web::{Web, deployment, reads_all};

/// A Deployment that reads a ConfigMap, with annotations.
fn annotated(name: &str, reads: &str, annotations: Value) -> Value {
    let mut manifest = deployment(name, 1, reads_all(reads));
    manifest["metadata"]["annotations"] = annotations;
    manifest
}

/// A ConfigMap with an annotation.
fn marked(name: &str, annotation: &str) -> Value {
    let mut manifest = config(name, json!({"level": "1"}));
    manifest["metadata"]["annotations"] = json!({annotation: "true"});
    manifest
}

#[tokio::test]
async fn annotations_of_reloader_say_what_counts() -> Result<()> {
    let understood = json!({"onConfigChange": "OptIn", "compatibility": ["Reloader"]});
    let place = Place::shared_with(at_once_but(understood)).await?;
    for name in ["app", "extra", "feature-x", "unmarked"] {
        place.config(name, json!({"level": "1"})).await?;
    }
    place.create(&marked("marked", "reloader.stakater.com/match")).await?;
    place.create(&marked("ignored", "reloader.stakater.com/ignore")).await?;
    let auto = json!({"reloader.stakater.com/auto": "true"});
    let search = json!({"reloader.stakater.com/search": "true"});
    let mut of_template = deployment("of-template", 1, reads_all("app"));
    of_template["spec"]["template"]["metadata"]["annotations"] = auto.clone();
    let named = json!({"configmap.reloader.stakater.com/reload": "extra,feature-.*"});
    let excluded = json!({
        "reloader.stakater.com/auto": "true", "configmaps.exclude.reloader.stakater.com/reload": "app",
    });
    let mut webs = Vec::new();
    for manifest in [
        annotated("auto", "app", auto.clone()),
        of_template,
        annotated("named", "app", named),
        annotated("excluded", "app", excluded),
        annotated("searches", "marked", search.clone()),
        annotated("searches-in-vain", "unmarked", search),
        annotated("ignores", "ignored", auto),
        deployment("silent", 1, reads_all("app")),
    ] {
        webs.push(Web::create(&place, manifest).await?);
    }
    for (web, is_recorded) in webs.iter().zip([true, true, true, false, true, false, false, false]) {
        web.complete().await?;
        if is_recorded {
            web.recorded().await?;
        }
    }
    place.next_second().await?;
    for (name, level) in [("app", "2"), ("marked", "2"), ("unmarked", "2"), ("ignored", "2"), ("extra", "2")] {
        place.edit(name, json!({"level": level})).await?;
    }
    let once = [
        ("deployments/auto", 1),
        ("deployments/named", 1),
        ("deployments/of-template", 1),
        ("deployments/searches", 1),
    ];
    place.were_replaced(&once).await?;

    // What a pattern names need not have been there, and need not be referred to.
    let [named, searches_in_vain] = [&webs[2], &webs[5]];
    named.complete().await?;
    named.replaced_by(place.edit("feature-x", json!({"level": "2"}))).await?;
    // A mark is no change of what pods read; what changes from then on is.
    place
        .merge(
            &config("unmarked", json!({})),
            json!({"metadata": {"annotations": {"reloader.stakater.com/match": "true"}}}),
        )
        .await?;
    searches_in_vain.recorded().await?;
    place.next_second().await?;
    searches_in_vain.replaced_by(place.edit("unmarked", json!({"level": "3"}))).await?;
    let all = [
        ("deployments/auto", 1),
        ("deployments/named", 2),
        ("deployments/of-template", 1),
        ("deployments/searches", 1),
        ("deployments/searches-in-vain", 1),
    ];
    place.were_replaced(&all).await
}

#[tokio::test]
async fn annotations_of_reloader_do_nothing_where_no_policy_understands_them() -> Result<()> {
    let place = Place::shared_with(at_once_but(json!({"onConfigChange": "OptIn"}))).await?;
    place.config("app", json!({"level": "1"})).await?;
    let web = Web::create(&place, annotated("auto", "app", json!({"reloader.stakater.com/auto": "true"}))).await?;
    web.complete().await?;
    place.next_second().await?;
    place.edit("app", json!({"level": "2"})).await?;
    place.were_replaced(&[]).await
}
