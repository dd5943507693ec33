//! Writes: the only place that changes something on the cluster. Dumb: it does what the plan says, under its
//! preconditions, with a deadline on every request, and only while this replica leads.

mod refusal;

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client,
    api::{DeleteParams, PartialObjectMeta, Patch, PatchParams, Preconditions},
    core::Status,
};
use serde_json::json;
use thiserror::Error;
use tokio::sync::watch;
use tracing::{Instrument, field::Empty};

use super::{
    lease::Leadership,
    model::Reference,
    plan::{Write, foreign},
    target::{self, MANAGER, Ownership, Precondition, TargetMeta, manager},
};
use crate::{
    api::{CreationPolicy, Reason, SecretReference, SecretReferenceStatus},
    resolve::Problem,
    secret::SecretValue,
    telemetry::Metrics,
};

/// How long the API server may take to answer a question.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long it may take for a write: one that is sent at the very end of a term has ended before another replica may
/// lead, which is [`lease::LEASE`](super::lease::LEASE) less [`lease::DEADLINE`](super::lease::DEADLINE) later.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);

/// The longest wait before a request is sent a second time, whatever the API server asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// How often the same thing is tried against someone who writes at the same time.
const TRIES: usize = 4;

/// Why the API server was asked in vain.
#[derive(Debug, Error)]
pub enum ApiError {
    /// This replica does not lead (any more).
    #[error("this replica does not lead")]
    NotLeading,
    /// No answer in time.
    #[error("the API server did not answer in time")]
    Timeout,
    /// It answered with an error.
    #[error("the API server refused: {}", refusal::code(.0))]
    Refused(Box<Status>),
    /// It could not be asked, or its answer could not be read. The cause is not shown: it may quote the answer.
    #[error("the API server could not be asked")]
    Transport,
}

impl ApiError {
    /// The HTTP status.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(status) => Some(status.code),
            _ => None,
        }
    }

    /// How long to wait before the request is sent again, if it was not carried out for want of time.
    fn come_back(&self) -> Option<Duration> {
        let Self::Refused(status) = self else { return None };
        let after = status.details.as_ref().map_or(0, |d| d.retry_after_seconds).max(1);
        matches!(status.code, 429 | 503 | 504).then(|| Duration::from_secs(after.into()).min(LONGEST_WAIT))
    }
}

/// The one writer.
#[derive(Clone)]
pub struct Writer {
    /// The API server.
    pub client: Client,
    /// Whether this replica leads, checked before every write.
    pub leadership: watch::Receiver<Leadership>,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

/// What came of giving merged keys back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// Nothing of the reference is left in the Secret.
    Done,
    /// The Secret itself is gone, or is another one now.
    Gone,
}

/// What came of a write of the target.
#[derive(Debug)]
pub struct Written {
    /// The target's metadata now.
    pub meta: TargetMeta,
    /// It did not exist before.
    pub created: bool,
}

impl Writer {
    /// Whether this replica leads.
    pub fn leads(&self) -> bool {
        self.leadership.borrow().is_leading()
    }

