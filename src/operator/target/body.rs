//! The target as it should be, and how that is sent.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, json};

use super::{MADE_FOR, MANAGED_LABEL, held::hash_fields};
use crate::{
    api::{CreationPolicy, DeletionPolicy, SecretReferenceSpec},
    operator::{
        model::Reference,
        stamp::{Stamp, annotation},
    },
    secret::SecretValue,
};

/// The target as it should be, without its preconditions.
#[derive(Clone, Debug)]
pub struct Desired {
    /// The reference's keys.
    pub data: BTreeMap<String, SecretValue>,
    /// Type, for a Secret that is ours.
    pub r#type: Option<String>,
    /// Immutable once written.
    pub immutable: bool,
    /// Labels, ours among them.
    pub labels: BTreeMap<String, String>,
    /// Annotations, without the stamp.
    pub annotations: BTreeMap<String, String>,
    /// The owner reference, if the Secret goes with the reference.
    pub owner: Option<Value>,
}

impl Desired {
    /// What the spec and the resolved values ask for.
    pub fn new(reference: &Reference, spec: &SecretReferenceSpec, data: BTreeMap<String, SecretValue>) -> Self {
        let merge = spec.creation_policy() == CreationPolicy::Merge;
        let metadata = spec.target.as_ref().and_then(|t| t.metadata.clone()).unwrap_or_default();
        let mut labels = metadata.labels.unwrap_or_default();
        labels.insert(MANAGED_LABEL.to_owned(), "true".to_owned());
        let owned = !merge && spec.deletion_policy() == DeletionPolicy::Delete;
        Self {
            data,
            r#type: (!merge).then(|| spec.target_type().to_owned()),
            immutable: !merge && spec.target.as_ref().and_then(|t| t.immutable).unwrap_or_default(),
            labels,
            annotations: metadata.annotations.unwrap_or_default(),
            owner: owned.then(|| {
                json!({
                    "apiVersion": "secretref.dev/v1alpha1",
                    "kind": "SecretReference",
                    "name": *reference.key.name,
                    "uid": *reference.uid,
                    "controller": true,
                    "blockOwnerDeletion": false,
                })
            }),
        }
    }

    /// Hash of the fields that an apply of this, with this stamp's annotation, will hold.
    pub fn fields(&self, stamp_annotation: &str) -> String {
        let mut fields: BTreeSet<String> = self.data.keys().map(|k| format!("d:{k}")).collect();
        fields.extend(self.labels.keys().map(|k| format!("l:{k}")));
        fields.extend(self.annotations.keys().map(|k| format!("a:{k}")));
        fields.insert(format!("a:{stamp_annotation}"));
        if let Some(uid) = self.owner.as_ref().and_then(|o| o["uid"].as_str()) {
            fields.insert(format!("o:{uid}"));
        }
        if self.r#type.is_some() {
            fields.insert("t".to_owned());
        }
        if self.immutable {
            fields.insert("i".to_owned());
        }
        hash_fields(&fields)
    }
}

/// The body of a server-side apply; values are encoded while it is written, not before.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Body<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'a str>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    immutable: bool,
    data: Encoded<'a>,
}

#[derive(Debug)]
struct Encoded<'a>(&'a BTreeMap<String, SecretValue>);

impl Serialize for Encoded<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in self.0 {
            map.serialize_entry(key, &*zeroize::Zeroizing::new(STANDARD.encode(value.expose())))?;
        }
        map.end()
    }
}

impl<'a> Body<'a> {
    /// One with these keys alone.
    pub fn bare(
        reference: &Reference,
        kind: &'a str,
        data: &'a BTreeMap<String, SecretValue>,
        precondition: &Precondition,
    ) -> Self {
        let mut metadata = json!({ "name": *reference.target, "namespace": *reference.key.namespace });
        precondition.put_into(&mut metadata);
        Self { api_version: "v1", kind: "Secret", metadata, r#type: Some(kind), immutable: false, data: Encoded(data) }
    }

    /// With the mark of the reference that it is made for, which stays the same whatever is in it. A POST knows no version.
    #[must_use]
    pub fn made_for(mut self, uid: &str) -> Self {
        self.metadata["annotations"][MADE_FOR] = json!(uid);
        if let Some(metadata) = self.metadata.as_object_mut() {
            metadata.remove("resourceVersion");
        }
        self
    }
}

/// What an apply must find: nothing, or this very Secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Whatever there is: for dry runs.
    Unknown,
    /// No Secret of this name (an apply would merge silently into a foreign one).
    Absent,
    /// The Secret with this uid.
    Uid(String),
}

impl Desired {
    /// The body of an apply.
    pub fn body<'a>(&'a self, reference: &Reference, stamp: &Stamp, precondition: &Precondition) -> Body<'a> {
        let mut annotations = self.annotations.clone();
        annotations.insert(annotation(&reference.key.name), stamp.to_string());
        let mut metadata = json!({
            "name": *reference.target,
            "namespace": *reference.key.namespace,
            "labels": self.labels,
            "annotations": annotations,
        });
        if let Some(owner) = &self.owner {
            metadata["ownerReferences"] = json!([owner]);
        }
        precondition.put_into(&mut metadata);
        Body {
            api_version: "v1",
            kind: "Secret",
            metadata,
            r#type: self.r#type.as_deref(),
            immutable: self.immutable,
            data: Encoded(&self.data),
        }
    }
}

impl Precondition {
    fn put_into(&self, metadata: &mut Value) {
        match self {
            Self::Unknown => {}
            Self::Absent => metadata["resourceVersion"] = json!("1"),
            Self::Uid(uid) => metadata["uid"] = json!(uid),
        }
    }
}
