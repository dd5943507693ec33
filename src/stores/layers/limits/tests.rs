#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// The most that any window holds beyond what the limits allow: zero or less.
fn excess(grants: &[Instant], rate: f64, burst: u32) -> f64 {
    let mut worst = f64::MIN;
    for (i, first) in grants.iter().enumerate() {
        for (n, last) in grants[i..].iter().enumerate() {
            let allowed = f64::from(burst) + rate * (*last - *first).as_secs_f64();
            worst = worst.max((n + 1) as f64 - allowed);
        }
    }
    worst
}

proptest! {
    #[test]
    fn no_window_holds_more_than_the_limits(
        rate in prop_oneof![0.01..5.0, 5.0..100_000.0],
        burst in 1_u32..60,
        gaps in prop::collection::vec((0_u64..3_000_000_000, 0_u32..4), 1..120),
    ) {
        let mut bucket = Bucket::new(rate, burst);
        let mut now = Instant::now();
        let mut grants = vec![];
        for (gap, scale) in gaps {
            now += Duration::from_nanos(gap / 100_u64.pow(scale));
            match bucket.take(now) {
                Ok(()) => grants.push(now),
                Err(wait) => {
                    prop_assert!(!wait.is_zero());
                    // Who waits as told gets one, and would not have got it any earlier.
                    prop_assert!(bucket.take(now + wait - Duration::from_nanos(1)).is_err());
                    now += wait;
                    prop_assert!(bucket.take(now).is_ok());
                    grants.push(now);
                }
            }
        }
        prop_assert!(excess(&grants, rate, burst) <= 1e-6);
    }

    #[test]
    fn a_hold_is_never_longer_than_an_hour(tells in prop::collection::vec((prop::option::of(0_u64..u64::MAX / 4), 0_u64..10_000), 1..50)) {
        let mut hold = Hold::new();
        let mut now = Instant::now();
        for (wait, gap) in tells {
            now += Duration::from_millis(gap);
            hold.told(wait.map(Duration::from_millis), now, now);
            prop_assert!(hold.rest(now).is_some_and(|rest| rest <= LONGEST_HOLD));
        }
    }
}

#[test]
fn a_burst_and_then_the_rate() {
    let mut bucket = Bucket::new(10.0, 3);
    let start = Instant::now();
    assert_eq!((0..5).filter(|_| bucket.take(start).is_ok()).count(), 3);
    let soon = start + Duration::from_millis(101);
    assert_eq!((0..5).filter(|_| bucket.take(soon).is_ok()).count(), 1);
    let rested = start + 60 * SECOND;
    assert_eq!((0..5).filter(|_| bucket.take(rested).is_ok()).count(), 3);
}

#[test]
fn a_rate_that_is_none_is_very_low() {
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let mut bucket = Bucket::new(rate, 0);
        let now = Instant::now();
        assert!(bucket.take(now).is_ok());
        assert!(bucket.take(now + SECOND).is_err(), "{rate}");
    }
}

#[test]
fn a_hold_doubles_until_the_store_gives_something() {
    let mut hold = Hold::new();
    let mut now = Instant::now();
    for expected in [1, 2, 4, 8, 16, 32, 60, 60] {
        hold.told(None, now, now);
        assert_eq!(hold.rest(now), Some(expected * SECOND));
        now += hold.rest(now).unwrap();
        assert_eq!(hold.rest(now), None);
    }
    hold.answered(now);
    hold.told(None, now, now);
    assert_eq!(hold.rest(now), Some(SECOND));
}

#[test]
fn many_refusals_at_once_are_one_step() {
    let mut hold = Hold::new();
    let sent = Instant::now();
    let now = sent + SECOND;
    (0..16).for_each(|_| hold.told(None, sent, now));
    assert_eq!(hold.rest(now), Some(SECOND));
    // What was sent before it and succeeded does not tell that it is over.
    hold.answered(sent);
    hold.told(None, now + SECOND, now + SECOND);
    assert_eq!(hold.rest(now + SECOND), Some(2 * SECOND));
}

#[test]
fn the_longest_hold_counts() {
    let mut hold = Hold::new();
    let now = Instant::now();
    hold.told(Some(30 * SECOND), now, now);
    hold.told(Some(10 * SECOND), now, now);
    hold.told(Some(Duration::ZERO), now, now);
    assert_eq!(hold.rest(now), Some(30 * SECOND));
}

fn limits() -> Arc<Limits> {
    let provider = serde_json::from_str(r#"{ "kubernetes": {} }"#).unwrap();
    Arc::new(Limits::new(&crate::stores::settings(&provider, None, None, None)))
}

/// Who is let through in which order while one holds the front.
async fn order(lanes: &[Lane<'static>]) -> Vec<Lane<'static>> {
    let limits = limits();
    let done: Arc<Mutex<Vec<Lane<'static>>>> = Arc::default();
    let first = limits.turn(Lane::Probe).await;
    let mut waiting = Vec::new();
    for lane in lanes.iter().copied() {
        let (limits, done) = (limits.clone(), done.clone());
        waiting.push(tokio::spawn(async move {
            let turn = limits.turn(lane).await;
            done.lock().unwrap().push(lane);
            drop(turn.into_leave());
        }));
        tokio::task::yield_now().await;
    }
    drop(first.into_leave());
    for one in waiting {
        one.await.unwrap();
    }
    std::mem::take(&mut *done.lock().unwrap())
}

#[tokio::test]
async fn a_namespace_that_asks_for_much_lets_others_through() {
    let flood = [Lane::Namespace("flood"); 50];
    let lanes: Vec<_> = flood.into_iter().chain([Lane::Namespace("small"), Lane::Namespace("other")]).collect();
    let order = order(&lanes).await;
    assert_eq!(order.len(), 52);
    for lane in ["small", "other"] {
        let place = order.iter().position(|l| *l == Lane::Namespace(lane)).unwrap();
        assert!(place < 8, "{lane} came {place}th");
    }
}

#[tokio::test]
async fn polls_are_not_kept_out_by_namespaces_nor_namespaces_by_polls() {
    let both = [[Lane::Own; 40], [Lane::Namespace("flood"); 40]].concat();
    let order = order(&both).await;
    let polls = order[..40].iter().filter(|l| **l == Lane::Own).count();
    assert!((25..=36).contains(&polls), "{polls} of the first 40 are polls");
}

#[test]
fn a_lane_is_the_requesters_namespace() {
    assert_eq!(Lane::of("SecretReference/acme/app", "operator/x"), Lane::Namespace("acme"));
    assert_eq!(Lane::of("operator/x", "operator/x"), Lane::Own);
    assert_eq!(Lane::of("somebody", "operator/x"), Lane::Own);
}
