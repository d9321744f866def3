//! What an ordinary user may try against an enforced policy. Each attempt is made for real, not as a dry run.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch},
};
use serde_json::{Value, json};

use crate::policies::Policy;
use crate::support::{Effect, GENEROUS, Operator, Requests, TestNamespace, wait_until};
use crate::workloads::{BAD, GOOD, KINDS, denied, image_tag, ordinary_user, pod_spec, workload};

/// A namespace with an enforced policy and an ordinary user.
async fn guarded(spec: Value) -> Result<(TestNamespace, Requests, Policy)> {
    let (cluster, _) = Operator::shared().await?;
    let namespace = cluster.namespace(&[]).await?;
    let user = ordinary_user(cluster, &namespace).await?;
    let policy = Policy::create(&namespace, spec).await?;
    policy.enforced().await?;
    Ok((namespace, user, policy))
}

/// Creates an object of the user's for real.
async fn create(user: &Requests, manifest: &Value) -> Result<Value> {
    user.create(Effect::Real, manifest).await?.accepted()
}

fn with_labels(mut manifest: Value, labels: Value) -> Value {
    manifest["metadata"]["labels"] = labels;
    manifest
}

/// No pod of the namespace runs the bad image, also when controllers have had their time: a good Deployment that
/// comes after everything else has its pods.
async fn nothing_bad_runs(namespace: &TestNamespace) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
    namespace.create_object(&workload("Deployment", "later", GOOD)).await?;
    wait_until("the pods of a later Deployment", GENEROUS, async || {
        ensure!(pods.list(&ListParams::default().labels("app=later")).await?.items.len() == 2, "not yet");
        Ok(())
    })
    .await?;
    let images: BTreeMap<String, String> = pods
        .list(&ListParams::default())
        .await?
        .iter()
        .filter_map(|pod| Some((pod.name_any(), pod.spec.as_ref()?.containers.first()?.image.clone()?)))
        .collect();
    ensure!(images.values().all(|image| image != BAD), "{images:?}");
    Ok(())
}

#[tokio::test]
async fn no_kind_and_no_verb_is_a_way_in() -> Result<()> {
    let (namespace, user, policy) = guarded(image_tag()).await?;
    for kind in KINDS {
        let (bad, good) = (workload(kind, "web", BAD), workload(kind, "web", GOOD));
        let attempt = |what: &str| format!("{what} of a {kind}");
        denied(user.create(Effect::Real, &bad).await?).with_context(|| attempt("create"))?;
        let applied = user.patch(Effect::Real, &bad, &Patch::Apply(bad.clone()), None).await?;
        denied(applied).with_context(|| attempt("server-side apply"))?;
        create(&user, &good).await.with_context(|| attempt("a good create"))?;
        let applied = user.patch(Effect::Real, &bad, &Patch::Apply(bad.clone()), None).await?;
        // The template of a Job cannot be changed at all.
        if kind == "Job" {
            applied.rejected()?;
            continue;
        }
        denied(applied).with_context(|| attempt("server-side apply over a good one"))?;
        let mut replaced = user.get(&good).await?.accepted()?;
        let image = match kind {
            "Pod" => "/spec/containers/0/image",
            "PodTemplate" => "/template/spec/containers/0/image",
            "CronJob" => "/spec/jobTemplate/spec/template/spec/containers/0/image",
            _ => "/spec/template/spec/containers/0/image",
        };
        *replaced.pointer_mut(image).context("no image")? = json!(BAD);
        replaced["metadata"]["resourceVersion"] = Value::Null;
        denied(user.replace(Effect::Real, &replaced, None).await?).with_context(|| attempt("PUT"))?;
        denied(user.patch(Effect::Real, &good, &Patch::Strategic(bad), None).await?)
            .with_context(|| attempt("strategic patch"))?;
    }
    nothing_bad_runs(&namespace).await?;
    policy.delete().await
}

#[tokio::test]
async fn kubectl_set_image_and_debug_containers_are_judged() -> Result<()> {
    let (namespace, user, policy) = guarded(image_tag()).await?;
    let (cluster, _) = Operator::shared().await?;
    create(&user, &workload("Pod", "x", GOOD)).await?;
    let as_user = format!("--as=user-of-{}", namespace.name());
    let set = ["--namespace", namespace.name(), &as_user, "set", "image", "pod/x", &format!("main={BAD}")];
    let set = cluster.kubectl(&set, "").await?;
    ensure!(!set.status.success() && set.stderr.contains("'immutable-"), "{set:?}");

    let debug = |image: &str| {
        Patch::Strategic(
            json!({"spec": {"ephemeralContainers": [{"name": format!("debug-{}", image.len()), "image": image}]}}),
        )
    };
    let pod = workload("Pod", "x", GOOD);
    let message = denied(user.patch(Effect::Real, &pod, &debug(BAD), Some("ephemeralcontainers")).await?)?;
    ensure!(message.contains("ephemeral container") || message.contains("ephemeralContainer"), "{message}");
    user.patch(Effect::Real, &pod, &debug(GOOD), Some("ephemeralcontainers")).await?.accepted()?;
    // A bad one beside a good one that is there already.
    denied(user.patch(Effect::Real, &pod, &debug(BAD), Some("ephemeralcontainers")).await?)?;
    policy.delete().await
}

