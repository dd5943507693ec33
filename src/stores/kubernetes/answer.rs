//! What the API server answers: within a time, within bounds, and with no text of it in any log.
//!
//! `kube` sets no timeout, takes bodies of any length, logs what does not parse, and hides Retry-After: so its connection
//! is used, and nothing above it.

use std::{error::Error, fmt, time::Duration};

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
};
use bytes::Bytes;
use futures::StreamExt;
use kube::{Client, core::Status};
use serde::de::DeserializeOwned;
use zeroize::Zeroizing;

use crate::stores::{
    Failure, StoreError,
    body::{Gathered, Object, TooLong},
    http::LONGEST_WAIT,
    pace,
};

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(10);

/// An answer that has arrived whole. Its body is wiped when dropped, and never printed.
pub(super) struct Reply {
    pub status: StatusCode,
    retry_after: Option<Duration>,
    body: Zeroizing<Vec<u8>>,
}

/// Sends a request and reads the whole answer. `what` starts the sentence of an error.
pub(super) async fn send<B: Into<Bytes>>(
    client: &Client,
    request: Result<Request<B>, kube::core::request::Error>,
    what: &impl fmt::Display,
) -> Result<Reply, StoreError> {
    let request = request.map_err(|_| nonsense(what))?.map(|body| kube::client::Body::from(body.into()));
    pace::request().await;
    let answer = async {
        let response = client.send(request).await.map_err(|error| refused(&error, what))?;
        let (status, headers) = (response.status(), response.headers());
        let retry_after = headers.get(header::RETRY_AFTER).and_then(|text| retry_after(text.to_str().ok()?));
        let announced = headers.get(header::CONTENT_LENGTH).and_then(|text| text.to_str().ok()?.parse().ok());
        let mut body = Gathered::new(announced.unwrap_or(0)).map_err(|TooLong| too_long(what))?;
        let mut chunks = Body::new(response.into_body()).into_data_stream();
        while let Some(chunk) = chunks.next().await {
            let chunk = chunk.map_err(|error| no_answer(Some(&error), what))?;
            body.push(&chunk).map_err(|TooLong| too_long(what))?;
        }
        Ok(Reply { status, retry_after, body: body.whole() })
    };
    tokio::time::timeout(TIMEOUT, answer).await.unwrap_or_else(|_| Err(no_answer(None, what)))
}

impl Reply {
    pub fn parse<T: DeserializeOwned>(&self, what: &impl fmt::Display) -> Result<T, StoreError> {
        serde_json::from_slice(&self.body).map_err(|_| nonsense(what))
    }

    /// The API server says that this object is not there, and names it. A page that says 404 is something else, and so
    /// is a path that nobody serves, which names nothing.
    pub fn is_not_found(&self) -> bool {
        let named = |status: &Status| status.details.as_ref().is_some_and(|details| !details.name.is_empty());
        self.said().is_some_and(|status| status.reason == "NotFound" && named(&status))
    }

    fn said(&self) -> Option<Status> {
        serde_json::from_slice(&self.body).ok().map(|Object(status)| status)
    }

    fn says(&self, text: &str) -> bool {
        self.said().is_some_and(|status| status.message.contains(text))
    }

    /// It is the object that is refused, not who sent it: why.
    fn refuses_object(&self) -> Option<&'static str> {
        match self.status.as_u16() {
            413 | 422 => Some(
                "the API server refuses such a Secret: check that it is not immutable, has the keys of its type, and is below 1 MiB",
            ),
            403 if self.says("exceeded quota") => {
                Some("the quota of the namespace is used up: raise it, or delete Secrets that nobody needs")
            }
            400 | 403 if self.says("admission webhook") || self.says("ValidatingAdmissionPolicy") => {
                Some("an admission policy of the cluster refuses it: except the store's namespace from it")
            }
            _ => None,
        }
    }

    /// The row of the failure table. The API server's own text stays out: it may repeat what it was sent.
    pub fn failure(&self, what: &impl fmt::Display, denied: &str) -> StoreError {
        if let Some(why) = self.refuses_object() {
            return StoreError::new(Failure::Misconfigured, format!("{what} failed: {why}"));
        }
        let (failure, why) = match self.status.as_u16() {
            401 => (
                Failure::Unauthenticated,
                "the API server does not take the operator's identity: check its ServiceAccount or kubeconfig",
            ),
            // A quota that is new lets nothing in until somebody has counted what there is.
            403 if self.says("status unknown for quota") => {
                (Failure::Unavailable, "the quota of the namespace is not counted yet: try again in a moment")
            }
            403 => (Failure::Denied, denied),
            429 => {
                let details = self.said().and_then(|status| status.details);
                let seconds = details.map(|details| details.retry_after_seconds).filter(|seconds| *seconds > 0);
                let wait =
                    seconds.map(|seconds| Duration::from_secs(seconds.into()).min(LONGEST_WAIT)).or(self.retry_after);
                (
                    Failure::RateLimited(wait),
                    "the API server asks to slow down: look at its flow control, or lower limits.requestsPerSecond",
                )
            }
            300..400 => (
                Failure::Misconfigured,
                "the server redirects, and credentials never follow: set the address to the API server's own",
            ),
            ..500 => (Failure::Misconfigured, "the API server does not know such a request: check its address"),
            _ => (Failure::Unavailable, "the API server has an error of its own: look into its log"),
        };
        StoreError::new(failure, format!("{what} failed: {why}"))
    }
}

/// Seconds; a day at most, since more would overflow a clock.
fn retry_after(text: &str) -> Option<Duration> {
    text.trim().parse().ok().map(|seconds| Duration::from_secs(seconds).min(LONGEST_WAIT))
}

fn refused(error: &kube::Error, what: &impl fmt::Display) -> StoreError {
    match error {
        kube::Error::Auth(_) => StoreError::new(
            Failure::Unauthenticated,
            format!("{what} failed: there are no credentials for the API server: check the kubeconfig"),
        ),
        error => no_answer(Some(error), what),
    }
}

pub(super) fn no_answer(error: Option<&dyn Error>, what: &impl fmt::Display) -> StoreError {
    let (mut tls, mut cause) = (false, error);
    while let Some(error) = cause {
        let text = error.to_string();
        tls |= text.contains("certificate") || text.contains("InvalidContent");
        cause = error.source();
    }
    let why = if tls {
        "no TLS connection to the API server: set the CA that signed its certificate, and check its address"
    } else {
        "the API server cannot be reached: check that it runs and what is in between"
    };
    StoreError::new(Failure::Unavailable, format!("{what} failed: {why}"))
}

pub(super) fn nonsense(what: &impl fmt::Display) -> StoreError {
    StoreError::new(
        Failure::Misconfigured,
        format!("{what} failed: the answer makes no sense: check that the address is an API server's"),
    )
}

fn too_long(what: &impl fmt::Display) -> StoreError {
    StoreError::new(
        Failure::Misconfigured,
        format!("{what} failed: the answer is longer than 4 MiB: check that the address is an API server's"),
    )
}

#[cfg(test)]
mod fuzz;
