//! The platform binds the org, not the tenant: what happens when a binding is missing, contradicted or changed.

use serde_json::{Value, json};

use crate::{
    harness::{Space, condition, plant},
    world::{Kept, World, fails, one},
};

async fn bind(space: &Space, org: Option<&str>) {
    let labels = json!({ "metadata": { "labels": { "secretref.dev/org": org } } });
    space.cluster.merge("Namespace", None, &space.name, &labels).await;
}

async fn ready(space: &Space, name: &str) -> Value {
    condition(&space.get("SecretReference", name).await.unwrap(), "Ready").clone()
}

#[tokio::test]
async fn an_unbound_namespace_gets_nothing_until_it_is_bound() {
    let mut world = World::new().await;
    let space = world.space("").await;
    let own = plant("own");
    world.bao.put("acme--key", json!({ "value": own })).await;
    world.bao.put("GLOBAL--key", json!({ "value": plant("global") })).await;
    space.reference("app", &world.spec(one("KEY", "key"))).await;
    let message = fails(&space, "app", "OrgNotBound", &["secretref.dev/org"]).await;
    assert!(message.contains("platform team"), "who can do it: {message}");
    assert!(space.data("app").await.is_none());
    bind(&space, Some("acme")).await;
    space.until_data("app", &json!({ "KEY": own })).await;
    world.done().await;
}

#[tokio::test]
async fn an_organisation_that_the_tenant_claims_counts_for_nothing() {
    let world = World::new().await;
    world.bao.put("beta--key", json!({ "value": plant("beta") })).await;
    let own = plant("own");
    world.bao.put("acme--key", json!({ "value": own })).await;
    let claim = |org: &str| {
        let mut spec = one("KEY", "key");
        spec["org"] = json!(org);
        spec
    };
    world.reference("app", claim("beta")).await;
    world.fails("app", "OrgMismatch", &["spec.org", "acme"]).await;
    assert_eq!(ready(&world.acme, "app").await["status"], "False");
    assert!(world.acme.data("app").await.is_none());
    world.reference("app", claim("acme")).await;
    world.acme.until_data("app", &json!({ "KEY": own })).await;
    world.done().await;
}

#[tokio::test]
async fn a_changed_binding_replaces_the_target_when_the_new_values_resolve() {
    let mut world = World::new().await;
    let space = world.space("acme").await;
    let (acme, beta) = (plant("acme"), plant("beta"));
    world.bao.put("acme--key", json!({ "value": acme })).await;
    space.reference("app", &world.spec(one("KEY", "key"))).await;
    space.until_data("app", &json!({ "KEY": acme })).await;
    let kept = Kept::of(&space, "app").await;
    bind(&space, Some("beta")).await;
    fails(&space, "app", "OrgChanged", &["acme", "beta", "beta--key"]).await;
    let now = ready(&space, "app").await;
    assert_eq!((now["status"].as_str(), now["reason"].as_str()), (Some("False"), Some("OrgChanged")));
    kept.check().await; // onRevoke: Keep
    world.bao.put("beta--key", json!({ "value": beta })).await;
    let target = space.until_data("app", &json!({ "KEY": beta })).await;
    assert!(!target.to_string().contains(&acme));
    let status = space.until_reason("app", "Synced").await["status"].take();
    assert_eq!(status["org"], "beta");
    world.done().await;
}

