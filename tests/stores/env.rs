//! The real servers, and what the tests plant in them. A missing environment is a failure.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use reqwest::{Certificate, Method};
use secretref::{
    api::{self, AppRole, Provider, SecretKeyRef, SecretKeySource, ServiceAccountRef, VaultAuth},
    naming::StoreKey,
    secret::SecretValue,
    stores::{Connector, Credentials, Failure, Marks, Payload, Property, Store, StoreError, Stored, connect},
};
use serde_json::{Value, json};

/// Every planted value starts so.
pub const CANARY: &str = "canary-";

/// Credentials that were made for tests: no message may hold one.
static PLANTED: Mutex<Vec<String>> = Mutex::new(Vec::new());

pub fn plant(credential: &str) -> String {
    PLANTED.lock().unwrap().push(credential.trim().to_owned());
    credential.to_owned()
}

/// The error of what must fail, after a look at its sentence.
#[track_caller]
pub fn error<T: std::fmt::Debug>(result: Result<T, StoreError>, failure: Failure, part: &str) -> StoreError {
    let error = result.expect_err("no error");
    let text = error.to_string();
    assert!(!text.contains(CANARY), "a value in: {text}");
    assert!(!PLANTED.lock().unwrap().iter().any(|credential| text.contains(credential)), "a credential in: {text}");
    assert_eq!(error.failure, failure, "{text}");
    assert!(text.contains(part), "no {part:?} in: {text}");
    assert!(text.contains(": "), "no next step in: {text}");
    assert!(!text.contains('\n') && text.len() < 400, "not one sentence: {text}");
    error
}

pub fn env(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make test` or tests/run.sh"))
}

pub fn key(text: &str) -> StoreKey {
    StoreKey::verbatim(text)
}

/// The fenced block of docs/stores.md after its marker.
pub fn documented(marker: &str) -> &'static str {
    let docs = include_str!("../../docs/stores.md");
    let (_, after) = docs.split_once(&format!("<!-- tests: {marker} -->\n```")).expect("no such marker");
    let (_, block) = after.split_once('\n').unwrap();
    block.split_once("\n```").unwrap().0
}

pub fn text(value: &str) -> Property {
    Property::Text(SecretValue::from(value.to_owned()))
}

pub fn json_property(value: &str) -> Property {
    Property::Json(SecretValue::from(value.to_owned()))
}

pub fn map(stored: &Stored) -> &BTreeMap<String, Property> {
    let Payload::Map(map) = &stored.payload else { panic!("not a map") };
    map
}

/// Credentials without a cluster: the key of a reference leads to the text.
#[derive(Default)]
pub struct Fixed(pub HashMap<String, String>);

#[async_trait]
impl Credentials for Fixed {
    async fn secret(&self, source: &SecretKeyRef) -> Result<SecretValue, StoreError> {
        let found = self.0.get(&source.key).cloned().map(SecretValue::from);
        found.ok_or_else(|| StoreError::new(Failure::NotReady, "the Secret is not there: create it"))
    }

    async fn service_account_token(
        &self,
        _: Option<&ServiceAccountRef>,
        _: &[String],
    ) -> Result<SecretValue, StoreError> {
        Err(StoreError::new(Failure::NotReady, "there are no ServiceAccounts here: use another login"))
    }

    fn lends_own_identity(&self) -> bool {
        true
    }
}

pub fn source(key: &str) -> SecretKeySource {
    SecretKeySource { secret_ref: SecretKeyRef { name: "credentials".into(), namespace: None, key: key.into() } }
}

pub fn vault_settings(address: &str, auth: VaultAuth) -> api::Vault {
    api::Vault { address: address.into(), mount: None, namespace: None, ca_bundle: None, ca_ref: None, auth }
}

pub fn by_token() -> VaultAuth {
    VaultAuth { token: Some(source("token")), ..VaultAuth::default() }
}

pub fn by_role(role_id: &str) -> VaultAuth {
    let role =
        AppRole { mount_path: None, role_id: role_id.into(), secret_id: source("secret-id"), secret_id_wrapped: None };
    VaultAuth { app_role: Some(role), ..VaultAuth::default() }
}

pub fn vault(settings: api::Vault, ca: Option<String>, credentials: Arc<dyn Credentials>) -> Arc<dyn Store> {
    try_vault(settings, ca, credentials).unwrap()
}

pub fn try_vault(
    settings: api::Vault,
    ca: Option<String>,
    credentials: Arc<dyn Credentials>,
) -> Result<Arc<dyn Store>, StoreError> {
    let with = Connector { ca, credentials, client: None, marks: Marks::random() };
    connect(&Provider { vault: Some(settings), ..Provider::default() }, with)
}

/// Asks until it is so, for two minutes: a machine that is busy takes its time.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut so: impl FnMut() -> F) {
    for _ in 0..1200 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not within two minutes: {what}");
}

