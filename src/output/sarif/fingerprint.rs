//! What tells a finding from others, and the same one again when the file around it has changed.

use std::collections::HashMap;

use immutable_core::evaluate::About;
use immutable_core::rules::RuleId;
use serde::Serialize;

use super::super::location::repository_path;
use super::super::report::Entry;

#[derive(Serialize)]
pub(super) struct Fingerprints {
    /// The one that GitHub compares; it would compute another from the lines of the file, which move. With
    /// the file, because namesakes in two overlays are two findings.
    #[serde(rename = "primaryLocationLineHash")]
    primary_location_line_hash: String,
    /// Without the file: stays the same when that is renamed.
    #[serde(rename = "immutableFinding/v1")]
    finding: String,
}

impl Fingerprints {
    /// `occurrences` counts equal ones, as GitHub's own do: one container may refer to two `ConfigMaps`.
    pub(super) fn of(entry: &Entry, rule: RuleId, occurrences: &mut HashMap<u64, u32>) -> Self {
        let mut finding = Hash::new();
        finding.add(rule.id());
        finding.add(entry.policy.as_deref().unwrap_or_default());
        if let Some(resource) = &entry.resource {
            // Not the version of the API: another one is no other finding.
            let group = resource.api_version.split_once('/').map_or("", |(group, _)| group);
            for text in [group, &resource.kind, &resource.namespace, &resource.name] {
                finding.add(text);
            }
        }
        match &entry.about {
            About::Container { name, container_type } => {
                finding.add(container_type.name());
                finding.add(name);
            }
            About::Volume(name) => {
                finding.add("volume");
                finding.add(name);
            }
            About::Workload => finding.add("workload"),
        }
        // An index changes when a neighbour comes or goes.
        let is_index = |segment: &&str| !segment.is_empty() && segment.bytes().all(|byte| byte.is_ascii_digit());
        entry.path.split('/').filter(|segment| !is_index(segment)).for_each(|segment| finding.add(segment));
        let mut located = finding;
        located.add(&repository_path(&entry.place.file));
        let occurrence = occurrences.entry(located.0).or_insert(0);
        *occurrence += 1;
        Self {
            primary_location_line_hash: format!("{:016x}:{occurrence}", located.0),
            finding: format!("{:016x}", finding.0),
        }
    }
}

/// FNV-1a, 64 bits: the standard library promises no hash that stays the same with the next compiler.
#[derive(Clone, Copy)]
struct Hash(u64);

impl Hash {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds a text and a separator that no text holds.
    fn add(&mut self, text: &str) {
        for byte in text.bytes().chain([0xFF]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
