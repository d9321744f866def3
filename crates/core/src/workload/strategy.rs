//! How a workload replaces its pods.

use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};

use super::kind::Kind;
use super::pod_spec::null_is_absent;
use super::tree::Tree;
use super::{UnreadableWorkload, field};
use crate::rules::printable;

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
    /// text that is no percentage; the API server refuses it, and so does [`super::Workload::read`]
    Invalid(String),
}

impl<'de> Deserialize<'de> for IntOrPercent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AmountVisitor;
        impl Visitor<'_> for AmountVisitor {
            type Value = IntOrPercent;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a number of pods or a percentage such as 25%")
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<IntOrPercent, E> {
                Ok(IntOrPercent::Number(number))
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<IntOrPercent, E> {
                Ok(IntOrPercent::Number(i64::try_from(number).unwrap_or(i64::MAX)))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<IntOrPercent, E> {
                // kubectl writes 1.0 as 1.
                #[allow(clippy::cast_possible_truncation)] // it is whole and in range
                if number.fract() == 0.0 && number.abs() <= f64::from(i32::MAX) {
                    return Ok(IntOrPercent::Number(number as i64));
                }
                Err(E::invalid_type(de::Unexpected::Float(number), &self))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<IntOrPercent, E> {
                let digits = text.strip_suffix('%').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
                match digits.and_then(|digits| digits.parse().ok()) {
                    Some(percent) => Ok(IntOrPercent::Percent(percent)),
                    None => Ok(IntOrPercent::Invalid(text.to_owned())),
                }
            }
        }
        deserializer.deserialize_any(AmountVisitor)
    }
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
    max_unavailable: Option<IntOrPercent>,
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

    /// Reads the strategy of a workload; none where the kind has none. What the API server refuses is refused.
    pub(super) fn read<'de, T>(kind: Kind, root: T) -> Result<Option<Self>, UnreadableWorkload>
    where
        T: Tree<'de>,
        T::Error: std::fmt::Display,
    {
        let Some(name) = Self::field(kind) else { return Ok(None) };
        let pointer = format!("/spec/{name}");
        let spec = root.get("spec");
        let fields: StrategyFields = match spec.and_then(|spec| spec.get(name)) {
            Some(node) => null_is_absent(node).map_err(|error| field::<T>(&pointer, &error))?,
            None => StrategyFields::default(),
        };
        let replicas: Option<i64> = match spec.and_then(|spec| spec.get("replicas")) {
            Some(node) => Option::deserialize(node).map_err(|error| field::<T>("/spec/replicas", &error))?,
            None => None,
        };
        let refused = |pointer: String, detail: String| Err(UnreadableWorkload::Field { pointer, detail });
        if let Some(replicas) = replicas.filter(|replicas| *replicas < 0) {
            return refused("/spec/replicas".to_owned(), format!("spec.replicas: {replicas} is less than 0"));
        }
        let known =
            if kind == Kind::Deployment { ["RollingUpdate", "Recreate"] } else { ["RollingUpdate", "OnDelete"] };
        let strategy_type = fields.strategy_type;
        if !strategy_type.is_empty() && !known.contains(&strategy_type.as_str()) {
            let detail =
                format!("spec.{name}.type: {} is not known; write {}", printable(&strategy_type), known.join(" or "));
            return refused(format!("{pointer}/type"), detail);
        }
        let max_unavailable = fields.rolling_update.max_unavailable;
        let mistake = match &max_unavailable {
            Some(IntOrPercent::Number(number)) if *number < 0 => Some(format!("{number} is less than 0")),
            Some(IntOrPercent::Invalid(text)) => Some(format!(
                "{} is no percentage; write one such as 25%, or a number of pods without quotes",
                printable(text)
            )),
            _ => None,
        };
        if let Some(mistake) = mistake {
            let detail = format!("spec.{name}.rollingUpdate.maxUnavailable: {mistake}");
            return refused(format!("{pointer}/rollingUpdate/maxUnavailable"), detail);
        }
        Ok(Some(Self {
            kind,
            strategy_type: if strategy_type.is_empty() { "RollingUpdate".to_owned() } else { strategy_type },
            // SetDefaults_Deployment; the other kinds' value is not judged.
            max_unavailable: max_unavailable.unwrap_or(IntOrPercent::Percent(25)),
            replicas: replicas.unwrap_or(1),
        }))
    }
}
