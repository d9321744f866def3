//! What changes a digest, and what does not.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::references::{KeyUse, Keys};

fn key(byte: u8) -> DigestKey {
    DigestKey::from_bytes(&[byte; 32]).unwrap()
}

/// Keys and values of `data` and of `binaryData`.
type Fields<'a> = (&'a [(&'a str, &'a str)], &'a [(&'a str, &'a str)]);

fn content((data, binary_data): Fields<'_>) -> ConfigContent {
    ConfigContent::new(&key(1), data.iter().copied(), binary_data.iter().copied())
}

/// Reads all keys (`*`) or these; `!` behind one says that it must be there.
fn dependency(kind: ConfigKind, name: &str, keys: &[&str]) -> Dependency {
    let mut read = Keys { all: keys.contains(&"*"), named: BTreeMap::new() };
    for key in keys.iter().filter(|key| **key != "*") {
        let key_use = KeyUse { read: true, required: key.ends_with('!') };
        read.named.insert(key.trim_end_matches('!').into(), key_use);
    }
    Dependency { kind, name: name.into(), required: true, keys: read, fields: vec!["/spec".to_owned()] }
}

fn of(dependency: &Dependency, state: State<'_>) -> Digest {
    digest(&key(1), &[(dependency, state)])
}

fn of_all(fields: Fields<'_>) -> Digest {
    of(&dependency(ConfigKind::ConfigMap, "app", &["*"]), State::Present(&content(fields)))
}

#[test]
fn a_key_has_32_bytes_and_is_never_shown() {
    for length in [0, 16, 31, 33, 64] {
        assert!(DigestKey::from_bytes(&vec![7; length]).is_none(), "{length}");
    }
    let secret = key(0xab);
    let shown = format!("{secret:?} {}", secret.id());
    assert_eq!(secret.id().len(), 8);
    assert!(!shown.contains("abab") && !shown.contains("171"), "{shown}");
    assert_ne!(secret.id(), key(0xac).id());
}

/// Digests are stored in clusters: whoever changes one of these restarts fleets, or needs another [`VERSION`].
#[test]
fn digests_are_as_they_ever_were() {
    let app = dependency(ConfigKind::ConfigMap, "app", &["a", "b"]);
    let db = dependency(ConfigKind::Secret, "db", &["*"]);
    let of_app = content((&[("a", "1"), ("c", "3")], &[("b", "AA==")]));
    let states = [(&app, State::Present(&of_app)), (&db, State::Absent)];
    assert_eq!(digest(&key(1), &states).to_string(), "1-a2bfbba4-6ca6b360a8701275603096639861da2b");
    assert_eq!(short(&key(1), &app, State::Present(&of_app)), "2391ccf5");
    assert_eq!(digest(&key(1), &[]).to_string(), "1-a2bfbba4-046b9383ceaa5e9714cc81f9ba2a1bf3");
}

#[test]
fn digests_are_read_as_they_are_written() {
    let written = of_all((&[("a", "1")], &[]));
    let text = written.to_string();
    assert_eq!(text.len(), "1-".len() + 8 + 1 + 32);
    assert!(!text.contains(':'));
    assert_eq!(text.parse(), Ok(written));
    let later: Digest = text.replacen('1', "23", 1).parse().unwrap();
    assert!(!later.is_comparable(&written) && later.is_comparable(&later));
    let short = &text[..text.len() - 1];
    for wrong in [
        "",
        "1",
        "1--",
        short,
        &format!("{text}0"),
        &format!("{text}-"),
        &format!("0{text}"),
        &format!("+{text}"),
        &format!(" {text}"),
        &text.to_uppercase(),
        &text.replacen('-', ":", 1),
        &format!("{}é", &text[..text.len() - 2]),
        &format!("{}+{}", &text[..2], &text[3..]),
    ] {
        // A digest without letters reads the same in capitals.
        if *wrong != text {
            let error = wrong.parse::<Digest>().unwrap_err().to_string();
            assert!(error.contains("one reads 1-KEYID-DIGEST"), "{error}");
        }
    }
}

#[test]
fn another_key_makes_other_digests() {
    let app = dependency(ConfigKind::ConfigMap, "app", &["*"]);
    let [one, other] = [1, 2].map(|byte| {
        let content = ConfigContent::new(&key(byte), [("a", "1")], []);
        let state = State::Present(&content);
        (digest(&key(byte), &[(&app, state)]), short(&key(byte), &app, state), content)
    });
    assert!(!one.0.is_comparable(&other.0));
    assert_ne!(one.0.code, other.0.code);
    assert_ne!(one.1, other.1);
    assert_ne!(one.2, other.2);
}

