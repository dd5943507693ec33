#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
//! What users read: conditions that move on transitions only, `Ready` as promised, never a value.

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::*;
use crate::operator::plan::{
    Action,
    tests::world::{MARK, World, world},
};

const REASONS: [Reason; 12] = [
    Reason::SecretNotFound,
    Reason::StoreUnavailable,
    Reason::TemplateError,
    Reason::TargetRejected,
    Reason::StoreNotFound,
    Reason::InvalidReference,
    Reason::OrgMismatch,
    Reason::TargetConflict,
    Reason::OrgNotBound,
    Reason::OrgChanged,
    Reason::Suspended,
    Reason::SecretEmpty,
];

/// One attempt after the other at one reference.
#[derive(Clone, Debug)]
struct Attempted {
    problem: Option<Reason>,
    in_place: bool,
    changed: bool,
    respecified: bool,
    healthy: Option<bool>,
    /// Seconds since the last one.
    later: i64,
}

fn attempted() -> impl Strategy<Value = Attempted> {
    let problem = option::weighted(0.6, select(REASONS.to_vec()));
    (
        problem,
        prop::bool::weighted(0.8),
        any::<bool>(),
        prop::bool::weighted(0.1),
        option::of(any::<bool>()),
        0..3000_i64,
    )
        .prop_map(|(problem, in_place, changed, respecified, healthy, later)| Attempted {
            problem,
            in_place,
            changed,
            respecified,
            healthy,
            later,
        })
}

fn start() -> Timestamp {
    Timestamp::from_second(1_800_000_000).unwrap()
}

fn after(seconds: i64) -> Timestamp {
    Timestamp::from_second(start().as_second() + seconds).unwrap()
}

fn in_place(keys: usize) -> InPlace {
    InPlace { uid: "secret-uid".to_owned(), keys, revision: 1 }
}

fn health(ready: Option<bool>) -> Health {
    match ready {
        None => Health::default(),
        Some(true) => Health { ready, reason: Reason::Healthy, message: "the store answers".into() },
        Some(false) => {
            Health { ready, reason: Reason::StoreUnavailable, message: "it does not answer: look at it".into() }
        }
    }
}

fn conclude_one(world: &World, a: &Attempted, now: Timestamp) -> SecretReferenceStatus {
    let problem = a.problem.map(|reason| Problem::new(reason, format!("{reason}: mend it")));
    let attempt = Attempt {
        problem: problem.as_ref(),
        target: problem.is_none().then(|| in_place(1)),
        entries: &[],
        changed: a.changed,
        org: Some("acme".into()),
        in_place: a.in_place || problem.is_none(),
    };
    world.seen(|o| conclude(o, &attempt, &health(a.healthy), now))
}

fn ok() -> Attempted {
    Attempted { problem: None, in_place: true, changed: true, respecified: false, healthy: Some(true), later: 0 }
}

fn failing(reason: Reason) -> Attempted {
    Attempted { problem: Some(reason), changed: false, ..ok() }
}

fn of<'a>(status: &'a SecretReferenceStatus, type_: &str) -> (&'a str, &'a str) {
    let condition = find(&status.conditions, type_).unwrap_or_else(|| panic!("no {type_}"));
    (&condition.status, &condition.reason)
}

fn synced() -> World {
    let mut world = World::new("data: [{ key: DB, secretRef: { name: db } }]");
    world.status = conclude_one(&world, &ok(), start());
    assert_eq!(of(&world.status, READY), ("True", "Synced"));
    world
}

