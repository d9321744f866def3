//! Content with which pods do not become ready.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::place::{Place, stamp};
use crate::support::{GENEROUS, wait_until};
use crate::web::{Web, deployment, reads_all};

/// Pods of `app=NAME` that are made from now on stay unready; kwok does as the annotation says.
struct Broken {
    objects: [Value; 2],
}

impl Broken {
    async fn new(place: &Place<'_>, app: &str) -> Result<Self> {
        let name = format!("broken-{}", place.namespace.name());
        let admission = |kind: &str, spec: Value| {
            json!({
                "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec,
            })
        };
        let rules =
            json!([{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]);
        let selector = json!({"matchLabels": {"kubernetes.io/metadata.name": place.namespace.name()}});
        let expression = "Object{metadata: Object.metadata{annotations: {\"test.immutable.dev/ready\": \"false\"}}}";
        let policy = admission(
            "MutatingAdmissionPolicy",
            json!({
                "failurePolicy": "Fail", "reinvocationPolicy": "Never",
                "matchConstraints": {
                    "namespaceSelector": selector, "objectSelector": {"matchLabels": {"app": app}}, "resourceRules": rules,
                },
                "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}],
            }),
        );
        let binding = admission("MutatingAdmissionPolicyBinding", json!({"policyName": name}));
        place.create(&policy).await?;
        place.create(&binding).await?;
        let broken = Self { objects: [binding, policy] };
        broken.holds(place, app, true).await?;
        Ok(broken)
    }

    async fn holds(&self, place: &Place<'_>, app: &str, holds: bool) -> Result<()> {
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe", "labels": {"app": app}},
            "spec": {"containers": [{"name": "main", "image": "registry.example/web:1"}]},
        });
        wait_until(&format!("pods to be broken: {holds}"), GENEROUS, async || {
            let pod = place.namespace.accepts(&pod).await?;
            let annotation = &pod["metadata"]["annotations"]["test.immutable.dev/ready"];
            ensure!(annotation.is_string() == holds, "{annotation}");
            Ok(())
        })
        .await
    }

    async fn mend(self, place: &Place<'_>, app: &str) -> Result<()> {
        for object in &self.objects {
            place.delete(object).await?;
        }
        self.holds(place, app, false).await
    }
}

#[tokio::test]
async fn a_bad_edit_halts_the_others_and_a_good_edit_ends_healthy() -> Result<()> {
    let place = Place::shared().await?;
    place.config("app", json!({"level": "info"})).await?;
    let mut fails = deployment("fails", 2, reads_all("app"));
    fails["spec"]["progressDeadlineSeconds"] = json!(1);
    let fails = Web::create(&place, fails).await?;
    fails.recorded().await?;
    fails.complete().await?;
    let waits = place.web("waits", 1, "app").await?;
    // It is not replaced together with the other.
    waits.merge(json!({"spec": {"paused": true}})).await?;
    place.quiet().await?;
    let broken = Broken::new(&place, "fails").await?;

    place.edit("app", json!({"level": "bad"})).await?;
    let failed = fails
        .becomes("failed", |stored| {
            let conditions = stored["status"]["conditions"].as_array();
            let is_timed_out = |condition: &Value| condition["reason"] == "ProgressDeadlineExceeded";
            stamp(stored).is_some() && conditions.into_iter().flatten().any(is_timed_out)
        })
        .await?;
    place.told("waits", "Paused").await?;
    waits.merge(json!({"spec": {"paused": false}})).await?;
    let note = place.told("waits", "Halted").await?;
    ensure!(note.contains("fails"), "{note}");
    place.were_replaced(&[("deployments/fails", 1)]).await?;

    broken.mend(&place, "fails").await?;
    let before = waits.stored().await?;
    place.edit("app", json!({"level": "good"})).await?;
    fails.replaced(&failed).await?;
    waits.replaced(&before).await?;
    place.were_replaced(&[("deployments/fails", 2), ("deployments/waits", 1)]).await?;
    fails.reads_what_is_current().await?;
    waits.reads_what_is_current().await.map(|_| ())
}

#[tokio::test]
async fn newer_content_supersedes_a_rollout_that_does_not_become_healthy() -> Result<()> {
    let place = Place::shared().await?;
    place.config("app", json!({"level": "info"})).await?;
    // Its deadline is far away: nothing waits for that.
    let web = place.web("web", 2, "app").await?;
    let broken = Broken::new(&place, "web").await?;
    place.edit("app", json!({"level": "bad"})).await?;
    let stuck =
        web.becomes("stuck", |stored| stamp(stored).is_some() && stored["status"]["unavailableReplicas"] == 1).await?;
    broken.mend(&place, "web").await?;
    place.edit("app", json!({"level": "good"})).await?;
    web.replaced(&stuck).await?;
    place.were_replaced(&[("deployments/web", 2)]).await
}

#[tokio::test]
async fn a_fix_goes_on_when_the_rollout_of_somebody_else_has_failed() -> Result<()> {
    let place = Place::shared().await?;
    place.config("app", json!({"level": "info"})).await?;
    let mut web = deployment("web", 2, reads_all("app"));
    web["spec"]["progressDeadlineSeconds"] = json!(2);
    let web = Web::create(&place, web).await?;
    web.recorded().await?;
    web.complete().await?;
    place.next_second().await?;
    let broken = Broken::new(&place, "web").await?;
    // A deploy that gets stuck, and the edit that would have been its cure.
    web.merge(json!({"spec": {"template": {"metadata": {"annotations": {"deploy": "2"}}}}})).await?;
    let stuck = web.becomes("stuck", |stored| stored["status"]["unavailableReplicas"] == 1).await?;
    broken.mend(&place, "web").await?;
    place.edit("app", json!({"level": "good"})).await?;
    web.replaced(&stuck).await?;
    place.were_replaced(&[("deployments/web", 1)]).await
}
