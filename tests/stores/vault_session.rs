//! One login for all, renewed, and replaced when it is gone.

use std::time::{Duration, Instant};

use futures::StreamExt;
use reqwest::Method;
use secretref::stores::Failure;
use serde_json::json;

use crate::env::{Bao, by_role, by_token, documented, error, key};

async fn bao(name: &str) -> Bao {
    let bao = Bao::new(name).await;
    bao.policy("reader", documented("vault reader")).await;
    bao.put("acme--a", json!({ "value": "canary-1" })).await;
    bao
}

#[tokio::test]
async fn one_login_serves_all() {
    let bao = bao("shared").await;
    let (role, secret) = bao.app_role(json!({ "token_policies": ["reader"] })).await;
    let store = bao.with(bao.settings(by_role(&role)), &[("secret-id", &secret)]);
    let wanted = key("acme--a");
    let reads = (0..50).map(|_| store.get(&wanted, None));
    assert!(futures::future::join_all(reads).await.into_iter().all(|r| r.unwrap().is_some()));
    assert_eq!((store.logins(), bao.asked("update", "auth/approle/login")), (1, 1));
    assert_eq!(bao.asked("read", "secret/data/acme--a"), 50);
}

#[tokio::test]
async fn a_revoked_token_is_replaced_at_the_next_read() {
    let bao = bao("revoked").await;
    let (role, secret) = bao.app_role(json!({ "token_policies": ["reader"] })).await;
    let store = bao.with(bao.settings(by_role(&role)), &[("secret-id", &secret)]);
    assert!(store.get(&key("acme--a"), None).await.unwrap().is_some());
    let revoke = async || {
        let accessors =
            bao.must(Method::from_bytes(b"LIST").unwrap(), "auth/token/accessors", serde_json::Value::Null).await;
        for accessor in accessors["data"]["keys"].as_array().unwrap() {
            bao.must(Method::POST, "auth/token/revoke-accessor", json!({ "accessor": accessor })).await;
        }
    };
    revoke().await;
    let wanted = key("acme--a");
    let reads = (0..20).map(|_| store.get(&wanted, None));
    assert!(futures::future::join_all(reads).await.into_iter().all(|r| r.unwrap().is_some()));
    assert_eq!((store.logins(), bao.asked("update", "auth/approle/login")), (2, 2));
    assert_eq!(bao.asked("read", "auth/token/lookup-self"), 1);

    revoke().await;
    assert!(store.probe().await.unwrap().get, "the probe logs in, too");
    assert_eq!(store.logins(), 3);

    // Now the role is gone as well: rejected once, remembered, and never tried in a loop.
    revoke().await;
    bao.must(Method::DELETE, "auth/approle/role/op", serde_json::Value::Null).await;
    for _ in 0..20 {
        error(
            store.get(&wanted, None).await,
            Failure::Unauthenticated,
            "the AppRole login at auth/approle was rejected",
        );
    }
    error(store.probe().await, Failure::Unauthenticated, "secret id");
    assert!(store.maintain().await.unwrap() >= Duration::from_secs(5));
    assert_eq!(bao.asked("update", "auth/approle/login"), 4);
}

