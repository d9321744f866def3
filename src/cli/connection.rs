//! Which cluster is meant, as kubectl is told it.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use jiff::SignedDuration;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

use super::duration;

/// Which cluster, and how patient.
#[derive(Debug, clap::Args)]
pub(super) struct Connection {
    /// The kubeconfig; absent means that of KUBECONFIG, or of the home directory
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; absent means the current one
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// How long one answer of the API server may take, such as 10s; 0 is for ever
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = parse_timeout)]
    request_timeout: Duration,
}

fn parse_timeout(text: &str) -> Result<Duration, String> {
    match duration::parse(text) {
        _ if text == "0" => Ok(Duration::MAX),
        Ok(SignedDuration::ZERO) => Ok(Duration::MAX),
        Ok(timeout) => Duration::try_from(timeout).map_err(|_| "write a duration of more than 0".to_owned()),
        Err(error) => Err(error),
    }
}

impl Connection {
    /// What the kubeconfig says; nothing is asked of the cluster.
    ///
    /// # Errors
    /// There is no kubeconfig, or it cannot be used.
    pub(super) async fn config(&self) -> anyhow::Result<Config> {
        let read = async {
            let options = KubeConfigOptions { context: self.context.clone(), ..KubeConfigOptions::default() };
            anyhow::Ok(match &self.kubeconfig {
                Some(file) => Config::from_custom_kubeconfig(Kubeconfig::read_from(file)?, &options).await?,
                None if self.context.is_some() => Config::from_kubeconfig(&options).await?,
                None => Config::infer().await?,
            })
        };
        let mut config = read.await.context("no cluster can be reached by the kubeconfig")?;
        config.connect_timeout = config.connect_timeout.map(|timeout| timeout.min(self.request_timeout));
        Ok(config)
    }

    /// A client of the cluster.
    ///
    /// # Errors
    /// There is no kubeconfig, or it cannot be used.
    pub(super) async fn client(&self) -> anyhow::Result<Client> {
        let mut config = self.config().await?;
        config.read_timeout = Some(self.request_timeout).filter(|timeout| *timeout != Duration::MAX);
        Client::try_from(config).context("no cluster can be reached by the kubeconfig")
    }

    /// Whether a person said which cluster.
    pub(super) fn is_named(&self) -> bool {
        self.kubeconfig.is_some() || self.context.is_some()
    }

    /// How long one answer may take.
    pub(super) fn timeout(&self) -> Duration {
        self.request_timeout
    }
}
