//! Writes to Secrets of a namespace, by an account that has the documented writer's rights and no other.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    ByteString,
    api::{
        core::v1::{ConfigMap, Namespace, ResourceQuota, Secret, ServiceAccount},
        rbac::v1::Role,
    },
};
use kube::{
    Api,
    api::{DeleteParams, Patch, PatchParams},
};
use secretref::{
    api::Capabilities,
    stores::{Failure, Payload, Property, Store, VersionState, When, Write, Written},
};
use serde_json::{Value, json};

use crate::{
    cluster::{Place, reader},
    env::{documented, error, eventually, json_property, key, text},
    kubernetes::store,
    writes::{bytes, latest, properties, put, single, tagged, value, version, write},
};

/// Reader's and writer's rights together.
fn rights() -> Value {
    let writer: Role = serde_saphyr::from_str(documented("kubernetes writer")).unwrap();
    let mut role = reader();
    let rules = role["rules"].as_array_mut().unwrap();
    rules.extend(json!(writer.rules).as_array().unwrap().iter().cloned());
    role
}

async fn writer(place: &Place) -> Arc<dyn Store> {
    store(&place.account("writer", Some(rights())).await, &place.name)
}

async fn secret(place: &Place, name: &str) -> Secret {
    place.api::<Secret>().get(name).await.unwrap()
}

fn data(secret: &Secret) -> BTreeMap<String, ByteString> {
    secret.data.clone().unwrap_or_default()
}

#[tokio::test]
async fn what_is_written_is_what_is_read() {
    let place = Place::new("writes").await;
    let store = writer(&place).await;
    assert_eq!(store.probe().await.unwrap(), Capabilities { get: true, list: true, write: true });
    let features = store.features();
    assert!(features.write && features.atomic && features.binary && !features.versions && !features.tags);
    let written = put(&*store, "acme--a", "canary-ü漢🔑\n").await;
    let stored = store.get(&key("acme--a"), None).await.unwrap().unwrap();
    assert_eq!(stored.version, Some(written), "the answered version is the one that is read");
    assert_eq!(stored.payload, properties([("value", text("canary-ü漢🔑\n"))]));
    let made = secret(&place, "acme--a").await;
    assert_eq!(made.type_.as_deref(), Some("Opaque"));
    let managers = made.metadata.managed_fields.unwrap();
    assert_eq!(managers.iter().map(|m| m.manager.as_deref()).collect::<Vec<_>>(), [Some("secretref-store")]);

    let all = properties([
        ("tls.crt", text("canary-pem")),
        ("binary", Property::Text(bytes(b"canary-\x00\xff\xfe"))),
        ("empty", text("")),
    ]);
    store.set(&key("acme--a"), &write(all.clone(), When::Always)).await.unwrap();
    assert_eq!(store.get(&key("acme--a"), None).await.unwrap().unwrap().payload, all, "all, and nothing of before");
    store.set(&key("acme--a"), &write(properties([]), When::Always)).await.unwrap();
    assert_eq!(store.get(&key("acme--a"), None).await.unwrap().unwrap().payload, properties([]));
    let largest = "x".repeat(features.max_value);
    put(&*store, "acme--large", &largest).await;
    assert!(value(&*store, "acme--large").await.is_some_and(|value| value == largest));
    place.end().await;
}

