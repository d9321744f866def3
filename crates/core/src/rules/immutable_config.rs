//! `immutable-config`: configuration changes by a new name, not by an edit.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Category, Checks, Document, Rule, Severity};
use crate::policy::{Profile, RuleEnforcement};

/// Rejects references to ConfigMaps (and Secrets, if asked) that are not `immutable: true`.
///
/// In the API server it judges those objects themselves, when they are created in a matched namespace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ImmutableConfig {
    /// Enforcement of this rule; absent means the policy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<RuleEnforcement>,
    /// What must be immutable; absent means ConfigMap: rotated Secrets are mutable by design.
    #[schemars(length(min = 1, max = 2))]
    pub kinds: Vec<ConfigKind>,
}

/// A kind that holds configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ConfigKind {
    /// `v1` ConfigMap
    ConfigMap,
    /// `v1` Secret
    Secret,
}

impl ConfigKind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::ConfigMap, Self::Secret];

    /// `ConfigMap`
    pub fn name(self) -> &'static str {
        match self {
            Self::ConfigMap => "ConfigMap",
            Self::Secret => "Secret",
        }
    }

    /// `configmaps`
    pub fn resource(self) -> &'static str {
        match self {
            Self::ConfigMap => "configmaps",
            Self::Secret => "secrets",
        }
    }
}

impl Default for ImmutableConfig {
    fn default() -> Self {
        Self { enforcement: None, kinds: vec![ConfigKind::ConfigMap] }
    }
}

impl Rule for ImmutableConfig {
    const ID: &'static str = "immutable-config";
    const PROFILES: &'static [Profile] = &[];
    const DOCUMENT: Document = Document {
        title: "Configuration is immutable",
        reason: "An edited ConfigMap changes running pods one by one, at times that nobody controls, and there is no way \
                 back. An immutable one is replaced by a new name, which rolls the workload and can be undone.",
        remedy: "Set `immutable: true` on the ConfigMap and put a hash of its content into its name, as kustomize's \
                 configMapGenerator does.",
        severity: Severity::Low,
        category: Category::Configuration,
        bad: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n    \
              envFrom:\n    - configMapRef: {name: settings}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: b}\n",
        good: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n    \
               envFrom:\n    - configMapRef: {name: settings-5f2a}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings-5f2a}\n\
               immutable: true\ndata: {a: b}\n",
    };

    fn enforcement(&self) -> Option<RuleEnforcement> {
        self.enforcement
    }

    fn checks(&self) -> Checks {
        Checks { config: Some(self.kinds.clone()), ..Checks::default() }
    }
}
