//! The binary as a person calls it.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::support::{BINARY, Cluster, install_crds};

/// What a call came to.
pub(crate) struct Called {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Called {
    /// Its standard output as JSON.
    pub(crate) fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.stdout).with_context(|| format!("no JSON: {} {}", self.stdout, self.stderr))
    }

    /// The results with this outcome, as `Kind/name rule`, sorted.
    pub(crate) fn results(&self, outcome: &str) -> Result<Vec<String>> {
        let report = self.json()?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let results = report["results"].as_array().context("no results")?;
        let mut found: Vec<String> = results
            .iter()
            .filter(|result| result["result"] == outcome)
            .map(|result| {
                let resource = &result["resource"];
                format!("{}/{} {}", text(&resource["kind"]), text(&resource["name"]), text(&result["rule"]))
            })
            .collect();
        found.sort();
        Ok(found)
    }

    /// Fails unless it exited so.
    pub(crate) fn exits(&self, code: i32) -> Result<&Self> {
        ensure!(self.code == code, "exit {} and not {code}: {}\n{}", self.code, self.stdout, self.stderr);
        Ok(self)
    }

    /// Fails unless standard error has this in it.
    pub(crate) fn says(&self, text: &str) -> Result<&Self> {
        ensure!(self.stderr.contains(text), "{text:?} is not said: {}", self.stderr);
        Ok(self)
    }
}

/// Calls the binary with a kubeconfig; the standard input is empty.
pub(crate) async fn call(kubeconfig: &Path, arguments: &[&str]) -> Result<Called> {
    let output = tokio::process::Command::new(BINARY)
        .args(arguments)
        .env("KUBECONFIG", kubeconfig)
        .env_remove("KUBERNETES_SERVICE_HOST")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output()
        .await?;
    Ok(Called {
        code: output.status.code().context("ended by a signal")?,
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}

/// The control plane that all tests share, with our custom resources.
pub(crate) async fn cluster() -> Result<&'static Cluster> {
    static INSTALLED: OnceCell<()> = OnceCell::const_new();
    let cluster = Cluster::shared().await?;
    INSTALLED.get_or_try_init(|| install_crds(cluster)).await?;
    Ok(cluster)
}

/// Files of a test.
pub(crate) struct Folder(tempfile::TempDir);

impl Folder {
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    /// Writes manifests into a file; JSON is YAML.
    pub(crate) fn write(&self, name: &str, manifests: &[Value]) -> Result<String> {
        let documents: Vec<String> = manifests.iter().map(ToString::to_string).collect();
        let path: PathBuf = self.0.path().join(name);
        std::fs::write(&path, documents.join("\n---\n"))?;
        Ok(path.display().to_string())
    }
}
