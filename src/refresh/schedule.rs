//! When a key is polled: a phase that is a hash, on the wall clock.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

/// One moment on both clocks: the wall clock gives phases, the monotonic one is waited on, so that a jump of the wall
/// clock moves one poll at most.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// Monotonic.
    pub mono: Instant,
    /// Since the Unix epoch.
    pub wall: Duration,
}

impl Now {
    /// This moment.
    pub fn get() -> Self {
        Self { mono: Instant::now(), wall: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() }
    }

    /// A moment that comes after this one.
    pub(super) fn later(self, by: Duration) -> Self {
        Self { mono: self.mono + by, wall: self.wall + by }
    }
}

/// The next moment of a phase: the same on every replica, and after every restart.
pub fn next_poll(phase: impl Hash, interval: Duration, now: Now) -> Instant {
    let interval = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
    let wall = u64::try_from(now.wall.as_millis()).unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    phase.hash(&mut hasher);
    let phase = hasher.finish() % interval;
    let into_cycle = (wall % interval + interval - phase) % interval;
    now.mono + Duration::from_millis(interval - into_cycle)
}
