//! Why the pods of one workload are replaced or not, as text or JSON (`docs/schema/why-report.schema.json`).

use std::io::{self, Write};

use jiff::Timestamp;
use serde::Serialize;

use super::group::Named;
use super::report::Resource;
use super::shown::{Shown, count};

/// How many characters of a record are shown that cannot be compared; ours have 87.
const MOST_OF_A_RECORD: usize = 100;
/// How many keys of an object are shown.
const MOST_KEYS: usize = 8;

/// Where the pods of a workload stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum State {
    /// It is not served.
    NotServed,
    /// They read what is current.
    UpToDate,
    /// They are being replaced.
    Rolling,
    /// They were replaced and did not become available.
    Failed,
    /// They are to be replaced, and nothing is in the way.
    ToBeReplaced,
    /// They are to be replaced, and wait.
    Waiting,
    /// It cannot be said.
    Unknown,
}

/// What a workload waits for.
#[derive(Clone, Debug, Serialize)]
pub struct Waits {
    /// A word for programs, such as Window.
    pub reason: &'static str,
    /// The same for people, with what can be done.
    pub message: String,
    /// When it ends by itself, where that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What the policies of a workload come to.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Settings {
    /// `Enabled` or `OptIn`.
    pub on_config_change: String,
    /// Changes of which kinds count.
    pub kinds: Vec<&'static str>,
    /// Quiet time that gathers edits.
    pub settle: String,
    /// Least time between two rollouts.
    pub min_interval: String,
    /// How many may be under way at once; the smallest of its policies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_concurrent: Option<u32>,
    /// Whether a window lets it begin now.
    pub window_open: bool,
    /// When that changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window_until: Option<Timestamp>,
    /// Pauses after a share of a policy's workloads.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub checkpoints: Vec<Pause>,
    /// Other tools whose annotations are understood.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub compatibility: Vec<String>,
    /// Pause after a workload is available again.
    pub warmup: String,
    /// Halt or Continue.
    pub on_failure: String,
    /// When a replacement counts as failed, for kinds without a deadline of their own.
    pub progress_deadline: String,
}

/// A pause on the way of a policy through a change.
#[derive(Clone, Debug, Serialize)]
pub struct Pause {
    /// The policy, by kind and name.
    pub policy: String,
    /// After which share of its workloads, in percent.
    pub percent: u8,
    /// For how long.
    pub delay: String,
}

/// One ConfigMap or Secret that pods read.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Reads {
    /// ConfigMap or Secret.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Whether new pods wait until it exists.
    pub required: bool,
    /// Whether a change of it replaces the pods.
    pub counts: bool,
    /// The keys that are read; absent where all are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub keys: Option<Vec<String>>,
    /// Where the workload refers to it.
    pub fields: Vec<String>,
    /// Whether it is there; absent where that is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exists: Option<bool>,
    /// Same, Changed or Unknown.
    pub content: &'static str,
    /// The keys that changed, where that is known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed_keys: Vec<String>,
    /// What new pods could not start without.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// When its data was last written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub written: Option<Timestamp>,
    /// Why it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// What is recorded of a workload.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recorded {
    /// `immutable.dev/config-digest` of the pod template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stamp: Option<String>,
    /// `immutable.dev/config-baseline` of the workload.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<String>,
    /// The one of both digests that says what the pods were started with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_with: Option<String>,
    /// The digest of what they would read now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current: Option<String>,
}

/// The pods of a workload.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PodCounts {
    /// How many serve.
    pub total: usize,
    /// How many of them are older than what changed.
    pub older: usize,
    /// The names of those, ten at most.
    pub older_names: Vec<String>,
    /// When that was written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub changed: Option<Timestamp>,
}

/// A pod that keeps a rollout from going on.
#[derive(Clone, Debug, Serialize)]
pub struct Stuck {
    /// Its name.
    pub pod: String,
    /// What ends that.
    pub command: String,
}

