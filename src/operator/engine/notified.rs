//! Change notifications: what the rings say, and the looks at stores that follow. The leader acts; a standby remembers
//! what it heard, in case it has to lead.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Engine, StoreState};
use crate::{
    notify::{Changed, Hashes, Ring, ring::KEPT},
    operator::{
        keeper::Era,
        model::{ObjectKey, StoreName},
        queue::Class,
        watch::Seen,
    },
    refresh::{Looks, Now, State},
    resolve::Read,
};

/// What was told.
pub(super) struct Notices {
    hashes: Hashes,
    /// The last sequence that was seen of each ring.
    heard: HashMap<Arc<str>, u64>,
    /// What nobody acts on yet: another replica leads, or the store is not there.
    waiting: Ring,
    looks: HashMap<StoreName, (Era, Looks)>,
}

impl Notices {
    pub(super) fn new(hashes: Hashes) -> Self {
        Self { hashes, heard: HashMap::new(), waiting: Ring::default(), looks: HashMap::new() }
    }

    /// This replica leads from now on: on what is older the former leader has acted.
    pub(super) fn start(&mut self, now: Duration) {
        self.waiting.forget_old(now);
    }

    /// Another replica leads now: it has heard the same.
    pub(super) fn stop(&mut self) {
        self.looks.clear();
    }

    fn hear(&mut self, name: Arc<str>, ring: &Ring, now: Duration) {
        let before = self.heard.insert(name, ring.last());
        // Of a ring that was not seen before, what is old was heard by others.
        let kept = u64::try_from(now.saturating_sub(KEPT).as_millis()).unwrap_or_default();
        for note in ring.after(before.unwrap_or(kept)) {
            let at = before.map_or(Duration::from_millis(note.seq), |_| now);
            self.waiting.add(&note.store, note.about.clone(), at);
        }
    }
}

/// How often a key is polled for a reference; `0s`: never, it has to be told.
pub(super) fn poll_interval(refresh: Duration, least: Duration) -> Duration {
    if refresh.is_zero() { Duration::MAX } else { refresh.max(least) }
}

impl Engine {
    /// A ring was written.
    pub(super) fn notified(&mut self, seen: Seen<Arc<str>, Ring>) {
        match seen {
            Seen::Applied(name, ring) => self.notices.hear(name, &ring, Now::get().wall),
            Seen::Deleted(name, _) => {
                self.notices.heard.remove(&name);
            }
            Seen::Unreadable(_) | Seen::Listed => {}
        }
    }

    /// A store said so itself, to this replica: it leads.
    pub(super) fn noticed(&mut self, store: &Arc<str>, changed: &Changed) {
        let about = self.notices.hashes.about(changed);
        self.notices.waiting.add(store, about, Now::get().wall);
    }

    /// Looks at the keys that were told of, before other polls.
    pub(super) fn start_looks(&mut self) {
        self.pass_on();
        let now = Instant::now();
        let mut looks = std::mem::take(&mut self.notices.looks);
        looks.retain(|name, (era, _)| self.stores.get(name).is_some_and(|s| s.object.era() == *era));
        for (name, (_, looks)) in &mut looks {
            let Some(state) = self.stores.get_mut(name) else { continue };
            if let Some((moves, reads)) = self.table.reads(&state.object.uid)
                && looks.is_behind(moves, now)
            {
                looks.catch_up(moves, reads, &self.notices.hashes, now);
            }
            if state.can_be_polled() {
                let reads = looks.take_due(state.room(1), now);
                self.read(name, reads);
            }
        }
        self.notices.looks = looks;
    }

    /// Looks at whole stores, behind other polls and with half of the places.
    pub(super) fn start_sweeps(&mut self) {
        let now = Instant::now();
        let mut looks = std::mem::take(&mut self.notices.looks);
        for (name, (_, looks)) in &mut looks {
            let Some(state) = self.stores.get(name).filter(|s| s.can_be_polled()) else { continue };
            let all = || self.table.reads(&state.object.uid).map(|(_, all)| all.cloned().collect()).unwrap_or_default();
            let reads = looks.take_whole(state.room(2), state.object.settings.min_refresh_interval, all, now);
            self.read(name, reads);
        }
        self.notices.looks = looks;
    }

    /// When there is something to look at next.
    pub(super) fn next_look(&self) -> Option<Instant> {
        let now = Instant::now();
        let next = |(name, (_, looks)): (&StoreName, &(Era, Looks))| {
            let state = self.stores.get(name).filter(|s| s.can_be_polled())?;
            looks.next(state.object.settings.min_refresh_interval, state.room(2) > 0, now)
        };
        self.notices.looks.iter().filter_map(next).min()
    }

    /// What waits goes to the stores that are there and connected.
    fn pass_on(&mut self) {
        if self.notices.waiting.is_empty() {
            return;
        }
        let now = Instant::now();
        for (name, state) in self.stores.iter().filter(|(_, s)| s.settled && s.layers.is_some()) {
            for note in self.notices.waiting.take(&state.object.uid) {
                let fresh = || (state.object.era(), Looks::new());
                self.notices.looks.entry(name.clone()).or_insert_with(fresh).1.tell(note.about, now);
            }
        }
    }

    /// An answer is about to be taken note of: whether it is one to a notification.
    pub(super) fn answers_news(&mut self, name: &StoreName, uid: &str, read: &Read, answer: &State) -> bool {
        let Some((_, looks)) = self.notices.looks.get_mut(name) else { return false };
        let newer = match (self.table.state(uid, read), answer) {
            (None, _) | (_, State::Failed(_)) => false,
            // What is known may be what a list showed.
            (Some(State::Present(before)), State::Present(now)) => before != now && !now.is_still(before),
            (Some(before), now) => before != now,
        };
        looks.answered(read, newer, *answer == State::Absent, Instant::now())
    }

    /// A key is in a new state, or in trouble: its references hear of it.
    pub(super) fn hear(&mut self, key: &ObjectKey, failed: bool) {
        if self.waits_to_be_told(key) {
            return;
        }
        // Trouble with one key is told by a sync, whoever adopted what.
        if failed { self.enqueue(key, Class::Rest) } else { self.take_news(key) }
    }

    /// Something that a reference stands on was seen in a new state, or for the first time.
    pub(super) fn on_news(&mut self, key: &ObjectKey) {
        self.hear(key, false);
    }

    /// A reference with `refreshInterval: 0s` is not woken by what others look at: it is behind until it is told.
    fn waits_to_be_told(&mut self, key: &ObjectKey) -> bool {
        let waits = self.table.has_to_be_told(key);
        if waits && let Some(tracked) = self.references.get_mut(key) {
            tracked.behind = true;
        }
        waits
    }

    /// A notification was answered: those who waited for it look whether they are behind.
    pub(super) fn tell_those_behind(&mut self, uid: &str, read: &Read) {
        let failing = self.table.failing(uid, read).is_some();
        for key in self.table.to_be_told(uid, read) {
            let Some(tracked) = self.references.get_mut(&key) else { continue };
            if !std::mem::take(&mut tracked.behind) {
                continue;
            }
            if failing { self.enqueue(&key, Class::Rest) } else { self.take_news(&key) }
        }
    }
}

impl StoreState {
    /// How many more polls may be under way, of so large a part of the places.
    fn room(&self, part: usize) -> usize {
        let places = self.layers.as_ref().map_or(0, |l| l.settings().max_concurrent);
        (places / part).max(1).saturating_sub(self.polling)
    }
}
