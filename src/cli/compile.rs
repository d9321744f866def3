//! `immutable compile`: prints what the API server would be given.

use std::path::PathBuf;

use immutable_core::native::{Installation, compile};
use jiff::Timestamp;

use super::exit::{Exit, print, refuse, say};
use super::policies;
use crate::operator::{DEFAULT_NAMESPACE, DEFAULT_OWNER};

/// Prints the ValidatingAdmissionPolicies and bindings of policies
///
/// They are complete: `immutable compile policy.yaml | kubectl apply -f -` enforces without an operator.
/// Nothing then removes or updates them. An operator with the same --owner removes what it does not want itself.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Files with policies; - is standard input
    #[arg(required = true, value_name = "POLICY")]
    policies: Vec<PathBuf>,
    /// Namespace of the policies of one namespace that name none
    #[arg(short, long, default_value = "default", value_name = "NAMESPACE")]
    namespace: String,
    /// The operator's own namespace, which is left out unless a policy names it
    #[arg(long, default_value = DEFAULT_NAMESPACE, value_name = "NAMESPACE")]
    operator_namespace: String,
    /// The ClusterRole that tells installations apart
    #[arg(long, default_value = DEFAULT_OWNER, value_name = "NAME")]
    owner: String,
}

pub(super) fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    if let Some(usage) = policies::stdin_twice(&arguments.policies) {
        return refuse([usage]);
    }
    let policies = match policies::read(&arguments.policies, &arguments.namespace) {
        Ok(policies) => policies,
        Err(errors) => return refuse(errors),
    };
    let now = Timestamp::now();
    let installation = Installation { namespace: arguments.operator_namespace.clone(), owner: arguments.owner.clone() };
    let compilation = compile(&policies, &installation, now);
    let mut exit = Exit::Success;
    for policy in &policies {
        let Some(compiled) = compilation.policies.get(&policy.id) else { continue };
        if let Some(error) = &compiled.error {
            say(format_args!("{}: {error}", policy.id));
            exit = Exit::Input;
        }
        if let Some(suspension) = policy.suspension.as_ref().filter(|_| policy.is_suspended(now)) {
            say(format_args!("{}: suspended until {}, so it comes to nothing now", policy.id, suspension.until));
        }
        if policy.rules.is_empty() {
            say(format_args!(
                "{}: has no rule, so it comes to nothing here; spec.replace takes the operator",
                policy.id
            ));
        }
        for gap in &compiled.gaps {
            say(format_args!("{}: {gap}", policy.id));
        }
        if policy.rules.iter().any(|rule| rule.checks.config.is_some()) {
            say(format_args!(
                "{}: immutable-config is enforced when a ConfigMap or Secret is created; a reference to an older one \
                 is seen by check and scan only",
                policy.id
            ));
        }
    }
    let mut text = String::new();
    for object in compilation.objects() {
        text.push_str("---\n");
        text.push_str(&crate::manifest::to_yaml(&object.manifest(None))?);
    }
    print(&text).map(|_| exit)
}
