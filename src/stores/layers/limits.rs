//! How much a store is asked: a rate with a burst, a number of requests at once, and silence when it says so.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard as StateGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    sync::{MutexGuard, OwnedMutexGuard, Semaphore, SemaphorePermit},
    time::Instant,
};

use super::super::{Failure, Settings};

/// The longest that a store may have itself left alone.
const LONGEST_HOLD: Duration = Duration::from_secs(3600);
/// How long it is left alone if it does not say; it doubles.
const FIRST_HOLD: Duration = Duration::from_secs(1);
const LONGEST_STEP: Duration = Duration::from_secs(60);
/// Callers wait for the end of a hold up to this long; with more to go they hear so at once.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A token bucket, kept as the time at which it will be full again: exact, no rounding adds up. In any window of
/// length `w` it gives at most `burst + rate * w`.
#[derive(Debug)]
pub(super) struct Bucket {
    interval: Duration,
    tolerance: Duration,
    full_at: Option<Instant>,
}

impl Bucket {
    pub(super) fn new(per_second: f64, burst: u32) -> Self {
        // A rate that is none (the schema admits none such) becomes a very low one, never an unbounded one.
        let rate = if per_second.is_finite() { per_second.clamp(1e-4, 1e6) } else { 1e-4 };
        let interval = Duration::from_secs_f64(1.0 / rate) + Duration::from_nanos(1);
        Self { interval, tolerance: interval.saturating_mul(burst.max(1) - 1), full_at: None }
    }

    /// Takes a token, or tells when there will be one.
    pub(super) fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let full_at = self.full_at.filter(|at| *at > now).unwrap_or(now);
        match (full_at - now).checked_sub(self.tolerance) {
            Some(wait) if !wait.is_zero() => Err(wait),
            _ => {
                self.full_at = Some(full_at + self.interval);
                Ok(())
            }
        }
    }
}

/// Silence that a store asked for.
#[derive(Debug)]
pub(super) struct Hold {
    until: Option<Instant>,
    /// When it last asked for it: an answer to what was sent before tells nothing new.
    set: Option<Instant>,
    step: Duration,
}

impl Hold {
    pub(super) const fn new() -> Self {
        Self { until: None, set: None, step: FIRST_HOLD }
    }

    /// The store said slow down, to a request that was sent at `sent`.
    pub(super) fn told(&mut self, wait: Option<Duration>, sent: Instant, now: Instant) {
        let wait = match wait.filter(|wait| !wait.is_zero()) {
            Some(wait) => wait.min(LONGEST_HOLD),
            // Of many requests in flight all hear it; that is one step, not many.
            None if !self.is_news(sent) => return,
            None => {
                let step = self.step;
                self.step = (step * 2).min(LONGEST_STEP);
                step
            }
        };
        self.set = Some(now);
        self.until = self.until.max(Some(now + wait));
    }

    /// The store gave what was asked for at `sent`.
    pub(super) fn answered(&mut self, sent: Instant) {
        if self.is_news(sent) {
            self.step = FIRST_HOLD;
        }
    }

    /// How long it lasts from now on.
    pub(super) fn rest(&self, now: Instant) -> Option<Duration> {
        self.until.map(|until| until.saturating_duration_since(now)).filter(|rest| !rest.is_zero())
    }

    fn is_news(&self, sent: Instant) -> bool {
        self.set.is_none_or(|set| sent >= set)
    }
}

/// Of five ordinary requests that wait, this many are the operator's own: its polls take at most four fifths.
const OWN_LANES: usize = 4;

/// Lanes that nobody stands in are cleared away beyond so many.
const MANY_LANES: usize = 64;

/// Who asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane<'a> {
    /// A probe, which comes before all others.
    Probe,
    /// The operator itself: polls.
    Own,
    /// On behalf of a namespace: they take turns, however much one of them asks for.
    Namespace(&'a str),
}

impl<'a> Lane<'a> {
    /// Of a requester as audit events name it.
    pub(super) fn of(requester: &'a str, operator: &str) -> Self {
        let namespace = requester.split_once('/').and_then(|(_, rest)| rest.split_once('/'));
        match namespace {
            Some((namespace, _)) if requester != operator => Self::Namespace(namespace),
            _ => Self::Own,
        }
    }
}

