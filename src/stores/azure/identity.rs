//! The ways to log in: who the operator is for Azure, and how a token is had for it.

use std::{fmt, path::PathBuf, sync::Arc, time::Duration};

use async_trait::async_trait;
use azure_core::{
    cloud::{CloudConfiguration, CustomConfiguration},
    credentials::{AccessToken, Secret, TokenCredential},
    http::{
        ClientMethodOptions, ClientOptions, Context, Request, RetryOptions, Transport,
        policies::{Policy, PolicyResult},
    },
};
use azure_identity::{
    ClientAssertion, ClientAssertionCredential, ClientAssertionCredentialOptions, ClientSecretCredential,
    ClientSecretCredentialOptions, DeveloperToolsCredential, ManagedIdentityCredential,
    ManagedIdentityCredentialOptions, UserAssignedId,
};
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use tokio::time::timeout;

use super::{
    refused::{self, Told},
    transport::{converted, found, passed, wrapped},
};
use crate::{
    api::{AzureKeyVault, SecretKeyRef, ServiceAccountRef, WorkloadIdentity},
    secret::SecretValue,
    stores::{
        Credentials, Failure, StoreError,
        body::Object,
        http::{Http, Reply},
    },
};

/// The longest that a login may take, where no call's own time ends it.
const PATIENCE: Duration = Duration::from_secs(30);
/// The machine's identity is next door, or there is none: the SDK itself would wait for 72 seconds.
const NEXT_DOOR: Duration = Duration::from_secs(5);
/// In seconds, ten years: a server that says more is not believed.
const LONGEST_LIFE: u64 = 315_360_000;
/// Where a machine's identity is, if nothing else is said.
const MACHINE: &str = "http://169.254.169.254";

/// Who the operator is, and where it says so.
pub(super) struct Identity {
    way: Way,
    /// Who issues tokens.
    authority: String,
    /// That the store's CA signs for the authority, too: so it is in a private cloud, which has both.
    ca: Option<String>,
    credentials: Arc<dyn Credentials>,
}

enum Way {
    /// A token of a ServiceAccount is exchanged for one of the client.
    Federated {
        tenant: String,
        client: String,
        proof: Proof,
        /// Nothing was chosen: without a ServiceAccount it is the machine's identity.
        or_machine: bool,
    },
    Machine {
        client: Option<String>,
    },
    Secret {
        tenant: String,
        client: String,
        secret: SecretKeyRef,
    },
    Tools,
}

enum Proof {
    File(PathBuf),
    Account(Option<ServiceAccountRef>),
}

/// A ServiceAccount's token.
struct Assertion(SecretValue);

/// The way to the authority.
struct ToAuthority {
    http: Http,
    told: Told,
}

impl Identity {
    /// What the settings say, and the environment where they are silent.
    pub fn new(
        settings: &AzureKeyVault,
        vault: &Url,
        ca: Option<&str>,
        credentials: Arc<dyn Credentials>,
    ) -> Result<Self, StoreError> {
        let own = credentials.lends_own_identity();
        let auth = settings.auth.as_ref();
        let way = if let Some(secret) = auth.and_then(|a| a.client_secret.as_ref()) {
            let (tenant, client) = (secret.tenant_id.clone(), secret.client_id.clone());
            Way::Secret { tenant, client, secret: secret.client_secret.secret_ref.clone() }
        } else if let Some(identity) = auth.and_then(|a| a.workload_identity.as_ref()) {
            federated(identity, own)?
        } else if !own {
            let message = "a SecretStore may not use the operator's identity: set auth.workloadIdentity with tenantId, clientId and serviceAccountRef, or auth.clientSecret";
            return Err(StoreError::new(Failure::Misconfigured, message));
        } else if auth.is_some_and(|a| a.developer_tools.is_some()) {
            Way::Tools
        } else if let Some(machine) = auth.and_then(|a| a.managed_identity.as_ref()) {
            Way::Machine { client: machine.client_id.clone() }
        } else {
            match (variable("AZURE_TENANT_ID"), variable("AZURE_CLIENT_ID"), token_file()) {
                (Some(tenant), Some(client), file) => {
                    let or_machine = file.is_none();
                    let proof = file.map_or(Proof::Account(None), Proof::File);
                    Way::Federated { tenant, client, proof, or_machine }
                }
                (_, client, _) => Way::Machine { client },
            }
        };
        if !own && !settings.authority_host.as_deref().is_none_or(|at| may_be_asked(at, vault)) {
            let message = "a SecretStore's authorityHost is one of Microsoft's, or the vault's own host: remove authorityHost, or use a ClusterSecretStore";
            return Err(StoreError::new(Failure::Misconfigured, message));
        }
        let authority = settings.authority_host.clone().or_else(|| variable("AZURE_AUTHORITY_HOST"));
        let authority = authority.unwrap_or_else(|| home(vault.host_str().unwrap_or_default()).to_owned());
        let ca = ca.filter(|_| settings.authority_host.is_some()).map(str::to_owned);
        Ok(Self { way, authority, ca, credentials })
    }