/// Rule 5 does not cross orgs: where the platform says so, the former organisation's values go at once.
#[tokio::test]
async fn where_the_platform_wants_it_the_former_organisations_values_go() {
    let mut world = World::with(json!({ "tenancy": { "onRevoke": "Delete" } })).await;
    let (acme, beta) = (plant("acme"), plant("beta"));
    world.bao.put("acme--key", json!({ "value": acme })).await;
    let (changed, unbound) = (world.space("acme").await, world.space("acme").await);
    for space in [&changed, &unbound] {
        space.reference("app", &world.spec(one("KEY", "key"))).await;
        space.until_data("app", &json!({ "KEY": acme })).await;
    }
    bind(&changed, Some("beta")).await;
    bind(&unbound, None).await;
    for space in [&changed, &unbound] {
        // With the target goes the sign that a binding changed: the reason is then what is still missing.
        let note = space.until_event("SecretReference", "app", "TargetRevoked").await;
        assert!(note.contains("app"), "{note}");
        let not_ready = |r: &Value| condition(r, "Ready")["status"] == "False";
        space.until("SecretReference", "app", "Ready is False", not_ready).await;
        crate::harness::wait_for("the target is gone", || async {
            if space.data("app").await.is_none() { Ok(()) } else { Err("it is there".to_owned()) }
        })
        .await;
    }
    fails(&unbound, "app", "OrgNotBound", &["label"]).await;
    world.bao.put("beta--key", json!({ "value": beta })).await;
    changed.until_data("app", &json!({ "KEY": beta })).await;
    bind(&unbound, Some("acme")).await;
    unbound.until_data("app", &json!({ "KEY": acme })).await;
    world.done().await;
}

#[tokio::test]
async fn a_lost_binding_or_admission_keeps_the_target_by_default_and_ready_says_so() {
    let mut world = World::new().await;
    let space = world.space("acme").await;
    world.cluster.merge("Namespace", None, &space.name, &json!({ "metadata": { "labels": { "in": "yes" } } })).await;
    let tenancy = json!({ "namespaceSelector": { "matchLabels": { "in": "yes" } } });
    let store = world.add_store(json!({ "tenancy": tenancy })).await;
    let own = plant("own");
    world.bao.put("acme--key", json!({ "value": own })).await;
    let mut spec = world.spec(one("KEY", "key"));
    space.reference("bound", &spec).await;
    spec["storeRef"]["name"] = json!(store);
    space.reference("admitted", &spec).await;
    space.until_data("bound", &json!({ "KEY": own })).await;
    space.until_data("admitted", &json!({ "KEY": own })).await;
    let kept = [Kept::of(&space, "bound").await, Kept::of(&space, "admitted").await];
    bind(&space, None).await;
    fails(&space, "bound", "OrgNotBound", &[]).await;
    assert_eq!(ready(&space, "bound").await["status"], "False");
    bind(&space, Some("acme")).await;
    space.until_reason("bound", "Synced").await;
    assert_eq!(ready(&space, "bound").await["status"], "True");
    space.cluster.merge("Namespace", None, &space.name, &json!({ "metadata": { "labels": { "in": null } } })).await;
    fails(&space, "admitted", "StoreNotFound", &[]).await;
    for kept in kept {
        kept.check().await;
    }
    world.done().await;
}

/// Stores of tenants are the platform's to allow.
#[tokio::test]
async fn a_tenants_own_store_is_off_unless_the_platform_says_otherwise() {
    let world = World::new().await;
    world.bao.put("acme--key", json!({ "value": plant("own") })).await;
    world.acme.secret("own", &json!({ "token": world.bao.token(&["reader"]).await })).await;
    let mut vault = world.bao.provider();
    vault["auth"] = json!({ "token": { "secretRef": { "name": "own", "key": "token" } } });
    world
        .cluster
        .apply(&json!({
            "apiVersion": "secretref.dev/v1alpha1", "kind": "SecretStore",
            "metadata": { "name": "mine", "namespace": world.acme.name }, "spec": { "provider": { "vault": vault } },
        }))
        .await;
    let mut spec = world.spec(one("KEY", "key"));
    spec["storeRef"] = json!({ "name": "mine", "kind": "SecretStore" });
    world.acme.reference("app", &spec).await;
    world.fails("app", "StoreNotReady", &["platform team"]).await;
    assert!(world.acme.data("app").await.is_none());
    let off = |s: &Value| condition(s, "Ready")["status"] == "False";
    let store = world.acme.until("SecretStore", "mine", "is off", off).await;
    assert!(condition(&store, "Ready")["message"].as_str().unwrap().contains("tenantStores.enabled"), "{store}");
    world.done().await;
}
