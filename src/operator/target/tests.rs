#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
//! Drift and ownership, seen in what a real API server 1.35 records.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::*;
use crate::operator::plan::{
    Action, Write,
    tests::world::{World, applied},
};

const UID: &str = "11111111-2222-3333-4444-555555555555";

/// The whole entry of an apply by `secretref`, as the API server wrote it.
const OURS: &str = r#"{"apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:DB":{},"f:tls.key":{}},"f:immutable":{},"f:metadata":{"f:annotations":{"f:stamp.secretref.dev/payments":{},"f:team":{}},"f:labels":{"f:secretref.dev/managed":{},"f:team":{}},"f:ownerReferences":{"k:{\"uid\":\"11111111-2222-3333-4444-555555555555\"}":{}}},"f:type":{}},"manager":"secretref","operation":"Apply","time":"2026-11-22T06:00:14Z"}"#;

/// The entry of a reference called `other` that merges one key into it.
const MERGED: &str = r#"{"apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:MERGED":{}},"f:metadata":{"f:annotations":{"f:stamp.secretref.dev/other":{}},"f:labels":{"f:secretref.dev/managed":{}}}},"manager":"secretref/other","operation":"Apply","time":"2026-11-22T06:00:14Z"}"#;

/// What remains of ours after `kubectl patch` of DB by someone, and what that one holds, with a label of its own.
const EDITED: &str = r#"[{"apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:tls.key":{}},"f:immutable":{},"f:metadata":{"f:annotations":{"f:stamp.secretref.dev/payments":{},"f:team":{}},"f:labels":{"f:secretref.dev/managed":{},"f:team":{}},"f:ownerReferences":{"k:{\"uid\":\"11111111-2222-3333-4444-555555555555\"}":{}}},"f:type":{}},"manager":"secretref","operation":"Apply","time":"2026-11-22T06:00:14Z"},{"apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:DB":{}},"f:metadata":{"f:labels":{"f:foreign":{}}}},"manager":"someone","operation":"Update","time":"2026-11-22T06:00:14Z"}]"#;

/// What somebody's label alone leaves behind.
const LABELLED: &str = r#"{"apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:metadata":{"f:labels":{"f:foreign":{}}}},"manager":"someone","operation":"Update","time":"2026-11-22T06:00:14Z"}"#;

fn full() -> World {
    let spec = "target: { immutable: true, metadata: { labels: { team: x }, annotations: { team: why } } }\n\
                data: [{ key: DB, secretRef: { name: db } }, { key: tls.key, value: x }]";
    World { uid: UID.into(), ..World::new(spec).with("acme--db", "hush-1") }
}

fn write(world: &World) -> Box<Write> {
    match world.attempt() {
        Action::Write(write) => write,
        other => panic!("{other:?}"),
    }
}

/// A Secret with the stamp of `full` and these managed fields.
fn secret(managed_fields: &str) -> TargetMeta {
    let (world, fields) = (full(), serde_json::from_str::<Value>(managed_fields).unwrap());
    let mut meta = applied(&world.reference(), &write(&world), None);
    meta.managed_fields = serde_json::from_value(fields).unwrap();
    TargetMeta::new(&meta)
}

#[test]
fn what_the_api_server_records_is_what_was_meant() {
    let (world, whole) = (full(), secret(&format!("[{OURS}]")));
    assert!(!whole.has_drifted(&world.reference(), CreationPolicy::Owner));
    // The tests' API server on paper writes the very same entry.
    let paper = applied(&world.reference(), &write(&world), None).managed_fields.unwrap();
    let real: Value = serde_json::from_str(OURS).unwrap();
    assert_eq!(json!(paper)[0]["fieldsV1"], real["fieldsV1"]);
}

#[test]
fn a_foreign_edit_of_our_key_is_drift_and_a_foreign_label_is_not() {
    let reference = full().reference();
    let drifted = |fields: &str| secret(fields).has_drifted(&reference, CreationPolicy::Owner);
    assert!(drifted(EDITED));
    assert!(!drifted(&format!("[{OURS},{LABELLED}]")));
    assert!(!drifted(&format!("[{OURS},{MERGED}]")), "what others merge into it is theirs");
    assert!(drifted("[]"), "all our fields were taken");
    for field in ["\"f:immutable\":{},", "\"f:type\":{}", "\"f:team\":{}", "\"f:stamp.secretref.dev/payments\":{},"] {
        let less = OURS.replacen(field, "", 1).replace(",}", "}");
        assert!(drifted(&format!("[{less}]")), "{field} is not held any more");
    }
    let ours_by_update = OURS.replace("\"Apply\"", "\"Update\"");
    assert!(drifted(&format!("[{ours_by_update}]")), "somebody edits under our name");
}

