//! `spec.replace` of a policy: as it is written, and validated.

use std::collections::BTreeSet;
use std::sync::Arc;

use jiff::SignedDuration;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cron::schedule_validations;
use super::window::{Window, WindowKind};
use crate::rules::ConfigKind;
use crate::schema::validations;

/// Whether workloads are replaced when what they read changes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnConfigChange {
    /// Every matching workload, unless it says `immutable.dev/rollout: disabled`.
    Enabled,
    /// Only a workload that says `immutable.dev/rollout: enabled`.
    #[default]
    OptIn,
    /// None, whatever the workload or another policy says.
    Disabled,
}

/// What a replacement that fails does to those that come after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum OnFailure {
    /// Other workloads whose pods are to be replaced for a change of the same object are not touched, until the failed one
    /// is available again or the object is changed once more. What else changes is replaced all the same.
    #[default]
    Halt,
    /// The others are replaced all the same.
    Continue,
}

/// Another tool whose annotations are understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
pub enum Compatibility {
    /// `reloader.stakater.com/*`
    Reloader,
}

/// When, how many at once, and how fast pods are replaced, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub struct ReplaceSettings {
    /// Whether workloads are replaced when a ConfigMap or Secret that they read changes.
    pub on_config_change: OnConfigChange,
    /// Changes of which kinds count; absent means both.
    #[schemars(length(min = 1, max = 2))]
    pub kinds: Vec<ConfigKind>,
    /// Quiet time that gathers several edits into one rollout, at most 1h; absent means 2s. After ten times that the
    /// rollout begins although the edits go on.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), extend("x-kubernetes-validations" = SETTLE.validations()))]
    pub settle: Option<String>,
    /// Least time between the starts of two rollouts of one workload, at most 24h; absent means 5s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), extend("x-kubernetes-validations" = MIN_INTERVAL.validations()))]
    pub min_interval: Option<String>,
    /// How many workloads of this policy may be under way at once; absent means no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000))]
    pub max_concurrent: Option<i64>,
    /// When rollouts may begin: within an Allow window, if there is one, and outside every Deny window. Absent means always.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub windows: Vec<WindowSettings>,
    /// How long to wait after a workload is available again before the next begins, at most 24h; absent means 0s.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), extend("x-kubernetes-validations" = WARMUP.validations()))]
    pub warmup: Option<String>,
    /// Pauses after a share of the workloads was replaced, by ascending percentages.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8), extend("x-kubernetes-validations" = ascending()))]
    pub checkpoints: Vec<CheckpointSettings>,
    /// What a replacement that fails its progress deadline does to others. Halt: the other workloads of the same change are
    /// not touched until it is available again, or what they read is changed once more. Continue: they are replaced.
    pub on_failure: OnFailure,
    /// After what time without success a replacement counts as failed, 1s to 24h, for kinds that have no such field of
    /// their own; absent means 10m.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 32), extend("x-kubernetes-validations" = PROGRESS_DEADLINE.validations()))]
    pub progress_deadline: Option<String>,
    /// Other tools whose annotations on workloads are understood.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 4))]
    pub compatibility: Vec<Compatibility>,
}

impl Default for ReplaceSettings {
    fn default() -> Self {
        Self {
            on_config_change: OnConfigChange::default(),
            kinds: vec![ConfigKind::ConfigMap, ConfigKind::Secret],
            settle: None,
            min_interval: None,
            max_concurrent: None,
            windows: Vec::new(),
            warmup: None,
            checkpoints: Vec::new(),
            on_failure: OnFailure::default(),
            progress_deadline: None,
            compatibility: Vec::new(),
        }
    }
}

/// A time that comes again and again, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct WindowSettings {
    /// Whether rollouts may begin only within it, or never within it. Deny wins.
    #[serde(rename = "type")]
    pub kind: WindowKind,
    /// When it starts, as cron: minute, hour, day of month, month, day of week. `0 22 * * MON-FRI` starts at 22:00 from
    /// Monday to Friday.
    #[schemars(length(min = 9, max = 128), extend("x-kubernetes-validations" = schedule_validations()))]
    pub schedule: String,
    /// How long it lasts from each start, 1m to 168h, such as 4h; it may go past midnight.
    #[schemars(length(max = 32), extend("x-kubernetes-validations" = WINDOW.validations()))]
    pub duration: String,
    /// The time zone of the schedule, by its IANA name such as Europe/Berlin; absent means UTC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-validations" = time_zone_validations()))]
    pub time_zone: Option<String>,
}

/// A pause on the way, as it is written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CheckpointSettings {
    /// The share of the workloads, in percent, after which to pause.
    #[schemars(range(min = 1, max = 100))]
    pub percent: i64,
    /// How long to pause, at most 24h, such as 5m.
    #[schemars(length(max = 32), extend("x-kubernetes-validations" = DELAY.validations()))]
    pub delay: String,
}

