//! From (org, name) to a value in the target.

use serde_json::json;

use crate::{
    harness::plant,
    world::{World, one, secret},
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_organisations_own_value_wins_and_global_fills_in() {
    let world = World::new().await;
    let (own, global, other) = (plant("own"), plant("global"), plant("other"));
    world.bao.put("acme--db-password", json!({ "value": own })).await;
    world.bao.put("GLOBAL--db-password", json!({ "value": plant("hidden") })).await;
    world.bao.put("GLOBAL--api-key", json!({ "value": global })).await;
    world.bao.put("beta--api-key", json!({ "value": other })).await;
    let data = json!([secret("PW", "db-password"), secret("KEY", "api-key"), { "key": "PLAIN", "value": "" }]);
    world.reference("app", json!({ "data": data })).await;
    world.acme.until_data("app", &json!({ "PW": own, "KEY": global, "PLAIN": "" })).await;

    let reference = world.acme.until_reason("app", "Synced").await;
    let status = &reference["status"];
    assert_eq!(status["org"], "acme");
    assert_eq!(
        status["entries"],
        json!([
            { "key": "KEY", "name": "api-key", "scope": "Global", "version": "1" },
            { "key": "PW", "name": "db-password", "scope": "Org", "version": "1" },
        ])
    );
    assert_eq!(status["target"]["keys"], 3);
    world.done().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_denied_key_never_falls_back() {
    let world = World::new().await;
    let policy = r#"path "secret/data/GLOBAL--*" { capabilities = ["read"] }"#;
    world.bao.policy("global-only", policy).await;
    world.home.secret("token", &json!({ "token": world.bao.token(&["global-only"]).await })).await;
    world.bao.put("GLOBAL--key", json!({ "value": plant("global") })).await;
    world.reference("app", one("KEY", "key")).await;
    let reference = world.acme.until_reason("app", "PermissionDenied").await;
    let message = crate::harness::condition(&reference, "Synced")["message"].as_str().unwrap();
    assert!(message.contains("acme--key") && message.contains("capabilities"), "{message}");
    assert!(world.acme.data("app").await.is_none(), "a target in spite of the denial");
    world.done().await;
}
