//! What a rule says of itself to people: `immutable explain`, `docs/rules/`, SARIF, reports.

use serde::Serialize;

/// The documentation of a rule.
#[derive(Clone, Copy, Debug)]
pub struct Document {
    /// A few words, `Images name no mutable tag`.
    pub title: &'static str,
    /// Why anyone should care, as whole sentences.
    pub reason: &'static str,
    /// What to do, as whole sentences.
    pub remedy: &'static str,
    /// How bad a finding is.
    pub severity: Severity,
    /// The shelf it stands on in reports.
    pub category: Category,
    /// A manifest with exactly this finding; a test judges it.
    pub bad: &'static str,
    /// The same manifest without it; a test judges it.
    pub good: &'static str,
}

/// How bad a finding is; the words of the report API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The node is open.
    Critical,
    /// What runs may be replaced or changed unseen.
    High,
    /// A layer of defence is missing.
    Medium,
    /// Operations suffer.
    Low,
}

impl Severity {
    /// `high`
    pub fn name(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }
}

/// What a rule protects; the category in reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Category {
    /// Which bytes run.
    #[serde(rename = "Immutable images")]
    Images,
    /// What a running container can change.
    #[serde(rename = "Immutable runtime")]
    Runtime,
    /// Replacement without loss.
    #[serde(rename = "Safe replacement")]
    Replacement,
    /// What configuration a pod reads.
    #[serde(rename = "Immutable configuration")]
    Configuration,
}

impl Category {
    /// `Immutable images`
    pub fn name(self) -> &'static str {
        match self {
            Self::Images => "Immutable images",
            Self::Runtime => "Immutable runtime",
            Self::Replacement => "Safe replacement",
            Self::Configuration => "Immutable configuration",
        }
    }
}
