//! Everything at once: edits, deploys, undos, deleted pods and operators that end, in an order that chance makes.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, ResourceExt,
    api::{DeleteParams, ListParams},
};
use serde_json::json;

use crate::place::{Place, at_once, second_of_data};
use crate::support::{Cluster, GENEROUS, Operator, wait_until};
use crate::web::Web;

/// Numbers that look like chance and are the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

const CONFIGS: u64 = 4;
const WEBS: u64 = 8;
const STEPS: u64 = 100;

/// The ConfigMap that a workload reads.
fn config_of(web: u64) -> String {
    format!("config-{}", web % CONFIGS)
}

#[tokio::test]
async fn whatever_happens_in_the_end_every_pod_has_read_what_is_current_and_nothing_goes_on() -> Result<()> {
    let cluster = Cluster::start().await?;
    let mut operator = Operator::start(&cluster).await?;
    let place = Place::on(&cluster, at_once()).await?;
    for config in 0..CONFIGS {
        place.config(&format!("config-{config}"), json!({"step": "none"})).await?;
    }
    let mut webs: Vec<Web<'_>> = Vec::new();
    for web in 0..WEBS {
        webs.push(place.web(&format!("web-{web}"), 2, &config_of(web)).await?);
    }
    // Another number in this variable is another order.
    let seed = std::env::var("CHANCE").ok().and_then(|seed| seed.parse().ok()).unwrap_or(20_261_126);
    let mut chance = Chance(seed);
    let mut edits: BTreeMap<u64, usize> = BTreeMap::new();
    let mut others: BTreeMap<u64, usize> = BTreeMap::new();
    let mut history = Vec::new();
    let pods: Api<Pod> = Api::namespaced(place.namespace.client(), place.namespace.name());
    for step in 0..STEPS {
        let web = chance.below(WEBS);
        let name = format!("web-{web}");
        let what = chance.below(20);
        history.push((step, what, web));
        match what {
            0..=8 => {
                place.edit(&config_of(web), json!({"step": step.to_string()})).await?;
                *edits.entry(web % CONFIGS).or_default() += 1;
            }
            9..=11 => {
                let image = format!("registry.example/web:{}", step + 2);
                let containers = json!([{"name": "main", "image": image, "envFrom": [
                    {"configMapRef": {"name": config_of(web)}}
                ]}]);
                webs[usize::try_from(web)?]
                    .merge(json!({"spec": {"template": {"spec": {"containers": containers}}}}))
                    .await?;
                *others.entry(web).or_default() += 1;
            }
            12..=13 => {
                let arguments = ["-n", place.namespace.name(), "rollout", "undo", &format!("deployment/{name}")];
                // There may be nothing to go back to.
                drop(cluster.kubectl(&arguments, "").await?);
                *others.entry(web).or_default() += 1;
            }
            14..=15 => {
                let list = pods.list(&ListParams::default().labels(&format!("app={name}"))).await?;
                for pod in list.items.iter().take(1) {
                    drop(pods.delete(&pod.name_any(), &DeleteParams::default()).await);
                }
            }
            16 => {
                let annotations = json!({"immutable.dev/config-digest": null, "immutable.dev/rollout-cause": null});
                let template = json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
                webs[usize::try_from(web)?].merge(template).await?;
                *others.entry(web).or_default() += 1;
            }
            17 => {
                webs[usize::try_from(web)?].merge(json!({"spec": {"replicas": 1 + chance.below(3)}})).await?;
            }
            18 if chance.below(3) == 0 => {
                operator.terminate().await?;
                // Somebody edits while nobody looks.
                place.edit(&config_of(web), json!({"step": format!("down {step}")})).await?;
                *edits.entry(web % CONFIGS).or_default() += 1;
                // A start is no rollout, but what others changed in the meantime is learned by one at most.
                operator = Operator::launch(&cluster).await?;
            }
            _ => tokio::time::sleep(std::time::Duration::from_millis(200 * chance.below(5))).await,
        }
    }
    place.quiet().await?;
    for (web, number) in webs.iter().zip(0..) {
        let edited = second_of_data(&place, &config_of(number)).await?;
        web.reads_what_is_current().await?;
        wait_until(&format!("pods of web-{number} to be no older than {edited}; {history:?}"), GENEROUS, async || {
            let pods = place.pods(&format!("web-{number}")).await?;
            ensure!(!pods.is_empty() && pods.values().all(|created| *created >= edited), "{pods:?}");
            Ok(())
        })
        .await?;
    }
    place.quiet().await?;
    let before = place.rollouts().await?;
    for number in 0..WEBS {
        let rollouts = before.get(&format!("deployments/web-{number}")).copied().unwrap_or_default();
        let edits = edits.get(&(number % CONFIGS)).copied().unwrap_or_default();
        let others = others.get(&number).copied().unwrap_or_default();
        eprintln!("MEASURED web-{number}: {rollouts} rollouts for {edits} edits and {others} changes by others");
        ensure!(rollouts <= edits + others, "web-{number}: {rollouts} for {edits} and {others}; {history:?}");
    }
    place.next_second().await?;
    place.quiet().await?;
    ensure!(place.rollouts().await? == before, "it goes on: {before:?}, {:?}", place.rollouts().await?);
    operator.still_runs().await
}
