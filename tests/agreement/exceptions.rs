//! Exceptions: the one evaluator in Rust, and what it is compiled to, with regard to every filter and to the time.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, ensure};
use immutable_core::{
    exception::{Exception, Exceptions},
    rules::RuleId,
    workload::Kind,
};
use immutable_operator::api::ImmutableException;
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::{
    evaluator::{Evaluator, creation, denials, excusing, update},
    images, policies,
    random::{Random, seed},
    verdict::{concerns, findings_that, signature, told},
    workloads::{self, Sort, around},
};

/// How many sets of exceptions are tried, and with how many objects each.
const SETS: usize = 8;
const OBJECTS: usize = 700;

/// When the exceptions of the tests are created.
const BEGIN: i64 = 1_800_000_000;

/// A moment, by seconds.
fn at(second: i64) -> Timestamp {
    Timestamp::from_second(BEGIN + second).unwrap_or_default()
}

/// Patterns over images: of those that are written, and with every character that means something to an expression.
const IMAGES: [&str; 14] = [
    "*",
    "nginx*",
    "*:latest",
    "registry.example/*",
    "registry?example/*",
    "*/nginx:?",
    "a*",
    "?????",
    "*@sha256:*",
    "$(a|b)[c]{1}^.+\\\\*",
    "'\"\\u0027+variables.x+'",
    "*'*",
    "nginx:latest|.*",
    "*:*?*",
];

/// A list with a few of some texts.
fn some(random: &mut Random, percent: usize, of: &[&str]) -> Vec<String> {
    if !random.chance(percent) {
        return Vec::new();
    }
    (0..=random.below(3)).map(|_| (*random.pick(of)).to_owned()).collect()
}

/// An exception of a namespace, with any filters, that ends after 100 or 200 seconds.
fn any(random: &mut Random, number: usize) -> Result<Exception> {
    const RULES: [&str; 8] = [
        "image-tag",
        "image-digest",
        "privileged",
        "capabilities",
        "probes",
        "resource-limits",
        "scratch-volumes",
        "update-strategy",
    ];
    let some_rules = (0..=random.below(4)).map(|_| *random.pick(&RULES)).collect::<Vec<_>>();
    // One of them excuses from everything, lest next to no object is excused whole.
    let all_rules = || RuleId::ALL.iter().map(|rule| rule.id()).collect::<Vec<_>>();
    let rules = if number == 0 { all_rules() } else { some_rules };
    let mut selector = json!({});
    if random.chance(15) {
        selector = random
            .pick(&[
                json!({"matchLabels": {"tier": "web"}}),
                json!({"matchExpressions": [{"key": "team", "operator": "Exists"}]}),
                json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["web", "api"]}]}),
                json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["api", ""]}]}),
                json!({"matchExpressions": [{"key": "stage", "operator": "DoesNotExist"}], "matchLabels": {"team": "a"}}),
            ])
            .clone();
    }
    let kinds = ["Deployment", "Pod", "CronJob", "Rollout", "Fleet", "StatefulSet", "Job"];
    let manifest = json!({
        "apiVersion": "immutable.dev/v1alpha1", "kind": "ImmutableException",
        "metadata": {
            "name": format!("e{number}"), "namespace": if number == 0 || random.chance(85) { "default" } else { "other" },
            "creationTimestamp": at(0).to_string(),
        },
        "spec": {
            "rules": rules, "reason": "it's \"hostile\"\n\\ ' + variables.x", "ticket": "' || true",
            "expiresAt": at(*random.pick(&[100, 200])).to_string(),
            "workloads": {
                "kinds": some(random, 25, &kinds), "names": some(random, 25, &["x", "*", "y*", "?", "??", "x*'"]),
                "selector": selector,
            },
            "images": some(random, 35, &IMAGES),
            "containers": some(random, 30, &["c0", "c1", "i0", "e0", "c2", "none"]),
        },
    });
    let exception: ImmutableException = serde_json::from_value(manifest)?;
    exception.validate().map_err(|problems| anyhow!("{problems:?}"))
}

/// The object as the API server stores it at a moment.
fn made(object: &Value, time: Timestamp) -> Value {
    let mut object = object.clone();
    object["metadata"]["creationTimestamp"] = json!(time.to_string());
    object
}

