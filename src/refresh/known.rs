//! What the table knows of keys, as those who stand on them ask.

use std::time::Instant;

use super::{KeyTable, Read, State, StoreError, StoreKey, Subscriber, Subscription};

/// What there is to say of one key.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// What the store said last that was an answer.
    pub state: Option<&'a State>,
    /// Why the last look had none.
    pub failure: Option<&'a StoreError>,
    /// When the store was last heard of it, where this process heard it.
    pub last: Option<Instant>,
    /// When it is asked next; `None`: not by the clock.
    pub next: Option<Instant>,
}

impl<S: Subscriber> KeyTable<S> {
    /// All that is known of a key that somebody stands on.
    pub fn look(&self, store: &str, read: &Read) -> Option<Look<'_>> {
        let key = self.stores.get(store)?.entries.get(read)?;
        Some(Look { state: key.state.as_ref(), failure: key.failure.as_ref(), last: key.looked, next: key.due })
    }

    /// The keys of a subscriber whose absence was seen twice, one interval apart.
    pub fn confirmed_absent(&self, subscriber: &S) -> Vec<StoreKey> {
        let Some(Subscription { store, stands, .. }) = self.subscriptions.get(subscriber) else { return Vec::new() };
        let Some(table) = self.stores.get(store) else { return Vec::new() };
        let keys = stands.reads.iter().filter(|r| table.entries.get(&***r).is_some_and(|k| k.absence_confirmed));
        keys.filter_map(|r| if let Read::Key(key, None) = &**r { Some(key.clone()) } else { None }).collect()
    }

    /// What is known of a key.
    pub fn state(&self, store: &str, read: &Read) -> Option<&State> {
        self.stores.get(store)?.entries.get(read)?.state.as_ref()
    }

    /// The key resolved before, and its absence was not yet seen twice, one interval apart.
    pub fn absence_unconfirmed(&self, store: &str, key: &StoreKey) -> bool {
        let read = Read::Key(key.clone(), None);
        self.stores.get(store).and_then(|t| t.entries.get(&read)).is_some_and(|k| k.was_present && !k.absence_confirmed)
    }

    /// The keys of a subscriber that resolved before and whose absence was not seen twice: not to be fallen back from.
    pub fn resolved_before(&self, subscriber: &S) -> Vec<StoreKey> {
        let Some(Subscription { store, stands, .. }) = self.subscriptions.get(subscriber) else { return Vec::new() };
        if self.has_to_be_told(subscriber) {
            // Nobody would look for the second time.
            return Vec::new();
        }
        let keys = stands.reads.iter().filter_map(|r| if let Read::Key(key, None) = &**r { Some(key) } else { None });
        keys.filter(|k| self.absence_unconfirmed(store, k)).cloned().collect()
    }

    /// The keys of a subscriber that the last polls failed at: each sync would be told the same. A store that is not
    /// polled is asked.
    pub fn failures(&self, subscriber: &S) -> Vec<(Read, StoreError)> {
        let Some(Subscription { store, stands, .. }) = self.subscriptions.get(subscriber) else { return Vec::new() };
        stands.reads.iter().filter_map(|r| Some(((**r).clone(), self.failing(store, r)?.clone()))).collect()
    }

    /// What a key is known to fail with.
    pub fn failing(&self, store: &str, read: &Read) -> Option<&StoreError> {
        let table = self.stores.get(store).filter(|t| !t.pushed)?;
        table.entries.get(read).filter(|k| k.is_told())?.failure.as_ref()
    }

    /// What a subscriber stands on, and what is known of each.
    pub fn sources(&self, subscriber: &S) -> Vec<(&Read, Option<&State>)> {
        let Some(Subscription { store, stands, .. }) = self.subscriptions.get(subscriber) else { return Vec::new() };
        stands.reads.iter().map(|r| (&**r, self.state(store, r))).collect()
    }
}
