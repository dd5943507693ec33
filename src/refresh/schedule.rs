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

/// The most polls per second that one party may have, so that all of them take at most four fifths of what the store
/// allows: who asks for less than its share gets all of it, and what it leaves is shared by the others. `None`: there is
/// enough for all.
pub fn share(demands: impl Iterator<Item = f64>, capacity: f64) -> Option<f64> {
    let mut demands: Vec<f64> = demands.filter(|d| *d > 0.0).collect();
    let mut left = capacity * 0.8;
    if capacity <= 0.0 || demands.iter().sum::<f64>() <= left {
        return None;
    }
    demands.sort_by(f64::total_cmp);
    let mut parties = demands.len();
    for demand in demands {
        let each = left / parties as f64;
        if demand > each {
            return Some(each);
        }
        left -= demand;
        parties -= 1;
    }
    None
}
