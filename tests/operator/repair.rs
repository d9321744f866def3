//! What others do to the native objects, and what policies that cannot be carried out do to the others.

use anyhow::{Context, Result, ensure};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::{ResourceExt, api::Patch};
use serde_json::{Value, json};

use crate::policies::{Native, Policy, bound_to, cluster_policy, condition, gone};
use crate::support::{Cluster, Effect, GENEROUS, Operator, TestNamespace, wait_until};
use crate::workloads::{BAD, denied, image_tag, workload};

const API_VERSION: &str = "admissionregistration.k8s.io/v1";
const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
const SOURCE: &str = "immutable.dev/source";

/// What must be as it was after a repair: everything but what the API server writes.
fn essence(mut native: Native) -> Native {
    let strip = |metadata: &mut ObjectMeta| {
        metadata.managed_fields = None;
        metadata.resource_version = None;
        metadata.uid = None;
        metadata.generation = None;
        metadata.creation_timestamp = None;
    };
    for policy in native.policies.values_mut() {
        strip(&mut policy.metadata);
        policy.status = None;
    }
    native.bindings.values_mut().for_each(|binding| strip(&mut binding.metadata));
    native
}

fn named(kind: &str, name: &str) -> Value {
    json!({"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}})
}

#[tokio::test]
async fn what_others_change_or_delete_is_restored() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let policy = Policy::create(&namespace, image_tag()).await?;
    policy.enforced().await?;
    policy.reports("Ready", "True", "Compiled").await?;
    let before = essence(policy.native().await?);
    let of_template = |name: &&String| name.contains("-enforce-template");
    let compiled = before.policies.keys().find(of_template).context("no policy for templates")?;
    let bindings = before.bindings.values();
    let binding =
        bindings.clone().find(|binding| binding.spec.policy_name == *compiled).context("no binding of it")?.name_any();
    let metadata = |change: Value| json!({"metadata": change});
    let everything = json!({"labels": null, "annotations": null, "ownerReferences": null});
    let mut owner = json!(before.policies[compiled].owner_references()[0]);
    owner["name"] = json!("somebody");
    owner["controller"] = json!(true);
    let condition_added = json!([{"name": "never", "expression": "false"}]);
    let of_both = [
        ("deleted", Value::Null),
        ("everything stripped", metadata(everything.clone())),
        ("the owner renamed, and made a controller", metadata(json!({"ownerReferences": [owner]}))),
        ("the label stripped", metadata(json!({"labels": {MANAGED_BY: null}}))),
        ("the label changed", metadata(json!({"labels": {MANAGED_BY: "somebody"}}))),
        ("the source stripped", metadata(json!({"annotations": {SOURCE: null}}))),
        ("label and source stripped", metadata(json!({"labels": {MANAGED_BY: null}, "annotations": {SOURCE: null}}))),
        ("the owner stripped", metadata(json!({"ownerReferences": null}))),
    ];
    let of_binding = [
        ("actions changed", json!({"spec": {"validationActions": ["Audit"]}})),
        (
            "namespaces changed",
            json!({"spec": {"matchResources": {"namespaceSelector": {"matchLabels": {"never": "matched"}}}}}),
        ),
        (
            "actions changed and owner stripped",
            json!({
                "metadata": {"ownerReferences": null}, "spec": {"validationActions": ["Warn"]}
            }),
        ),
    ];
    let of_policy = [
        ("validation weakened", json!({"spec": {"validations": [{"expression": "true"}]}})),
        ("a condition added", json!({"spec": {"matchConditions": [{"name": "never", "expression": "false"}]}})),
        ("failure policy weakened", json!({"spec": {"failurePolicy": "Ignore"}})),
        (
            "everything stripped and a condition added",
            json!({"metadata": everything, "spec": {"matchConditions": condition_added.clone()}}),
        ),
        (
            "another source and a condition added",
            json!({"metadata": {"annotations": {SOURCE: "x"}}, "spec": {"matchConditions": condition_added}}),
        ),
    ];
    let policies = of_both.iter().chain(&of_policy).map(|damage| ("ValidatingAdmissionPolicy", compiled, damage));
    let bindings =
        of_both.iter().chain(&of_binding).map(|damage| ("ValidatingAdmissionPolicyBinding", &binding, damage));
    for (kind, name, (what, patch)) in policies.chain(bindings) {
        let object = named(kind, name);
        let requests = namespace.requests();
        if patch.is_null() {
            requests.delete(Effect::Real, &object).await?.accepted()?;
        } else {
            requests
                .patch(Effect::Real, &object, &Patch::Merge(patch.clone()), None)
                .await?
                .accepted()
                .with_context(|| format!("{kind}, {what}"))?;
        }
        wait_until(&format!("{kind}, {what}, to be restored"), GENEROUS, async || {
            let now = essence(policy.native().await?);
            for (name, policy) in &before.policies {
                ensure!(now.policies.get(name) == Some(policy), "{name}: {:?}", now.policies.get(name));
            }
            for (name, binding) in &before.bindings {
                ensure!(now.bindings.get(name) == Some(binding), "{name}: {:?}", now.bindings.get(name));
            }
            Ok(())
        })
        .await?;
        wait_until(&format!("{kind}, {what}, to deny again"), GENEROUS, async || {
            denied(requests.create(Effect::DryRun, &workload("Deployment", "web", BAD)).await?)
        })
        .await?;
    }
    policy.enforced().await?;
    policy.delete().await
}

#[tokio::test]
async fn an_object_of_the_same_name_and_another_source_is_refused_and_said() -> Result<()> {
    let cluster = Cluster::start().await?;
    let _operator = Operator::start(&cluster).await?;
    let (namespace, other_namespace) = (cluster.namespace(&[]).await?, cluster.namespace(&[]).await?);
    let policy = Policy::create_named(&namespace, "refused", image_tag()).await?;
    policy.enforced().await?;
    let names = policy.native_names().await?;
    let native = policy.native().await?;
    policy.delete().await?;
    gone(&namespace.client(), &names).await?;

    let binding = native.bindings.values().next().context("no binding")?;
    for labels in [json!({}), json!({MANAGED_BY: "immutable-operator"})] {
        let mut theirs = named("ValidatingAdmissionPolicyBinding", &binding.name_any());
        theirs["metadata"]["labels"] = labels;
        theirs["metadata"]["annotations"] = json!({SOURCE: "something else"});
        theirs["spec"] = json!({"policyName": "nothing", "validationActions": ["Audit"]});
        namespace.create_object(&theirs).await?;
        let policy = Policy::create_named(&namespace, "refused", image_tag()).await?;
        let stored = policy.reports("Ready", "False", "WriteFailed").await?;
        for name in ["Ready", "Stalled", "Enforced"] {
            let message = condition(&stored, name)?["message"].to_string();
            ensure!(message.contains("was not made from the same source"), "{name}: {message}");
        }
        // The other policies are carried out.
        let other = Policy::create_named(
            &other_namespace,
            "other",
            json!({
                "enforcement": "Enforce", "rules": {"imageDigest": {}}
            }),
        )
        .await?;
        other.enforced().await?;
        let untouched = namespace.requests().get(&theirs).await?.accepted()?;
        ensure!(untouched["spec"]["policyName"] == "nothing", "{untouched}");
        namespace.requests().delete(Effect::Real, &theirs).await?.accepted()?;
        policy.enforced().await?;
        let names = policy.native_names().await?;
        policy.delete().await?;
        other.delete().await?;
        gone(&namespace.client(), &names).await?;
    }
    Ok(())
}

/// Adds a profile to the CRD that this version of the operator does not know, as a later version might.
async fn with_a_profile_of_the_future(namespace: &TestNamespace) -> Result<()> {
    let crd = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "clusterimmutablepolicies.immutable.dev"},
    });
    let mut stored = namespace.requests().get(&crd).await?.accepted()?;
    let profile = stored
        .pointer_mut("/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/profile/enum")
        .and_then(Value::as_array_mut)
        .context("the profile is no enumeration")?;
    profile.push(json!("Future"));
    stored["metadata"]["managedFields"] = Value::Null;
    namespace.requests().replace(Effect::Real, &stored, None).await?.accepted()?;
    let future = cluster_policy("trial", json!({"profile": "Future"}));
    wait_until("the profile to be known", GENEROUS, async || {
        namespace.requests().create(Effect::DryRun, &future).await?.accepted()
    })
    .await?;
    Ok(())
}

