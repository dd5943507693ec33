#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::{schedule::next_poll, *};
use crate::stores::Failure;

fn at(start: Instant, seconds: u64) -> Now {
    Now { mono: start + Duration::from_secs(seconds), wall: Duration::from_secs(1_700_000_000 + seconds) }
}

fn key(name: &str) -> Read {
    Read::Key(StoreKey::verbatim(name), None)
}

fn present(mark: &str) -> State {
    State::Present(ChangeToken::new(mark))
}

fn failed(failure: Failure) -> State {
    State::Failed(StoreError::new(failure, "why"))
}

impl Subscriber for u32 {
    /// A thousand numbers are one namespace.
    fn party(&self) -> Arc<str> {
        (self / 1000).to_string().into()
    }
}

fn table(uid: &StoreUid, rate: f64) -> KeyTable<u32> {
    let mut table = KeyTable::default();
    table.store(uid, rate, false);
    table
}

const MINUTE: Duration = Duration::from_secs(60);

#[test]
fn a_thousand_references_on_fifty_keys_are_fifty_polls_a_cycle() {
    let (uid, start): (StoreUid, _) = ("u".into(), Instant::now());
    let mut table = table(&uid, 200.0);
    for reference in 0..1000 {
        table.subscribe(
            &reference,
            &uid,
            [key(&format!("k{}", reference % 50))].into(),
            MINUTE,
            |_| false,
            at(start, 0),
        );
    }
    let mut polls: HashMap<Read, Vec<u64>> = HashMap::new();
    for second in 0..600 {
        for read in table.take_due(&uid, usize::MAX, at(start, second)) {
            polls.entry(read).or_default().push(second);
        }
    }
    assert_eq!(polls.len(), 50);
    assert!(polls.values().all(|p| p.len() == 10 || p.len() == 9), "{polls:?}");
    assert!(polls.values().all(|p| p.windows(2).all(|w| w[1] - w[0] == 60)));
    let firsts: HashSet<u64> = polls.values().map(|p| p[0] / 10).collect();
    assert!(firsts.len() >= 5, "spread over the cycle");
    for reference in 0..1000 {
        table.unsubscribe(&reference, at(start, 600));
    }
    assert!(table.is_empty() && table.next_due("u").is_none());
}

#[test]
fn only_a_change_wakes_and_only_those_concerned() {
    let (uid, start): (StoreUid, _) = ("u".into(), Instant::now());
    let mut table = table(&uid, 200.0);
    table.subscribe(&1, &uid, [key("a")].into(), MINUTE, |_| false, at(start, 0));
    table.subscribe(&2, &uid, [key("b")].into(), MINUTE, |_| false, at(start, 0));
    assert_eq!(table.observe(&uid, &key("a"), present("1"), at(start, 1)), [1]);
    assert!(table.observe(&uid, &key("a"), present("1"), at(start, 2)).is_empty());
    assert_eq!(table.observe(&uid, &key("a"), present("2"), at(start, 3)), [1]);
    assert!(table.observe(&uid, &key("a"), failed(Failure::Unavailable), at(start, 4)).is_empty());
    assert_eq!(table.observe(&uid, &key("a"), failed(Failure::Denied), at(start, 5)), [1]);
    assert!(table.observe(&uid, &key("a"), failed(Failure::Denied), at(start, 6)).is_empty());
    assert_eq!(table.observe(&uid, &key("a"), present("2"), at(start, 7)), [1], "back, though unchanged");
    assert!(table.observe(&uid, &key("zzz"), present("2"), at(start, 7)).is_empty());
}

#[test]
fn absence_after_presence_has_to_be_seen_twice_one_interval_apart() {
    let (uid, start): (StoreUid, _) = ("u".into(), Instant::now());
    let mut table = table(&uid, 200.0);
    table.subscribe(&1, &uid, [key("acme--a")].into(), MINUTE, |_| false, at(start, 0));
    let name = StoreKey::verbatim("acme--a");
    table.observe(&uid, &key("acme--a"), State::Absent, at(start, 0));
    assert!(!table.absence_unconfirmed("u", &name), "it never was there");
    table.observe(&uid, &key("acme--a"), present("1"), at(start, 10));
    assert_eq!(table.observe(&uid, &key("acme--a"), State::Absent, at(start, 20)), [1]);
    assert!(table.absence_unconfirmed("u", &name));
    assert!(table.observe(&uid, &key("acme--a"), State::Absent, at(start, 30)).is_empty(), "too soon");
    assert!(table.absence_unconfirmed("u", &name));
    assert_eq!(table.observe(&uid, &key("acme--a"), State::Absent, at(start, 80)), [1]);
    assert!(!table.absence_unconfirmed("u", &name));
    table.observe(&uid, &key("acme--a"), present("2"), at(start, 90));
    table.observe(&uid, &key("acme--a"), State::Absent, at(start, 95));
    assert!(table.absence_unconfirmed("u", &name));
}

