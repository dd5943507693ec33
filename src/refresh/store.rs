//! The keys of one store: who stands on each, what they cost together, and when each is due.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    StoreUid,
    crowd::Crowd,
    key::Key,
    schedule::{Now, next_poll},
    shares::{Cost, Shares},
};
use crate::resolve::Read;

/// What the table knows of one store.
#[derive(Debug)]
pub(super) struct StoreTable {
    pub entries: HashMap<Arc<Read>, Key>,
    pub due: BTreeSet<(Instant, Arc<Read>)>,
    pub shares: Shares,
    pub pushed: bool,
    /// All keys have one phase, so that one list tells of all of them.
    pub aligned: bool,
    /// Moves when a key comes or goes.
    pub moves: u64,
}

impl StoreTable {
    /// Of a store that may be asked so often in a second, by polls until it says otherwise.
    pub fn new(requests_per_second: f64) -> Self {
        Self {
            entries: HashMap::new(),
            due: BTreeSet::new(),
            shares: Shares::new(requests_per_second),
            pushed: false,
            aligned: false,
            moves: 0,
        }
    }

    /// The name of a key as the table keeps it; a key that nobody stood on comes into it.
    pub fn enter(&mut self, read: Read, assume_present: impl Fn(&Read) -> bool) -> Arc<Read> {
        if let Some((known, _)) = self.entries.get_key_value(&read) {
            return known.clone();
        }
        let (key, read) = (Key::new(assume_present(&read)), Arc::new(read));
        self.entries.insert(read.clone(), key);
        self.moves += 1;
        read
    }

    /// Somebody comes to a key or leaves it: what it costs and when it is due follow; a key without anybody goes.
    pub fn change(
        &mut self,
        store: &StoreUid,
        read: &Arc<Read>,
        party: &Arc<str>,
        now: Now,
        act: impl FnOnce(&mut Crowd),
    ) {
        let Some(key) = self.entries.get_mut(read) else { return };
        let stands = |crowd: &Crowd| (crowd.interval(), crowd.parties().len());
        let before = stands(&key.subscribers);
        act(&mut key.subscribers);
        let after = stands(&key.subscribers);
        if after != before {
            let cost = |(interval, parties)| Cost::new(interval, parties);
            self.shares.change(key.subscribers.parties(), party, cost(before), cost(after));
        }
        if key.subscribers.is_empty() {
            if let Some(at) = key.due {
                self.due.remove(&(at, read.clone()));
            }
            self.entries.remove(read);
            self.moves += 1;
        } else if after != before {
            // Whoever comes or goes brings a poll forward, and never puts one off that is due.
            let due = key.due;
            self.postpone(store, read, now);
            self.not_after(read, due);
        }
    }

    fn not_after(&mut self, read: &Arc<Read>, due: Option<Instant>) {
        let Some(key) = self.entries.get_mut(read) else { return };
        if let (Some(at), Some(due)) = (key.due, due)
            && due < at
        {
            self.due.remove(&(at, read.clone()));
            self.due.insert((due, read.clone()));
            key.due = Some(due);
        }
    }

    pub fn postpone(&mut self, store: &StoreUid, read: &Arc<Read>, now: Now) {
        let Some(key) = self.entries.get_mut(read) else { return };
        if let Some(at) = key.due.take() {
            self.due.remove(&(at, read.clone()));
        }
        if self.pushed {
            if key.must_look_again() {
                let at = now.mono + key.interval();
                key.due = Some(at);
                self.due.insert((at, read.clone()));
            }
        } else if key.interval() != Duration::MAX {
            // Lists cost next to nothing, however many keys they tell of.
            let stretch = if self.aligned { 1.0 } else { self.shares.stretch(key.subscribers.parties()) };
            let interval = key.interval().mul_f64(stretch);
            let at =
                if self.aligned { next_poll(store, interval, now) } else { next_poll((store, read), interval, now) };
            key.due = Some(at);
            self.due.insert((at, read.clone()));
        }
    }
}