/// What a validated policy asks of replacements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replace {
    /// Whether workloads are replaced when what they read changes.
    pub on_config_change: OnConfigChange,
    /// Changes of which kinds count; never empty.
    pub kinds: BTreeSet<ConfigKind>,
    /// Quiet time that gathers edits into one rollout, 0 to 1h; it gathers for at most ten times that.
    pub settle: SignedDuration,
    /// Least time between the starts of two rollouts of one workload, 0 to 24h.
    pub min_interval: SignedDuration,
    /// How many workloads may be under way at once, at least 1; none for no limit.
    pub max_concurrent: Option<u32>,
    /// When rollouts may begin, in the order in which they are written.
    pub windows: Vec<Arc<Window>>,
    /// How long to wait after a workload is available again, 0 to 24h.
    pub warmup: SignedDuration,
    /// Pauses on the way, by strictly ascending percentages.
    pub checkpoints: Vec<Checkpoint>,
    /// What a failure does to those that come after it.
    pub on_failure: OnFailure,
    /// When a kind without a deadline of its own has failed, 1s to 24h.
    pub progress_deadline: SignedDuration,
    /// Other tools whose annotations are understood.
    pub compatibility: BTreeSet<Compatibility>,
}

impl Default for Replace {
    /// What `replace: {}` means, and what holds where no policy matches.
    fn default() -> Self {
        Self {
            on_config_change: OnConfigChange::default(),
            kinds: BTreeSet::from([ConfigKind::ConfigMap, ConfigKind::Secret]),
            settle: SETTLE.default,
            min_interval: MIN_INTERVAL.default,
            max_concurrent: None,
            windows: Vec::new(),
            warmup: WARMUP.default,
            checkpoints: Vec::new(),
            on_failure: OnFailure::default(),
            progress_deadline: PROGRESS_DEADLINE.default,
            compatibility: BTreeSet::new(),
        }
    }
}

/// A pause on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The share of the workloads after which to pause, 1 to 100.
    pub percent: u8,
    /// How long to pause, 0 to 24h.
    pub delay: SignedDuration,
}

/// The durations that a field takes, and what it is where nothing is written.
struct DurationField {
    least: SignedDuration,
    most: SignedDuration,
    default: SignedDuration,
    /// What to write instead of a wrong one.
    message: &'static str,
}

const DAY: SignedDuration = SignedDuration::from_hours(24);
const SETTLE: DurationField = DurationField {
    least: SignedDuration::ZERO,
    most: SignedDuration::from_hours(1),
    default: SignedDuration::from_secs(2),
    message: "write a duration of at most 1h, such as 2s",
};
const MIN_INTERVAL: DurationField = DurationField {
    least: SignedDuration::ZERO,
    most: DAY,
    default: SignedDuration::from_secs(5),
    message: "write a duration of at most 24h, such as 5s",
};
const WARMUP: DurationField = DurationField {
    least: SignedDuration::ZERO,
    most: DAY,
    default: SignedDuration::ZERO,
    message: "write a duration of at most 24h, such as 30s",
};
const PROGRESS_DEADLINE: DurationField = DurationField {
    least: SignedDuration::from_secs(1),
    most: DAY,
    default: SignedDuration::from_mins(10),
    message: "write a duration from 1s to 24h, such as 10m",
};
// These two are always written.
const DELAY: DurationField = DurationField {
    least: SignedDuration::ZERO,
    most: DAY,
    default: SignedDuration::ZERO,
    message: "write a duration of at most 24h, such as 5m",
};
const WINDOW: DurationField = DurationField {
    least: SignedDuration::from_mins(1),
    most: SignedDuration::from_hours(168),
    default: SignedDuration::ZERO,
    message: "write a duration from 1m to 168h, such as 4h or 1h30m",
};

impl DurationField {
    /// The same for the API server. Six digits never overflow its durations.
    fn validations(&self) -> Value {
        let (least, most) = (self.least.as_secs(), self.most.as_secs());
        let rule = format!(
            "self.matches('^([0-9]{{1,6}}h)?([0-9]{{1,6}}m)?([0-9]{{1,6}}s)?$') && self != '' && \
             duration(self) >= duration('{least}s') && duration(self) <= duration('{most}s')"
        );
        validations(&[(&rule, self.message)])
    }

    /// The duration, or what is wrong and what to write.
    fn parse(&self, text: &str) -> Result<SignedDuration, String> {
        duration(text)
            .filter(|duration| (self.least..=self.most).contains(duration))
            .ok_or_else(|| format!("{text:?} is not valid; {}", self.message))
    }
}

/// `1h30m`: hours, minutes and seconds in this order, each with at most six digits, at least one of them.
fn duration(text: &str) -> Option<SignedDuration> {
    let mut rest = text;
    let mut seconds = 0;
    for (unit, factor) in [('h', 3600), ('m', 60), ('s', 1)] {
        let Some((number, after)) = rest.split_once(unit) else { continue };
        if !(1..=6).contains(&number.len()) || !number.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        seconds += number.parse::<i64>().ok()? * factor;
        rest = after;
    }
    (rest.is_empty() && !text.is_empty()).then(|| SignedDuration::from_secs(seconds))
}