proptest! {
    /// Whatever happens in whatever order.
    #[test]
    fn conditions_move_on_transitions_only(all in vec(attempted(), 1..12)) {
        let mut world = World::new("data: [{ key: DB, secretRef: { name: db } }]");
        let mut now = 0;
        for a in all {
            now += a.later;
            world.generation += i64::from(a.respecified);
            let old = world.status.clone();
            let new = conclude_one(&world, &a, after(now));
            let types: Vec<&str> = new.conditions.iter().map(|c| c.type_.as_str()).collect();
            prop_assert_eq!(types, [READY, SYNCED, STORE_HEALTHY, STALLED]);
            for condition in &new.conditions {
                match find(&old.conditions, &condition.type_) {
                    Some(before) if before.status == condition.status => {
                        prop_assert_eq!(&before.last_transition_time, &condition.last_transition_time);
                    }
                    _ => prop_assert_eq!(&condition.last_transition_time, &seconds(after(now))),
                }
                prop_assert!(!condition.message.is_empty() && !condition.reason.is_empty());
            }
            let stalled = matches!(a.problem, Some(Reason::InvalidReference | Reason::OrgMismatch | Reason::TargetConflict));
            prop_assert_eq!(of(&new, STALLED).0, if stalled { "True" } else { "False" });
            prop_assert_eq!(of(&new, SYNCED).1, a.problem.unwrap_or(Reason::Synced).as_str());
            prop_assert_eq!(new.observed_generation, Some(world.generation));
            // Once more from the new status: nothing to write, now and until it turns stale.
            world.status = new.clone();
            let calm = Attempted { changed: false, ..a.clone() };
            prop_assert_eq!(&conclude_one(&world, &calm, after(now)), &new);
            let stale = world.seen(|o| until_stale(o, &new, after(now)));
            let quiet = stale.map_or(100_000, |s| i64::try_from(s.as_secs()).unwrap() - 1);
            if quiet >= 0 {
                prop_assert_eq!(&conclude_one(&world, &calm, after(now + quiet)), &new);
            }
            if let Some(stale) = stale {
                let then = conclude_one(&world, &calm, after(now + i64::try_from(stale.as_secs()).unwrap()));
                prop_assert_eq!(of(&then, READY).0, "False");
            }
        }
    }

    /// Through all of resolution and planning, with targets, templates and stores of every kind.
    #[test]
    fn no_value_gets_into_a_status(world in world()) {
        let (action, store) = (world.attempt(), health(Some(true)));
        let nothing = Attempt { problem: None, target: None, entries: &[], changed: false, org: None, in_place: false };
        let status = world.seen(|o| match &action {
            Action::Leave(p) | Action::Revoke(p) => conclude(o, &Attempt { problem: Some(p), ..nothing }, &store, start()),
            Action::Write(w) => {
                let target = Some(in_place(w.desired.data.len()));
                let done = Attempt { target, entries: &w.resolved.entries, changed: true, in_place: true, ..nothing };
                conclude(o, &done, &store, start())
            }
            Action::InSync(_) => SecretReferenceStatus::default(),
        });
        let text = serde_json::to_string(&status).unwrap();
        prop_assert!(!text.contains(MARK), "{}", text);
        let text = format!("{action:?}");
        prop_assert!(!text.contains(MARK), "{}", text);
    }
}

#[test]
fn a_new_generation_that_fails_is_not_ready_at_once() {
    let mut world = synced();
    world.generation = 2;
    let status = conclude_one(&world, &failing(Reason::SecretNotFound), after(1));
    assert_eq!(of(&status, READY), ("False", "SecretNotFound"));
}

#[test]
fn the_same_generation_stays_ready_until_it_is_stale() {
    let mut world = synced();
    world.status = conclude_one(&world, &failing(Reason::StoreUnavailable), after(10));
    assert_eq!(
        (of(&world.status, READY), of(&world.status, SYNCED)),
        (("True", "LastGoodKept"), ("False", "StoreUnavailable"))
    );
    let left = world.seen(|o| until_stale(o, &world.status, after(10)));
    assert_eq!(left, Some(Duration::from_secs(3600)), "an hour of failing, not of age");
    // Another reason does not start the hour again.
    world.status = conclude_one(&world, &failing(Reason::PermissionDenied), after(3000));
    assert_eq!(of(&conclude_one(&world, &failing(Reason::PermissionDenied), after(3609)), READY).0, "True");
    world.status = conclude_one(&world, &failing(Reason::PermissionDenied), after(3610));
    assert_eq!(of(&world.status, READY), ("False", "PermissionDenied"));
    assert_eq!(world.seen(|o| until_stale(o, &world.status, after(3610))), None, "nothing more to wait for");
    assert_eq!(of(&conclude_one(&world, &ok(), after(4000)), READY), ("True", "Synced"));
}

#[test]
fn with_refresh_interval_zero_nothing_turns_stale() {
    let mut world = World {
        spec: serde_saphyr::from_str("{ storeRef: { name: s }, refreshInterval: 0s, data: [] }").unwrap(),
        ..synced()
    };
    world.status = conclude_one(&world, &failing(Reason::StoreUnavailable), after(10));
    assert_eq!(world.seen(|o| until_stale(o, &world.status, after(10))), None);
    assert_eq!(of(&conclude_one(&world, &failing(Reason::StoreUnavailable), after(1_000_000)), READY).0, "True");
}

