//! Whose a Secret is: taken over, left behind, taken back.

use kube::api::PropagationPolicy;
use serde_json::{Value, json};

use crate::{
    harness::{Space, plant, wait_for},
    world::{Kept, World, one, secret},
};

/// The cluster's garbage collector takes it away, when it has the time.
async fn gone(space: &Space, secret: &str) {
    wait_for(&format!("Secret {secret} is gone"), || async {
        if space.data(secret).await.is_none() { Ok(()) } else { Err("it is there".to_owned()) }
    })
    .await;
}

fn with_target(key: &str, name: &str, target: Value) -> Value {
    let mut spec = one(key, name);
    spec["target"] = target;
    spec
}

#[tokio::test]
async fn adopting_takes_a_secret_over_whole() {
    let world = World::new().await;
    let value = plant("value");
    world.bao.put("acme--key", json!({ "value": value })).await;
    let before = world.acme.secret("app", &json!({ "KEY": "old", "OTHER": "old" })).await;
    world.acme.merge("Secret", "app", &json!({ "data": { "THIRD": "b2xk" } })).await;
    world.reference("app", with_target("KEY", "key", json!({ "creationPolicy": "Adopt" }))).await;
    let after = world.acme.until_data("app", &json!({ "KEY": value })).await;
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"], "taken over, not replaced");
    assert_eq!(after["metadata"]["ownerReferences"][0]["name"], "app");
    let reference = world.acme.until_reason("app", "Synced").await;
    assert_eq!(reference["status"]["target"]["keys"], 1);
    // From here on it is as if it had always been so.
    let second = plant("second");
    world.bao.put("acme--key", json!({ "value": second })).await;
    world.acme.until_data("app", &json!({ "KEY": second })).await;
    world.done().await;
}

#[tokio::test]
async fn a_deleted_reference_takes_its_target_along_or_leaves_it() {
    let world = World::new().await;
    let value = plant("value");
    world.bao.put("acme--key", json!({ "value": value })).await;
    world.reference("goes", one("KEY", "key")).await;
    world.reference("stays", with_target("KEY", "key", json!({ "deletionPolicy": "Retain" }))).await;
    world.acme.until_data("goes", &json!({ "KEY": value })).await;
    let stays = world.acme.until_data("stays", &json!({ "KEY": value })).await;
    assert!(stays["metadata"]["ownerReferences"].is_null(), "the garbage collector would take it");
    let kept = Kept::of(&world.acme, "stays").await;
    world.acme.delete("SecretReference", "goes").await;
    world.acme.delete("SecretReference", "stays").await;
    gone(&world.acme, "goes").await;
    world.polled(0.0).await;
    kept.check().await;
    // Made again, the reference takes back what it left.
    let second = plant("second");
    world.bao.put("acme--key", json!({ "value": second })).await;
    world.reference("stays", with_target("KEY", "key", json!({ "deletionPolicy": "Retain" }))).await;
    let again = world.acme.until_data("stays", &json!({ "KEY": second })).await;
    assert_eq!(stays["metadata"]["uid"], again["metadata"]["uid"]);
    world.done().await;
}

/// A restored backup, a GitOps tool that makes the reference anew: the owner's uid is dead, and the Secret is ours.
#[tokio::test]
async fn a_reference_that_was_made_anew_owns_its_target_again() {
    let world = World::new().await;
    let value = plant("value");
    world.bao.put("acme--key", json!({ "value": value })).await;
    world.reference("app", one("KEY", "key")).await;
    let first = world.acme.until_data("app", &json!({ "KEY": value })).await;
    world.acme.until_reason("app", "Synced").await;
    let orphan = PropagationPolicy::Orphan;
    world.cluster.delete_with("SecretReference", Some(&world.acme.name), "app", orphan).await;
    wait_for("the reference is gone", || async {
        match world.acme.get("SecretReference", "app").await {
            None => Ok(()),
            Some(reference) => Err(reference["metadata"].to_string()),
        }
    })
    .await;
    assert_eq!(world.acme.data("app").await.unwrap(), json!({ "KEY": value }), "orphaned");
    // The garbage collector takes the owner reference away. Put the dead one back, as a restored backup has it.
    let dead = &first["metadata"]["ownerReferences"];
    world.acme.merge("Secret", "app", &json!({ "metadata": { "ownerReferences": dead } })).await;
    let made = world.reference("app", one("KEY", "key")).await;
    let owned = |s: &Value| s["metadata"]["ownerReferences"][0]["uid"] == made["metadata"]["uid"];
    let second = world
        .acme
        .until("Secret", "app", "owned by the new reference", |s| {
            owned(s) && s["metadata"]["ownerReferences"].as_array().is_some_and(|o| o.len() == 1)
        })
        .await;
    assert_eq!(second["data"], first["data"]);
    world.acme.until_reason("app", "Synced").await;
    world.acme.delete("SecretReference", "app").await;
    gone(&world.acme, "app").await;
    world.done().await;
}

#[tokio::test]
async fn an_immutable_target_cannot_follow_and_says_so() {
    let world = World::new().await;
    let (old, new) = (plant("old"), plant("new"));
    world.bao.put("acme--key", json!({ "value": old })).await;
    world.reference("app", with_target("KEY", "key", json!({ "immutable": true }))).await;
    let target = world.acme.until_data("app", &json!({ "KEY": old })).await;
    assert_eq!(target["immutable"], true);
    let kept = Kept::of(&world.acme, "app").await;
    world.bao.put("acme--key", json!({ "value": new })).await;
    world.fails("app", "TargetImmutable", &["app", "delete"]).await;
    kept.check().await;
    // The way that the message names.
    world.acme.delete("Secret", "app").await;
    let target = world.acme.until_data("app", &json!({ "KEY": new })).await;
    assert_eq!(target["immutable"], true);
    world.acme.until_reason("app", "Synced").await;
    world.done().await;
}

#[tokio::test]
async fn typed_targets_have_their_keys() {
    let world = World::new().await;
    let (user, password) = (plant("user"), plant("password"));
    world.bao.put("acme--login", json!({ "username": user, "password": password })).await;
    world.bao.put("acme--other", json!({ "user": user })).await;
    let typed = |name: &str| {
        let target = json!({ "name": "login", "type": "kubernetes.io/basic-auth" });
        json!({ "target": target, "dataFrom": [{ "extract": { "name": name } }] })
    };
    world.reference("app", typed("other")).await;
    world.fails("app", "InvalidReference", &["kubernetes.io/basic-auth"]).await;
    assert!(world.acme.data("login").await.is_none());
    world.reference("app", typed("login")).await;
    let target = world.acme.until_data("login", &json!({ "username": user, "password": password })).await;
    assert_eq!(target["type"], "kubernetes.io/basic-auth");
    // A type that the platform did not allow.
    let mut spec = json!({ "data": [secret("k", "login")], "target": { "type": "example.com/other" } });
    spec["data"][0]["secretRef"]["property"] = json!("username");
    world.reference("other", spec).await;
    world.fails("other", "InvalidReference", &["spec.target.type"]).await;
    world.done().await;
}
