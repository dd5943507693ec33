//! The target as it is (metadata only) and as it should be.

use std::collections::{BTreeMap, BTreeSet};

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, json};

use super::{
    model::{Reference, version},
    stamp::{Fingerprints, STAMP_PREFIX, Stamp, annotation, merge_manager, short_hash},
};
use crate::{
    api::{CreationPolicy, DeletionPolicy, EntryScope, SecretReferenceSpec},
    naming::{Org, Owner, Scheme},
    refresh::State,
    resolve::Read,
    secret::SecretValue,
};

/// Every target carries it: the one watch on Secrets selects by it.
pub const MANAGED_LABEL: &str = "secretref.dev/managed";

/// Owner of targets that are ours, whole.
pub const MANAGER: &str = "secretref";

/// Annotation of targets that cannot be read: the uid of the reference that they were made for.
pub const MADE_FOR: &str = "secretref.dev/made-for";

/// What the operator keeps of a Secret: no data, no foreign labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetMeta {
    /// Its uid.
    pub uid: String,
    /// Numeric resourceVersion.
    pub version: u64,
    /// The references that own it: (name, uid).
    pub owners: Vec<(String, String)>,
    /// Annotation to stamp.
    pub stamps: BTreeMap<String, Box<Stamp>>,
    /// Field manager to the hash of the fields it holds; ours only.
    pub fields: BTreeMap<String, String>,
    /// The stamps that merging references hold: such a reference owns its keys, not the Secret.
    pub merged: BTreeSet<String>,
    /// It has data keys that are held by others alone.
    pub foreign_keys: bool,
}

/// Whose a Secret is, seen from one reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ownership {
    /// This reference's, or that of a dead one of its name: re-owned at once.
    Ours,
    /// Someone else's.
    Foreign,
}

impl TargetMeta {
    /// From a Secret's metadata.
    pub fn new(meta: &ObjectMeta) -> Self {
        let owners = meta.owner_references.iter().flatten();
        let ours = |o: &&k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference| {
            o.kind == "SecretReference" && o.api_version.starts_with("secretref.dev/")
        };
        let stamps = meta.annotations.iter().flatten().filter(|(k, _)| k.starts_with(STAMP_PREFIX));
        let managed = meta.managed_fields.iter().flatten().filter(|m| m.operation.as_deref() == Some("Apply"));
        Self {
            uid: meta.uid.clone().unwrap_or_default(),
            version: version(meta),
            owners: owners.filter(ours).map(|o| (o.name.clone(), o.uid.clone())).collect(),
            stamps: stamps.filter_map(|(k, v)| Some((k.clone(), Box::new(v.parse().ok()?)))).collect(),
            fields: managed
                .filter_map(|m| Some((m.manager.clone()?, m.fields_v1.as_ref()?)))
                .filter(|(manager, _)| manager == MANAGER || is_merging(manager))
                .map(|(manager, fields)| (manager, hash_fields(&applied_fields(&fields.0))))
                .collect(),
            merged: entries(meta)
                .filter(|(who, _)| is_merging(who))
                .flat_map(|(_, fields)| names(fields, "/f:metadata/f:annotations"))
                .filter(|name| name.starts_with(STAMP_PREFIX))
                .collect(),
            foreign_keys: has_foreign_keys(meta),
        }
    }

