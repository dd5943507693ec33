#![allow(clippy::unwrap_used)]
#[path = "tests/simulation.rs"]
mod simulation;
#[path = "tests/wire.rs"]
mod wire;

use super::*;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn at(seen: Seen) -> (Observed, Instant) {
    let now = Instant::now();
    let mut observed = Observed::new(now);
    if seen != Seen::Absent && seen != Seen::Nothing {
        observed.read(Some(("1", seen)), now);
    } else if seen == Seen::Absent {
        observed.read(None, now);
    }
    (observed, now)
}

#[test]
fn a_free_or_missing_lease_is_taken_at_once() {
    for seen in [Seen::Free, Seen::Absent] {
        let (observed, now) = at(seen);
        assert_eq!(decide(&observed, now), Decision::Acquire);
    }
    let (observed, now) = at(Seen::Nothing);
    assert_eq!(decide(&observed, now), Decision::Wait(Duration::ZERO));
}

#[test]
fn anothers_lease_is_waited_out_from_its_last_sign() {
    let (mut observed, now) = at(Seen::Others(LEASE));
    assert_eq!(decide(&observed, now), Decision::Wait(RETRY));
    assert_eq!(decide(&observed, now + LEASE - ms(500)), Decision::Wait(ms(500)));
    assert_eq!(decide(&observed, now + LEASE), Decision::Acquire);
    observed.read(Some(("1", Seen::Others(LEASE))), now + ms(14_000));
    assert_eq!(decide(&observed, now + LEASE), Decision::Acquire);
    observed.read(Some(("2", Seen::Others(LEASE))), now + ms(14_000));
    assert_eq!(decide(&observed, now + LEASE), Decision::Wait(RETRY));
}

#[test]
fn a_leader_renews_and_steps_down_at_its_deadline() {
    let (mut observed, now) = at(Seen::Free);
    observed.wrote("2", now, now + ms(300));
    assert!(!observed.must_read());
    assert_eq!(decide(&observed, now + ms(500)), Decision::Wait(ms(1500)));
    assert_eq!(decide(&observed, now + RETRY), Decision::Renew);
    observed.failed(now + ms(9_000));
    assert!(observed.must_read());
    assert_eq!(decide(&observed, now + ms(9_500)), Decision::Wait(ms(500)));
    assert_eq!(decide(&observed, now + DEADLINE), Decision::StepDown);
    observed.step_down();
    assert!(matches!(decide(&observed, now + DEADLINE), Decision::Wait(_)));
}

#[test]
fn a_leader_steps_down_when_the_lease_is_anothers() {
    for (seen, decision) in [
        (Some(("3", Seen::Others(LEASE))), Decision::StepDown),
        (Some(("3", Seen::Free)), Decision::StepDown),
        (Some(("3", Seen::Mine)), Decision::Renew),
        (None, Decision::Acquire),
    ] {
        let (mut observed, now) = at(Seen::Free);
        observed.wrote("2", now, now);
        observed.read(seen, now + RETRY);
        assert_eq!(decide(&observed, now + RETRY), decision);
    }
}

#[test]
fn a_removed_lease_may_still_have_a_leader() {
    let (mut observed, now) = at(Seen::Others(LEASE));
    observed.read(None, now + ms(1000));
    assert_eq!(observed.seen, Seen::Removed);
    assert_eq!(decide(&observed, now + LEASE), Decision::Wait(ms(1000)));
    assert_eq!(decide(&observed, now + LEASE + ms(1000)), Decision::Acquire);
}

#[tokio::test(start_paused = true)]
async fn leadership_ends_by_itself_and_clones_follow() {
    assert!(Leadership::always().is_leading());
    assert!(!Leadership::never().is_leading());
    let begun = Instant::now();
    let term = Term::new(begun);
    let leadership = Leadership(Standing::Term(term.clone()));
    let clone = leadership.clone();
    assert!(!clone.is_leading());
    term.prolong(begun + DEADLINE);
    tokio::time::advance(DEADLINE - ms(1)).await;
    assert!(clone.is_leading());
    tokio::time::advance(ms(1)).await;
    assert!(!clone.is_leading());
    term.prolong(Instant::now() + DEADLINE);
    assert!(clone.is_leading() && leadership.is_leading());
    term.end();
    assert!(!clone.is_leading() && !leadership.is_leading());
}
