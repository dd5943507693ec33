//! Infisical, its API of 2024 (v3, workspaces) and the one of today (v4, projects).
//!
//! Over a thin client of our own: there is no crate that knows folders, versions, a CA of one's own, renewal or the
//! newer API.
//!
//! Certain that a key is not there is a 404 that says so of its name: the server looked into a folder that is there. An
//! organisation without secrets of its own has no folder: a 404 that says so of the key's folder is certain once the
//! environment and the root folder are known to be there. A list is never certain: of what does not exist it is empty.

mod api;
mod login;
mod place;
mod session;
mod wire;
mod write;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use async_trait::async_trait;
use reqwest::{Method, StatusCode};
use tokio::{sync::Mutex, time::Instant};

use super::{
    ChangeToken, Credentials, Failure, Features, Marks, Metadata, Payload, Store, StoreError, Stored, VersionState,
    Write, Written,
    credentials::{is_api_server, own_audience},
    http::{Http, Reply},
};
use crate::{api as settings, api::Capabilities, naming::StoreKey};
use api::{Generation, Lists};
use place::{Place, Root};
use session::Session;
use wire::Missing;

/// For so long environment and root folder are taken to be there. Each probe looks at them, too.
const TRUSTED: Duration = Duration::from_secs(60);
/// Names, and folders, that a list reads.
const MAX_NAMES: usize = 10_000;
const MAX_FOLDERS: usize = 1_000;
/// A name that is asked for to see what the identity may do. It is never to be created.
const PROBED: &str = "SECRETREF_PROBE";
/// What a role needs to read.
const READ: &str = "Secrets: Describe and Read Value (on older servers Read)";

/// One environment of one project, from a root folder on.
pub struct Infisical {
    session: Session,
    project: String,
    environment: String,
    root: Root,
    marks: Marks,
    /// What the server speaks, as found out for which login.
    generation: Mutex<Option<(u64, Generation)>>,
    /// When environment and root folder were last seen.
    seen: Mutex<Option<Instant>>,
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
            session: Session::new(http, settings.auth.clone(), credentials),
            project: settings.project_id.clone(),
            environment: settings.environment.clone(),
            root: Root::new(settings.root_path.as_deref()),
            marks,
            generation: Mutex::default(),
            seen: Mutex::default(),
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

    fn hidden(&self, what: &str, folder: &str) -> StoreError {
        let grant = self.grant(READ, folder);
        StoreError::new(Failure::Denied, format!("{what} failed: the server keeps the value back, since {grant}"))
    }

    /// Makes sure that a missing folder is one in an environment and a root folder that are there.
    async fn certain(&self) -> Result<(), StoreError> {
        let mut seen = self.seen.lock().await;
        if !seen.is_some_and(|at| at.elapsed() < TRUSTED) {
            let begun = Instant::now();
            self.look_at_root().await?;
            *seen = Some(begun);
        }
        Ok(())
    }

    /// Looks for environment and root folder. Every member of the project may list folders.
    async fn look_at_root(&self) -> Result<(), StoreError> {
        let what = format!("looking at folder {} of environment {}", self.root.path(), self.environment);
        let member = "the identity may not list folders: give it a role in the project (Viewer, or one that may read secrets)";
        let parent = self.root.parent();
        let reply = self.list_folders(parent.map_or("/", |(parent, _)| parent), &what).await?;
        if reply.status != StatusCode::OK {
            return Err(wire::refusal(&reply, &what, member));
        }
        let folders = wire::parse::<wire::Folders>(&reply, &what)?.folders;
        match parent {
            Some((_, name)) if folders.iter().any(|folder| folder.name == name) => Ok(()),
            Some(_) => Err(StoreError::new(
                Failure::Misconfigured,
                format!("{what} failed: it is not there: create it, or correct spec.provider.infisical.rootPath"),
            )),
            None if !folders.is_empty() => Ok(()),
            // No folder at all is said of an environment that is new; of one that is not there a read says so.
            None => self.may_read("/", &what).await.map(|_| ()),
        }
    }

    /// Whether the identity may read in a folder, as far as a name that is not there can tell.
    async fn may_read(&self, folder: &str, what: &str) -> Result<bool, StoreError> {
        let reply = self.get_secret(folder, PROBED, &[("viewSecretValue", "false")], what).await?;
        match reply.status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND if wire::missing(&reply, folder, PROBED) == Missing::Secret => Ok(true),
            _ => match wire::refusal(&reply, &what, &self.grant(READ, folder)) {
                error if error.failure == Failure::Denied && reply.status == StatusCode::FORBIDDEN => Ok(false),
                error => Err(error),
            },
        }
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

