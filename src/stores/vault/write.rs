//! Writes. All of them check and set: whoever writes or restores with a condition wins, or learns that somebody else
//! has.

use std::collections::BTreeMap;

use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde_json::json;

use super::{
    Vault, check,
    mount::Kind,
    no_version, number,
    session::Ask,
    wire::{self, History, Properties, Refused},
};
use crate::{
    naming::StoreKey,
    stores::{Failure, Payload, Property, StoreError, VersionState, When, Write, Written},
};

/// What the server keeps as custom metadata.
const MAX_TAGS: usize = 64;
const MAX_TAG: usize = 128;
const MAX_TAG_VALUE: usize = 512;

/// What became of one request.
enum Posted {
    Version(wire::Made),
    Refused(Refused),
}

#[derive(Serialize)]
struct Content<T> {
    data: T,
    options: Options,
}

#[derive(Serialize)]
struct Options {
    #[serde(skip_serializing_if = "Option::is_none")]
    cas: Option<u64>,
}

impl Vault {
    pub(super) async fn write(&self, key: &StoreKey, write: &Write) -> Result<Written, StoreError> {
        let what = format!("writing {key}");
        check(key, &what)?;
        check_content(write, &what)?;
        let mut cas = match &write.when {
            When::Always => None,
            When::Absent => Some(0),
            When::Version(version) => match number(version) {
                Some(version) => Some(version),
                None => return Ok(Written::Conflict),
            },
        };
        self.versioned(&what).await?;
        if write.tags.is_some() {
            self.may_tag(key, &what).await?;
        }
        for _ in 0..3 {
            let refused = match self.put(key, Properties(&write.payload), cas, &what).await? {
                Posted::Version(made) => {
                    self.tag(key, &made, write.tags.as_ref()).await?;
                    return Ok(Written::Version(made.version.to_string()));
                }
                Posted::Refused(refused) => refused,
            };
            let history = match (&write.when, refused) {
                (When::Version(_), _) => return Ok(Written::Conflict),
                (When::Absent, _) if cas != Some(0) => return Ok(Written::Conflict),
                _ => self.history(key, &what).await?,
            };
            let latest = history.as_ref().and_then(History::latest);
            cas = match (&write.when, latest.map(|latest| latest.state)) {
                (When::Absent, Some(VersionState::Enabled | VersionState::Disabled) | None) => {
                    return Ok(Written::Conflict);
                }
                // A deleted key has a latest version, which the server wants to be named.
                _ => Some(history.map_or(0, |history| history.current_version)),
            };
        }
        Err(StoreError::new(
            Failure::Unavailable,
            format!("{what} failed: others write it at the same time: look at what is there, and write again"),
        ))
    }

    pub(super) async fn delete_latest(&self, key: &StoreKey) -> Result<bool, StoreError> {
        let what = format!("deleting {key}");
        check(key, &what)?;
        self.versioned(&what).await?;
        let history = self.history(key, &what).await?;
        let latest = history.as_ref().and_then(History::latest);
        if latest.is_none_or(|latest| latest.state != VersionState::Enabled) {
            return Ok(false);
        }
        let url = self.url(Some("data"), key.as_str())?;
        let reply = self.session.ask(&Ask { method: Method::DELETE, url, body: None, what: &what }).await?;
        if reply.status.is_success() {
            return Ok(true);
        }
        Err(wire::refusal(&reply, &what, &self.line(Some("data"), key.as_str(), "\"delete\"")))
    }

    pub(super) async fn bring_back(&self, key: &StoreKey, version: &str) -> Result<Option<String>, StoreError> {
        let what = format!("restoring {key}");
        check(key, &what)?;
        let wanted = number(version).ok_or_else(|| no_version(&what))?;
        self.versioned(&what).await?;
        let Some(history) = self.history(key, &what).await? else { return Ok(None) };
        match history.state(wanted) {
            None | Some(VersionState::Destroyed) => return Ok(None),
            Some(VersionState::Deleted) => {
                let url = self.url(Some("undelete"), key.as_str())?;
                let reply = self.post(url, &json!({ "versions": [wanted] }), &what).await?;
                if !reply.status.is_success() {
                    let line = self.line(Some("undelete"), key.as_str(), "\"update\"");
                    return Err(wire::refusal(&reply, &what, &line));
                }
            }
            Some(_) => {}
        }
        if wanted == history.current_version {
            return Ok(Some(version.to_owned()));
        }
        let mut url = self.url(Some("data"), key.as_str())?;
        url.set_query(Some(&format!("version={wanted}")));
        let reply = self.read(url, &what).await?;
        if reply.status != StatusCode::OK {
            return Err(wire::refusal(&reply, &what, &self.line(Some("data"), key.as_str(), "\"read\"")));
        }
        let data = wire::raw(&reply).ok_or_else(|| wire::nonsense(&what))?;
        match self.put(key, data, Some(history.current_version), &what).await? {
            Posted::Version(made) => Ok(Some(made.version.to_string())),
            Posted::Refused(_) => Err(StoreError::new(
                Failure::Unavailable,
                format!("{what} failed: somebody else has just written it: look at what is there, and restore again"),
            )),
        }
    }

