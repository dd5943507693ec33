//! Servers of the tenant's own, which collect what is sent to them.

use std::{
    net::Ipv4Addr,
    sync::{Arc, LazyLock, Mutex},
};

use axum::{Router, body::to_bytes, extract::Request, http::StatusCode, response::IntoResponse};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::{Value, json};

use crate::{
    arena::{Arena, secret},
    harness::{condition, free_address, plant, plant_credential, wait_for},
    port::Port,
    tenant::{REFERENCES, core, ours},
    tls::Served,
};

/// The port of localhost that the platform allows tenants' stores to speak to, besides OpenBao.
pub static ALLOWED: LazyLock<u16> = LazyLock::new(|| free_address().port());

/// One server at a time listens there.
static TURN: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Keeps whoever has the allowed port.
pub struct Collector {
    pub served: Served,
    seen: Arc<Mutex<Vec<String>>>,
    _turn: Option<tokio::sync::MutexGuard<'static, ()>>,
}

impl Collector {
    /// A server that writes down what it gets, and answers with this status and Location.
    pub async fn new(status: StatusCode, location: Option<String>) -> Self {
        Self::at(Port::take(), status, location).await
    }

    /// The same at the host that is allowed.
    pub async fn allowed(status: StatusCode, location: Option<String>) -> Self {
        let turn = TURN.lock().await;
        // Who had it before may still be going.
        let port = wait_for("nobody listens at the allowed port", || async {
            let port = Port::at((Ipv4Addr::LOCALHOST, *ALLOWED).into());
            port.and_then(|port| port.listen().map(|_| port)).map_err(|e| e.to_string())
        })
        .await;
        Self { _turn: Some(turn), ..Self::at(port, status, location).await }
    }

    async fn at(port: Port, status: StatusCode, location: Option<String>) -> Self {
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let notes = seen.clone();
        let router = Router::new().fallback(move |request: Request| async move {
            let (parts, body) = request.into_parts();
            let body = to_bytes(body, 1 << 20).await.unwrap_or_default();
            let note =
                format!("{} {} {:?}\n{}", parts.method, parts.uri, parts.headers, String::from_utf8_lossy(&body));
            notes.lock().unwrap().push(note);
            let location = location.map(|to| [("Location", format!("{to}{}", parts.uri))]);
            (status, location.map(IntoResponse::into_response).unwrap_or_default()).into_response()
        });
        Self { served: Served::over_tls_at(port, router).await, seen, _turn: None }
    }

    pub fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    pub fn vault(&self, auth: Value) -> Value {
        let address = format!("https://localhost:{}", self.served.port);
        json!({ "vault": { "address": address, "caBundle": self.served.ca, "auth": auth } })
    }
}

fn token() -> Value {
    json!({ "token": { "secretRef": { "name": "mine", "key": "token" } } })
}

async fn plant_token(arena: &Arena) {
    arena.space.secret("mine", &json!({ "token": plant("token") })).await;
}

attempts! {
    collector_of_its_own: "points its store at a server of its own" => Reason("StoreNotReady", "not one that tenants' stores may use"), |a| {
        let collector = Collector::new(StatusCode::OK, None).await;
        plant_token(&a).await;
        a.own_store("mine", collector.vault(token())).await.unwrap();
        a.by_own_store("app", "mine").await;
        let infisical = json!({ "infisical": {
            "hostUrl": format!("https://localhost:{}", collector.served.port), "projectId": "p", "environment": "e", "caBundle": collector.served.ca,
            "auth": { "universalAuth": { "clientId": { "secretRef": { "name": "mine", "key": "token" } }, "clientSecret": { "secretRef": { "name": "mine", "key": "token" } } } },
        } });
        a.own_store("other", infisical).await.unwrap();
        a.by_own_store("second", "other").await;
        assert_eq!(collector.served.requests(), 0, "{:?}", collector.seen());
    }

    redirect_to_a_collector: "has an allowed server redirect to a server of its own" => Reason("StoreMisconfigured", ""), |a| {
        let collector = Collector::new(StatusCode::OK, None).await;
        let to = format!("https://localhost:{}", collector.served.port);
        let allowed = Collector::allowed(StatusCode::TEMPORARY_REDIRECT, Some(to)).await;
        plant_token(&a).await;
        a.own_store("mine", allowed.vault(token())).await.unwrap();
        a.by_own_store("app", "mine").await;
        assert!(allowed.served.requests() > 0);
        assert_eq!(collector.served.requests(), 0, "{:?}", collector.seen());
    }

    collected_account_token: "has an allowed server collect the token of a ServiceAccount" => Harmless("it is of the tenant's account, for the audience it named, and no login at the API server"), |a| {
        let allowed = Collector::allowed(StatusCode::FORBIDDEN, None).await;
        a.tenant.create(&core(&a.space.name, "serviceaccounts"), &json!({ "metadata": { "name": "robot" } })).await.unwrap();
        let auth = json!({ "kubernetes": { "role": "r", "serviceAccountRef": { "name": "robot" }, "audiences": ["collector.example"] } });
        a.own_store("mine", allowed.vault(auth)).await.unwrap();
        let login = wait_for("the login", || async {
            allowed.seen().into_iter().find(|note| note.contains("/login")).ok_or_else(|| format!("{:?}", allowed.seen()))
        }).await;
        let body: Value = serde_json::from_str(login.split_once('\n').unwrap().1).unwrap();
        let jwt = plant_credential(body["jwt"].as_str().unwrap());
        let claims = URL_SAFE_NO_PAD.decode(jwt.split('.').nth(1).unwrap()).unwrap();
        let claims: Value = serde_json::from_slice(&claims).unwrap();
        assert_eq!(claims["aud"], json!(["collector.example"]), "{claims}");
        assert_eq!(claims["sub"], format!("system:serviceaccount:{}:robot", a.space.name));
        assert!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap() <= 600, "{claims}");
        let view = crate::chart::kubectl(&["config", "view", "--raw", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}"], "");
        let http = reqwest::Client::builder().tls_danger_accept_invalid_certs(true).build().unwrap();
        let answer = http.get(format!("{view}/api/v1/namespaces/{}/secrets", a.space.name)).bearer_auth(&jwt).send().await.unwrap();
        assert_eq!(answer.status(), 401, "the token is a login at the API server");
        for note in allowed.seen() {
            assert!(!note.contains(&a.installed.name), "the operator's own identity: {note}");
        }
        a.harmless();
    }

    answers_of_its_own_making: "has an allowed server answer whatever it is asked with pages, terminal codes and the answers of others" => Reason("StoreMisconfigured", ""), |a| {
        let allowed = Collector::allowed(StatusCode::OK, None).await;
        plant_token(&a).await;
        a.own_store("mine", allowed.vault(token())).await.unwrap();
        a.by_own_store("app", "mine").await;
        a.space.until("SecretStore", "mine", "not ready", |store| condition(store, "Ready")["status"] == "False").await;
        let mut spec = a.spec(json!({ "data": [secret("KEY", "key")] }));
        spec["storeRef"] = json!({ "name": a.store });
        let object = crate::arena::reference(&a.space.name, "healthy", spec);
        a.tenant.create(&ours(&a.space.name, REFERENCES), &object).await.unwrap();
        a.space.until_data("healthy", &json!({ "KEY": a.own })).await;
    }
}
