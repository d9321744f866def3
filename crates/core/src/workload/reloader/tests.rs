//! What counts, by the annotations of Reloader.

#![allow(clippy::unwrap_used)]

use proptest::prelude::*;
use proptest::sample::select;
use rstest::rstest;

use super::*;
use crate::references::KeyUse;

const KINDS: [ConfigKind; 2] = [ConfigKind::ConfigMap, ConfigKind::Secret];

/// Names and values.
type Pairs<'a> = &'a [(&'a str, &'a str)];

fn annotations(pairs: Pairs<'_>) -> Annotations {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// A workload's annotations without a template's.
fn read(pairs: Pairs<'_>) -> Reloader {
    Reloader::read(&annotations(pairs), &Annotations::new()).unwrap()
}

/// The objects of a namespace.
#[derive(Debug, Default)]
struct Objects(BTreeMap<(ConfigKind, String), ConfigMarks>);

impl Objects {
    fn of(objects: &[(ConfigKind, &str, Pairs<'_>)]) -> Self {
        let marks = |pairs: Pairs<'_>| ConfigMarks::read(&annotations(pairs));
        Self(objects.iter().map(|(kind, name, pairs)| ((*kind, (*name).to_owned()), marks(pairs))).collect())
    }
}

impl ConfigObjects for Objects {
    fn marks(&self, kind: ConfigKind, name: &str) -> Option<ConfigMarks> {
        self.0.get(&(kind, name.to_owned())).copied()
    }

    fn names(&self, kind: ConfigKind) -> impl Iterator<Item = &str> {
        self.0.keys().filter(move |(of_kind, _)| *of_kind == kind).map(|(_, name)| name.as_str())
    }
}

/// Reads key `a`, which must be there.
fn dependency(kind: ConfigKind, name: &str) -> Dependency {
    let mut keys = Keys::default();
    keys.named.insert("a".into(), KeyUse { read: true, required: true });
    Dependency { kind, name: name.into(), required: true, keys, fields: vec!["/spec".to_owned()] }
}

/// ConfigMaps `app` and `tagged` and Secrets `db` and `muted`, which is ignored; more that nobody refers to.
fn cluster() -> (Vec<Dependency>, Objects) {
    use ConfigKind::{ConfigMap, Secret};
    let own = [(ConfigMap, "app"), (ConfigMap, "tagged"), (Secret, "db"), (Secret, "muted")];
    let objects = Objects::of(&[
        (ConfigMap, "app", &[(MATCH, "True")]),
        (ConfigMap, "tagged", &[(MATCH, "true"), (IGNORE, "1")]),
        (ConfigMap, "app-2", &[(MATCH, "true")]),
        (ConfigMap, "xapp", &[]),
        (Secret, "db", &[]),
        (Secret, "muted", &[(IGNORE, "true"), (MATCH, "true")]),
        (Secret, "db-2", &[]),
    ]);
    (own.map(|(kind, name)| dependency(kind, name)).to_vec(), objects)
}

/// `cm/app` and `secret/db`; `*` behind it where all keys count.
fn told(counting: &[Dependency]) -> Vec<String> {
    let one = |dependency: &Dependency| {
        let kind = if dependency.kind == ConfigKind::ConfigMap { "cm" } else { "secret" };
        format!("{kind}/{}{}", dependency.name, if dependency.keys.all { "*" } else { "" })
    };
    counting.iter().map(one).collect()
}

const CM_RELOAD: &str = "configmap.reloader.stakater.com/reload";
const SECRET_RELOAD: &str = "secret.reloader.stakater.com/reload";
const CM_AUTO: &str = "configmap.reloader.stakater.com/auto";
const SECRET_AUTO: &str = "secret.reloader.stakater.com/auto";
const CM_EXCLUDE: &str = "configmaps.exclude.reloader.stakater.com/reload";
const SECRET_EXCLUDE: &str = "secrets.exclude.reloader.stakater.com/reload";

#[rstest]
#[case::auto(&[(AUTO, "true")], &["cm/app", "cm/tagged", "secret/db"])]
#[case::auto_of_one_kind(&[(CM_AUTO, "t")], &["cm/app", "cm/tagged"])]
#[case::auto_of_the_other_kind(&[(SECRET_AUTO, "1")], &["secret/db"])]
#[case::one_auto_is_enough(&[(AUTO, "false"), (SECRET_AUTO, "true")], &["secret/db"])]
#[case::off(&[(AUTO, "false")], &[])]
#[case::search(&[(SEARCH, "true")], &["cm/tagged"])]
#[case::search_or_auto(&[(SEARCH, "true"), (SECRET_AUTO, "true")], &["cm/tagged", "secret/db"])]
#[case::named(&[(CM_RELOAD, "app")], &["cm/app*"])]
#[case::named_unreferenced(&[(CM_RELOAD, " app-2 , xapp,")], &["cm/app-2*", "cm/xapp*"])]
#[case::named_absent(&[(SECRET_RELOAD, "absent")], &["secret/absent*"])]
#[case::pattern(&[(CM_RELOAD, "app.*")], &["cm/app*", "cm/app-2*"])]
#[case::pattern_of_existing_only(&[(SECRET_RELOAD, "absent.*")], &[])]
#[case::alternatives_are_whole_names(&[(CM_RELOAD, "app|nothing")], &["cm/app*"])]
#[case::named_beside_auto(&[(SECRET_RELOAD, "db-[0-9]"), (CM_AUTO, "true")], &["cm/app", "cm/tagged", "secret/db-2*"])]
#[case::named_and_auto(&[(CM_RELOAD, "app"), (AUTO, "true")], &["cm/app*", "cm/tagged", "secret/db"])]
#[case::exclude(&[(AUTO, "true"), (CM_EXCLUDE, "tagged, other")], &["cm/app", "secret/db"])]
#[case::exclude_is_of_one_kind(&[(AUTO, "true"), (SECRET_EXCLUDE, "app,tagged")], &["cm/app", "cm/tagged", "secret/db"])]
#[case::exclude_is_no_pattern(&[(AUTO, "true"), (CM_EXCLUDE, "app.*|tagged")], &["cm/app", "cm/tagged", "secret/db"])]
#[case::exclude_wins_over_named(&[(CM_RELOAD, "app,app-.*"), (CM_EXCLUDE, "app,app-2")], &[])]
#[case::exclude_wins_over_search(&[(SEARCH, "true"), (CM_EXCLUDE, "tagged")], &[])]
#[case::ignored_though_named(&[(SECRET_RELOAD, "muted,db")], &["secret/db*"])]
#[case::ignored_though_matching(&[(SECRET_RELOAD, "m.*")], &[])]
#[case::ignored_though_searched(&[(SEARCH, "true")], &["cm/tagged"])]
#[case::exclude_alone(&[(CM_EXCLUDE, "app")], &[])]
fn these_count(#[case] annotations: Pairs<'_>, #[case] expected: &[&str]) {
    let (own, objects) = cluster();
    let reloader = read(annotations);
    assert_eq!(told(&reloader.dependencies(&own, &objects, false)), expected);
    assert_eq!(reloader.problems(), &[] as &[String]);
}

#[rstest]
#[case::nothing_is_said(&[(CM_EXCLUDE, "app")], &["cm/tagged", "secret/db"])]
#[case::off(&[(AUTO, "false")], &[])]
#[case::off_for_one_kind(&[(SECRET_AUTO, "false")], &["cm/app", "cm/tagged"])]
#[case::an_empty_value_says_nothing(&[(AUTO, "")], &["cm/app", "cm/tagged", "secret/db"])]
#[case::named(&[(CM_RELOAD, "app")], &["cm/app*", "cm/tagged", "secret/db"])]
fn by_default_all_counts(#[case] annotations: Pairs<'_>, #[case] expected: &[&str]) {
    let (own, objects) = cluster();
    assert_eq!(told(&read(annotations).dependencies(&own, &objects, true)), expected);
}

/// Kind by kind, the template's annotations count where the workload has none that select.
#[rstest]
#[case::none_on_the_workload(&[], &[(AUTO, "true")], &["cm/app", "cm/tagged", "secret/db"])]
#[case::workload_wins(&[(AUTO, "false")], &[(AUTO, "true")], &[])]
#[case::even_when_empty(&[(SEARCH, "")], &[(AUTO, "true")], &[])]
#[case::one_kind_each(&[(CM_RELOAD, "xapp")], &[(AUTO, "true")], &["cm/xapp*", "secret/db"])]
#[case::exclude_selects_nothing(&[(CM_EXCLUDE, "app")], &[(AUTO, "true")], &["cm/tagged", "secret/db"])]
fn the_template_speaks_where_the_workload_is_silent(
    #[case] workload: Pairs<'_>,
    #[case] template: Pairs<'_>,
    #[case] expected: &[&str],
) {
    let (own, objects) = cluster();
    let reloader = Reloader::read(&annotations(workload), &annotations(template)).unwrap();
    assert_eq!(told(&reloader.dependencies(&own, &objects, false)), expected);
    assert_eq!(reloader.problems(), &[] as &[String]);
}

#[test]
fn what_is_named_counts_whole_and_is_not_waited_for() {
    let (own, objects) = cluster();
    let template = annotations(&[(SECRET_RELOAD, "db")]);
    let reloader = Reloader::read(&annotations(&[(CM_RELOAD, "app,xapp")]), &template).unwrap();
    let counting = reloader.dependencies(&own, &objects, false);
    let [app, xapp, db] = counting.as_slice() else { unreachable!("{counting:?}") };
    assert!(app.required && app.keys.all && app.keys.required().eq(["a"]), "the pod still waits for what it refers to");
    assert_eq!(app.fields, ["annotation configmap.reloader.stakater.com/reload", "/spec"]);
    assert!(!xapp.required && xapp.keys.all && xapp.keys.named.is_empty());
    assert_eq!(xapp.fields, ["annotation configmap.reloader.stakater.com/reload"]);
    assert_eq!(db.fields, ["annotation secret.reloader.stakater.com/reload of the pod template", "/spec"]);
}

#[test]
fn nothing_of_reloader_is_nothing() {
    let foreign = annotations(&[
        ("app", "reloader.stakater.com/auto"),
        ("notreloader.stakater.com/auto", "true"),
        ("reloader.stakater.com", "true"),
        (LEFT_BEHIND[1], "2026-01-01T00:00:00Z"),
    ]);
    let template = annotations(&[(LEFT_BEHIND[0], "{}")]);
    assert_eq!(Reloader::read(&foreign, &template), None);
}

#[rstest]
#[case(&[(AUTO, "true")], true)]
#[case(&[(SECRET_AUTO, "TRUE")], true)]
#[case(&[(SEARCH, "true")], true)]
#[case(&[(CM_RELOAD, "app")], true)]
#[case(&[(CM_RELOAD, " , ")], false)]
#[case(&[(AUTO, "F")], false)]
#[case(&[(CM_EXCLUDE, "app")], false)]
#[case(&[("reloader.stakater.com/rollout-strategy", "restart")], false)]
fn a_workload_opts_in(#[case] annotations: Pairs<'_>, #[case] expected: bool) {
    assert_eq!(read(annotations).selects(), expected);
}

#[rstest]
#[case::bool(&[(AUTO, "yes")], "annotation reloader.stakater.com/auto: \"yes\" counts as false; write \"true\" or \"false\"")]
#[case::bool_of_a_kind(&[(CM_AUTO, " true")], "annotation configmap.reloader.stakater.com/auto: \" true\" counts as false; write \"true\" or \"false\"")]
#[case::search(&[(SEARCH, "1")], "annotation reloader.stakater.com/search: \"1\" does not count; write \"true\"")]
#[case::pattern(&[(CM_RELOAD, "a(")], "annotation configmap.reloader.stakater.com/reload: \"a(\" is no pattern")]
#[case::parentheses(&[(CM_RELOAD, "a)(b")], "\"a)(b\" is no pattern")]
#[case::large_pattern(&[(SECRET_RELOAD, "(a{500}){500}")], "\"(a{500}){500}\" is no pattern")]
#[case::deep_pattern(&[(SECRET_RELOAD, "((((((((((((((((((((a))))))))))))))))))))")], "is no pattern")]
#[case::pause(&[("deployment.reloader.stakater.com/pause-period", "5m")],
    "annotation deployment.reloader.stakater.com/pause-period is not understood and does nothing; remove it")]
#[case::other_kind(&[("secretproviderclass.reloader.stakater.com/auto", "true")],
    "annotation secretproviderclass.reloader.stakater.com/auto is not understood and does nothing; remove it")]
