//! Where stores get their credentials in a cluster: named Secrets, and tokens of ServiceAccounts.

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use k8s_openapi::api::{
    authentication::v1::{SelfSubjectReview, TokenRequest, TokenRequestSpec},
    core::v1::{ConfigMap, ServiceAccount},
};
use kube::Client;
use tokio::sync::{Mutex, OnceCell};
use zeroize::Zeroizing;

use super::{Credentials, Failure, StoreError, kubernetes::request};
use crate::{
    api::{CaRef, CaRefKind, SecretKeyRef, ServiceAccountRef},
    secret::SecretValue,
};

/// The shortest life that the API server gives a token. A login needs it for a moment.
const TOKEN_SECONDS: i64 = 600;

/// Credentials that remember what they gave: a Secret that changed, but not in what a session stands on, is no reason
/// for a new one.
pub struct Remembering<C> {
    inner: C,
    /// What was given last; `None`: there was nothing. Held while reading, so that no answer comes in between.
    given: Mutex<Vec<(SecretKeyRef, Option<SecretValue>)>>,
}

impl<C: Credentials> Remembering<C> {
    /// Nothing was given yet.
    pub fn new(inner: C) -> Self {
        Self { inner, given: Mutex::default() }
    }

    /// The credentials themselves.
    pub const fn inner(&self) -> &C {
        &self.inner
    }

