//! A proxy in front of the real API server, for what a real one cannot be made to do at a chosen moment: to hold one
//! request back before or after it is carried out, to refuse, to fall silent on a watch. Everything else passes as it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that panics has failed")]
#![allow(dead_code, reason = "no test binary uses all of it")]

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    http::{HeaderValue, Method, header},
    response::Response,
};
use futures::StreamExt;
use kube::{Client, Config};
use serde_json::json;
use tokio::{sync::watch, time::Instant};

/// One request, as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// What a write says.
    pub body: String,
}

impl Asked {
    pub fn is_watch(&self) -> bool {
        self.path.contains("watch=true") || self.path.contains("watch=1")
    }

    /// A write of something else than the Lease.
    pub fn is_write(&self) -> bool {
        self.method != Method::GET && !self.path.contains("/leases")
    }

    /// A patch of what this path ends with.
    pub fn patches(&self, end: &str) -> bool {
        self.method == Method::PATCH && self.path.split('?').next().unwrap_or_default().ends_with(end)
    }
}

/// What becomes of a request.
#[derive(Clone, Debug)]
pub enum Does {
    /// It is not sent until it is released.
    HoldBefore,
    /// It is carried out, and its answer held back until it is released.
    HoldAfter,
    /// It takes so long at least: half of it before it is carried out.
    Slow(Duration),
    /// It is refused with this code, and a Retry-After.
    Refuse(u16, Option<u32>),
    /// It is answered as a watch that is too old is: 200, and an event that says 410.
    Gone,
    /// A watch is opened, and what it tells is swallowed until it is released.
    Swallow,
}

type Matches = Box<dyn Fn(&Asked) -> bool + Send + Sync>;

struct Rule {
    matches: Matches,
    does: Does,
    left: usize,
    trap: Trap,
}

/// What a rule has met.
#[derive(Clone)]
pub struct Trap {
    hits: Arc<AtomicUsize>,
    released: watch::Sender<bool>,
}

impl Trap {
    /// How many requests; of those whose answers are held back, how many were carried out.
    pub fn hits(&self) -> usize {
        self.hits.load(Ordering::SeqCst)
    }

    fn hit(&self) {
        self.hits.fetch_add(1, Ordering::SeqCst);
    }

    /// Lets what is held go on.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    async fn hold(&self) {
        let _ = self.released.subscribe().wait_for(|released| *released).await;
    }
}

struct Way {
    client: Client,
    rules: Mutex<Vec<Rule>>,
    asked: Mutex<Vec<Asked>>,
    user: Mutex<Option<String>>,
    cuts: watch::Sender<usize>,
}

/// A proxy that is there for as long as the test.
pub struct ApiProxy {
    /// A kubeconfig that leads here.
    pub kubeconfig: PathBuf,
    way: Arc<Way>,
}

impl ApiProxy {
    /// In front of the API server that `KUBECONFIG` names, as the user it names.
    pub async fn start() -> Self {
        let mut config = Config::infer().await.expect("KUBECONFIG");
        config.default_retry = false;
        let client = Client::try_from(config).unwrap();
        let way = Arc::new(Way {
            client,
            rules: Mutex::default(),
            asked: Mutex::default(),
            user: Mutex::default(),
            cuts: watch::channel(0).0,
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().fallback(pass).with_state(way.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "proxy",
            "clusters": [{ "name": "proxy", "cluster": { "server": address } }],
            "contexts": [{ "name": "proxy", "context": { "cluster": "proxy", "user": "" } }],
        });
        let name = format!("api-proxy-{:08x}", rand::random::<u32>());
        let kubeconfig = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(env!("CARGO_TARGET_TMPDIR")).unwrap();
        std::fs::write(&kubeconfig, config.to_string()).unwrap();
        Self { kubeconfig, way }
    }

    /// From now on, this becomes of the first so many requests that match. An earlier rule comes first.
    pub fn on(&self, times: usize, does: Does, matches: impl Fn(&Asked) -> bool + Send + Sync + 'static) -> Trap {
        let trap = Trap { hits: Arc::default(), released: watch::channel(false).0 };
        let rule = Rule { matches: Box::new(matches), does, left: times, trap: trap.clone() };
        self.way.rules.lock().unwrap().push(rule);
        trap
    }

    /// Whatever was to become of requests, they pass now.
    pub fn pass(&self) {
        self.way.rules.lock().unwrap().clear();
    }

    /// Ends every watch.
    pub fn cut(&self) {
        self.way.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Requests are this user's from now on.
    pub fn act_as(&self, user: &str) {
        *self.way.user.lock().unwrap() = Some(user.to_owned());
    }

    /// Everything that was asked for so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.way.asked.lock().unwrap().clone()
    }

    /// How many writes came so far, but for those of the Lease.
    pub fn writes(&self) -> usize {
        self.way.asked.lock().unwrap().iter().filter(|a| a.is_write()).count()
    }
}

impl Drop for ApiProxy {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.kubeconfig);
    }
}

