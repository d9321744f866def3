//! What runs in the cluster, judged: kept up to date change by change, never from the start unless everything changed.

use std::collections::{BTreeMap, BTreeSet};

use crate::evaluate::{Certainty, Facts, evaluate};
use crate::policy::{Enforcement, PolicyId};
use crate::rules::RuleId;
use crate::world::{Content, Judged, Object, Touched, WorkloadKey, World};

/// What the policies say of one workload; only those that judge it.
type Results = BTreeMap<PolicyId, WorkloadResult>;

/// What one policy says of one workload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct WorkloadResult {
    /// How many findings each broken rule has, and at which level.
    findings: BTreeMap<(RuleId, Enforcement), u64>,
    /// How many things could not be decided.
    errors: u64,
}

impl WorkloadResult {
    fn is_compliant(&self) -> bool {
        self.findings.is_empty() && self.errors == 0
    }
}

/// What a policy comes to over all workloads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// How many workloads it judges.
    pub workloads: u64,
    /// How many of them break no rule.
    pub compliant: u64,
    /// How many things could not be decided, which is never a pass.
    pub errors: u64,
    /// Findings by rule.
    pub findings: BTreeMap<RuleId, u64>,
}

/// Findings of a rule of a policy at a level in a namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Violations {
    /// Whose rule it is.
    pub policy: PolicyId,
    /// The rule.
    pub rule: RuleId,
    /// What happens on admission.
    pub enforcement: Enforcement,
    /// Where.
    pub namespace: String,
}

/// The verdicts on everything that runs.
#[derive(Debug, Default)]
pub struct Scan {
    results: BTreeMap<WorkloadKey, Results>,
    summaries: BTreeMap<PolicyId, Summary>,
    violations: BTreeMap<Violations, u64>,
}

impl Scan {
    /// Judges again what a change touched; returns how many workloads that were.
    pub fn update(&mut self, world: &World, touched: &Touched) -> usize {
        let mut judged = 0;
        for key in &touched.workloads {
            self.replace(key, world.object(key).map_or_else(Results::new, |object| judge(world, key, object)));
            judged += 1;
        }
        if touched.all {
            let gone = self.results.keys().filter(|key| world.object(key).is_none());
            let gone: Vec<WorkloadKey> = gone.cloned().collect();
            for key in gone {
                self.replace(&key, Results::new());
            }
            for (key, object) in world.objects() {
                self.replace(key, judge(world, key, object));
                judged += 1;
            }
            // A policy that judges nothing has a summary, too, and one that is gone has none.
            let policies: BTreeSet<PolicyId> = world.policies().map(|(id, _)| id.clone()).collect();
            self.summaries.retain(|id, _| policies.contains(id));
            for id in policies {
                self.summaries.entry(id).or_default();
            }
        }
        judged
    }

    fn replace(&mut self, key: &WorkloadKey, results: Results) {
        if self.results.get(key).is_some_and(|before| *before == results) {
            return;
        }
        for (policy, result) in self.results.remove(key).unwrap_or_default() {
            let summary = self.summaries.entry(policy.clone()).or_default();
            summary.workloads -= 1;
            summary.compliant -= u64::from(result.is_compliant());
            summary.errors -= result.errors;
            for ((rule, enforcement), count) in result.findings {
                take(&mut summary.findings, &rule, count);
                let what = Violations { policy: policy.clone(), rule, enforcement, namespace: key.namespace.clone() };
                take(&mut self.violations, &what, count);
            }
        }
        for (policy, result) in &results {
            let summary = self.summaries.entry(policy.clone()).or_default();
            summary.workloads += 1;
            summary.compliant += u64::from(result.is_compliant());
            summary.errors += result.errors;
            for (&(rule, enforcement), &count) in &result.findings {
                *summary.findings.entry(rule).or_default() += count;
                let what = Violations { policy: policy.clone(), rule, enforcement, namespace: key.namespace.clone() };
                *self.violations.entry(what).or_default() += count;
            }
        }
        if !results.is_empty() {
            self.results.insert(key.clone(), results);
        }
    }

