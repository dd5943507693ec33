//! The SDK's requests on our own HTTP client, with the store's CA, bounds and pace.
//!
//! The SDK copies the body of an answer into memory that nobody wipes, and the body of a refusal into its messages. So
//! neither gets into its hands: a body that may hold a value is kept for the caller, and a refusal becomes an error here.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use azure_core::{
    Bytes, Error,
    error::ErrorKind,
    http::{
        AsyncRawResponse, Body, ClientMethodOptions, Context, Method, Request,
        headers::{AUTHORIZATION, Headers},
        policies::{Policy, PolicyResult},
    },
};
use jiff::Timestamp;
use reqwest::{RequestBuilder, Url};
use serde::Deserialize;
use thiserror::Error;
use zeroize::Zeroizing;

use super::login::Login;
use crate::stores::{
    Failure, StoreError,
    body::Object,
    http::{Http, Reply},
};

/// The way to the vault.
pub(super) struct ToVault {
    pub http: Http,
    pub vault: Url,
    pub login: Arc<Login>,
}

/// No answer arrived; the sentence lacks its start, which names what was asked.
#[derive(Debug, Error)]
#[error("no answer")]
pub(super) struct Lost(pub StoreError);

/// The vault answered that it will not. Codes are compared and never shown: they are the server's text.
#[derive(Debug, Error)]
#[error("status {status}")]
pub(super) struct Refusal {
    pub status: u16,
    pub code: String,
    pub inner: String,
    pub retry_after: Option<Duration>,
}

/// The answer of one call, kept from the SDK.
#[derive(Clone, Default)]
pub(super) struct Answer(Arc<Mutex<Kept>>);

/// What an answer said.
#[derive(Default)]
pub(super) struct Kept {
    pub body: Zeroizing<Vec<u8>>,
    /// The server's clock.
    pub date: Option<Timestamp>,
}

#[derive(Deserialize)]
struct Refused {
    error: Object<Code>,
}

#[derive(Default, Deserialize)]
struct Code {
    #[serde(default)]
    code: Option<String>,
    #[serde(default)]
    innererror: Option<Box<Code>>,
}

impl Answer {
    /// Options of a call whose answer is kept here.
    pub fn options(&self) -> ClientMethodOptions<'static> {
        ClientMethodOptions { context: Context::new().with_value(self.clone()) }
    }

    /// What was kept.
    pub fn take(&self) -> Kept {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Policy for ToVault {
    async fn send(&self, ctx: &Context, request: &mut Request, _: &[Arc<dyn Policy>]) -> PolicyResult {
        // The next page of a list is where the server says that it is: it gets the token only if it is the vault.
        if request.url().origin() != self.vault.origin() {
            let message = " failed: the list goes on at another host, and tokens never follow: set vaultUrl to the vault's own name";
            return Err(wrapped(Lost(StoreError::new(Failure::Misconfigured, message))));
        }
        let bearer = request.headers().get_optional_string(&AUTHORIZATION).map(Zeroizing::new);
        let reply = self.http.send(converted(&self.http, request), &"").await.map_err(|e| wrapped(Lost(e)))?;
        match (reply.status.as_u16(), bearer) {
            (401, Some(bearer)) => self.login.rejected(&bearer).await,
            (200..=299 | 403 | 404, Some(_)) => self.login.accepted(),
            _ => {}
        }
        if !reply.status.is_success() && reply.status.as_u16() != 401 {
            return Err(wrapped(Refusal::of(&reply)));
        }
        match ctx.value::<Answer>() {
            Some(answer) if reply.status.is_success() => {
                let date = date(reply.headers.get("date").and_then(|v| v.to_str().ok()));
                let (status, headers) = (reply.status.as_u16(), headers(&reply));
                *answer.0.lock().unwrap_or_else(PoisonError::into_inner) = Kept { body: reply.body, date };
                Ok(AsyncRawResponse::from_bytes(status.into(), headers, Bytes::from_static(b"{}")))
            }
            _ => Ok(passed(reply)),
        }
    }
}

impl fmt::Debug for ToVault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ToVault")
    }
}

impl Refusal {
    fn of(reply: &Reply) -> Self {
        let error =
            serde_json::from_slice::<Object<Refused>>(&reply.body).map(|Object(r)| r.error.0).unwrap_or_default();
        let inner = error.innererror.and_then(|inner| inner.code);
        Self {
            status: reply.status.as_u16(),
            code: error.code.unwrap_or_default(),
            inner: inner.unwrap_or_default(),
            retry_after: reply.retry_after,
        }
    }
}

/// An error of ours on its way through the SDK. Not of a kind that its policies retry.
pub(super) fn wrapped(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::with_error(ErrorKind::Other, Box::new(error) as Box<dyn std::error::Error + Send + Sync>, "see its source")
}

/// An error of ours, found again.
pub(super) fn found<T: std::error::Error + 'static>(error: &Error) -> Option<&T> {
    let mut source = std::error::Error::source(error);
    while let Some(e) = source {
        if let Some(found) = e.downcast_ref() {
            return Some(found);
        }
        source = e.source();
    }
    None
}

/// The SDK's request as one of ours.
pub(super) fn converted(http: &Http, request: &Request) -> RequestBuilder {
    let method = match request.method() {
        Method::Delete => reqwest::Method::DELETE,
        Method::Patch => reqwest::Method::PATCH,
        Method::Post => reqwest::Method::POST,
        Method::Put => reqwest::Method::PUT,
        // No other is used here.
        _ => reqwest::Method::GET,
    };
    let mut out = http.request(method, request.url().clone());
    for (name, value) in request.headers().iter() {
        out = out.header(name.as_str(), value.as_str());
    }
    match request.body() {
        Body::Bytes(bytes) => out.body(bytes.clone()),
        // The clients that are used here make no streams.
        Body::SeekableStream(_) => out,
    }
}

/// Our answer as one of the SDK's.
pub(super) fn passed(reply: Reply) -> AsyncRawResponse {
    let (status, headers) = (reply.status.as_u16(), headers(&reply));
    AsyncRawResponse::from_bytes(status.into(), headers, Bytes::from_owner(reply.body))
}

/// A date as HTTP has it.
pub(super) fn date(text: Option<&str>) -> Option<Timestamp> {
    text.and_then(|text| jiff::fmt::rfc2822::parse(text).ok()).map(|date| date.timestamp())
}

fn headers(reply: &Reply) -> Headers {
    let mut headers = Headers::new();
    for (name, value) in &reply.headers {
        if let Ok(value) = value.to_str() {
            headers.insert(name.as_str().to_owned(), value.to_owned());
        }
    }
    headers
}

#[cfg(test)]
mod fuzz;
