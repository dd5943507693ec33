//! Writes: a new version of a secret, its deletion, and the way back.
//!
//! The vault has no conditions on writes: they are checked just before.

use std::{collections::BTreeMap, time::Duration};

use azure_core::{Bytes, http::RequestContent};
use azure_security_keyvault_secrets::models::{
    SecretClientDeleteSecretOptions, SecretClientRecoverDeletedSecretOptions, SecretClientSetSecretOptions,
};
use serde::Serialize;
use tokio::time::sleep;
use zeroize::Zeroizing;

use super::{
    KeyVault,
    transport::Answer,
    wire::{self, Need, Secret},
};
use crate::stores::{Failure, Metadata, Payload, Property, StoreError, VersionState, When, Write, Written};

/// The most bytes of a value: 25 KiB.
pub(super) const MAX_VALUE: usize = 25_600;
/// A recovery takes the vault some seconds, of which so many are waited for.
const LOOKS: u32 = 5;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Put<'a> {
    value: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tags: Option<&'a BTreeMap<String, String>>,
}

impl KeyVault {
    /// Makes a new version.
    pub(super) async fn write(&self, name: &str, write: &Write, what: &str) -> Result<Written, StoreError> {
        let value = text(&write.payload, what)?;
        let (mut content_type, mut tags) = (write.content_type.clone(), write.tags.clone());
        // A new version has nothing of the one before but what it is given.
        if write.when != When::Always || content_type.is_none() || tags.is_none() {
            let current = self.current(name, what).await?;
            let holds = match (&write.when, &current) {
                (When::Always, _) | (When::Absent, None) => true,
                (When::Version(version), Some(current)) => {
                    current.version.as_ref().is_some_and(|v| v.eq_ignore_ascii_case(version))
                }
                (When::Absent, Some(_)) | (When::Version(_), None) => false,
            };
            if !holds {
                return Ok(Written::Conflict);
            }
            if let Some(current) = current {
                content_type = content_type.or(current.content_type);
                tags = tags.or(Some(current.tags));
            }
        }
        self.put(name, &value, content_type.as_deref(), tags.as_ref(), what).await.map(Written::Version)
    }

    /// Deletes it; the vault keeps it for some time. Answers whether it was there.
    pub(super) async fn remove(&self, name: &str, what: &str) -> Result<bool, StoreError> {
        self.login.ready().await?;
        let options = SecretClientDeleteSecretOptions { method_options: Answer::default().options() };
        match self.client.delete_secret(name, Some(options)).await {
            Ok(_) => Ok(true),
            Err(error) if wire::is_missing(&error) => Ok(false),
            Err(error) => Err(wire::error(&error, &what, Need::Write)),
        }
    }

