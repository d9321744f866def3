//! `immutable scan`: judges what runs in a cluster, and only reads.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use immutable_core::policy::{Enforcement, Match, NamespaceLabels, Policy};
use immutable_core::scan::told_by_rule;
use immutable_core::selector::LabelSelector;
use immutable_core::world::{Content, Object, WorkloadKey};
use jiff::Timestamp;
use kube::Client;

use super::connection::Connection;
use super::exit::{Exit, refuse, say};
use super::picture::{Picture, no_namespace};
use super::results::{FailOn, Of, Results, unreadable};
use super::{exceptions, policies};
use crate::live::{Lists, Unlisted};
use crate::operator::DEFAULT_NAMESPACE;
use crate::output::{Entry, Format, Outcome, Place, Resource, Subject};

/// Judges what runs in a cluster; it only reads, and needs no operator
///
/// Without --policy it judges by the policies of the cluster, or, where there are none, by the Stateless
/// profile at Enforce. Exit codes: 0 nothing fails, 1 something fails, 2 usage or something unreadable, 3 could
/// not finish, such as a kind that may not be listed.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Namespace to look at; absent means that of the kubeconfig's context
    #[arg(short, long, value_name = "NAMESPACE", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// Look at all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Labels of the workloads to report, as for kubectl: app=web,tier!=db,env in (a,b),!legacy
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<String>,
    /// File or folder with policies to judge by instead of those of the cluster; may be given several times
    #[arg(long, value_name = "PATH")]
    policy: Vec<PathBuf>,
    /// File or folder with exceptions that count beside those of the cluster; may be given several times
    #[arg(long, value_name = "PATH")]
    exceptions: Vec<PathBuf>,
    /// The moment at which exceptions are judged, RFC 3339; absent means now
    #[arg(long, value_name = "TIME")]
    at: Option<Timestamp>,
    /// How results are written
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
    /// The weakest enforcement whose findings exit 1
    #[arg(long, value_enum, default_value_t = FailOn::Enforce)]
    fail_on: FailOn,
    /// List the rules that hold, too
    #[arg(long)]
    show_pass: bool,
    /// The operator's own namespace, which is left out unless a policy names it
    #[arg(long, default_value = DEFAULT_NAMESPACE, value_name = "NAMESPACE")]
    operator_namespace: String,
    #[command(flatten)]
    connection: Connection,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let selector = match LabelSelector::parse(arguments.selector.as_deref().unwrap_or_default()) {
        Ok(selector) => selector,
        Err(error) => return refuse([format!("error: --selector: {error}")]),
    };
    if let Some(usage) = policies::stdin_twice(arguments.policy.iter().chain(&arguments.exceptions)) {
        return refuse([usage]);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(scan(arguments, &selector))
}

async fn scan(arguments: &Arguments, selector: &LabelSelector) -> anyhow::Result<Exit> {
    let config = arguments.connection.config().await?;
    let namespace = arguments.namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
    let given = match policies::read(&arguments.policy, &namespace) {
        Ok(policies) => policies,
        Err(errors) => return refuse(errors),
    };
    let exceptions = match exceptions::read(&arguments.exceptions, &namespace) {
        Ok(exceptions) => exceptions,
        Err(errors) => return refuse(errors),
    };
    let now = arguments.at.unwrap_or_else(Timestamp::now);
    let one = (!arguments.all_namespaces).then_some(namespace.as_str());
    let lists = Lists::new(Client::try_from(config)?, one.map(ToOwned::to_owned), arguments.connection.timeout());
    let mut results = Results::new(Subject::Cluster, arguments.fail_on);
    let mut errors = Vec::new();
    let policies = if arguments.policy.is_empty() {
        policies_of_cluster(&lists, one, &mut results, &mut errors).await?
    } else {
        given
    };
    let picture =
        Picture::take(&lists, (policies, arguments.policy.is_empty()), exceptions, &arguments.operator_namespace, now)
            .await?;
    let Some(picture) = picture else { return refuse([no_namespace(&namespace)]) };
    judge(&picture, selector, arguments, &mut results);
    errors.extend(picture.unlisted.iter().map(|unlisted| could_not_be_listed(unlisted, &mut results)));
    results.add(errors);
    results.print(arguments.output)
}

/// The policies of the cluster, or what stands in for them where there are none; what cannot be read is an error.
async fn policies_of_cluster(
    lists: &Lists,
    namespace: Option<&str>,
    results: &mut Results,
    errors: &mut Vec<Entry>,
) -> anyhow::Result<Vec<Policy>> {
    let stored = lists.policies().await?;
    if stored.all.is_empty() && stored.unlisted.is_empty() {
        let place = namespace.map_or_else(|| "in the cluster".to_owned(), |name| format!("for namespace {name}"));
        say(format_args!(
            "there is no policy {place}, so the Stateless profile at Enforce is judged by; --policy names others"
        ));
        return Ok(vec![Policy::builtin_stateless()]);
    }
    let mut policies = Vec::new();
    for policy in stored.all {
        match policy {
            Ok(policy) => policies.push(policy),
            Err((name, problems)) => {
                let message = format!("{name} is not valid, so it is not judged by: {}", problems.join("; "));
                say(format_args!("error: {message}"));
                errors.push(unreadable(message, Place::in_cluster(None), None, String::new()));
                results.exit(Exit::Input);
            }
        }
    }
    for unlisted in &stored.unlisted {
        say(format_args!("error: {} cannot be listed: {}", unlisted.kind, unlisted.why));
        errors.push(could_not_be_listed(unlisted, results));
    }
    Ok(policies)
}