fn ascending() -> Value {
    validations(&[(
        "self.all(c, self.exists_one(d, d.percent == c.percent)) && self.map(c, c.percent).isSorted()",
        "write each percentage once, in ascending order, such as 10, 50, 100",
    )])
}

/// The API server knows the names of its own database; a name that it does not know fails the evaluation.
fn time_zone_validations() -> Value {
    validations(&[(
        "self.matches('^[A-Z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+)*$') && self != 'Local' && \
         timestamp('2000-01-01T00:00:00Z').getHours(self) >= 0",
        TIME_ZONE_MESSAGE,
    )])
}

/// What to write instead of a time zone that is none.
pub(super) const TIME_ZONE_MESSAGE: &str = "write the IANA name of a time zone, such as Europe/Berlin or UTC";

impl ReplaceSettings {
    /// What it asks for, once nothing in it can be wrong.
    ///
    /// # Errors
    /// Every problem, each with the path of its field below `spec.replace`, what is wrong, and what to write.
    pub fn validate(&self) -> Result<Replace, Vec<(String, String)>> {
        let mut problems = Vec::new();
        let mut problem = |field: &str, message: String| problems.push((field.to_owned(), message));
        let mut replace = Replace {
            on_config_change: self.on_config_change,
            kinds: self.kinds.iter().copied().collect(),
            on_failure: self.on_failure,
            compatibility: self.compatibility.iter().copied().collect(),
            ..Replace::default()
        };
        if replace.kinds.is_empty() {
            problem("kinds", "is empty; write ConfigMap, Secret or both, or leave the field out".to_owned());
        }
        for (name, text, field, to) in [
            ("settle", &self.settle, &SETTLE, &mut replace.settle),
            ("minInterval", &self.min_interval, &MIN_INTERVAL, &mut replace.min_interval),
            ("warmup", &self.warmup, &WARMUP, &mut replace.warmup),
            ("progressDeadline", &self.progress_deadline, &PROGRESS_DEADLINE, &mut replace.progress_deadline),
        ] {
            match text.as_deref().map(|text| field.parse(text)) {
                Some(Ok(duration)) => *to = duration,
                Some(Err(message)) => problem(name, message),
                None => {}
            }
        }
        if let Some(number) = self.max_concurrent {
            match u32::try_from(number) {
                Ok(number @ 1..=1_000_000) => replace.max_concurrent = Some(number),
                _ => problem(
                    "maxConcurrent",
                    format!("{number} is out of range; write a number from 1 to 1000000, or leave it out for no limit"),
                ),
            }
        }
        if self.windows.len() > 16 {
            problem(
                "windows",
                "has more than 16 entries; join some, a schedule takes lists such as MON,WED".to_owned(),
            );
        }
        for (index, settings) in self.windows.iter().enumerate() {
            match settings.validate() {
                Ok(window) => replace.windows.push(Arc::new(window)),
                Err(wrong) => {
                    for (field, message) in wrong {
                        problem(&format!("windows[{index}].{field}"), message);
                    }
                }
            }
        }
        if self.checkpoints.len() > 8 {
            problem("checkpoints", "has more than 8 entries; write fewer".to_owned());
        }
        for (index, settings) in self.checkpoints.iter().enumerate() {
            let percent = u8::try_from(settings.percent).ok().filter(|percent| (1..=100).contains(percent));
            if percent.is_none() {
                problem(
                    &format!("checkpoints[{index}].percent"),
                    format!("{} is out of range; write a number from 1 to 100", settings.percent),
                );
            }
            match (percent, DELAY.parse(&settings.delay)) {
                (Some(percent), Ok(delay)) => replace.checkpoints.push(Checkpoint { percent, delay }),
                (None, Ok(_)) => {}
                (_, Err(message)) => problem(&format!("checkpoints[{index}].delay"), message),
            }
        }
        if !self.checkpoints.is_sorted_by(|one, next| one.percent < next.percent) {
            problem(
                "checkpoints",
                "percentages do not ascend; write each once, in ascending order, such as 10, 50, 100".to_owned(),
            );
        }
        if problems.is_empty() { Ok(replace) } else { Err(problems) }
    }
}

impl WindowSettings {
    fn validate(&self) -> Result<Window, Vec<(&'static str, String)>> {
        let time_zone = self.time_zone.as_deref().unwrap_or("UTC");
        let duration = WINDOW.parse(&self.duration);
        let length = *duration.as_ref().unwrap_or(&WINDOW.least);
        match (Window::new(self.kind, &self.schedule, length, time_zone), duration) {
            (Ok(window), Ok(_)) => Ok(window),
            (window, duration) => {
                let mut problems = window.err().unwrap_or_default();
                problems.extend(duration.err().map(|message| ("duration", message)));
                Err(problems)
            }
        }
    }
}

#[cfg(test)]
mod tests;
