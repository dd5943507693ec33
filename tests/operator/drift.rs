//! Somebody else changes a target.

use serde_json::{Value, json};

use crate::{
    harness::{plant, wait_for},
    world::{World, one, secret},
};

const MANAGED: &str = "secretref.dev/managed";

#[tokio::test]
async fn what_is_ours_is_put_right_and_what_is_not_stays() {
    let world = World::new().await;
    let value = plant("value");
    world.bao.put("acme--key", json!({ "value": value })).await;
    let mut spec = json!({ "data": [secret("A", "key"), secret("B", "key")], "refreshInterval": "1h" });
    spec["target"] = json!({ "metadata": { "labels": { "team": "x" }, "annotations": { "note": "y" } } });
    world.reference("app", spec).await;
    let expected = json!({ "A": value, "B": value });
    let first = world.acme.until_data("app", &expected).await;
    assert_eq!(first["metadata"]["labels"]["team"], "x");
    assert_eq!(first["metadata"]["annotations"]["note"], "y");
    world.acme.until_reason("app", "Synced").await;

    let foreign = json!({ "metadata": { "labels": { "foreign": "l" }, "annotations": { "foreign": "a" } } });
    world.acme.merge("Secret", "app", &foreign).await;
    for edit in [
        json!({ "data": { "A": "ZWRpdGVk" } }),
        json!({ "data": { "B": null } }),
        json!({ "metadata": { "labels": { MANAGED: null } } }),
        json!({ "metadata": { "labels": { "team": "z" }, "annotations": { "note": null } } }),
        json!({ "metadata": { "ownerReferences": null } }),
    ] {
        world.acme.merge("Secret", "app", &edit).await;
        let right = |s: &Value| {
            s["data"] == first["data"]
                && s["metadata"]["labels"][MANAGED] == "true"
                && s["metadata"]["labels"]["team"] == "x"
                && s["metadata"]["annotations"]["note"] == "y"
                && s["metadata"]["ownerReferences"] == first["metadata"]["ownerReferences"]
        };
        let secret = world.acme.until("Secret", "app", &format!("repaired after {edit}"), right).await;
        assert_eq!(secret["metadata"]["uid"], first["metadata"]["uid"]);
        assert_eq!(secret["metadata"]["labels"]["foreign"], "l", "after {edit}");
        assert_eq!(secret["metadata"]["annotations"]["foreign"], "a", "after {edit}");
    }
    let note = world.acme.until_event("SecretReference", "app", "TargetRepaired").await;
    assert!(note.contains("app"), "{note}");
    world.done().await;
}

#[tokio::test]
async fn a_deleted_target_is_made_again() {
    let world = World::new().await;
    let value = plant("value");
    world.bao.put("acme--key", json!({ "value": value })).await;
    let mut spec = one("KEY", "key");
    spec["refreshInterval"] = json!("1h");
    world.reference("app", spec).await;
    let first = world.acme.until_data("app", &json!({ "KEY": value })).await;
    let before = world.acme.until_reason("app", "Synced").await;
    world.acme.delete("Secret", "app").await;
    let again = |s: &Value| s["metadata"]["uid"] != first["metadata"]["uid"] && s["data"] == first["data"];
    let second = world.acme.until("Secret", "app", "made again", again).await;
    let told = |r: &Value| r["status"]["target"]["uid"] == second["metadata"]["uid"];
    let after = world.acme.until("SecretReference", "app", "names the new target", told).await;
    assert_ne!(before["status"]["target"]["uid"], after["status"]["target"]["uid"]);
    world.done().await;
}

/// A store that does not hold the value any more is no reason to leave a tampered target alone for ever, nor to lose it.
#[tokio::test]
async fn keys_leave_the_target_with_the_spec() {
    let world = World::new().await;
    let value = plant("value");
    world.bao.put("acme--key", json!({ "value": value })).await;
    world.reference("app", json!({ "data": [secret("A", "key"), secret("B", "key")] })).await;
    world.acme.until_data("app", &json!({ "A": value, "B": value })).await;
    world.reference("app", json!({ "data": [secret("B", "key"), secret("C", "key")] })).await;
    world.acme.until_data("app", &json!({ "B": value, "C": value })).await;
    wait_for("the status counts them", || async {
        let status = world.acme.get("SecretReference", "app").await.unwrap()["status"].take();
        let entries = status["entries"].as_array().into_iter().flatten();
        let keys: Vec<&str> = entries.filter_map(|e| e["key"].as_str()).collect();
        if keys == ["B", "C"] { Ok(()) } else { Err(format!("{keys:?}")) }
    })
    .await;
    world.done().await;
}
