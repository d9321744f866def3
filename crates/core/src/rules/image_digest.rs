//! `image-digest`: only a digest says which bytes run.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::image::case;
use super::marks::IMAGE;
use super::{Category, Checks, Document, Rule, Severity};
use crate::image::{cel_has_digest, cel_has_pinned_digest};
use crate::policy::{Profile, RuleEnforcement};

/// Rejects images that no sha256 or sha512 digest pins.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageDigest {
    /// Enforcement of this rule; absent means the policy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<RuleEnforcement>,
}

impl Rule for ImageDigest {
    const ID: &'static str = "image-digest";
    const PROFILES: &'static [Profile] = &[Profile::Stateless, Profile::Stateful, Profile::Infrastructure];
    const DOCUMENT: Document = Document {
        title: "Images are pinned by a digest",
        reason: "Every tag can be moved, also 1.27.3. A digest is computed from the content: the registry cannot \
                 serve other bytes for it, and what was tested is what runs on every node.",
        remedy: "Append the digest to the reference, `nginx:1.27.3@sha256:…`. `crane digest nginx:1.27.3` or \
                 `skopeo inspect --format {{.Digest}} docker://nginx:1.27.3` prints it; Renovate keeps it current.",
        severity: Severity::High,
        category: Category::Images,
        bad: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n",
        good: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    \
               image: nginx:1.27.3@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\n",
    };

    fn enforcement(&self) -> Option<RuleEnforcement> {
        self.enforcement
    }

    fn checks(&self) -> Checks {
        let mut cases = Vec::new();
        cases.push(case(
            |reference| reference.digest().is_none(),
            &format!("!{}", cel_has_digest(IMAGE)),
            "image {image} has no digest",
            "write {image}@sha256:DIGEST",
        ));
        // sha384 is legal in a reference, but no registry or runtime promises to serve it.
        cases.push(case(
            |reference| reference.pinned_digest().is_none(),
            &format!("!{}", cel_has_pinned_digest(IMAGE)),
            "image {image} has a digest that is neither sha256 nor sha512",
            "write {undigested}@sha256:DIGEST",
        ));
        Checks::images(cases)
    }
}