#[tokio::test]
async fn another_kind_than_the_matched_ones_is_no_way_in() -> Result<()> {
    let mut spec = image_tag();
    spec["match"] = json!({"kinds": ["Deployment"]});
    let (namespace, user, policy) = guarded(spec).await?;
    denied(user.create(Effect::Real, &workload("Deployment", "web", BAD)).await?)?;
    denied(user.create(Effect::Real, &workload("Pod", "bare", BAD)).await?)?;
    // A kind that is not matched may be written, and its pods are denied to its controller.
    for kind in ["ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController", "Job"] {
        create(&user, &workload(kind, &kind.to_lowercase(), BAD)).await?;
    }
    let events: Api<k8s_openapi::api::core::v1::Event> = Api::namespaced(namespace.client(), namespace.name());
    for kind in ["ReplicaSet", "StatefulSet", "DaemonSet", "ReplicationController", "Job"] {
        wait_until(&format!("the {kind} to be denied its pods"), GENEROUS, async || {
            let selector = format!("involvedObject.kind={kind}");
            let events = events.list(&ListParams::default().fields(&selector)).await?;
            let messages: Vec<String> = events.items.into_iter().filter_map(|event| event.message).collect();
            ensure!(messages.iter().any(|message| message.contains("'immutable-")), "{messages:?}");
            Ok(())
        })
        .await?;
    }
    nothing_bad_runs(&namespace).await?;
    // A matched kind is served by an unmatched one: its pods come from a template that was judged.
    create(&user, &workload("Deployment", "good", GOOD)).await?;
    wait_until("the pods of a good Deployment", GENEROUS, async || {
        let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
        ensure!(pods.list(&ListParams::default().labels("app=good")).await?.items.len() == 2, "not yet");
        Ok(())
    })
    .await?;
    policy.delete().await
}