    /// Whether something that was given would be another now.
    ///
    /// # Errors
    /// When it cannot be read now.
    pub async fn changed(&self) -> Result<bool, StoreError> {
        for (source, before) in &*self.given.lock().await {
            if certainly(self.inner.secret(source).await)? != *before {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[async_trait]
impl<C: Credentials> Credentials for Remembering<C> {
    async fn secret(&self, source: &SecretKeyRef) -> Result<SecretValue, StoreError> {
        let mut given = self.given.lock().await;
        let found = self.inner.secret(source).await;
        if let Ok(value) = certainly(found.clone()) {
            given.retain(|(known, _)| known != source);
            given.push((source.clone(), value));
        }
        found
    }

    async fn service_account_token(
        &self,
        account: Option<&ServiceAccountRef>,
        audiences: &[String],
    ) -> Result<SecretValue, StoreError> {
        self.inner.service_account_token(account, audiences).await
    }

    fn lends_own_identity(&self) -> bool {
        self.inner.lends_own_identity()
    }
}

/// `None`: it is not there. That the API server is away says nothing.
pub fn certainly<T>(found: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match found {
        Ok(value) => Ok(Some(value)),
        Err(error) if matches!(error.failure, Failure::NotReady | Failure::Misconfigured) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Credentials of one store object.
pub struct ClusterCredentials {
    client: Client,
    /// Of references that name no namespace.
    default_namespace: Option<String>,
    /// A tenant's store: nothing of another namespace, and not the operator's identity.
    own_namespace_only: bool,
    /// The operator's ServiceAccount: namespace and name.
    service_account: OnceCell<(String, String)>,
}

impl ClusterCredentials {
    /// For a ClusterSecretStore. References without a namespace are in `default_namespace`. The operator's own
    /// ServiceAccount is found by itself unless named (namespace, name).
    pub fn platform(
        client: Client,
        default_namespace: Option<String>,
        service_account: Option<(String, String)>,
    ) -> Self {
        let service_account = OnceCell::new_with(service_account);
        Self { client, default_namespace, own_namespace_only: false, service_account }
    }

    /// For a SecretStore: its own namespace and nothing of the operator's.
    pub fn tenant(client: Client, namespace: String) -> Self {
        Self { client, default_namespace: Some(namespace), own_namespace_only: true, service_account: OnceCell::new() }
    }

    /// The CA certificates that a store object refers to.
    ///
    /// # Errors
    /// [`Failure::NotReady`] when they are not there.
    pub async fn ca_bundle(&self, source: &CaRef) -> Result<String, StoreError> {
        let namespace = self.namespace(source.namespace.as_deref(), "caRef")?;
        match source.kind {
            CaRefKind::Secret => {
                let pem = self.read(namespace, &source.name, &source.key).await?;
                pem.expose_str()
                    .map(str::to_owned)
                    .ok_or_else(|| missing("Secret", namespace, &source.name, &source.key))
            }
            CaRefKind::ConfigMap => {
                let what = format!("reading ConfigMap {namespace}/{}", source.name);
                let denied = format!("let the operator's ServiceAccount get ConfigMaps in namespace {namespace}");
                let path = request::collection::<ConfigMap>(namespace, &what)?;
                let found: Option<ConfigMap> =
                    request::get(&self.client, &path, &source.name, &what, &denied).await.map_err(not_ready)?;
                found
                    .and_then(|map| map.data?.remove(&source.key))
                    .ok_or_else(|| missing("ConfigMap", namespace, &source.name, &source.key))
            }
        }
    }

    fn namespace<'a>(&'a self, named: Option<&'a str>, field: &str) -> Result<&'a str, StoreError> {
        let own = self.default_namespace.as_deref();
        if self.own_namespace_only && named.is_some() && named != own {
            let message = format!("{field} of a SecretStore cannot name another namespace: remove namespace");
            return Err(StoreError::new(Failure::Misconfigured, message));
        }
        named.or(own).ok_or_else(|| {
            StoreError::new(Failure::Misconfigured, format!("{field} names no namespace: add namespace"))
        })
    }

    async fn read(&self, namespace: &str, name: &str, key: &str) -> Result<SecretValue, StoreError> {
        let what = format!("reading the store's credential, Secret {namespace}/{name},");
        let denied = format!("let the operator's ServiceAccount get Secrets in namespace {namespace}");
        let found = request::secret(&self.client, namespace, name, &what, &denied).await.map_err(not_ready)?;
        let mut data = found.and_then(|secret| secret.data).unwrap_or_default();
        let wanted = data.remove(key);
        for other in data.into_values() {
            drop(Zeroizing::new(other.0));
        }
        let mut value = wanted.ok_or_else(|| missing("Secret", namespace, name, key))?.0;
        while value.last().is_some_and(|b| matches!(b, b'\n' | b'\r')) {
            value.pop();
        }
        Ok(SecretValue::new(value))
    }

    /// Whose token is asked for when none is named.
    async fn own_account(&self) -> Result<&(String, String), StoreError> {
        self.service_account
            .get_or_try_init(|| async {
                let what = "finding the operator's ServiceAccount";
                let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
                let review = SelfSubjectReview::default();
                let review = request::post(&self.client, path, None, &review, &what, "").await?;
                let user = review.and_then(|r| r.status?.user_info?.username).unwrap_or_default();
                let account = user.strip_prefix("system:serviceaccount:").and_then(|account| account.split_once(':'));
                account.map(|(namespace, name)| (namespace.to_owned(), name.to_owned())).ok_or_else(|| {
                    let message =
                        "the operator does not run as a ServiceAccount: name one with --service-account NAMESPACE/NAME";
                    StoreError::new(Failure::NotReady, message)
                })
            })
            .await
    }
}

#[async_trait]
impl Credentials for ClusterCredentials {
    async fn secret(&self, source: &SecretKeyRef) -> Result<SecretValue, StoreError> {
        let namespace = self.namespace(source.namespace.as_deref(), "secretRef")?;
        self.read(namespace, &source.name, &source.key).await
    }

    async fn service_account_token(
        &self,
        account: Option<&ServiceAccountRef>,
        audiences: &[String],
    ) -> Result<SecretValue, StoreError> {
        // No audience at all means the API server's.
        if audiences.is_empty() || audiences.iter().any(|a| is_api_server(a)) {
            return Err(own_audience());
        }
        let (namespace, name) = match (account, self.own_namespace_only) {
            (Some(account), true) => (self.namespace(None, "serviceAccountRef")?, account.name.as_str()),
            (None, false) => {
                let (namespace, name) = self.own_account().await?;
                (namespace.as_str(), name.as_str())
            }
            (None, true) => {
                let message = "a SecretStore logs in as a ServiceAccount of its own namespace: add serviceAccountRef";
                return Err(StoreError::new(Failure::Misconfigured, message));
            }
            (Some(_), false) => {
                let message = "a ClusterSecretStore logs in as the operator: remove serviceAccountRef";
                return Err(StoreError::new(Failure::Misconfigured, message));
            }
        };
        let what = format!("asking for a token of ServiceAccount {namespace}/{name}");
        let denied = format!(
            "bind the operator's ServiceAccount to a Role in namespace {namespace} with apiGroups [\"\"], resources [serviceaccounts/token], resourceNames [{name}], verbs [create]"
        );
        let spec = TokenRequestSpec {
            audiences: audiences.to_vec(),
            expiration_seconds: Some(TOKEN_SECONDS),
            ..Default::default()
        };
        let path = request::collection::<ServiceAccount>(namespace, &what)?;
        let body = TokenRequest { spec, ..Default::default() };
        let answer = request::post(&self.client, &path, Some((name, "token")), &body, &what, &denied).await;
        let token = answer.map_err(not_ready)?.and_then(|answer| answer.status).ok_or_else(|| {
            StoreError::new(Failure::NotReady, format!("there is no ServiceAccount {namespace}/{name}: create it"))
        })?;
        let token = SecretValue::from(token.token);
        // The API server's audience, unless set apart, is its issuer's name, and that is in the token.
        if issuer(&token).is_some_and(|issuer| audiences.contains(&issuer)) {
            return Err(own_audience());
        }
        Ok(token)
    }

    fn lends_own_identity(&self) -> bool {
        !self.own_namespace_only
    }
}

fn issuer(token: &SecretValue) -> Option<String> {
    let payload = URL_SAFE_NO_PAD.decode(token.expose_str()?.split('.').nth(1)?).ok()?;
    serde_json::from_slice::<serde_json::Value>(&payload).ok()?.get("iss")?.as_str().map(str::to_owned)
}

/// The names that an API server commonly takes as its own audience, and none at all, which means the same.
pub(super) fn is_api_server(audience: &str) -> bool {
    audience.is_empty() || audience.contains("kubernetes.default")
}

pub(super) fn own_audience() -> StoreError {
    let message = "a token for the API server's own audience would give the store the operator's rights: set audiences to the store's";
    StoreError::new(Failure::Misconfigured, message)
}

fn missing(kind: &str, namespace: &str, name: &str, key: &str) -> StoreError {
    let message =
        format!("{kind} {namespace}/{name} is not there or has no key {key}: create it, or correct the store");
    StoreError::new(Failure::NotReady, message)
}

/// What the operator may not read is not there for the store; that the API server is away is another matter.
fn not_ready(error: StoreError) -> StoreError {
    match error.failure {
        Failure::Denied => StoreError { failure: Failure::NotReady, ..error },
        _ => error,
    }
}

#[cfg(test)]
#[path = "credentials/tests.rs"]
mod tests;
