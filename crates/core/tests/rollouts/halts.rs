//! What a failure holds up, and what not.

use immutable_core::replace::Reason;
use immutable_core::workload::Kind;
use immutable_core::workload::rollout::Replacing;
use serde_json::json;

use crate::model::{Model, Op, Setup};
use crate::objects::Reference;
use crate::scenarios::{edit, end, reason, run};

#[test]
fn a_failure_holds_up_the_same_change_and_no_other_of_the_policy() {
    let reads = |config| vec![Reference { config, optional: true, key: None }];
    let workload = |config| (Kind::Deployment, reads(config), Replacing::Rolling, 2);
    let replace = json!({"settle": "0s", "maxConcurrent": 2});
    let workloads = vec![workload(0), workload(0), workload(0), workload(1)];
    let mut model = Model::new(&Setup { replace, workloads, configs: 2, operators: 1 });
    run(&mut model, 5);
    model.quiet();
    // The paused ones wait for somebody, so that one of the two places is free when w0 has failed.
    model.apply(&Op::Pause { workload: 1, paused: true });
    model.apply(&Op::Pause { workload: 2, paused: true });
    model.apply(&edit(0));
    run(&mut model, 10);
    model.apply(&Op::Pass { milliseconds: 700_000 });
    model.apply(&Op::Pause { workload: 1, paused: false });
    model.apply(&Op::Edit { config: 1, key: 0, value: 2 });
    run(&mut model, 30);
    assert_eq!(reason(&model, "w1"), Some(Reason::Halted));
    assert_eq!(reason(&model, "w3"), None);
    let rolled: Vec<&str> = model.rolled.iter().map(|rolled| rolled.cause.as_str()).collect();
    assert_eq!(rolled.len(), 2, "{:?}", model.rolled);
    assert!(rolled[0].starts_with("ConfigMap c0") && rolled[1].starts_with("Secret c1"), "{rolled:?}");
    model.apply(&edit(7));
    end(&mut model);
}
