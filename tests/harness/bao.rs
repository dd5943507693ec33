//! OpenBao as its administrator sees it, with a namespace of its own for each test: KV version 2 at `secret`, AppRole at
//! `approle`, a policy `reader` for all of it. Tests do not disturb each other.

use std::{
    path::{Path, PathBuf},
    process::Command,
    sync::{
        LazyLock,
        atomic::{AtomicU16, Ordering},
    },
};

use reqwest::{Certificate, Method};
use serde_json::{Value, json};

use super::{env, plant_credential, unique, wait_for};

/// What a reader of one mount needs.
const READER: &str = r#"
path "secret/data/*"     { capabilities = ["read"] }
path "secret/metadata/*" { capabilities = ["list"] }
"#;

pub struct Bao {
    pub address: String,
    /// The CA's certificate, PEM.
    pub ca: String,
    pub namespace: String,
    token: String,
    http: reqwest::Client,
    /// State directory of a server that is this test's alone.
    own: Option<PathBuf>,
}

impl Bao {
    /// A new namespace on the server of the run.
    pub async fn new() -> Self {
        let mut bao = Self::at(&env("BAO_ADDR"), &env("BAO_CACERT"), &env("BAO_TOKEN"));
        let namespace = format!("t-{}", unique());
        bao.must(Method::POST, &format!("sys/namespaces/{namespace}"), json!({})).await;
        bao.namespace = namespace;
        bao.mount("secret").await;
        bao.must(Method::POST, "sys/auth/approle", json!({ "type": "approle" })).await;
        bao.policy("reader", READER).await;
        bao
    }