    /// One request: fenced, bounded, counted.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn call<T>(
        &self,
        verb: &'static str,
        kind: &'static str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        let reads = matches!(verb, "get" | "list");
        if !reads && !self.leads() {
            return Err(ApiError::NotLeading);
        }
        let deadline = if reads { DEADLINE } else { WRITE_DEADLINE };
        let span = tracing::debug_span!(
            "apiserver request",
            otel.name = %format_args!("{verb} {kind}"),
            otel.kind = "client",
            otel.status_code = Empty,
            http.request.method = method(verb),
            http.response.status_code = Empty,
            secretref.verb = verb,
            secretref.kind = kind,
            secretref.result = Empty,
            "error.type" = Empty,
        );
        let result = match tokio::time::timeout(deadline, request).instrument(span.clone()).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(status))) => Err(ApiError::Refused(status)),
            Ok(Err(_)) => Err(ApiError::Transport),
            Err(_) => Err(ApiError::Timeout),
        };
        let counted = match &result {
            Ok(_) => "success",
            Err(ApiError::Refused(_)) => "refused",
            Err(ApiError::Timeout) => "timeout",
            Err(_) => "failed",
        };
        self.metrics.apiserver_request(verb, kind, counted);
        span.record("secretref.result", counted);
        if let Err(error) = &result {
            span.record("otel.status_code", "ERROR").record("error.type", counted);
            if let Some(code) = error.code() {
                span.record("http.response.status_code", code);
            }
        }
        result
    }

    /// [`Self::call`], and once more when the API server says to come back: leadership is asked for each of the two, so
    /// the client below must not retry by itself.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn call_again<T, F: Future<Output = kube::Result<T>>>(
        &self,
        verb: &'static str,
        kind: &'static str,
        mut request: impl FnMut() -> F,
    ) -> Result<T, ApiError> {
        let first = self.call(verb, kind, request()).await;
        let Some(wait) = first.as_ref().err().and_then(ApiError::come_back) else { return first };
        tokio::time::sleep(wait).await;
        self.call(verb, kind, request()).await
    }

    /// Makes the target what the plan says.
    ///
    /// # Errors
    /// `TargetConflict`, `TargetImmutable`, `TargetRejected`.
    pub async fn write(&self, reference: &Reference, write: &Write) -> Result<Written, Problem> {
        let mut precondition = write.precondition.clone();
        // Each turn learns one thing: that it exists after all, that it is gone after all, that it is another one now.
        for _ in 0..TRIES {
            if write.policy == CreationPolicy::Merge {
                precondition = Precondition::Uid(self.merge_into(reference, &write.desired.data).await?);
            }
            let force = write.policy != CreationPolicy::Merge;
            match self.patch(reference, write, &precondition, force).await {
                Ok(mut meta) => {
                    if write.policy == CreationPolicy::Adopt {
                        meta = self.drop_foreign_keys(reference, write, meta).await?;
                    }
                    return Ok(Written { meta: TargetMeta::new(&meta), created: precondition == Precondition::Absent });
                }
                Err(error) => match (error.code(), &precondition) {
                    (Some(409), Precondition::Absent) => {
                        let Some(meta) = self.look(reference).await? else { continue };
                        let seen = TargetMeta::new(&meta);
                        let owned_elsewhere = !seen.owners.is_empty();
                        let ours = seen.ownership(reference, write.policy) == Ownership::Ours;
                        if !ours && (write.policy != CreationPolicy::Adopt || owned_elsewhere) {
                            return Err(foreign(&reference.target));
                        }
                        precondition = Precondition::Uid(seen.uid);
                    }
                    (Some(404), Precondition::Uid(_)) => precondition = Precondition::Absent,
                    (Some(409), Precondition::Uid(_)) => {
                        if let Some(problem) = key_conflict(&error, &reference.target) {
                            return Err(problem);
                        }
                        precondition = Precondition::Absent;
                    }
                    (Some(422), Precondition::Uid(_)) if names_uid(&error) => precondition = Precondition::Absent,
                    _ => return Err(rejected(&error, reference)),
                },
            }
        }
        Err(Problem::new(
            Reason::TargetRejected,
            format!("Secret {} changes faster than it can be written: find out who else writes it", reference.target),
        ))
    }

    async fn patch(
        &self,
        reference: &Reference,
        write: &Write,
        precondition: &Precondition,
        force: bool,
    ) -> Result<ObjectMeta, ApiError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &reference.key.namespace);
        let params = PatchParams::apply(&manager(&reference.key.name, write.policy));
        let params = if force { params.force() } else { params };
        let body = Patch::Apply(write.desired.body(reference, &write.stamp, precondition));
        let meta =
            self.call_again("patch", "secrets", || api.patch_metadata(&reference.target, &params, &body)).await?;
        Ok(meta.metadata)
    }

    async fn look(&self, reference: &Reference) -> Result<Option<ObjectMeta>, Problem> {
        let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(self.client.clone(), &reference.key.namespace);
        match self.call_again("get", "secrets", || api.get_metadata_opt(&reference.target)).await {
            Ok(found) => Ok(found.map(|f| f.metadata)),
            Err(error) => Err(rejected(&error, reference)),
        }
    }

    /// Merging needs a Secret that someone else made, and keys that they do not hold.
    async fn merge_into(&self, reference: &Reference, data: &BTreeMap<String, SecretValue>) -> Result<String, Problem> {
        let target = &reference.target;
        let Some(meta) = self.look(reference).await? else {
            let message = format!(
                "Secret {target} does not exist, and creationPolicy Merge adds keys to one that someone else made: create it, or use creationPolicy Owner"
            );
            return Err(Problem::new(Reason::TargetRejected, message));
        };
        let theirs = target::string_keys(&meta, &manager(&reference.key.name, CreationPolicy::Merge));
        let taken: Vec<String> = data.keys().filter(|k| theirs.contains(*k)).map(|k| format!("data.{k}")).collect();
        if taken.is_empty() {
            Ok(meta.uid.unwrap_or_default())
        } else {
            Err(held_by_someone(target, &taken.join(", ")))
        }
    }

    /// Adoption takes over all former keys: what is outside the spec goes.
    async fn drop_foreign_keys(
        &self,
        reference: &Reference,
        write: &Write,
        meta: ObjectMeta,
    ) -> Result<ObjectMeta, Problem> {
        let mut foreign = target::adopted_keys(&meta, &reference.key.name);
        foreign.retain(|k| !write.desired.data.contains_key(k));
        if foreign.is_empty() {
            return Ok(meta);
        }
        let nulls: serde_json::Map<_, _> = foreign.into_iter().map(|k| (k, serde_json::Value::Null)).collect();
        let patch = Patch::Merge(json!({ "metadata": { "uid": meta.uid }, "data": nulls }));
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &reference.key.namespace);
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        let done = self
            .call_again("patch", "secrets", || api.patch_metadata(&reference.target, &params, &patch))
            .await
            .map_err(|e| rejected(&e, reference))?;
        Ok(done.metadata)
    }

    /// Takes the target away: a Secret of ours whole, merged keys one by one.
    ///
    /// # Errors
    /// `TargetRejected`.
    pub async fn remove(
        &self,
        reference: &Reference,
        target: &TargetMeta,
        policy: CreationPolicy,
    ) -> Result<(), Problem> {
        if policy == CreationPolicy::Merge {
            let (namespace, name) = (&reference.key.namespace, &reference.key.name);
            let released = self.release(namespace, &reference.target, name, &target.uid).await;
            return released.map(|_| ()).map_err(|e| rejected(&e, reference));
        }
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &reference.key.namespace);
        let preconditions = Preconditions { uid: Some(target.uid.clone()), resource_version: None };
        let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
        match self.call_again("delete", "secrets", || api.delete(&reference.target, &params)).await {
            Err(error) if !matches!(error.code(), Some(404 | 409)) => Err(rejected(&error, reference)),
            _ => Ok(()),
        }
    }

    /// Gives back everything that a merging reference of this name holds in a Secret. After an error some of it may be
    /// left: to be tried again.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn release(
        &self,
        namespace: &str,
        secret: &str,
        reference: &str,
        uid: &str,
    ) -> Result<Released, ApiError> {
        let mut tries = 0;
        loop {
            tries += 1;
            match self.release_as_seen(namespace, secret, reference, uid).await {
                Err(error) if error.code() == Some(404) => return Ok(Released::Gone),
                // Someone wrote in between, and may hold now what nobody else held.
                Err(error) if error.code() == Some(409) && tries < TRIES => {}
                result => return result,
            }
        }
    }

    async fn release_as_seen(
        &self,
        namespace: &str,
        secret: &str,
        reference: &str,
        uid: &str,
    ) -> Result<Released, ApiError> {
        let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(self.client.clone(), namespace);
        let manager = manager(reference, CreationPolicy::Merge);
        let found = self.call_again("get", "secrets", || api.get_metadata_opt(secret)).await?.map(|f| f.metadata);
        let Some(mut meta) = found.filter(|m| m.uid.as_deref() == Some(uid)) else { return Ok(Released::Gone) };
        let keys = target::held_alone(&meta, &manager);
        if !keys.is_empty() {
            let nulls: serde_json::Map<_, _> = keys.into_iter().map(|k| (k, serde_json::Value::Null)).collect();
            let params = PatchParams { field_manager: Some(manager.clone()), ..PatchParams::default() };
            let as_seen = json!({ "uid": uid, "resourceVersion": meta.resource_version });
            let patch = Patch::Merge(json!({ "metadata": as_seen, "data": nulls }));
            let patched = self.call_again("patch", "secrets", || api.patch_metadata(secret, &params, &patch)).await?;
            meta = patched.metadata;
        }
        let as_seen = json!({ "name": secret, "uid": uid, "resourceVersion": meta.resource_version });
        let body = Patch::Apply(json!({ "apiVersion": "v1", "kind": "Secret", "metadata": as_seen }));
        let params = PatchParams::apply(&manager);
        self.call_again("patch", "secrets", || api.patch_metadata(secret, &params, &body)).await?;
        Ok(Released::Done)
    }

    /// Writes a status, if it is another one; answers the object's new numeric version.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn write_status(
        &self,
        reference: &Reference,
        old: &SecretReferenceStatus,
        new: &SecretReferenceStatus,
    ) -> Result<Option<u64>, ApiError> {
        if old == new {
            return Ok(None);
        }
        let api: Api<SecretReference> = Api::namespaced(self.client.clone(), &reference.key.namespace);
        let patch = json!({ "metadata": { "uid": *reference.uid }, "status": merge_patch(old, new) });
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        let object = self
            .call_again("patch", "secretreferences/status", || api.patch_status(&reference.key.name, &params, &patch))
            .await?;
        Ok(Some(super::model::version(&object.metadata)))
    }
}

