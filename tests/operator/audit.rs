//! Audit events, as whoever collects them sees them: every one of the run keeps to docs/audit-event.schema.json.

use serde_json::{Value, json};

use crate::{
    harness::{SCHEMA, assert_schema, plant, wait_for},
    world::{World, one},
};

#[test]
fn the_schema_refuses_what_is_no_event() {
    let event = json!({
        "timestamp": "2026-01-02T03:04:05.678Z", "requester_id": "SecretReference/acme-prod/payments",
        "secret_path": "vault/platform/acme--db-password", "operation": "get", "source_ip": "10.1.2.3",
        "trace_id": "0af7651916cd43dd8448eb211c80319c", "result": "success",
    });
    assert!(SCHEMA.is_valid(&event));
    for (field, wrong) in [
        ("timestamp", json!("yesterday")),
        ("timestamp", json!("2026-01-02T03:04:05+01:00")),
        ("requester_id", json!("")),
        ("requester_id", json!("SecretReference/payments")),
        ("secret_path", json!("acme--db-password")),
        ("operation", json!("read")),
        ("source_ip", json!("a host")),
        ("trace_id", json!("0")),
        ("trace_id", json!("00000000000000000000000000000000")),
        ("result", json!("ok")),
        ("value", json!("anything")),
    ] {
        let mut broken = event.clone();
        broken[field] = wrong.clone();
        assert!(!SCHEMA.is_valid(&broken), "{field} {wrong}");
    }
    for field in event.as_object().unwrap().keys() {
        let mut broken = event.clone();
        broken.as_object_mut().unwrap().remove(field);
        assert!(!SCHEMA.is_valid(&broken), "without {field}");
    }
}

/// A value, a certain nothing, a refusal and a store that is down: each leaves events of its own, all as the schema says.
#[tokio::test]
async fn every_way_an_access_ends_is_an_event() {
    let world = World::new().await;
    world.bao.put("acme--there", json!({ "value": plant("audited") })).await;
    world.reference("there", one("KEY", "there")).await;
    world.acme.until_reason("there", "Synced").await;
    world.reference("missing", one("KEY", "missing")).await;
    world.acme.until_reason("missing", "SecretNotFound").await;
    // One key is forbidden, and the store is as healthy as before.
    let may = ["acme--there", "acme--missing", "GLOBAL--*"];
    let may = may.map(|key| format!("path \"secret/data/{key}\" {{ capabilities = [\"read\"] }}"));
    world.bao.policy("narrow", &may.join("\n")).await;
    world.home.secret("token", &json!({ "token": world.bao.token(&["narrow"]).await })).await;
    wait_for("the new login is in use", || async {
        world.reference("denied", one("KEY", "denied")).await;
        let reference = world.acme.get("SecretReference", "denied").await.unwrap();
        let said = reference["status"]["conditions"].to_string();
        if said.contains("PermissionDenied") { Ok(()) } else { Err(said) }
    })
    .await;
    // What a poll was refused, a sync need not ask for again: of that the request alone is left.
    let expected = |name: &str, key: &str, result: &str| {
        let (requester, path) =
            (format!("SecretReference/{}/{name}", world.acme.name), format!("vault/{}/{key}", world.store));
        (requester, path, result.to_owned())
    };
    let expected = [
        expected("there", "acme--there", "success"),
        expected("missing", "acme--missing", "success"),
        expected("denied", "acme--denied", "denied"),
    ];
    wait_for("an event for each access", || async {
        let text = world.operator.audit();
        assert_schema(&text[world.before.1..]);
        let events: Vec<Value> = text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect();
        let had = |(requester, path, result): &(String, String, String)| {
            events.iter().any(|e| {
                (e["requester_id"] == **requester || result == "denied")
                    && e["secret_path"] == **path
                    && e["result"] == **result
            })
        };
        match expected.iter().find(|e| !had(e)) {
            None => Ok(()),
            Some(none) => Err(format!("no {none:?}")),
        }
    })
    .await;
    world.done().await;
}
