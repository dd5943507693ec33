//! The operator that creates and updates Secrets and may not read one (`secrets.access: WriteOnly`).

use kube::Client;
use serde_json::{Value, json};

use crate::{
    chart::{self, Installed, kubectl},
    harness::{Bao, Cluster, Leaks, Operator, Space, condition, plant, wait_for},
};

struct World {
    cluster: Cluster,
    bao: Bao,
    acme: Space,
    store: String,
    installed: Installed,
    operator: Operator,
}

impl World {
    /// Under a name of its own: what earlier runs left under it goes.
    async fn new(name: &str) -> Self {
        let (cluster, bao) = (Cluster::connect().await, Bao::new().await);
        let acme = cluster.namespace("write-only", "acme").await;
        let values = json!({ "secrets": { "access": "WriteOnly" }, "watchNamespaces": [acme.name] });
        let installed = chart::install(&cluster, name, &values).await;
        let token = json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "bao", "namespace": installed.namespace },
            "stringData": { "token": bao.token(&["reader"]).await },
        });
        cluster.apply(&token).await;
        let store = format!("{}-bao", installed.name);
        let mut vault = bao.provider();
        vault["auth"] =
            json!({ "token": { "secretRef": { "name": "bao", "namespace": installed.namespace, "key": "token" } } });
        let limits = json!({ "minRefreshInterval": "1s" });
        cluster
            .apply(&json!({
                "apiVersion": "secretref.dev/v1alpha1", "kind": "ClusterSecretStore", "metadata": { "name": store },
                "spec": {
                    "provider": { "vault": vault }, "healthCheckInterval": "1s", "limits": limits,
                    "tenancy": { "onRevoke": "Delete" },
                },
            }))
            .await;
        let operator = installed.start().await;
        Self { cluster, bao, acme, store, installed, operator }
    }

    fn spec(&self, target: Value) -> Value {
        json!({
            "storeRef": { "name": self.store }, "refreshInterval": "1s", "target": target,
            "data": [{ "key": "KEY", "secretRef": { "name": "key" } }, { "key": "PLAIN", "value": "30" }],
        })
    }

    async fn secret(&self, name: &str) -> Value {
        self.acme.get("Secret", name).await.expect("the Secret is there")
    }

    async fn sync_now(&self, name: &str, mark: &str) {
        let annotations = json!({ "secretref.dev/sync-now": mark });
        self.acme.merge("SecretReference", name, &json!({ "metadata": { "annotations": annotations } })).await;
    }

    async fn done(self) {
        Leaks::new().assert_none("the operator's output", &self.operator.output());
        self.cluster.delete("ClusterSecretStore", None, &self.store).await;
        self.acme.done().await;
    }
}

/// Where and which a Secret is.
fn identity(secret: &Value) -> (Value, Value) {
    (secret["metadata"]["uid"].clone(), secret["metadata"]["resourceVersion"].clone())
}

#[tokio::test]
async fn it_syncs_and_puts_right_what_it_cannot_see() {
    let world = World::new("wo-syncs").await;
    let acme = &world.acme;
    let (old, new) = (plant("old"), plant("new"));
    world.bao.put("acme--key", json!({ "value": old })).await;
    acme.reference("app", &world.spec(json!({}))).await;
    acme.until_data("app", &json!({ "KEY": old, "PLAIN": "30" })).await;
    let reference = acme.until_reason("app", "Synced").await;
    let made = world.secret("app").await;
    assert_eq!(made["metadata"]["ownerReferences"][0]["uid"], reference["metadata"]["uid"]);
    acme.until_event("SecretReference", "app", "Synced").await;
    world.bao.put("acme--key", json!({ "value": new })).await;
    acme.until_data("app", &json!({ "KEY": new, "PLAIN": "30" })).await;
    assert_eq!(world.secret("app").await["metadata"]["uid"], made["metadata"]["uid"]);

    // A restart puts what is there: no write, no news.
    acme.until("SecretReference", "app", "its change is told", |r| {
        (&r["status"]["target"]["revision"], &r["status"]["entries"][0]["version"]) == (&json!(2), &json!("2"))
    })
    .await;
    let before = (identity(&world.secret("app").await), acme.get("SecretReference", "app").await.unwrap());
    let events = acme.events("SecretReference", "app").await;
    world.operator.restart().await;
    let put =
        || async { world.operator.metric("secretref_apiserver_requests_total", &["update", "\"secrets\""]).await };
    wait_for("the target was put", || async { if put().await >= 1.0 { Ok(()) } else { Err("not yet".to_owned()) } })
        .await;
    acme.until_reason("app", "Synced").await;
    let after = (identity(&world.secret("app").await), acme.get("SecretReference", "app").await.unwrap());
    assert_eq!((before.0, &before.1["status"]), (after.0, &after.1["status"]));
    assert_eq!(acme.events("SecretReference", "app").await, events);

    // What someone changed, and what someone deleted.
    let edited = json!({ "data": { "KEY": "ZWRpdGVk" }, "metadata": { "labels": { "theirs": "yes" } } });
    acme.merge("Secret", "app", &edited).await;
    world.sync_now("app", "1").await;
    acme.until_data("app", &json!({ "KEY": new, "PLAIN": "30" })).await;
    acme.delete("Secret", "app").await;
    world.sync_now("app", "2").await;
    acme.until_data("app", &json!({ "KEY": new, "PLAIN": "30" })).await;
    assert_ne!(world.secret("app").await["metadata"]["uid"], made["metadata"]["uid"]);

    // The trace of it is lost: it is known again by its mark.
    acme.until_reason("app", "Synced").await;
    let uid = world.secret("app").await["metadata"]["uid"].clone();
    world.operator.terminate().await;
    let lost = r#"{"status":{"target":null}}"#;
    kubectl(
        &[
            "-n",
            &acme.name,
            "patch",
            "secretreferences.secretref.dev/app",
            "--subresource=status",
            "--type=merge",
            "-p",
            lost,
        ],
        "",
    );
    world.operator.start_again().await;
    let known =
        acme.until("SecretReference", "app", "its target is known", |r| r["status"]["target"]["uid"] == uid).await;
    assert_eq!(condition(&known, "Synced")["status"], "True");

    // The namespace loses its organisation: what is left says nothing.
    world
        .cluster
        .merge("Namespace", None, &acme.name, &json!({ "metadata": { "labels": { "secretref.dev/org": null } } }))
        .await;
    acme.until("Secret", "app", "it is empty", |s| s["data"].as_object().is_none_or(serde_json::Map::is_empty)).await;
    let bound = json!({ "metadata": { "labels": { "secretref.dev/org": "acme" } } });
    world.cluster.merge("Namespace", None, &acme.name, &bound).await;
    acme.until_data("app", &json!({ "KEY": new, "PLAIN": "30" })).await;
    world.done().await;
}