/// The limits of one store.
pub(super) struct Limits {
    /// One of each lane stands in the next line; the lanes of namespaces come together in one.
    own: [Arc<tokio::sync::Mutex<()>>; OWN_LANES],
    next: AtomicUsize,
    namespaces: Mutex<HashMap<Box<str>, Arc<tokio::sync::Mutex<()>>>>,
    together: Arc<tokio::sync::Mutex<()>>,
    /// Ordinary requests stand in line here, and only the first of them goes on to the front.
    line: tokio::sync::Mutex<()>,
    /// Whoever is here waits for a seat and a token. A probe comes straight here, and so is served next.
    front: tokio::sync::Mutex<()>,
    seats: Semaphore,
    state: Mutex<State>,
}

struct State {
    bucket: Bucket,
    hold: Hold,
}

/// The place at the front, with a seat: one request at a time takes its token from here.
pub(super) struct Turn<'a> {
    // Dropped in this order: a probe that waits for the front comes before the next in line.
    front: MutexGuard<'a, ()>,
    line: Option<MutexGuard<'a, ()>>,
    lanes: [Option<OwnedMutexGuard<()>>; 2],
    seat: Option<SemaphorePermit<'a>>,
}

/// Leave to send one request; holds its seat until dropped.
pub(super) struct Leave<'a> {
    _seat: Option<SemaphorePermit<'a>>,
}

impl<'a> Turn<'a> {
    pub(super) fn into_leave(self) -> Leave<'a> {
        drop((self.front, self.line, self.lanes));
        Leave { _seat: self.seat }
    }
}

impl Limits {
    pub(super) fn new(settings: &Settings) -> Self {
        let bucket = Bucket::new(settings.requests_per_second, settings.burst);
        Self {
            own: std::array::from_fn(|_| Arc::default()),
            next: AtomicUsize::new(0),
            namespaces: Mutex::default(),
            together: Arc::default(),
            line: tokio::sync::Mutex::new(()),
            front: tokio::sync::Mutex::new(()),
            seats: Semaphore::new(settings.max_concurrent.clamp(1, Semaphore::MAX_PERMITS)),
            state: Mutex::new(State { bucket, hold: Hold::new() }),
        }
    }

    /// Waits for its turn. Whoever stops waiting takes nothing away.
    pub(super) async fn turn(&self, lane: Lane<'_>) -> Turn<'_> {
        let lanes = match lane {
            Lane::Probe => [None, None],
            Lane::Own => {
                let own = &self.own[self.next.fetch_add(1, Ordering::Relaxed) % OWN_LANES];
                [Some(own.clone().lock_owned().await), None]
            }
            Lane::Namespace(namespace) => {
                let lane = self.lane(namespace).lock_owned().await;
                [Some(lane), Some(self.together.clone().lock_owned().await)]
            }
        };
        let line = if lane == Lane::Probe { None } else { Some(self.line.lock().await) };
        let front = self.front.lock().await;
        // It fails on a closed semaphore only, and nobody closes it.
        let seat = self.seats.acquire().await.ok();
        Turn { front, line, lanes, seat }
    }

    fn lane(&self, namespace: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut lanes = self.namespaces.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(namespace) {
            return lane.clone();
        }
        if lanes.len() >= MANY_LANES {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        lanes.entry(namespace.into()).or_default().clone()
    }

    /// Takes a token now, or tells how long to wait.
    pub(super) fn take(&self, now: Instant) -> Result<(), Duration> {
        let mut state = self.state();
        match state.hold.rest(now) {
            Some(rest) => Err(rest),
            None => state.bucket.take(now),
        }
    }

    /// Learns from an answer to a request that was sent at `sent`.
    pub(super) fn learn(&self, failure: Option<Failure>, sent: Instant, now: Instant) {
        match failure {
            None => self.state().hold.answered(sent),
            Some(Failure::RateLimited(wait)) => self.state().hold.told(wait, sent, now),
            Some(_) => {}
        }
    }

    /// How long the store wants to be left alone.
    pub(super) fn held_for(&self, now: Instant) -> Option<Duration> {
        self.state().hold.rest(now)
    }

    fn state(&self) -> StateGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "limits/tests.rs"]
mod tests;
