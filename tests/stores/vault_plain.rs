//! Mounts of KV version 1, which are read.

use std::sync::Arc;

use reqwest::Method;
use secretref::{
    api::Capabilities,
    stores::{Failure, Store, VersionState, When},
};
use serde_json::{Value, json};

use crate::{
    env::{Bao, by_token, documented, error, eventually, json_property, key, map, text},
    writes::{single, write},
};

/// A version 1 mount at `one`, and a reader with the documented rights on it.
async fn plain(name: &str) -> (Bao, Arc<dyn Store>) {
    let bao = Bao::new(name).await;
    bao.mount("one", "kv", "1").await;
    bao.policy("reader", documented("vault kv1 reader")).await;
    let store = at_one(&bao).await;
    (bao, store)
}

async fn at_one(bao: &Bao) -> Arc<dyn Store> {
    let mut settings = bao.settings(by_token());
    settings.mount = Some("one".into());
    bao.with(settings, &[("token", &bao.token(json!({ "policies": ["reader"] })).await)])
}

#[tokio::test]
async fn values_and_names_are_read() {
    let (bao, store) = plain("kv1").await;
    let put = async |name: &str, data: Value| {
        bao.must(Method::POST, &format!("one/{name}"), data).await;
    };
    put("acme--a", json!({ "value": "canary-1", "number": 5, "map": { "b": "c d" } })).await;
    put("acme--b", json!({ "value": "canary-1" })).await;
    put("acme/team/c", json!({ "value": "canary-1" })).await;
    // Without a probe before: the store finds out by itself, and then asks once for one read.
    let stored = store.get(&key("acme--a"), None).await.unwrap().unwrap();
    let found = map(&stored);
    assert_eq!((&found["value"], &found["number"]), (&text("canary-1"), &json_property("5")));
    assert_eq!((&found["map"], stored.version.as_deref()), (&json_property(r#"{"b":"c d"}"#), None));
    let asked = bao.asked("read", "one/");
    assert_eq!(store.get(&key("acme--b"), None).await.unwrap().unwrap().payload, {
        crate::writes::properties([("value", text("canary-1"))])
    });
    assert_eq!(bao.asked("read", "one/"), asked + 1);
    assert_eq!(bao.asked("read", "sys/internal/ui/mounts/one"), 1);

    // The mark is that of the content: the same when it is written again, and another for another key.
    let token = async |name: &str| store.get(&key(name), None).await.unwrap().unwrap().token;
    assert_eq!(token("acme--a").await, stored.token);
    assert_ne!(token("acme--b").await, token("acme/team/c").await);
    put("acme--a", json!({ "map": { "b": "c d" }, "number": 5, "value": "canary-1" })).await;
    assert_eq!(token("acme--a").await, stored.token);
    put("acme--a", json!({ "value": "canary-2", "number": 5, "map": { "b": "c d" } })).await;
    assert_ne!(token("acme--a").await, stored.token);
    assert!(!stored.token.as_str().contains("canary-"));

    assert_eq!(store.get(&key("acme--missing"), None).await.unwrap(), None);
    bao.must(Method::DELETE, "one/acme--b", Value::Null).await;
    assert_eq!(store.get(&key("acme--b"), None).await.unwrap(), None);
    assert_eq!(store.list("acme--").await.unwrap(), [key("acme--a")]);
    assert_eq!(store.list("acme/").await.unwrap(), [key("acme/team/c")]);
    assert!(store.list("beta--").await.unwrap().is_empty());
    assert_eq!(store.probe().await.unwrap(), Capabilities { get: true, list: true, write: false });

    // A fresh store lists and probes as well, without having read.
    assert_eq!(at_one(&bao).await.list("acme--").await.unwrap(), [key("acme--a")]);
    assert_eq!(at_one(&bao).await.get(&key("acme--missing"), None).await.unwrap(), None);
    assert_eq!(at_one(&bao).await.probe().await.unwrap(), Capabilities { get: true, list: true, write: false });
}

#[tokio::test]
async fn it_is_never_written_and_has_no_versions() {
    let (bao, _) = plain("kv1-writes").await;
    bao.policy("reader", r#"path "one/*" { capabilities = ["create", "read", "update", "delete", "list"] }"#).await;
    bao.must(Method::POST, "one/acme--a", json!({ "value": "canary-1" })).await;
    let store = at_one(&bao).await;
    let plain = write(single("canary-2"), When::Always);
    for wanted in [key("acme--a"), key("acme--new")] {
        error(store.set(&wanted, &plain).await, Failure::Misconfigured, "enable-versioning one");
        error(store.delete(&wanted).await, Failure::Misconfigured, "read only");
        error(store.restore(&wanted, "1").await, Failure::Misconfigured, "keeps no versions");
        error(store.versions(&wanted).await, Failure::Misconfigured, "keeps no versions");
        error(store.get(&wanted, Some("1")).await, Failure::Misconfigured, "remove secretRef.version");
    }
    assert_eq!(store.metadata(&key("acme--a")).await.unwrap().unwrap().state, VersionState::Enabled);
    assert_eq!(store.metadata(&key("acme--new")).await.unwrap(), None);
    let features = store.features();
    assert!(!(features.write || features.versions || features.undelete || features.tags));
    let kept = bao.must(Method::GET, "one/acme--a", Value::Null).await;
    assert_eq!(kept["data"], json!({ "value": "canary-1" }));
    assert_eq!(bao.call(Method::GET, "one/data/acme--new", Value::Null).await.0, 404);
}

#[tokio::test]
async fn a_key_of_version_1_is_not_taken_for_one_of_version_2() {
    let (bao, store) = plain("kv1-data").await;
    // As somebody may have written who took the mount for version 2.
    bao.must(Method::POST, "one/data/acme--a", json!({ "data": { "value": "canary-wrong" } })).await;
    assert_eq!(store.get(&key("acme--a"), None).await.unwrap(), None);
    bao.must(Method::POST, "one/acme--a", json!({ "value": "canary-right" })).await;
    assert_eq!(map(&store.get(&key("acme--a"), None).await.unwrap().unwrap())["value"], text("canary-right"));
    // A policy denies: the line is one for version 1.
    bao.policy("reader", r#"path "one/acme--*" { capabilities = ["read"] }"#).await;
    let store = at_one(&bao).await;
    assert!(store.get(&key("acme--a"), None).await.unwrap().is_some());
    error(store.get(&key("beta--a"), None).await, Failure::Denied, r#"path "one/beta--*" { capabilities = ["read"] }"#);
    error(store.list("acme--").await, Failure::Denied, r#"path "one/*" { capabilities = ["list"] }"#);
    assert_eq!(at_one(&bao).await.probe().await.unwrap(), Capabilities { get: true, list: false, write: false });
}

#[tokio::test]
async fn a_mount_that_is_upgraded_is_read_as_what_it_is() {
    let (bao, store) = plain("kv1-upgrade").await;
    bao.must(Method::POST, "one/acme--a", json!({ "value": "canary-1" })).await;
    assert!(store.get(&key("acme--a"), None).await.unwrap().is_some());
    bao.must(Method::POST, "sys/mounts/one/tune", json!({ "options": { "version": "2" } })).await;
    bao.policy("reader", r#"path "one/*" { capabilities = ["read", "list"] }"#).await;
    eventually("it is upgraded", || async { bao.call(Method::GET, "one/data/acme--a", Value::Null).await.0 == 200 })
        .await;
    // Until it is looked at again nothing is said to be missing.
    error(store.get(&key("acme--a"), None).await, Failure::Misconfigured, "check the address and mount");
    error(store.get(&key("acme--missing"), None).await, Failure::Misconfigured, "check the address and mount");
    store.probe().await.unwrap();
    assert_eq!(store.get(&key("acme--a"), None).await.unwrap().unwrap().version.as_deref(), Some("1"));
    assert_eq!(store.get(&key("acme--missing"), None).await.unwrap(), None);
    assert!(store.features().versions);
}
