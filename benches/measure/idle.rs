//! The operator at rest.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::Row;
use crate::support::{Cluster, GENEROUS, wait_until};

/// Resident memory of a process in MiB, as Linux counts it.
pub(crate) fn resident(process: u32) -> Result<f64> {
    let status = std::fs::read_to_string(Path::new("/proc").join(process.to_string()).join("status"))?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).context("no VmRSS")?;
    let kibibytes: f64 = line.split_whitespace().nth(1).context("no figure")?.parse()?;
    Ok(kibibytes / 1024.0)
}

pub(crate) async fn measure() -> Result<Vec<Row>> {
    let cluster = Cluster::start().await?;
    let crds = std::process::Command::new(env!("CARGO_BIN_EXE_immutable")).arg("crds").output()?;
    let crds = String::from_utf8(crds.stdout)?;
    cluster.kubectl(&["apply", "--server-side", "-f", "-"], &crds).await?.success()?;
    let mut operator = tokio::process::Command::new(env!("CARGO_BIN_EXE_immutable"))
        .arg("operator")
        .env("KUBECONFIG", cluster.kubeconfig())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let policy =
        include_str!("../../examples/policies/stateless.yaml").replace("enforcement: Audit", "enforcement: Enforce");
    cluster.kubectl(&["apply", "-f", "-"], &policy).await?.success()?;
    wait_until("the policy is ready", GENEROUS, async || {
        let ready = "jsonpath={.status.conditions[?(@.type=='Ready')].status}";
        let output = cluster.kubectl(&["get", "cimpol", "stateless", "-o", ready], "").await?.success()?;
        anyhow::ensure!(output == "True", "Ready is {output:?}");
        Ok(())
    })
    .await?;
    // What the start left behind is given back by then, or never.
    tokio::time::sleep(Duration::from_secs(10)).await;
    let resident = resident(operator.id().context("the operator ended")?)?;
    operator.start_kill()?;
    Ok(vec![Row::at_most("the operator idle with one policy, resident memory", resident, 20.0, "MiB", "")])
}
