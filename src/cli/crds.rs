//! `immutable crds`: prints the custom resource definitions.

use super::exit::{Exit, print};
use crate::api;

/// Prints the custom resource definitions
///
/// `immutable crds | kubectl apply --server-side -f -` installs them.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {}

pub(super) fn run(_: &Arguments) -> anyhow::Result<Exit> {
    let mut text = String::new();
    for crd in api::crds() {
        text.push_str("---\n");
        text.push_str(&crate::manifest::to_yaml(&serde_json::to_value(&crd)?)?);
    }
    print(&text)
}
