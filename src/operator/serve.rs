//! `/healthz`, `/readyz`, `/metrics` and `/explain`. Nothing here waits for a store or the API server: an answer takes no
//! lock that is held over a request.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::get,
};
use thiserror::Error;
use tokio::{
    net::TcpListener,
    sync::{mpsc::UnboundedSender, oneshot},
};

use super::{explain::Unexplained, model::ObjectKey, watch::Message};
use crate::{
    notify::{self, Hooks},
    telemetry::Metrics,
};

/// An engine without a sign of life for so long is to be restarted.
const SILENT: Duration = Duration::from_secs(60);
/// So long open connections may take to end after the shutdown began.
const GRACE: Duration = Duration::from_secs(2);

/// What the probes ask for. The engine writes it, the probes read it.
#[derive(Debug)]
pub struct HealthState {
    started: Instant,
    /// The engine's last sign of life, in milliseconds since `started`.
    heartbeat: AtomicU64,
    ready: AtomicBool,
}

/// Why an endpoint is not served.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address cannot be had.
    #[error("cannot listen on {addr} for {what}: {source}; free the address, or choose another with {flag}")]
    Bind {
        /// What would have been served there.
        what: &'static str,
        /// The flag that names the address.
        flag: &'static str,
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The listener broke.
    #[error("{what} is no longer served: {source}; the operator has to be restarted")]
    Broken {
        /// What was served.
        what: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl Default for HealthState {
    fn default() -> Self {
        Self::new()
    }
}

impl HealthState {
    /// Alive, not ready.
    pub fn new() -> Self {
        Self { started: Instant::now(), heartbeat: AtomicU64::new(0), ready: AtomicBool::new(false) }
    }

    /// A sign of life. The engine gives one at least every few seconds, whatever it waits for.
    pub fn beat(&self) {
        self.heartbeat.store(millis(self.started.elapsed()), Ordering::Relaxed);
    }

    /// The watches are in place, and requests from outside can be served.
    pub fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    /// For how long the engine has given no sign of life.
    fn silent(&self, now: Instant) -> Duration {
        let now = millis(now.saturating_duration_since(self.started));
        Duration::from_millis(now.saturating_sub(self.heartbeat.load(Ordering::Relaxed)))
    }

    fn healthz(&self, now: Instant) -> (StatusCode, String) {
        let silent = self.silent(now);
        if silent < SILENT {
            return (StatusCode::OK, "ok".to_owned());
        }
        let text = format!("the engine has given no sign of life for {} s", silent.as_secs());
        (StatusCode::SERVICE_UNAVAILABLE, text)
    }

    fn readyz(&self) -> (StatusCode, &'static str) {
        if self.ready.load(Ordering::Relaxed) {
            (StatusCode::OK, "ok")
        } else {
            (StatusCode::SERVICE_UNAVAILABLE, "not ready: the watches are not in place yet")
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Serves `/healthz` and `/readyz` until `shutdown`.
///
/// # Errors
/// When the address cannot be had, or the listener breaks.
pub async fn health(
    addr: SocketAddr,
    state: Arc<HealthState>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let what = "the health probes";
    let listener = bind(addr, what, "--health-addr").await?;
    serve(listener, health_routes(state), what, shutdown).await
}

/// Serves `/metrics` until `shutdown`.
///
/// # Errors
/// When the address cannot be had, or the listener breaks.
pub async fn metrics(
    addr: SocketAddr,
    metrics: Arc<Metrics>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let what = "the metrics";
    let listener = bind(addr, what, "--metrics-addr").await?;
    serve(listener, metrics_routes(metrics), what, shutdown).await
}

/// Answers `/explain/{namespace}/{name}` until `shutdown`: what the leader knows of a reference, never a value. The address
/// is one of the loopback interface: who may forward a port to this pod may ask.
///
/// # Errors
/// When the address cannot be had, or the listener breaks.
pub async fn explain(
    addr: SocketAddr,
    tell: UnboundedSender<Message>,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let what = "what the leader knows";
    let listener = bind(addr, what, "--explain-addr").await?;
    serve(listener, explain_routes(tell), what, shutdown).await
}

/// Takes change notifications until `shutdown`.
///
/// # Errors
/// When the address cannot be had, or the listener breaks.
pub async fn hooks(
    addr: SocketAddr,
    hooks: Arc<Hooks>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let what = "change notifications";
    let listener = bind(addr, what, "--hooks-addr").await?;
    notify::serve(listener, hooks, shutdown).await.map_err(|source| ServeError::Broken { what, source })
}

fn health_routes(state: Arc<HealthState>) -> Router {
    let healthz = |State(state): State<Arc<HealthState>>| async move { state.healthz(Instant::now()) };
    let readyz = |State(state): State<Arc<HealthState>>| async move { state.readyz() };
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).with_state(state)
}

fn metrics_routes(metrics: Arc<Metrics>) -> Router {
    let encode = |State(metrics): State<Arc<Metrics>>| async move {
        ([(CONTENT_TYPE, Metrics::CONTENT_TYPE)], metrics.encode()).into_response()
    };
    Router::new().route("/metrics", get(encode)).with_state(metrics)
}

fn explain_routes(tell: UnboundedSender<Message>) -> Router {
    let explain = |State(tell): State<UnboundedSender<Message>>, Path((namespace, name)): Path<(String, String)>| async move {
        let (answer, answered) = oneshot::channel();
        let key = ObjectKey { namespace: namespace.into(), name: name.into() };
        let _ = tell.send(Message::Explain(key, answer));
        match answered.await.unwrap_or(Err(Unexplained::NotLeading)) {
            Ok(told) => Json(told).into_response(),
            Err(why @ Unexplained::NoReference) => (StatusCode::NOT_FOUND, why.to_string()).into_response(),
            Err(why) => (StatusCode::SERVICE_UNAVAILABLE, why.to_string()).into_response(),
        }
    };
    Router::new().route("/explain/{namespace}/{name}", get(explain)).with_state(tell)
}

async fn bind(addr: SocketAddr, what: &'static str, flag: &'static str) -> Result<TcpListener, ServeError> {
    TcpListener::bind(addr).await.map_err(|source| ServeError::Bind { what, flag, addr, source })
}

async fn serve(
    listener: TcpListener,
    routes: Router,
    what: &'static str,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, routes).with_graceful_shutdown(async move {
        let _ = stopped.await;
    });
    // A client that never ends its request does not keep the process.
    let deadline = async move {
        shutdown.await;
        let _ = stop.send(());
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        served = server.into_future() => served.map_err(|source| ServeError::Broken { what, source }),
        () = deadline => Ok(()),
    }
}

#[cfg(test)]
#[path = "serve/tests.rs"]
mod tests;
