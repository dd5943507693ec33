//! Secrets of one namespace: the store that needs nothing else.
//!
//! A store key is the name of a Secret, its properties are the keys in it. Changes come by a watch of metadata, so
//! nothing is polled. What logs in at the API server itself (tokens of ServiceAccounts, bootstrap tokens) is never given
//! out.

pub(super) mod request;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::{
    StreamExt,
    stream::{self, BoxStream},
};
use k8s_openapi::api::{
    authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
    core::v1::{Namespace, Secret},
};
use kube::{
    Api, Client, ResourceExt,
    api::{ListParams, ObjectMeta, PartialObjectMeta},
    runtime::{WatchStreamExt, watcher, watcher::Event},
};
use tokio::sync::Mutex;

use super::{
    Change, ChangeToken, Failure, Features, Metadata, Payload, Property, Store, StoreError, Stored, Write, Written,
    pace,
};
use crate::{api::Capabilities, naming::StoreKey, secret::SecretValue};

/// Types of Secrets that log in at the API server.
const CREDENTIALS: [&str; 2] = ["kubernetes.io/service-account-token", "bootstrap.kubernetes.io/token"];
/// The others.
const SELECTOR: &str = "type!=kubernetes.io/service-account-token,type!=bootstrap.kubernetes.io/token";
/// So long a namespace that was there is taken to be there. Short: while it is deleted its Secrets go one by one, and
/// none of them may look like one that is simply not there.
const TRUSTED: Duration = Duration::from_secs(2);
/// How long the watch waits for the next part of a list; longer than its pauses after errors.
const LISTING: Duration = Duration::from_secs(90);
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
        format!(
            "bind the operator's ServiceAccount to a Role in namespace {} with apiGroups [\"\"], resources [secrets], verbs [get, list, watch]",
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
            write: false,
            versions: false,
            undelete: false,
            atomic: false,
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
            return refuse(
                Failure::Denied,
                "Secrets that log in at the API server are never given out: use one of another type",
            );
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
        let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(self.client.clone(), &self.namespace);
        let (mut params, mut keys) = (ListParams::default().fields(SELECTOR).limit(500), Vec::new());
        loop {
            pace::request().await;
            let page = match request::bounded(api.list(&params)).await {
                Some(Ok(page)) => page,
                Some(Err(error)) => return Err(request::failure(&error, &what, &self.denied())),
                None => return Err(request::no_answer(&what)),
            };
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
        Err(StoreError::unsupported(format!("describing {key}"), "not yet"))
    }

    async fn versions(&self, key: &StoreKey) -> Result<Vec<Metadata>, StoreError> {
        Err(StoreError::unsupported(format!("listing versions of {key}"), "not yet"))
    }

    async fn set(&self, key: &StoreKey, _: &Write) -> Result<Written, StoreError> {
        Err(StoreError::unsupported(format!("writing {key}"), "not yet"))
    }

    async fn delete(&self, key: &StoreKey) -> Result<bool, StoreError> {
        Err(StoreError::unsupported(format!("deleting {key}"), "not yet"))
    }

    async fn restore(&self, key: &StoreKey, _: &str) -> Result<Option<String>, StoreError> {
        Err(StoreError::unsupported(format!("restoring {key}"), "not yet"))
    }

    async fn probe(&self) -> Result<Capabilities, StoreError> {
        self.look_at_namespace().await?;
        let (get, list, watch, create, update) = futures::try_join!(
            self.may("get"),
            self.may("list"),
            self.may("watch"),
            self.may("create"),
            self.may("update")
        )?;
        if !(get && list && watch) {
            return Err(StoreError::new(
                Failure::Denied,
                format!("the store's Secrets cannot be read: {}", self.denied()),
            ));
        }
        Ok(Capabilities { get, list, write: create && update })
    }

    fn watch(&self) -> Option<BoxStream<'static, Change>> {
        let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(self.client.clone(), &self.namespace);
        // A connection that died silently is noticed when the watch should have ended and did not.
        let config = watcher::Config::default().fields(SELECTOR).timeout(120);
        let begin = move || watcher(api.clone(), config.clone()).default_backoff().boxed();
        let start = (begin(), Some(Vec::new()), begin);
        Some(
            stream::unfold(start, |(mut events, mut listed, begin)| async move {
                loop {
                    // A list that is never answered would hang for ever: `kube` gives it no time.
                    let event = match &listed {
                        Some(_) => tokio::time::timeout(LISTING, events.next()).await.ok(),
                        None => Some(events.next().await),
                    };
                    let change = match event.map(Option::transpose) {
                        None => {
                            (events, listed) = (begin(), Some(Vec::new()));
                            continue;
                        }
                        // The watcher starts over by itself; the probe tells what is wrong.
                        Some(Err(_)) => continue,
                        Some(Ok(None)) => return None,
                        Some(Ok(Some(Event::Init))) => {
                            listed = Some(Vec::new());
                            continue;
                        }
                        Some(Ok(Some(Event::InitApply(secret)))) => {
                            listed.get_or_insert_default().push(entry(&secret.metadata));
                            continue;
                        }
                        Some(Ok(Some(Event::InitDone))) => Change::All(listed.take().unwrap_or_default()),
                        Some(Ok(Some(Event::Apply(secret)))) => {
                            let (key, token) = entry(&secret.metadata);
                            Change::Key(key, Some(token))
                        }
                        Some(Ok(Some(Event::Delete(secret)))) => Change::Key(entry(&secret.metadata).0, None),
                    };
                    return Some((change, (events, listed, begin)));
                }
            })
            .boxed(),
        )
    }
}

fn entry(metadata: &ObjectMeta) -> (StoreKey, ChangeToken) {
    (StoreKey::verbatim(metadata.name.clone().unwrap_or_default()), token(metadata))
}

/// A Secret that was made anew starts a new history.
fn token(metadata: &ObjectMeta) -> ChangeToken {
    let part = |text: &Option<String>| text.clone().unwrap_or_default();
    ChangeToken::new(format!("{}/{}", part(&metadata.uid), part(&metadata.resource_version)))
}
