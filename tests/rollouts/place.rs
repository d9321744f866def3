//! Where a test works: a namespace with a policy that replaces pods, and what the operator wrote in it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use k8s_openapi::api::{core::v1::Pod, events::v1::Event};
use kube::{
    Api, ResourceExt,
    api::{ListParams, Patch},
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::support::{Cluster, Effect, GENEROUS, Operator, TestNamespace, wait_until};
use crate::web::{Web, deployment, reads_all};

/// The field manager that replaces pods.
pub(crate) const ROLLOUT_MANAGER: &str = "immutable-operator-rollout";
/// The field manager that notes what pods were started with.
pub(crate) const RECORD_MANAGER: &str = "immutable-operator-record";
/// The operator's account.
const ACCOUNT: &str = "system:serviceaccount:immutable-system:immutable-operator";

/// `spec.replace` of a policy by which nothing is waited for.
pub(crate) fn at_once() -> Value {
    json!({"onConfigChange": "Enabled", "settle": "0s", "minInterval": "0s"})
}

/// The same, but for these fields.
pub(crate) fn at_once_but(fields: Value) -> Value {
    let mut replace = at_once();
    if let (Some(replace), Value::Object(fields)) = (replace.as_object_mut(), fields) {
        replace.extend(fields);
    }
    replace
}

/// A namespace of one test.
pub(crate) struct Place<'c> {
    pub(crate) cluster: &'c Cluster,
    pub(crate) namespace: TestNamespace,
    marker: OnceCell<TestNamespace>,
}

/// One write of the operator, as the audit log tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Written {
    /// `deployments/web`
    pub(crate) object: String,
    /// The field manager.
    pub(crate) manager: String,
    /// The API server's answer.
    pub(crate) code: u64,
}

impl Place<'static> {
    /// A place where pods are replaced at once, in the cluster that tests share.
    pub(crate) async fn shared() -> Result<Self> {
        Self::shared_with(at_once()).await
    }

    /// The same with another `spec.replace`.
    pub(crate) async fn shared_with(replace: Value) -> Result<Self> {
        let (cluster, _) = Operator::shared().await?;
        Self::on(cluster, replace).await
    }
}

impl<'c> Place<'c> {
    /// A place in a cluster with this `spec.replace`; nothing waits for an operator.
    pub(crate) async fn on(cluster: &'c Cluster, replace: Value) -> Result<Self> {
        let place = Self::without_policy(cluster).await?;
        place.namespace.create_object(&policy(&json!({"replace": replace}))).await?;
        Ok(place)
    }

    /// A place without a policy.
    pub(crate) async fn without_policy(cluster: &'c Cluster) -> Result<Self> {
        Ok(Self { cluster, namespace: cluster.namespace(&[]).await?, marker: OnceCell::new() })
    }

    /// Creates something.
    pub(crate) async fn create(&self, object: &Value) -> Result<Value> {
        self.namespace.create_object(object).await.with_context(|| format!("create {object}"))
    }

    /// Changes something by a merge patch.
    pub(crate) async fn merge(&self, object: &Value, patch: Value) -> Result<Value> {
        self.namespace.requests().patch(Effect::Real, object, &Patch::Merge(patch), None).await?.accepted()
    }

    /// Deletes something.
    pub(crate) async fn delete(&self, object: &Value) -> Result<()> {
        self.namespace.requests().delete(Effect::Real, object).await?.accepted().map(|_| ())
    }

    /// Creates a ConfigMap.
    pub(crate) async fn config(&self, name: &str, data: Value) -> Result<Value> {
        self.create(&config(name, data)).await
    }

    /// Changes keys of a ConfigMap; null removes one.
    pub(crate) async fn edit(&self, name: &str, data: Value) -> Result<Value> {
        self.merge(&config(name, json!({})), json!({"data": data})).await
    }

