//! One trait, one file for each store, and the layers around all of them.
//!
//! A store file speaks its protocol and maps its errors to [`Failure`], nothing else: cache, single flight, limits,
//! retry, circuit breaker, audit and metrics are in [`layers`], once. The next store is one file and one arm in
//! [`connect`].

use std::{collections::HashMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::stream::BoxStream;
use thiserror::Error;

use crate::{
    api::{Capabilities, Provider, Reason, SecretKeyRef, ServiceAccountRef},
    naming::StoreKey,
    secret::SecretValue,
};

pub mod azure;
mod body;
pub mod credentials;
pub(crate) mod http;
pub mod infisical;
pub mod kubernetes;
pub mod layers;
pub mod local;
mod pace;
pub mod settings;
mod stored;
mod streams;
pub mod vault;
mod write;

pub use credentials::ClusterCredentials;
pub use settings::{Settings, scheme, settings};
pub use stored::{Change, ChangeToken, Marks, Metadata, Notice, Payload, Property, Stored, VersionState};
pub use write::{Features, When, Write, Written};

/// A place that holds secrets.
///
/// A request beyond the first of one call is announced by `pace::request`, so that limits hold for it, too.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// What can be done with this store at all.
    fn features(&self) -> Features;

    /// Reads one key, the latest version or this one: `None` means that the store is certain that it is not there.
    ///
    /// # Errors
    /// Everything else that is not a value. A missing mount, project or namespace is [`Failure::Misconfigured`],
    /// never `None`.
    async fn get(&self, key: &StoreKey, version: Option<&str>) -> Result<Option<Stored>, StoreError>;

    /// The keys that start with `prefix`, whole, in no particular order. Absence from it proves nothing.
    ///
    /// # Errors
    /// As [`Store::get`].
    async fn list(&self, prefix: &str) -> Result<Vec<StoreKey>, StoreError>;

    /// What is known of a key without reading its value; `None`: it is not there. Of a deleted key that can be restored
    /// it says so.
    ///
    /// # Errors
    /// As [`Store::get`].
    async fn metadata(&self, key: &StoreKey) -> Result<Option<Metadata>, StoreError>;

    /// The versions of a key, newest first; none if it is not there.
    ///
    /// # Errors
    /// As [`Store::get`]; [`Failure::Misconfigured`] if the store keeps none.
    async fn versions(&self, key: &StoreKey) -> Result<Vec<Metadata>, StoreError>;

    /// Writes a key, all of it.
    ///
    /// # Errors
    /// As [`Store::get`]; [`Failure::Misconfigured`] for what the store would not keep as it is. Nothing was written
    /// then, unless the failure is transient: that a write got no answer does not tell whether it was made.
    async fn set(&self, key: &StoreKey, write: &Write) -> Result<Written, StoreError>;

    /// Deletes a key, so that it can be restored where the store keeps what is deleted; answers whether it was there.
    ///
    /// # Errors
    /// As [`Store::set`].
    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError>;

    /// Makes the value of an earlier version the latest one, also of a deleted key; answers the version that it has
    /// then. `None`: there is no such version.
    ///
    /// # Errors
    /// As [`Store::set`]; [`Failure::Misconfigured`] if the store keeps no versions.
    async fn restore(&self, key: &StoreKey, version: &str) -> Result<Option<String>, StoreError>;

    /// Is the store reachable, is the login good, what may it do: without reading a value.
    ///
    /// # Errors
    /// As [`Store::get`].
    async fn probe(&self) -> Result<Capabilities, StoreError>;

    /// Whether [`Store::changes`] takes fewer requests than reading so many keys.
    fn lists_changes(&self, keys: usize) -> bool {
        let _ = keys;
        false
    }

    /// The marks of what is listed where these keys are; `None`: reading them one by one is cheaper after all. A key
    /// that is missing here is not thereby absent, and one whose mark is as before (see [`ChangeToken::is_still`]) has
    /// not changed.
    ///
    /// # Errors
    /// As [`Store::get`].
    async fn changes(&self, keys: &[StoreKey]) -> Result<Option<HashMap<StoreKey, ChangeToken>>, StoreError> {
        let _ = keys;
        Ok(None)
    }

    /// Keeps the session alive; answers when it wants to be called again. Called by one task for each store.
    async fn maintain(&self) -> Option<Duration> {
        None
    }

    /// A store that tells changes by itself does so here, and is not polled.
    fn watch(&self) -> Option<BoxStream<'static, Change>> {
        None
    }

    /// A store that can tell that something changed does so here, and is polled all the same: what is lost costs nothing
    /// but time. It never ends, mends itself, and says [`Notice::Anything`] whenever it begins to hear: nobody knows what
    /// was missed before.
    fn notices(&self) -> Option<BoxStream<'static, Notice>> {
        None
    }

    /// Logins since the start, for the metrics.
    fn logins(&self) -> u64 {
        0
    }
}