#[tokio::test]
async fn a_forged_owner_is_nobody() -> Result<()> {
    let (namespace, user, policy) = guarded(image_tag()).await?;
    let deployment = create(&user, &workload("Deployment", "web", GOOD)).await?;
    let pods: Api<Pod> = Api::namespaced(namespace.client(), namespace.name());
    let pod = wait_until("a pod of the Deployment", GENEROUS, async || {
        let pods = pods.list(&ListParams::default().labels("app=web")).await?.items;
        pods.into_iter().next().context("none yet")
    })
    .await?;
    let set = pod.owner_references().first().context("the pod has no owner")?;
    let owner = |kind: &str, name: &Value, uid: &Value| json!([{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": true}]);
    let of_deployment = owner("Deployment", &json!("web"), &deployment["metadata"]["uid"]);
    let of_set = owner("ReplicaSet", &json!(set.name), &json!(set.uid));
    for (kind, owner) in [("ReplicaSet", of_deployment), ("Pod", of_set.clone()), ("Job", of_set)] {
        let mut forged = workload(kind, "forged", BAD);
        forged["metadata"]["ownerReferences"] = owner;
        forged["metadata"]["labels"] = json!(pod.labels());
        denied(user.create(Effect::Real, &forged).await?).with_context(|| format!("a {kind}"))?;
    }
    nothing_bad_runs(&namespace).await?;
    policy.delete().await
}

#[tokio::test]
async fn taking_the_label_off_and_on_again_does_not_help() -> Result<()> {
    let mut spec = image_tag();
    spec["match"] = json!({"selector": {"matchLabels": {"tier": "web"}}});
    let (namespace, user, policy) = guarded(spec).await?;
    let (on, off) = (json!({"tier": "web"}), json!({"tier": null}));
    for kind in ["Deployment", "StatefulSet", "CronJob", "Pod", "ReplicaSet"] {
        let good = with_labels(workload(kind, &kind.to_lowercase(), GOOD), on.clone());
        let bad = with_labels(workload(kind, &kind.to_lowercase(), BAD), on.clone());
        let attempt = |what: &'static str| move || format!("{what} of a {kind}");
        create(&user, &good).await?;
        let patch = async |patch: Value| user.patch(Effect::Real, &good, &Patch::Strategic(patch), None).await;
        // In one request, the label off and the bad image in: the old object was in scope.
        let unlabelled = with_labels(bad.clone(), off.clone());
        denied(patch(unlabelled.clone()).await?).with_context(attempt("label off with a bad image"))?;
        // Step by step, as it would be done.
        patch(json!({"metadata": {"labels": off}})).await?.accepted()?;
        patch(unlabelled).await?.accepted().with_context(attempt("a bad image out of scope"))?;
        denied(patch(json!({"metadata": {"labels": on}})).await?).with_context(attempt("label on again"))?;
        denied(patch(bad).await?).with_context(attempt("label on with the bad image"))?;
    }
    drop(namespace);
    policy.delete().await
}

#[tokio::test]
async fn a_debug_container_that_was_added_out_of_scope_keeps_the_label_off() -> Result<()> {
    let mut spec = json!({"enforcement": "Enforce", "rules": {"imageTag": {}, "privileged": {}}});
    spec["match"] = json!({"selector": {"matchLabels": {"tier": "web"}}});
    let (_namespace, user, policy) = guarded(spec).await?;
    let pod = with_labels(workload("Pod", "web", GOOD), json!({"tier": "web"}));
    create(&user, &pod).await?;
    let label = async |value: Value| {
        let patch = Patch::Merge(json!({"metadata": {"labels": {"tier": value}}}));
        user.patch(Effect::Real, &pod, &patch, None).await
    };
    let debug = Patch::Strategic(json!({"spec": {"ephemeralContainers": [{
        "name": "debug", "image": BAD, "securityContext": {"privileged": true},
    }]}}));
    denied(user.patch(Effect::Real, &pod, &debug, Some("ephemeralcontainers")).await?)?;
    label(Value::Null).await?.accepted()?;
    user.patch(Effect::Real, &pod, &debug, Some("ephemeralcontainers")).await?.accepted()?;
    let message = denied(label(json!("web")).await?)?;
    ensure!(message.contains("ephemeralContainer debug: is privileged"), "{message}");
    policy.delete().await
}

#[tokio::test]
async fn a_label_on_the_template_alone_is_no_way_in() -> Result<()> {
    let mut spec = image_tag();
    spec["match"] = json!({"selector": {"matchLabels": {"tier": "web"}}});
    let (namespace, user, policy) = guarded(spec).await?;
    let labelled_template = |kind: &str, pointer: &str| {
        let mut manifest = workload(kind, &kind.to_lowercase(), BAD);
        let template = manifest.pointer_mut(pointer).context("no template")?;
        let app = kind.to_lowercase();
        template["metadata"]["labels"] = json!({"app": app, "tier": "web"});
        anyhow::Ok(manifest)
    };
    // Its pods would carry the label and come from a controller: the template must be judged, or they must.
    for kind in ["Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "ReplicationController", "Job"] {
        denied(user.create(Effect::Real, &labelled_template(kind, "/spec/template")?).await?).context(kind)?;
    }
    for pointer in ["/spec/jobTemplate", "/spec/jobTemplate/spec/template"] {
        let mut manifest = labelled_template("CronJob", pointer)?;
        manifest["metadata"]["name"] = json!(format!("cron-{}", pointer.len()));
        denied(user.create(Effect::Real, &manifest).await?).context(pointer)?;
    }
    nothing_bad_runs(&namespace).await?;
    policy.delete().await
}

#[tokio::test]
async fn an_update_of_the_strategy_alone_is_judged() -> Result<()> {
    let spec = json!({"enforcement": "Enforce", "rules": {"updateStrategy": {}}});
    let (_namespace, user, policy) = guarded(spec).await?;
    create(&user, &workload("Deployment", "web", GOOD)).await?;
    let strategy = json!({"spec": {"strategy": {"type": "Recreate", "rollingUpdate": null}}});
    let answer = user.patch(Effect::Real, &workload("Deployment", "web", GOOD), &Patch::Merge(strategy), None).await?;
    let message = denied(answer)?;
    ensure!(message.contains("[update-strategy]"), "{message}");
    for kind in ["StatefulSet", "DaemonSet"] {
        create(&user, &workload(kind, "web", GOOD)).await?;
        let strategy = json!({"spec": {"updateStrategy": {"type": "OnDelete", "rollingUpdate": null}}});
        let answer = user.patch(Effect::Real, &workload(kind, "web", GOOD), &Patch::Merge(strategy), None).await?;
        denied(answer).with_context(|| kind.to_owned())?;
    }
    policy.delete().await
}

#[tokio::test]
async fn the_mark_of_a_proof_opens_nothing() -> Result<()> {
    let (namespace, user, policy) = guarded(image_tag()).await?;
    let mark = |kind: &str, key: &str| {
        let mut manifest = workload(kind, "marked", BAD);
        manifest["metadata"]["annotations"] = json!({"immutable.dev/probe": key});
        manifest
    };
    for kind in KINDS {
        denied(user.create(Effect::Real, &mark(kind, "anything")).await?).with_context(|| format!("a real {kind}"))?;
        // Only a PodTemplate can be a proof, and a dry run leaves nothing behind.
        let dry = user.create(Effect::DryRun, &mark(kind, "anything")).await?;
        if kind == "PodTemplate" {
            dry.accepted()?;
            ensure!(user.get(&mark(kind, "anything")).await?.code == 404, "a dry run was stored");
        } else {
            denied(dry).with_context(|| format!("a dry run of a {kind}"))?;
        }
    }
    // On the template it means nothing either.
    let mut marked = workload("Deployment", "marked", BAD);
    marked["spec"]["template"]["metadata"]["annotations"] = json!({"immutable.dev/probe": "anything"});
    denied(user.create(Effect::Real, &marked).await?)?;
    nothing_bad_runs(&namespace).await?;
    policy.delete().await
}

#[tokio::test]
async fn an_ordinary_user_cannot_act_as_a_controller_or_touch_the_enforcement() -> Result<()> {
    let (namespace, user, policy) = guarded(image_tag()).await?;
    let (cluster, _) = Operator::shared().await?;
    let as_user = format!("user-of-{}", namespace.name());
    let may_i = async |arguments: &[&str]| {
        let all = [&["auth", "can-i", "--as", &as_user, "--namespace", namespace.name()], arguments].concat();
        anyhow::Ok(cluster.kubectl(&all, "").await?.stdout.trim().to_owned())
    };
    let attempts: [&[&str]; 6] = [
        &["impersonate", "users"],
        &["delete", "validatingadmissionpolicies"],
        &["patch", "validatingadmissionpolicybindings"],
        &["patch", "clusterimmutablepolicies.immutable.dev"],
        &["create", "immutablepolicies.immutable.dev"],
        &["patch", "namespaces"],
    ];
    for attempt in attempts {
        let answer = may_i(attempt).await?;
        ensure!(answer == "no", "{attempt:?}: {answer:?}");
    }
    // `edit` may act as the accounts of its own namespace, and those are no controllers.
    let account = format!("system:serviceaccount:{}:deployment-controller", namespace.name());
    namespace
        .create_object(&json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "deployment-controller"}
        }))
        .await?;
    namespace
        .create_object(&json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "account"},
            "subjects": [{"kind": "ServiceAccount", "name": "deployment-controller", "namespace": namespace.name()}],
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "edit"},
        }))
        .await?;
    let impostor = namespace.requests_as(cluster.client_as(&account, &[]).await?);
    wait_until("the account to be judged", GENEROUS, async || {
        denied(impostor.create(Effect::Real, &workload("ReplicaSet", "web", BAD)).await?)
    })
    .await?;
    drop(user);
    policy.delete().await
}

