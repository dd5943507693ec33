//! The configured stores: connected when first asked, once for the life of the process.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{Mutex, OnceCell},
    time::{Instant, timeout},
};

use crate::{
    api::{ClusterSecretStoreSpec, Provider, Tenancy},
    audit::Audit,
    config::LocalCredentials,
    naming::Scheme,
    stores::{
        Connector, Failure, Marks, Store, StoreError, connect,
        layers::{Access, Cache, Freshness, Identity, Layers},
        scheme, settings,
        settings::provider_name,
    },
    telemetry::Metrics,
};

/// How soon after its login a session is looked after for the first time.
const FIRST_LOOK: Duration = Duration::from_secs(30);

/// One store of the configuration.
pub(crate) struct Configured {
    pub(crate) name: String,
    pub(crate) scheme: Scheme,
    pub(crate) tenancy: Tenancy,
    spec: ClusterSecretStoreSpec,
    credentials: LocalCredentials,
    connected: OnceCell<Connected>,
    /// Asked how it is before the first read; who has local values does not wait for retries.
    probed: OnceCell<()>,
}

struct Connected {
    layers: Layers,
    /// When the session wants to be looked after.
    due: Mutex<Instant>,
}

/// Who asks.
pub(crate) const ACCESS: Access<'static> = Access { requester: "user", trace_id: "", freshness: Freshness::Cached };

impl Configured {
    pub(super) fn new(name: String, spec: ClusterSecretStoreSpec, credentials: LocalCredentials) -> Self {
        Self {
            scheme: scheme(&spec.provider, spec.layout, spec.name_style),
            // Which namespaces may use it is a question of clusters.
            tenancy: Tenancy { namespace_selector: None, ..spec.tenancy.clone().unwrap_or_default() },
            name,
            spec,
            credentials,
            connected: OnceCell::new(),
            probed: OnceCell::new(),
        }
    }

    /// Fails at once if the store is down or rejects the login.
    pub(super) async fn probe(&self, cache: &Arc<Cache>, metrics: &Arc<Metrics>) -> Result<(), StoreError> {
        let layers = self.layers(cache, metrics).await?;
        let probe = async {
            match layers.probe().await {
                Err(error) if is_store_wide(error.failure) => Err(error),
                // What it may do besides does not matter here: the read will tell.
                _ => Ok(()),
            }
        };
        self.probed.get_or_try_init(|| probe).await.copied()
    }

    /// The way to it. What fails is tried again by the next one who asks.
    pub(super) async fn layers(&self, cache: &Arc<Cache>, metrics: &Arc<Metrics>) -> Result<&Layers, StoreError> {
        let connected = self.connected.get_or_try_init(|| self.connect(cache, metrics)).await?;
        // Whoever finds it taken goes on with the session as it is.
        if let Ok(mut due) = connected.due.try_lock()
            && *due <= Instant::now()
        {
            let upkeep = timeout(connected.layers.settings().timeout, connected.layers.store().maintain());
            let next = upkeep.await.ok().flatten().unwrap_or(FIRST_LOOK);
            *due = Instant::now() + next;
        }
        Ok(&connected.layers)
    }

    async fn connect(&self, cache: &Arc<Cache>, metrics: &Arc<Metrics>) -> Result<Connected, StoreError> {
        let spec = &self.spec;
        let store = open(&spec.provider, &self.credentials).await?;
        let identity = Identity {
            kind: "ClusterSecretStore",
            namespace: None,
            name: self.name.clone(),
            uid: self.name.clone(),
            generation: 1,
            provider: provider_name(&spec.provider),
        };
        let settings =
            settings(&spec.provider, spec.cache.as_ref(), spec.limits.as_ref(), spec.health_check_interval.as_ref());
        let (cache, metrics, audit) = (Arc::clone(cache), Arc::clone(metrics), Arc::new(Audit::off()));
        let layers = Layers::new(identity, store, settings, cache, metrics, audit, "user".into());
        Ok(Connected { layers, due: Mutex::new(Instant::now() + FIRST_LOOK) })
    }
}

/// Speaks to a store with the credentials of a laptop.
///
/// # Errors
/// When its settings or credentials cannot be right.
pub(crate) async fn open(provider: &Provider, credentials: &LocalCredentials) -> Result<Arc<dyn Store>, StoreError> {
    let ca_ref = match provider {
        Provider { vault: Some(vault), .. } => vault.ca_ref.as_ref(),
        Provider { infisical: Some(infisical), .. } => infisical.ca_ref.as_ref(),
        Provider { azure_key_vault: Some(azure), .. } => azure.ca_ref.as_ref(),
        _ => None,
    };
    let ca = ca_ref.map(|source| credentials.ca_bundle(source)).transpose()?;
    let client = match provider.kubernetes {
        Some(_) => kube::Client::try_default().await.ok(),
        None => None,
    };
    let credentials = Arc::new(credentials.clone());
    connect(provider, Connector { ca, credentials, client, marks: Marks::random() })
}

/// Not of one key: the store as a whole gives no answers.
pub(super) const fn is_store_wide(failure: Failure) -> bool {
    matches!(failure, Failure::Unavailable | Failure::CircuitOpen | Failure::Unauthenticated | Failure::NotReady)
}
