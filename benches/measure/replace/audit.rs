//! What the operator asked the API server for, as the API server wrote it down.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use serde_json::Value;

use crate::support::Cluster;

/// Only what the operator asks for: 1,000 rollouts would fill the log with what their controllers do.
pub(super) const POLICY: &str = "
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  users: [system:serviceaccount:immutable-system:immutable-operator]
- level: None
";

/// The field manager that changes pod templates, and nothing else.
const ROLLOUT: &str = "fieldManager=immutable-operator-rollout";

/// The operator's requests of a while.
#[derive(Debug, Default)]
pub(super) struct Asked {
    /// Besides Events, Leases and status: how many of each, such as `patch deployments`.
    others: BTreeMap<String, usize>,
    /// Patches of pod templates.
    pub(super) rollouts: usize,
    /// Events created or changed in the busiest second of the clock.
    pub(super) events_a_second: usize,
    /// Events created or changed.
    pub(super) events: usize,
}

impl Asked {
    /// What it asked for since a moment.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(super) async fn since(cluster: &Cluster, moment: Timestamp) -> Result<Self> {
        let mut asked = Self::default();
        let (mut known, mut by_second) = (BTreeSet::new(), BTreeMap::<i64, usize>::new());
        for event in cluster.audit_events().await? {
            let received: Timestamp = text(&event["requestReceivedTimestamp"]).parse().context("no timestamp")?;
            // A watch is written down when it begins and when it ends.
            if received < moment || !known.insert(text(&event["auditID"]).to_owned()) {
                continue;
            }
            let object = &event["objectRef"];
            let resource = text(&object["resource"]);
            match (resource, text(&object["subresource"])) {
                ("events", _) => *by_second.entry(received.as_second()).or_default() += 1,
                ("leases", _) | (_, "status") => {}
                _ => {
                    asked.rollouts += usize::from(text(&event["requestURI"]).contains(ROLLOUT));
                    let what = if resource.is_empty() { text(&event["requestURI"]) } else { resource };
                    *asked.others.entry(format!("{} {what}", text(&event["verb"]))).or_default() += 1;
                }
            }
        }
        asked.events = by_second.values().sum();
        asked.events_a_second = by_second.values().copied().max().unwrap_or_default();
        Ok(asked)
    }

    /// How many requests there were besides Events, Leases and status.
    pub(super) fn requests(&self) -> usize {
        self.others.values().sum()
    }

    /// The same by what was asked for: `500 patch deployments, 1 get configmaps`.
    pub(super) fn described(&self) -> String {
        let described: Vec<String> = self.others.iter().map(|(what, count)| format!("{count} {what}")).collect();
        described.join(", ")
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}
