//! HashiCorp Vault and OpenBao, KV version 2.
//!
//! Over a thin client of our own: the crate `vaultrs` hides response headers (so Retry-After), drops the version of
//! what it reads, tells two kinds of "not there" by two kinds of error, and prints tokens in its `Debug`. What is
//! needed here is five requests.
//!
//! Certain that a key is not there is a 404 with an empty list of errors, on a mount that is known to be KV version 2
//! (a version 1 mount answers the same to everything), or one with the metadata of a deleted version. A missing mount
//! or namespace, and whatever stands between, answers 404 in other ways. Any right on the mount, such as to read
//! `secret/data/acme--*`, suffices to look at it; a login that may not is never certain.

mod login;
mod session;
mod wire;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use reqwest::{Method, StatusCode, Url};
use serde_json::json;
use tokio::sync::Mutex;

use super::{
    Credentials, Failure, Features, Metadata, Store, StoreError, Stored, Write, Written,
    credentials::{is_api_server, own_audience},
    http::Http,
};
use crate::{api, api::Capabilities, naming::StoreKey};
use session::{Ask, Session};
use wire::Missing;

/// Folders inside folders that a list follows.
const MAX_DEPTH: usize = 8;
/// Names, and folders, that a list reads.
const MAX_NAMES: usize = 10_000;
const MAX_FOLDERS: usize = 1_000;
/// A key whose rights are asked about. It is never read, and need not exist.
const PROBED: &str = "secretref-probe";

/// One KV version 2 mount.
pub struct Vault {
    session: Session,
    mount: String,
    /// The login under which the mount was last found to be what it should be.
    mount_seen: Mutex<u64>,
}

impl Vault {
    /// Makes the client; nothing is sent yet.
    ///
    /// # Errors
    /// When the settings cannot be right.
    pub fn new(settings: &api::Vault, ca: Option<&str>, credentials: Arc<dyn Credentials>) -> Result<Self, StoreError> {
        let kubernetes = settings.auth.kubernetes.as_ref();
        if kubernetes.and_then(|k| k.audiences.as_ref()).is_some_and(|list| list.iter().any(|a| is_api_server(a))) {
            return Err(own_audience());
        }
        let http = Http::new(&settings.address, ca.or(settings.ca_bundle.as_deref()))?;
        let session = Session::new(http, settings.namespace.as_deref(), settings.auth.clone(), credentials)?;
        let mount = settings.mount.clone().unwrap_or_else(|| "secret".to_owned());
        Ok(Self { session, mount, mount_seen: Mutex::new(0) })
    }

    fn url(&self, kind: &str, path: &str) -> Result<Url, StoreError> {
        self.session.url(self.mount.split('/').chain([kind]).chain(path.split('/')))
    }

    /// Makes sure that "nothing there" is said by a KV version 2 mount: once for each login.
    async fn certain(&self) -> Result<(), StoreError> {
        let mut seen = self.mount_seen.lock().await;
        let generation = self.session.token().await?.generation;
        if *seen == generation {
            return Ok(());
        }
        if !self.look_at_mount().await? {
            return Err(StoreError::new(
                Failure::Misconfigured,
                format!(
                    "the mount {0} says that there is nothing, but does not show what it is, so that proves nothing: check that it is a KV version 2 mount, that the operator's login has a right on it, and that nothing in front of the server withholds sys/internal/ui/mounts/{0}",
                    self.mount
                ),
            ));
        }
        *seen = generation;
        Ok(())
    }

    /// Whether the token has any right on the mount; an error if it is of another kind.
    async fn look_at_mount(&self) -> Result<bool, StoreError> {
        let what = format!("looking at the mount {}", self.mount);
        let url = self.session.url(["sys", "internal", "ui", "mounts"].into_iter().chain(self.mount.split('/')))?;
        let reply = self.session.ask(&Ask { method: Method::GET, url, body: None, what: &what }).await?;
        match reply.status {
            StatusCode::OK => {
                let mount: wire::Mount = wire::parse::<wire::Data<_>>(&reply, &what)?.data;
                if mount.is_kv2() { Ok(true) } else { Err(self.not_kv2()) }
            }
            // No right on it, or no such mount: the server does not say which, nor to whom it would.
            StatusCode::FORBIDDEN => Ok(false),
            _ => Err(wire::refusal(&reply, &what, "")),
        }
    }

