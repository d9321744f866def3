//! Who makes objects from templates that were judged before.
//!
//! Known by the authenticated user, never by ownerReferences, which anyone can write, and never by a group.

use crate::policy::Policy;
use crate::rules::quote_list;
use crate::workload::Kind;

use super::shape::Shape;

/// A built-in controller: its account, and the kind whose templates it turns into objects.
struct Controller {
    account: &'static str,
    serves: Kind,
}

const CONTROLLERS: [Controller; 7] = [
    controller("deployment-controller", Kind::Deployment),
    controller("replicaset-controller", Kind::ReplicaSet),
    controller("replication-controller", Kind::ReplicationController),
    controller("statefulset-controller", Kind::StatefulSet),
    controller("daemon-set-controller", Kind::DaemonSet),
    controller("job-controller", Kind::Job),
    controller("cronjob-controller", Kind::CronJob),
];

/// All controllers in one, where the controller manager runs without an account for each.
const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";

/// What the account names of controllers begin with.
const ACCOUNTS: &str = "system:serviceaccount:kube-system:";

const fn controller(account: &'static str, serves: Kind) -> Controller {
    Controller { account, serves }
}

/// The users whose objects of a shape come from templates that this policy judges.
pub(crate) fn excused_users(policy: &Policy, shape: &Shape) -> Vec<String> {
    if names_a_label_of_controllers(policy) {
        return Vec::new();
    }
    let makes: &[Kind] = match shape {
        Shape::Pod => &[Kind::Pod],
        Shape::Template(kinds) if kinds.contains(&Kind::ReplicaSet) || kinds.contains(&Kind::Job) => {
            &[Kind::ReplicaSet, Kind::Job]
        }
        _ => return Vec::new(),
    };
    let (excused, judged_anew): (Vec<&Controller>, Vec<&Controller>) = CONTROLLERS
        .iter()
        .filter(|controller| controller.serves.makes().is_some_and(|kind| makes.contains(&kind)))
        .partition(|controller| policy.judges(controller.serves));
    let mut users: Vec<String> = excused.iter().map(|controller| format!("{ACCOUNTS}{}", controller.account)).collect();
    if judged_anew.is_empty() {
        users.push(CONTROLLER_MANAGER.to_owned());
    }
    users.extend(policy.custom_workloads().iter().filter_map(|custom| custom.controller_user.clone()));
    users.sort_unstable();
    users.dedup();
    users
}

/// Everyone who makes objects from templates.
pub(crate) fn all_users(policy: &Policy) -> Vec<String> {
    let built_in = CONTROLLERS.iter().map(|controller| format!("{ACCOUNTS}{}", controller.account));
    let mut users: Vec<String> = built_in.chain([CONTROLLER_MANAGER.to_owned()]).collect();
    users.extend(policy.custom_workloads().iter().filter_map(|custom| custom.controller_user.clone()));
    users.sort_unstable();
    users.dedup();
    users
}

/// Labels that controllers add to what they make: a selector that names one is satisfied by what they make alone,
/// and no template was judged before.
const LABELS_OF_CONTROLLERS: [&str; 10] = [
    "pod-template-hash",
    "pod-template-generation",
    "controller-revision-hash",
    "controller-uid",
    "job-name",
    "batch.kubernetes.io/controller-uid",
    "batch.kubernetes.io/job-completion-index",
    "batch.kubernetes.io/job-name",
    "apps.kubernetes.io/pod-index",
    "statefulset.kubernetes.io/pod-name",
];

fn names_a_label_of_controllers(policy: &Policy) -> bool {
    let selector = &policy.matching.selector;
    let keys =
        selector.match_labels.keys().chain(selector.match_expressions.iter().map(|requirement| &requirement.key));
    keys.into_iter().any(|key| LABELS_OF_CONTROLLERS.contains(&key.as_str()))
}

/// What the policy leaves open or judges anew because it does not judge every kind, for the status.
pub(crate) fn gaps(policy: &Policy) -> Vec<String> {
    let mut gaps: Vec<String> = CONTROLLERS
        .iter()
        .filter(|controller| !policy.judges(controller.serves))
        .map(|controller| {
            // What it makes may be a kind that is not judged either; in the end come Pods, which always are.
            let judged = controller.serves.makes().filter(|kind| policy.judges(*kind)).unwrap_or(Kind::Pod);
            format!(
                "{} is not judged: what {} makes of one is judged as a {judged}",
                controller.serves, controller.account
            )
        })
        .collect();
    if names_a_label_of_controllers(policy) {
        gaps.push("match.selector names a label that controllers add: what they make is judged anew".to_owned());
    }
    gaps.extend(
        policy
            .custom_workloads()
            .iter()
            .filter(|custom| custom.controller_user.is_none())
            .map(|custom| format!("{} names no controllerUser: its pods are judged as Pods", custom.kind)),
    );
    gaps
}

/// CEL that is true for what the excused users make.
pub(crate) fn made_by(users: &[String], shape: &Shape) -> String {
    let users = format!("request.userInfo.username in {}", quote_list(users.iter().map(String::as_str)));
    match shape {
        // A kubelet mirrors its static pods; they run whether or not the API server takes the mirror.
        Shape::Pod => format!(
            "{users} || request.userInfo.username.startsWith('system:node:') && has(object.metadata.annotations) \
             && 'kubernetes.io/config.mirror' in object.metadata.annotations"
        ),
        _ => users,
    }
}
