//! A proxy in front of a real server (or of a fake) that does what servers and networks do on bad days. It speaks TLS
//! with a CA of its own, on one port for all of its life, and counts what goes through.
#![allow(dead_code, reason = "no test binary uses all of it")]

use std::{
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::Response,
};
use axum_server::{Handle, tls_rustls::RustlsConfig};
use futures::{StreamExt, stream};
use tokio::task::JoinHandle;

use crate::port::Port;

/// What the way to the server does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No connection.
    Down,
    /// Requests are taken and never answered.
    Silence,
    /// Every request is answered so: status, Retry-After, body.
    Status(u16, Option<u64>, &'static str),
    /// As the store itself says that it is too much; with a time, or without. Each store has its own words for it.
    Throttled(Option<u64>),
    /// As the store itself says that it cannot now.
    Unavailable,
    /// Answers end in the middle.
    CutShort,
    /// Answers begin, and nothing follows.
    Hangs,
    /// Answers go on for ever.
    Endless,
    /// Every request is redirected here.
    Redirect(String),
    /// The server's `Date` is off by so many seconds.
    Clock(i64),
}

/// A proxy that is there for as long as this value.
pub struct FaultProxy {
    /// `https://127.0.0.1:PORT`.
    pub address: String,
    /// The CA that signed its certificate, PEM.
    pub ca: String,
    way: Arc<Way>,
    port: Port,
    tls: RustlsConfig,
    serving: Mutex<Option<Serving>>,
}

struct Serving {
    handle: Handle<SocketAddr>,
    task: JoinHandle<std::io::Result<()>>,
}

struct Way {
    upstream: String,
    client: reqwest::Client,
    fault: Mutex<Option<Fault>>,
    requests: Mutex<Vec<String>>,
}

impl FaultProxy {
    /// In front of a server that this CA signed.
    pub async fn before(upstream: &str, ca: &str) -> Self {
        let roots = reqwest::Certificate::from_pem_bundle(ca.as_bytes()).unwrap();
        let client = reqwest::Client::builder()
            .tls_certs_only(roots)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        let way = Way {
            upstream: upstream.trim_end_matches('/').to_owned(),
            client,
            fault: Mutex::default(),
            requests: Mutex::default(),
        };
        let (ca, certificate, key) = certificate();
        let tls = RustlsConfig::from_pem(certificate.into_bytes(), key.into_bytes()).await.unwrap();
        let port = Port::take();
        let address = format!("https://{}", port.address());
        let proxy = Self { address, ca, way: Arc::new(way), port, tls, serving: Mutex::new(None) };
        proxy.serve(proxy.port.listen().unwrap());
        proxy
    }

    fn serve(&self, listener: TcpListener) {
        let handle = Handle::new();
        let server = axum_server::from_tcp_rustls(listener, self.tls.clone()).unwrap().handle(handle.clone());
        let router = Router::new().fallback(pass).with_state(Arc::clone(&self.way));
        let task = tokio::spawn(server.serve(router.into_make_service()));
        *self.serving.lock().unwrap() = Some(Serving { handle, task });
    }

    /// Puts a fault in the way, or takes it away. What goes down ends its connections.
    pub async fn fault(&self, fault: Option<Fault>) {
        let down = fault == Some(Fault::Down);
        *lock(&self.way.fault) = fault;
        if down {
            let serving = self.serving.lock().unwrap().take();
            if let Some(Serving { handle, task }) = serving {
                handle.shutdown();
                // Until nobody listens any more.
                task.await.unwrap().unwrap();
            }
            return;
        }
        if self.serving.lock().unwrap().is_none() {
            self.serve(self.port.listen().unwrap());
        }
    }

    /// The certificate is replaced, and its CA too, which is answered; open connections end.
    pub async fn rotate(&self) -> String {
        let (ca, certificate, key) = certificate();
        self.tls.reload_from_pem(certificate.into_bytes(), key.into_bytes()).await.unwrap();
        self.fault(Some(Fault::Down)).await;
        self.fault(None).await;
        ca
    }

