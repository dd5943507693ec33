#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;
use crate::{naming::StoreKey, notify::Changed};

const SECOND: Duration = Duration::from_secs(1);
const REST: Duration = Duration::from_secs(30);

fn hashes() -> Hashes {
    Hashes::new(&"an installation's key".to_owned().into())
}

fn read(name: &str) -> Read {
    Read::Key(StoreKey::verbatim(name), None)
}

fn list(prefix: &str) -> Read {
    Read::List(prefix.to_owned())
}

fn told(looks: &mut Looks, key: &str, now: Instant) {
    looks.tell(hashes().about(&Changed::Key(key.into())), now);
}

/// Looks at a store with these keys in the table.
fn looks(reads: &[Read], now: Instant) -> Looks {
    let mut looks = Looks::new();
    looks.catch_up(1, reads.iter(), &hashes(), now);
    looks
}

/// The seconds at which a key is read, when nothing ever is newer.
fn times(looks: &mut Looks, start: Instant, until: u64, newer: impl Fn(usize) -> bool) -> Vec<u64> {
    let mut times = Vec::new();
    for tenth in 0..u32::try_from(until).unwrap() * 10 {
        let now = start + tenth * SECOND / 10;
        for read in looks.take_due(9, now) {
            looks.answered(&read, newer(times.len()), false, now);
            times.push(u64::from(tenth));
        }
    }
    times
}

#[test]
fn without_anything_newer_a_key_is_read_again_at_one_two_and_four_seconds() {
    let start = Instant::now();
    let mut looks = looks(&[read("a"), read("b")], start);
    told(&mut looks, "a", start);
    assert_eq!(looks.next(REST, true, start), Some(start));
    assert_eq!(times(&mut looks, start, 60, |_| false), [0, 10, 20, 40]);
    assert!(looks.looks.is_empty() && looks.due.is_empty() && looks.next(REST, true, start).is_none());
    told(&mut looks, "a", start + 60 * SECOND);
    assert_eq!(times(&mut looks, start + 60 * SECOND, 60, |n| n == 1), [0, 10], "the lagging token came");
    told(&mut looks, "a", start + 120 * SECOND);
    assert_eq!(times(&mut looks, start + 120 * SECOND, 60, |_| true), [0]);
}

#[test]
fn keys_that_nobody_uses_cost_nothing() {
    let start = Instant::now();
    let mut looks = looks(&[read("acme--a"), list("acme--payments-")], start);
    told(&mut looks, "acme--unused", start);
    told(&mut looks, "globex--payments-x", start);
    assert!(looks.take_due(9, start).is_empty() && looks.next(REST, true, start).is_none());
}

#[test]
fn lists_and_folders_are_found() {
    let start = Instant::now();
    let all = [
        read("acme/A"),
        read("acme/B"),
        read("acme/db/C"),
        read("globex/A"),
        list("acme/"),
        list("acme/db/"),
        list("globex/"),
    ];
    let found = |changed: Changed| {
        let mut looks = looks(&all, start);
        looks.tell(hashes().about(&changed), start);
        let mut found = looks.take_due(99, start);
        found.sort();
        found
    };
    assert_eq!(found(Changed::Key("acme/new".into())), [list("acme/")]);
    assert_eq!(found(Changed::Key("acme/A".into())), [read("acme/A"), list("acme/")]);
    assert_eq!(found(Changed::Folder("acme".into())), [read("acme/A"), read("acme/B"), list("acme/")]);
    assert_eq!(found(Changed::Folder("acme/db".into())), [read("acme/db/C"), list("acme/"), list("acme/db/")]);
    assert_eq!(found(Changed::Folder("".into())), []);
}

#[test]
fn a_key_that_comes_into_the_table_after_the_news_is_looked_at() {
    let start = Instant::now();
    let mut looks = looks(&[read("a")], start);
    told(&mut looks, "b", start);
    let now = start + SECOND;
    assert!(looks.is_behind(2, now) && !looks.is_behind(1, now));
    looks.catch_up(2, [read("a"), read("b")].iter(), &hashes(), now);
    assert_eq!(looks.take_due(9, now), [read("b")], "what was there before has been looked at");
    assert!(!looks.is_behind(3, start + 2 * REMEMBERED), "the news is old");
    // Before anything was indexed.
    let mut looks = Looks::new();
    told(&mut looks, "b", start);
    assert!(looks.is_behind(1, start));
    looks.catch_up(1, [read("b")].iter(), &hashes(), start);
    assert_eq!(looks.take_due(9, start), [read("b")]);
}

