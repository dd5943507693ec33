//! What the vault says, and what it means.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use azure_core::{error::ErrorKind, time::OffsetDateTime};
use azure_security_keyvault_secrets::models::{SecretAttributes, SecretProperties};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::transport::{Kept, Lost, Refusal, found};
use crate::{
    secret::SecretValue,
    stores::{ChangeToken, Failure, Metadata, Payload, StoreError, Stored, VersionState, body::unquote},
};

/// `updated` ticks in seconds, and clocks differ: before so many seconds it may be the same after the next change.
const YOUNG: i64 = 60;

/// What an identity needs for something.
#[derive(Clone, Copy)]
pub(super) enum Need {
    /// To read.
    Get,
    /// To list.
    List,
    /// To write.
    Write,
}

impl Need {
    /// What to do about a denial.
    pub const fn next(self) -> &'static str {
        match self {
            Self::Get => {
                "give the store's identity the role \"Key Vault Secrets User\" on the vault, or, if it uses access policies, the secret permission Get"
            }
            Self::List => {
                "give the store's identity the role \"Key Vault Secrets User\" on the vault, or, if it uses access policies, the secret permission List"
            }
            Self::Write => {
                "give the identity the role \"Key Vault Secrets Officer\" on the vault, or, if it uses access policies, the secret permissions Get, List, Set, Delete and Recover"
            }
        }
    }
}

/// One secret, or one version of it.
pub(super) struct Secret {
    /// As it was written first: names that differ in case are the same.
    pub name: String,
    pub value: Option<SecretValue>,
    pub about: Metadata,
    /// The server's clock.
    pub now: Timestamp,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Bundle<'a> {
    id: String,
    // Raw, so that no copy of it is made that nobody wipes.
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    attributes: Option<SecretAttributes>,
    content_type: Option<String>,
    tags: Option<HashMap<String, String>>,
}

impl Secret {
    /// What an answer about one secret says.
    pub fn of(kept: &Kept, what: &impl fmt::Display) -> Result<Self, StoreError> {
        let bundle: Bundle<'_> = serde_json::from_slice(&kept.body).map_err(|_| nonsense(what))?;
        let value = match bundle.value {
            Some(raw) if raw.get().starts_with('"') => Some(unquote(raw.get()).ok_or_else(|| nonsense(what))?),
            _ => None,
        };
        let (name, about) =
            about(&bundle.id, bundle.attributes, bundle.content_type, bundle.tags).ok_or_else(|| nonsense(what))?;
        Ok(Self { name, value, about, now: kept.date.unwrap_or_else(Timestamp::now) })
    }

    /// The value with its mark.
    pub fn stored(self, what: &impl fmt::Display) -> Result<Stored, StoreError> {
        let (Some(value), Some(version)) = (self.value, self.about.version) else { return Err(nonsense(what)) };
        let warning = match (self.about.not_before, self.about.expires) {
            (_, Some(at)) if at <= self.now => {
                Some(format!("it expired at {at}: write a new version, or set another expiration date"))
            }
            (Some(at), _) if at > self.now => {
                Some(format!("it is not valid before {at}: write a version that is, or set another activation date"))
            }
            _ => None,
        };
        // A version alone says nothing of being disabled and enabled; a second may see two versions.
        let token = mark(self.about.updated, self.now).with_detail(&version);
        Ok(Stored { payload: Payload::Single(value), version: Some(version), token, warning })
    }
}

/// What a list says of one secret, or of one version.
pub(super) struct Listed {
    pub name: String,
    pub about: Metadata,
    /// It is a certificate's, which the vault made.
    pub managed: bool,
}

impl Listed {
    pub fn of(item: SecretProperties) -> Option<Self> {
        let (name, about) = about(&item.id?, item.attributes, item.content_type, item.tags)?;
        Some(Self { name, about, managed: item.managed == Some(true) })
    }
}

/// The mark that lists and reads have in common.
pub(super) fn mark(updated: Option<Timestamp>, now: Timestamp) -> ChangeToken {
    let updated = updated.map_or(0, Timestamp::as_second);
    let mark = updated.to_string();
    if updated > now.as_second() - YOUNG { ChangeToken::young(mark) } else { ChangeToken::new(mark) }
}

fn about(
    id: &str,
    attributes: Option<SecretAttributes>,
    content_type: Option<String>,
    tags: Option<HashMap<String, String>>,
) -> Option<(String, Metadata)> {
    let (_, path) = id.split_once("/secrets/")?;
    let mut parts = path.split('/');
    let name = parts.next().filter(|name| is_name(name))?;
    let attributes = attributes.unwrap_or_default();
    let state = if attributes.enabled == Some(false) { VersionState::Disabled } else { VersionState::Enabled };
    let metadata = Metadata {
        created: stamp(attributes.created),
        updated: stamp(attributes.updated),
        not_before: stamp(attributes.not_before),
        expires: stamp(attributes.expires),
        content_type,
        tags: tags.map_or_else(BTreeMap::new, |tags| tags.into_iter().collect()),
        ..Metadata::new(parts.next().filter(|v| !v.is_empty()).map(str::to_owned), state)
    };
    Some((name.to_owned(), metadata))
}

