//! Waiting on conditions.

use std::time::Duration;

use anyhow::{Result, anyhow};
use tokio::time::Instant;

/// Long enough for anything that happens at all, even on a machine that does other work. No test waits this long
/// unless it fails.
pub(crate) const GENEROUS: Duration = Duration::from_secs(120);

/// Asks again and again until `condition` answers. An error says what was seen instead, and the last one is reported
/// when the time is up.
///
/// # Errors
/// When the time is up.
pub(crate) async fn wait_until<T>(
    what: &str,
    timeout: Duration,
    mut condition: impl AsyncFnMut() -> Result<T>,
) -> Result<T> {
    const PAUSE: Duration = Duration::from_millis(50);
    let start = Instant::now();
    let mut last = None;
    loop {
        // A condition that hangs must not hang the test.
        let left = timeout.saturating_sub(start.elapsed());
        match tokio::time::timeout(left, condition()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(seen)) => last = Some(seen),
            Err(_) => {
                let seen = last.unwrap_or_else(|| anyhow!("it never answered"));
                return Err(seen.context(format!("waited {timeout:?} for {what}; seen last")));
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