    /// What a policy comes to; none before it was scanned.
    pub fn summary(&self, policy: &PolicyId) -> Option<&Summary> {
        self.summaries.get(policy)
    }

    /// How many findings there are of each sort; none that are zero.
    pub fn violations(&self) -> &BTreeMap<Violations, u64> {
        &self.violations
    }
}

/// Takes some off a count, and the count away when nothing is left.
fn take<K: Ord>(counts: &mut BTreeMap<K, u64>, key: &K, count: u64) {
    if let Some(left) = counts.get_mut(key) {
        *left -= count;
        if *left == 0 {
            counts.remove(key);
        }
    }
}

/// What every policy says of a workload.
fn judge(world: &World, key: &WorkloadKey, object: &Object) -> Results {
    let mut results = Results::new();
    for (id, policy) in world.policies() {
        let result = match (world.is_judged(policy, key, object), &object.content) {
            (Judged::No | Judged::ByItsOwner, _) => continue,
            (Judged::Itself, Content::Known(workload)) => {
                let mut result = WorkloadResult::default();
                for verdict in evaluate(policy, workload, &key.namespace, &Facts::default()) {
                    for finding in verdict.findings {
                        match finding.certainty {
                            Certainty::Broken => {
                                *result.findings.entry((verdict.rule, verdict.enforcement)).or_default() += 1;
                            }
                            Certainty::Unknown => result.errors += 1,
                        }
                    }
                }
                result
            }
            (Judged::Itself | Judged::Unknown, _) => WorkloadResult { errors: 1, ..WorkloadResult::default() },
        };
        results.insert(id.clone(), result);
    }
    results
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::policy::{ControllerCreated, NamespaceMatch, Policy, PolicyDraft, Profile};
    use crate::selector::LabelSelector;
    use crate::workload::{Kind, Workload, WorkloadKind};
    use crate::world::{Change, NamespaceFacts};

    const KINDS: [Kind; 3] = [Kind::Deployment, Kind::ReplicaSet, Kind::Pod];

    fn policy(name: &str, kinds: &[Kind], selector: &Value, namespaces: &[&str]) -> Arc<Policy> {
        let draft = PolicyDraft {
            id: PolicyId { namespace: None, name: name.to_owned() },
            profile: Profile::None,
            enforcement: Enforcement::Audit,
            suspend: None,
            namespaces: NamespaceMatch {
                selector: serde_json::from_value(selector.clone()).unwrap(),
                names: namespaces.iter().map(|name| (*name).to_owned()).collect(),
                ..NamespaceMatch::default()
            },
            kinds: kinds.to_vec(),
            selector: LabelSelector::default(),
            custom_workloads: Vec::new(),
            rules: serde_json::from_value(json!({"imageTag": {"enforcement": "Enforce"}, "privileged": {}})).unwrap(),
            controller_created: ControllerCreated::Audit,
            exceptions: crate::policy::ExceptionSettings::default(),
        };
        Arc::new(draft.validate().unwrap())
    }

    fn object(kind: Kind, name: &str, uid: u8, controller: Option<u8>, image: &str) -> (WorkloadKey, Object) {
        let spec = json!({"containers": [{"name": "app", "image": image}, {"name": "side", "image": image}]});
        let mut manifest = json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": {"name": name}});
        if kind == Kind::Pod {
            manifest["spec"] = spec;
        } else {
            manifest["spec"] = json!({"template": {"spec": spec}});
        }
        let workload = Workload::read(&manifest, kind.api_version(), kind.name(), &[]).unwrap().unwrap();
        let namespace = if uid.is_multiple_of(2) { "shop" } else { "web" };
        let key =
            WorkloadKey { kind: WorkloadKind::BuiltIn(kind), namespace: namespace.to_owned(), name: name.to_owned() };
        let controller = controller.map(|uid| uid.to_string());
        (key, Object { uid: uid.to_string(), controller, content: Content::Known(Box::new(workload)) })
    }

    fn facts(env: &str) -> NamespaceFacts {
        NamespaceFacts { labels: [("env".to_owned(), env.to_owned())].into(), terminating: false }
    }

    /// A world with a policy on everything and a Deployment, its ReplicaSet and its Pod.
    fn chain(kinds: &[Kind]) -> (World, Scan, PolicyId) {
        let (mut world, mut scan) = (World::new("immutable-system"), Scan::default());
        let policy = policy("all", kinds, &json!({}), &[]);
        let id = policy.id.clone();
        let mut changes = vec![
            Change::Policy(id.clone(), Some(policy)),
            Change::Namespace("shop".to_owned(), Some(facts("production"))),
        ];
        for (kind, uid, controller) in
            [(Kind::Pod, 6, Some(4)), (Kind::ReplicaSet, 4, Some(2)), (Kind::Deployment, 2, None)]
        {
            let (key, object) = object(kind, "web", uid, controller, "nginx");
            changes.push(Change::Workload(key, Some(object)));
        }
        for change in changes {
            let touched = world.apply(change);
            scan.update(&world, &touched);
        }
        (world, scan, id)
    }

    #[test]
    fn pods_are_judged_through_their_top_owner_and_bare_ones_by_themselves() {
        let (mut world, mut scan, id) = chain(&[]);
        let summary = scan.summary(&id).unwrap();
        assert_eq!((summary.workloads, summary.compliant), (1, 0));
        assert_eq!(summary.findings, BTreeMap::from([(RuleId::ImageTag, 2)]));
        // The Deployment is gone, as with --cascade=orphan: its ReplicaSet stands for itself.
        let (key, _) = object(Kind::Deployment, "web", 2, None, "nginx");
        let touched = world.apply(Change::Workload(key, None));
        scan.update(&world, &touched);
        assert_eq!(scan.summary(&id).unwrap().workloads, 1);
        let (key, _) = object(Kind::ReplicaSet, "web", 4, None, "nginx");
        let touched = world.apply(Change::Workload(key, None));
        assert_eq!(scan.update(&world, &touched), 2, "the ReplicaSet and the Pod that it made");
        assert_eq!(scan.summary(&id).unwrap().workloads, 1);
    }

    #[test]
    fn where_a_kind_is_not_judged_what_it_makes_is() {
        // Neither the ReplicaSet nor the Deployment is named: the Pod is judged, as it always is.
        let (_, scan, id) = chain(&[Kind::StatefulSet]);
        assert_eq!(scan.summary(&id).unwrap().workloads, 1);
    }

    #[test]
    fn what_cannot_be_known_is_an_error_and_no_pass() {
        let (mut world, mut scan, id) = chain(&[]);
        let (key, mut broken) = object(Kind::Deployment, "broken", 8, None, "nginx");
        broken.content = Content::Unreadable("spec is a list".to_owned());
        let (of_nobody, mut made) = object(Kind::Pod, "orphan", 10, Some(99), "nginx");
        made.content = Content::Made;
        for (key, object) in [(key, broken), (of_nobody, made)] {
            let touched = world.apply(Change::Workload(key, Some(object)));
            scan.update(&world, &touched);
        }
        let summary = scan.summary(&id).unwrap();
        assert_eq!((summary.workloads, summary.compliant, summary.errors), (3, 0, 2));
    }

    #[test]
    fn a_kind_that_tells_of_changes_again_is_watched_again() {
        let (mut world, _, _) = chain(&[]);
        let (key, pod) = object(Kind::Pod, "later", 12, None, "nginx");
        world.apply(Change::Unwatched(key.kind.clone(), "forbidden".to_owned()));
        assert_eq!(world.unwatched().collect::<Vec<_>>(), [(&key.kind, "forbidden")]);
        world.apply(Change::Workload(key, Some(pod)));
        assert_eq!(world.unwatched().count(), 0);
    }

    #[derive(Clone, Debug)]
    enum Step {
        Policy(u8, Option<u8>),
        Namespace(bool, Option<bool>),
        Workload { kind: usize, uid: u8, controller: Option<u8>, latest: bool, there: bool },
        Relist { kind: usize, uids: Vec<u8> },
    }

    fn step() -> impl Strategy<Value = Step> {
        let uid = 0..8_u8;
        prop_oneof![
            (0..2_u8, proptest::option::of(0..4_u8)).prop_map(|(name, what)| Step::Policy(name, what)),
            (any::<bool>(), proptest::option::of(any::<bool>())).prop_map(|(which, env)| Step::Namespace(which, env)),
            (0..3_usize, uid.clone(), proptest::option::of(uid.clone()), any::<bool>(), prop::bool::weighted(0.8))
                .prop_map(|(kind, uid, controller, latest, there)| Step::Workload {
                    kind,
                    uid,
                    controller,
                    latest,
                    there
                }),
            (0..3_usize, proptest::collection::vec(uid, 0..4)).prop_map(|(kind, uids)| Step::Relist { kind, uids }),
        ]
    }

    fn change(step: &Step) -> Change {
        // A uid is that of one object for ever, and an owner is older than what it makes.
        let made = |kind: usize, uid: u8, controller: Option<u8>, image: &str| {
            let uid = uid + 8 * u8::try_from(kind).unwrap();
            let controller = controller.filter(|_| kind > 0).map(|owner| owner + 8 * u8::try_from(kind - 1).unwrap());
            object(KINDS[kind], &format!("o{uid}"), uid, controller, image)
        };
        match step {
            Step::Policy(name, what) => {
                let name = format!("p{name}");
                let policy = what.map(|what| match what {
                    0 => policy(&name, &[], &json!({}), &[]),
                    1 => policy(&name, &[Kind::Deployment], &json!({}), &[]),
                    2 => policy(&name, &[], &json!({"matchLabels": {"env": "production"}}), &[]),
                    _ => policy(&name, &[Kind::ReplicaSet], &json!({}), &["shop"]),
                });
                Change::Policy(PolicyId { namespace: None, name }, policy)
            }
            Step::Namespace(which, env) => {
                let facts = env.map(|production| facts(if production { "production" } else { "test" }));
                Change::Namespace(if *which { "shop" } else { "web" }.to_owned(), facts)
            }
            Step::Workload { kind, uid, controller, latest, there } => {
                let image = if *latest { "nginx:latest" } else { "nginx:1" };
                let (key, object) = made(*kind, *uid, *controller, image);
                Change::Workload(key, there.then_some(object))
            }
            Step::Relist { kind, uids } => {
                let mut objects: Vec<_> = uids.iter().map(|uid| made(*kind, *uid, Some(*uid), "nginx")).collect();
                objects.sort_by(|one, other| one.0.cmp(&other.0));
                objects.dedup_by(|one, other| one.0 == other.0);
                Change::Workloads(WorkloadKind::BuiltIn(KINDS[*kind]), objects)
            }
        }
    }

    proptest! {
        #[test]
        fn change_by_change_comes_to_what_a_scan_from_the_start_does(steps in proptest::collection::vec(step(), 1..60)) {
            let (mut world, mut scan) = (World::new("immutable-system"), Scan::default());
            for step in &steps {
                let touched = world.apply(change(step));
                scan.update(&world, &touched);
                let mut fresh = Scan::default();
                fresh.update(&world, &Touched { all: true, ..Touched::default() });
                prop_assert_eq!(&scan.results, &fresh.results, "{:?}", step);
                prop_assert_eq!(&scan.summaries, &fresh.summaries, "{:?}", step);
                prop_assert_eq!(&scan.violations, &fresh.violations, "{:?}", step);
            }
        }
    }
}