async fn pass(State(way): State<Arc<Way>>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |p| p.as_str()).to_owned();
    let body = axum::body::to_bytes(body, 64 << 20).await.unwrap_or_default();
    let text = String::from_utf8_lossy(&body).into_owned();
    let asked = Asked { method: parts.method.clone(), path: path.clone(), body: text };
    // A watch that is only being opened is cut, too.
    let (arrived, cuts) = (Instant::now(), asked.is_watch().then(|| way.cuts.subscribe()));
    let met = {
        let mut rules = way.rules.lock().unwrap();
        // With the rules in hand: who sees that it was asked for knows which of them it met.
        way.asked.lock().unwrap().push(asked.clone());
        let rule = rules.iter_mut().find(|r| r.left > 0 && (r.matches)(&asked));
        rule.map(|rule| {
            rule.left -= 1;
            if !matches!(rule.does, Does::HoldAfter) {
                rule.trap.hit();
            }
            (rule.does.clone(), rule.trap.clone())
        })
    };
    match &met {
        Some((Does::Refuse(code, after), _)) => return refuse(*code, *after),
        Some((Does::Gone, _)) => return gone(),
        _ => {}
    }
    parts.uri = path.parse().unwrap();
    for header in [header::HOST, header::CONNECTION, header::TRANSFER_ENCODING, header::AUTHORIZATION] {
        parts.headers.remove(header);
    }
    if let Some(user) = way.user.lock().unwrap().as_deref() {
        parts.headers.insert("Impersonate-User", HeaderValue::from_str(user).unwrap());
    }
    let request = Request::from_parts(parts, kube::client::Body::from(body.to_vec()));
    // Whoever asked may be gone: what is on its way arrives all the same.
    let sent = tokio::spawn(async move {
        match &met {
            Some((Does::HoldBefore, trap)) => trap.hold().await,
            Some((Does::Slow(time), _)) => tokio::time::sleep_until(arrived + *time / 2).await,
            _ => {}
        }
        let answer = way.client.send(request).await;
        if let Some((Does::Slow(time), _)) = &met {
            tokio::time::sleep_until(arrived + *time).await;
        }
        if let Some((Does::HoldAfter, trap)) = &met {
            trap.hit();
            trap.hold().await;
        }
        let Ok(answer) = answer else { return refuse(502, None) };
        let (parts, body) = answer.into_parts();
        let rest = Body::new(body).into_data_stream();
        let rest = rest.take_until(async move {
            match cuts {
                Some(mut cuts) => _ = cuts.changed().await,
                None => std::future::pending().await,
            }
        });
        let body = match met {
            Some((Does::Swallow, trap)) => {
                let swallowed = futures::stream::once(async move { trap.hold().await }).then(async |()| None);
                // Even the header comes: it is the watch that says nothing.
                Body::from_stream(swallowed.chain(rest.map(Some)).filter_map(async |chunk| chunk))
            }
            _ => Body::from_stream(rest),
        };
        Response::from_parts(parts, body)
    });
    sent.await.unwrap_or_else(|_| refuse(502, None))
}

fn refuse(code: u16, after: Option<u32>) -> Response {
    let reason = match code {
        409 => "Conflict",
        429 => "TooManyRequests",
        _ => "ServiceUnavailable",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "refused by the proxy", "reason": reason,
        "code": code, "details": { "retryAfterSeconds": after.unwrap_or_default() },
    });
    let mut response = Response::builder().status(code).header(header::CONTENT_TYPE, "application/json");
    if let Some(after) = after {
        response = response.header(header::RETRY_AFTER, after);
    }
    response.body(status.to_string().into()).unwrap()
}

fn gone() -> Response {
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Expired", "code": 410,
        "message": "too old resource version",
    });
    let event = json!({ "type": "ERROR", "object": status }).to_string() + "\n";
    Response::builder().header(header::CONTENT_TYPE, "application/json").body(event.into()).unwrap()
}