#[tokio::test]
async fn what_cannot_be_kept_is_refused() {
    let place = Place::new("refused").await;
    let store = writer(&place).await;
    let half = "x".repeat((1 << 19) + 1);
    for (payload, part) in [
        (properties([("a", Property::Null)]), "neither null nor other JSON"),
        (properties([("a", json_property("5"))]), "write it as text"),
        (properties([("a b", text("canary-1"))]), "rename the property"),
        (properties([("..a", text("canary-1"))]), "rename the property"),
        (properties([("", text("canary-1"))]), "rename the property"),
        (properties([("a", text(&half)), ("b", text(&half))]), "1 MiB"),
    ] {
        error(store.set(&key("acme--a"), &write(payload, When::Always)).await, Failure::Misconfigured, part);
    }
    let plain = write(single("canary-1"), When::Always);
    let refused = store.set(&key("acme--a"), &tagged(plain.clone(), [("a", "b")])).await;
    error(refused, Failure::Misconfigured, "neither content type nor tags");
    let typed = Write { content_type: Some("text/plain".into()), ..plain.clone() };
    error(store.set(&key("acme--a"), &typed).await, Failure::Misconfigured, "neither content type nor tags");
    for name in ["", "ACME--a", "a/b", "../configmaps/x", "a?x=y", "-a"] {
        error(store.set(&key(name), &plain).await, Failure::Misconfigured, "lower-case");
        error(store.delete(&key(name)).await, Failure::Misconfigured, "lower-case");
        error(store.metadata(&key(name)).await, Failure::Misconfigured, "lower-case");
    }
    assert_eq!(value(&*store, "acme--a").await, None);
    put(&*store, "acme--a", "canary-1").await;
    error(store.versions(&key("acme--a")).await, Failure::Misconfigured, "keeps no versions");
    error(store.restore(&key("acme--a"), "1").await, Failure::Misconfigured, "keeps no versions");

    // The API server refuses: not its text, which may repeat what it was sent.
    let patch = Patch::Merge(json!({ "immutable": true }));
    place.api::<Secret>().patch("acme--a", &PatchParams::default(), &patch).await.unwrap();
    let changed = write(single("canary-2"), When::Always);
    error(store.set(&key("acme--a"), &changed).await, Failure::Misconfigured, "immutable");
    place
        .create::<Secret>(json!({
            "metadata": { "name": "acme--tls" }, "type": "kubernetes.io/tls",
            "stringData": { "tls.crt": "canary-c", "tls.key": "canary-k" },
        }))
        .await;
    error(store.set(&key("acme--tls"), &changed).await, Failure::Misconfigured, "the keys of its type");
    let whole = properties([("tls.crt", text("canary-c2")), ("tls.key", text("canary-k2"))]);
    store.set(&key("acme--tls"), &write(whole.clone(), When::Always)).await.unwrap();
    assert_eq!(store.get(&key("acme--tls"), None).await.unwrap().unwrap().payload, whole);
    assert_eq!(secret(&place, "acme--tls").await.type_.as_deref(), Some("kubernetes.io/tls"));
    place.end().await;
}

