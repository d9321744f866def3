//! How a workload replaces its pods.

use serde::Deserialize;

use super::kind::Kind;
use super::pod_spec::null_is_absent;
use super::tree::Tree;

/// The update strategy of a Deployment, StatefulSet or DaemonSet, with the API server's defaults.
#[derive(Clone, Debug, PartialEq)]
pub struct UpdateStrategy {
    /// Whose strategy it is: the kinds keep it in different fields.
    pub kind: Kind,
    /// `RollingUpdate`, `Recreate` or `OnDelete`.
    pub strategy_type: String,
    /// How many pods may be missing during an update; only a Deployment's is judged.
    pub max_unavailable: IntOrPercent,
    /// The replicas as written; 1 if absent.
    pub replicas: i64,
}

/// A number of pods or a share of the replicas.
#[derive(Clone, Debug, PartialEq)]
pub enum IntOrPercent {
    /// pods
    Number(i64),
    /// hundredths of the replicas
    Percent(i64),
    /// text that is no percentage; the API server refuses it
    Invalid(String),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum IntOrString {
    Number(i64),
    Text(String),
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct StrategyFields {
    #[serde(rename = "type", deserialize_with = "null_is_absent")]
    strategy_type: String,
    #[serde(deserialize_with = "null_is_absent")]
    rolling_update: RollingUpdate,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RollingUpdate {
    max_unavailable: Option<IntOrString>,
}

impl UpdateStrategy {
    /// The field of `spec` in which a kind keeps its strategy.
    pub fn field(kind: Kind) -> Option<&'static str> {
        match kind {
            Kind::Deployment => Some("strategy"),
            Kind::StatefulSet | Kind::DaemonSet => Some("updateStrategy"),
            _ => None,
        }
    }

    /// Reads the strategy of a workload; none where the kind has none.
    pub(super) fn read<'de, T>(kind: Kind, root: T) -> Result<Option<Self>, T::Error>
    where
        T: Tree<'de>,
        T::Error: std::fmt::Display,
    {
        let Some(field) = Self::field(kind) else { return Ok(None) };
        let spec = root.get("spec");
        let fields: StrategyFields = match spec.and_then(|spec| spec.get(field)) {
            Some(node) => null_is_absent(node)?,
            None => StrategyFields::default(),
        };
        let replicas: Option<i64> = match spec.and_then(|spec| spec.get("replicas")) {
            Some(node) => Option::deserialize(node)?,
            None => None,
        };
        Ok(Some(Self {
            kind,
            strategy_type: if fields.strategy_type.is_empty() {
                "RollingUpdate".to_owned()
            } else {
                fields.strategy_type
            },
            // SetDefaults_Deployment; the other kinds' value is not judged.
            max_unavailable: fields
                .rolling_update
                .max_unavailable
                .map_or(IntOrPercent::Percent(25), IntOrPercent::from),
            replicas: replicas.unwrap_or(1),
        }))
    }
}

impl From<IntOrString> for IntOrPercent {
    fn from(value: IntOrString) -> Self {
        match value {
            IntOrString::Number(number) => Self::Number(number),
            IntOrString::Text(text) => match text.strip_suffix('%').and_then(|digits| digits.parse().ok()) {
                Some(percent) => Self::Percent(percent),
                None => Self::Invalid(text),
            },
        }
    }
}
