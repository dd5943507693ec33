//! The data plane: secrets over REST.

use std::collections::HashMap;

use axum::{
    http::{HeaderValue, Method, StatusCode, request::Parts},
    response::{IntoResponse, Response},
};
use serde_json::{Value, json};

use super::{
    TENANT,
    authority::pairs,
    reply,
    world::{SECRETS, Secret, Version, World},
};

const HOST: &str = "https://fake.vault.azure.net";
const PAGE: usize = 25;

/// What is asked for.
enum Ask {
    Get(String, String),
    Set(String),
    Update(String, String),
    Delete(String),
    List,
    Versions(String),
    ListDeleted,
    GetDeleted(String),
    Recover(String),
    Purge(String),
}

impl Ask {
    fn of(head: &Parts) -> Option<Self> {
        let path: Vec<&str> = head.uri.path().trim_start_matches('/').split('/').collect();
        let name = |text: &&str| (*text).to_owned();
        Some(match (&head.method, path.as_slice()) {
            (&Method::GET, ["secrets"]) => Self::List,
            (&Method::GET, ["secrets", n, "versions"]) => Self::Versions(name(n)),
            (&Method::GET, ["secrets", n]) => Self::Get(name(n), String::new()),
            (&Method::GET, ["secrets", n, version]) => Self::Get(name(n), name(version)),
            (&Method::PUT, ["secrets", n]) => Self::Set(name(n)),
            (&Method::PATCH, ["secrets", n, version]) => Self::Update(name(n), name(version)),
            (&Method::DELETE, ["secrets", n]) => Self::Delete(name(n)),
            (&Method::GET, ["deletedsecrets"]) => Self::ListDeleted,
            (&Method::GET, ["deletedsecrets", n]) => Self::GetDeleted(name(n)),
            (&Method::POST, ["deletedsecrets", n, "recover"]) => Self::Recover(name(n)),
            (&Method::DELETE, ["deletedsecrets", n]) => Self::Purge(name(n)),
            _ => return None,
        })
    }

    fn operation(&self) -> &'static str {
        match self {
            Self::Get(..) => "get",
            Self::Set(_) => "set",
            Self::Update(..) => "update",
            Self::Delete(_) => "delete",
            Self::List => "list",
            Self::Versions(_) => "versions",
            Self::ListDeleted => "list-deleted",
            Self::GetDeleted(_) => "get-deleted",
            Self::Recover(_) => "recover",
            Self::Purge(_) => "purge",
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::List | Self::ListDeleted => "none",
            Self::Get(name, _)
            | Self::Set(name)
            | Self::Update(name, _)
            | Self::Delete(name)
            | Self::Versions(name)
            | Self::GetDeleted(name)
            | Self::Recover(name)
            | Self::Purge(name) => name,
        }
    }

    /// The data action that it takes.
    fn action(&self) -> &'static str {
        match self {
            Self::Get(..) => "getSecret/action",
            Self::List | Self::Versions(_) | Self::ListDeleted | Self::GetDeleted(_) => "readMetadata/action",
            Self::Set(_) => "setSecret/action",
            Self::Update(..) => "update/action",
            Self::Delete(_) => "delete",
            Self::Recover(_) => "recover/action",
            Self::Purge(_) => "purge/action",
        }
    }
}

