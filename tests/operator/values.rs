//! What of a stored secret becomes which key.

use serde_json::json;

use crate::{
    harness::plant,
    world::{World, secret},
};

#[tokio::test]
async fn properties_of_a_structured_secret() {
    let world = World::new().await;
    let (user, password, deep, cert) = (plant("user"), plant("password"), plant("deep"), plant("cert"));
    let nested = json!({ "hosts": [{ "name": deep }], "port": 5432 });
    let stored = json!({ "username": user, "password": password, "tls.crt": cert, "db": nested });
    world.bao.put("acme--database", stored).await;
    let property =
        |key: &str, property: &str| json!({ "key": key, "secretRef": { "name": "database", "property": property } });
    let data = [
        property("USER", "username"),
        property("CERT", "tls.crt"),
        property("DEEP", "db.hosts[0].name"),
        property("PORT", "db.port"),
        property("HOSTS", "db.hosts"),
    ];
    world.reference("app", json!({ "data": data })).await;
    let hosts = format!(r#"[{{"name":"{deep}"}}]"#);
    let expected = json!({ "USER": user, "CERT": cert, "DEEP": deep, "PORT": "5432", "HOSTS": hosts });
    world.acme.until_data("app", &expected).await;

    // A JSON text under `value` has properties, too, and extract takes all that there are.
    world.bao.put("acme--whole", json!({ "A": user, "b.c": password })).await;
    world.reference("all", json!({ "dataFrom": [{ "extract": { "name": "whole" } }] })).await;
    world.acme.until_data("all", &json!({ "A": user, "b.c": password })).await;
    world.done().await;
}

#[tokio::test]
async fn a_missing_property_is_told_with_the_names_there_are() {
    let world = World::new().await;
    world.bao.put("acme--database", json!({ "username": plant("user"), "password": plant("password") })).await;
    let entry =
        |property: Option<&str>| json!({ "key": "K", "secretRef": { "name": "database", "property": property } });
    world.reference("app", json!({ "data": [entry(Some("usrname"))] })).await;
    world.fails("app", "PropertyNotFound", &["acme--database", "username", "password"]).await;
    // A bare name means the property `value`.
    world.reference("bare", json!({ "data": [secret("K", "database")] })).await;
    world.fails("bare", "PropertyNotFound", &["acme--database", "username", "password"]).await;
    world.bao.put("acme--database", json!({ "usrname": "now-there", "value": "bare" })).await;
    world.acme.until_data("app", &json!({ "K": "now-there" })).await;
    world.acme.until_data("bare", &json!({ "K": "bare" })).await;
    world.done().await;
}

#[tokio::test]
async fn base64_is_decoded_when_asked() {
    let world = World::new().await;
    world.bao.put("acme--blob", json!({ "value": "aGVsbG8gd29ybGQ=", "bad": plant("not base64!") })).await;
    let entry = |property: &str| json!([{ "key": "K", "secretRef": { "name": "blob", "property": property, "decode": "Base64" } }]);
    world.reference("app", json!({ "data": entry("value") })).await;
    world.acme.until_data("app", &json!({ "K": "hello world" })).await;
    world.reference("bad", json!({ "data": entry("bad") })).await;
    world.fails("bad", "PropertyNotFound", &["acme--blob", "Base64"]).await;
    world.done().await;
}

#[tokio::test]
async fn find_takes_every_name_with_the_prefix_and_notices_new_ones() {
    let world = World::new().await;
    let values: Vec<String> = (0..4).map(|i| plant(&format!("found{i}"))).collect();
    world.bao.put("acme--payments-db-url", json!({ "value": values[0] })).await;
    world.bao.put("GLOBAL--payments-db-url", json!({ "value": plant("hidden") })).await;
    world.bao.put("GLOBAL--payments-key", json!({ "value": values[1] })).await;
    world.bao.put("beta--payments-other", json!({ "value": plant("beta") })).await;
    world.bao.put("acme--unrelated", json!({ "value": plant("unrelated") })).await;
    let find = json!({ "dataFrom": [{ "find": { "prefix": "payments-", "keyCase": "ScreamingSnake" } }] });
    world.reference("app", find).await;
    world.reference("kept", json!({ "dataFrom": [{ "find": { "prefix": "payments-" } }] })).await;
    let expected = json!({ "PAYMENTS_DB_URL": values[0], "PAYMENTS_KEY": values[1] });
    world.acme.until_data("app", &expected).await;
    world.acme.until_data("kept", &json!({ "payments-db-url": values[0], "payments-key": values[1] })).await;
    world.bao.put("acme--payments-new", json!({ "value": values[2] })).await;
    world.bao.put("GLOBAL--payments-key", json!({ "value": values[3] })).await;
    let expected = json!({ "PAYMENTS_DB_URL": values[0], "PAYMENTS_KEY": values[3], "PAYMENTS_NEW": values[2] });
    world.acme.until_data("app", &expected).await;
    // A name that is certainly gone is dropped, and an Event says so.
    world.bao.remove("acme--payments-new").await;
    world.acme.until_data("app", &json!({ "PAYMENTS_DB_URL": values[0], "PAYMENTS_KEY": values[3] })).await;
    world.done().await;
}

#[tokio::test]
async fn data_beats_data_from_and_two_sources_of_one_key_are_refused() {
    let world = World::new().await;
    let (one, two) = (plant("one"), plant("two"));
    world.bao.put("acme--first", json!({ "A": one, "B": one })).await;
    world.bao.put("acme--second", json!({ "B": two })).await;
    let extract = |name: &str| json!({ "extract": { "name": name } });
    world.reference("app", json!({ "data": [{ "key": "B", "value": "mine" }], "dataFrom": [extract("first")] })).await;
    world.acme.until_data("app", &json!({ "A": one, "B": "mine" })).await;
    world.reference("two", json!({ "dataFrom": [extract("first"), extract("second")] })).await;
    world.fails("two", "InvalidReference", &["B", "dataFrom"]).await;
    assert!(world.acme.data("two").await.is_none());
    world.done().await;
}

#[tokio::test]
async fn templates_add_keys_and_fail_without_repeating_values() {
    let world = World::new().await;
    let (user, password) = (plant("user"), plant("password"));
    world.bao.put("acme--database", json!({ "username": user, "password": password })).await;
    let template = |text: &str| {
        json!({
            "dataFrom": [{ "extract": { "name": "database" } }],
            "target": { "template": { "data": { "url": text } } },
        })
    };
    world.reference("app", template("postgres://{{ username }}:{{ password }}@db")).await;
    let url = format!("postgres://{user}:{password}@db");
    let before = world.acme.until_data("app", &json!({ "username": user, "password": password, "url": url })).await;
    for bad in ["{{ usrname }}", "{% for i in range(100000000) %}{{ password }}{% endfor %}", "{{ password"] {
        world.reference("app", template(bad)).await;
        world.fails("app", "TemplateError", &["url"]).await;
        let reference = world.acme.get("SecretReference", "app").await.unwrap();
        assert_eq!(crate::harness::condition(&reference, "Ready")["status"], "False", "a new spec that fails");
    }
    let after = world.acme.get("Secret", "app").await.unwrap();
    assert_eq!(before["data"], after["data"]);
    assert_eq!(before["metadata"]["uid"], after["metadata"]["uid"]);
    world.reference("app", template("{{ username }}")).await;
    world.acme.until_data("app", &json!({ "username": user, "password": password, "url": user })).await;
    world.done().await;
}

#[tokio::test]
async fn optional_tolerates_what_is_certainly_missing_and_nothing_else() {
    let world = World::new().await;
    let (there, later) = (plant("there"), plant("later"));
    world.bao.put("acme--there", json!({ "value": there })).await;
    world.bao.put("acme--empty", json!({ "value": "" })).await;
    let optional = |key: &str, name: &str| json!({ "key": key, "secretRef": { "name": name, "optional": true } });
    world.reference("app", json!({ "data": [secret("A", "there"), optional("B", "missing")] })).await;
    world.acme.until_data("app", &json!({ "A": there })).await;
    world.bao.put("GLOBAL--missing", json!({ "value": later })).await;
    world.acme.until_data("app", &json!({ "A": there, "B": later })).await;
    // Empty is an error, unless it is allowed.
    world.reference("empty", json!({ "data": [optional("E", "empty")] })).await;
    world.fails("empty", "SecretEmpty", &["acme--empty", "allowEmpty"]).await;
    let allowed = json!([{ "key": "E", "secretRef": { "name": "empty", "allowEmpty": true } }]);
    world.reference("empty", json!({ "data": allowed })).await;
    world.acme.until_data("empty", &json!({ "E": "" })).await;
    // A target with nothing in it is worth nothing.
    world.reference("none", json!({ "data": [optional("B", "never")] })).await;
    world.fails("none", "SecretNotFound", &["acme--never"]).await;
    assert!(world.acme.data("none").await.is_none());
    world.done().await;
}

#[tokio::test]
async fn a_pinned_version_stays() {
    let world = World::new().await;
    let (first, second) = (plant("first"), plant("second"));
    world.bao.put("acme--key", json!({ "value": first })).await;
    world.bao.put("GLOBAL--key", json!({ "value": plant("global") })).await;
    let data =
        json!([{ "key": "OLD", "secretRef": { "name": "key", "version": "1", "scope": "Org" } }, secret("NEW", "key")]);
    world.reference("app", json!({ "data": data })).await;
    world.acme.until_data("app", &json!({ "OLD": first, "NEW": first })).await;
    world.bao.put("acme--key", json!({ "value": second })).await;
    world.acme.until_data("app", &json!({ "OLD": first, "NEW": second })).await;
    let status = world
        .acme
        .until("SecretReference", "app", "tells the new version", |r| r["status"]["entries"][0]["version"] == "2");
    assert_eq!(
        status.await["status"]["entries"][1],
        json!({ "key": "OLD", "name": "key", "scope": "Org", "version": "1" })
    );
    // A version that there is not never falls back, and the message says which.
    let data = json!([{ "key": "OLD", "secretRef": { "name": "key", "version": "9", "scope": "Org" } }]);
    world.reference("gone", json!({ "data": data })).await;
    world.fails("gone", "SecretNotFound", &["acme--key"]).await;
    world.done().await;
}

#[tokio::test]
async fn the_right_scope_alone_can_be_asked_for() {
    let world = World::new().await;
    let global = plant("global");
    world.bao.put("acme--key", json!({ "value": plant("own") })).await;
    world.bao.put("GLOBAL--key", json!({ "value": global })).await;
    world.bao.put("GLOBAL--only", json!({ "value": global })).await;
    let scoped =
        |name: &str, scope: &str| json!({ "data": [{ "key": "K", "secretRef": { "name": name, "scope": scope } }] });
    world.reference("global", scoped("key", "Global")).await;
    world.acme.until_data("global", &json!({ "K": global })).await;
    world.reference("org", scoped("only", "Org")).await;
    let message = world.fails("org", "SecretNotFound", &["acme--only"]).await;
    assert!(!message.contains("GLOBAL"), "{message}");
    world.done().await;
}
