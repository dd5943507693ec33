//! Writes of an operator that may not read Secrets (`secrets.access: WriteOnly`): POST to create, PUT to update, the
//! whole object each time. `patch` would be a right to read: its answer holds the data.

use std::collections::BTreeMap;

use hyper::header::{ACCEPT, HeaderValue};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kube::{
    Resource,
    api::{PartialObjectMeta, PostParams},
    core::{Request, request},
};

use super::{ApiError, TRIES, Writer, Written, names_uid, rejected};
use crate::{
    api::{CreationPolicy, Reason},
    operator::{
        model::Reference,
        plan::Write,
        target::{Body, MADE_FOR, MANAGER, Precondition, TargetMeta, held_annotations},
    },
    resolve::{Problem, required_keys_of},
    secret::SecretValue,
};

/// Who asks, without writing, whose a Secret is.
const CLAIMANT: &str = "secretref-claim";

/// Only the metadata of an answer: what was sent does not come back.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

impl Writer {
    /// [`Writer::write`] without reading. What others added to the Secret goes.
    ///
    /// # Errors
    /// `TargetConflict`, `TargetImmutable`, `TargetRejected`.
    pub(super) async fn put(&self, reference: &Reference, write: &Write) -> Result<Written, Problem> {
        if write.policy == CreationPolicy::Merge {
            let message = format!(
                "Secret {}: creationPolicy Merge has to read what others made, and this operator only writes (secrets.access: WriteOnly): use creationPolicy Owner",
                reference.target
            );
            return Err(Problem::new(Reason::TargetRejected, message));
        }
        let mut precondition = write.precondition.clone();
        for _ in 0..TRIES {
            let body = write.desired.body(reference, &write.stamp, &precondition).made_for(&reference.uid);
            match (self.send(reference, &body, &precondition, None).await, &precondition) {
                (Ok(meta), _) => {
                    let mut meta = TargetMeta::new(&meta);
                    // Nobody looks at it from now on: what was put is what is there.
                    meta.fields = [(MANAGER.into(), write.stamp.fields.as_str().into())].into_iter().collect();
                    let created = precondition == Precondition::Absent;
                    // An object's version moves only when it changes, and the reference was written after its target.
                    let changed = created || meta.version > reference.version;
                    return Ok(Written { meta, created, changed });
                }
                (Err(error), Precondition::Absent) if error.code() == Some(409) => {
                    precondition = Precondition::Uid(self.claim(reference, write).await?);
                }
                (Err(error), Precondition::Uid(_)) if matches!(error.code(), Some(404 | 409)) || names_uid(&error) => {
                    precondition = Precondition::Absent;
                }
                (Err(error), _) => return Err(rejected(&error, reference)),
            }
        }
        Err(Problem::new(
            Reason::TargetRejected,
            format!("Secret {} changes faster than it can be written: find out who else writes it", reference.target),
        ))
    }

    /// The uid of a Secret that this operator made for the same reference, and lost the trace of. A dry run under another
    /// name takes over every field that it changes: what stays with this operator's name was there.
    async fn claim(&self, reference: &Reference, write: &Write) -> Result<String, Problem> {
        let body = write.desired.body(reference, &write.stamp, &Precondition::Unknown).made_for(&reference.uid);
        match self.send(reference, &body, &Precondition::Unknown, Some(CLAIMANT)).await {
            Ok(meta) if held_annotations(&meta, MANAGER).any(|name| name == MADE_FOR) => {
                Ok(meta.uid.unwrap_or_default())
            }
            Ok(_) => {
                let message = format!(
                    "Secret {} exists and is not this reference's, and this operator only writes (secrets.access: WriteOnly): delete it, or choose another spec.target.name",
                    reference.target
                );
                Err(Problem::new(Reason::TargetConflict, message))
            }
            Err(error) => Err(rejected(&error, reference)),
        }
    }

    /// Takes the values away: there is no right to delete.
    ///
    /// # Errors
    /// `TargetRejected`.
    pub(super) async fn empty(&self, reference: &Reference, kind: &str, uid: &str) -> Result<(), Problem> {
        // What a type wants to be there is there, and says nothing.
        let nothing = |key: &&str| ((*key).to_owned(), SecretValue::from("{}".to_owned()));
        let either = (kind == "kubernetes.io/basic-auth").then_some(&"username");
        let data: BTreeMap<String, SecretValue> = required_keys_of(kind).iter().chain(either).map(nothing).collect();
        let precondition = Precondition::Uid(uid.to_owned());
        let body = Body::bare(reference, kind, &data, &precondition).made_for(&reference.uid);
        match self.send(reference, &body, &precondition, None).await {
            Err(error) if !matches!(error.code(), Some(404 | 409)) => Err(rejected(&error, reference)),
            _ => Ok(()),
        }
    }

    /// `dry_run`: as whom nothing is written.
    async fn send(
        &self,
        reference: &Reference,
        body: &Body<'_>,
        precondition: &Precondition,
        dry_run: Option<&str>,
    ) -> Result<ObjectMeta, ApiError> {
        let url = Secret::url_path(&(), Some(&reference.key.namespace));
        let field_manager = Some(dry_run.unwrap_or(MANAGER).to_owned());
        let params = PostParams { dry_run: dry_run.is_some(), field_manager };
        let create = *precondition == Precondition::Absent;
        let verb = if create { "create" } else { "update" };
        let request = || async {
            let body = serde_json::to_vec(body).map_err(kube::Error::SerdeError)?;
            let request = Request::new(url.clone());
            let built =
                if create { request.create(&params, body) } else { request.replace(&reference.target, &params, body) };
            let mut built = built.map_err(|error: request::Error| kube::Error::BuildRequest(error))?;
            built.headers_mut().insert(ACCEPT, HeaderValue::from_static(METADATA));
            self.client.request::<PartialObjectMeta<Secret>>(built).await
        };
        Ok(self.call_again(verb, "secrets", request).await?.metadata)
    }
}
