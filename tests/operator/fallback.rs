//! The organisation's own value is deleted in the store: rule 3 wants it certain, and told.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::{
    harness::plant,
    world::{Kept, World, one},
};

#[tokio::test]
async fn falling_back_takes_two_looks_one_interval_apart_and_an_event() {
    let world = World::new().await;
    let (own, global, again) = (plant("own"), plant("global"), plant("again"));
    world.bao.put("acme--key", json!({ "value": own })).await;
    world.bao.put("GLOBAL--key", json!({ "value": global })).await;
    let mut spec = one("KEY", "key");
    // Between the two looks there is time to see what is told of the first one, also for a test that comes late.
    spec["refreshInterval"] = json!("20s");
    world.reference("app", spec).await;
    let before = world.acme.until_data("app", &json!({ "KEY": own })).await;
    let uid = before["metadata"]["uid"].clone();

    let deleted = Instant::now();
    world.bao.delete("acme--key").await;
    world.fails("app", "SecretNotFound", &["acme--key", "gone"]).await;
    Kept::of(&world.acme, "app").await.check().await;
    assert_eq!(world.acme.data("app").await.unwrap(), json!({ "KEY": own }));
    let after = world.acme.until_data("app", &json!({ "KEY": global })).await;
    let took = deleted.elapsed();
    assert!(took >= Duration::from_secs(18), "fell back after {took:?}: one look is not enough");
    assert_eq!(after["metadata"]["uid"], uid);
    let note = world.acme.until_event("SecretReference", "app", "FellBackToGlobal").await;
    assert!(note.contains("acme--key"), "{note}");
    let status = world.acme.until_reason("app", "Synced").await["status"].take();
    assert_eq!(status["entries"][0]["scope"], "Global");

    world.bao.put("acme--key", json!({ "value": again })).await;
    world.acme.until_data("app", &json!({ "KEY": again })).await;
    let back = |r: &serde_json::Value| r["status"]["entries"][0]["scope"] == "Org";
    world.acme.until("SecretReference", "app", "back at Org", back).await;
    world.done().await;
}

/// Deleted with its history, destroyed, deleted: all the same to who reads, and the second time as careful as the first.
#[tokio::test]
async fn whatever_way_a_value_goes_it_falls_back_and_returns() {
    let world = World::new().await;
    let global = plant("global");
    world.bao.put("GLOBAL--key", json!({ "value": global })).await;
    world.bao.put("acme--key", json!({ "value": plant("seed") })).await;
    world.reference("app", one("KEY", "key")).await;
    for way in ["destroy", "delete", "remove"] {
        let own = plant(way);
        world.bao.put("acme--key", json!({ "value": own })).await;
        world.acme.until_data("app", &json!({ "KEY": own })).await;
        match way {
            "destroy" => world.bao.destroy("acme--key", &[1, 2]).await,
            "delete" => world.bao.delete("acme--key").await,
            _ => world.bao.remove("acme--key").await,
        }
        world.acme.until_data("app", &json!({ "KEY": global })).await;
    }
    world.done().await;
}

/// Rule 5: a deletion in the store deletes nothing on the cluster.
#[tokio::test]
async fn without_a_platform_wide_value_the_last_good_one_stays() {
    let world = World::new().await;
    let own = plant("own");
    world.bao.put("acme--key", json!({ "value": own })).await;
    world.bao.put("acme--map", json!({ "A": own })).await;
    world.reference("app", one("KEY", "key")).await;
    world.reference("map", json!({ "dataFrom": [{ "extract": { "name": "map" } }] })).await;
    world.acme.until_data("app", &json!({ "KEY": own })).await;
    world.acme.until_data("map", &json!({ "A": own })).await;
    let kept = [Kept::of(&world.acme, "app").await, Kept::of(&world.acme, "map").await];
    world.bao.remove("acme--key").await;
    world.bao.remove("acme--map").await;
    for (name, key) in [("app", "acme--key"), ("map", "acme--map")] {
        world.fails(name, "SecretNotFound", &[key]).await;
    }
    world.polled(12.0).await; // long after the second look
    for (name, key) in [("app", "acme--key"), ("map", "acme--map")] {
        world.fails(name, "SecretNotFound", &[key, "GLOBAL--"]).await;
    }
    for kept in kept {
        kept.check().await;
    }
    world.bao.put("acme--key", json!({ "value": own })).await;
    world.acme.until_reason("app", "Synced").await;
    world.done().await;
}
