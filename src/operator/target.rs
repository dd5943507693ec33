//! The target as it is, metadata only.

mod body;
mod held;

use std::collections::BTreeSet;

pub use body::{Body, Desired, Precondition};
pub use held::{adopted_keys, held_alone, held_annotations, string_keys};
use held::{applied_fields, entries, has_foreign_keys, hash_fields, is_merging, names};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use litemap::LiteMap;

use super::{
    model::{Reference, version},
    stamp::{Fingerprints, STAMP_PREFIX, Stamp, annotation, merge_manager},
};
use crate::{
    api::{CreationPolicy, DeletionPolicy, EntryScope, SecretReferenceSpec},
    naming::{Org, Owner, Scheme},
    refresh::State,
    resolve::Read,
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
    pub owners: Box<[(Box<str>, Box<str>)]>,
    /// Annotation to stamp, as text: that is a third of what it would take to keep it read. All can be read.
    pub stamps: LiteMap<Box<str>, Box<str>>,
    /// Field manager to the hash of the fields it holds; ours only.
    pub fields: LiteMap<Box<str>, Box<str>>,
    /// The stamps that merging references hold: such a reference owns its keys, not the Secret.
    pub merged: BTreeSet<String>,
    /// It has data keys that are held by others alone.
    pub foreign_keys: bool,
}

/// A map without room to spare: there are thousands, of mostly one entry.
fn exact<K: Ord, V>(entries: impl Iterator<Item = (K, V)>) -> LiteMap<K, V> {
    let entries: Vec<(K, V)> = entries.collect();
    let mut map = LiteMap::with_capacity(entries.len());
    map.extend(entries);
    map
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
            owners: owners.filter(ours).map(|o| (o.name.as_str().into(), o.uid.as_str().into())).collect(),
            stamps: exact(
                stamps
                    .filter(|(_, text)| text.parse::<Stamp>().is_ok())
                    .map(|(annotation, text)| (annotation.as_str().into(), text.as_str().into())),
            ),
            fields: exact(
                managed
                    .filter_map(|m| Some((m.manager.as_deref()?, m.fields_v1.as_ref()?)))
                    .filter(|(manager, _)| *manager == MANAGER || is_merging(manager))
                    .map(|(manager, fields)| (manager.into(), hash_fields(&applied_fields(&fields.0)).into())),
            ),
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
        let org = status.org.as_deref().map_or_else(|| bound.cloned(), |org| Org::new(org).ok());
        // What came from the platform-wide scope was not there in the organisation's.
        let owner = org.clone().map(Owner::Org);
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
            org: org.map(|org| org.to_string()),
            global: true,
            delete: spec.deletion_policy() == DeletionPolicy::Delete,
            revision: status.target.as_ref().and_then(|t| t.revision).unwrap_or_default(),
            restart: status.target.as_ref().and_then(|t| t.restarted).unwrap_or_default(),
        };
        Some(Self {
            uid,
            version: 0,
            owners: [((*reference.key.name).into(), (*reference.uid).into())].into(),
            stamps: exact([(annotation(&reference.key.name).into(), stamp.to_string().into())].into_iter()),
            fields: LiteMap::new(),
            merged: BTreeSet::new(),
            foreign_keys: false,
        })
    }

    /// The stamp of a reference of this name.
    pub fn stamp(&self, reference: &str) -> Option<Stamp> {
        self.stamps.get(&*annotation(reference))?.parse().ok()
    }

    /// Whether a reference of this name left a stamp.
    pub fn is_stamped(&self, reference: &str) -> bool {
        self.stamps.contains_key(&*annotation(reference))
    }

    /// Whose it is.
    pub fn ownership(&self, reference: &Reference, policy: CreationPolicy) -> Ownership {
        let name = &reference.key.name;
        let owned = self.owners.iter().any(|(owner, _)| **owner == **name);
        let stamped = self.is_stamped(name) && !self.is_merged(name) && (self.owners.is_empty() || owned);
        if owned || stamped || policy == CreationPolicy::Merge { Ownership::Ours } else { Ownership::Foreign }
    }

    /// The stamp of a reference of this name says that it merged keys into someone's Secret, no more.
    fn is_merged(&self, reference: &str) -> bool {
        let merges = self.fields.contains_key(&*merge_manager(reference));
        merges && !self.fields.contains_key(MANAGER) || self.merged.contains(&annotation(reference))
    }

    /// Someone changed or removed what we hold in it: our entry in the managed fields is not what was applied. What was
    /// adopted is whole only when nobody else holds a key of it.
    pub fn has_drifted(&self, reference: &Reference, policy: CreationPolicy) -> bool {
        let manager = manager(&reference.key.name, policy);
        let held = self.fields.get(&*manager);
        match (self.stamp(&reference.key.name), held) {
            (Some(stamp), Some(held)) => {
                *stamp.fields != **held || (policy == CreationPolicy::Adopt && self.foreign_keys)
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

#[cfg(test)]
#[path = "target/fuzz.rs"]
mod fuzz;
#[cfg(test)]
#[path = "target/tests.rs"]
mod tests;
