//! Which server a store is, and how the operator logs in there. A credential is always a reference to a Secret.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// The server behind a store: exactly one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "[has(self.azureKeyVault), has(self.vault), has(self.infisical), has(self.kubernetes)].filter(x, x).size() == 1")
    .message("exactly one provider is needed: azureKeyVault, vault, infisical or kubernetes"))]
pub struct Provider {
    /// Azure Key Vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure_key_vault: Option<AzureKeyVault>,
    /// HashiCorp Vault or OpenBao, KV version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vault: Option<Vault>,
    /// Infisical.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infisical: Option<Infisical>,
    /// Secrets of one namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesProvider>,
}

/// One key of a Secret.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SecretKeyRef {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// The Secret's namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// The key in it.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// A credential, held by a Secret.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeySource {
    /// Where it is.
    pub secret_ref: SecretKeyRef,
}

/// A CA certificate, PEM, held by a Secret or a ConfigMap.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
pub struct CaRef {
    /// Secret or ConfigMap.
    pub kind: CaRefKind,
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Its namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
    /// The key in it.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    pub key: String,
}

/// What holds a CA certificate.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CaRefKind {
    /// A Secret.
    Secret,
    /// A ConfigMap.
    ConfigMap,
}

/// A ServiceAccount of the store's namespace, whose short-lived token logs in.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceAccountRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
}

/// Nothing to set.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Empty {}

/// HashiCorp Vault or OpenBao, KV version 2.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.caBundle) && has(self.caRef))").message("at most one of caBundle and caRef"))]
pub struct Vault {
    /// Base URL of the server.
    #[schemars(length(min = 8, max = 2048), regex(pattern = r"^https?://[^/?#@\s]+(/[^?#\s]*)?$"))]
    pub address: String,
    /// Path of the KV version 2 mount. Default secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$"))]
    #[x_kube(validation = rules::no_dots("mount"))]
    pub mount: Option<String>,
    /// Namespace of the server (Vault Enterprise, OpenBao).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*/?$"))]
    #[x_kube(validation = rules::no_dots("namespace"))]
    pub namespace: Option<String>,
    /// CA certificates that sign the server's, PEM. Default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536), regex(pattern = r"-----BEGIN CERTIFICATE-----"))]
    pub ca_bundle: Option<String>,
    /// The same, held by a Secret or ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CaRef>,
    /// How to log in.
    pub auth: VaultAuth,
}

/// How to log in at a Vault: exactly one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "[has(self.token), has(self.appRole), has(self.kubernetes), has(self.jwt)].filter(x, x).size() == 1")
    .message("exactly one of token, appRole, kubernetes and jwt is needed"))]
pub struct VaultAuth {
    /// A token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<SecretKeySource>,
    /// An AppRole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app_role: Option<AppRole>,
    /// A short-lived token of a ServiceAccount: no credential anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<KubernetesAuth>,
    /// A JWT held by a Secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jwt: Option<JwtAuth>,
}

/// Vault's AppRole method.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct AppRole {
    /// Where the method is mounted. Default approle.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$"))]
    pub mount_path: Option<String>,
    /// The role id.
    #[schemars(length(min = 1, max = 253))]
    pub role_id: String,
    /// The secret id.
    pub secret_id: SecretKeySource,
    /// Whether the Secret holds a response-wrapping token of the secret id in its place. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_id_wrapped: Option<bool>,
}

/// Vault's Kubernetes method.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct KubernetesAuth {
    /// Where the method is mounted. Default kubernetes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$"))]
    pub mount_path: Option<String>,
    /// The role.
    #[schemars(length(min = 1, max = 253))]
    pub role: String,
    /// Audiences of the token, never the API server's own. Default vault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 253)))]
    #[x_kube(validation = rules::foreign_audiences())]
    pub audiences: Option<Vec<String>>,
    /// Whose token; only in a SecretStore, where it is required. Default: the operator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_ref: Option<ServiceAccountRef>,
}

/// Vault's JWT method.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct JwtAuth {
    /// Where the method is mounted. Default jwt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$"))]
    pub mount_path: Option<String>,
    /// The role.
    #[schemars(length(min = 1, max = 253))]
    pub role: String,
    /// The JWT.
    pub jwt: SecretKeySource,
}

