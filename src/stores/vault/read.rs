//! Values and names.

use reqwest::StatusCode;

use super::{
    Vault, check,
    mount::Kind,
    no_version, number,
    wire::{self, Missing},
};
use crate::{
    naming::StoreKey,
    stores::{Failure, StoreError, Stored},
};

/// Folders inside folders that a list follows.
const MAX_DEPTH: usize = 8;
/// Names, and folders, that a list reads.
const MAX_NAMES: usize = 10_000;
const MAX_FOLDERS: usize = 1_000;

/// What a mount said.
enum Said {
    Value(Stored),
    /// This version is deleted. Certain.
    Deleted,
    /// There is no such key, if the mount is of the kind that was asked.
    Nothing,
    /// What a mount of the other kind might say, too.
    Strange(StoreError),
}

impl Vault {
    /// Asks as the mount was last found to be, and the other way if it turns out to be of the other kind.
    pub(super) async fn get_of_either_kind(
        &self,
        key: &StoreKey,
        version: Option<&str>,
    ) -> Result<Option<Stored>, StoreError> {
        let what = format!("reading {key}");
        check(key, &what)?;
        if version.is_some_and(|version| number(version).is_none()) {
            return Err(no_version(&what));
        }
        let asked = if self.is_plain() { Kind::Plain } else { Kind::Versioned };
        let said = self.ask_for(asked, key, version, &what).await?;
        let (kind, said) = match said {
            Said::Value(stored) => return Ok(Some(stored)),
            Said::Deleted => return Ok(None),
            Said::Nothing => (self.certain().await?, Said::Nothing),
            Said::Strange(error) => match self.presumably().await {
                Some(Kind::Foreign) => return Err(self.foreign()),
                kind => (kind.unwrap_or(asked), Said::Strange(error)),
            },
        };
        let said = if kind == asked { said } else { self.ask_for(kind, key, version, &what).await? };
        match said {
            Said::Value(stored) => Ok(Some(stored)),
            Said::Strange(error) => Err(error),
            Said::Deleted => Ok(None),
            // Not by hearsay: what the mount is may have been found without being certain.
            Said::Nothing if self.certain().await? == kind => Ok(None),
            Said::Nothing => Err(wire::nonsense(&what)),
        }
    }

    async fn ask_for(&self, kind: Kind, key: &StoreKey, version: Option<&str>, what: &str) -> Result<Said, StoreError> {
        if kind == Kind::Plain {
            return self.ask_plain(key, version, what).await;
        }
        let mut url = self.url(Some("data"), key.as_str())?;
        if let Some(version) = version {
            url.set_query(Some(&format!("version={version}")));
        }
        let reply = self.read(url, what).await?;
        Ok(match reply.status {
            StatusCode::OK => wire::stored(&reply).map_or_else(|| Said::Strange(wire::nonsense(&what)), Said::Value),
            StatusCode::NOT_FOUND => match wire::missing(&reply) {
                Missing::Deleted => Said::Deleted,
                Missing::Nothing => Said::Nothing,
                Missing::Other => Said::Strange(wire::refusal(&reply, &what, "")),
            },
            StatusCode::FORBIDDEN => {
                Said::Strange(wire::refusal(&reply, &what, &self.line(Some("data"), key.as_str(), "\"read\"")))
            }
            _ => return Err(wire::refusal(&reply, &what, "")),
        })
    }

    async fn ask_plain(&self, key: &StoreKey, version: Option<&str>, what: &str) -> Result<Said, StoreError> {
        if version.is_some() {
            let message = format!(
                "{what} failed: {0} is a KV version 1 mount, which keeps no versions: remove secretRef.version, or upgrade the mount (`bao kv enable-versioning {0}`)",
                self.mount
            );
            return Ok(Said::Strange(StoreError::new(Failure::Misconfigured, message)));
        }
        let reply = self.read(self.url(None, key.as_str())?, what).await?;
        Ok(match reply.status {
            StatusCode::OK => {
                wire::plain(&reply, key, &self.marks).map_or_else(|| Said::Strange(wire::nonsense(&what)), Said::Value)
            }
            StatusCode::NOT_FOUND if matches!(wire::missing(&reply), Missing::Nothing) => Said::Nothing,
            StatusCode::NOT_FOUND => Said::Strange(wire::refusal(&reply, &what, "")),
            StatusCode::FORBIDDEN => {
                Said::Strange(wire::refusal(&reply, &what, &self.line(None, key.as_str(), "\"read\"")))
            }
            _ => return Err(wire::refusal(&reply, &what, "")),
        })
    }

    pub(super) async fn list_folders(&self, prefix: &str) -> Result<Vec<StoreKey>, StoreError> {
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

    /// Names in one folder; a folder ends with a slash.
    async fn folder(&self, folder: &str) -> Result<Vec<String>, StoreError> {
        let asked = if self.is_plain() { Kind::Plain } else { Kind::Versioned };
        let (error, kind) = match self.names(asked, folder).await? {
            Names::These(names) => return Ok(names),
            Names::None => match self.certain().await? {
                kind if kind == asked => return Ok(Vec::new()),
                kind => (None, Some(kind)),
            },
            Names::Strange(error) => (Some(error), self.presumably().await),
        };
        match (kind, error) {
            (Some(Kind::Foreign), _) => Err(self.foreign()),
            (Some(kind), _) if kind != asked => match self.names(kind, folder).await? {
                Names::These(names) => Ok(names),
                Names::None => self.certain().await.map(|_| Vec::new()),
                Names::Strange(error) => Err(error),
            },
            (_, Some(error)) => Err(error),
            (_, None) => Ok(Vec::new()),
        }
    }

    async fn names(&self, kind: Kind, folder: &str) -> Result<Names, StoreError> {
        let what = format!("listing {}/{folder}", self.mount);
        let under = (kind == Kind::Versioned).then_some("metadata");
        let mut url = self.url(under, folder)?;
        url.set_query(Some("list=true"));
        let reply = self.read(url, &what).await?;
        Ok(match reply.status {
            StatusCode::OK => match wire::parse::<wire::Data<wire::Keys>>(&reply, &what) {
                Ok(answer) => Names::These(answer.data.keys),
                Err(error) => Names::Strange(error),
            },
            StatusCode::NOT_FOUND if matches!(wire::missing(&reply), Missing::Nothing) => Names::None,
            StatusCode::NOT_FOUND => Names::Strange(wire::refusal(&reply, &what, "")),
            StatusCode::FORBIDDEN => {
                Names::Strange(wire::refusal(&reply, &what, &self.line(under, "/", "\"list\"").replace("//*", "/*")))
            }
            _ => return Err(wire::refusal(&reply, &what, "")),
        })
    }
}

enum Names {
    These(Vec<String>),
    /// No such folder, if the mount is of the kind that was asked.
    None,
    /// What a mount of the other kind might say, too.
    Strange(StoreError),
}
