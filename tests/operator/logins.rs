//! Credentials of stores: revoked, replaced, missing, and made by what needs them.

use serde_json::{Value, json};

use crate::{
    harness::{condition, plant, wait_for},
    world::{Kept, World, one, secret},
};

#[tokio::test]
async fn a_revoked_login_is_told_everywhere_and_a_new_one_mends_everything() {
    let world = World::new().await;
    let (old, new) = (plant("old"), plant("new"));
    world.bao.put("acme--key", json!({ "value": old })).await;
    for i in 0..3 {
        world.reference(&format!("app{i}"), one("KEY", "key")).await;
    }
    let mut kept = Vec::new();
    for i in 0..3 {
        world.acme.until_data(&format!("app{i}"), &json!({ "KEY": old })).await;
        kept.push(Kept::of(&world.acme, &format!("app{i}")).await);
    }
    let token = world.home.data("token").await.unwrap()["token"].as_str().unwrap().to_owned();
    world.bao.revoke(&token).await;
    let store = world.until_store(&world.store, "False", "AuthenticationFailed").await;
    assert!(store["status"]["guidance"].as_str().is_some_and(|g| !g.is_empty()), "{}", store["status"]);
    for (i, kept) in kept.iter().enumerate() {
        let name = format!("app{i}");
        world.fails(&name, "AuthenticationFailed", &[]).await;
        let follows = |r: &Value| condition(r, "StoreHealthy")["status"] == "False";
        let reference = world.acme.until("SecretReference", &name, "follows the store", follows).await;
        assert_eq!(condition(&reference, "StoreHealthy")["reason"], "AuthenticationFailed");
        assert_eq!(condition(&reference, "Ready")["status"], "True", "the target is good for staleAfter");
        kept.check().await;
        let events = world.acme.events("SecretReference", &name).await;
        assert!(
            !events.iter().any(|(r, _)| r == "AuthenticationFailed"),
            "the store's trouble is the store's: {events:?}"
        );
    }
    wait_for("an Event of the store", || async {
        let events = world.cluster.events(store["metadata"]["uid"].as_str().unwrap()).await;
        if events.iter().any(|(r, _)| r == "AuthenticationFailed") { Ok(()) } else { Err(format!("{events:?}")) }
    })
    .await;

    world.bao.put("acme--key", json!({ "value": new })).await;
    world.home.secret("token", &json!({ "token": world.bao.token(&["reader"]).await })).await;
    world.until_store(&world.store, "True", "Healthy").await;
    for i in 0..3 {
        let name = format!("app{i}");
        world.acme.until_data(&name, &json!({ "KEY": new })).await;
        let reference = world.acme.until_reason(&name, "Synced").await;
        assert_eq!(condition(&reference, "StoreHealthy")["status"], "True");
    }
    world.done().await;
}

#[tokio::test]
async fn an_app_role_logs_in_and_its_new_secret_id_is_taken() {
    let mut world = World::new().await;
    let (role_id, secret_id) = world.bao.app_role("op", &["reader"]).await;
    world.home.secret("role", &json!({ "id": secret_id })).await;
    let source = json!({ "name": "role", "namespace": world.home.name, "key": "id" });
    let auth = json!({ "token": null, "appRole": { "roleId": role_id, "secretId": { "secretRef": source } } });
    let store = world.add_store(json!({ "provider": { "vault": { "auth": auth } } })).await;
    world.until_store(&store, "True", "Healthy").await;
    let own = plant("own");
    world.bao.put("acme--key", json!({ "value": own })).await;
    let mut spec = world.spec(one("KEY", "key"));
    spec["storeRef"]["name"] = json!(store);
    world.acme.reference("app", &spec).await;
    world.acme.until_data("app", &json!({ "KEY": own })).await;
    // A secret id that is no good: the operator says so at once, though its session would last a while longer.
    world.home.secret("role", &json!({ "id": plant("no-secret-id") })).await;
    world.until_store(&store, "False", "AuthenticationFailed").await;
    let (_, secret_id) = world.bao.app_role("op", &["reader"]).await;
    world.home.secret("role", &json!({ "id": secret_id })).await;
    world.until_store(&store, "True", "Healthy").await;
    world.acme.until_reason("app", "Synced").await;
    world.done().await;
}

