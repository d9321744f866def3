//! What reports lack, as the condition Scanned tells it.

use std::collections::BTreeMap;

use immutable_core::policy::PolicyId;

/// What reports lack.
#[derive(Debug, Default)]
pub(super) struct Troubles {
    /// What concerns all of them.
    pub everywhere: Option<String>,
    /// By policy, of how many workloads a report could not be written, and why one could not.
    pub failed: BTreeMap<PolicyId, (usize, String)>,
    /// By policy, of how many workloads a report leaves something out.
    pub capped: BTreeMap<PolicyId, usize>,
}

impl Troubles {
    /// The reason and the message for a policy; none where all is well.
    pub(super) fn of(&self, policy: &PolicyId) -> Option<(&'static str, String)> {
        if let Some((number, why)) = self.failed.get(policy) {
            return Some((
                "ReportsFailed",
                format!("the reports or Events of {} could not be written: {why}", about(*number)),
            ));
        }
        if let Some(why) = &self.everywhere {
            return Some(("ReportsFailed", why.clone()));
        }
        let number = self.capped.get(policy)?;
        let message = format!(
            "the reports of {} leave results out: there are too many; this status and the metrics count all",
            about(*number)
        );
        Some(("ReportsCapped", message))
    }
}

/// Roughly how many: a status is not written anew for each of thousands.
fn about(workloads: usize) -> String {
    match workloads {
        1 => "1 workload".to_owned(),
        ..=10 => format!("{workloads} workloads"),
        _ => format!("more than {} workloads", 10_usize.pow((workloads - 1).ilog10())),
    }
}
