//! The keeper of one store: connects, keeps the session alive, probes, and passes on what the store tells by itself.
//! One task for each store, on the leader only.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt, stream::BoxStream};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::{
    Api, Client, ResourceExt,
    api::PartialObjectMeta,
    runtime::{WatchStreamExt, watcher},
};
use tokio::{
    sync::mpsc::{self, UnboundedSender},
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

use super::{
    model::{StoreName, version},
    watch::Message,
};
use crate::{
    api::{
        CaRef, CaRefKind, Capabilities, ClusterSecretStore, Provider, SecretKeyRef, SecretStore, StoreStatus, Tenancy,
    },
    audit::Audit,
    naming::Scheme,
    stores::{
        Change, StoreError, connect,
        credentials::ClusterCredentials,
        layers::{Cache, Identity, Layers},
        scheme, settings,
        settings::{Settings, provider_name},
    },
    telemetry::Metrics,
};

/// A store object as the operator keeps it.
#[derive(Clone, Debug)]
pub struct StoreObject {
    /// Its uid.
    pub uid: Arc<str>,
    /// The generation of its spec.
    pub generation: i64,
    /// Numeric resourceVersion.
    pub version: u64,
    /// The server behind it.
    pub provider: Provider,
    /// How it spells keys.
    pub scheme: Scheme,
    /// Whom it admits.
    pub tenancy: Arc<Tenancy>,
    /// What the layers around it need to know.
    pub settings: Settings,
    /// Its status, as last seen.
    pub status: StoreStatus,
}

impl StoreObject {
    /// The platform's.
    pub fn platform(object: &ClusterSecretStore) -> Self {
        let spec = &object.spec;
        Self {
            uid: object.uid().unwrap_or_default().into(),
            generation: object.metadata.generation.unwrap_or_default(),
            version: version(&object.metadata),
            scheme: scheme(&spec.provider, spec.layout, spec.name_style),
            settings: settings(
                &spec.provider,
                spec.cache.as_ref(),
                spec.limits.as_ref(),
                spec.health_check_interval.as_ref(),
            ),
            provider: spec.provider.clone(),
            tenancy: Arc::new(spec.tenancy.clone().unwrap_or_default()),
            status: object.status.clone().unwrap_or_default(),
        }
    }

    /// A tenant's: everything that has a namespace is in its own.
    pub fn tenant(object: &SecretStore) -> Self {
        let spec = &object.spec;
        let mut provider = spec.provider.clone();
        if let Some(kubernetes) = &mut provider.kubernetes {
            kubernetes.namespace = object.namespace();
        }
        Self {
            uid: object.uid().unwrap_or_default().into(),
            generation: object.metadata.generation.unwrap_or_default(),
            version: version(&object.metadata),
            scheme: scheme(&provider, spec.layout, spec.name_style),
            settings: settings(
                &provider,
                spec.cache.as_ref(),
                spec.limits.as_ref(),
                spec.health_check_interval.as_ref(),
            ),
            provider,
            tenancy: Arc::default(),
            status: object.status.clone().unwrap_or_default(),
        }
    }

    /// The Secrets that hold its credentials and CA, and whether each is a ConfigMap instead.
    pub fn credentials(&self, own: Option<&str>) -> Vec<(CaRefKind, String, String)> {
        let namespace = |n: &Option<String>| own.map(str::to_owned).or_else(|| n.clone()).unwrap_or_default();
        let secret = |s: &SecretKeyRef| (CaRefKind::Secret, namespace(&s.namespace), s.name.clone());
        let ca = |c: &CaRef| (c.kind, namespace(&c.namespace), c.name.clone());
        let mut out = Vec::new();
        if let Some(vault) = &self.provider.vault {
            out.extend(vault.ca_ref.as_ref().map(ca));
            out.extend(vault.auth.token.as_ref().map(|t| secret(&t.secret_ref)));
            out.extend(vault.auth.app_role.as_ref().map(|a| secret(&a.secret_id.secret_ref)));
            out.extend(vault.auth.jwt.as_ref().map(|j| secret(&j.jwt.secret_ref)));
        }
        if let Some(azure) = &self.provider.azure_key_vault {
            out.extend(azure.ca_ref.as_ref().map(ca));
            let client = azure.auth.as_ref().and_then(|a| a.client_secret.as_ref());
            out.extend(client.map(|c| secret(&c.client_secret.secret_ref)));
        }
        if let Some(infisical) = &self.provider.infisical {
            out.extend(infisical.ca_ref.as_ref().map(ca));
            let universal = infisical.auth.universal_auth.as_ref();
            out.extend(universal.map(|u| secret(&u.client_id.secret_ref)));
            out.extend(universal.map(|u| secret(&u.client_secret.secret_ref)));
        }
        out
    }

    /// The host that it would connect to.
    pub fn address(&self) -> Option<&str> {
        let p = &self.provider;
        p.vault
            .as_ref()
            .map(|v| v.address.as_str())
            .or(p.azure_key_vault.as_ref().map(|a| a.vault_url.as_str()))
            .or(p.infisical.as_ref().map(|i| i.host_url.as_str()))
    }
}

/// What a keeper has to say.
pub enum News {
    /// A new session, with empty layers around it.
    Connected(Arc<Layers>),
    /// How the store is.
    Probed(Result<Capabilities, StoreError>),
    /// What the store tells by itself.
    Changed(Change),
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
    /// The operator's ServiceAccount, where it cannot be found out.
    pub service_account: Option<(String, String)>,
    /// Where credentials are that name no namespace.
    pub namespace: String,
}

/// Keeps one generation of one store, until it is aborted.
pub async fn keep(house: Household, name: StoreName, object: StoreObject) {
    let generation = object.generation;
    let tell = |news| {
        // The engine is gone only when the process ends.
        let _ = house.tell.send(Message::Keeper(name.clone(), generation, news));
    };
    let mut watches = JoinSet::new();
    let (changed, mut credentials) = mpsc::channel(1);
    for source in object.credentials(name.namespace.as_deref()) {
        watches.spawn(watch_credential(house.client.clone(), source, changed.clone()));
    }
    let mut ticks = interval(object.settings.health_check_interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        match open(&house, &name, &object).await {
            Ok(layers) => {
                let layers = Arc::new(layers);
                tell(News::Connected(layers.clone()));
                serve(&layers, &mut ticks, &mut credentials, &tell).await;
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

/// Probes and upkeep of one session; ends when a credential changed.
async fn serve(
    layers: &Layers,
    ticks: &mut tokio::time::Interval,
    credentials: &mut mpsc::Receiver<()>,
    tell: &impl Fn(News),
) {
    let store = layers.store().clone();
    let mut changes: BoxStream<'static, Change> = store.watch().unwrap_or_else(|| futures::stream::pending().boxed());
    let mut upkeep = Instant::now();
    ticks.reset_immediately();
    loop {
        tokio::select! {
            _ = ticks.tick() => tell(News::Probed(layers.probe().await)),
            () = sleep_until(upkeep) => {
                let next = store.maintain().await.unwrap_or(Duration::from_secs(3600));
                upkeep = Instant::now() + next.max(Duration::from_secs(1));
            }
            Some(change) = changes.next() => tell(News::Changed(change)),
            _ = credentials.recv() => return,
        }
    }
}

async fn open(house: &Household, name: &StoreName, object: &StoreObject) -> Result<Layers, StoreError> {
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
        Some(source) => Some(credentials.ca_bundle(source).await?),
        None => inline,
    };
    let store = connect(p, ca, Arc::new(credentials), Some(house.client.clone()))?;
    let identity = Identity {
        kind: name.kind(),
        namespace: name.namespace.as_deref().map(str::to_owned),
        name: name.name.to_string(),
        uid: object.uid.to_string(),
        generation: object.generation,
        provider: provider_name(p),
    };
    Ok(Layers::new(
        identity,
        store,
        object.settings.clone(),
        house.cache.clone(),
        house.metrics.clone(),
        house.audit.clone(),
    ))
}

/// Tells when a credential's object changes, metadata alone; what it was at first is no change.
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
                listed = true;
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