#[tokio::test]
async fn a_policy_that_cannot_be_read_never_stops_the_others() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut operator = Operator::start(&cluster).await?;
    let (namespace, other_namespace) = (cluster.namespace(&[]).await?, cluster.namespace(&[]).await?);
    let before = Policy::create_named(&namespace, "before", image_tag()).await?;
    before.enforced().await?;
    with_a_profile_of_the_future(&namespace).await?;

    let spec = bound_to(other_namespace.name(), json!({"profile": "Future", "enforcement": "Enforce"}));
    let unreadable = Policy::create_from(namespace.requests(), cluster_policy("a-first", spec)).await?;
    let stored = unreadable.reports("Ready", "False", "InvalidPolicy").await?;
    let message = condition(&stored, "Ready")?["message"].to_string();
    ensure!(message.contains("Future") && message.contains("upgrade immutable"), "{message}");
    let after = Policy::create_named(&other_namespace, "after", image_tag()).await?;
    after.enforced().await?;
    denied(other_namespace.requests().create(Effect::DryRun, &workload("Deployment", "web", BAD)).await?)?;

    // One that was in force and cannot be read any more stays in force, also after a restart.
    before.edit(json!({"profile": "Future"})).await?;
    before.reports("Enforced", "Unknown", "InvalidPolicy").await?;
    operator.terminate().await?;
    let _operator = Operator::launch(&cluster).await?;
    after.edit(json!({"rules": {"imageDigest": {}}})).await?;
    after.enforced().await?;
    denied(namespace.requests().create(Effect::DryRun, &workload("Deployment", "web", BAD)).await?)?;
    before.delete().await?;
    wait_until("the end of a policy that cannot be read", GENEROUS, async || {
        namespace.accepts(&workload("Deployment", "web", BAD)).await
    })
    .await?;

    // A status that another version wrote is overwritten.
    let status = json!({"status": {"observedGeneration": 99, "conditions": [{
        "type": "Old", "status": "True", "reason": "Old", "message": "", "lastTransitionTime": "2020-01-01T00:00:00Z",
    }]}});
    namespace
        .requests()
        .patch(Effect::Real, after.manifest(), &Patch::Merge(status), Some("status"))
        .await?
        .accepted()?;
    let stored = after.enforced().await?;
    ensure!(condition(&stored, "Old").is_err(), "{}", stored["status"]);
    Ok(())
}

