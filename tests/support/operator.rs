//! The operator as it is shipped: the binary, with exactly the rights of `deploy/rbac.yaml`.

use std::{
    fs::File,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::{
    api::{authentication::v1::TokenRequest, core::v1::ServiceAccount},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{Api, api::PostParams, config::Kubeconfig};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::OnceCell,
};

use super::{
    cluster::Cluster,
    waiting::{GENEROUS, wait_until},
};

/// The binary under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_immutable");

/// The namespace and the name of the operator's account in `deploy/rbac.yaml`.
const ACCOUNT: (&str, &str) = ("immutable-system", "immutable-operator");

static NUMBER: AtomicU32 = AtomicU32::new(1);
static SHARED: OnceCell<Operator> = OnceCell::const_new();

/// A running operator. It ends when it is dropped, and with this process however that ends.
#[derive(Debug)]
pub(crate) struct Operator {
    process: Child,
    /// Kills the operator when this process is gone and its end of the pipe with it.
    watchdog: Child,
    address: SocketAddr,
    stdout: PathBuf,
    stderr: PathBuf,
}

/// An HTTP answer of the operator.
#[derive(Debug)]
pub(crate) struct Response {
    /// The status code.
    pub(crate) code: u16,
    /// What follows the headers.
    pub(crate) body: String,
}

impl Operator {
    /// The operator of the cluster that all tests of this process share, both started by the first that asks.
    ///
    /// # Errors
    /// When one of them does not start.
    pub(crate) async fn shared() -> Result<(&'static Cluster, &'static Self)> {
        let cluster = Cluster::shared().await?;
        Ok((cluster, SHARED.get_or_try_init(|| Self::start(cluster)).await?))
    }

    /// Installs everything in the cluster, starts an operator and waits until it has seen the whole cluster.
    ///
    /// # Errors
    /// When it does not become ready, with its log.
    pub(crate) async fn start(cluster: &Cluster) -> Result<Self> {
        install_crds(cluster).await?;
        install_rights(cluster).await?;
        let operator = Self::launch(cluster).await?;
        operator.ready().await?;
        Ok(operator)
    }

    /// Starts an operator and waits only until it serves. Its rights must have been installed.
    ///
    /// # Errors
    /// When it does not start, with its log.
    pub(crate) async fn launch(cluster: &Cluster) -> Result<Self> {
        Self::launch_with_flags(cluster, &[]).await
    }

    /// The same with more flags, such as `--reports=none`.
    ///
    /// # Errors
    /// When it does not start, with its log.
    pub(crate) async fn launch_with_flags(cluster: &Cluster, flags: &[&str]) -> Result<Self> {
        Self::launch_process(cluster, &Self::kubeconfig(cluster).await?, flags).await
    }

    /// A kubeconfig with the rights of the operator's account.
    ///
    /// # Errors
    /// When the API server gives no token.
    pub(crate) async fn kubeconfig(cluster: &Cluster) -> Result<Value> {
        operators_kubeconfig(cluster).await
    }

    /// Like [`Operator::launch`], with a kubeconfig that was made before.
    ///
    /// # Errors
    /// When it does not start, with its log.
    pub(crate) async fn launch_with(cluster: &Cluster, config: &Value) -> Result<Self> {
        Self::launch_process(cluster, config, &[]).await
    }

    async fn launch_process(cluster: &Cluster, config: &Value, flags: &[&str]) -> Result<Self> {
        // The control plane removes its directory at its end, whatever happens to the tests.
        let directory = cluster.directory().join(format!("operator-{}", NUMBER.fetch_add(1, Ordering::Relaxed)));
        tokio::fs::create_dir_all(&directory).await?;
        let kubeconfig = directory.join("kubeconfig");
        tokio::fs::write(&kubeconfig, serde_json::to_vec(config)?).await?;
        let (stdout, stderr) = (directory.join("stdout"), directory.join("stderr"));
        let process = Command::new(BINARY)
            .args(["operator", "--listen", "127.0.0.1:0", "--log-format", "json"])
            .args(flags)
            .env("KUBECONFIG", &kubeconfig)
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(File::create(&stdout)?)
            .stderr(File::create(&stderr)?)
            .spawn()
            .context("start the operator")?;
        let watchdog = Command::new("sh")
            .args(["-c", "read -r _; kill -KILL \"$0\"", &process.id().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("start the watchdog")?;
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut operator = Self { process, watchdog, address: unknown, stdout, stderr };
        operator.address = operator.started().await?;
        Ok(operator)
    }

    /// Waits for the line that tells the address.
    async fn started(&mut self) -> Result<SocketAddr> {
        wait_until("the operator to serve", GENEROUS, async || {
            let log = self.log().await?;
            let line = log.lines().find(|line| line.contains("\"started\"")).context("no line says started")?;
            let line: Value = serde_json::from_str(line)?;
            Ok(line["fields"]["address"].as_str().context("the line has no address")?.parse()?)
        })
        .await
        .with_context(|| format!("the operator's log is {}", self.stderr.display()))
    }

    /// Waits until the operator has seen the whole cluster.
    ///
    /// # Errors
    /// When it does not come to that, with its log.
    pub(crate) async fn ready(&self) -> Result<()> {
        let ready = wait_until("the operator to be ready", GENEROUS, async || {
            let response = self.get("/readyz").await?;
            ensure!(response.code == 200, "{response:?}");
            Ok(())
        });
        match ready.await {
            Ok(()) => Ok(()),
            Err(error) => Err(error.context(self.log().await?)),
        }
    }

    /// Where it serves health and metrics.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// GET of a path such as `/metrics`.
    ///
    /// # Errors
    /// When nothing answers.
    pub(crate) async fn get(&self, path: &str) -> Result<Response> {
        let mut stream = TcpStream::connect(self.address).await?;
        stream.write_all(format!("GET {path} HTTP/1.0\r\n\r\n").as_bytes()).await?;
        let mut text = String::new();
        stream.read_to_string(&mut text).await?;
        let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("no HTTP answer: {text:?}"))?;
        let code = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok(Response { code, body: body.to_owned() })
    }

    /// The value of a metric without labels, or with them as they are written: `immutable_leader`.
    ///
    /// # Errors
    /// When nothing answers or there is none.
    pub(crate) async fn metric(&self, name: &str) -> Result<f64> {
        let text = self.get("/metrics").await?.body;
        let line = text.lines().find(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(' ')));
        let line = line.with_context(|| format!("no metric {name} in {text}"))?;
        Ok(line.rsplit(' ').next().context("no value")?.parse()?)
    }

    /// Everything that it logged.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) async fn log(&self) -> Result<String> {
        Ok(tokio::fs::read_to_string(&self.stderr).await?)
    }

    /// Everything that it wrote to standard output.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub(crate) async fn stdout(&self) -> Result<String> {
        Ok(tokio::fs::read_to_string(&self.stdout).await?)
    }

    /// Ends it with SIGKILL: it can tidy up nothing.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }

    /// Ends it with SIGTERM and waits for its end.
    ///
    /// # Errors
    /// When it does not end.
    pub(crate) async fn terminate(&mut self) -> Result<ExitStatus> {
        let id = self.process.id().to_string();
        let status = tokio::process::Command::new("kill").args(["-TERM", &id]).status().await?;
        ensure!(status.success(), "kill -TERM {id}: {status}");
        wait_until("the operator to end", GENEROUS, async || self.process.try_wait()?.context("it runs")).await
    }

    /// Fails when it has ended by itself.
    ///
    /// # Errors
    /// When it has ended, with its log.
    pub(crate) async fn still_runs(&mut self) -> Result<()> {
        if let Some(status) = self.process.try_wait()? {
            bail!("the operator ended ({status}): {}", self.log().await?);
        }
        Ok(())
    }
}

