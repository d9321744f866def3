//! What the planner wants written: what waits for its turn, and what is under way.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use immutable_core::replace::{Intent, Outcome};
use immutable_core::world::Touched;
use tokio::time::{Duration, Instant};

use super::tasks::Tasks;
use crate::operator::write::{WriteError, Writer};

/// How many writes are under way at once.
const WRITES_AT_ONCE: usize = 8;
/// How old what was decided may be when its write begins: windows close and others fail meanwhile.
const LONGEST_WAIT: Duration = Duration::from_secs(2);
/// How many bytes are kept of what the API server says to a write.
const LONGEST_MESSAGE: usize = 1024;

/// All writes.
pub(super) struct Writing {
    /// Those that wait, each since when.
    queue: VecDeque<(Instant, Intent)>,
    tasks: Tasks<Arc<Intent>, Result<String, WriteError>>,
}

impl Writing {
    /// None.
    pub(super) fn new() -> Self {
        Self { queue: VecDeque::new(), tasks: Tasks::new() }
    }

    /// Adds what has just been decided.
    pub(super) fn add(&mut self, intents: Vec<Intent>, now: Instant) {
        self.queue.extend(intents.into_iter().map(|intent| (now, intent)));
    }

    /// Begins as many as may be under way. What has waited too long is left for a step to decide anew.
    pub(super) fn begin(&mut self, writer: &Writer, now: Instant) {
        let is_in_time = |(since, _): &(Instant, Intent)| !is_too_old(*since, now);
        while self.tasks.len() < WRITES_AT_ONCE
            && self.queue.front().is_some_and(is_in_time)
            && let Some((_, intent)) = self.queue.pop_front()
        {
            let writer = writer.clone();
            let intent = Arc::new(intent);
            self.tasks.spawn(Arc::clone(&intent), async move { writer.roll(&intent).await });
        }
    }

    /// Takes back what has not begun and would be decided otherwise now, perhaps: everything where policies or all that is
    /// known have changed, where ConfigMaps or Secrets have, what replaces pods in their namespaces, and what is too old.
    pub(super) fn revoke(&mut self, touched: &Touched, now: Instant) -> Vec<Intent> {
        let namespaces: BTreeSet<&str> = touched.contents.iter().map(|id| &*id.key.namespace).collect();
        let is_revoked = |since: Instant, intent: &Intent| {
            let reads_other = intent.rolls() && namespaces.contains(&*intent.target().key.namespace);
            touched.all_rollouts || reads_other || is_too_old(since, now)
        };
        let all = std::mem::take(&mut self.queue);
        let (revoked, stays) = all.into_iter().partition(|(since, intent)| is_revoked(*since, intent));
        self.queue = stays;
        let revoked: VecDeque<(Instant, Intent)> = revoked;
        revoked.into_iter().map(|(_, intent)| intent).collect()
    }

    /// Takes back all that has not begun.
    pub(super) fn revoke_all(&mut self) -> Vec<Intent> {
        self.queue.drain(..).map(|(_, intent)| intent).collect()
    }

    /// The next that has ended, and what became of it. Never ends where there is none; may be broken off at any time.
    pub(super) async fn next(&mut self) -> (Intent, Outcome) {
        match self.tasks.next().await {
            Some((intent, result)) => {
                let outcome = outcome(&intent, result);
                (Arc::unwrap_or_clone(intent), outcome)
            }
            None => std::future::pending().await,
        }
    }
}

fn is_too_old(since: Instant, now: Instant) -> bool {
    now.duration_since(since) >= LONGEST_WAIT
}

/// What became of a write, for the planner; there is no result where its task has panicked.
fn outcome(intent: &Intent, result: Option<Result<String, WriteError>>) -> Outcome {
    let message = match result {
        Some(Ok(version)) => return Outcome::Written(version),
        Some(Err(WriteError::NotLeader)) => return Outcome::NotTried,
        // So it is also where the object is gone: an apply that names a uid creates nothing, whoever may create, and is told
        // of a conflict (patch.go of the API server, "uid mismatch").
        Some(Err(error)) if error.is_conflict() => return Outcome::Outdated,
        Some(Err(error)) if error.is_not_found() => return Outcome::Gone,
        // A refusal is told before anybody looks whether the object is there; where it is not, its end is on its way as an
        // event, and the planner forgets it with all that was said of it.
        Some(Err(error)) => error.to_string(),
        None => "the write has broken off, which is a bug; the log of the operator says where".to_owned(),
    };
    let message = printable(&message);
    tracing::warn!(workload = %intent.target().key, %message, "its annotations could not be written; it is tried again");
    Outcome::Failed(message)
}