    /// Logs in. Nothing is kept of an earlier time: what the SDK holds of a login would outlive its rejection.
    pub async fn token(&self, scope: &str) -> Result<AccessToken, StoreError> {
        let (credential, told, patience) = self.credential().await?;
        match timeout(patience, credential.get_token(&[scope], None)).await {
            Ok(Ok(token)) => Ok(token),
            Ok(Err(error)) => Err(found::<StoreError>(&error).cloned().unwrap_or_else(|| told.senseless())),
            Err(_) => Err(told.late()),
        }
    }

    async fn credential(&self) -> Result<(Arc<dyn TokenCredential>, Told, Duration), StoreError> {
        let told = |way, claims| Told { way, authority: self.authority.clone(), claims };
        match &self.way {
            Way::Secret { tenant, client, secret } => {
                let told = told(refused::Way::Secret(secret.clone()), None);
                let value = self.credentials.secret(secret).await?;
                let value = value.expose_str().map(|v| Secret::new(v.trim().to_owned())).ok_or_else(|| {
                    let message = "the client secret is not text: put it into its Secret as the portal shows it";
                    StoreError::new(Failure::Unauthenticated, message)
                })?;
                let options = ClientSecretCredentialOptions { client_options: self.options(&told)? };
                let made = ClientSecretCredential::new(tenant, client.clone(), value, Some(options));
                Ok((made.map_err(|_| told.senseless())?, told, PATIENCE))
            }
            Way::Federated { tenant, client, proof, or_machine } => {
                let token = match self.assertion(proof).await {
                    Err(error) if *or_machine && error.failure == Failure::NotReady => {
                        return self.machine(Some(client)).await;
                    }
                    token => token?,
                };
                let told = told(refused::Way::Federated, refused::claims(&token));
                let options = ClientAssertionCredentialOptions { client_options: self.options(&told)? };
                let made =
                    ClientAssertionCredential::new(tenant.clone(), client.clone(), Assertion(token), Some(options));
                Ok((made.map_err(|_| told.senseless())?, told, PATIENCE))
            }
            Way::Machine { client } => self.machine(client.as_deref()).await,
            Way::Tools => {
                let told = told(refused::Way::Tools, None);
                let made = DeveloperToolsCredential::new(None).map_err(|_| told.senseless())?;
                Ok((made, told, PATIENCE))
            }
        }
    }

    async fn machine(&self, client: Option<&str>) -> Result<(Arc<dyn TokenCredential>, Told, Duration), StoreError> {
        let endpoint = variable("IDENTITY_ENDPOINT").unwrap_or_else(|| MACHINE.to_owned());
        let told = Told { way: refused::Way::Machine, authority: endpoint.clone(), claims: None };
        let transport = ToAuthority { http: Http::new(&endpoint, None)?, told: told.clone() };
        let options = ManagedIdentityCredentialOptions {
            user_assigned_id: client.map(|id| UserAssignedId::ClientId(id.to_owned())),
            client_options: options(transport, None),
        };
        let made = ManagedIdentityCredential::new(Some(options)).map_err(|_| told.senseless())?;
        Ok((made, told, NEXT_DOOR))
    }

    fn options(&self, told: &Told) -> Result<ClientOptions, StoreError> {
        let mut cloud = CustomConfiguration::default();
        cloud.authority_host.clone_from(&self.authority);
        let http = Http::new(&self.authority, self.ca.as_deref())?;
        Ok(options(ToAuthority { http, told: told.clone() }, Some(cloud.into())))
    }

    async fn assertion(&self, proof: &Proof) -> Result<SecretValue, StoreError> {
        match proof {
            // A few kilobytes that the kubelet keeps in memory.
            Proof::File(path) => match std::fs::read_to_string(path) {
                Ok(token) => Ok(SecretValue::from(token.trim().to_owned())),
                Err(_) => Err(StoreError::new(
                    Failure::NotReady,
                    "the ServiceAccount token cannot be read from AZURE_FEDERATED_TOKEN_FILE: label the operator's pod azure.workload.identity/use=true, and check that the workload identity webhook runs",
                )),
            },
            Proof::Account(account) => {
                let audience = refused::audience(&self.authority).to_owned();
                self.credentials.service_account_token(account.as_ref(), &[audience]).await
            }
        }
    }
}

