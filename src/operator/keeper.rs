//! The keeper of one store: connects, keeps the session alive, probes, and passes on what the store tells by itself.
//! One task for each store, on the leader only.

mod notices;
mod object;

pub use object::{Era, StoreObject};

use std::{sync::Arc, time::Duration};

use futures::StreamExt;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client, ResourceExt,
    api::PartialObjectMeta,
    runtime::{WatchStreamExt, watcher},
};
use tokio::{
    sync::mpsc::{self, UnboundedSender},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep, timeout},
};
use tracing::Instrument;

use super::{model::StoreName, watch::Message};
use crate::{
    api::{CaRef, CaRefKind, Capabilities},
    audit::Audit,
    notify::Changed,
    stores::{
        Change, Connector, Marks, Store, StoreError, connect,
        credentials::{ClusterCredentials, Remembering, certainly},
        layers::{Cache, Identity, Layers},
        settings::provider_name,
    },
    telemetry::Metrics,
};

/// How long until upkeep that was not answered, or a credential that could not be read, is tried again.
const AGAIN: Duration = Duration::from_secs(5);

/// What a keeper has to say.
pub enum News {
    /// A new session, with the layers around it.
    Connected(Arc<Layers>),
    /// How the store is.
    Probed(Result<Capabilities, StoreError>),
    /// What the store tells by itself.
    Changed(Change),
    /// Where the store says that something changed; it is polled all the same.
    Noticed(Changed),
}

/// What every keeper needs.
#[derive(Clone)]
pub struct Household {
    /// The API server.
    pub client: Client,
    /// Where the engine listens.
    pub tell: UnboundedSender<Message>,
    /// The one cache.
    pub cache: Arc<Cache>,
    /// Counts.
    pub metrics: Arc<Metrics>,
    /// The audit sink.
    pub audit: Arc<Audit>,
    /// Who asks stores, in audit events.
    pub operator: Arc<str>,
    /// The operator's ServiceAccount, where it cannot be found out.
    pub service_account: Option<(String, String)>,
    /// Where credentials are that name no namespace.
    pub namespace: String,
    /// Marks of values, which outlive the process.
    pub marks: Marks,
}

