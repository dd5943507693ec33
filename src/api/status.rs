//! Status: what the operator tells users. Never a value, nor a hash of one; never read back for decisions.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The condition types of both kinds.
pub mod condition_types {
    /// The target is in place for this generation and not stale; on a store: it can be used.
    pub const READY: &str = "Ready";
    /// The last attempt to sync.
    pub const SYNCED: &str = "Synced";
    /// Mirrors the store's `Ready`.
    pub const STORE_HEALTHY: &str = "StoreHealthy";
    /// kstatus: somebody has to change something before this can go on.
    pub const STALLED: &str = "Stalled";
}

/// What the operator observed of a `SecretReference`.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct SecretReferenceStatus {
    /// The generation that this status speaks of; -1 before the first sync.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// The organisation that the platform bound to the namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 63))]
    pub org: Option<String>,
    /// Ready, Synced, StoreHealthy and Stalled.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 8))]
    pub conditions: Vec<Condition>,
    /// The Secret that was written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetStatus>,
    /// Where each value came from; the first 64 keys.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    pub entries: Vec<Entry>,
    /// How many secret entries there are, when more than are listed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries_total: Option<i64>,
    /// When the target last changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_change_time: Option<Time>,
    /// The value of the annotation secretref.dev/sync-now that was acted upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub last_handled_sync_now: Option<String>,
}

/// The Secret that a reference produced.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct TargetStatus {
    /// Its name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Its uid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub uid: Option<String>,
    /// How many keys this reference holds in it.
    pub keys: i64,
    /// How often this reference has given it other content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<i64>,
    /// The revision that workloads were last restarted for, where the reference asks for that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restarted: Option<i64>,
}

/// Where one key's value came from.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// The key of the target.
    #[schemars(length(max = 253))]
    pub key: String,
    /// The bare secret name.
    #[schemars(length(max = 253))]
    pub name: String,
    /// Whose value it is.
    pub scope: EntryScope,
    /// The store's version of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 128))]
    pub version: Option<String>,
}

/// Whose value an entry holds.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EntryScope {
    /// The organisation's own.
    Org,
    /// The platform-wide one.
    Global,
}

/// What the operator observed of a store.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct StoreStatus {
    /// The generation that this status speaks of; -1 before the first probe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 8))]
    pub conditions: Vec<Condition>,
    /// The last successful access; written on transitions and at most every 5 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_successful_access: Option<Time>,
    /// How many references use this store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<i64>,
    /// The circuit breaker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub circuit: Option<Circuit>,
    /// What the operator's identity may do, found without reading a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
    /// What to do about it, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub guidance: Option<String>,
}

/// State of a store's circuit breaker.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Circuit {
    /// Requests go through.
    Closed,
    /// Requests are refused without asking the store.
    Open,
    /// One request is let through to see.
    HalfOpen,
}

/// What an identity may do at a store.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Read single secrets.
    pub get: bool,
    /// List names.
    pub list: bool,
    /// Create and change secrets.
    pub write: bool,
}
