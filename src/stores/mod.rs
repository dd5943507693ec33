//! One trait, one file for each store, and the layers around all of them.
//!
//! A store file speaks its protocol and maps its errors to [`Failure`], nothing else: cache, single flight, limits,
//! retry, circuit breaker, audit and metrics are in [`layers`], once. The next store is one file and one arm in
//! [`connect`].

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::stream::BoxStream;
use thiserror::Error;

use crate::{
    api::{Capabilities, Provider, Reason, SecretKeyRef, ServiceAccountRef},
    naming::StoreKey,
    secret::SecretValue,
};

pub mod credentials;
pub(crate) mod http;
pub mod kubernetes;
pub mod layers;
pub mod settings;
pub mod vault;

pub use credentials::ClusterCredentials;
pub use settings::{Settings, scheme, settings};

/// A place that holds secrets.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Reads one key: `None` means that the store is certain that it is not there.
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

    /// Is the store reachable, is the login good, what may it do: without reading a value.
    ///
    /// # Errors
    /// As [`Store::get`].
    async fn probe(&self) -> Result<Capabilities, StoreError>;

    /// Keeps the session alive; answers when it wants to be called again. Called by one task for each store.
    async fn maintain(&self) -> Option<Duration> {
        None
    }

    /// A store that tells changes by itself does so here, and is not polled.
    fn watch(&self) -> Option<BoxStream<'static, Change>> {
        None
    }

    /// Logins since the start, for the metrics.
    fn logins(&self) -> u64 {
        0
    }
}

/// What a store holds under one key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The value or values.
    pub payload: Payload,
    /// The store's name for this version.
    pub version: Option<String>,
    /// Changes whenever the value may have changed.
    pub token: ChangeToken,
    /// Why the value should soon be replaced (expired, not yet valid), if so.
    pub warning: Option<String>,
}

/// One value, or a map of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    /// Key Vault, Infisical: the value itself.
    Single(SecretValue),
    /// Vault, Kubernetes: properties.
    Map(BTreeMap<String, Property>),
}

/// One property of a map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Property {
    /// Text or bytes.
    Text(SecretValue),
    /// What is not a string, as compact JSON.
    Json(SecretValue),
    /// There, but null.
    Null,
}

/// The store's own mark of a state of a key; opaque, never a value or a hash of one that can be guessed.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ChangeToken(Box<str>);

impl ChangeToken {
    /// Wraps the store's mark.
    pub fn new(mark: impl Into<Box<str>>) -> Self {
        Self(mark.into())
    }

    /// The mark.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ChangeToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a store that tells changes by itself has to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// This key is now in this state; `None`: it was removed.
    Key(StoreKey, Option<ChangeToken>),
    /// This is all there is: keys that are not listed were removed.
    All(Vec<(StoreKey, ChangeToken)>),
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
}

/// Speaks to the server that a store object names.
///
/// # Errors
/// When the object's settings cannot be right.
pub fn connect(
    provider: &Provider,
    ca: Option<String>,
    credentials: Arc<dyn Credentials>,
    client: Option<kube::Client>,
) -> Result<Arc<dyn Store>, StoreError> {
    let settings_error = |message: &str| StoreError::new(Failure::Misconfigured, message);
    match provider {
        Provider { vault: Some(settings), .. } => {
            Ok(Arc::new(vault::Vault::new(settings, ca.as_deref(), credentials)?))
        }
        Provider { kubernetes: Some(settings), .. } => {
            let client = client.ok_or_else(|| {
                settings_error("the kubernetes store needs a cluster, and there is none: set KUBECONFIG")
            })?;
            let namespace = settings.namespace.clone();
            let namespace =
                namespace.ok_or_else(|| settings_error("spec.provider.kubernetes.namespace is required"))?;
            Ok(Arc::new(kubernetes::Kubernetes::new(client, namespace)))
        }
        other => Err(StoreError::new(
            Failure::NotReady,
            format!("this version does not speak {}: use vault or kubernetes", settings::provider_name(other)),
        )),
    }
}
