//! Which pods may be older than what they are to read.

use jiff::{SignedDuration, Timestamp};

use super::View;
use crate::replace::after;

/// How long a kubelet goes on giving new pods what it knows of an object: where it does not watch, a minute
/// (`GetObjectTTLFromNodeFunc` and `defaultTTL` of `pkg/kubelet/util/manager/cache_based_manager.go`).
const KEPT_BY_KUBELETS: SignedDuration = SignedDuration::from_mins(1);

/// From when on every new pod has read what was written then. Where nobody noted when it was written, that is now, or when
/// the newest pod was made, should our clock be behind; and the kubelet may be behind as long as the operator was, but not
/// for longer than it keeps anything.
pub(super) fn read_by_all(view: &View<'_>, written: Option<Timestamp>) -> Timestamp {
    match written {
        Some(written) => view.now.min(after(written, KEPT_BY_KUBELETS)).max(written),
        None => {
            newest_pod(view).and_then(|newest| Timestamp::from_second(newest).ok()).unwrap_or(view.now).max(view.now)
        }
    }
}

/// When the newest pod was made, in seconds.
pub(super) fn newest_pod(view: &View<'_>) -> Option<i64> {
    view.world.pods_of(view.object).iter().map(|(_, pod)| pod.created).max()
}
