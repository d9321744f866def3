//! What the planner makes of a live cluster, for `why` and `plan`: the same planner as the operator's, which is told of
//! lists and writes nothing.

use std::sync::Arc;

use immutable_core::policy::Policy;
use immutable_core::references::dependencies;
use immutable_core::references::digest::DigestKey;
use immutable_core::replace::{Existence, Intent, Phase, Planner, Reason, Standing, Waiting};
use immutable_core::workload::{CustomWorkload, Kind, Rollout, WorkloadKind};
use immutable_core::world::{Change, ConfigId, ConfigKey, Content, Known, Touched, WorkloadKey, World};
use jiff::Timestamp;

use super::exit::{Exit, say};
use crate::live::{Lists, StoredKey, Unlisted};
use crate::output::State;

/// How often more is read at most; once is enough where nothing changes the world in between.
const ROUNDS: usize = 4;

/// What is there, and what the planner makes of it.
pub(super) struct Outlook {
    pub world: World,
    planner: Planner,
    /// What would be written now, the first first.
    pub rolls: Vec<Intent>,
    /// Why contents cannot be compared.
    pub no_key: Option<String>,
    /// Whether nothing was ever recorded.
    pub is_unrecorded: bool,
    /// What cannot be known.
    pub problems: Vec<String>,
    /// How grave that is.
    pub exit: Exit,
    pub now: Timestamp,
    key: DigestKey,
}

/// What is looked at.
pub(super) struct Asked<'a> {
    pub operator_namespace: &'a str,
    /// A kind beside those whose pods can be replaced.
    pub more: Option<Kind>,
    /// A policy that counts beside those of the cluster, or in the place of its namesake.
    pub policy: Option<Policy>,
}

impl Outlook {
    /// The policies of the cluster, in a world that knows nothing else yet, and what is wrong with any of them.
    ///
    /// # Errors
    /// The API server does not answer.
    pub(super) async fn policies(lists: &Lists, asked: &Asked<'_>) -> anyhow::Result<(World, Vec<String>, Exit)> {
        let mut world = World::new(asked.operator_namespace);
        let (mut problems, mut exit) = (Vec::new(), Exit::Success);
        let stored = lists.policies().await?;
        for policy in stored.all {
            match policy {
                Ok(policy) => drop(world.apply(Change::Policy(policy.id.clone(), Some(Arc::new(policy))))),
                Err((name, wrong)) => {
                    problems.push(format!("{name} is not valid, so it does not count: {}", wrong.join("; ")));
                    exit = exit.max(Exit::Input);
                }
            }
        }
        for Unlisted { kind, why } in &stored.unlisted {
            problems.push(format!("{kind} cannot be listed: {why}"));
            exit = exit.max(Exit::Unfinished);
        }
        Ok((world, problems, exit))
    }

    /// Looks at everything. Gives nothing where the namespace that is asked for is not there.
    ///
    /// # Errors
    /// The API server does not answer.
    pub(super) async fn take(
        lists: &Lists,
        asked: Asked<'_>,
        (mut world, mut problems, mut exit): (World, Vec<String>, Exit),
        now: Timestamp,
    ) -> anyhow::Result<Option<Self>> {
        if !lists.namespaces(&mut world).await? {
            return Ok(None);
        }
        let declared: Vec<CustomWorkload> = asked.policy.iter().flat_map(Policy::custom_workloads).cloned().collect();
        for Unlisted { kind, why } in lists.replaceable(&mut world, asked.more, &declared).await? {
            problems.push(format!("{kind} cannot be listed: {why}"));
            exit = exit.max(Exit::Unfinished);
        }
        // Names are asked for only where a workload names objects by a pattern.
        let has_patterns =
            |rollout: &Rollout| rollout.reloader.as_ref().is_some_and(|reloader| reloader.has_patterns());
        if world.objects().any(|(_, object)| object.rollout.as_deref().is_some_and(has_patterns)) {
            for Unlisted { kind, why } in lists.names(&mut world).await? {
                problems.push(format!("{kind} cannot be listed, and a workload names some by a pattern: {why}"));
                exit = exit.max(Exit::Unfinished);
            }
        }
        let (mut no_key, mut is_unrecorded) = (None, false);
        let key = match lists.digest_key(asked.operator_namespace).await? {
            StoredKey::Known(key) => key,
            StoredKey::Absent => {
                is_unrecorded = true;
                throwaway_key()?
            }
            StoredKey::Refused(why) => {
                no_key = Some(why);
                throwaway_key()?
            }
        };
        let mut planner = Planner::default();
        planner.use_key(Some(key.clone()));
        let mut outlook = Self { world, planner, rolls: Vec::new(), no_key, is_unrecorded, problems, exit, now, key };
        outlook.look(lists, Touched::everything()).await?;
        if let Some(policy) = asked.policy {
            // As the operator would see it come: a workload that is served from then on is no reason to replace.
            let touched = outlook.world.apply(Change::Policy(policy.id.clone(), Some(Arc::new(policy))));
            outlook.look(lists, touched).await?;
        }
        outlook.planner.expect_no_more_edits();
        let step = outlook.planner.step(&outlook.world, &Touched::default(), now, true);
        outlook.rolls = step.intents.into_iter().filter(Intent::rolls).collect();
        Ok(Some(outlook))
    }

