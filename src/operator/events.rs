//! Events with stable reasons. They never hold up a sync, and never fail one.
//!
//! The same thing about the same object within some minutes is one Event that counts. Each carries the id of the trace
//! that it was last told in: the note of an Event cannot change, its metadata can.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
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
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

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
    book: Arc<Mutex<Book>>,
    trace_id: Option<Arc<str>>,
}

/// Type, reason and object: kind, namespace, name and uid.
type What = (&'static str, String, [Option<String>; 4]);

/// What was told of late.
struct Book {
    told: HashMap<What, Told>,
    /// When what is over was taken out.
    swept: Instant,
}

/// The Event that stands for it.
struct Told {
    /// None until it is there.
    name: Option<String>,
    /// How often it happened.
    count: i32,
    /// How often the API server knows that it did.
    published: i32,
    last: Instant,
    /// Where it happened last.
    trace_id: Option<Arc<str>>,
    /// It is being published: whatever comes meanwhile is counted, and costs no request of its own.
    under_way: bool,
}

impl Told {
    fn goes_on(&self) -> bool {
        self.under_way || self.last.elapsed() < SERIES
    }
}

/// What the API server has still to be told of one.
struct Untold {
    name: Option<String>,
    count: i32,
    trace_id: Option<Arc<str>>,
}

impl Events {
    /// Reports as this instance, while it leads.
    pub fn new(client: Client, leadership: watch::Receiver<Leadership>, instance: String) -> Self {
        let slots = Arc::new(Semaphore::new(64));
        let book = Book { told: HashMap::new(), swept: Instant::now() };
        Self { client, leadership, instance: instance.into(), slots, book: Arc::new(Mutex::new(book)), trace_id: None }
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
        let object = [about.kind.clone(), about.namespace.clone(), about.name.clone(), about.uid.clone()];
        let what = (type_, reason.to_owned(), object);
        let Some(slot) = self.begin(&what) else { return };
        let event = self.event(about, type_, reason, note.chars().take(1024).collect());
        let events = self.clone();
        tokio::spawn(async move {
            while let Some(untold) = events.untold(&what) {
                // What one that was paused makes of the time that it missed is not so: the next leader tells what is.
                if !events.leadership.borrow().is_leading() {
                    return events.forget(&what);
                }
                match tokio::time::timeout(DEADLINE, events.send(&event, untold)).await {
                    Ok(Ok(published)) => events.published(&what, published),
                    _ => {
                        tracing::warn!(reason = what.1, "event not published");
                        return events.forget(&what);
                    }
                }
            }
            drop(slot);
        });
    }

    /// Counts it; a slot to publish it with, unless that is under way.
    fn begin(&self, what: &What) -> Option<OwnedSemaphorePermit> {
        let (mut book, last) = (self.book(), Instant::now());
        if book.swept.elapsed() >= SERIES {
            book.swept = last;
            book.told.retain(|_, told| told.goes_on());
        }
        // Too many at once: the conditions say it all, an Event more would only cost the API server.
        let slot = || self.slots.clone().try_acquire_owned().ok();
        let trace_id = self.trace_id.clone();
        if let Some(told) = book.told.get_mut(what).filter(|told| told.goes_on()) {
            (told.count, told.last, told.trace_id) = (told.count + 1, last, trace_id);
            let slot = if told.under_way { None } else { slot() };
            told.under_way |= slot.is_some();
            return slot;
        }
        let slot = slot()?;
        let told = Told { name: None, count: 1, published: 0, last, trace_id, under_way: true };
        book.told.insert(what.clone(), told);
        Some(slot)
    }

    /// None when the API server knows all; then nothing is under way any more.
    fn untold(&self, what: &What) -> Option<Untold> {
        let mut book = self.book();
        let told = book.told.get_mut(what)?;
        told.under_way = told.published < told.count;
        told.under_way.then(|| Untold { name: told.name.clone(), count: told.count, trace_id: told.trace_id.clone() })
    }

    /// The API server knows so much of it now, or nothing any more.
    fn published(&self, what: &What, published: Option<(String, i32)>) {
        let mut book = self.book();
        let Some(told) = book.told.get_mut(what) else { return };
        if let Some((name, count)) = published {
            (told.name, told.published) = (Some(name), count);
        } else {
            (told.name, told.count, told.published) = (None, told.count - told.published, 0);
        }
    }

    /// The next time it is a new Event.
    fn forget(&self, what: &What) {
        self.book().told.remove(what);
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Creates the Event, or counts on where it is there; answers its name and the count that it has now, or nothing
    /// where it has been taken away.
    async fn send(&self, event: &Event, untold: Untold) -> kube::Result<Option<(String, i32)>> {
        let namespace = event.metadata.namespace.as_deref().unwrap_or("default");
        let api: Api<Event> = Api::namespaced(self.client.clone(), namespace);
        let Untold { name: Some(name), count, trace_id } = untold else {
            api.create(&PostParams::default(), event).await?;
            return Ok(event.metadata.name.clone().map(|name| (name, 1)));
        };
        let series = EventSeries { count, last_observed_time: MicroTime(Timestamp::now()) };
        let patch =
            json!({ "metadata": { "annotations": { TRACE_ANNOTATION: trace_id.as_deref() } }, "series": series });
        match api.patch_metadata(&name, &PatchParams::default(), &Patch::Merge(&patch)).await {
            Ok(_) => Ok(Some((name, count))),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(error),
        }
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