    async fn put(
        &self,
        key: &StoreKey,
        data: impl Serialize,
        cas: Option<u64>,
        what: &str,
    ) -> Result<Posted, StoreError> {
        let url = self.url(Some("data"), key.as_str())?;
        let reply = self.post(url, &Content { data, options: Options { cas } }, what).await?;
        if reply.status == StatusCode::OK {
            return wire::parse::<wire::Data<_>>(&reply, &what).map(|made| Posted::Version(made.data));
        }
        if let Some(refused) = wire::refused(&reply) {
            return Ok(Posted::Refused(refused));
        }
        Err(wire::refusal(&reply, &what, &self.line(Some("data"), key.as_str(), "\"create\", \"update\"")))
    }

    /// A question of a version 2 mount would be a value of a version 1 mount: nothing is written that is not certain.
    async fn versioned(&self, what: &str) -> Result<(), StoreError> {
        if self.certain().await? == Kind::Versioned { Ok(()) } else { Err(self.read_only(what)) }
    }

    /// Tags take a request of their own, after the value's: a login that may not set them is found out before.
    async fn may_tag(&self, key: &StoreKey, what: &str) -> Result<(), StoreError> {
        let path = format!("{}/metadata/{key}", self.mount);
        let rights = self.rights(std::slice::from_ref(&path)).await?;
        let rights = rights.as_ref().and_then(|all| all.get(&path));
        if rights.is_none_or(|rights| rights.iter().any(|r| r == "update" || r == "root")) {
            return Ok(());
        }
        let line = self.line(Some("metadata"), key.as_str(), "\"read\", \"update\"");
        Err(StoreError::new(Failure::Denied, format!("{what} with tags failed: {line}")))
    }

    async fn tag(
        &self,
        key: &StoreKey,
        made: &wire::Made,
        tags: Option<&BTreeMap<String, String>>,
    ) -> Result<(), StoreError> {
        let Some(tags) = tags.filter(|tags| **tags != made.custom_metadata.clone().unwrap_or_default()) else {
            return Ok(());
        };
        let what = format!("tagging version {} of {key}, which is written,", made.version);
        let url = self.url(Some("metadata"), key.as_str())?;
        let mut reply = self.post(url.clone(), &json!({ "custom_metadata": tags }), &what).await?;
        if matches!(wire::refused(&reply), Some(Refused::Unconditional)) {
            // OpenBao keeps versions of the metadata, too, if told to.
            let version = self.history(key, &what).await?.and_then(|history| history.current_metadata_version);
            reply = self.post(url, &json!({ "custom_metadata": tags, "metadata_cas": version }), &what).await?;
        }
        if reply.status.is_success() {
            return Ok(());
        }
        let line = self.line(Some("metadata"), key.as_str(), "\"read\", \"update\"");
        // Something was written: whoever asks must look.
        Err(StoreError { failure: Failure::Unavailable, ..wire::refusal(&reply, &what, &line) })
    }
}

/// Refuses what the server would not keep as it is.
fn check_content(write: &Write, what: &str) -> Result<(), StoreError> {
    let refuse = |why: &str| Err(StoreError::new(Failure::Misconfigured, format!("{what} failed: {why}")));
    if write.content_type.is_some() {
        return refuse("Vault keeps no content type: leave it out");
    }
    if let Some(tags) = &write.tags {
        let fits = |key: &str, value: &str| {
            !key.is_empty() && key.len() <= MAX_TAG && !value.is_empty() && value.len() <= MAX_TAG_VALUE
        };
        if tags.len() > MAX_TAGS || !tags.iter().all(|(key, value)| fits(key, value)) {
            return refuse(
                "custom metadata is at most 64 keys of up to 128 bytes with values of 1 to 512 bytes: shorten the tags",
            );
        }
    }
    let text = "a value that is not UTF-8 text cannot be kept: write it as Base64, and read it with decode: Base64";
    match &write.payload {
        Payload::Single(value) if value.expose_str().is_none() => refuse(text),
        Payload::Single(_) => Ok(()),
        Payload::Map(map) => {
            for property in map.values() {
                match property {
                    Property::Text(value) if value.expose_str().is_none() => return refuse(text),
                    Property::Json(value) if !wire::is_json(value) => {
                        return refuse("a property that should be JSON is none: correct it, or write it as text");
                    }
                    _ => {}
                }
            }
            Ok(())
        }
    }
}
