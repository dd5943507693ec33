//! `ClusterSecretStore` (the platform's) and `SecretStore` (a tenant's).
#![allow(clippy::duplicated_attributes, reason = "both kinds have the same columns, which the lint takes for one list")]

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{GoDuration, ORG_LABEL, Provider, StoreStatus};

/// A store of the platform, for many namespaces.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "secretref.dev",
    version = "v1alpha1",
    kind = "ClusterSecretStore",
    plural = "clustersecretstores",
    singular = "clustersecretstore",
    shortname = "csstore",
    category = "secretref",
    status = "StoreStatus",
    derive = "PartialEq",
    doc = "A store of the platform: where secrets are, which namespaces may use it, and as which organisation.",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Circuit", type_ = "string", json_path = ".status.circuit"),
    printcolumn(name = "References", type_ = "integer", json_path = ".status.references"),
    printcolumn(name = "Last-Access", type_ = "date", json_path = ".status.lastSuccessfulAccess"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Guidance", type_ = "string", json_path = ".status.guidance", priority = 1)
)]
#[x_kube(
    validation = Rule::new("!has(self.layout) || self.layout != 'Path' || has(self.provider.vault) || has(self.provider.infisical)")
        .message("spec.layout Path is for vault and infisical").field_path(".layout"),
    validation = Rule::new("!has(self.nameStyle) || self.nameStyle == 'Kebab' || has(self.provider.vault) || has(self.provider.infisical)")
        .message("spec.nameStyle: this store takes Kebab names only").field_path(".nameStyle")
)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSecretStoreSpec {
    /// The server behind it.
    pub provider: Provider,
    /// How org and name become a store key. Default Flat; Path for Infisical.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// How a name is spelled in the store. Default Kebab; ScreamingSnake for Infisical.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_style: Option<NameStyle>,
    /// Which namespaces may use it, and as which organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenancy: Option<Tenancy>,
    /// How long a value may stay in memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// What the store may be asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How often the store is probed. Default 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')")
        .message("healthCheckInterval must be between 1s and 1h"))]
    pub health_check_interval: Option<GoDuration>,
}

/// A store of one namespace; off unless the platform allows such stores.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "secretref.dev",
    version = "v1alpha1",
    kind = "SecretStore",
    plural = "secretstores",
    singular = "secretstore",
    shortname = "sstore",
    category = "secretref",
    namespaced,
    status = "StoreStatus",
    derive = "PartialEq",
    doc = "A tenant's store for its own namespace, with credentials of that namespace only.",
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].reason"#),
    printcolumn(name = "Circuit", type_ = "string", json_path = ".status.circuit"),
    printcolumn(name = "References", type_ = "integer", json_path = ".status.references"),
    printcolumn(name = "Last-Access", type_ = "date", json_path = ".status.lastSuccessfulAccess"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Guidance", type_ = "string", json_path = ".status.guidance", priority = 1)
)]
#[x_kube(
    validation = Rule::new("!has(self.layout) || self.layout != 'Path' || has(self.provider.vault) || has(self.provider.infisical)")
        .message("spec.layout Path is for vault and infisical").field_path(".layout"),
    validation = Rule::new("!has(self.nameStyle) || self.nameStyle == 'Kebab' || has(self.provider.vault) || has(self.provider.infisical)")
        .message("spec.nameStyle: this store takes Kebab names only").field_path(".nameStyle"),
    validation = Rule::new("!has(self.provider.vault) || self.provider.vault.address.startsWith('https://')")
        .message("spec.provider.vault.address must be https").field_path(".provider.vault.address"),
    validation = Rule::new("!has(self.provider.infisical) || self.provider.infisical.hostUrl.startsWith('https://')")
        .message("spec.provider.infisical.hostUrl must be https").field_path(".provider.infisical.hostUrl"),
    validation = Rule::new(
        "!has(self.provider.vault) || !has(self.provider.vault.auth.kubernetes) || \
         (has(self.provider.vault.auth.kubernetes.serviceAccountRef) && has(self.provider.vault.auth.kubernetes.audiences))")
        .message("spec.provider.vault.auth.kubernetes needs serviceAccountRef and audiences")
        .field_path(".provider.vault.auth.kubernetes"),
    validation = Rule::new(
        "!has(self.provider.infisical) || !has(self.provider.infisical.auth.kubernetes) || \
         (has(self.provider.infisical.auth.kubernetes.serviceAccountRef) && has(self.provider.infisical.auth.kubernetes.audiences))")
        .message("spec.provider.infisical.auth.kubernetes needs serviceAccountRef and audiences")
        .field_path(".provider.infisical.auth.kubernetes"),
    validation = Rule::new("!has(self.provider.azureKeyVault) || has(self.provider.azureKeyVault.auth)")
        .message("spec.provider.azureKeyVault.auth is required").field_path(".provider.azureKeyVault")
)]
#[serde(rename_all = "camelCase")]
pub struct SecretStoreSpec {
    /// The server behind it.
    pub provider: Provider,
    /// How org and name become a store key. Default Flat; Path for Infisical.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layout: Option<Layout>,
    /// How a name is spelled in the store. Default Kebab; ScreamingSnake for Infisical.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name_style: Option<NameStyle>,
    /// How long a value may stay in memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<Cache>,
    /// What the store may be asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<Limits>,
    /// How often the store is probed. Default 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('1h')")
        .message("healthCheckInterval must be between 1s and 1h"))]
    pub health_check_interval: Option<GoDuration>,
}

