//! Infisical, its API of 2024 (v3, workspaces) and the one of today (v4, projects).
//!
//! Over a thin client of our own: there is no crate that knows folders, versions, a CA of one's own, renewal or the
//! newer API.
//!
//! Certain that a key is not there is a 404 that says so of its name: the server looked into a folder that is there. An
//! organisation without secrets of its own has no folder: a 404 that says so of the key's folder is certain once the
//! environment and the root folder are known to be there. A list is never certain: of what does not exist it is empty.

mod api;
mod events;
mod list;
mod login;
mod look;
mod place;
mod session;
mod sse;
mod wire;
mod write;

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use futures::stream::BoxStream;
use reqwest::{Method, StatusCode};
use tokio::{sync::Mutex, time::Instant};

use super::{
    ChangeToken, Credentials, Failure, Features, Marks, Metadata, Notice, Payload, Store, StoreError, Stored,
    VersionState, Write, Written,
    credentials::{is_api_server, own_audience},
    http::{Http, Reply},
    streams,
};
use crate::{api as settings, api::Capabilities, naming::StoreKey};
use api::Generation;
use events::Events;
use place::{Place, Root};
use session::Session;
use wire::Missing;

/// A name that is asked for to see what the identity may do. It is never to be created.
const PROBED: &str = "SECRETREF_PROBE";
/// More than a Secret may hold at all is not worth sending.
const MAX_VALUE: usize = 512 << 10;
/// What a role needs to read.
const READ: &str = "Secrets: Describe and Read Value (on older servers Read)";

/// One environment of one project, from a root folder on.
pub struct Infisical {
    session: Arc<Session>,
    project: String,
    environment: String,
    root: Root,
    marks: Marks,
    /// What the server speaks, as found out for which login.
    generation: Mutex<Option<(u64, Generation)>>,
    /// When environment and root folder were last seen.
    seen: Mutex<Option<Instant>>,
    /// Whether the last write was let through.
    writes: AtomicBool,
}

impl Infisical {
    /// Makes the client; nothing is sent yet.
    ///
    /// # Errors
    /// When the settings cannot be right.
    pub fn new(
        settings: &settings::Infisical,
        ca: Option<&str>,
        credentials: Arc<dyn Credentials>,
        marks: Marks,
    ) -> Result<Self, StoreError> {
        let kubernetes = settings.auth.kubernetes.as_ref();
        if kubernetes.and_then(|k| k.audiences.as_ref()).is_some_and(|list| list.iter().any(|a| is_api_server(a))) {
            return Err(own_audience());
        }
        let http = Http::new(&settings.host_url, ca.or(settings.ca_bundle.as_deref()))?;
        Ok(Self {
            session: Arc::new(Session::new(http, settings.auth.clone(), credentials)),
            project: settings.project_id.clone(),
            environment: settings.environment.clone(),
            root: Root::new(settings.root_path.as_deref()),
            marks,
            generation: Mutex::default(),
            seen: Mutex::default(),
            writes: AtomicBool::new(false),
        })
    }

    fn place(&self, key: &StoreKey, what: &str) -> Result<Place, StoreError> {
        self.root.place(key.as_str()).ok_or_else(|| {
            let message = format!(
                "{what} failed: no Infisical secret is called so: use letters, digits, '_', '-' and, in the name, '.'"
            );
            StoreError::new(Failure::Misconfigured, message)
        })
    }

    /// What a role needs for this in a folder.
    fn grant(&self, rights: &str, folder: &str) -> String {
        // Of an organisation one sentence says enough.
        let below = folder.strip_prefix(self.root.path()).unwrap_or(folder).trim_start_matches('/');
        let scope = below.split('/').next().unwrap_or_default();
        let path = if scope.is_empty() {
            self.root.path().to_owned()
        } else {
            format!("{}/{scope}/**", self.root.path().trim_end_matches('/'))
        };
        format!(
            "the identity's role does not allow it: give it {rights} on environment {}, path {path}",
            self.environment
        )
    }

    /// Remembers what a write says of the identity's rights.
    fn wrote(&self, written: &Result<Written, StoreError>) {
        match written {
            Ok(Written::Version(_)) => self.writes.store(true, Ordering::Relaxed),
            Err(error) if error.failure == Failure::Denied => self.writes.store(false, Ordering::Relaxed),
            Ok(Written::Conflict) | Err(_) => {}
        }
    }

    fn hidden(&self, what: &str, folder: &str) -> StoreError {
        let grant = self.grant(READ, folder);
        StoreError::new(Failure::Denied, format!("{what} failed: the server keeps the value back, since {grant}"))
    }

    /// Reads what `query` asks of a key; `None`: certainly not there.
    async fn read(&self, place: &Place, query: &[(&str, &str)], what: &str) -> Result<Option<Reply>, StoreError> {
        let reply = self.get_secret(&place.folder, &place.name, query, what).await?;
        match reply.status {
            StatusCode::OK => Ok(Some(reply)),
            StatusCode::NOT_FOUND => match wire::missing(&reply, &place.folder, &place.name) {
                Missing::Secret => Ok(None),
                Missing::Folder => self.certain().await.map(|()| None),
                Missing::Other => Err(wire::refusal(&reply, &what, "")),
            },
            _ => Err(wire::refusal(&reply, &what, &self.grant(READ, &place.folder))),
        }
    }

