//! The rules: one file each, and this list.

mod checks;
mod document;
pub(crate) mod image;
pub(crate) mod marks;
mod subject;
mod text;

use std::fmt;

use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub(crate) use checks::IS_INIT;
pub use checks::{Checks, ContainerCheck, Field, StrategyCheck};
pub use document::{Category, Document, Severity};
pub use immutable_config::ConfigKind;
pub use subject::{Case, ContainerView, Containers, ImageView, Images, Items, Strategies, Subject, Volumes};
pub(crate) use text::cel_printable;
pub use text::{Text, Value, printable, quote, quote_list};

use crate::policy::{Profile, RuleEnforcement};

/// A rule that is named is on, also where nothing is written behind its name: YAML reads that as null, and a
/// server-side apply that takes back all settings leaves null.
fn named<'de, D: serde::Deserializer<'de>, R: Rule>(deserializer: D) -> Result<Option<R>, D::Error> {
    Ok(Some(Option::<R>::deserialize(deserializer)?.unwrap_or_default()))
}

/// A rule with its settings: what `spec.rules.<field>` holds is the rule itself.
pub trait Rule:
    Clone + fmt::Debug + Default + PartialEq + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static
{
    /// What people see in reports and exceptions, such as `image-digest`.
    const ID: &'static str;
    /// The profiles that start with it.
    const PROFILES: &'static [Profile];
    /// What it is for, for people.
    const DOCUMENT: Document;

    /// The enforcement that these settings ask for; absent means the policy's.
    fn enforcement(&self) -> Option<RuleEnforcement>;

    /// What it looks for, with these settings.
    fn checks(&self) -> Checks;
}

/// Declares the rules: their modules, ids, the fields of `spec.rules`, and the registry.
macro_rules! rules {
    ($($module:ident::$rule:ident),+ $(,)?) => {
        $(pub mod $module;)+

        /// Every rule there is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum RuleId {
            $(#[doc = concat!("[`", stringify!($module), "`]")] $rule,)+
        }

        impl RuleId {
            /// Every rule, in the order in which findings are told.
            pub const ALL: &'static [Self] = &[$(Self::$rule),+];

            /// `image-digest`
            pub fn id(self) -> &'static str {
                match self { $(Self::$rule => $module::$rule::ID,)+ }
            }

            /// What it is for.
            pub fn document(self) -> &'static Document {
                match self { $(Self::$rule => &$module::$rule::DOCUMENT,)+ }
            }

            /// The profiles that start with it.
            pub fn profiles(self) -> &'static [Profile] {
                match self { $(Self::$rule => $module::$rule::PROFILES,)+ }
            }
        }

        #[expect(missing_docs, reason = "each rule documents itself, and the schema takes its words from there")]
        /// `spec.rules`: switches rules on (`imageTag: {}`), off, or changes them; wins over the profile.
        #[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
        #[serde(default, rename_all = "camelCase", deny_unknown_fields)]
        pub struct RuleSettings {
            $(
                #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "named")]
                pub $module: Option<$module::$rule>,
            )+
        }

        impl RuleSettings {
            /// Whether a rule is named.
            pub fn names(&self, rule: RuleId) -> bool {
                match rule { $(RuleId::$rule => self.$module.is_some(),)+ }
            }

            /// The enforcement that the settings of a rule ask for, if any.
            pub fn enforcement(&self, rule: RuleId) -> Option<RuleEnforcement> {
                match rule { $(RuleId::$rule => self.$module.as_ref().and_then(Rule::enforcement),)+ }
            }

            /// What a rule looks for, with its settings or its defaults.
            pub fn checks(&self, rule: RuleId) -> Checks {
                match rule {
                    $(RuleId::$rule => match &self.$module {
                        Some(settings) => settings.checks(),
                        None => $module::$rule::default().checks(),
                    },)+
                }
            }

            /// The settings of a rule that is only named, as JSON, without its enforcement.
            pub fn default_settings(rule: RuleId) -> serde_json::Value {
                match rule { $(RuleId::$rule => serde_json::json!($module::$rule::default()),)+ }
            }

            /// The schema of the settings of a rule.
            pub fn schema(rule: RuleId) -> schemars::Schema {
                match rule { $(RuleId::$rule => schemars::schema_for!($module::$rule),)+ }
            }

            /// The names of the fields, as a person writes them in `spec.rules`.
            pub fn field(rule: RuleId) -> String {
                let mut field = String::new();
                let mut capital = false;
                for character in rule.id().chars() {
                    match character {
                        '-' => capital = true,
                        _ if capital => { field.push(character.to_ascii_uppercase()); capital = false; }
                        _ => field.push(character),
                    }
                }
                field
            }
        }
    };
}

rules! {
    image_tag::ImageTag,
    image_digest::ImageDigest,
    read_only_root_filesystem::ReadOnlyRootFilesystem,
    run_as_non_root::RunAsNonRoot,
    privilege_escalation::PrivilegeEscalation,
    privileged::Privileged,
    capabilities::Capabilities,
    host_path::HostPath,
    image_pull_policy::ImagePullPolicy,
    resource_limits::ResourceLimits,
    probes::Probes,
    scratch_volumes::ScratchVolumes,
    update_strategy::UpdateStrategy,
    immutable_config::ImmutableConfig,
}

impl RuleId {
    /// The rule with this id, `image-digest`, or this field, `imageDigest`.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|rule| rule.id() == name || RuleSettings::field(*rule) == name)
    }
}

impl fmt::Display for RuleId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.id())
    }
}

impl Serialize for RuleId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.id())
    }
}