fn stamp(time: Option<OffsetDateTime>) -> Option<Timestamp> {
    Timestamp::from_second(time?.unix_timestamp()).ok()
}

/// What the vault takes as a name; anything else would be part of a path.
pub(super) fn is_name(text: &str) -> bool {
    (1..=127).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Whether the vault is certain that there is no such secret, or version of it.
pub(super) fn is_missing(error: &azure_core::Error) -> bool {
    found::<Refusal>(error).is_some_and(|refusal| refusal.status == 404 && refusal.code == "SecretNotFound")
}

/// Whether the identity has no right to it, as opposed to a vault that lets nobody in.
pub(super) fn is_denied(error: &azure_core::Error) -> bool {
    found::<Refusal>(error).is_some_and(|refusal| {
        refusal.status == 403 && !refusal.inner.starts_with("Secret") && network(&refusal.inner).is_none()
    })
}

/// A success that no Key Vault gives.
pub(super) fn nonsense(what: &impl fmt::Display) -> StoreError {
    let message = format!("{what} failed: the answer is not one of a Key Vault: check the store's address (vaultUrl)");
    StoreError::new(Failure::Misconfigured, message)
}

/// What an error of the SDK means.
pub(super) fn error(error: &azure_core::Error, what: &impl fmt::Display, need: Need) -> StoreError {
    if let Some(refusal) = found::<Refusal>(error) {
        return refused(refusal, what, need);
    }
    if let Some(Lost(lost)) = found::<Lost>(error) {
        return StoreError::new(lost.failure, format!("{what}{lost}"));
    }
    // A login that failed speaks for itself.
    if let Some(login) = found::<StoreError>(error) {
        return login.clone();
    }
    match error.kind() {
        ErrorKind::HttpResponse { status, .. } if u16::from(*status) == 401 => unauthenticated(),
        _ => nonsense(what),
    }
}

/// The vault takes no token of this login.
pub(super) fn unauthenticated() -> StoreError {
    let message = "the vault does not accept the operator's login: check that the identity is one of the tenant that the vault belongs to (tenantId), and that vaultUrl and authorityHost are of one cloud";
    StoreError::new(Failure::Unauthenticated, message)
}

fn network(inner: &str) -> Option<&'static str> {
    match inner {
        "ForbiddenByFirewall" => Some(
            "the vault's network rules keep the operator's address out: allow its address or subnet (az keyvault network-rule add), or give it a private endpoint",
        ),
        "ForbiddenByConnection" => Some(
            "the vault's network rules let nobody in from public networks: let the operator reach it by a private endpoint",
        ),
        _ => None,
    }
}

fn refused(refusal: &Refusal, what: &impl fmt::Display, need: Need) -> StoreError {
    let inner = refusal.inner.as_str();
    let (failure, why) = match (refusal.status, inner) {
        (401, _) => return unauthenticated(),
        (403, "SecretDisabled") => {
            (Failure::Disabled, "it is disabled in the vault: enable this version, or write a new one")
        }
        (403, "SecretExpired") => {
            (Failure::Disabled, "it has expired, and the vault no longer gives it out: write a new version")
        }
        (403, "SecretNotYetValid") => {
            (Failure::Disabled, "it is not valid yet, and the vault does not give it out: set another activation date")
        }
        (403, _) => match network(inner) {
            Some(next) => (Failure::Denied, next),
            None => {
                let message = format!("{what} failed: the store's identity has no right to it: {}", need.next());
                return StoreError::new(Failure::Denied, message);
            }
        },
        (404, _) => {
            (Failure::Misconfigured, "the answer is not one of a Key Vault: check the store's address (vaultUrl)")
        }
        (409, "ObjectIsDeletedButRecoverable") => (
            Failure::Misconfigured,
            "a deleted secret holds the name: recover it (az keyvault secret recover), or purge it (az keyvault secret purge)",
        ),
        (409, "ObjectIsBeingDeleted" | "ObjectIsBeingRecovered" | "ObjectIsBeingPurged") => {
            (Failure::Unavailable, "it is still being deleted or recovered: try again in some seconds")
        }
        (409, _) if refusal.code == "Conflict" => (
            Failure::Unavailable,
            "somebody else is changing it, or a deleted secret holds the name: try again, or recover or purge that one",
        ),
        (429, _) => (
            Failure::RateLimited(refusal.retry_after),
            "the vault limits requests (4,000 in 10 s for all its clients): lower limits.requestsPerSecond, or spread the secrets over more vaults",
        ),
        (408 | 500.., _) => {
            (Failure::Unavailable, "the vault has an error of its own: try again, and look at the state of the service")
        }
        (400 | 413, _) => (
            Failure::Misconfigured,
            "the vault does not take this: correct the name, the version, or what is written (at most 25 KiB, and 15 tags)",
        ),
        _ => (Failure::Misconfigured, "the answer is not one of a Key Vault: check the store's address (vaultUrl)"),
    };
    StoreError::new(failure, format!("{what} failed: {why} (status {})", refusal.status))
}

#[cfg(test)]
mod tests;
