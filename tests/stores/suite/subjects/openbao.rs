//! OpenBao, a namespace of its own for each case, each identity an AppRole.

use std::{collections::HashMap, sync::Arc};

use async_trait::async_trait;
use reqwest::Method;
use secretref::{
    api::{Provider, VaultAuth},
    naming::{Scheme, StoreKey},
    stores::{Payload, Store, scheme},
};
use serde_json::{Value, json};

use super::as_map;
use crate::{
    env::{Bao, Fixed, by_role, documented, plant, vault},
    fault_proxy::FaultProxy,
    suite::{Fault, Subject, Who},
};

const GET_ONLY: &str = r#"path "secret/data/*" { capabilities = ["read"] }"#;
const NOTHING: &str = r#"path "sys/health" { capabilities = ["read"] }"#;

pub struct OpenBao {
    bao: Bao,
    proxy: FaultProxy,
    /// Role id and secret id.
    identities: HashMap<&'static str, (String, String)>,
}

impl OpenBao {
    pub async fn new() -> Self {
        let bao = Bao::new("suite").await;
        let proxy = FaultProxy::before(&bao.address, &bao.ca).await;
        let policies = [
            ("reader", documented("vault reader")),
            ("writer", documented("vault writer")),
            ("get-only", GET_ONLY),
            ("powerless", NOTHING),
        ];
        let mut identities = HashMap::new();
        for (name, policy) in policies {
            bao.policy(name, policy).await;
            let role = format!("auth/approle/role/{name}");
            bao.must(Method::POST, &role, json!({ "token_policies": [name], "token_ttl": "1h" })).await;
            let id = bao.must(Method::GET, &format!("{role}/role-id"), Value::Null).await;
            let secret = bao.must(Method::POST, &format!("{role}/secret-id"), json!({})).await;
            let id = id["data"]["role_id"].as_str().unwrap().to_owned();
            identities.insert(name, (id, plant(secret["data"]["secret_id"].as_str().unwrap())));
        }
        Self { bao, proxy, identities }
    }

    fn auth(&self, who: Who) -> (VaultAuth, String) {
        let (id, secret) = &self.identities[match who {
            Who::Reader | Who::Stranger => "reader",
            Who::Writer => "writer",
            Who::GetOnly => "get-only",
            Who::Powerless => "powerless",
        }];
        let secret = if who == Who::Stranger { plant("wrong-secret-id") } else { secret.clone() };
        (by_role(id), secret)
    }

    fn connect(&self, who: Who, ca: &str) -> Arc<dyn Store> {
        let (auth, secret) = self.auth(who);
        let mut settings = self.bao.settings(auth);
        settings.address.clone_from(&self.proxy.address);
        let credentials = Fixed([("secret-id".to_owned(), secret)].into());
        vault(settings, Some(ca.to_owned()), Arc::new(credentials))
    }
}

#[async_trait]
impl Subject for OpenBao {
    fn name(&self) -> &'static str {
        "openbao"
    }

    fn scheme(&self) -> Scheme {
        let vault = self.bao.settings(VaultAuth::default());
        scheme(&Provider { vault: Some(vault), ..Provider::default() }, None, None)
    }

    fn store(&self, who: Who) -> Arc<dyn Store> {
        self.connect(who, &self.proxy.ca)
    }

    async fn plant(&self, key: &StoreKey, payload: &Payload) {
        self.bao.put(key.as_str(), as_map(payload)).await;
    }

    async fn withdraw(&self, key: &StoreKey) {
        self.bao.must(Method::DELETE, &format!("secret/data/{key}"), Value::Null).await;
    }

    async fn fault(&self, fault: Option<Fault>) -> bool {
        let fault = fault.map(|fault| match fault {
            Fault::Throttled(after) => {
                Fault::Status(429, after, r#"{"errors":["request path \"secret/data/x\": rate limit quota exceeded"]}"#)
            }
            Fault::Unavailable => Fault::Status(503, None, r#"{"errors":["Vault is sealed"]}"#),
            other => other,
        });
        self.proxy.fault(fault).await;
        true
    }

    fn requests(&self) -> Vec<String> {
        self.proxy.requests()
    }

    fn with_another_ca(&self) -> Option<Arc<dyn Store>> {
        Some(self.connect(Who::Reader, &self.bao.ca))
    }

    fn has_identities(&self) -> bool {
        true
    }

    fn logins(&self) -> Option<usize> {
        Some(self.requests().iter().filter(|r| r.ends_with("/v1/auth/approle/login")).count())
    }

    async fn end_sessions(&self) -> bool {
        let list = Method::from_bytes(b"LIST").unwrap();
        let all = self.bao.must(list, "auth/token/accessors", Value::Null).await;
        for accessor in all["data"]["keys"].as_array().unwrap() {
            self.bao.must(Method::POST, "auth/token/revoke-accessor", json!({ "accessor": accessor })).await;
        }
        true
    }

    async fn rights(&self, given: bool) {
        self.bao.policy("reader", if given { documented("vault reader") } else { NOTHING }).await;
    }
}
