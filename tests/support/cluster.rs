//! A real control plane with fake nodes.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Context, Result, anyhow};
use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::Value;

use super::{
    kubectl::{Output, run_kubectl},
    namespace::TestNamespace,
    supervisor::Supervisor,
};

/// A Kubernetes control plane of the tests' own.
#[derive(Debug)]
pub(crate) struct Cluster {
    supervisor: Supervisor,
}

static SHARED: OnceLock<Result<Cluster, String>> = OnceLock::new();

impl Cluster {
    /// The control plane that all tests of this process share, started by the first that asks and gone with the
    /// process.
    ///
    /// # Errors
    /// When it cannot be built or does not start.
    pub(crate) async fn shared() -> Result<&'static Self> {
        // Starting blocks; a runtime's thread must not.
        tokio::task::spawn_blocking(|| {
            SHARED.get_or_init(|| Self::start_blocking(&[]).map_err(|error| format!("{error:#}")))
        })
        .await?
        .as_ref()
        .map_err(|error| anyhow!("the shared control plane: {error}"))
    }

    /// A control plane of the caller's own, for tests that disturb others. It ends when it is dropped.
    ///
    /// # Errors
    /// When it cannot be built or does not start.
    pub(crate) async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// Like [`Cluster::start`], with more flags for `control-plane run`, such as `--apiserver-flag=--v=4`.
    ///
    /// # Errors
    /// When it cannot be built or does not start.
    pub(crate) async fn start_with(flags: &[&str]) -> Result<Self> {
        let flags: Vec<String> = flags.iter().map(ToString::to_string).collect();
        tokio::task::spawn_blocking(move || {
            let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
            Self::start_blocking(&flags)
        })
        .await?
    }

    fn start_blocking(flags: &[&str]) -> Result<Self> {
        Ok(Self { supervisor: Supervisor::start(flags)? })
    }

    /// A client with the rights of an administrator. It belongs to the runtime of the calling test, so every test
    /// makes its own.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub(crate) async fn client(&self) -> Result<Client> {
        self.client_from(|_| ()).await
    }

    /// A client that acts as another user, by impersonation. The API server adds `system:authenticated`, and, when
    /// `groups` is empty, the groups of a service account.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub(crate) async fn client_as(&self, user: &str, groups: &[&str]) -> Result<Client> {
        self.client_from(|config| {
            config.auth_info.impersonate = Some(user.to_owned());
            if !groups.is_empty() {
                config.auth_info.impersonate_groups = Some(groups.iter().map(ToString::to_string).collect());
            }
        })
        .await
    }

    async fn client_from(&self, change: impl FnOnce(&mut Config)) -> Result<Client> {
        let mut config = self.config().await?;
        change(&mut config);
        Ok(Client::try_from(config)?)
    }

    /// The administrator's client configuration, for tests that need a client with other settings.
    ///
    /// # Errors
    /// When the kubeconfig cannot be used.
    pub(crate) async fn config(&self) -> Result<Config> {
        let kubeconfig = Kubeconfig::read_from(self.kubeconfig()).context("read the kubeconfig")?;
        Ok(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
    }

    /// The administrator's kubeconfig file.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.supervisor.description.kubeconfig
    }

    /// The API server's URL.
    pub(crate) fn server(&self) -> &str {
        &self.supervisor.description.server
    }

    /// The directory of the control plane, with a log for each component.
    pub(crate) fn directory(&self) -> &Path {
        &self.supervisor.description.directory
    }

    /// The process ids of the components by name.
    pub(crate) fn processes(&self) -> &BTreeMap<String, u32> {
        &self.supervisor.description.processes
    }

    /// The process id of the supervisor, the components' parent.
    pub(crate) fn supervisor_id(&self) -> u32 {
        self.supervisor.id()
    }

    /// Kills the supervisor with SIGKILL, to see what is left behind.
    ///
    /// # Errors
    /// When it cannot be killed.
    pub(crate) fn kill_supervisor(&mut self) -> Result<()> {
        self.supervisor.kill()
    }

    /// The binary of this name beside the control plane's: `kubectl`, `cel-evaluate`, `reference-parse`, and so on.
    pub(crate) fn binary(&self, name: &str) -> PathBuf {
        self.supervisor.binaries.join(name)
    }

    /// What the API server wrote to its audit log so far: every write, with the annotations of admission policies.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) async fn audit_events(&self) -> Result<Vec<Value>> {
        self.audit_events_that_mention(&[]).await
    }

    /// The same, of the events whose text contains all of these; the others are not read, which is much faster.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) async fn audit_events_that_mention(&self, texts: &[&str]) -> Result<Vec<Value>> {
        let log =
            tokio::fs::read_to_string(&self.supervisor.description.audit_log).await.context("read the audit log")?;
        // The last line may still be on its way.
        let complete = log.rfind('\n').map_or("", |end| &log[..end]);
        complete
            .lines()
            .filter(|line| texts.iter().all(|text| line.contains(text)))
            .map(|line| serde_json::from_str(line).with_context(|| format!("read the audit event {line}")))
            .collect()
    }

    /// Runs `kubectl` as the administrator, with something on its standard input. A failing kubectl is no error here.
    ///
    /// # Errors
    /// When it cannot be run.
    pub(crate) async fn kubectl(&self, arguments: &[&str], stdin: &str) -> Result<Output> {
        run_kubectl(&self.binary("kubectl"), self.kubeconfig(), arguments, stdin).await
    }

    /// A new namespace with a unique name, which is deleted when it is dropped.
    ///
    /// # Errors
    /// When it cannot be created.
    pub(crate) async fn namespace(&self, labels: &[(&str, &str)]) -> Result<TestNamespace> {
        TestNamespace::create(self, labels).await
    }
}
