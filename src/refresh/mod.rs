//! The key table: what to read when, and who must hear of it.
//!
//! The key is the unit of refresh, not the reference: each distinct (store, [`Read`]) is polled once a cycle, however
//! many references depend on it, and only a change wakes them. A key's phase in its cycle is a hash on the wall clock,
//! so a restart or another leader polls each key when it would have been polled anyway. Pure: no I/O, no clock.

mod crowd;
mod key;
mod known;
mod looks;
mod schedule;
mod shares;
mod store;
mod subscriptions;
mod told;

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

pub use known::Look;
pub use looks::Looks;
pub use schedule::Now;
use store::StoreTable;
use subscriptions::{Stands, Subscription, Subscriptions};

use crate::{
    naming::StoreKey,
    resolve::{Answer, Read},
    stores::{ChangeToken, StoreError},
};

/// A store, by its object's uid.
pub type StoreUid = Arc<str>;

/// Whoever stands on keys.
pub trait Subscriber: Clone + Eq + std::hash::Hash {
    /// With whom it shares what a store can bear: its namespace.
    fn party(&self) -> Arc<str>;
}

/// What is known of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// There, in this state.
    Present(ChangeToken),
    /// Certainly not there.
    Absent,
    /// These keys are listed.
    Listed(Arc<Vec<StoreKey>>),
    /// The last poll had no answer; what was known before stands.
    Failed(StoreError),
}

impl State {
    /// As an answer without a value: enough to tell which keys are needed.
    pub fn as_answer(&self) -> Option<Answer> {
        match self {
            Self::Present(_) => Some(Answer::Present(None)),
            Self::Absent => Some(Answer::Absent),
            Self::Listed(keys) => Some(Answer::Listed(keys.clone())),
            Self::Failed(_) => None,
        }
    }
}

/// What a list of marks says of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Compared {
    /// It is as it was.
    Unchanged,
    /// For the first time since this process began, and in this state.
    Seen(State),
    /// It has to be read.
    Unknown,
    /// Nobody needs it any more.
    Unwanted,
}

/// The table of all stores; `S` names a subscriber (a reference).
#[derive(Debug)]
pub struct KeyTable<S> {
    stores: HashMap<StoreUid, StoreTable>,
    subscriptions: Subscriptions<S>,
}

/// Keys of one phase fall due this close together, since clocks are read one after the other: one list is for all of them.
const TOGETHER: Duration = Duration::from_millis(50);

impl<S> Default for KeyTable<S> {
    fn default() -> Self {
        Self { stores: HashMap::new(), subscriptions: Subscriptions::default() }
    }
}

impl<S: Subscriber> KeyTable<S> {
    /// Makes a store known: how many polls per second it may be asked for, and whether it tells changes by itself.
    pub fn store(&mut self, uid: &StoreUid, requests_per_second: f64, pushed: bool) {
        let table = self.stores.entry(uid.clone()).or_insert_with(|| StoreTable::new(requests_per_second));
        table.shares.bear(requests_per_second);
        table.pushed = pushed;
    }

    /// Gives all keys of a store one phase, or each its own again.
    pub fn align(&mut self, store: &StoreUid, aligned: bool, now: Now) {
        let Some(table) = self.stores.get_mut(store).filter(|t| t.aligned != aligned) else { return };
        table.aligned = aligned;
        let reads: Vec<Arc<Read>> = table.entries.keys().cloned().collect();
        for read in reads {
            table.postpone(store, &read, now);
        }
    }

    /// What the marks of a list say of a key: nothing new, all that has to be known, or that it has to be read.
    pub fn compare(&self, store: &str, read: &Read, listed: Option<&ChangeToken>) -> Compared {
        let Some(key) = self.stores.get(store).and_then(|t| t.entries.get(read)) else { return Compared::Unwanted };
        match (&key.state, listed) {
            _ if key.failure.is_some() => Compared::Unknown,
            (Some(State::Present(token)), Some(mark)) if token.is_still(mark) => Compared::Unchanged,
            // That it is not there was said by a read, and by two of them where it was there before.
            (Some(State::Absent), None) if key.absence_confirmed || !key.was_present => Compared::Unchanged,
            // An earlier process knew it: its fingerprint tells whether this is still so.
            (None, Some(mark)) if !mark.is_young() => Compared::Seen(State::Present(mark.clone())),
            _ => Compared::Unknown,
        }
    }