pub fn answer(world: &mut World, head: &Parts, body: &[u8]) -> Response {
    let query = pairs(head.uri.query().unwrap_or_default());
    let host = head.headers.get("host").and_then(|v| v.to_str().ok()).unwrap_or_default();
    world.base = format!("https://{host}");
    let bearer = head.headers.get("authorization").and_then(|v| v.to_str().ok());
    let Some(bearer) = bearer else {
        world.count("challenge");
        return challenge(world, "AKV10000: Request is missing a Bearer or PoP token.");
    };
    let Some(ask) = Ask::of(head) else { return refusal(404, "NotFound", "", "canary-no such path") };
    world.count(ask.operation());
    if let Some((left, status, retry_after)) = world.fault.take() {
        if left > 1 {
            world.fault = Some((left - 1, status, retry_after.clone()));
        }
        let code = if status == 429 { "Throttled" } else { "InternalServerError" };
        let mut response = refusal(status, code, "", "canary-text");
        if let Some(seconds) = retry_after {
            response.headers_mut().insert("retry-after", HeaderValue::from_str(&seconds).unwrap());
        }
        return response;
    }
    let token = world.tokens.get(bearer.strip_prefix("Bearer ").unwrap_or_default()).cloned();
    let Some((client, resource, ends)) = token else { return challenge(world, "AKV10022: Invalid audience.") };
    if world.tokens_are_foreign {
        return challenge(world, "AKV10032: Invalid issuer.");
    }
    if resource != world.resource || ends <= jiff::Timestamp::now().as_second() {
        return challenge(world, "AKV10000: The token has expired.");
    }
    if let Some(inner) = world.network {
        return refusal(403, "Forbidden", inner, "Client address is not authorized canary-address");
    }
    let version = query.get("api-version").map(String::as_str);
    if version.is_none_or(|version| !version.starts_with("20") && !version.starts_with("7.")) {
        return refusal(400, "BadParameter", "", "api-version must be specified");
    }
    let action = format!("{SECRETS}{}", ask.action());
    if !world.clients.get(&client).is_some_and(|client| client.actions.contains(&action)) {
        return refusal(403, "Forbidden", "ForbiddenByRbac", "Caller is not authorized canary-caller");
    }
    let name = ask.name();
    if name.is_empty() || name.len() > 127 || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return refusal(400, "BadParameter", "", "The request URI contains an invalid name");
    }
    act(world, &ask, &query, body)
}

fn act(world: &mut World, ask: &Ask, query: &HashMap<String, String>, body: &[u8]) -> Response {
    let now = world.now();
    let key = ask.name().to_ascii_lowercase();
    let found = world.secrets.get(&key).filter(|secret| secret.busy().is_none()).cloned();
    let missing = || refusal(404, "SecretNotFound", "", "A secret with (name/id) canary-name was not found");
    match ask {
        Ask::List | Ask::ListDeleted => {
            let from = if matches!(ask, Ask::List) { &world.secrets } else { &world.deleted };
            let items = from.values().filter(|secret| secret.busy().is_none());
            let items = items.map(|secret| properties(secret, secret.versions.last().unwrap(), false)).collect();
            page(world, items, query, if matches!(ask, Ask::List) { "secrets" } else { "deletedsecrets" })
        }
        Ask::Versions(name) => {
            let items = found.iter().flat_map(|s| s.versions.iter().map(|v| properties(s, v, true))).collect();
            page(world, items, query, &format!("secrets/{name}/versions"))
        }
        Ask::Get(_, version) => {
            let Some(secret) = found else { return missing() };
            let wanted = |v: &&Version| version.is_empty() || v.id.eq_ignore_ascii_case(version);
            let Some(version) = secret.versions.iter().rev().find(wanted) else { return missing() };
            if !version.enabled {
                return refusal(
                    403,
                    "Forbidden",
                    "SecretDisabled",
                    "Operation get is not allowed on a disabled secret.",
                );
            }
            reply(200, bundle(&secret, version))
        }
        Ask::Set(name) => {
            if let Some(inner) = world.secrets.get(&key).and_then(Secret::busy) {
                return refusal(409, "Conflict", inner, "retry later");
            }
            if let Some(deleted) = world.deleted.get(&key) {
                let inner = deleted.busy().unwrap_or("ObjectIsDeletedButRecoverable");
                return refusal(409, "Conflict", inner, "canary-conflict");
            }
            let body: Value = serde_json::from_slice(body).unwrap_or_default();
            let value = body["value"].as_str();
            let tags = body["tags"].as_object().map_or(0, serde_json::Map::len);
            if value.is_none_or(|value| value.len() > 25_600) || tags > 15 {
                return refusal(400, "BadParameter", "", "Property value is too long canary-text");
            }
            world.set(name, &body);
            let secret = world.secrets[&key].clone();
            reply(200, bundle(&secret, secret.versions.last().unwrap()))
        }
        Ask::Update(_, id) => {
            let secret = world.secrets.get_mut(&key);
            let version = secret.and_then(|s| s.versions.iter_mut().find(|v| v.id.eq_ignore_ascii_case(id)));
            let Some(version) = version else { return missing() };
            let change: Value = serde_json::from_slice(body).unwrap_or_default();
            version.enabled = change["attributes"]["enabled"].as_bool().unwrap_or(version.enabled);
            version.updated = now;
            reply(200, json!({}))
        }
        Ask::Delete(_) => {
            if let Some(inner) = world.secrets.get(&key).and_then(Secret::busy) {
                return refusal(409, "Conflict", inner, "retry later");
            }
            let Some(secret) = world.delete(&key) else { return missing() };
            reply(200, bundle(&secret, secret.versions.last().unwrap()))
        }
        Ask::GetDeleted(_) => match world.deleted.get(&key).filter(|secret| secret.busy().is_none()) {
            Some(secret) => reply(200, properties(secret, secret.versions.last().unwrap(), true)),
            None => missing(),
        },
        Ask::Recover(_) => {
            if let Some(inner) = world.deleted.get(&key).and_then(Secret::busy) {
                return refusal(409, "Conflict", inner, "retry later");
            }
            let Some(secret) = world.recover(&key) else { return missing() };
            reply(200, properties(&secret, secret.versions.last().unwrap(), true))
        }
        Ask::Purge(_) => match world.deleted.remove(&key) {
            Some(_) => StatusCode::NO_CONTENT.into_response(),
            None => missing(),
        },
    }
}

