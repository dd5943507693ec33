//! Who stands on one key: how often they want it looked at, and which parties they are of. Whoever comes or goes among
//! thousands costs no look at the others.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use super::subscriptions::Id;

#[derive(Debug, Default)]
pub(super) struct Crowd {
    subscribers: HashSet<Id>,
    /// How many of them want each interval, the shortest first.
    intervals: Vec<(Duration, usize)>,
    /// How many of them are of each party.
    parties: HashMap<Arc<str>, usize>,
}

impl Crowd {
    /// The shortest that anybody wants; [`Duration::MAX`] is never.
    pub(super) fn interval(&self) -> Duration {
        self.intervals.first().map_or(Duration::MAX, |(interval, _)| *interval)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.subscribers.is_empty()
    }

    pub(super) fn parties(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.parties.keys()
    }

    pub(super) fn all(&self) -> impl Iterator<Item = Id> {
        self.subscribers.iter().copied()
    }

    pub(super) fn join(&mut self, subscriber: Id, interval: Duration, party: &Arc<str>) {
        if !self.subscribers.insert(subscriber) {
            return;
        }
        match self.at(interval) {
            Ok(at) => self.intervals[at].1 += 1,
            Err(at) => self.intervals.insert(at, (interval, 1)),
        }
        *self.parties.entry(party.clone()).or_default() += 1;
    }

    /// With the interval and the party that it joined with.
    pub(super) fn leave(&mut self, subscriber: Id, interval: Duration, party: &Arc<str>) {
        if !self.subscribers.remove(&subscriber) {
            return;
        }
        if let Ok(at) = self.at(interval) {
            self.intervals[at].1 -= 1;
            if self.intervals[at].1 == 0 {
                self.intervals.remove(at);
            }
        }
        if let Some(count) = self.parties.get_mut(party) {
            *count -= 1;
            if *count == 0 {
                self.parties.remove(party);
            }
        }
    }

    fn at(&self, interval: Duration) -> Result<usize, usize> {
        self.intervals.binary_search_by_key(&interval, |(interval, _)| *interval)
    }
}
