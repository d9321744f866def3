//! `probes`: a replacement is only safe when the cluster knows that the new pod serves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::checks::IS_INIT;
use super::subject::{Case, ContainerView, Items};
use super::{Category, Checks, Document, Field, Rule, Severity};
use crate::policy::{Profile, RuleEnforcement};
use crate::workload::{Container, ContainerType};

/// Ephemeral containers serve nobody.
const LISTS: &[ContainerType] = &[ContainerType::Container, ContainerType::InitContainer];

/// Rejects containers and sidecars without the `required` probes, in pods that restart always.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct Probes {
    /// Enforcement of this rule; absent means the policy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<RuleEnforcement>,
    /// The probes that must be set.
    #[schemars(length(min = 1, max = 3))]
    pub required: Vec<Probe>,
}

/// A probe of the kubelet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub enum Probe {
    /// `readinessProbe`: whether traffic may come
    Readiness,
    /// `livenessProbe`: whether it must be restarted
    Liveness,
    /// `startupProbe`: whether it has started
    Startup,
}

impl Probe {
    fn field(self) -> &'static str {
        match self {
            Self::Readiness => "readinessProbe",
            Self::Liveness => "livenessProbe",
            Self::Startup => "startupProbe",
        }
    }

    fn is_missing(self, container: &Container) -> bool {
        match self {
            Self::Readiness => container.readiness_probe.is_none(),
            Self::Liveness => container.liveness_probe.is_none(),
            Self::Startup => container.startup_probe.is_none(),
        }
    }
}

impl Default for Probes {
    fn default() -> Self {
        Self { enforcement: None, required: vec![Probe::Readiness] }
    }
}

impl Rule for Probes {
    const ID: &'static str = "probes";
    const PROFILES: &'static [Profile] = &[Profile::Stateless];
    const DOCUMENT: Document = Document {
        title: "The kubelet can see whether a pod serves",
        reason: "Without a readiness probe a pod counts as ready when its process has started. A rolling update then \
                 replaces the whole workload with pods that do not serve, and nothing stops it.",
        remedy: "Add a `readinessProbe` to each container and sidecar.",
        severity: Severity::Medium,
        category: Category::Replacement,
        bad: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n",
        good: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n    \
               readinessProbe: {httpGet: {path: /, port: 8080}}\n",
    };

    fn enforcement(&self) -> Option<RuleEnforcement> {
        self.enforcement
    }

    fn checks(&self) -> Checks {
        // Empty only in custom resources: the API server fills it in elsewhere.
        let always = "!has(variables.spec.restartPolicy) || variables.spec.restartPolicy in ['', 'Always']";
        // Containers of the main list may say restartPolicy too, where it means something else.
        let serves_cel = format!("!({IS_INIT}) || has(c.restartPolicy) && c.restartPolicy == 'Always'");
        let listed = self.required.iter().fold(Items::default(), |items, probe| {
            items.when(&format!("!has(c.{0}) && ({always}) && ({serves_cel})", probe.field()), probe.field())
        });
        let required = self.required.clone();
        let first = self.required.clone();
        let case = Case::listing(
            move |view: &ContainerView<'_>| {
                if !view.pod.restarts_always() || !serves(view) {
                    return Vec::new();
                }
                missing(&required, view.container).map(ToOwned::to_owned).collect()
            },
            listed,
            "probes are missing: {list}",
            "write one that fails while the container cannot serve",
        )
        .at_field(move |view: &ContainerView<'_>| {
            format!("/{}", missing(&first, view.container).next().unwrap_or_default())
        });
        let reads = [
            Field::Pod("restartPolicy"),
            Field::Container("restartPolicy"),
            Field::Container("readinessProbe"),
            Field::Container("livenessProbe"),
            Field::Container("startupProbe"),
        ];
        Checks::containers(LISTS, &reads, vec![case])
    }
}

/// Whether the container is of the main list, or a sidecar: an init container that restarts always.
fn serves(view: &ContainerView<'_>) -> bool {
    view.container_type != ContainerType::InitContainer || view.container.restart_policy.as_deref() == Some("Always")
}

fn missing<'a>(required: &'a [Probe], container: &'a Container) -> impl Iterator<Item = &'static str> + 'a {
    required.iter().filter(|probe| probe.is_missing(container)).map(|probe| probe.field())
}
