//! Kinds that carry pods, as kubectl is told them.

use immutable_core::workload::Kind;

use super::nearest;

/// The names that kubectl takes for the kinds that carry pods, beside their own.
const SHORT_NAMES: [(&str, Kind); 9] = [
    ("po", Kind::Pod),
    ("deploy", Kind::Deployment),
    ("sts", Kind::StatefulSet),
    ("ds", Kind::DaemonSet),
    ("rs", Kind::ReplicaSet),
    ("rc", Kind::ReplicationController),
    ("job", Kind::Job),
    ("cj", Kind::CronJob),
    ("podtemplate", Kind::PodTemplate),
];

/// What a name means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named<'a> {
    /// A kind of Kubernetes itself.
    BuiltIn(Kind),
    /// The name is that of a kind of Kubernetes itself, and its group is not.
    OtherGroup(Kind),
    /// None of them; what stands before the group, and the kind that was meant, maybe.
    Unknown { name: &'a str, near: Option<Kind> },
}

/// The kind that a name means: `deploy`, `deployments`, `deployment.apps`, `deployments.v1.apps`.
pub(super) fn named(text: &str) -> Named<'_> {
    // `kubectl get -o name` writes deployment.apps/web.
    let (name, group) = text.split_once('.').map_or((text, None), |(name, group)| (name, Some(group)));
    let lower = name.to_ascii_lowercase();
    let is_named = |kind: &Kind| lower == kind.name().to_ascii_lowercase() || lower == kind.resource();
    let short = SHORT_NAMES.iter().find(|(short, _)| *short == lower).map(|(_, kind)| *kind);
    if let Some(kind) = short.or_else(|| Kind::ALL.into_iter().find(is_named)) {
        let is_its_own = |group: &str| group.strip_prefix("v1.").unwrap_or(group) == kind.group();
        return if group.is_none_or(is_its_own) { Named::BuiltIn(kind) } else { Named::OtherGroup(kind) };
    }
    let known = SHORT_NAMES.iter().flat_map(|(short, kind)| [(*short, *kind), (kind.resource(), *kind)]);
    let known: Vec<(&str, Kind)> = known.collect();
    let near = nearest::nearest(&lower, known.iter().map(|(name, _)| *name))
        .filter(|(distance, near)| distance * 2 <= near.len())
        .and_then(|(_, near)| known.iter().find(|(name, _)| *name == near).map(|(_, kind)| *kind));
    Named::Unknown { name, near }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_kubectl_takes_is_taken() {
        for text in ["deploy", "Deployment", "deployments", "deployment.apps", "deployments.v1.apps"] {
            assert_eq!(named(text), Named::BuiltIn(Kind::Deployment), "{text}");
        }
        assert_eq!(named("statefulset.apps.kruise.io"), Named::OtherGroup(Kind::StatefulSet));
        assert_eq!(named("deplyo"), Named::Unknown { name: "deplyo", near: Some(Kind::Deployment) });
        assert_eq!(named("rollouts.argoproj.io"), Named::Unknown { name: "rollouts", near: None });
    }
}