/// What a digest without lengths confuses.
#[test]
fn no_two_contents_are_alike() {
    let all: [Fields<'_>; 14] = [
        (&[], &[]),
        (&[("a", "1;b=2")], &[]),
        (&[("a", "1"), ("b", "2")], &[]),
        (&[("a", "1b2")], &[]),
        (&[("a1", "b2")], &[]),
        (&[("a", "")], &[]),
        (&[("a", "1")], &[]),
        (&[], &[("a", "1")]),
        (&[("a", "1")], &[("b", "2")]),
        (&[("b", "2")], &[("a", "1")]),
        (&[("a", "2"), ("b", "1")], &[]),
        (&[("a", "1\0b\x002")], &[]),
        (&[("ab", "1"), ("c", "2")], &[]),
        (&[("a", "1"), ("bc", "2")], &[]),
    ];
    for (index, one) in all.iter().enumerate() {
        for other in &all[..index] {
            assert_ne!(of_all(*one), of_all(*other), "{one:?} {other:?}");
        }
    }
    let there = content((&[("a", "1")], &[]));
    let state = State::Present(&there);
    let app = of(&dependency(ConfigKind::ConfigMap, "app", &["*"]), state);
    assert_ne!(app, of(&dependency(ConfigKind::Secret, "app", &["*"]), state));
    assert_ne!(app, of(&dependency(ConfigKind::ConfigMap, "ap", &["*"]), state));
    assert_ne!(app, of(&dependency(ConfigKind::ConfigMap, "app", &["*"]), State::Absent));
    // Content that goes over from one object to another.
    let [one, other] = [["a", "b"], ["b", "a"]].map(|names| {
        let dependencies = names.map(|name| dependency(ConfigKind::ConfigMap, name, &["*"]));
        digest(&key(1), &[(&dependencies[0], state), (&dependencies[1], State::Absent)])
    });
    assert_ne!(one, other);
}

#[test]
fn an_object_of_which_nothing_is_read_does_not_count() {
    let mut unread = dependency(ConfigKind::ConfigMap, "app", &[]);
    unread.keys.named.insert("a".into(), KeyUse { read: false, required: true });
    let there = content((&[("a", "1")], &[]));
    for state in [State::Absent, State::Present(&there)] {
        assert_eq!(of(&unread, state), digest(&key(1), &[]));
    }
}

#[test]
fn changed_keys_are_named() {
    let before = content((&[("same", "1"), ("changed", "1"), ("gone", "1"), ("moved", "1")], &[("other", "1")]));
    let after = content((&[("same", "1"), ("changed", "2"), ("come", "1")], &[("moved", "1"), ("other", "1")]));
    assert_eq!(before.changed_keys(&after), ["changed", "come", "gone", "moved"]);
    assert_eq!(after.changed_keys(&before), ["changed", "come", "gone", "moved"]);
    assert!(before.changed_keys(&before.clone()).is_empty());
    assert_eq!(ConfigContent::default().changed_keys(&content((&[("a", "")], &[]))), ["a"]);
}

#[test]
fn what_is_missing_is_told() {
    let app = dependency(ConfigKind::ConfigMap, "app", &["a!", "b", "c!"]);
    let all = dependency(ConfigKind::ConfigMap, "all", &["*", "d!"]);
    let db = dependency(ConfigKind::Secret, "db", &["password!"]);
    let optional = Dependency { required: false, ..dependency(ConfigKind::Secret, "optional", &["*"]) };
    let mut unread = dependency(ConfigKind::Secret, "unread", &["a"]);
    unread.keys.named.insert("z".into(), KeyUse { read: false, required: true });
    let there = content((&[("c", "1")], &[]));
    let binary = content((&[], &[("password", "AA==")]));
    let states = [
        (&app, State::Absent),
        (&app, State::Present(&there)),
        (&all, State::Present(&there)),
        (&db, State::Present(&binary)),
        (&db, State::Present(&there)),
        (&optional, State::Absent),
        (&unread, State::Present(&there)),
    ];
    assert_eq!(
        missing(&states),
        [
            "ConfigMap app does not exist",
            "ConfigMap app has no key a",
            "ConfigMap all has no key d",
            "Secret db has no key password",
            "Secret unread has no key z",
        ]
    );
}

/// Entries of an object: the field and the value of each key.
type Object = BTreeMap<&'static str, (bool, String)>;

