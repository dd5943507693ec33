//! A store that does not answer, says slow down, or is not what it should be.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    harness::{Bao, Space, condition, plant, unique, wait_for},
    world::{Kept, World, one},
};

fn stale(seconds: &str) -> Value {
    let mut spec = one("KEY", "key");
    spec["refreshInterval"] = json!("2s");
    spec["staleAfter"] = json!(seconds);
    spec
}

async fn until_ready(space: &Space, name: &str, status: &str) -> Value {
    let what = format!("Ready is {status}");
    space.until("SecretReference", name, &what, |r| condition(r, "Ready")["status"] == status).await
}

/// Killed, back with another value, sealed: nothing is lost on the way, and what is stale says so.
#[tokio::test]
async fn an_outage_keeps_targets_and_ends_by_itself() {
    let mut world = World::on(Bao::own().await, json!({ "limits": { "timeout": "3s" } })).await;
    let (old, new) = (plant("old"), plant("new"));
    world.bao.put("acme--key", json!({ "value": old })).await;
    world.reference("short", stale("4s")).await;
    world.reference("long", stale("1h")).await;
    world.acme.until_data("short", &json!({ "KEY": old })).await;
    world.acme.until_data("long", &json!({ "KEY": old })).await;
    let kept = [Kept::of(&world.acme, "short").await, Kept::of(&world.acme, "long").await];

    world.bao.kill();
    let store = world.until_store(&world.store, "False", "StoreUnavailable").await;
    assert!(store["status"]["guidance"].as_str().is_some_and(|g| g.contains(": ")), "{}", store["status"]);
    for name in ["short", "long"] {
        world.fails(name, "StoreUnavailable", &[]).await;
    }
    let reference = until_ready(&world.acme, "short", "False").await;
    assert_eq!(condition(&reference, "Ready")["reason"], "StoreUnavailable");
    let reference = world.acme.get("SecretReference", "long").await.unwrap();
    assert_eq!(condition(&reference, "Ready")["status"], "True", "an hour has not passed");
    // What is new meanwhile says what it waits for.
    world.reference("new", one("KEY", "key")).await;
    world.fails("new", "StoreUnavailable", &[]).await;
    for kept in &kept {
        kept.check().await;
    }

    world.bao.start_again().await;
    world.bao.put("acme--key", json!({ "value": new })).await;
    world.until_store(&world.store, "True", "Healthy").await;
    for name in ["short", "long", "new"] {
        world.acme.until_data(name, &json!({ "KEY": new })).await;
        until_ready(&world.acme, name, "True").await;
    }

    world.bao.seal().await;
    wait_for("the store says what to do", || async {
        let store = world.store_object(&world.store).await;
        let message = condition(&store, "Ready")["message"].as_str().unwrap().to_owned();
        if message.contains("sealed: unseal") { Ok(()) } else { Err(message) }
    })
    .await;
    world.fails("short", "StoreUnavailable", &[]).await;
    assert_eq!(world.acme.data("short").await.unwrap(), json!({ "KEY": new }));
    world.done().await;
}

#[tokio::test]
async fn a_quota_of_the_store_is_obeyed_and_told() {
    let world = World::new().await;
    let (old, new) = (plant("old"), plant("new"));
    world.bao.put("acme--key", json!({ "value": old })).await;
    world.reference("app", one("KEY", "key")).await;
    world.acme.until_data("app", &json!({ "KEY": old })).await;
    let kept = Kept::of(&world.acme, "app").await;
    let quota = format!("sys/quotas/rate-limit/{}", unique());
    let path = format!("{}/secret", world.bao.namespace);
    // Less than a read a second, which is what is wanted of it.
    let limit = json!({ "path": path, "rate": 1, "interval": "10s" });
    world.bao.root(Method::POST, &quota, limit).await;
    let message = world.fails("app", "RateLimited", &[]).await;
    assert!(!message.contains(char::is_numeric), "a text that ticks is a write for each look: {message}");
    kept.check().await;
    world.bao.root(Method::DELETE, &quota, Value::Null).await;
    world.bao.put("acme--key", json!({ "value": new })).await;
    world.acme.until_data("app", &json!({ "KEY": new })).await;
    world.acme.until_reason("app", "Synced").await;
    world.done().await;
}

