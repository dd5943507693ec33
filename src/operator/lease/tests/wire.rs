//! The requests of a candidate, at an API server that knows one Lease.

use std::sync::Mutex;

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{Method, StatusCode, Uri},
};
use k8s_openapi::api::coordination::v1::Lease;
use kube::{Client, Config};
use tokio::sync::{oneshot, watch};

use super::*;

#[derive(Default)]
struct Server {
    lease: Mutex<Option<Lease>>,
    /// The API server is there, but every answer is this.
    broken: Mutex<Option<u16>>,
    log: Mutex<Vec<String>>,
}

const PATH: &str = "/apis/coordination.k8s.io/v1/namespaces/ns/leases";

async fn answer(State(server): State<Arc<Server>>, method: Method, uri: Uri, body: Bytes) -> (StatusCode, String) {
    let refuse = |code: u16, reason: &str| {
        let status = format!(r#"{{"kind":"Status","status":"Failure","reason":"{reason}","code":{code}}}"#);
        (StatusCode::from_u16(code).unwrap(), status)
    };
    server.log.lock().unwrap().push(method.to_string());
    if let Some(code) = *server.broken.lock().unwrap() {
        return refuse(code, if code == 403 { "Forbidden" } else { "InternalError" });
    }
    let mut lease = server.lease.lock().unwrap();
    let of = |lease: &Lease| lease.metadata.resource_version.clone();
    let known = lease.as_ref().and_then(of);
    let mut sent: Option<Lease> = serde_json::from_slice(&body).ok();
    match (method.as_str(), uri.path() == PATH) {
        ("GET", false) if known.is_none() => return refuse(404, "NotFound"),
        ("GET", false) => {}
        ("POST", true) if known.is_some() => return refuse(409, "AlreadyExists"),
        ("PUT", false) if sent.as_ref().and_then(of) != known || known.is_none() => return refuse(409, "Conflict"),
        ("POST", true) | ("PUT", false) => {
            let version: u32 = known.map_or(0, |v| v.parse().unwrap());
            sent.as_mut().unwrap().metadata.resource_version = Some((version + 1).to_string());
            *lease = sent;
        }
        _ => return refuse(405, "MethodNotAllowed"),
    }
    (StatusCode::OK, serde_json::to_string(&lease.clone()).unwrap())
}

async fn server() -> (Arc<Server>, Client) {
    let server = Arc::new(Server::default());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = Config::new(format!("http://{}", listener.local_addr().unwrap()).parse().unwrap());
    config.default_retry = false;
    let app = Router::new().fallback(answer).with_state(server.clone());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (server, Client::try_from(config).unwrap())
}

struct Running {
    leads: watch::Receiver<Leadership>,
    stop: oneshot::Sender<()>,
    task: tokio::task::JoinHandle<()>,
}

fn start(client: &Client, identity: &str) -> Running {
    let (publish, leads) = watch::channel(Leadership::never());
    let (stop, stopped) = oneshot::channel();
    let shutdown = async move {
        let _ = stopped.await;
    };
    let task = run(client.clone(), "ns".into(), "secretref".into(), identity.into(), publish, shutdown);
    Running { leads, stop, task: tokio::spawn(task) }
}

async fn until(running: &mut Running, leading: bool) {
    let wait = running.leads.wait_for(|leads| leads.is_leading() == leading);
    tokio::time::timeout(DEADLINE, wait).await.unwrap().unwrap();
}

#[tokio::test]
async fn the_first_leads_and_hands_over_when_it_stops() {
    let (server, client) = server().await;
    let mut a = start(&client, "a");
    until(&mut a, true).await;
    let mut b = start(&client, "b");
    tokio::time::sleep(ms(200)).await;
    let held = a.leads.borrow().clone();
    assert!(held.is_leading() && !b.leads.borrow().is_leading());

    a.stop.send(()).unwrap();
    a.task.await.unwrap();
    assert!(!held.is_leading() && !a.leads.borrow().is_leading());
    assert_eq!(server.lease.lock().unwrap().clone().unwrap().spec.unwrap().holder_identity, None);
    let begun = Instant::now();
    until(&mut b, true).await;
    assert!(begun.elapsed() < LEASE);
    let spec = server.lease.lock().unwrap().clone().unwrap().spec.unwrap();
    assert!(spec.holder_identity.unwrap().starts_with("b_"));
    assert_eq!((spec.lease_transitions, spec.lease_duration_seconds), (Some(1), Some(15)));
    // A leader renews without reading, and not more often than it has to.
    server.log.lock().unwrap().clear();
    tokio::time::sleep(RETRY + ms(300)).await;
    let log = server.log.lock().unwrap().clone();
    assert!(!log.is_empty() && log.iter().all(|method| method == "PUT"), "{log:?}");
    assert!(log.len() as f64 <= begun.elapsed().div_duration_f64(RETRY), "{log:?} in {:?}", begun.elapsed());
    b.task.abort();
}

#[tokio::test]
async fn without_rights_nobody_leads_and_stopping_is_quick() {
    let (server, client) = server().await;
    *server.broken.lock().unwrap() = Some(403);
    let a = start(&client, "a");
    tokio::time::sleep(ms(300)).await;
    assert!(!a.leads.borrow().is_leading());
    a.stop.send(()).unwrap();
    tokio::time::timeout(RETRY, a.task).await.unwrap().unwrap();
}

#[tokio::test]
async fn another_writer_takes_the_lease_away() {
    let (server, client) = server().await;
    let mut a = start(&client, "a");
    until(&mut a, true).await;
    {
        let mut lease = server.lease.lock().unwrap();
        let lease = lease.as_mut().unwrap();
        lease.metadata.resource_version = Some("70".into());
        lease.spec.as_mut().unwrap().holder_identity = Some("someone".into());
    }
    until(&mut a, false).await;
    a.stop.send(()).unwrap();
    a.task.await.unwrap();
    let spec = server.lease.lock().unwrap().clone().unwrap().spec.unwrap();
    assert_eq!(spec.holder_identity.as_deref(), Some("someone"));
}
