//! `host-path`: no container writes to the node.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::subject::{Case, ContainerView, Items};
use super::text::{cel_printable, printable};
use super::{Category, Checks, Document, Field, Rule, Severity};
use crate::policy::{Profile, RuleEnforcement};

/// CEL variable with the names of the hostPath volumes.
pub(crate) const HOST_PATHS: &str = "variables.host_paths";

/// Rejects containers that mount a hostPath volume writable.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct HostPath {
    /// Enforcement of this rule; absent means the policy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<RuleEnforcement>,
}

impl Rule for HostPath {
    const ID: &'static str = "host-path";
    const PROFILES: &'static [Profile] = &[Profile::Stateless];
    const DOCUMENT: Document = Document {
        title: "The node's files are mounted read-only",
        reason: "What is written to a hostPath stays on that node when the pod is replaced, is seen by other pods, \
                 and can be the node's own configuration.",
        remedy: "Mount it with `readOnly: true`, or use a volume that belongs to the workload.",
        severity: Severity::High,
        category: Category::Runtime,
        bad: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n    \
              volumeMounts:\n    - {name: log, mountPath: /log}\n  volumes:\n  - name: log\n    hostPath: {path: /var/log}\n",
        good: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n    \
               volumeMounts:\n    - {name: log, mountPath: /log, readOnly: true}\n  volumes:\n  - name: log\n    hostPath: {path: /var/log}\n",
    };

    fn enforcement(&self) -> Option<RuleEnforcement> {
        self.enforcement
    }

    fn checks(&self) -> Checks {
        let writable_cel = format!("!(has(m.readOnly) && m.readOnly) && m.name in {HOST_PATHS}");
        let mounted = format!("c.volumeMounts.filter(m, {writable_cel}).map(m, {})", cel_printable("m.name"));
        let any = format!("{HOST_PATHS}.size() > 0 && has(c.volumeMounts) && c.volumeMounts.exists(m, {writable_cel})");
        let case = Case::listing(
            |view: &ContainerView<'_>| {
                writable(view).map(|index| printable(&view.container.volume_mounts[index].name)).collect()
            },
            Items::default().each(&mounted, &any),
            "mounts hostPath writable: {list}",
            "write readOnly: true at the mount",
        )
        .at_field(|view: &ContainerView<'_>| format!("/volumeMounts/{}/readOnly", writable(view).next().unwrap_or_default()));
        let reads = [Field::Container("volumeMounts"), Field::Volume("hostPath")];
        Checks::all_containers(&reads, vec![case])
    }
}

/// The places of the mounts through which the container can write to the node.
fn writable<'v>(view: &'v ContainerView<'_>) -> impl Iterator<Item = usize> + 'v {
    view.container.volume_mounts.iter().enumerate().filter_map(|(index, mount)| {
        (!mount.read_only && view.host_paths.contains(&*mount.name)).then_some(index)
    })
}