#[tokio::test]
async fn a_short_life_is_renewed_and_then_replaced_without_a_failed_read() {
    let bao = bao("short").await;
    let parameters = json!({ "token_policies": ["reader"], "token_ttl": "12s", "token_max_ttl": "27s" });
    let (role, secret) = bao.app_role(parameters).await;
    let store = bao.with(bao.settings(by_role(&role)), &[("secret-id", &secret)]);
    let begun = Instant::now();
    let mut next = Instant::now();
    while begun.elapsed() < Duration::from_secs(42) {
        if Instant::now() >= next {
            next = Instant::now() + store.maintain().await.unwrap();
        }
        assert!(store.get(&key("acme--a"), None).await.unwrap().is_some());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let renewals = bao.asked("update", "auth/token/renew-self");
    assert!(renewals >= 4, "{renewals} renewals");
    assert!((2..=3).contains(&store.logins()), "{} logins", store.logins());
    assert_eq!(bao.asked("read", "auth/token/lookup-self"), 0, "no read met a dead token");
}

#[tokio::test]
async fn a_thousand_reads_over_a_renewal_cost_one_login() {
    let bao = bao("renewal").await;
    let parameters = json!({ "token_policies": ["reader"], "token_ttl": "40s", "token_max_ttl": "1h" });
    let (role, secret) = bao.app_role(parameters).await;
    let store = bao.with(bao.settings(by_role(&role)), &[("secret-id", &secret)]);
    let wanted = key("acme--a");
    tokio::time::sleep(store.maintain().await.unwrap()).await;
    // As many at once as this machine can hold connections to: the layers let fewer through.
    let reads = futures::stream::iter((0..1000).map(|_| store.get(&wanted, None))).buffer_unordered(100);
    let reads = reads.all(async |read| read.unwrap().is_some());
    let (all, next) = tokio::join!(reads, store.maintain());
    assert!(all);
    assert!(next.unwrap() > Duration::from_secs(10), "it was renewed");
    assert_eq!((store.logins(), bao.asked("update", "auth/approle/login")), (1, 1));
    assert_eq!(bao.asked("update", "auth/token/renew-self"), 1);
    assert_eq!(bao.asked("read", "secret/data/acme--a"), 1000);
}

#[tokio::test]
async fn without_upkeep_an_expired_session_is_replaced() {
    let bao = bao("expired").await;
    let parameters = json!({ "token_policies": ["reader"], "token_ttl": "8s", "token_max_ttl": "8s" });
    let (role, secret) = bao.app_role(parameters).await;
    let store = bao.with(bao.settings(by_role(&role)), &[("secret-id", &secret)]);
    assert!(store.get(&key("acme--a"), None).await.unwrap().is_some());
    tokio::time::sleep(Duration::from_secs(9)).await;
    assert!(store.get(&key("acme--a"), None).await.unwrap().is_some());
    assert_eq!(store.logins(), 2);
}

#[tokio::test]
async fn a_token_of_few_uses_is_replaced() {
    let bao = bao("uses").await;
    let parameters = json!({ "token_policies": ["reader"], "token_num_uses": 3 });
    let (role, secret) = bao.app_role(parameters).await;
    let store = bao.with(bao.settings(by_role(&role)), &[("secret-id", &secret)]);
    for _ in 0..7 {
        assert!(store.get(&key("acme--a"), None).await.unwrap().is_some());
    }
    assert_eq!(store.logins(), 3);
}

#[tokio::test]
async fn a_batch_token_is_replaced_before_it_ends() {
    let bao = bao("batch").await;
    let parameters = json!({ "token_policies": ["reader"], "token_type": "batch", "token_ttl": "15s" });
    let (role, secret) = bao.app_role(parameters).await;
    let store = bao.with(bao.settings(by_role(&role)), &[("secret-id", &secret)]);
    let wait = store.maintain().await.unwrap();
    assert!(wait > Duration::from_secs(1) && wait < Duration::from_secs(15), "{wait:?}");
    tokio::time::sleep(wait).await;
    store.maintain().await;
    assert_eq!((store.logins(), bao.asked("update", "auth/token/renew-self")), (2, 0));
}

#[tokio::test]
async fn a_token_from_a_secret() {
    let bao = bao("token").await;
    let token = bao.token(json!({ "policies": ["reader"], "ttl": "1h" })).await;
    let store = bao.with_token(&format!("  {token}\r\n"));
    assert!(store.get(&key("acme--a"), None).await.unwrap().is_some());
    let next = store.maintain().await.unwrap();
    assert!(next > Duration::from_secs(29 * 60) && next < Duration::from_secs(31 * 60), "{next:?}");

    for (wrong, part) in
        [("s.nonsense", "no longer"), ("two\nlines", "bare token"), ("", "bare token"), ("ä", "no longer")]
    {
        let store = bao.with_token(wrong);
        for _ in 0..5 {
            error(store.get(&key("acme--a"), None).await, Failure::Unauthenticated, part);
        }
        assert_eq!(store.logins(), 0);
    }
    assert!(bao.asked("read", "auth/token/lookup-self") <= 3, "rejected tokens are not tried again and again");
    let missing = bao.with(bao.settings(by_token()), &[]);
    error(missing.get(&key("acme--a"), None).await, Failure::NotReady, "create it");

    bao.must(Method::POST, "auth/token/revoke", json!({ "token": token })).await;
    error(store.get(&key("acme--a"), None).await, Failure::Unauthenticated, "put a new one");
    error(store.probe().await, Failure::Unauthenticated, "put a new one");
}

#[tokio::test]
async fn a_static_token_is_renewed_by_upkeep_until_its_maximum() {
    let bao = bao("static").await;
    let token = bao.token(json!({ "policies": ["reader"], "ttl": "12s", "explicit_max_ttl": "36s" })).await;
    let store = bao.with_token(&token);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(24) {
        let next = store.maintain().await.unwrap();
        assert!(store.get(&key("acme--a"), None).await.unwrap().is_some(), "{:?}", begun.elapsed());
        tokio::time::sleep(next.min(Duration::from_millis(300))).await;
    }
    tokio::time::sleep(Duration::from_secs(13)).await;
    error(store.get(&key("acme--a"), None).await, Failure::Unauthenticated, "put a new one");
    assert_eq!(store.logins(), 1, "it is the same token all the time");
}

#[tokio::test]
async fn without_the_default_policy_a_token_still_reads() {
    let bao = bao("bare").await;
    let token = bao.token(json!({ "policies": ["reader"], "no_default_policy": true })).await;
    let store = bao.with_token(&token);
    assert!(store.get(&key("acme--a"), None).await.unwrap().is_some());
    assert_eq!(store.get(&key("acme--missing"), None).await.unwrap(), None);
    assert!(store.probe().await.unwrap().get);
}
