//! The one picture of the cluster: what watch events or lists told, and nothing else. No clock.
//!
//! Decisions are functions of it. It owns its state, and [`World::apply`] is the only thing that changes it.

mod contents;
mod touched;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use crate::evaluate::Facts;
use crate::exception::{Exception, ExceptionId, Exceptions, Named};
use crate::policy::{Match, NamespaceLabels, Policy, PolicyId};
use crate::rules::ConfigKind;
use crate::workload::{Kind, PodFacts, Rollout, Workload, WorkloadKind};

pub use contents::{ConfigId, ConfigObject, Contents, Known, Reading};
pub use touched::Touched;

/// Which object with pods: unique in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkloadKey {
    /// What it is.
    pub kind: WorkloadKind,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

impl fmt::Display for WorkloadKey {
    /// `Deployment shop/web`
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}/{}", self.kind, self.namespace, self.name)
    }
}

/// An object with pods, as the API server has it.
#[derive(Clone, Debug, PartialEq)]
pub struct Object {
    /// Its uid: a successor of the same name is another.
    pub uid: String,
    /// The uid of the controller that made it, if one did.
    pub controller: Option<String>,
    /// What it runs.
    pub content: Content,
    /// How it replaces its pods and how far it is, where its pods read ConfigMaps or Secrets.
    pub rollout: Option<Box<Rollout>>,
    /// What is known of a Pod beside what it runs.
    pub pod: Option<PodFacts>,
}

/// What is kept of an object with pods.
#[derive(Clone, Debug, PartialEq)]
pub enum Content {
    /// All that is judged.
    Known(Box<Workload>),
    /// Nothing: it was made from a template that is judged itself, see [`World::keeps_what_is_made`].
    Made,
    /// It cannot be judged, and why.
    Unreadable(String),
}

/// What is known of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceFacts {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Whether it is going away, so that nothing can be created there.
    pub terminating: bool,
}

/// One change of the picture.
#[derive(Clone)]
pub enum Change {
    /// A valid policy came, changed, or went.
    Policy(PolicyId, Option<Arc<Policy>>),
    /// A valid exception came, changed, or went. What that means is for [`Exceptions::in_effect`] to say.
    Exception(ExceptionId, Option<Arc<Exception>>),
    /// A namespace came, changed, or went.
    Namespace(String, Option<NamespaceFacts>),
    /// An object with pods came, changed, or went.
    Workload(WorkloadKey, Option<Object>),
    /// These and no others of a kind are there, after a start or a lost connection.
    Workloads(WorkloadKind, Vec<(WorkloadKey, Object)>),
    /// A kind cannot be watched, and why: what is known of it may be old.
    Unwatched(WorkloadKind, String),
    /// A kind is watched no more, since no policy asks for it.
    Forgotten(WorkloadKind),
    /// A ConfigMap or Secret came, changed, or went, by namespace and name: whether it is immutable.
    Config(ConfigKind, ConfigKey, Option<bool>),
    /// These and no others are there.
    Configs(ConfigKind, Vec<(ConfigKey, bool)>),
    /// They are not known, or no longer, and why.
    UnknownConfigs(ConfigKind, String),
    /// What a ConfigMap or Secret holds was read, or need not be known any more.
    Content(ConfigId, Option<Reading>),
    /// What was read cannot be compared with what will be.
    ForgetContents,
    /// A ConfigMap or Secret is there, or not.
    Name(ConfigId, bool),
    /// These and no others of a kind are there.
    Names(ConfigKind, Vec<ConfigKey>),
}

/// A ConfigMap or Secret.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConfigKey {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
}

/// How far a kind is known.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Seen {
    /// Every object of it.
    All,
    /// It could not be watched, and why.
    Unwatched(String),
}

/// The picture.
pub struct World {
    operator_namespace: String,
    policies: BTreeMap<PolicyId, Arc<Policy>>,
    exceptions: Exceptions,
    namespaces: BTreeMap<String, NamespaceFacts>,
    objects: BTreeMap<Arc<WorkloadKey>, Object>,
    /// The key of each object that can have made others, by its uid.
    keys: HashMap<String, Arc<WorkloadKey>>,
    /// What each controller made, by its uid.
    made: HashMap<String, Vec<Arc<WorkloadKey>>>,
    seen: BTreeMap<WorkloadKind, Seen>,
    facts: Facts,
    /// Why ConfigMaps or Secrets are not known.
    unknown_configs: BTreeMap<ConfigKind, String>,
    contents: Contents,
}