    /// What a reference's status remembers of a target that cannot be read. Its stamp never equals a new one: the answer to
    /// the first write of a process tells whether anything changed. `bound`: the organisation, where the status has none.
    pub fn remembered(
        reference: &Reference,
        spec: &SecretReferenceSpec,
        scheme: &Scheme,
        bound: Option<&Org>,
        prints: &Fingerprints,
    ) -> Option<Self> {
        let status = reference.status();
        let uid = status.target.as_ref()?.uid.clone()?;
        let org = status.org.clone().or_else(|| bound.map(ToString::to_string));
        // What came from the platform-wide scope was not there in the organisation's.
        let owner = org.as_deref().and_then(|org| Org::new(org).ok()).map(Owner::Org);
        let absent: Vec<Read> = status
            .entries
            .iter()
            .filter(|entry| entry.scope == EntryScope::Global)
            .filter_map(|entry| scheme.key(owner.as_ref()?, &scheme.name(&entry.name).ok()?).ok())
            .map(|key| Read::Key(key, None))
            .collect();
        let stamp = Stamp {
            key_id: prints.id().to_owned(),
            target: String::new(),
            uid: reference.uid.to_string(),
            generation: status.observed_generation.unwrap_or_default(),
            fields: String::new(),
            sources: prints.sources(&reference.uid, absent.iter().map(|read| (read, &State::Absent))),
            values: String::new(),
            org,
            global: true,
            delete: spec.deletion_policy() == DeletionPolicy::Delete,
        };
        Some(Self {
            uid,
            version: 0,
            owners: vec![(reference.key.name.to_string(), reference.uid.to_string())],
            stamps: [(annotation(&reference.key.name), Box::new(stamp))].into(),
            fields: BTreeMap::new(),
            merged: BTreeSet::new(),
            foreign_keys: false,
        })
    }

    /// The stamp of a reference of this name.
    pub fn stamp(&self, reference: &str) -> Option<&Stamp> {
        self.stamps.get(&annotation(reference)).map(|s| &**s)
    }

    /// Whose it is.
    pub fn ownership(&self, reference: &Reference, policy: CreationPolicy) -> Ownership {
        let name = &reference.key.name;
        let owned = self.owners.iter().any(|(owner, _)| **owner == **name);
        let stamped = self.stamp(name).is_some() && !self.is_merged(name) && (self.owners.is_empty() || owned);
        if owned || stamped || policy == CreationPolicy::Merge { Ownership::Ours } else { Ownership::Foreign }
    }

    /// The stamp of a reference of this name says that it merged keys into someone's Secret, no more.
    fn is_merged(&self, reference: &str) -> bool {
        let merges = self.fields.contains_key(&merge_manager(reference));
        merges && !self.fields.contains_key(MANAGER) || self.merged.contains(&annotation(reference))
    }

    /// Someone changed or removed what we hold in it: our entry in the managed fields is not what was applied. What was
    /// adopted is whole only when nobody else holds a key of it.
    pub fn has_drifted(&self, reference: &Reference, policy: CreationPolicy) -> bool {
        let manager = manager(&reference.key.name, policy);
        let held = self.fields.get(&manager);
        match (self.stamp(&reference.key.name), held) {
            (Some(stamp), Some(held)) => {
                stamp.fields != *held || (policy == CreationPolicy::Adopt && self.foreign_keys)
            }
            _ => true,
        }
    }
}

/// The field manager under which a reference writes.
pub fn manager(reference: &str, policy: CreationPolicy) -> String {
    match policy {
        CreationPolicy::Merge => merge_manager(reference),
        CreationPolicy::Owner | CreationPolicy::Adopt => MANAGER.to_owned(),
    }
}

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

/// The fields of a managedFields entry that this operator sets, in the spelling of [`Desired::fields`].
fn applied_fields(fields: &Value) -> BTreeSet<String> {
    let mut out = BTreeSet::new();
    let mut collect = |path: &str, mark: &str| {
        let Some(map) = fields.pointer(path).and_then(Value::as_object) else { return };
        out.extend(map.keys().filter_map(|k| k.strip_prefix("f:")).map(|k| format!("{mark}:{k}")));
    };
    collect("/f:data", "d");
    collect("/f:metadata/f:labels", "l");
    collect("/f:metadata/f:annotations", "a");
    if let Some(owners) = fields.pointer("/f:metadata/f:ownerReferences").and_then(Value::as_object) {
        let uid =
            |k: &str| serde_json::from_str::<Value>(k.strip_prefix("k:")?).ok()?["uid"].as_str().map(str::to_owned);
        out.extend(owners.keys().filter_map(|k| uid(k)).map(|uid| format!("o:{uid}")));
    }
    if fields.get("f:type").is_some() {
        out.insert("t".to_owned());
    }
    if fields.get("f:immutable").is_some() {
        out.insert("i".to_owned());
    }
    out
}