/// A revision of the pod template.
#[derive(Clone, Debug, Serialize)]
pub struct Made {
    /// Its number.
    pub revision: i64,
    /// The object that keeps it.
    pub name: String,
    /// When it was first made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// Whether somebody came back to it later.
    pub again: bool,
    /// Why the operator made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// The field manager that made it, where that is known; the operator's are told apart already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub manager: Option<String>,
}

/// All that is told of one workload.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Why {
    /// Which one.
    pub workload: Resource,
    /// Where its pods stand.
    pub state: State,
    /// The same in words.
    pub message: String,
    /// Why its pods are to be replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// What that waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waits>,
    /// The policies with `spec.replace` that match it, by kind and name.
    pub policies: Vec<String>,
    /// What they come to; absent where it is not served.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub settings: Option<Settings>,
    /// What its pods read.
    pub objects: Vec<Reads>,
    /// What is recorded.
    pub recorded: Recorded,
    /// Its pods.
    pub pods: PodCounts,
    /// Pods that must be deleted by somebody for the rollout to go on.
    pub stuck: Vec<Stuck>,
    /// How the operator replaced its pods before, the newest first.
    pub replacements: Vec<Made>,
    /// The last revision that somebody else made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_by_others: Option<Made>,
    /// What could not be read, in words.
    pub warnings: Vec<String>,
}

impl Why {
    /// Writes it for programs.
    ///
    /// # Errors
    /// Only those of `out`.
    pub fn write_json(&self, out: &mut dyn Write) -> io::Result<()> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Document<'a> {
            api_version: &'a str,
            kind: &'a str,
            #[serde(flatten)]
            why: &'a Why,
        }
        let document = Document { api_version: crate::api::API_VERSION, kind: "WhyReport", why: self };
        serde_json::to_writer_pretty(&mut *out, &document)?;
        out.write_all(b"\n")
    }

    /// Writes it for people.
    ///
    /// # Errors
    /// Only those of `out`.
    pub fn write_text(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "{}: {}", Named(&self.workload), Shown(&self.message))?;
        let mut line = |name: &str, text: &str| writeln!(out, "  {name:13}{}", Shown(text));
        if let Some(cause) = &self.cause {
            line("cause", cause)?;
        }
        if let Some(settings) = &self.settings {
            let by = match self.policies.as_slice() {
                [] => "its annotation immutable.dev/rollout=enabled".to_owned(),
                policies => policies.join(", "),
            };
            line("served by", &by)?;
            line("settings", &settings.in_words())?;
        }
        let Recorded { stamp, baseline, started_with, current } = &self.recorded;
        match (started_with, stamp.as_ref().or(baseline.as_ref())) {
            (Some(digest), _) if current.as_ref() == Some(digest) => {
                line("started with", &format!("{digest}, which is current"))?;
            }
            (Some(digest), _) => line("started with", digest)?,
            (None, Some(written)) => {
                // Anybody can write there what they like.
                let written: String = written.chars().take(MOST_OF_A_RECORD).collect();
                line("recorded", &format!("{written}, which is compared with nothing"))?;
            }
            (None, None) if self.settings.is_some() => line("recorded", "nothing yet")?,
            (None, None) => {}
        }
        if let Some(current) = current.as_ref().filter(|current| started_with.as_ref() != Some(current)) {
            line("content now", current)?;
        }
        line("pods", &self.pods.in_words())?;
        for Stuck { pod, command } in &self.stuck {
            line("stuck", &format!("{pod} is of an older revision and not ready, so nothing goes on: {command}"))?;
        }
        if !self.objects.is_empty() {
            writeln!(out, "\nIts pods read")?;
            let named = |object: &Reads| format!("{} {}", object.kind, object.name);
            let width = self.objects.iter().map(|object| named(object).chars().count()).max().unwrap_or_default();
            for object in &self.objects {
                writeln!(out, "  {:width$}  {}", Shown(&named(object)).to_string(), Shown(&object.in_words()))?;
                for field in &object.fields {
                    writeln!(out, "    {}", Shown(field))?;
                }
            }
        }
        if !self.replacements.is_empty() {
            writeln!(out, "\nThe operator replaced them")?;
            for made in &self.replacements {
                writeln!(out, "  {}", Shown(&made.in_words()))?;
            }
        }
        if let Some(made) = &self.last_by_others {
            let by = made.manager.as_deref().map_or_else(String::new, |manager| format!(" ({manager})"));
            writeln!(out, "\nThe last revision of somebody else{}\n  {}", Shown(&by), Shown(&made.in_words()))?;
        }
        Ok(())
    }
}