#[tokio::test]
async fn a_warning_of_the_type_check_makes_the_policy_not_ready() -> Result<()> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    // Settings that no other test has: what is equal is shared, and a warning would be theirs too.
    let spec = json!({"enforcement": "Enforce", "rules": {"imageTag": {"forbiddenTags": ["type-check-*"]}}});
    let policy = Policy::create(&namespace, spec).await?;
    policy.reports("Ready", "True", "Compiled").await?;
    let native = policy.native().await?;
    let of_pods = native.policies.values().find(|compiled| compiled.name_any().ends_with("-enforce-pod"));
    let compiled = of_pods.context("no policy for Pods")?;
    let checked = compiled.status.as_ref().and_then(|status| status.observed_generation).context("not checked")?;
    let status = |warnings: Value| {
        Patch::Merge(
            json!({"status": {"observedGeneration": checked, "typeChecking": {"expressionWarnings": warnings}}}),
        )
    };
    let warning = json!([{"fieldRef": "spec.variables[0].expression", "warning": "undefined field 'podSpec'"}]);
    let manifest = named("ValidatingAdmissionPolicy", &compiled.name_any());
    let patch = async |patch| {
        let answer = namespace.requests().patch(Effect::Real, &manifest, &patch, Some("status")).await?;
        answer.accepted().map(drop)
    };
    patch(status(warning)).await?;
    let stored = policy.reports("Ready", "False", "TypeCheckFailed").await?;
    let message = condition(&stored, "Ready")?["message"].as_str().unwrap_or_default().to_owned();
    ensure!(message.contains("spec.variables[0].expression: undefined field 'podSpec'"), "{message}");
    policy.reports("Stalled", "True", "TypeCheckFailed").await?;
    patch(status(json!([]))).await?;
    policy.reports("Ready", "True", "Compiled").await?;
    policy.delete().await
}