impl World {
    /// A picture of nothing yet; the operator's own namespace is judged only if a policy names it.
    pub fn new(operator_namespace: &str) -> Self {
        Self {
            operator_namespace: operator_namespace.to_owned(),
            policies: BTreeMap::new(),
            exceptions: Exceptions::default(),
            namespaces: BTreeMap::new(),
            objects: BTreeMap::new(),
            keys: HashMap::new(),
            made: HashMap::new(),
            seen: BTreeMap::new(),
            facts: Facts::default(),
            unknown_configs: BTreeMap::new(),
            contents: Contents::default(),
        }
    }

    /// Takes in a change, and tells what must be judged again.
    pub fn apply(&mut self, change: Change) -> Touched {
        match change {
            Change::Policy(id, policy) => {
                match policy {
                    Some(policy) => drop(self.policies.insert(id, policy)),
                    None => drop(self.policies.remove(&id)),
                }
                Touched::everything()
            }
            Change::Exception(id, exception) => {
                match exception {
                    Some(exception) => self.exceptions.insert(exception),
                    None => self.exceptions.remove(&id),
                }
                Touched::default()
            }
            Change::Namespace(name, facts) => {
                let before = match facts.clone() {
                    Some(facts) => self.namespaces.insert(name.clone(), facts),
                    None => self.namespaces.remove(&name),
                };
                let labels = |facts: &Option<NamespaceFacts>| facts.as_ref().map(|facts| facts.labels.clone());
                if labels(&before) == labels(&facts) {
                    return Touched::default();
                }
                self.of_namespace(&name)
            }
            Change::Workload(key, object) => {
                let mut touched = Touched::default();
                // What tells of changes again is watched again.
                if matches!(self.seen.get(&key.kind), Some(Seen::Unwatched(_))) {
                    self.seen.insert(key.kind.clone(), Seen::All);
                }
                self.replace(key, object, &mut touched);
                touched
            }
            Change::Workloads(kind, objects) => {
                let mut touched = Touched::default();
                let mut gone: BTreeSet<Arc<WorkloadKey>> =
                    self.objects.keys().filter(|key| key.kind == kind).cloned().collect();
                for (key, object) in objects {
                    gone.remove(&key);
                    self.replace(key, Some(object), &mut touched);
                }
                for key in gone {
                    self.replace((*key).clone(), None, &mut touched);
                }
                self.seen.insert(kind, Seen::All);
                touched
            }
            Change::Forgotten(kind) => {
                let touched = self.apply(Change::Workloads(kind.clone(), Vec::new()));
                self.seen.remove(&kind);
                touched
            }
            Change::Unwatched(kind, why) => {
                self.seen.insert(kind, Seen::Unwatched(why));
                Touched::default()
            }
            Change::Config(kind, key, immutable) => self.replace_config(kind, &key, immutable),
            Change::Configs(kind, all) => {
                let there: BTreeSet<&ConfigKey> = all.iter().map(|(key, _)| key).collect();
                let known = self.facts.of_kind(kind);
                let known =
                    known.map(|(namespace, name)| ConfigKey { namespace: namespace.to_owned(), name: name.to_owned() });
                let gone: Vec<ConfigKey> = known.filter(|key| !there.contains(key)).collect();
                // What was not known before may be judged now, also what refers to nothing that there is.
                let mut touched = Touched { all: !self.facts.is_complete(kind), ..Touched::default() };
                self.facts.set_complete(kind, true);
                self.unknown_configs.remove(&kind);
                for key in gone {
                    touched.merge(self.replace_config(kind, &key, None));
                }
                for (key, immutable) in all {
                    touched.merge(self.replace_config(kind, &key, Some(immutable)));
                }
                touched
            }
            Change::UnknownConfigs(kind, why) => {
                self.unknown_configs.insert(kind, why);
                // What was learned of them before stays until it is known again.
                Touched::default()
            }
            Change::Content(..) | Change::ForgetContents | Change::Name(..) | Change::Names(..) => {
                self.contents.apply(change)
            }
        }
    }

