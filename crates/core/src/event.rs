//! What is told by Events: of a workload that newly breaks enforced rules, of an exception that ends soon, and of pods that
//! are replaced or should be.
//!
//! An Event is told once. Its name is made of what it says, so that the API server refuses to store it twice, and a
//! workload's report remembers which were told, since Events themselves are forgotten after an hour.

pub mod rollouts;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::exception::{Exception, ExceptionId};
use crate::native::names::digest;
use crate::native::{INSTALLATION_LABEL, Installation, MANAGED_BY};
use crate::policy::PolicyId;
use crate::rules::RuleId;
use crate::scan::Scan;
use crate::world::WorkloadKey;

/// How many policies Events tell of, for one workload.
const MOST_NOTICES: usize = 32;
/// How long a note is at most; the API server takes no more.
const LONGEST_NOTE: usize = 1024;
/// How long before its end an exception is told of.
const EXPIRES_SOON: SignedDuration = SignedDuration::from_hours(24);

/// That a workload breaks rules of a policy. Rules at Audit are no matter of Events: they are in reports and metrics,
/// and nobody is stopped by them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Whose rules.
    pub policy: PolicyId,
    /// How many findings each broken rule has.
    pub rules: BTreeMap<RuleId, u64>,
}

/// Which Events were told of a workload, by [`Notice::mark`].
pub type Marks = BTreeSet<u32>;

/// What there is to tell of a workload by Events.
pub fn notices(scan: &Scan, key: &WorkloadKey) -> Vec<Notice> {
    let broken = scan.broken(key).take(MOST_NOTICES);
    broken.map(|(policy, rules)| Notice { policy: policy.clone(), rules }).collect()
}

/// Marks as they stand in a report: `0012abcd,…`; empty for none.
pub fn written(marks: &Marks) -> String {
    marks.iter().map(|mark| format!("{mark:08x}")).collect::<Vec<_>>().join(",")
}

/// The marks that a report holds; what is none is left out.
pub fn read(text: &str) -> Marks {
    text.split(',').take(MOST_NOTICES).filter_map(|mark| u32::from_str_radix(mark, 16).ok()).collect()
}

impl Notice {
    /// What tells this one from others of the same workload: how many findings a rule has is no news.
    pub fn mark(&self) -> u32 {
        let identity = self.identity();
        let digest = Sha256::digest(identity.as_bytes());
        u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]])
    }

    fn identity(&self) -> String {
        let rules: Vec<&str> = self.rules.keys().map(|rule| rule.id()).collect();
        format!("{}:{}", self.policy, rules.join(","))
    }

    /// `it breaks 2 rules of ClusterImmutablePolicy production: image-tag (2 findings), …`
    fn note(&self) -> String {
        let counted = |(rule, count): (&RuleId, &u64)| {
            format!("{rule} ({count} {})", if *count == 1 { "finding" } else { "findings" })
        };
        let rules: Vec<String> = self.rules.iter().map(counted).collect();
        let number = match rules.len() {
            1 => "a rule".to_owned(),
            number => format!("{number} rules"),
        };
        format!("it breaks {number} of {} {}: {}", self.policy.kind(), self.policy, rules.join(", "))
    }

    /// The Event as it is written; `policy_uid` is that of the policy.
    pub fn manifest(&self, told: &Telling<'_>, key: &WorkloadKey, uid: &str, policy_uid: &str) -> Value {
        let regarding = json!({
            "apiVersion": key.kind.api_version(), "kind": key.kind.name(),
            "namespace": key.namespace, "name": key.name, "uid": uid,
        });
        let mut related = json!({
            "apiVersion": "immutable.dev/v1alpha1", "kind": self.policy.kind(), "name": self.policy.name, "uid": policy_uid,
        });
        if let Some(namespace) = &self.policy.namespace {
            related["namespace"] = Value::from(namespace.as_str());
        }
        let identity = format!("{uid}:{}", self.identity());
        told.manifest(&key.namespace, &identity, "PolicyViolation", "Scan", &self.note(), &regarding, Some(&related))
    }
}

/// Who tells, and when.
#[derive(Clone, Copy, Debug)]
pub struct Telling<'a> {
    /// The installation.
    pub installation: &'a Installation,
    /// The replica.
    pub instance: &'a str,
    /// The present.
    pub now: Timestamp,
}