    /// Method and path with query of everything that was asked for so far.
    pub fn requests(&self) -> Vec<String> {
        lock(&self.way.requests).clone()
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        if let Some(serving) = self.serving.lock().unwrap().take() {
            serving.handle.shutdown();
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

/// CA, certificate and key.
fn certificate() -> (String, String, String) {
    let mut ca = rcgen::CertificateParams::default();
    ca.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let ca_key = rcgen::KeyPair::generate().unwrap();
    let ca_certificate = ca.self_signed(&ca_key).unwrap();
    let issuer = rcgen::Issuer::new(ca, ca_key);
    let key = rcgen::KeyPair::generate().unwrap();
    let names = vec!["127.0.0.1".to_owned(), "localhost".to_owned()];
    let certificate = rcgen::CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
    (ca_certificate.pem(), certificate.pem(), key.serialize_pem())
}

async fn pass(State(way): State<Arc<Way>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    lock(&way.requests).push(format!("{} {path}", parts.method));
    let fault = lock(&way.fault).clone();
    let respond = |status: u16| Response::builder().status(status);
    match fault {
        Some(Fault::Silence) => return std::future::pending().await,
        Some(Fault::Status(status, retry_after, text)) => {
            let mut response = respond(status).header(header::CONTENT_TYPE, kind(text));
            if let Some(seconds) = retry_after {
                response = response.header(header::RETRY_AFTER, seconds);
            }
            return response.body(text.into()).unwrap();
        }
        Some(Fault::Redirect(target)) => {
            return respond(307).header(header::LOCATION, target + &path).body(Body::empty()).unwrap();
        }
        Some(Fault::Endless) => {
            let chunk = Bytes::from_static(&[b' '; 1 << 16]);
            let stream = stream::repeat_with(move || Ok::<_, std::io::Error>(chunk.clone()));
            return respond(200)
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from_stream(stream))
                .unwrap();
        }
        Some(Fault::Down | Fault::Throttled(_) | Fault::Unavailable) => {
            return respond(502).body("this fault has to be put in the words of the store".into()).unwrap();
        }
        Some(Fault::CutShort | Fault::Hangs | Fault::Clock(_)) | None => {}
    }
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
    let mut headers = parts.headers;
    for hop in ["connection", "transfer-encoding", "content-length"] {
        headers.remove(hop);
    }
    let asked = way.client.request(parts.method, format!("{}{path}", way.upstream)).headers(headers).body(body);
    let Ok(answer) = asked.send().await else {
        return respond(502).body("the server does not answer the proxy".into()).unwrap();
    };
    let mut response = Response::builder().status(StatusCode::from_u16(answer.status().as_u16()).unwrap());
    if let Some(all) = response.headers_mut() {
        copy(answer.headers(), all);
        if let Some(Fault::Clock(seconds)) = fault {
            let now = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds);
            let date = now.strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
            all.insert(header::DATE, HeaderValue::from_str(&date).unwrap());
        }
    }
    if matches!(fault, Some(Fault::CutShort | Fault::Hangs)) {
        let whole = answer.bytes().await.unwrap();
        let half = whole.slice(..whole.len() / 2);
        let hangs = fault == Some(Fault::Hangs);
        let end = stream::once(async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            Err(std::io::Error::other("cut short"))
        });
        let body = Body::from_stream(stream::iter([Ok(half)]).chain(end));
        return response.header(header::CONTENT_LENGTH, whole.len()).body(body).unwrap();
    }
    let body = answer.bytes_stream().map(|chunk| chunk.map_err(std::io::Error::other));
    response.body(Body::from_stream(body)).unwrap()
}

fn kind(text: &str) -> &'static str {
    if text.starts_with('{') { "application/json" } else { "text/html" }
}

fn copy(from: &HeaderMap, to: &mut HeaderMap) {
    let hops: [HeaderName; 3] = [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH];
    for (name, value) in from {
        if !hops.contains(name) {
            to.append(name.clone(), value.clone());
        }
    }
}