    fn replace_config(&mut self, kind: ConfigKind, key: &ConfigKey, immutable: Option<bool>) -> Touched {
        if self.facts.immutable(kind, &key.namespace, &key.name) == immutable {
            return Touched::default();
        }
        match immutable {
            Some(immutable) => self.facts.insert(kind, &key.namespace, &key.name, immutable),
            None => self.facts.remove(kind, &key.namespace, &key.name),
        }
        self.of_namespace(&key.namespace)
    }

    fn replace(&mut self, key: WorkloadKey, mut object: Option<Object>, touched: &mut Touched) {
        if self.objects.get(&key) == object.as_ref() {
            return;
        }
        if let (Some(before), Some(now)) = (self.objects.get_mut(&key), &mut object)
            && before.is_judged_like(now)
        {
            // How far a rollout is changes often, and is no matter of rules.
            (before.rollout, before.pod) = (now.rollout.take(), now.pod.take());
            self.touch_rollout_of(&key, touched);
            return;
        }
        self.touch_rollout_of(&key, touched);
        if let Some(before) = self.objects.remove(&key) {
            self.touch_made(&before.uid, touched);
            // One object may be there twice, in two versions of its kind.
            if self.keys.get(&before.uid).is_some_and(|known| **known == key) {
                self.keys.remove(&before.uid);
            }
            if let Some(controller) = &before.controller
                && let Some(made) = self.made.get_mut(controller)
            {
                made.retain(|other| **other != key);
                if made.is_empty() {
                    self.made.remove(controller);
                }
            }
        }
        if let Some(object) = object {
            let key = Arc::new(key.clone());
            self.touch_made(&object.uid, touched);
            // Of Pods there are most, and they make nothing.
            if key.kind != WorkloadKind::BuiltIn(Kind::Pod) {
                self.keys.insert(object.uid.clone(), Arc::clone(&key));
            }
            if let Some(controller) = &object.controller {
                self.made.entry(controller.clone()).or_default().push(Arc::clone(&key));
            }
            self.objects.insert(key, object);
        }
        self.touch_rollout_of(&key, touched);
        touched.workloads.insert(key);
    }

    /// A workload may wait for what became of it, or of its pods.
    fn touch_rollout_of(&self, key: &WorkloadKey, touched: &mut Touched) {
        let Some((known, object)) = self.objects.get_key_value(key) else {
            touched.rollouts.insert(key.clone());
            return;
        };
        let owners = self.owners(known, object);
        for (key, object) in std::iter::once((&**known, object)).chain(owners) {
            if object.rollout.is_some() {
                touched.rollouts.insert(key.clone());
            }
        }
    }

    /// Whether something is judged may depend on whether what made it is. Owners are what users say, so they may be a
    /// circle.
    fn touch_made(&self, uid: &str, touched: &mut Touched) {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut waiting = vec![uid];
        while let Some(uid) = waiting.pop() {
            if !seen.insert(uid) {
                continue;
            }
            for key in self.made.get(uid).into_iter().flatten() {
                touched.workloads.insert((**key).clone());
                waiting.extend(self.objects.get(key).map(|object| object.uid.as_str()));
            }
        }
    }

    /// Whether the content of objects that built-in controllers make is needed: where every policy judges every kind
    /// by the same labels, they are judged by what they were made from, and there are many of them.
    pub fn keeps_what_is_made(&self) -> bool {
        self.policies
            .values()
            .any(|policy| !policy.matching.selector.is_empty() || Kind::ALL.iter().any(|kind| !policy.judges(*kind)))
    }

    /// Whether an object was made by a controller that is not known, and nothing of it was kept: it cannot be judged,
    /// neither by itself nor as what it was made from.
    pub fn has_strays(&self) -> bool {
        let is_stray = |key: &WorkloadKey, object: &Object| {
            object.content == Content::Made && self.owners(key, object).next().is_none()
        };
        self.objects().any(|(key, object)| is_stray(key, object))
    }

    /// Every object with pods.
    pub fn objects(&self) -> impl Iterator<Item = (&WorkloadKey, &Object)> {
        self.objects.iter().map(|(key, object)| (&**key, object))
    }

