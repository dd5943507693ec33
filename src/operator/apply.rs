//! Writes: the only place that changes something on the cluster. Dumb: it does what the plan says, under its
//! preconditions, with a deadline on every request, and only while this replica leads.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use k8s_openapi::{ByteString, api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api, Client,
    api::{DeleteParams, PartialObjectMeta, Patch, PatchParams, Preconditions},
    core::Status,
};
use serde_json::json;
use thiserror::Error;
use tokio::sync::watch;

use super::{
    lease::Leadership,
    model::Reference,
    plan::{Write, foreign},
    target::{self, MANAGER, Ownership, Precondition, TargetMeta, data_keys, manager},
};
use crate::{
    api::{CreationPolicy, Reason, SecretReference, SecretReferenceStatus},
    resolve::Problem,
    secret::SecretValue,
    telemetry::Metrics,
};

/// How long the API server may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why the API server was asked in vain.
#[derive(Debug, Error)]
pub enum ApiError {
    /// This replica does not lead (any more).
    #[error("this replica does not lead")]
    NotLeading,
    /// No answer in time.
    #[error("the API server did not answer within {} seconds", DEADLINE.as_secs())]
    Timeout,
    /// It answered with an error.
    #[error("the API server refused: {} {}", .0.code, .0.reason)]
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

/// What came of a write of the target.
#[derive(Debug)]
pub struct Written {
    /// The target's metadata now.
    pub meta: TargetMeta,
    /// It did not exist before.
    pub created: bool,
}

impl Writer {
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
        if verb != "get" && !self.leadership.borrow().is_leading() {
            return Err(ApiError::NotLeading);
        }
        let result = match tokio::time::timeout(DEADLINE, request).await {
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
        result
    }