/// The same changed at a moment, by the first of its managers.
fn changed(object: &Value, time: Timestamp) -> Value {
    let mut object = object.clone();
    let manager = |name: &str, time: Timestamp| json!({"manager": name, "operation": "Update", "apiVersion": "v1", "time": time.to_string(), "fieldsType": "FieldsV1", "fieldsV1": {}});
    object["metadata"]["managedFields"] = json!([manager("a", time), manager("b", at(-5))]);
    object
}

#[tokio::test(flavor = "multi_thread")]
async fn exceptions_agree_with_every_filter_one_second_before_and_after_their_end() -> Result<()> {
    let seed = seed("agreement of exceptions")?;
    let edges = images::edges();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for set in 0..SETS {
        let mut random = Random::of(seed, set);
        let settings = [policies::of_pods(), vec![policies::mixed(), policies::healthy()]].concat();
        let mut policy = random.pick(&settings).policy(None)?;
        policy.exceptions.selectors = true;
        let all = (0..8).map(|number| any(&mut random, number)).collect::<Result<Vec<_>>>()?;
        let exceptions = Exceptions::new(all);
        let mut evaluator = Evaluator::start_excusing(&policy, &exceptions.in_effect([&policy], at(1))).await?;
        for second in [99, 100, 199, 200] {
            let in_effect = exceptions.in_effect([&policy], at(second));
            let cases = (0..OBJECTS / 4).map(|case| workloads::any(Random::of(seed ^ 7, set * OBJECTS + case), &edges));
            let objects: Vec<Value> = cases.collect();
            let requests: Vec<Value> = objects.iter().map(|object| creation(&made(object, at(second)))).collect();
            for (object, judged) in objects.iter().zip(evaluator.judge(&requests).await?) {
                let server = denials(&judged);
                let concerned = concerns(&policy, object, "default")?;
                let all = findings_that(&policy, object, |_, _| concerned)?;
                let left = findings_that(&policy, object, |workload, finding| {
                    concerned && in_effect.excuse(&policy.id, "default", workload, &[], finding).is_none()
                })?;
                let rust = told(&left);
                *counts
                    .entry(match (told(&all).is_empty(), rust.is_empty()) {
                        (true, _) => "clean",
                        (false, true) => "excused",
                        (false, false) if left == all => "denied",
                        (false, false) => "excused in part",
                    })
                    .or_default() += 1;
                ensure!(
                    rust == server,
                    "set {set}, second {second}: {}\n{object}\n  Rust   {rust:?}\n  server {server:?}\n{:#?}",
                    signature(rust.iter(), server.iter()),
                    exceptions.iter().collect::<Vec<_>>()
                );
            }
        }
    }
    println!("{counts:?}");
    for what in ["excused", "excused in part", "denied"] {
        ensure!(counts.get(what).is_some_and(|count| *count > 20), "too few are {what}: {counts:?}");
    }
    Ok(())
}

/// An exception of everything in a namespace from two rules that ends after 100 seconds.
fn from_two_rules(name: &str, namespace: &str, more: &Value) -> Result<Exception> {
    let mut spec = json!({
        "rules": ["image-tag", "read-only-root-filesystem", "update-strategy"],
        "reason": "the vendor ships no releases", "expiresAt": at(100).to_string(),
    });
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    let exception: ImmutableException = serde_json::from_value(json!({
        "apiVersion": "immutable.dev/v1alpha1", "kind": "ImmutableException",
        "metadata": {"name": name, "namespace": namespace, "creationTimestamp": at(0).to_string()}, "spec": spec,
    }))?;
    exception.validate().map_err(|problems| anyhow!("{problems:?}"))
}

const BAD: &str = "nginx:latest";

/// A workload that breaks no rule but that of its image.
fn workload(sort: Sort, image: &str) -> Value {
    let restart = if sort.home() == crate::specs::Home::Ending { "Never" } else { "Always" };
    let container = json!({
        "name": "main", "image": image, "env": [{"name": "A", "value": "x"}], "args": ["a", "b"],
        "securityContext": {"readOnlyRootFilesystem": true, "runAsUser": 1000},
    });
    around(sort, &json!({"restartPolicy": restart, "containers": [container]}))
}

/// Where the container is.
fn container(sort: Sort, object: &mut Value) -> Result<&mut Value> {
    let pointer = match sort.names().0 {
        "Pod" => "/spec",
        "PodTemplate" => "/template/spec",
        "CronJob" => "/spec/jobTemplate/spec/template/spec",
        _ => "/spec/template/spec",
    };
    object.pointer_mut(&format!("{pointer}/containers/0")).context("no container")
}