#[test]
fn without_its_target_it_is_not_ready() {
    let world = synced();
    let gone = Attempted { in_place: false, ..failing(Reason::StoreUnavailable) };
    let status = conclude_one(&world, &gone, after(1));
    assert_eq!(of(&status, READY), ("False", "StoreUnavailable"));
    assert!(status.target.is_none() && status.entries.is_empty());
}

#[test]
fn without_the_right_organisation_it_is_not_ready_whatever_is_in_place() {
    for reason in [Reason::OrgNotBound, Reason::OrgMismatch, Reason::OrgChanged] {
        let status = conclude_one(&synced(), &failing(reason), after(1));
        assert_eq!(of(&status, READY), ("False", reason.as_str()));
        assert!(status.target.is_some(), "it is still there, and said to be");
    }
}

#[test]
fn suspending_keeps_everything_but_synced() {
    let mut world = synced();
    let before = world.status.clone();
    world.generation = 2;
    let status = conclude_one(&world, &failing(Reason::Suspended), after(100));
    assert_eq!(find(&status.conditions, READY), find(&before.conditions, READY));
    assert_eq!(of(&status, SYNCED), ("Unknown", "Suspended"));
    assert_eq!(
        (status.target, status.org, status.last_change_time),
        (before.target, before.org, before.last_change_time)
    );
    world.status = conclude_one(&world, &failing(Reason::OrgNotBound), after(101));
    let status = conclude_one(&world, &failing(Reason::Suspended), after(102));
    assert_eq!(of(&status, READY), ("False", "OrgNotBound"), "not ready stays not ready");
}

#[test]
fn the_last_change_is_of_the_target_and_not_of_an_attempt() {
    let mut world = synced();
    let changed = |s: &SecretReferenceStatus| s.last_change_time.clone();
    assert_eq!(changed(&world.status), Some(seconds(start())));
    world.status = conclude_one(&world, &Attempted { changed: false, ..ok() }, after(50));
    assert_eq!(changed(&world.status), Some(seconds(start())));
    world.status = conclude_one(&world, &failing(Reason::StoreUnavailable), after(60));
    assert_eq!(changed(&world.status), Some(seconds(start())));
    assert_eq!(changed(&conclude_one(&world, &ok(), after(70))), Some(seconds(after(70))));
}

#[test]
fn references_follow_their_store_and_keep_what_they_said_of_themselves() {
    let mut world = synced();
    let follow = |world: &World, ready, at| world.seen(|o| follow_store(o, &health(Some(ready)), after(at)));
    world.status = follow(&world, false, 10);
    assert_eq!(of(&world.status, SYNCED), ("False", "StoreUnavailable"));
    assert_eq!(of(&world.status, STORE_HEALTHY), ("False", "StoreUnavailable"));
    assert_eq!(of(&world.status, READY), ("True", "LastGoodKept"));
    assert_eq!(follow(&world, false, 20), world.status, "told once");
    let mut own = synced();
    own.status = conclude_one(&own, &failing(Reason::SecretNotFound), after(5));
    let status = follow(&own, false, 10);
    assert_eq!((of(&status, SYNCED), of(&status, STORE_HEALTHY).0), (("False", "SecretNotFound"), "False"));
    assert_eq!(of(&follow(&own, true, 20), STORE_HEALTHY), ("True", "Healthy"));
}

#[test]
fn at_most_64_entries_are_listed_and_the_rest_is_counted() {
    let world = synced();
    let entry = |n: usize| Entry {
        key: format!("K{n:03}"),
        name: "db".into(),
        scope: crate::api::EntryScope::Org,
        version: None,
    };
    let entries: Vec<Entry> = (0..70).rev().map(entry).collect();
    let target = Some(in_place(70));
    let attempt = Attempt { problem: None, target, entries: &entries, changed: true, org: None, in_place: true };
    let status = world.seen(|o| conclude(o, &attempt, &health(Some(true)), start()));
    assert_eq!((status.entries.len(), status.entries_total, status.entries[0].key.as_str()), (64, Some(70), "K000"));
}