    /// A server of this test's own, to be stopped, sealed and started again; without namespaces.
    pub async fn own() -> Self {
        let state = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("bao-{}", unique()));
        // A port below those that the system gives out by itself, and its neighbour; no two tests try the same.
        static NEXT: LazyLock<AtomicU16> = LazyLock::new(|| AtomicU16::new(rand::random()));
        let next = || 19_000 + 2 * (NEXT.fetch_add(1, Ordering::Relaxed) % 2500);
        let free = |p: &u16| [*p, *p + 1].iter().all(|p| std::net::TcpListener::bind(("127.0.0.1", *p)).is_ok());
        let port = std::iter::repeat_with(next).take(500).find(free).expect("a free port");
        let bao = Self::up(&state, Some(port)).await;
        bao.policy("reader", READER).await;
        bao
    }

    async fn up(state: &PathBuf, port: Option<u16>) -> Self {
        let mut up = tokio::process::Command::new("tests/openbao/up.sh");
        up.arg(state).current_dir(env!("CARGO_MANIFEST_DIR")).env_remove("ADDRESS");
        if let Some(port) = port {
            up.env("PORT", port.to_string());
        }
        let up = up.output().await.expect("tests/openbao/up.sh");
        assert!(up.status.success(), "{}", String::from_utf8_lossy(&up.stderr));
        let out = String::from_utf8(up.stdout).unwrap();
        let get = |name: &str| out.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix('=')).unwrap().to_owned();
        let mut bao = Self::at(&get("BAO_ADDR"), &get("BAO_CACERT"), &get("BAO_TOKEN"));
        bao.own = Some(state.clone());
        bao
    }

    fn at(address: &str, ca: &str, token: &str) -> Self {
        let ca = std::fs::read_to_string(ca).expect("BAO_CACERT");
        let roots = Certificate::from_pem_bundle(ca.as_bytes()).unwrap();
        let http = reqwest::Client::builder().tls_certs_only(roots).build().unwrap();
        let (address, token) = (address.to_owned(), plant_credential(token));
        Self { address, ca, namespace: String::new(), token, http, own: None }
    }

    /// Kills a server of this test's own, as a node failure does.
    pub fn kill(&self) {
        let state = self.own.as_ref().expect("a server of its own");
        let pid = std::fs::read_to_string(state.join("pid")).unwrap();
        assert!(Command::new("kill").args(["-9", pid.trim()]).status().unwrap().success());
    }

    /// Starts it again; what it held is still there.
    pub async fn start_again(&mut self) {
        let state = self.own.clone().expect("a server of its own");
        self.gone(&state).await;
        let mut again = Self::up(&state, None).await;
        again.own = None; // or it would be taken down with this value
        self.token.clone_from(&again.token);
    }

    /// What was killed ends when the kernel has the time, which is when its disk has answered; until then it looks as if it
    /// ran.
    async fn gone(&self, state: &Path) {
        let pid = std::fs::read_to_string(state.join("pid")).unwrap();
        let arguments = format!("/proc/{}/cmdline", pid.trim());
        wait_for("the killed server is gone", || async {
            let left = std::fs::read(&arguments).unwrap_or_default();
            if left.is_empty() { Ok(()) } else { Err(String::from_utf8_lossy(&left).into_owned()) }
        })
        .await;
    }

    pub async fn seal(&self) {
        self.must(Method::PUT, "sys/seal", json!({})).await;
    }

    /// A mount of KV version 2.
    pub async fn mount(&self, path: &str) {
        let body = json!({ "type": "kv", "options": { "version": "2" } });
        self.must(Method::POST, &format!("sys/mounts/{path}"), body).await;
        // The engine prepares itself for a moment.
        wait_for("the mount is there", || async {
            match self.call(Method::GET, &format!("{path}/config"), Value::Null).await {
                (200, _) => Ok(()),
                (status, answer) => Err(format!("{status} {answer}")),
            }
        })
        .await;
    }

    /// One request; a body of `null` is none.
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

    #[track_caller]
    pub fn must(&self, method: Method, path: &str, body: Value) -> impl Future<Output = Value> {
        let at = std::panic::Location::caller();
        async move {
            let (status, answer) = self.call(method.clone(), path, body).await;
            assert!(status < 300, "{method} {path} at {at}: {status} {answer}");
            answer
        }
    }

    /// One request in the root namespace, where quotas are.
    pub async fn root(&self, method: Method, path: &str, body: Value) {
        let root = Self {
            namespace: String::new(),
            own: None,
            address: self.address.clone(),
            ca: self.ca.clone(),
            token: self.token.clone(),
            http: self.http.clone(),
        };
        root.must(method, path, body).await;
    }

    /// Writes a new version of a key: a map of properties.
    pub async fn put(&self, key: &str, properties: Value) {
        self.must(Method::POST, &format!("secret/data/{key}"), json!({ "data": properties })).await;
    }

    /// Deletes the latest version: it can be undone, and the history stays.
    pub async fn delete(&self, key: &str) {
        self.must(Method::DELETE, &format!("secret/data/{key}"), Value::Null).await;
    }

    /// Deletes the latest versions for good.
    pub async fn destroy(&self, key: &str, versions: &[u32]) {
        self.must(Method::PUT, &format!("secret/destroy/{key}"), json!({ "versions": versions })).await;
    }

    /// Removes a key with its history: versions count from 1 again.
    pub async fn remove(&self, key: &str) {
        self.must(Method::DELETE, &format!("secret/metadata/{key}"), Value::Null).await;
    }

    pub async fn policy(&self, name: &str, policy: &str) {
        self.must(Method::PUT, &format!("sys/policies/acl/{name}"), json!({ "policy": policy })).await;
    }

    /// A token with these policies.
    pub async fn token(&self, policies: &[&str]) -> String {
        // The administrator is somebody in the root namespace only: a child of its token is nobody here.
        let parameters = json!({ "policies": policies, "no_parent": true });
        let answer = self.must(Method::POST, "auth/token/create", parameters).await;
        plant_credential(answer["auth"]["client_token"].as_str().unwrap())
    }

    pub async fn revoke(&self, token: &str) {
        self.must(Method::POST, "auth/token/revoke", json!({ "token": token })).await;
    }

    /// An AppRole with these policies: its role id and a secret id.
    pub async fn app_role(&self, name: &str, policies: &[&str]) -> (String, String) {
        let role = format!("auth/approle/role/{name}");
        self.must(Method::POST, &role, json!({ "token_policies": policies })).await;
        let id = self.must(Method::GET, &format!("{role}/role-id"), Value::Null).await;
        let secret = self.must(Method::POST, &format!("{role}/secret-id"), json!({})).await;
        let secret_id = plant_credential(secret["data"]["secret_id"].as_str().unwrap());
        (id["data"]["role_id"].as_str().unwrap().to_owned(), secret_id)
    }

    /// `spec.provider.vault` without `auth`.
    pub fn provider(&self) -> Value {
        let mut vault = json!({ "address": self.address, "caBundle": self.ca });
        if !self.namespace.is_empty() {
            vault["namespace"] = json!(self.namespace);
        }
        vault
    }
}

impl Drop for Bao {
    fn drop(&mut self) {
        if let Some(state) = &self.own {
            let down =
                Command::new("tests/openbao/down.sh").arg(state).current_dir(env!("CARGO_MANIFEST_DIR")).output();
            assert!(std::thread::panicking() || down.is_ok_and(|d| d.status.success()), "tests/openbao/down.sh");
        }
    }
}
