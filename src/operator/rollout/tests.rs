#![allow(clippy::unwrap_used, clippy::panic)]
use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{Method, StatusCode, Uri},
};
use kube::{Client, Config};
use serde_json::Value;
use tokio::sync::watch;

use super::*;
use crate::{api::RESTART_ANNOTATION, operator::lease::Leadership, telemetry::Metrics};

const KEY: &str = "restart.secretref.dev/db";

/// A Deployment that opted in and consumes `db`.
fn workload(name: &str) -> Value {
    json!({
        "metadata": { "name": name, "uid": format!("uid-{name}"), "resourceVersion": "1",
            "annotations": { RESTART_ANNOTATION: "true" } },
        "spec": { "selector": {}, "serviceName": "", "template": { "metadata": {}, "spec": {
            "containers": [{ "name": "main", "envFrom": [{ "secretRef": { "name": "db" } }] }] } } },
    })
}

#[test]
fn only_workloads_that_opted_in_and_have_no_such_mark_are_due() {
    let due = |change: fn(&mut Value)| {
        let mut value = workload("web");
        change(&mut value);
        let found: Deployment = serde_json::from_value(value).unwrap();
        is_due(&found.metadata, found.template().unwrap(), "db", KEY, "2")
    };
    assert!(due(|_| {}));
    assert!(due(|w| w["spec"]["template"]["metadata"]["annotations"] = json!({ KEY: "1" })));
    assert!(!due(|w| w["spec"]["template"]["metadata"]["annotations"] = json!({ KEY: "2" })));
    assert!(!due(|w| w["metadata"]["annotations"] = json!({})));
    assert!(!due(|w| w["metadata"]["annotations"] = json!({ RESTART_ANNOTATION: "false" })));
    assert!(!due(|w| {
        w["metadata"]["annotations"] = json!({});
        w["spec"]["template"]["metadata"]["annotations"] = json!({ RESTART_ANNOTATION: "true" });
    }));
    assert!(!due(|w| w["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z")));
    assert!(!due(|w| w["spec"]["template"]["spec"]["containers"] = json!([])));
}

