//! Who holds what in a Secret, as its managed fields tell.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::Value;

use super::MANAGER;
use crate::operator::stamp::{merge_manager, short_hash};

/// The fields of a managedFields entry that this operator sets, in the spelling of [`Desired::fields`].
pub(super) fn applied_fields(fields: &Value) -> BTreeSet<String> {
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

pub(super) fn hash_fields(fields: &BTreeSet<String>) -> String {
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
pub(super) fn has_foreign_keys(meta: &ObjectMeta) -> bool {
    let (ours, others): (Vec<_>, Vec<_>) = entries(meta).partition(|(who, _)| *who == MANAGER || is_merging(who));
    let ours = held(&ours);
    others.iter().flat_map(|(_, fields)| names(fields, "/f:data")).any(|key| !ours.contains(&key))
}

/// One of the managers that [`merge_manager`] names.
pub(super) fn is_merging(manager: &str) -> bool {
    manager.starts_with("secretref/")
}

pub(super) fn held(entries: &[(&str, &Value)]) -> BTreeSet<String> {
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
pub(super) fn entries(meta: &ObjectMeta) -> impl Iterator<Item = (&str, &Value)> {
    let entries = meta.managed_fields.iter().flatten();
    entries.filter_map(|m| Some((m.manager.as_deref().unwrap_or_default(), &m.fields_v1.as_ref()?.0)))
}

pub(super) fn names(fields: &Value, path: &str) -> Vec<String> {
    let map = fields.pointer(path).and_then(Value::as_object);
    map.into_iter().flat_map(|map| map.keys()).filter_map(|k| k.strip_prefix("f:")).map(str::to_owned).collect()
}
