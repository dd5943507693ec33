//! The routes, in the order in which the server looks at a request: route, rate limit, login, form, rights, what is
//! there.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{Request, State as Extract},
    http::{Method, header::AUTHORIZATION},
    response::Response,
};
use reqwest::Url;
use serde_json::{Value, json};

use super::{
    Fault, Inner, PROJECT, Release, State,
    answers::{self, error, form, json_with},
    logins::{Grant, No, Right, Role},
    project::Project,
};

const MINUTE: Duration = Duration::from_secs(60);

/// One request, taken apart.
pub(super) struct Asked {
    pub(super) release: Release,
    pub(super) method: Method,
    uri: String,
    path: Vec<String>,
    /// The query's, or the body's.
    pub(super) fields: HashMap<String, String>,
    pub(super) authorization: Option<String>,
}

pub async fn answer(Extract(inner): Extract<Arc<Inner>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let url = Url::parse(&format!("https://fake{}", parts.uri)).unwrap();
    let body = axum::body::to_bytes(body, 16 << 20).await.unwrap();
    let mut fields: HashMap<String, String> = url.query_pairs().into_owned().collect();
    if let Ok(Value::Object(body)) = serde_json::from_slice(&body) {
        let text = |v: Value| v.as_str().map_or_else(|| v.to_string(), str::to_owned);
        fields.extend(body.into_iter().map(|(k, v)| (k, text(v))));
    } else if !body.is_empty() {
        return error(inner.release, 500, "InternalServerError", "Something went wrong");
    }
    let asked = Asked {
        release: inner.release,
        method: parts.method,
        uri: parts.uri.to_string(),
        path: url.path_segments().unwrap().map(str::to_owned).collect(),
        fields,
        authorization: parts.headers.get(AUTHORIZATION).map(|v| v.to_str().unwrap().to_owned()),
    };
    let fault = {
        let mut state = inner.state.lock().unwrap();
        match state.fault {
            None => return asked.answer(&mut state),
            Some(fault) => fault,
        }
    };
    match fault {
        Fault::Status(status) => error(inner.release, status, "InternalServerError", "Something went wrong"),
        Fault::Page(status) => answers::page(status),
    }
}

impl Asked {
    fn answer(&self, state: &mut State) -> Response {
        let path: Vec<&str> = self.path.iter().map(String::as_str).collect();
        let current = self.release == Release::Current;
        match (self.method.as_str(), path.as_slice()) {
            ("GET", ["api", "status"]) => {
                state.asked.push("status".to_owned());
                json_with(200, &json!({ "date": "2026-11-22T01:44:18.817Z", "message": "Ok", "redisConfigured": true }))
            }
            ("POST", ["api", "v1", "auth", "universal-auth", "login"]) => {
                state.asked.push("login".to_owned());
                self.granted(&["clientId", "clientSecret"], |[id, secret]| state.logins.universal(id, secret, current))
            }
            ("POST", ["api", "v1", "auth", "kubernetes-auth", "login"]) => {
                state.asked.push("login".to_owned());
                self.granted(&["identityId", "jwt"], |[id, jwt]| state.logins.kubernetes(id, jwt))
            }
            ("POST", ["api", "v1", "auth", "token", "renew"]) => {
                state.asked.push("renew".to_owned());
                self.granted(&["accessToken"; 2], |[token, _]| state.logins.renew(token))
            }
            (_, ["api", "v3", "secrets", "raw"]) => self.guarded(state, "v3", "workspaceId", Self::list),
            (_, ["api", "v3", "secrets", "raw", _]) => self.guarded(state, "v3", "workspaceId", Self::one),
            (_, ["api", "v4", "secrets"]) if current => self.guarded(state, "v4", "projectId", Self::list),
            (_, ["api", "v4", "secrets", _]) if current => self.guarded(state, "v4", "projectId", Self::one),
            (_, ["api", "v1", "folders"]) => self.guarded(state, "v1", "workspaceId", Self::folders),
            (_, ["api", "v2", "folders"]) if current && !state.old_folders => {
                self.guarded(state, "v2", "projectId", Self::folders)
            }
            ("POST", ["api", "v1", "secret-imports"]) => self.guarded(state, "v1", "workspaceId", Self::import),
            ("POST", ["api", "v1", "events", "subscribe", "project-events"]) if current => self.subscribe(state),
            _ => {
                state.asked.push("no route".to_owned());
                answers::no_route(self.method.as_str(), &self.uri)
            }
        }
    }

    fn granted(&self, names: &[&str; 2], login: impl FnOnce([&str; 2]) -> Result<Grant, No>) -> Response {
        let mut texts = [""; 2];
        for (text, name) in texts.iter_mut().zip(names) {
            match self.fields.get(*name) {
                Some(found) => *text = found,
                None => return form(self.release, name),
            }
        }
        match login(texts) {
            Ok(Grant { token, ttl, max_ttl }) => json_with(
                200,
                &json!({ "accessToken": token, "expiresIn": ttl, "accessTokenMaxTTL": max_ttl, "tokenType": "Bearer" }),
            ),
            Err((status, code, message)) => error(self.release, status, code, &message),
        }
    }

