//! What the server says, and what it means.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::value::RawValue;

use crate::{
    secret::SecretValue,
    stores::{ChangeToken, Failure, Payload, Property, StoreError, Stored, http::Reply},
};

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
    /// A key-value engine that keeps versions.
    pub fn is_kv2(&self) -> bool {
        let version = self.options.as_ref().and_then(|o| o.get("version")).and_then(Option::as_deref);
        self.kind == "kv" && version == Some("2")
    }
}

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow)]
    data: Versioned<'a>,
}

#[derive(Deserialize)]
struct Versioned<'a> {
    // Raw, so that numbers keep every digit and no copy of a value is made that nobody wipes.
    #[serde(borrow)]
    data: Option<BTreeMap<String, &'a RawValue>>,
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    version: u64,
    created_time: String,
    deletion_time: String,
    destroyed: bool,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

/// The value in a 200.
pub(super) fn stored(reply: &Reply) -> Option<Stored> {
    let Versioned { data, metadata: m } = serde_json::from_slice::<Read<'_>>(&reply.body).ok()?.data;
    let properties = data.unwrap_or_default().into_iter().map(|(key, raw)| Some((key, property(raw.get())?)));
    let warning = (!m.deletion_time.is_empty())
        .then(|| format!("the store deletes version {} at {}: write a new one before", m.version, m.deletion_time));
    Some(Stored {
        payload: Payload::Map(properties.collect::<Option<_>>()?),
        version: Some(m.version.to_string()),
        // A version number alone repeats when a key is removed with its history and written again.
        token: ChangeToken::new(format!("{}/{}/{}", m.version, m.created_time, m.deletion_time)),
        warning,
    })
}

fn property(raw: &str) -> Option<Property> {
    Some(match raw.as_bytes().first()? {
        b'n' => Property::Null,
        b'"' => Property::Text(serde_json::from_str::<String>(raw).ok()?.into()),
        _ => Property::Json(SecretValue::new(compact(raw))),
    })
}

/// JSON without the white space between its parts.
fn compact(raw: &str) -> Vec<u8> {
    let (mut out, mut quoted, mut escaped) = (Vec::with_capacity(raw.len()), false, false);
    for byte in raw.bytes() {
        if quoted || !byte.is_ascii_whitespace() {
            out.push(byte);
        }
        quoted ^= byte == b'"' && !escaped;
        escaped = quoted && byte == b'\\' && !escaped;
    }
    out
}

/// What is missing, by the body of a 404.
pub(super) fn missing(reply: &Reply) -> Missing {
    if let Ok(Read { data: Versioned { metadata: m, .. } }) = serde_json::from_slice(&reply.body) {
        return if m.destroyed || !m.deletion_time.is_empty() { Missing::Deleted } else { Missing::Other };
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
        472 | 473 => (Failure::Unavailable, "this server is a standby that answers nothing: address the active one"),
        501 => (Failure::Unavailable, "the server is not initialised: initialise it"),
        503 if said("sealed") => (Failure::Unavailable, "the server is sealed: unseal it"),
        500.. => (Failure::Unavailable, "the server has an error of its own: look into its log"),
        _ => (Failure::Misconfigured, "the server does not understand the request: check the address and mount"),
    };
    StoreError::new(failure, format!("{what} failed: {why} (status {})", reply.status.as_u16()))
}

fn errors(reply: &Reply) -> Option<Vec<String>> {
    serde_json::from_slice::<Errors>(&reply.body).ok().map(|e| e.errors)
}

#[cfg(test)]
mod tests;
