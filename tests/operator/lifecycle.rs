//! What users do to references and platforms to stores: suspend, sync-now, specs that change, stores that go.

use serde_json::json;

use crate::{
    harness::{condition, plant, wait_for},
    sender::SELDOM,
    world::{Kept, World, one},
};

#[tokio::test]
async fn suspended_means_untouched() {
    let world = World::new().await;
    let (old, new) = (plant("old"), plant("new"));
    world.bao.put("acme--key", json!({ "value": old })).await;
    world.reference("app", one("KEY", "key")).await;
    world.acme.until_data("app", &json!({ "KEY": old })).await;
    let ready = condition(&world.acme.until_reason("app", "Synced").await, "Ready").clone();
    world.acme.merge("SecretReference", "app", &json!({ "spec": { "suspend": true } })).await;
    let suspended = world.acme.until_reason("app", "Suspended").await;
    assert_eq!(condition(&suspended, "Ready")["status"], ready["status"], "Ready stays as it is");
    assert_eq!(condition(&suspended, "Ready")["lastTransitionTime"], ready["lastTransitionTime"]);
    world.bao.put("acme--key", json!({ "value": new })).await;
    world.acme.merge("Secret", "app", &json!({ "data": { "KEY": "ZHJpZnRlZA==" } })).await;
    // Another reference, made after, is served: this one had its chance.
    world.reference("clock", one("KEY", "key")).await;
    world.acme.until_data("clock", &json!({ "KEY": new })).await;
    world.polled(3.0).await;
    assert_eq!(world.acme.data("app").await.unwrap(), json!({ "KEY": "drifted" }));
    world.acme.merge("SecretReference", "app", &json!({ "spec": { "suspend": false } })).await;
    world.acme.until_data("app", &json!({ "KEY": new })).await;
    world.done().await;
}

#[tokio::test]
async fn sync_now_goes_past_the_cache_and_an_interval_of_zero_polls_nothing() {
    let world = World::new().await;
    let (old, new) = (plant("old"), plant("new"));
    // A key for each: what one of them sees changed, all that stand on it are told. Polls are at any moment of their
    // interval: this one is so long that none comes into the test.
    for (name, interval) in [("zero", "0s"), ("year", SELDOM)] {
        world.bao.put(&format!("acme--{name}"), json!({ "value": old })).await;
        let mut spec = one("KEY", name);
        spec["refreshInterval"] = json!(interval);
        world.reference(name, spec).await;
        world.acme.until_data(name, &json!({ "KEY": old })).await;
    }
    for key in ["zero", "year", "clock"] {
        world.bao.put(&format!("acme--{key}"), json!({ "value": new })).await;
    }
    world.reference("clock", one("KEY", "clock")).await;
    world.acme.until_data("clock", &json!({ "KEY": new })).await;
    world.polled(4.0).await;
    for (name, mark) in [("zero", "1"), ("year", "a mark of any kind")] {
        assert_eq!(world.acme.data(name).await.unwrap(), json!({ "KEY": old }), "{name} was polled");
        world.sync_now(name, mark).await;
        world.acme.until_data(name, &json!({ "KEY": new })).await;
        let handled = |r: &serde_json::Value| r["status"]["lastHandledSyncNow"] == mark;
        world.acme.until("SecretReference", name, "sync-now is handled", handled).await;
    }
    world.done().await;
}

#[tokio::test]
async fn a_store_that_goes_keeps_targets_and_one_that_returns_serves_them() {
    let mut world = World::new().await;
    let (old, new) = (plant("old"), plant("new"));
    world.bao.put("acme--key", json!({ "value": old })).await;
    let store = world.add_store(json!({})).await;
    let mut spec = world.spec(one("KEY", "key"));
    spec["storeRef"]["name"] = json!(store);
    world.acme.reference("app", &spec).await;
    world.acme.until_data("app", &json!({ "KEY": old })).await;
    let kept = Kept::of(&world.acme, "app").await;
    world.cluster.delete("ClusterSecretStore", None, &store).await;
    world.fails("app", "StoreNotFound", &[&store]).await;
    kept.check().await;
    let reference = world.acme.get("SecretReference", "app").await.unwrap();
    assert_ne!(condition(&reference, "StoreHealthy")["status"], "True");
    world.bao.put("acme--key", json!({ "value": new })).await;
    world.put_store(&store, json!({})).await;
    world.acme.until_data("app", &json!({ "KEY": new })).await;
    world.acme.until_reason("app", "Synced").await;
    world.done().await;
}

#[tokio::test]
async fn a_changed_store_serves_its_references_anew() {
    let mut world = World::new().await;
    let (first, second) = (plant("first"), plant("second"));
    world.bao.mount("other").await;
    world.bao.policy("reader", r#"path "+/data/*" { capabilities = ["read"] }"#).await;
    world.bao.put("acme--key", json!({ "value": first })).await;
    world.bao.must(reqwest::Method::POST, "other/data/acme--key", json!({ "data": { "value": second } })).await;
    let store = world.add_store(json!({})).await;
    let mut spec = world.spec(one("KEY", "key"));
    spec["storeRef"]["name"] = json!(store);
    spec["refreshInterval"] = json!("1h");
    world.acme.reference("app", &spec).await;
    world.acme.until_data("app", &json!({ "KEY": first })).await;
    world.put_store(&store, json!({ "provider": { "vault": { "mount": "other" } } })).await;
    world.acme.until_data("app", &json!({ "KEY": second })).await;
    wait_for("the store counts its references", || async {
        let store = world.store_object(&store).await;
        let current = store["status"]["observedGeneration"] == store["metadata"]["generation"];
        if current && store["status"]["references"] == 1 { Ok(()) } else { Err(store["status"].to_string()) }
    })
    .await;
    world.done().await;
}

/// A spec that changes to something that fails: Ready turns False at once, and the target stays.
#[tokio::test]
async fn a_new_generation_that_fails_is_not_ready() {
    let world = World::new().await;
    world.bao.put("acme--key", json!({ "value": plant("good") })).await;
    world.reference("app", one("KEY", "key")).await;
    world.acme.until_reason("app", "Synced").await;
    let kept = Kept::of(&world.acme, "app").await;
    world.reference("app", one("KEY", "mistyped")).await;
    world.fails("app", "SecretNotFound", &["acme--mistyped", "GLOBAL--mistyped"]).await;
    let reference = world.acme.get("SecretReference", "app").await.unwrap();
    assert_eq!(condition(&reference, "Ready")["status"], "False");
    assert_eq!(condition(&reference, "Ready")["reason"], "SecretNotFound");
    kept.check().await;
    world.done().await;
}

/// A new reference to a key that is not there costs no restart and no annotation once it is.
#[tokio::test]
async fn a_key_that_appears_is_noticed() {
    let world = World::new().await;
    world.reference("app", one("KEY", "later")).await;
    world.fails("app", "SecretNotFound", &["acme--later", "GLOBAL--later"]).await;
    let (global, own) = (plant("global"), plant("own"));
    world.bao.put("GLOBAL--later", json!({ "value": global })).await;
    world.acme.until_data("app", &json!({ "KEY": global })).await;
    world.bao.put("acme--later", json!({ "value": own })).await;
    world.acme.until_data("app", &json!({ "KEY": own })).await;
    world.done().await;
}
