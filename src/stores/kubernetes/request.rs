//! Requests to the API server: each with an end, and no body in any log.
//!
//! `kube` sets no timeout, and logs a body that does not parse: so the text is taken and parsed here.

use std::{fmt, future::Future, time::Duration};

use axum::http::{self, HeaderValue, header};
use bytes::Bytes;
use k8s_openapi::{
    ListableResource, NamespaceResourceScope, Resource, api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Client,
    client::Body,
    core::{Request, params::GetParams, params::PostParams},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use crate::stores::{Failure, StoreError, pace};

/// An answer without the object's data.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
const MAX_ANSWER: usize = 1 << 20;
/// How long one request may take.
pub(in crate::stores) const TIMEOUT: Duration = Duration::from_secs(10);

/// One object; `None`: the API server says that it is not there. `what` starts the sentence of an error, `denied` ends
/// the one about missing rights.
pub(in crate::stores) async fn get<T: DeserializeOwned>(
    client: &Client,
    collection: &str,
    name: &str,
    what: &impl fmt::Display,
    denied: &str,
) -> Result<Option<T>, StoreError> {
    check_name(name, what)?;
    let request = Request::new(collection).get(name, &GetParams::default()).map_err(kube::Error::BuildRequest);
    found(bounded(async { client.request_text(request?).await }).await, what, denied)
}

/// Metadata of one object, without the rest of it.
pub(in crate::stores) async fn get_metadata<T: DeserializeOwned>(
    client: &Client,
    collection: &str,
    name: &str,
    what: &impl fmt::Display,
    denied: &str,
) -> Result<Option<T>, StoreError> {
    check_name(name, what)?;
    let request = Request::new(collection).get_metadata(name, &GetParams::default()).map_err(kube::Error::BuildRequest);
    found(bounded(async { client.request_text(request?).await }).await, what, denied)
}

/// Creates something that answers; with `of`, a subresource of that object. `None`: that object is not there.
pub(in crate::stores) async fn post<T: Serialize + DeserializeOwned>(
    client: &Client,
    collection: &str,
    of: Option<(&str, &'static str)>,
    body: &T,
    what: &impl fmt::Display,
    denied: &str,
) -> Result<Option<T>, StoreError> {
    let bytes = serde_json::to_vec(body).map_err(|_| nonsense(what))?;
    let request = Request::new(collection);
    let request = match of {
        Some((name, subresource)) => {
            check_name(name, what)?;
            request.create_subresource(subresource, name, &PostParams::default(), bytes)
        }
        None => request.create(&PostParams::default(), bytes),
    };
    let request = request.map_err(kube::Error::BuildRequest);
    found(bounded(async { client.request_text(request?).await }).await, what, denied)
}

/// What became of a request that changes something.
pub(in crate::stores) enum Changed {
    /// It was made; this is the object's metadata now.
    Made(Box<ObjectMeta>),
    /// There is no such object, or no such namespace.
    Missing,
    /// It is there already, or not what the request said it is.
    Conflict,
}

/// Sends a change, with a body that is wiped afterwards. No data comes back.
pub(in crate::stores) async fn change(
    client: &Client,
    request: Result<http::Request<Vec<u8>>, kube::core::request::Error>,
    body: Bytes,
    what: &impl fmt::Display,
    denied: &str,
) -> Result<Changed, StoreError> {
    let mut request = request.map_err(|_| nonsense(what))?.map(|_| Body::from(body));
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(METADATA));
    pace::request().await;
    let answer = bounded(async {
        let response = client.send(request).await?;
        let status = response.status();
        // Of metadata, or of a refusal: no value is in it.
        let bytes = axum::body::to_bytes(axum::body::Body::new(response.into_body()), MAX_ANSWER);
        let bytes = bytes.await.map_err(|e| kube::Error::Service(e.into()))?;
        if status.is_success() {
            return Ok(serde_json::from_slice::<Answer>(&bytes).map_err(kube::Error::SerdeError)?.metadata);
        }
        let fallback = || kube::core::Status { code: status.as_u16(), ..Default::default() };
        let said = serde_json::from_slice(&bytes).unwrap_or_else(|_| fallback());
        Err(kube::Error::Api(Box::new(said)))
    })
    .await;
    match answer {
        Some(Ok(metadata)) => Ok(Changed::Made(Box::new(metadata))),
        Some(Err(kube::Error::Api(status))) if status.code == 404 && status.reason == "NotFound" => {
            Ok(Changed::Missing)
        }
        Some(Err(kube::Error::Api(status))) if status.code == 409 => Ok(Changed::Conflict),
        Some(Err(kube::Error::Api(status))) if refused(&status).is_some() => {
            let why = refused(&status).unwrap_or_default();
            Err(StoreError::new(Failure::Misconfigured, format!("{what} failed: {why}")))
        }
        Some(Err(error)) => Err(failure(&error, what, denied)),
        None => Err(no_answer(what)),
    }
}

/// Whether it is the object that is refused, not who sent it.
fn refused(status: &kube::core::Status) -> Option<&'static str> {
    let said = |text: &str| status.message.contains(text);
    match status.code {
        413 | 422 => Some(
            "the API server refuses such a Secret: check that it is not immutable, has the keys of its type, and is below 1 MiB",
        ),
        403 if said("exceeded quota") => {
            Some("the quota of the namespace is used up: raise it, or delete Secrets that nobody needs")
        }
        400 | 403 if said("admission webhook") || said("ValidatingAdmissionPolicy") => {
            Some("an admission policy of the cluster refuses it: except the store's namespace from it")
        }
        _ => None,
    }
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    metadata: ObjectMeta,
}

