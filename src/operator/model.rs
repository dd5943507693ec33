//! The compact model of what is watched: 10,000 references have to fit in a small process.

mod packed;

use std::{collections::HashSet, fmt, sync::Arc};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::ResourceExt;
use packed::Packed;

use crate::{
    api::{SYNC_NOW_ANNOTATION, SecretReference, SecretReferenceSpec, SecretReferenceStatus, StoreKind},
    refresh::Subscriber,
};

/// Namespace and name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name in it.
    pub name: Arc<str>,
}

impl ObjectKey {
    /// Of an object's metadata.
    pub fn of(meta: &ObjectMeta) -> Self {
        Self {
            namespace: meta.namespace.as_deref().unwrap_or_default().into(),
            name: meta.name.as_deref().unwrap_or_default().into(),
        }
    }
}

impl Subscriber for ObjectKey {
    fn party(&self) -> Arc<str> {
        self.namespace.clone()
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Names of namespaces, each kept once for all objects that one watch sees in it.
#[derive(Default)]
pub struct Namespaces(HashSet<Arc<str>>);

impl Namespaces {
    /// More than there are; what is gone does not stay for ever.
    const MOST: usize = 10_000;

    /// An object's key.
    pub fn key(&mut self, meta: &ObjectMeta) -> ObjectKey {
        let mut key = ObjectKey::of(meta);
        if let Some(known) = self.0.get(&key.namespace) {
            key.namespace = known.clone();
        } else {
            if self.0.len() >= Self::MOST {
                self.0.clear();
            }
            self.0.insert(key.namespace.clone());
        }
        key
    }
}

/// A store object, seen from anywhere: a tenant's has a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreName {
    /// `None` for the platform's.
    pub namespace: Option<Arc<str>>,
    /// The name.
    pub name: Arc<str>,
}

impl StoreName {
    /// The store that a reference in this namespace names.
    pub fn referred(namespace: &Arc<str>, spec: &SecretReferenceSpec) -> Self {
        Self {
            namespace: (spec.store_ref.kind() == StoreKind::SecretStore).then(|| namespace.clone()),
            name: spec.store_ref.name.as_str().into(),
        }
    }

    /// `namespace/name`, or the name alone: as metrics name it.
    pub fn label(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{namespace}/{}", self.name),
            None => self.name.to_string(),
        }
    }

    /// The kind of object.
    pub const fn kind(&self) -> &'static str {
        if self.namespace.is_some() { "SecretStore" } else { "ClusterSecretStore" }
    }
}

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind(), self.name)
    }
}

/// A reference as the operator keeps it: spec and status packed, read when they are needed.
#[derive(Clone, Debug)]
pub struct Reference {
    /// Where it is.
    pub key: ObjectKey,
    /// Its uid.
    pub uid: Arc<str>,
    /// The generation of `spec`.
    pub generation: i64,
    /// Numeric resourceVersion: which of two states is newer.
    pub version: u64,
    /// It is being deleted.
    pub deleting: bool,
    /// The annotation secretref.dev/sync-now.
    pub sync_now: Option<Box<str>>,
    /// The store it names.
    pub store: StoreName,
    /// The name of its target.
    pub target: Arc<str>,
    spec: Packed,
    status: Packed,
}

impl Reference {
    /// The compact model of a watched object, whose key this is.
    ///
    /// # Errors
    /// When the object cannot be written as JSON, which it was read from.
    pub fn new(key: ObjectKey, object: &SecretReference) -> Result<Self, serde_json::Error> {
        let target = object.spec.target_name(&key.name);
        let target = if *target == *key.name { key.name.clone() } else { target.into() };
        Ok(Self {
            uid: object.metadata.uid.as_deref().unwrap_or_default().into(),
            generation: object.metadata.generation.unwrap_or_default(),
            version: version(&object.metadata),
            deleting: object.metadata.deletion_timestamp.is_some(),
            sync_now: object
                .annotations()
                .get(SYNC_NOW_ANNOTATION)
                .map(|v| v.chars().take(256).collect::<String>().into()),
            store: StoreName::referred(&key.namespace, &object.spec),
            target,
            spec: Packed::new(&serde_json::to_string(&object.spec)?),
            status: Packed::new(&object.status.as_ref().map(serde_json::to_string).transpose()?.unwrap_or_default()),
            key,
        })
    }

    /// The spec.
    ///
    /// # Errors
    /// Never in practice: it was written by this process.
    pub fn spec(&self) -> Result<SecretReferenceSpec, serde_json::Error> {
        serde_json::from_slice(&self.spec.text())
    }

    /// The status, empty if there is none.
    pub fn status(&self) -> SecretReferenceStatus {
        serde_json::from_slice(&self.status.text()).unwrap_or_default()
    }

    /// Remembers a status that this process wrote.
    pub fn set_status(&mut self, status: &SecretReferenceStatus, version: u64) {
        if let Ok(text) = serde_json::to_string(status) {
            self.status = Packed::new(&text);
            self.version = self.version.max(version);
        }
    }

    /// Names that an older model of it holds are kept once.
    pub fn share_names(&mut self, known: &Self) {
        let shared = |name: &mut Arc<str>, known: &Arc<str>| {
            if name == known {
                *name = known.clone();
            }
        };
        shared(&mut self.key.namespace, &known.key.namespace);
        shared(&mut self.key.name, &known.key.name);
        shared(&mut self.uid, &known.uid);
        shared(&mut self.target, &known.target);
        if self.store == known.store {
            self.store = known.store.clone();
        }
    }

    /// Takes over an older model's status if that one is newer: a watch may lag behind our own writes.
    pub fn keep_newer_status(&mut self, known: &Self) {
        if known.uid == self.uid && known.version > self.version {
            self.status = known.status.clone();
            self.version = known.version;
        }
    }
}

/// The resourceVersion as a number; they are comparable.
pub fn version(meta: &ObjectMeta) -> u64 {
    meta.resource_version.as_deref().and_then(|v| v.parse().ok()).unwrap_or_default()
}
