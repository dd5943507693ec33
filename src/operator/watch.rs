//! Watches: from the API server to the engine, each object in its compact model.

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Debug,
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use futures::{Stream, StreamExt};
use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace, Secret},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Client,
    api::PartialObjectMeta,
    core::DeserializeGuard,
    runtime::{WatchStreamExt, watcher},
};
use serde::de::DeserializeOwned;
use tokio::sync::{mpsc::UnboundedSender, oneshot};

use super::{
    engine,
    explain::{Explanation, Unexplained},
    job::Outcome,
    keeper::{self, StoreObject},
    model::{Namespaces, ObjectKey, Reference, StoreName, version},
    target::{MANAGED_LABEL, TargetMeta},
};
use crate::{
    api::{ClusterSecretStore, SecretReference, SecretStore},
    notify::{RINGS_LABEL, Ring},
    refresh::State,
    resolve::Read,
    telemetry::Trace,
};

/// How often each namespace is looked at where they cannot be watched: no Role gives the right to.
const NAMESPACE_AGAIN: Duration = Duration::from_secs(5);

/// How long one such look may take.
const NAMESPACE_LOOK: Duration = Duration::from_secs(10);

/// Objects in one page of a list.
const PAGE: u32 = 50;

/// What happened to an object.
#[derive(Debug)]
pub enum Seen<K, T> {
    /// It is there, like this.
    Applied(K, T),
    /// It is gone; its last state, unless that was missed.
    Deleted(K, Option<T>),
    /// It is there, but cannot be read: it is left as it was.
    Unreadable(K),
    /// All that there is has been told.
    Listed,
}

/// What the engine hears.
pub enum Message {
    /// A reference.
    Reference(Seen<ObjectKey, Box<Reference>>),
    /// A Secret that we wrote.
    Target(Seen<ObjectKey, TargetMeta>),
    /// A namespace.
    Namespace(Seen<Arc<str>, NamespaceSeen>),
    /// The labels of a namespace were read live.
    Bound(Arc<str>, engine::Live),
    /// A store of either kind.
    Store(Seen<StoreName, Box<StoreObject>>),
    /// What a store's keeper has to say; an older one may still speak.
    Keeper(StoreName, keeper::Era, keeper::News),
    /// The status of a store was written, or not.
    StoreStatus(StoreName, keeper::Era, bool),
    /// What one replica, or the console, was notified of.
    Notified(Seen<Arc<str>, Ring>),
    /// A poll came back.
    Polled(StoreName, keeper::Era, Read, Option<State>, Trace),
    /// A list of changes came back, for the keys that were due.
    Surveyed(StoreName, keeper::Era, Vec<Read>, engine::Survey, Trace),
    /// A sync came back.
    Synced(Box<Outcome>),
    /// A patch of a status that follows the store came back.
    Followed(Box<Outcome>),
    /// Somebody asks what is known of a reference.
    Explain(ObjectKey, oneshot::Sender<Result<Explanation, Unexplained>>),
}

/// What the operator keeps of a namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceSeen {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// It is going away: nothing can be created in it.
    pub terminating: bool,
    /// Numeric resourceVersion; 0: not seen yet.
    pub version: u64,
}

impl NamespaceSeen {
    /// From a namespace's metadata.
    pub fn new(meta: &ObjectMeta) -> Self {
        Self {
            labels: meta.labels.clone().unwrap_or_default(),
            terminating: meta.deletion_timestamp.is_some(),
            version: version(meta),
        }
    }
}

