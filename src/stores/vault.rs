//! HashiCorp Vault and OpenBao: KV version 2, and version 1 to read from.
//!
//! Over a thin client of our own: the crate `vaultrs` hides response headers (so Retry-After), drops the version of
//! what it reads, tells two kinds of "not there" by two kinds of error, and prints tokens in its `Debug`. What is
//! needed here is a dozen requests.
//!
//! Certain that a key is not there is a 404 with an empty list of errors, on a mount that is known to be of the kind
//! that was asked (a version 1 mount answers the same to every question for a version 2 one), or one with the metadata
//! of a deleted version. A missing mount or namespace, and whatever stands between, answers 404 in other ways. Any
//! right on the mount, such as to read `secret/data/acme--*`, suffices to look at it; a login that may not is never
//! certain, and never writes.

mod describe;
mod events;
mod login;
mod mount;
mod probe;
mod read;
mod session;
mod wire;
mod wrapped;
mod write;

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use reqwest::{Method, Url};
use serde::Serialize;
use tokio::sync::Mutex;

use super::{
    Credentials, Failure, Features, Marks, Metadata, Notice, Store, StoreError, Stored, Write, Written, body,
    credentials::{is_api_server, own_audience},
    http::{Http, Reply},
    streams,
};
use crate::{api, api::Capabilities, naming::StoreKey};
use events::Events;
use mount::Seen;
use session::{Ask, Session};

/// One mount.
pub struct Vault {
    session: Arc<Session>,
    mount: String,
    /// Version 1 has no mark of a state.
    marks: Marks,
    seen: Mutex<Seen>,
    /// Last found to be of version 1.
    plain: AtomicBool,
}

impl Vault {
    /// Makes the client; nothing is sent yet.
    ///
    /// # Errors
    /// When the settings cannot be right.
    pub fn new(
        settings: &api::Vault,
        ca: Option<&str>,
        credentials: Arc<dyn Credentials>,
        marks: Marks,
    ) -> Result<Self, StoreError> {
        let kubernetes = settings.auth.kubernetes.as_ref();
        if kubernetes.and_then(|k| k.audiences.as_ref()).is_some_and(|list| list.iter().any(|a| is_api_server(a))) {
            return Err(own_audience());
        }
        let http = Http::new(&settings.address, ca.or(settings.ca_bundle.as_deref()))?;
        let session = Arc::new(Session::new(http, settings.namespace.as_deref(), settings.auth.clone(), credentials)?);
        let mount = settings.mount.clone().unwrap_or_else(|| "secret".to_owned());
        Ok(Self { session, mount, marks, seen: Mutex::default(), plain: AtomicBool::new(false) })
    }

    /// The URL of a key or folder; `kind` is `data`, `metadata` and so on, or nothing on a mount of version 1.
    fn url(&self, kind: Option<&str>, path: &str) -> Result<Url, StoreError> {
        self.session.url(self.mount.split('/').chain(kind).chain(path.split('/')))
    }

    async fn read(&self, url: Url, what: &str) -> Result<Reply, StoreError> {
        self.session.ask(&Ask { method: Method::GET, url, body: None, what: &what }).await
    }

    async fn post(&self, url: Url, content: &impl Serialize, what: &str) -> Result<Reply, StoreError> {
        let body = body::json(content).map_err(|_| {
            let message = format!("{what} failed: it holds what JSON cannot: write such bytes as Base64 text");
            StoreError::new(Failure::Misconfigured, message)
        })?;
        self.session.ask(&Ask { method: Method::POST, url, body: Some(body), what: &what }).await
    }

    /// What a policy needs for this key and those of its scope.
    fn line(&self, kind: Option<&str>, key: &str, capabilities: &str) -> String {
        let end = [key.find("--").map(|at| at + 2), key.find('/').map(|at| at + 1)].into_iter().flatten().min();
        let path = end.map_or_else(|| key.to_owned(), |end| format!("{}*", &key[..end]));
        let kind = kind.map(|kind| format!("{kind}/")).unwrap_or_default();
        format!(
            "the policies of the operator's login do not allow it: add path \"{}/{kind}{path}\" {{ capabilities = [{capabilities}] }} to one",
            self.mount
        )
    }
}

/// Refuses what no KV path is spelled as.
fn check(key: &StoreKey, what: &str) -> Result<(), StoreError> {
    if key.as_str().split('/').any(|s| matches!(s, "" | "." | "..")) {
        let message = format!("{what} failed: no KV path is spelled so: use segments of text between single '/'");
        return Err(StoreError::new(Failure::Misconfigured, message));
    }
    Ok(())
}

/// A version as the server numbers them: from 1, and 0 would be the latest.
fn number(version: &str) -> Option<u64> {
    let number = version.parse::<u32>().ok().filter(|n| *n > 0 && n.to_string() == version)?;
    Some(number.into())
}

fn no_version(what: &str) -> StoreError {
    let message = format!("{what} failed: a version is a whole number from 1 on: correct secretRef.version");
    StoreError::new(Failure::Misconfigured, message)
}

#[async_trait]
impl Store for Vault {
    fn features(&self) -> Features {
        let versioned = !self.is_plain();
        Features {
            write: versioned,
            versions: versioned,
            undelete: versioned,
            atomic: versioned,
            maps: true,
            binary: false,
            empty: true,
            exact: true,
            content_type: false,
            tags: versioned,
            // Raft storage takes 1 MiB with everything around it.
            max_value: 1_000_000,
            ignores_case: false,
        }
    }

    async fn get(&self, key: &StoreKey, version: Option<&str>) -> Result<Option<Stored>, StoreError> {
        self.get_of_either_kind(key, version).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoreKey>, StoreError> {
        self.list_folders(prefix).await
    }

    async fn metadata(&self, key: &StoreKey) -> Result<Option<Metadata>, StoreError> {
        self.describe(key).await
    }

    async fn versions(&self, key: &StoreKey) -> Result<Vec<Metadata>, StoreError> {
        self.describe_versions(key).await
    }

    async fn set(&self, key: &StoreKey, write: &Write) -> Result<Written, StoreError> {
        self.write(key, write).await
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        self.delete_latest(key).await
    }

    async fn restore(&self, key: &StoreKey, version: &str) -> Result<Option<String>, StoreError> {
        self.bring_back(key, version).await
    }

    async fn probe(&self) -> Result<Capabilities, StoreError> {
        self.look_around().await
    }

    async fn maintain(&self) -> Option<Duration> {
        Some(self.session.maintain().await)
    }

    fn notices(&self) -> Option<BoxStream<'static, Notice>> {
        Some(streams::follow(Events { session: self.session.clone(), mount: self.mount.clone() }))
    }

    fn logins(&self) -> u64 {
        self.session.logins()
    }
}

#[cfg(test)]
mod tests;