#[test]
fn references_that_merge_do_not_see_each_other() {
    let spec =
        |key: &str| format!("target: {{ creationPolicy: Merge, name: shared }}\ndata: [{{ key: {key}, value: x }}]");
    let (a, b) = (World::new(&spec("A")), World::new(&spec("B")));
    let rename = |world: &World, name: &str| {
        let mut reference = world.reference();
        reference.key.name = name.into();
        reference
    };
    let (ra, rb) = (rename(&a, "a"), rename(&b, "b"));
    let mut both = None;
    for (world, reference) in [(&a, &ra), (&b, &rb)] {
        let mut write = write(world);
        write.stamp.fields = write.desired.fields(&annotation(&reference.key.name));
        both = Some(applied(reference, &write, both.as_ref()));
    }
    let both = TargetMeta::new(&both.unwrap());
    assert_eq!(both.fields.keys().map(|name| &**name).collect::<Vec<_>>(), ["secretref/a", "secretref/b"]);
    assert!(!both.has_drifted(&ra, CreationPolicy::Merge) && !both.has_drifted(&rb, CreationPolicy::Merge));
    let mut one_lost = both;
    one_lost.fields.insert("secretref/a".into(), "other".into());
    assert!(one_lost.has_drifted(&ra, CreationPolicy::Merge) && !one_lost.has_drifted(&rb, CreationPolicy::Merge));
}

#[test]
fn whose_a_secret_is() {
    let reference = full().reference();
    let stamp = || write(&full()).stamp;
    let meta = |owners: &[(&str, &str)], stamped: Option<&str>| TargetMeta {
        uid: "s".into(),
        version: 1,
        owners: owners.iter().map(|(n, u)| ((*n).into(), (*u).into())).collect(),
        stamps: stamped.map(|name| (annotation(name).into(), stamp().to_string().into())).into_iter().collect(),
        fields: LiteMap::new(),
        merged: BTreeSet::new(),
        foreign_keys: false,
    };
    use CreationPolicy::{Adopt, Merge, Owner};
    use Ownership::{Foreign, Ours};
    for (what, meta, policy, expected) in [
        ("owned", meta(&[("payments", UID)], Some("payments")), Owner, Ours),
        ("owned by a dead one of its name", meta(&[("payments", "dead")], None), Owner, Ours),
        ("retained: stamped and nobody's", meta(&[], Some("payments")), Owner, Ours),
        ("nobody's", meta(&[], None), Owner, Foreign),
        ("another's", meta(&[("other", "u")], Some("other")), Owner, Foreign),
        ("another's, with our old stamp", meta(&[("other", "u")], Some("payments")), Owner, Foreign),
        ("another's retained one", meta(&[], Some("other")), Owner, Foreign),
        ("nobody's yet", meta(&[], None), Adopt, Foreign),
        ("merging asks for keys only", meta(&[("other", "u")], None), Merge, Ours),
    ] {
        assert_eq!(meta.ownership(&reference, policy), expected, "{what}");
    }
}

#[test]
fn an_apply_never_merges_silently_into_another_secret() {
    let world = full();
    let (reference, write) = (world.reference(), write(&world));
    let body = |precondition: Precondition| json!(write.desired.body(&reference, &write.stamp, &precondition));
    let (create, update) = (body(Precondition::Absent), body(Precondition::Uid("s".into())));
    assert_eq!((&create["metadata"]["resourceVersion"], create["metadata"].get("uid")), (&json!("1"), None));
    assert_eq!((&update["metadata"]["uid"], update["metadata"].get("resourceVersion")), (&json!("s"), None));
    assert_eq!(create["metadata"]["ownerReferences"][0]["blockOwnerDeletion"], false);
    assert_eq!(create["data"], json!({ "DB": STANDARD.encode("hush-1"), "tls.key": STANDARD.encode("x") }));
    assert_eq!((&create["type"], &create["immutable"]), (&json!("Opaque"), &json!(true)));
}

