//! What users see: the table of `kubectl get`, selectors, short names, and the status of an object just made.

use kube::core::Request;
use serde_json::{Value, json};

use crate::cluster::{Cluster, GROUP};

async fn create(cluster: &Cluster, name: &str, spec: Value) -> Value {
    let manifest = json!({ "kind": "SecretReference", "metadata": { "name": name }, "spec": spec });
    cluster.create(&manifest, false).await.unwrap_or_else(|e| panic!("{}", e.message))
}

fn condition(kind: &str, status: &str, reason: &str, message: &str) -> Value {
    let time = "2026-01-01T00:00:00Z";
    json!({ "type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": time })
}

#[tokio::test]
async fn a_new_object_is_not_taken_for_a_finished_one() {
    let cluster = Cluster::new().await;
    let entry = json!([{ "key": "A", "value": "a" }]);
    let made = create(&cluster, "new", json!({ "storeRef": { "name": "s" }, "data": entry })).await;
    assert_eq!(made["status"], json!({ "observedGeneration": -1 }));
    // Whoever restores a backup sends a status along; it does not count.
    let manifest = json!({
        "kind": "SecretReference",
        "metadata": { "name": "restored" },
        "spec": { "storeRef": { "name": "s" }, "data": entry },
        "status": { "observedGeneration": 1, "org": "beta" },
    });
    assert_eq!(cluster.create(&manifest, false).await.unwrap()["status"], json!({ "observedGeneration": -1 }));
    let own =
        json!({ "kind": "SecretStore", "metadata": { "name": "new" }, "spec": { "provider": { "kubernetes": {} } } });
    assert_eq!(cluster.create(&own, false).await.unwrap()["status"], json!({ "observedGeneration": -1 }));
    let spec = json!({ "provider": { "kubernetes": { "namespace": "n" } } });
    let platform = json!({ "kind": "ClusterSecretStore", "metadata": { "name": "new" }, "spec": spec });
    assert_eq!(cluster.create(&platform, true).await.unwrap()["status"], json!({ "observedGeneration": -1 }));
    cluster.done().await;
}

#[tokio::test]
async fn the_table_is_the_documented_one() {
    let cluster = Cluster::new().await;
    let spec = json!({ "storeRef": { "name": "platform" }, "data": [{ "key": "A", "value": "a" }] });
    create(&cluster, "payments", spec).await;
    let status = json!({
        "observedGeneration": 1,
        "org": "acme",
        "conditions": [
            condition("Ready", "True", "Synced", "r"),
            condition("Synced", "False", "SecretEmpty", "m"),
            condition("StoreHealthy", "True", "Healthy", "h"),
        ],
        "target": { "name": "payments-env", "uid": "u", "keys": 3 },
        "lastChangeTime": "2026-01-01T00:00:00Z",
    });
    cluster.patch_status("payments", &status).await.unwrap();

    let mut request = Request::new(cluster.path("SecretReference")).list(&Default::default()).unwrap();
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io".parse().unwrap();
    request.headers_mut().insert("accept", table);
    let table: Value = cluster.client.request(request).await.unwrap();
    let columns = |wide: bool| {
        let columns = table["columnDefinitions"].as_array().unwrap().iter();
        let shown = columns.filter(|c| wide || c["priority"] == 0).map(|c| c["name"].as_str().unwrap().to_uppercase());
        shown.collect::<Vec<_>>().join(", ")
    };
    let documented = "NAME, STORE, ORG, READY, REASON, STORE-HEALTH, KEYS, CHANGED, AGE";
    assert_eq!(columns(false), documented);
    assert_eq!(columns(true), format!("{documented}, TARGET, MESSAGE"));
    let cells = table["rows"][0]["cells"].as_array().unwrap();
    assert_eq!(
        cells[..7],
        [
            json!("payments"),
            json!("platform"),
            json!("acme"),
            json!("True"),
            json!("SecretEmpty"),
            json!("Healthy"),
            json!(3)
        ]
    );
    assert_eq!(cells[9..], [json!("payments-env"), json!("m")]);
    cluster.done().await;
}

#[tokio::test]
async fn conditions_are_one_of_each_type() {
    let cluster = Cluster::new().await;
    create(&cluster, "a", json!({ "storeRef": { "name": "s" }, "data": [{ "key": "A", "value": "a" }] })).await;
    let twice = json!({ "conditions": [condition("Ready", "True", "a", ""), condition("Ready", "False", "b", "")] });
    let refused = cluster.patch_status("a", &twice).await.unwrap_err();
    assert!(refused.message.contains("status.conditions[1]: Duplicate value"), "{}", refused.message);
    cluster.done().await;
}

#[tokio::test]
async fn references_are_found_by_their_fields() {
    let cluster = Cluster::new().await;
    let entry = json!([{ "key": "A", "value": "a" }]);
    let spec =
        json!({ "storeRef": { "name": "one", "kind": "SecretStore" }, "target": { "name": "env" }, "data": entry });
    create(&cluster, "first", spec).await;
    create(&cluster, "second", json!({ "storeRef": { "name": "two" }, "data": entry })).await;
    cluster.patch_status("second", &json!({ "org": "acme" })).await.unwrap();
    for (selector, expected) in [
        ("spec.storeRef.name=one", "first"),
        ("spec.storeRef.name=two", "second"),
        ("spec.storeRef.kind=SecretStore", "first"),
        ("spec.target.name=env", "first"),
        ("status.org=acme", "second"),
        ("spec.storeRef.name=three", ""),
    ] {
        let found = cluster.get(&format!("{}?fieldSelector={selector}", cluster.path("SecretReference"))).await;
        let names: Vec<_> = found["items"].as_array().unwrap().iter().map(|i| i["metadata"]["name"].clone()).collect();
        assert_eq!(names, expected.split_whitespace().collect::<Vec<_>>(), "{selector}");
    }
    cluster.done().await;
}

#[tokio::test]
async fn the_names_are_the_documented_ones() {
    let cluster = Cluster::new().await;
    let discovery = cluster.get(GROUP).await;
    let kinds = discovery["resources"].as_array().unwrap();
    let of = |name: &str| kinds.iter().find(|r| r["name"] == name).unwrap_or_else(|| panic!("{name}"));
    let reference = of("secretreferences");
    assert_eq!(reference["shortNames"], json!(["secretrefs", "secretref", "sref"]));
    assert_eq!(reference["namespaced"], true);
    assert_eq!(of("secretstores")["namespaced"], true);
    assert_eq!(of("clustersecretstores")["namespaced"], false);
    for name in ["secretreferences", "secretstores", "clustersecretstores"] {
        assert_eq!(of(name)["categories"], json!(["secretref"]));
        of(&format!("{name}/status"));
    }
    cluster.done().await;
}
