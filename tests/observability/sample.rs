//! A cluster in which something of everything happens: old workloads that break a policy, denied requests, findings that
//! are only recorded, a kind that cannot be watched, an expression that fails, and a change that replaces pods.

use anyhow::{Result, ensure};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::OnceCell;

use crate::support::{Cluster, GENEROUS, Operator, wait_until};

/// What is there before the policies.
const WORKLOADS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {tier: web}}
---
apiVersion: v1
kind: Namespace
metadata: {name: bank}
---
apiVersion: v1
kind: Pod
metadata: {name: old, namespace: shop}
spec: {containers: [{name: main, image: "registry.example/web:latest"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: good, namespace: shop}
spec: {containers: [{name: main, image: "registry.example/web:1"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: excused, namespace: shop}
spec: {containers: [{name: main, image: "registry.example/web:latest"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: old, namespace: bank}
spec: {containers: [{name: main, image: "registry.example/bank:latest"}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings, namespace: bank}
data: {version: "0"}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: reader, namespace: bank}
spec:
  selector: {matchLabels: {app: reader}}
  template:
    metadata: {labels: {app: reader}}
    spec:
      containers:
      - {name: main, image: "registry.example/bank:1", envFrom: [{configMapRef: {name: settings}}]}
"#;

const POLICIES: &str = r#"
apiVersion: immutable.dev/v1alpha1
kind: ClusterImmutablePolicy
metadata: {name: web}
spec:
  enforcement: Enforce
  match: {namespaces: {selector: {matchLabels: {tier: web}}}}
  rules: {imageTag: {}}
---
apiVersion: immutable.dev/v1alpha1
kind: ImmutablePolicy
metadata: {name: recorded, namespace: shop}
spec:
  enforcement: Audit
  match:
    customWorkloads:
    - {apiVersion: nobody.example/v1, kind: Rollout, resource: rollouts, podTemplates: [/spec/template]}
  rules: {imageTag: {}}
---
apiVersion: immutable.dev/v1alpha1
kind: ImmutablePolicy
metadata: {name: suspended, namespace: shop}
spec:
  enforcement: Enforce
  suspend: {until: "2099-01-01T00:00:00Z", reason: for the tests}
  rules: {imageTag: {}}
---
apiVersion: immutable.dev/v1alpha1
kind: ImmutablePolicy
metadata: {name: replaces, namespace: bank}
spec:
  rules: {imageTag: {}}
  replace: {onConfigChange: Enabled, settle: 0s, minInterval: 0s}
---
# Not one of ours, but with such a name: ours have no expression that can fail.
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: immutable-000000000000-audit-broken}
spec:
  failurePolicy: Ignore
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  matchConditions: [{name: fails, expression: "object.data.missing == 'x'"}]
  validations: [{expression: "true"}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: immutable-000000000000-broken}
spec: {policyName: immutable-000000000000-audit-broken, validationActions: [Deny]}
"#;

static SAMPLE: OnceCell<(&'static Cluster, &'static Operator)> = OnceCell::const_new();

/// The cluster and its operator, after all of it has happened once.
pub(crate) async fn sample() -> Result<(&'static Cluster, &'static Operator)> {
    SAMPLE.get_or_try_init(happen).await.copied()
}

async fn happen() -> Result<(&'static Cluster, &'static Operator)> {
    let (cluster, operator) = Operator::shared().await?;
    // Pods cannot be created before the account of their namespace is there.
    wait_until("the workloads to be created", GENEROUS, async || apply(cluster, WORKLOADS).await).await?;
    apply(cluster, POLICIES).await?;
    apply(cluster, &exception()?).await?;
    wait_until("a denial", GENEROUS, async || be_denied(cluster).await).await?;
    wait_until("a proof and findings", GENEROUS, async || {
        let refused = operator.metric("immutable_api_calls_total{code=\"403\",kind=\"PodTemplate\",verb=\"prove\"}");
        ensure!(refused.await? > 0.5, "no proof was denied");
        for (enforcement, policy) in [("Enforce", "web"), ("Audit", "shop/recorded")] {
            let labels = format!("enforcement=\"{enforcement}\",policy=\"{policy}\"");
            let of_shop = format!("{{{labels},resource_namespace=\"shop\",rule=\"image-tag\"}}");
            ensure!(operator.metric(&format!("immutable_violations{of_shop}")).await? > 0.5, "{policy} finds nothing");
        }
        Ok(())
    })
    .await?;
    wait_until("an exception to be in effect", GENEROUS, async || {
        ensure!(operator.metric("immutable_exceptions{state=\"InEffect\"}").await? > 0.5, "none is");
        ensure!(operator.metric("immutable_excused{policy=\"web\",rule=\"image-tag\"}").await? > 0.5, "none matches");
        Ok(())
    })
    .await?;
    wait_until("what pods were started with to be recorded", GENEROUS, async || {
        ensure!(operator.metric("immutable_config_records_total{result=\"written\"}").await? > 0.5, "nothing is");
        Ok(())
    })
    .await?;
    edit(cluster).await?;
    wait_until("pods to be replaced", GENEROUS, async || {
        let begun = "immutable_rollouts_total{result=\"begun\",trigger=\"ConfigChanged\"}";
        ensure!(operator.metric(begun).await? > 0.5, "none is");
        Ok(())
    })
    .await?;
    wait_until("what the API server counts", GENEROUS, async || {
        fail_to_evaluate(cluster).await?;
        let text = server_metrics(cluster).await?;
        for metric in [
            "apiserver_validating_admission_policy_check_total{enforcement_action=\"deny\"",
            "apiserver_validating_admission_policy_check_total{enforcement_action=\"audit\"",
            "apiserver_admission_match_condition_evaluation_errors_total{",
        ] {
            ensure!(text.contains(metric), "there is no {metric}");
        }
        Ok(())
    })
    .await?;
    Ok((cluster, operator))
}

/// An exception of one workload that ends in ten days.
fn exception() -> Result<String> {
    let end = Timestamp::now().checked_add(SignedDuration::from_hours(240))?;
    Ok(serde_json::json!({
        "apiVersion": "immutable.dev/v1alpha1", "kind": "ImmutableException",
        "metadata": {"name": "excused", "namespace": "shop"},
        "spec": {
            "rules": ["image-tag"], "workloads": {"kinds": ["Pod"], "names": ["excused"]},
            "reason": "the vendor ships no releases", "expiresAt": end.to_string(),
        },
    })
    .to_string())
}

async fn apply(cluster: &Cluster, manifests: &str) -> Result<()> {
    cluster.kubectl(&["apply", "--filename=-"], manifests).await?.success().map(|_| ())
}

/// Asks for what the policy `web` denies, and fails where nobody denies it.
pub(crate) async fn be_denied(cluster: &Cluster) -> Result<()> {
    let run = ["run", "denied", "--namespace=shop", "--image=registry.example/web:latest", "--dry-run=server"];
    let answer = cluster.kubectl(&run, "").await?;
    ensure!(answer.stderr.contains("image-tag"), "it was not denied by the policy: {answer:?}");
    Ok(())
}

/// Creates, in a dry run, what the failing expression looks at.
pub(crate) async fn fail_to_evaluate(cluster: &Cluster) -> Result<()> {
    let create = ["create", "configmap", "any", "--from-literal=a=b", "--dry-run=server"];
    cluster.kubectl(&create, "").await?.success().map(|_| ())
}

/// Changes the ConfigMap that the Deployment `reader` reads.
async fn edit(cluster: &Cluster) -> Result<()> {
    let patch = ["patch", "configmap", "settings", "--namespace=bank", "--patch={\"data\":{\"version\":\"1\"}}"];
    cluster.kubectl(&patch, "").await?.success().map(|_| ())
}

/// The API server's own metrics.
pub(crate) async fn server_metrics(cluster: &Cluster) -> Result<String> {
    cluster.kubectl(&["get", "--raw", "/metrics"], "").await?.success()
}
