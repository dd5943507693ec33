//! `FakeCollector`: takes spans as an OpenTelemetry collector does, over OTLP with HTTP and protobuf, and keeps them.

use std::{
    collections::BTreeMap,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, header::CONTENT_TYPE},
    response::IntoResponse,
    routing::post,
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{KeyValue, any_value},
};
use prost::Message;

/// A collector on a port of its own, on a thread of its own: it outlives the runtime of the test that made it.
pub struct FakeCollector {
    pub addr: SocketAddr,
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    spans: Vec<Span>,
    /// Everything that came, as text: strings are plain in protobuf.
    text: String,
}

/// A span, with its ids in hexadecimal.
#[derive(Clone, Debug)]
pub struct Span {
    pub trace_id: String,
    pub id: String,
    /// Empty: it is the first one of its trace.
    pub parent: String,
    pub name: String,
    /// 1 internal, 3 client.
    pub kind: i32,
    pub begin: u64,
    pub end: u64,
    pub failed: bool,
    pub attributes: BTreeMap<String, String>,
    /// Of the process it came from.
    pub resource: BTreeMap<String, String>,
}

impl FakeCollector {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let addr = listener.local_addr().unwrap();
        let kept = Arc::<Mutex<Kept>>::default();
        let router = Router::new().route("/v1/traces", post(take)).with_state(kept.clone());
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = tokio::net::TcpListener::from_std(listener).unwrap();
                axum::serve(listener, router).await.unwrap();
            });
        });
        Self { addr, kept }
    }

    /// For `OTEL_EXPORTER_OTLP_ENDPOINT`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.addr)
    }

    /// All spans so far.
    pub fn spans(&self) -> Vec<Span> {
        self.kept().spans.clone()
    }

    /// The spans of one trace, by their beginning.
    pub fn trace(&self, id: &str) -> Vec<Span> {
        let mut spans: Vec<Span> = self.kept().spans.iter().filter(|s| s.trace_id == id).cloned().collect();
        spans.sort_by_key(|s| s.begin);
        spans
    }

    /// How much has come so far, for [`FakeCollector::text_since`].
    pub fn mark(&self) -> usize {
        self.kept().text.len()
    }

    /// What came since, as text.
    pub fn text_since(&self, mark: usize) -> String {
        self.kept().text[mark..].to_owned()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap()
    }
}

async fn take(State(kept): State<Arc<Mutex<Kept>>>, headers: HeaderMap, body: Bytes) -> impl IntoResponse {
    if headers.get(CONTENT_TYPE).is_none_or(|kind| kind != "application/x-protobuf") {
        return (StatusCode::UNSUPPORTED_MEDIA_TYPE, Vec::new());
    }
    let Ok(request) = ExportTraceServiceRequest::decode(body.clone()) else {
        return (StatusCode::BAD_REQUEST, Vec::new());
    };
    let mut kept = kept.lock().unwrap();
    for of in request.resource_spans {
        let resource = attributes(of.resource.map(|r| r.attributes).unwrap_or_default());
        for span in of.scope_spans.into_iter().flat_map(|s| s.spans) {
            kept.spans.push(Span {
                trace_id: hex(&span.trace_id),
                id: hex(&span.span_id),
                parent: hex(&span.parent_span_id),
                name: span.name,
                kind: span.kind,
                begin: span.start_time_unix_nano,
                end: span.end_time_unix_nano,
                failed: span.status.is_some_and(|s| s.code == 2),
                attributes: attributes(span.attributes),
                resource: resource.clone(),
            });
        }
    }
    kept.text.push_str(&String::from_utf8_lossy(&body));
    kept.text.push('\n');
    (StatusCode::OK, ExportTraceServiceResponse::default().encode_to_vec())
}

fn attributes(all: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value: any_value::Value| match value {
        any_value::Value::StringValue(text) => text,
        any_value::Value::IntValue(number) => number.to_string(),
        any_value::Value::BoolValue(yes) => yes.to_string(),
        other => format!("{other:?}"),
    };
    all.into_iter().map(|pair| (pair.key, pair.value.and_then(|v| v.value).map(text).unwrap_or_default())).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