#[case::mark_of_an_object(&[(IGNORE, "true")],
    "annotation reloader.stakater.com/ignore counts on a ConfigMap or Secret only; write it there")]
fn problems_are_told_once(#[case] annotations: Pairs<'_>, #[case] expected: &str) {
    let reloader = read(annotations);
    let [problem] = reloader.problems() else { unreachable!("{:?}", reloader.problems()) };
    assert!(problem.contains(expected), "{problem}");
    assert!(!reloader.selects());
}

#[test]
fn an_exclusion_in_a_template_is_told() {
    let reloader = Reloader::read(&Annotations::new(), &annotations(&[(CM_EXCLUDE, "app")])).unwrap();
    assert_eq!(
        reloader.problems(),
        [
            "annotation configmaps.exclude.reloader.stakater.com/reload does not count in a pod template; write it on the \
          workload"
        ]
    );
}

#[test]
fn a_bad_item_leaves_the_others() {
    let (own, objects) = cluster();
    let reloader = read(&[(CM_RELOAD, "[,app,x.*")]);
    assert_eq!(told(&reloader.dependencies(&own, &objects, false)), ["cm/app*", "cm/xapp*"]);
    assert_eq!(reloader.problems().len(), 1);
}

#[test]
fn lists_are_bounded() {
    let list = |length: usize| (0..length).map(|number| format!("n{number}")).collect::<Vec<_>>().join(",");
    let (_, objects) = cluster();
    let whole = read(&[(CM_RELOAD, &list(MOST_NAMES))]);
    assert_eq!(whole.problems(), &[] as &[String]);
    let cut = read(&[(CM_RELOAD, &list(MOST_NAMES + 1))]);
    assert_eq!(cut.dependencies(&[], &objects, false), whole.dependencies(&[], &objects, false));
    assert_eq!(
        cut.problems(),
        ["annotation configmap.reloader.stakater.com/reload lists 65 names, of which the first 64 count; write fewer"]
    );
}

