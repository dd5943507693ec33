//! Writes to a real OpenBao, by a login that has the documented writer's rights and no other.

use std::sync::Arc;

use reqwest::Method;
use secretref::{
    api::Capabilities,
    stores::{Failure, Payload, Property, Store, VersionState, When, Write, Written},
};
use serde_json::{Value, json};

use crate::{
    env::{Bao, documented, error, json_property, key, map, text},
    writes::{bytes, latest, properties, put, single, states, tagged, tags, value, version, write},
};

async fn writer(bao: &Bao) -> Arc<dyn Store> {
    bao.policy("writer", documented("vault writer")).await;
    bao.with_token(&bao.token(json!({ "policies": ["writer"] })).await)
}

#[tokio::test]
async fn what_is_written_is_what_is_read() {
    let bao = Bao::new("written").await;
    let store = writer(&bao).await;
    assert_eq!(store.probe().await.unwrap(), Capabilities { get: true, list: true, write: true });
    let features = store.features();
    assert!(features.write && features.versions && features.undelete && features.atomic && features.tags);
    assert_eq!(put(&*store, "acme--a", "canary-ü漢🔑\n \"\\\u{1}").await, "1");
    assert_eq!(value(&*store, "acme--a").await.as_deref(), Some("canary-ü漢🔑\n \"\\\u{1}"));
    assert_eq!(put(&*store, "acme--a", "").await, "2");
    assert_eq!(value(&*store, "acme--a").await.as_deref(), Some(""));
    assert_eq!(put(&*store, "acme/team/a b", "canary-1").await, "1");
    assert_eq!(value(&*store, "acme/team/a b").await.as_deref(), Some("canary-1"));

    let all = [
        ("tls.crt", text("canary-pem")),
        ("number", json_property("5")),
        ("large", json_property("9007199254740991")),
        ("float", json_property("1.5")),
        ("list", json_property(r#"[1,"canary-x y",null,{"a":"ü"}]"#)),
        ("text", text("5")),
        ("empty", text("")),
        ("null", Property::Null),
    ];
    let written = properties(all);
    assert_eq!(version(store.set(&key("acme--a"), &write(written.clone(), When::Always)).await.unwrap()), "3");
    let stored = store.get(&key("acme--a"), None).await.unwrap().unwrap();
    assert_eq!((&stored.payload, stored.version.as_deref()), (&written, Some("3")), "all of it, and nothing of before");
    store.set(&key("acme--none"), &write(properties([]), When::Absent)).await.unwrap();
    assert!(map(&store.get(&key("acme--none"), None).await.unwrap().unwrap()).is_empty());

    let largest = "x".repeat(features.max_value);
    put(&*store, "acme--large", &largest).await;
    assert!(value(&*store, "acme--large").await.is_some_and(|value| value == largest));
    let larger = write(single(&format!("canary-{}", "x".repeat(1 << 20))), When::Always);
    error(store.set(&key("acme--large"), &larger).await, Failure::Misconfigured, "larger than the server's storage");
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused_before_it_is_sent() {
    let bao = Bao::new("refused").await;
    let store = writer(&bao).await;
    let binary = b"canary-\xff\x00".as_slice();
    for (payload, part) in [
        (Payload::Single(bytes(binary)), "decode: Base64"),
        (properties([("a", text("x")), ("b", Property::Text(bytes(binary)))]), "decode: Base64"),
        (properties([("a", json_property("{canary-"))]), "JSON"),
        (properties([("a", json_property("1 2"))]), "JSON"),
    ] {
        error(store.set(&key("acme--a"), &write(payload, When::Always)).await, Failure::Misconfigured, part);
    }
    let plain = write(single("canary-1"), When::Always);
    for tags in [[("a", "")], [("", "b")], [("a", &*"x".repeat(513))], [(&*"x".repeat(129), "b")]] {
        error(
            store.set(&key("acme--a"), &tagged(plain.clone(), tags)).await,
            Failure::Misconfigured,
            "custom metadata",
        );
    }
    let typed = Write { content_type: Some("text/plain".into()), ..plain.clone() };
    error(store.set(&key("acme--a"), &typed).await, Failure::Misconfigured, "content type");
    for name in ["", "a//b", "a/../b", "a/", "."] {
        error(store.set(&key(name), &plain).await, Failure::Misconfigured, "no KV path");
        error(store.delete(&key(name)).await, Failure::Misconfigured, "no KV path");
        error(store.metadata(&key(name)).await, Failure::Misconfigured, "no KV path");
    }
    for wrong in ["0", "x", "-1", "+1", "01", ""] {
        error(store.restore(&key("acme--a"), wrong).await, Failure::Misconfigured, "whole number");
        let conditional = write(single("canary-1"), latest(wrong));
        assert_eq!(store.set(&key("acme--a"), &conditional).await, Ok(Written::Conflict), "{wrong:?} is no version");
    }
    assert_eq!((bao.asked("create", "secret/"), bao.asked("update", "secret/")), (0, 0), "nothing was sent");
}

#[tokio::test]
async fn conditions() {
    let bao = Bao::new("conditions").await;
    let store = writer(&bao).await;
    let wanted = key("acme--a");
    let set = async |value: &str, when: When| store.set(&wanted, &write(single(value), when)).await.unwrap();
    assert_eq!(set("canary-0", latest("1")).await, Written::Conflict, "it is not there at all");
    assert_eq!(value(&*store, "acme--a").await, None);
    assert_eq!(version(set("canary-1", When::Absent).await), "1");
    assert_eq!(set("canary-x", When::Absent).await, Written::Conflict);
    assert_eq!(version(set("canary-2", latest("1")).await), "2");
    assert_eq!(set("canary-x", latest("1")).await, Written::Conflict);
    assert_eq!(set("canary-x", latest("3")).await, Written::Conflict);
    assert_eq!(value(&*store, "acme--a").await.as_deref(), Some("canary-2"));

    // A deleted key is not there, and neither is one whose latest version is destroyed.
    assert!(store.delete(&wanted).await.unwrap());
    assert_eq!(version(set("canary-3", When::Absent).await), "3");
    bao.must(Method::PUT, "secret/destroy/acme--a", json!({ "versions": [3] })).await;
    assert_eq!(version(set("canary-4", When::Absent).await), "4");
    assert_eq!(set("canary-x", When::Absent).await, Written::Conflict);
    // Metadata without any version is no key either.
    bao.must(Method::POST, "secret/metadata/acme--bare", json!({ "max_versions": 3 })).await;
    let bare = store.set(&key("acme--bare"), &write(single("canary-1"), When::Absent)).await.unwrap();
    assert_eq!(version(bare), "1");

    // Of many writers one wins, with each condition.
    for (name, when) in [("acme--race", When::Absent), ("acme--a", latest("4"))] {
        let writes: Vec<_> = (0..20).map(|n| write(single(&format!("canary-{n}")), when.clone())).collect();
        let wanted = key(name);
        let results = futures::future::join_all(writes.iter().map(|write| store.set(&wanted, write))).await;
        let won: Vec<_> = results.iter().enumerate().filter(|(_, r)| !matches!(r, Ok(Written::Conflict))).collect();
        assert_eq!(won.len(), 1, "{results:?}");
        assert_eq!(value(&*store, name).await, Some(format!("canary-{}", won[0].0)));
    }
}

#[tokio::test]
async fn a_key_or_mount_that_wants_conditions() {
    let bao = Bao::new("cas").await;
    let store = writer(&bao).await;
    bao.must(Method::POST, "secret/metadata/acme--a", json!({ "cas_required": true })).await;
    assert_eq!(put(&*store, "acme--a", "canary-1").await, "1");
    assert_eq!(put(&*store, "acme--a", "canary-2").await, "2");
    store.delete(&key("acme--a")).await.unwrap();
    assert_eq!(put(&*store, "acme--a", "canary-3").await, "3");
    bao.must(Method::POST, "secret/config", json!({ "cas_required": true })).await;
    assert_eq!(put(&*store, "acme--b", "canary-1").await, "1");
    assert_eq!(value(&*store, "acme--a").await.as_deref(), Some("canary-3"));
    assert_eq!(store.restore(&key("acme--a"), "1").await.unwrap().as_deref(), Some("4"));
}

#[tokio::test]
async fn tags_are_custom_metadata() {
    let bao = Bao::new("tags").await;
    let store = writer(&bao).await;
    let of = async || store.metadata(&key("acme--a")).await.unwrap().unwrap().tags;
    let plain = |value: &str| write(single(value), When::Always);
    store.set(&key("acme--a"), &tagged(plain("canary-1"), [("owner", "payments"), ("tier", "1")])).await.unwrap();
    assert_eq!(of().await, tags([("owner", "payments"), ("tier", "1")]));
    put(&*store, "acme--a", "canary-2").await;
    assert_eq!(of().await, tags([("owner", "payments"), ("tier", "1")]), "not mentioned, they stay");
    store.set(&key("acme--a"), &tagged(plain("canary-3"), [("owner", "billing")])).await.unwrap();
    assert_eq!(of().await, tags([("owner", "billing")]), "all of them, and nothing of before");
    let requests = bao.asked("update", "secret/metadata/");
    store.set(&key("acme--a"), &tagged(plain("canary-4"), [("owner", "billing")])).await.unwrap();
    assert_eq!(bao.asked("update", "secret/metadata/"), requests, "the same tags cost no request");
    store.set(&key("acme--a"), &tagged(plain("canary-5"), [])).await.unwrap();
    assert_eq!(of().await, tags([]));
    // A conflict changes no tags.
    let conflict = tagged(write(single("canary-6"), When::Absent), [("owner", "thief")]);
    assert_eq!(store.set(&key("acme--a"), &conflict).await.unwrap(), Written::Conflict);
    assert_eq!(of().await, tags([]));

    // A key whose metadata wants a condition, too.
    bao.must(Method::POST, "secret/metadata/acme--b", json!({ "metadata_cas_required": true })).await;
    store.set(&key("acme--b"), &tagged(plain("canary-1"), [("owner", "payments")])).await.unwrap();
    store.set(&key("acme--b"), &tagged(plain("canary-2"), [("owner", "billing")])).await.unwrap();
    assert_eq!(store.metadata(&key("acme--b")).await.unwrap().unwrap().tags, tags([("owner", "billing")]));

    // A login that may not set them is told before anything is written.
    bao.policy("untagged", r#"path "secret/data/*" { capabilities = ["create", "update", "read"] }"#).await;
    let other = bao.with_token(&bao.token(json!({ "policies": ["untagged"] })).await);
    let denied = other.set(&key("acme--a"), &tagged(plain("canary-x"), [("a", "b")])).await;
    error(denied, Failure::Denied, r#"path "secret/metadata/acme--*" { capabilities = ["read", "update"] }"#);
    assert_eq!(value(&*store, "acme--a").await.as_deref(), Some("canary-5"));
}

#[tokio::test]
async fn history_deletion_and_restoration() {
    let bao = Bao::new("history").await;
    let store = writer(&bao).await;
    let wanted = key("acme--a");
    let (enabled, deleted, destroyed) = (VersionState::Enabled, VersionState::Deleted, VersionState::Destroyed);
    assert_eq!(store.metadata(&wanted).await.unwrap(), None);
    assert!(store.versions(&wanted).await.unwrap().is_empty());
    assert!(!store.delete(&wanted).await.unwrap());
    assert_eq!(store.restore(&wanted, "1").await.unwrap(), None);

    for n in 1..=4 {
        put(&*store, "acme--a", &format!("canary-{n}")).await;
    }
    let known = store.metadata(&wanted).await.unwrap().unwrap();
    assert_eq!((known.version.as_deref(), known.state, known.expires), (Some("4"), enabled, None));
    assert!(known.created.is_some() && known.updated >= known.created);
    let versions = store.versions(&wanted).await.unwrap();
    assert_eq!(states(&versions), [("4", enabled), ("3", enabled), ("2", enabled), ("1", enabled)]);
    assert!(versions.windows(2).all(|pair| pair[0].created > pair[1].created));

    assert!(store.delete(&wanted).await.unwrap());
    assert!(!store.delete(&wanted).await.unwrap(), "it is not there any more");
    assert_eq!(value(&*store, "acme--a").await, None);
    let known = store.metadata(&wanted).await.unwrap().unwrap();
    assert_eq!((known.version.as_deref(), known.state), (Some("4"), deleted));
    assert!(known.updated > known.created);

    // The latest, as it was; another one, as a new version; a deleted one of before, too.
    assert_eq!(store.restore(&wanted, "4").await.unwrap().as_deref(), Some("4"));
    assert_eq!(value(&*store, "acme--a").await.as_deref(), Some("canary-4"));
    assert_eq!(store.restore(&wanted, "4").await.unwrap().as_deref(), Some("4"), "it is the latest already");
    assert_eq!(store.restore(&wanted, "2").await.unwrap().as_deref(), Some("5"));
    assert_eq!(value(&*store, "acme--a").await.as_deref(), Some("canary-2"));
    assert!(store.delete(&wanted).await.unwrap());
    bao.must(Method::POST, "secret/delete/acme--a", json!({ "versions": [1] })).await;
    assert_eq!(store.restore(&wanted, "1").await.unwrap().as_deref(), Some("6"));
    assert_eq!(value(&*store, "acme--a").await.as_deref(), Some("canary-1"));

    bao.must(Method::PUT, "secret/destroy/acme--a", json!({ "versions": [3, 6] })).await;
    assert_eq!(store.restore(&wanted, "3").await.unwrap(), None);
    assert_eq!(store.restore(&wanted, "7").await.unwrap(), None);
    let versions = store.versions(&wanted).await.unwrap();
    let expected = [("6", destroyed), ("5", deleted), ("4", enabled), ("3", destroyed), ("2", enabled), ("1", enabled)];
    assert_eq!(states(&versions), expected);
    assert!(!store.delete(&wanted).await.unwrap(), "destroyed is not there");
    assert_eq!(store.metadata(&wanted).await.unwrap().unwrap().state, destroyed);

    // What was pruned is no version any more; what will be deleted says when.
    bao.must(Method::POST, "secret/metadata/acme--a", json!({ "max_versions": 2, "delete_version_after": "1h" })).await;
    put(&*store, "acme--a", "canary-7").await;
    assert_eq!(store.versions(&wanted).await.unwrap().len(), 2);
    assert_eq!(store.restore(&wanted, "2").await.unwrap(), None);
    let known = store.metadata(&wanted).await.unwrap().unwrap();
    assert_eq!(known.state, enabled);
    assert!(known.expires > known.created);

    // Restoring keeps every kind of property.
    let every =
        properties([("t", text("canary-x")), ("j", json_property(r#"{"a":[1.5,null]}"#)), ("n", Property::Null)]);
    store.set(&key("acme--m"), &write(every.clone(), When::Always)).await.unwrap();
    put(&*store, "acme--m", "canary-other").await;
    assert_eq!(store.restore(&key("acme--m"), "1").await.unwrap().as_deref(), Some("3"));
    assert_eq!(store.get(&key("acme--m"), None).await.unwrap().unwrap().payload, every);
}

/// Each right that is missing is named as the policy line that gives it.
#[tokio::test]
async fn a_right_that_is_missing() {
    let bao = Bao::new("rights").await;
    let all = writer(&bao).await;
    put(&*all, "acme--a", "canary-1").await;
    put(&*all, "acme--a", "canary-2").await;
    bao.must(Method::POST, "secret/delete/acme--a", json!({ "versions": [1] })).await;
    let with = async |policy: &str| {
        let name = format!("p{}", policy.len());
        bao.policy(&name, policy).await;
        bao.with_token(&bao.token(json!({ "policies": [name] })).await)
    };
    let plain = write(single("canary-x"), When::Always);
    let reader = with(documented("vault reader")).await;
    let line = r#"path "secret/data/acme--*" { capabilities = ["create", "update"] }"#;
    error(reader.set(&key("acme--a"), &plain).await, Failure::Denied, line);
    error(reader.set(&key("acme--new"), &plain).await, Failure::Denied, line);
    let line = r#"path "secret/metadata/acme--*" { capabilities = ["read"] }"#;
    error(reader.metadata(&key("acme--a")).await, Failure::Denied, line);
    error(reader.versions(&key("acme--a")).await, Failure::Denied, line);
    error(reader.delete(&key("acme--a")).await, Failure::Denied, line);
    error(reader.restore(&key("acme--a"), "1").await, Failure::Denied, line);
    let seer = with(r#"path "secret/metadata/*" { capabilities = ["read"] }"#).await;
    error(
        seer.delete(&key("acme--a")).await,
        Failure::Denied,
        r#"path "secret/data/acme--*" { capabilities = ["delete"] }"#,
    );
    let line = r#"path "secret/undelete/acme--*" { capabilities = ["update"] }"#;
    error(seer.restore(&key("acme--a"), "1").await, Failure::Denied, line);
    assert_eq!(value(&*all, "acme--a").await.as_deref(), Some("canary-2"));

    // Another mount, none at all, and one that cannot be seen: nothing is written that is not certain.
    let at = async |mount: &str, policy: &str| {
        let mut settings = bao.settings(crate::env::by_token());
        settings.mount = Some(mount.into());
        bao.policy("at", policy).await;
        bao.with(settings, &[("token", &bao.token(json!({ "policies": ["at"] })).await)])
    };
    let store = at("no-such", r#"path "no-such/*" { capabilities = ["create", "update", "read"] }"#).await;
    error(store.set(&key("acme--a"), &plain).await, Failure::Misconfigured, "check that it is a KV version 2 mount");
    let store = at("cubbyhole", r#"path "cubbyhole/*" { capabilities = ["create", "update", "read"] }"#).await;
    error(store.set(&key("acme--a"), &plain).await, Failure::Misconfigured, "not a KV version 2 mount");
    error(store.delete(&key("acme--a")).await, Failure::Misconfigured, "not a KV version 2 mount");
    assert_eq!(bao.call(Method::GET, "cubbyhole/data/acme--a", Value::Null).await.0, 404);
}