impl Drop for Operator {
    fn drop(&mut self) {
        // The watchdog first: it must not kill another process that got the operator's number.
        drop(self.watchdog.kill());
        drop(self.watchdog.wait());
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// Applies the CRDs that the binary prints, and waits until they are served.
///
/// # Errors
/// When the API server refuses them.
pub(crate) async fn install_crds(cluster: &Cluster) -> Result<()> {
    let printed = tokio::process::Command::new(BINARY).arg("crds").stdin(Stdio::null()).output().await?;
    ensure!(printed.status.success(), "immutable crds: {printed:?}");
    let crds = String::from_utf8(printed.stdout)?;
    cluster.kubectl(&["apply", "--server-side", "--filename=-"], &crds).await?.success()?;
    let api: Api<CustomResourceDefinition> = Api::all(cluster.client().await?);
    for kind in ["clusterimmutablepolicies", "immutablepolicies", "immutableexceptions"] {
        let name = &format!("{kind}.immutable.dev");
        wait_until(&format!("{name} to be served"), GENEROUS, async || {
            let status = api.get(name).await?.status.unwrap_or_default();
            let established = |condition: &str, value: &str| condition == "Established" && value == "True";
            let conditions = status.conditions.unwrap_or_default();
            ensure!(conditions.iter().any(|known| established(&known.type_, &known.status)), "{conditions:?}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

/// Applies the CRDs of an API of reports, `openreports.io` or `wgpolicyk8s.io`, and waits until they are served.
///
/// # Errors
/// When the API server refuses them.
pub(crate) async fn install_report_crds(cluster: &Cluster, group: &str) -> Result<()> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/data/reports/{group}.yaml"));
    let crds = tokio::fs::read_to_string(&file).await.with_context(|| format!("read {}", file.display()))?;
    cluster.kubectl(&["apply", "--server-side", "--filename=-"], &crds).await?.success()?;
    let arguments = ["wait", "--for=condition=Established", "--timeout=120s", "--filename=-"];
    cluster.kubectl(&arguments, &crds).await?.success().map(|_| ())
}

/// Applies `deploy/rbac.yaml`.
///
/// # Errors
/// When the API server refuses it.
pub(crate) async fn install_rights(cluster: &Cluster) -> Result<()> {
    let rights = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/rbac.yaml");
    let rights = tokio::fs::read_to_string(&rights).await.with_context(|| format!("read {}", rights.display()))?;
    cluster.kubectl(&["apply", "--server-side", "--force-conflicts", "--filename=-"], &rights).await?.success()?;
    Ok(())
}

/// A kubeconfig with a token of the operator's account.
async fn operators_kubeconfig(cluster: &Cluster) -> Result<Value> {
    let (namespace, name) = ACCOUNT;
    let accounts: Api<ServiceAccount> = Api::namespaced(cluster.client().await?, namespace);
    let request = accounts.create_token_request(name, &PostParams::default(), &TokenRequest::default()).await?;
    let token = request.status.context("the token request has no status")?.token;
    let administrator = Kubeconfig::read_from(cluster.kubeconfig())?;
    let clusters: Value = serde_json::to_value(&administrator.clusters)?;
    let of_cluster = clusters[0]["name"].as_str().context("the kubeconfig names no cluster")?;
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": clusters,
        "users": [{"name": name, "user": {"token": token}}],
        "contexts": [{"name": name, "context": {"cluster": of_cluster, "user": name}}],
        "current-context": name,
    }))
}