    /// What comes before every request that needs a login.
    fn guarded(
        &self,
        state: &mut State,
        version: &str,
        project: &str,
        then: fn(&Self, &mut State, &Role) -> Response,
    ) -> Response {
        let verb = match (self.method.as_str(), self.path.len()) {
            _ if self.path.contains(&"folders".to_owned()) => {
                if self.method == Method::GET {
                    "folders"
                } else {
                    "make folder"
                }
            }
            _ if self.path.contains(&"secret-imports".to_owned()) => "import",
            ("GET", 3 | 4) if !self.is_one() => "list",
            ("GET", _) => "get",
            ("POST", _) => "create",
            ("PATCH", _) => "update",
            ("DELETE", _) => "delete",
            _ => return answers::no_route(self.method.as_str(), &self.uri),
        };
        let folder = self.folder().trim_end_matches('/').to_owned();
        let name = if self.is_one() { self.name() } else { "" };
        let anonymous = if self.authorization.is_none() { "open " } else { "" };
        state.asked.push(format!("{anonymous}{version} {verb} {folder}/{name}"));
        if let Some(most) = state.limit.filter(|_| anonymous.is_empty() && verb != "folders") {
            let (began, count) = state.minute.entry(verb.to_owned()).or_insert((Instant::now(), 0));
            if began.elapsed() > MINUTE {
                (*began, *count) = (Instant::now(), 0);
            }
            *count += 1;
            if *count > most {
                return answers::limited(self.release, (MINUTE - began.elapsed()).as_secs());
            }
        }
        let role = match state.logins.role(self.authorization.as_deref()) {
            Ok(role) => role,
            Err((status, code, message)) => {
                if self.authorization.is_some() {
                    state.asked.push("refused".to_owned());
                }
                return error(self.release, status, code, &message);
            }
        };
        for field in [project, "environment"] {
            if !self.fields.contains_key(field) {
                return form(self.release, field);
            }
        }
        let id = &self.fields[project];
        if id != PROJECT {
            let message = format!(
                "Project with ID '{id}' not found during bot lookup. Are you sure you are using the correct project ID?"
            );
            return error(self.release, 404, "NotFound", &message);
        }
        if role == Role::Outsider {
            let code = format!("Identity is not a member of the specified project with ID '{id}'");
            return error(self.release, 403, &code, "You are not allowed to access this resource");
        }
        then(self, state, &role)
    }

    fn is_one(&self) -> bool {
        self.path.len() == if self.path[1] == "v3" { 5 } else { 4 } && self.path[2] == "secrets"
    }

    pub(super) fn name(&self) -> &str {
        self.path.last().unwrap()
    }

    pub(super) fn environment(&self) -> &str {
        &self.fields["environment"]
    }

    pub(super) fn folder(&self) -> &str {
        let path = self.fields.get("secretPath").or_else(|| self.fields.get("path"));
        path.map_or("/", String::as_str)
    }

    pub(super) fn flag(&self, name: &str, default: bool) -> bool {
        self.fields.get(name).map_or(default, |text| text == "true")
    }

    pub(super) fn denied(&self, verb: &str) -> Response {
        let mut response =
            error(self.release, 403, "PermissionDenied", &format!("You are not allowed to {verb} on secrets"));
        if self.release == Release::Current {
            let body = json!({
                "reqId": "req-7f3a", "statusCode": 403, "error": "PermissionDenied",
                "message": format!("You are not allowed to {verb} on secrets"),
                "details": [{ "action": verb, "subject": "secrets", "conditions": { "secretPath": { "$eq": "/canary-rule" } } }],
            });
            response = json_with(403, &body);
        }
        response
    }

    pub(super) fn no_folder(&self, code: &str) -> Response {
        let message =
            format!("Folder with path '{}' in environment with slug '{}' not found", self.folder(), self.environment());
        error(self.release, 404, code, &message)
    }

    fn folders(&self, state: &mut State, role: &Role) -> Response {
        let environment = self.environment();
        if !state.project.environments.contains_key(environment) {
            return error(self.release, 404, "NotFound", &format!("Environment with slug '{environment}' not found"));
        }
        if self.method == Method::GET {
            let names = state.project.folders_in(environment, self.folder());
            let folders: Vec<_> = names.iter().map(|name| answers::folder(name)).collect();
            return json_with(200, &json!({ "folders": folders }));
        }
        if !role.may(Right::Create, self.folder()) {
            return self.denied("create");
        }
        let name = self.fields.get("name").map(String::as_str).unwrap_or_default();
        if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
            return error(self.release, 500, "Find by secret path", "Something went wrong");
        }
        state.project.make_folder(environment, &format!("{}/{name}", self.folder().trim_end_matches('/')));
        json_with(200, &json!({ "folder": answers::folder(name) }))
    }

    fn import(&self, state: &mut State, role: &Role) -> Response {
        let from: Value = serde_json::from_str(&self.fields["import"]).unwrap();
        let (environment, path) = (from["environment"].as_str().unwrap(), from["path"].as_str().unwrap());
        if !role.may(Right::Create, self.folder()) {
            return self.denied("create");
        }
        if state.project.folder(environment, path).is_none() {
            return error(self.release, 404, "NotFound", "The requested entity is not found");
        }
        state.project.import(self.environment(), self.folder(), environment, path);
        json_with(
            200,
            &json!({ "message": "Successfully created secret import", "secretImport": { "importPath": path } }),
        )
    }
}
