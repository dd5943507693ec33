//! Secrets of one namespace: the store that needs nothing else.
//!
//! A store key is the name of a Secret, its properties are the keys in it. Changes come by a watch of metadata, so
//! nothing is polled. What logs in at the API server itself (tokens of ServiceAccounts, bootstrap tokens) is never given
//! out.

mod answer;
pub(super) mod request;
mod watch;
mod write;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::stream::BoxStream;
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::Namespace,
};
use kube::{
    Client, ResourceExt,
    api::{ListParams, ObjectMeta, PartialObjectMeta},
};
use tokio::sync::Mutex;

use super::{
    Change, ChangeToken, Failure, Features, Metadata, Payload, Property, Store, StoreError, Stored, Write, Written,
};
use crate::{api::Capabilities, naming::StoreKey, secret::SecretValue};

/// Types of Secrets that log in at the API server.
const CREDENTIALS: [&str; 2] = ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"];
/// The others.
const SELECTOR: &str = "type!=kubernetes.io/service-account-token,type!=bootstrap.kubernetes.io/token";
/// So long a namespace that was there is taken to be there. Short: while it is deleted its Secrets go one by one, and
/// none of them may look like one that is simply not there.
const TRUSTED: Duration = Duration::from_secs(2);
const NEVER: &str = "Secrets that log in at the API server are never given out, nor written: use one of another type";
const NO_VERSIONS: &str = "Kubernetes keeps no versions of a Secret: write the value anew";
/// Names that a list reads.
const MAX_NAMES: usize = 10_000;

/// The Secrets of one namespace.
pub struct Kubernetes {
    client: Client,
    namespace: String,
    seen: Mutex<Option<Instant>>,
}

impl Kubernetes {
    /// Nothing is sent yet.
    pub fn new(client: Client, namespace: String) -> Self {
        Self { client, namespace, seen: Mutex::new(None) }
    }

    fn denied(&self) -> String {
        self.role("get, list, watch")
    }

    fn role(&self, verbs: &str) -> String {
        format!(
            "bind the operator's ServiceAccount to a Role in namespace {} with apiGroups [\"\"], resources [secrets], verbs [{verbs}]",
            self.namespace
        )
    }

    /// Makes sure that "not found" is said of a namespace that is there and stays.
    async fn certain(&self) -> Result<(), StoreError> {
        let mut seen = self.seen.lock().await;
        if !seen.is_some_and(|at| at.elapsed() < TRUSTED) {
            let begun = Instant::now();
            self.look_at_namespace().await?;
            *seen = Some(begun);
        }
        Ok(())
    }

    async fn look_at_namespace(&self) -> Result<(), StoreError> {
        let name = &self.namespace;
        let what = format!("looking at namespace {name}");
        let denied = format!(
            "bind the operator's ServiceAccount to a Role in namespace {name} with apiGroups [\"\"], resources [namespaces], verbs [get]"
        );
        let found: Option<PartialObjectMeta<Namespace>> =
            request::get_metadata(&self.client, "/api/v1/namespaces", name, &what, &denied).await?;
        match found {
            Some(found) if found.metadata.deletion_timestamp.is_none() => Ok(()),
            Some(_) => Err(StoreError::new(
                Failure::Misconfigured,
                format!(
                    "namespace {name} is being deleted: make it again, or correct spec.provider.kubernetes.namespace"
                ),
            )),
            None => Err(StoreError::new(
                Failure::Misconfigured,
                format!("there is no namespace {name}: create it, or correct spec.provider.kubernetes.namespace"),
            )),
        }
    }

    /// Whether the operator may do this with the Secrets of the namespace.
    async fn may(&self, verb: &str) -> Result<bool, StoreError> {
        let what = format!("asking for the right to {verb} Secrets in namespace {}", self.namespace);
        let attributes = ResourceAttributes {
            namespace: Some(self.namespace.clone()),
            resource: Some("secrets".to_owned()),
            verb: Some(verb.to_owned()),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
        let review = SelfSubjectAccessReview { spec, ..Default::default() };
        let denied = "bind it to the ClusterRole system:basic-user";
        let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
        let answer = request::post(&self.client, path, None, &review, &what, denied).await?;
        Ok(answer.and_then(|review| review.status).is_some_and(|status| status.allowed))
    }
}

#[async_trait]
impl Store for Kubernetes {
    fn features(&self) -> Features {
        Features {
            write: true,
            versions: false,
            undelete: false,
            atomic: true,
            maps: true,
            binary: true,
            empty: true,
            exact: true,
            content_type: false,
            tags: false,
            max_value: 1 << 20,
            ignores_case: false,
        }
    }

