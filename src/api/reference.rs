//! `SecretReference`: bare names that are resolved for the namespace's organisation into one Secret.

use std::time::Duration;

use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{CreationPolicy, DataEntry, DataSource, DeletionPolicy, GoDuration, SecretReferenceStatus, Target, rules};

/// Resolves bare secret names for the namespace's organisation, falling back to the platform-wide scope,
/// and syncs plain and secret entries alike into one native Secret.
#[derive(CustomResource, KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
#[kube(
    group = "secretref.dev",
    version = "v1alpha1",
    kind = "SecretReference",
    plural = "secretreferences",
    singular = "secretreference",
    shortname = "secretrefs",
    shortname = "secretref",
    shortname = "sref",
    category = "secretref",
    namespaced,
    status = "SecretReferenceStatus",
    derive = "PartialEq",
    doc = "Resolves bare secret names for the namespace's organisation and syncs them into one native Secret.",
    selectable = ".spec.storeRef.name",
    selectable = ".spec.storeRef.kind",
    selectable = ".spec.target.name",
    selectable = ".status.org",
    printcolumn(name = "Store", type_ = "string", json_path = ".spec.storeRef.name"),
    printcolumn(name = "Org", type_ = "string", json_path = ".status.org"),
    printcolumn(name = "Ready", type_ = "string", json_path = r#".status.conditions[?(@.type=="Ready")].status"#),
    printcolumn(name = "Reason", type_ = "string", json_path = r#".status.conditions[?(@.type=="Synced")].reason"#),
    printcolumn(
        name = "Store-Health",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="StoreHealthy")].reason"#
    ),
    printcolumn(name = "Keys", type_ = "integer", json_path = ".status.target.keys"),
    printcolumn(name = "Changed", type_ = "date", json_path = ".status.lastChangeTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Target", type_ = "string", json_path = ".status.target.name", priority = 1),
    printcolumn(
        name = "Message",
        type_ = "string",
        json_path = r#".status.conditions[?(@.type=="Synced")].message"#,
        priority = 1
    ),
    validation = Rule::new(
        "(has(self.spec.target) && has(self.spec.target.name) ? self.spec.target.name : self.metadata.name) == \
         (has(oldSelf.spec.target) && has(oldSelf.spec.target.name) ? oldSelf.spec.target.name : oldSelf.metadata.name)"
    ).message("spec.target.name is immutable: create another reference instead").field_path(".spec.target"),
    validation = Rule::new(
        "(has(self.spec.target) && has(self.spec.target.type) ? self.spec.target.type : 'Opaque') == \
         (has(oldSelf.spec.target) && has(oldSelf.spec.target.type) ? oldSelf.spec.target.type : 'Opaque')"
    ).message("spec.target.type is immutable: create another reference instead").field_path(".spec.target"),
    validation = Rule::new(
        "(has(self.spec.target) && has(self.spec.target.creationPolicy) ? self.spec.target.creationPolicy : 'Owner') == \
         (has(oldSelf.spec.target) && has(oldSelf.spec.target.creationPolicy) ? oldSelf.spec.target.creationPolicy : 'Owner')"
    ).message("spec.target.creationPolicy is immutable: create another reference instead").field_path(".spec.target")
)]
#[x_kube(
    validation = Rule::new("(has(self.data) && size(self.data) > 0) || (has(self.dataFrom) && size(self.dataFrom) > 0)")
        .message("spec.data or spec.dataFrom must have at least one entry"),
    validation = Rule::new(
        "!has(self.staleAfter) || duration(self.staleAfter) >= \
         duration(has(self.refreshInterval) ? self.refreshInterval : '5m') + duration(has(self.refreshInterval) ? self.refreshInterval : '5m')"
    ).message("spec.staleAfter must be at least 2 x spec.refreshInterval").field_path(".staleAfter"),
    validation = Rule::new(
        "!has(self.refreshInterval) || duration(self.refreshInterval) == duration('0s') || \
         (duration(self.refreshInterval) >= duration('1s') && duration(self.refreshInterval) <= duration('8760h'))"
    ).message("spec.refreshInterval must be 0s, or between 1s and 8760h").field_path(".refreshInterval"),
    validation = rules::names_without_org(),
    validation = rules::templates_add_keys(),
    validation = rules::required_keys(),
    validation = rules::required_basic_auth()
)]
#[serde(rename_all = "camelCase")]
pub struct SecretReferenceSpec {
    /// The store to read from.
    pub store_ref: StoreRef,
    /// The organisation; may only repeat what the platform bound to this namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]+(-[a-z0-9]+)*$"))]
    #[x_kube(validation = Rule::new("self != 'global' && self != 'user'").message("spec.org must not be global or user"))]
    pub org: Option<String>,
    /// How often a change in the store is looked for. Default 5m; 0s: only on spec changes, sync-now and notifications.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refresh_interval: Option<GoDuration>,
    /// Ready turns False when syncing has failed for this long. Default 1h, at least 2 x refreshInterval; not applied with 0s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stale_after: Option<GoDuration>,
    /// Stop syncing; the target stays as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub suspend: Option<bool>,
    /// The Secret to produce.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<Target>,
    /// The keys of the target: plain values and secrets alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["key".into()]))]
    #[schemars(length(max = 256))]
    pub data: Option<Vec<DataEntry>>,
    /// Whole structured secrets, and names found by prefix. Keys of data win.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[x_kube(validation = Rule::new("self.all(x, self.exists_one(y, x == y))").message("dataFrom must not have one source twice"))]
    #[schemars(length(max = 32))]
    pub data_from: Option<Vec<DataSource>>,
    /// What happens to workloads that consume the target when its values change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rollout: Option<Rollout>,
}

