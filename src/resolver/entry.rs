//! A value with its kind and its origin, and why there is none.

use thiserror::Error;

use super::LocalPlace;
use crate::{
    api::{EntryScope, Reason},
    resolve::Problem,
    secret::SecretValue,
    stores::StoreError,
};

/// What kind of value an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ValueKind {
    /// Plain text.
    String,
    /// A plain whole number.
    Int,
    /// A plain `true` or `false`.
    Bool,
    /// Plain JSON.
    Json,
    /// A secret: never to be shown unasked.
    Secret,
}

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It stands in the configuration.
    Configuration,
    /// A local value.
    Local(LocalPlace),
    /// A store.
    Store {
        /// Its name.
        store: String,
        /// In which scope.
        scope: EntryScope,
        /// The store's name for the version.
        version: Option<String>,
    },
    /// A template made it from others.
    Template,
}

/// One value. It cannot be printed by accident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigValue {
    pub(super) value: SecretValue,
    pub(super) kind: ValueKind,
    pub(super) source: Source,
}

impl ConfigValue {
    /// The value.
    pub const fn value(&self) -> &SecretValue {
        &self.value
    }

    /// Its kind.
    pub const fn kind(&self) -> ValueKind {
        self.kind
    }

    /// Where it came from.
    pub const fn source(&self) -> &Source {
        &self.source
    }

    /// Whether it must not be shown unasked.
    pub fn is_secret(&self) -> bool {
        self.kind == ValueKind::Secret
    }
}

/// Why there is no value. Never with a value in it.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{}: {message}", reason.as_str())]
pub struct ResolveError {
    /// The same as `Synced` would have on a cluster.
    pub reason: Reason,
    /// What failed, on which store key, and what to do next; the same as on a cluster, unless local values count.
    pub message: String,
    /// What only this side knows: the store's own sentence, or a name that was probably meant.
    pub hint: Option<String>,
}

impl ResolveError {
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), hint: None }
    }

    pub(super) fn unknown_key(key: &str, near: &str) -> Self {
        Self::new(
            Reason::InvalidReference,
            format!("{key}: no configuration has this key{near}: correct the key, or add it"),
        )
    }

    /// Whether a store could not be asked or refused, in contrast to an answer that is no.
    pub fn is_of_store(&self) -> bool {
        matches!(
            self.reason,
            Reason::AuthenticationFailed
                | Reason::PermissionDenied
                | Reason::RateLimited
                | Reason::StoreUnavailable
                | Reason::StoreMisconfigured
                | Reason::StoreNotReady
        )
    }
}

impl From<Problem> for ResolveError {
    fn from(problem: Problem) -> Self {
        Self::new(problem.reason, problem.message)
    }
}

impl From<StoreError> for ResolveError {
    fn from(error: StoreError) -> Self {
        Self::new(error.failure.reason(), &*error.message)
    }
}