/// The path of a kind of object in a namespace.
pub(in crate::stores) fn collection<K>(namespace: &str, what: &impl fmt::Display) -> Result<String, StoreError>
where
    K: Resource<Scope = NamespaceResourceScope> + ListableResource,
{
    check_name(namespace, what)?;
    let version = if K::GROUP.is_empty() { "/api/v1".to_owned() } else { format!("/apis/{}", K::API_VERSION) };
    Ok(format!("{version}/namespaces/{namespace}/{}", K::URL_PATH_SEGMENT))
}

/// A Secret, whole.
pub(in crate::stores) async fn secret(
    client: &Client,
    namespace: &str,
    name: &str,
    what: &impl fmt::Display,
    denied: &str,
) -> Result<Option<Secret>, StoreError> {
    get(client, &collection::<Secret>(namespace, what)?, name, what, denied).await
}

/// Ends a request that the API server does not.
pub(in crate::stores) async fn bounded<T>(request: impl Future<Output = kube::Result<T>>) -> Option<kube::Result<T>> {
    tokio::time::timeout(TIMEOUT, request).await.ok()
}

fn found<T: DeserializeOwned>(
    answer: Option<kube::Result<String>>,
    what: &impl fmt::Display,
    denied: &str,
) -> Result<Option<T>, StoreError> {
    match answer {
        Some(Ok(text)) => serde_json::from_str(&Zeroizing::new(text)).map(Some).map_err(|_| nonsense(what)),
        Some(Err(kube::Error::Api(status))) if status.code == 404 && status.reason == "NotFound" => Ok(None),
        Some(Err(error)) => Err(failure(&error, what, denied)),
        None => Err(no_answer(what)),
    }
}

/// The row of the failure table. The API server's own text stays out: it may repeat what it was sent.
pub(in crate::stores) fn failure(error: &kube::Error, what: &impl fmt::Display, denied: &str) -> StoreError {
    let (failure, why) = match error {
        kube::Error::Api(status) => match status.code {
            401 => (
                Failure::Unauthenticated,
                "the API server does not take the operator's identity: check its ServiceAccount or kubeconfig",
            ),
            403 => (Failure::Denied, denied),
            429 => {
                let seconds = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
                let wait = (seconds > 0).then(|| Duration::from_secs(u64::from(seconds)));
                (Failure::RateLimited(wait), "the API server asks to slow down: look at its flow control")
            }
            400..500 => (Failure::Misconfigured, "the API server does not know such a request: check its address"),
            _ => (Failure::Unavailable, "the API server has an error of its own: look into its log"),
        },
        kube::Error::Auth(_) => {
            (Failure::Unauthenticated, "there are no credentials for the API server: check the kubeconfig")
        }
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => return nonsense(what),
        _ => return no_answer(what),
    };
    StoreError::new(failure, format!("{what} failed: {why}"))
}

pub(in crate::stores) fn no_answer(what: &impl fmt::Display) -> StoreError {
    let message = format!("{what} failed: the API server cannot be reached: check that it runs and what is in between");
    StoreError::new(Failure::Unavailable, message)
}

fn nonsense(what: &impl fmt::Display) -> StoreError {
    StoreError::new(
        Failure::Misconfigured,
        format!("{what} failed: the answer makes no sense: check that this is an API server"),
    )
}

/// Names become parts of a path: nothing that could lead elsewhere.
pub(in crate::stores) fn check_name(name: &str, what: &impl fmt::Display) -> Result<(), StoreError> {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let ends = name.starts_with(['-', '.']) || name.ends_with(['-', '.']);
    if !name.is_empty() && name.len() <= 253 && name.bytes().all(fits) && !ends {
        return Ok(());
    }
    Err(StoreError::new(
        Failure::Misconfigured,
        format!("{what} failed: names of Kubernetes objects are lower-case letters, digits, '-' and '.': correct it"),
    ))
}