    /// Names in folders, each with its imports, from one folder on.
    async fn walk(&self, start: String, what: &str) -> Result<Vec<StoreKey>, StoreError> {
        let (mut folders, mut keys, mut read) = (VecDeque::from([start]), Vec::new(), 0);
        while let Some(folder) = folders.pop_front() {
            read += 1;
            let reply = self.list_secrets(&folder, Lists::Names, what).await?;
            let listed: wire::Listed<'_> = self.answer(&reply, &folder, what)?;
            keys.extend(listed.merged().keys().filter_map(|name| self.root.key(&folder, name)));
            let reply = self.list_folders(&folder, what).await?;
            let inside: wire::Folders = self.answer(&reply, &folder, what)?;
            folders.extend(inside.folders.iter().map(|f| format!("{}/{}", folder.trim_end_matches('/'), f.name)));
            if keys.len() > MAX_NAMES || read + folders.len() > MAX_FOLDERS {
                return Err(too_many(what));
            }
        }
        Ok(keys)
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

    async fn health(&self) -> Result<(), StoreError> {
        let what = "asking for the server's health";
        let reply = self.session.ask_openly(self.session.url(["api", "status"])?, &what).await?;
        match reply.status {
            StatusCode::OK if wire::is_own(&reply) => Ok(()),
            StatusCode::OK => Err(wire::nonsense(&what)),
            _ => Err(wire::refusal(&reply, &what, "something in front of it does not let requests through")),
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
            max_value: 512 << 10,
            ignores_case: false,
        }
    }

    async fn get(&self, key: &StoreKey, version: Option<&str>) -> Result<Option<Stored>, StoreError> {
        let what = format!("reading {key}");
        let place = self.place(key, &what)?;
        let wrong = |why: &str| Err(StoreError::new(Failure::Misconfigured, format!("{what} failed: {why}")));
        let mut query =
            vec![("viewSecretValue", "true"), ("expandSecretReferences", "true"), ("include_imports", "true")];
        if let Some(version) = version {
            if !version.parse::<u32>().is_ok_and(|v| v > 0) {
                return wrong("a version is a whole number from 1 on: correct secretRef.version");
            }
            query.push(("version", version));
        }
        let Some(reply) = self.read(&place, &query, &what).await? else { return Ok(None) };
        let secret = wire::borrowed::<wire::One<'_>>(&reply, &what)?.secret;
        if secret.secret_value_hidden {
            return Err(self.hidden(&what, &place.folder));
        }
        let latest = secret.version.to_string();
        // Older servers look at the number and forget it; imports have their latest version only.
        if version.is_some_and(|wanted| wanted.parse() != Ok(secret.version)) {
            return wrong(&format!(
                "the server gives the latest version only, which is {latest}: remove secretRef.version, or pin that one until it is replaced"
            ));
        }
        let value = secret.value().ok_or_else(|| wire::nonsense(&what))?;
        let token = self.marks.of(key, &value);
        Ok(Some(Stored { payload: Payload::Single(value), version: Some(latest), token, warning: None }))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoreKey>, StoreError> {
        let what = format!("listing {prefix}*");
        let folder = self.root.folder(prefix.rfind('/').map_or("", |at| &prefix[..at])).ok_or_else(|| {
            StoreError::new(Failure::Misconfigured, format!("{what} failed: no folder is called so: correct the prefix"))
        })?;
        let reply = self.list_secrets(&folder, Lists::NamesBelow, &what).await?;
        let listed: wire::Listed<'_> = self.answer(&reply, &folder, &what)?;
        let mut keys = if listed.has_imports() {
            // A list of many folders does not say which of them imports a name.
            self.walk(folder, &what).await?
        } else {
            let key = |secret: &wire::Secret<'_>| {
                self.root.key(secret.secret_path.as_deref().unwrap_or(&folder), &secret.secret_key)
            };
            listed.secrets.iter().filter_map(key).collect()
        };
        if keys.len() > MAX_NAMES {
            return Err(too_many(&what));
        }
        if keys.is_empty() {
            self.certain().await?;
        }
        keys.retain(|key| key.as_str().starts_with(prefix));
        Ok(keys)
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
        self.put(&place, &text, &write.when, &what).await
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
        self.health().await?;
        let begun = Instant::now();
        let looked = self.look_at_root().await;
        *self.seen.lock().await = looked.is_ok().then_some(begun);
        looked?;
        let what = "looking at what the identity may read";
        // Roles may be for each organisation: some right says enough.
        let global = format!("{}/GLOBAL", self.root.path().trim_end_matches('/'));
        let reads = self.may_read(self.root.path(), what).await?
            || match self.get_secret(&global, PROBED, &[("viewSecretValue", "false")], what).await? {
                reply if reply.status == StatusCode::NOT_FOUND => {
                    wire::missing(&reply, &global, PROBED) != Missing::Other
                }
                reply => reply.status == StatusCode::OK,
            };
        if !reads {
            let message = format!("{what} failed: {}", self.grant(READ, self.root.path()));
            return Err(StoreError::new(Failure::Denied, message));
        }
        // Whether it may write is shown by a write alone.
        Ok(Capabilities { get: true, list: true, write: false })
    }

    fn lists_changes(&self, keys: usize) -> bool {
        keys > 1
    }

    async fn changes(&self, keys: &[StoreKey]) -> Result<Option<HashMap<StoreKey, ChangeToken>>, StoreError> {
        let what = "listing what has changed";
        let mut folders: BTreeMap<String, HashMap<String, &StoreKey>> = BTreeMap::new();
        for key in keys {
            if let Some(place) = self.root.place(key.as_str()) {
                folders.entry(place.folder).or_default().insert(place.name, key);
            }
        }
        if folders.len() >= keys.len() {
            return Ok(None);
        }
        let mut marks = HashMap::new();
        for (folder, wanted) in folders {
            let reply = self.list_secrets(&folder, Lists::Values, what).await?;
            let listed: wire::Listed<'_> = match self.answer(&reply, &folder, what) {
                Ok(listed) => listed,
                // One reference that cannot be followed spoils a whole list: reads tell which.
                Err(error) if error.failure == Failure::Denied => continue,
                Err(error) => return Err(error),
            };
            for (name, secret) in listed.merged() {
                if let (Some(key), Some(value)) = (wanted.get(&*name), secret.value()) {
                    marks.insert((*key).clone(), self.marks.of(key, &value));
                }
            }
        }
        Ok(Some(marks))
    }

    async fn maintain(&self) -> Option<Duration> {
        Some(self.session.maintain().await)
    }

    fn logins(&self) -> u64 {
        self.session.logins()
    }
}

fn too_many(what: &str) -> StoreError {
    let message = format!("{what} failed: too many names or folders: use a longer prefix, or fewer folders");
    StoreError::new(Failure::Misconfigured, message)
}