/// Changes of an update strategy: what it is about, whether it passes, and the request.
fn of_strategies() -> Vec<(String, bool, Value)> {
    let mut cases = Vec::new();
    for (time, passes) in [(99, true), (100, false)] {
        let mut old = workload(Sort::BuiltIn(Kind::Deployment), "nginx:1");
        old["spec"]["strategy"] = json!({"type": "RollingUpdate"});
        let mut new = old.clone();
        new["spec"]["strategy"] = json!({"type": "Recreate"});
        cases.push((format!("a strategy at {time}"), passes, update(&changed(&old, at(10)), &changed(&new, at(time)))));
    }
    cases
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_excused_until_the_end_where_it_adds_or_changes_something() -> Result<()> {
    let policy = policies::two_rules().policy(None)?;
    let exceptions = Exceptions::new(vec![from_two_rules("all", "default", &json!({}))?]);
    let mut evaluator = Evaluator::start_excusing(&policy, &exceptions.in_effect([&policy], at(1))).await?;
    let mut cases: Vec<(String, bool, Value)> = Vec::new();
    let sorts = [
        Sort::BuiltIn(Kind::Deployment),
        Sort::BuiltIn(Kind::Pod),
        Sort::BuiltIn(Kind::CronJob),
        Sort::BuiltIn(Kind::PodTemplate),
        Sort::BuiltIn(Kind::DaemonSet),
        Sort::Rollout,
    ];
    for sort in sorts {
        let old = changed(&workload(sort, "registry.example/old:latest"), at(10));
        let mut case = |what: &str, passes: bool, time: i64, edit: &dyn Fn(&mut Value) -> Result<()>| -> Result<()> {
            let mut new = old.clone();
            edit(&mut new)?;
            if new["metadata"]["managedFields"].is_array() {
                new["metadata"]["managedFields"][0]["time"] = json!(at(time).to_string());
            }
            cases.push((format!("{} {what} at {time}", sort.names().0), passes, update(&old, &new)));
            Ok(())
        };
        let image = |new: &mut Value| container(sort, new).map(|container| container["image"] = json!(BAD));
        let no_longer = |new: &mut Value, name: &str| -> Result<()> {
            let context = &mut container(sort, new)?["securityContext"];
            context.as_object_mut().context("no securityContext")?.remove(name);
            Ok(())
        };
        case("another image", true, 99, &image)?;
        case("another image", false, 100, &image)?;
        case("another image, a manager without a time", false, 99, &|new| {
            new["metadata"]["managedFields"][1].as_object_mut().context("no manager")?.remove("time");
            image(new)
        })?;
        case("another image, no managers", false, 99, &|new| {
            new["metadata"].as_object_mut().context("no metadata")?.remove("managedFields");
            image(new)
        })?;
        case("less", false, 50, &|new| no_longer(new, "readOnlyRootFilesystem"))?;
        // The API server does not always note who changes these, and mutating admission may.
        case("less, and a new label and annotation", false, 50, &|new| {
            new["metadata"]["labels"] = json!({"new": "yes"});
            new["metadata"]["annotations"] = json!({"new": "yes"});
            no_longer(new, "readOnlyRootFilesystem")
        })?;
        // What cannot be read is restored.
        case("another image, and the managers of before", false, 10, &image)?;
        case("another image, and a manager that is new and nameless", true, 99, &|new| {
            new["metadata"]["managedFields"][0].as_object_mut().context("no manager")?.remove("manager");
            image(new)
        })?;
        case("less, and a list turned round", false, 50, &|new| {
            container(sort, new)?["args"] = json!(["b", "a"]);
            no_longer(new, "readOnlyRootFilesystem")
        })?;
        case("less, and a list with less", false, 50, &|new| {
            container(sort, new)?["args"] = json!(["a"]);
            no_longer(new, "readOnlyRootFilesystem")
        })?;
        case("less, and a list with more", true, 50, &|new| {
            container(sort, new)?["args"] = json!(["a", "b", "c"]);
            no_longer(new, "readOnlyRootFilesystem")
        })?;
        case("less, and another field deep down", true, 50, &|new| {
            container(sort, new)?["securityContext"]["runAsUser"] = json!(1001);
            no_longer(new, "readOnlyRootFilesystem")
        })?;
        case("less, and a new field deep down", true, 50, &|new| {
            container(sort, new)?["securityContext"]["capabilities"] = json!({"drop": ["ALL"]});
            no_longer(new, "readOnlyRootFilesystem")
        })?;
        case("less, and something empty", false, 50, &|new| {
            container(sort, new)?["securityContext"]["capabilities"] = json!({});
            no_longer(new, "readOnlyRootFilesystem")
        })?;
        case("less, and less of a list", false, 50, &|new| {
            container(sort, new)?["env"] = json!([{"name": "A"}]);
            no_longer(new, "readOnlyRootFilesystem")
        })?;
        case("less, and a new container", true, 50, &|new| {
            container(sort, new)?["name"] = json!("other");
            no_longer(new, "readOnlyRootFilesystem")
        })?;
        case("only another label", true, 5000, &|new| {
            new["metadata"]["labels"] = json!({"new": "yes"});
            Ok(())
        })?;
    }
    cases.extend(of_strategies());
    let requests: Vec<Value> = cases.iter().map(|(.., request)| request.clone()).collect();
    for ((what, passes, request), judged) in cases.iter().zip(evaluator.judge(&requests).await?) {
        let denials = denials(&judged);
        ensure!(denials.is_empty() == *passes, "{what}: {denials:?}\n{request}");
        ensure!(denials.iter().all(|denial| denial.contains("finding")), "{what}: {denials:?}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_exceptions_of_one_policy_cost_no_more_than_is_allowed() -> Result<()> {
    let policy = policies::everything().policy(None)?;
    let all = (0..1000).map(|number| {
        let namespace = if number < 20 { "default".to_owned() } else { format!("team-{:03}", number / 20) };
        let more = json!({
            "rules": ["image-tag", "image-digest", "privileged"],
            "workloads": {"names": [format!("legacy-{number}-*"), "x"]},
            "images": [format!("registry.example/team-{}/legacy/*", number / 20), "*.vendor.example/*"],
            "containers": ["main", "proxy"],
        });
        from_two_rules(&format!("e{number}"), &namespace, &more)
    });
    let exceptions = Exceptions::new(all.collect::<Result<Vec<_>>>()?);
    let in_effect = exceptions.in_effect([&policy], at(1));
    let honoured: usize = in_effect.of_policy(&policy.id).context("none")?.values().map(Vec::len).sum();
    ensure!(honoured == 1000, "{honoured} are honoured");
    let compilation = excusing(&policy, &in_effect);
    let named = compilation.admission_policies.values().flat_map(|compiled| &compiled.spec.variables);
    let longest = named.map(|variable| variable.expression.chars().count()).max().unwrap_or_default();
    let objects = compilation.admission_policies.values().map(|compiled| json!(compiled.spec).to_string().len());
    println!("the longest expression has {longest} characters, the largest object {:?} bytes", objects.max());
    ensure!(longest <= 80_000, "{longest}");

    let mut evaluator = Evaluator::start_excusing(&policy, &in_effect).await?;
    let mut requests = Vec::new();
    for sort in [Sort::BuiltIn(Kind::Deployment), Sort::BuiltIn(Kind::Pod), Sort::BuiltIn(Kind::CronJob)] {
        let object = crate::costs::violating(sort);
        requests.push(creation(&made(&object, at(2))));
        let mut new = changed(&object, at(2));
        container(sort, &mut new)?["image"] = json!("registry.example/other:latest");
        requests.push(update(&changed(&object, at(1)), &new));
    }
    for request in &mut requests {
        request["measureCost"] = json!(true);
    }
    for (request, judged) in requests.iter().zip(evaluator.judge(&requests).await?) {
        let judgements = judged.map_err(anyhow::Error::msg)?;
        ensure!(judgements.iter().any(|judgement| judgement.denied), "nothing is denied: {judgements:?}");
        for judgement in judgements.iter().filter(|judgement| judgement.cost > 0) {
            let what = format!("{} {}", request["operation"], judgement.policy);
            println!("{:>9} {:>8} {} {what}", judgement.cost, judgement.max_expression_cost, judgement.max_expression);
            crate::costs::within_budget(&what, judgement)?;
        }
    }
    Ok(())
}
