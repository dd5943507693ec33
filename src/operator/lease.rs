//! Leader election on a Lease: at most one leader at any time.
//!
//! [`decide`] is pure. It never compares clocks of two processes: a candidate waits for [`LEASE`] since it saw the lease
//! change, on its own monotonic clock; a leader leads for [`DEADLINE`] since it sent the last renewal that was
//! confirmed. The second is over before the first, so long as no clock runs half as fast again as another. Each write
//! carries the resourceVersion it stands on, so of two writers one is refused.

mod candidate;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

pub use candidate::run;
use tokio::time::Instant;

/// So long a candidate waits for a sign of the leader.
pub const LEASE: Duration = Duration::from_secs(15);
/// So long a leader leads without a confirmed renewal.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// From one try to the next.
pub const RETRY: Duration = Duration::from_secs(2);
/// The longest lease of another version of this program that is waited for.
const LONGEST: Duration = Duration::from_secs(60);

/// Whether this process leads. Every write asks at the moment it is sent; clones follow the same term.
#[derive(Clone, Debug)]
pub struct Leadership(Standing);

#[derive(Clone, Debug)]
enum Standing {
    Always,
    Never,
    Term(Arc<Term>),
}

/// One uninterrupted stretch of leading. It ends by itself when nobody prolongs it: a task that stalls loses it.
#[derive(Debug)]
struct Term {
    begun: Instant,
    /// Milliseconds since `begun`; 0: over.
    lasts: AtomicU64,
}

impl Term {
    fn new(begun: Instant) -> Arc<Self> {
        Arc::new(Self { begun, lasts: AtomicU64::new(0) })
    }

    fn prolong(&self, until: Instant) {
        let lasts = until.duration_since(self.begun).as_millis();
        self.lasts.store(u64::try_from(lasts).unwrap_or(0), Ordering::SeqCst);
    }

    fn end(&self) {
        self.lasts.store(0, Ordering::SeqCst);
    }
}

impl Leadership {
    /// Without leader election.
    pub const fn always() -> Self {
        Self(Standing::Always)
    }

    /// Before the election, and after a loss.
    pub const fn never() -> Self {
        Self(Standing::Never)
    }

    /// Whether this process leads now.
    pub fn is_leading(&self) -> bool {
        match &self.0 {
            Standing::Always => true,
            Standing::Never => false,
            Standing::Term(term) => {
                Instant::now() < term.begun + Duration::from_millis(term.lasts.load(Ordering::SeqCst))
            }
        }
    }
}

/// What is known of the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Not read yet.
    Nothing,
    /// There never was one.
    Absent,
    /// There was one. Whoever held it may lead still.
    Removed,
    /// Nobody holds it.
    Free,
    /// This process holds it.
    Mine,
    /// Another holds it, and for how long since its last sign.
    Others(Duration),
}

/// What a candidate knows: the input of [`decide`].
#[derive(Clone, Debug)]
pub struct Observed {
    /// What the lease said last.
    pub seen: Seen,
    /// When it was first seen in this state.
    pub since: Instant,
    /// The end of this process's term, if it has one.
    pub until: Option<Instant>,
    /// No write before.
    pub due: Instant,
    version: Option<String>,
    doubtful: bool,
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// Write this process into the lease.
    Acquire,
    /// Write that this process still leads.
    Renew,
    /// Nothing for so long.
    Wait(Duration),
    /// Stop leading: the term is over, or the lease is another's.
    StepDown,
}

/// What a candidate does now.
pub fn decide(observed: &Observed, now: Instant) -> Decision {
    let Observed { seen, since, until, due, .. } = *observed;
    if until.is_some_and(|until| now >= until || matches!(seen, Seen::Free | Seen::Others(_))) {
        return Decision::StepDown;
    }
    let (earliest, write) = match seen {
        Seen::Mine => (due, Some(Decision::Renew)),
        Seen::Absent | Seen::Free => (due, Some(Decision::Acquire)),
        Seen::Removed if until.is_some() => (due, Some(Decision::Acquire)),
        Seen::Removed => (due.max(since + LEASE), Some(Decision::Acquire)),
        Seen::Others(lasts) => (due.max(since + lasts), Some(Decision::Acquire)),
        Seen::Nothing => (due, None),
    };
    match write {
        Some(write) if now >= earliest => write,
        _ => {
            let wake = until.map_or(earliest, |until| earliest.min(until));
            Decision::Wait(wake.saturating_duration_since(now).min(RETRY))
        }
    }
}

impl Observed {
    /// A candidate that knows nothing yet.
    pub fn new(now: Instant) -> Self {
        Self { seen: Seen::Nothing, since: now, until: None, due: now, version: None, doubtful: false }
    }

    /// Whether the lease has to be read first. A leader knows what it says, until a write had no clear answer.
    pub fn must_read(&self) -> bool {
        self.until.is_none() || self.doubtful
    }

    /// An answer to a read came at `now`: the lease's resourceVersion and what it says; `None`: there is none.
    pub fn read(&mut self, lease: Option<(&str, Seen)>, now: Instant) {
        self.doubtful = false;
        let known = self.version.as_deref();
        let (version, seen) = match lease {
            Some((version, seen)) => (Some(version), seen),
            None if matches!(self.seen, Seen::Nothing | Seen::Absent) => (None, Seen::Absent),
            None => (None, Seen::Removed),
        };
        // Any write by whomever is a sign of life: the resourceVersion tells, no clock does.
        if version != known || seen != self.seen {
            self.since = now;
        }
        (self.version, self.seen) = (version.map(str::to_owned), seen);
    }

    /// The API server confirmed a write that was sent at `sent`.
    pub fn wrote(&mut self, version: &str, sent: Instant, now: Instant) {
        *self = Self {
            seen: Seen::Mine,
            since: now,
            until: Some(sent + DEADLINE),
            due: sent + RETRY,
            version: Some(version.to_owned()),
            doubtful: false,
        };
    }

    /// A try that began at `begun` had no good answer; a write may have been carried out all the same, or may be later.
    pub fn failed(&mut self, begun: Instant) {
        self.due = begun + RETRY;
        self.doubtful = true;
    }

    /// This process leads no longer.
    pub fn step_down(&mut self) {
        self.until = None;
    }
}

#[cfg(test)]
#[path = "lease/tests.rs"]
mod tests;
