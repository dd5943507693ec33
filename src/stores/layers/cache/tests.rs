#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::{super::request::Request, *};
use crate::{
    naming::StoreKey,
    secret::SecretValue,
    stores::{ChangeToken, Payload, Stored},
};

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

fn cache(capacity: usize) -> Cache {
    Cache::new(capacity, Arc::new(Metrics::new()))
}

fn place(uid: &str, generation: i64, key: &str) -> Arc<Place> {
    let request = Request::Get { key: StoreKey::verbatim(key), version: None };
    Arc::new(Place { uid: uid.into(), generation, request })
}

fn value(length: usize) -> Answer {
    Answer::Value(Some(Arc::new(Stored {
        payload: Payload::Single(SecretValue::new(vec![7; length])),
        version: None,
        token: ChangeToken::new(""),
        warning: None,
    })))
}

#[test]
fn values_stay_for_their_time_and_no_longer() {
    let cache = cache(10_000);
    let now = Instant::now();
    cache.keep(&place("u", 1, "a"), value(10), HOUR, now);
    assert_eq!(cache.get(&place("u", 1, "a"), now + HOUR - SECOND), Some(value(10)));
    assert_eq!(cache.get(&place("u", 1, "a"), now + HOUR), None);
    assert!(cache.bytes() > 0);
    cache.sweep(now + HOUR);
    assert_eq!(cache.bytes(), 0);
}

#[test]
fn an_expired_value_is_not_held_any_more() {
    let cache = cache(10_000);
    let now = Instant::now();
    let Answer::Value(Some(stored)) = value(10) else { unreachable!() };
    let gone = Arc::downgrade(&stored);
    cache.keep(&place("u", 1, "a"), Answer::Value(Some(stored)), SECOND, now);
    cache.keep(&place("u", 1, "b"), value(1), HOUR, now + SECOND);
    assert!(gone.upgrade().is_none(), "an insert sweeps");
}

#[test]
fn absence_is_believed_for_half_a_minute_at_most() {
    let cache = cache(10_000);
    let now = Instant::now();
    for (key, answer) in [("a", Answer::Value(None)), ("b", Answer::Keys(Arc::default()))] {
        cache.keep(&place("u", 1, key), answer.clone(), HOUR, now);
        assert_eq!(cache.get(&place("u", 1, key), now + 29 * SECOND), Some(answer.clone()));
        assert_eq!(cache.get(&place("u", 1, key), now + 30 * SECOND), None);
        cache.keep(&place("u", 1, key), answer, SECOND, now);
        assert_eq!(cache.get(&place("u", 1, key), now + SECOND), None);
    }
}

#[test]
fn a_new_answer_replaces_the_old_even_if_it_is_not_kept() {
    let cache = cache(2_000);
    let now = Instant::now();
    let a = place("u", 1, "a");
    for (answer, ttl) in [(value(5_000), HOUR), (value(1), Duration::ZERO)] {
        cache.keep(&a, value(3), HOUR, now);
        cache.keep(&a, answer, ttl, now);
        assert_eq!((cache.get(&a, now), cache.bytes()), (None, 0));
    }
}

#[test]
fn stores_and_generations_share_nothing() {
    let cache = cache(10_000);
    let now = Instant::now();
    for (uid, generation, length) in [("u", 1, 1), ("u", 2, 2), ("v", 1, 3)] {
        cache.keep(&place(uid, generation, "a"), value(length), HOUR, now);
    }
    assert_eq!(cache.get(&place("u", 2, "a"), now), Some(value(2)));
    cache.forget_generation("u", 1);
    assert_eq!(cache.get(&place("u", 1, "a"), now), None);
    assert_eq!(cache.get(&place("u", 2, "a"), now), Some(value(2)));
    cache.forget("u");
    assert_eq!(cache.get(&place("u", 2, "a"), now), None);
    assert_eq!(cache.get(&place("v", 1, "a"), now), Some(value(3)));
}

#[derive(Clone, Debug)]
enum Step {
    Keep(u8, usize, u64),
    Pass(u64),
    Sweep,
    Forget(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_u8..12, 0_usize..900, 0_u64..100).prop_map(|(k, l, t)| Step::Keep(k, l, t)),
        2 => (0_u64..40).prop_map(Step::Pass),
        1 => Just(Step::Sweep),
        1 => (0_u8..3).prop_map(Step::Forget),
    ]
}

proptest! {
    /// Against a plain list, oldest first.
    #[test]
    fn it_is_bounded_and_the_oldest_goes_first(steps in prop::collection::vec(step(), 0..120)) {
        const CAPACITY: usize = 3_000;
        let cache = cache(CAPACITY);
        let mut now = Instant::now();
        let mut model: Vec<(u8, usize, Instant)> = vec![];
        let at = |key: u8| place(&(key % 3).to_string(), 1, &key.to_string());
        let cost = |key: u8, length: usize| ENTRY + key.to_string().len() + length;
        for step in steps {
            match step {
                Step::Keep(key, length, ttl) => {
                    cache.keep(&at(key), value(length), Duration::from_secs(ttl), now);
                    model.retain(|(k, _, expires)| *k != key && *expires > now);
                    if ttl > 0 {
                        model.push((key, length, now + Duration::from_secs(ttl)));
                        while model.iter().map(|(k, l, _)| cost(*k, *l)).sum::<usize>() > CAPACITY {
                            model.remove(0);
                        }
                    }
                }
                Step::Pass(seconds) => now += Duration::from_secs(seconds),
                Step::Sweep => {
                    cache.sweep(now);
                    model.retain(|(_, _, expires)| *expires > now);
                }
                Step::Forget(uid) => {
                    cache.forget(&uid.to_string());
                    model.retain(|(k, _, _)| k % 3 != uid);
                }
            }
            for key in 0..12 {
                let expected = model.iter().find(|(k, _, e)| *k == key && *e > now).map(|(_, l, _)| value(*l));
                prop_assert_eq!(cache.get(&at(key), now), expected);
            }
            let bytes = cache.bytes();
            prop_assert_eq!(bytes, model.iter().map(|(k, l, _)| cost(*k, *l)).sum::<usize>());
            prop_assert!(bytes <= CAPACITY);
            let held = cache.held();
            prop_assert_eq!((held.places.len(), held.expiries.len()), (held.entries.len(), held.entries.len()));
        }
    }
}
