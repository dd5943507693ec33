//! What is known of keys and versions, without their values.

use reqwest::StatusCode;

use super::{
    Vault, check,
    mount::Kind,
    wire::{self, History, Missing},
};
use crate::{
    naming::StoreKey,
    stores::{Metadata, StoreError, VersionState},
};

impl Vault {
    /// On a mount of version 1, which tells nothing of a key but its value, that is asked for and dropped.
    pub(super) async fn describe(&self, key: &StoreKey) -> Result<Option<Metadata>, StoreError> {
        let what = format!("describing {key}");
        check(key, &what)?;
        if self.certain().await? == Kind::Plain {
            let found = self.get_of_either_kind(key, None).await?;
            return Ok(found.map(|_| Metadata::new(None, VersionState::Enabled)));
        }
        Ok(self.history(key, &what).await?.and_then(|history| history.latest()))
    }

    pub(super) async fn describe_versions(&self, key: &StoreKey) -> Result<Vec<Metadata>, StoreError> {
        let what = format!("listing versions of {key}");
        check(key, &what)?;
        if self.certain().await? == Kind::Plain {
            return Err(self.read_only(&what));
        }
        Ok(self.history(key, &what).await?.map(|history| history.versions()).unwrap_or_default())
    }

    /// All versions of a key; `None`: there is no such key.
    pub(super) async fn history(&self, key: &StoreKey, what: &str) -> Result<Option<History>, StoreError> {
        let reply = self.read(self.url(Some("metadata"), key.as_str())?, what).await?;
        match reply.status {
            StatusCode::OK => Ok(Some(wire::parse::<wire::Data<_>>(&reply, &what)?.data)),
            StatusCode::NOT_FOUND if matches!(wire::missing(&reply), Missing::Nothing) => {
                self.certain().await.map(|_| None)
            }
            _ => Err(wire::refusal(&reply, &what, &self.line(Some("metadata"), key.as_str(), "\"read\""))),
        }
    }

    /// Version 1 keeps no versions, and a write to it destroys the value before.
    pub(super) fn read_only(&self, what: &str) -> StoreError {
        let instead = format!(
            "{0} is a KV version 1 mount, which keeps no versions and is read only here: upgrade it (`bao kv enable-versioning {0}`)",
            self.mount
        );
        StoreError::unsupported(what, &instead)
    }
}