/// Starts all watches; they run until the process ends. Answers how many [`Seen::Listed`] they will send. `roles_only`: there
/// is no right beyond these namespaces. `targets`: Secrets may be looked at.
pub fn start(
    client: &Client,
    namespaces: &[String],
    roles_only: bool,
    targets: bool,
    tell: &UnboundedSender<Message>,
) -> usize {
    let scopes: Vec<Option<&str>> =
        if namespaces.is_empty() { vec![None] } else { namespaces.iter().map(|n| Some(n.as_str())).collect() };
    for scope in &scopes {
        let references: Api<DeserializeGuard<SecretReference>> = scoped(client, *scope);
        let mut names = Namespaces::default();
        spawn(references, config(), tell.clone(), Message::Reference, move |object| {
            let key = names.key(&object.metadata());
            let model = readable(object, &key).and_then(|reference| Reference::new(key.clone(), &reference).ok());
            (key, model.map(Box::new))
        });
        if targets {
            let ours = config().labels(&format!("{MANAGED_LABEL}=true"));
            let secrets: Api<PartialObjectMeta<Secret>> = scoped(client, *scope);
            let mut names = Namespaces::default();
            spawn(secrets, ours, tell.clone(), Message::Target, move |object| {
                (names.key(&object.metadata), Some(TargetMeta::new(&object.metadata)))
            });
        }
        let stores: Api<DeserializeGuard<SecretStore>> = scoped(client, *scope);
        spawn(stores, config(), tell.clone(), Message::Store, |object| {
            let key = ObjectKey::of(&object.metadata());
            let store = readable(object, &key).map(|store| Box::new(StoreObject::tenant(&store)));
            (StoreName { namespace: Some(key.namespace), name: key.name }, store)
        });
    }
    let each = 2 + usize::from(targets);
    if roles_only {
        tokio::spawn(look_at_namespaces(Api::all(client.clone()), namespaces.to_vec(), tell.clone()));
        return each * scopes.len() + 1;
    }
    let stores: Api<DeserializeGuard<ClusterSecretStore>> = Api::all(client.clone());
    spawn(stores, config(), tell.clone(), Message::Store, |object| {
        let key = ObjectKey::of(&object.metadata());
        let store = readable(object, &key).map(|store| Box::new(StoreObject::platform(&store)));
        (StoreName { namespace: None, name: key.name }, store)
    });
    let all: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    spawn(all, config(), tell.clone(), Message::Namespace, |object| {
        let seen = NamespaceSeen::new(&object.metadata);
        (object.metadata.name.unwrap_or_default().into(), Some(seen))
    });
    each * scopes.len() + 2
}

/// Tells of these namespaces without a right to list any: each is asked for again and again.
async fn look_at_namespaces(
    api: Api<PartialObjectMeta<Namespace>>,
    names: Vec<String>,
    tell: UnboundedSender<Message>,
) {
    let mut known: BTreeMap<&str, u64> = BTreeMap::new();
    let mut looked: HashSet<&str> = HashSet::new();
    let mut listed = false;
    loop {
        for name in &names {
            let told = match tokio::time::timeout(NAMESPACE_LOOK, api.get_metadata_opt(name)).await {
                Ok(Ok(Some(found))) => {
                    let seen = NamespaceSeen::new(&found.metadata);
                    let news = known.insert(name, seen.version) != Some(seen.version);
                    looked.insert(name);
                    news.then(|| Seen::Applied(name.as_str().into(), seen))
                }
                Ok(Ok(None)) => {
                    looked.insert(name);
                    known.remove(name.as_str()).map(|_| Seen::Deleted(name.as_str().into(), None))
                }
                _ => {
                    tracing::warn!(namespace = %name, "the namespace cannot be read: does the Role in it let the operator get it?");
                    None
                }
            };
            // The engine is gone only when the process ends.
            if let Some(seen) = told {
                let _ = tell.send(Message::Namespace(seen));
            }
        }
        if !listed && looked.len() == names.iter().collect::<HashSet<_>>().len() {
            listed = true;
            let _ = tell.send(Message::Namespace(Seen::Listed));
        }
        tokio::time::sleep(NAMESPACE_AGAIN).await;
    }
}

/// Starts the watch of what is notified, in the operator's own namespace. The engine does not wait for it.
pub fn notifications(client: &Client, namespace: &str, tell: &UnboundedSender<Message>) {
    let rings: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
    spawn(rings, config().labels(&format!("{RINGS_LABEL}=true")), tell.clone(), Message::Notified, |object| {
        let ring = Ring::decode(&object.data.unwrap_or_default());
        (object.metadata.name.unwrap_or_default().into(), Some(ring))
    });
}

/// Small pages: a list is decoded whole, and what is decoded is many times what is kept.
fn config() -> watcher::Config {
    watcher::Config::default().page_size(PAGE)
}

