//! Values that change in the store, and those that do not.

use std::time::Duration;

use serde_json::{Value, json};

use crate::{
    harness::{condition, plant},
    world::{Kept, World, one, secret},
};

/// Times of conditions have whole seconds: what happens after this has another one.
async fn next_second() {
    tokio::time::sleep(Duration::from_millis(1100)).await;
}

fn moved(reference: &Value, kind: &str) -> String {
    condition(reference, kind)["lastTransitionTime"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_rotated_value_arrives() {
    let world = World::new().await;
    let (old, new) = (plant("old"), plant("new"));
    world.bao.put("acme--key", json!({ "value": old })).await;
    world.reference("app", one("KEY", "key")).await;
    let before = world.acme.until_data("app", &json!({ "KEY": old })).await;
    let first = world.acme.until_reason("app", "Synced").await;
    next_second().await;
    world.bao.put("acme--key", json!({ "value": new })).await;
    let after = world.acme.until_data("app", &json!({ "KEY": new })).await;
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"], "the same Secret");
    let second =
        world.acme.until("SecretReference", "app", "version 2", |r| r["status"]["entries"][0]["version"] == "2").await;
    assert_ne!(first["status"]["lastChangeTime"], second["status"]["lastChangeTime"]);
    for kind in ["Ready", "Synced", "StoreHealthy", "Stalled"] {
        assert_eq!(moved(&first, kind), moved(&second, kind), "{kind} had no transition");
    }
    world.done().await;
}

/// A removed history counts from 1 again: the version number alone would hide the change.
#[tokio::test]
async fn a_key_made_anew_with_the_same_version_arrives() {
    let world = World::new().await;
    let (old, new) = (plant("old"), plant("new"));
    world.bao.put("acme--key", json!({ "value": old })).await;
    world.reference("app", one("KEY", "key")).await;
    world.acme.until_data("app", &json!({ "KEY": old })).await;
    world.bao.remove("acme--key").await;
    world.bao.put("acme--key", json!({ "value": new })).await;
    world.acme.until_data("app", &json!({ "KEY": new })).await;
    world.done().await;
}

#[tokio::test]
async fn a_refresh_without_a_change_writes_nothing() {
    let world = World::new().await;
    world.bao.put("acme--key", json!({ "value": plant("own") })).await;
    world.bao.put("GLOBAL--other", json!({ "value": plant("global") })).await;
    let data = json!([secret("A", "key"), secret("B", "other"), { "key": "C", "value": "plain" }]);
    world.reference("app", json!({ "data": data })).await;
    world.acme.until_reason("app", "Synced").await;
    let seen = async || {
        let reference = world.acme.get("SecretReference", "app").await.unwrap();
        let target = world.acme.get("Secret", "app").await.unwrap();
        let events = world.acme.events("SecretReference", "app").await;
        (reference["metadata"]["resourceVersion"].clone(), target["metadata"]["resourceVersion"].clone(), events)
    };
    world.acme.until_event("SecretReference", "app", "Synced").await; // it comes when the API server has time for it
    let before = seen().await;
    world.polled(15.0).await; // three keys, five cycles
    assert_eq!(before, seen().await);
    world.done().await;
}

#[tokio::test]
async fn transition_times_move_on_transitions_only() {
    let world = World::new().await;
    world.bao.put("acme--key", json!({ "value": plant("old") })).await;
    world.reference("app", one("KEY", "key")).await;
    let healthy = world.acme.until_reason("app", "Synced").await;
    let kept = Kept::of(&world.acme, "app").await;
    next_second().await;
    world.bao.put("acme--key", json!({ "value": "" })).await;
    world.fails("app", "SecretEmpty", &["acme--key"]).await;
    let failing = world.acme.get("SecretReference", "app").await.unwrap();
    kept.check().await;
    assert_ne!(moved(&healthy, "Synced"), moved(&failing, "Synced"));
    assert_eq!(moved(&healthy, "Ready"), moved(&failing, "Ready"));
    assert_eq!(condition(&failing, "Ready")["status"], "True", "the last good content stays and is Ready");
    next_second().await;
    // Another reason of the same status is no transition.
    world.bao.put("acme--key", json!({ "value": null })).await;
    world.bao.put("acme--key", json!({ "other": "x" })).await;
    world.fails("app", "PropertyNotFound", &["other"]).await;
    let other = world.acme.get("SecretReference", "app").await.unwrap();
    assert_eq!(moved(&failing, "Synced"), moved(&other, "Synced"));
    world.bao.put("acme--key", json!({ "value": plant("new") })).await;
    let again = world.acme.until_reason("app", "Synced").await;
    assert_ne!(moved(&other, "Synced"), moved(&again, "Synced"));
    assert_eq!(moved(&healthy, "Ready"), moved(&again, "Ready"));
    world.done().await;
}

#[tokio::test]
async fn null_and_the_empty_text_are_errors_that_keep_the_target() {
    let world = World::new().await;
    let good = plant("good");
    world.bao.put("acme--key", json!({ "value": good, "user": good })).await;
    let property = json!([{ "key": "U", "secretRef": { "name": "key", "property": "user" } }]);
    world.reference("bare", one("KEY", "key")).await;
    world.reference("property", json!({ "data": property })).await;
    world.acme.until_data("bare", &json!({ "KEY": good })).await;
    world.acme.until_data("property", &json!({ "U": good })).await;
    let kept = [Kept::of(&world.acme, "bare").await, Kept::of(&world.acme, "property").await];
    for empty in [json!(null), json!("")] {
        world.bao.put("acme--key", json!({ "value": empty, "user": empty })).await;
        world.fails("bare", "SecretEmpty", &["acme--key"]).await;
        world.fails("property", "SecretEmpty", &["acme--key", "user"]).await;
        for kept in &kept {
            kept.check().await;
        }
        world.bao.put("acme--key", json!({ "value": good, "user": good })).await;
        world.acme.until_reason("bare", "Synced").await;
        world.acme.until_reason("property", "Synced").await;
    }
    world.done().await;
}

/// More entries than a status should carry: the first 64 are told, and how many there are.
#[tokio::test]
async fn long_lists_of_entries_are_cut_and_counted() {
    let world = World::new().await;
    let value = plant("many");
    let properties: serde_json::Map<_, _> = (0..70).map(|i| (format!("K{i:02}"), json!(value))).collect();
    world.bao.put("acme--many", json!(properties)).await;
    world.reference("app", json!({ "dataFrom": [{ "extract": { "name": "many" } }] })).await;
    world.acme.until_data("app", &json!(properties)).await;
    let status = world.acme.until_reason("app", "Synced").await["status"].take();
    assert_eq!(status["entries"].as_array().unwrap().len(), 64);
    assert_eq!(status["entriesTotal"], 70);
    assert_eq!(status["target"]["keys"], 70);
    world.done().await;
}
