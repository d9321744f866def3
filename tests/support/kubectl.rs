//! Running kubectl.

use std::{
    path::Path,
    process::{ExitStatus, Stdio},
};

use anyhow::{Context, Result, ensure};
use tokio::{io::AsyncWriteExt, process::Command};

/// What a program answered.
#[derive(Debug)]
pub(crate) struct Output {
    /// How it ended.
    pub(crate) status: ExitStatus,
    /// What it wrote to standard output.
    pub(crate) stdout: String,
    /// What it wrote to standard error.
    pub(crate) stderr: String,
}

impl Output {
    /// The standard output of a program that succeeded.
    ///
    /// # Errors
    /// When it failed, with what it wrote to standard error.
    pub(crate) fn success(self) -> Result<String> {
        ensure!(self.status.success(), "it failed ({}): {}", self.status, self.stderr);
        Ok(self.stdout)
    }
}

pub(crate) async fn run_kubectl(binary: &Path, kubeconfig: &Path, arguments: &[&str], stdin: &str) -> Result<Output> {
    let mut child = Command::new(binary)
        .arg("--kubeconfig")
        .arg(kubeconfig)
        .args(arguments)
        // What the person who runs the tests set for their own kubectl must not matter.
        .env_remove("KUBECONFIG")
        .env("KUBERC", "off")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .context("start kubectl")?;
    let mut pipe = child.stdin.take().context("no standard input")?;
    // At the same time, since kubectl may write before it has read everything. One that reads nothing closes the pipe.
    let write = async {
        drop(pipe.write_all(stdin.as_bytes()).await);
        drop(pipe);
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    let output = output?;
    Ok(Output {
        status: output.status,
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}
