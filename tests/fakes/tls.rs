//! A listener for a fake: over TLS with a CA of its own, or plain; it counts requests, and can be made to fail.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
};
use axum_server::{Handle, tls_rustls::RustlsConfig};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::task::JoinHandle;

use crate::port::Port;

/// What becomes of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Line {
    /// They are answered.
    #[default]
    Good,
    /// They are never answered.
    Hangs,
    /// The connection breaks in the middle of the answer.
    Breaks,
}

/// A router that listens. Dropping it stops it.
pub struct Served {
    pub port: u16,
    /// Signs the server's certificate; PEM. Empty without TLS.
    pub ca: String,
    held: Port,
    tls: Option<RustlsConfig>,
    router: Router,
    state: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

#[derive(Default)]
struct Shared {
    line: Mutex<Line>,
    requests: AtomicU64,
}

struct Running {
    handle: Handle<SocketAddr>,
    task: JoinHandle<()>,
}

impl Served {
    /// Listens on a port of its own, for the names localhost and 127.0.0.1.
    pub async fn over_tls(router: Router) -> Self {
        Self::over_tls_at(Port::take(), router).await
    }

    /// Listens there, for the names localhost and 127.0.0.1.
    pub async fn over_tls_at(port: Port, router: Router) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = params.self_signed(&key).unwrap().pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()]).unwrap();
        let leaf = params.signed_by(&key, &issuer).unwrap().pem();
        let tls = RustlsConfig::from_pem(leaf.into_bytes(), key.serialize_pem().into_bytes()).await.unwrap();
        Self::new(port, router, Some(tls), ca)
    }

    /// The same without TLS.
    pub fn plain(router: Router) -> Self {
        Self::new(Port::take(), router, None, String::new())
    }

    fn new(held: Port, router: Router, tls: Option<RustlsConfig>, ca: String) -> Self {
        let state = Arc::new(Shared::default());
        let router = router.layer(from_fn_with_state(state.clone(), pass));
        let port = held.address().port();
        let served = Self { port, ca, held, tls, router, state, running: Mutex::default() };
        served.start();
        served
    }

    /// Listens, again where it did.
    pub fn start(&self) {
        let listener = self.held.listen().unwrap();
        let (handle, router) = (Handle::new(), self.router.clone().into_make_service());
        let task = match &self.tls {
            Some(tls) => {
                let server = axum_server::from_tcp_rustls(listener, tls.clone()).unwrap().handle(handle.clone());
                tokio::spawn(async move { server.serve(router).await.unwrap() })
            }
            None => {
                let server = axum_server::from_tcp(listener).unwrap().handle(handle.clone());
                tokio::spawn(async move { server.serve(router).await.unwrap() })
            }
        };
        *self.running.lock().unwrap() = Some(Running { handle, task });
    }

    /// Ends, with all its connections.
    pub async fn stop(&self) {
        let running = self.running.lock().unwrap().take();
        if let Some(Running { handle, task }) = running {
            handle.shutdown();
            let _ = task.await;
        }
    }

    /// From now on.
    pub fn line(&self, line: Line) {
        *self.state.line.lock().unwrap() = line;
    }

    /// Requests that arrived, answered or not.
    pub fn requests(&self) -> u64 {
        self.state.requests.load(Ordering::SeqCst)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        if let Some(running) = self.running.lock().unwrap().take() {
            running.handle.shutdown();
            running.task.abort();
        }
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    shared.requests.fetch_add(1, Ordering::SeqCst);
    let line = *shared.line.lock().unwrap();
    match line {
        Line::Good => next.run(request).await,
        Line::Hangs => std::future::pending().await,
        Line::Breaks => {
            let half = futures::stream::iter([Ok("{\"val"), Err(std::io::Error::other("the line breaks"))]);
            Body::from_stream(half).into_response()
        }
    }
}