    fn not_kv2(&self) -> StoreError {
        StoreError::new(
            Failure::Misconfigured,
            format!(
                "{0} is not a KV version 2 mount: upgrade it (`vault kv enable-versioning {0}`), or name another in spec.provider.vault.mount",
                self.mount
            ),
        )
    }

    /// What a policy needs for this key.
    fn reader_line(&self, key: &str) -> String {
        let end = [key.find("--").map(|at| at + 2), key.find('/').map(|at| at + 1)].into_iter().flatten().min();
        let path = end.map_or_else(|| key.to_owned(), |end| format!("{}*", &key[..end]));
        format!(
            "the policies of the operator's login do not allow it: add path \"{}/data/{path}\" {{ capabilities = [\"read\"] }} to one",
            self.mount
        )
    }

    /// Names in one folder; a folder ends with a slash.
    async fn folder(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let what = format!("listing {}/{folder}", self.mount);
        let mut url = self.url("metadata", folder)?;
        url.set_query(Some("list=true"));
        let reply = self.session.ask(&Ask { method: Method::GET, url, body: None, what: &what }).await?;
        match reply.status {
            StatusCode::OK => Ok(wire::parse::<wire::Data<wire::Keys>>(&reply, &what)?.data.keys),
            StatusCode::NOT_FOUND if matches!(wire::missing(&reply), Missing::Nothing) => {
                self.certain().await?;
                Ok(Vec::new())
            }
            _ => {
                let line = format!(
                    "the policies of the operator's login do not allow it: add path \"{}/metadata/*\" {{ capabilities = [\"list\"] }} to one",
                    self.mount
                );
                Err(wire::refusal(&reply, &what, &line))
            }
        }
    }

    /// Rights on paths, as the server works them out from the policies.
    async fn rights(&self, paths: &[String]) -> Result<Option<BTreeMap<String, Vec<String>>>, StoreError> {
        let what = "asking what the login may do";
        let url = self.session.url(["sys", "capabilities-self"])?;
        let body = Some(json!({ "paths": paths }));
        let reply = self.session.ask(&Ask { method: Method::POST, url, body, what: &what }).await?;
        match reply.status {
            StatusCode::OK => Ok(Some(wire::parse::<wire::Data<_>>(&reply, &what)?.data)),
            StatusCode::FORBIDDEN => Ok(None),
            _ => Err(wire::refusal(&reply, &what, "")),
        }
    }

    /// Reachable, initialised, unsealed: asked without a token, so that a sealed server is not taken for a bad login.
    async fn health(&self) -> Result<(), StoreError> {
        let what = "probing the server";
        let mut url = self.session.url(["sys", "health"])?;
        url.set_query(Some("standbyok=true&perfstandbyok=true"));
        let reply = self.session.ask_openly(url, &what).await?;
        match reply.status.as_u16() {
            200 | 429 => Ok(()),
            503 => Err(StoreError::new(Failure::Unavailable, "the server is sealed: unseal it")),
            _ => Err(wire::refusal(&reply, &what, "something in front of it does not let requests through")),
        }
    }
}

#[async_trait]
impl Store for Vault {
    fn features(&self) -> Features {
        Features {
            write: false,
            versions: true,
            undelete: false,
            atomic: false,
            maps: true,
            binary: false,
            empty: true,
            exact: true,
            content_type: false,
            tags: false,
            max_value: 1 << 20,
            ignores_case: false,
        }
    }