#[test]
fn that_a_key_is_gone_is_looked_at_twice_before_it_is_told() {
    let start = Instant::now();
    let mut looks = looks(&[read("a")], start);
    told(&mut looks, "a", start);
    looks.take_due(9, start);
    assert!(!looks.answered(&read("a"), true, true, start));
    let now = start + SECOND;
    assert_eq!(looks.take_due(9, now), [read("a")]);
    assert!(looks.answered(&read("a"), false, true, now));
    // An ordinary poll in between is no answer.
    assert!(!looks.answered(&read("a"), true, false, now));
    assert!(!looks.answered(&read("zzz"), true, false, now));
}

#[test]
fn a_whole_store_is_read_in_parts_and_not_again_before_its_rest_is_over() {
    let start = Instant::now();
    let all: Vec<Read> = (0..5).map(|i| read(&format!("k{i}"))).collect();
    let mut looks = looks(&all, start);
    for _ in 0..100 {
        looks.tell(About::Whole, start);
    }
    assert_eq!(looks.next(REST, false, start), None);
    let take = |looks: &mut Looks, limit, now| looks.take_whole(limit, REST, || all.clone(), now);
    assert_eq!((take(&mut looks, 2, start).len(), looks.next(REST, true, start)), (2, Some(start)));
    looks.tell(About::Whole, start);
    assert_eq!(take(&mut looks, 9, start).len(), 3);
    assert!(looks.answered(&all[0], true, false, start) && !looks.answered(&all[0], true, false, start));
    assert_eq!(looks.next(REST, true, start + SECOND), Some(start + REST));
    assert!(take(&mut looks, 9, start + REST - SECOND).is_empty());
    assert_eq!(take(&mut looks, 9, start + REST).len(), 5);
    assert!(take(&mut looks, 9, start + 10 * REST).is_empty() && looks.next(REST, true, start).is_none());
}

#[test]
fn a_look_that_was_never_answered_does_not_stand_in_the_way_for_ever() {
    let start = Instant::now();
    let mut looks = looks(&[read("a")], start);
    told(&mut looks, "a", start);
    assert_eq!(looks.take_due(9, start).len(), 1);
    told(&mut looks, "a", start + SECOND);
    assert!(looks.take_due(9, start + 2 * SECOND).is_empty());
    told(&mut looks, "a", start + 2 * LOST);
    assert_eq!(looks.take_due(9, start + 2 * LOST).len(), 1);
}

proptest! {
    /// However often and whenever a key is told of: it is read within a second of the last time, never more often than
    /// once a second, and not for ever.
    #[test]
    fn a_flood_is_one_read_a_second(tells in proptest::collection::vec(0..300_u32, 1..200), answer in 0..20_u32, newer: bool) {
        let start = Instant::now();
        let mut looks = looks(&[read("a")], start);
        let at = |tenth: u32| start + SECOND / 10 * tenth;
        let (mut reads, mut under_way): (Vec<u32>, Option<u32>) = (Vec::new(), None);
        let last = *tells.iter().max().unwrap();
        for tenth in 0..600 {
            for _ in tells.iter().filter(|t| **t == tenth) { told(&mut looks, "a", at(tenth)); }
            if let Some(begun) = under_way.filter(|b| tenth >= b + answer) {
                looks.answered(&read("a"), newer, false, at(tenth));
                under_way = None;
                let _ = begun;
            }
            for _ in looks.take_due(9, at(tenth)) {
                prop_assert!(under_way.is_none());
                reads.push(tenth);
                under_way = Some(tenth);
            }
        }
        prop_assert!(reads.windows(2).all(|w| w[1] - w[0] >= 10), "{reads:?}");
        prop_assert!(reads.iter().any(|r| *r >= last && *r <= last + 10 + answer), "told at {last}, read at {reads:?}");
        prop_assert!(reads.last().unwrap() <= &(last + 100), "{reads:?}");
        prop_assert!(looks.looks.is_empty() && looks.due.is_empty());
    }
}
