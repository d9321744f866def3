//! Lists of everything -> the picture. It only reads.

mod contents;
mod revisions;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use immutable_core::exception::Exception;
use immutable_core::policy::{Policy, PolicyId};
use immutable_core::rules::ConfigKind;
use immutable_core::workload::{CustomWorkload, Kind, WorkloadKind};
use immutable_core::world::{Change, World};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, ApiResource, DynamicObject, ListParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;

use super::{
    CONFIG_PAGE_SIZE, ConfigMap, Lenient, RawObject, Served, config_fact, namespace_facts, stored_exception,
    stored_policy,
};
use crate::api::{ClusterImmutablePolicy, ImmutableException, ImmutablePolicy};

pub(crate) use contents::StoredKey;

/// How many objects a page has, as kubectl's.
const PAGE_SIZE: u32 = 500;

/// What is said of a kind that is not served.
const NOT_SERVED: &str = "the API server does not serve it";

/// The kinds whose pods can be replaced, and what they make.
const REPLACEABLE: [Kind; 5] = [Kind::Deployment, Kind::StatefulSet, Kind::DaemonSet, Kind::ReplicaSet, Kind::Pod];

/// What is listed, and how long one answer may take.
pub(crate) struct Lists {
    client: Client,
    /// None for the whole cluster.
    namespace: Option<String>,
    timeout: Duration,
}

/// A kind that could not be listed.
#[derive(Clone, Debug)]
pub(crate) struct Unlisted {
    /// `apps/v1 Deployment`
    pub kind: String,
    /// The API server's words.
    pub why: String,
}

/// Why there is no list.
enum ListError {
    /// The kind is not served.
    NotServed,
    /// The API server refuses.
    Refused(String),
    /// It does not answer, or does not know who asks: no other list will come either.
    NoAnswer(anyhow::Error),
}

/// What was read of our own kinds.
pub(crate) struct Stored<T> {
    /// Each, or its name and everything that is wrong with it.
    pub all: Vec<Result<T, (String, Vec<String>)>>,
    /// What could not be listed.
    pub unlisted: Vec<Unlisted>,
}

impl Lists {
    /// Lists of a namespace, or of the whole cluster.
    pub(crate) fn new(client: Client, namespace: Option<String>, timeout: Duration) -> Self {
        Self { client, namespace, timeout }
    }

    /// The policies that may judge what is listed; none where the cluster does not know the kinds.
    ///
    /// # Errors
    /// The API server does not answer.
    pub(crate) async fn policies(&self) -> anyhow::Result<Stored<Policy>> {
        let mut stored = Stored { all: Vec::new(), unlisted: Vec::new() };
        let cluster = ApiResource::erase::<ClusterImmutablePolicy>(&());
        self.stored(Api::all_with(self.client.clone(), &cluster), &cluster, stored_policy, &mut stored).await?;
        let namespaced = ApiResource::erase::<ImmutablePolicy>(&());
        self.stored(self.api(&namespaced), &namespaced, stored_policy, &mut stored).await?;
        Ok(stored)
    }

    /// The exceptions of what is listed; none where the cluster does not know the kind.
    ///
    /// # Errors
    /// The API server does not answer.
    pub(crate) async fn exceptions(&self) -> anyhow::Result<Stored<Exception>> {
        let mut stored = Stored { all: Vec::new(), unlisted: Vec::new() };
        let resource = ApiResource::erase::<ImmutableException>(&());
        self.stored(self.api(&resource), &resource, stored_exception, &mut stored).await?;
        Ok(stored)
    }

    /// One policy; none where there is no such one.
    ///
    /// # Errors
    /// The API server does not answer, or refuses.
    pub(crate) async fn policy(&self, id: &PolicyId) -> anyhow::Result<Option<Result<Policy, Vec<String>>>> {
        let api: Api<Lenient> = match &id.namespace {
            Some(namespace) => {
                let resource = ApiResource::erase::<ImmutablePolicy>(&());
                Api::namespaced_with(self.client.clone(), namespace, &resource)
            }
            None => Api::all_with(self.client.clone(), &ApiResource::erase::<ClusterImmutablePolicy>(&())),
        };
        match self.within(api.get_opt(&id.name)).await {
            Ok(got) => Ok(got.map(|Lenient(object)| stored_policy(&object))),
            Err(ListError::NotServed) => Ok(None),
            Err(ListError::Refused(why)) => Err(anyhow::anyhow!("{why}")),
            Err(ListError::NoAnswer(error)) => Err(error),
        }
    }

