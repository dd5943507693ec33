//! Single flight: many callers, one request.
//!
//! Each question that is being asked has a slot; whoever holds its lock flies, the others wait for the lock and look
//! at what the flight before brought. A flight that is given up half way (its caller was dropped) frees the lock, and
//! the next in line flies.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{
    super::StoreError,
    Freshness,
    request::{Answer, Place},
};

/// The questions that are being asked of one store.
#[derive(Default)]
pub(super) struct Flights {
    slots: Mutex<HashMap<Arc<Place>, Waited>>,
    /// Orders questions and flights; a wall or CPU clock could show two of them at one instant.
    clock: AtomicU64,
}

struct Waited {
    callers: usize,
    slot: Arc<Slot>,
}

type Slot = tokio::sync::Mutex<Option<Flight>>;

/// A finished flight.
struct Flight {
    started: u64,
    finished: u64,
    result: Result<Answer, StoreError>,
}

impl Flight {
    /// Whether a caller may take what this flight brought: one who wants no cache never gets an answer that may be
    /// from before the question.
    fn serves(&self, asked: u64, freshness: Freshness) -> bool {
        match freshness {
            Freshness::Cached => self.finished > asked,
            Freshness::PastCache => self.started > asked,
        }
    }
}

impl Flights {
    /// Flies, or takes what another flight brought.
    pub(super) async fn join<F>(
        &self,
        place: &Arc<Place>,
        freshness: Freshness,
        fly: impl FnOnce() -> F,
    ) -> Result<Answer, StoreError>
    where
        F: Future<Output = Result<Answer, StoreError>>,
    {
        let asked = self.tick();
        let caller = self.enter(place);
        let mut last = caller.slot.lock().await;
        if let Some(flight) = &*last
            && flight.serves(asked, freshness)
        {
            return flight.result.clone();
        }
        let started = self.tick();
        let result = fly().await;
        *last = Some(Flight { started, finished: self.tick(), result: result.clone() });
        result
    }

    fn tick(&self) -> u64 {
        self.clock.fetch_add(1, Ordering::SeqCst)
    }

    fn enter(&self, place: &Arc<Place>) -> Caller<'_> {
        let mut slots = self.slots();
        let waited = slots.entry(Arc::clone(place)).or_insert_with(|| Waited { callers: 0, slot: Arc::default() });
        waited.callers += 1;
        Caller { flights: self, place: Arc::clone(place), slot: Arc::clone(&waited.slot) }
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Arc<Place>, Waited>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who waits at a slot. The slot goes with its last caller, and with it the answer it holds.
struct Caller<'a> {
    flights: &'a Flights,
    place: Arc<Place>,
    slot: Arc<Slot>,
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        let mut slots = self.flights.slots();
        if let Some(waited) = slots.get_mut(&self.place) {
            waited.callers -= 1;
            if waited.callers == 0 {
                slots.remove(&self.place);
            }
        }
    }
}

#[cfg(test)]
#[path = "flight/tests.rs"]
mod tests;
