//! When to try again: seldom enough that a store in trouble gets less work, not more.

use std::{
    collections::HashSet,
    hash::{BuildHasher, RandomState},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{super::Settings, limits::Bucket, request::Place};

/// Attempts in all.
const ATTEMPTS: u32 = 5;
/// The first wait; it doubles.
const FIRST: Duration = Duration::from_millis(800);
/// Waits differ by this much, both ways.
const JITTER: f64 = 0.2;
/// No attempt but the first lasts beyond this.
pub(super) const OVERALL: Duration = Duration::from_secs(30);
/// An attempt with less time than this would only look like another failure.
const SHORTEST: Duration = Duration::from_secs(1);
/// The part of a store's rate that retries may take.
const SHARE: f64 = 0.1;
/// Failed questions that are remembered.
const REMEMBERED: usize = 16 * 1024;

/// How long to wait after this many failed attempts, or `None` to give up. `luck` is from 0 to 1.
fn wait(failed: u32, elapsed: Duration, luck: f64) -> Option<Duration> {
    if failed == 0 || failed >= ATTEMPTS {
        return None;
    }
    let factor = 1.0 - JITTER + 2.0 * JITTER * luck.clamp(0.0, 1.0);
    let wait = FIRST.mul_f64(f64::from(1_u32 << (failed - 1)) * factor);
    (elapsed + wait + SHORTEST <= OVERALL).then_some(wait)
}

/// Retries of one store.
pub(super) struct Retries {
    hasher: RandomState,
    state: Mutex<State>,
}

struct State {
    budget: Bucket,
    /// Hashes of the questions that no attempt brought an answer to. A collision costs a retry, nothing else.
    failed: HashSet<u64>,
}

impl Retries {
    pub(super) fn new(settings: &Settings) -> Self {
        let budget = Bucket::new(settings.requests_per_second * SHARE, settings.burst / 10);
        Self { hasher: RandomState::new(), state: Mutex::new(State { budget, failed: HashSet::new() }) }
    }

    /// How long to wait for the next attempt, or `None` to give up: the schedule is through, the question failed in
    /// its last cycle as well, or retries have had their share of the store's rate.
    pub(super) fn next(&self, place: &Place, failed: u32, elapsed: Duration, now: Instant) -> Option<Duration> {
        let wait = wait(failed, elapsed, rand::random())?;
        let hash = self.hasher.hash_one(place);
        let mut state = self.state();
        (!state.failed.contains(&hash) && state.budget.take(now).is_ok()).then_some(wait)
    }

    /// Remembers that every attempt failed.
    pub(super) fn failed(&self, place: &Place) {
        let hash = self.hasher.hash_one(place);
        let mut state = self.state();
        // Starting over forgets some that failed: their retries are within the budget all the same.
        if state.failed.len() >= REMEMBERED {
            state.failed.clear();
        }
        state.failed.insert(hash);
    }

    /// The store answered.
    pub(super) fn answered(&self, place: &Place) {
        let hash = self.hasher.hash_one(place);
        self.state().failed.remove(&hash);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "retry/tests.rs"]
mod tests;
