//! Events with stable reasons. They never hold up a sync, and never fail one.
//!
//! The same thing about the same object within some minutes is one Event that counts. Each carries the id of the trace
//! that it was last told in: the note of an Event cannot change, its metadata can.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use k8s_openapi::{
    api::{
        core::v1::ObjectReference,
        events::v1::{Event, EventSeries},
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta},
};
use kube::{
    Api, Client,
    api::{Patch, PatchParams, PostParams},
};
use serde_json::json;
use tokio::sync::{Semaphore, watch};

use super::lease::Leadership;
use crate::telemetry::Trace;

/// The annotation with the trace id.
const TRACE_ANNOTATION: &str = "secretref.dev/trace-id";

/// Who reports.
const CONTROLLER: &str = "secretref.dev/operator";

/// For so long the same thing is the same Event.
const SERIES: Duration = Duration::from_secs(360);

/// How long the API server may take.
const DEADLINE: Duration = Duration::from_secs(10);

/// Publishes Events in the background, a few at a time.
#[derive(Clone)]
pub struct Events {
    client: Client,
    leadership: watch::Receiver<Leadership>,
    instance: Arc<str>,
    slots: Arc<Semaphore>,
    told: Arc<Mutex<HashMap<What, Told>>>,
    trace_id: Option<Arc<str>>,
}

/// Type, reason and object: kind, namespace, name and uid.
type What = (&'static str, String, [Option<String>; 4]);

/// The Event that stands for it.
#[derive(Clone)]
struct Told {
    name: String,
    count: i32,
    last: Instant,
}

impl Events {
    /// Reports as this instance, while it leads.
    pub fn new(client: Client, leadership: watch::Receiver<Leadership>, instance: String) -> Self {
        let slots = Arc::new(Semaphore::new(64));
        Self { client, leadership, instance: instance.into(), slots, told: Arc::default(), trace_id: None }
    }

    /// The same, of what happens in this trace.
    #[must_use]
    pub fn within(&self, trace: &Trace) -> Self {
        Self { trace_id: Some(trace.id().into()), ..self.clone() }
    }

    /// All went well.
    pub fn normal(&self, about: ObjectReference, reason: &str, note: String) {
        self.publish(about, "Normal", reason, &note);
    }

    /// Somebody should look.
    pub fn warning(&self, about: ObjectReference, reason: &str, note: String) {
        self.publish(about, "Warning", reason, &note);
    }

    fn publish(&self, about: ObjectReference, type_: &'static str, reason: &str, note: &str) {
        // Too many at once: the conditions say it all, an Event more would only cost the API server.
        let Ok(slot) = self.slots.clone().try_acquire_owned() else { return };
        let (events, reason, note) = (self.clone(), reason.to_owned(), note.chars().take(1024).collect());
        tokio::spawn(async move {
            // What one that was paused makes of the time that it missed is not so: the next leader tells what is.
            if !events.leadership.borrow().is_leading() {
                return;
            }
            let sent = tokio::time::timeout(DEADLINE, events.send(about, type_, &reason, note)).await;
            if !matches!(sent, Ok(Ok(()))) {
                tracing::warn!(reason, "event not published");
            }
            drop(slot);
        });
    }

    async fn send(&self, about: ObjectReference, type_: &'static str, reason: &str, note: String) -> kube::Result<()> {
        let object = [about.kind.clone(), about.namespace.clone(), about.name.clone(), about.uid.clone()];
        let what = (type_, reason.to_owned(), object);
        let api: Api<Event> = Api::namespaced(self.client.clone(), about.namespace.as_deref().unwrap_or("default"));
        if let Some(known) = self.known(&what) {
            let count = known.count + 1;
            let series = EventSeries { count, last_observed_time: MicroTime(Timestamp::now()) };
            let patch = json!({ "metadata": { "annotations": self.annotations() }, "series": series });
            match api.patch_metadata(&known.name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                // It has been taken away: that is no reason to say nothing.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                answer => {
                    self.remember(what, known.name, count);
                    return answer.map(|_| ());
                }
            }
        }
        let event = self.event(about, type_, reason, note);
        let name = event.metadata.name.clone().unwrap_or_default();
        api.create(&PostParams::default(), &event).await?;
        self.remember(what, name, 1);
        Ok(())
    }

    fn known(&self, what: &What) -> Option<Told> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, told| told.last.elapsed() < SERIES);
        told.get(what).cloned()
    }

    fn remember(&self, what: What, name: String, count: i32) {
        let told = Told { name, count, last: Instant::now() };
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(what, told);
    }

    fn annotations(&self) -> serde_json::Value {
        json!({ TRACE_ANNOTATION: self.trace_id.as_deref() })
    }

    fn event(&self, about: ObjectReference, type_: &str, reason: &str, note: String) -> Event {
        let now = Timestamp::now();
        let annotations = self.trace_id.as_deref().map(|id| [(TRACE_ANNOTATION.to_owned(), id.to_owned())].into());
        Event {
            metadata: ObjectMeta {
                namespace: Some(about.namespace.clone().unwrap_or_else(|| "default".to_owned())),
                name: Some(format!("{}.{:x}", about.name.as_deref().unwrap_or(CONTROLLER), now.as_nanosecond())),
                annotations,
                ..ObjectMeta::default()
            },
            action: Some("Sync".to_owned()),
            reason: Some(reason.to_owned()),
            note: Some(note),
            type_: Some(type_.to_owned()),
            event_time: Some(MicroTime(now)),
            regarding: Some(about),
            reporting_controller: Some(CONTROLLER.to_owned()),
            reporting_instance: Some(self.instance.to_string()),
            ..Event::default()
        }
    }
}

#[cfg(test)]
mod tests;