/// How org and name become a store key.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Layout {
    /// `{org}--{name}`.
    #[default]
    Flat,
    /// `{org}/{name}`.
    Path,
}

/// How a name is spelled in the store: a bijection.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NameStyle {
    /// `db-password`.
    #[default]
    Kebab,
    /// `DB_PASSWORD`.
    ScreamingSnake,
    /// As the reference spells it; case-sensitive stores only.
    Verbatim,
}

/// Which namespaces may use a store, and as which organisation.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.orgFrom) || !has(self.orgFrom.org) || has(self.namespaceSelector)")
    .message("tenancy.orgFrom.org needs tenancy.namespaceSelector").field_path(".orgFrom"))]
pub struct Tenancy {
    /// Which namespaces. Absent: every namespace that the platform bound to an organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace_selector: Option<LabelSelector>,
    /// Where the organisation comes from. Default: the namespace label secretref.dev/org.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub org_from: Option<OrgFrom>,
    /// Whether bound organisations fall back to the platform-wide scope. Default true.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_global: Option<bool>,
    /// Whether namespaces without an organisation may resolve platform-wide names, and those only. Default false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_unbound: Option<bool>,
    /// Targets of a namespace that lost the store or its organisation. Default Keep.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_revoke: Option<OnRevoke>,
}

/// Where the organisation of a namespace comes from: exactly one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.namespaceLabel) != has(self.org)").message("exactly one of namespaceLabel and org is needed"))]
pub struct OrgFrom {
    /// A label of the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 317),
        regex(pattern = r"^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$")
    )]
    pub namespace_label: Option<String>,
    /// One fixed organisation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]+(-[a-z0-9]+)*$"))]
    #[x_kube(validation = Rule::new("self != 'global' && self != 'user'").message("org must not be global or user"))]
    pub org: Option<String>,
}

/// What happens to targets of a namespace that lost the store or its organisation.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnRevoke {
    /// They stay.
    #[default]
    Keep,
    /// They go.
    Delete,
}

/// How long a value may stay in memory.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct Cache {
    /// Default 1h for Key Vault, 5m for the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) <= duration('24h')").message("cache.ttl must be at most 24h"))]
    pub ttl: Option<GoDuration>,
}

/// What a store may be asked for.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Default 200; Infisical 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.01, max = 100_000.0))]
    // The API server takes a fractional minimum of a whole number for 0.
    #[x_kube(validation = Rule::new("self >= 0.01").message("limits.requestsPerSecond must be at least 0.01"))]
    pub requests_per_second: Option<f64>,
    /// Requests at once after a rest. Default 400; Infisical 20.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000))]
    pub burst: Option<i64>,
    /// Requests in flight. Default 16.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000))]
    pub max_concurrent: Option<i64>,
    /// How long one request may take. Default 10s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('100ms') && duration(self) <= duration('5m')")
        .message("limits.timeout must be between 100ms and 5m"))]
    pub timeout: Option<GoDuration>,
    /// References with a shorter refreshInterval are refreshed this often. Default 30s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("duration(self) >= duration('1s') && duration(self) <= duration('24h')")
        .message("limits.minRefreshInterval must be between 1s and 24h"))]
    pub min_refresh_interval: Option<GoDuration>,
}

impl Tenancy {
    /// The namespace label that names the organisation, unless one organisation is fixed.
    pub fn label(&self) -> &str {
        self.org_from.as_ref().and_then(|o| o.namespace_label.as_deref()).unwrap_or(ORG_LABEL)
    }

    /// The one fixed organisation.
    pub fn fixed_org(&self) -> Option<&str> {
        self.org_from.as_ref().and_then(|o| o.org.as_deref())
    }

    /// Whether the labels satisfy the selector; an absent one selects all.
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let Some(selector) = &self.namespace_selector else { return true };
        let equal = selector.match_labels.iter().flatten().all(|(k, v)| labels.get(k) == Some(v));
        equal
            && selector.match_expressions.iter().flatten().all(|e| {
                let value = labels.get(&e.key);
                let listed = value.is_some_and(|v| e.values.iter().flatten().any(|x| x == v));
                match e.operator.as_str() {
                    "In" => listed,
                    "NotIn" => !listed,
                    "Exists" => value.is_some(),
                    "DoesNotExist" => value.is_none(),
                    _ => false,
                }
            })
    }
}

impl Limits {
    /// How long one request may take.
    pub fn timeout(&self) -> Duration {
        self.timeout.as_ref().and_then(GoDuration::get).unwrap_or(Duration::from_secs(10))
    }

    /// The shortest interval at which a key is polled.
    pub fn min_refresh_interval(&self) -> Duration {
        self.min_refresh_interval.as_ref().and_then(GoDuration::get).unwrap_or(Duration::from_secs(30))
    }

    /// Requests in flight.
    pub fn max_concurrent(&self) -> usize {
        self.max_concurrent.and_then(|n| usize::try_from(n).ok()).unwrap_or(16).max(1)
    }
}
