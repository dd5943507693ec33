//! What users write: the custom resources of group `secretref.dev`, version `v1alpha1`.
//!
//! Everything that can be checked without asking the cluster is checked by the schema itself (CEL),
//! so a bad manifest is refused by the API server with a message that names the field.
//! Defaults live in code (the `…_or_default` accessors), never in the schema: GitOps tools see no drift.

mod crds;
mod duration;
mod entry;
mod provider;
mod reason;
mod reference;
mod rules;
mod status;
mod store;
mod target;

pub use crds::{all as crds, to_yaml};
pub use duration::GoDuration;
pub use entry::{DataEntry, DataSource, Decode, Extract, Find, KeyCase, Scope, SecretRef};
pub use provider::{
    AppRole, AzureAuth, AzureClientSecret, AzureKeyVault, CaRef, CaRefKind, Empty, Infisical, InfisicalAuth,
    InfisicalKubernetesAuth, JwtAuth, KubernetesAuth, KubernetesProvider, ManagedIdentity, Provider, SecretKeyRef,
    SecretKeySource, ServiceAccountRef, UniversalAuth, Vault, VaultAuth, WorkloadIdentity,
};
pub use reason::Reason;
pub use reference::{Restart, Rollout, SecretReference, SecretReferenceSpec, StoreKind, StoreRef};
pub use status::{
    Capabilities, Circuit, Entry, EntryScope, SecretReferenceStatus, StoreStatus, TargetStatus, condition_types,
};
pub use store::{
    Cache, ClusterSecretStore, ClusterSecretStoreSpec, Layout, Limits, NameStyle, OnRevoke, OrgFrom, SecretStore,
    SecretStoreSpec, Tenancy,
};
pub use target::{CreationPolicy, DeletionPolicy, Target, TargetMetadata, Template};

/// The API group of every kind.
pub const GROUP: &str = "secretref.dev";

/// The namespace label that binds a namespace to an organisation, unless a store names another.
pub const ORG_LABEL: &str = "secretref.dev/org";

/// Set to any new value on a reference to sync it at once.
pub const SYNC_NOW_ANNOTATION: &str = "secretref.dev/sync-now";

/// Set to `"true"` on a workload that may be restarted when a target that it consumes changes.
pub const RESTART_ANNOTATION: &str = "secretref.dev/restart";
