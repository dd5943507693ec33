//! What is in the store comes out of it.

use reqwest::Method;
use secretref::stores::{Failure, Property};
use serde_json::{Value, json};

use crate::env::{Bao, error, json_property, key, map, text};

#[tokio::test]
async fn every_kind_of_value() {
    let bao = Bao::new("values").await;
    let control = "canary-\u{0}\u{1f}\u{7f}\n\t\"\\";
    bao.put(
        "acme--all",
        json!({
            "value": "canary-ü漢🔑", "control": control, "empty": "", "null": null, "number": 5, "float": 1.5,
            "large": 9_007_199_254_740_991_u64, "bool": true, "list": [1, "canary-x y", null], "map": {"b": {"c": "d e"}},
            "tls.crt": "canary-pem", "long": format!("canary-{}", "x".repeat(500_000)),
        }),
    )
    .await;
    let store = bao.reader().await;
    let stored = store.get(&key("acme--all"), None).await.unwrap().unwrap();
    let map = map(&stored);
    assert_eq!(map["value"], text("canary-ü漢🔑"));
    assert_eq!(map["control"], text(control));
    assert_eq!((&map["empty"], &map["null"]), (&text(""), &Property::Null));
    assert_eq!((&map["number"], &map["float"]), (&json_property("5"), &json_property("1.5")));
    assert_eq!((&map["large"], &map["bool"]), (&json_property("9007199254740991"), &json_property("true")));
    assert_eq!(map["list"], json_property(r#"[1,"canary-x y",null]"#));
    assert_eq!(map["map"], json_property(r#"{"b":{"c":"d e"}}"#));
    assert_eq!(map["tls.crt"], text("canary-pem"));
    let Property::Text(long) = &map["long"] else { panic!() };
    assert_eq!(long.len(), 500_007);
    assert_eq!((map.len(), stored.version.as_deref(), stored.warning), (12, Some("1"), None));

    bao.put("acme--none", json!({})).await;
    let stored = store.get(&key("acme--none"), None).await.unwrap().unwrap();
    assert!(crate::env::map(&stored).is_empty());
    assert_eq!(bao.asked("read", "secret/data/acme--all"), 1, "one request for one read");
}

#[tokio::test]
async fn versions_and_change_tokens() {
    let bao = Bao::new("versions").await;
    let store = bao.reader().await;
    bao.put("acme--v", json!({ "value": "canary-1" })).await;
    let first = store.get(&key("acme--v"), None).await.unwrap().unwrap();
    assert_eq!(store.get(&key("acme--v"), None).await.unwrap().unwrap().token, first.token);
    bao.put("acme--v", json!({ "value": "canary-2" })).await;
    let second = store.get(&key("acme--v"), None).await.unwrap().unwrap();
    assert_ne!(second.token, first.token);
    assert_eq!(second.version.as_deref(), Some("2"));
    assert_eq!(store.get(&key("acme--v"), Some("1")).await.unwrap().unwrap(), first);
    assert_eq!(store.get(&key("acme--v"), Some("3")).await.unwrap(), None);
    for version in ["0", "x", "-1", "1&list=true", ""] {
        error(store.get(&key("acme--v"), Some(version)).await, Failure::Misconfigured, "version");
    }

    // Removed with its history and written again, the number repeats; the token does not.
    bao.must(Method::DELETE, "secret/metadata/acme--v", Value::Null).await;
    assert_eq!(store.get(&key("acme--v"), None).await.unwrap(), None);
    bao.put("acme--v", json!({ "value": "canary-3" })).await;
    let again = store.get(&key("acme--v"), None).await.unwrap().unwrap();
    assert_eq!(again.version, first.version);
    assert_ne!(again.token, first.token);
}

#[tokio::test]
async fn a_version_that_the_store_will_delete_is_a_warning() {
    let bao = Bao::new("expiring").await;
    bao.must(Method::POST, "secret/metadata/acme--e", json!({ "delete_version_after": "1h" })).await;
    bao.put("acme--e", json!({ "value": "canary-1" })).await;
    let stored = bao.reader().await.get(&key("acme--e"), None).await.unwrap().unwrap();
    assert!(stored.warning.unwrap().contains("deletes version 1"));
}

#[tokio::test]
async fn names_that_need_encoding() {
    let bao = Bao::new("names").await;
    let store = bao.reader().await;
    for (name, encoded) in [
        ("acme--a b", "acme--a%20b"),
        ("acme--ä#?%25", "acme--%C3%A4%23%3F%2525"),
        ("acme--A_b.c", "acme--A_b.c"),
        ("acme/team/x+y", "acme/team/x%2By"),
    ] {
        bao.put(encoded, json!({ "value": format!("canary-{name}") })).await;
        let stored = store.get(&key(name), None).await.unwrap().unwrap();
        assert_eq!(map(&stored)["value"], text(&format!("canary-{name}")));
    }
    assert!(store.list("acme--").await.unwrap().contains(&key("acme--ä#?%25")));
    for name in ["", "a//b", "a/../b", "../../sys/health", "a/.", "/a"] {
        error(store.get(&key(name), None).await, Failure::Misconfigured, "reading");
    }
}

#[tokio::test]
async fn lists_by_prefix() {
    let bao = Bao::new("list").await;
    let store = bao.reader().await;
    assert!(store.list("acme--").await.unwrap().is_empty());
    for name in
        ["acme--a", "acme--b/c", "acme--b/d/e", "acme-corp--a", "acme/pay/x", "acme/pay/y/z", "acme/q", "GLOBAL--a"]
    {
        bao.put(name, json!({ "value": "canary-1" })).await;
    }
    let listed = async |prefix: &str| {
        let mut keys: Vec<String> = store.list(prefix).await.unwrap().iter().map(ToString::to_string).collect();
        keys.sort();
        keys.join(" ")
    };
    assert_eq!(listed("acme--").await, "acme--a acme--b/c acme--b/d/e");
    assert_eq!(listed("acme/").await, "acme/pay/x acme/pay/y/z acme/q");
    assert_eq!(listed("acme/pay").await, "acme/pay/x acme/pay/y/z");
    assert_eq!(listed("acme/pay/y/").await, "acme/pay/y/z");
    assert_eq!(listed("GLOBAL--").await, "GLOBAL--a");
    assert_eq!(listed("beta--").await, "");
    assert_eq!(listed("beta/x/").await, "");

    bao.put(&format!("deep{}", "/f".repeat(12)), json!({ "value": "canary-1" })).await;
    error(store.list("deep").await, Failure::Misconfigured, "folders");
}
