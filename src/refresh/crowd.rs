//! Who stands on one key: how often they want it looked at, and which parties they are of. Whoever comes or goes among
//! thousands costs no look at the others.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::Duration,
};

use super::Subscriber;

#[derive(Debug)]
pub(super) struct Crowd<S> {
    subscribers: HashMap<S, Duration>,
    /// How many of them want each interval.
    intervals: BTreeMap<Duration, usize>,
    /// How many of them are of each party.
    parties: HashMap<Arc<str>, usize>,
}

impl<S> Default for Crowd<S> {
    fn default() -> Self {
        Self { subscribers: HashMap::new(), intervals: BTreeMap::new(), parties: HashMap::new() }
    }
}

impl<S> Crowd<S> {
    /// The shortest that anybody wants; [`Duration::MAX`] is never.
    pub(super) fn interval(&self) -> Duration {
        self.intervals.first_key_value().map_or(Duration::MAX, |(interval, _)| *interval)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.subscribers.is_empty()
    }

    pub(super) fn parties(&self) -> impl ExactSizeIterator<Item = &Arc<str>> {
        self.parties.keys()
    }
}

impl<S: Subscriber> Crowd<S> {
    pub(super) fn join(&mut self, subscriber: &S, interval: Duration) {
        self.leave(subscriber);
        self.subscribers.insert(subscriber.clone(), interval);
        *self.intervals.entry(interval).or_default() += 1;
        *self.parties.entry(subscriber.party()).or_default() += 1;
    }

    pub(super) fn leave(&mut self, subscriber: &S) {
        let Some(interval) = self.subscribers.remove(subscriber) else { return };
        if let Some(count) = self.intervals.get_mut(&interval) {
            *count -= 1;
            if *count == 0 {
                self.intervals.remove(&interval);
            }
        }
        let party = subscriber.party();
        if let Some(count) = self.parties.get_mut(&party) {
            *count -= 1;
            if *count == 0 {
                self.parties.remove(&party);
            }
        }
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &S> {
        self.subscribers.keys()
    }

    /// Those who are not looked for: they have to be told.
    pub(super) fn to_be_told(&self) -> impl Iterator<Item = &S> {
        self.subscribers.iter().filter(|(_, interval)| **interval == Duration::MAX).map(|(s, _)| s)
    }

    pub(super) fn has_to_be_told(&self, subscriber: &S) -> bool {
        self.subscribers.get(subscriber) == Some(&Duration::MAX)
    }
}
