//! What is there, and what may be read of it: without reading a value.

use std::{sync::atomic::Ordering, time::Duration};

use reqwest::StatusCode;
use tokio::time::Instant;

use super::{Infisical, PROBED, READ, wire, wire::Missing};
use crate::{
    api::Capabilities,
    naming::GLOBAL,
    stores::{Failure, StoreError},
};

/// For so long environment and root folder are taken to be there. Each probe looks at them, too.
const TRUSTED: Duration = Duration::from_secs(60);

impl Infisical {
    /// As [`crate::stores::Store::probe`].
    pub(super) async fn look(&self) -> Result<Capabilities, StoreError> {
        self.health().await?;
        let begun = Instant::now();
        let looked = self.look_at_root().await;
        *self.seen.lock().await = looked.is_ok().then_some(begun);
        looked?;
        let what = "looking at what the identity may read";
        // Roles may be for each organisation: some right says enough.
        if !self.may_read(self.root.path(), what).await? && !self.may_read_global(what).await? {
            let message = format!("{what} failed: {}", self.grant(READ, self.root.path()));
            return Err(StoreError::new(Failure::Denied, message));
        }
        // Whether it may write is shown by a write alone: the last one tells.
        Ok(Capabilities { get: true, list: true, write: self.writes.load(Ordering::Relaxed) })
    }

    /// Makes sure that a missing folder is one in an environment and a root folder that are there.
    pub(super) async fn certain(&self) -> Result<(), StoreError> {
        let mut seen = self.seen.lock().await;
        if !seen.is_some_and(|at| at.elapsed() < TRUSTED) {
            let begun = Instant::now();
            self.look_at_root().await?;
            *seen = Some(begun);
        }
        Ok(())
    }

    /// Looks for environment and root folder. Every member of the project may list folders.
    pub(super) async fn look_at_root(&self) -> Result<(), StoreError> {
        let what = format!("looking at folder {} of environment {}", self.root.path(), self.environment);
        let member =
            "the identity may not list folders: give it a role in the project (Viewer, or one that may read secrets)";
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
                error if error.failure == Failure::Denied && wire::is_own(&reply) => Ok(false),
                error => Err(error),
            },
        }
    }

    /// The same of the folder of what is for all, which need not be there.
    async fn may_read_global(&self, what: &str) -> Result<bool, StoreError> {
        let Some(folder) = self.root.folder(GLOBAL) else { return Ok(false) };
        let reply = self.get_secret(&folder, PROBED, &[("viewSecretValue", "false")], what).await?;
        match reply.status {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND if wire::missing(&reply, &folder, PROBED) != Missing::Other => Ok(true),
            StatusCode::FORBIDDEN if wire::is_own(&reply) => Ok(false),
            _ => Err(wire::refusal(&reply, &what, "")),
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
