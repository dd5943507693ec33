//! Secret ids that arrive wrapped, on a real OpenBao.

use std::sync::Arc;

use reqwest::Method;
use secretref::{api, stores::Failure};
use serde_json::{Value, json};

use crate::env::{Bao, by_role, documented, error, key, plant};

async fn bao(name: &str) -> (Bao, String) {
    let bao = Bao::new(name).await;
    bao.policy("reader", documented("vault reader")).await;
    bao.put("acme--a", json!({ "value": "canary-1" })).await;
    let (role, _) = bao.app_role(json!({ "token_policies": ["reader"] })).await;
    (bao, role)
}

/// What a request would have answered, wrapped.
async fn wrapped(bao: &Bao, path: &str) -> String {
    let request = bao.http.post(format!("{}/v1/{path}", bao.address)).header("X-Vault-Token", &bao.token);
    let request = request.header("X-Vault-Namespace", &bao.namespace).header("X-Vault-Wrap-TTL", "300s");
    let answer: Value = request.json(&json!({ "planted": "canary-x" })).send().await.unwrap().json().await.unwrap();
    plant(answer["wrap_info"]["token"].as_str().unwrap())
}

fn settings(bao: &Bao, role: &str) -> api::Vault {
    let mut auth = by_role(role);
    auth.app_role.as_mut().unwrap().secret_id_wrapped = Some(true);
    bao.settings(auth)
}

async fn revoke(bao: &Bao) {
    let accessors = bao.must(Method::from_bytes(b"LIST").unwrap(), "auth/token/accessors", Value::Null).await;
    for accessor in accessors["data"]["keys"].as_array().unwrap() {
        // A wrapping token that was used is gone by itself.
        bao.call(Method::POST, "auth/token/revoke-accessor", json!({ "accessor": accessor })).await;
    }
}

#[tokio::test]
async fn it_is_unwrapped_once_for_all_logins() {
    let (bao, role) = bao("wrapped").await;
    let token = wrapped(&bao, "auth/approle/role/op/secret-id").await;
    let store = bao.with(settings(&bao, &role), &[("secret-id", &format!("{token}\n"))]);
    let wanted = key("acme--a");
    let reads = futures::future::join_all((0..20).map(|_| store.get(&wanted, None))).await;
    assert!(reads.into_iter().all(|read| read.unwrap().is_some()));
    revoke(&bao).await;
    assert!(store.get(&wanted, None).await.unwrap().is_some(), "the secret id is still known");
    assert_eq!((store.logins(), bao.asked("update", "sys/wrapping/unwrap")), (2, 1));

    // After a restart, or for a thief: it is used up, and nobody tries it again and again.
    let late = bao.with(settings(&bao, &role), &[("secret-id", &token)]);
    for _ in 0..5 {
        error(late.get(&wanted, None).await, Failure::Unauthenticated, "somebody else may have its secret id");
    }
    assert_eq!(bao.asked("update", "sys/wrapping/lookup"), 2);
    // Its secret ids destroyed, as the sentence says: the next login fails, and says what to put where.
    bao.must(Method::DELETE, "auth/approle/role/op", Value::Null).await;
    revoke(&bao).await;
    error(store.get(&wanted, None).await, Failure::Unauthenticated, "new wrapping token");
}

#[tokio::test]
async fn a_token_that_was_put_in_its_place_is_refused_unopened() {
    let (bao, role) = bao("swapped").await;
    bao.must(Method::POST, "sys/auth/other", json!({ "type": "approle" })).await;
    bao.must(Method::POST, "auth/other/role/op", json!({})).await;
    for path in ["sys/wrapping/wrap", "auth/other/role/op/secret-id"] {
        let token = wrapped(&bao, path).await;
        let store = bao.with(settings(&bao, &role), &[("secret-id", &token)]);
        error(store.get(&key("acme--a"), None).await, Failure::Unauthenticated, "put it in place of the right one");
    }
    assert_eq!(bao.asked("update", "sys/wrapping/unwrap"), 0);
    assert_eq!(bao.asked("update", "auth/approle/login"), 0);

    // What is no wrapping token at all: a bare secret id, an ordinary token, nothing.
    let (_, secret) = bao.app_role(json!({ "token_policies": ["reader"] })).await;
    let ordinary = bao.token(json!({ "policies": ["reader"] })).await;
    for wrong in [secret.as_str(), &ordinary, "", "two words"] {
        let store = bao.with(settings(&bao, &role), &[("secret-id", wrong)]);
        let failed = store.get(&key("acme--a"), None).await;
        error(failed, Failure::Unauthenticated, "wrapping token");
    }
    assert_eq!(bao.asked("update", "auth/approle/login"), 0);
    let missing = bao.with(settings(&bao, &role), &[]);
    error(missing.get(&key("acme--a"), None).await, Failure::NotReady, "create it");
}

/// Without the flag a wrapping token is a wrong secret id: nothing is unwrapped by guessing.
#[tokio::test]
async fn only_when_told() {
    let (bao, role) = bao("unflagged").await;
    let token = wrapped(&bao, "auth/approle/role/op/secret-id").await;
    let store = bao.with(bao.settings(by_role(&role)), &[("secret-id", &token)]);
    error(store.get(&key("acme--a"), None).await, Failure::Unauthenticated, "secret id");
    assert_eq!(bao.asked("update", "sys/wrapping"), 0);
    let store = bao.with(settings(&bao, &role), &[("secret-id", &token)]);
    assert!(Arc::clone(&store).get(&key("acme--a"), None).await.unwrap().is_some());
}
