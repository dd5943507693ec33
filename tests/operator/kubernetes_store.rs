//! The store that needs nothing else: Secrets of a platform namespace. Its changes come by watch.

use serde_json::{Value, json};

use crate::{
    harness::{Space, condition, plant},
    world::{Kept, World, fails, one, secret},
};

/// A world whose first store is the platform namespace `vault`.
async fn world() -> (World, Space) {
    let mut world = World::new().await;
    let vault = world.space("").await;
    let provider = json!({ "vault": null, "kubernetes": { "namespace": vault.name } });
    world.store = world.add_store(json!({ "provider": provider })).await;
    world.until_store(&world.store, "True", "Healthy").await;
    (world, vault)
}

/// Nothing is polled, whatever the interval: it must arrive by watch.
fn hourly(rest: Value) -> Value {
    let mut spec = rest;
    spec["refreshInterval"] = json!("1h");
    spec
}

#[tokio::test]
async fn the_same_rules_on_secrets() {
    let (mut world, vault) = world().await;
    let (own, global, user) = (plant("own"), plant("global"), plant("user"));
    vault.secret("acme--db-password", &json!({ "value": own })).await;
    vault.secret("global--db-password", &json!({ "value": plant("hidden") })).await;
    vault.secret("global--api-key", &json!({ "value": global })).await;
    vault.secret("beta--only", &json!({ "value": plant("beta") })).await;
    vault.secret("acme--login", &json!({ "username": user, "tls.crt": own })).await;
    let property = |p: &str| json!({ "key": p, "secretRef": { "name": "login", "property": p } });
    let data =
        json!([secret("PW", "db-password"), secret("KEY", "api-key"), property("username"), property("tls.crt")]);
    world.reference("app", hourly(json!({ "data": data }))).await;
    let expected = json!({ "PW": own, "KEY": global, "username": user, "tls.crt": own });
    world.acme.until_data("app", &expected).await;
    world.reference("all", hourly(json!({ "dataFrom": [{ "extract": { "name": "login" } }] }))).await;
    world.acme.until_data("all", &json!({ "username": user, "tls.crt": own })).await;
    world.reference("other", hourly(one("K", "only"))).await;
    world.fails("other", "SecretNotFound", &["acme--only", "global--only"]).await;
    world.reference("bare", hourly(one("K", "login"))).await;
    world.fails("bare", "PropertyNotFound", &["acme--login", "username", "tls.crt"]).await;
    let beta = world.space("beta").await;
    beta.reference("app", &world.spec(hourly(one("K", "api-key")))).await;
    beta.until_data("app", &json!({ "K": global })).await;
    let unbound = world.space("").await;
    unbound.reference("app", &world.spec(hourly(one("K", "api-key")))).await;
    fails(&unbound, "app", "OrgNotBound", &[]).await;
    world.done().await;
}

#[tokio::test]
async fn changes_arrive_by_watch() {
    let (world, vault) = world().await;
    let values: Vec<String> = (0..4).map(|i| plant(&format!("watch{i}"))).collect();
    vault.secret("global--key", &json!({ "value": values[0] })).await;
    world.reference("app", hourly(one("KEY", "key"))).await;
    let find = json!({ "dataFrom": [{ "find": { "prefix": "k", "keyCase": "ScreamingSnake" } }] });
    world.reference("find", hourly(find)).await;
    world.acme.until_data("app", &json!({ "KEY": values[0] })).await;
    world.acme.until_data("find", &json!({ "KEY": values[0] })).await;
    world.acme.until_reason("find", "Synced").await;
    // The next poll would be an hour away. Rotated; overridden by the organisation's own; that one rotated.
    for (name, value) in [("global--key", &values[1]), ("acme--key", &values[2]), ("acme--key", &values[3])] {
        vault.secret(name, &json!({ "value": value })).await;
        world.acme.until_data("app", &json!({ "KEY": value })).await;
        world.acme.until_data("find", &json!({ "KEY": value })).await;
    }
    world.done().await;
}

#[tokio::test]
async fn a_deleted_secret_falls_back_after_two_looks() {
    let (world, vault) = world().await;
    let (own, global) = (plant("own"), plant("global"));
    vault.secret("acme--key", &json!({ "value": own })).await;
    vault.secret("global--key", &json!({ "value": global })).await;
    vault.secret("acme--lonely", &json!({ "value": own })).await;
    world.reference("app", one("KEY", "key")).await;
    world.reference("lonely", one("KEY", "lonely")).await;
    world.acme.until_data("app", &json!({ "KEY": own })).await;
    world.acme.until_data("lonely", &json!({ "KEY": own })).await;
    let kept = Kept::of(&world.acme, "lonely").await;
    vault.delete("Secret", "acme--key").await;
    vault.delete("Secret", "acme--lonely").await;
    world.acme.until_data("app", &json!({ "KEY": global })).await;
    world.acme.until_event("SecretReference", "app", "FellBackToGlobal").await;
    world.fails("lonely", "SecretNotFound", &["acme--lonely"]).await;
    kept.check().await;
    vault.secret("acme--key", &json!({ "value": own })).await;
    world.acme.until_data("app", &json!({ "KEY": own })).await;
    world.done().await;
}

/// The platform's namespace goes with all its Secrets: that is no reason to fall back, nor to lose a target.
#[tokio::test]
async fn a_namespace_that_goes_is_not_a_secret_that_is_not_there() {
    let (world, vault) = world().await;
    let own = plant("own");
    vault.secret("acme--key", &json!({ "value": own })).await;
    vault.secret("global--key", &json!({ "value": plant("global") })).await;
    // For two seconds a namespace that was there is taken to be there: the second look comes after that.
    let mut spec = one("KEY", "key");
    spec["refreshInterval"] = json!("3s");
    world.reference("app", spec).await;
    world.acme.until_data("app", &json!({ "KEY": own })).await;
    let kept = Kept::of(&world.acme, "app").await;
    vault.clone().done().await;
    let store = world.until_store(&world.store, "False", "StoreMisconfigured").await;
    assert!(condition(&store, "Ready")["message"].as_str().unwrap().contains(&vault.name));
    world.fails("app", "StoreMisconfigured", &[]).await;
    kept.check().await;
    world.done().await;
}
