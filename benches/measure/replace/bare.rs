//! What the operator's latency is compared with: a loop that watches, gets and patches, and does nothing else.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use futures::TryStreamExt as _;
use kube::api::{ListParams, WatchEvent, WatchParams};

use super::fleet::Fleet;

/// Follows the metadata of a fleet's ConfigMaps; on a change it reads the one that changed and stamps the Deployment of
/// the same name with a digest of what it holds. Ends only by an error.
pub(super) async fn run(fleet: Arc<Fleet>) -> Result<()> {
    let config_maps = &fleet.config_maps;
    let list = config_maps.list_metadata(&ListParams::default()).await?;
    let mut version = list.metadata.resource_version.context("the list has no resourceVersion")?;
    loop {
        let mut events = std::pin::pin!(config_maps.watch_metadata(&WatchParams::default(), &version).await?);
        while let Some(event) = events.try_next().await? {
            match event {
                WatchEvent::Modified(changed) => {
                    version = changed.metadata.resource_version.unwrap_or_default();
                    let name = changed.metadata.name.context("a ConfigMap without a name")?;
                    let mut digest = DefaultHasher::new();
                    config_maps.get(&name).await?.data.hash(&mut digest);
                    fleet.stamp(&name, &format!("{:016x}", digest.finish())).await?;
                }
                WatchEvent::Added(_) | WatchEvent::Deleted(_) => {}
                WatchEvent::Bookmark(bookmark) => version = bookmark.metadata.resource_version,
                WatchEvent::Error(status) => bail!("{status}"),
            }
        }
    }
}
