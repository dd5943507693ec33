//! Writes. Every change carries what it was decided on: the uid and the resourceVersion that were seen.

use std::{borrow::Cow, collections::BTreeMap};

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Secret;
use kube::{
    api::{DeleteParams, ListParams, ObjectMeta, PartialObjectMeta, PostParams, Preconditions},
    core::Request,
};
use serde::{Serialize, Serializer, ser::SerializeMap};
use zeroize::Zeroizing;

use super::{
    CREDENTIALS, Kubernetes, NEVER, SELECTOR, answer,
    request::{self, Changed},
};
use crate::{
    naming::StoreKey,
    secret::SecretValue,
    stores::{Failure, Metadata, Payload, Property, StoreError, VersionState, When, Write, Written, body},
};

/// Who writes, in `managedFields`.
const MANAGER: &str = "secretref-store";
/// What the API server takes as the data of a Secret.
const MAX_TOTAL: usize = 1 << 20;

/// A Secret as it is sent.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sent<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: &'a ObjectMeta,
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    type_: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    immutable: Option<bool>,
    data: Data<'a>,
}

struct Data<'a>(&'a BTreeMap<Cow<'a, str>, &'a SecretValue>);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            map.serialize_entry(key, &*Zeroizing::new(STANDARD.encode(value.expose())))?;
        }
        map.end()
    }
}

impl Kubernetes {
    /// Replaces all keys of the Secret; labels, annotations, owners and type stay.
    pub(super) async fn write(&self, key: &StoreKey, write: &Write) -> Result<Written, StoreError> {
        let what = format!("writing {key}");
        request::check_name(key.as_str(), &what)?;
        let data = check(write, &what)?;
        // Somebody else may write, create or delete it between the look and the write: once is bad luck.
        for _ in 0..2 {
            let current = match write.when {
                When::Absent => None,
                When::Always | When::Version(_) => self.current(key, &what).await?,
            };
            let changed = match (&current, &write.when) {
                (None, When::Version(_)) => {
                    self.certain().await?;
                    return Ok(Written::Conflict);
                }
                (Some(secret), When::Version(version))
                    if secret.metadata.resource_version.as_ref() != Some(version) =>
                {
                    return Ok(Written::Conflict);
                }
                (Some(secret), _) => self.update(key, secret, &data, &what).await?,
                (None, _) => self.create(key, &data, &what).await?,
            };
            match (changed, &write.when) {
                (Changed::Made(metadata), _) => return Ok(Written::Version(version(&metadata, &what)?)),
                (Changed::Missing, _) if current.is_none() => {
                    self.certain().await?;
                    return Err(answer::no_answer(None, &what));
                }
                (_, When::Absent | When::Version(_)) => return Ok(Written::Conflict),
                (_, When::Always) => {}
            }
        }
        Err(StoreError::new(
            Failure::Unavailable,
            format!("{what} failed: others write it at the same time: look at what is there, and write again"),
        ))
    }

