//! The forms of answers.

use axum::{
    body::Body,
    http::{StatusCode, header},
    response::Response,
};
use serde_json::{Value, json};

use super::{PROJECT, Release, project::Secret};

pub fn json_with(status: u16, body: &Value) -> Response {
    Response::builder()
        .status(StatusCode::from_u16(status).unwrap())
        .header(header::CONTENT_TYPE, "application/json; charset=utf-8")
        .body(Body::from(body.to_string()))
        .unwrap()
}

pub fn error(release: Release, status: u16, error: &str, message: &str) -> Response {
    let mut body = json!({ "statusCode": status, "message": message, "error": error });
    if release == Release::Current {
        body["reqId"] = json!("req-7f3a");
    }
    json_with(status, &body)
}

/// A request of a wrong form: older servers call that unauthorised.
pub fn form(release: Release, field: &str) -> Response {
    let status = if release == Release::Current { 422 } else { 401 };
    let issue = json!([{ "code": "invalid_type", "expected": "string", "received": "undefined", "path": [field], "message": "Required" }]);
    json_with(status, &json!({ "statusCode": status, "message": issue, "error": "ValidationFailure" }))
}

pub fn no_route(method: &str, uri: &str) -> Response {
    let message = format!("Route {method}:{uri} not found");
    json_with(404, &json!({ "message": message, "error": "Not Found", "statusCode": 404 }))
}

pub fn limited(release: Release, seconds: u64) -> Response {
    let message = match release {
        Release::October2024 => "Rate limit exceeded. Please try again in 1 minute".to_owned(),
        Release::Current => format!("Rate limit exceeded. Please try again in {seconds} seconds"),
    };
    let mut response = error(release, 429, "RateLimitExceeded", &message);
    response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    response
}

/// One secret. `value`: `None` if it is kept back.
pub fn secret(
    release: Release,
    environment: &str,
    path: Option<&str>,
    name: &str,
    secret: &Secret,
    value: Option<&str>,
) -> Value {
    let time = format!("2026-11-22T01:44:{:02}.216Z", 20 + secret.version);
    let mut body = json!({
        "id": secret.id, "_id": secret.id, "workspace": PROJECT, "environment": environment,
        "version": secret.version, "type": "shared", "secretKey": name,
        "secretValue": value.unwrap_or("<hidden-by-infisical>"), "secretComment": "", "secretReminderNote": null,
        "secretReminderRepeatDays": null, "skipMultilineEncoding": false,
        "createdAt": "2026-11-22T01:44:21.216Z", "updatedAt": time, "tags": [],
    });
    match release {
        Release::October2024 => body["metadata"] = Value::Null,
        Release::Current => {
            body["secretValueHidden"] = json!(value.is_none());
            body["isRotatedSecret"] = json!(false);
            body["actor"] = json!({ "actorType": "identity" });
        }
    }
    if let Some(path) = path {
        body["secretPath"] = json!(path);
    }
    body
}

/// What is imported has no times.
pub fn imported(environment: &str, path: &str, secrets: Vec<Value>) -> Value {
    let strip = |mut secret: Value| {
        for field in ["createdAt", "updatedAt", "secretReminderNote", "secretReminderRepeatDays", "tags", "secretPath"]
        {
            secret.as_object_mut().unwrap().remove(field);
        }
        secret["workspace"] = json!("");
        secret
    };
    json!({
        "secretPath": path, "environment": environment, "folderId": "b9d64c1e-34be-4ef4-b7a5-664f07476975",
        "secrets": secrets.into_iter().map(strip).collect::<Vec<_>>(),
    })
}

pub fn folder(name: &str) -> Value {
    json!({
        "id": "dc621ab6-06d5-4a11-8a33-2e5f9ce6f9fd", "name": name, "version": 1,
        "createdAt": "2026-11-22T01:44:25.706Z", "updatedAt": "2026-11-22T01:44:25.706Z",
        "envId": "be166f2b-9955-4c81-85c8-401813cf00a8", "parentId": "77dfde84-e13d-4f6b-ae36-212404c96653",
        "isReserved": false,
    })
}

pub fn page(status: u16) -> Response {
    let page = "<html><body>canary-page: log in first</body></html>";
    Response::builder().status(status).header(header::CONTENT_TYPE, "text/html").body(Body::from(page)).unwrap()
}
