//! Credentials of a laptop: where a cluster has Secrets, it has variables and files.

use std::{
    io,
    path::{Path, PathBuf},
};

use async_trait::async_trait;

use super::Environment;
use crate::{
    api::{CaRef, SecretKeyRef, ServiceAccountRef},
    secret::SecretValue,
    stores::{Credentials, Failure, StoreError},
};

/// `secretRef: { name: env, key: VARIABLE }` and `secretRef: { name: file, key: PATH }` (`~/` is the home folder).
#[derive(Clone, Debug)]
pub struct LocalCredentials {
    environment: Environment,
}

impl LocalCredentials {
    /// From these variables, and from files.
    pub const fn new(environment: Environment) -> Self {
        Self { environment }
    }

    /// The CA certificates that a `caRef` names in the same way.
    ///
    /// # Errors
    /// [`Failure::NotReady`] when they are not there.
    pub fn ca_bundle(&self, source: &CaRef) -> Result<String, StoreError> {
        let pem = self.find(&source.name, &source.key)?;
        pem.expose_str().map(str::to_owned).ok_or_else(|| not_ready(&source.key, "is not text: name a PEM file"))
    }

    fn find(&self, kind: &str, key: &str) -> Result<SecretValue, StoreError> {
        match kind {
            "env" => {
                let value = self.environment.get(key).map(|text| SecretValue::from(text.trim().to_owned()));
                value.ok_or_else(|| not_ready(key, "is not set: set this variable"))
            }
            "file" => {
                let mut bytes = std::fs::read(self.path(key)).map_err(|error| match error.kind() {
                    io::ErrorKind::NotFound => {
                        not_ready(key, "is not there: log in with the store's own tool, or name another file")
                    }
                    _ => not_ready(key, "cannot be read: correct its mode"),
                })?;
                bytes.truncate(bytes.trim_ascii_end().len());
                Ok(SecretValue::new(bytes))
            }
            _ => {
                let message = "outside of a cluster secretRef.name is env (key: a variable) or file (key: a path): correct secretref.toml";
                Err(StoreError::new(Failure::Misconfigured, message))
            }
        }
    }

    fn path(&self, key: &str) -> PathBuf {
        match (key.strip_prefix("~/"), self.environment.get("HOME")) {
            (Some(rest), Some(home)) => Path::new(home).join(rest),
            _ => PathBuf::from(key),
        }
    }
}

#[async_trait]
impl Credentials for LocalCredentials {
    async fn secret(&self, source: &SecretKeyRef) -> Result<SecretValue, StoreError> {
        self.find(&source.name, &source.key)
    }

    async fn service_account_token(
        &self,
        _: Option<&ServiceAccountRef>,
        _: &[String],
    ) -> Result<SecretValue, StoreError> {
        let message = "there is no ServiceAccount outside of a cluster: use another auth in secretref.toml";
        Err(StoreError::new(Failure::NotReady, message))
    }

    fn lends_own_identity(&self) -> bool {
        true
    }
}

fn not_ready(what: &str, next: &str) -> StoreError {
    StoreError::new(Failure::NotReady, format!("{what} {next}"))
}