#[tokio::test]
async fn a_store_waits_for_its_credential() {
    let mut world = World::new().await;
    let auth = world.by_token("later");
    let store = world.add_store(json!({ "provider": { "vault": { "auth": auth } } })).await;
    let own = plant("own");
    world.bao.put("acme--key", json!({ "value": own })).await;
    let mut spec = world.spec(one("KEY", "key"));
    spec["storeRef"]["name"] = json!(store);
    world.acme.reference("app", &spec).await;
    let object = world.until_store(&store, "False", "StoreNotReady").await;
    let message = condition(&object, "Ready")["message"].as_str().unwrap();
    assert!(message.contains("later") && message.contains(": "), "names the Secret and what to do: {message}");
    let message = world.fails("app", "StoreNotReady", &["not ready"]).await;
    assert!(
        !message.contains(&world.home.name),
        "the tenant learns where the platform keeps its credentials: {message}"
    );
    world.home.secret("later", &json!({ "token": world.bao.token(&["reader"]).await })).await;
    world.acme.until_data("app", &json!({ "KEY": own })).await;
    world.done().await;
}

/// Rule 11, at one hop.
#[tokio::test]
async fn a_store_that_needs_what_it_makes_is_told_so() {
    let mut world = World::new().await;
    world.bao.put("acme--token", json!({ "value": world.bao.token(&["reader"]).await })).await;
    let auth = credential(&world.acme.name, "made");
    let store = world.add_store(json!({ "provider": { "vault": { "auth": auth } } })).await;
    let mut spec = world.spec(json!({ "data": [secret("token", "token")] }));
    spec["storeRef"]["name"] = json!(store);
    world.acme.reference("made", &spec).await;
    told(&world, &store, &[&store, "which reference", "made"]).await;
    world.fails("made", "StoreNotReady", &[]).await;
    assert!(world.acme.data("made").await.is_none());
    // The same Secret made from another store is no cycle.
    world.reference("made", json!({ "data": [secret("token", "token")] })).await;
    world.until_store(&store, "True", "Healthy").await;
    world.done().await;
}

/// Rule 11, at two hops, and the way out.
#[tokio::test]
async fn two_stores_that_need_each_other_are_told_so() {
    let mut world = World::new().await;
    let token = world.bao.token(&["reader"]).await;
    world.bao.put("acme--token", json!({ "value": token })).await;
    let auth = |name: &str| json!({ "provider": { "vault": { "auth": credential(&world.acme.name, name) } } });
    let (first, second) = (auth("of-first"), auth("of-second"));
    let first = world.add_store(first).await;
    let second = world.add_store(second).await;
    for (name, store) in [("of-first", &second), ("of-second", &first)] {
        let mut spec = world.spec(json!({ "data": [secret("token", "token")] }));
        spec["storeRef"]["name"] = json!(store);
        world.acme.reference(name, &spec).await;
    }
    for store in [&first, &second] {
        told(&world, store, &[&first, &second]).await;
    }
    world.fails("of-first", "StoreNotReady", &[]).await;
    // One of the Secrets is made by other means: both stores come up, one after the other.
    world.acme.delete("SecretReference", "of-first").await;
    world.acme.secret("of-first", &json!({ "token": token })).await;
    world.until_store(&first, "True", "Healthy").await;
    world.until_store(&second, "True", "Healthy").await;
    world.acme.until_data("of-second", &json!({ "token": token })).await;
    world.done().await;
}

fn credential(namespace: &str, name: &str) -> Value {
    json!({ "token": { "secretRef": { "name": name, "namespace": namespace, "key": "token" } } })
}

/// Waits until a store's Ready names the cycle.
async fn told(world: &World, store: &str, names: &[&str]) {
    wait_for(&format!("store {store} names {names:?}"), || async {
        let object = world.store_object(store).await;
        let ready = condition(&object, "Ready");
        let message = ready["message"].as_str().unwrap_or_default();
        let told = names.iter().all(|n| message.contains(n)) && message.contains(": ");
        if told && ready["reason"] == "StoreNotReady" { Ok(()) } else { Err(ready.to_string()) }
    })
    .await;
}
