//! What a workload's pods were started with, as its annotations say it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::Timestamp;

use crate::references::digest::Digest;
use crate::rules::ConfigKind;
use crate::workload::Rollout;
use crate::workload::rollout::KEPT_BYTES;

/// How many objects `immutable.dev/config-sources` names: it is copied to every ReplicaSet.
const MOST_SOURCES: usize = 32;
/// How many bytes it has at most. What is read back is cut at [`KEPT_BYTES`], which it must stay below.
const MOST_BYTES: usize = 4096;
const _: () = assert!(MOST_BYTES < KEPT_BYTES);
/// Its last part where it does not name every object.
const CUT: &str = "…";

/// Where a record comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RecordedBy {
    /// The stamp of the pod template: every pod of it was started with this content, or later.
    Stamp,
    /// The baseline beside it, which says it for this template.
    Baseline,
}

/// What the annotations record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Recorded {
    /// Nothing, or nothing that can be compared: it is of another key or another version.
    Nothing,
    /// This content.
    Content(Digest, RecordedBy),
}

/// What the annotations of a workload record, compared with digests of the same key and version as `like`.
pub(super) fn recorded(rollout: &Rollout, like: &Digest) -> Recorded {
    let stamp = rollout.stamp.as_deref();
    let of_baseline = rollout.baseline.as_deref().and_then(|text| text.split_once(':'));
    if let Some((of, digest)) = of_baseline
        && of == stamp.unwrap_or("-")
    {
        // A baseline that cannot be compared makes the stamp beneath it no truer.
        return match comparable(digest, like) {
            // One that says what the stamp says adds nothing to it.
            Some(digest) if stamp.is_some_and(|stamp| stamp == digest.to_string()) => {
                Recorded::Content(digest, RecordedBy::Stamp)
            }
            Some(digest) => Recorded::Content(digest, RecordedBy::Baseline),
            None => Recorded::Nothing,
        };
    }
    match stamp.and_then(|stamp| comparable(stamp, like)) {
        Some(digest) => Recorded::Content(digest, RecordedBy::Stamp),
        None => Recorded::Nothing,
    }
}

/// What was recorded of a template that somebody has replaced since.
pub(super) fn recorded_before(rollout: &Rollout, like: &Digest) -> Option<Digest> {
    let sources = rollout.sources.as_deref().and_then(Sources::read);
    let of_baseline = rollout.baseline.as_deref().and_then(|text| text.split_once(':'));
    let of_baseline = of_baseline.and_then(|(_, digest)| comparable(digest, like));
    sources.and_then(|sources| comparable(&sources.of, like)).or(of_baseline)
}

fn comparable(text: &str, like: &Digest) -> Option<Digest> {
    text.parse::<Digest>().ok().filter(|digest| digest.is_comparable(like))
}

/// The value of `immutable.dev/config-baseline`.
pub(super) fn baseline(stamp: Option<&str>, digest: &Digest) -> String {
    format!("{}:{digest}", stamp.unwrap_or("-"))
}

/// Whether a baseline stands beside this stamp, or will once the stamp is written: it counts more than the stamp.
pub(super) fn has_baseline_of(rollout: &Rollout, stamp: &str) -> bool {
    rollout.baseline.as_deref().and_then(|text| text.split_once(':')).is_some_and(|(of, _)| of == stamp)
}

/// The value of `immutable.dev/config-sources`: what each object came to, so that a change names its cause also when
/// nobody saw it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sources {
    /// The digest of all, as it is written.
    pub(super) of: String,
    /// The short digest of each object.
    pub(super) objects: BTreeMap<(ConfigKind, String), String>,
    /// Whether these are not all.
    pub(super) is_cut: bool,
}

impl Sources {
    /// `DIGEST ConfigMap/app=1a2b3c4d Secret/db=5e6f7a8b`, and ` …` behind it where these are not all.
    pub(super) fn write(&self) -> String {
        let mut text = self.of.clone();
        let mut is_cut = self.is_cut || self.objects.len() > MOST_SOURCES;
        for ((kind, name), short) in self.objects.iter().take(MOST_SOURCES) {
            let part = format!(" {}/{name}={short}", kind.name());
            if text.len() + part.len() + 1 + CUT.len() > MOST_BYTES {
                is_cut = true;
                break;
            }
            text.push_str(&part);
        }
        if is_cut {
            let _ = write!(text, " {CUT}");
        }
        text
    }

    /// Reads what was written; none where it is something else. What is left out because it cannot be read, or is beyond
    /// what is ever written, is missing like what was cut.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let of = parts.next().filter(|of| !of.is_empty())?.to_owned();
        let object = |part: &str| {
            let (object, short) = part.split_once('=')?;
            let (kind, name) = object.split_once('/')?;
            let kind = [ConfigKind::ConfigMap, ConfigKind::Secret].into_iter().find(|known| known.name() == kind)?;
            Some(((kind, name.to_owned()), short.to_owned()))
        };
        let (mut objects, mut is_cut) = (BTreeMap::new(), false);
        for part in parts {
            match object(part) {
                Some((name, short)) if objects.len() < MOST_SOURCES => drop(objects.insert(name, short)),
                _ => {
                    is_cut = true;
                    break;
                }
            }
        }
        Some(Self { of, objects, is_cut })
    }
}

/// The value of `immutable.dev/config-differs-since`: from when on the content was another one than this record's.
pub(super) fn differs_since(record: &Digest, since: Timestamp) -> String {
    format!("{record}:{since}")
}

/// Since when the content is another one than this record's, as far as that is noted.
pub(super) fn read_differs_since(rollout: &Rollout, record: &Digest) -> Option<Timestamp> {
    let (of, since) = rollout.differs_since.as_deref()?.split_once(':')?;
    if of.parse::<Digest>().ok()? == *record { since.parse().ok() } else { None }
}

#[cfg(test)]
mod tests;
