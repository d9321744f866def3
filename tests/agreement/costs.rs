//! What the compiled policies cost the API server at their worst.

use anyhow::{Result, ensure};
use immutable_core::workload::Kind;
use serde_json::{Value, json};

use crate::{
    evaluator::{Evaluator, Judgement, creation, update},
    images, policies,
    workloads::{SORTS, Sort, around},
};

/// The most that a single expression may cost: half of what the API server lets it.
const OF_AN_EXPRESSION: i64 = 500_000;
/// The most that all of a compiled policy may cost: a tenth of what the API server lets it.
const OF_A_POLICY: i64 = 1_000_000;
/// More than anybody has, and nearly as many as can have an image with a digest.
const MANY: usize = 600;
/// The most containers that anybody has been seen with.
const CONTAINERS: usize = 100;

/// An image of 253 bytes that breaks both image rules, or none.
fn image(number: usize, violates: bool) -> String {
    let end = if violates {
        // As long as a tag may be, and forbidden by the last pattern.
        format!(":branch-{}{:02}-snapshot", ".".repeat(110), number % 32)
    } else {
        format!(":1@{}", images::digest("sha256", 64))
    };
    let host = format!("registry-{number:03}.example:5000/");
    let repository = "team/part-of/".repeat(20);
    let length = 253 - host.len() - end.len();
    format!("{host}{}x{end}", &repository[..length - 1].trim_end_matches('/').replace("-o", "zo"))
}

/// A spec of 100 containers of one list or of both.
fn spec(violates: bool, init: usize) -> Value {
    let container = |number: usize| {
        let mut container = json!({"name": format!("c{number:0>62}"), "image": image(number, violates)});
        let mount = |volume: usize| json!({"name": format!("v{volume}"), "mountPath": format!("/{volume}"), "readOnly": !violates});
        container["volumeMounts"] = (0..4).map(mount).collect();
        if violates {
            container["securityContext"] = json!({
                "privileged": true, "runAsUser": 0,
                "capabilities": {"add": ["SYS_ADMIN", "SYS_TIME", "NET_ADMIN", "CHOWN", "KILL", "MKNOD"]},
            });
        } else {
            let amounts = json!({"cpu": "1", "memory": "1Gi", "ephemeral-storage": "1Gi"});
            let probe = json!({"httpGet": {"port": 80}});
            container["securityContext"] = json!({
                "readOnlyRootFilesystem": true, "runAsNonRoot": true, "allowPrivilegeEscalation": false,
                "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
            });
            container["imagePullPolicy"] = json!("Never");
            container["resources"] = json!({"requests": amounts, "limits": amounts});
            for field in ["readinessProbe", "livenessProbe", "startupProbe"] {
                container[field] = probe.clone();
            }
        }
        container
    };
    let mut spec = json!({
        "containers": (init..CONTAINERS).map(container).collect::<Vec<_>>(),
        "volumes": (0..50).map(|number| json!({"name": format!("v{number}"), "hostPath": {"path": "/"}})).collect::<Vec<_>>(),
    });
    if init > 0 {
        let sidecar = |number| {
            let mut container = container(number);
            container["restartPolicy"] = json!("Always");
            container
        };
        spec["initContainers"] = (0..init).map(sidecar).collect();
    }
    spec
}

/// A workload that breaks whatever a hundred containers can break.
pub(crate) fn violating(sort: Sort) -> Value {
    around(sort, &spec(true, 0))
}

/// Fails when a compiled policy asks for more of the API server than it should.
///
/// # Errors
/// When it does, or cannot be evaluated.
pub(crate) fn within_budget(what: &str, judgement: &Judgement) -> Result<()> {
    let Judgement { cost, match_cost, max_expression_cost, max_expression, error, .. } = judgement;
    ensure!(error.is_empty(), "{what}: {error}");
    ensure!(*cost >= 0 && cost + match_cost <= OF_A_POLICY, "{what} costs {cost} and {match_cost}");
    ensure!(*max_expression_cost <= OF_AN_EXPRESSION, "{what}: {max_expression} costs {max_expression_cost}");
    Ok(())
}

