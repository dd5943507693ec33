//! Key Vault, a fake of its own for each case, each identity a client of its own, with the roles of docs/stores.md.

use std::sync::Arc;

use async_trait::async_trait;
use secretref::{
    api::{AzureAuth, AzureClientSecret, AzureKeyVault, Provider},
    naming::{Scheme, StoreKey},
    stores::{Payload, Store, scheme},
};

use super::as_map;
use crate::{
    azure::try_store,
    env::{Fixed, documented, plant, source},
    fakes::{FakeKeyVault, Role, key_vault::TENANT},
    fault_proxy::FaultProxy,
    suite::{Fault, Subject, Who},
};

const READER: &str = "reader-00d88624";

pub struct KeyVault {
    fake: FakeKeyVault,
    proxy: FaultProxy,
}

impl KeyVault {
    pub async fn new() -> Self {
        let fake = FakeKeyVault::start().await;
        fake.role_definition(READER, documented("azure reader"));
        fake.role_definition("writer", documented("azure writer"));
        fake.role("get-only", Role::GetOnly);
        fake.role("powerless", Role::None);
        for client in [READER, "writer", "get-only", "powerless"] {
            fake.client_secret(client, &plant("Zq8~the-secret-of-clients"));
        }
        let proxy = FaultProxy::before(&fake.url(), &fake.ca()).await;
        Self { fake, proxy }
    }

    fn settings(&self, who: Who) -> AzureKeyVault {
        let client = match who {
            Who::Reader | Who::Stranger => READER,
            Who::Writer => "writer",
            Who::GetOnly => "get-only",
            Who::Powerless => "powerless",
        };
        let secret =
            AzureClientSecret { tenant_id: TENANT.into(), client_id: client.into(), client_secret: source("secret") };
        AzureKeyVault {
            vault_url: self.proxy.address.clone(),
            authority_host: Some(self.proxy.address.clone()),
            ca_ref: None,
            auth: Some(AzureAuth { client_secret: Some(secret), ..AzureAuth::default() }),
        }
    }

    fn connect(&self, who: Who, ca: &str) -> Arc<dyn Store> {
        let secret = if who == Who::Stranger { "wrong-client-secret" } else { "Zq8~the-secret-of-clients" };
        let fixed = Fixed([("secret".to_owned(), plant(secret))].into());
        try_store(self.settings(who), Some(ca.to_owned()), Arc::new(fixed)).unwrap()
    }
}

#[async_trait]
impl Subject for KeyVault {
    fn name(&self) -> &'static str {
        "key-vault"
    }

    fn scheme(&self) -> Scheme {
        let provider = Provider { azure_key_vault: Some(self.settings(Who::Reader)), ..Provider::default() };
        scheme(&provider, None, None)
    }

    fn store(&self, who: Who) -> Arc<dyn Store> {
        self.connect(who, &self.proxy.ca)
    }

    async fn plant(&self, key: &StoreKey, payload: &Payload) {
        let text = match payload {
            Payload::Single(value) => value.expose_str().expect("text").to_owned(),
            Payload::Map(_) => as_map(payload).to_string(),
        };
        self.fake.purge(key.as_str());
        self.fake.put(key.as_str(), &text);
    }

    async fn withdraw(&self, key: &StoreKey) {
        self.fake.delete(key.as_str());
    }

    async fn fault(&self, fault: Option<Fault>) -> bool {
        let fault = fault.map(|fault| match fault {
            Fault::Throttled(after) => {
                Fault::Status(429, after, r#"{"error":{"code":"Throttled","message":"canary-throttled"}}"#)
            }
            Fault::Unavailable => {
                Fault::Status(503, None, r#"{"error":{"code":"ServiceUnavailable","message":"canary-down"}}"#)
            }
            other => other,
        });
        self.proxy.fault(fault).await;
        true
    }

    fn requests(&self) -> Vec<String> {
        self.proxy.requests()
    }

    fn with_another_ca(&self) -> Option<Arc<dyn Store>> {
        Some(self.connect(Who::Reader, &self.fake.ca()))
    }

    fn has_identities(&self) -> bool {
        true
    }

    fn logins(&self) -> Option<usize> {
        Some(self.requests().iter().filter(|r| r.ends_with("/oauth2/v2.0/token")).count())
    }

    async fn end_sessions(&self) -> bool {
        self.fake.revoke_tokens();
        true
    }

    async fn rights(&self, given: bool) {
        match given {
            true => self.fake.role_definition(READER, documented("azure reader")),
            false => self.fake.role(READER, Role::None),
        }
    }
}
