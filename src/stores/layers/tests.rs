#![allow(clippy::unwrap_used)]
use std::sync::atomic::Ordering;

use futures::future::join_all;
use proptest::prelude::*;

use self::scripted::{Does, OPERATOR, audited, settings, world};
use super::*;

mod scripted;

const SECOND: Duration = Duration::from_secs(1);

const DOWN: Does = Does::Fail(Failure::Unavailable);

#[tokio::test(start_paused = true)]
async fn cached_reads_cost_nothing_and_polls_go_past() {
    let w = world([Does::Value], SECOND / 100, settings());
    for _ in 0..3 {
        assert!(w.read("a", Freshness::Cached).await.unwrap().is_some());
    }
    assert_eq!(w.store.requests(), 1);
    w.read("a", Freshness::PastCache).await.unwrap();
    assert_eq!(w.store.requests(), 2);
    tokio::time::sleep(w.layers.settings().cache_ttl).await;
    w.read("a", Freshness::Cached).await.unwrap();
    assert_eq!(w.store.requests(), 3);
    assert_eq!(w.counted("success"), 3);
    let text = w.metrics.encode();
    assert!(text.contains(r#"secretref_cache_requests_total{store="platform",result="hit"} 2"#), "{text}");
}

#[tokio::test(start_paused = true)]
async fn certain_absence_is_cached_and_an_error_never() {
    let w = world([Does::Nothing, Does::Fail(Failure::Denied)], SECOND / 100, settings());
    assert_eq!(w.read("a", Freshness::Cached).await, Ok(None));
    assert_eq!(w.read("a", Freshness::Cached).await, Ok(None));
    assert_eq!(w.store.requests(), 1);
    for n in 2..4 {
        assert_eq!(w.read("b", Freshness::Cached).await.unwrap_err().failure, Failure::Denied);
        assert_eq!(w.store.requests(), n);
    }
    // An error leaves what is known where it is.
    assert_eq!(w.fails("a").await.failure, Failure::Denied);
    assert_eq!(w.read("a", Freshness::Cached).await, Ok(None));
}

#[tokio::test(start_paused = true)]
async fn lists_go_the_same_way() {
    let w = world([Does::Value], SECOND / 100, settings());
    let access = Access { requester: "test", trace_id: "0", freshness: Freshness::Cached };
    let lists = join_all((0..100).map(|_| w.layers.list("acme--", &access))).await;
    assert!(lists.iter().all(|l| l.as_ref().unwrap()[0].as_str() == "acme--a"));
    assert_eq!(w.store.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_goes_takes_its_values_along() {
    let w = world([Does::Value], SECOND / 100, settings());
    w.read("a", Freshness::Cached).await.unwrap();
    assert!(w.cache.bytes() > 0);
    drop(w.layers);
    assert_eq!(w.cache.bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_readers_are_one_read() {
    let w = world([Does::Value], SECOND / 10, settings());
    let values = join_all((0..1000).map(|_| w.read("a", Freshness::PastCache))).await;
    assert!(values.iter().all(|v| v.as_ref().unwrap().is_some()));
    assert_eq!(w.store.requests(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failure_is_tried_again_and_then_forgotten() {
    let w = world([DOWN, DOWN, DOWN, Does::Value], SECOND / 100, settings());
    let start = Instant::now();
    assert!(w.read("a", Freshness::Cached).await.unwrap().is_some());
    assert_eq!(w.store.requests(), 4);
    let waited = start.elapsed().as_secs_f64();
    assert!((4.4..6.9).contains(&waited), "{waited}");
    assert_eq!(w.layers.circuit(), Circuit::Closed);
    assert!(w.metrics.encode().contains(r#"secretref_store_retries_total{store="platform"} 3"#));
}

#[tokio::test(start_paused = true)]
async fn answers_are_not_tried_again() {
    for failure in [Failure::Denied, Failure::Unauthenticated, Failure::Disabled, Failure::Misconfigured] {
        let w = world([Does::Fail(failure)], SECOND / 100, settings());
        for n in 1..10 {
            assert_eq!(w.fails("a").await.failure, failure);
            assert_eq!(w.store.requests(), n);
        }
        assert_eq!(w.layers.circuit(), Circuit::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn five_failures_open_the_circuit_and_one_request_closes_it() {
    let w = world([DOWN], SECOND / 100, settings());
    assert_eq!(w.fails("a").await.failure, Failure::Unavailable);
    assert_eq!((w.store.requests(), w.layers.circuit()), (5, Circuit::Open));
    let refused = w.fails("b").await;
    assert_eq!(refused.failure, Failure::CircuitOpen);
    assert_eq!(&*refused.message, "vault store `platform` does not answer (5 failures in a row); next attempt in 5 s");
    assert_eq!(w.store.requests(), 5);
    assert_eq!(w.counted("circuit_open"), 1);
    assert!(w.metrics.encode().contains(r#"secretref_circuit_state{store="platform"} 2"#));

    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(w.layers.circuit(), Circuit::HalfOpen);
    w.store.then([Does::Value]);
    // It failed in its last cycle, and is the one that is let through.
    assert!(w.read("a", Freshness::Cached).await.is_ok());
    assert_eq!((w.store.requests(), w.layers.circuit()), (6, Circuit::Closed));
}

#[tokio::test(start_paused = true)]
async fn half_open_lets_one_through_and_survives_its_end() {
    let w = world([DOWN, DOWN, DOWN, DOWN, DOWN, Does::Value], SECOND, settings());
    w.fails("a").await;
    tokio::time::sleep(5 * SECOND).await;
    let keys: Vec<String> = (0..50).map(|n| format!("k{n}")).collect();
    // Given up before the store answers: the circuit must not stay half-open for ever.
    let given_up = tokio::time::timeout(SECOND / 2, w.read("a", Freshness::Cached)).await;
    assert!(given_up.is_err());
    assert_eq!((w.counted("cancelled"), w.layers.circuit()), (1, Circuit::HalfOpen));
    let answers = join_all(keys.iter().map(|key| w.read(key, Freshness::Cached))).await;
    let (good, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
    assert_eq!((good.len(), w.store.requests()), (1, 7));
    let message = &refused[0].as_ref().unwrap_err().message;
    assert!(message.ends_with("(5 failures in a row); an attempt is under way"), "{message}");
    assert_eq!(w.layers.circuit(), Circuit::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_goes_past_an_open_circuit() {
    let w = world([DOWN], SECOND / 100, settings());
    w.fails("a").await;
    assert_eq!(w.layers.probe().await.unwrap_err().failure, Failure::Unavailable);
    assert_eq!((w.store.requests(), w.layers.circuit()), (6, Circuit::Open));
    assert!(w.fails("a").await.message.contains("(6 failures in a row); next attempt in 10 s"));
    w.store.then([Does::Value]);
    assert!(w.layers.probe().await.unwrap().get);
    assert_eq!(w.layers.circuit(), Circuit::Closed);
    assert!(w.read("b", Freshness::PastCache).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_failed_last_time_gets_one_attempt() {
    let w = world([DOWN], SECOND / 100, settings());
    w.fails("a").await;
    // To be refused is no answer about it.
    assert_eq!(w.fails("a").await.failure, Failure::CircuitOpen);
    w.store.then([Does::Value]);
    w.layers.probe().await.unwrap();
    w.store.then([DOWN]);
    let before = w.store.requests();
    w.fails("a").await;
    assert_eq!(w.store.requests() - before, 1);
    // Another key is tried again: its fourth attempt opens the circuit, its fifth is the half-open one.
    w.fails("b").await;
    assert_eq!(w.store.requests() - before, 6);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_with_the_timeout_and_all_with_30_s() {
    let w = world([Does::Hang], Duration::ZERO, settings());
    let start = Instant::now();
    let error = w.fails("a").await;
    assert_eq!(error.failure, Failure::Unavailable);
    assert!(error.message.starts_with("vault store `platform` did not answer within"), "{}", error.message);
    let took = start.elapsed();
    assert!(took <= 30 * SECOND, "{took:?}");
    assert_eq!(w.store.requests(), 3);

    let error = w.fails("a").await;
    let message = "vault store `platform` did not answer within 10 s: look at its load and at the network, or raise limits.timeout";
    assert_eq!(&*error.message, message);
}

#[tokio::test(start_paused = true)]
async fn a_long_timeout_is_for_one_attempt() {
    let w = world([Does::Hang], Duration::ZERO, Settings { timeout: 60 * SECOND, ..settings() });
    w.fails("a").await;
    assert_eq!(w.store.requests(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_retry_after_holds_back_the_whole_store() {
    let limited = |seconds| Does::Fail(Failure::RateLimited(Some(seconds * SECOND)));
    let w = world([limited(42), limited(3), Does::Value], SECOND / 100, settings());
    assert_eq!(w.fails("a").await.failure, Failure::RateLimited(Some(42 * SECOND)));
    assert_eq!(w.layers.held_for(), Some(42 * SECOND));
    let held = w.fails("b").await;
    assert_eq!(held.failure, Failure::RateLimited(Some(42 * SECOND)));
    assert_eq!(&*held.message, "vault store `platform` asked to slow down; next request in 42 s");
    assert!(w.layers.probe().await.is_err());
    assert_eq!((w.store.requests(), w.layers.circuit()), (1, Circuit::Closed));
    assert_eq!(w.counted("held"), 2);

    tokio::time::sleep(42 * SECOND).await;
    assert_eq!(w.fails("a").await.failure, Failure::RateLimited(Some(3 * SECOND)));
    // A short one is waited for.
    let start = Instant::now();
    assert!(w.read("b", Freshness::PastCache).await.is_ok());
    assert!(start.elapsed() >= 3 * SECOND);
    assert_eq!(w.layers.held_for(), None);
}

#[tokio::test(start_paused = true)]
async fn who_stands_in_line_hears_that_the_store_went_silent() {
    // Who is refused takes no token: the line is empty long before there were tokens for all.
    let slow = Settings { requests_per_second: 1.0, burst: 6, max_concurrent: 2, ..settings() };
    let w = world([DOWN], SECOND, slow);
    let keys: Vec<String> = (0..200).map(|n| format!("k{n}")).collect();
    let start = Instant::now();
    let answers = join_all(keys.iter().map(|key| w.read(key, Freshness::PastCache))).await;
    assert!(answers.iter().all(Result::is_err));
    assert!(w.store.requests() <= 6, "{}", w.store.requests());
    assert!(start.elapsed() < 10 * SECOND, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_probe_does_not_stand_in_line() {
    let slow = Settings { requests_per_second: 2.0, burst: 1, max_concurrent: 2, ..settings() };
    let w = world([Does::Value], SECOND / 10, slow);
    let keys: Vec<String> = (0..100).map(|n| format!("k{n}")).collect();
    let all = join_all(keys.iter().map(|key| w.read(key, Freshness::PastCache)));
    let probe = async {
        tokio::time::sleep(SECOND / 10).await;
        let start = Instant::now();
        w.layers.probe().await.unwrap();
        start.elapsed()
    };
    let (_, waited) = futures::join!(all, probe);
    assert!(waited <= 2 * SECOND, "{waited:?}");
}

#[tokio::test(start_paused = true)]
async fn every_access_leaves_an_event() {
    let script =
        [Does::Value, Does::Nothing, Does::Fail(Failure::Denied), Does::Fail(Failure::Misconfigured), Does::Hang];
    let (w, events) = audited(script, SECOND / 100, settings());
    for key in ["acme--a", "acme--a", "acme--b", "acme--c", "acme--d"] {
        let _ = w.read(key, Freshness::Cached).await;
    }
    let access = Access { requester: "user/jane", trace_id: "t", freshness: Freshness::Cached };
    let given_up = tokio::time::timeout(SECOND, w.layers.list("GLOBAL--", &access)).await;
    assert!(given_up.is_err());
    assert_eq!(
        events(w),
        [
            event(OPERATOR, "get", "acme--a", "success"),
            event("test", "get", "acme--a", "success"),
            // From the cache.
            event("test", "get", "acme--a", "success"),
            event(OPERATOR, "get", "acme--b", "success"),
            event("test", "get", "acme--b", "success"),
            event(OPERATOR, "get", "acme--c", "denied"),
            event("test", "get", "acme--c", "denied"),
            event(OPERATOR, "get", "acme--d", "error"),
            event("test", "get", "acme--d", "error"),
            event(OPERATOR, "list", "GLOBAL--*", "error"),
            event("user/jane", "list", "GLOBAL--*", "error"),
        ]
    );
}

fn event(requester: &str, operation: &str, path: &str, result: &str) -> [String; 4] {
    [requester.to_owned(), operation.to_owned(), format!("vault/platform/{path}"), result.to_owned()]
}

#[tokio::test(start_paused = true)]
async fn a_poll_is_the_operators_and_what_is_not_sent_is_a_delivery_alone() {
    let (w, events) = audited([Does::Value, DOWN, DOWN, DOWN, DOWN, DOWN], SECOND / 100, settings());
    let poll = Access { requester: OPERATOR, trace_id: "t", freshness: Freshness::PastCache };
    let a = StoreKey::verbatim("a");
    w.layers.get(&a, None, &poll).await.unwrap();
    // Five attempts are one access; then the circuit is open.
    assert_eq!(w.fails("b").await.failure, Failure::Unavailable);
    assert_eq!(w.fails("c").await.failure, Failure::CircuitOpen);
    assert!(w.layers.get(&a, None, &poll).await.is_err());
    assert_eq!(
        events(w),
        [
            event(OPERATOR, "get", "a", "success"),
            event(OPERATOR, "get", "b", "error"),
            event("test", "get", "b", "error"),
            event("test", "get", "c", "error"),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn readers_of_one_request_are_a_delivery_each() {
    let (w, events) = audited([Does::Value], SECOND, settings());
    join_all((0..3).map(|_| w.read("a", Freshness::Cached))).await;
    let mut events = events(w);
    events.sort();
    let delivered = || event("test", "get", "a", "success");
    assert_eq!(events, [event(OPERATOR, "get", "a", "success"), delivered(), delivered(), delivered()]);
}

/// A new login at the same server.
#[tokio::test(start_paused = true)]
async fn a_new_session_keeps_limits_breaker_and_cache() {
    let limits = Settings { requests_per_second: 0.01, burst: 8, ..settings() };
    let w = world([Does::Value, DOWN], SECOND / 100, limits);
    w.read("a", Freshness::Cached).await.unwrap();
    // One of them is tried again.
    for key in ["b", "c", "d", "e"] {
        w.fails(key).await;
    }
    assert_eq!(w.store.requests(), 6);
    let new = scripted::Scripted::new([Does::Value], SECOND / 100);
    let renewed = w.layers.renewed(new.clone());
    let held = w.cache.bytes();
    drop(w.layers);
    assert_eq!((w.cache.bytes(), renewed.circuit()), (held, Circuit::Open));
    let access = Access { requester: "test", trace_id: "0", freshness: Freshness::Cached };
    assert!(renewed.get(&StoreKey::verbatim("a"), None, &access).await.unwrap().is_some());
    assert_eq!(new.requests(), 0);
    // The probe and one more are what is left of the burst.
    renewed.probe().await.unwrap();
    let start = Instant::now();
    for key in ["f", "g"] {
        renewed.get(&StoreKey::verbatim(key), None, &access).await.unwrap();
    }
    assert!(start.elapsed() > 10 * SECOND, "{:?}", start.elapsed());
    drop(renewed);
    assert_eq!(w.cache.bytes(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_value_is_in_no_log_and_no_metric() {
    let (log, logged) = crate::telemetry::tests::captured(crate::telemetry::LogFormat::Json, "trace");
    let w = world([DOWN, Does::Value, Does::Fail(Failure::Denied)], SECOND / 100, settings());
    for key in ["canary", "canary", "denied"] {
        let _ = w.read(key, Freshness::Cached).await;
    }
    drop(log);
    let logged = logged();
    assert!(logged.contains("store request") && logged.contains("trying again"), "{logged}");
    let lines = logged.lines().map(|l| serde_json::from_str::<serde_json::Value>(l).unwrap());
    for line in lines.filter(|l| l["message"] == "store request") {
        assert_eq!((&line["trace_id"], &line["store"]), (&"0".into(), &"platform".into()), "{line}");
    }
    // The scripted value is this and the key.
    assert!(!logged.contains("hunter2") && !w.metrics.encode().contains("hunter2"), "{logged}");
    // Keys are in logs and audit events, never in metrics.
    assert!(!w.metrics.encode().contains("canary"));
}

#[tokio::test(start_paused = true)]
async fn futures_can_move_between_threads() {
    let w = Arc::new(world([Does::Value], SECOND / 100, settings()));
    let task =
        tokio::spawn(async move { w.read("a", Freshness::Cached).await.is_ok() && w.layers.probe().await.is_ok() });
    assert!(task.await.unwrap());
}

#[test]
fn namespaced_stores_have_names_of_their_own() {
    let mut identity = Identity {
        kind: "SecretStore",
        namespace: Some("acme-prod".into()),
        name: "own".into(),
        uid: "uid".into(),
        generation: 1,
        provider: "vault",
    };
    assert_eq!((identity.label().as_str(), identity.path().as_str()), ("acme-prod/own", "acme-prod:own"));
    identity.namespace = None;
    assert_eq!((identity.label().as_str(), identity.path().as_str()), ("own", "own"));
}

#[derive(Clone, Debug)]
struct Caller {
    at: u64,
    key: u8,
    given_up_after: Option<u64>,
}

fn caller() -> impl Strategy<Value = Caller> {
    (0_u64..20_000, 0_u8..40, prop::option::weighted(0.2, 0_u64..5_000)).prop_map(|(at, key, given_up_after)| Caller {
        at,
        key,
        given_up_after,
    })
}

fn does() -> impl Strategy<Value = Does> {
    prop_oneof![
        6 => Just(Does::Value),
        2 => Just(DOWN),
        1 => Just(Does::Hang),
        1 => Just(Does::Nothing),
        1 => Just(Does::Fail(Failure::Denied)),
        1 => Just(Does::Fail(Failure::RateLimited(None))),
        1 => (0_u32..10).prop_map(|s| Does::Fail(Failure::RateLimited(Some(s * SECOND)))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Whatever the store does, and whoever gives up: the store never gets more than its limits, and nobody hangs.
    #[test]
    fn the_store_never_gets_more_than_its_limits(
        callers in prop::collection::vec(caller(), 1..120),
        script in prop::collection::vec(does(), 1..60),
        rate in 0.5..50.0,
        burst in 1_u32..20,
        max_concurrent in 1_usize..6,
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let limits = Settings { requests_per_second: rate, burst, max_concurrent, ..settings() };
            // At the end it works again.
            let w = world(script.into_iter().chain([Does::Value]), SECOND / 20, limits);
            let all = callers.iter().map(|caller| {
                let w = &w;
                async move {
                    tokio::time::sleep(Duration::from_millis(caller.at)).await;
                    let key = caller.key.to_string();
                    let read = w.read(&key, Freshness::PastCache);
                    match caller.given_up_after {
                        Some(after) => _ = tokio::time::timeout(Duration::from_millis(after), read).await,
                        None => _ = read.await,
                    }
                }
            });
            join_all(all).await;
            let sent = w.store.sent.lock().unwrap().clone();
            for (i, first) in sent.iter().enumerate() {
                for (n, last) in sent[i..].iter().enumerate() {
                    let allowed = f64::from(burst) + rate * (*last - *first).as_secs_f64();
                    prop_assert!((n + 1) as f64 <= allowed + 1e-6);
                }
            }
            prop_assert!(w.store.most_in_flight.load(Ordering::SeqCst) <= max_concurrent);
            prop_assert_eq!(w.store.in_flight.load(Ordering::SeqCst), 0);
            // Every request is counted once, also those that nobody waited for.
            let held_here = w.counted("held") + w.counted("circuit_open");
            let counted: usize = crate::telemetry::STORE_RESULTS.iter().map(|r| w.counted(r)).sum();
            prop_assert_eq!(counted - held_here, sent.len());
            // Nothing is left behind: after the longest pause, a request goes through.
            tokio::time::sleep(61 * SECOND).await;
            w.store.then([Does::Value]);
            prop_assert!(w.read("last", Freshness::PastCache).await.is_ok());
            prop_assert_eq!(w.layers.circuit(), Circuit::Closed);
            Ok(())
        })?;
    }
}