#[tokio::test]
async fn a_store_that_is_not_what_it_should_be_says_which_field() {
    let mut world = World::new().await;
    world.bao.policy("reader", r#"path "*" { capabilities = ["read", "list"] }"#).await;
    world.bao.put("GLOBAL--key", json!({ "value": plant("global") })).await;
    let mount = world.add_store(json!({ "provider": { "vault": { "mount": "no-such-mount" } } })).await;
    let namespace = format!("{}/no-such-namespace", world.bao.namespace);
    let namespace = world.add_store(json!({ "provider": { "vault": { "namespace": namespace } } })).await;
    for (name, store, parts) in [("mount", &mount, ["mount"]), ("namespace", &namespace, ["namespace"])] {
        let object = world.until_store(store, "False", "StoreMisconfigured").await;
        let message = condition(&object, "Ready")["message"].as_str().unwrap();
        assert!(parts.iter().all(|p| message.contains(p)), "{message}");
        let mut spec = world.spec(one("KEY", "key"));
        spec["storeRef"]["name"] = json!(store);
        world.acme.reference(name, &spec).await;
        world.fails(name, "StoreMisconfigured", &[]).await;
        assert!(world.acme.data(name).await.is_none(), "fell back on a misconfiguration");
    }
    // The mount of a store that works goes, and comes back.
    world.bao.mount("going").await;
    let going = world.add_store(json!({ "provider": { "vault": { "mount": "going" } } })).await;
    let own = plant("own");
    let put = json!({ "data": { "value": own } });
    world.bao.must(Method::POST, "going/data/acme--key", put.clone()).await;
    let mut spec = world.spec(one("KEY", "key"));
    spec["storeRef"]["name"] = json!(going);
    world.acme.reference("going", &spec).await;
    world.acme.until_data("going", &json!({ "KEY": own })).await;
    let kept = Kept::of(&world.acme, "going").await;
    world.bao.must(Method::DELETE, "sys/mounts/going", Value::Null).await;
    world.fails("going", "StoreMisconfigured", &[]).await;
    kept.check().await;
    world.bao.mount("going").await;
    world.bao.must(Method::POST, "going/data/acme--key", put).await;
    world.acme.until_reason("going", "Synced").await;
    world.done().await;
}

/// One key is forbidden while the store is well: that reference alone fails, and recovers when the policy does.
#[tokio::test]
async fn a_forbidden_key_is_its_references_trouble_alone() {
    let world = World::new().await;
    let (own, other) = (plant("own"), plant("other"));
    world.bao.put("acme--key", json!({ "value": own })).await;
    world.bao.put("acme--other", json!({ "value": other })).await;
    world.reference("app", one("KEY", "key")).await;
    world.reference("other", one("KEY", "other")).await;
    world.acme.until_data("app", &json!({ "KEY": own })).await;
    world.acme.until_data("other", &json!({ "KEY": other })).await;
    let kept = Kept::of(&world.acme, "app").await;
    let all = r#"path "secret/data/*" { capabilities = ["read"] } "#;
    world.bao.policy("reader", &format!("{all} path \"secret/data/acme--key\" {{ capabilities = [\"deny\"] }}")).await;
    world.fails("app", "PermissionDenied", &["acme--key"]).await;
    kept.check().await;
    let other = world.acme.get("SecretReference", "other").await.unwrap();
    assert_eq!(condition(&other, "Synced")["status"], "True");
    assert_eq!(condition(&world.store_object(&world.store).await, "Ready")["status"], "True");
    let events = world.acme.events("SecretReference", "app").await;
    assert!(
        events.iter().filter(|(r, _)| r == "PermissionDenied").count() <= 1,
        "one Event, not one a cycle: {events:?}"
    );
    world.bao.policy("reader", all).await;
    world.acme.until_reason("app", "Synced").await;
    world.done().await;
}