    /// Makes the target what the plan says.
    ///
    /// # Errors
    /// `TargetConflict`, `TargetImmutable`, `TargetRejected`.
    pub async fn write(&self, reference: &Reference, write: &Write) -> Result<Written, Problem> {
        let mut precondition = write.precondition.clone();
        // Each turn learns one thing: that it exists after all, that it is gone after all, that it is another one now.
        for _ in 0..4 {
            if write.policy == CreationPolicy::Merge {
                precondition = Precondition::Uid(self.merge_into(reference, &write.desired.data).await?);
            }
            let force = write.policy != CreationPolicy::Merge;
            match self.patch(reference, write, &precondition, force).await {
                Ok(meta) => {
                    if write.policy == CreationPolicy::Adopt {
                        self.drop_foreign_keys(reference, write, &meta).await?;
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
                    _ => return Err(rejected(&error, reference, &write.desired.data)),
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
        let meta = self.call("patch", "secrets", api.patch_metadata(&reference.target, &params, &body)).await?;
        Ok(meta.metadata)
    }

    async fn look(&self, reference: &Reference) -> Result<Option<ObjectMeta>, Problem> {
        let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(self.client.clone(), &reference.key.namespace);
        match self.call("get", "secrets", api.get_metadata_opt(&reference.target)).await {
            Ok(found) => Ok(found.map(|f| f.metadata)),
            Err(error) => Err(rejected(&error, reference, &Default::default())),
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
    async fn drop_foreign_keys(&self, reference: &Reference, write: &Write, meta: &ObjectMeta) -> Result<(), Problem> {
        let foreign: Vec<String> =
            data_keys(meta).into_iter().filter(|k| !write.desired.data.contains_key(k)).collect();
        if foreign.is_empty() {
            return Ok(());
        }
        let nulls: serde_json::Map<_, _> = foreign.into_iter().map(|k| (k, serde_json::Value::Null)).collect();
        let patch = json!({ "metadata": { "uid": meta.uid }, "data": nulls });
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &reference.key.namespace);
        let params = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
        let patch = Patch::Merge(patch);
        let request = api.patch_metadata(&reference.target, &params, &patch);
        self.call("patch", "secrets", request).await.map_err(|e| rejected(&e, reference, &write.desired.data))?;
        Ok(())
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
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &reference.key.namespace);
        let done = if policy == CreationPolicy::Merge {
            self.release(&reference.key.namespace, &reference.target, &reference.key.name, &target.uid).await
        } else {
            let preconditions = Preconditions { uid: Some(target.uid.clone()), resource_version: None };
            let params = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::background() };
            self.call("delete", "secrets", api.delete(&reference.target, &params)).await.map(|_| ())
        };
        match done {
            Err(error) if !matches!(error.code(), Some(404 | 409)) => {
                Err(rejected(&error, reference, &Default::default()))
            }
            _ => Ok(()),
        }
    }

    /// Gives back everything that a merging reference of this name holds in a Secret.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn release(&self, namespace: &str, secret: &str, reference: &str, uid: &str) -> Result<(), ApiError> {
        let api: Api<PartialObjectMeta<Secret>> = Api::namespaced(self.client.clone(), namespace);
        let manager = manager(reference, CreationPolicy::Merge);
        let found = self.call("get", "secrets", api.get_metadata_opt(secret)).await?.map(|f| f.metadata);
        let Some(meta) = found.filter(|m| m.uid.as_deref() == Some(uid)) else { return Ok(()) };
        let keys = target::held_alone(&meta, &manager);
        if !keys.is_empty() {
            let nulls: serde_json::Map<_, _> = keys.into_iter().map(|k| (k, serde_json::Value::Null)).collect();
            let params = PatchParams { field_manager: Some(manager.clone()), ..PatchParams::default() };
            let patch = Patch::Merge(json!({ "metadata": { "uid": uid }, "data": nulls }));
            self.call("patch", "secrets", api.patch_metadata(secret, &params, &patch)).await?;
        }
        let body = json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": secret, "uid": uid } });
        let params = PatchParams::apply(&manager);
        self.call("patch", "secrets", api.patch_metadata(secret, &params, &Patch::Apply(body))).await.map(|_| ())
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
        let request = api.patch_status(&reference.key.name, &params, &patch);
        let object = self.call("patch", "secretreferences/status", request).await?;
        Ok(Some(super::model::version(&object.metadata)))
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
    let causes = &status.details.as_ref()?.causes;
    let conflicts = causes.iter().filter(|c| c.reason == "FieldManagerConflict");
    let fields: Vec<&str> = conflicts.map(|c| c.field.trim_start_matches('.')).collect();
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
fn rejected(error: &ApiError, reference: &Reference, data: &BTreeMap<String, SecretValue>) -> Problem {
    let target = &reference.target;
    let ApiError::Refused(status) = error else {
        return Problem::new(
            Reason::TargetRejected,
            format!("Secret {target} was not written: {error}; the operator tries again"),
        );
    };
    // A key that its type refuses is named in the same way as one that cannot be changed: the text tells.
    let mut causes = status.details.iter().flat_map(|d| &d.causes);
    let fixed = causes.any(|c| c.message.contains("immutable")) || status.message.contains("immutable");
    if status.code == 422 && fixed {
        let message = format!(
            "Secret {target} cannot follow: its type or its content is immutable: delete it, and it is written anew"
        );
        return Problem::new(Reason::TargetImmutable, message);
    }
    let said = if quotes(&status.message, data) { "(not shown: the answer quotes a value)" } else { &status.message };
    let said: String = said.chars().take(512).collect();
    Problem::new(
        Reason::TargetRejected,
        format!("Secret {target} was refused by the API server: {said}; mend that, the operator tries again"),
    )
}

/// Whether a text holds one of the values, plain or encoded: admission webhooks may quote what they refuse.
fn quotes(text: &str, data: &BTreeMap<String, SecretValue>) -> bool {
    data.values().filter(|v| v.len() >= 4).any(|value| {
        let plain = value.expose_str().is_some_and(|v| text.contains(v));
        let encoded = serde_json::to_string(&ByteString(value.expose().to_vec())).unwrap_or_default();
        plain || text.contains(encoded.trim_matches('"'))
    })
}