    /// Takes in what changed, and reads what is needed for that.
    async fn look(&mut self, lists: &Lists, mut touched: Touched) -> anyhow::Result<()> {
        for _ in 0..ROUNDS {
            let step = self.planner.step(&self.world, &touched, self.now, false);
            if step.wanted.is_empty() {
                break;
            }
            touched = lists.contents(step.wanted.into_iter().collect(), &self.key, &mut self.world).await?;
        }
        Ok(())
    }

    /// Reads what one workload refers to also where it is not served.
    ///
    /// # Errors
    /// The API server does not answer.
    pub(super) async fn read(&mut self, lists: &Lists, key: &WorkloadKey) -> anyhow::Result<()> {
        let Some(object) = self.world.object(key) else { return Ok(()) };
        let Content::Known(workload) = &object.content else { return Ok(()) };
        let id = |dependency: immutable_core::references::Dependency| ConfigId {
            kind: dependency.kind,
            key: ConfigKey { namespace: key.namespace.clone(), name: dependency.name.into() },
        };
        let mut ids: Vec<ConfigId> = dependencies(workload).into_iter().map(id).collect();
        ids.retain(|id| matches!(self.world.contents().get(id), Known::Unknown));
        lists.contents(ids.into_iter().collect(), &self.key, &mut self.world).await.map(drop)
    }

    /// Where a workload stands.
    pub(super) fn standing(&self, key: &WorkloadKey) -> Option<Standing> {
        let mut standing = self.planner.standing(&self.world, key)?;
        if let Some(why) = self.no_key.as_ref().filter(|_| standing.phase != Phase::NotServed) {
            // What was compared was compared by a key that nobody else has.
            let message = format!("contents cannot be compared without the key of digests: {why}");
            standing.phase = Phase::Unknown(Waiting { reason: Reason::NotReadYet, message, until: None });
            standing.current = None;
            standing.record.digest = None;
            for object in &mut standing.objects {
                object.content = immutable_core::replace::Comparison::Unknown;
            }
        }
        if let Phase::Waiting(_, waiting) = &mut standing.phase
            && waiting.reason == Reason::MaxConcurrent
        {
            // The planner has begun the first of them; in the cluster nothing has happened.
            waiting.message.push_str(", with those that come first");
        }
        if let Phase::Unknown(waiting) = &mut standing.phase {
            let unreadable = standing.objects.iter().filter_map(|object| match &object.existence {
                Existence::Unreadable(why) => Some(why.as_str()),
                _ => None,
            });
            let unreadable: Vec<&str> = unreadable.collect();
            if waiting.reason == Reason::Unreadable && !unreadable.is_empty() {
                // The planner speaks of the operator's rights; here it is a person's.
                waiting.message = unreadable.join("; ");
            }
        }
        Some(standing)
    }

    /// Says what cannot be known.
    pub(super) fn say_problems(&self) {
        for problem in &self.problems {
            say(format_args!("error: {problem}"));
        }
    }
}

/// A key that nothing was recorded by: what is recorded then cannot be compared, and counts as not recorded.
fn throwaway_key() -> anyhow::Result<DigestKey> {
    let mut bytes = [0; DigestKey::LENGTH];
    getrandom::fill(&mut bytes).map_err(|error| anyhow::anyhow!("the system gives no random bytes: {error}"))?;
    DigestKey::from_bytes(&bytes).ok_or_else(|| anyhow::anyhow!("a key of digests has another length"))
}

/// How a phase is called.
pub(super) fn state(phase: &Phase) -> State {
    match phase {
        Phase::NotServed => State::NotServed,
        Phase::UpToDate => State::UpToDate,
        Phase::Rolling(_) => State::Rolling,
        Phase::Failed(_) => State::Failed,
        Phase::Due(_) => State::ToBeReplaced,
        Phase::Waiting(..) => State::Waiting,
        Phase::Unknown(_) => State::Unknown,
    }
}

/// The command that lets a `StatefulSet` go on.
pub(super) fn unstick(pod: &str, namespace: &str) -> String {
    format!("kubectl delete pod {pod} -n {namespace}")
}

/// Whether pods of a kind are replaced through its template.
pub(super) fn is_replaceable(kind: &WorkloadKind) -> bool {
    kind.built_in().is_none_or(|kind| matches!(kind, Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet))
}
