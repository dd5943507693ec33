//! Events with stable reasons. They never hold up a sync, and never fail one.

use std::sync::Arc;

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::sync::Semaphore;

/// Publishes Events in the background, a few at a time.
#[derive(Clone)]
pub struct Events {
    recorder: Recorder,
    slots: Arc<Semaphore>,
}

impl Events {
    /// Reports as this instance.
    pub fn new(client: Client, instance: String) -> Self {
        let reporter = Reporter { controller: "secretref.dev/operator".into(), instance: Some(instance) };
        Self { recorder: Recorder::new(client, reporter), slots: Arc::new(Semaphore::new(64)) }
    }

    /// All went well.
    pub fn normal(&self, about: ObjectReference, reason: &str, note: String) {
        self.publish(about, EventType::Normal, reason, note);
    }

    /// Somebody should look.
    pub fn warning(&self, about: ObjectReference, reason: &str, note: String) {
        self.publish(about, EventType::Warning, reason, note);
    }

    fn publish(&self, about: ObjectReference, type_: EventType, reason: &str, note: String) {
        // Too many at once: the conditions say it all, an Event more would only cost the API server.
        let Ok(slot) = self.slots.clone().try_acquire_owned() else { return };
        let note = Some(note.chars().take(1024).collect());
        let event = Event { type_, reason: reason.into(), action: "Sync".into(), note, secondary: None };
        let recorder = self.recorder.clone();
        tokio::spawn(async move {
            let published = tokio::time::timeout(std::time::Duration::from_secs(10), recorder.publish(&event, &about));
            if !matches!(published.await, Ok(Ok(_))) {
                tracing::warn!(reason = %event.reason, "event not published");
            }
            drop(slot);
        });
    }
}