#[test]
fn what_is_retained_or_merged_has_no_owner() {
    for (target, r#type) in [("deletionPolicy: Retain", json!("Opaque")), ("creationPolicy: Merge", Value::Null)] {
        let world = World::new(&format!("target: {{ {target}, immutable: false }}\ndata: [{{ key: A, value: x }}]"));
        let (reference, write) = (world.reference(), write(&world));
        let body = json!(write.desired.body(&reference, &write.stamp, &Precondition::Absent));
        assert_eq!((body["metadata"].get("ownerReferences"), &body["type"]), (None, &r#type), "{target}");
        assert_eq!(body["metadata"]["labels"][MANAGED_LABEL], "true");
    }
}

#[test]
fn the_longest_name_has_a_manager_and_a_stamp_that_the_api_server_takes() {
    let long = "n".repeat(253);
    assert!(manager(&long, CreationPolicy::Merge).len() <= 128);
    assert!(annotation(&long).split_once('/').unwrap().1.len() <= 63);
    assert_ne!(annotation(&long), annotation(&"n".repeat(252)));
}

/// A Secret with these entries: (manager, operation, fields).
fn managed(entries: &[(&str, &str, Value)]) -> ObjectMeta {
    let entry = |(manager, operation, fields): &(&str, &str, Value)| json!({ "manager": manager, "operation": operation, "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields });
    let entries: Vec<Value> = entries.iter().map(entry).collect();
    serde_json::from_value(json!({ "managedFields": entries })).unwrap()
}

#[test]
fn merging_into_a_secret_does_not_make_it_ours() {
    let reference = full().reference();
    let stamped = json!({ "f:data": { "f:MERGED": {} }, "f:metadata": { "f:annotations": { "f:stamp.secretref.dev/payments": {} } } });
    let unstamped = json!({ "f:data": { "f:MERGED": {} } });
    let ownership = |entries: &[(&str, &str, Value)]| {
        let mut meta = managed(entries);
        meta.annotations = Some([(annotation("payments"), write(&full()).stamp.to_string())].into());
        TargetMeta::new(&meta).ownership(&reference, CreationPolicy::Owner)
    };
    let merged = |fields: &Value| ("secretref/payments", "Apply", fields.clone());
    let whole = || ("secretref", "Apply", json!({ "f:data": { "f:DB": {} } }));
    let helm = || ("helm", "Update", json!({ "f:data": { "f:THEIRS": {} } }));
    assert_eq!(ownership(&[helm(), merged(&stamped)]), Ownership::Foreign);
    assert_eq!(ownership(&[helm(), merged(&unstamped)]), Ownership::Foreign, "someone edited the stamp");
    assert_eq!(ownership(&[whole(), merged(&stamped)]), Ownership::Foreign, "another reference made it, ours merged");
    assert_eq!(ownership(&[whole(), merged(&unstamped)]), Ownership::Ours, "merged first, adopted later");
    assert_eq!(ownership(&[whole()]), Ownership::Ours);
    assert_eq!(ownership(&[]), Ownership::Ours, "from a backup");
}

#[test]
fn what_is_not_ours_is_not_revoked() {
    let revoked = |meta: &ObjectMeta| {
        let tenancy = Some(serde_json::from_value(json!({ "onRevoke": "Delete" })).unwrap());
        let world =
            World { target: Some(TargetMeta::new(meta)), tenancy, labels: std::collections::BTreeMap::new(), ..full() };
        matches!(world.attempt(), Action::Revoke(_))
    };
    let ours = applied(&full().reference(), &write(&full()), None);
    assert!(revoked(&ours));
    let mut merged = ours.clone();
    merged.owner_references = None;
    assert!(revoked(&merged), "retained");
    let mut entries = json!(merged.managed_fields.unwrap());
    entries[0]["manager"] = json!("secretref/payments");
    merged.managed_fields = serde_json::from_value(entries).unwrap();
    assert!(!revoked(&merged), "it only holds what an earlier life of the reference merged");
}

#[test]
fn adoption_takes_every_key_but_those_that_references_merge() {
    let keys = |meta: &ObjectMeta| adopted_keys(meta, "payments").into_iter().collect::<Vec<_>>();
    let edited = json!({ "managedFields": serde_json::from_str::<Value>(EDITED).unwrap() });
    assert_eq!(keys(&serde_json::from_value(edited).unwrap()), ["DB", "tls.key"]);
    let meta = managed(&[
        ("secretref/other", "Apply", json!({ "f:data": { "f:MERGED": {}, "f:BOTH": {} } })),
        ("secretref/payments", "Apply", json!({ "f:data": { "f:FORMER": {} } })),
        ("kubectl", "Apply", json!({ "f:stringData": { "f:BOTH": {}, "f:TEXT": {} } })),
    ]);
    assert_eq!(keys(&meta), ["FORMER", "TEXT"]);
}

#[test]
fn an_adoption_that_left_keys_of_others_is_not_done() {
    let (world, reference) = (full(), full().reference());
    let with = |entries: &[Value]| {
        let mut meta = applied(&reference, &write(&world), None);
        let mut all = json!(meta.managed_fields.unwrap()).as_array().unwrap().clone();
        all.extend(entries.iter().cloned());
        meta.managed_fields = serde_json::from_value(json!(all)).unwrap();
        TargetMeta::new(&meta)
    };
    let by = |manager: &str, fields: Value| json!({ "manager": manager, "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1", "fieldsV1": fields });
    let left = with(&[by("kubectl", json!({ "f:data": { "f:DB": {}, "f:OLD": {} } }))]);
    assert!(left.has_drifted(&reference, CreationPolicy::Adopt));
    assert!(!left.has_drifted(&reference, CreationPolicy::Owner), "beside ours others may have keys");
    for (what, entry) in [
        ("held beside us", by("kubectl", json!({ "f:data": { "f:DB": {} }, "f:type": {} }))),
        ("taken by force", by("kubectl", json!({ "f:data": { ".": {} }, "f:type": {} }))),
        ("merged by another", by("secretref/other", json!({ "f:data": { "f:MERGED": {} } }))),
        ("once a text", by("kubectl", json!({ "f:stringData": { "f:OLD": {} } }))),
    ] {
        assert!(!with(&[entry]).has_drifted(&reference, CreationPolicy::Adopt), "{what}");
    }
}
