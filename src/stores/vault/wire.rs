//! What the server says, and what it means.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, de::DeserializeOwned};

pub(super) use self::{
    history::History,
    properties::{Properties, is_json, plain, raw, stored},
};
use super::mount::Kind;
use crate::stores::{Failure, StoreError, body::Object, http::Reply};

mod history;
mod properties;

/// What a 404 says about one key.
pub(super) enum Missing {
    /// No such version: deleted or destroyed. Certain.
    Deleted,
    /// No such path, on this mount at least: certain once the mount is known to be KV version 2.
    Nothing,
    /// Something else is missing.
    Other,
}

/// A login or a renewal.
#[derive(Deserialize)]
pub(super) struct Granted {
    pub auth: Grant,
}

/// What a login gave.
#[derive(Deserialize)]
pub(super) struct Grant {
    pub client_token: String,
    /// Seconds; 0: for ever.
    #[serde(default)]
    pub lease_duration: u64,
    #[serde(default)]
    pub renewable: bool,
}

/// `data` of an answer.
#[derive(Deserialize)]
pub(super) struct Data<T> {
    pub data: T,
}

/// What a token says about itself.
#[derive(Deserialize)]
pub(super) struct Lookup {
    /// Seconds; 0: for ever.
    #[serde(default)]
    pub ttl: u64,
    #[serde(default)]
    pub renewable: bool,
}

/// Names and folders.
#[derive(Deserialize)]
pub(super) struct Keys {
    pub keys: Vec<String>,
}

/// A mount.
#[derive(Deserialize)]
pub(super) struct Mount {
    #[serde(rename = "type")]
    kind: String,
    options: Option<BTreeMap<String, Option<String>>>,
}

impl Mount {
    /// What it is; a key-value engine without a version is one of version 1.
    pub fn kind(&self) -> Kind {
        let version = self.options.as_ref().and_then(|o| o.get("version")).and_then(Option::as_deref);
        match (self.kind.as_str(), version) {
            ("kv", Some("2")) => Kind::Versioned,
            ("kv" | "generic", None | Some("1" | "")) => Kind::Plain,
            _ => Kind::Foreign,
        }
    }
}

/// A version that was just made.
#[derive(Deserialize)]
pub(super) struct Made {
    pub version: u64,
    /// What the key is tagged with.
    pub custom_metadata: Option<BTreeMap<String, String>>,
}

/// What came out of a wrapping token.
#[derive(Deserialize)]
pub(super) struct SecretId {
    pub secret_id: String,
}

/// Where a wrapping token was made.
#[derive(Deserialize)]
pub(super) struct Origin {
    pub creation_path: String,
}

/// Why a write was not made.
pub(super) enum Refused {
    /// The version that it should follow is not the latest.
    Mismatch,
    /// It must say which version it should follow.
    Unconditional,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

/// What is missing, by the body of a 404.
pub(super) fn missing(reply: &Reply) -> Missing {
    if let Some(gone) = properties::is_gone(reply) {
        return if gone { Missing::Deleted } else { Missing::Other };
    }
    match errors(reply) {
        Some(list) if list.is_empty() => Missing::Nothing,
        _ => Missing::Other,
    }
}

/// Whether a 403 says by its form that a policy denies: the server then took the token for a good one. Both servers
/// give a bad token another form. A hint only: what is not of this form is found out by asking.
pub(super) fn denied_by_policy(reply: &Reply) -> bool {
    errors(reply).is_some_and(|list| list.iter().any(|e| e.starts_with("1 error occurred")))
}

/// Whether a write was refused for the version that it should follow.
pub(super) fn refused(reply: &Reply) -> Option<Refused> {
    let list = errors(reply).filter(|_| reply.status.as_u16() == 400)?;
    let said = |text: &str| list.iter().any(|e| e.contains(text));
    if said("check-and-set parameter did not match") {
        Some(Refused::Mismatch)
    } else {
        said("check-and-set parameter required").then_some(Refused::Unconditional)
    }
}

/// Parses an answer of the server's own; the text of it stays out of the error.
pub(super) fn parse<T: DeserializeOwned>(reply: &Reply, what: &impl fmt::Display) -> Result<T, StoreError> {
    serde_json::from_slice(&reply.body).map_err(|_| nonsense(what))
}

/// A 200 that no Vault gives.
pub(super) fn nonsense(what: &impl fmt::Display) -> StoreError {
    StoreError::new(
        Failure::Misconfigured,
        format!("{what} failed: the answer is not one of a KV version 2 mount: check the store's address and mount"),
    )
}

/// What an answer that is no success means. `denied` says what to do about a denial.
pub(super) fn refusal(reply: &Reply, what: &impl fmt::Display, denied: &str) -> StoreError {
    let said = |text: &str| errors(reply).is_some_and(|list| list.iter().any(|e| e.contains(text)));
    let (failure, why): (Failure, &str) = match reply.status.as_u16() {
        401 | 403 => (Failure::Denied, denied),
        404 if said("no handler for route") => {
            (Failure::Misconfigured, "there is no such mount: create it, or correct spec.provider.vault.mount")
        }
        404 if said("namespace not found") => {
            (Failure::Misconfigured, "there is no such namespace: create it, or correct spec.provider.vault.namespace")
        }
        404 => (Failure::Misconfigured, "the answer is not one of a KV version 2 mount: check the address and mount"),
        400 if said("Upgrading from non-versioned") => {
            (Failure::Unavailable, "the mount is being prepared by the server: it will be tried again")
        }
        412 => (Failure::Unavailable, "this server has not yet seen the latest writes: it will be tried again"),
        429 => (
            Failure::RateLimited(reply.retry_after),
            "the server's rate limit quota is reached: raise it (sys/quotas/rate-limit), or lower limits.requestsPerSecond",
        ),
        472 => (
            Failure::Unavailable,
            "this server is a standby for disasters, which answers nothing: address the active cluster, or promote this one",
        ),
        473 => (Failure::Unavailable, "this server is a standby that cannot do this: address the active one"),
        501 => (Failure::Unavailable, "the server is not initialised: initialise it (`bao operator init`)"),
        503 if said("sealed") => (Failure::Unavailable, "the server is sealed: unseal it (`bao operator unseal`)"),
        413 | 500 if reply.status.as_u16() == 413 || said("too large") => (
            Failure::Misconfigured,
            "it is larger than the server's storage takes (Raft: 1 MiB for all of it): write less under one key",
        ),
        500.. => (Failure::Unavailable, "the server has an error of its own: look into its log"),
        _ => (Failure::Misconfigured, "the server does not understand the request: check the address and mount"),
    };
    StoreError::new(failure, format!("{what} failed: {why} (status {})", reply.status.as_u16()))
}

fn errors(reply: &Reply) -> Option<Vec<String>> {
    serde_json::from_slice::<Object<Errors>>(&reply.body).ok().map(|Object(e)| e.errors)
}

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod tests;
