//! `FakeVaultEvents`: what Vault Enterprise has and OpenBao has not, the event notifications, in front of a real OpenBao
//! that answers everything else, and says whose policies allow a subscription. A test says what it tells.

use std::sync::{Arc, Mutex, MutexGuard};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::Response,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures::{SinkExt, StreamExt};
use hyper_util::rt::TokioIo;
use serde_json::json;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, protocol::Role},
};

use super::tls::Served;

/// What a policy has to allow.
const PATH: &str = "sys/events/subscribe/kv*";

/// Vault Enterprise, as far as events go.
pub struct FakeVaultEvents {
    pub served: Served,
    inner: Arc<Inner>,
}

struct Inner {
    upstream: String,
    client: reqwest::Client,
    state: Mutex<Shared>,
}

#[derive(Default)]
struct Shared {
    /// What was asked for there, and how it was answered.
    asked: Vec<u16>,
    open: Vec<UnboundedSender<String>>,
}

impl FakeVaultEvents {
    /// In front of a server that this CA signed.
    pub async fn before(upstream: &str, ca: &str) -> Self {
        let roots = reqwest::Certificate::from_pem_bundle(ca.as_bytes()).unwrap();
        let client = reqwest::Client::builder().tls_certs_only(roots).build().unwrap();
        let inner = Arc::new(Inner { upstream: upstream.to_owned(), client, state: Mutex::default() });
        let router = Router::new().fallback(answer).with_state(inner.clone());
        Self { served: Served::over_tls(router).await, inner }
    }

    pub fn address(&self) -> String {
        format!("https://127.0.0.1:{}", self.served.port)
    }

    fn state(&self) -> MutexGuard<'_, Shared> {
        self.inner.state.lock().unwrap()
    }

    /// The statuses of all subscriptions that were asked for.
    pub fn asked(&self) -> Vec<u16> {
        self.state().asked.clone()
    }

    /// Connections that are open.
    pub fn subscribers(&self) -> usize {
        let mut state = self.state();
        state.open.retain(|to| !to.is_closed());
        state.open.len()
    }

    /// All connections end, as with the server that they are on.
    pub fn end_subscriptions(&self) {
        self.state().open.clear();
    }

    /// Says this on every connection.
    pub fn say(&self, text: &str) {
        self.state().open.retain(|to| to.send(text.to_owned()).is_ok());
    }

    /// Tells of a change, as Vault does after it.
    pub fn tell(&self, kind: &str, path: &str) {
        let mount = path.split('/').next().unwrap();
        let event = json!({
            "id": "a3be9fb1-b514-519f-5b25-b6f144a8c1ce", "source": "vault://vault-0", "specversion": "1.0", "type": "*",
            "data": {
                "event": {
                    "id": "a3be9fb1-b514-519f-5b25-b6f144a8c1ce",
                    "metadata": { "current_version": "2", "modified": "true", "oldest_version": "0", "path": path },
                },
                "event_type": kind,
                "plugin_info": {
                    "mount_class": "secret", "mount_accessor": "kv_5dc4d18e", "mount_path": format!("{mount}/"), "plugin": "kv",
                },
            },
            "datacontentype": "application/cloudevents", "time": "2026-09-12T15:19:49.394915-07:00",
        });
        self.say(&format!("{event}\n"));
    }
}

async fn answer(State(inner): State<Arc<Inner>>, mut request: Request) -> Response {
    let path = request.uri().path_and_query().unwrap().as_str().to_owned();
    if path != format!("/v1/{PATH}?json=true") || request.method() != Method::GET {
        return pass(&inner, request, &path).await;
    }
    let refuse = |status: u16, text: &str| {
        inner.state.lock().unwrap().asked.push(status);
        let body = json!({ "errors": [text] }).to_string();
        Response::builder().status(status).header(header::CONTENT_TYPE, "application/json").body(body.into()).unwrap()
    };
    let headers = request.headers().clone();
    let said = |name: &str| header(&headers, name);
    match may_subscribe(&inner, &said("x-vault-token"), &said("x-vault-namespace")).await {
        Some(true) => {}
        Some(false) => return refuse(403, "1 error occurred:\n\t* permission denied\n\n"),
        None => return refuse(403, "permission denied"),
    }
    let websocket = said("upgrade") == "websocket" && said("sec-websocket-version") == "13";
    let key = said("sec-websocket-key");
    let Some(upgrade) = request.extensions_mut().remove::<hyper::upgrade::OnUpgrade>().filter(|_| websocket) else {
        return refuse(426, "a websocket is needed");
    };
    let (to, from) = unbounded_channel();
    {
        let mut state = inner.state.lock().unwrap();
        state.asked.push(101);
        state.open.push(to);
    }
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.await else { return };
        serve(WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await, from).await;
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accepts(&key))
        .body(Body::empty())
        .unwrap()
}

/// What the server's policies say; `None`: the token is not valid.
async fn may_subscribe(inner: &Inner, token: &str, namespace: &str) -> Option<bool> {
    let asked = inner
        .client
        .post(format!("{}/v1/sys/capabilities-self", inner.upstream))
        .header("X-Vault-Token", token)
        .header("X-Vault-Namespace", namespace)
        .json(&json!({ "paths": [PATH] }));
    let answer = asked.send().await.unwrap();
    let answer: serde_json::Value = answer.error_for_status().ok()?.json().await.unwrap();
    Some(answer["data"][PATH].as_array().unwrap().iter().any(|capability| capability == "read"))
}

async fn serve(mut socket: WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>, mut from: UnboundedReceiver<String>) {
    loop {
        tokio::select! {
            text = from.recv() => match text {
                Some(text) => if socket.send(Message::text(text)).await.is_err() { return },
                None => return,
            },
            // Pings are answered while it reads.
            message = socket.next() => if !matches!(message, Some(Ok(_))) { return },
        }
    }
}

fn accepts(key: &str) -> String {
    let text = format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11");
    STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, text.as_bytes()))
}

fn header(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map(|value| value.to_str().unwrap().to_owned()).unwrap_or_default()
}

async fn pass(inner: &Inner, request: Request, path: &str) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap();
    let mut headers = parts.headers;
    for hop in ["connection", "transfer-encoding", "content-length", "host"] {
        headers.remove(hop);
    }
    let asked = inner.client.request(parts.method, format!("{}{path}", inner.upstream)).headers(headers).body(body);
    let Ok(answer) = asked.send().await else {
        return Response::builder().status(502).body("the server does not answer".into()).unwrap();
    };
    let mut response = Response::builder().status(answer.status());
    if let Some(kind) = answer.headers().get(header::CONTENT_TYPE) {
        response = response.header(header::CONTENT_TYPE, kind);
    }
    response.body(Body::from(answer.bytes().await.unwrap())).unwrap()
}