    /// A Deployment whose pods read all of a ConfigMap by their environment, once what it reads is recorded and all of its
    /// pods are available.
    pub(crate) async fn web(&self, name: &str, replicas: u32, config: &str) -> Result<Web<'_>> {
        let web = Web::create(self, deployment(name, replicas, reads_all(config))).await?;
        web.recorded().await?;
        web.complete().await?;
        Ok(web)
    }

    /// Everything that the operator wrote to workloads here, refused or not, in the order of the answers.
    pub(crate) async fn written(&self) -> Result<Vec<Written>> {
        let mentions = [ACCOUNT, self.namespace.name(), "fieldManager=immutable-operator-r"];
        let events = self.cluster.audit_events_that_mention(&mentions).await?;
        let here = events.iter().filter(|event| {
            event["objectRef"]["namespace"] == self.namespace.name() && event["user"]["username"] == ACCOUNT
        });
        let read = |event: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let (uri, object) = (text(&event["requestURI"]), &event["objectRef"]);
            let manager = [ROLLOUT_MANAGER, RECORD_MANAGER].into_iter().find(|manager| uri.contains(manager));
            Ok(Written {
                object: format!("{}/{}", text(&object["resource"]), text(&object["name"])),
                manager: manager.with_context(|| format!("another manager: {uri}"))?.to_owned(),
                code: event["responseStatus"]["code"].as_u64().context("no code")?,
            })
        };
        here.map(read).collect()
    }

    /// How often the pods of each workload were replaced here.
    pub(crate) async fn rollouts(&self) -> Result<BTreeMap<String, usize>> {
        let mut rollouts = BTreeMap::new();
        for written in self.written().await? {
            if written.manager == ROLLOUT_MANAGER && written.code < 300 {
                *rollouts.entry(written.object).or_default() += 1;
            }
        }
        Ok(rollouts)
    }

    /// Fails where the workloads, such as `deployments/web`, were replaced so often or others were, once all that has
    /// happened until now is dealt with.
    pub(crate) async fn were_replaced(&self, expected: &[(&str, usize)]) -> Result<()> {
        self.quiet().await?;
        let expected: BTreeMap<String, usize> =
            expected.iter().filter(|(_, times)| *times > 0).map(|(name, times)| ((*name).to_owned(), *times)).collect();
        let rollouts = self.rollouts().await?;
        ensure!(rollouts == expected, "replaced: {rollouts:?}, expected: {expected:?}");
        Ok(())
    }

    /// Waits until the operator has dealt with all that has happened until now: changes that come later, one after the
    /// other, are replaced.
    pub(crate) async fn quiet(&self) -> Result<()> {
        let marker = self
            .marker
            .get_or_try_init(async || {
                let marker = self.cluster.namespace(&[]).await?;
                marker.create_object(&policy(&json!({"replace": at_once()}))).await?;
                marker.create_object(&config("marker", json!({"mark": "none"}))).await?;
                marker.create_object(&deployment("marker", 0, reads_all("marker"))).await?;
                anyhow::Ok(marker)
            })
            .await?;
        let requests = marker.requests();
        let workload = deployment("marker", 0, reads_all("marker"));
        let stored = async || requests.get(&workload).await?.accepted();
        wait_until("the marker to be recorded", GENEROUS, async || {
            let stored = stored().await?;
            let annotations = &stored["metadata"]["annotations"];
            let stamp = stamp(&stored);
            ensure!(stamp.is_some() || annotations["immutable.dev/config-baseline"].is_string(), "{annotations}");
            Ok(())
        })
        .await?;
        for _ in 0..2 {
            let before = stamp(&stored().await?);
            let mark = json!({"data": {"mark": before.clone().unwrap_or_default()}});
            requests.patch(Effect::Real, &config("marker", json!({})), &Patch::Merge(mark), None).await?.accepted()?;
            wait_until("the marker to be replaced", GENEROUS, async || {
                let stored = stored().await?;
                ensure!(stamp(&stored) != before, "it has the stamp {before:?}");
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    /// Waits until an Event tells that the pods of a workload are not replaced for this reason, and returns its words.
    pub(crate) async fn told(&self, name: &str, reason: &str) -> Result<String> {
        wait_until(&format!("{name} to be told {reason}"), GENEROUS, async || {
            self.was_told(name, reason).await?.context("it was not told")
        })
        .await
    }

    /// The words of such an Event, if there is one.
    pub(crate) async fn was_told(&self, name: &str, reason: &str) -> Result<Option<String>> {
        let events: Api<Event> = Api::namespaced(self.namespace.client(), self.namespace.name());
        let events = events.list(&ListParams::default()).await?.items;
        let told = events.into_iter().find(|event| {
            let regarding = event.regarding.as_ref().and_then(|regarding| regarding.name.as_deref());
            regarding == Some(name) && event.reason.as_deref() == Some(reason)
        });
        Ok(told.map(|event| event.note.unwrap_or_default()))
    }

    /// The uids of the pods of `app=NAME` that are not being deleted, with the second in which each was created.
    pub(crate) async fn pods(&self, name: &str) -> Result<BTreeMap<String, i64>> {
        let pods: Api<Pod> = Api::namespaced(self.namespace.client(), self.namespace.name());
        let pods = pods.list(&ListParams::default().labels(&format!("app={name}"))).await?;
        let alive = pods.items.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
        alive
            .map(|pod| {
                let created = pod.creation_timestamp().context("no creationTimestamp")?.0.as_second();
                Ok((pod.uid().context("no uid")?, created))
            })
            .collect()
    }

    /// Waits until the API server's clock, which tells seconds, has passed all that has happened until now: pods and edits
    /// of the same second cannot be told apart.
    pub(crate) async fn next_second(&self) -> Result<()> {
        let second = async || {
            let probe = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "now-"}});
            let now = self.namespace.accepts(&probe).await?["metadata"]["creationTimestamp"].clone();
            anyhow::Ok(now)
        };
        let before = second().await?;
        wait_until("the next second", GENEROUS, async || {
            let now = second().await?;
            ensure!(now != before, "it is still {now}");
            Ok(())
        })
        .await
    }
}

/// The stamp of a workload's template.
pub(crate) fn stamp(workload: &Value) -> Option<String> {
    let annotations = &workload["spec"]["template"]["metadata"]["annotations"];
    annotations["immutable.dev/config-digest"].as_str().map(ToOwned::to_owned)
}

/// The second in which the data of a ConfigMap was last written.
pub(crate) async fn second_of_data(place: &Place<'_>, name: &str) -> Result<i64> {
    let stored = place.namespace.requests().get(&config(name, json!({}))).await?.accepted()?;
    let entries = stored["metadata"]["managedFields"].as_array().context("no managedFields")?;
    let time = |entry: &Value| Some(entry["time"].as_str()?.parse::<jiff::Timestamp>().ok()?.as_second());
    entries.iter().filter_map(time).max().context("no time")
}

/// A ConfigMap.
#[expect(clippy::needless_pass_by_value, reason = "callers write the data where they call")]
pub(crate) fn config(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// The policy of a namespace.
pub(crate) fn policy(spec: &Value) -> Value {
    let api_version = "immutable.dev/v1alpha1";
    json!({"apiVersion": api_version, "kind": "ImmutablePolicy", "metadata": {"name": "policy"}, "spec": spec})
}
