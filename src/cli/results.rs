//! What `check` and `scan` come to: results, their counts, and the exit code.

use std::io::{IsTerminal as _, Write as _};
use std::sync::Arc;

use clap::ValueEnum;
use immutable_core::evaluate::{About, Certainty, Finding};
use immutable_core::policy::Enforcement;
use immutable_core::scan::{Judgement, RuleVerdict};

use super::exit::{Exit, say};
use crate::output::{self, Entry, ExceptionNote, Format, Outcome, Place, Report, Resource, Subject};

/// The weakest enforcement whose findings exit 1.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum FailOn {
    Enforce,
    Warn,
    Audit,
}

impl FailOn {
    fn level(self) -> Enforcement {
        match self {
            Self::Enforce => Enforcement::Enforce,
            Self::Warn => Enforcement::Warn,
            Self::Audit => Enforcement::Audit,
        }
    }
}

/// Results as they are gathered.
pub(super) struct Results {
    pub report: Report,
    pub exit: Exit,
    weakest: Enforcement,
}

impl Results {
    pub(super) fn new(subject: Subject, fail_on: FailOn) -> Self {
        Self { report: Report { subject, ..Report::default() }, exit: Exit::Success, weakest: fail_on.level() }
    }

    /// Takes in results.
    pub(super) fn add(&mut self, entries: Vec<Entry>) {
        for entry in &entries {
            let summary = &mut self.report.summary;
            match entry.outcome {
                Outcome::Pass => {}
                Outcome::Skip => summary.skip += 1,
                Outcome::Warn => summary.warn += 1,
                Outcome::Fail => summary.fail += 1,
                Outcome::Error => summary.error += 1,
            }
            let counts = matches!(entry.outcome, Outcome::Warn | Outcome::Fail | Outcome::Error);
            if counts && entry.enforcement.is_some_and(|enforcement| enforcement >= self.weakest) {
                self.exit(Exit::Failure);
            }
        }
        self.report.entries.extend(entries);
    }

    /// Exits so, unless something graver does.
    pub(super) fn exit(&mut self, exit: Exit) {
        self.exit = self.exit.max(exit);
    }

    /// Writes all of it.
    pub(super) fn print(self, format: Format) -> anyhow::Result<Exit> {
        if self.report.summary.resources == 0 && self.report.unmatched > 0 {
            let place = match self.report.subject {
                Subject::Manifests => "the input",
                Subject::Cluster => "the cluster that was looked at",
            };
            say(format_args!(
                "warning: no workload of {place} is in scope of a policy: look at match, at the namespaces and their \
                 labels (kube-system, kube-node-lease and immutable-system are left out unless named)"
            ));
        }
        let stdout = std::io::stdout();
        let options = output::Options {
            color: stdout.is_terminal() && std::env::var_os("NO_COLOR").is_none(),
            width: terminal_size::terminal_size_of(&stdout).map(|(width, _)| usize::from(width.0)),
            version: env!("CARGO_PKG_VERSION"),
        };
        let mut out = std::io::BufWriter::new(stdout.lock());
        output::write(format, &self.report, &options, &mut out)?;
        out.flush()?;
        Ok(self.exit)
    }
}

/// Whose verdicts, on what.
pub(super) struct Of<'a> {
    pub policy: &'a Arc<str>,
    pub resource: &'a Arc<Resource>,
    /// Whether passes are listed.
    pub show_pass: bool,
}

impl Of<'_> {
    /// The results of verdicts, added to others; returns how many rules hold. `place` finds the place of a pointer.
    pub(super) fn entries(
        &self,
        verdicts: Vec<RuleVerdict>,
        mut place: impl FnMut(&str) -> Place,
        entries: &mut Vec<Entry>,
    ) -> u64 {
        let mut passes = 0;
        for RuleVerdict { rule, enforcement, judgements } in verdicts {
            let mut entry = |outcome, about, path: String, message, fix, exception| Entry {
                outcome,
                rule: Some(rule),
                policy: Some(Arc::clone(self.policy)),
                enforcement: Some(enforcement),
                resource: Some(Arc::clone(self.resource)),
                about,
                place: place(&path),
                path,
                message,
                fix,
                exception,
            };
            if judgements.is_empty() {
                passes += 1;
                if self.show_pass {
                    let title = rule.document().title.to_owned();
                    entries.push(entry(Outcome::Pass, About::Workload, String::new(), title, String::new(), None));
                }
            }
            for judgement in judgements {
                let outcome = outcome(&judgement);
                let exception = judgement.exception.map(|exception| ExceptionNote {
                    name: exception.id.name.clone(),
                    reason: exception.reason.clone(),
                    expires_at: exception.expires_at,
                });
                let Finding { about, pointer, message, fix, .. } = judgement.finding;
                entries.push(entry(outcome, about, pointer, message, fix, exception));
            }
        }
        passes
    }
}

fn outcome(judgement: &Judgement) -> Outcome {
    match (judgement.finding.certainty, judgement.enforcement) {
        _ if judgement.exception.is_some() => Outcome::Skip,
        (Certainty::Unknown, _) => Outcome::Error,
        (Certainty::Broken, Enforcement::Enforce) => Outcome::Fail,
        (Certainty::Broken, Enforcement::Warn | Enforcement::Audit) => Outcome::Warn,
    }
}

/// The result for what cannot be judged: never a pass.
pub(super) fn unreadable(message: String, place: Place, resource: Option<Arc<Resource>>, path: String) -> Entry {
    Entry {
        outcome: Outcome::Error,
        rule: None,
        policy: None,
        enforcement: None,
        resource,
        about: About::Workload,
        path,
        message,
        fix: String::new(),
        place,
        exception: None,
    }
}
