//! A thin HTTP client for the stores that speak HTTP: their CA, no redirects, bounded bodies, errors in one sentence.
//!
//! Timeouts are the layers' job. Connecting has its own, so that a dead address is told from a slow server, and there
//! is a last one, so that nothing that is not asked through the layers can wait for ever.

use std::{error::Error as _, fmt, time::Duration};

use reqwest::{Certificate, Client, Method, RequestBuilder, Response, StatusCode, Url, header, redirect};
use tracing::{Instrument, field::Empty};
use zeroize::Zeroizing;

use super::{
    Failure, StoreError,
    body::{Gathered, TooLong},
    pace,
};

/// The longest that `limits.timeout` may be.
const LONGEST: Duration = Duration::from_secs(300);
/// The longest that a server is left alone.
pub(super) const LONGEST_WAIT: Duration = Duration::from_secs(86_400);
/// The longest that a stream lasts.
const LIFE: Duration = Duration::from_secs(7 * 86_400);

/// A client for one server.
pub(crate) struct Http {
    client: Client,
    base: Url,
}

/// An answer that has arrived whole. Its body is wiped when dropped, and never printed.
pub(crate) struct Reply {
    /// The status; never a redirect.
    pub status: StatusCode,
    /// How long the server wants to be left alone.
    pub retry_after: Option<Duration>,
    /// The headers.
    pub headers: header::HeaderMap,
    /// The body.
    pub body: Zeroizing<Vec<u8>>,
}

/// What comes of asking for a stream.
pub(crate) enum Opened {
    /// 200 or 101: its body, or what it is upgraded to, is still to come.
    Stream(Response),
    /// Another answer, whole.
    Refused(Reply),
}

impl Http {
    /// A client that trusts `ca` (PEM) and nothing else, or, without it, what the system trusts.
    pub fn new(address: &str, ca: Option<&str>) -> Result<Self, StoreError> {
        let wrong = |what: &str| StoreError::new(Failure::Misconfigured, what);
        let base = Url::parse(address)
            .ok()
            .filter(|url| !url.cannot_be_a_base())
            .ok_or_else(|| wrong("the store's address is no URL: write it as https://HOST[:PORT]"))?;
        let mut builder = Client::builder()
            .user_agent(concat!("secretref/", env!("CARGO_PKG_VERSION")))
            .redirect(redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .timeout(LONGEST);
        let no_ca = || wrong("the store's caBundle or caRef holds no certificate: give PEM blocks of CERTIFICATE");
        match ca {
            Some(pem) => {
                let certificates = Certificate::from_pem_bundle(pem.as_bytes()).map_err(|_| no_ca())?;
                if certificates.is_empty() {
                    return Err(no_ca());
                }
                builder = builder.tls_certs_only(certificates);
            }
            // Without TLS the system's certificates are not needed; loading them fails where there are none.
            None if base.scheme() == "http" => builder = builder.tls_certs_only([]),
            None => {}
        }
        let client = builder.build().map_err(|_| {
            wrong("no TLS client can be made: the store's caBundle or caRef is unusable, or, without one, this system has no CA certificates")
        })?;
        Ok(Self { client, base })
    }

    /// The URL of these path segments, each percent-encoded. A key with a segment that cannot be asked for is refused.
    pub fn url<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Result<Url, StoreError> {
        let wrong = || {
            let message = "a path with '.', '..' or control characters in it cannot be asked for";
            StoreError::new(Failure::Misconfigured, message)
        };
        let mut url = self.base.clone();
        {
            let mut path = url.path_segments_mut().map_err(|()| wrong())?;
            path.pop_if_empty();
            for segment in segments {
                // Line breaks and tabs are dropped on the way: what is left of "\n.." leads upwards.
                if matches!(segment, "." | "..") || segment.contains(char::is_control) {
                    return Err(wrong());
                }
                path.push(segment);
            }
        }
        Ok(url)
    }

    /// A request that is not sent yet.
    pub fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.client.request(method, url)
    }

    /// Sends it and reads the whole answer. `what` starts the sentence of an error: `reading acme--db-password`.
    pub async fn send(&self, request: RequestBuilder, what: &impl fmt::Display) -> Result<Reply, StoreError> {
        pace::request().await;
        self.exchange(request, what).await
    }

