//! The variables that the stores' own tools read, and what they mean by them.

use std::{collections::BTreeMap, env, fmt};

use super::ConfigError;
use crate::api::{
    AzureAuth, AzureClientSecret, AzureKeyVault, CaRef, CaRefKind, ClusterSecretStoreSpec, Empty, Infisical,
    InfisicalAuth, Provider, SecretKeyRef, SecretKeySource, UniversalAuth, Vault, VaultAuth, WorkloadIdentity,
};

/// The environment at one moment. Never printed: it holds credentials.
#[derive(Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl fmt::Debug for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Environment({} variables)", self.0.len())
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

impl Environment {
    /// This process's own. Variables that are not text are left out.
    pub fn of_process() -> Self {
        env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
    }

    /// A variable that is set to something.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Every variable.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The stores that it names: `VAULT_ADDR`, `AZURE_KEY_VAULT_URL`, and for Infisical `INFISICAL_PROJECT_ID`.
    ///
    /// # Errors
    /// When one is named by half.
    pub(super) fn stores(
        &self,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<(&'static str, ClusterSecretStoreSpec)>, ConfigError> {
        let mut stores = Vec::new();
        if let Some(vault) = self.vault().filter(|_| wanted("vault")) {
            stores.push(("vault", spec(Provider { vault: Some(vault), ..Provider::default() })));
        }
        if let Some(azure) = self.azure().filter(|_| wanted("azureKeyVault")) {
            stores.push(("azure", spec(Provider { azure_key_vault: Some(azure), ..Provider::default() })));
        }
        if wanted("infisical")
            && let Some(infisical) = self.infisical()?
        {
            stores.push(("infisical", spec(Provider { infisical: Some(infisical), ..Provider::default() })));
        }
        Ok(stores)
    }

    /// `VAULT_ENABLED`: unset, it is on if `VAULT_ADDR` is set; false, it is never called.
    fn vault(&self) -> Option<Vault> {
        if self.get("VAULT_ENABLED").is_some_and(|text| matches!(text, "false" | "0" | "no" | "off")) {
            return None;
        }
        let address = self.get("VAULT_ADDR")?.to_owned();
        let token = if self.get("VAULT_TOKEN").is_some() { variable("VAULT_TOKEN") } else { file("~/.vault-token") };
        Some(Vault {
            address,
            mount: self.get("VAULT_MOUNT").map(str::to_owned),
            namespace: self.get("VAULT_NAMESPACE").map(str::to_owned),
            ca_bundle: None,
            ca_ref: self.get("VAULT_CACERT").map(ca_file),
            auth: VaultAuth { token: Some(token), ..VaultAuth::default() },
        })
    }

    /// A client secret, a federated token, or the developer's own login, whichever the environment has.
    fn azure(&self) -> Option<AzureKeyVault> {
        let vault_url = self.get("AZURE_KEY_VAULT_URL")?.to_owned();
        let (tenant, client) = (self.get("AZURE_TENANT_ID"), self.get("AZURE_CLIENT_ID"));
        let auth = match (tenant, client) {
            (Some(tenant), Some(client)) if self.get("AZURE_CLIENT_SECRET").is_some() => AzureAuth {
                client_secret: Some(AzureClientSecret {
                    tenant_id: tenant.to_owned(),
                    client_id: client.to_owned(),
                    client_secret: variable("AZURE_CLIENT_SECRET"),
                }),
                ..AzureAuth::default()
            },
            _ if self.get("AZURE_FEDERATED_TOKEN_FILE").is_some() => {
                AzureAuth { workload_identity: Some(WorkloadIdentity::default()), ..AzureAuth::default() }
            }
            _ => AzureAuth { developer_tools: Some(Empty {}), ..AzureAuth::default() },
        };
        let authority_host = self.get("AZURE_AUTHORITY_HOST").map(str::to_owned);
        Some(AzureKeyVault { vault_url, authority_host, ca_ref: None, auth: Some(auth) })
    }

    fn infisical(&self) -> Result<Option<Infisical>, ConfigError> {
        let Some(project) = self.get("INFISICAL_PROJECT_ID") else { return Ok(None) };
        let missing = |what| ConfigError::Environment { variable: "INFISICAL_PROJECT_ID", what };
        let environment = self.get("INFISICAL_ENVIRONMENT").ok_or_else(|| {
            missing("INFISICAL_ENVIRONMENT is not: set it to the slug of the environment, dev for one")
        })?;
        // The names of its own command line first.
        let pair = [
            ("INFISICAL_UNIVERSAL_AUTH_CLIENT_ID", "INFISICAL_UNIVERSAL_AUTH_CLIENT_SECRET"),
            ("INFISICAL_CLIENT_ID", "INFISICAL_CLIENT_SECRET"),
        ];
        let both = |(id, secret): &(&str, &str)| self.get(id).is_some() && self.get(secret).is_some();
        let (id, secret) = pair.into_iter().find(both).ok_or_else(|| {
            missing("there is no login: set INFISICAL_CLIENT_ID and INFISICAL_CLIENT_SECRET of a machine identity")
        })?;
        let host = self.get("INFISICAL_API_URL").or_else(|| self.get("INFISICAL_URL"));
        let host = host.unwrap_or("https://app.infisical.com").trim_end_matches('/');
        let universal = UniversalAuth { client_id: variable(id), client_secret: variable(secret) };
        Ok(Some(Infisical {
            // Its own tools write the path of the API behind the host.
            host_url: host.strip_suffix("/api").unwrap_or(host).to_owned(),
            project_id: project.to_owned(),
            environment: environment.to_owned(),
            root_path: None,
            ca_bundle: None,
            ca_ref: None,
            auth: InfisicalAuth { universal_auth: Some(universal), kubernetes: None },
        }))
    }
}

fn spec(provider: Provider) -> ClusterSecretStoreSpec {
    ClusterSecretStoreSpec {
        provider,
        layout: None,
        name_style: None,
        tenancy: None,
        cache: None,
        limits: None,
        health_check_interval: None,
    }
}

fn source(name: &str, key: &str) -> SecretKeySource {
    SecretKeySource { secret_ref: SecretKeyRef { name: name.to_owned(), namespace: None, key: key.to_owned() } }
}

fn variable(name: &str) -> SecretKeySource {
    source("env", name)
}

fn file(path: &str) -> SecretKeySource {
    source("file", path)
}

fn ca_file(path: &str) -> CaRef {
    CaRef { kind: CaRefKind::Secret, name: "file".to_owned(), namespace: None, key: path.to_owned() }
}