#[test]
fn patterns_are_bounded() {
    let list = |length: usize| (0..length).map(|number| format!("n{number}.*")).collect::<Vec<_>>().join(",");
    assert_eq!(read(&[(CM_RELOAD, &list(MOST_PATTERNS))]).problems(), &[] as &[String]);
    // What people write is far below the limit.
    let names = ["^app-[a-z0-9]+-(prod|staging|dev)$", "(app|web|worker)-config-v[0-9]+"];
    assert_eq!(read(&[(CM_RELOAD, &names.join(","))]).problems(), &[] as &[String]);
    let cut = read(&[(CM_RELOAD, &format!("{},plain", list(MOST_PATTERNS + 1)))]);
    let patterns = cut.config_map.named.iter().filter(|name| matches!(name, Name::Pattern(_)));
    assert_eq!((patterns.count(), cut.config_map.named.len()), (MOST_PATTERNS, MOST_PATTERNS + 1));
    assert_eq!(
        cut.problems(),
        [
            "annotation configmap.reloader.stakater.com/reload lists 17 regular expressions, of which the first 16 count; \
          write fewer"
        ]
    );
}

#[test]
fn items_that_no_name_can_be_are_told() {
    let (longest, longer) = ("n".repeat(LONGEST_ITEM), "n".repeat(LONGEST_ITEM + 1));
    let reloader = read(&[(CM_RELOAD, &format!("{longest},{longer},app")), (SECRET_EXCLUDE, &longer)]);
    assert_eq!((reloader.config_map.named.len(), reloader.secret.excluded.len()), (2, 0));
    let [reload, exclude] = reloader.problems() else { unreachable!("{:?}", reloader.problems()) };
    assert!(reload.contains(CM_RELOAD) && reload.contains("1 names of more than 253 bytes"), "{reload}");
    assert!(exclude.contains(SECRET_EXCLUDE), "{exclude}");
}