    async fn get(&self, key: &StoreKey, version: Option<&str>) -> Result<Option<Stored>, StoreError> {
        let what = format!("reading {key}");
        let refuse = |failure, why: &str| Err(StoreError::new(failure, format!("{what} failed: {why}")));
        if version.is_some() {
            return refuse(
                Failure::Misconfigured,
                "Kubernetes keeps no versions of a Secret: remove secretRef.version",
            );
        }
        let Some(secret) = request::secret(&self.client, &self.namespace, key.as_str(), &what, &self.denied()).await?
        else {
            return self.certain().await.map(|()| None);
        };
        if secret.type_.as_deref().is_some_and(|t| CREDENTIALS.contains(&t)) {
            return refuse(Failure::Denied, NEVER);
        }
        let token = token(&secret.metadata);
        let properties = secret.data.unwrap_or_default().into_iter();
        Ok(Some(Stored {
            payload: Payload::Map(properties.map(|(k, v)| (k, Property::Text(SecretValue::new(v.0)))).collect()),
            version: secret.metadata.resource_version,
            token,
            warning: None,
        }))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<StoreKey>, StoreError> {
        let what = format!("listing Secrets in namespace {}", self.namespace);
        let (mut params, mut keys) = (ListParams::default().fields(SELECTOR).limit(500), Vec::new());
        loop {
            let page = request::list_metadata(&self.client, &self.namespace, &params, &what, &self.denied()).await?;
            let names = page.items.into_iter().map(|secret| secret.name_any());
            keys.extend(names.filter(|name| name.starts_with(prefix)).map(StoreKey::verbatim));
            if keys.len() > MAX_NAMES {
                let message =
                    format!("{what} failed: more than {MAX_NAMES} names start with {prefix}: use a longer prefix");
                return Err(StoreError::new(Failure::Misconfigured, message));
            }
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => params = params.continue_token(&token),
                None => break,
            }
        }
        if keys.is_empty() {
            self.certain().await?;
        }
        Ok(keys)
    }

    async fn metadata(&self, key: &StoreKey) -> Result<Option<Metadata>, StoreError> {
        self.describe(key).await
    }

    async fn versions(&self, key: &StoreKey) -> Result<Vec<Metadata>, StoreError> {
        Err(StoreError::unsupported(format!("listing versions of {key}"), NO_VERSIONS))
    }

    async fn set(&self, key: &StoreKey, write: &Write) -> Result<Written, StoreError> {
        self.write(key, write).await
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        self.remove(key).await
    }

    async fn restore(&self, key: &StoreKey, _: &str) -> Result<Option<String>, StoreError> {
        Err(StoreError::unsupported(format!("restoring {key}"), NO_VERSIONS))
    }

    async fn probe(&self) -> Result<Capabilities, StoreError> {
        self.look_at_namespace().await?;
        let (get, list, watch, create, update, delete) = futures::try_join!(
            self.may("get"),
            self.may("list"),
            self.may("watch"),
            self.may("create"),
            self.may("update"),
            self.may("delete")
        )?;
        if !(get && list && watch) {
            return Err(StoreError::new(
                Failure::Denied,
                format!("the store's Secrets cannot be read: {}", self.denied()),
            ));
        }
        Ok(Capabilities { get, list, write: create && update && delete })
    }

    fn watch(&self) -> Option<BoxStream<'static, Change>> {
        Some(watch::changes(self.client.clone(), &self.namespace))
    }
}

/// A Secret that was made anew starts a new history.
fn token(metadata: &ObjectMeta) -> ChangeToken {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    ChangeToken::new(format!("{}/{}", part(&metadata.uid), part(&metadata.resource_version)))
}