    /// Tells the world of the namespaces. Where they may not be read that is no error: their labels are not known then.
    /// Returns whether the namespace that is asked for is there, as far as that can be told.
    ///
    /// # Errors
    /// The API server does not answer.
    pub(crate) async fn namespaces(&self, world: &mut World) -> anyhow::Result<bool> {
        let api: Api<Lenient> = Api::all_with(self.client.clone(), &ApiResource::erase::<Namespace>(&()));
        let namespaces = match &self.namespace {
            None => self.list(&api, PAGE_SIZE, |namespace| namespace).await,
            Some(name) => match self.within(api.get_opt(name)).await {
                Ok(None) => return Ok(false),
                Ok(Some(namespace)) => {
                    let (name, facts) = namespace_facts(namespace.0.metadata);
                    world.apply(Change::Namespace(name, Some(facts)));
                    return Ok(true);
                }
                Err(error) => Err(error),
            },
        };
        match namespaces {
            Ok(namespaces) => {
                for (name, facts) in namespaces.into_iter().map(|namespace| namespace_facts(namespace.0.metadata)) {
                    world.apply(Change::Namespace(name, Some(facts)));
                }
                Ok(true)
            }
            Err(ListError::NotServed | ListError::Refused(_)) => Ok(true),
            Err(ListError::NoAnswer(error)) => Err(error),
        }
    }

    /// Tells the world of everything that carries pods, and of ConfigMaps where a policy asks for them; returns what could
    /// not be listed. Its policies must be known.
    ///
    /// # Errors
    /// The API server does not answer.
    pub(crate) async fn workloads(&self, world: &mut World) -> anyhow::Result<Vec<Unlisted>> {
        let custom: Vec<CustomWorkload> =
            world.policies().flat_map(|(_, policy)| policy.custom_workloads()).cloned().collect();
        let served = in_order(Served::all(&custom));
        let keeps = Arc::new(AtomicBool::new(world.keeps_what_is_made()));
        let mut unlisted = self.kinds(&served, &keeps, world).await?;
        if world.has_strays() {
            // Their owners came or went between two lists. They are judged by themselves where that happens again.
            keeps.store(true, Ordering::Relaxed);
            for served in served.iter().filter(|served| served.is_made()) {
                if let Err(why) = self.kind(served, &keeps, world).await? {
                    world.apply(Change::Unwatched(served.kind.clone(), why));
                }
            }
        }
        if world.asks_for(ConfigKind::ConfigMap)
            && let Err(why) = self.config_maps(world).await?
        {
            unlisted.push(Unlisted { kind: "v1 ConfigMap".to_owned(), why });
        }
        Ok(unlisted)
    }

    /// Tells the world of the workloads whose pods can be replaced, with what they make, and of those of one more kind;
    /// returns what could not be listed. Beside the custom workloads that its policies declare, these are known.
    ///
    /// # Errors
    /// The API server does not answer.
    pub(crate) async fn replaceable(
        &self,
        world: &mut World,
        more: Option<Kind>,
        declared: &[CustomWorkload],
    ) -> anyhow::Result<Vec<Unlisted>> {
        let of_policies = world.policies().flat_map(|(_, policy)| policy.custom_workloads());
        let custom: Vec<CustomWorkload> = of_policies.chain(declared).cloned().collect();
        let mut served = in_order(Served::all(&custom));
        served.retain(|served| {
            served.kind.built_in().is_none_or(|kind| REPLACEABLE.contains(&kind) || more == Some(kind))
        });
        self.kinds(&served, &Arc::new(AtomicBool::new(false)), world).await
    }

    /// Tells the world of the objects of these kinds; returns what could not be listed.
    async fn kinds(
        &self,
        served: &[Served],
        keeps: &Arc<AtomicBool>,
        world: &mut World,
    ) -> anyhow::Result<Vec<Unlisted>> {
        let mut unlisted = Vec::new();
        for served in served {
            if let Err(why) = self.kind(served, keeps, world).await? {
                // What it made must be judged by itself.
                keeps.store(true, Ordering::Relaxed);
                world.apply(Change::Unwatched(served.kind.clone(), why.clone()));
                unlisted.push(Unlisted { kind: format!("{} {}", served.kind.api_version(), served.kind), why });
            }
        }
        Ok(unlisted)
    }

    /// Tells the world which ConfigMaps are immutable, or says why that cannot be.
    async fn config_maps(&self, world: &mut World) -> anyhow::Result<Result<(), String>> {
        let api: Api<ConfigMap> = match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        match self.list(&api, CONFIG_PAGE_SIZE, config_fact).await {
            Ok(all) => {
                world.apply(Change::Configs(ConfigKind::ConfigMap, all));
                Ok(Ok(()))
            }
            Err(ListError::NotServed) => Ok(Err(NOT_SERVED.to_owned())),
            Err(ListError::Refused(why)) => Ok(Err(why)),
            Err(ListError::NoAnswer(error)) => Err(error),
        }
    }