struct Measured {
    what: String,
    judgement: Judgement,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_containers_cost_a_tenth_of_the_budget() -> Result<()> {
    let policy = policies::everything().policy(None)?;
    let mut evaluator = Evaluator::start(&policy).await?;
    let mut cases = Vec::new();
    for sort in SORTS {
        for violates in [true, false] {
            for init in [0, CONTAINERS / 2] {
                let object = around(sort, &spec(violates, init));
                let what = format!("{} {} {init} init", sort.names().0, if violates { "violated" } else { "clean" });
                cases.push((format!("{what} create"), creation(&object)));
                // An update that changes the last thing that is compared.
                let mut changed = object.clone();
                changed["metadata"]["labels"] = json!({"changed": "yes"});
                cases.push((format!("{what} update"), update(&object, &changed)));
            }
        }
    }
    // All is looked at before the one that violates is found.
    for sort in SORTS {
        let mut last = spec(false, 0);
        last["containers"][CONTAINERS - 1] = spec(true, 0)["containers"][CONTAINERS - 1].clone();
        cases.push((format!("{} violated at last create", sort.names().0), creation(&around(sort, &last))));
    }
    // So many containers that their images must be shorter, each as long as it may be, and a last one that violates.
    for violates in [false, true] {
        let mut many = spec(false, 0);
        let container = many["containers"][0].clone();
        let containers = (0..MANY).map(|number| {
            let mut container = container.clone();
            container["name"] = json!(format!("c{number}"));
            container["image"] =
                json!(format!("{}:1@{}", "r".repeat(60_000 / (MANY + 1) - 74), images::digest("sha256", 64)));
            container["volumeMounts"] = json!([]);
            container
        });
        let mut containers: Vec<Value> = containers.collect();
        if violates {
            containers[MANY - 1]["securityContext"]["privileged"] = json!(true);
        }
        many["containers"] = json!(containers);
        many["volumes"] = json!([]);
        let what = if violates { "violated" } else { "clean" };
        cases.push((
            format!("Deployment {what} many create"),
            creation(&around(Sort::BuiltIn(Kind::Deployment), &many)),
        ));
    }
    // The same names in two lists, and names and images that must be cleaned, where nobody has validated them.
    let mut odd = spec(true, 50);
    for list in ["containers", "initContainers"] {
        for container in odd[list].as_array_mut().into_iter().flatten() {
            container["name"] = json!("\u{e9}".repeat(300));
            container["image"] = json!(format!("{}\u{e9}", "i".repeat(252)));
        }
    }
    cases.push(("Rollout odd create".to_owned(), creation(&around(Sort::Rollout, &odd))));

    let mut requests: Vec<Value> = cases.iter().map(|(_, request)| request.clone()).collect();
    for request in &mut requests {
        request["measureCost"] = json!(true);
    }
    let mut measured = Vec::new();
    for ((what, _), judged) in cases.into_iter().zip(evaluator.judge(&requests).await?) {
        let judgements = judged.map_err(anyhow::Error::msg)?;
        let denied = judgements.iter().any(|judgement| judgement.matched && judgement.denied);
        let clean = what.contains("clean") || what.contains("update");
        ensure!(denied != clean || what.contains("update"), "{what}: denied: {denied}: {judgements:?}");
        // Those that do not concern the object cost nothing.
        let asked = judgements.into_iter().filter(|judgement| judgement.cost + judgement.match_cost > 0);
        measured.extend(asked.map(|judgement| Measured { what: what.clone(), judgement }));
    }
    report(&mut measured)
}

fn report(measured: &mut [Measured]) -> Result<()> {
    measured.sort_by_key(|one| std::cmp::Reverse(one.judgement.cost + one.judgement.match_cost));
    let show = |one: &Measured| {
        let Judgement { policy, cost, match_cost, max_expression_cost, max_expression, .. } = &one.judgement;
        println!("{cost:>9} {match_cost:>6} {max_expression_cost:>8} {max_expression:<32} {} {policy}", one.what);
    };
    measured.iter().take(12).for_each(show);
    measured
        .iter()
        .filter(|one| one.what.starts_with("Deployment") || one.what.starts_with("Rollout clean"))
        .for_each(show);
    for one in measured.iter() {
        let Judgement { cost, match_cost, max_expression_cost, error, .. } = &one.judgement;
        ensure!(error.is_empty(), "{}: {error}", one.what);
        let all = cost + match_cost;
        // The API server's own limits, where it is more than a hundred.
        let (of_an_expression, of_a_policy) =
            if one.what.contains("many") { (1_000_000, 10_000_000) } else { (OF_AN_EXPRESSION, OF_A_POLICY) };
        ensure!(*cost >= 0 && all <= of_a_policy, "{} costs {all}", one.what);
        let dearest = &one.judgement.max_expression;
        ensure!(*max_expression_cost <= of_an_expression, "{}: {dearest} costs {max_expression_cost}", one.what);
    }
    Ok(())
}