fn page(world: &World, items: Vec<Value>, query: &HashMap<String, String>, path: &str) -> Response {
    let size = query.get("maxresults").map_or(Ok(PAGE), |n| n.parse());
    let Some(size) = size.ok().filter(|size| (1..=PAGE).contains(size)) else {
        return refusal(400, "BadParameter", "", "Invalid maxresults");
    };
    let from: usize = query.get("$skiptoken").map_or(0, |token| token.parse().unwrap());
    let next = (from + size < items.len()).then(|| {
        let base = world.next_base.as_deref().unwrap_or(&world.base);
        format!("{base}/{path}?api-version=2025-07-01&$skiptoken={}&maxresults={size}", from + size)
    });
    let items: Vec<_> = items.into_iter().skip(from).take(size).collect();
    reply(200, json!({ "value": items, "nextLink": next }))
}

fn properties(secret: &Secret, version: &Version, with_version: bool) -> Value {
    let mut id = format!("{HOST}/secrets/{}", secret.name);
    if with_version {
        id = format!("{id}/{}", version.id);
    }
    let mut attributes = json!({ "enabled": version.enabled, "created": version.created, "updated": version.updated,
        "recoveryLevel": "Recoverable+Purgeable", "recoverableDays": 90 });
    for (name, at) in [("nbf", version.nbf), ("exp", version.exp)] {
        if let Some(at) = at {
            attributes[name] = json!(at);
        }
    }
    let mut out = json!({ "id": id, "attributes": attributes, "tags": version.tags });
    if let Some(content_type) = &version.content_type {
        out["contentType"] = json!(content_type);
    }
    if version.managed {
        out["managed"] = json!(true);
    }
    out
}

fn bundle(secret: &Secret, version: &Version) -> Value {
    let mut out = properties(secret, version, true);
    out["value"] = json!(version.value);
    out
}

fn challenge(world: &World, message: &str) -> Response {
    let mut response = refusal(401, "Unauthorized", "", message);
    let asks =
        format!("Bearer authorization=\"https://login.microsoftonline.com/{TENANT}\", resource=\"{}\"", world.resource);
    response.headers_mut().insert("www-authenticate", HeaderValue::from_str(&asks).unwrap());
    response
}

fn refusal(status: u16, code: &str, inner: &str, message: &str) -> Response {
    let mut error = json!({ "code": code, "message": message });
    if !inner.is_empty() {
        error["innererror"] = json!({ "code": inner });
    }
    reply(status, json!({ "error": error }))
}