fn read(object: &Object) -> ConfigContent {
    let of = |wanted: bool| {
        let kept = object.iter().filter(move |(_, (binary, _))| *binary == wanted);
        kept.map(|(key, (_, value))| (*key, value.as_str()))
    };
    ConfigContent::new(&key(1), of(false), of(true))
}

fn any_object() -> impl Strategy<Value = Object> {
    prop::collection::btree_map(select(vec!["a", "b", "ab", "ba", "c"]), (any::<bool>(), "[ab1]{0,3}"), 0..5)
}

fn any_dependency() -> impl Strategy<Value = Dependency> {
    let keys = prop_oneof![
        2 => prop::collection::vec(select(vec!["a", "b", "ab", "ba", "a!", "b!"]), 0..4),
        1 => Just(vec!["*", "a!"]),
    ];
    let kind = select(vec![ConfigKind::ConfigMap, ConfigKind::Secret]);
    (kind, select(vec!["a", "b", "ab"]), keys).prop_map(|(kind, name, keys)| dependency(kind, name, &keys))
}

/// What a dependency sees of an object, without any code.
fn seen(dependency: &Dependency, object: Option<&Object>) -> Option<Object> {
    let object = object?;
    Some(
        object.iter().filter(|(key, _)| dependency.keys.reads(key)).map(|(key, value)| (*key, value.clone())).collect(),
    )
}

proptest! {
    /// The digest is as good as what it is made of: equal where all that is read is, and only there.
    #[test]
    fn a_digest_stands_for_what_is_read(
        dependency in any_dependency(),
        one in prop::option::of(any_object()),
        other in prop::option::of(any_object()),
    ) {
        let contents = [&one, &other].map(|object| object.as_ref().map(read));
        let states = [&contents[0], &contents[1]].map(|content| content.as_ref().map_or(State::Absent, State::Present));
        let alike = dependency.keys.is_empty() || seen(&dependency, one.as_ref()) == seen(&dependency, other.as_ref());
        prop_assert_eq!(of(&dependency, states[0]) == of(&dependency, states[1]), alike);
        if !dependency.keys.is_empty() {
            prop_assert_eq!(short(&key(1), &dependency, states[0]) == short(&key(1), &dependency, states[1]), alike);
        }
    }

    /// One edit of one key counts exactly where the key is read, and is named.
    #[test]
    fn an_edit_counts_where_it_is_read(
        dependency in any_dependency(),
        before in any_object(),
        at in select(vec!["a", "b", "ab", "c"]),
        edit in prop::option::of((any::<bool>(), "[ab1]{0,3}")),
    ) {
        let mut after = before.clone();
        match &edit {
            Some(value) => after.insert(at, value.clone()),
            None => after.remove(at),
        };
        let (content, edited) = (read(&before), read(&after));
        let changed = before != after;
        let (then, now) = (State::Present(&content), State::Present(&edited));
        prop_assert_eq!(of(&dependency, then) != of(&dependency, now), changed && dependency.keys.reads(at));
        prop_assert_eq!(content.changed_keys(&edited), if changed { vec![at] } else { Vec::new() });
    }

    /// The order of references does not count, nor what is required, nor where it is written.
    #[test]
    fn only_content_counts(
        objects in prop::collection::vec((any_dependency(), prop::option::of(any_object())), 0..5).prop_shuffle(),
        shift in 0usize..5,
    ) {
        let contents: Vec<_> = objects.iter().map(|(_, object)| object.as_ref().map(read)).collect();
        let state = |index: usize| contents[index].as_ref().map_or(State::Absent, State::Present);
        let states: Vec<_> = objects.iter().enumerate().map(|(index, (dependency, _))| (dependency, state(index))).collect();
        let others: Vec<Dependency> = objects.iter().map(|(dependency, _)| {
            let mut other = Dependency { required: false, fields: Vec::new(), ..dependency.clone() };
            for key_use in other.keys.named.values_mut() {
                key_use.required = !key_use.required;
            }
            other
        }).collect();
        let mut turned: Vec<_> = others.iter().enumerate().map(|(index, dependency)| (dependency, state(index))).collect();
        turned.reverse();
        let middle = if turned.is_empty() { 0 } else { shift % turned.len() };
        turned.rotate_left(middle);
        prop_assert_eq!(digest(&key(1), &states), digest(&key(1), &turned));
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[0-9a-f+:-]{0,60}|1-[0-9a-f]{8}-[0-9a-f]{32}") {
        match text.parse::<Digest>() {
            Ok(digest) => prop_assert_eq!(digest.to_string(), text),
            Err(error) => prop_assert_eq!(error, NoDigest(text)),
        }
    }
}