#[test]
fn too_much_demand_stretches_all_intervals_alike() {
    let (uid, start): (StoreUid, _) = ("u".into(), Instant::now());
    let mut table = table(&uid, 1.0);
    for reference in 0..100 {
        table.subscribe(
            &reference,
            &uid,
            [key(&format!("k{reference}"))].into(),
            Duration::from_secs(10),
            |_| false,
            at(start, 0),
        );
    }
    assert!(table.overload("u").unwrap() > 10.0);
    let polls: usize = (0..600).map(|s| table.take_due(&uid, usize::MAX, at(start, s)).len()).sum();
    assert!(polls <= 600, "{polls}");
}

#[test]
fn who_asks_for_much_does_not_stretch_the_intervals_of_the_others() {
    let (uid, start): (StoreUid, _) = ("u".into(), Instant::now());
    let mut table = table(&uid, 10.0);
    let mut subscribe = |reference: u32, name: String| {
        table.subscribe(&reference, &uid, [key(&name)].into(), Duration::from_secs(10), |_| false, at(start, 0));
    };
    subscribe(1000, "small".into());
    (0..900).for_each(|i| subscribe(i, format!("flood{i}")));
    subscribe(2000, "later".into());
    let (mut polls, mut small, mut later) = (0, 0, 0);
    for s in 0..600 {
        for read in table.take_due(&uid, usize::MAX, at(start, s)) {
            polls += 1;
            small += usize::from(read == key("small"));
            later += usize::from(read == key("later"));
        }
    }
    assert!(polls <= 6000, "{polls}");
    assert!(small >= 58 && later >= 58, "every 10 s, and not {small} and {later} times in 600");
}

/// Two namespaces of one organisation use the same thousands of keys; others share a few keys with each other and with
/// them.
#[test]
fn keys_that_several_use_are_no_way_around_the_shares() {
    let (uid, start): (StoreUid, _) = ("u".into(), Instant::now());
    let mut table = table(&uid, 10.0);
    let ten = Duration::from_secs(10);
    let mut subscribe = |reference: u32, name: &str| {
        table.subscribe(&reference, &uid, [key(name)].into(), ten, |_| false, at(start, 0));
    };
    for i in 0..900 {
        subscribe(i, &format!("flood{i}"));
        subscribe(1000 + i, &format!("flood{i}"));
    }
    for namespace in [0, 1, 2, 3] {
        subscribe(namespace * 1000 + 990, "global");
    }
    subscribe(2000, "ours");
    subscribe(3000, "ours");
    let mut polls: HashMap<Read, usize> = HashMap::new();
    for s in 0..600 {
        table.take_due(&uid, usize::MAX, at(start, s)).into_iter().for_each(|r| *polls.entry(r).or_default() += 1);
    }
    assert!(polls.values().sum::<usize>() <= 6000, "{}", polls.values().sum::<usize>());
    assert!(polls[&key("ours")] >= 58 && polls[&key("global")] >= 58, "every 10 s");
    (0..900).for_each(|i| table.unsubscribe(&i, at(start, 600)));
    (0..900).for_each(|i| table.unsubscribe(&(1000 + i), at(start, 600)));
    assert_eq!(table.overload("u"), None, "all that was asked for is forgotten");
}

#[test]
fn pushed_stores_and_pinned_versions_are_not_polled() {
    let (uid, start): (StoreUid, _) = ("u".into(), Instant::now());
    let mut table = KeyTable::default();
    table.store(&uid, 200.0, true);
    let reads =
        [key("acme--a"), Read::Key(StoreKey::verbatim("acme--p"), Some("3".into())), Read::List("acme--".into())];
    table.subscribe(&1, &uid, reads.into(), MINUTE, |_| false, at(start, 0));
    assert_eq!((table.len(), table.next_due("u")), (2, None));
    let all = HashMap::from([(StoreKey::verbatim("acme--b"), ChangeToken::new("1"))]);
    assert_eq!(table.observe_all(&uid, &all, at(start, 1)).len(), 1);
    assert_eq!(table.state("u", &key("acme--a")), Some(&State::Absent));
    assert!(table.observe_all(&uid, &all, at(start, 2)).is_empty());
    assert!(table.sources(&1).iter().all(|(_, state)| state.is_some()));
}

