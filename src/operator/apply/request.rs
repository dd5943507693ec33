//! One request to the API server: fenced by the lead, bounded in time, counted and traced.

use std::{future::Future, sync::Arc, time::Duration};

use kube::{Client, core::Status};
use thiserror::Error;
use tokio::sync::watch;
use tracing::{Instrument, field::Empty};

use super::{super::lease::Leadership, refusal};
use crate::telemetry::Metrics;

/// How long the API server may take to answer a question.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long it may take for a write: one that is sent at the very end of a term has ended before another replica may
/// lead, which is [`lease::LEASE`](super::lease::LEASE) less [`lease::DEADLINE`](super::lease::DEADLINE) later.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);

/// The longest wait before a request is sent a second time, whatever the API server asks for.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

/// Why the API server was asked in vain.
#[derive(Debug, Error)]
pub enum ApiError {
    /// This replica does not lead (any more).
    #[error("this replica does not lead")]
    NotLeading,
    /// No answer in time.
    #[error("the API server did not answer in time")]
    Timeout,
    /// It answered with an error.
    #[error("the API server refused: {}", refusal::code(.0))]
    Refused(Box<Status>),
    /// It could not be asked, or its answer could not be read. The cause is not shown: it may quote the answer.
    #[error("the API server could not be asked")]
    Transport,
}

impl ApiError {
    /// The HTTP status.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused(status) => Some(status.code),
            _ => None,
        }
    }

    /// How long to wait before the request is sent again, if it was not carried out for want of time.
    fn come_back(&self) -> Option<Duration> {
        let Self::Refused(status) = self else { return None };
        let after = status.details.as_ref().map_or(0, |d| d.retry_after_seconds).max(1);
        matches!(status.code, 429 | 503 | 504).then(|| Duration::from_secs(after.into()).min(LONGEST_WAIT))
    }
}

/// The one writer.
#[derive(Clone)]
pub struct Writer {
    /// The API server.
    pub client: Client,
    /// Whether this replica leads, checked before every write.
    pub leadership: watch::Receiver<Leadership>,
    /// Counts.
    pub metrics: Arc<Metrics>,
}

impl Writer {
    /// Whether this replica leads.
    pub fn leads(&self) -> bool {
        self.leadership.borrow().is_leading()
    }

    /// One request: fenced, bounded, counted.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn call<T>(
        &self,
        verb: &'static str,
        kind: &'static str,
        request: impl Future<Output = kube::Result<T>>,
    ) -> Result<T, ApiError> {
        let reads = matches!(verb, "get" | "list");
        if !reads && !self.leads() {
            return Err(ApiError::NotLeading);
        }
        let deadline = if reads { DEADLINE } else { WRITE_DEADLINE };
        let span = tracing::debug_span!(
            "apiserver request",
            otel.name = %format_args!("{verb} {kind}"),
            otel.kind = "client",
            otel.status_code = Empty,
            http.request.method = method(verb),
            http.response.status_code = Empty,
            secretref.verb = verb,
            secretref.kind = kind,
            secretref.result = Empty,
            "error.type" = Empty,
        );
        let result = match tokio::time::timeout(deadline, request).instrument(span.clone()).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(kube::Error::Api(status))) => Err(ApiError::Refused(status)),
            Ok(Err(_)) => Err(ApiError::Transport),
            Err(_) => Err(ApiError::Timeout),
        };
        let counted = match &result {
            Ok(_) => "success",
            Err(ApiError::Refused(_)) => "refused",
            Err(ApiError::Timeout) => "timeout",
            Err(_) => "failed",
        };
        self.metrics.apiserver_request(verb, kind, counted);
        span.record("secretref.result", counted);
        if let Err(error) = &result {
            span.record("otel.status_code", "ERROR").record("error.type", counted);
            if let Some(code) = error.code() {
                span.record("http.response.status_code", code);
            }
        }
        result
    }

    /// [`Self::call`], and once more when the API server says to come back: leadership is asked for each of the two, so
    /// the client below must not retry by itself.
    ///
    /// # Errors
    /// See [`ApiError`].
    pub async fn call_again<T, F: Future<Output = kube::Result<T>>>(
        &self,
        verb: &'static str,
        kind: &'static str,
        mut request: impl FnMut() -> F,
    ) -> Result<T, ApiError> {
        let first = self.call(verb, kind, request()).await;
        let Some(wait) = first.as_ref().err().and_then(ApiError::come_back) else { return first };
        tokio::time::sleep(wait).await;
        self.call(verb, kind, request()).await
    }
}

/// The HTTP method of a verb of the API server.
const fn method(verb: &str) -> &'static str {
    match verb.as_bytes() {
        b"create" => "POST",
        b"update" => "PUT",
        b"patch" => "PATCH",
        b"delete" => "DELETE",
        _ => "GET",
    }
}
