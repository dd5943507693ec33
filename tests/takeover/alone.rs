//! Operators by themselves: replicas of one installation, and what a collector that is not there costs.

use std::time::Duration;

use jiff::SignedDuration;
use serde_json::{Value, json};

use crate::{
    ALONE,
    harness::{Cluster, Leaks, Operator, free_address, wait_for},
    lease::LeaseLog,
};

async fn until_leads(operator: &Operator, leads: bool) {
    wait_for(&format!("leads: {leads}"), || async {
        let metric = operator.metric("secretref_leader", &[]).await;
        if (metric > 0.5) == leads { Ok(()) } else { Err(format!("{metric}\n{}", operator.logs())) }
    })
    .await;
}

#[tokio::test]
async fn a_replica_that_says_goodbye_hands_over_at_once() {
    let _alone = ALONE.lock().await;
    let cluster = Cluster::connect().await;
    // Of a namespace that holds nothing: the references of all others are those of the operator that tests share.
    let own = cluster.namespace("replicas", "").await;
    let args = ["--namespace", own.name.as_str()];
    let first = Operator::start(&own.name, &args).await;
    until_leads(&first, true).await;
    let second = Operator::start(&own.name, &args).await;
    tokio::time::sleep(Duration::from_secs(3)).await; // longer than the pause between two tries at the lease
    until_leads(&second, false).await;
    until_leads(&first, true).await;
    let log = LeaseLog::start(cluster.clone(), &own.name);
    wait_for("the leader renews", || async { if log.renewals() > 1 { Ok(()) } else { Err("no".to_owned()) } }).await;
    assert_eq!(first.terminate().await, Some(0), "{}", first.logs());
    until_leads(&second, true).await;
    // The lease lasts 15 s: who does not wait so long was told.
    let taken = log.taken_over().await;
    let gap = taken.at.duration_since(taken.last_renewal);
    assert!(taken.released && gap < SignedDuration::from_secs(10) + log.allowance(), "{gap:?}: {taken:?}");
    let leaks = Leaks::new();
    for operator in [&first, &second] {
        leaks.assert_none("the operator's output", &operator.output());
    }
    assert_eq!(second.terminate().await, Some(0));
    own.done().await;
}

/// Two installations share nothing but the API server: neither takes the other's lease or key.
#[tokio::test]
async fn the_fingerprint_key_is_made_once_and_stays() {
    let _alone = ALONE.lock().await;
    let cluster = Cluster::connect().await;
    let own = cluster.namespace("replicas", "").await;
    let args = ["--namespace", own.name.as_str()];
    let operator = Operator::start(&own.name, &args).await;
    let key = own.get("Secret", "secretref-fingerprint-key").await.expect("the key")["data"].take();
    operator.restart().await;
    until_leads(&operator, true).await;
    assert_eq!(own.get("Secret", "secretref-fingerprint-key").await.unwrap()["data"], key);
    let text = key["key"].as_str().unwrap().to_owned();
    assert!(!operator.output().contains(&text), "the key is in the logs");
    own.done().await;
}

/// The collector is no part of what the operator needs: a dead one costs spans, and a line in the log.
#[tokio::test]
async fn a_collector_that_is_gone_is_told_and_holds_nothing_up() {
    let _alone = ALONE.lock().await;
    let cluster = Cluster::connect().await;
    let own = cluster.namespace("untraced", "").await;
    let nobody = format!("http://{}", free_address());
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", nobody.as_str()), ("OTEL_BSP_SCHEDULE_DELAY", "100")];
    let args = ["--namespace", own.name.as_str(), "--log-format", "json", "--log-filter", "secretref=debug"];
    let operator = Operator::start_with(&own.name, &args, &variables).await;
    let data = json!([{ "key": "KEY", "secretRef": { "name": "key" } }]);
    let spec = json!({ "storeRef": { "name": "no-such-store" }, "data": data });
    own.reference("orphan", &spec).await;
    own.until_reason("orphan", "StoreNotFound").await;
    let line = wait_for("the log says so", || async {
        let logs = operator.logs();
        let line = logs.lines().find(|l| l.contains("spans could not be sent"));
        // The last one may be half written.
        line.and_then(|line| serde_json::from_str::<Value>(line).ok()).ok_or(logs)
    })
    .await;
    assert_eq!((&line["level"], &line["failures"]), (&json!("WARN"), &json!(1)));
    // What a sync says is found by its trace, or by its reference.
    let reference = format!("{}/orphan", own.name);
    let ended = wait_for("the log says that the sync ended", || async {
        let logs = operator.logs();
        let mut lines = logs.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
        let ended = lines.find(|l| l["message"] == "sync ended" && l["reference"] == *reference);
        ended.ok_or(logs)
    })
    .await;
    assert_eq!(ended["result"], "StoreNotFound", "{ended}");
    assert_eq!(ended["trace_id"].as_str().map(str::len), Some(32), "{ended}");
    assert_eq!(operator.terminate().await, Some(0), "{}", operator.logs());
    own.done().await;
}

/// What cannot be followed in the environment costs the traces alone, and is told with what to set instead.
#[tokio::test]
async fn a_protocol_that_is_not_spoken_is_told() {
    let _alone = ALONE.lock().await;
    let cluster = Cluster::connect().await;
    let own = cluster.namespace("untraced", "").await;
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4317"), ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")];
    let operator = Operator::start_with(&own.name, &["--namespace", own.name.as_str()], &variables).await;
    wait_for("it is told", || async {
        let logs = operator.logs();
        if logs.contains("only http/protobuf is spoken here") { Ok(()) } else { Err(logs) }
    })
    .await;
    assert_eq!(operator.terminate().await, Some(0), "{}", operator.logs());
    own.done().await;
}