/// The result for a kind that could not be listed: never a pass.
fn could_not_be_listed(unlisted: &Unlisted, results: &mut Results) -> Entry {
    let message = format!("{} cannot be listed: {}", unlisted.kind, unlisted.why);
    results.exit(Exit::Unfinished);
    unreadable(message, Place::in_cluster(None), None, String::new())
}

/// The results of one workload, and how bad they are: failures, errors, warnings, what is recorded, what is excused.
struct OfWorkload<'w> {
    key: &'w WorkloadKey,
    weight: [usize; 5],
    entries: Vec<Entry>,
}

/// Judges everything that is asked for, and adds the worst first.
fn judge(picture: &Picture, selector: &LabelSelector, arguments: &Arguments, results: &mut Results) {
    let mut unknown_labels = BTreeSet::new();
    let names: BTreeMap<_, Arc<str>> =
        picture.world.policies().map(|(id, _)| (id, Arc::from(id.to_string()))).collect();
    let mut workloads = Vec::new();
    for (key, object) in picture.world.objects().filter(|(_, object)| is_asked_for(selector, object)) {
        let resource = Arc::new(resource(key));
        let place = Place::in_cluster(Some(&resource));
        let (mut entries, mut is_judged, mut why_not) = (Vec::new(), false, BTreeSet::new());
        for (id, policy) in picture.world.policies() {
            let Some(told) = told_by_rule(&picture.world, &picture.exceptions, policy, key, object) else { continue };
            is_judged = true;
            let operator = Some(arguments.operator_namespace.as_str());
            if !picture.world.namespaces().contains_key(&key.namespace)
                && policy.matches_namespace(&key.namespace, NamespaceLabels::Unknown, operator) == Match::Unknown
            {
                unknown_labels.insert((id, &key.namespace));
            }
            match (told, names.get(id)) {
                (Ok(verdicts), Some(name)) => {
                    let of = Of { policy: name, resource: &resource, show_pass: arguments.show_pass };
                    results.report.summary.pass += of.entries(verdicts, |_| place.clone(), &mut entries);
                }
                (Ok(_), None) => {}
                (Err(why), _) => drop(why_not.insert(why)),
            }
        }
        for why in why_not {
            say(format_args!("error: {key} cannot be judged: {why}"));
            entries.push(unreadable(why, place.clone(), Some(Arc::clone(&resource)), String::new()));
            results.exit(Exit::Input);
        }
        results.report.summary.resources += u64::from(is_judged);
        // What was made is told of as what it was made from.
        results.report.unmatched += u64::from(!is_judged && object.controller.is_none());
        if !entries.is_empty() {
            workloads.push(OfWorkload { key, weight: weight(&entries), entries });
        }
    }
    for (policy, namespace) in unknown_labels {
        say(format_args!(
            "warning: the labels of namespace {namespace} may not be read, so it counts as matched by policy {policy}"
        ));
    }
    let mut of_namespaces: BTreeMap<&str, [usize; 5]> = BTreeMap::new();
    for workload in &workloads {
        let sums = of_namespaces.entry(&workload.key.namespace).or_default();
        for (sum, count) in sums.iter_mut().zip(workload.weight) {
            *sum += count;
        }
    }
    workloads.sort_by_key(|OfWorkload { key, weight, .. }| {
        let of_namespace = of_namespaces.get(key.namespace.as_str()).copied().unwrap_or_default();
        (Reverse(of_namespace), &key.namespace, Reverse(*weight), *key)
    });
    for workload in workloads {
        results.add(workload.entries);
    }
}

/// Whether an object is to be reported. Where its labels are not known, they may be the ones that are asked for.
fn is_asked_for(selector: &LabelSelector, object: &Object) -> bool {
    match &object.content {
        Content::Known(workload) => selector.matches(&workload.metadata.labels),
        Content::Made | Content::Unreadable(_) => true,
    }
}

pub(super) fn resource(key: &WorkloadKey) -> Resource {
    Resource {
        api_version: key.kind.api_version().to_owned(),
        kind: key.kind.name().to_owned(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
    }
}

fn weight(entries: &[Entry]) -> [usize; 5] {
    let count = |is_meant: &dyn Fn(&Entry) -> bool| entries.iter().filter(|entry| is_meant(entry)).count();
    let warned = |entry: &Entry| entry.outcome == Outcome::Warn && entry.enforcement == Some(Enforcement::Warn);
    [
        count(&|entry| entry.outcome == Outcome::Fail),
        count(&|entry| entry.outcome == Outcome::Error),
        count(&warned),
        count(&|entry| entry.outcome == Outcome::Warn && !warned(entry)),
        count(&|entry| entry.outcome == Outcome::Skip),
    ]
}
