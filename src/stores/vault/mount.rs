//! What the mount is: asked once for each login.

use std::sync::atomic::Ordering;

use reqwest::StatusCode;

use super::{Vault, wire};
use crate::stores::{Failure, StoreError};

/// What a mount was found to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// KV version 2.
    Versioned,
    /// KV version 1.
    Plain,
    /// Something else.
    Foreign,
}

/// What the mount showed itself to be, and to which login.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub generation: u64,
    /// `None`: it did not show itself.
    pub kind: Option<Kind>,
}

impl Vault {
    /// Whether it was last found to be of version 1.
    pub(super) fn is_plain(&self) -> bool {
        self.plain.load(Ordering::Relaxed)
    }

    /// Makes sure that what is said is said by a key-value mount, and of which kind: once for each login.
    pub(super) async fn certain(&self) -> Result<Kind, StoreError> {
        let mut seen = self.seen.lock().await;
        let generation = self.session.token().await?.generation;
        let known = seen.kind.filter(|_| seen.generation == generation);
        let kind = match known {
            Some(kind) => Some(kind),
            None => self.look_at_mount().await?,
        };
        *seen = Seen { generation, kind };
        match kind {
            Some(Kind::Foreign) => Err(self.foreign()),
            Some(kind) => Ok(kind),
            None => Err(StoreError::new(
                Failure::Misconfigured,
                format!(
                    "the mount {0} does not show what it is, so that it says there is nothing proves nothing: check that it is a KV version 2 mount, that the operator's login has a right on it, and that nothing in front of the server withholds sys/internal/ui/mounts/{0}",
                    self.mount
                ),
            )),
        }
    }

    /// What the mount is as far as this login knows; it looks once. What comes of it explains a strange answer, and is
    /// no ground for anything else.
    pub(super) async fn presumably(&self) -> Option<Kind> {
        let mut seen = self.seen.lock().await;
        let generation = self.session.token().await.ok()?.generation;
        if seen.generation != generation {
            *seen = Seen { generation, kind: self.look_at_mount().await.ok().flatten() };
        }
        seen.kind
    }

    /// What the mount shows itself to be; `None`: the token has no right on it, or it is not there.
    pub(super) async fn look_at_mount(&self) -> Result<Option<Kind>, StoreError> {
        let what = format!("looking at the mount {}", self.mount);
        let url = self.session.url(["sys", "internal", "ui", "mounts"].into_iter().chain(self.mount.split('/')))?;
        let reply = self.read(url, &what).await?;
        match reply.status {
            StatusCode::OK => {
                let kind = wire::parse::<wire::Data<wire::Mount>>(&reply, &what)?.data.kind();
                self.plain.store(kind == Kind::Plain, Ordering::Relaxed);
                Ok(Some(kind))
            }
            // The server does not say which of both, nor to whom it would.
            StatusCode::FORBIDDEN => Ok(None),
            _ => Err(wire::refusal(&reply, &what, "")),
        }
    }

    pub(super) fn foreign(&self) -> StoreError {
        StoreError::new(
            Failure::Misconfigured,
            format!(
                "{} is not a KV version 2 mount, nor one of version 1: name another in spec.provider.vault.mount",
                self.mount
            ),
        )
    }
}
