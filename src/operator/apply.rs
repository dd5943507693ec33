//! Writes: the only place that changes something on the cluster. Dumb: it does what the plan says, under its
//! preconditions, with a deadline on every request, and only while this replica leads.

mod blind;
mod refusal;
mod release;
mod request;

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Api,
    api::{PartialObjectMeta, Patch, PatchParams},
};
use serde_json::json;

pub use request::{ApiError, Writer};

use super::{
    model::Reference,
    plan::{Write, foreign},
    target::{self, MANAGER, Ownership, Precondition, TargetMeta, manager},
};
use crate::{
    api::{CreationPolicy, Reason, SecretReference, SecretReferenceStatus},
    resolve::Problem,
    secret::SecretValue,
};

/// How often the same thing is tried against someone who writes at the same time.
const TRIES: usize = 4;

/// What came of a write of the target.
#[derive(Debug)]
pub struct Written {
    /// The target's metadata now.
    pub meta: TargetMeta,
    /// It did not exist before.
    pub created: bool,
    /// It is another one than before, as far as its answer tells.
    pub changed: bool,
}

impl Writer {
    /// Makes the target what the plan says.
    ///
    /// # Errors
    /// `TargetConflict`, `TargetImmutable`, `TargetRejected`.
    pub async fn write(&self, reference: &Reference, write: &Write) -> Result<Written, Problem> {
        if self.write_only {
            return self.put(reference, write).await;
        }
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
                    let created = precondition == Precondition::Absent;
                    return Ok(Written { meta: TargetMeta::new(&meta), created, changed: true });
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
        let mut status = merge_patch(old, new);
        // What was restarted is told by whoever restarted it, at any time.
        status["target"].as_object_mut().map(|target| target.remove("restarted"));
        let patch = json!({ "metadata": { "uid": *reference.uid }, "status": status });
        let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
        let object = self
            .call_again("patch", "secretreferences/status", || api.patch_status(&reference.key.name, &params, &patch))
            .await?;
        Ok(Some(super::model::version(&object.metadata)))
    }

    /// Says in the status that workloads were restarted for a revision of the target.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn write_restarted(&self, reference: &Reference, revision: i64) -> Result<(), ApiError> {
        let api: Api<SecretReference> = Api::namespaced(self.client.clone(), &reference.key.namespace);
        let status = json!({ "target": { "restarted": revision } });
        let patch = Patch::Merge(json!({ "metadata": { "uid": *reference.uid }, "status": status }));
        let params = PatchParams::default();
        let request = || api.patch_status(&reference.key.name, &params, &patch);
        self.call_again("patch", "secretreferences/status", request).await.map(|_| ())
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
