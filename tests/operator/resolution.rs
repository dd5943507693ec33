//! From (org, name) to a value: which scope, which store key.

use serde_json::json;

use crate::{
    harness::{condition, plant, reason},
    world::{World, one, secret},
};

#[tokio::test]
async fn the_organisations_own_value_wins_and_global_fills_in() {
    let world = World::new().await;
    let (own, global) = (plant("own"), plant("global"));
    world.bao.put("acme--db-password", json!({ "value": own })).await;
    world.bao.put("GLOBAL--db-password", json!({ "value": plant("hidden") })).await;
    world.bao.put("GLOBAL--api-key", json!({ "value": global })).await;
    world.bao.put("beta--api-key", json!({ "value": plant("other") })).await;
    let data = json!([secret("PW", "db-password"), secret("KEY", "api-key"), { "key": "PLAIN", "value": "" }]);
    world.reference("app", json!({ "data": data })).await;
    world.acme.until_data("app", &json!({ "PW": own, "KEY": global, "PLAIN": "" })).await;

    let status = world.acme.until_reason("app", "Synced").await["status"].take();
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

/// Rule 3: an error never falls back.
#[tokio::test]
async fn a_denied_key_never_falls_back() {
    let mut world = World::new().await;
    world.bao.policy("global-only", r#"path "secret/data/GLOBAL--*" { capabilities = ["read"] }"#).await;
    world.home.secret("global-only", &json!({ "token": world.bao.token(&["global-only"]).await })).await;
    let auth = world.by_token("global-only");
    world.store = world.add_store(json!({ "provider": { "vault": { "auth": auth } } })).await;
    world.bao.put("GLOBAL--key", json!({ "value": plant("global") })).await;
    world.reference("app", one("KEY", "key")).await;
    world.fails("app", "PermissionDenied", &["acme--key", "capabilities = [\"read\"]"]).await;
    assert!(world.acme.data("app").await.is_none(), "a target in spite of the denial");
    world.done().await;
}

/// What another organisation has is not even mentioned.
#[tokio::test]
async fn another_organisations_value_is_never_used() {
    let world = World::new().await;
    world.bao.put("beta--key", json!({ "value": plant("beta") })).await;
    world.reference("app", one("KEY", "key")).await;
    let message = world.fails("app", "SecretNotFound", &["acme--key", "GLOBAL--key"]).await;
    assert!(!message.contains("beta"), "{message}");
    assert!(world.acme.data("app").await.is_none());
    world.done().await;
}

#[tokio::test]
async fn a_store_without_global_does_not_fall_back() {
    let world = World::with(json!({ "tenancy": { "allowGlobal": false } })).await;
    world.bao.put("GLOBAL--key", json!({ "value": plant("global") })).await;
    world.reference("app", one("KEY", "key")).await;
    let message = world.fails("app", "SecretNotFound", &["acme--key"]).await;
    assert!(!message.contains("GLOBAL"), "names a scope that it may not use: {message}");
    world.done().await;
}

#[tokio::test]
async fn a_namespace_without_an_organisation_gets_platform_wide_names_where_allowed() {
    let mut world = World::with(json!({ "tenancy": { "allowUnbound": true } })).await;
    let unbound = world.space("").await;
    let global = plant("global");
    world.bao.put("GLOBAL--key", json!({ "value": global })).await;
    unbound.reference("app", &world.spec(one("KEY", "key"))).await;
    unbound.until_data("app", &json!({ "KEY": global })).await;
    let status = unbound.until_reason("app", "Synced").await["status"].take();
    assert!(status["org"].is_null(), "{status}");
    world.done().await;
}

#[tokio::test]
async fn a_store_of_one_fixed_organisation_and_one_with_its_own_label() {
    let mut world = World::new().await;
    let (beta, team) = (plant("beta"), plant("team"));
    world.bao.put("beta--key", json!({ "value": beta })).await;
    world.bao.put("team-x--key", json!({ "value": team })).await;
    // The namespace is acme's by its label; these stores say otherwise, and the store's word counts.
    world
        .cluster
        .merge("Namespace", None, &world.acme.name, &json!({ "metadata": { "labels": { "team": "team-x" } } }))
        .await;
    let selector = json!({ "matchLabels": { "team": "team-x" } });
    let fixed =
        world.add_store(json!({ "tenancy": { "orgFrom": { "org": "beta" }, "namespaceSelector": selector } })).await;
    let labelled = world.add_store(json!({ "tenancy": { "orgFrom": { "namespaceLabel": "team" } } })).await;
    for (name, store) in [("fixed", &fixed), ("labelled", &labelled)] {
        let mut spec = world.spec(one("KEY", "key"));
        spec["storeRef"]["name"] = json!(store);
        world.acme.reference(name, &spec).await;
    }
    world.acme.until_data("fixed", &json!({ "KEY": beta })).await;
    world.acme.until_data("labelled", &json!({ "KEY": team })).await;
    world.done().await;
}

/// Rule 10: a tenant cannot tell a store that is not there from one that is not for it.
#[tokio::test]
async fn a_store_that_does_not_admit_the_namespace_looks_like_none() {
    let mut world = World::new().await;
    let selector = json!({ "matchLabels": { "team": "nobody" } });
    let closed = world.add_store(json!({ "tenancy": { "namespaceSelector": selector } })).await;
    world.bao.put("acme--key", json!({ "value": plant("own") })).await;
    let mut answers = Vec::new();
    for (name, store) in [("closed", closed.as_str()), ("missing", "no-such-store")] {
        let mut spec = world.spec(one("KEY", "key"));
        spec["storeRef"]["name"] = json!(store);
        world.acme.reference(name, &spec).await;
        let reference = world.acme.until_reason(name, "StoreNotFound").await;
        let texts = ["Ready", "Synced", "StoreHealthy", "Stalled"].map(|kind| {
            let c = condition(&reference, kind);
            format!("{} {} {}", c["status"], c["reason"], c["message"]).replace(store, "STORE")
        });
        answers.push(texts);
    }
    assert_eq!(answers[0], answers[1]);
    world.done().await;
}

#[tokio::test]
async fn layouts_and_name_styles_spell_the_same_name_differently() {
    let mut world = World::new().await;
    let snake = world.add_store(json!({ "layout": "Path", "nameStyle": "ScreamingSnake" })).await;
    let verbatim = world.add_store(json!({ "layout": "Path", "nameStyle": "Verbatim" })).await;
    let (flat, path, exact, folder) = (plant("flat"), plant("path"), plant("exact"), plant("folder"));
    world.bao.put("acme--db-password", json!({ "value": flat })).await;
    world.bao.put("acme/DB_PASSWORD", json!({ "value": path })).await;
    world.bao.put("acme/Db_Password.v1", json!({ "value": exact })).await;
    world.bao.put("GLOBAL/team/DB_PASSWORD", json!({ "value": folder })).await;
    world.reference("flat", one("V", "db-password")).await;
    for (name, store, data) in [
        ("path", &snake, json!([secret("V", "db-password"), secret("F", "team/db-password")])),
        ("exact", &verbatim, json!([secret("V", "Db_Password.v1")])),
    ] {
        world.acme.reference(name, &json!({ "storeRef": { "name": store }, "data": data })).await;
    }
    world.acme.until_data("flat", &json!({ "V": flat })).await;
    world.acme.until_data("path", &json!({ "V": path, "F": folder })).await;
    world.acme.until_data("exact", &json!({ "V": exact })).await;
    world.done().await;
}

/// The default style takes no other spelling, and the reader is told which field.
#[tokio::test]
async fn a_name_in_the_wrong_style_is_an_invalid_reference() {
    let world = World::new().await;
    world.reference("app", one("KEY", "Db_Password")).await;
    world.fails("app", "InvalidReference", &["spec.data"]).await;
    let reference = world.acme.get("SecretReference", "app").await.unwrap();
    assert_eq!(condition(&reference, "Stalled")["status"], "True");
    assert_eq!(reason(&reference), "InvalidReference");
    world.done().await;
}
