//! A real Prometheus that scrapes the operator and the API server and has our rules, only faster: what they wait minutes
//! for is seconds here.

use std::fs::File;
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OnceCell;

use crate::rules::{FILE, alerts};
use crate::sample::{be_denied, fail_to_evaluate, sample};
use crate::support::{Cluster, GENEROUS, Operator, wait_until};
use crate::tools::{read, tool};

static RUNNING: OnceCell<Prometheus> = OnceCell::const_new();

/// A Prometheus on loopback. It ends with this process, however that ends.
pub(crate) struct Prometheus {
    /// The shell that kills it when its end of the pipe is gone.
    _shell: Child,
    address: SocketAddr,
}

impl Prometheus {
    /// The one that all tests share, after it has scraped everything at least twice.
    pub(crate) async fn running() -> Result<&'static Self> {
        RUNNING.get_or_try_init(Self::start).await
    }

    async fn start() -> Result<Self> {
        let (cluster, operator) = sample().await?;
        // The control plane removes its directory at its end.
        let directory = cluster.directory().join("prometheus");
        tokio::fs::create_dir_all(&directory).await?;
        tokio::fs::write(directory.join("rules.yaml"), hastened(&read(FILE)?)).await?;
        // JSON is YAML.
        let config = directory.join("prometheus.yaml");
        tokio::fs::write(&config, config_for(cluster, operator).await?.to_string()).await?;
        // Prometheus does not tell which port it got, so it cannot choose.
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let log = directory.join("log");
        let shell = Command::new("sh")
            .args(["-c", "\"$@\" & child=$!; read -r _; kill -KILL $child", "sh"])
            .arg(tool("prometheus").await?)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.tsdb.path={}", directory.join("data").display()))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(File::create(&log)?)
            .spawn()
            .context("start prometheus")?;
        let prometheus = Self { _shell: shell, address };
        let ready = wait_until("prometheus to have scraped everything twice", GENEROUS, async || {
            let scraped = prometheus.query("min(sum_over_time(up[5m])) >= 2 and count(up) == 2").await?;
            ensure!(!scraped.is_empty(), "not everything is scraped");
            Ok(())
        });
        match ready.await {
            Ok(()) => Ok(prometheus),
            Err(error) => Err(error.context(tokio::fs::read_to_string(&log).await.unwrap_or_default())),
        }
    }

    /// What a query returns now.
    pub(crate) async fn query(&self, query: &str) -> Result<Vec<Value>> {
        let answer = self.get(&format!("/api/v1/query?query={}", encoded(query))).await?;
        ensure!(answer["status"] == "success", "{query}: {answer}");
        Ok(answer["data"]["result"].as_array().cloned().unwrap_or_default())
    }

    async fn get(&self, path: &str) -> Result<Value> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        let (_, body) = text.split_once("\r\n\r\n").with_context(|| format!("no HTTP answer: {text:?}"))?;
        serde_json::from_str(body).with_context(|| body.to_owned())
    }

    /// Whether an alert has fired since the start, also if it does no more.
    async fn has_fired(&self, alert: &str) -> Result<()> {
        let query = format!("max_over_time(ALERTS{{alertname=\"{alert}\", alertstate=\"firing\"}}[1h])");
        ensure!(!self.query(&query).await?.is_empty(), "{alert} has not fired");
        Ok(())
    }
}

/// The rules with seconds for minutes, and ten of them for an hour.
fn hastened(rules: &str) -> String {
    let rules: Vec<String> = rules
        .lines()
        .map(|line| if line.trim_start().starts_with("for: ") { "    for: 0s".to_owned() } else { line.to_owned() })
        .collect();
    rules.join("\n").replace("[5m]", "[10s]").replace("[15m]", "[10s]").replace("offset 1h", "offset 10s")
}

async fn config_for(cluster: &Cluster, operator: &Operator) -> Result<Value> {
    let kubeconfig = tokio::fs::read_to_string(cluster.kubeconfig()).await?;
    let kubeconfig: Value = serde_saphyr::from_str(&kubeconfig)?;
    let token = kubeconfig["users"][0]["user"]["token"].as_str().context("the administrator has no token")?;
    let server = cluster.server().strip_prefix("https://").context("the API server's URL is strange")?;
    Ok(json!({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": ["rules.yaml"],
        "scrape_configs": [
            {
                "job_name": "immutable-operator",
                "static_configs": [{"targets": [operator.address().to_string()]}],
            },
            {
                "job_name": "apiserver",
                "scheme": "https",
                "authorization": {"credentials": token},
                "tls_config": {"insecure_skip_verify": true},
                "static_configs": [{"targets": [server]}],
            },
        ],
    }))
}

/// A text as a part of an address.
fn encoded(text: &str) -> String {
    let encode = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

#[tokio::test]
async fn alerts_fire_when_it_happens() -> Result<()> {
    let (cluster, _) = sample().await?;
    let prometheus = Prometheus::running().await?;
    // It must have been well for the time that the rule looks back.
    wait_until("a past to compare with", GENEROUS, async || {
        ensure!(
            !prometheus.query("policy:immutable_workloads:sum{policy=\"web\"} offset 10s").await?.is_empty(),
            "none"
        );
        Ok(())
    })
    .await?;
    // A namespace comes to match, with a pod in it that the policy would deny.
    cluster.kubectl(&["label", "namespace", "bank", "tier=web"], "").await?.success()?;
    for alert in ["ImmutableViolationsGrew", "ImmutableManyDenials", "ImmutableCelErrors", "ImmutableKindUnwatched"] {
        wait_until(alert, GENEROUS, async || {
            be_denied(cluster).await?;
            fail_to_evaluate(cluster).await?;
            prometheus.has_fired(alert).await
        })
        .await?;
    }
    let of_web = "ALERTS{alertname=\"ImmutableViolationsGrew\", policy=\"web\", rule=\"image-tag\"}[1h]";
    ensure!(!prometheus.query(&format!("max_over_time({of_web})")).await?.is_empty(), "it fired for another policy");
    // And those that say that the operator does not do its work are silent.
    for alert in ["ImmutableOperatorDown", "ImmutableNoLeader", "ImmutablePolicyNotInForce"] {
        ensure!(alerts()?.iter().any(|rule| rule.alert == alert), "there is no alert {alert}");
        wait_until(&format!("{alert} to be silent"), GENEROUS, async || {
            let firing = prometheus.query(&format!("ALERTS{{alertname=\"{alert}\"}}")).await?;
            ensure!(firing.is_empty(), "{firing:?}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}