fn scoped<K>(client: &Client, namespace: Option<&str>) -> Api<K>
where
    K: kube::Resource<Scope = kube::core::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// One bad object must not stop a watch.
fn readable<K>(guard: DeserializeGuard<K>, key: &ObjectKey) -> Option<K> {
    guard.0.map_err(|_| tracing::error!(object = %key, "this object cannot be read: it is left alone")).ok()
}

trait Metadata {
    fn metadata(&self) -> ObjectMeta;
}

impl<K: kube::Resource> Metadata for DeserializeGuard<K> {
    fn metadata(&self) -> ObjectMeta {
        match &self.0 {
            Ok(object) => object.meta().clone(),
            Err(invalid) => invalid.metadata.clone(),
        }
    }
}

fn spawn<K, N, T>(
    api: Api<K>,
    config: watcher::Config,
    tell: UnboundedSender<Message>,
    wrap: impl Fn(Seen<N, T>) -> Message + Send + 'static,
    convert: impl FnMut(K) -> (N, Option<T>) + Send + 'static,
) where
    K: kube::Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default + Clone,
    N: Hash + Eq + Clone + Send + Sync + 'static,
    T: Send + 'static,
{
    tokio::spawn(async move {
        let stream = watcher(api, config).default_backoff();
        seen(stream, convert)
            .for_each(move |s| {
                // The engine is gone only when the process ends.
                let _ = tell.send(wrap(s));
                std::future::ready(())
            })
            .await;
    });
}

/// Turns a watch with its re-lists into what happened: an object that a re-list no longer has was deleted. One that
/// cannot be read is there all the same.
fn seen<K, N, T>(
    stream: impl Stream<Item = watcher::Result<watcher::Event<K>>> + Send,
    mut convert: impl FnMut(K) -> (N, Option<T>) + Send,
) -> impl Stream<Item = Seen<N, T>> + Send
where
    K: Send,
    N: Hash + Eq + Clone + Send,
    T: Send,
{
    let mut known: HashSet<N> = HashSet::new();
    let mut listing: Option<HashSet<N>> = None;
    let mut complete = false;
    stream.flat_map(move |event| {
        let mut out = Vec::new();
        match event {
            Ok(watcher::Event::Init) => listing = Some(HashSet::new()),
            Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => {
                let (key, model) = convert(object);
                listing.as_mut().map(|l| l.insert(key.clone()));
                known.insert(key.clone());
                out.push(match model {
                    Some(model) => Seen::Applied(key, model),
                    None => Seen::Unreadable(key),
                });
            }
            Ok(watcher::Event::Delete(object)) => {
                let (key, model) = convert(object);
                known.remove(&key);
                out.push(Seen::Deleted(key, model));
            }
            Ok(watcher::Event::InitDone) => {
                let now = listing.take().unwrap_or_default();
                out.extend(known.difference(&now).cloned().map(|key| Seen::Deleted(key, None)));
                known = now;
                // A later list is no news: the engine counts which watches are in place.
                if !std::mem::replace(&mut complete, true) {
                    out.push(Seen::Listed);
                }
            }
            // The watch backs off and lists again by itself.
            Err(error) => tracing::warn!(error = describe(&error), "a watch ended"),
        }
        futures::stream::iter(out)
    })
}

/// A watch error without its body, which may hold an object.
fn describe(error: &watcher::Error) -> String {
    match error {
        watcher::Error::InitialListFailed(kube::Error::Api(s))
        | watcher::Error::WatchStartFailed(kube::Error::Api(s)) => {
            format!("{} {}", s.code, s.reason)
        }
        watcher::Error::WatchError(s) => format!("{} {}", s.code, s.reason),
        watcher::Error::InitialListFailed(_) => "the list failed".to_owned(),
        watcher::Error::WatchStartFailed(_) => "the watch did not start".to_owned(),
        watcher::Error::WatchFailed(_) => "the connection broke".to_owned(),
        _ => "the API server offers no such list".to_owned(),
    }
}

#[cfg(test)]
#[path = "watch/tests.rs"]
mod tests;