/// An API server with workloads, by the last part of their collection's path.
#[derive(Default)]
struct Server {
    workloads: Mutex<HashMap<String, Vec<Value>>>,
    /// Answers to the next patches, before any is carried out; a conflict comes with a new resourceVersion.
    next: Mutex<Vec<(u16, &'static str)>>,
    lists: Mutex<Vec<String>>,
    patches: Mutex<Vec<Value>>,
}

async fn answer(State(server): State<Arc<Server>>, method: Method, uri: Uri, body: Bytes) -> (StatusCode, String) {
    let path: Vec<&str> = uri.path().trim_start_matches("/apis/apps/v1/namespaces/ns/").split('/').collect();
    let mut all = server.workloads.lock().unwrap();
    let found = all.entry(path[0].to_owned()).or_default();
    if method == Method::GET {
        server.lists.lock().unwrap().push(uri.to_string());
        let query = |key: &str| uri.query().unwrap_or("").split('&').find_map(|pair| pair.strip_prefix(key));
        let only = query("fieldSelector=metadata.name%3D");
        let all: Vec<Value> =
            found.iter().filter(|w| only.is_none_or(|o| w["metadata"]["name"] == o)).cloned().collect();
        // Two on a page.
        let from: usize = query("continue=").map_or(0, |c| c.parse().unwrap());
        let rest = if all.len() > from + 2 { (from + 2).to_string() } else { String::new() };
        let page: Vec<&Value> = all.iter().skip(from).take(2).collect();
        return (StatusCode::OK, json!({ "metadata": { "continue": rest }, "items": page }).to_string());
    }
    let workload = found.iter_mut().find(|w| w["metadata"]["name"] == path[1]).unwrap();
    let patch: Value = serde_json::from_slice(&body).unwrap();
    let next = server.next.lock().unwrap().pop();
    if let Some((code, message)) = next {
        if code == 409 {
            workload["metadata"]["resourceVersion"] = json!("7");
        }
        let status = json!({ "kind": "Status", "status": "Failure", "code": code, "message": message, "reason": "" });
        return (StatusCode::from_u16(code).unwrap(), status.to_string());
    }
    assert_eq!(patch["metadata"]["uid"], workload["metadata"]["uid"]);
    assert_eq!(patch["metadata"]["resourceVersion"], workload["metadata"]["resourceVersion"]);
    workload["spec"]["template"]["metadata"] = patch["spec"]["template"]["metadata"].clone();
    server.patches.lock().unwrap().push(patch);
    let metadata = &workload["metadata"];
    let partial = json!({ "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata });
    (StatusCode::OK, partial.to_string())
}

async fn server(workloads: &[(&str, Vec<Value>)]) -> (Arc<Server>, Writer) {
    let server = Arc::new(Server::default());
    *server.workloads.lock().unwrap() = workloads.iter().map(|(k, w)| ((*k).to_owned(), w.clone())).collect();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = Config::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
    config.default_retry = false;
    let app = Router::new().fallback(answer).with_state(server.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let leadership = watch::channel(Leadership::always()).1;
    (
        server,
        Writer {
            client: Client::try_from(config).unwrap(),
            leadership,
            metrics: Arc::new(Metrics::new()),
            write_only: false,
        },
    )
}

fn order(target: &str, mark: &str) -> Order {
    Order::new("ns", target, mark.to_owned())
}

/// The tests run side by side, and an order overrides every earlier one for its target.
async fn restart(writer: &Writer, mark: &str) -> Result<Vec<String>, RestartError> {
    static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());
    let _alone = ALONE.lock().await;
    super::restart(writer, &order("db", mark)).await
}

#[tokio::test]
async fn each_change_restarts_once() {
    let mut other = workload("other");
    other["spec"]["template"]["spec"]["containers"] = json!([{ "name": "main" }]);
    let (server, writer) = server(&[
        ("deployments", vec![other, workload("a"), workload("b")]),
        ("statefulsets", vec![workload("c")]),
        ("daemonsets", vec![workload("d")]),
    ])
    .await;
    let begun = Instant::now();
    let restarted = restart(&writer, "1").await.unwrap();
    assert_eq!(restarted, ["Deployment/a", "Deployment/b", "StatefulSet/c", "DaemonSet/d"]);
    assert!(begun.elapsed() >= PACE * 3);
    assert!(server.lists.lock().unwrap().iter().all(|uri| uri.contains("limit=500")));
    assert_eq!(restart(&writer, "1").await.unwrap(), [""; 0]);
    assert_eq!(server.patches.lock().unwrap().len(), 4);
    assert_eq!(restart(&writer, "2").await.unwrap().len(), 4);
}

#[tokio::test]
async fn a_conflict_is_looked_at_again() {
    let (server, writer) = server(&[("deployments", vec![workload("a")])]).await;
    *server.next.lock().unwrap() = vec![(409, "")];
    assert_eq!(restart(&writer, "1").await.unwrap(), ["Deployment/a"]);
    // Somebody who writes all the time does not for ever: it is tried again.
    *server.next.lock().unwrap() = vec![(409, ""); 5];
    let error = restart(&writer, "2").await.unwrap_err();
    assert!(matches!(error, RestartError::Unavailable { .. }));
    server.next.lock().unwrap().clear();
    assert_eq!(restart(&writer, "2").await.unwrap(), ["Deployment/a"]);
}

#[tokio::test]
async fn refusals_are_told_apart() {
    let (server, writer) = server(&[("deployments", vec![workload("a")]), ("daemonsets", vec![workload("b")])]).await;
    let refuse = |code, message| *server.next.lock().unwrap() = vec![(code, message)];
    refuse(403, "User \"x\" cannot patch resource \"deployments\" in API group \"apps\"");
    let error = restart(&writer, "1").await.unwrap_err();
    assert!(matches!(error, RestartError::Forbidden { .. }));
    assert!(error.to_string().contains("rollout.enabled=true"));
    // One that a policy refuses does not keep the others.
    refuse(403, "denied by policy, which says a lot");
    let error = restart(&writer, "1").await.unwrap_err();
    assert_eq!(error.to_string(), "not restarted: Deployment/a (403): see what `kubectl rollout restart` says to it");
    assert!(matches!(error, RestartError::Refused { restarted, .. } if restarted == ["DaemonSet/b"]));
    refuse(500, "");
    assert!(matches!(restart(&writer, "1").await, Err(RestartError::Unavailable { .. })));
    assert_eq!(restart(&writer, "1").await.unwrap(), ["Deployment/a"]);
}

/// A Deployment that consumes another target than those of the tests above.
fn consumer(target: &str) -> (&'static str, Vec<Value>) {
    let mut web = workload("web");
    web["spec"]["template"]["spec"]["containers"][0]["envFrom"] = json!([{ "secretRef": { "name": target } }]);
    ("deployments", vec![web])
}

#[tokio::test]
async fn an_older_mark_never_takes_a_newer_ones_place() {
    let (server, writer) = server(&[consumer("twice")]).await;
    let (older, newer) = (order("twice", "1"), order("twice", "2"));
    assert_eq!(super::restart(&writer, &older).await.unwrap(), [""; 0]);
    assert_eq!(super::restart(&writer, &newer).await.unwrap(), ["Deployment/web"]);
    drop(newer);
    assert_eq!(super::restart(&writer, &older).await.unwrap(), [""; 0], "not after it is done, either");
    assert_eq!(server.patches.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn only_who_leads_restarts() {
    let (server, mut writer) = server(&[consumer("led")]).await;
    writer.leadership = watch::channel(Leadership::never()).1;
    assert_eq!(super::restart(&writer, &order("led", "1")).await.unwrap(), [""; 0]);
    assert!(!carry_out(&writer, order("led", "1"), |_| ()).await, "left to who leads");
    assert_eq!(server.patches.lock().unwrap().len(), 0);
}

#[tokio::test]
async fn what_passes_is_tried_again_and_told_once() {
    let (server, writer) = server(&[consumer("again")]).await;
    *server.next.lock().unwrap() = vec![(500, "")];
    let mut told = Vec::new();
    let tell = |result: Result<&[String], &RestartError>| {
        told.push(result.map(<[String]>::to_vec).map_err(ToString::to_string));
    };
    assert!(carry_out(&writer, order("again", "1"), tell).await, "nothing is left to be done");
    let [Err(first), Ok(then)] = &told[..] else { panic!("{told:?}") };
    assert!(first.contains("it is tried again"), "{first}");
    assert_eq!(*then, ["Deployment/web"]);
}