/// The HTTP method of a verb of the API server.
const fn method(verb: &str) -> &'static str {
    match verb.as_bytes() {
        b"create" => "POST",
        b"update" => "PUT",
        b"patch" => "PATCH",
        b"delete" => "DELETE",
        _ => "GET",
    }
}

/// The new status, with a null for every field that it no longer has.
pub fn merge_patch<T: serde::Serialize>(old: &T, new: &T) -> serde_json::Value {
    let (old, mut new) = (json!(old), json!(new));
    if let (Some(old), Some(new)) = (old.as_object(), new.as_object_mut()) {
        for gone in old.keys().filter(|k| !new.contains_key(*k)).cloned().collect::<Vec<_>>() {
            new.insert(gone, serde_json::Value::Null);
        }
    }
    new
}

/// A merge met a key that someone else holds: names it.
fn key_conflict(error: &ApiError, target: &str) -> Option<Problem> {
    let ApiError::Refused(status) = error else { return None };
    if refusal::by_admission(status).is_some() {
        return None;
    }
    let causes = &status.details.as_ref()?.causes;
    let conflicts = causes.iter().filter(|c| c.reason == "FieldManagerConflict");
    let fields: Vec<&str> = conflicts.map(|c| refusal::field(&c.field).unwrap_or("some of it")).collect();
    if fields.is_empty() {
        return None;
    }
    Some(held_by_someone(target, &fields.join(", ")))
}

