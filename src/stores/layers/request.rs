//! What a store is asked, what it answers, and how much memory that takes.

use std::{sync::Arc, time::Duration};

use super::super::{Payload, Property, Store, StoreError, Stored};
use crate::{audit::AuditOperation, naming::StoreKey, secret::SecretValue};

/// For how long "there is no such key" may stay in memory: somebody may be creating it right now.
const ABSENT: Duration = Duration::from_secs(30);

/// A question to one store.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) enum Request {
    Get { key: StoreKey, version: Option<Box<str>> },
    List { prefix: Box<str> },
}

/// A question with its place: nothing is shared between stores, nor between generations of one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) uid: Arc<str>,
    pub(super) generation: i64,
    pub(super) request: Request,
}

/// An answer; many may hold it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Value(Option<Arc<Stored>>),
    Keys(Arc<Vec<StoreKey>>),
}

impl Request {
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Self::Get { .. } => "get",
            Self::List { .. } => "list",
        }
    }

    pub(super) const fn operation(&self) -> AuditOperation {
        match self {
            Self::Get { .. } => AuditOperation::Get,
            Self::List { .. } => AuditOperation::List,
        }
    }

    /// The key, or the pattern of keys.
    pub(super) fn path(&self) -> String {
        match self {
            Self::Get { key, .. } => key.as_str().to_owned(),
            Self::List { prefix } => format!("{prefix}*"),
        }
    }

    pub(super) async fn ask(&self, store: &dyn Store) -> Result<Answer, StoreError> {
        match self {
            Self::Get { key, version } => {
                store.get(key, version.as_deref()).await.map(|stored| Answer::Value(stored.map(Arc::new)))
            }
            Self::List { prefix } => store.list(prefix).await.map(|keys| Answer::Keys(Arc::new(keys))),
        }
    }
}

impl Place {
    pub(super) fn bytes(&self) -> usize {
        match &self.request {
            Request::Get { key, version } => key.as_str().len() + version.as_ref().map_or(0, |v| v.len()),
            Request::List { prefix } => prefix.len(),
        }
    }
}

impl Answer {
    /// The result as metrics and logs name it.
    pub(super) const fn result(&self) -> &'static str {
        match self {
            Self::Value(None) => "not_found",
            Self::Value(Some(_)) | Self::Keys(_) => "success",
        }
    }

    /// For how long it may stay in memory. A list says what is not there, too.
    pub(super) fn keep_for(&self, ttl: Duration) -> Duration {
        match self {
            Self::Value(Some(_)) => ttl,
            Self::Value(None) | Self::Keys(_) => ttl.min(ABSENT),
        }
    }

    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Value(None) => 0,
            Self::Value(Some(stored)) => {
                payload(&stored.payload)
                    + stored.token.as_str().len()
                    + stored.version.as_ref().map_or(0, String::len)
                    + stored.warning.as_ref().map_or(0, String::len)
            }
            Self::Keys(keys) => keys.iter().map(|key| size_of::<StoreKey>() + key.as_str().len()).sum(),
        }
    }
}

fn payload(payload: &Payload) -> usize {
    match payload {
        Payload::Single(value) => value.len(),
        Payload::Map(properties) => properties
            .iter()
            .map(|(name, property)| {
                let value = match property {
                    Property::Text(value) | Property::Json(value) => SecretValue::len(value),
                    Property::Null => 0,
                };
                size_of::<(String, Property)>() + name.len() + value
            })
            .sum(),
    }
}
