//! The process that runs a control plane, and the way it is tied to this one.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
};

use anyhow::{Context, Result, ensure};

/// The line that the supervisor prints when the control plane is ready.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Description {
    /// The administrator's kubeconfig.
    pub(crate) kubeconfig: PathBuf,
    /// The API server's URL.
    pub(crate) server: String,
    /// Where the control plane keeps everything; removed at its end.
    pub(crate) directory: PathBuf,
    /// The API server's audit log.
    pub(crate) audit_log: PathBuf,
    /// The components' process ids by name.
    pub(crate) processes: BTreeMap<String, u32>,
}

/// A running control plane. It ends when this is dropped, and with this process however that ends.
#[derive(Debug)]
pub(crate) struct Supervisor {
    process: Child,
    /// The supervisor ends when this pipe closes.
    stdin: Option<ChildStdin>,
    pub(crate) description: Description,
    pub(crate) binaries: PathBuf,
}

impl Supervisor {
    /// Builds the control plane if need be, starts one, and waits until it is ready.
    pub(crate) fn start(flags: &[&str]) -> Result<Self> {
        let binaries = build()?;
        let mut process = Command::new(binaries.join("control-plane"))
            .args(["run", "--until-stdin-closes"])
            .args(flags)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("start the control plane")?;
        let stdin = process.stdin.take();
        let stdout = process.stdout.take().context("no standard output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line)?;
        if line.is_empty() {
            let status = process.wait()?;
            anyhow::bail!("the control plane did not start ({status}); it says why on standard error");
        }
        let description = serde_json::from_str(&line).with_context(|| format!("read {line:?}"))?;
        Ok(Self { process, stdin, description, binaries })
    }

    /// The supervisor's own process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// Kills the supervisor with SIGKILL, which lets it clean nothing.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        drop(self.stdin.take());
        // It ends within a moment; waiting keeps the next control plane from sharing the machine with this one.
        drop(self.process.wait());
    }
}

/// The path of a program that needs no cluster, such as `cel-evaluate`, `reference-parse` or `yaml-to-json`. It is
/// built if need be.
///
/// # Errors
/// When it cannot be built.
pub(crate) async fn binary(name: &str) -> Result<PathBuf> {
    Ok(tokio::task::spawn_blocking(build).await??.join(name))
}

/// Runs `tests/cluster/build`, which shows its progress on standard error and prints the directory of the binaries.
fn build() -> Result<PathBuf> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cluster/build");
    let output = Command::new(&script)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("run {}", script.display()))?;
    ensure!(output.status.success(), "{} failed ({})", script.display(), output.status);
    Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim_end()))
}
