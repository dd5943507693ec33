//! What the tests of the Key Vault store stand on: the fake, or, for values, a real vault.

use std::sync::Arc;

use async_trait::async_trait;
use secretref::{
    api::{AzureAuth, AzureClientSecret, AzureKeyVault, Provider, SecretKeyRef, ServiceAccountRef},
    secret::SecretValue,
    stores::{Connector, Credentials, Failure, Marks, Payload, Store, StoreError, Stored, connect},
};

use crate::{
    env::{Fixed, plant, source},
    fakes::{
        FakeKeyVault, Role,
        key_vault::{CLIENT, TENANT},
    },
};

/// A fake whose usual client has this role, and its credentials.
pub async fn vault(role: Role) -> FakeKeyVault {
    let fake = FakeKeyVault::start().await;
    fake.role(CLIENT, role);
    fake.client_secret(CLIENT, &secret());
    fake
}

/// The secret of the usual client.
pub fn secret() -> String {
    plant("Zq8~the-client-secret.of-tests")
}

pub fn by_secret() -> AzureAuth {
    let client_secret =
        AzureClientSecret { tenant_id: TENANT.into(), client_id: CLIENT.into(), client_secret: source("secret") };
    AzureAuth { client_secret: Some(client_secret), ..AzureAuth::default() }
}

pub fn settings(fake: &FakeKeyVault, auth: Option<AzureAuth>) -> AzureKeyVault {
    AzureKeyVault { vault_url: fake.url(), authority_host: Some(fake.url()), ca_ref: None, auth }
}

pub fn credentials() -> Arc<Fixed> {
    Arc::new(Fixed([("secret".to_owned(), secret())].into()))
}

pub fn try_store(
    settings: AzureKeyVault,
    ca: Option<String>,
    credentials: Arc<dyn Credentials>,
) -> Result<Arc<dyn Store>, StoreError> {
    let with = Connector { ca, credentials, client: None, marks: Marks::random() };
    connect(&Provider { azure_key_vault: Some(settings), ..Provider::default() }, with)
}

/// A store that logs in as the usual client.
pub fn store(fake: &FakeKeyVault) -> Arc<dyn Store> {
    try_store(settings(fake, Some(by_secret())), Some(fake.ca()), credentials()).unwrap()
}

pub fn value(stored: &Stored) -> &str {
    let Payload::Single(value) = &stored.payload else { panic!("not a single value") };
    value.expose_str().unwrap()
}

/// The vault that values are tested with, and what its names start with: the one place that chooses.
pub struct Values {
    pub store: Arc<dyn Store>,
    pub prefix: String,
    _fake: Option<FakeKeyVault>,
}

impl Values {
    pub async fn new() -> Self {
        let prefix = format!("t{:08x}--", rand::random::<u32>());
        let variable = |name: &str| std::env::var(name).ok().filter(|v| !v.is_empty());
        if let Some(vault_url) = variable("AZURE_KEY_VAULT_URL") {
            // With the credentials of the environment, for one a client secret.
            let auth = variable("AZURE_CLIENT_SECRET").map(|_| AzureAuth {
                client_secret: Some(AzureClientSecret {
                    tenant_id: variable("AZURE_TENANT_ID").expect("AZURE_TENANT_ID"),
                    client_id: variable("AZURE_CLIENT_ID").expect("AZURE_CLIENT_ID"),
                    client_secret: source("secret"),
                }),
                ..AzureAuth::default()
            });
            let secret = plant(&variable("AZURE_CLIENT_SECRET").unwrap_or_else(|| "none".to_owned()));
            let settings = AzureKeyVault { vault_url, authority_host: None, ca_ref: None, auth };
            let fixed = Fixed([("secret".to_owned(), secret)].into());
            return Self { store: try_store(settings, None, Arc::new(fixed)).unwrap(), prefix, _fake: None };
        }
        let fake = vault(Role::Officer).await;
        Self { store: store(&fake), prefix, _fake: Some(fake) }
    }
}

/// A cluster's credentials: Secrets, and one ServiceAccount's token.
pub struct OfCluster {
    pub secrets: Fixed,
    pub token: Option<String>,
    /// A ClusterSecretStore's, or else a tenant's.
    pub platform: bool,
}

#[async_trait]
impl Credentials for OfCluster {
    async fn secret(&self, source: &SecretKeyRef) -> Result<SecretValue, StoreError> {
        self.secrets.secret(source).await
    }

    async fn service_account_token(
        &self,
        account: Option<&ServiceAccountRef>,
        audiences: &[String],
    ) -> Result<SecretValue, StoreError> {
        assert_eq!(audiences, ["api://AzureADTokenExchange"]);
        assert_eq!(account.is_none(), self.platform);
        let token = self.token.clone().map(SecretValue::from);
        token.ok_or_else(|| StoreError::new(Failure::NotReady, "there is no ServiceAccount a/b: create it"))
    }

    fn lends_own_identity(&self) -> bool {
        self.platform
    }
}

pub fn of_cluster(token: Option<&str>, platform: bool) -> Arc<OfCluster> {
    Arc::new(OfCluster { secrets: Fixed::default(), token: token.map(str::to_owned), platform })
}
