//! Azure Key Vault.
//!
//! On the official SDK, without its retries (the layers have them), with our own transport.
//!
//! Certain that a key is not there is a 404 with the code `SecretNotFound`, which a deleted secret gives, too. A vault
//! that lets nobody in says 403 before it looks, so its answer is never taken for that.
//!
//! Names that differ in case are one secret. Certificates have a secret each, made and managed by the vault: those can
//! be read, but lists leave them out.

mod identity;
mod listing;
mod login;
mod refused;
mod transport;
mod wire;
mod writing;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use azure_core::{
    credentials::TokenCredential,
    http::{ClientOptions, RequestContent, RetryOptions, Transport, Url},
};
use azure_security_keyvault_secrets::{
    SecretClient, SecretClientOptions,
    models::{
        SecretClientGetDeletedSecretOptions, SecretClientGetSecretOptions, SecretClientUpdateSecretPropertiesOptions,
    },
};
use tokio::time::Instant;

use super::{
    ChangeToken, Credentials, Failure, Features, Metadata, Store, StoreError, Stored, VersionState, Write, Written,
    http::Http,
};
use crate::{api, api::Capabilities, naming::StoreKey};
use identity::Identity;
use listing::Size;
use login::Login;
use transport::{Answer, ToVault};
use wire::{Need, Secret};

/// A name that is asked for to learn rights: its value is nobody's secret, and it need not exist.
const PROBED: &str = "secretref-probe";
/// A version that no secret has.
const NO_VERSION: &str = "00000000000000000000000000000000";
/// For so long an answer about the right to write is good: asking leaves a line in the vault's log.
const KNOWN: Duration = Duration::from_secs(3600);

/// One vault.
pub struct KeyVault {
    client: SecretClient,
    login: Arc<Login>,
    size: Mutex<Size>,
    /// Whether the identity may write, for which login, and since when that is known.
    writes: Mutex<Option<(bool, u64, Instant)>>,
}

impl KeyVault {
    /// Makes the client; nothing is sent yet.
    ///
    /// # Errors
    /// When the settings cannot be right.
    pub fn new(
        settings: &api::AzureKeyVault,
        ca: Option<&str>,
        credentials: Arc<dyn Credentials>,
    ) -> Result<Self, StoreError> {
        let no_vault = || {
            let message = "the store's vaultUrl is not one of a vault: write it as https://NAME.vault.azure.net";
            StoreError::new(Failure::Misconfigured, message)
        };
        let vault = Url::parse(&settings.vault_url).ok().filter(|url| url.scheme() == "https").ok_or_else(no_vault)?;
        let host = vault.host_str().ok_or_else(no_vault)?;
        let login = Arc::new(Login::new(Identity::new(settings, &vault, ca, credentials)?, host));
        let http = Http::new(&settings.vault_url, ca)?;
        let transport = ToVault { http, vault: vault.clone(), login: login.clone() };
        let options = SecretClientOptions {
            client_options: ClientOptions {
                transport: Some(Transport::with_policy(Arc::new(transport))),
                retry: RetryOptions::none(),
                ..ClientOptions::default()
            },
            // Of other hosts the SDK cannot tell; the login gives no token to another service in any case.
            verify_challenge_resource: Some(Login::is_known_cloud(host)),
            ..SecretClientOptions::default()
        };
        let credential: Arc<dyn TokenCredential> = login.clone();
        let client = SecretClient::new(&settings.vault_url, credential, Some(options)).map_err(|_| no_vault())?;
        Ok(Self { client, login, size: Mutex::default(), writes: Mutex::default() })
    }

