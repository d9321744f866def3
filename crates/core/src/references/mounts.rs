//! Which parts of its volumes the containers of a pod see.

use std::collections::{BTreeMap, BTreeSet};

use super::{KeyUse, ReferencedKeys};
use crate::workload::{ConfigProjection, PodSpec, VolumeMount};

/// The mounted volumes of a pod, by name, over all lists of containers.
pub(super) struct Mounts<'a>(BTreeMap<&'a str, Mounted<'a>>);

/// What is mounted of one volume.
enum Mounted<'a> {
    /// Some container sees all of it.
    Whole,
    /// Every mount names a path in it; these are the first parts of those paths.
    Parts(BTreeSet<&'a str>),
}

impl<'a> Mounts<'a> {
    /// Every mount of every container.
    pub(super) fn of(pod: &'a PodSpec) -> Self {
        let mut mounts = BTreeMap::new();
        for mount in pod.all_containers().flat_map(|(_, _, container)| &container.volume_mounts) {
            let mounted = mounts.entry(&*mount.name).or_insert_with(|| Mounted::Parts(BTreeSet::new()));
            match (part(mount), &mut *mounted) {
                (None, _) => *mounted = Mounted::Whole,
                (Some(part), Mounted::Parts(parts)) => {
                    parts.insert(part);
                }
                (Some(_), Mounted::Whole) => {}
            }
        }
        Self(mounts)
    }

    /// Which keys of an object the containers see through a volume.
    pub(super) fn keys<'p>(&self, volume: &str, projection: &'p ConfigProjection) -> ReferencedKeys<'p>
    where
        'a: 'p,
    {
        let required = !projection.optional;
        let named = match self.0.get(volume) {
            None => return ReferencedKeys::Unmounted,
            Some(Mounted::Whole) if projection.items.is_empty() => return ReferencedKeys::All,
            // A key's file has its name. Where it is missing, the kubelet makes an empty folder and the pod starts.
            Some(Mounted::Parts(parts)) if projection.items.is_empty() => {
                parts.iter().map(|part| (*part, KeyUse { read: true, required: false })).collect()
            }
            // The volume is not set up while one of its items is missing, whether a container sees that one or not.
            Some(mounted) => {
                let read = |path| match mounted {
                    Mounted::Whole => true,
                    Mounted::Parts(parts) => first_part(path).is_none_or(|part| parts.contains(part)),
                };
                let items = projection.items.iter();
                items.map(|item| (&*item.key, KeyUse { read: read(&item.path), required })).collect()
            }
        };
        ReferencedKeys::Named(named)
    }
}

/// The first part of the path that a mount names; none where the path may lead anywhere in the volume.
fn part(mount: &VolumeMount) -> Option<&str> {
    // What begins with two dots is the kubelet's own: `..data` holds every file.
    if mount.has_sub_path_expr { None } else { first_part(&mount.sub_path).filter(|part| !part.starts_with("..")) }
}

/// The first part of a path that leads somewhere.
fn first_part(path: &str) -> Option<&str> {
    path.split('/').find(|part| !matches!(*part, "" | "."))
}
