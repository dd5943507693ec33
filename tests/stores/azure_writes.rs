//! Writes: conditions, what is kept, deletion and the way back, and the states in between.

use std::{collections::BTreeMap, time::Duration};

use secretref::{
    secret::SecretValue,
    stores::{Failure, Payload, VersionState, When, Write, Written},
};
use serde_json::json;

use crate::{
    azure::{store, value, vault},
    env::{error, key},
    fakes::Role,
};

fn write(value: &str, when: When) -> Write {
    let payload = Payload::Single(SecretValue::from(value.to_owned()));
    Write { payload, when, content_type: None, tags: None }
}

fn tags(list: &[(&str, &str)]) -> BTreeMap<String, String> {
    list.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

#[tokio::test]
async fn conditions_hold_or_nothing_is_written() {
    let fake = vault(Role::Officer).await;
    let (store, a) = (store(&fake), key("acme--a"));
    let unknown = When::Version("0".repeat(32));
    assert_eq!(store.set(&a, &write("canary-0", unknown.clone())).await.unwrap(), Written::Conflict);
    let Written::Version(first) = store.set(&a, &write("canary-1", When::Absent)).await.unwrap() else { panic!() };
    assert_eq!(store.set(&a, &write("canary-2", When::Absent)).await.unwrap(), Written::Conflict);
    // In another case it is the same secret.
    assert_eq!(store.set(&key("ACME--a"), &write("canary-2", When::Absent)).await.unwrap(), Written::Conflict);
    assert_eq!(store.set(&a, &write("canary-2", unknown)).await.unwrap(), Written::Conflict);
    assert_eq!(fake.latest("acme--a").value, "canary-1");
    assert_eq!(fake.count("set"), 1);
    let Written::Version(second) = store.set(&a, &write("canary-2", When::Version(first.clone()))).await.unwrap()
    else {
        panic!()
    };
    assert_eq!(store.set(&a, &write("canary-3", When::Version(first))).await.unwrap(), Written::Conflict);
    assert_eq!(fake.latest("acme--a").id, second);
    // A disabled secret is there all the same, and can be written to by its version.
    fake.disable("acme--a");
    assert_eq!(store.set(&a, &write("canary-3", When::Absent)).await.unwrap(), Written::Conflict);
    assert!(matches!(store.set(&a, &write("canary-3", When::Version(second))).await.unwrap(), Written::Version(_)));
    assert_eq!(fake.latest("acme--a").value, "canary-3");
}

#[tokio::test]
async fn content_type_and_tags_stay_unless_given() {
    let fake = vault(Role::Officer).await;
    let (store, a) = (store(&fake), key("acme--a"));
    fake.put_with("acme--a", json!({ "value": "canary-1", "contentType": "text/x", "tags": { "team": "pay\"ments" } }));
    store.set(&a, &write("canary-2", When::Always)).await.unwrap();
    let latest = store.metadata(&a).await.unwrap().unwrap();
    assert_eq!((latest.content_type.as_deref(), latest.tags), (Some("text/x"), tags(&[("team", "pay\"ments")])));
    let given = Write { content_type: Some("text/y".into()), ..write("canary-3", When::Always) };
    store.set(&a, &given).await.unwrap();
    assert_eq!(fake.latest("acme--a").content_type.as_deref(), Some("text/y"));
    assert_eq!(fake.latest("acme--a").tags, json!({ "team": "pay\"ments" }));
    // Given both, nothing needs to be read before.
    let gets = fake.count("get");
    let both = Write { tags: Some(tags(&[("a", "b")])), ..given };
    store.set(&a, &both).await.unwrap();
    assert_eq!((fake.latest("acme--a").tags, fake.count("get")), (json!({ "a": "b" }), gets));
    let many: BTreeMap<_, _> = (0..16).map(|n| (n.to_string(), String::new())).collect();
    let many = Write { tags: Some(many), ..write("canary-4", When::Always) };
    error(store.set(&a, &many).await, Failure::Misconfigured, "15 tags");
    assert_eq!(fake.latest("acme--a").value, "canary-3");
}

#[tokio::test]
async fn a_deleted_secret_holds_its_name() {
    let fake = vault(Role::Officer).await;
    let (store, a) = (store(&fake), key("acme--a"));
    fake.put("acme--a", "canary-1");
    fake.slow(Duration::from_secs(3600));
    assert!(store.delete(&a).await.unwrap());
    assert_eq!(store.get(&a, None).await.unwrap(), None, "deleted is not found");
    error(store.set(&a, &write("canary-2", When::Absent)).await, Failure::Unavailable, "try again");
    assert_eq!(store.metadata(&a).await.unwrap(), None, "neither there nor deleted");
    fake.finish();
    let deleted = store.metadata(&a).await.unwrap().unwrap();
    assert_eq!(deleted.state, VersionState::Deleted);
    for when in [When::Absent, When::Always] {
        error(store.set(&a, &write("canary-2", when)).await, Failure::Misconfigured, "recover it");
    }
    assert!(!fake.is_there("acme--a"));
    assert_eq!(store.list("").await.unwrap(), []);
}

#[tokio::test]
async fn an_earlier_version_comes_back_also_from_a_deleted_secret() {
    let fake = vault(Role::Officer).await;
    let (store, a) = (store(&fake), key("acme--a"));
    let first = fake.put_with("acme--a", json!({ "value": "canary-1", "contentType": "text/1", "tags": { "n": "1" } }));
    let second = fake.put("acme--a", "canary-2");
    let third = store.restore(&a, &first).await.unwrap().unwrap();
    assert!(third != first && third != second);
    let latest = fake.latest("acme--a");
    assert_eq!((&*latest.id, &*latest.value, latest.content_type.as_deref()), (&*third, "canary-1", Some("text/1")));
    assert_eq!(latest.tags, json!({ "n": "1" }));

    // The vault takes its time to recover.
    fake.delete("acme--a");
    fake.slow(Duration::from_millis(1500));
    let fourth = store.restore(&a, &second).await.unwrap().unwrap();
    assert_eq!((fake.latest("acme--a").id, &*fake.latest("acme--a").value), (fourth, "canary-2"));

    // No such version: nothing changes, and what was deleted stays so.
    fake.slow(Duration::ZERO);
    let never = "0".repeat(32);
    assert_eq!(store.restore(&a, &never).await.unwrap(), None);
    assert_eq!(store.restore(&a, "7").await.unwrap(), None);
    fake.delete("acme--a");
    assert_eq!(store.restore(&a, &never).await.unwrap(), None);
    assert!(!fake.is_there("acme--a"));
    assert_eq!(store.restore(&key("acme--never"), &never).await.unwrap(), None);

    // A disabled version is not brought back unseen.
    store.restore(&a, &first).await.unwrap().unwrap();
    fake.disable("acme--a");
    let disabled = fake.latest("acme--a").id;
    error(store.restore(&a, &disabled).await, Failure::Disabled, "enable this version");
}

#[tokio::test]
async fn a_reader_writes_nothing_and_is_told_the_role() {
    let fake = vault(Role::User).await;
    let (store, a) = (store(&fake), key("acme--a"));
    let version = fake.put("acme--a", "canary-1");
    let officer = "Key Vault Secrets Officer";
    error(store.set(&a, &write("canary-2", When::Always)).await, Failure::Denied, officer);
    error(store.delete(&a).await, Failure::Denied, officer);
    error(store.restore(&a, &version).await, Failure::Denied, officer);
    assert_eq!(fake.latest("acme--a").value, "canary-1");
    fake.delete("acme--a");
    error(store.restore(&a, &version).await, Failure::Denied, officer);
    assert!(!store.probe().await.unwrap().write);
    fake.role(crate::fakes::key_vault::CLIENT, Role::Officer);
    assert_eq!(
        value(&store.restore(&a, &version).await.map(|_| ()).and(store.get(&a, None).await).unwrap().unwrap()),
        "canary-1"
    );
}
