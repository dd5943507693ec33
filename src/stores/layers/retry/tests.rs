#![allow(clippy::unwrap_used)]
use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{naming::StoreKey, stores::layers::request::Request};

fn settings(rate: f64, burst: u32) -> Settings {
    Settings { requests_per_second: rate, burst, ..crate::stores::settings(&Default::default(), None, None, None) }
}

fn place(key: &str) -> Place {
    let request = Request::Get { key: StoreKey::verbatim(key), version: None };
    Place { uid: Arc::from("uid"), generation: 1, request }
}

#[test]
fn waits_double_from_800_ms_and_end_after_five_attempts() {
    let waits: Vec<_> = (1..=5).map(|n| wait(n, Duration::ZERO, 0.5).map(|w| w.as_millis())).collect();
    assert_eq!(waits, [Some(800), Some(1600), Some(3200), Some(6400), None]);
}

proptest! {
    #[test]
    fn the_schedule_stays_within_its_bounds(took in prop::collection::vec(0_u64..20_000, 5), luck in prop::collection::vec(-1.0..2.0, 5)) {
        let mut elapsed = Duration::ZERO;
        let mut attempts = 0_u32;
        for (took, luck) in took.iter().zip(luck) {
            attempts += 1;
            elapsed += Duration::from_millis(*took);
            let Some(wait) = wait(attempts, elapsed, luck) else { break };
            let middle = 0.8 * f64::from(1 << (attempts - 1));
            prop_assert!((middle * 0.7999..=middle * 1.2001).contains(&wait.as_secs_f64()));
            elapsed += wait;
            // The next attempt has some time left.
            prop_assert!(elapsed + SHORTEST <= OVERALL);
        }
        prop_assert!(attempts <= ATTEMPTS);
    }

    #[test]
    fn retries_take_their_share_and_no_more(rate in 0.1..1000.0, burst in 1_u32..1000, gaps in prop::collection::vec(0_u64..500, 1..400)) {
        let retries = Retries::new(&settings(rate, burst));
        let start = Instant::now();
        let mut now = start;
        let mut granted = 0_u32;
        for (n, gap) in gaps.into_iter().enumerate() {
            now += Duration::from_millis(gap);
            granted += u32::from(retries.next(&place(&n.to_string()), 1, Duration::ZERO, now).is_some());
        }
        let share = f64::from((burst / 10).max(1)) + rate * SHARE * (now - start).as_secs_f64();
        prop_assert!(f64::from(granted) <= share + 1e-6, "{} of {}", granted, share);
    }
}

#[test]
fn a_question_that_failed_gets_one_attempt_until_it_is_answered() {
    let retries = Retries::new(&settings(1000.0, 1000));
    let now = Instant::now();
    let next = |key| retries.next(&place(key), 1, Duration::ZERO, now).is_some();
    assert!(next("a"));
    retries.failed(&place("a"));
    assert!(!next("a"));
    assert!(next("b"));
    retries.answered(&place("a"));
    assert!(next("a"));
}

#[test]
fn what_is_remembered_is_bounded() {
    let retries = Retries::new(&settings(1.0, 1));
    (0..REMEMBERED + 10).for_each(|n| retries.failed(&place(&n.to_string())));
    assert_eq!(retries.state().failed.len(), 10);
}