    async fn get(&self, key: &StoreKey, version: Option<&str>) -> Result<Option<Stored>, StoreError> {
        let what = format!("reading {key}");
        if key.as_str().split('/').any(|s| matches!(s, "" | "." | "..")) {
            return Err(StoreError::new(Failure::Misconfigured, format!("{what} failed: no KV path is spelled so")));
        }
        let mut url = self.url("data", key.as_str())?;
        if let Some(version) = version {
            // 0 would be the latest.
            if !version.parse::<u32>().is_ok_and(|v| v > 0) {
                let message =
                    format!("{what} failed: a version is a whole number from 1 on: correct secretRef.version");
                return Err(StoreError::new(Failure::Misconfigured, message));
            }
            url.set_query(Some(&format!("version={version}")));
        }
        let reply = self.session.ask(&Ask { method: Method::GET, url, body: None, what: &what }).await?;
        match reply.status {
            StatusCode::OK => wire::stored(&reply).map(Some).ok_or_else(|| wire::nonsense(&what)),
            StatusCode::NOT_FOUND => match wire::missing(&reply) {
                Missing::Deleted => Ok(None),
                Missing::Nothing => self.certain().await.map(|()| None),
                Missing::Other => Err(wire::refusal(&reply, &what, "")),
            },
            _ => Err(wire::refusal(&reply, &what, &self.reader_line(key.as_str()))),
        }
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoreKey>, StoreError> {
        let start = prefix.rfind('/').map_or("", |at| &prefix[..=at]);
        let (mut folders, mut keys, mut read) = (vec![(start.to_owned(), 0)], Vec::new(), 0);
        while let Some((folder, depth)) = folders.pop() {
            read += 1;
            for name in self.folder(&folder).await? {
                let path = format!("{folder}{name}");
                if !path.starts_with(prefix) {
                    continue;
                }
                if name.ends_with('/') { folders.push((path, depth + 1)) } else { keys.push(StoreKey::verbatim(path)) }
            }
            if keys.len() > MAX_NAMES || read + folders.len() > MAX_FOLDERS || folders.iter().any(|f| f.1 > MAX_DEPTH) {
                let message = format!(
                    "listing {prefix}* failed: too many names or folders: use a longer prefix, or fewer folders"
                );
                return Err(StoreError::new(Failure::Misconfigured, message));
            }
        }
        Ok(keys)
    }

    async fn metadata(&self, key: &StoreKey) -> Result<Option<Metadata>, StoreError> {
        Err(StoreError::unsupported(format!("describing {key}"), "not yet"))
    }

    async fn versions(&self, key: &StoreKey) -> Result<Vec<Metadata>, StoreError> {
        Err(StoreError::unsupported(format!("listing versions of {key}"), "not yet"))
    }

    async fn set(&self, key: &StoreKey, _: &Write) -> Result<Written, StoreError> {
        Err(StoreError::unsupported(format!("writing {key}"), "not yet"))
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        Err(StoreError::unsupported(format!("deleting {key}"), "not yet"))
    }

    async fn restore(&self, key: &StoreKey, _: &str) -> Result<Option<String>, StoreError> {
        Err(StoreError::unsupported(format!("restoring {key}"), "not yet"))
    }

    async fn probe(&self) -> Result<Capabilities, StoreError> {
        self.health().await?;
        let token = self.session.check().await?;
        let mount = &self.mount;
        let data = ["GLOBAL--", "GLOBAL/"].map(|scope| format!("{mount}/data/{scope}{PROBED}"));
        let names = format!("{mount}/metadata/");
        let rights = self.rights(&[&data[..], std::slice::from_ref(&names)].concat()).await?;
        let may = |path: &str, right: &str| {
            rights.as_ref().and_then(|all| all.get(path)).is_some_and(|r| r.iter().any(|r| r == right || r == "root"))
        };
        let get = data.iter().any(|path| may(path, "read"));
        let looked = self.look_at_mount().await;
        *self.mount_seen.lock().await = if matches!(looked, Ok(true)) { token.generation } else { 0 };
        match (looked?, get) {
            // Policies may be for each organisation: what is denied to GLOBAL says little, some right says enough.
            (true, _) => Ok(Capabilities {
                get: true,
                list: may(&names, "list"),
                write: data.iter().any(|path| may(path, "create") && may(path, "update") || may(path, "root")),
            }),
            // A policy allows reading there, but the server shows no such mount.
            (false, true) => Err(StoreError::new(
                Failure::Misconfigured,
                format!("there is no mount {mount}: create it, or correct spec.provider.vault.mount"),
            )),
            (false, false) => Err(StoreError::new(
                Failure::Denied,
                format!(
                    "the policies of the operator's login allow nothing on the mount {mount}, or there is no such mount: add path \"{mount}/data/*\" {{ capabilities = [\"read\"] }} to one"
                ),
            )),
        }
    }

    async fn maintain(&self) -> Option<Duration> {
        Some(self.session.maintain().await)
    }

    fn logins(&self) -> u64 {
        self.session.logins()
    }
}

#[cfg(test)]
mod tests;
