//! Writes that the API server never takes.

use immutable_core::replace::Reason;
use serde_json::json;

use crate::scenarios::{deployments, edit, end, reason, run};

#[test]
fn one_whose_writes_always_conflict_is_told_and_tried_ever_more_seldom() {
    let mut model = deployments(1, &json!({"settle": "0s"}));
    model.cluster.workloads.get_mut("w0").unwrap().conflicts = true;
    model.apply(&edit(2));
    run(&mut model, 300);
    assert_eq!(reason(&model, "w0"), Some(Reason::WriteFailed));
    let tries = model.history.matches("writes Deployment shop/w0: Outdated").count();
    assert!((6..=10).contains(&tries), "{tries}");
    model.cluster.workloads.get_mut("w0").unwrap().conflicts = false;
    end(&mut model);
    assert_eq!(model.rolled.len(), 1);
}
