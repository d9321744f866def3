//! What `immutable why` and `plan` write.

use std::collections::BTreeMap;

use immutable_operator::output::{
    HeldBack, Made, Plan, PodCounts, Reads, Recorded, Replaced, Resource, State, Stuck, Told, Waits, Why,
};
use serde_json::Value;

use crate::{json_file, root, schema};

fn resource(name: &str) -> Resource {
    let [api_version, kind, namespace] = ["apps/v1", "StatefulSet", "shop"].map(str::to_owned);
    Resource { api_version, kind, namespace, name: name.to_owned() }
}

fn why() -> Why {
    let text = |text: &str| Some(text.to_owned());
    let reads = |name: &str, keys: usize| Reads {
        kind: "ConfigMap",
        name: name.to_owned(),
        required: true,
        counts: true,
        keys: Some((0..keys).map(|key| format!("key-{key:02}")).collect()),
        fields: vec!["/spec/template/spec/volumes/0/configMap/name".to_owned()],
        exists: Some(true),
        content: "Changed",
        changed_keys: vec!["key-01".to_owned()],
        missing: Vec::new(),
        written: "2026-11-26T13:00:00Z".parse().ok(),
        error: None,
    };
    Why {
        workload: resource("db"),
        state: State::Waiting,
        message: "its pods are to be replaced, and wait: Paused: it is paused".to_owned(),
        cause: text("ConfigMap app (key-01)"),
        waiting: Some(Waits { reason: "Paused", message: "it is paused".to_owned(), until: None }),
        policies: vec!["ClusterImmutablePolicy production".to_owned()],
        settings: None,
        objects: vec![
            reads("app", 20),
            Reads { exists: Some(false), content: "Unknown", changed_keys: Vec::new(), ..reads("b", 0) },
            Reads {
                exists: None,
                error: text("no right"),
                content: "Unknown",
                changed_keys: Vec::new(),
                ..reads("c", 1)
            },
        ],
        recorded: Recorded { started_with: text("1-aa-bb"), current: text("1-aa-cc"), ..Recorded::default() },
        pods: PodCounts {
            total: 12,
            older: 11,
            older_names: vec!["db-0".to_owned(), "db-1".to_owned()],
            changed: "2026-11-26T13:00:00Z".parse().ok(),
        },
        stuck: vec![Stuck { pod: "db-0".to_owned(), command: "kubectl delete pod db-0 -n shop".to_owned() }],
        replacements: vec![Made {
            revision: 3,
            name: "db-7d".to_owned(),
            created: None,
            again: true,
            cause: text("ConfigMap app\u{1b}[2J"),
            manager: None,
        }],
        last_by_others: Some(Made {
            revision: 2,
            name: "db-5c".to_owned(),
            created: None,
            again: false,
            cause: None,
            manager: text("helm\u{202e}"),
        }),
        warnings: Vec::new(),
    }
}

fn plan() -> Plan {
    let told = |name: &str| vec![Told { resource: resource(name), message: format!("{name}\n::error::") }];
    let waits = Waits { reason: "Window", message: "closed".to_owned(), until: "2026-11-26T22:00:00Z".parse().ok() };
    Plan {
        replace: vec![Replaced { resource: resource("a"), cause: "Secret db".to_owned(), settle: "0s".to_owned() }],
        held_back: vec![HeldBack { resource: resource("b"), cause: "Secret db".to_owned(), waits }],
        under_way: told("c"),
        failed: told("d"),
        unknown: told("e"),
        up_to_date: 7,
        not_served: BTreeMap::from([("it has not opted in".to_owned(), 2)]),
        errors: vec!["v1 Secret cannot be listed".to_owned()],
    }
}

fn written(write: impl Fn(&mut dyn std::io::Write) -> std::io::Result<()>) -> String {
    let mut out = Vec::new();
    write(&mut out).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn why_is_told_on_lines_that_nobody_else_writes() {
    let expected = "\
StatefulSet shop/db: its pods are to be replaced, and wait: Paused: it is paused
  cause        ConfigMap app (key-01)
  started with 1-aa-bb
  content now  1-aa-cc
  pods         12 pods; 11 are older than the change of 2026-11-26T13:00:00Z: db-0, db-1, …
  stuck        db-0 is of an older revision and not ready, so nothing goes on: kubectl delete pod db-0 -n shop

Its pods read
  ConfigMap app  changed since: key-01; read: key-00, key-01, key-02, key-03, key-04, key-05, key-06, key-07, …; \
                    last written 2026-11-26T13:00:00Z
    /spec/template/spec/volumes/0/configMap/name
  ConfigMap b    does not exist, and new pods need it; no key is read; last written 2026-11-26T13:00:00Z
    /spec/template/spec/volumes/0/configMap/name
  ConfigMap c    cannot be read: no right; read: key-00; last written 2026-11-26T13:00:00Z
    /spec/template/spec/volumes/0/configMap/name

The operator replaced them
  revision 3 (db-7d) and taken up again later: ConfigMap app?[2J

The last revision of somebody else (helm?)
  revision 2 (db-5c)
";
    assert_eq!(written(|out| why().write_text(out)), expected);
}

#[test]
fn plan_is_told_in_order_and_ends_with_counts() {
    let expected = "\
To be replaced, in this order
  1. StatefulSet shop/a  now: Secret db

Held back
  StatefulSet shop/b  Window: closed (for Secret db)

Being replaced
  StatefulSet shop/c  c ::error::

Failed or stuck
  StatefulSet shop/d  d ::error::

Not known
  StatefulSet shop/e  e ::error::

Not served
   2 workloads  it has not opted in

1 workload to be replaced, 1 held back, 1 being replaced, 1 failed or stuck, 1 not known, 7 up to date, 2 not served
";
    assert_eq!(written(|out| plan().write_text(out)), expected);
    assert_eq!(written(|out| Plan::default().write_text(out)), "0 workloads to be replaced\n");
}

#[test]
fn the_schemas_of_why_and_plan_take_what_is_written_and_refuse_what_is_not() {
    let published = |name: &str| json_file(&root().join(format!("docs/schema/{name}-report.schema.json")));
    let of_why: Value = serde_json::from_str(&written(|out| why().write_json(out))).unwrap();
    let of_plan: Value = serde_json::from_str(&written(|out| plan().write_json(out))).unwrap();
    let empty: Value = serde_json::from_str(&written(|out| Plan::default().write_json(out))).unwrap();
    for (schema, report) in [("why", &of_why), ("plan", &of_plan), ("plan", &empty)] {
        assert_eq!(schema::faults(&published(schema), report), Vec::<String>::new());
        for pointer in report.as_object().unwrap().keys() {
            let mut bad = report.clone();
            bad[pointer] = Value::Bool(true);
            assert_ne!(schema::faults(&published(schema), &bad), Vec::<String>::new(), "{pointer}");
        }
    }
}
