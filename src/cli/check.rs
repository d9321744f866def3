//! `immutable check`: judges manifests, offline.

use std::collections::btree_map::Entry as MapEntry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use immutable_core::evaluate::Facts;
use immutable_core::exception::{Exceptions, InEffect};
use immutable_core::policy::Policy;
use immutable_core::rules::ConfigKind;
use jiff::Timestamp;

use super::exceptions;
use super::exit::{Exit, refuse, say};
use super::judge::{Context, Fact, Judged, fact, unreadable_entry};
use super::policies;
use super::results::{FailOn, Results};
use crate::manifest::{Glob, ManifestError, discover, load, map_documents, read_stdin};
use crate::output::{Format, Subject};

/// Checks manifests against policies, without a cluster
///
/// Without --policy it checks the Stateless profile at Enforce. Exit codes: 0 nothing fails, 1 something
/// fails, 2 usage or unreadable input, 3 could not finish.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Files and folders with YAML or JSON; - is standard input
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// File or folder with policies; may be given several times
    #[arg(long, value_name = "PATH")]
    policy: Vec<PathBuf>,
    /// File or folder with exceptions; may be given several times
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
    /// Labels of the namespaces that the input does not hold, KEY=VALUE; may be given several times
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_label)]
    namespace_labels: Vec<(String, String)>,
    /// Namespace of objects and policies that name none
    #[arg(short, long, default_value = "default", value_name = "NAMESPACE")]
    namespace: String,
    /// Paths to leave out, below the folders given; may be given several times
    #[arg(long, value_name = "GLOB")]
    exclude: Vec<Glob>,
    /// List the rules that hold, too
    #[arg(long)]
    show_pass: bool,
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("write KEY=VALUE")?;
    Ok((key.to_owned(), value.to_owned()))
}

/// A text of the input: read once, judged and looked through for facts.
struct Input {
    name: String,
    named: bool,
    text: String,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let named = arguments.policy.iter().chain(&arguments.exceptions).chain(&arguments.paths);
    if let Some(usage) = policies::stdin_twice(named) {
        return refuse([usage]);
    }
    let policies = match policies::read(&arguments.policy, &arguments.namespace) {
        Ok(policies) if arguments.policy.is_empty() => {
            vec![Policy::builtin_stateless()].into_iter().chain(policies).collect()
        }
        Ok(policies) => policies,
        Err(errors) => return refuse(errors),
    };
    let exceptions = match exceptions::read(&arguments.exceptions, &arguments.namespace) {
        Ok(exceptions) => Exceptions::new(exceptions),
        Err(errors) => return refuse(errors),
    };
    let now = arguments.at.unwrap_or_else(Timestamp::now);
    let in_effect = exceptions.in_effect(&policies, now);
    exceptions::say_what_is_not_honoured(&policies.iter().collect::<Vec<_>>(), &exceptions, &in_effect, now, true);
    let discovery = discover(&arguments.paths, &arguments.exclude);
    let mut check = Check::new(arguments, &policies, in_effect);
    check.fail(discovery.errors);
    let inputs = || {
        discovery.sources.iter().map(|source| {
            let text = if source.name == "-" { read_stdin() } else { load(source) }?;
            Ok(Input { name: source.name.clone(), named: source.named, text })
        })
    };
    if needs_facts(&policies) {
        // Facts may stand behind what depends on them, in another file even: all texts are kept for a second look.
        let kept: Vec<Result<Input, ManifestError>> = inputs().collect();
        for input in kept.iter().flatten() {
            check.learn(input);
        }
        for input in kept {
            check.judge(input);
        }
    } else {
        for input in inputs() {
            check.judge(input);
        }
    }
    check.finish()
}

fn needs_facts(policies: &[Policy]) -> bool {
    policies.iter().any(|policy| {
        !policy.matching.namespaces.selector.is_empty() || policy.rules.iter().any(|rule| rule.checks.config.is_some())
    })
}

struct Check<'a> {
    arguments: &'a Arguments,
    context: Context<'a>,
    results: Results,
    unknown_labels: BTreeSet<(String, String)>,
    /// Whether a ConfigMap or Secret is immutable wherever the input has it.
    configs: BTreeMap<(ConfigKind, String, String), bool>,
}

impl<'a> Check<'a> {
    fn new(arguments: &'a Arguments, policies: &'a [Policy], exceptions: InEffect) -> Self {
        let given: BTreeMap<String, String> = arguments.namespace_labels.iter().cloned().collect();
        let context = Context {
            policies: policies.iter().map(|policy| (Arc::from(policy.id.to_string()), policy)).collect(),
            facts: Facts::default(),
            namespaces: BTreeMap::new(),
            given_labels: (!given.is_empty()).then_some(given),
            default_namespace: arguments.namespace.clone(),
            show_pass: arguments.show_pass,
            exceptions,
        };
        Self {
            arguments,
            context,
            results: Results::new(Subject::Manifests, arguments.fail_on),
            unknown_labels: BTreeSet::new(),
            configs: BTreeMap::new(),
        }
    }

    /// Takes in the facts of an input; what is wrong with it is told when it is judged.
    fn learn(&mut self, input: &Input) {
        let namespace = self.context.default_namespace.clone();
        let facts = map_documents(&input.name, &input.text, input.named, |object| fact(object, &namespace)).results;
        for fact in facts.into_iter().flatten().flatten() {
            match fact {
                Fact::Config { kind, namespace, name, immutable } => {
                    // Which of two is applied last is not known.
                    let all = self.configs.entry((kind, namespace.clone(), name.clone())).or_insert(true);
                    *all &= immutable;
                    self.context.facts.insert(kind, &namespace, &name, *all);
                }
                Fact::Namespace { name, labels } => match self.context.namespaces.entry(name) {
                    MapEntry::Vacant(entry) => drop(entry.insert(labels)),
                    MapEntry::Occupied(mut entry) if *entry.get() != labels => drop(entry.insert(None)),
                    MapEntry::Occupied(_) => {}
                },
            }
        }
    }

    fn judge(&mut self, input: Result<Input, ManifestError>) {
        let input = match input {
            Ok(input) => input,
            Err(error) => return self.fail([error]),
        };
        let documents = map_documents(&input.name, &input.text, input.named, |object| self.context.judge(object));
        self.results.report.others += documents.others as u64;
        for result in documents.results {
            match result {
                Ok(judged) => self.take(judged),
                Err(error) => self.fail([error]),
            }
        }
    }

    fn take(&mut self, judged: Judged) {
        let Judged { carries_pods, is_workload, passes, entries, errors, unknown_labels } = judged;
        self.results.report.summary.resources += u64::from(is_workload);
        self.results.report.unmatched += u64::from(carries_pods && !is_workload);
        self.results.report.summary.pass += passes;
        self.unknown_labels.extend(unknown_labels);
        for error in errors {
            say(error);
            self.results.exit(Exit::Input);
        }
        self.results.add(entries);
    }

    /// Records inputs that cannot be judged.
    fn fail(&mut self, errors: impl IntoIterator<Item = ManifestError>) {
        for error in errors {
            say(&error);
            self.results.add(vec![unreadable_entry(&error)]);
            self.results.exit(Exit::Input);
        }
    }

    fn finish(self) -> anyhow::Result<Exit> {
        for (policy, namespace) in &self.unknown_labels {
            say(format_args!(
                "warning: the labels of namespace {namespace} are not known, so it counts as matched by policy {policy}; \
                 give its Namespace as input or --namespace-labels"
            ));
        }
        self.results.print(self.arguments.output)
    }
}