fn held_by_someone(target: &str, fields: &str) -> Problem {
    let message =
        format!("Secret {target}: someone else holds {fields}: rename the key in spec.data, or have it removed there");
    Problem::new(Reason::TargetConflict, message)
}

/// The Secret of this name is another one now.
fn names_uid(error: &ApiError) -> bool {
    let ApiError::Refused(status) = error else { return false };
    status.details.iter().flat_map(|d| &d.causes).any(|c| c.field == "metadata.uid")
}

/// The row of the failure table, without whatever the answer might quote of the data.
fn rejected(error: &ApiError, reference: &Reference) -> Problem {
    let target = &reference.target;
    let ApiError::Refused(status) = error else {
        return Problem::new(
            Reason::TargetRejected,
            format!("Secret {target} was not written: {error}; the operator tries again"),
        );
    };
    // A key that its type refuses is named in the same way as one that cannot be changed: the text tells. It is not shown.
    let mut causes = status.details.iter().flat_map(|d| &d.causes);
    let fixed = causes.any(|c| c.message.contains("immutable")) || status.message.contains("immutable");
    if status.code == 422 && fixed && refusal::by_admission(status).is_none() {
        let message = format!(
            "Secret {target} cannot follow: its type or its content is immutable: delete it, and it is written anew"
        );
        return Problem::new(Reason::TargetImmutable, message);
    }
    let said = refusal::shown(status);
    Problem::new(
        Reason::TargetRejected,
        format!("Secret {target} was refused by the API server: {said}; mend that, the operator tries again"),
    )
}

#[cfg(test)]
#[path = "apply/tests.rs"]
mod tests;
