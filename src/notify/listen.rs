//! `POST /hooks/{event-grid|infisical|generic}/STORE`, or `.../NAMESPACE/STORE` for a tenant's.
//!
//! A store that is not there, one without a key and a signature that is wrong give one answer, after the same work. What
//! is accepted is answered when it is recorded, and says nothing of whether a key exists or is used.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::{Path, Request, State},
    http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header},
    response::IntoResponse,
    routing::any,
};
use tokio::{net::TcpListener, sync::Semaphore, time::timeout};

use super::{
    Changed, Directory, Keys, Known, Malformed, Recorder, Source,
    door::Door,
    event_grid::{self, Delivery},
    flood::{Rates, Seen},
    generic, infisical,
    keys::Unreadable,
    record::since_epoch,
    verify::{WINDOW, decode, same, signed, timely},
};
use crate::{api::Provider, secret::SecretValue, telemetry::Metrics};

/// The longest body.
const MAX_BODY: usize = 256 * 1024;
/// Event Grid sends batches of up to 1 MB, and does not send again what was too large.
const MAX_BATCH: usize = 1 << 20;
/// How long a body may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Notifications that are taken at once.
const AT_ONCE: usize = 64;

/// What takes notifications.
pub struct Hooks {
    /// The keys they prove themselves by.
    keys: Keys,
    /// What nobody knows: compared with where there is no key.
    nobody: SecretValue,
    directory: Arc<Directory>,
    recorder: Arc<Recorder>,
    metrics: Arc<Metrics>,
    seats: Semaphore,
    rates: Mutex<Rates>,
    seen: Mutex<Seen>,
}

/// What became of a notification: the answer, and its name in the metrics.
struct Outcome {
    result: &'static str,
    answer: Response<Body>,
}

/// How a request proves itself, as far as its head tells.
enum Proof {
    Generic { timestamp: String, signature: String },
    Infisical { signature: String },
    Shared { key: SecretValue },
}

impl Hooks {
    /// What takes notifications of the stores in this directory.
    pub fn new(keys: Keys, directory: Arc<Directory>, recorder: Arc<Recorder>, metrics: Arc<Metrics>) -> Self {
        Self {
            keys,
            nobody: SecretValue::new(rand::random::<[u8; 32]>().to_vec()),
            directory,
            recorder,
            metrics,
            seats: Semaphore::new(AT_ONCE),
            rates: Mutex::default(),
            seen: Mutex::default(),
        }
    }

    async fn take(&self, source: Source, store: &str, request: Request) -> Outcome {
        let Ok(_seat) = self.seats.try_acquire() else { return busy() };
        let (head, body) = request.into_parts();
        let Some(proof) = Proof::of(source, &head.headers, head.uri.query()) else { return refused() };
        let body =
            match timeout(PATIENCE, to_bytes(body, if source == Source::EventGrid { MAX_BATCH } else { MAX_BODY }))
                .await
            {
                Ok(Ok(body)) => body,
                Ok(Err(_)) => return plain("too_large", StatusCode::PAYLOAD_TOO_LARGE),
                Err(_) => return plain("timeout", StatusCode::REQUEST_TIMEOUT),
            };
        let known = self.directory.get(store);
        match self.proven(store, &proof, &body).await {
            Err(Unreadable) => return busy(),
            Ok(false) => return refused(),
            Ok(true) => {}
        }
        let Some(known) = known else { return refused() };
        let changed = match said(source, &body, &known.provider) {
            Err(Malformed) => return plain("malformed", StatusCode::BAD_REQUEST),
            Ok(Said::Late) => return refused(),
            Ok(Said::Validate(code)) => return validation(&code),
            Ok(Said::Changed(changed)) if changed.is_empty() => return plain("ignored", StatusCode::ACCEPTED),
            Ok(Said::Changed(changed)) => changed,
        };
        self.record(&known, proof.signature(), changed).await
    }