#[test]
fn many_problems_are_told_in_few() {
    let names: Vec<String> = (0..100).map(|number| format!("x{number}.reloader.stakater.com/y")).collect();
    let pairs: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "true")).collect();
    let problems = Reloader::read(&annotations(&pairs), &annotations(&pairs)).unwrap().problems;
    assert_eq!(problems.len(), MOST_PROBLEMS + 1);
    assert!(problems[MOST_PROBLEMS].starts_with("and 84 more problems"), "{}", problems[MOST_PROBLEMS]);
}

#[test]
fn patterns_that_name_too_many_objects_are_too_much() {
    let named = |count: usize| {
        let name = |number| ((ConfigKind::ConfigMap, format!("n{number:04}")), ConfigMarks::default());
        Objects((0..count).map(name).collect())
    };
    let reloader = read(&[(CM_RELOAD, "n.*"), (CM_EXCLUDE, "n0000")]);
    // The one that is excluded does not count.
    let most = named(MOST_MATCHED + 1);
    assert_eq!(reloader.excess(&most), None);
    assert_eq!(reloader.dependencies(&[], &most, false).len(), MOST_MATCHED);
    let more = named(MOST_MATCHED + 2);
    let why = reloader.excess(&more).unwrap();
    assert!(why.contains(CM_RELOAD) && why.contains("more than 256 objects"), "{why}");
    assert_eq!(reloader.dependencies(&[], &more, false).len(), MOST_MATCHED);
    assert_eq!(read(&[(CM_RELOAD, "a,b")]).excess(&more), None);
}

