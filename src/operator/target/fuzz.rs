use proptest::prelude::*;

use super::*;
use crate::mutants;

/// The metadata of a target, as the API server wrote it.
const METADATA: [&str; 2] = [
    r#"{"name":"payments","namespace":"acme","uid":"u","resourceVersion":"77","annotations":{"stamp.secretref.dev/payments":"0a:t:u:7:f:0011223344:v:acme:3:2:Global:Delete","stamp.secretref.dev/other":"0a:t:u:7"},"ownerReferences":[{"apiVersion":"secretref.dev/v1alpha1","kind":"SecretReference","name":"payments","uid":"u1"}],"managedFields":[{"apiVersion":"v1","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:DB":{},"f:tls.key":{}},"f:immutable":{},"f:metadata":{"f:annotations":{"f:stamp.secretref.dev/payments":{}},"f:labels":{"f:secretref.dev/managed":{}},"f:ownerReferences":{"k:{\"uid\":\"u1\"}":{}}},"f:type":{}},"manager":"secretref","operation":"Apply","time":"2026-11-22T06:00:14Z"}]}"#,
    r#"{"name":"shared","annotations":{"stamp.secretref.dev/other":"0a:t:u:7:f:0011223344:v:-:0:0:Own:Retain"},"managedFields":[{"manager":"secretref/other","operation":"Apply","fieldsType":"FieldsV1","fieldsV1":{"f:data":{"f:MERGED":{}},"f:metadata":{"f:annotations":{"f:stamp.secretref.dev/other":{}}}}},{"manager":"someone","operation":"Update","fieldsType":"FieldsV1","fieldsV1":{"f:data":{".":{},"f:DB":{}},"f:stringData":{"f:X":{}}}}]}"#,
];

#[test]
fn the_stamps_of_these_are_read() {
    for (text, reference) in METADATA.iter().zip(["payments", "other"]) {
        let read = TargetMeta::new(&serde_json::from_str(text).expect("metadata"));
        assert_eq!(read.stamp(reference).map(|stamp| stamp.generation), Some(7));
        assert_eq!(read.stamps.len(), 1, "one that is cut is none");
    }
}

proptest! {
    /// Whatever is written there, it is read, in bounds; what is held by nobody else is held by us, and no stamp is made up.
    #[test]
    fn any_metadata_is_read(body in mutants::bytes(METADATA)) {
        let Ok(meta) = serde_json::from_slice::<ObjectMeta>(&body) else { return Ok(()) };
        let read = TargetMeta::new(&meta);
        let written = meta.annotations.clone().unwrap_or_default();
        for (name, stamp) in &read.stamps {
            prop_assert!(name.starts_with(STAMP_PREFIX));
            prop_assert!(stamp.parse::<Stamp>().is_ok_and(|stamp| stamp.to_string() == written[&**name]));
        }
        prop_assert!(read.owners.len() + read.merged.len() + read.fields.len() <= body.len());
        let held: BTreeSet<String> = entries(&meta).flat_map(|(_, fields)| super::held::held(&[("", fields)])).collect();
        for manager in [MANAGER, "secretref/other", "someone", ""] {
            prop_assert!(held_alone(&meta, manager).is_subset(&held) && string_keys(&meta, manager).is_subset(&held));
            prop_assert!(held_annotations(&meta, manager).count() <= body.len());
        }
        prop_assert!(adopted_keys(&meta, "payments").is_subset(&held));
    }
}
