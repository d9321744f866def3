//! `image-tag`: no image may be named by a tag that is meant to move.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::image::case;
use super::marks::IMAGE;
use super::{Category, Checks, Document, Rule, Severity};
use crate::image::{TagGlob, cel_tag_matches, cel_tag_missing};
use crate::policy::{Profile, RuleEnforcement};
use crate::schema::validations;

/// The most characters that all patterns may have together, so that no pod exceeds the API server's budget.
pub(crate) const LONGEST_PATTERNS: usize = 256;

/// Rejects images without a tag, with the tag `latest`, or with one of `forbiddenTags`, unless a digest pins them.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ImageTag {
    /// Enforcement of this rule; absent means the policy's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enforcement: Option<RuleEnforcement>,
    /// Patterns over the whole tag that are forbidden beside `latest`; `*` stands for any characters, `?` for one.
    /// At most 256 characters in all: the API server's budget is charged by their length.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 32), extend("x-kubernetes-validations" = validations(&[
        ("self.map(t, t.size()).sum() <= 256", "write at most 256 characters of patterns in all; join some with * or ?"),
    ])))]
    pub forbidden_tags: Vec<TagGlob>,
}

impl Rule for ImageTag {
    const ID: &'static str = "image-tag";
    const PROFILES: &'static [Profile] = &[Profile::Stateless, Profile::Stateful, Profile::Infrastructure];
    const DOCUMENT: Document = Document {
        title: "Images name no mutable tag",
        reason: "A tag such as latest is moved to other content whenever someone pushes. Two pods of one \
                 workload then run different code, and a restart is a deployment that nobody ordered.",
        remedy: "Name the release you tested and pin it by its digest: `nginx:1.27.3@sha256:…`. A digest decides: \
                 with one, the tag is only a comment.",
        severity: Severity::High,
        category: Category::Images,
        bad: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:latest\n",
        good: "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n  - name: web\n    image: nginx:1.27.3\n",
    };

    fn enforcement(&self) -> Option<RuleEnforcement> {
        self.enforcement
    }

    fn checks(&self) -> Checks {
        let mut forbidden = vec![TagGlob::latest()];
        forbidden.extend(self.forbidden_tags.iter().cloned());
        let forbidden_cel = cel_tag_matches(IMAGE, &forbidden);
        let mut cases = Vec::new();
        cases.push(case(
            |reference| reference.tag().is_none() && reference.digest().is_none(),
            &cel_tag_missing(IMAGE),
            "image {image} has no tag, which means the mutable tag latest",
            "write {image}:TAG@sha256:DIGEST",
        ));
        cases.push(case(
            move |reference| {
                let is_forbidden = |tag: &str| forbidden.iter().any(|glob| glob.matches(tag));
                reference.digest().is_none() && reference.tag().is_some_and(is_forbidden)
            },
            &forbidden_cel,
            "image {image} has the mutable tag {tag}",
            "write {untagged}:TAG@sha256:DIGEST",
        ));
        Checks::images(cases)
    }
}
