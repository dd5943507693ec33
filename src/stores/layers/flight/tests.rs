#![allow(clippy::unwrap_used, clippy::panic)]
use std::{sync::atomic::AtomicUsize, time::Duration};

use proptest::prelude::*;
use tokio::time::sleep;

use super::{super::request::Request, *};
use crate::{
    naming::StoreKey,
    stores::{Failure, StoreError},
};

fn place(key: &str) -> Arc<Place> {
    let request = Request::Get { key: StoreKey::verbatim(key), version: None };
    Arc::new(Place { uid: "uid".into(), generation: 1, request })
}

fn none() -> Result<Answer, StoreError> {
    Ok(Answer::Value(None))
}

/// An answer that carries a number.
fn numbered(n: usize) -> Result<Answer, StoreError> {
    Ok(Answer::Keys(Arc::new(vec![StoreKey::verbatim(""); n])))
}

fn number(answer: &Result<Answer, StoreError>) -> usize {
    match answer {
        Ok(Answer::Keys(keys)) => keys.len(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_cost_at_most_two_reads() {
    for (freshness, most) in [(Freshness::Cached, 1), (Freshness::PastCache, 2)] {
        let (flights, flown) = (Flights::default(), AtomicUsize::new(0));
        let fly = || async {
            flown.fetch_add(1, Ordering::SeqCst);
            sleep(Duration::from_millis(50)).await;
            none()
        };
        let place = place("a");
        futures::future::join_all((0..1000).map(|_| flights.join(&place, freshness, fly))).await;
        assert_eq!(flown.load(Ordering::SeqCst), most);
        assert!(flights.slots().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn errors_are_shared_and_different_questions_are_not() {
    let (flights, flown) = (Flights::default(), AtomicUsize::new(0));
    let fly = || async {
        flown.fetch_add(1, Ordering::SeqCst);
        sleep(Duration::from_millis(50)).await;
        Err(StoreError::new(Failure::Unavailable, "down"))
    };
    let places = [place("a"), place("b")];
    let callers = (0..20).map(|n| flights.join(&places[n % 2], Freshness::Cached, fly));
    let answers = futures::future::join_all(callers).await;
    assert!(answers.iter().all(Result::is_err));
    assert_eq!(flown.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_is_dropped_makes_way() {
    let flights = Arc::new(Flights::default());
    let leader = tokio::spawn({
        let flights = Arc::clone(&flights);
        async move { flights.join(&place("a"), Freshness::Cached, std::future::pending).await }
    });
    let waiting = tokio::spawn({
        let flights = Arc::clone(&flights);
        async move {
            sleep(Duration::from_secs(1)).await;
            flights.join(&place("a"), Freshness::Cached, || async { none() }).await
        }
    });
    sleep(Duration::from_secs(2)).await;
    assert!(!waiting.is_finished());
    leader.abort();
    assert_eq!(waiting.await.unwrap(), none());
    assert!(flights.slots().is_empty());
}

#[derive(Clone, Debug)]
struct Plan {
    at: u64,
    past_cache: bool,
    given_up_after: Option<u64>,
}

fn plan() -> impl Strategy<Value = Plan> {
    (0_u64..200, any::<bool>(), prop::option::weighted(0.3, 0_u64..80))
        .prop_map(|(at, past_cache, given_up_after)| Plan { at, past_cache, given_up_after })
}

proptest! {
    /// The number is the world's state: it grows with time, and a flight brings what it was when the flight started.
    #[test]
    fn an_answer_past_the_cache_is_never_from_before_the_question(plans in prop::collection::vec(plan(), 1..40), takes in 1_u64..60) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (flights, flown) = (Flights::default(), AtomicUsize::new(0));
            let start = tokio::time::Instant::now();
            let world = || usize::try_from(start.elapsed().as_millis()).unwrap();
            let fly = || async {
                flown.fetch_add(1, Ordering::SeqCst);
                let seen = world();
                sleep(Duration::from_millis(takes)).await;
                numbered(seen)
            };
            let place = place("a");
            let callers = plans.iter().map(|plan| async {
                sleep(Duration::from_millis(plan.at)).await;
                let freshness = if plan.past_cache { Freshness::PastCache } else { Freshness::Cached };
                let asked = world();
                let join = flights.join(&place, freshness, fly);
                let answer = match plan.given_up_after {
                    Some(after) => tokio::time::timeout(Duration::from_millis(after), join).await.ok()?,
                    None => join.await,
                };
                // Cached: what was under way when the question came will do.
                let oldest = if plan.past_cache { asked } else { asked.saturating_sub(usize::try_from(takes).unwrap()) };
                Some((number(&answer), oldest))
            });
            let answers = futures::future::join_all(callers).await;
            for (seen, oldest) in answers.iter().flatten() {
                prop_assert!(seen >= oldest, "{} < {}", seen, oldest);
            }
            let steadfast = plans.iter().filter(|plan| plan.given_up_after.is_none()).count();
            prop_assert!(answers.iter().flatten().count() >= steadfast);
            prop_assert!(flown.load(Ordering::SeqCst) <= plans.len());
            prop_assert!(flights.slots().is_empty());
            Ok(())
        })?;
    }
}
