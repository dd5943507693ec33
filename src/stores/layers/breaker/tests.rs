#![allow(clippy::unwrap_used)]
use proptest::prelude::*;

use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn open(now: Instant) -> Breaker {
    let mut breaker = Breaker::new();
    for _ in 0..THRESHOLD {
        let admitted = breaker.admit(now).unwrap();
        breaker.settle(admitted, Outcome::Silent, now);
    }
    breaker
}

#[test]
fn five_failures_in_a_row_open_it() {
    let now = Instant::now();
    let mut breaker = Breaker::new();
    for outcome in [Outcome::Silent, Outcome::Silent, Outcome::Silent, Outcome::Silent, Outcome::Answered] {
        let admitted = breaker.admit(now).unwrap();
        breaker.settle(admitted, outcome, now);
    }
    assert_eq!(breaker.circuit(now), Circuit::Closed);
    let mut breaker = open(now);
    assert_eq!(breaker.circuit(now), Circuit::Open);
    assert_eq!(breaker.admit(now + SECOND), Err(Refusal { failures: 5, next: Some(4 * SECOND) }));
}

#[test]
fn the_pause_doubles_and_an_answer_ends_it() {
    let mut now = Instant::now();
    let mut breaker = open(now);
    for pause in [5, 10, 20, 40, 60, 60] {
        assert_eq!(breaker.refusal(now).and_then(|r| r.next), Some(pause * SECOND));
        now += pause * SECOND;
        assert_eq!(breaker.circuit(now), Circuit::HalfOpen);
        let admitted = breaker.admit(now).unwrap();
        // One at a time.
        assert_eq!(breaker.admit(now).map_err(|r| r.next), Err(None));
        breaker.settle(admitted, Outcome::Silent, now);
    }
    now += 60 * SECOND;
    let admitted = breaker.admit(now).unwrap();
    breaker.settle(admitted, Outcome::Answered, now);
    assert_eq!((breaker.circuit(now), breaker.failures), (Circuit::Closed, 0));
}

#[test]
fn a_half_open_request_that_is_given_up_makes_room() {
    let now = Instant::now();
    let mut breaker = open(now);
    let later = now + 5 * SECOND;
    let admitted = breaker.admit(later).unwrap();
    breaker.settle(admitted, Outcome::Unknown, later);
    assert_eq!(breaker.circuit(later), Circuit::HalfOpen);
    let admitted = breaker.admit(later).unwrap();
    breaker.settle(admitted, Outcome::Silent, later);
    assert_eq!(breaker.refusal(later).and_then(|r| r.next), Some(10 * SECOND));
}

#[test]
fn a_probe_goes_past_it() {
    let now = Instant::now();
    let mut breaker = open(now);
    let probe = breaker.admit_probe();
    assert_eq!(breaker.circuit(now), Circuit::HalfOpen);
    breaker.settle(probe, Outcome::Silent, now);
    assert_eq!(breaker.refusal(now).and_then(|r| r.next), Some(10 * SECOND));
    let probe = breaker.admit_probe();
    breaker.settle(probe, Outcome::Answered, now);
    assert_eq!(breaker.circuit(now), Circuit::Closed);
}

#[test]
fn failures_of_an_earlier_time_do_not_count_later() {
    let now = Instant::now();
    let mut breaker = Breaker::new();
    let many: Vec<_> = (0..16).map(|_| breaker.admit(now).unwrap()).collect();
    many.into_iter().for_each(|admitted| breaker.settle(admitted, Outcome::Silent, now));
    assert_eq!(breaker.refusal(now), Some(Refusal { failures: 5, next: Some(5 * SECOND) }));

    let mut breaker = Breaker::new();
    let late = breaker.admit(now).unwrap();
    for _ in 0..THRESHOLD {
        breaker.settle(late, Outcome::Silent, now);
    }
    let later = now + 5 * SECOND;
    let half_open = breaker.admit(later).unwrap();
    // The half-open request decides, not one that was sent when the store was known to be down.
    breaker.settle(late, Outcome::Silent, later);
    breaker.settle(late, Outcome::Unknown, later);
    assert_eq!(breaker.refusal(later), Some(Refusal { failures: 5, next: None }));
    breaker.settle(half_open, Outcome::Answered, later);
    breaker.settle(late, Outcome::Silent, later);
    assert_eq!((breaker.circuit(later), breaker.failures), (Circuit::Closed, 0));
}

#[test]
fn only_silence_counts() {
    for failure in [
        Failure::Disabled,
        Failure::Unauthenticated,
        Failure::Denied,
        Failure::RateLimited(None),
        Failure::Misconfigured,
    ] {
        assert_eq!(Outcome::of(Some(failure)), Outcome::Answered);
    }
    assert_eq!(Outcome::of(None), Outcome::Answered);
    assert_eq!(Outcome::of(Some(Failure::Unavailable)), Outcome::Silent);
    assert_eq!(Outcome::of(Some(Failure::NotReady)), Outcome::Unknown);
}

#[derive(Clone, Debug)]
enum Step {
    Admit,
    Probe,
    Settle(prop::sample::Index, Outcome),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![4 => Just(Outcome::Silent), 1 => Just(Outcome::Answered), 1 => Just(Outcome::Unknown)];
    prop_oneof![
        4 => Just(Step::Admit),
        1 => Just(Step::Probe),
        5 => (any::<prop::sample::Index>(), outcome).prop_map(|(i, o)| Step::Settle(i, o)),
        2 => (0_u64..30).prop_map(Step::Pass),
    ]
}

proptest! {
    #[test]
    fn it_holds_its_promises(steps in prop::collection::vec(step(), 0..200)) {
        let mut now = Instant::now();
        let mut breaker = Breaker::new();
        let mut under_way = vec![];
        let mut silent = 0_u32;
        for step in steps {
            let before = breaker.circuit(now);
            match step {
                Step::Admit => match breaker.admit(now) {
                    Ok(admitted) => {
                        prop_assert_ne!(before, Circuit::Open);
                        under_way.push(admitted);
                    }
                    Err(refusal) => {
                        prop_assert_ne!(before, Circuit::Closed);
                        // A refusal is never for ever: a time is named, or a request is under way that decides.
                        prop_assert!(refusal.failures >= THRESHOLD);
                        prop_assert!(refusal.next.is_some_and(|n| n <= LONGEST) || under_way.contains(&breaker.epoch));
                    }
                },
                Step::Probe => under_way.push(breaker.admit_probe()),
                Step::Settle(_, _) if under_way.is_empty() => {}
                Step::Settle(index, outcome) => {
                    let admitted = under_way.swap_remove(index.index(under_way.len()));
                    breaker.settle(admitted, outcome, now);
                    match outcome {
                        Outcome::Answered => {
                            silent = 0;
                            prop_assert_eq!(breaker.circuit(now), Circuit::Closed);
                        }
                        Outcome::Silent => silent += 1,
                        Outcome::Unknown => {}
                    }
                    if before == Circuit::Closed && breaker.circuit(now) != Circuit::Closed {
                        prop_assert!(silent >= THRESHOLD);
                    }
                }
                Step::Pass(seconds) => now += Duration::from_secs(seconds),
            }
        }
    }
}
