#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::references::digest::DigestKey;
use crate::replace::snapshot::Snapshot;
use crate::workload::{Kind, WorkloadKind};

const ONE: &str = "1-0a0b0c0d-00000000000000000000000000000001";
const OTHER: &str = "1-0a0b0c0d-00000000000000000000000000000002";
const OF_ANOTHER_KEY: &str = "1-ffffffff-00000000000000000000000000000001";
const OF_A_LATER_VERSION: &str = "2-0a0b0c0d-00000000000000000000000000000001";

fn digest_of(text: &str) -> Digest {
    text.parse().unwrap()
}

/// A Deployment with this stamp, and these annotations of its own.
fn rollout(stamp: Option<&str>, own: &[(&str, &str)]) -> Rollout {
    let own: serde_json::Map<_, _> = own.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let mut template = json!({"spec": {}});
    if let Some(stamp) = stamp {
        template["metadata"] = json!({"annotations": {"immutable.dev/config-digest": stamp}});
    }
    let value = json!({"metadata": {"annotations": own}, "spec": {"template": template}});
    Rollout::read(&value, &WorkloadKind::BuiltIn(Kind::Deployment), &[]).unwrap()
}

fn recorded_of(stamp: Option<&str>, baseline: Option<&str>) -> Recorded {
    let own: Vec<(&str, &str)> = baseline.iter().map(|baseline| ("immutable.dev/config-baseline", *baseline)).collect();
    recorded(&rollout(stamp, &own), &digest_of(ONE))
}

#[test]
fn a_stamp_counts_unless_a_baseline_belongs_to_it() {
    let by_stamp = Recorded::Content(digest_of(ONE), RecordedBy::Stamp);
    assert_eq!(recorded_of(Some(ONE), None), by_stamp);
    for baseline in [format!("-:{OTHER}"), format!("{OTHER}:{OTHER}"), String::new(), ":".to_owned(), OTHER.to_owned()]
    {
        assert_eq!(recorded_of(Some(ONE), Some(&baseline)), by_stamp, "{baseline}");
    }
    let of_it = format!("{ONE}:{OTHER}");
    assert_eq!(recorded_of(Some(ONE), Some(&of_it)), Recorded::Content(digest_of(OTHER), RecordedBy::Baseline));
    assert_eq!(
        recorded_of(None, Some(&format!("-:{OTHER}"))),
        Recorded::Content(digest_of(OTHER), RecordedBy::Baseline)
    );
}

#[test]
fn what_cannot_be_compared_records_nothing() {
    for stamp in [OF_ANOTHER_KEY, OF_A_LATER_VERSION, "", "nonsense"] {
        assert_eq!(recorded_of(Some(stamp), None), Recorded::Nothing, "{stamp}");
        let baseline = format!("{ONE}:{stamp}");
        assert_eq!(recorded_of(Some(ONE), Some(&baseline)), Recorded::Nothing, "{baseline}");
    }
    assert_eq!(recorded_of(None, None), Recorded::Nothing);
}

#[test]
fn a_baseline_is_read_back_for_the_template_that_it_was_written_for() {
    for stamp in [None, Some(ONE), Some(OF_ANOTHER_KEY)] {
        let written = baseline(stamp, &digest_of(OTHER));
        let expected = Recorded::Content(digest_of(OTHER), RecordedBy::Baseline);
        assert_eq!(recorded_of(stamp, Some(&written)), expected, "{written}");
        let rollout = rollout(stamp, &[("immutable.dev/config-baseline", &written)]);
        assert_eq!(has_baseline_of(&rollout, ONE), stamp == Some(ONE), "{written}");
    }
}

#[test]
fn what_was_recorded_of_a_template_before_is_that_of_the_sources_first() {
    let baseline = ("immutable.dev/config-baseline", format!("{ONE}:{OTHER}"));
    let sources = ("immutable.dev/config-sources", format!("{ONE} ConfigMap/app=12345678"));
    let own = [(baseline.0, &*baseline.1), (sources.0, &*sources.1)];
    let before = |own: &[(&str, &str)]| recorded_before(&rollout(None, own), &digest_of(ONE));
    assert_eq!(before(&own), Some(digest_of(ONE)));
    assert_eq!(before(&own[..1]), Some(digest_of(OTHER)));
    assert_eq!(before(&[("immutable.dev/config-sources", OF_ANOTHER_KEY)]), None);
    assert_eq!(before(&[]), None);
}

#[test]
fn sources_are_read_back_as_far_as_they_are_written() {
    let name = |index: usize| (ConfigKind::Secret, format!("db.{index}"));
    let all = Sources {
        of: ONE.to_owned(),
        objects: (0..100).map(|index| (name(index), format!("{index:08x}"))).collect(),
        is_cut: false,
    };
    let read = Sources::read(&all.write()).unwrap();
    assert_eq!(read.of, ONE);
    assert_eq!(read.objects.len(), MOST_SOURCES);
    assert!(read.objects.iter().all(|(name, short)| all.objects[name] == *short));
    assert!(read.is_cut);
    // Whoever writes again what was read makes it no more complete.
    assert_eq!(Sources::read(&read.write()), Some(read));
    let few = Sources { objects: all.objects.into_iter().take(MOST_SOURCES).collect(), ..all };
    assert_eq!(Sources::read(&few.write()), Some(few));
}

