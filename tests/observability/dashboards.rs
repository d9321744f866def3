//! Dashboards: what Grafana would take and nobody could read is an error here.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::metrics;
use crate::prometheus::Prometheus;
use crate::sample::{be_denied, sample};
use crate::support::{GENEROUS, wait_until};
use crate::tools::read;

const DASHBOARDS: [(&str, &str); 2] = [
    ("deploy/grafana/posture.json", "immutable-posture"),
    ("deploy/grafana/operator-health.json", "immutable-operator-health"),
];

/// Panels that are empty while all is well.
const EMPTY_WHEN_WELL: [&str; 1] = ["Calls that fail"];

/// A panel that shows something.
struct Panel {
    name: String,
    json: Value,
    /// Its queries with the text of the legend.
    queries: Vec<(String, String)>,
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value[field].as_str().unwrap_or_default()
}

fn dashboard(file: &str) -> Result<Value> {
    serde_json::from_str(&read(file)?).with_context(|| file.to_owned())
}

/// The panels of all dashboards, without the headings.
fn panels() -> Result<Vec<Panel>> {
    let mut panels = Vec::new();
    for (file, _) in DASHBOARDS {
        let dashboard = dashboard(file)?;
        for json in dashboard["panels"].as_array().context("no panels")? {
            if json["type"] == "row" {
                continue;
            }
            let targets = json["targets"].as_array().into_iter().flatten();
            let queries =
                targets.map(|target| (text(target, "expr").to_owned(), text(target, "legendFormat").to_owned()));
            panels.push(Panel {
                name: format!("{file}: {}", json["title"]),
                json: json.clone(),
                queries: queries.collect(),
            });
        }
    }
    ensure!(panels.len() > 20, "there are only {} panels", panels.len());
    Ok(panels)
}

/// A query as Grafana sends it with everything chosen.
fn filled_in(query: &str) -> String {
    query.replace("$__rate_interval", "5m").replace("$cluster", ".*").replace("$job", ".*")
}

#[test]
fn dashboards_keep_the_usual_rules() -> Result<()> {
    for (file, uid) in DASHBOARDS {
        let dashboard = dashboard(file)?;
        ensure!(dashboard["uid"] == uid, "{file} has the uid {}", dashboard["uid"]);
        ensure!(dashboard["editable"] == false, "{file} can be edited, and edits of it would be lost");
        ensure!(dashboard.get("id").is_none(), "{file} has the id of some Grafana");
        for field in ["title", "description"] {
            ensure!(!text(&dashboard, field).is_empty(), "{file} has no {field}");
        }
        let variables = dashboard["templating"]["list"].as_array().context("no variables")?;
        let names: Vec<&str> = variables.iter().map(|variable| text(variable, "name")).collect();
        ensure!(names == ["datasource", "cluster", "job"], "{file} has the variables {names:?}");
        ensure!(variables[0]["type"] == "datasource" && variables[0]["query"] == "prometheus", "{}", variables[0]);
        for variable in &variables[1..] {
            ensure!(variable["datasource"]["uid"] == "${datasource}", "{file}: {variable}");
            ensure!(variable["allValue"] == ".*", "{file}: where there is no such label, All must match: {variable}");
        }
        let all = dashboard["panels"].as_array().context("no panels")?;
        let ids: BTreeSet<String> = all.iter().map(|panel| panel["id"].to_string()).collect();
        ensure!(ids.len() == all.len(), "{file}: two panels have one id");
        let mut taken = BTreeSet::new();
        for panel in all {
            let place =
                |field: &str| panel["gridPos"][field].as_u64().with_context(|| format!("{panel} has no {field}"));
            let (x, y, w, h) = (place("x")?, place("y")?, place("w")?, place("h")?);
            ensure!(w > 0 && h > 0 && x + w <= 24, "{file}: {} does not fit", panel["title"]);
            for cell in (x..x + w).flat_map(|column| (y..y + h).map(move |row| (column, row))) {
                ensure!(taken.insert(cell), "{file}: {} lies on another panel", panel["title"]);
            }
        }
    }
    Ok(())
}

