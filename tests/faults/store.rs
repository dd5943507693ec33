//! A real OpenBao behind a proxy that does what servers and networks do on bad days. Each fault has its reason in the
//! status, the Secret is not written, and what changed meanwhile arrives when the fault is over.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    fault_proxy::Fault,
    harness::{Operator, condition, plant, wait_until},
    scene::{Kept, LONG, Scene, leads},
};

const DENIED: &str = r#"{"errors":["permission denied"]}"#;
const PAGE: &str = "<html><body>Please log in</body></html>";

async fn stage() -> (Scene, Operator) {
    let scene = Scene::new().await;
    let operator = scene.straight().await;
    leads(&operator).await;
    scene.in_place("app").await;
    (scene, operator)
}

/// A fault comes and goes. The reference says why, the store too, and nothing else is to be seen of it.
async fn comes_and_goes(fault: Fault, reason: &str) {
    let (scene, operator) = stage().await;
    let (kept, generation) = (Kept::of(&scene.acme, "app").await, scene.generation("app").await);
    scene.way.fault(Some(fault)).await;
    scene.fails("app", reason).await;
    scene
        .acme
        .until("SecretStore", "store", reason, |store| {
            let ready = condition(store, "Ready");
            ready["status"] == "False" && ready["reason"] == reason
        })
        .await;
    let reference = scene.acme.get("SecretReference", "app").await.unwrap();
    assert_eq!(condition(&reference, "Ready")["status"], "True", "the last good content is there: {reference}");
    kept.check().await;
    let value = scene.put("app").await;
    scene.way.fault(None).await;
    scene.holds("app", &value).await;
    scene.finished("app").await;
    assert_eq!(scene.generation("app").await, generation + 1, "one restart for one change");
    scene.done(&[&operator]).await;
}

#[tokio::test]
async fn no_connection() {
    comes_and_goes(Fault::Down, "StoreUnavailable").await;
}

#[tokio::test]
async fn no_answer() {
    comes_and_goes(Fault::Silence, "StoreUnavailable").await;
}

#[tokio::test]
async fn an_answer_that_hangs_in_the_middle() {
    comes_and_goes(Fault::Hangs, "StoreUnavailable").await;
}

#[tokio::test]
async fn connections_that_are_reset() {
    comes_and_goes(Fault::CutShort, "StoreUnavailable").await;
}