    fn answer<'a, T: serde::Deserialize<'a>>(
        &self,
        reply: &'a Reply,
        folder: &str,
        what: &str,
    ) -> Result<T, StoreError> {
        match reply.status {
            StatusCode::OK => wire::borrowed(reply, &what),
            _ => Err(wire::refusal(reply, &what, &self.grant(READ, folder))),
        }
    }
}

#[async_trait]
impl Store for Infisical {
    fn features(&self) -> Features {
        Features {
            write: true,
            versions: false,
            undelete: false,
            atomic: false,
            maps: false,
            binary: false,
            empty: true,
            exact: false,
            content_type: false,
            tags: false,
            max_value: MAX_VALUE,
            ignores_case: false,
        }
    }

    async fn get(&self, key: &StoreKey, version: Option<&str>) -> Result<Option<Stored>, StoreError> {
        let what = format!("reading {key}");
        let place = self.place(key, &what)?;
        let wrong = |why: &str| Err(StoreError::new(Failure::Misconfigured, format!("{what} failed: {why}")));
        if version.is_some_and(|version| !version.parse::<u32>().is_ok_and(|v| v > 0)) {
            return wrong("a version is a whole number from 1 on: correct secretRef.version");
        }
        let query = [("viewSecretValue", "true"), ("expandSecretReferences", "true"), ("include_imports", "true")];
        let Some(mut reply) = self.read(&place, &query, &what).await? else { return Ok(None) };
        // The latest comes first: of a deleted secret the server would still give a former version.
        if let Some(version) = version
            && version.parse() != Ok(wire::version(&reply, &what)?)
            && self.generation().await? == Generation::V4
        {
            let query = [&query[..], &[("version", version)]].concat();
            let Some(former) = self.read(&place, &query, &what).await? else { return Ok(None) };
            reply = former;
        }
        let secret = wire::borrowed::<wire::One<'_>>(&reply, &what)?.secret;
        if secret.secret_value_hidden {
            return Err(self.hidden(&what, &place.folder));
        }
        let found = secret.version.to_string();
        // Older servers look at the number and forget it; imports have their latest version only.
        if version.is_some_and(|wanted| wanted.parse() != Ok(secret.version)) {
            return wrong(&format!(
                "the server gives the latest version only, which is {found}: remove secretRef.version, or pin that one until it is replaced"
            ));
        }
        let value = secret.value().ok_or_else(|| wire::nonsense(&what))?;
        let token = self.marks.of(key, &value);
        Ok(Some(Stored { payload: Payload::Single(value), version: Some(found), token, warning: None }))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoreKey>, StoreError> {
        self.names(prefix).await
    }

    async fn metadata(&self, key: &StoreKey) -> Result<Option<Metadata>, StoreError> {
        let what = format!("describing {key}");
        let place = self.place(key, &what)?;
        // Older servers do not know of it, and send the value: it is dropped unread.
        let query = [("viewSecretValue", "false"), ("include_imports", "true")];
        let Some(reply) = self.read(&place, &query, &what).await? else { return Ok(None) };
        let secret = wire::borrowed::<wire::One<'_>>(&reply, &what)?.secret;
        let mut metadata = Metadata::new(Some(secret.version.to_string()), VersionState::Enabled);
        (metadata.created, metadata.updated) = (secret.created(), secret.updated());
        Ok(Some(metadata))
    }

    async fn versions(&self, key: &StoreKey) -> Result<Vec<Metadata>, StoreError> {
        Err(StoreError::unsupported(
            format!("listing versions of {key}"),
            "Infisical shows them to users only, not to machine identities: look at the secret in its dashboard",
        ))
    }

    async fn set(&self, key: &StoreKey, write: &Write) -> Result<Written, StoreError> {
        let what = format!("writing {key}");
        let place = self.place(key, &what)?;
        let text = write::text(write, &what)?;
        let written = self.put(&place, &text, &write.when, &what).await;
        self.wrote(&written);
        written
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        let what = format!("deleting {key}");
        let place = self.place(key, &what)?;
        let reply = self.write_secret(Method::DELETE, &place.folder, &place.name, None, &what).await?;
        Ok(self.changed(&reply, &place, "Secrets: Delete", &what).await?.is_some())
    }

    async fn restore(&self, key: &StoreKey, _: &str) -> Result<Option<String>, StoreError> {
        Err(StoreError::unsupported(
            format!("restoring {key}"),
            "Infisical lets users do it only, not machine identities: roll the secret back in its dashboard",
        ))
    }

    async fn probe(&self) -> Result<Capabilities, StoreError> {
        self.look().await
    }

    fn lists_changes(&self, keys: usize) -> bool {
        keys > 1
    }

    async fn changes(&self, keys: &[StoreKey]) -> Result<Option<HashMap<StoreKey, ChangeToken>>, StoreError> {
        self.marks_of(keys).await
    }

    async fn maintain(&self) -> Option<Duration> {
        Some(self.session.maintain().await)
    }

    fn notices(&self) -> Option<BoxStream<'static, Notice>> {
        Some(streams::follow(Events {
            session: self.session.clone(),
            project: self.project.clone(),
            environment: self.environment.clone(),
            root: self.root.clone(),
        }))
    }

    fn logins(&self) -> u64 {
        self.session.logins()
    }
}
