//! Programs that `tests/tools/install` gets.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::OnceCell;

static DIRECTORY: OnceCell<PathBuf> = OnceCell::const_new();

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// The text of a file of the repository.
pub(crate) fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(repository(path)).with_context(|| format!("read {path}"))
}

/// The path of promtool, prometheus or lua5.1. They are got if need be.
pub(crate) async fn tool(name: &str) -> Result<PathBuf> {
    let directory = DIRECTORY.get_or_try_init(|| async {
        let script = repository("tests/tools/install");
        let output = Command::new(&script)
            .stdin(Stdio::null())
            .stderr(Stdio::inherit())
            .output()
            .await
            .with_context(|| format!("run {}", script.display()))?;
        ensure!(output.status.success(), "{} failed ({})", script.display(), output.status);
        Ok(PathBuf::from(String::from_utf8(output.stdout)?.trim_end()))
    });
    Ok(directory.await?.join(name))
}

/// Runs one of them with something on its standard input, expects success, and returns all that it wrote.
pub(crate) async fn run(name: &str, arguments: &[&str], stdin: &str) -> Result<String> {
    let mut child = Command::new(tool(name).await?)
        .args(arguments)
        .current_dir(repository("."))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("start {name}"))?;
    let mut pipe = child.stdin.take().context("no standard input")?;
    let write = async {
        // One that reads nothing closes the pipe.
        drop(pipe.write_all(stdin.as_bytes()).await);
        drop(pipe);
    };
    let ((), output) = tokio::join!(write, child.wait_with_output());
    let output = output?;
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "{name} {arguments:?} failed ({}): {said}", output.status);
    Ok(said)
}
