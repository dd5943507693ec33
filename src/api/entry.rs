//! What a reference asks for: plain values, secrets by their bare names, and sources of several keys.

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// One key of the target: a plain value or a secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.value) != has(self.secretRef)").message("exactly one of value and secretRef is needed"))]
pub struct DataEntry {
    /// The key of the target.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[-._a-zA-Z0-9]+$"))]
    #[x_kube(validation = Rule::new("self != '.' && !self.startsWith('..')").message("key must not be '.' or start with '..'"))]
    pub key: String,
    /// A plain configuration value; may be empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 262144))]
    pub value: Option<String>,
    /// A secret, by its bare name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
}

/// A secret by its bare name: the organisation's own first, then the platform-wide one.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.version) || (has(self.scope) && self.scope != 'OrgThenGlobal')")
    .message("a pinned version needs scope: Org or scope: Global").field_path(".scope"))]
pub struct SecretRef {
    /// The bare name, never with its scope in front.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[A-Za-z0-9_.]+(-[A-Za-z0-9_.]+)*(/[A-Za-z0-9_.]+(-[A-Za-z0-9_.]+)*)*$")
    )]
    #[x_kube(validation = rules::bare_name())]
    pub name: String,
    /// One property of a structured secret: a literal key, or a path into a JSON value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[^\x00-\x1f\x7f]+$"))]
    pub property: Option<String>,
    /// A pinned version of the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 128), regex(pattern = r"^[A-Za-z0-9._-]+$"))]
    pub version: Option<String>,
    /// Which scopes are tried. Default OrgThenGlobal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    /// Leave the key out when the secret certainly does not exist.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub optional: Option<bool>,
    /// Let an empty string pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allow_empty: Option<bool>,
    /// How the store's text becomes bytes. Default None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decode: Option<Decode>,
}

/// Which scopes a name is looked up in.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// The organisation's own, and the platform-wide one if that certainly does not exist.
    #[default]
    OrgThenGlobal,
    /// The organisation's own only.
    Org,
    /// The platform-wide one only.
    Global,
}

/// How the store's text becomes bytes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Decode {
    /// As it is.
    #[default]
    None,
    /// Base64, standard or URL-safe.
    Base64,
}

/// Several keys from one source.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[x_kube(validation = Rule::new("has(self.extract) != has(self.find)").message("exactly one of extract and find is needed"))]
pub struct DataSource {
    /// Every property of a structured secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extract: Option<Extract>,
    /// Every name with a prefix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub find: Option<Find>,
}

/// Every property of a structured secret.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Extract {
    /// The bare name.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[A-Za-z0-9_.]+(-[A-Za-z0-9_.]+)*(/[A-Za-z0-9_.]+(-[A-Za-z0-9_.]+)*)*$")
    )]
    #[x_kube(validation = rules::bare_name())]
    pub name: String,
}

/// Every name with a prefix, the organisation's over the platform-wide ones, at most 256.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Find {
    /// What the bare names start with.
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[A-Za-z0-9_.]+(-[A-Za-z0-9_.]+)*(/[A-Za-z0-9_.]+(-[A-Za-z0-9_.]+)*)*[-/]?$")
    )]
    #[x_kube(validation = rules::bare_prefix())]
    pub prefix: String,
    /// How names become keys. Default None.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_case: Option<KeyCase>,
}

/// How names become keys.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeyCase {
    /// The name as it is.
    #[default]
    None,
    /// `db-password` becomes `DB_PASSWORD`.
    ScreamingSnake,
}