#[tokio::test]
async fn what_is_not_its_own_stays() {
    let world = World::new("wo-others").await;
    let acme = &world.acme;
    world.bao.put("acme--key", json!({ "value": plant("value") })).await;
    acme.secret("theirs", &json!({ "KEY": plant("theirs") })).await;
    acme.secret("theirs-whole", &json!({ "KEY": plant("theirs") })).await;
    let before = (identity(&world.secret("theirs").await), identity(&world.secret("theirs-whole").await));
    acme.reference("theirs", &world.spec(json!({}))).await;
    let target = |policy: &str| json!({ "name": "theirs-whole", "creationPolicy": policy });
    acme.reference("adopts", &world.spec(target("Adopt"))).await;
    acme.reference("merges", &world.spec(target("Merge"))).await;
    for (name, reason) in [("theirs", "TargetConflict"), ("adopts", "TargetConflict"), ("merges", "TargetRejected")] {
        let told = acme.until_reason(name, reason).await;
        let message = condition(&told, "Synced")["message"].as_str().unwrap().to_owned();
        assert!(message.contains("secrets.access: WriteOnly"), "{message}");
    }
    let after = (identity(&world.secret("theirs").await), identity(&world.secret("theirs-whole").await));
    assert_eq!(before, after);
    // An immutable one whose value changes is told as everywhere.
    acme.reference("fixed", &world.spec(json!({ "immutable": true }))).await;
    acme.until_reason("fixed", "Synced").await;
    world.bao.put("acme--key", json!({ "value": plant("another") })).await;
    acme.until_reason("fixed", "TargetImmutable").await;
    world.done().await;
}

/// With the operator's own token.
#[tokio::test]
async fn no_verb_yields_a_value() {
    let world = World::new("wo-verbs").await;
    let acme = &world.acme;
    let value = plant("value");
    acme.secret("victim", &json!({ "KEY": value })).await;
    let config = kube::config::Kubeconfig::read_from(&world.installed.kubeconfig).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &Default::default()).await.unwrap();
    let client = Client::try_from(config).unwrap();
    let leaks = Leaks::new();
    let (all, one) = (
        format!("/api/v1/namespaces/{}/secrets", acme.name),
        format!("/api/v1/namespaces/{}/secrets/victim", acme.name),
    );
    let body =
        json!({ "apiVersion": "v1", "kind": "Secret", "metadata": { "name": "victim" }, "type": "Opaque" }).to_string();
    let (apply, merge, json_type) =
        ("application/apply-patch+yaml", "application/merge-patch+json", "application/json");
    for (method, path, kind, body, allowed) in [
        ("GET", one.clone(), json_type, "", false),
        ("GET", all.clone(), json_type, "", false),
        ("GET", format!("{all}?watch=1"), json_type, "", false),
        ("GET", "/api/v1/secrets".to_owned(), json_type, "", false),
        ("PATCH", format!("{one}?dryRun=All&fieldManager=x"), apply, &body, false),
        ("PATCH", format!("{one}?dryRun=All"), merge, "{}", false),
        ("DELETE", format!("{one}?dryRun=All"), json_type, "", false),
        ("DELETE", format!("{all}?dryRun=All"), json_type, "", false),
        ("POST", format!("{all}?dryRun=All"), json_type, &body, true),
        ("PUT", format!("{one}?dryRun=All"), json_type, &body, true),
    ] {
        let request = axum::http::Request::builder().method(method).uri(&path).header("Content-Type", kind);
        let answer = client.request_text(request.body(body.as_bytes().to_vec()).unwrap()).await;
        let text = match &answer {
            Ok(text) => text.clone(),
            Err(kube::Error::Api(status)) => {
                // There it is already: told to who may create.
                assert!(status.code == 403 || (allowed && status.code == 409), "{method} {path}: {status:?}");
                format!("{status:?}")
            }
            Err(error) => panic!("{method} {path}: {error}"),
        };
        assert!(allowed || answer.is_err(), "{method} {path} was let through: {text}");
        leaks.assert_none(&format!("{method} {path}"), &text);
    }
    world.done().await;
}
