//! Traces: one from the watch event to the write of the Secret, with the same id in the log, the audit events and the
//! Kubernetes Event. World::done looks for planted values in the spans of every test.

use serde_json::{Value, json};

use crate::{
    harness::{plant, wait_for},
    otlp::Span,
    world::{COLLECTOR, World, one},
};

/// Waits until all of these spans of one trace have come.
async fn until_spans(trace_id: &str, names: &[&str]) -> Vec<Span> {
    wait_for(&format!("spans {names:?} in trace {trace_id}"), || async {
        let spans = COLLECTOR.trace(trace_id);
        let missing: Vec<_> = names.iter().filter(|n| !spans.iter().any(|s| s.name == **n)).collect();
        if missing.is_empty() { Ok(spans) } else { Err(format!("no {missing:?} in {spans:#?}")) }
    })
    .await
}

fn span<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    spans.iter().find(|s| s.name == name).unwrap_or_else(|| panic!("no {name} in {spans:#?}"))
}

/// Waits until an audit event of a delivery to a reference is of this trace: nobody waits for the pipe.
async fn until_audited(world: &World, reference: &str, trace_id: &str) {
    let requester = format!("SecretReference/{}/{reference}", world.acme.name);
    wait_for(&format!("the delivery to {reference} is in trace {trace_id}"), || async {
        let events = world.operator.audit();
        let events = events.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mine = events.filter(|e| e["requester_id"] == *requester);
        let ids: Vec<String> = mine.map(|e| e["trace_id"].as_str().unwrap().to_owned()).collect();
        if ids.iter().any(|id| id == trace_id) { Ok(()) } else { Err(format!("{ids:?}")) }
    })
    .await;
}

#[tokio::test]
async fn one_trace_leads_from_the_watch_event_to_the_write_of_the_secret() {
    let world = World::new().await;
    let value = plant("traced");
    world.bao.put("acme--key", json!({ "value": value })).await;
    let reference = world.reference("traced", one("KEY", "key")).await;
    world.acme.until_data("traced", &json!({ "KEY": value })).await;
    world.acme.until_event("SecretReference", "traced", "Synced").await;

    let events = world.cluster.list("Event", Some(&world.acme.name)).await;
    let told = events.iter().find(|e| e["regarding"]["uid"] == reference["metadata"]["uid"]).unwrap();
    let id = told["metadata"]["annotations"]["secretref.dev/trace-id"].as_str().expect("the annotation").to_owned();
    until_audited(&world, "traced", &id).await;

    let names = ["watch SecretReference", "sync", "access", "get vault", "GET", "patch secrets"];
    let spans = until_spans(&id, &[&names[..], &["patch secretreferences/status"]].concat()).await;
    // Each within the one before: from the event over the read of the store, and from the sync to the write.
    let within = |inner: &str, outer: &str| {
        let (inner, outer) = (span(&spans, inner), span(&spans, outer));
        assert_eq!(inner.parent, outer.id, "{inner:?} in {outer:?}");
        assert!(inner.begin >= outer.begin, "{inner:?} in {outer:?}");
    };
    let first = span(&spans, "watch SecretReference");
    assert_eq!(first.parent, "", "{first:?}");
    for (inner, outer) in [("sync", names[0]), ("access", "sync"), ("get vault", "access"), ("GET", "get vault")] {
        within(inner, outer);
    }
    for write in ["patch secrets", "patch secretreferences/status"] {
        within(write, "sync");
        assert_eq!(span(&spans, write).kind, 3, "a client's");
    }
    let (read, write) = (span(&spans, "get vault"), span(&spans, "patch secrets"));
    assert!(read.end <= write.begin, "what is written was read before");
    assert!(spans.iter().all(|s| s.end <= first.end && !s.failed), "{spans:#?}");

    let attribute = |name: &str, key: &str| span(&spans, name).attributes.get(key).cloned().unwrap_or_default();
    assert_eq!(attribute("sync", "k8s.namespace.name"), world.acme.name);
    assert_eq!(attribute("sync", "secretref.reference"), format!("{}/traced", world.acme.name));
    assert_eq!(attribute("sync", "secretref.result"), "Synced");
    assert_eq!(attribute("access", "secretref.key"), "acme--key");
    assert_eq!(attribute("get vault", "secretref.store"), world.store);
    assert_eq!(attribute("GET", "http.request.method"), "GET");
    assert_eq!(attribute("GET", "http.response.status_code"), "200");
    let host = world.bao.address.split("://").nth(1).and_then(|rest| rest.split(':').next()).unwrap();
    assert_eq!(attribute("GET", "server.address"), host);
    assert_eq!(first.resource.get("service.name").map(String::as_str), Some("secretref"));
    world.done().await;
}

#[tokio::test]
async fn a_change_in_the_store_is_one_trace_with_the_poll_that_saw_it() {
    let world = World::new().await;
    let (old, new) = (plant("old"), plant("new"));
    world.bao.put("acme--key", json!({ "value": old })).await;
    world.reference("polled", one("KEY", "key")).await;
    world.acme.until_data("polled", &json!({ "KEY": old })).await;
    world.bao.put("acme--key", json!({ "value": new })).await;
    world.acme.until_data("polled", &json!({ "KEY": new })).await;
    let spans = wait_for("the trace of a poll with a write", || async {
        let own = |s: &Span| s.attributes.get("secretref.reference") == Some(&format!("{}/polled", world.acme.name));
        let syncs: Vec<Span> = COLLECTOR.spans().into_iter().filter(own).collect();
        let traces = syncs.iter().map(|s| COLLECTOR.trace(&s.trace_id));
        let has = |spans: &[Span], name: &str| spans.iter().any(|s| s.name == name);
        let found = traces.into_iter().find(|t| has(t, "poll") && has(t, "change") && has(t, "patch secrets"));
        found.ok_or_else(|| format!("{syncs:?}"))
    })
    .await;
    let begins: Vec<&Span> = spans.iter().filter(|s| s.parent.is_empty()).collect();
    assert_eq!(begins.len(), 1, "one trace has one beginning: {spans:#?}");
    assert_eq!(begins[0].name, "poll");
    until_audited(&world, "polled", &begins[0].trace_id).await;
    world.done().await;
}

#[tokio::test]
async fn a_failure_is_in_the_trace() {
    let world = World::new().await;
    let denied = r#"path "secret/data/*" { capabilities = ["read"] } path "secret/data/acme--denied" { capabilities = ["deny"] }"#;
    world.bao.policy("reader", denied).await;
    world.reference("denied", one("KEY", "denied")).await;
    world.acme.until_reason("denied", "PermissionDenied").await;
    let failed = wait_for("a span that failed", || async {
        let own = format!("{}/denied", world.acme.name);
        let spans = COLLECTOR.spans();
        let syncs = spans.iter().filter(|s| s.attributes.get("secretref.reference") == Some(&own));
        let mut failed = syncs.filter(|s| s.failed && s.attributes["secretref.result"] == "PermissionDenied");
        failed.next().cloned().ok_or_else(|| format!("{} spans", spans.len()))
    })
    .await;
    let spans = until_spans(&failed.trace_id, &["sync"]).await;
    assert!(spans.iter().any(|s| s.id == failed.id));
    world.done().await;
}