/// What is kept of a message that may hold whatever a webhook says: one line that is not too long.
fn printable(message: &str) -> String {
    let shown = message.chars().map(|character| if character.is_control() { ' ' } else { character });
    let mut kept = String::new();
    for character in shown {
        if kept.len() + character.len_utf8() > LONGEST_MESSAGE {
            break;
        }
        kept.push(character);
    }
    kept
}

#[cfg(test)]
mod tests {
    use immutable_core::replace::Target;
    use immutable_core::rules::ConfigKind;
    use immutable_core::workload::{Kind, WorkloadKind};
    use immutable_core::world::{ConfigId, ConfigKey, WorkloadKey};

    use super::*;

    fn target(namespace: &str) -> Target {
        let kind = WorkloadKind::BuiltIn(Kind::Deployment);
        Target {
            key: WorkloadKey { kind, namespace: namespace.to_owned(), name: "web".to_owned() },
            resource: "deployments".to_owned(),
            uid: "u".to_owned(),
            resource_version: "7".to_owned(),
            template_pointers: Box::default(),
        }
    }

    fn roll(namespace: &str) -> Intent {
        let (stamp, cause, sources) = (String::new(), String::new(), String::new());
        Intent::Roll { target: target(namespace), stamp, cause, sources, baseline: None }
    }

    fn record(namespace: &str) -> Intent {
        Intent::Record { target: target(namespace), baseline: None, sources: None, differs_since: None }
    }

    fn writing(now: Instant) -> Writing {
        let mut writing = Writing::new();
        writing.add(vec![roll("shop"), record("shop"), roll("bank")], now);
        writing
    }

    #[test]
    fn what_waits_is_decided_anew_when_policies_change() {
        let now = Instant::now();
        let mut writing = writing(now);
        assert_eq!(writing.revoke(&Touched::default(), now), []);
        let touched = Touched { all_rollouts: true, ..Touched::default() };
        assert_eq!(writing.revoke(&touched, now), [roll("shop"), record("shop"), roll("bank")]);
        assert_eq!(writing.revoke_all(), []);
    }

    #[test]
    fn what_waits_is_decided_anew_when_what_it_may_read_changes() {
        let now = Instant::now();
        let mut writing = writing(now);
        let key = ConfigKey { namespace: "shop".to_owned(), name: "app".to_owned() };
        let contents = [ConfigId { kind: ConfigKind::ConfigMap, key }].into();
        let touched = Touched { contents, ..Touched::default() };
        assert_eq!(writing.revoke(&touched, now), [roll("shop")]);
        assert_eq!(writing.revoke_all(), [record("shop"), roll("bank")]);
    }

    #[test]
    fn what_was_decided_long_ago_is_decided_anew() {
        let now = Instant::now();
        let mut writing = writing(now);
        let later = now + LONGEST_WAIT;
        writing.add(vec![roll("new")], later);
        assert_eq!(writing.revoke(&Touched::default(), later), [roll("shop"), record("shop"), roll("bank")]);
        assert_eq!(writing.revoke_all(), [roll("new")]);
    }

    #[test]
    fn a_write_that_breaks_off_has_failed() {
        assert!(matches!(outcome(&roll("shop"), None), Outcome::Failed(message) if message.contains("broken off")));
    }

    #[test]
    fn of_a_long_message_one_line_is_kept() {
        assert_eq!(printable("denied\nby a\u{1b}[31m webhook"), "denied by a [31m webhook");
        let long = printable(&"ä".repeat(LONGEST_MESSAGE));
        assert_eq!(long.len(), LONGEST_MESSAGE);
        // Whole characters.
        assert_eq!(printable(&format!("a{}", "ä".repeat(LONGEST_MESSAGE))).len(), LONGEST_MESSAGE - 1);
    }
}
