//! Values in memory: bounded in bytes and in time, oldest out first. What leaves is wiped with its last reader.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::request::{Answer, Place};
use crate::telemetry::Metrics;

/// What an entry costs beside its texts: three indexes lead to it.
const ENTRY: usize = 256;

/// Values of all stores of one process.
pub struct Cache {
    capacity: usize,
    metrics: Arc<Metrics>,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    entries: HashMap<Arc<Place>, Entry>,
    /// By age: the number an entry got when it came.
    places: BTreeMap<u64, Arc<Place>>,
    expiries: BTreeSet<(Instant, u64)>,
    bytes: usize,
    next: u64,
}

struct Entry {
    number: u64,
    since: Instant,
    expires: Instant,
    bytes: usize,
    answer: Answer,
}

impl Cache {
    /// What the operator takes.
    pub const CAPACITY: usize = 8 << 20;

    /// A cache of at most this many bytes.
    pub fn new(capacity: usize, metrics: Arc<Metrics>) -> Self {
        Self { capacity, metrics, held: Mutex::default() }
    }

    /// Drops what has expired. To be called every few seconds: an entry that nobody asks for must go, too.
    pub fn sweep(&self, now: Instant) {
        self.change(|held| held.sweep(now));
    }

    /// Drops everything of one store.
    pub fn forget(&self, uid: &str) {
        self.change(|held| held.remove_if(|place| &*place.uid == uid));
    }

    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        self.held().bytes
    }

    pub(super) fn forget_generation(&self, uid: &str, generation: i64) {
        self.forget_where(|place| place.generation == generation && &*place.uid == uid);
    }

    pub(super) fn forget_where(&self, goes: impl Fn(&Place) -> bool) {
        self.change(|held| held.remove_if(goes));
    }

    pub(super) fn get(&self, place: &Place, now: Instant) -> Option<Answer> {
        self.held().entries.get(place).filter(|entry| entry.expires > now).map(|entry| entry.answer.clone())
    }

    /// For how long an answer has been in memory.
    pub(super) fn age(&self, place: &Place, now: Instant) -> Option<Duration> {
        self.held().entries.get(place).filter(|entry| entry.expires > now).map(|entry| now - entry.since)
    }

    pub(super) fn keep(&self, place: &Arc<Place>, answer: Answer, ttl: Duration, now: Instant) {
        let expires = now.checked_add(answer.keep_for(ttl)).filter(|expires| *expires > now);
        let bytes = ENTRY + place.bytes() + answer.bytes();
        self.change(|held| {
            // Also when the new answer is not kept: the old one is no longer true.
            held.remove(place);
            held.sweep(now);
            let Some(expires) = expires.filter(|_| bytes <= self.capacity) else { return };
            while held.bytes + bytes > self.capacity && held.remove_oldest() {}
            held.insert(Arc::clone(place), answer, now..expires, bytes);
        });
    }

    fn change(&self, change: impl FnOnce(&mut Held)) {
        let mut held = self.held();
        change(&mut held);
        self.metrics.cache_bytes(held.bytes);
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Held {
    fn insert(&mut self, place: Arc<Place>, answer: Answer, stays: Range<Instant>, bytes: usize) {
        let Range { start: since, end: expires } = stays;
        let number = self.next;
        self.next += 1;
        self.bytes += bytes;
        self.expiries.insert((expires, number));
        self.places.insert(number, Arc::clone(&place));
        self.entries.insert(place, Entry { number, since, expires, bytes, answer });
    }

    fn remove(&mut self, place: &Place) {
        if let Some(entry) = self.entries.remove(place) {
            self.places.remove(&entry.number);
            self.expiries.remove(&(entry.expires, entry.number));
            self.bytes -= entry.bytes;
        }
    }

    fn remove_oldest(&mut self) -> bool {
        let Some(place) = self.places.first_key_value().map(|(_, place)| Arc::clone(place)) else { return false };
        self.remove(&place);
        true
    }

    fn remove_if(&mut self, goes: impl Fn(&Place) -> bool) {
        let going: Vec<_> = self.entries.keys().filter(|place| goes(place)).cloned().collect();
        going.iter().for_each(|place| self.remove(place));
    }

    fn sweep(&mut self, now: Instant) {
        while let Some((expires, number)) = self.expiries.first().copied()
            && expires <= now
        {
            match self.places.get(&number).cloned() {
                Some(place) => self.remove(&place),
                None => _ = self.expiries.pop_first(),
            }
        }
    }
}

#[cfg(test)]
#[path = "cache/tests.rs"]
mod tests;