/// Azure Key Vault.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct AzureKeyVault {
    /// The vault's URL.
    #[schemars(length(min = 9, max = 2048), regex(pattern = r"^https://[^/?#@\s]+/?$"))]
    pub vault_url: String,
    /// The authority that issues tokens, for sovereign and private clouds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 9, max = 2048), regex(pattern = r"^https://[^/?#@\s]+/?$"))]
    pub authority_host: Option<String>,
    /// CA certificates, held by a Secret or ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CaRef>,
    /// How to log in. Default: workload identity, then managed identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<AzureAuth>,
}

/// How to log in at Azure: exactly one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new(
    "[has(self.workloadIdentity), has(self.managedIdentity), has(self.clientSecret), has(self.developerTools)].filter(x, x).size() == 1")
    .message("exactly one of workloadIdentity, managedIdentity, clientSecret and developerTools is needed"))]
pub struct AzureAuth {
    /// A projected ServiceAccount token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload_identity: Option<WorkloadIdentity>,
    /// The machine's identity.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub managed_identity: Option<ManagedIdentity>,
    /// A client secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_secret: Option<AzureClientSecret>,
    /// The developer's own login.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub developer_tools: Option<Empty>,
}

/// Azure workload identity; what is not set comes from the environment.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct WorkloadIdentity {
    /// The tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub tenant_id: Option<String>,
    /// The client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub client_id: Option<String>,
    /// Whose token; only in a SecretStore, where it is required. Default: the operator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_ref: Option<ServiceAccountRef>,
}

/// Azure managed identity.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct ManagedIdentity {
    /// The client id of a user-assigned identity. Default: the system-assigned one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub client_id: Option<String>,
}

/// Azure client secret.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct AzureClientSecret {
    /// The tenant.
    #[schemars(length(min = 1, max = 253))]
    pub tenant_id: String,
    /// The client.
    #[schemars(length(min = 1, max = 253))]
    pub client_id: String,
    /// The secret.
    pub client_secret: SecretKeySource,
}

/// Infisical.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!(has(self.caBundle) && has(self.caRef))").message("at most one of caBundle and caRef"))]
pub struct Infisical {
    /// Base URL of the server.
    #[schemars(length(min = 8, max = 2048), regex(pattern = r"^https?://[^/?#@\s]+(/[^?#\s]*)?$"))]
    pub host_url: String,
    /// The project's id.
    #[schemars(length(min = 1, max = 253))]
    pub project_id: String,
    /// The environment's slug.
    #[schemars(length(min = 1, max = 253))]
    pub environment: String,
    /// The folder under which the scopes' folders are. Default /.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^/([A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*)?$"))]
    pub root_path: Option<String>,
    /// CA certificates that sign the server's, PEM. Default: the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 65536), regex(pattern = r"-----BEGIN CERTIFICATE-----"))]
    pub ca_bundle: Option<String>,
    /// The same, held by a Secret or ConfigMap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_ref: Option<CaRef>,
    /// How to log in.
    pub auth: InfisicalAuth,
}

/// How to log in at Infisical: exactly one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.universalAuth) != has(self.kubernetes)")
    .message("exactly one of universalAuth and kubernetes is needed"))]
pub struct InfisicalAuth {
    /// A machine identity's client id and secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub universal_auth: Option<UniversalAuth>,
    /// A short-lived token of a ServiceAccount.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<InfisicalKubernetesAuth>,
}

/// Infisical's Universal Auth.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct UniversalAuth {
    /// The client id.
    pub client_id: SecretKeySource,
    /// The client secret.
    pub client_secret: SecretKeySource,
}

/// Infisical's Kubernetes auth.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash)]
#[serde(rename_all = "camelCase")]
pub struct InfisicalKubernetesAuth {
    /// The machine identity.
    #[schemars(length(min = 1, max = 253))]
    pub identity_id: String,
    /// Audiences of the token, never the API server's own. Default infisical.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 8), inner(length(min = 1, max = 253)))]
    #[x_kube(validation = rules::foreign_audiences())]
    pub audiences: Option<Vec<String>>,
    /// Whose token; only in a SecretStore, where it is required. Default: the operator's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_account_ref: Option<ServiceAccountRef>,
}

/// Secrets of one namespace: the zero-dependency store.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct KubernetesProvider {
    /// The namespace; required in a ClusterSecretStore, always its own in a SecretStore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub namespace: Option<String>,
}
