//! What notifications need of the key table: which keys there are, and who is not polled for.

use std::time::Duration;

use super::{KeyTable, Read, Subscriber};

impl<S: Subscriber> KeyTable<S> {
    /// What is in the table of a store, and a number that moves when that does.
    pub fn reads(&self, store: &str) -> Option<(u64, impl Iterator<Item = &Read>)> {
        self.stores.get(store).map(|table| (table.moves, table.entries.keys().map(|read| &**read)))
    }

    /// Who stands on a key without being polled for.
    pub fn to_be_told(&self, store: &str, read: &Read) -> Vec<S> {
        let key = self.stores.get(store).and_then(|t| t.entries.get(read));
        let crowd = key.into_iter().flat_map(|k| k.subscribers.all());
        let told = crowd.filter_map(|id| self.subscriptions.of(id)).filter(|s| s.stands.interval == Duration::MAX);
        told.map(|s| s.who.clone()).collect()
    }

    /// Whether a subscriber is not polled for: only a notification may wake it.
    pub fn has_to_be_told(&self, subscriber: &S) -> bool {
        let known = self.subscriptions.get(subscriber);
        known.is_some_and(|s| s.stands.interval == Duration::MAX && !s.stands.reads.is_empty())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{
        collections::HashMap,
        time::{Duration, Instant},
    };

    use super::*;
    use crate::{
        naming::StoreKey,
        refresh::{Now, State, StoreUid},
        stores::ChangeToken,
    };

    fn key(name: &str) -> Read {
        Read::Key(StoreKey::verbatim(name), None)
    }

    #[test]
    fn who_has_to_be_told_is_found_and_never_polled_for() {
        let (uid, start): (StoreUid, _) = ("u".into(), Instant::now());
        let at = |s| Now { mono: start + Duration::from_secs(s), wall: Duration::from_secs(1_700_000_000 + s) };
        let mut table = KeyTable::default();
        table.store(&uid, 200.0, false);
        let moves = |t: &KeyTable<u32>| t.reads("u").map(|(moves, reads)| (moves, reads.count()));
        table.subscribe(&1, &uid, [key("a"), key("b")].into(), Duration::MAX, |_| false, at(0));
        assert_eq!((table.len(), table.next_due("u"), moves(&table)), (2, None, Some((2, 2))));
        assert!(table.take_due(&uid, 9, at(1_000_000)).is_empty());
        assert_eq!(table.overload("u"), None);
        table.subscribe(&2, &uid, [key("a")].into(), Duration::from_secs(60), |_| false, at(0));
        assert!(table.next_due("u").is_some() && moves(&table) == Some((2, 2)));
        assert!(table.has_to_be_told(&1) && !table.has_to_be_told(&2) && !table.has_to_be_told(&3));
        assert_eq!((table.to_be_told("u", &key("a")), table.to_be_told("u", &key("zzz"))), (vec![1], vec![]));
        // It comes back to where it was when the other one goes.
        table.unsubscribe(&2, at(1));
        assert_eq!((table.next_due("u"), table.to_be_told("u", &key("a"))), (None, vec![1]));
        table.unsubscribe(&1, at(2));
        assert_eq!((table.is_empty(), moves(&table)), (true, Some((4, 0))));
    }

    /// Nobody would look for the second time: a deletion that it is told of is believed.
    #[test]
    fn who_has_to_be_told_waits_for_no_second_look() {
        let (uid, now): (StoreUid, _) = ("u".into(), Now::get());
        let mut table = KeyTable::default();
        for pushed in [false, true] {
            table.store(&uid, 200.0, pushed);
            table.subscribe(&1, &uid, [key("a")].into(), Duration::MAX, |_| true, now);
            table.subscribe(&2, &uid, [key("a")].into(), Duration::from_secs(60), |_| true, now);
            table.observe(&uid, &key("a"), State::Present(ChangeToken::new("1")), now);
            table.observe(&uid, &key("a"), State::Absent, now);
            assert_eq!((table.resolved_before(&1).len(), table.resolved_before(&2).len()), (0, 1));
            table.unsubscribe(&2, now);
            let gone: HashMap<StoreKey, ChangeToken> = HashMap::new();
            table.observe_all(&uid, &gone, now);
            assert_eq!(table.next_due("u"), None);
            table.unsubscribe(&1, now);
        }
    }
}