    /// Tells the world of the objects of a kind, or says why that cannot be.
    async fn kind(
        &self,
        served: &Served,
        keeps: &Arc<AtomicBool>,
        world: &mut World,
    ) -> anyhow::Result<Result<(), String>> {
        let reader = served.reader(Arc::clone(keeps));
        let api: Api<RawObject> = self.api(&served.api_resource());
        match self.list(&api, PAGE_SIZE, |object| reader.read(object)).await {
            Ok(objects) => {
                world.apply(Change::Workloads(served.kind.clone(), objects));
                Ok(Ok(()))
            }
            Err(ListError::NotServed) => Ok(Err(NOT_SERVED.to_owned())),
            Err(ListError::Refused(why)) => Ok(Err(why)),
            Err(ListError::NoAnswer(error)) => Err(error),
        }
    }

    async fn stored<T>(
        &self,
        api: Api<Lenient>,
        resource: &ApiResource,
        read: impl Fn(&DynamicObject) -> Result<T, Vec<String>>,
        stored: &mut Stored<T>,
    ) -> anyhow::Result<()> {
        let named = |object: &DynamicObject| match &object.metadata.namespace {
            Some(namespace) => format!("{} {namespace}/{}", resource.kind, object.name_any()),
            None => format!("{} {}", resource.kind, object.name_any()),
        };
        let read = |Lenient(object)| read(&object).map_err(|problems| (named(&object), problems));
        match self.list(&api, PAGE_SIZE, read).await {
            Ok(all) => stored.all.extend(all),
            // Nobody has installed the operator.
            Err(ListError::NotServed) => {}
            Err(ListError::Refused(why)) => {
                stored.unlisted.push(Unlisted { kind: format!("{} {}", resource.api_version, resource.kind), why });
            }
            Err(ListError::NoAnswer(error)) => return Err(error),
        }
        Ok(())
    }

    fn api<K: Resource<DynamicType = ApiResource, Scope = kube::core::DynamicResourceScope>>(
        &self,
        resource: &ApiResource,
    ) -> Api<K> {
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, resource),
            None => Api::all_with(self.client.clone(), resource),
        }
    }

    /// Every object of a kind, page by page, narrowed as it comes.
    async fn list<K, T>(&self, api: &Api<K>, page_size: u32, narrow: impl Fn(K) -> T) -> Result<Vec<T>, ListError>
    where
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        self.list_as(api, ListParams::default().limit(page_size), narrow).await
    }

    /// The same of what these parameters select.
    async fn list_as<K, T>(
        &self,
        api: &Api<K>,
        mut parameters: ListParams,
        narrow: impl Fn(K) -> T,
    ) -> Result<Vec<T>, ListError>
    where
        K: Clone + DeserializeOwned + std::fmt::Debug,
    {
        let mut all = Vec::new();
        loop {
            let page = match self.within(api.list(&parameters)).await {
                // The list took longer than the API server remembers: once more, in one piece.
                Err(ListError::Refused(_)) if parameters.continue_token.is_some() => {
                    all.clear();
                    parameters = ListParams { limit: None, continue_token: None, ..parameters };
                    continue;
                }
                page => page?,
            };
            all.extend(page.items.into_iter().map(&narrow));
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters = parameters.continue_token(&token),
                None => return Ok(all),
            }
        }
    }

    async fn within<T>(&self, call: impl Future<Output = kube::Result<T>>) -> Result<T, ListError> {
        match tokio::time::timeout(self.timeout, call).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(status))) if status.code == 401 => {
                Err(ListError::NoAnswer(anyhow::anyhow!("the API server refuses who asks: {}", status.message)))
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => Err(ListError::NotServed),
            Ok(Err(kube::Error::Api(status))) => Err(ListError::Refused(status.message.clone())),
            Ok(Err(error)) => Err(ListError::NoAnswer(
                anyhow::Error::new(error).context("the API server does not answer as it should"),
            )),
            Err(_) => Err(ListError::NoAnswer(self.no_answer_in_time())),
        }
    }

    fn no_answer_in_time(&self) -> anyhow::Error {
        anyhow::anyhow!(
            "the API server did not answer within {} s; --request-timeout gives it longer",
            self.timeout.as_secs_f32()
        )
    }
}

/// What makes others comes before what it makes: of what came between the lists, less is of nobody.
fn in_order(mut served: Vec<Served>) -> Vec<Served> {
    served.sort_by_key(|served| match served.kind {
        WorkloadKind::BuiltIn(Kind::Pod) => 2,
        _ => u8::from(served.is_made()),
    });
    served
}
