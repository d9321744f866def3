//! Argo CD's health checks, run by a real Lua 5.1 on objects as the API server stores them.

use std::fmt::Write as _;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::sample::sample;
use crate::support::{GENEROUS, wait_until};
use crate::tools::{read, repository, run};

const FOLDER: &str = "deploy/argocd";

/// A value as Lua writes it; null is nil, as in Argo CD.
fn lua(value: &Value) -> String {
    match value {
        Value::Null => "nil".to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => lua_text(text),
        Value::Array(items) => format!("{{{}}}", items.iter().map(lua).collect::<Vec<_>>().join(",")),
        Value::Object(fields) => {
            let fields = fields.iter().map(|(key, value)| format!("[{}]={}", lua_text(key), lua(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(","))
        }
    }
}

fn lua_text(text: &str) -> String {
    let mut written = String::from("\"");
    for byte in text.bytes() {
        // Writing to a String cannot fail.
        let _ = write!(written, "\\{byte:03}");
    }
    written + "\""
}

/// Status and message that a script gives to an object. Argo CD gives it nothing of the system.
async fn health(script: &str, object: &Value) -> Result<(String, String)> {
    let path = repository(&format!("{FOLDER}/{script}.lua"));
    let program = format!(
        "local check = assert(loadfile({}))\nlocal say = print\nio, os, print, require = nil, nil, nil, nil\nobj = {}\n\
         local health = check()\nsay(health.status)\nsay(health.message)",
        lua_text(&path.to_string_lossy()),
        lua(object)
    );
    let said = run("lua5.1", &["-"], &program).await?;
    let (status, message) = said.trim_end().split_once('\n').with_context(|| format!("it said {said:?}"))?;
    ensure!(!message.is_empty() && message != "nil", "{status} has no message");
    Ok((status.to_owned(), message.to_owned()))
}

/// An object of generation 2 with conditions, each as type, status, reason.
fn object(observed: Option<u64>, conditions: &[(&str, &str, &str)]) -> Value {
    let condition = |(kind, status, reason): &(&str, &str, &str)| {
        json!({"type": kind, "status": status, "reason": reason, "message": format!("why {reason}"),
               "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": observed})
    };
    let conditions: Vec<Value> = conditions.iter().map(condition).collect();
    json!({
        "apiVersion": "immutable.dev/v1alpha1",
        "metadata": {"name": "it", "generation": 2},
        "spec": {},
        "status": {"observedGeneration": observed, "conditions": conditions},
    })
}

#[tokio::test]
async fn the_health_of_a_policy_is_what_its_conditions_say() -> Result<()> {
    let ready = ("Ready", "True", "Compiled");
    let stuck = ("Ready", "False", "WriteFailed");
    for (observed, conditions, expected) in [
        (None, &[ready][..], "Progressing"),
        (Some(1), &[ready], "Progressing"),
        (Some(1), &[stuck, ("Stalled", "True", "WriteFailed")], "Progressing"),
        (Some(2), &[], "Progressing"),
        (Some(2), &[("Ready", "Unknown", "Progressing"), ("Reconciling", "True", "Progressing")], "Progressing"),
        (Some(2), &[stuck, ("Stalled", "True", "WriteFailed")], "Degraded"),
        (Some(2), &[ready, ("Stalled", "True", "WriteFailed")], "Degraded"),
        (Some(2), &[ready, ("Stalled", "False", "Fine")], "Healthy"),
        (Some(2), &[stuck], "Degraded"),
        // A sync of several waves waits for ever for what is neither Healthy nor Degraded.
        (Some(2), &[("Ready", "True", "Suspended"), ("Enforced", "False", "Suspended")], "Healthy"),
        (Some(2), &[ready, ("Enforced", "True", "Proven")], "Healthy"),
        // Whether it is in force is an alert; a policy at Audit is healthy.
        (Some(2), &[ready, ("Enforced", "False", "NotEnforcing")], "Healthy"),
    ] {
        let (status, message) = health("policy", &object(observed, conditions)).await?;
        ensure!(status == expected, "{observed:?} {conditions:?} is {status} ({message}), not {expected}");
        let is_bad = expected == "Degraded";
        ensure!(!is_bad || message.contains("WriteFailed: why WriteFailed"), "{message}");
        let is_suspended = conditions.iter().any(|(_, _, reason)| *reason == "Suspended");
        ensure!(!is_suspended || message == "why Suspended", "{message}");
    }
    let bare = json!({"metadata": {"name": "it", "generation": 1}, "spec": {}});
    ensure!(health("policy", &bare).await?.0 == "Progressing", "without a status");
    ensure!(health("exception", &bare).await?.0 == "Progressing", "without a status");
    Ok(())
}

#[tokio::test]
async fn the_health_of_an_exception_is_whether_it_excuses() -> Result<()> {
    let ready = ("Ready", "True", "Compiled");
    let mut cases = vec![
        (Some(1), vec![ready, ("Active", "True", "InEffect")], "Progressing"),
        (Some(2), vec![], "Progressing"),
        (Some(2), vec![("Ready", "Unknown", "Progressing")], "Progressing"),
        (Some(2), vec![ready, ("Active", "Unknown", "Progressing")], "Progressing"),
        (Some(2), vec![("Ready", "False", "Invalid")], "Degraded"),
        (Some(2), vec![("Ready", "False", "Invalid"), ("Active", "True", "InEffect")], "Degraded"),
        (Some(2), vec![ready], "Healthy"),
        (Some(2), vec![ready, ("Active", "True", "InEffect")], "Healthy"),
        (Some(2), vec![("Active", "True", "InEffect")], "Healthy"),
        (Some(2), vec![ready, ("Active", "True", "NeverMatched")], "Healthy"),
        (Some(2), vec![ready, ("Active", "False", "NeverMatched")], "Healthy"),
        (Some(2), vec![ready, ("Active", "False", "Expired")], "Healthy"),
    ];
    for reason in ["PolicyNotFound", "TooLong", "TooMany", "RuleNotExcusable", "SelectorNotAllowed"] {
        cases.push((Some(2), vec![ready, ("Active", "False", reason)], "Degraded"));
    }
    for (observed, conditions, expected) in cases {
        let (status, message) = health("exception", &object(observed, &conditions)).await?;
        ensure!(status == expected, "{observed:?} {conditions:?} is {status} ({message}), not {expected}");
        let has_ended = conditions.iter().any(|(_, _, reason)| *reason == "Expired");
        ensure!(!has_ended || message == "why Expired", "{message}");
    }
    Ok(())
}

#[tokio::test]
async fn policies_of_a_real_cluster_are_healthy_also_while_suspended() -> Result<()> {
    let (cluster, _) = sample().await?;
    for (kind, name, says) in [
        ("clusterimmutablepolicy", "web", ""),
        ("immutablepolicy", "recorded", ""),
        ("immutablepolicy", "suspended", "uspended"),
    ] {
        wait_until(&format!("{name} to be healthy"), GENEROUS, async || {
            let get = ["get", kind, name, "--namespace=shop", "--output=json"];
            let object: Value = serde_json::from_str(&cluster.kubectl(&get, "").await?.success()?)?;
            let (status, message) = health("policy", &object).await?;
            ensure!(status == "Healthy" && message.contains(says), "it is {status}: {message}");
            Ok(())
        })
        .await?;
    }
    Ok(())
}

#[test]
fn what_is_pasted_into_argocd_cm_is_what_is_tested() -> Result<()> {
    let patch: Value = serde_saphyr::from_str(&read(&format!("{FOLDER}/argocd-cm.yaml"))?)?;
    let data = patch["data"].as_object().context("no data")?;
    let scripts =
        [("ClusterImmutablePolicy", "policy"), ("ImmutablePolicy", "policy"), ("ImmutableException", "exception")];
    ensure!(data.len() == scripts.len(), "there is something else in it");
    for (kind, script) in scripts {
        let pasted = data.get(&format!("resource.customizations.health.immutable.dev_{kind}"));
        ensure!(pasted == Some(&Value::from(read(&format!("{FOLDER}/{script}.lua"))?)), "{kind} has another script");
    }
    Ok(())
}
