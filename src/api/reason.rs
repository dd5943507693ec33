//! Failures have names: the reasons of `Synced`, and what each one means for the next try and for the target.

use std::fmt;

/// The reason of a `Synced` condition, and of a store's `Ready`. Stable: alerts and scripts match on them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the documentation; docs/reasons.md explains each")]
pub enum Reason {
    Synced,
    SecretNotFound,
    SecretEmpty,
    SecretDisabled,
    PropertyNotFound,
    TemplateError,
    AuthenticationFailed,
    PermissionDenied,
    RateLimited,
    StoreUnavailable,
    StoreMisconfigured,
    StoreNotReady,
    StoreNotFound,
    OrgNotBound,
    OrgMismatch,
    OrgChanged,
    InvalidReference,
    TargetConflict,
    TargetImmutable,
    TargetRejected,
    Suspended,
    /// A store that answers (not a reason of `Synced`).
    Healthy,
    /// A store that answers, but whose limits do not suffice for the keys in use.
    Overloaded,
    /// A store that was not asked yet.
    Probing,
}

impl Reason {
    /// The name as it stands in conditions, events and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Synced => "Synced",
            Self::SecretNotFound => "SecretNotFound",
            Self::SecretEmpty => "SecretEmpty",
            Self::SecretDisabled => "SecretDisabled",
            Self::PropertyNotFound => "PropertyNotFound",
            Self::TemplateError => "TemplateError",
            Self::AuthenticationFailed => "AuthenticationFailed",
            Self::PermissionDenied => "PermissionDenied",
            Self::RateLimited => "RateLimited",
            Self::StoreUnavailable => "StoreUnavailable",
            Self::StoreMisconfigured => "StoreMisconfigured",
            Self::StoreNotReady => "StoreNotReady",
            Self::StoreNotFound => "StoreNotFound",
            Self::OrgNotBound => "OrgNotBound",
            Self::OrgMismatch => "OrgMismatch",
            Self::OrgChanged => "OrgChanged",
            Self::InvalidReference => "InvalidReference",
            Self::TargetConflict => "TargetConflict",
            Self::TargetImmutable => "TargetImmutable",
            Self::TargetRejected => "TargetRejected",
            Self::Suspended => "Suspended",
            Self::Healthy => "Healthy",
            Self::Overloaded => "Overloaded",
            Self::Probing => "Probing",
        }
    }

    /// The reason with this name.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|r| r.as_str() == name)
    }

    const ALL: [Self; 24] = [
        Self::Synced,
        Self::SecretNotFound,
        Self::SecretEmpty,
        Self::SecretDisabled,
        Self::PropertyNotFound,
        Self::TemplateError,
        Self::AuthenticationFailed,
        Self::PermissionDenied,
        Self::RateLimited,
        Self::StoreUnavailable,
        Self::StoreMisconfigured,
        Self::StoreNotReady,
        Self::StoreNotFound,
        Self::OrgNotBound,
        Self::OrgMismatch,
        Self::OrgChanged,
        Self::InvalidReference,
        Self::TargetConflict,
        Self::TargetImmutable,
        Self::TargetRejected,
        Self::Suspended,
        Self::Healthy,
        Self::Overloaded,
        Self::Probing,
    ];

    /// kstatus: no waiting will help, somebody has to change something.
    pub const fn is_stalled(self) -> bool {
        matches!(self, Self::InvalidReference | Self::OrgMismatch | Self::TargetConflict)
    }

    /// The trouble is the store's, and is told there: no Event on its references.
    pub const fn is_the_stores(self) -> bool {
        self.is_store_wide() || matches!(self, Self::StoreNotReady | Self::StoreMisconfigured)
    }

    /// The trouble is the store's as a whole, not one key's: its references follow the store's probes.
    pub const fn is_store_wide(self) -> bool {
        matches!(self, Self::AuthenticationFailed | Self::RateLimited | Self::StoreUnavailable)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
