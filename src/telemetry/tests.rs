#![allow(clippy::unwrap_used)]
use std::sync::{Arc, LazyLock, Mutex};

use tracing::Dispatch;
use tracing::subscriber::NoSubscriber;

use super::*;

/// While a process has one subscriber only, the thread that passes a line first decides by its own default whether
/// anybody wants it, for all threads and for good; with a second one each line is asked about anew.
static SECOND: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(NoSubscriber::new()));

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Logs of this thread until the guard is dropped, and the way to what was written.
pub(crate) fn captured(
    format: LogFormat,
    filter: &str,
) -> (tracing::subscriber::DefaultGuard, impl FnOnce() -> String) {
    LazyLock::force(&SECOND);
    let written = Written::default();
    let writer = written.clone();
    let layer = layer(format, filter, move || writer.clone(), false).unwrap();
    let guard = tracing_subscriber::registry().with(layer).set_default();
    (guard, move || String::from_utf8(written.0.lock().unwrap().clone()).unwrap())
}

fn logged(format: LogFormat, filter: &str, log: impl FnOnce()) -> String {
    let (guard, written) = captured(format, filter);
    log();
    drop(guard);
    written()
}

#[test]
fn no_filter_gets_below_the_floor() {
    for filter in ["trace", "kube_client::client=trace,hyper=trace,reqwest=trace,h2=trace,rustls=trace,kube=trace"] {
        let text = logged(LogFormat::Text, filter, || {
            tracing::warn!(target: "kube_client::client", "CANARY body");
            tracing::warn!(target: "kube_client::client::builder", "CANARY body");
            tracing::debug!(target: "kube_client::api", "CANARY");
            tracing::info!(target: "kube_runtime::watcher", "CANARY");
            tracing::trace!(target: "hyper::proto::h1::io", "CANARY frame");
            tracing::debug!(target: "hyper_util::client::legacy", "CANARY");
            tracing::debug!(target: "reqwest::connect", "CANARY");
            tracing::trace!(target: "h2::codec", "CANARY");
            tracing::debug!(target: "rustls::client", "CANARY");
            tracing::info!(target: "typespec_client_core::http::policies::logging", "CANARY headers");
            tracing::debug!(target: "azure_core::http::pager", "CANARY link");
            tracing::trace!(target: "azure_identity::azure_cli_credential", "CANARY command");
            tracing::debug!(target: "azure_security_keyvault_secrets::clients", "CANARY");
            tracing::error!(target: "kube_client::client", "kept");
            tracing::warn!(target: "rustls::client", "kept");
        });
        assert!(!text.contains("CANARY"), "{filter}: {text}");
        assert_eq!(text.matches("kept").count(), 2, "{filter}: {text}");
    }
}

/// Some libraries speak through `log`, which comes in by another door.
#[tokio::test]
async fn the_floor_holds_for_the_log_crate_too() {
    let connect = || async {
        let _ = reqwest::Client::new().get("http://127.0.0.1:1/").send().await;
    };
    LazyLock::force(&SECOND);
    let all = Written::default();
    let writer = all.clone();
    let guard = tracing_subscriber::fmt()
        .with_max_level(Level::TRACE)
        .with_writer(move || writer.clone())
        .finish()
        .set_default();
    connect().await;
    drop(guard);
    let text = String::from_utf8(all.0.lock().unwrap().clone()).unwrap();
    assert!(text.contains("starting new connection"), "without a floor it is there: {text}");

    let (guard, written) = captured(LogFormat::Text, "trace");
    connect().await;
    drop(guard);
    let text = written();
    assert!(!text.contains("starting new connection") && !text.contains("reqwest"), "{text}");
}

#[test]
fn spans_below_the_floor_are_not_there() {
    let text = logged(LogFormat::Text, "trace", || {
        let _span = tracing::info_span!(target: "hyper::client", "request", header = "CANARY").entered();
        tracing::info!("inside");
    });
    assert!(text.contains("inside") && !text.contains("CANARY"), "{text}");
}

#[test]
fn the_filter_is_obeyed_above_the_floor() {
    let text = logged(LogFormat::Json, "info", || {
        tracing::debug!("quiet");
        tracing::info!(store = "platform", "heard");
    });
    let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    assert_eq!(
        (&line["message"], &line["store"], &line["level"]),
        (&"heard".into(), &"platform".into(), &"INFO".into())
    );
    let wrong = layer::<tracing_subscriber::Registry, _>(LogFormat::Text, "a=b=c", io::stderr, false);
    assert!(matches!(wrong, Err(LogError::Filter(_))));
}

#[test]
fn a_line_is_flat_and_says_what_is_around_it() {
    let text = logged(LogFormat::Json, "debug", || {
        let _sync = tracing::info_span!(
            "sync",
            trace_id = "4bf9",
            secretref.reference = "acme/db",
            k8s.namespace.name = "acme"
        );
        let _sync = _sync.entered();
        let _access =
            tracing::debug_span!("access", secretref.store = "platform", secretref.result = tracing::field::Empty);
        _access.record("secretref.result", "denied");
        let _access = _access.entered();
        tracing::warn!(store = "named here", level = "no other", n = 3_u64, ok = true, "said {}", "so");
    });
    let line: serde_json::Value = serde_json::from_str(text.trim()).unwrap();
    let mut names: Vec<&str> = line.as_object().unwrap().keys().map(String::as_str).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        ["level", "message", "n", "ok", "reference", "result", "store", "target", "timestamp", "trace_id"]
    );
    assert_eq!((&line["message"], &line["level"]), (&"said so".into(), &"WARN".into()));
    assert_eq!((&line["trace_id"], &line["reference"]), (&"4bf9".into(), &"acme/db".into()));
    assert_eq!((&line["store"], &line["result"]), (&"named here".into(), &"denied".into()));
    assert!(line["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
    assert!(text.starts_with("{\"timestamp\":"), "{text}");
}