    /// [`Http::send`] for what does not go to the store, and has no turn to wait for: a login elsewhere.
    pub async fn exchange(&self, request: RequestBuilder, what: &impl fmt::Display) -> Result<Reply, StoreError> {
        let (client, request) = request.build_split();
        let request = request.map_err(|e| no_answer(e, what))?;
        // Neither path nor query: a server may want in them what nobody else is to know.
        let span = tracing::debug_span!(
            "http",
            otel.name = %request.method(),
            otel.kind = "client",
            http.request.method = %request.method(),
            http.response.status_code = Empty,
            server.address = request.url().host_str(),
            server.port = request.url().port_or_known_default(),
        );
        let response = client.execute(request).instrument(span.clone()).await.map_err(|e| no_answer(e, what))?;
        span.record("http.response.status_code", response.status().as_u16());
        drop(span);
        whole(response, what).await
    }

    /// [`Http::send`] for what is answered for as long as it lasts. Who reads it has to notice silence.
    pub async fn open(&self, request: RequestBuilder, what: &impl fmt::Display) -> Result<Opened, StoreError> {
        pace::request().await;
        let response = request.timeout(LIFE).send().await.map_err(|e| no_answer(e, what))?;
        if matches!(response.status(), StatusCode::OK | StatusCode::SWITCHING_PROTOCOLS) {
            return Ok(Opened::Stream(response));
        }
        whole(response, what).await.map(Opened::Refused)
    }
}

async fn whole(mut response: Response, what: &impl fmt::Display) -> Result<Reply, StoreError> {
    let status = response.status();
    if status.is_redirection() {
        return Err(StoreError::new(
            Failure::Misconfigured,
            format!(
                "{what} failed: the server redirects, and credentials never follow: set the store's address to where the active server answers"
            ),
        ));
    }
    let retry_after = retry_after(&response);
    let headers = response.headers().clone();
    let body = read(&mut response, what).await?;
    Ok(Reply { status, retry_after, headers, body })
}

async fn read(response: &mut Response, what: &impl fmt::Display) -> Result<Zeroizing<Vec<u8>>, StoreError> {
    let too_long = |TooLong| {
        StoreError::new(
            Failure::Misconfigured,
            format!("{what} failed: the answer is longer than 4 MiB: check that the address is the store's"),
        )
    };
    let mut body = Gathered::new(response.content_length().unwrap_or(0)).map_err(too_long)?;
    while let Some(chunk) = response.chunk().await.map_err(|e| no_answer(e, what))? {
        body.push(&chunk).map_err(too_long)?;
    }
    Ok(body.whole())
}

/// Seconds or a date, as RFC 9110 has it; a day at most.
fn retry_after(response: &Response) -> Option<Duration> {
    let text = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let at = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
            Duration::try_from(at.duration_since(jiff::Timestamp::now())).unwrap_or_default()
        }
    };
    Some(wait.min(LONGEST_WAIT))
}

/// No answer arrived. The text of the cause names hosts and certificates at most: URLs and bodies are not in it.
fn no_answer(error: reqwest::Error, what: &impl fmt::Display) -> StoreError {
    let error = error.without_url();
    let (mut tls, mut cause, mut source) = (false, String::new(), error.source());
    while let Some(e) = source {
        cause = e.to_string();
        tls |= ["certificate", "InvalidContentType", "HandshakeFailure"].iter().any(|sign| cause.contains(sign));
        source = e.source();
    }
    cause.truncate(cause.char_indices().nth(200).map_or(cause.len(), |(at, _)| at));
    // Only a handshake: a broken connection names TLS, too.
    let message = if tls && error.is_connect() {
        format!(
            "{what} failed: no TLS connection ({cause}): set the store's caBundle or caRef to the CA that signed the server's certificate, and check that the address has the name in it"
        )
    } else if error.is_connect() || error.is_timeout() {
        let cause = if cause.is_empty() { "no answer in time".to_owned() } else { cause };
        format!(
            "{what} failed: the server cannot be reached ({cause}): check the store's address, that the server runs, and that network policies let the operator through"
        )
    } else if error.is_builder() {
        let message = format!("{what} failed: the request cannot be made: check the store's address and credential");
        return StoreError::new(Failure::Misconfigured, message);
    } else {
        let cause = if cause.is_empty() { String::new() } else { format!(" ({cause})") };
        format!("{what} failed: the connection broke{cause}: check the server and what is between it and the operator")
    };
    StoreError::new(Failure::Unavailable, message)
}

#[cfg(test)]
mod fuzz;