/// OpenBao as its administrator sees it, with a namespace of its own for each test: KV version 2 at `secret`, AppRole
/// at `approle`.
pub struct Bao {
    pub address: String,
    pub ca: String,
    pub namespace: String,
    pub token: String,
    pub http: reqwest::Client,
}

impl Bao {
    pub async fn new(namespace: &str) -> Self {
        let ca = std::fs::read_to_string(env("BAO_CACERT")).unwrap();
        Self::at(env("BAO_ADDR"), ca, env("BAO_TOKEN"), namespace).await
    }

    pub async fn at(address: String, ca: String, token: String, namespace: &str) -> Self {
        let roots = Certificate::from_pem_bundle(ca.as_bytes()).unwrap();
        let http = reqwest::Client::builder().tls_certs_only(roots).build().unwrap();
        let mut bao = Self { address, ca, namespace: String::new(), token, http };
        // Unique: a run may meet what a killed one has left.
        let unique = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let namespace = format!("{namespace}-{unique:x}");
        bao.must(Method::POST, &format!("sys/namespaces/{namespace}"), json!({})).await;
        bao.namespace = namespace;
        bao.mount("secret", "kv", "2").await;
        bao.must(Method::POST, "sys/auth/approle", json!({ "type": "approle" })).await;
        bao
    }

    pub async fn mount(&self, path: &str, kind: &str, version: &str) {
        let body = json!({ "type": kind, "options": { "version": version } });
        self.must(Method::POST, &format!("sys/mounts/{path}"), body).await;
        if version == "2" {
            // The engine prepares itself for a moment.
            eventually("the mount", || async {
                self.call(Method::GET, &format!("{path}/config"), Value::Null).await.0 == 200
            })
            .await;
        }
    }

    pub async fn call(&self, method: Method, path: &str, body: Value) -> (u16, Value) {
        let url = format!("{}/v1/{path}", self.address);
        let mut request = self.http.request(method, url).header("X-Vault-Token", &self.token);
        if !self.namespace.is_empty() {
            request = request.header("X-Vault-Namespace", &self.namespace);
        }
        if !body.is_null() {
            request = request.json(&body);
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        (status, response.json().await.unwrap_or(Value::Null))
    }

    pub async fn must(&self, method: Method, path: &str, body: Value) -> Value {
        let (status, answer) = self.call(method.clone(), path, body).await;
        assert!(status < 300, "{method} {path}: {status} {answer}");
        answer
    }

    pub async fn put(&self, key: &str, data: Value) {
        self.must(Method::POST, &format!("secret/data/{key}"), json!({ "data": data })).await;
    }

    pub async fn policy(&self, name: &str, policy: &str) {
        self.must(Method::PUT, &format!("sys/policies/acl/{name}"), json!({ "policy": policy })).await;
    }

    pub async fn token(&self, mut parameters: Value) -> String {
        // The administrator is somebody in the root namespace only: a child of its token is nobody here.
        parameters["no_parent"] = json!(true);
        let answer = self.must(Method::POST, "auth/token/create", parameters).await;
        plant(answer["auth"]["client_token"].as_str().unwrap())
    }

    /// An AppRole: its id and a secret id.
    pub async fn app_role(&self, parameters: Value) -> (String, String) {
        self.must(Method::POST, "auth/approle/role/op", parameters).await;
        let role = self.must(Method::GET, "auth/approle/role/op/role-id", Value::Null).await;
        let secret = self.must(Method::POST, "auth/approle/role/op/secret-id", json!({})).await;
        let secret_id = plant(secret["data"]["secret_id"].as_str().unwrap());
        (role["data"]["role_id"].as_str().unwrap().to_owned(), secret_id)
    }

    pub fn settings(&self, auth: VaultAuth) -> api::Vault {
        api::Vault { namespace: Some(self.namespace.clone()), ..vault_settings(&self.address, auth) }
    }

    /// A store with the documented reader's rights.
    pub async fn reader(&self) -> Arc<dyn Store> {
        self.policy("reader", documented("vault reader")).await;
        let token = self.token(json!({ "policies": ["reader"] })).await;
        self.with_token(&token)
    }

    pub fn with_token(&self, token: &str) -> Arc<dyn Store> {
        self.with(self.settings(by_token()), &[("token", token)])
    }

    pub fn with(&self, settings: api::Vault, credentials: &[(&str, &str)]) -> Arc<dyn Store> {
        let fixed = credentials.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        vault(settings, Some(self.ca.clone()), Arc::new(Fixed(fixed)))
    }

    /// How often something was asked for in this test's namespace, by the server's audit log.
    pub fn asked(&self, operation: &str, path: &str) -> usize {
        let log = std::fs::read_to_string(format!("{}/audit.log", env("SECRETREF_BAO"))).unwrap();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines
            .filter(|line| {
                let request = &line["request"];
                line["type"] == "request"
                    && request["namespace"]["path"] == format!("{}/", self.namespace)
                    && request["operation"] == operation
                    && request["path"].as_str().is_some_and(|p| p.starts_with(path))
            })
            .count()
    }
}