/// Why a store gave no answer. Cheap to clone: one answer may have many readers.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct StoreError {
    /// Which row of the failure table.
    pub failure: Failure,
    /// What failed, on which store key, and what to do next, in one sentence without a value.
    pub message: Arc<str>,
}

/// The rows of the failure table that a store can cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Failure {
    /// There, but switched off in the store.
    Disabled,
    /// The store rejects the identity.
    Unauthenticated,
    /// The identity may not do this.
    Denied,
    /// The store said slow down, and maybe for how long.
    RateLimited(Option<Duration>),
    /// Network, timeout, TLS, sealed, 5xx.
    Unavailable,
    /// The circuit breaker is open: the store was not asked.
    CircuitOpen,
    /// No such mount, project or namespace; an answer that makes no sense.
    Misconfigured,
    /// A credential or CA that the store object names is not there.
    NotReady,
}

impl Failure {
    /// The reason of `Synced` and of the store's `Ready`.
    pub const fn reason(self) -> Reason {
        match self {
            Self::Disabled => Reason::SecretDisabled,
            Self::Unauthenticated => Reason::AuthenticationFailed,
            Self::Denied => Reason::PermissionDenied,
            Self::RateLimited(_) => Reason::RateLimited,
            Self::Unavailable | Self::CircuitOpen => Reason::StoreUnavailable,
            Self::Misconfigured => Reason::StoreMisconfigured,
            Self::NotReady => Reason::StoreNotReady,
        }
    }

    /// Trying again soon may help.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Unavailable)
    }
}

impl StoreError {
    /// An error with its sentence.
    pub fn new(failure: Failure, message: impl Into<String>) -> Self {
        Self { failure, message: message.into().into() }
    }

    /// What this kind of store cannot do; [`Store::features`] says so, too.
    pub fn unsupported(what: impl std::fmt::Display, instead: &str) -> Self {
        Self::new(Failure::Misconfigured, format!("{what} is not possible: {instead}"))
    }
}

/// Where a store gets credentials from: Secrets and ServiceAccounts on a cluster, the environment on a laptop.
#[async_trait]
pub trait Credentials: Send + Sync + 'static {
    /// One key of a Secret, trimmed of trailing newlines.
    ///
    /// # Errors
    /// [`Failure::NotReady`] when it is not there.
    async fn secret(&self, source: &SecretKeyRef) -> Result<SecretValue, StoreError>;

    /// A short-lived token of a ServiceAccount for these audiences; `None`: the process's own ServiceAccount.
    ///
    /// # Errors
    /// [`Failure::NotReady`] when there is no such identity.
    async fn service_account_token(
        &self,
        account: Option<&ServiceAccountRef>,
        audiences: &[String],
    ) -> Result<SecretValue, StoreError>;

    /// Whether the store may use the identity that the process has from its machine or its environment. A tenant's
    /// may not.
    fn lends_own_identity(&self) -> bool;
}

/// What a connection is made with.
#[derive(Clone)]
pub struct Connector {
    /// CA certificates (PEM) that sign the server's; `None`: what the system trusts.
    pub ca: Option<String>,
    /// Where credentials come from.
    pub credentials: Arc<dyn Credentials>,
    /// The cluster, if there is one.
    pub client: Option<kube::Client>,
    /// Marks of values, for stores that have none of their own.
    pub marks: Marks,
}

/// Speaks to the server that a store object names.
///
/// # Errors
/// When the object's settings cannot be right.
pub fn connect(provider: &Provider, with: Connector) -> Result<Arc<dyn Store>, StoreError> {
    let settings_error = |message: &str| StoreError::new(Failure::Misconfigured, message);
    match provider {
        Provider { azure_key_vault: Some(settings), .. } => {
            Ok(Arc::new(azure::KeyVault::new(settings, with.ca.as_deref(), with.credentials)?))
        }
        Provider { vault: Some(settings), .. } => {
            Ok(Arc::new(vault::Vault::new(settings, with.ca.as_deref(), with.credentials, with.marks)?))
        }
        Provider { infisical: Some(settings), .. } => {
            Ok(Arc::new(infisical::Infisical::new(settings, with.ca.as_deref(), with.credentials, with.marks)?))
        }
        Provider { kubernetes: Some(settings), .. } => {
            let client = with.client.ok_or_else(|| {
                settings_error("the kubernetes store needs a cluster, and there is none: set KUBECONFIG")
            })?;
            let namespace = settings.namespace.clone();
            let namespace =
                namespace.ok_or_else(|| settings_error("spec.provider.kubernetes.namespace is required"))?;
            Ok(Arc::new(kubernetes::Kubernetes::new(client, namespace)))
        }
        other => Err(StoreError::new(
            Failure::NotReady,
            format!(
                "this version does not speak {}: use azureKeyVault, vault, infisical or kubernetes",
                settings::provider_name(other)
            ),
        )),
    }
}