    /// The key as a name that can be asked for.
    fn name<'a>(key: &'a StoreKey, what: &str) -> Result<&'a str, StoreError> {
        let name = key.as_str();
        if wire::is_name(name) {
            return Ok(name);
        }
        // What is no name may be anything.
        let what: String = what.escape_debug().take(150).collect();
        let message = format!(
            "{what} failed: Key Vault takes names of 1 to 127 letters, digits and '-': choose such a name, with layout Flat and nameStyle Kebab"
        );
        Err(StoreError::new(Failure::Misconfigured, message))
    }

    /// One version, or the latest; `None`: certainly not there.
    async fn read(&self, name: &str, version: Option<&str>, what: &str) -> Result<Option<Secret>, StoreError> {
        self.login.ready().await?;
        let answer = Answer::default();
        let options = SecretClientGetSecretOptions {
            method_options: answer.options(),
            secret_version: version.map(str::to_owned),
            ..SecretClientGetSecretOptions::default()
        };
        match self.client.get_secret(name, Some(options)).await {
            Ok(_) => {}
            Err(error) if wire::is_missing(&error) => return Ok(None),
            Err(error) => return Err(wire::error(&error, &what, Need::Get)),
        }
        let secret = Secret::of(&answer.take(), &what)?;
        let other = version.is_some_and(|v| !secret.about.version.as_ref().is_some_and(|s| s.eq_ignore_ascii_case(v)));
        if other || !secret.name.eq_ignore_ascii_case(name) {
            return Err(wire::nonsense(&what));
        }
        Ok(Some(secret))
    }

    /// What is known of a deleted secret that can be recovered.
    async fn deleted(&self, name: &str, what: &str) -> Result<Option<Metadata>, StoreError> {
        let answer = Answer::default();
        let options = SecretClientGetDeletedSecretOptions { method_options: answer.options() };
        match self.client.get_deleted_secret(name, Some(options)).await {
            Ok(_) => {}
            Err(error) if wire::is_missing(&error) => return Ok(None),
            Err(error) => return Err(wire::error(&error, &what, Need::Get)),
        }
        let about = Secret::of(&answer.take(), &what)?.about;
        Ok(Some(Metadata { state: VersionState::Deleted, ..about }))
    }

    /// Whether the identity may write. Nothing says so but a write: one of a version that cannot be there, so that
    /// nothing is written whatever the answer.
    async fn may_write(&self, what: &str) -> Result<bool, StoreError> {
        let logins = self.login.logins();
        let known = *self.writes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((write, of, since)) = known
            && of == logins
            && since.elapsed() < KNOWN
        {
            return Ok(write);
        }
        let options = SecretClientUpdateSecretPropertiesOptions {
            method_options: Answer::default().options(),
            secret_version: Some(NO_VERSION.to_owned()),
        };
        let nothing = RequestContent::from(b"{}".to_vec());
        let write = match self.client.update_secret_properties(PROBED, nothing, Some(options)).await {
            Ok(_) => true,
            Err(error) if wire::is_missing(&error) => true,
            Err(error) if wire::is_denied(&error) => false,
            Err(error) => match wire::error(&error, &what, Need::Write) {
                told if matches!(told.failure, Failure::RateLimited(_)) => return Err(told),
                // Whatever stands in the way of writes is no reason not to read; it is asked again.
                _ => return Ok(false),
            },
        };
        *self.writes.lock().unwrap_or_else(PoisonError::into_inner) = Some((write, logins, Instant::now()));
        Ok(write)
    }

    fn size(&self) -> std::sync::MutexGuard<'_, Size> {
        self.size.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Store for KeyVault {
    fn features(&self) -> Features {
        Features {
            write: true,
            versions: true,
            undelete: true,
            atomic: false,
            maps: false,
            binary: false,
            empty: true,
            exact: true,
            content_type: true,
            tags: true,
            max_value: writing::MAX_VALUE,
            ignores_case: true,
        }
    }

    async fn get(&self, key: &StoreKey, version: Option<&str>) -> Result<Option<Stored>, StoreError> {
        let what = format!("reading {key}");
        let name = Self::name(key, &what)?;
        if version.is_some_and(|v| v.len() != 32 || !v.bytes().all(|b| b.is_ascii_hexdigit())) {
            let message = format!(
                "{what} failed: a version is 32 hexadecimal digits, as the vault shows it: correct secretRef.version"
            );
            return Err(StoreError::new(Failure::Misconfigured, message));
        }
        self.read(name, version, &what).await?.map(|secret| secret.stored(&what)).transpose()
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoreKey>, StoreError> {
        self.names(prefix).await
    }

    async fn metadata(&self, key: &StoreKey) -> Result<Option<Metadata>, StoreError> {
        let what = format!("describing {key}");
        let name = Self::name(key, &what)?;
        match self.history(name, &what).await?.into_iter().next() {
            Some(latest) => Ok(Some(latest)),
            None => self.deleted(name, &what).await,
        }
    }

    async fn versions(&self, key: &StoreKey) -> Result<Vec<Metadata>, StoreError> {
        let what = format!("listing versions of {key}");
        self.history(Self::name(key, &what)?, &what).await
    }

    async fn set(&self, key: &StoreKey, write: &Write) -> Result<Written, StoreError> {
        let what = format!("writing {key}");
        self.write(Self::name(key, &what)?, write, &what).await
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        let what = format!("deleting {key}");
        self.remove(Self::name(key, &what)?, &what).await
    }

    async fn restore(&self, key: &StoreKey, version: &str) -> Result<Option<String>, StoreError> {
        let what = format!("restoring {key}");
        self.bring_back(Self::name(key, &what)?, version, &what).await
    }

    async fn probe(&self) -> Result<Capabilities, StoreError> {
        let what = "probing the vault";
        self.login.ready().await?;
        let list = self.may_list(what).await?;
        let get = match self.client.get_secret(PROBED, Some(Self::kept())).await {
            Ok(_) => true,
            Err(error) if wire::is_missing(&error) => true,
            Err(error) if wire::is_denied(&error) => false,
            Err(error) => match wire::error(&error, &what, Need::Get) {
                disabled if disabled.failure == Failure::Disabled => true,
                error => return Err(error),
            },
        };
        if !get && !list {
            let message = format!("{what} failed: the store's identity may do nothing in it: {}", Need::Get.next());
            return Err(StoreError::new(Failure::Denied, message));
        }
        Ok(Capabilities { get, list, write: self.may_write(what).await? })
    }

    fn lists_changes(&self, keys: usize) -> bool {
        self.size().is_below(keys)
    }

    async fn changes(&self, keys: &[StoreKey]) -> Result<Option<HashMap<StoreKey, ChangeToken>>, StoreError> {
        self.marks(keys).await
    }

    async fn maintain(&self) -> Option<Duration> {
        Some(self.login.maintain().await)
    }

    fn logins(&self) -> u64 {
        self.login.logins()
    }
}

impl KeyVault {
    /// An answer that nobody looks at: its value is wiped.
    fn kept() -> SecretClientGetSecretOptions<'static> {
        SecretClientGetSecretOptions { method_options: Answer::default().options(), ..Default::default() }
    }
}