    /// Forgets a store and all that stands on it; answers who did.
    pub fn forget_store(&mut self, uid: &str) -> Vec<S> {
        let Some(table) = self.stores.remove(uid) else { return Vec::new() };
        let stood = table.entries.values().flat_map(|key| key.subscribers.all()).collect();
        self.subscriptions.remove_all(&stood)
    }

    /// Replaces what a subscriber stands on. `assume_present`: these keys were in use before this process, so that
    /// their absence has to be seen twice. Pinned versions never change and are not polled. With [`Duration::MAX`] it is
    /// never polled for, and has to be told.
    pub fn subscribe(
        &mut self,
        subscriber: &S,
        store: &StoreUid,
        reads: BTreeSet<Read>,
        interval: Duration,
        assume_present: impl Fn(&Read) -> bool,
        now: Now,
    ) {
        let reads: BTreeSet<Read> = reads.into_iter().filter(|r| !matches!(r, Read::Key(_, Some(_)))).collect();
        if !self.stores.contains_key(store) || self.subscriptions.get(subscriber).is_some_and(|s| s.store != *store) {
            self.unsubscribe(subscriber, now);
        }
        let Some(table) = self.stores.get_mut(store) else { return };
        let (id, before) = self.subscriptions.enter(subscriber, store);
        let party = subscriber.party();
        for read in before.reads.iter().filter(|r| !reads.contains(&***r)) {
            table.change(store, read, &party, now, |crowd| crowd.leave(id, before.interval, &party));
        }
        let stand = |read| {
            let read = table.enter(read, &assume_present);
            table.change(store, &read, &party, now, |crowd| {
                if before.on(&read) {
                    crowd.leave(id, before.interval, &party);
                }
                crowd.join(id, interval, &party);
            });
            read
        };
        let reads = reads.into_iter().map(stand).collect();
        self.subscriptions.stand(id, Stands { reads, interval });
    }

    /// A subscriber is gone.
    pub fn unsubscribe(&mut self, subscriber: &S, now: Now) {
        let Some((id, Subscription { who, store, stands })) = self.subscriptions.remove(subscriber) else { return };
        let Some(table) = self.stores.get_mut(&store) else { return };
        let party = who.party();
        for read in &stands.reads {
            table.change(&store, read, &party, now, |crowd| crowd.leave(id, stands.interval, &party));
        }
    }

    /// The polls that are due at a store, at most `limit`; each is put off to its next cycle.
    pub fn take_due(&mut self, store: &StoreUid, limit: usize, now: Now) -> Vec<Read> {
        let Some(table) = self.stores.get_mut(store) else { return Vec::new() };
        let (reach, after) = if table.aligned { (now.later(TOGETHER), now.later(2 * TOGETHER)) } else { (now, now) };
        let due: Vec<Arc<Read>> =
            table.due.iter().take_while(|(at, _)| *at <= reach.mono).take(limit).map(|(_, r)| r.clone()).collect();
        for read in &due {
            table.postpone(store, read, after);
        }
        due.iter().map(|read| (**read).clone()).collect()
    }

    /// When the next poll at a store is due.
    pub fn next_due(&self, store: &str) -> Option<Instant> {
        self.stores.get(store).and_then(|t| t.due.first()).map(|(at, _)| *at)
    }

