//! What the API server fills in before a validating policy sees the object.
//!
//! Without this a raw file and the stored object would get different verdicts. The facts are from
//! `pkg/apis/{core,apps}/v1/defaults.go` of Kubernetes 1.37.

use std::collections::BTreeMap;

use super::kind::Kind;
use super::pod_spec::{Container, EmptyDir, PodSpec, Resources};

/// Fills in what the API server would, as far as rules read it.
pub(crate) fn fill_in(kind: Option<Kind>, pod: &mut PodSpec) {
    for volume in &mut pod.volumes {
        if !volume.has_source() {
            volume.empty_dir = Some(EmptyDir::default());
        }
    }
    // Nobody has filled in the pull policies of a custom resource, and the API server does not read images so long.
    if kind.is_none() {
        let longest = pod.longest_image();
        let all = [&mut pod.containers, &mut pod.init_containers, &mut pod.ephemeral_containers];
        for container in all.into_iter().flatten() {
            if container.image_pull_policy.is_none() && container.image.chars().count() > longest {
                container.image_pull_policy = Some("IfNotPresent".to_owned());
            }
        }
    }
    // Only Pods, never templates: SetDefaults_Pod.
    if kind == Some(Kind::Pod) {
        for container in pod.containers.iter_mut().chain(&mut pod.init_containers) {
            requests_from_limits(&mut container.resources);
        }
        pod_requests_from_containers(pod);
    }
}

/// `SetDefaults_ReplicationController` and `SetDefaults_Job`: without labels of its own it has those of its template.
pub(crate) fn fill_in_labels(
    kind: Kind,
    labels: &mut BTreeMap<String, String>,
    templates: &[BTreeMap<String, String>],
) {
    if matches!(kind, Kind::ReplicationController | Kind::Job)
        && labels.is_empty()
        && let [of_template] = templates
    {
        labels.clone_from(of_template);
    }
}

/// `SetDefaults_Container`: the kubelet would pull a mutable tag anew, so its default is `Always`.
pub fn image_pull_policy(container: &Container) -> &str {
    match &container.image_pull_policy {
        Some(policy) if !policy.is_empty() => policy,
        _ if means_latest(&container.image) => "Always",
        _ => "IfNotPresent",
    }
}

/// Whether the kubelet's parser reads the tag `latest` out of the image, also beside a digest.
fn means_latest(image: &str) -> bool {
    crate::image::Reference::parse(image).is_ok_and(|reference| match reference.tag() {
        Some(tag) => tag == "latest",
        None => reference.digest().is_none(),
    })
}

fn requests_from_limits(resources: &mut Resources) {
    for name in resources.limits.iter() {
        resources.requests.insert(name);
    }
}

/// `DefaultPodLevelResources` of `pkg/api/pod/util.go`: a pod with resources of its own gets requests from its
/// containers. It gets limits only where every container has one, which changes no verdict.
fn pod_requests_from_containers(pod: &mut PodSpec) {
    if pod.resources.limits.is_empty() && pod.resources.requests.is_empty() {
        return;
    }
    for name in ["cpu", "memory"] {
        let requested = pod
            .containers
            .iter()
            .chain(&pod.init_containers)
            .any(|container| container.resources.requests.contains(name));
        if requested || pod.resources.limits.contains(name) {
            pod.resources.requests.insert(name);
        }
    }
}
