//! The Secret that a reference produces.

use std::collections::BTreeMap;

use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::rules;

/// The Secret that a reference produces.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    /// Its name. Default: the reference's name; immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 253),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$")
    )]
    pub name: Option<String>,
    /// Its type. Default Opaque; immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), regex(pattern = r"^[A-Za-z0-9]([-A-Za-z0-9./_]*[A-Za-z0-9])?$"))]
    #[x_kube(validation = Rule::new("!(self in ['kubernetes.io/service-account-token', 'bootstrap.kubernetes.io/token'])")
        .message("spec.target.type must not be one that grants rights"))]
    pub r#type: Option<String>,
    /// Whose the Secret is. Default Owner; immutable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_policy: Option<CreationPolicy>,
    /// What happens to it when the reference is deleted. Default Delete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_policy: Option<DeletionPolicy>,
    /// Make the Secret immutable once written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub immutable: Option<bool>,
    /// Labels and annotations for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<TargetMetadata>,
    /// Further keys, rendered from the others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template: Option<Template>,
}

/// Who owns the target.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CreationPolicy {
    /// This reference creates and owns it.
    #[default]
    Owner,
    /// This reference holds its own keys in a Secret that someone else owns.
    Merge,
    /// This reference takes an existing Secret over, whole.
    Adopt,
}

/// What happens to the target when the reference is deleted.
#[derive(JsonSchema, Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DeletionPolicy {
    /// It goes, too (merged keys are removed).
    #[default]
    Delete,
    /// It stays.
    Retain,
}

/// Labels and annotations of the target: not ours, not kubernetes.io or k8s.io, not those the platform refuses.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
pub struct TargetMetadata {
    /// Labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend(
        "maxProperties" = 64,
        "additionalProperties" = {
            "type": "string",
            "maxLength": 63,
            "pattern": "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$",
        }
    ))]
    #[x_kube(validation = rules::qualified_keys("labels"), validation = rules::free_prefixes("labels"))]
    pub labels: Option<BTreeMap<String, String>>,
    /// Annotations.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("maxProperties" = 64, "additionalProperties" = { "type": "string", "maxLength": 4096 }))]
    #[x_kube(validation = rules::qualified_keys("annotations"), validation = rules::free_prefixes("annotations"))]
    pub annotations: Option<BTreeMap<String, String>>,
}

/// Keys rendered from the other keys.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct Template {
    /// Key of the target to template text: Jinja syntax, no I/O, bounded.
    #[schemars(extend("maxProperties" = 32, "additionalProperties" = { "type": "string", "maxLength": 65536 }))]
    #[x_kube(validation = rules::secret_keys("template.data"))]
    pub data: BTreeMap<String, String>,
}
