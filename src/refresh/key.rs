//! One key of the table: what is known of it, and what of that is news.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Now, State, crowd::Crowd};
use crate::{resolve::Read, stores::StoreError};

#[derive(Debug)]
pub(super) struct Key {
    pub(super) subscribers: Crowd,
    pub(super) due: Option<Instant>,
    pub(super) state: Option<State>,
    pub(super) failure: Option<StoreError>,
    /// Looks in a row that failed for the same reason.
    pub(super) failed: u32,
    /// The value resolved once, as far as anyone knows: its absence has to be seen twice.
    pub(super) was_present: bool,
    pub(super) absent_since: Option<Instant>,
    pub(super) absence_confirmed: bool,
    /// When the store last said something of it to this process.
    pub(super) looked: Option<Instant>,
}

impl Key {
    /// One that nobody stands on yet. `was_present`: it was in use before this process.
    pub(super) fn new(was_present: bool) -> Self {
        Self {
            subscribers: Crowd::default(),
            due: None,
            state: None,
            failure: None,
            failed: 0,
            was_present,
            absent_since: None,
            absence_confirmed: false,
            looked: None,
        }
    }

    pub(super) fn interval(&self) -> Duration {
        self.subscribers.interval()
    }

    /// Whether the subscribers must hear of it.
    pub(super) fn observe(&mut self, state: State, now: Now) -> bool {
        if let State::Failed(error) = state {
            let same = self.failure.as_ref().is_some_and(|f| f.failure.reason() == error.failure.reason());
            self.failed = if same { self.failed.saturating_add(1) } else { 1 };
            self.failure = Some(error);
            return self.failed == self.looks_to_tell();
        }
        self.failed = 0;
        let recovered = self.failure.take().is_some();
        match &state {
            State::Absent => {
                let since = *self.absent_since.get_or_insert(now.mono);
                if self.was_present && !self.absence_confirmed && self.apart(since, now) {
                    self.absence_confirmed = true;
                    self.state = Some(state);
                    return true;
                }
            }
            _ => {
                self.was_present |= matches!(state, State::Present(_));
                self.absent_since = None;
                self.absence_confirmed = false;
            }
        }
        let changed = self.state.as_ref() != Some(&state);
        self.state = Some(state);
        changed || recovered
    }

    /// A single key's trouble is its references' business at once. A store in trouble speaks through its probes, which
    /// end the polls; a key that fails a second time has a trouble that they do not see (a quota on a part of it).
    pub(super) fn looks_to_tell(&self) -> u32 {
        if self.failure.as_ref().is_some_and(|f| f.failure.reason().is_store_wide()) { 2 } else { 1 }
    }

    pub(super) fn is_told(&self) -> bool {
        self.failed >= self.looks_to_tell()
    }

    /// Where changes are pushed, nobody comes by to see an absence for the second time.
    pub(super) fn must_look_again(&self) -> bool {
        self.was_present && !self.absence_confirmed && self.absent_since.is_some() && self.interval() != Duration::MAX
    }

    pub(super) fn look_again(&mut self, read: &Arc<Read>, due: &mut BTreeSet<(Instant, Arc<Read>)>) {
        if let Some(since) = self.absent_since.filter(|_| self.due.is_none() && self.must_look_again()) {
            let at = since + self.interval();
            self.due = Some(at);
            due.insert((at, read.clone()));
        }
    }

    /// One interval lies between two looks; a little less counts, since polls do not start to the millisecond.
    pub(super) fn apart(&self, since: Instant, now: Now) -> bool {
        let interval = if self.interval() == Duration::MAX { Duration::ZERO } else { self.interval() };
        now.mono.saturating_duration_since(since) >= interval.mul_f64(0.9).max(Duration::from_millis(1))
    }
}
