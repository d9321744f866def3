//! The custom resources as they travel, and the one way from them to validated core types.

mod exception;
mod policy;
mod schema;
mod status;

pub use exception::{
    ExceptedPolicy, ExceptedWorkloads, ExceptionStatus, ImmutableException, ImmutableExceptionSpec, PolicyKind,
};
pub use policy::{
    ClusterImmutablePolicy, ClusterImmutablePolicySpec, ClusterMatch, ImmutablePolicy, ImmutablePolicySpec, Match,
};
pub use schema::crds;
pub use status::{
    ConditionType, EffectiveRuleStatus, PolicyStatus, ReplaceStatus, RuleFindings, SummaryStatus, WaitingStatus,
};

/// API group of every custom resource.
pub const GROUP: &str = "immutable.dev";
/// The version that is served and stored.
pub const API_VERSION: &str = "immutable.dev/v1alpha1";