impl Settings {
    fn in_words(&self) -> String {
        let mut words = vec![
            format!("onConfigChange {}", self.on_config_change),
            format!("settle {}", self.settle),
            format!("minInterval {}", self.min_interval),
            format!("onFailure {}", self.on_failure),
        ];
        words.extend(self.max_concurrent.map(|most| format!("maxConcurrent {most}")));
        if self.warmup != "0s" {
            words.push(format!("warmup {}", self.warmup));
        }
        let pause = |pause: &Pause| format!("checkpoint at {} % for {}", pause.percent, pause.delay);
        words.extend(self.checkpoints.iter().map(pause));
        if !self.compatibility.is_empty() {
            words.push(format!("compatibility {}", self.compatibility.join(", ")));
        }
        if self.kinds.len() == 1 {
            words.push(format!("kinds {}", self.kinds.join(", ")));
        }
        match (self.window_open, self.window_until) {
            (true, None) => {}
            (true, Some(until)) => words.push(format!("window open until {until}")),
            (false, Some(until)) => words.push(format!("window closed until {until}")),
            (false, None) => words.push("window closed".to_owned()),
        }
        words.join(", ")
    }
}

impl PodCounts {
    fn in_words(&self) -> String {
        let total = count(self.total as u64, "pod");
        let Some(changed) = self.changed.filter(|_| self.older > 0) else { return total };
        let more = if self.older > self.older_names.len() { ", …" } else { "" };
        let are = if self.older == 1 { "is" } else { "are" };
        format!(
            "{total}; {} {are} older than the change of {changed}: {}{more}",
            self.older,
            self.older_names.join(", ")
        )
    }
}

impl Reads {
    fn in_words(&self) -> String {
        let mut words = vec![match (&self.error, self.exists, self.content) {
            (Some(error), ..) => format!("cannot be read: {error}"),
            (None, Some(false), _) if self.required => "does not exist, and new pods need it".to_owned(),
            (None, Some(false), _) => "does not exist, and may be absent".to_owned(),
            (None, _, "Same") => "as the pods were started with".to_owned(),
            (None, _, "Changed") if self.changed_keys.is_empty() => "changed since".to_owned(),
            (None, _, "Changed") => format!("changed since: {}", some(&self.changed_keys)),
            (None, Some(true), _) => "exists".to_owned(),
            (None, None, _) => "not read".to_owned(),
        }];
        words.extend(self.missing.iter().filter(|_| self.exists == Some(true)).cloned());
        if let Some(keys) = self.keys.as_ref().filter(|keys| !keys.is_empty()) {
            words.push(format!("read: {}", some(keys)));
        } else if self.keys.is_some() {
            words.push("no key is read".to_owned());
        }
        words.extend(self.written.map(|written| format!("last written {written}")));
        if !self.counts {
            words.push("replaces nothing".to_owned());
        }
        words.join("; ")
    }
}

/// The first of many keys.
fn some(keys: &[String]) -> String {
    let more = if keys.len() > MOST_KEYS { ", …" } else { "" };
    format!("{}{more}", keys.iter().take(MOST_KEYS).map(String::as_str).collect::<Vec<_>>().join(", "))
}

impl Made {
    fn in_words(&self) -> String {
        let created = self.created.map_or_else(String::new, |created| format!(", made {created}"));
        let again = if self.again { " and taken up again later" } else { "" };
        let cause = self.cause.as_ref().map_or_else(String::new, |cause| format!(": {cause}"));
        format!("revision {} ({}){created}{again}{cause}", self.revision, self.name)
    }
}