#[test]
fn sources_with_long_names_are_cut_and_say_so() {
    let name = |index: usize| (ConfigKind::ConfigMap, format!("{index:02}{}", "n".repeat(251)));
    let objects = (0..MOST_SOURCES).map(|index| (name(index), format!("{index:08x}"))).collect();
    let all = Sources { of: ONE.to_owned(), objects, is_cut: false };
    let written = all.write();
    assert!(written.len() <= MOST_BYTES && written.ends_with(" …"), "{}", written.len());
    // It is read as it is kept.
    let rollout = rollout(None, &[("immutable.dev/config-sources", &written)]);
    let read = rollout.sources.as_deref().and_then(Sources::read).unwrap();
    assert!(read.is_cut && (10..MOST_SOURCES).contains(&read.objects.len()), "{}", read.objects.len());
    let named = Snapshot::recorded(digest_of(ONE), Some(read));
    assert!(named.is_cut && named.sources().write().ends_with(" …"));
}

#[test]
fn sources_that_cannot_be_read_whole_are_not_all() {
    for text in ["ConfigMap/app=12345678 nonsense", "ConfigMap/app=12345678 Secret/d", "ConfigMap/app=12345678 …"] {
        let read = Sources::read(&format!("{ONE} {text}")).unwrap();
        assert!(read.is_cut && read.objects.len() == 1, "{text}");
    }
    assert!(!Sources::read(&format!("{ONE} ConfigMap/app=12345678")).unwrap().is_cut);
    assert!(!Sources::read(ONE).unwrap().is_cut);
}

#[test]
fn a_cut_record_agrees_with_nothing() {
    let key = DigestKey::from_bytes(&[7; 32]).unwrap();
    let (of, now) = (digest_of(ONE), digest_of(OTHER));
    let read = |text: &str| Snapshot::recorded(of, Sources::read(&format!("{ONE} {text}")));
    let whole = read("ConfigMap/app=12345678");
    assert!(whole.agrees_with(&Snapshot { digest: now, ..whole.clone() }, &[], &key));
    let cut = read("ConfigMap/app=12345678 …");
    assert!(!cut.agrees_with(&Snapshot { digest: now, ..whole }, &[], &key));
}

#[test]
fn a_moment_is_noted_for_one_record_only() {
    let since: Timestamp = "2026-01-05T00:02:10.019Z".parse().unwrap();
    let written = differs_since(&digest_of(ONE), since);
    let noted = rollout(None, &[("immutable.dev/config-differs-since", &written)]);
    assert_eq!(read_differs_since(&noted, &digest_of(ONE)), Some(since));
    assert_eq!(read_differs_since(&noted, &digest_of(OTHER)), None);
    for nonsense in ["", ":", &format!("{ONE}:yesterday"), &format!("{ONE}:"), ONE] {
        let noted = rollout(None, &[("immutable.dev/config-differs-since", nonsense)]);
        assert_eq!(read_differs_since(&noted, &digest_of(ONE)), None, "{nonsense}");
    }
}

proptest! {
    #[test]
    fn whatever_stands_there_is_read_without_a_panic(stamp in ".{0,80}", baseline in ".{0,160}", sources in ".{0,300}") {
        let own = [
            ("immutable.dev/config-baseline", &*baseline),
            ("immutable.dev/config-sources", &*sources),
            ("immutable.dev/config-differs-since", &*baseline),
        ];
        let rollout = rollout(Some(&stamp), &own);
        let like = digest_of(ONE);
        prop_assert_eq!(recorded(&rollout, &like), Recorded::Nothing);
        prop_assert_eq!(recorded_before(&rollout, &like), None);
        prop_assert_eq!(read_differs_since(&rollout, &like), None);
        if let Some(read) = Sources::read(&sources) {
            prop_assert!(read.objects.len() <= MOST_SOURCES);
            prop_assert_eq!(Sources::read(&read.write()), Some(read));
        }
    }

    #[test]
    fn sources_survive_being_written(objects in prop::collection::btree_map("[a-z][a-z0-9.-]{0,20}", "[0-9a-f]{8}", 0..40)) {
        let objects = objects.into_iter().map(|(name, short)| ((ConfigKind::ConfigMap, name), short));
        let sources = Sources { of: OTHER.to_owned(), objects: objects.take(MOST_SOURCES).collect(), is_cut: false };
        prop_assert_eq!(Sources::read(&sources.write()), Some(sources));
    }
}