    /// Whether a request has the key of its store. A key that does not fit may have been replaced meanwhile.
    async fn proven(&self, store: &str, proof: &Proof, body: &[u8]) -> Result<bool, Unreadable> {
        for doubt in [false, true] {
            let key = self.keys.get(store, doubt).await?;
            let fits = proof.fits(key.as_ref().unwrap_or(&self.nobody), body);
            if fits && key.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn record(&self, known: &Known, signature: Option<[u8; 32]>, changed: Vec<Changed>) -> Outcome {
        let now = since_epoch();
        if signature.is_some_and(|s| lock(&self.seen).has(&s, now)) {
            return plain("replayed", StatusCode::ACCEPTED);
        }
        let within = lock(&self.rates).allow(&known.uid, changed.len(), now);
        let what = if within {
            self.recorder.record(&known.uid, &changed)
        } else {
            self.recorder.record(&known.uid, &[Changed::All])
        };
        if !self.recorder.written(what).await {
            return busy();
        }
        if let Some(signature) = signature {
            lock(&self.seen).add(signature, now, WINDOW);
        }
        plain(if within { "accepted" } else { "overflow" }, StatusCode::ACCEPTED)
    }
}

/// What a proven body says.
enum Said {
    Changed(Vec<Changed>),
    Validate(String),
    Late,
}

fn said(source: Source, body: &[u8], provider: &Provider) -> Result<Said, Malformed> {
    match source {
        Source::Generic => generic::parse(body).map(Said::Changed),
        Source::Infisical => {
            let Some(settings) = &provider.infisical else { return Ok(Said::Changed(Vec::new())) };
            let (changed, sent) = infisical::parse(body, settings)?;
            let timely = timely(sent, since_epoch());
            Ok(if timely { Said::Changed(changed.into_iter().collect()) } else { Said::Late })
        }
        Source::EventGrid => {
            let url = provider.azure_key_vault.as_ref().map_or("", |a| a.vault_url.as_str());
            Ok(match event_grid::parse(body, url)? {
                Delivery::Changed(changed) => Said::Changed(changed),
                Delivery::Validate(code) => Said::Validate(code),
            })
        }
    }
}

impl Proof {
    /// From the head of a request; none, if it cannot be one, or is not of this time.
    fn of(source: Source, headers: &HeaderMap, query: Option<&str>) -> Option<Self> {
        let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok());
        match source {
            Source::Generic => {
                let timestamp = text("x-secretref-timestamp")?;
                let digits = !timestamp.is_empty() && timestamp.bytes().all(|b| b.is_ascii_digit());
                let sent = Duration::from_secs(timestamp.parse().ok().filter(|_| digits)?);
                let signature = text("x-secretref-signature")?.strip_prefix("sha256=")?;
                let whole = timely(sent, since_epoch()) && decode(signature).is_some();
                whole.then(|| Self::Generic { timestamp: timestamp.to_owned(), signature: signature.to_owned() })
            }
            Source::Infisical => {
                let (_, signature) = text("x-infisical-signature")?.strip_prefix("t=")?.split_once(';')?;
                decode(signature).map(|_| Self::Infisical { signature: signature.to_owned() })
            }
            Source::EventGrid => {
                let bearer = || text("authorization")?.strip_prefix("Bearer ");
                let in_query = || query?.split('&').find_map(|pair| pair.strip_prefix("code="));
                let key = text("x-secretref-key").or_else(bearer).or_else(in_query)?;
                Some(Self::Shared { key: key.to_owned().into() })
            }
        }
    }

    fn fits(&self, key: &SecretValue, body: &[u8]) -> bool {
        match self {
            Self::Generic { timestamp, signature } => {
                signed(key.expose(), &[timestamp.as_bytes(), b".", body], signature)
            }
            Self::Infisical { signature } => signed(key.expose(), &[body], signature),
            Self::Shared { key: given } => same(key.expose(), given.expose()),
        }
    }

    /// What tells one request from another.
    fn signature(&self) -> Option<[u8; 32]> {
        match self {
            Self::Generic { signature, .. } | Self::Infisical { signature } => decode(signature),
            Self::Shared { .. } => None,
        }
    }
}

fn plain(result: &'static str, status: StatusCode) -> Outcome {
    Outcome { result, answer: status.into_response() }
}

/// One answer for everything that does not prove itself.
fn refused() -> Outcome {
    plain("refused", StatusCode::UNAUTHORIZED)
}

/// It may come again.
fn busy() -> Outcome {
    let answer = (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "5")]).into_response();
    Outcome { result: "unavailable", answer }
}

fn validation(code: &str) -> Outcome {
    let body = serde_json::json!({ "validationResponse": code }).to_string();
    let answer = (StatusCode::OK, [(header::CONTENT_TYPE, "application/json")], body).into_response();
    Outcome { result: "validation", answer }
}

/// The handshake of CloudEvents: whether somebody here wants events at all. It says nothing of any store.
fn handshake(headers: &HeaderMap) -> Outcome {
    let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':');
    let origin =
        headers.get("webhook-request-origin").filter(|o| o.len() <= 253 && o.as_bytes().iter().all(|b| name(*b)));
    let Some(origin) = origin else { return plain("malformed", StatusCode::BAD_REQUEST) };
    let mut answer = StatusCode::OK.into_response();
    answer.headers_mut().insert("webhook-allowed-origin", origin.clone());
    answer.headers_mut().insert("webhook-allowed-rate", HeaderValue::from_static("*"));
    answer.headers_mut().insert(header::ALLOW, HeaderValue::from_static("OPTIONS, POST"));
    Outcome { result: "validation", answer }
}

async fn answer(hooks: Arc<Hooks>, source: &str, store: String, request: Request) -> Response<Body> {
    let Some(source) = Source::parse(source) else { return StatusCode::NOT_FOUND.into_response() };
    let outcome = match (request.method(), source) {
        (&Method::POST, _) => hooks.take(source, &store, request).await,
        (&Method::OPTIONS, Source::EventGrid) => handshake(request.headers()),
        _ => plain("malformed", StatusCode::METHOD_NOT_ALLOWED),
    };
    hooks.metrics.notification(source.as_str(), outcome.result);
    let mut answer = outcome.answer;
    // One request for each connection: none is cut off in the middle of a second one.
    answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

fn routes(hooks: Arc<Hooks>) -> Router {
    let platform =
        |State(hooks): State<Arc<Hooks>>, Path((source, store)): Path<(String, String)>, request: Request| async move {
            // A name has no slash, not even an escaped one: it would be a tenant's.
            if store.contains('/') {
                StatusCode::NOT_FOUND.into_response()
            } else {
                answer(hooks, &source, store, request).await
            }
        };
    let tenant =
        |State(hooks): State<Arc<Hooks>>,
         Path((source, namespace, store)): Path<(String, String, String)>,
         request: Request| async move { answer(hooks, &source, format!("{namespace}/{store}"), request).await };
    Router::new()
        .route("/hooks/{source}/{store}", any(platform))
        .route("/hooks/{source}/{namespace}/{store}", any(tenant))
        .with_state(hooks)
}

/// Takes notifications until `shutdown`; then no more, but those that came in are answered.
///
/// # Errors
/// When the listener breaks.
pub async fn serve(
    listener: TcpListener,
    hooks: Arc<Hooks>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(Door::new(listener), routes(hooks)).with_graceful_shutdown(shutdown).await
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod fuzz;
