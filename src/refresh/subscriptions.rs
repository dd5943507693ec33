//! Who stands on which keys. Inside the table a subscriber is a number, and the name of a key is kept once: with thousands
//! of subscribers on the same keys, both would be most of the memory.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use slab::Slab;

use super::{Read, StoreUid, Subscriber};

/// A subscriber, inside the table.
pub(super) type Id = u32;

#[derive(Debug)]
pub(super) struct Subscription<S> {
    pub(super) who: S,
    pub(super) store: StoreUid,
    pub(super) stands: Stands,
}

/// What somebody stands on, and how often it wants that looked at.
#[derive(Debug, Default)]
pub(super) struct Stands {
    /// In order.
    pub(super) reads: Box<[Arc<Read>]>,
    pub(super) interval: Duration,
}

impl Stands {
    pub(super) fn on(&self, read: &Read) -> bool {
        self.reads.binary_search_by(|r| (**r).cmp(read)).is_ok()
    }
}

#[derive(Debug)]
pub(super) struct Subscriptions<S> {
    all: Slab<Subscription<S>>,
    ids: HashMap<S, Id>,
}

impl<S> Default for Subscriptions<S> {
    fn default() -> Self {
        Self { all: Slab::new(), ids: HashMap::new() }
    }
}

impl<S: Subscriber> Subscriptions<S> {
    pub(super) fn get(&self, who: &S) -> Option<&Subscription<S>> {
        self.of(*self.ids.get(who)?)
    }

    pub(super) fn of(&self, id: Id) -> Option<&Subscription<S>> {
        self.all.get(id as usize)
    }

    /// The names of these.
    pub(super) fn names(&self, ids: impl Iterator<Item = Id>) -> impl Iterator<Item = S> {
        ids.filter_map(|id| Some(self.of(id)?.who.clone()))
    }

    /// The number of a subscriber to a store, and what it stood on there; of another store it has to be removed first.
    pub(super) fn enter(&mut self, who: &S, store: &StoreUid) -> (Id, Stands) {
        if let Some(id) = self.ids.get(who)
            && let Some(known) = self.all.get_mut(*id as usize)
        {
            return (*id, std::mem::take(&mut known.stands));
        }
        let new = Subscription { who: who.clone(), store: store.clone(), stands: Stands::default() };
        let id = self.all.insert(new) as Id;
        self.ids.insert(who.clone(), id);
        (id, Stands::default())
    }

    pub(super) fn stand(&mut self, id: Id, stands: Stands) {
        if let Some(known) = self.all.get_mut(id as usize) {
            known.stands = stands;
        }
    }

    pub(super) fn remove(&mut self, who: &S) -> Option<(Id, Subscription<S>)> {
        let id = self.ids.remove(who)?;
        Some((id, self.all.try_remove(id as usize)?))
    }

    /// Removes all that stand on a store.
    pub(super) fn remove_all(&mut self, ids: &BTreeSet<Id>) -> Vec<S> {
        let gone: Vec<S> = ids.iter().filter_map(|id| Some(self.all.try_remove(*id as usize)?.who)).collect();
        for who in &gone {
            self.ids.remove(who);
        }
        gone
    }
}
