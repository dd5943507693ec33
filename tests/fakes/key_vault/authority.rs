//! The authority: tokens for client secrets and for other issuers' tokens, and the identity endpoint of a machine.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

use axum::{
    body::Body,
    extract::State,
    http::{Request, StatusCode, request::Parts},
    response::Response,
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::Url;
use serde_json::{Value, json};

use super::{TENANT, reply, world::World};

/// Whose tokens a client trusts.
#[derive(Clone)]
pub struct Federated {
    pub issuer: String,
    pub subject: String,
    pub audience: String,
}

impl Federated {
    /// A token as the issuer gives it, good for so many seconds. Nobody here checks signatures.
    pub fn token(&self, seconds: i64) -> String {
        let encode = |part: Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let exp = jiff::Timestamp::now().as_second() + seconds;
        let payload = json!({ "iss": self.issuer, "sub": self.subject, "aud": [self.audience], "exp": exp,
            "jti": format!("{:x}", rand::random::<u64>()) });
        let key = format!("{:032x}", rand::random::<u128>());
        format!("{}.{}.{key}", encode(json!({ "alg": "RS256" })), encode(payload))
    }
}

/// `POST /{tenant}/oauth2/v2.0/token`.
pub fn token(world: &mut World, head: &Parts, body: &[u8]) -> Response {
    world.count("token");
    if let Some((left, status)) = world.login_fault.take() {
        if left > 1 {
            world.login_fault = Some((left - 1, status));
        }
        let body = json!({ "error": "temporarily_unavailable", "error_codes": [90033] });
        return reply(status, body);
    }
    if head.uri.path().split('/').nth(1) != Some(TENANT) {
        return rejected(StatusCode::BAD_REQUEST, "invalid_request", 90_002);
    }
    let form = pairs(&String::from_utf8_lossy(body));
    let field = |name: &str| form.get(name).map(String::as_str).unwrap_or_default();
    if field("grant_type") != "client_credentials" {
        return rejected(StatusCode::BAD_REQUEST, "unsupported_grant_type", 70_003);
    }
    let Some(client) = world.clients.get(field("client_id")) else {
        return rejected(StatusCode::BAD_REQUEST, "unauthorized_client", 700_016);
    };
    let code = if let Some(secret) = form.get("client_secret") {
        match &client.secret {
            Some(_) if client.secret_expired => Some(7_000_222),
            Some(right) if right == secret => None,
            _ => Some(7_000_215),
        }
    } else if field("client_assertion_type") == "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" {
        match (claims(field("client_assertion")), &client.federated) {
            (None, _) => Some(50_027),
            (Some(claims), _) if claims["exp"].as_i64() < Some(world.now()) => Some(700_024),
            (Some(_), None) => Some(70_021),
            (Some(claims), Some(trusted)) if claims["iss"] != trusted.issuer => Some(700_211),
            (Some(claims), Some(trusted)) if claims["sub"] != trusted.subject => Some(700_213),
            (Some(claims), Some(trusted)) if claims["aud"] != json!([trusted.audience]) => Some(700_212),
            _ => None,
        }
    } else {
        Some(7_000_216)
    };
    if let Some(code) = code {
        return rejected(StatusCode::UNAUTHORIZED, "invalid_client", code);
    }
    let Some(resource) = field("scope").strip_suffix("/.default").map(str::to_owned) else {
        return rejected(StatusCode::BAD_REQUEST, "invalid_scope", 1_002_012);
    };
    let client = field("client_id").to_owned();
    let token = issue(world, client, resource);
    let life = world.token_life;
    reply(200, json!({ "token_type": "Bearer", "expires_in": life, "ext_expires_in": life, "access_token": token }))
}

/// App Service's `IDENTITY_ENDPOINT`, and the one of virtual machines, asked through a proxy.
pub async fn machine(State(world): State<Arc<Mutex<World>>>, request: Request<Body>) -> Response {
    let mut world = world.lock().unwrap();
    world.count("token");
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let allowed = match request.uri().path() {
        "/msi/token" => header("x-identity-header") == world.machine_header,
        "/metadata/identity/oauth2/token" => header("metadata") == "true",
        _ => false,
    };
    let query = pairs(request.uri().query().unwrap_or_default());
    let field = |name: &str| query.get(name).cloned().unwrap_or_default();
    if !allowed || field("api-version") != "2019-08-01" {
        return reply(403, json!({ "statusCode": 403 }));
    }
    if !world.machine.contains(&field("client_id")) {
        let body = json!({ "error": "invalid_request", "error_description": "Identity not found canary-machine" });
        return reply(400, body);
    }
    let client = world.machine.iter().find(|id| **id == field("client_id") && !id.is_empty());
    let client = client.or_else(|| world.machine.iter().find(|id| !id.is_empty())).unwrap().clone();
    let token = issue(&mut world, client, field("resource"));
    let expires = (jiff::Timestamp::now().as_second() + world.token_life).to_string();
    let body =
        json!({ "access_token": token, "expires_on": expires, "resource": field("resource"), "token_type": "Bearer" });
    reply(200, body)
}

fn issue(world: &mut World, client: String, resource: String) -> String {
    let token = format!("token-{:032x}", rand::random::<u128>());
    let ends = jiff::Timestamp::now().as_second() + world.token_life;
    world.tokens.insert(token.clone(), (client, resource, ends));
    token
}

/// The service's descriptions hold names of clients and tenants; this one holds what no message may.
fn rejected(status: StatusCode, error: &str, code: u32) -> Response {
    let description = format!("AADSTS{code}: canary-description Trace ID: 1");
    reply(status.as_u16(), json!({ "error": error, "error_description": description, "error_codes": [code] }))
}

fn claims(token: &str) -> Option<Value> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?).ok()
}

pub fn pairs(query: &str) -> HashMap<String, String> {
    let url = Url::parse(&format!("http://form/?{query}")).unwrap();
    url.query_pairs().map(|(k, v)| (k.into_owned(), v.into_owned())).collect()
}