/// What Reloader decides of one object, step by step as its documentation tells it.
fn counts(reloader: &[(&str, String)], kind: ConfigKind, name: &str, objects: &Objects, referenced: bool) -> bool {
    let of_kind = annotations_of(kind);
    let value = |wanted: &str| reloader.iter().find(|(name, _)| *name == wanted).map_or("", |(_, value)| value);
    let marks = objects.marks(kind, name);
    if marks.is_some_and(|marks| marks.is_ignored) || value(of_kind.exclude).split(',').any(|item| item == name) {
        return false;
    }
    let is_named = |item: &str| {
        let pattern = regex::Regex::new(&format!("^(?:{item})$")).unwrap();
        !item.is_empty() && pattern.is_match(name) && (marks.is_some() || item == name)
    };
    if value(of_kind.reload).split(',').any(is_named) {
        return true;
    }
    let searched = value(SEARCH) == "true" && marks.is_some_and(|marks| marks.is_match);
    referenced && (searched || value(AUTO) == "true" || value(of_kind.auto) == "true")
}

fn any_annotations() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let bools = prop::collection::btree_map(
        select(vec![AUTO, CM_AUTO, SECRET_AUTO, SEARCH]),
        select(vec!["true", "false", ""]).prop_map(str::to_owned),
        0..3,
    );
    let item = select(vec!["app", "db", "x", "absent", "a.*", "[dx]b?", "x|db"]);
    let list = prop::collection::vec(item, 0..3).prop_map(|items| items.join(","));
    let lists =
        prop::collection::btree_map(select(vec![CM_RELOAD, SECRET_RELOAD, CM_EXCLUDE, SECRET_EXCLUDE]), list, 1..4);
    (bools, lists).prop_map(|(bools, lists)| bools.into_iter().chain(lists).collect())
}

proptest! {
    /// Every combination is decided as Reloader decides it, object by object.
    #[test]
    fn decisions_are_reloaders(
        pairs in any_annotations(),
        existing in prop::collection::btree_map(
            (select(KINDS.to_vec()), select(vec!["app", "db", "x", "xdb"])), (any::<bool>(), prop::bool::weighted(0.2)), 0..8),
        referenced in prop::collection::btree_set((select(KINDS.to_vec()), select(vec!["app", "db", "absent"])), 0..5),
    ) {
        let objects = existing.into_iter().map(|((kind, name), (is_match, is_ignored))| {
            ((kind, name.to_owned()), ConfigMarks { is_match, is_ignored })
        });
        let objects = Objects(objects.collect());
        let own: Vec<Dependency> = referenced.iter().map(|(kind, name)| dependency(*kind, name)).collect();
        let given: Vec<(&str, &str)> = pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let counting = read(&given).dependencies(&own, &objects, false);
        let expected: Vec<(ConfigKind, &str)> = KINDS.into_iter()
            .flat_map(|kind| ["absent", "app", "db", "x", "xdb"].map(|name| (kind, name)))
            .filter(|(kind, name)| counts(&pairs, *kind, name, &objects, referenced.contains(&(*kind, *name))))
            .collect();
        let counting: Vec<(ConfigKind, &str)> = counting.iter().map(|one| (one.kind, &*one.name)).collect();
        prop_assert_eq!(counting, expected);
    }

    /// Whatever stands in annotations is read, and never compiled to more than its limit.
    #[test]
    fn any_annotation_is_read(list in "[a-z.*+?()|{}0-9\\[\\]\\\\^$é, ]{0,40}", bool in ".{0,6}") {
        let reloader = read(&[(CM_RELOAD, &list), (AUTO, &bool)]);
        let (own, objects) = cluster();
        let counting = reloader.dependencies(&own, &objects, true);
        prop_assert!(counting.is_sorted_by_key(|one| (one.kind, one.name.clone())));
        prop_assert!(counting.iter().all(|one| &*one.name != "muted"));
    }
}