#[tokio::test]
async fn several_findings_and_policies_are_told_and_none_weakens_another() -> Result<()> {
    let (namespace, user, policy) = guarded(json!({"profile": "Stateless", "enforcement": "Enforce"})).await?;
    let weak = Policy::create_namespaced(
        &namespace,
        "weak",
        json!({"enforcement": "Warn", "rules": {"imageTag": {"enforcement": "Disabled"}, "privileged": {}}}),
    )
    .await?;
    weak.reports("Ready", "True", "Compiled").await?;
    let mut pod = workload("Pod", "web", BAD);
    pod["spec"] = pod_spec(BAD);
    pod["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    // What only warns is not proven, so the API server may not have learned of it yet.
    let message = wait_until("a denial with a warning", GENEROUS, async || {
        let answer = user.create(Effect::Real, &pod).await?;
        let warnings = answer.warnings.join("\n");
        let message = denied(answer)?;
        ensure!(warnings.contains("[privileged]"), "the other policy does not warn: {warnings:?}");
        Ok(message)
    })
    .await?;
    for rule in ["image-tag", "image-digest", "read-only-root-filesystem", "privileged", "run-as-non-root"] {
        ensure!(message.contains(&format!("[{rule}]")), "{rule} is not in {message}");
    }
    policy.delete().await
}