proptest! {
    /// A restart at any moment polls no key sooner than it would have been polled anyway.
    #[test]
    fn a_restart_keeps_the_phase(name in "[a-z]{1,8}", interval in 1u64..4000, restart in 0u64..10_000) {
        let (start, read) = (Instant::now(), key(&name));
        let interval = Duration::from_secs(interval);
        let mut t = at(start, 0);
        let mut due = next_poll(("u", &read), interval, t);
        while due <= start + Duration::from_secs(restart) {
            t = Now { mono: due, wall: Duration::from_secs(1_700_000_000) + (due - start) };
            due = next_poll(("u", &read), interval, t);
        }
        prop_assert_eq!(next_poll(("u", &read), interval, at(start, restart)), due);
    }

    /// Whatever is subscribed and dropped in whatever order, the table holds exactly what is subscribed.
    #[test]
    fn the_table_holds_what_is_subscribed(steps in proptest::collection::vec((0u32..5, 0usize..6, 1u64..100), 0..60)) {
        let (uid, start): (StoreUid, _) = ("u".into(), Instant::now());
        let mut table = table(&uid, 1000.0);
        let mut model: HashMap<u32, BTreeSet<Read>> = HashMap::new();
        for (i, (who, count, interval)) in steps.into_iter().enumerate() {
            let reads: BTreeSet<Read> = (0..count).map(|n| key(&format!("k{}", (n + i) % 7))).collect();
            let now = at(start, i as u64);
            if count == 0 { table.unsubscribe(&who, now); model.remove(&who); }
            else { table.subscribe(&who, &uid, reads.clone(), Duration::from_secs(interval), |_| false, now); model.insert(who, reads); }
            let expected: BTreeSet<&Read> = model.values().flatten().collect();
            prop_assert_eq!(table.len(), expected.len());
            let t = &table.stores[&uid];
            prop_assert_eq!(t.due.len(), t.entries.len());
            let demand: f64 = t.entries.values().map(|k| 1.0 / k.interval().as_secs_f64()).sum();
            prop_assert!((t.shares.total() - demand).abs() < 1e-6);
        }
    }
}

#[test]
fn where_changes_are_pushed_an_absence_is_looked_at_again() {
    let (uid, start): (StoreUid, _) = ("u".into(), Instant::now());
    let mut table = KeyTable::default();
    table.store(&uid, 200.0, true);
    table.subscribe(&1, &uid, [key("a")].into(), MINUTE, |_| false, at(start, 0));
    let there: HashMap<_, _> = [(StoreKey::verbatim("a"), ChangeToken::new("1"))].into();
    table.observe_all(&uid, &there, at(start, 1));
    assert!(table.next_due("u").is_none(), "nothing is polled");
    assert_eq!(table.observe_all(&uid, &HashMap::new(), at(start, 2)), [1].into());
    assert_eq!(table.next_due("u"), Some(at(start, 62).mono));
    // An answer that says nothing is no look.
    assert_eq!(table.take_due(&uid, 9, at(start, 62)), [key("a")]);
    assert!(table.observe(&uid, &key("a"), failed(Failure::Unavailable), at(start, 63)).is_empty());
    assert_eq!(table.take_due(&uid, 9, at(start, 122)), [key("a")]);
    assert_eq!(table.observe(&uid, &key("a"), State::Absent, at(start, 123)), [1]);
    assert!(!table.absence_unconfirmed("u", &StoreKey::verbatim("a")));
    assert!(table.take_due(&uid, 9, at(start, 999)).len() <= 1 && table.next_due("u").is_none());
}

#[test]
fn trouble_that_the_probes_do_not_see_is_told_at_the_second_look() {
    let (uid, start): (StoreUid, _) = ("u".into(), Instant::now());
    let mut table = table(&uid, 200.0);
    table.subscribe(&1, &uid, [key("a")].into(), MINUTE, |_| false, at(start, 0));
    let limited = |seconds| failed(Failure::RateLimited(Some(Duration::from_secs(seconds))));
    table.observe(&uid, &key("a"), present("1"), at(start, 1));
    assert!(table.observe(&uid, &key("a"), limited(3), at(start, 2)).is_empty());
    assert!(table.failures(&1).is_empty());
    assert_eq!(table.observe(&uid, &key("a"), limited(2), at(start, 3)), [1]);
    assert_eq!(table.failures(&1).len(), 1);
    assert!(table.observe(&uid, &key("a"), limited(1), at(start, 4)).is_empty(), "once");
    assert_eq!(table.observe(&uid, &key("a"), present("1"), at(start, 5)), [1], "it is over");
    assert!(table.failures(&1).is_empty());
}