    /// Takes note of what a store said, by a poll, a sync or a push; answers who must hear of it.
    pub fn observe(&mut self, store: &StoreUid, read: &Read, state: State, now: Now) -> Vec<S> {
        let Some(table) = self.stores.get_mut(store) else { return Vec::new() };
        let Some((read, _)) = table.entries.get_key_value(read) else { return Vec::new() };
        let read = read.clone();
        let Some(key) = table.entries.get_mut(&read) else { return Vec::new() };
        let news = key.observe(state, now);
        if table.pushed {
            key.look_again(&read, &mut table.due);
        }
        if news { self.subscriptions.names(key.subscribers.all()).collect() } else { Vec::new() }
    }

    /// The store itself said something of a key just now, be it that nothing is new.
    pub fn looked(&mut self, store: &str, read: &Read, now: Now) {
        if let Some(key) = self.stores.get_mut(store).and_then(|t| t.entries.get_mut(read)) {
            key.looked = Some(now.mono);
        }
    }

    /// A store that tells changes by itself listed all its keys: the others are absent.
    pub fn observe_all(&mut self, store: &StoreUid, present: &HashMap<StoreKey, ChangeToken>, now: Now) -> HashSet<S> {
        let Some(table) = self.stores.get_mut(store) else { return HashSet::new() };
        let mut woken = HashSet::new();
        for (read, key) in &mut table.entries {
            let Some(state) = pushed_state(read, present) else { continue };
            key.looked = Some(now.mono);
            if key.observe(state, now) {
                woken.extend(self.subscriptions.names(key.subscribers.all()));
            }
            key.look_again(read, &mut table.due);
        }
        woken
    }

    /// A store that tells changes by itself told of this key.
    pub fn observe_push(
        &mut self,
        store: &StoreUid,
        key: &StoreKey,
        present: &HashMap<StoreKey, ChangeToken>,
        now: Now,
    ) -> HashSet<S> {
        let Some(table) = self.stores.get(store) else { return HashSet::new() };
        let covers = |r: &&Read| matches!(r, Read::List(prefix) if key.as_str().starts_with(prefix.as_str()));
        let mut concerned: Vec<Read> = table.entries.keys().map(|r| &**r).filter(covers).cloned().collect();
        concerned.push(Read::Key(key.clone(), None));
        let mut woken = HashSet::new();
        for read in concerned {
            if let Some(state) = pushed_state(&read, present) {
                self.looked(store, &read, now);
                woken.extend(self.observe(store, &read, state, now));
            }
        }
        woken
    }

    /// The value resolved before this process knew of it: its absence has to be seen twice.
    pub fn assume_present(&mut self, store: &str, key: &StoreKey) {
        let read = Read::Key(key.clone(), None);
        if let Some(key) = self.stores.get_mut(store).and_then(|t| t.entries.get_mut(&read)) {
            key.was_present = true;
        }
    }

    /// Keys of one store.
    pub fn len_of(&self, store: &str) -> usize {
        self.stores.get(store).map_or(0, |t| t.entries.len())
    }

    /// Keys in the table.
    pub fn len(&self) -> usize {
        self.stores.values().map(|t| t.entries.len()).sum()
    }

    /// Whether nothing is subscribed.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The store is asked for more than its limits allow: by this factor the intervals of who asks for most are stretched.
    pub fn overload(&self, store: &str) -> Option<f64> {
        self.stores.get(store).filter(|t| !t.aligned && !t.pushed)?.shares.overload()
    }
}

/// What a store that lists all its keys says of a question.
pub fn pushed_state(read: &Read, present: &HashMap<StoreKey, ChangeToken>) -> Option<State> {
    match read {
        Read::Key(name, None) => Some(present.get(name).map_or(State::Absent, |t| State::Present(t.clone()))),
        Read::Key(_, Some(_)) => None,
        Read::List(prefix) => Some(listed(prefix, present.keys())),
    }
}

fn listed<'a>(prefix: &str, keys: impl Iterator<Item = &'a StoreKey>) -> State {
    let mut keys: Vec<StoreKey> = keys.filter(|k| k.as_str().starts_with(prefix)).cloned().collect();
    keys.sort();
    State::Listed(Arc::new(keys))
}

#[cfg(test)]
mod tests;
