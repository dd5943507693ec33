//! Targets that cannot be what they should be; most of these are shown in tests/operator.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use crate::{
    api_proxy::Asked,
    harness::{Operator, plant, wait_until},
    scene::{Kept, LONG, Scene, leads},
};

async fn stage() -> (Scene, Operator) {
    let scene = Scene::new().await;
    let operator = scene.operator().await;
    leads(&operator).await;
    scene.in_place("app").await;
    (scene, operator)
}

/// A property is called what no key of a Secret may be called: the rest is not written without it.
#[tokio::test]
async fn keys_that_no_secret_takes() {
    let (scene, operator) = stage().await;
    let (good, odd) = (plant("good"), plant("odd"));
    scene.bao.put("acme--map", json!({ "GOOD": good })).await;
    let mut spec = Scene::spec("map");
    spec["data"] = Value::Null;
    spec["dataFrom"] = json!([{ "extract": { "name": "map" } }]);
    scene.acme.reference("map", &spec).await;
    scene.acme.until_data("map", &json!({ "GOOD": good })).await;
    let kept = Kept::of(&scene.acme, "map").await;
    scene.bao.put("acme--map", json!({ "GOOD": odd, "not a key/": odd })).await;
    scene.fails("map", "TargetRejected").await;
    kept.check().await;
    scene.bao.put("acme--map", json!({ "GOOD": odd, "a.key": odd })).await;
    scene.acme.until_data("map", &json!({ "GOOD": odd, "a.key": odd })).await;
    scene.acme.until_reason("map", "Synced").await;
    scene.done(&[&operator]).await;
}

/// A Secret of another type is adopted: its type cannot change, so nothing of it does.
#[tokio::test]
async fn a_secret_of_another_type() {
    let (scene, operator) = stage().await;
    let value = scene.put("login").await;
    let theirs = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/basic-auth",
        "metadata": { "name": "login", "namespace": scene.acme.name },
        "data": { "username": STANDARD.encode("someone"), "password": STANDARD.encode(plant("theirs")) },
    });
    scene.cluster.apply(&theirs).await;
    let kept = Kept::of(&scene.acme, "login").await;
    let mut spec = Scene::spec("login");
    spec["target"] = json!({ "creationPolicy": "Adopt" });
    scene.acme.reference("login", &spec).await;
    scene.fails("login", "TargetImmutable").await;
    kept.check().await;
    scene.acme.delete("Secret", "login").await;
    scene.holds("login", &value).await;
    scene.acme.until_reason("login", "Synced").await;
    scene.done(&[&operator]).await;
}

/// Something holds the namespace for a while: nothing is made in it any more, and nothing of ours holds it longer.
#[tokio::test]
async fn a_namespace_that_is_being_deleted() {
    let (scene, operator) = stage().await;
    let name = scene.acme.name.clone();
    let hold = |finalizers: Value| {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": { "name": "hold", "namespace": name, "finalizers": finalizers },
        })
    };
    scene.cluster.apply(&hold(json!(["example.com/hold"]))).await;
    scene.cluster.delete("Namespace", None, &name).await;
    wait_until("its content is gone", LONG, || async {
        let mut left = scene.cluster.list("SecretReference", Some(&name)).await;
        left.extend(scene.cluster.list("Secret", Some(&name)).await);
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    // Until then it repairs what it takes for a loss, which is refused.
    wait_until("the operator knows that the reference is gone", LONG, || async {
        let references = operator.metric("secretref_references", &[]).await;
        if references < 0.5 { Ok(()) } else { Err(references.to_string()) }
    })
    .await;
    scene.put("app").await;
    let refused = scene.api.asked().iter().filter(|a| a.is_write() && a.patches("/secrets/app")).count();
    scene.cluster.apply(&hold(json!([]))).await;
    wait_until("the namespace is gone", LONG, || async {
        match scene.cluster.get("Namespace", None, &name).await {
            None => Ok(()),
            Some(object) => Err(object["status"].to_string()),
        }
    })
    .await;
    let written = |asked: &Asked| asked.is_write() && asked.patches("/secrets/app");
    assert_eq!(scene.api.asked().iter().filter(|a| written(a)).count(), refused, "it is written to no more");

    // One of the same name is another one.
    let labels = json!({ "secretref.dev/org": "acme" });
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": labels } });
    scene.cluster.apply(&namespace).await;
    // What admits objects to it may still believe in the former one.
    let first = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "first", "namespace": name } });
    wait_until("it takes objects", LONG, || async {
        scene.cluster.try_apply(&first).await.map_err(|status| status.message.clone())
    })
    .await;
    scene.acme.secret("token", &json!({ "token": scene.bao.token(&["reader"]).await })).await;
    scene.put_store(&scene.way.address, &scene.way.ca, json!({})).await;
    scene.in_place("app").await;
    scene.done(&[&operator]).await;
}