#[test]
fn where_lists_tell_of_changes_all_keys_are_due_at_once_and_intervals_are_not_stretched() {
    let (uid, start): (StoreUid, _) = ("u".into(), Instant::now());
    let mut table = table(&uid, 0.1);
    for reference in 0..100 {
        let interval = if reference % 2 == 0 { MINUTE } else { 5 * MINUTE };
        table.subscribe(&reference, &uid, [key(&format!("k{reference}"))].into(), interval, |_| false, at(start, 0));
    }
    assert!(table.overload("u").is_some());
    table.align(&uid, true, at(start, 0));
    assert_eq!(table.overload("u"), None);
    let due: Vec<(u64, usize)> = (0..600)
        .map(|second| (second, table.take_due(&uid, usize::MAX, at(start, second)).len()))
        .filter(|(_, due)| *due > 0)
        .collect();
    assert_eq!(due.len(), 10, "one list a minute: {due:?}");
    assert_eq!(due.iter().filter(|(_, due)| *due == 100).count(), 2, "the slow ones come along: {due:?}");
}

/// The two clocks are never read at the same moment, and phases count in milliseconds.
#[test]
fn keys_that_fall_due_a_moment_apart_are_one_list() {
    let (uid, start): (StoreUid, _) = ("u".into(), Instant::now());
    let mut table = table(&uid, 200.0);
    table.align(&uid, true, at(start, 0));
    let (micros, slips) = (Duration::from_micros, [0, 900, 2_500]);
    for reference in 0..100 {
        let (mut now, slip) = (at(start, 1), slips[reference as usize % 3]);
        now.mono -= micros(slip);
        table.subscribe(&reference, &uid, [key(&format!("k{reference}"))].into(), MINUTE, |_| false, now);
    }
    let mut lists = Vec::new();
    while lists.len() < 10 {
        let mono = table.next_due("u").unwrap() + micros(200);
        let wall = at(start, 0).wall + (mono - start);
        let slip = micros(slips[lists.len() % 3]);
        lists.push((
            mono - start,
            table.take_due(&uid, usize::MAX, Now { mono: mono - slip.min(micros(200)), wall: wall + slip }).len(),
        ));
    }
    assert!(lists.iter().all(|(_, due)| *due == 100), "{lists:?}");
    assert!(lists.windows(2).all(|w| w[1].0 - w[0].0 > MINUTE / 2), "{lists:?}");
}

#[test]
fn a_list_settles_what_has_not_changed_and_nothing_else() {
    let (uid, start): (StoreUid, _) = ("u".into(), Instant::now());
    let mut table = table(&uid, 200.0);
    let reads = ["a", "b", "c", "d", "e"].map(key);
    table.subscribe(&1, &uid, reads.clone().into(), MINUTE, |r| *r == reads[2], at(start, 0));
    let token = |mark: &str| ChangeToken::new(mark);
    table.observe(&uid, &reads[0], State::Present(token("1").with_detail("v")), at(start, 1));
    table.observe(&uid, &reads[1], State::Absent, at(start, 1));
    table.observe(&uid, &reads[2], State::Absent, at(start, 1));
    table.observe(&uid, &reads[3], State::Present(ChangeToken::young("1").with_detail("v")), at(start, 1));
    let says = |read: usize, listed: Option<ChangeToken>| table.compare(&uid, &reads[read], listed.as_ref());
    assert_eq!(says(0, Some(token("1"))), Compared::Unchanged);
    assert_eq!(says(0, Some(token("2"))), Compared::Unknown, "it changed");
    assert_eq!(says(0, None), Compared::Unknown, "that a list lacks it proves nothing");
    assert_eq!(says(1, None), Compared::Unchanged);
    assert_eq!(says(1, Some(token("1"))), Compared::Unknown, "it appeared");
    assert_eq!(says(2, None), Compared::Unknown, "it was there before: its absence has to be seen twice");
    assert_eq!(says(3, Some(token("1"))), Compared::Unknown, "it may have changed within the same second");
    assert_eq!(says(4, Some(token("7"))), Compared::Seen(State::Present(token("7"))));
    assert_eq!(says(4, Some(ChangeToken::young("7"))), Compared::Unknown);
    assert_eq!(table.compare(&uid, &key("z"), None), Compared::Unwanted);
    table.observe(&uid, &reads[0], failed(Failure::Disabled), at(start, 2));
    assert_eq!(table.compare(&uid, &reads[0], Some(&token("1"))), Compared::Unknown);
}
