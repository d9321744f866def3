//! The metrics that there are: those of the running operator, those that it has registered and never counted yet, and
//! those of a real API server.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use immutable_operator::telemetry::Metrics;
use tokio::sync::OnceCell;

use crate::promql::{Schema, Uses};
use crate::rules::rules;
use crate::sample::{sample, server_metrics};
use crate::tools::{read, run};

/// Values that the API server gives to labels of its own, from `validating/metrics/metrics.go` of k8s.io/apiserver.
const VALUES_OF_THE_SERVER: [(&str, &[&str]); 2] = [
    ("error_type", &["compile_error", "invalid_error", "out_of_budget", "no_error"]),
    ("enforcement_action", &["allow", "deny", "audit", "warn"]),
];

/// What can be asked for.
pub(crate) struct Known {
    pub(crate) schema: Schema,
    /// The metrics that have series, with the values of each label.
    shown: BTreeMap<String, BTreeMap<String, BTreeSet<String>>>,
    /// What the documentation writes as code.
    documented: BTreeSet<String>,
}

static KNOWN: OnceCell<Known> = OnceCell::const_new();

/// All metrics, those of the recording rules among them.
pub(crate) async fn known() -> Result<&'static Known> {
    KNOWN.get_or_try_init(look).await
}

async fn look() -> Result<Known> {
    let (cluster, operator) = sample().await?;
    let mut schema = registered()?;
    let samples: Vec<Sample> = samples(&operator.get("/metrics").await?.body)?;
    let of_server = samples_of_server(&server_metrics(cluster).await?)?;
    for sample in &of_server {
        schema.scraped(&sample.name, sample.labels.keys());
    }
    let mut shown: BTreeMap<String, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    for Sample { name, labels } in samples.into_iter().chain(of_server) {
        let of_metric = shown.entry(name).or_default();
        for (label, value) in labels {
            of_metric.entry(label).or_default().insert(value);
        }
    }
    schema.scraped("up", Vec::<String>::new());
    shown.entry("up".to_owned()).or_default();
    for rule in rules()?.into_iter().filter(|rule| !rule.record.is_empty()) {
        let (labels, _) = schema.check(&rule.expr).with_context(|| rule.record.clone())?;
        schema.recorded(&rule.record, labels);
    }
    let documented = read("docs/operator.md")?.split('`').skip(1).step_by(2).map(ToOwned::to_owned).collect();
    Ok(Known { schema, shown, documented })
}

impl Known {
    /// Whether each value that a query compares with can occur: the operator or the API server shows it, or the
    /// documentation names it.
    pub(crate) fn has_values(&self, uses: &Uses) -> Result<()> {
        for asked in &uses.values {
            // What a rule has recorded has the values of what it is made of.
            let is_meant = |metric: &&String| **metric == asked.metric || asked.metric.contains(':');
            let of_metrics =
                self.shown.keys().filter(is_meant).filter_map(|metric| self.shown[metric].get(&asked.label));
            let shown: BTreeSet<&String> = of_metrics.flatten().collect();
            let of_server = VALUES_OF_THE_SERVER.iter().find(|(label, _)| *label == asked.label);
            let is_known = shown.contains(&asked.value)
                || of_server.is_some_and(|(_, values)| values.contains(&asked.value.as_str()))
                || self.documented.contains(&asked.value)
                // Codes of HTTP.
                || asked.label == "code";
            ensure!(is_known, "nobody knows {asked:?}; shown is {shown:?}");
        }
        Ok(())
    }

    /// Whether a metric has a series at present.
    pub(crate) fn is_shown(&self, metric: &str) -> bool {
        self.shown.contains_key(metric)
    }
}

/// What the operator registers, whether or not it has counted any of it.
fn registered() -> Result<Schema> {
    let metrics = Metrics::new()?;
    let mut schema = Schema::default();
    for metric in metrics.described() {
        if metric.is_histogram {
            let bucket = metric.labels.iter().map(String::as_str).chain(["le"]);
            schema.scraped(&format!("{}_bucket", metric.name), bucket);
            schema.scraped(&format!("{}_sum", metric.name), &metric.labels);
            schema.scraped(&format!("{}_count", metric.name), &metric.labels);
        } else {
            schema.scraped(&metric.name, &metric.labels);
        }
    }
    Ok(schema)
}

/// One line of Prometheus' text format.
#[derive(Debug)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
}

/// Only of what is about policies: the API server has thousands more.
fn samples_of_server(text: &str) -> Result<Vec<Sample>> {
    let lines: Vec<&str> = text.lines().filter(|line| line.contains("immutable-")).collect();
    samples(&lines.join("\n"))
}

fn samples(text: &str) -> Result<Vec<Sample>> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(sample_of).collect()
}

fn sample_of(line: &str) -> Result<Sample> {
    let (series, _) = line.rsplit_once(' ').with_context(|| format!("no value: {line}"))?;
    let Some((name, labels)) = series.split_once('{') else {
        return Ok(Sample { name: series.to_owned(), labels: BTreeMap::new() });
    };
    let mut rest = labels.strip_suffix('}').with_context(|| format!("no end: {line}"))?;
    let mut read = BTreeMap::new();
    while !rest.is_empty() {
        let (label, after) = rest.split_once("=\"").with_context(|| format!("no value of a label: {line}"))?;
        let is_end = |(index, _): &(usize, &str)| !after[..*index].ends_with('\\');
        let (end, _) = after.match_indices('"').find(is_end).with_context(|| format!("no end of a value: {line}"))?;
        read.insert(label.to_owned(), after[..end].to_owned());
        rest = after[end + 1..].trim_start_matches(',');
    }
    Ok(Sample { name: name.to_owned(), labels: read })
}

#[tokio::test]
async fn what_the_operator_shows_is_what_it_has_registered() -> Result<()> {
    let (_, operator) = sample().await?;
    let schema = registered()?;
    let text = operator.get("/metrics").await?.body;
    let samples = samples(&text)?;
    ensure!(samples.iter().any(|sample| sample.name == "process_resident_memory_bytes"), "it tells no memory: {text}");
    for Sample { name, labels } in samples {
        let matchers: Vec<String> = labels.keys().map(|label| format!("{label}=~\".*\"")).collect();
        schema.check(&format!("{name}{{{}}}", matchers.join(",")))?;
    }
    run("promtool", &["check", "metrics"], &text).await?;
    Ok(())
}

#[tokio::test]
async fn every_metric_is_documented() -> Result<()> {
    let documentation = read("docs/operator.md")?;
    let metrics = Metrics::new()?;
    let of_ours: Vec<_> = metrics.described().iter().filter(|metric| metric.name.starts_with("immutable_")).collect();
    ensure!(of_ours.len() > 10, "there are only {of_ours:?}");
    for metric in of_ours {
        let labels = if metric.labels.is_empty() { String::new() } else { format!("{{{}}}", metric.labels.join(",")) };
        let written = format!("`{}{labels}`", metric.name);
        ensure!(documentation.contains(&written), "docs/operator.md does not have {written}");
    }
    Ok(())
}