fn hash_fields(fields: &BTreeSet<String>) -> String {
    short_hash(fields.iter().map(|f| format!("{f}\n")).collect::<String>().as_bytes())
}

/// The data keys that an adoption by this reference takes over: everybody's but those of other references, which merge.
pub fn adopted_keys(meta: &ObjectMeta, reference: &str) -> BTreeSet<String> {
    let own = merge_manager(reference);
    let (merging, others): (Vec<_>, Vec<_>) = entries(meta).partition(|(who, _)| is_merging(who) && *who != own);
    &held(&others) - &held(&merging)
}

/// Whether someone else alone holds data keys. What we took over by force, or hold beside them, is ours. A key that was
/// once applied as `stringData` stays in their entry for ever, whether it is there or not: it says nothing.
fn has_foreign_keys(meta: &ObjectMeta) -> bool {
    let (ours, others): (Vec<_>, Vec<_>) = entries(meta).partition(|(who, _)| *who == MANAGER || is_merging(who));
    let ours = held(&ours);
    others.iter().flat_map(|(_, fields)| names(fields, "/f:data")).any(|key| !ours.contains(&key))
}

/// One of the managers that [`merge_manager`] names.
fn is_merging(manager: &str) -> bool {
    manager.starts_with("secretref/")
}

fn held(entries: &[(&str, &Value)]) -> BTreeSet<String> {
    entries.iter().flat_map(|(_, f)| [names(f, "/f:data"), names(f, "/f:stringData")].concat()).collect()
}

/// The keys that someone else applied as `stringData`. The API server tracks them under that name: it sees no conflict
/// with the same key in `data`.
pub fn string_keys(meta: &ObjectMeta, manager: &str) -> BTreeSet<String> {
    entries(meta).filter(|(who, _)| *who != manager).flat_map(|(_, fields)| names(fields, "/f:stringData")).collect()
}

/// The annotations that this manager holds.
pub fn held_annotations<'a>(meta: &'a ObjectMeta, manager: &'a str) -> impl Iterator<Item = String> + 'a {
    let held = entries(meta).filter(move |(who, _)| *who == manager);
    held.flat_map(|(_, fields)| names(fields, "/f:metadata/f:annotations"))
}

/// The data keys that only this manager holds. An apply without them would do only as long as another manager is known
/// to hold a key: else the API server takes the whole of `data` away, `stringData` of others with it.
pub fn held_alone(meta: &ObjectMeta, manager: &str) -> BTreeSet<String> {
    let (ours, others): (Vec<_>, Vec<_>) = entries(meta).partition(|(who, _)| *who == manager);
    held(&ours).difference(&held(&others)).cloned().collect()
}

/// Who holds which fields.
fn entries(meta: &ObjectMeta) -> impl Iterator<Item = (&str, &Value)> {
    let entries = meta.managed_fields.iter().flatten();
    entries.filter_map(|m| Some((m.manager.as_deref().unwrap_or_default(), &m.fields_v1.as_ref()?.0)))
}

fn names(fields: &Value, path: &str) -> Vec<String> {
    let map = fields.pointer(path).and_then(Value::as_object);
    map.into_iter().flat_map(|map| map.keys()).filter_map(|k| k.strip_prefix("f:")).map(str::to_owned).collect()
}

#[cfg(test)]
#[path = "target/fuzz.rs"]
mod fuzz;
#[cfg(test)]
#[path = "target/tests.rs"]
mod tests;
