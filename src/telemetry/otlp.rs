//! The export of spans over OTLP (HTTP with protobuf), through the HTTP client and TLS that are here anyway.
//!
//! A collector that is slow or gone costs spans, never a sync: they wait in a bounded queue for a thread of their own.

use std::{
    env, fs,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use opentelemetry::{InstrumentationScope, KeyValue, trace::TracerProvider};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    trace::{SdkTracer, SdkTracerProvider},
};
use reqwest::{Certificate, redirect};
use tokio::runtime::Handle;

/// How long the last spans may take when the process ends.
const FAREWELL: Duration = Duration::from_secs(3);

/// The longest answer that is read of a collector.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Spans are collected until this is closed.
pub struct Export {
    provider: SdkTracerProvider,
}

impl Export {
    /// Starts the export, if the environment names a collector.
    ///
    /// # Errors
    /// What of the environment cannot be followed.
    pub fn start(runtime: &Handle, instance: &str) -> Result<Option<(Self, SdkTracer)>, String> {
        if !wanted() {
            return Ok(None);
        }
        if let Some(other) = signal("PROTOCOL").filter(|protocol| protocol != "http/protobuf") {
            return Err(format!(
                "OTEL_EXPORTER_OTLP_PROTOCOL is {other}, and only http/protobuf is spoken here: set it so, with the collector's port for it (4318 by default)"
            ));
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Collector::new(runtime)?)
            .with_protocol(Protocol::HttpBinary)
            .build()
            .map_err(|_| "OTEL_EXPORTER_OTLP_ENDPOINT is no address: write it as http://HOST:4318".to_owned())?;
        let provider =
            SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource(instance)).build();
        let scope = InstrumentationScope::builder("secretref").with_version(env!("CARGO_PKG_VERSION")).build();
        let tracer = provider.tracer_with_scope(scope);
        Ok(Some((Self { provider }, tracer)))
    }

    /// Sends what is left, for a moment at most.
    pub fn close(self) {
        if self.provider.shutdown_with_timeout(FAREWELL).is_err() {
            tracing::warn!("the last spans were not sent in time");
        }
    }
}

/// An endpoint is set, and nothing else in the environment says no.
fn wanted() -> bool {
    let off = variable("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let exporter = variable("OTEL_TRACES_EXPORTER").is_none_or(|name| name.split(',').any(|n| n.trim() == "otlp"));
    !off && exporter && signal("ENDPOINT").is_some()
}

/// A variable of the exporter: the one for traces goes before the one for all signals.
fn signal(name: &str) -> Option<String> {
    variable(&format!("OTEL_EXPORTER_OTLP_TRACES_{name}")).or_else(|| variable(&format!("OTEL_EXPORTER_OTLP_{name}")))
}

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|text| !text.is_empty())
}

/// Who speaks. What the environment says of it goes first.
fn resource(instance: &str) -> Resource {
    let mut ours = vec![
        KeyValue::new("service.name", "secretref"),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", instance.to_owned()),
    ];
    let told = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let told: Vec<&str> = told.split(',').filter_map(|pair| pair.split('=').next()).map(str::trim).collect();
    ours.retain(|pair| !told.contains(&pair.key.as_str()));
    if variable("OTEL_SERVICE_NAME").is_some() {
        ours.retain(|pair| pair.key.as_str() != "service.name");
    }
    Resource::builder().with_attributes(ours).build()
}

/// The way to the collector. The exporter's thread has no runtime of its own: requests run on the operator's.
#[derive(Debug)]
struct Collector {
    http: reqwest::Client,
    runtime: Handle,
    failures: AtomicU64,
}

impl Collector {
    fn new(runtime: &Handle) -> Result<Self, String> {
        let timeout =
            signal("TIMEOUT").and_then(|ms| ms.parse().ok()).map_or(Duration::from_secs(10), Duration::from_millis);
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("secretref/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .timeout(timeout);
        let plain = signal("ENDPOINT").is_some_and(|address| address.starts_with("http://"));
        if let Some(path) = signal("CERTIFICATE") {
            let wrong = || {
                "OTEL_EXPORTER_OTLP_CERTIFICATE names no readable file of PEM certificates: mount one there".to_owned()
            };
            let pem = fs::read(path).map_err(|_| wrong())?;
            builder = builder.tls_certs_only(Certificate::from_pem_bundle(&pem).map_err(|_| wrong())?);
        } else if plain {
            // The system's certificates are not needed; loading them fails where there are none.
            builder = builder.tls_certs_only([]);
        }
        let http = builder.build().map_err(|_| {
            "no TLS client can be made for it: set OTEL_EXPORTER_OTLP_CERTIFICATE to the collector's CA".to_owned()
        })?;
        Ok(Self { http, runtime: runtime.clone(), failures: AtomicU64::new(0) })
    }

    async fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let http = self.http.clone();
        let sent = self.runtime.spawn(async move {
            let mut response = http.execute(request).await?;
            let mut body = BytesMut::new();
            while let Some(chunk) = response.chunk().await? {
                // Nothing that matters is further back.
                if body.len() + chunk.len() > LONGEST_ANSWER {
                    break;
                }
                body.extend_from_slice(&chunk);
            }
            let mut answer = Response::builder().status(response.status()).body(body.freeze())?;
            *answer.headers_mut() = std::mem::take(response.headers_mut());
            Ok(answer)
        });
        sent.await?
    }

    /// Says so at the 1st, 2nd, 4th, 8th … failure in a row: a collector that is gone must not fill the log.
    fn count(&self, failed: Option<String>) {
        match failed {
            Some(why) => {
                let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
                if failures.is_power_of_two() {
                    tracing::warn!(failures, why, "spans could not be sent: check OTEL_EXPORTER_OTLP_ENDPOINT");
                }
            }
            None => {
                if self.failures.swap(0, Ordering::Relaxed) > 0 {
                    tracing::info!("spans are sent again");
                }
            }
        }
    }
}

#[async_trait]
impl HttpClient for Collector {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.send(request).await;
        self.count(match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("the collector answered {}", answer.status().as_u16())),
            Err(_) => Some("the collector did not answer".to_owned()),
        });
        answer
    }
}
