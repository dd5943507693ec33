#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn an_engine_without_a_sign_of_life_is_unhealthy() {
    let state = HealthState::new();
    let late = state.started + SILENT;
    assert_eq!(state.healthz(late - Duration::from_millis(1)), (StatusCode::OK, "ok".to_owned()));
    let text = "the engine has given no sign of life for 60 s".to_owned();
    assert_eq!(state.healthz(late), (StatusCode::SERVICE_UNAVAILABLE, text));
    state.heartbeat.store(1_000, Ordering::Relaxed);
    assert_eq!(state.healthz(late).0, StatusCode::OK);
    // A heartbeat from after the clock was read is no trouble.
    assert_eq!(state.healthz(state.started).0, StatusCode::OK);
}

async fn ask(addr: SocketAddr, path: &str) -> (u16, String, String) {
    let response = reqwest::Client::builder().no_proxy().build().unwrap();
    let response = response.get(format!("http://{addr}{path}")).send().await.unwrap();
    let kind = response.headers()[CONTENT_TYPE].to_str().unwrap().to_owned();
    (response.status().as_u16(), kind, response.text().await.unwrap())
}

/// The routes on a free port, and what stops them.
async fn start(routes: Router) -> (SocketAddr, oneshot::Sender<()>, tokio::task::JoinHandle<Result<(), ServeError>>) {
    let listener = bind(([127, 0, 0, 1], 0).into(), "tests", "--flag").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let shutdown = async move {
        let _ = stopped.await;
    };
    (addr, stop, tokio::spawn(serve(listener, routes, "tests", shutdown)))
}

#[tokio::test]
async fn the_probes_answer() {
    let state = Arc::new(HealthState::new());
    state.beat();
    let (addr, stop, task) = start(health_routes(state.clone())).await;
    assert_eq!(ask(addr, "/healthz").await.2, "ok");
    assert_eq!(ask(addr, "/readyz").await.0, 503);
    state.set_ready(true);
    assert_eq!(ask(addr, "/readyz").await.0, 200);
    // A client that hangs does not keep the server.
    let _open = tokio::net::TcpStream::connect(addr).await.unwrap();
    stop.send(()).unwrap();
    tokio::time::timeout(GRACE * 2, task).await.unwrap().unwrap().unwrap();
    assert!(tokio::net::TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn metrics_are_open_metrics() {
    let (addr, _stop, _task) = start(metrics_routes(Arc::new(Metrics::new()))).await;
    let (code, kind, text) = ask(addr, "/metrics").await;
    assert_eq!((code, kind.starts_with("application/openmetrics-text")), (200, true));
    assert!(text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn a_taken_address_is_told() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = taken.local_addr().unwrap();
    let error = health(addr, Arc::new(HealthState::new()), std::future::pending()).await.unwrap_err();
    assert!(matches!(error, ServeError::Bind { .. }));
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("cannot listen on {addr} for the health probes")) && text.ends_with("--health-addr")
    );
    let error = metrics(addr, Arc::new(Metrics::new()), std::future::pending()).await.unwrap_err();
    assert!(error.to_string().ends_with("--metrics-addr"));
}
