//! Taking a target away: a Secret of ours whole, merged keys one by one.

use k8s_openapi::api::core::v1::Secret;
use kube::{
    Api,
    api::{DeleteParams, PartialObjectMeta, Patch, PatchParams, Preconditions},
};
use serde_json::json;

use super::{ApiError, TRIES, Writer, rejected};
use crate::{
    api::CreationPolicy,
    operator::{
        model::Reference,
        target::{self, TargetMeta, manager},
    },
    resolve::Problem,
};

/// What came of giving merged keys back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Released {
    /// Nothing of the reference is left in the Secret.
    Done,
    /// The Secret itself is gone, or is another one now.
    Gone,
}

impl Writer {
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
}