#[tokio::test]
async fn a_write_leaves_what_is_not_its_own() {
    let place = Place::new("others").await;
    let store = writer(&place).await;
    let owner: ConfigMap = place.create(json!({ "metadata": { "name": "owner" } })).await;
    let metadata = json!({
        "name": "acme--a", "labels": { "team": "payments" }, "annotations": { "note": "x" },
        "finalizers": ["secretref.dev/test"],
        "ownerReferences": [{ "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner.metadata.uid }],
    });
    place.create::<Secret>(json!({ "metadata": metadata, "stringData": { "old": "canary-0" } })).await;
    let before = secret(&place, "acme--a").await.metadata;
    put(&*store, "acme--a", "canary-1").await;
    let after = secret(&place, "acme--a").await;
    assert_eq!(data(&after), [("value".to_owned(), ByteString(b"canary-1".to_vec()))].into());
    let after = after.metadata;
    assert_eq!((after.uid, after.labels, after.annotations), (before.uid, before.labels, before.annotations));
    assert_eq!((after.finalizers, after.owner_references), (before.finalizers, before.owner_references));

    // Deleted, but held: until it is gone it is there.
    assert!(store.delete(&key("acme--a")).await.unwrap());
    assert!(store.get(&key("acme--a"), None).await.unwrap().is_some());
    let patch = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    place.api::<Secret>().patch("acme--a", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(store.get(&key("acme--a"), None).await.unwrap(), None);
    assert!(!store.delete(&key("acme--a")).await.unwrap());
    place.end().await;
}

#[tokio::test]
async fn conditions() {
    let place = Place::new("conditions").await;
    let store = writer(&place).await;
    let wanted = key("acme--a");
    let set = async |value: &str, when: When| store.set(&wanted, &write(single(value), when)).await.unwrap();
    assert_eq!(set("canary-0", latest("1")).await, Written::Conflict, "it is not there at all");
    let first = version(set("canary-1", When::Absent).await);
    assert_eq!(set("canary-x", When::Absent).await, Written::Conflict);
    let second = version(set("canary-2", latest(&first)).await);
    assert_eq!(set("canary-x", latest(&first)).await, Written::Conflict);
    assert_eq!(set("canary-x", latest("nonsense")).await, Written::Conflict);
    assert_eq!(value(&*store, "acme--a").await.as_deref(), Some("canary-2"));

    let known = store.metadata(&wanted).await.unwrap().unwrap();
    assert_eq!((known.version.as_deref(), known.state), (Some(second.as_str()), VersionState::Enabled));
    assert!(known.created.is_some() && known.updated >= known.created);
    assert_eq!(store.metadata(&key("acme--missing")).await.unwrap(), None);

    // One of that name, but another one.
    assert!(store.delete(&wanted).await.unwrap());
    assert!(!store.delete(&wanted).await.unwrap());
    place.secret("acme--a", json!({ "value": "canary-3" })).await;
    assert_eq!(set("canary-x", latest(&second)).await, Written::Conflict);
    assert_eq!(value(&*store, "acme--a").await.as_deref(), Some("canary-3"));

    let current = store.metadata(&wanted).await.unwrap().unwrap().version.unwrap();
    for (name, when) in [("acme--race", When::Absent), ("acme--a", latest(&current))] {
        // None of them is there already: to write what is there changes nothing, and whoever comes next wins as well.
        let writes: Vec<_> = (0..20).map(|n| write(single(&format!("canary-race-{n}")), when.clone())).collect();
        let wanted = key(name);
        let results = futures::future::join_all(writes.iter().map(|write| store.set(&wanted, write))).await;
        let won: Vec<_> = results.iter().enumerate().filter(|(_, r)| !matches!(r, Ok(Written::Conflict))).collect();
        assert_eq!(won.len(), 1, "{results:?}");
        assert_eq!(value(&*store, name).await, Some(format!("canary-race-{}", won[0].0)));
    }
    place.end().await;
}

#[tokio::test]
async fn secrets_that_log_in_are_never_touched() {
    let place = Place::new("logins").await;
    let store = store(&place.client, &place.name);
    place.create::<ServiceAccount>(json!({ "metadata": { "name": "acme--login" } })).await;
    for (name, kind) in
        [("acme--login", "kubernetes.io/service-account-token"), ("acme--boot", "bootstrap.kubernetes.io/token")]
    {
        let annotations = json!({ "kubernetes.io/service-account.name": "acme--login" });
        place.create::<Secret>(json!({ "metadata": { "name": name, "annotations": annotations }, "type": kind })).await;
        // The token controller writes into the one of the account.
        eventually("it is settled", || async { name != "acme--login" || data(&secret(&place, name).await).len() == 3 })
            .await;
        let before = secret(&place, name).await;
        for when in [When::Always, latest(before.metadata.resource_version.as_deref().unwrap())] {
            error(store.set(&key(name), &write(single("canary-1"), when)).await, Failure::Denied, "nor written");
        }
        assert_eq!(store.set(&key(name), &write(single("canary-1"), When::Absent)).await.unwrap(), Written::Conflict);
        error(store.delete(&key(name)).await, Failure::Denied, "nor written");
        error(store.metadata(&key(name)).await, Failure::Denied, "never given out");
        assert_eq!(secret(&place, name).await, before);
    }
    place.end().await;
}

#[tokio::test]
async fn a_right_or_a_namespace_that_is_missing() {
    let place = Place::new("missing").await;
    place.secret("acme--a", json!({ "value": "canary-1" })).await;
    let reader = store(&place.account("reader", Some(reader())).await, &place.name);
    let plain = write(single("canary-x"), When::Always);
    let line = "resources [secrets], verbs [create, update, delete]";
    error(reader.set(&key("acme--a"), &plain).await, Failure::Denied, line);
    error(reader.set(&key("acme--new"), &plain).await, Failure::Denied, line);
    error(reader.delete(&key("acme--a")).await, Failure::Denied, "delete]");
    assert!(!reader.probe().await.unwrap().write);
    assert!(reader.metadata(&key("acme--a")).await.unwrap().is_some(), "a reader may describe");

    let nowhere = store(&place.client, "no-such-namespace");
    for when in [When::Always, When::Absent, latest("1")] {
        let failed = nowhere.set(&key("acme--a"), &write(single("canary-x"), when)).await;
        error(failed, Failure::Misconfigured, "there is no namespace");
    }
    error(nowhere.delete(&key("acme--a")).await, Failure::Misconfigured, "there is no namespace");
    error(nowhere.metadata(&key("acme--a")).await, Failure::Misconfigured, "there is no namespace");

    // Something holds the namespace while it is being deleted: nothing new can be made in it.
    let store = writer(&place).await;
    place.create::<ConfigMap>(json!({ "metadata": { "name": "x", "finalizers": ["secretref.dev/test"] } })).await;
    Api::<Namespace>::all(place.client.clone()).delete(&place.name, &DeleteParams::default()).await.unwrap();
    let admin = crate::kubernetes::store(&place.client, &place.name);
    error(
        admin.set(&key("acme--new"), &write(single("canary-x"), When::Absent)).await,
        Failure::Misconfigured,
        "is being deleted",
    );
    let failed = store.set(&key("acme--new"), &plain).await.unwrap_err();
    assert!(matches!(failed.failure, Failure::Misconfigured | Failure::Denied), "its own rights may be gone: {failed}");
    let patch = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    place.api::<ConfigMap>().patch("x", &PatchParams::default(), &patch).await.unwrap();
}

/// What refuses the Secret and not the account is not called a missing right.
#[tokio::test]
async fn a_quota() {
    let place = Place::new("quota").await;
    let store = writer(&place).await;
    put(&*store, "acme--a", "canary-1").await;
    let quota = json!({ "metadata": { "name": "few" }, "spec": { "hard": { "count/secrets": "1" } } });
    place.create::<ResourceQuota>(quota).await;
    let plain = write(single("canary-2"), When::Always);
    eventually("the quota holds", || async {
        match store.set(&key("acme--b"), &plain).await {
            // As long as nobody has counted what there is, nothing is let in.
            Err(refused) => refused.failure != Failure::Unavailable,
            Ok(_) => {
                store.delete(&key("acme--b")).await.unwrap();
                false
            }
        }
    })
    .await;
    error(store.set(&key("acme--b"), &plain).await, Failure::Misconfigured, "the quota of the namespace");
    assert_eq!(
        put(&*store, "acme--a", "canary-2").await,
        store.metadata(&key("acme--a")).await.unwrap().unwrap().version.unwrap()
    );
    place.end().await;
}

/// What a single value looks like to who reads it.
#[tokio::test]
async fn a_single_value_is_the_property_value() {
    let place = Place::new("single").await;
    let store = writer(&place).await;
    store.set(&key("global--a"), &write(Payload::Single(bytes(b"\xff\x00")), When::Absent)).await.unwrap();
    assert_eq!(data(&secret(&place, "global--a").await)["value"], ByteString(b"\xff\x00".to_vec()));
    place.end().await;
}