    /// Makes the value of a version the latest one.
    pub(super) async fn bring_back(&self, name: &str, version: &str, what: &str) -> Result<Option<String>, StoreError> {
        if version.len() != 32 || !version.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Ok(None);
        }
        let was_deleted = self.current(name, what).await?.is_none();
        if was_deleted && !self.recover(name, what).await? {
            return Ok(None);
        }
        let Some(secret) = self.read(name, Some(version), what).await? else {
            // A deleted secret does not tell its versions: it goes back to where it was.
            if was_deleted {
                self.remove(name, what).await?;
            }
            return Ok(None);
        };
        let Some(value) = &secret.value else { return Err(wire::nonsense(&what)) };
        let value = value.expose_str().unwrap_or_default();
        let about = &secret.about;
        self.put(name, value, about.content_type.as_deref(), Some(&about.tags), what).await.map(Some)
    }

    /// The latest version, also a disabled one; `None`: certainly not there.
    async fn current(&self, name: &str, what: &str) -> Result<Option<Metadata>, StoreError> {
        match self.read(name, None, what).await {
            // A read says it for certain; a list of versions knows the order by the second only.
            Ok(found) => Ok(found.map(|secret| secret.about)),
            Err(error) if error.failure == Failure::Disabled => {
                let mut versions = self.history(name, what).await?.into_iter();
                let latest = versions.find(|version| version.state == VersionState::Disabled);
                Ok(latest.or_else(|| Some(Metadata::new(None, VersionState::Disabled))))
            }
            Err(error) => Err(error),
        }
    }

    /// Recovers a deleted secret; answers whether there is one.
    async fn recover(&self, name: &str, what: &str) -> Result<bool, StoreError> {
        let options = SecretClientRecoverDeletedSecretOptions { method_options: Answer::default().options() };
        match self.client.recover_deleted_secret(name, Some(options)).await {
            Ok(_) => {}
            Err(error) if wire::is_missing(&error) => return Ok(false),
            Err(error) => return Err(wire::error(&error, &what, Need::Write)),
        }
        for look in 1..=LOOKS {
            if self.current(name, what).await?.is_some() {
                return Ok(true);
            }
            if look < LOOKS {
                sleep(Duration::from_secs(1)).await;
            }
        }
        let message = format!("{what} failed: the vault is still recovering it: try again in some seconds");
        Err(StoreError::new(Failure::Unavailable, message))
    }

    async fn put(
        &self,
        name: &str,
        value: &str,
        content_type: Option<&str>,
        tags: Option<&BTreeMap<String, String>>,
        what: &str,
    ) -> Result<String, StoreError> {
        self.login.ready().await?;
        // All that it can take, escaped: a buffer that grows leaves its old bytes behind, unwiped.
        let others: usize = tags.into_iter().flatten().map(|(k, v)| k.len() + v.len() + 1).sum();
        let length = 6 * (value.len() + content_type.map_or(0, str::len) + others) + 128;
        let mut body = Zeroizing::new(Vec::with_capacity(length));
        serde_json::to_writer(&mut *body, &Put { value, content_type, tags }).map_err(|_| wire::nonsense(&what))?;
        let answer = Answer::default();
        let options = SecretClientSetSecretOptions { method_options: answer.options() };
        let content: RequestContent<_> = Bytes::from_owner(body).into();
        self.client
            .set_secret(name, content, Some(options))
            .await
            .map_err(|error| wire::error(&error, &what, Need::Write))?;
        Secret::of(&answer.take(), &what)?.about.version.ok_or_else(|| wire::nonsense(&what))
    }
}

/// The payload as the text that the vault keeps.
fn text(payload: &Payload, what: &str) -> Result<Zeroizing<String>, StoreError> {
    let refuse = |why: &str| StoreError::new(Failure::Misconfigured, format!("{what} failed: {why}"));
    let binary = || {
        refuse(
            "the value is not UTF-8 text, and Key Vault keeps text only: write it as Base64, and set decode: Base64 where it is read",
        )
    };
    let text = match payload {
        Payload::Single(value) => Zeroizing::new(value.expose_str().ok_or_else(binary)?.to_owned()),
        Payload::Map(map) => {
            let length: usize = map
                .iter()
                .map(|(key, property)| match property {
                    Property::Text(v) | Property::Json(v) => 6 * (key.len() + v.len()) + 8,
                    Property::Null => 6 * key.len() + 16,
                })
                .sum();
            let mut json = Zeroizing::new(String::with_capacity(length + 2));
            for (at, (key, property)) in map.iter().enumerate() {
                json.push(if at == 0 { '{' } else { ',' });
                quote(&mut json, key);
                json.push(':');
                match property {
                    Property::Text(value) => quote(&mut json, value.expose_str().ok_or_else(binary)?),
                    Property::Json(value) => json.push_str(value.expose_str().ok_or_else(binary)?),
                    Property::Null => json.push_str("null"),
                }
            }
            json.push_str(if map.is_empty() { "{}" } else { "}" });
            json
        }
    };
    if text.len() > MAX_VALUE {
        return Err(refuse(
            "the value is longer than the 25,600 bytes that Key Vault takes: split it, or keep it elsewhere",
        ));
    }
    Ok(text)
}

/// JSON text, appended without a copy that nobody wipes.
fn quote(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                let _ = std::fmt::Write::write_fmt(out, format_args!("\\u{:04x}", u32::from(c)));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
