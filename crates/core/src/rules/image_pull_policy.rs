//! `image-pull-policy`: when the kubelet asks the registry.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::image::{is_known_to_be_valid_cel, is_valid_cel};
use super::subject::{Case, ContainerView, Items};
use super::text::{cel_printable, printable, quote_list};
use super::{Category, Checks, Document, Field, Rule, Severity};
use crate::policy::{Profile, RuleEnforcement};
use crate::workload::image_pull_policy;

/// Rejects containers whose pull policy is not one of `allowed`. In no profile: a digest makes it moot.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ImagePullPolicy {
    /// Enforcement of this rule; absent means the policy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<RuleEnforcement>,
    /// The pull policies that may be used; absent means Always, with which every start asks the registry.
    #[schemars(length(min = 1, max = 3))]
    pub allowed: Vec<PullPolicy>,
}

/// When the kubelet asks the registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum PullPolicy {
    /// at every start
    Always,
    /// when the node has no image of that name
    IfNotPresent,
    /// not at all
    Never,
}

impl PullPolicy {
    fn name(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

impl Default for ImagePullPolicy {
    fn default() -> Self {
        Self { enforcement: None, allowed: vec![PullPolicy::Always] }
    }
}

impl Rule for ImagePullPolicy {
    const ID: &'static str = "image-pull-policy";
    const PROFILES: &'static [Profile] = &[];
    const DOCUMENT: Document = Document {
        title: "Images are pulled as agreed",
        reason: "With IfNotPresent two nodes can run different content under one tag, for as long as their caches live. \
                 An image that is pinned by its digest has no such gap, so no profile asks for this rule.",
        remedy: "Set `imagePullPolicy` to one of the allowed values, or pin the image by its digest and drop the rule.",
        severity: Severity::Low,
        category: Category::Images,
        bad: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n",
        good: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n    \
               imagePullPolicy: Always\n",
    };

    fn enforcement(&self) -> Option<RuleEnforcement> {
        self.enforcement
    }

    fn checks(&self) -> Checks {
        let allowed: Vec<&'static str> = self.allowed.iter().map(|policy| policy.name()).collect();
        let list = quote_list(allowed.iter().copied());
        let words = allowed.join(" or ");
        // The API server fills it in, but not in custom resources.
        let policy_cel = |is_valid: &str| {
            format!(
                "(has(c.imagePullPolicy) && c.imagePullPolicy != '' ? c.imagePullPolicy : \
                 [has(c.image) ? string(c.image) : ''].all(i, {is_valid} && i.matches('{LATEST}')) ? 'Always' : 'IfNotPresent')"
            )
        };
        let is_other = format!("!(p in {list})");
        let case = Case::listing(
            move |view: &ContainerView<'_>| {
                let policy = image_pull_policy(view.container);
                if allowed.contains(&policy) { Vec::new() } else { vec![printable(policy)] }
            },
            Items::default().any_of(
                &format!("[{}].filter(p, {is_other}).map(p, {})", policy_cel(&is_known_to_be_valid_cel()), cel_printable("p")),
                &format!("[{}].exists(p, {is_other})", policy_cel(&is_valid_cel("i"))),
            ),
            "imagePullPolicy is {list}",
            &format!("write imagePullPolicy: {words}"),
        )
        .at("/imagePullPolicy");
        Checks::all_containers(&[Field::Container("image"), Field::Container("imagePullPolicy")], vec![case])
    }
}

/// A valid reference without tag and digest, or with the tag `latest`, also beside a digest.
const LATEST: &str = "^(?:[^/@]*/)*(?:[^/:@]+|[^/:@]+:latest(?:@.*)?)$";