/// Names a store.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[serde(rename_all = "camelCase")]
pub struct StoreRef {
    /// Its name.
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$"))]
    pub name: String,
    /// Its kind. Default ClusterSecretStore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<StoreKind>,
}

/// The kinds of stores.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StoreKind {
    /// The platform's, for many namespaces.
    #[default]
    ClusterSecretStore,
    /// A tenant's, for its own namespace.
    SecretStore,
}

/// What happens to workloads that consume the target.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Rollout {
    /// Whether they are restarted. Default Never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restart: Option<Restart>,
}

/// Whether workloads are restarted when a target changes.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Restart {
    /// Never.
    #[default]
    Never,
    /// Those with the annotation secretref.dev/restart: "true".
    Annotated,
}

impl StoreRef {
    /// The kind, or its default.
    pub fn kind(&self) -> StoreKind {
        self.kind.unwrap_or_default()
    }
}

impl SecretReferenceSpec {
    /// Default 5 minutes; zero means that nothing is polled.
    pub fn refresh_interval(&self) -> Duration {
        self.refresh_interval.as_ref().and_then(GoDuration::get).unwrap_or(Duration::from_secs(300))
    }

    /// How long syncing may fail before Ready turns False; `None` with `refreshInterval: 0s`.
    pub fn stale_after(&self) -> Option<Duration> {
        let refresh = self.refresh_interval();
        let stale = self.stale_after.as_ref().and_then(GoDuration::get).unwrap_or(Duration::from_secs(3600));
        (!refresh.is_zero()).then(|| stale.max(refresh * 2))
    }

    /// Whether syncing is paused.
    pub fn is_suspended(&self) -> bool {
        self.suspend.unwrap_or_default()
    }

    /// The target's name for a reference of this name.
    pub fn target_name<'a>(&'a self, reference: &'a str) -> &'a str {
        self.target.as_ref().and_then(|t| t.name.as_deref()).unwrap_or(reference)
    }

    /// The target's type.
    pub fn target_type(&self) -> &str {
        self.target.as_ref().and_then(|t| t.r#type.as_deref()).unwrap_or("Opaque")
    }

    /// Whose the target is.
    pub fn creation_policy(&self) -> CreationPolicy {
        self.target.as_ref().and_then(|t| t.creation_policy).unwrap_or_default()
    }

    /// What happens to the target when the reference is deleted.
    pub fn deletion_policy(&self) -> DeletionPolicy {
        self.target.as_ref().and_then(|t| t.deletion_policy).unwrap_or_default()
    }

    /// Whether workloads are restarted.
    pub fn restart(&self) -> Restart {
        self.rollout.as_ref().and_then(|r| r.restart).unwrap_or_default()
    }

    /// The keys that are listed one by one.
    pub fn data(&self) -> &[DataEntry] {
        self.data.as_deref().unwrap_or_default()
    }

    /// The sources that yield several keys.
    pub fn data_from(&self) -> &[DataSource] {
        self.data_from.as_deref().unwrap_or_default()
    }

    /// The templates, by key.
    pub fn templates(&self) -> impl Iterator<Item = (&str, &str)> {
        self.target
            .iter()
            .filter_map(|t| t.template.as_ref())
            .flat_map(|t| t.data.iter().map(|(k, v)| (k.as_str(), v.as_str())))
    }
}