    pub(super) async fn remove(&self, key: &StoreKey) -> Result<bool, StoreError> {
        let what = format!("deleting {key}");
        let Some(found) = self.look(key, &what).await? else { return Ok(false) };
        let preconditions = Preconditions { uid: found.uid, resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let path = request::collection::<Secret>(&self.namespace, &what)?;
        let sent = body::json(&params).unwrap_or_default();
        let request = Request::new(path).delete(key.as_str(), &params);
        match request::change(&self.client, request, sent, &what, &self.role("get, list, watch, delete")).await? {
            Changed::Made(_) => Ok(true),
            Changed::Missing => Ok(false),
            Changed::Conflict => Err(StoreError::new(
                Failure::Unavailable,
                format!("{what} failed: another Secret has just taken its name: look at it, and delete again"),
            )),
        }
    }

    /// The version is the resourceVersion, which any change moves, not only one of the values.
    pub(super) async fn describe(&self, key: &StoreKey) -> Result<Option<Metadata>, StoreError> {
        let found = self.look(key, &format!("describing {key}")).await?;
        Ok(found.map(|found| {
            let changed = found.managed_fields.iter().flatten().filter_map(|entry| entry.time.as_ref());
            let mut metadata = Metadata::new(found.resource_version.clone(), VersionState::Enabled);
            metadata.created = found.creation_timestamp.as_ref().map(|time| time.0);
            metadata.updated = changed.map(|time| time.0).max().or(metadata.created);
            metadata
        }))
    }

    /// A Secret's metadata, and nothing of its values. Its type is not among it: a selection tells.
    async fn look(&self, key: &StoreKey, what: &str) -> Result<Option<ObjectMeta>, StoreError> {
        request::check_name(key.as_str(), &what)?;
        let params = ListParams::default().fields(&format!("metadata.name={key},{SELECTOR}"));
        let path = request::collection::<Secret>(&self.namespace, &what)?;
        // One that is made between the two questions is no hidden one: the first is asked again.
        for _ in 0..2 {
            let found = request::list_metadata(&self.client, &self.namespace, &params, &what, &self.denied()).await?;
            if let Some(found) = found.items.into_iter().next() {
                return Ok(Some(found.metadata));
            }
            let hidden: Option<PartialObjectMeta<Secret>> =
                request::get_metadata(&self.client, &path, key.as_str(), &what, &self.denied()).await?;
            if hidden.is_none() {
                return self.certain().await.map(|()| None);
            }
        }
        Err(never(what))
    }

    /// The Secret as it is: what is replaced must say of which type it is. Its values are dropped at once.
    async fn current(&self, key: &StoreKey, what: &str) -> Result<Option<Secret>, StoreError> {
        let found = request::secret(&self.client, &self.namespace, key.as_str(), &what, &self.denied()).await?;
        let Some(mut secret) = found else { return Ok(None) };
        for value in secret.data.take().unwrap_or_default().into_values() {
            drop(Zeroizing::new(value.0));
        }
        if secret.type_.as_deref().is_some_and(|t| CREDENTIALS.contains(&t)) {
            return Err(never(what));
        }
        Ok(Some(secret))
    }

    async fn create(&self, key: &StoreKey, data: &Values<'_>, what: &str) -> Result<Changed, StoreError> {
        let metadata = ObjectMeta { name: Some(key.to_string()), ..ObjectMeta::default() };
        let sent = sent(&metadata, Some("Opaque"), None, data, what)?;
        let path = request::collection::<Secret>(&self.namespace, &what)?;
        let request = Request::new(path).create(&manager(), Vec::new());
        let changed = request::change(&self.client, request, sent, &what, &self.role("create, update, delete")).await;
        if changed.as_ref().is_err_and(|error| error.failure == Failure::Denied) {
            // So the API server answers for a namespace that is being deleted, too.
            self.look_at_namespace().await?;
        }
        changed
    }

    async fn update(
        &self,
        key: &StoreKey,
        current: &Secret,
        data: &Values<'_>,
        what: &str,
    ) -> Result<Changed, StoreError> {
        let metadata = ObjectMeta { managed_fields: None, ..current.metadata.clone() };
        let sent = sent(&metadata, current.type_.as_deref(), current.immutable, data, what)?;
        let path = request::collection::<Secret>(&self.namespace, &what)?;
        let request = Request::new(path).replace(key.as_str(), &manager(), Vec::new());
        request::change(&self.client, request, sent, &what, &self.role("create, update, delete")).await
    }
}

type Values<'a> = BTreeMap<Cow<'a, str>, &'a SecretValue>;

fn sent(
    metadata: &ObjectMeta,
    type_: Option<&str>,
    immutable: Option<bool>,
    data: &Values<'_>,
    what: &str,
) -> Result<bytes::Bytes, StoreError> {
    let sent = Sent { api_version: "v1", kind: "Secret", metadata, type_, immutable, data: Data(data) };
    body::json(&sent).map_err(|_| {
        StoreError::new(Failure::Misconfigured, format!("{what} failed: it cannot be written as JSON: shorten it"))
    })
}

fn manager() -> PostParams {
    PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() }
}

fn version(metadata: &ObjectMeta, what: &str) -> Result<String, StoreError> {
    // Written it is: only the answer makes no sense.
    metadata.resource_version.clone().ok_or_else(|| answer::no_answer(None, &what))
}

fn never(what: &str) -> StoreError {
    StoreError::new(Failure::Denied, format!("{what} failed: {NEVER}"))
}

/// What will be the data; refuses what would not be kept as it is.
fn check<'a>(write: &'a Write, what: &str) -> Result<Values<'a>, StoreError> {
    let refuse = |why: &str| Err(StoreError::new(Failure::Misconfigured, format!("{what} failed: {why}")));
    if write.content_type.is_some() || write.tags.as_ref().is_some_and(|tags| !tags.is_empty()) {
        return refuse("a Secret keeps neither content type nor tags here: leave them out");
    }
    let mut data = Values::new();
    match &write.payload {
        Payload::Single(value) => {
            data.insert(Cow::Borrowed("value"), value);
        }
        Payload::Map(map) => {
            for (key, property) in map {
                let Property::Text(value) = property else {
                    return refuse("the keys of a Secret hold bytes, neither null nor other JSON: write it as text");
                };
                data.insert(Cow::Borrowed(key), value);
            }
        }
    }
    let fits = |key: &str| {
        let known = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        !key.is_empty() && key.len() <= 253 && key.bytes().all(known) && key != "." && !key.starts_with("..")
    };
    if !data.keys().all(|key| fits(key)) {
        return refuse("the keys of a Secret are letters, digits, '-', '_' and '.', at most 253: rename the property");
    }
    if data.values().map(|value| value.len()).sum::<usize>() > MAX_TOTAL {
        return refuse("a Secret holds at most 1 MiB in all: write less under one key");
    }
    Ok(data)
}
