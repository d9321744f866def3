//! `probes`: a replacement is only safe when the cluster knows that the new pod serves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::checks::ContainerCheck;
use super::subject::{Case, ContainerView, Containers};
use super::text::{Value, quote};
use super::{Category, Checks, Document, Field, Rule, Severity, Text};
use crate::policy::{Profile, RuleEnforcement};
use crate::workload::{Container, ContainerType};

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
        const CONTAINERS: &[ContainerType] = &[ContainerType::Container];
        const INIT_CONTAINERS: &[ContainerType] = &[ContainerType::InitContainer];
        let always = "(!has(variables.spec.restartPolicy) || variables.spec.restartPolicy == 'Always')";
        let sidecar = "has(c.restartPolicy) && c.restartPolicy == 'Always'";
        let reads = [
            Field::Pod("restartPolicy"),
            Field::Container("restartPolicy"),
            Field::Container("readinessProbe"),
            Field::Container("livenessProbe"),
            Field::Container("startupProbe"),
        ];
        let mut checks = Checks::containers(CONTAINERS, &reads, vec![self.case(|_| true, always)]);
        checks.containers.push(ContainerCheck {
            lists: INIT_CONTAINERS,
            linux_only: false,
            cases: vec![self.case(is_sidecar, &format!("{always} && {sidecar}"))],
        });
        checks
    }
}

impl Probes {
    fn case(
        &self,
        applies: impl for<'a> Fn(&ContainerView<'a>) -> bool + Send + Sync + 'static,
        applies_cel: &str,
    ) -> Case<Containers> {
        let any: Vec<String> = self.required.iter().map(|probe| format!("!has(c.{})", probe.field())).collect();
        let listed: Vec<String> = self
            .required
            .iter()
            .map(|probe| format!("(has(c.{}) ? [] : [{}])", probe.field(), quote(probe.field())))
            .collect();
        let required = self.required.clone();
        let names = Value::own(
            move |view: &ContainerView<'_>| missing(&required, view.container).collect::<Vec<_>>().join(", "),
            format!("({}).join(', ')", listed.join(" + ")),
        );
        let required = self.required.clone();
        let first = self.required.clone();
        Case::<Containers>::new(
            move |view: &ContainerView<'_>| {
                view.pod.restarts_always() && applies(view) && missing(&required, view.container).next().is_some()
            },
            format!("{applies_cel} && ({})", any.join(" || ")),
            Text::new("has no {missing}", vec![("missing", names)]),
            Text::new("write one that fails while the container cannot serve", Vec::new()),
        )
        .at_field(move |view: &ContainerView<'_>| format!("/{}", missing(&first, view.container).next().unwrap_or_default()))
    }
}

fn is_sidecar(view: &ContainerView<'_>) -> bool {
    view.container.restart_policy.as_deref() == Some("Always")
}

fn missing<'a>(required: &'a [Probe], container: &'a Container) -> impl Iterator<Item = &'static str> + 'a {
    required.iter().filter(|probe| probe.is_missing(container)).map(|probe| probe.field())
}
