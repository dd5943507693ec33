//! What the API server is asked.

use std::fmt;

use axum::http::{self, HeaderValue, header};
use bytes::Bytes;
use k8s_openapi::{
    ListableResource, NamespaceResourceScope, Resource, api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Client,
    core::{
        ObjectList, PartialObjectMeta, Request,
        params::{GetParams, ListParams, PostParams},
    },
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use super::answer::{Reply, nonsense, send};
use crate::stores::{Failure, StoreError};

/// An answer without the object's data.
const METADATA: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";

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
    found(&send(client, Request::new(collection).get(name, &GetParams::default()), what).await?, what, denied)
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
    found(&send(client, Request::new(collection).get_metadata(name, &GetParams::default()), what).await?, what, denied)
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
    found(&send(client, request, what).await?, what, denied)
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
    let mut request = request.map_err(|_| nonsense(what))?.map(|_| body);
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(METADATA));
    let reply = send(client, Ok(request), what).await?;
    match reply.status.as_u16() {
        200..300 => Ok(Changed::Made(Box::new(reply.parse::<Answer>(what)?.metadata))),
        404 if reply.is_not_found() => Ok(Changed::Missing),
        409 => Ok(Changed::Conflict),
        _ => Err(reply.failure(what, denied)),
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

/// A page of metadata.
pub(in crate::stores) async fn list_metadata(
    client: &Client,
    namespace: &str,
    params: &ListParams,
    what: &impl fmt::Display,
    denied: &str,
) -> Result<ObjectList<PartialObjectMeta<Secret>>, StoreError> {
    let collection = collection::<Secret>(namespace, what)?;
    let reply = send(client, Request::new(collection).list_metadata(params), what).await?;
    if reply.status.is_success() { reply.parse(what) } else { Err(reply.failure(what, denied)) }
}

fn found<T: DeserializeOwned>(reply: &Reply, what: &impl fmt::Display, denied: &str) -> Result<Option<T>, StoreError> {
    match reply.status.as_u16() {
        200..300 => reply.parse(what).map(Some),
        404 if reply.is_not_found() => Ok(None),
        _ => Err(reply.failure(what, denied)),
    }
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
