//! Secrets and keys that belong to someone else.

use serde_json::{Value, json};

use crate::{
    harness::{Cluster, plant, wait_for},
    world::{Kept, World, one, secret},
};

fn merging(target: &str, data: Value) -> Value {
    json!({ "data": data, "target": { "name": target, "creationPolicy": "Merge" } })
}

#[tokio::test]
async fn a_foreign_secret_is_not_touched() {
    let world = World::new().await;
    let value = plant("value");
    world.bao.put("acme--key", json!({ "value": value })).await;
    world.acme.secret("app", &json!({ "KEY": "foreign" })).await;
    let before = world.acme.get("Secret", "app").await.unwrap();
    world.reference("app", one("KEY", "key")).await;
    world.fails("app", "TargetConflict", &["app", "Adopt"]).await;
    let after = world.acme.get("Secret", "app").await.unwrap();
    assert_eq!(before["metadata"]["resourceVersion"], after["metadata"]["resourceVersion"], "written to");
    world.acme.delete("Secret", "app").await;
    world.acme.until_data("app", &json!({ "KEY": value })).await;
    world.done().await;
}

#[tokio::test]
async fn two_references_to_one_target_do_not_fight() {
    let world = World::new().await;
    let (one_value, two_value) = (plant("one"), plant("two"));
    world.bao.put("acme--one", json!({ "value": one_value })).await;
    world.bao.put("acme--two", json!({ "value": two_value })).await;
    let to = |name: &str| {
        let mut spec = one("KEY", name);
        spec["target"] = json!({ "name": "shared" });
        spec
    };
    world.reference("one", to("one")).await;
    world.acme.until_data("shared", &json!({ "KEY": one_value })).await;
    let kept = Kept::of(&world.acme, "shared").await;
    world.reference("two", to("two")).await;
    world.fails("two", "TargetConflict", &["shared"]).await;
    // Nor may it take by adoption what another reference owns.
    let mut adopting = to("two");
    adopting["target"]["creationPolicy"] = json!("Adopt");
    world.reference("three", adopting).await;
    world.fails("three", "TargetConflict", &["shared"]).await;
    kept.check().await;
    world.polled(3.0).await;
    world.acme.until_reason("one", "Synced").await;
    kept.check().await;
    world.done().await;
}

#[tokio::test]
async fn two_references_merge_into_a_foreign_secret_and_leave_without_a_trace() {
    let world = World::new().await;
    let (a, b, rotated) = (plant("a"), plant("b"), plant("rotated"));
    world.bao.put("acme--a", json!({ "value": a })).await;
    world.bao.put("acme--b", json!({ "value": b })).await;
    world.acme.secret("shared", &json!({ "THEIRS": "theirs" })).await;
    let theirs = world.acme.get("Secret", "shared").await.unwrap();
    world.reference("one", merging("shared", json!([secret("A", "a")]))).await;
    world.reference("two", merging("shared", json!([secret("B", "b")]))).await;
    let both = world.acme.until_data("shared", &json!({ "THEIRS": "theirs", "A": a, "B": b })).await;
    assert!(both["metadata"]["ownerReferences"].is_null(), "it is not ours");
    assert_eq!(both["metadata"]["uid"], theirs["metadata"]["uid"]);
    world.acme.until_reason("one", "Synced").await;
    world.acme.until_reason("two", "Synced").await;
    world.bao.put("acme--a", json!({ "value": rotated })).await;
    world.acme.until_data("shared", &json!({ "THEIRS": "theirs", "A": rotated, "B": b })).await;
    // Drift of a merged key.
    world.acme.merge("Secret", "shared", &json!({ "data": { "B": "ZWRpdGVk" } })).await;
    world.fails("two", "TargetConflict", &["B"]).await;
    world.acme.merge("Secret", "shared", &json!({ "data": { "B": null } })).await;
    world.acme.until_data("shared", &json!({ "THEIRS": "theirs", "A": rotated, "B": b })).await;
    world.acme.delete("SecretReference", "one").await;
    world.acme.until_data("shared", &json!({ "THEIRS": "theirs", "B": b })).await;
    world.acme.delete("SecretReference", "two").await;
    let left = world.acme.until_data("shared", &json!({ "THEIRS": "theirs" })).await;
    assert_eq!(left["metadata"]["uid"], theirs["metadata"]["uid"]);
    without_marks(&world.cluster, &world.acme.name, "shared").await;
    world.done().await;
}