    /// The keys of all objects with pods, shared: there may be many.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &Arc<WorkloadKey>> {
        self.objects.keys()
    }

    /// One object.
    pub fn object(&self, key: &WorkloadKey) -> Option<&Object> {
        self.objects.get(key)
    }

    /// Every valid policy.
    pub fn policies(&self) -> impl Iterator<Item = (&PolicyId, &Policy)> {
        self.policies.iter().map(|(id, policy)| (id, &**policy))
    }

    /// The valid policies that may judge what is in a namespace: those of the cluster, and its own.
    pub fn policies_of<'w>(&'w self, namespace: &str) -> impl Iterator<Item = (&'w PolicyId, &'w Policy)> + use<'w> {
        let first =
            |namespace: Option<&str>| PolicyId { namespace: namespace.map(ToOwned::to_owned), name: String::new() };
        let own = namespace.to_owned();
        let of_cluster = self.policies.range(first(None)..).take_while(|(id, _)| id.namespace.is_none());
        let of_namespace = self.policies.range(first(Some(namespace))..);
        let of_namespace = of_namespace.take_while(move |(id, _)| id.namespace.as_ref() == Some(&own));
        of_cluster.chain(of_namespace).map(|(id, policy)| (id, &**policy))
    }

    /// One valid policy.
    pub fn policy(&self, id: &PolicyId) -> Option<&Arc<Policy>> {
        self.policies.get(id)
    }

    /// What is known of ConfigMaps and Secrets.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Whether a policy asks for ConfigMaps or Secrets.
    pub fn asks_for(&self, kind: ConfigKind) -> bool {
        self.policies.values().any(|policy| policy.asks_for(kind))
    }

    /// Why ConfigMaps or Secrets are not known, or may be old.
    pub fn unknown_configs(&self) -> &BTreeMap<ConfigKind, String> {
        &self.unknown_configs
    }

    /// What is known of what ConfigMaps and Secrets hold.
    pub fn contents(&self) -> &Contents {
        &self.contents
    }

    /// The Pods that a workload, or what it made, has made.
    pub fn pods_of(&self, object: &Object) -> Vec<(&WorkloadKey, &PodFacts)> {
        let mut pods = Vec::new();
        let mut waiting = vec![object.uid.as_str()];
        // Owners are what users say, so they may be a circle. What makes others is two or three steps away.
        for _ in 0..3 {
            for uid in std::mem::take(&mut waiting) {
                for key in self.made.get(uid).into_iter().flatten() {
                    let Some(made) = self.objects.get(key) else { continue };
                    match &made.pod {
                        Some(pod) => pods.push((&**key, pod)),
                        None => waiting.push(made.uid.as_str()),
                    }
                }
            }
        }
        pods
    }

    /// The valid exceptions.
    pub fn exceptions(&self) -> &Exceptions {
        &self.exceptions
    }

    /// Everything that runs in a namespace, to be judged again.
    pub fn of_namespace(&self, name: &str) -> Touched {
        let of_namespace = self.objects.keys().filter(|key| key.namespace == name);
        let workloads: BTreeSet<WorkloadKey> = of_namespace.map(|key| (**key).clone()).collect();
        let has_rollout = |key: &&WorkloadKey| self.objects.get(*key).is_some_and(|object| object.rollout.is_some());
        let rollouts = workloads.iter().filter(has_rollout).cloned().collect();
        Touched { workloads, rollouts, ..Touched::default() }
    }

    /// The namespaces.
    pub fn namespaces(&self) -> &BTreeMap<String, NamespaceFacts> {
        &self.namespaces
    }

    /// The kinds that have not told everything yet, of those that were asked for.
    pub fn missing<'a>(&self, asked_for: impl IntoIterator<Item = &'a WorkloadKind>) -> Vec<&'a WorkloadKind> {
        asked_for.into_iter().filter(|kind| !self.seen.contains_key(kind)).collect()
    }

    /// The kinds of which every object is known.
    pub(crate) fn known_kinds(&self) -> impl Iterator<Item = &WorkloadKind> {
        self.seen.iter().filter(|(_, seen)| **seen == Seen::All).map(|(kind, _)| kind)
    }

    /// The kinds that cannot be watched, with the reason.
    pub fn unwatched(&self) -> impl Iterator<Item = (&WorkloadKind, &str)> {
        self.seen.iter().filter_map(|(kind, seen)| match seen {
            Seen::All => None,
            Seen::Unwatched(why) => Some((kind, why.as_str())),
        })
    }

    /// Whether a policy judges an object itself, not by what it was made from.
    pub(crate) fn is_judged(&self, policy: &Policy, key: &WorkloadKey, object: &Object) -> Judged {
        if self.owners(key, object).any(|(owner_key, owner)| self.in_scope(policy, owner_key, owner)) {
            return Judged::ByItsOwner;
        }
        if !self.in_scope(policy, key, object) {
            return Judged::No;
        }
        match (&object.content, &object.controller) {
            (Content::Made, _) => Judged::Unknown,
            _ => Judged::Itself,
        }
    }

    /// What an object was made from, the nearest first.
    fn owners<'w>(
        &'w self,
        key: &'w WorkloadKey,
        object: &'w Object,
    ) -> impl Iterator<Item = (&'w WorkloadKey, &'w Object)> {
        let owner = |(key, object): (&WorkloadKey, &Object)| {
            // An owner is of the same namespace; garbage collection takes any other reference for a broken one.
            let owner = self.keys.get(object.controller.as_deref()?)?;
            let (owner, object) = self.objects.get_key_value(owner)?;
            (owner.namespace == key.namespace && makes(&owner.kind, &key.kind)).then_some((&**owner, object))
        };
        // Kinds that make one another are no circle. Bounded all the same.
        std::iter::successors(owner((key, object)), move |above| owner(*above)).take(8)
    }

    /// The names of what an object was made from.
    pub(crate) fn made_from<'w>(&'w self, key: &'w WorkloadKey, object: &'w Object) -> Vec<Named<'w>> {
        self.owners(key, object).map(|(key, _)| Named { kind: key.kind.name(), name: &key.name }).collect()
    }

    /// The plural by which a kind is served; none for a custom kind that no policy declares.
    pub(crate) fn resource_of(&self, kind: &WorkloadKind) -> Option<&str> {
        match kind {
            WorkloadKind::BuiltIn(kind) => Some(kind.resource()),
            WorkloadKind::Custom { api_version, kind } => {
                let mut custom = self.policies.values().flat_map(|policy| policy.custom_workloads());
                custom.find(|custom| custom.declares(api_version, kind)).map(|custom| custom.resource.as_str())
            }
        }
    }

    /// The policies in whose scope an object is.
    pub(crate) fn policies_that_match<'w>(
        &'w self,
        key: &'w WorkloadKey,
        object: &'w Object,
    ) -> impl Iterator<Item = (&'w PolicyId, &'w Policy)> {
        self.policies_of(&key.namespace).filter(move |(_, policy)| self.in_scope(policy, key, object))
    }

    fn in_scope(&self, policy: &Policy, key: &WorkloadKey, object: &Object) -> bool {
        let labels = match self.namespaces.get(&key.namespace) {
            Some(facts) => NamespaceLabels::Known(&facts.labels),
            None => NamespaceLabels::Unknown,
        };
        let operator = Some(self.operator_namespace.as_str());
        let matched = match &object.content {
            Content::Known(workload) => policy.matches(workload, &key.namespace, labels, operator),
            // Their labels are not known; what cannot be told apart counts as matching.
            Content::Made | Content::Unreadable(_) => {
                let is_kind = match &key.kind {
                    WorkloadKind::BuiltIn(kind) => policy.judges(*kind),
                    WorkloadKind::Custom { .. } => true,
                };
                if is_kind { policy.matches_namespace(&key.namespace, labels, operator) } else { Match::No }
            }
        };
        matched != Match::No
    }
}

impl Object {
    /// Whether rules say the same of both.
    fn is_judged_like(&self, other: &Self) -> bool {
        self.uid == other.uid && self.controller == other.controller && self.content == other.content
    }
}

/// Whether a controller can have made something of one kind from another. Anyone can write ownerReferences, and what says
/// that it was made from what is judged is not judged itself; where the kinds fit, the owner's controller takes care that
/// what is not its own does not stay. A custom workload makes what it likes of the built-in kinds.
fn makes(owner: &WorkloadKind, made: &WorkloadKind) -> bool {
    match (owner.built_in(), made.built_in()) {
        (Some(owner), Some(made)) => owner.makes() == Some(made),
        (None, Some(_)) => true,
        (_, None) => false,
    }
}

/// Whether a policy judges an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Judged {
    /// It is out of its scope.
    No,
    /// As what it was made from.
    ByItsOwner,
    /// By itself.
    Itself,
    /// It should be, and what it runs is not known.
    Unknown,
}
