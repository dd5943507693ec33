//! Every maximum, at it and just beyond it: what is too long to write down.

use serde_json::{Map, Value, json};

use crate::{
    cases::{Case, Expect},
    cluster::Cluster,
};

fn reference(spec: Value) -> Value {
    let mut manifest = json!({
        "kind": "SecretReference",
        "metadata": { "name": "sized" },
        "spec": { "storeRef": { "name": "s" }, "data": [{ "key": "A", "value": "a" }] },
    });
    for (field, value) in spec.as_object().unwrap() {
        manifest["spec"][field] = value.clone();
    }
    manifest
}

fn store(spec: Value) -> Value {
    json!({ "kind": "ClusterSecretStore", "metadata": { "name": "sized" }, "spec": spec })
}

fn entries(n: usize) -> Value {
    (0..n).map(|i| json!({ "key": format!("KEY_{i}"), "secretRef": { "name": format!("name-{i:0>248}") } })).collect()
}

fn sources(n: usize) -> Value {
    (0..n).map(|i| json!({ "find": { "prefix": format!("prefix-{i:0>245}") } })).collect()
}

fn map(n: usize, value: &str) -> Value {
    (0..n).map(|i| (format!("example.com/key-{i}"), json!(value))).collect::<Map<_, _>>().into()
}

fn templates(n: usize) -> Value {
    (0..n).map(|i| (format!("template-{i:0>244}"), json!("{{ A }}"))).collect::<Map<_, _>>().into()
}

fn named(name: usize) -> Value {
    json!([{ "key": "A", "secretRef": { "name": "n".repeat(name) } }])
}

fn plain(key: usize, value: usize) -> Value {
    json!([{ "key": "k".repeat(key), "value": "v".repeat(value) }])
}

fn vault(ca: usize, audiences: usize) -> Value {
    let pem = format!("-----BEGIN CERTIFICATE-----{}", "A".repeat(ca - 27));
    let audiences: Vec<_> = (0..audiences).map(|i| format!("audience-{i}")).collect();
    let auth = json!({ "kubernetes": { "role": "r", "audiences": audiences } });
    json!({ "provider": { "vault": { "address": "https://bao:8200", "caBundle": pem, "auth": auth } } })
}

fn cases() -> Vec<Case> {
    let target = |target: Value| reference(json!({ "target": target }));
    let labels = |labels: Value| target(json!({ "metadata": { "labels": labels } }));
    let notes = |annotations: Value| target(json!({ "metadata": { "annotations": annotations } }));
    let rendered = |data: Value| target(json!({ "template": { "data": data } }));
    let long = |n: usize| "a".repeat(n);
    // Field, words, just beyond, at it.
    let table = [
        (
            "spec.data",
            "at most 256 items",
            reference(json!({ "data": entries(257) })),
            reference(json!({ "data": entries(256) })),
        ),
        (
            "spec.dataFrom",
            "at most 32 items",
            reference(json!({ "dataFrom": sources(33) })),
            reference(json!({ "dataFrom": sources(32) })),
        ),
        (
            "spec.org",
            "more than 63 bytes",
            reference(json!({ "org": long(64) })),
            reference(json!({ "org": long(63) })),
        ),
        (
            "spec.storeRef.name",
            "more than 253 bytes",
            reference(json!({ "storeRef": { "name": long(254) } })),
            reference(json!({ "storeRef": { "name": long(253) } })),
        ),
        (
            "spec.data[0].secretRef.name",
            "more than 253 bytes",
            reference(json!({ "data": named(254) })),
            reference(json!({ "data": named(253) })),
        ),
        (
            "spec.data[0].key",
            "more than 253 bytes",
            reference(json!({ "data": plain(254, 1) })),
            reference(json!({ "data": plain(253, 1) })),
        ),
        (
            "spec.data[0].value",
            "more than 262144 bytes",
            reference(json!({ "data": plain(1, 262_145) })),
            reference(json!({ "data": plain(1, 262_144) })),
        ),
        (
            "spec.target.name",
            "more than 253 bytes",
            target(json!({ "name": long(254) })),
            target(json!({ "name": long(253) })),
        ),
        ("spec.target.metadata.labels", "at most 64 items", labels(map(65, "v")), labels(map(64, "v"))),
        (
            "spec.target.metadata.labels.a",
            "more than 63 bytes",
            labels(json!({ "a": long(64) })),
            labels(json!({ "a": long(63) })),
        ),
        ("spec.target.metadata.annotations", "at most 64 items", notes(map(65, "v")), notes(map(64, "v"))),
        (
            "spec.target.metadata.annotations.a",
            "more than 4096 bytes",
            notes(json!({ "a": long(4097) })),
            notes(json!({ "a": long(4096) })),
        ),
        ("spec.target.template.data", "at most 32 items", rendered(templates(33)), rendered(templates(32))),
        (
            "spec.target.template.data.a",
            "more than 65536 bytes",
            rendered(json!({ "a": long(65_537) })),
            rendered(json!({ "a": long(65_536) })),
        ),
        (
            "spec.target.template.data",
            "every key of template.data",
            rendered(json!({ long(254): "" })),
            rendered(json!({ long(253): "" })),
        ),
        ("spec.provider.vault.caBundle", "more than 65536 bytes", store(vault(65_537, 1)), store(vault(65_536, 1))),
        ("spec.provider.vault.auth.kubernetes.audiences", "at most 8 items", store(vault(99, 9)), store(vault(99, 8))),
    ];
    let pair = |(field, words, bad, good): (&str, &str, Value, Value)| {
        let refused = Expect::Refused { field: field.to_owned(), words: words.to_owned() };
        [Case::new(&format!("beyond {field}"), refused, bad), Case::new(&format!("at {field}"), Expect::Accepted, good)]
    };
    table.into_iter().flat_map(pair).collect()
}

/// Rules have a budget for each object, too: what costs most must fit all at once.
fn heaviest() -> Case {
    let folders = "a/".repeat(125);
    let entry =
        |i: usize| json!({ "key": format!("key-{i:0>249}"), "secretRef": { "name": format!("{folders}{i:0>3}") } });
    let source = |i: usize| json!({ "extract": { "name": format!("{folders}{i:0>3}") } });
    let key = |i: usize| format!("{}.com/{}{i:0>2}", "a".repeat(249), "a".repeat(61));
    let metadata: Value = (0..64).map(|i| (key(i), json!("v".repeat(63)))).collect::<Map<_, _>>().into();
    let spec = json!({
        "org": "acme",
        "refreshInterval": "1h30m",
        "staleAfter": "3h",
        "target": {
            "type": "kubernetes.io/tls",
            "metadata": { "labels": metadata.clone(), "annotations": metadata },
            "template": { "data": templates(32) },
        },
        "data": (0..256).map(entry).collect::<Vec<_>>(),
        "dataFrom": (0..32).map(source).collect::<Vec<_>>(),
    });
    Case::new("the heaviest", Expect::Accepted, reference(spec))
}

#[tokio::test]
async fn every_maximum_holds_and_can_be_used() {
    let cluster = Cluster::new().await;
    let mut troubles = Vec::new();
    for case in cases().into_iter().chain([heaviest()]) {
        troubles.extend(case.check(&cluster.create(case.manifest(), true).await));
    }
    cluster.done().await;
    assert!(troubles.is_empty(), "{} troubles:\n{}", troubles.len(), troubles.join("\n"));
}