/// Neither label nor annotation of ours is left.
async fn without_marks(cluster: &Cluster, namespace: &str, name: &str) {
    wait_for("no mark of ours is left", || async {
        let secret = cluster.get("Secret", Some(namespace), name).await.unwrap();
        let metadata = json!([secret["metadata"]["labels"], secret["metadata"]["annotations"]]).to_string();
        if metadata.contains("secretref") { Err(metadata) } else { Ok(()) }
    })
    .await;
}

#[tokio::test]
async fn a_merged_key_that_someone_else_holds_is_named() {
    let world = World::new().await;
    let value = plant("value");
    world.bao.put("acme--key", json!({ "value": value })).await;
    world.acme.secret("shared", &json!({ "THEIRS": "theirs" })).await;
    let before = world.acme.get("Secret", "shared").await.unwrap();
    world.reference("app", merging("shared", json!([secret("OURS", "key"), secret("THEIRS", "key")]))).await;
    let message = world.fails("app", "TargetConflict", &["THEIRS"]).await;
    assert!(!message.contains("OURS"), "names what is in the way alone: {message}");
    let after = world.acme.get("Secret", "shared").await.unwrap();
    assert_eq!(before["data"], after["data"], "half of it was merged");
    world.reference("app", merging("shared", json!([secret("OURS", "key")]))).await;
    world.acme.until_data("shared", &json!({ "THEIRS": "theirs", "OURS": value })).await;
    world.done().await;
}

/// Merging needs somebody who makes the Secret; when they do, it goes on.
#[tokio::test]
async fn merging_waits_for_the_secret() {
    let world = World::new().await;
    let value = plant("value");
    world.bao.put("acme--key", json!({ "value": value })).await;
    world.reference("app", merging("later", json!([secret("OURS", "key")]))).await;
    world.fails("app", "TargetRejected", &["later", "Merge"]).await;
    assert!(world.acme.data("later").await.is_none());
    world.acme.secret("later", &json!({ "THEIRS": "theirs" })).await;
    world.acme.until_data("later", &json!({ "THEIRS": "theirs", "OURS": value })).await;
    world.done().await;
}

/// Server-side apply tracks `stringData` under that name, so the API server sees neither the conflict nor that somebody
/// else's keys remain: it would overwrite the one, and empty the Secret when the merging reference goes.
#[tokio::test]
async fn keys_that_were_applied_as_string_data_are_as_safe() {
    let world = World::new().await;
    let value = plant("value");
    world.bao.put("acme--key", json!({ "value": value })).await;
    let metadata = json!({ "name": "shared", "namespace": world.acme.name });
    let texts = json!({ "THEIRS": "theirs", "MORE": "more" });
    world
        .cluster
        .apply(&json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": texts }))
        .await;
    world.reference("app", merging("shared", json!([secret("THEIRS", "key")]))).await;
    world.fails("app", "TargetConflict", &["THEIRS"]).await;
    assert_eq!(world.acme.data("shared").await.unwrap(), texts);
    world.reference("app", merging("shared", json!([secret("OURS", "key")]))).await;
    world.acme.until_data("shared", &json!({ "THEIRS": "theirs", "MORE": "more", "OURS": value })).await;
    world.acme.delete("SecretReference", "app").await;
    world.acme.until_data("shared", &texts).await;
    without_marks(&world.cluster, &world.acme.name, "shared").await;
    // Taken over whole, they go like any others.
    world
        .reference(
            "adopts",
            json!({
                "data": [secret("THEIRS", "key")],
                "target": { "name": "shared", "creationPolicy": "Adopt" },
            }),
        )
        .await;
    world.acme.until_data("shared", &json!({ "THEIRS": value })).await;
    world.done().await;
}