fn options(transport: ToAuthority, cloud: Option<CloudConfiguration>) -> ClientOptions {
    ClientOptions {
        transport: Some(Transport::with_policy(Arc::new(transport))),
        retry: RetryOptions::none(),
        cloud: cloud.map(Arc::new),
        ..ClientOptions::default()
    }
}

/// A tenant's store says all of it: what the environment says is of the operator.
fn federated(identity: &WorkloadIdentity, own: bool) -> Result<Way, StoreError> {
    let account = identity.service_account_ref.clone();
    if !own && account.is_none() {
        let message = "a SecretStore logs in as a ServiceAccount of its own namespace: add auth.workloadIdentity.serviceAccountRef";
        return Err(StoreError::new(Failure::Misconfigured, message));
    }
    let or = |said: &Option<String>, name, field| {
        said.clone().or_else(|| variable(name).filter(|_| own)).ok_or_else(|| {
            let message = format!("the workload identity is not complete: set auth.workloadIdentity.{field}");
            StoreError::new(Failure::Misconfigured, message)
        })
    };
    let tenant = or(&identity.tenant_id, "AZURE_TENANT_ID", "tenantId")?;
    let client = or(&identity.client_id, "AZURE_CLIENT_ID", "clientId")?;
    let file = if account.is_some() { None } else { token_file() };
    let proof = file.map_or(Proof::Account(account), Proof::File);
    Ok(Way::Federated { tenant, client, proof, or_machine: false })
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn token_file() -> Option<PathBuf> {
    variable("AZURE_FEDERATED_TOKEN_FILE").map(PathBuf::from)
}

/// Whether a tenant may send the operator there: the platform has allowed the vault's host and no other.
fn may_be_asked(authority: &str, vault: &Url) -> bool {
    let Some(url) = Url::parse(authority).ok().filter(|url| url.scheme() == "https") else { return false };
    let known =
        ["https://login.microsoftonline.com", "https://login.microsoftonline.us", "https://login.chinacloudapi.cn"];
    known.iter().any(|known| Url::parse(known).is_ok_and(|known| known.origin() == url.origin()))
        || vault.origin() == url.origin()
}

/// The authority of the cloud that a vault is in.
fn home(host: &str) -> &'static str {
    if host.ends_with(".azure.cn") {
        "https://login.chinacloudapi.cn"
    } else if host.ends_with(".usgovcloudapi.net") {
        "https://login.microsoftonline.us"
    } else {
        "https://login.microsoftonline.com"
    }
}

#[async_trait]
impl ClientAssertion for Assertion {
    async fn secret(&self, _: Option<ClientMethodOptions<'_>>) -> azure_core::Result<String> {
        Ok(self.0.expose_str().unwrap_or_default().to_owned())
    }
}

impl fmt::Debug for Assertion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Assertion")
    }
}

#[async_trait]
impl Policy for ToAuthority {
    async fn send(&self, _: &Context, request: &mut Request, _: &[Arc<dyn Policy>]) -> PolicyResult {
        let request = converted(&self.http, request);
        let reply = self.http.exchange(request, &self.told).await.map_err(|e| wrapped(self.told.lost(&e)))?;
        answer(&self.told, reply)
    }
}

/// What is looked at before the SDK does.
#[derive(Deserialize)]
struct Granted<'a> {
    #[serde(borrow)]
    access_token: &'a RawValue,
    #[serde(default)]
    expires_in: Value,
}

/// What the SDK gets to see of an authority's answer. It adds the lifetime to a clock unseen, which panics where that
/// ends; and it would take a token that is empty.
fn answer(told: &Told, reply: Reply) -> PolicyResult {
    if !reply.status.is_success() {
        return Err(wrapped(told.refused(&reply)));
    }
    // A machine's identity says it as text, and says when, too: that is what the SDK then goes by.
    let life = |said: &Value| !said.is_number() || said.as_u64().is_some_and(|seconds| seconds <= LONGEST_LIFE);
    match serde_json::from_slice::<Object<Granted<'_>>>(&reply.body) {
        Ok(Object(Granted { access_token, expires_in })) if access_token.get() != "\"\"" && life(&expires_in) => {}
        _ => return Err(wrapped(told.senseless())),
    }
    Ok(passed(reply))
}

impl fmt::Debug for ToAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ToAuthority")
    }
}

#[cfg(test)]
mod fuzz;