#[tokio::test]
async fn too_many_requests_with_a_time() {
    comes_and_goes(Fault::Status(429, Some(2), r#"{"errors":["request path is rate limited"]}"#), "RateLimited").await;
}

#[tokio::test]
async fn too_many_requests_without_one() {
    comes_and_goes(Fault::Status(429, None, r#"{"errors":["request path is rate limited"]}"#), "RateLimited").await;
}

#[tokio::test]
async fn an_error_500() {
    comes_and_goes(Fault::Status(500, None, r#"{"errors":["canary-of-the-server"]}"#), "StoreUnavailable").await;
}

#[tokio::test]
async fn an_error_502() {
    comes_and_goes(Fault::Status(502, None, "<html>bad gateway</html>"), "StoreUnavailable").await;
}

#[tokio::test]
async fn an_error_503() {
    comes_and_goes(Fault::Status(503, None, "upstream connect error"), "StoreUnavailable").await;
}

/// Not even the requests that anybody may make get through: it is no question of the login.
#[tokio::test]
async fn a_401_in_mid_life() {
    comes_and_goes(Fault::Status(401, None, DENIED), "PermissionDenied").await;
}

#[tokio::test]
async fn a_403_in_mid_life() {
    comes_and_goes(Fault::Status(403, None, DENIED), "PermissionDenied").await;
}

/// The first probe fails and the second one does not: what was synced in between says no longer that nobody knows.
#[tokio::test]
async fn the_very_first_probe_fails() {
    let scene = Scene::new().await;
    let value = scene.put("app").await;
    scene.way.fault(Some(Fault::Status(503, None, "upstream connect error"))).await;
    let operator = scene.straight().await;
    leads(&operator).await;
    scene.reference("app", "app").await;
    let asked = |s: &Scene| s.way.requests().iter().filter(|r| r.contains("sys/health")).count();
    wait_until("the store is probed", LONG, || async {
        if asked(&scene) > 0 { Ok(()) } else { Err("it is not".to_owned()) }
    })
    .await;
    scene.way.fault(None).await;
    scene.holds("app", &value).await;
    scene.finished("app").await;
    scene.done(&[&operator]).await;
}

#[tokio::test]
async fn a_page_with_status_200() {
    comes_and_goes(Fault::Status(200, None, PAGE), "StoreMisconfigured").await;
}

#[tokio::test]
async fn truncated_json() {
    comes_and_goes(Fault::Status(200, None, r#"{"data":{"data":{"value":"canary-"#), "StoreMisconfigured").await;
}

#[tokio::test]
async fn json_of_something_else() {
    comes_and_goes(Fault::Status(200, None, r#"{"data":{"value":"canary-of-another"}}"#), "StoreMisconfigured").await;
}

#[tokio::test]
async fn a_body_without_end() {
    comes_and_goes(Fault::Endless, "StoreMisconfigured").await;
}

/// Credentials never follow: the other host is not even asked.
#[tokio::test]
async fn a_redirect_to_another_host() {
    let thief = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", thief.local_addr().unwrap());
    let visits = Arc::new(AtomicUsize::new(0));
    let seen = visits.clone();
    let listens = tokio::spawn(async move {
        while thief.accept().await.is_ok() {
            seen.fetch_add(1, Ordering::SeqCst);
        }
    });
    comes_and_goes(Fault::Redirect(address), "StoreMisconfigured").await;
    assert_eq!(visits.load(Ordering::SeqCst), 0, "it went there");
    listens.abort();
}

/// The server's certificate is replaced, and the CA too; the operator takes the new one when it is where the store says.
#[tokio::test]
async fn the_certificate_and_its_ca_are_replaced() {
    let (scene, operator) = stage().await;
    let kept = Kept::of(&scene.acme, "app").await;
    let ca = scene.way.rotate().await;
    scene.fails("app", "StoreUnavailable").await;
    // A reference follows its store, and says what a read of its own met, whichever came last: the store says why.
    scene
        .acme
        .until("SecretStore", "store", "not ready, for its CA", |store| {
            let ready = condition(store, "Ready");
            ready["reason"] == "StoreUnavailable" && ready["message"].as_str().is_some_and(|m| m.contains("CA"))
        })
        .await;
    kept.check().await;
    let value = scene.put("app").await;
    scene.put_ca(&ca).await;
    scene.holds("app", &value).await;
    scene.finished("app").await;
    scene.done(&[&operator]).await;
}

/// The store's name is not to be found any more, and then it is.
#[tokio::test]
async fn its_name_is_not_found() {
    let (scene, operator) = stage().await;
    let kept = Kept::of(&scene.acme, "app").await;
    scene.put_store("https://secretref.invalid:443", &scene.way.ca, json!({})).await;
    scene.fails("app", "StoreUnavailable").await;
    kept.check().await;
    let value = scene.put("app").await;
    scene.put_store(&scene.way.address, &scene.way.ca, json!({})).await;
    scene.holds("app", &value).await;
    scene.finished("app").await;
    scene.done(&[&operator]).await;
}

/// The token is revoked at a real OpenBao, and the next one is put where the store looks for it.
#[tokio::test]
async fn the_token_is_revoked() {
    let (scene, operator) = stage().await;
    let kept = Kept::of(&scene.acme, "app").await;
    let token = scene.acme.data("token").await.unwrap()["token"].as_str().unwrap().to_owned();
    scene.bao.revoke(&token).await;
    scene.fails("app", "AuthenticationFailed").await;
    kept.check().await;
    let value = scene.put("app").await;
    scene.acme.secret("token", &json!({ "token": scene.bao.token(&["reader"]).await })).await;
    scene.holds("app", &value).await;
    scene.finished("app").await;
    scene.done(&[&operator]).await;
}

/// Two properties of one secret, which is written all the time: a target never holds one of each version.
#[tokio::test]
async fn a_secret_that_changes_between_two_reads_of_one_sync() {
    let (scene, operator) = stage().await;
    let both = |value: &str| json!({ "a": value, "b": value });
    scene.bao.put("acme--pair", both(&plant("pair"))).await;
    let property =
        |key: &str, property: &str| json!({ "key": key, "secretRef": { "name": "pair", "property": property } });
    let mut spec = Scene::spec("pair");
    spec["data"] = json!([property("A", "a"), property("B", "b")]);
    spec["dataFrom"] = json!([{ "extract": { "name": "pair" } }]);
    scene.acme.reference("pair", &spec).await;
    let mut seen = std::collections::BTreeSet::new();
    let whole = |data: &Value| ["B", "a", "b"].iter().all(|key| data[*key] == data["A"]);
    let begun = std::time::Instant::now();
    while seen.len() < 4 {
        assert!(begun.elapsed() < LONG, "versions that were seen: {seen:?}");
        scene.bao.put("acme--pair", both(&plant("pair"))).await;
        let Some(data) = scene.acme.data("pair").await else { continue };
        assert!(whole(&data), "half of one version and half of another: {data}");
        seen.insert(data["A"].to_string());
    }
    scene.done(&[&operator]).await;
}