impl Telling<'_> {
    #[expect(clippy::too_many_arguments, reason = "an Event has as many parts")]
    fn manifest(
        &self,
        namespace: &str,
        identity: &str,
        reason: &str,
        action: &str,
        note: &str,
        regarding: &Value,
        related: Option<&Value>,
    ) -> Value {
        let digest = digest(&format!("{reason}:{identity}"));
        let mut manifest = json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": {
                "name": format!("immutable-{}", &digest[..16]),
                "namespace": namespace,
                "labels": {MANAGED_BY.0: MANAGED_BY.1, INSTALLATION_LABEL: self.installation.label()},
            },
            "eventTime": format!("{:.6}", self.now),
            "reportingController": "immutable.dev/operator",
            "reportingInstance": self.instance.chars().take(128).collect::<String>(),
            "type": "Warning",
            "reason": reason,
            "action": action,
            "note": cut(note),
            "regarding": regarding,
        });
        if let Some(related) = related {
            manifest["related"] = related.clone();
        }
        manifest
    }

    /// The Event that an exception ends within a day; nothing where that is not so.
    pub fn expiring(&self, exception: &Exception, uid: &str) -> Option<Value> {
        let left = exception.expires_at.duration_since(self.now);
        if left <= SignedDuration::ZERO || left > EXPIRES_SOON {
            return None;
        }
        let ExceptionId { namespace, name } = &exception.id;
        let regarding = json!({
            "apiVersion": "immutable.dev/v1alpha1", "kind": "ImmutableException",
            "namespace": namespace, "name": name, "uid": uid,
        });
        let ends = exception.expires_at;
        let rules: Vec<&str> = exception.rules.iter().map(|rule| rule.id()).collect();
        let note = format!("it ends at {ends}; from then on what it excuses from {} is a finding", rules.join(", "));
        let identity = format!("{uid}:{ends}");
        Some(self.manifest(namespace, &identity, "ExceptionExpiring", "Expire", &note, &regarding, None))
    }
}

/// At most what the API server takes, in bytes, and whole characters.
fn cut(note: &str) -> &str {
    let fits = |end: &usize| note.is_char_boundary(*end);
    let end = (0..=note.len().min(LONGEST_NOTE)).rev().find(fits).unwrap_or_default();
    &note[..end]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn notice(count: u64, rules: &[RuleId]) -> Notice {
        let policy = PolicyId { namespace: None, name: "p".repeat(253) };
        Notice { policy, rules: rules.iter().map(|rule| (*rule, count)).collect() }
    }

    fn telling(installation: &Installation, now: &str) -> Value {
        let telling = Telling { installation, instance: "pod-1", now: now.parse().unwrap() };
        let key = WorkloadKey {
            kind: crate::workload::WorkloadKind::BuiltIn(crate::workload::Kind::Deployment),
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
        };
        notice(u64::MAX, RuleId::ALL).manifest(&telling, &key, "uid", "uid of the policy")
    }

    #[test]
    fn an_event_is_the_same_at_another_time_and_never_too_long() {
        let installation = Installation { namespace: "system".to_owned(), owner: "owner".to_owned() };
        let (first, later) =
            (telling(&installation, "2026-11-26T10:00:00Z"), telling(&installation, "2026-11-27T10:00:00.5Z"));
        assert_eq!(first["metadata"], later["metadata"]);
        assert_eq!(later["eventTime"], "2026-11-27T10:00:00.500000Z");
        let note = first["note"].as_str().unwrap();
        assert!(
            note.len() <= LONGEST_NOTE && note.starts_with("it breaks 14 rules of ClusterImmutablePolicy"),
            "{note}"
        );
    }

    #[test]
    fn only_another_set_of_rules_is_news() {
        let one = notice(1, &[RuleId::ImageTag]);
        assert_eq!(one.mark(), notice(2, &[RuleId::ImageTag]).mark());
        assert_ne!(one.mark(), notice(1, &[RuleId::ImageTag, RuleId::Probes]).mark());
        let marks = Marks::from([one.mark(), 7]);
        assert_eq!(read(&written(&marks)), marks);
        assert_eq!(read("nonsense,,"), Marks::new());
    }
}
