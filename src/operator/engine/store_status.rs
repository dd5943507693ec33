//! The status of store objects: written when it says something new, one write at a time.

use jiff::Timestamp;
use k8s_openapi::{api::core::v1::ObjectReference, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use super::{Engine, StoreState};
use crate::{
    api::{Circuit, ClusterSecretStore, Reason, SecretStore, StoreStatus, condition_types::READY},
    operator::{
        apply::merge_patch,
        conclude::{condition, find, seconds, set},
        keeper::Era,
        model::StoreName,
        watch::Message,
    },
};

/// How often `lastSuccessfulAccess` moves while nothing else does.
const ACCESS_EVERY: i64 = 300;

impl Engine {
    /// Writes a store's status if it says something new; transitions are told as an Event then.
    pub(super) fn write_store_status(&mut self, name: &StoreName) {
        if self.stores.get(name).is_none_or(|s| s.writing.is_some()) {
            return;
        }
        let references = self.references_of(name).len();
        let Some(state) = self.stores.get_mut(name) else { return };
        let old = state.object.status.clone();
        let new = state.status(references, Timestamp::now());
        let ready = state.health.ready == Some(true);
        self.parts.metrics.store_ready(&name.label(), name.kind(), ready, state.health.reason);
        let told = || ready_of(&old).map(|c| c.reason.clone()).unwrap_or_default();
        state.told.get_or_insert_with(told);
        if new == old {
            return self.tell_transition(name);
        }
        state.object.status = new.clone();
        state.writing = Some((state.object.version, old.clone()));
        let (writer, name) = (self.parts.context.writer.clone(), name.clone());
        let (tell, era) = (self.tell.clone(), state.object.era());
        let patch = json!({ "metadata": { "uid": *state.object.uid }, "status": merge_patch(&old, &new) });
        tokio::spawn(async move {
            let (params, patch) = (PatchParams::default(), Patch::Merge(patch));
            let client = writer.client.clone();
            let written = match &name.namespace {
                Some(namespace) => {
                    let api: Api<SecretStore> = Api::namespaced(client, namespace);
                    writer
                        .call("patch", "secretstores/status", api.patch_status(&name.name, &params, &patch))
                        .await
                        .map(|_| ())
                }
                None => {
                    let api: Api<ClusterSecretStore> = Api::all(client);
                    let request = api.patch_status(&name.name, &params, &patch);
                    writer.call("patch", "clustersecretstores/status", request).await.map(|_| ())
                }
            };
            if let Err(error) = &written {
                tracing::warn!(store = %name, %error, "the store's status was not written");
            }
            let _ = tell.send(Message::StoreStatus(name, era, written.is_ok()));
        });
    }

    /// One write at a time; what was not written is written at the next probe.
    pub(super) fn store_status_written(&mut self, name: &StoreName, era: &Era, written: bool) {
        let Some(state) = self.stores.get_mut(name).filter(|s| s.object.era() == *era) else { return };
        let Some((version, before)) = state.writing.take() else { return };
        if written {
            self.tell_transition(name);
        } else if state.object.version == version {
            state.object.status = before;
        }
    }

    /// An Event for each transition, when the status says it: one that cannot be written is not told at every probe.
    fn tell_transition(&mut self, name: &StoreName) {
        let Some(state) = self.stores.get_mut(name) else { return };
        let (Some(ready), Some(told)) = (ready_of(&state.object.status), &mut state.told) else { return };
        if *told == ready.reason {
            return;
        }
        told.clone_from(&ready.reason);
        let events = self.parts.context.events.within(&self.cause.trace());
        let (about, note) = (about(name, &state.object.uid), ready.message.clone());
        if ready.status == "True" {
            events.normal(about, &ready.reason, note);
        } else {
            events.warning(about, &ready.reason, note);
        }
    }
}

fn ready_of(status: &StoreStatus) -> Option<&Condition> {
    find(&status.conditions, READY)
}

impl StoreState {
    fn status(&self, references: usize, now: Timestamp) -> StoreStatus {
        let mut status = self.object.status.clone();
        let generation = self.object.generation;
        let ready = self.health.ready == Some(true);
        status.observed_generation = Some(generation);
        let state = if ready { "True" } else { "False" };
        let ready_condition = condition(READY, state, self.health.reason.as_str(), &self.health.message, generation);
        set(&mut status.conditions, ready_condition, now);
        status.references = Some(i64::try_from(references).unwrap_or(i64::MAX));
        status.circuit = Some(self.layers.as_ref().map_or(Circuit::Closed, |l| l.circuit()));
        status.capabilities = self.capabilities;
        let guides = !ready || self.health.reason == Reason::Overloaded;
        status.guidance = guides.then(|| self.health.message.chars().take(1024).collect());
        if let Some(success) = self.last_success {
            let old = status.last_successful_access.as_ref().map(|t| t.0.as_second());
            let flips = ready_of(&self.object.status).is_none_or(|c| c.status != state);
            if flips || old.is_none_or(|old| success.as_second() - old >= ACCESS_EVERY) {
                status.last_successful_access = Some(seconds(success));
            }
        }
        status
    }
}

fn about(name: &StoreName, uid: &str) -> ObjectReference {
    ObjectReference {
        api_version: Some("secretref.dev/v1alpha1".into()),
        kind: Some(name.kind().into()),
        namespace: name.namespace.as_deref().map(str::to_owned),
        name: Some(name.name.to_string()),
        uid: Some(uid.to_owned()),
        ..ObjectReference::default()
    }
}