#[test]
fn every_panel_says_what_it_shows_in_which_unit() -> Result<()> {
    for Panel { name, json, queries } in panels()? {
        ensure!(text(&json, "description").len() > 15, "{name} has no description");
        let unit = text(&json["fieldConfig"]["defaults"], "unit");
        ensure!(!unit.is_empty() && unit != "none", "{name} has no unit");
        ensure!(json["datasource"]["uid"] == "${datasource}", "{name} has a data source of its own");
        ensure!(!queries.is_empty(), "{name} asks for nothing");
        for target in json["targets"].as_array().into_iter().flatten() {
            ensure!(target["datasource"]["uid"] == "${datasource}", "{name} has a data source of its own: {target}");
        }
        for (query, _) in queries {
            for rate in query.split("rate(").skip(1) {
                let range = rate.split_once("}[").and_then(|(_, rest)| rest.split_once(']')).map(|(range, _)| range);
                ensure!(range == Some("$__rate_interval"), "{name} has a rate over {range:?}: {query}");
            }
            // Whatever is shown is of the cluster and the job that were chosen.
            for metric in query.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
                let chosen = match metric.split('_').next() {
                    Some("immutable" | "process") if metric.contains('_') => "cluster=~\"$cluster\", job=~\"$job\"",
                    Some("apiserver") => "cluster=~\"$cluster\"",
                    _ => continue,
                };
                let all = query.matches(metric).count();
                let right = query.matches(&format!("{metric}{{{chosen}")).count();
                ensure!(right > 0 && right == all, "{name}: {metric} is not of what was chosen: {query}");
            }
        }
    }
    Ok(())
}

#[tokio::test]
async fn every_panel_asks_for_what_is_there() -> Result<()> {
    let known = metrics::known().await?;
    for Panel { name, json, queries } in panels()? {
        for (query, legend) in queries {
            let (labels, uses) = known.schema.check(&filled_in(&query)).with_context(|| name.clone())?;
            known.has_values(&uses).with_context(|| format!("{name}: {query}"))?;
            let written = legend.split("{{").skip(1).filter_map(|rest| rest.split_once("}}"));
            for (label, _) in written {
                ensure!(labels.contains(label), "{name}: the legend says {label}, and there is only {labels:?}");
            }
            if json["type"] == "table" {
                let columns = &json["transformations"][0]["options"]["renameByName"];
                let columns: BTreeSet<String> = columns.as_object().context("no columns")?.keys().cloned().collect();
                let mut expected = labels;
                expected.insert("Value".to_owned());
                ensure!(columns == expected, "{name} has the columns {columns:?}, and there are {expected:?}");
            }
        }
    }
    Ok(())
}

/// Label names do not tell whether Prometheus can match one side of a query with the other; Prometheus does.
#[tokio::test]
async fn every_panel_shows_something_in_a_real_prometheus() -> Result<()> {
    let known = metrics::known().await?;
    let (cluster, _) = sample().await?;
    let prometheus = Prometheus::running().await?;
    let mut shown = 0;
    for Panel { name, json, queries } in panels()? {
        for (query, _) in queries {
            let query = filled_in(&query);
            let (_, uses) = known.schema.check(&query)?;
            let is_counted = uses.metrics.iter().all(|metric| known.is_shown(metric));
            let may_be_empty = !is_counted || EMPTY_WHEN_WELL.contains(&text(&json, "title"));
            wait_until(&format!("{name} to show something"), GENEROUS, async || {
                let is_empty = prometheus.query(&query).await?.is_empty();
                if may_be_empty || !is_empty {
                    return Ok(());
                }
                // What is shown is how often something happens, so it must happen again.
                be_denied(cluster).await?;
                bail!("it is empty: {query}")
            })
            .await?;
            shown += usize::from(!may_be_empty);
        }
    }
    ensure!(shown > 15, "only {shown} queries show anything");
    Ok(())
}
