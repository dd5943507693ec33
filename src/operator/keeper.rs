//! The keeper of one store: connects, keeps the session alive, probes, and passes on what the store tells by itself.
//! One task for each store, on the leader only.

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
    time::{MissedTickBehavior, interval, sleep, timeout},
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
        Change, Connector, Marks, Store, StoreError, connect,
        credentials::{ClusterCredentials, Remembering, certainly},
        layers::{Cache, Identity, Layers},
        scheme, settings,
        settings::{Settings, provider_name},
    },
    telemetry::Metrics,
};

/// How long until upkeep that was not answered, or a credential that could not be read, is tried again.
const AGAIN: Duration = Duration::from_secs(5);

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

/// One generation of one store object; a store that is made anew begins with the same generation, and another uid.
pub type Era = (Arc<str>, i64);

impl StoreObject {
    /// Which object and generation this is.
    pub fn era(&self) -> Era {
        (self.uid.clone(), self.generation)
    }

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

    /// The addresses that it would connect to: an authority gets the credential, too.
    pub fn addresses(&self) -> impl Iterator<Item = &str> {
        let p = &self.provider;
        let vault = p.vault.as_ref().map(|v| v.address.as_str());
        let azure = p.azure_key_vault.as_ref().map(|a| a.vault_url.as_str());
        let authority = p.azure_key_vault.as_ref().and_then(|a| a.authority_host.as_deref());
        let infisical = p.infisical.as_ref().map(|i| i.host_url.as_str());
        [vault, azure, authority, infisical].into_iter().flatten()
    }
}

/// What a keeper has to say.
pub enum News {
    /// A new session, with the layers around it.
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
    let mut last: Option<Arc<Layers>> = None;
    loop {
        match open(&house, &name, &object).await {
            Ok(session) => {
                let layers = match &last {
                    Some(last) => last.renewed(session.store.clone()),
                    None => around(&house, &name, &object, session.store.clone()),
                };
                let layers = last.insert(Arc::new(layers));
                tell(News::Connected(layers.clone()));
                serve(layers, &mut ticks, session.replaced(&mut credentials), &tell).await;
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