/// Keeps one generation of one store, until it is aborted.
pub async fn keep(house: Household, name: StoreName, object: StoreObject) {
    let era = object.era();
    let tell = |news| {
        // The engine is gone only when the process ends.
        let _ = house.tell.send(Message::Keeper(name.clone(), era.clone(), news));
    };
    let mut watches = JoinSet::new();
    let (changed, mut credentials) = mpsc::channel(1);
    for source in object.credentials(name.namespace.as_deref()) {
        watches.spawn(watch_credential(house.client.clone(), source, changed.clone()));
    }
    let mut ticks = interval(object.settings.health_check_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (begun, mut last): (Instant, Option<Arc<Layers>>) = (Instant::now(), None);
    loop {
        match open(&house, &name, &object).await {
            Ok(session) => {
                let layers = match &last {
                    Some(last) => last.renewed(session.store.clone()),
                    None => around(&house, &name, &object, session.store.clone()),
                };
                let layers = last.insert(Arc::new(layers));
                tell(News::Connected(layers.clone()));
                let notices = notices::pass_on(layers.store().notices(), begun, &object.uid, &house.metrics, &tell)
                    .instrument(tracing::info_span!("stream", store = %name.label()));
                serve(layers, &mut ticks, session.replaced(&mut credentials), notices, &tell).await;
            }
            Err(error) => {
                tell(News::Probed(Err(error)));
                tokio::select! {
                    _ = ticks.tick() => {}
                    _ = credentials.recv() => {}
                }
            }
        }
    }
}

/// Probes, upkeep and news of one session, none of which waits for another; ends when `replaced` does.
async fn serve(
    layers: &Layers,
    ticks: &mut tokio::time::Interval,
    replaced: impl Future<Output = ()>,
    notices: impl Future<Output = ()>,
    tell: &impl Fn(News),
) {
    ticks.reset_immediately();
    let probes = async {
        loop {
            ticks.tick().await;
            tell(News::Probed(layers.probe().await));
        }
    };
    let upkeep = async {
        loop {
            if let Some(rest) = layers.held_for() {
                sleep(rest).await;
                continue;
            }
            // It holds the session: a server that does not answer must not keep it from reads and probes.
            let next = timeout(layers.settings().timeout, layers.store().maintain()).await;
            sleep(next.map_or(AGAIN, |next| next.unwrap_or(Duration::from_secs(3600))).max(Duration::from_secs(1)))
                .await;
        }
    };
    let changes = async {
        if let Some(mut changes) = layers.store().watch() {
            while let Some(change) = changes.next().await {
                tell(News::Changed(change));
            }
        }
        std::future::pending().await
    };
    tokio::select! {
        () = probes => {}
        () = upkeep => {}
        () = changes => {}
        () = notices => {}
        () = replaced => {}
    }
}

/// A store with what its session stands on.
struct Session {
    store: Arc<dyn Store>,
    credentials: Arc<Remembering<ClusterCredentials>>,
    ca: Option<(CaRef, String)>,
}

impl Session {
    /// Waits until its credential or CA is another one. `noticed`: something about their objects is.
    async fn replaced(&self, noticed: &mut mpsc::Receiver<()>) {
        while noticed.recv().await.is_some() {
            loop {
                match self.changed().await {
                    Ok(true) => return,
                    Ok(false) => break,
                    Err(_) => sleep(AGAIN).await,
                }
            }
        }
    }

    async fn changed(&self) -> Result<bool, StoreError> {
        if let Some((source, before)) = &self.ca
            && certainly(self.credentials.inner().ca_bundle(source).await)?.as_ref() != Some(before)
        {
            return Ok(true);
        }
        self.credentials.changed().await
    }
}

async fn open(house: &Household, name: &StoreName, object: &StoreObject) -> Result<Session, StoreError> {
    let credentials = match &name.namespace {
        Some(namespace) => ClusterCredentials::tenant(house.client.clone(), namespace.to_string()),
        None => ClusterCredentials::platform(
            house.client.clone(),
            Some(house.namespace.clone()),
            house.service_account.clone(),
        ),
    };
    let p = &object.provider;
    let ca_ref = p
        .vault
        .as_ref()
        .and_then(|v| v.ca_ref.as_ref())
        .or(p.infisical.as_ref().and_then(|i| i.ca_ref.as_ref()))
        .or(p.azure_key_vault.as_ref().and_then(|a| a.ca_ref.as_ref()));
    let inline =
        p.vault.as_ref().and_then(|v| v.ca_bundle.clone()).or(p.infisical.as_ref().and_then(|i| i.ca_bundle.clone()));
    let ca = match ca_ref {
        Some(source) => Some((source.clone(), credentials.ca_bundle(source).await?)),
        None => None,
    };
    let trusted = ca.as_ref().map(|(_, pem)| pem.clone()).or(inline);
    let credentials = Arc::new(Remembering::new(credentials));
    let with = Connector {
        ca: trusted,
        credentials: credentials.clone(),
        client: Some(house.client.clone()),
        marks: house.marks.clone(),
    };
    let store = connect(p, with)?;
    Ok(Session { store, credentials, ca })
}

fn around(house: &Household, name: &StoreName, object: &StoreObject, store: Arc<dyn Store>) -> Layers {
    let identity = Identity {
        kind: name.kind(),
        namespace: name.namespace.as_deref().map(str::to_owned),
        name: name.name.to_string(),
        uid: object.uid.to_string(),
        generation: object.generation,
        provider: provider_name(&object.provider),
    };
    Layers::new(
        identity,
        store,
        object.settings.clone(),
        house.cache.clone(),
        house.metrics.clone(),
        house.audit.clone(),
        house.operator.clone(),
    )
}

/// Tells when a credential's object may have changed, metadata alone.
async fn watch_credential(client: Client, source: (CaRefKind, String, String), changed: mpsc::Sender<()>) {
    let (kind, namespace, name) = source;
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    match kind {
        CaRefKind::Secret => {
            let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(client, &namespace);
            follow(watcher(api, config).default_backoff(), changed).await;
        }
        CaRefKind::ConfigMap => {
            let api: Api<PartialObjectMeta<ConfigMap>> = Api::namespaced(client, &namespace);
            follow(watcher(api, config).default_backoff(), changed).await;
        }
    }
}

async fn follow<K: ResourceExt>(
    stream: impl futures::Stream<Item = watcher::Result<watcher::Event<K>>>,
    changed: mpsc::Sender<()>,
) {
    let mut stream = std::pin::pin!(stream);
    let (mut known, mut listed): (Option<String>, bool) = (None, false);
    while let Some(event) = stream.next().await {
        let now = match event {
            Ok(watcher::Event::InitApply(object) | watcher::Event::Apply(object)) => object.resource_version(),
            Ok(watcher::Event::InitDone) => {
                if !std::mem::replace(&mut listed, true) {
                    // What was read before the watch began may be older.
                    let _ = changed.try_send(());
                }
                continue;
            }
            Ok(watcher::Event::Delete(_) | watcher::Event::Init) | Err(_) => continue,
        };
        if listed && now != known {
            // One notice that waits is as good as two.
            let _ = changed.try_send(());
        }
        known = now;
    }
}

#[cfg(test)]
#[path = "keeper/tests.rs"]
mod tests;
