#![allow(clippy::unwrap_used)]
use serde_json::{Value, json};

use super::*;

fn pod(spec: Value) -> PodSpec {
    let mut whole = json!({ "containers": [{ "name": "main" }] });
    whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    serde_json::from_value(whole).unwrap()
}

#[test]
fn every_way_to_consume_a_secret_is_seen() {
    let from = json!([{ "secretRef": { "name": "db" } }]);
    let one = json!([{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "db", "key": "a" } } }]);
    for spec in [
        json!({ "containers": [{ "name": "a" }, { "name": "b", "envFrom": from }] }),
        json!({ "containers": [{ "name": "a", "env": one }] }),
        json!({ "initContainers": [{ "name": "a", "envFrom": from }] }),
        json!({ "initContainers": [{ "name": "a", "env": one }] }),
        json!({ "volumes": [{ "name": "v", "secret": { "secretName": "db" } }] }),
        json!({ "volumes": [{ "name": "v", "projected": { "sources": [{ "secret": { "name": "db" } }] } }] }),
        json!({ "imagePullSecrets": [{ "name": "other" }, { "name": "db" }] }),
    ] {
        assert!(consumes(&pod(spec.clone()), "db"), "{spec}");
        assert!(!consumes(&pod(spec.clone()), "d"), "{spec}");
    }
}

#[test]
fn what_only_looks_like_the_secret_is_not() {
    for spec in [
        json!({ "containers": [{ "name": "db", "envFrom": [{ "configMapRef": { "name": "db" } }] }] }),
        json!({ "containers": [{ "name": "a", "env": [{ "name": "db", "value": "db" }] }] }),
        json!({ "volumes": [{ "name": "db", "configMap": { "name": "db" } }, { "name": "v", "secret": {} }] }),
        json!({ "ephemeralContainers": [{ "name": "a", "envFrom": [{ "secretRef": { "name": "db" } }] }] }),
        json!({ "serviceAccountName": "db" }),
    ] {
        assert!(!consumes(&pod(spec.clone()), "db"), "{spec}");
    }
}

#[test]
fn an_annotation_is_always_a_valid_one_and_one_targets_own() {
    assert_eq!(annotation("db"), "restart.secretref.dev/db");
    let (long, longer) = ("a".repeat(63), "a".repeat(64));
    assert_eq!(annotation(&long), format!("{MARK_PREFIX}/{long}"));
    let hashed = annotation(&longer);
    assert_eq!(hashed.len(), MARK_PREFIX.len() + 33);
    assert!(hashed.bytes().skip(MARK_PREFIX.len() + 1).all(|b| b.is_ascii_digit() || b.is_ascii_uppercase()));
    assert_ne!(hashed, annotation(&"a".repeat(65)));
    assert!(annotation("").len() > MARK_PREFIX.len() + 1);
}
