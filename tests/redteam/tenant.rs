//! Somebody who makes requests as themselves: impersonated, with what RoleBindings give and nothing else.

use kube::{
    Client, Config,
    config::{KubeConfigOptions, Kubeconfig},
};
use serde_json::Value;

use crate::harness::env;

pub const MERGE: &str = "application/merge-patch+json";
pub const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub const JSON_PATCH: &str = "application/json-patch+json";
pub const APPLY: &str = "application/apply-patch+yaml";
pub const JSON: &str = "application/json";

pub const REFERENCES: &str = "secretreferences";
pub const STORES: &str = "secretstores";

/// What the API server answered: the object, or status and message.
pub type Answer = Result<Value, (u16, String)>;

#[derive(Clone)]
pub struct Tenant {
    pub user: String,
    client: Client,
}

impl Tenant {
    pub async fn new(user: &str, groups: &[&str]) -> Self {
        let kubeconfig = Kubeconfig::read_from(env("KUBECONFIG")).unwrap();
        let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        config.auth_info.impersonate = Some(user.to_owned());
        let groups = groups.iter().chain(&["system:authenticated"]).map(|g| (*g).to_owned());
        config.auth_info.impersonate_groups = Some(groups.collect());
        Self { user: user.to_owned(), client: Client::try_from(config).unwrap() }
    }

    /// One request, as it is.
    pub async fn call(&self, method: &str, path: &str, kind: &str, body: &Value) -> Answer {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = axum::http::Request::builder().method(method).uri(path).header("Content-Type", kind);
        match self.client.request::<Value>(request.body(body).unwrap()).await {
            Ok(object) => Ok(object),
            Err(kube::Error::Api(status)) => Err((status.code, status.message.clone())),
            Err(error) => panic!("{method} {path}: {error}"),
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, JSON, &Value::Null).await
    }

    /// Creates, refusing unknown fields as `kubectl` does.
    pub async fn create(&self, path: &str, object: &Value) -> Answer {
        let separator = if path.contains('?') { '&' } else { '?' };
        self.call("POST", &format!("{path}{separator}fieldValidation=Strict"), JSON, object).await
    }

    pub async fn merge(&self, path: &str, patch: &Value) -> Answer {
        self.call("PATCH", path, MERGE, patch).await
    }
}

/// The collection of one of our kinds in a namespace.
pub fn ours(namespace: &str, plural: &str) -> String {
    format!("/apis/secretref.dev/v1alpha1/namespaces/{namespace}/{plural}")
}

/// The collection of a core kind in a namespace.
pub fn core(namespace: &str, plural: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/{plural}")
}

pub fn roles(namespace: &str, plural: &str) -> String {
    format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/{plural}")
}
