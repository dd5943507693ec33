//! Logs, metrics and trace identifiers.

use std::io::{self, IsTerminal};

use opentelemetry_sdk::trace::SdkTracer;
use thiserror::Error;
use tokio::runtime::Handle;
use tracing::{Level, Metadata, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{FilterExt, filter_fn},
    fmt::{MakeWriter, format::JsonFields},
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

mod json;
mod metrics;
mod otlp;
mod traces;

pub use metrics::{Metrics, STORE_OPERATIONS, STORE_RESULTS};
pub use traces::Trace;

/// How logs are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// One JSON object a line.
    Json,
    /// For people.
    #[default]
    Text,
}

/// Why logging could not be set up.
#[derive(Debug, Error)]
pub enum LogError {
    /// The filter is not one.
    #[error("the log filter is not valid: {0}; try info, or secretref=debug,warn")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// There is a subscriber already.
    #[error("logging is set up already")]
    Twice,
}

/// Writes logs alone, to standard error: for a command that ends by itself.
///
/// # Errors
/// When the filter is not valid, or logging is set up already.
pub fn init_logging(format: LogFormat, filter: &str) -> Result<(), LogError> {
    let layer = layer(format, filter, io::stderr, io::stderr().is_terminal())?;
    tracing_subscriber::registry().with(layer).try_init().map_err(|_| LogError::Twice)
}

/// Logs, and traces if the environment names a collector, until this is closed.
#[must_use]
pub struct Telemetry {
    export: Option<otlp::Export>,
}

impl Telemetry {
    /// Logs go to standard error; standard output belongs to results and audit events. Spans go where
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` says, if it says anything: what is wrong there is told, and costs the traces alone.
    ///
    /// # Errors
    /// When the filter is not valid, or logging is set up already.
    pub fn start(format: LogFormat, filter: &str, runtime: &Handle, instance: &str) -> Result<Self, LogError> {
        let logs = layer(format, filter, io::stderr, io::stderr().is_terminal())?;
        let (export, trouble) = match otlp::Export::start(runtime, instance) {
            Ok(export) => (export, None),
            Err(trouble) => (None, Some(trouble)),
        };
        let (export, tracer) = export.unzip();
        let spans = tracer.map(|tracer| {
            let _ = traces::TRACER.set(tracer.clone());
            spans(tracer)
        });
        tracing_subscriber::registry().with(logs).with(spans).try_init().map_err(|_| LogError::Twice)?;
        if let Some(trouble) = trouble {
            tracing::warn!("no traces are exported: {trouble}");
        }
        Ok(Self { export })
    }

    /// Sends what is left.
    pub fn close(self) {
        if let Some(export) = self.export {
            export.close();
        }
    }
}

/// Our own spans, and nothing else: those of libraries may hold what they carry, and events are for the logs.
fn spans<S>(tracer: SdkTracer) -> impl Layer<S> + Send + Sync
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    tracing_opentelemetry::layer()
        .with_tracer(tracer)
        .with_location(false)
        .with_threads(false)
        .with_tracked_inactivity(false)
        .with_filter(filter_fn(|metadata| metadata.is_span() && metadata.target().starts_with("secretref")))
}

fn layer<S, W>(
    format: LogFormat,
    filter: &str,
    writer: W,
    colours: bool,
) -> Result<Box<dyn Layer<S> + Send + Sync>, LogError>
where
    S: tracing::Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter)?.and(filter_fn(admits));
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    Ok(match format {
        LogFormat::Json => layer.fmt_fields(JsonFields::new()).event_format(json::Flat).with_filter(filter).boxed(),
        LogFormat::Text => layer.with_ansi(colours).with_filter(filter).boxed(),
    })
}

/// The floor under every filter. Some libraries log what they carry: kube's client a whole response body at WARN
/// when it does not parse, HTTP stacks headers and frames at DEBUG and TRACE. No flag brings those out.
fn admits(metadata: &Metadata<'_>) -> bool {
    *metadata.level() <= most(metadata.target())
}

fn most(target: &str) -> LevelFilter {
    let crate_name = target.split("::").next().unwrap_or_default();
    match crate_name {
        "kube_client" if target == "kube_client" || target.starts_with("kube_client::client") => Level::ERROR.into(),
        "kube"
        | "kube_client"
        | "kube_core"
        | "kube_runtime"
        | "hyper"
        | "hyper_util"
        | "hyper_rustls"
        | "reqwest"
        | "h2"
        | "rustls"
        | "tokio_rustls"
        | "tower"
        | "tower_http"
        | "axum"
        | "minijinja"
        | "azure_core"
        | "azure_identity"
        | "azure_security_keyvault_secrets"
        | "typespec"
        | "typespec_client_core" => Level::WARN.into(),
        _ => LevelFilter::TRACE,
    }
}

#[cfg(test)]
#[path = "telemetry/tests.rs"]
pub(crate) mod tests;
